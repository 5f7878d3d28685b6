package integrationtest

import (
	"context"
	"errors"
	"sync"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/integration"
	"github.com/latchkey/latchkey/shared/integration/opener"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/vault"
)

func one(s string) integration.Values {
	return integration.Values{integration.Payload: secret.FromString(s)}
}

// lazy: the first read in a mode with two copies makes the new one, once, and
// racing readers all get the value.
func lazy(w *World) {
	w.Import("a", integration.ShapeCipher, one("v"))
	w.Opens("a", one("v"))
	if i, _ := w.Service.Get(context.Background(), Org, "a"); i.New.Rev != 0 {
		w.Fatal("legacy_only made a new copy")
	}
	w.Mode("a", integration.DualWrite)
	w.Events()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			v, err := w.Opener(nil).Open(context.Background(), Org, "a")
			if err != nil || !v.Values.Equal(one("v")) {
				w.Errorf("a racing reader: %v", err)
			}
		})
	}
	wg.Wait()
	migrated := 0
	for _, e := range w.Events() {
		if e.What == opener.Migrated {
			migrated++
		}
		if e.What == opener.MigrateFailed {
			w.Errorf("losing the race is a failure: %+v", e)
		}
	}
	if migrated != 1 {
		w.Errorf("migrated %d times", migrated)
	}
	i := w.Mode("a", integration.DualRead)
	if !i.NewCurrent() || i.Fingerprint == "" || !i.New.VerifiedAt.IsZero() {
		w.Errorf("%+v", i)
	}
	if v := w.Opens("a", one("v")); v.From != opener.FromNew {
		w.Errorf("from %s", v.From)
	}
}

// failedMigration: the request gets the legacy value, the failure is counted.
func failedMigration(w *World) {
	ctx := context.Background()
	w.Import("a", integration.ShapePlaintext, one("v"))
	w.Mode("a", integration.DualRead)
	// The bytes were changed past us.
	i, _ := w.Service.Get(ctx, Org, "a")
	next := i.Next("past-us", w.Clock.Now())
	if err := w.Store.WriteIntegration(ctx, integration.Change{Next: &next, Legacy: &integration.LegacyCopy{Rev: 1,
		Fields: []integration.LegacyField{w.Legacy(integration.Payload, integration.ShapePlaintext, secret.FromString("w"))}}}); err != nil {
		w.Fatal(err)
	}
	w.Events()
	w.Opens("a", one("w"))
	if !Saw(w.Events(), opener.MigrateFailed, integration.HashMismatch) {
		w.Error("not counted")
	}
	if i, _ := w.Service.Get(ctx, Org, "a"); i.New.Rev != 0 {
		w.Error("a value moved whose bytes are not those that were imported")
	}
	c := w.Backfill()
	if len(c.Failed) != 1 || c.Failed[0] != (opener.Failure{ID: "a", Reason: integration.HashMismatch}) {
		w.Errorf("%+v", c)
	}
	// A stale head does not make a copy either.
	w.Import("b", integration.ShapePlaintext, one("v"))
	w.Mode("b", integration.DualWrite)
	i, _ = w.Service.Get(ctx, Org, "b")
	for name, g := range map[string]integration.Guard{
		"other bytes": {Migration: true, LegacyHash: "0000"}, "a new copy": {Migration: true, LegacyHash: i.Legacy.Hash, NewRev: 1},
		"another mode": {Mode: integration.DualRead}, "not verified": {VerifiedBy: w.Clock.Now()},
	} {
		next := i.Next("guarded", w.Clock.Now())
		if err := w.Store.WriteIntegration(ctx, integration.Change{Next: &next, Guard: g}); !errors.Is(err, integration.ErrLost) {
			w.Errorf("%s: %v", name, err)
		}
	}
	next = i.Next("guarded", w.Clock.Now())
	if err := w.Store.WriteIntegration(ctx, integration.Change{Next: &next, Guard: integration.Guard{Mode: integration.DualWrite, Migration: true, LegacyHash: i.Legacy.Hash}}); err != nil {
		w.Errorf("a guard that holds: %v", err)
	}
}

// backfill: pages, modes and repeats.
func backfill(w *World) {
	ctx := context.Background()
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		w.Import(id, integration.ShapeCipher, one("value of "+id))
	}
	for _, id := range []string{"a", "b", "c", "d"} {
		w.Mode(id, integration.DualRead)
	}
	w.Opens("b", one("value of b"))
	o := w.Opener(nil)
	first, cursor, err := o.Backfill(ctx, Org, "", 2)
	if err != nil || cursor != "b" || first.Seen != 2 || first.Migrated != 1 || first.Verified != 2 {
		w.Fatalf("%v %q %+v", err, cursor, first)
	}
	for range 2 {
		c := w.Backfill()
		if c.Seen != 5 || c.Verified != 4 || c.Skipped != 1 || len(c.Failed) != 0 {
			w.Fatalf("%+v", c)
		}
	}
	i, _ := w.Service.Get(ctx, Org, "c")
	was := i.New.VerifiedAt
	w.Clock.Advance(integration.Verified)
	w.Backfill()
	if i, _ := w.Service.Get(ctx, Org, "c"); was.IsZero() || !i.New.VerifiedAt.Equal(was) {
		w.Errorf("verified at %v, then at %v", was, i.New.VerifiedAt)
	}
	if c, next, err := o.Backfill(ctx, "nobody", "", 10); err != nil || next != "" || c.Seen != 0 {
		w.Error(c, next, err)
	}
}

// differing: two current copies with different values stop the way forward.
func differing(w *World) {
	ctx := context.Background()
	w.Import("a", integration.ShapePlaintext, one("v"))
	w.Mode("a", integration.DualRead)
	w.Opens("a", one("v"))
	i, _ := w.Service.Get(ctx, Org, "a")
	next := i.Next("past-us", w.Clock.Now())
	if err := w.Store.WriteIntegration(ctx, integration.Change{Next: &next, Legacy: &integration.LegacyCopy{Rev: 1,
		Fields: []integration.LegacyField{w.Legacy(integration.Payload, integration.ShapePlaintext, secret.FromString("w"))}}}); err != nil {
		w.Fatal(err)
	}
	c := w.Backfill()
	if len(c.Failed) != 1 || c.Failed[0].Reason != integration.CopiesDiffer || c.Verified != 0 {
		w.Errorf("%+v", c)
	}
	i, _ = w.Service.Get(ctx, Org, "a")
	if i.Quarantine.Reason != integration.CopiesDiffer || !i.New.VerifiedAt.IsZero() {
		w.Errorf("%+v", i)
	}
	if _, err := w.Service.SetMode(ctx, w.Op(), Org, "a", integration.NewOnly); fault.CodeOf(err) != fault.Conflict {
		w.Errorf("moved on: %v", err)
	}
	w.Mode("a", integration.LegacyOnly) // the way back is open
	w.Mode("a", integration.LegacyOnly)
	if _, err := w.Opener(nil).Replace(ctx, Org, "a", one("x")); err != nil {
		w.Fatal(err)
	}
	w.Mode("a", integration.DualRead)
	w.Opens("a", one("x"))
	if c := w.Backfill(); c.Verified != 1 {
		w.Errorf("%+v", c)
	}
}

// purge: only what was verified long enough, only from new_only, for good.
func purge(w *World) {
	ctx := context.Background()
	refused := func(at string) {
		w.Helper()
		if _, err := w.Service.Purge(ctx, w.Op(), Org, "a"); fault.CodeOf(err) != fault.Conflict {
			w.Errorf("purged %s: %v", at, err)
		}
		if _, err := w.Store.Legacy(ctx, Org, "a"); err != nil {
			w.Fatalf("the legacy copy is gone %s: %v", at, err)
		}
	}
	w.Import("a", integration.ShapeCipher, one("v"))
	refused("in legacy_only")
	w.Mode("a", integration.DualRead)
	w.Backfill()
	w.Clock.Advance(integration.Verified)
	refused("in dual_read")
	w.Mode("a", integration.NewOnly)
	w.Clock.Advance(-1)
	refused("a moment too early")
	w.Clock.Advance(1)
	w.Mode("a", integration.DualWrite)
	w.Mode("a", integration.LegacyOnly)
	if _, err := w.Opener(nil).Replace(ctx, Org, "a", one("w")); err != nil {
		w.Fatal(err)
	}
	w.Mode("a", integration.DualRead)
	w.Opens("a", one("w"))
	w.Backfill()
	w.Mode("a", integration.NewOnly)
	refused("although the copy was behind since")
	w.Clock.Advance(integration.Verified)
	i, err := w.Service.Purge(ctx, w.Op(), Org, "a")
	if err != nil || i.Mode != integration.Purged || i.PurgedAt.IsZero() || i.HasLegacy() || i.Legacy.Shapes[integration.Payload] != integration.ShapeCipher {
		w.Fatalf("%v %+v", err, i)
	}
	if _, err := w.Store.Legacy(ctx, Org, "a"); !errors.Is(err, integration.ErrAbsent) {
		w.Errorf("the legacy copy is still there: %v", err)
	}
	w.Opens("a", one("w"))
	for _, m := range integration.Modes()[:4] {
		if _, err := w.Service.SetMode(ctx, w.Op(), Org, "a", m); fault.CodeOf(err) != fault.Conflict {
			w.Errorf("back to %s: %v", m, err)
		}
	}
	if _, err := w.Service.Purge(ctx, w.Op(), Org, "a"); fault.CodeOf(err) != fault.Conflict {
		w.Errorf("purged twice: %v", err)
	}
	if v, err := w.Opener(nil).Replace(ctx, Org, "a", one("x")); err != nil || v.From != opener.FromNew {
		w.Errorf("%v", err)
	}
	w.Opens("a", one("x"))
}

// importAgain: the old store may be read again while it is the only one.
func importAgain(w *World) {
	ctx := context.Background()
	row := func(text string) []integration.Row {
		return []integration.Row{{ID: "a", Provider: "hubspot", Label: "CRM",
			Fields: []integration.LegacyField{w.Legacy(integration.Payload, integration.ShapePlaintext, secret.FromString(text))}}}
	}
	outcome := func(rows []integration.Row) integration.Outcome {
		w.Helper()
		out, err := w.Service.Import(ctx, w.Op(), Org, rows)
		if err != nil || len(out) != 1 {
			w.Fatal(err, out)
		}
		return out[0].Outcome
	}
	want := func(got, want integration.Outcome) {
		w.Helper()
		if got != want {
			w.Errorf("%s, want %s", got, want)
		}
	}
	want(outcome(row("v")), integration.Imported)
	want(outcome(row("v")), integration.Unchanged)
	want(outcome(row("w")), integration.Replaced)
	w.Opens("a", one("w"))
	other := row("w")
	other[0].Provider = "smtp"
	want(outcome(other), integration.RowRefused)
	w.Mode("a", integration.DualWrite)
	w.Opens("a", one("w"))
	want(outcome(row("w")), integration.Unchanged)
	want(outcome(row("x")), integration.RowRefused)
	w.Opens("a", one("w"))
	w.Mode("a", integration.LegacyOnly)
	want(outcome(row("x")), integration.Replaced)
	w.Mode("a", integration.DualRead)
	w.Opens("a", one("x")) // not the new copy of w
	w.Opens("a", one("x"))
	bad := row("v")
	bad[0].ID = "b"
	bad[0].Fields = append(bad[0].Fields, bad[0].Fields[0])
	want(outcome(bad), integration.RowRefused)
	bad[0].Fields = nil
	want(outcome(bad), integration.RowRefused)
	if _, err := w.Service.Import(ctx, w.Op(), Org, make([]integration.Row, integration.MaxRows+1)); fault.CodeOf(err) != fault.InvalidRequest {
		w.Errorf("too many rows: %v", err)
	}
}

// writersMeet: a mode change and a migration between the vendor's answer and
// the write do not lose the answer.
func writersMeet(w *World) {
	ctx, vendor := context.Background(), NewVendor(w)
	w.Import("a", integration.ShapeCipher, vendor.Connect())
	meet := func(from, to integration.Mode) {
		w.Helper()
		w.Mode("a", from)
		o := w.Opener(nil)
		v, err := o.Open(ctx, Org, "a")
		if err != nil {
			w.Fatal(err)
		}
		v, err = o.Refresh(ctx, Org, "a", v.Rev, func(ctx context.Context, current opener.Value) (integration.Values, error) {
			w.Mode("a", to)
			if _, err := w.Opener(nil).Open(ctx, Org, "a"); err != nil {
				return nil, err
			}
			return vendor.Exchange(ctx, current)
		})
		if err != nil || !vendor.Works(v.Values) {
			w.Fatalf("%s to %s: %v", from, to, err)
		}
		w.Opens("a", v.Values)
	}
	meet(integration.LegacyOnly, integration.DualWrite)
	meet(integration.DualWrite, integration.DualRead)
	w.Backfill()
	meet(integration.DualRead, integration.NewOnly)
	meet(integration.NewOnly, integration.DualRead)
	meet(integration.DualRead, integration.LegacyOnly)
	w.Mode("a", integration.DualRead)
	w.Backfill()
	if vendor.Misuse() != 0 {
		w.Error("a consumed refresh token was used")
	}
	// A rotation of keys touches the credential between reading and writing.
	v, err := w.Opener(nil).Open(ctx, Org, "a")
	if err != nil {
		w.Fatal(err)
	}
	w.Events()
	touched := &touchedOnce{Store: w.Store}
	if v, err = w.Opener(touched).Refresh(ctx, Org, "a", v.Rev, vendor.Exchange); err != nil || touched.n != 2 || !vendor.Works(v.Values) {
		w.Errorf("%v after %d writes", err, touched.n)
	}
	if i, _ := w.Service.Get(ctx, Org, "a"); !i.NewCurrent() || !i.LegacyCurrent() || Saw(w.Events(), opener.NewBehind, integration.VaultFailed) {
		w.Error("one copy was left behind for nothing")
	}
	// Two people change the mode from the same version: one wins.
	i, _ := w.Service.Get(ctx, Org, "a")
	var won int
	for _, id := range []string{"w1", "w2"} {
		next := i.Next(id, w.Clock.Now())
		if integration.Commit(ctx, w.Store, integration.Change{Next: &next}) == nil {
			won++
		}
	}
	if won != 1 {
		w.Errorf("%d of two writers won", won)
	}
}

// withoutKeys: what needs no key service works without it, and a new value is
// not lost because one copy cannot be sealed.
func withoutKeys(w *World) {
	kek, ok := w.KEK.(interface{ Refuse(vault.Reason) })
	if !ok {
		w.Skip("this key service cannot be made to fail")
	}
	ctx, vendor := context.Background(), NewVendor(w)
	w.Import("a", integration.ShapePlaintext, vendor.Connect())
	w.Mode("a", integration.DualRead)
	v, err := w.Opener(nil).Open(ctx, Org, "a")
	if err != nil {
		w.Fatal(err)
	}
	w.Backfill()
	w.Events()
	kek.Refuse(vault.KeyUnavailable)
	if v = w.Opens("a", v.Values); v.From != opener.FromLegacy || !Saw(w.Events(), opener.Fallback, integration.VaultFailed) {
		w.Errorf("from %s", v.From)
	}
	if v, err = w.Opener(nil).Refresh(ctx, Org, "a", v.Rev, vendor.Exchange); err != nil {
		w.Fatal(err)
	}
	if !Saw(w.Events(), opener.NewBehind, integration.VaultFailed) {
		w.Error("not counted")
	}
	w.Opens("a", v.Values)
	w.Mode("a", integration.LegacyOnly)
	if v, err = w.Opener(nil).Refresh(ctx, Org, "a", v.Rev, vendor.Exchange); err != nil {
		w.Fatal(err)
	}
	w.Opens("a", v.Values)
	kek.Refuse("")
	w.Mode("a", integration.DualRead)
	w.Opens("a", v.Values)
	if i, _ := w.Service.Get(ctx, Org, "a"); !i.NewCurrent() {
		w.Error("the new copy stays behind")
	}
	if c := w.Backfill(); c.Verified != 1 || vendor.Misuse() != 0 {
		w.Errorf("%+v, %d", c, vendor.Misuse())
	}
}

// touchedOnce is a store whose first write of a credential loses a race that the
// integration's head knows nothing of.
type touchedOnce struct {
	integration.Store
	n int
}

// Paired implements [integration.Store].
func (s *touchedOnce) Paired(c integration.Change) vault.Store {
	return touchedVault{s.Store.Paired(c), s}
}

type touchedVault struct {
	vault.Store
	s *touchedOnce
}

func (v touchedVault) Write(ctx context.Context, c vault.Change) error {
	if v.s.n++; v.s.n == 1 {
		return vault.ErrLost
	}
	return v.Store.Write(ctx, c)
}
