package integrationtest

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/integration"
	"github.com/latchkey/latchkey/shared/integration/opener"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/vault"
)

// Open gives a test an empty store and a key service.
type Open func(t *testing.T) (integration.Store, vault.KEK)

// Run is everything that holds for integrations over any store. Processes are
// killed in the given modes with the legacy cipher, in every mode with both
// shapes if there is none.
func Run(t *testing.T, open Open, killed ...integration.Mode) {
	for _, c := range []struct {
		name string
		test func(*World)
	}{
		{"values come out as they went in, in every shape and mode", characterization},
		{"undeclared and misdeclared values", undeclared},
		{"refresh, roll back, call, roll forward, call", rollback},
		{"a legacy copy that was left behind", leftBehind},
		{"an older record that was put back", putBack},
		{"lazy migration", lazy},
		{"failed migration", failedMigration},
		{"backfill", backfill},
		{"differing copies", differing},
		{"one refresh of many", oneRefresh},
		{"refreshes that fail", failedRefresh},
		{"without the key service", withoutKeys},
		{"purge", purge},
		{"import again", importAgain},
		{"create and delete", createDelete},
		{"writers meet", writersMeet},
	} {
		t.Run(c.name, func(t *testing.T) {
			store, kek := open(t)
			c.test(NewWorld(t, store, kek))
		})
	}
	t.Run("crashes", func(t *testing.T) { crashes(t, open, killed) })
}

// samples are values that something in between could change.
func samples() map[string]integration.Values {
	text := func(s string) integration.Values {
		return integration.Values{integration.Payload: secret.FromString(s)}
	}
	return map[string]integration.Values{
		"newline":    text("smtp-password\n"),
		"json":       text(`{"z":1,"a":{"refresh_token":"r","access_token":"a"},"m":[1.0,2e3]}`),
		"composed":   text("Z\u00fcrich"),
		"decomposed": text("Zu\u0308rich"),
		"control":    text("a\x00b\r\nc\td"),
		"nottext":    {integration.Payload: secret.New([]byte{0xff, 0xfe, 0, 0x80})},
		"masklike":   text("pa****word..."),
		"spaces":     text("  spaces around \t"),
		"hexkey":     text(strings.Repeat("0123456789abcdef", 4)), // looks like the legacy cipher
		"long":       {integration.Payload: secret.New(bytes.Repeat([]byte("0123456789"), 1200))},
		"two":        {Access: secret.FromString("ya29.x"), Refresh: secret.FromString("1//r\n")},
	}
}

// characterization pins what the three shapes read as, and that neither mode nor
// migration changes it.
func characterization(w *World) {
	for name, want := range samples() {
		for _, shape := range []integration.Shape{integration.ShapePlaintext, integration.ShapeCipher} {
			id := name + "-" + string(shape)
			w.Import(id, shape, want)
			if v := w.Opens(id, want); v.From != opener.FromLegacy {
				w.Errorf("%s: from %s", id, v.From)
			}
			for _, m := range []integration.Mode{integration.DualWrite, integration.DualRead} {
				w.Mode(id, m)
				w.Opens(id, want) // migrates
				w.Opens(id, want)
			}
		}
		d := integration.Draft{ID: name + "-new", Provider: "smtp", Values: want}
		if _, err := w.Service.Create(context.Background(), w.Op(), Org, d); err != nil {
			w.Fatal(name, err)
		}
		if v := w.Opens(d.ID, want); v.From != opener.FromNew {
			w.Errorf("%s: from %s", d.ID, v.From)
		}
	}
	// An empty value has a plaintext form only.
	empty := integration.Values{"user": secret.FromString("u"), "password": secret.Text{}}
	w.Import("empty", integration.ShapePlaintext, empty)
	w.Opens("empty", empty)

	if c := w.Backfill(); len(c.Failed) > 0 || c.Verified != 3*len(samples()) || c.Skipped != 1 {
		w.Fatalf("%+v", c)
	}
	for name, want := range samples() {
		for _, shape := range []integration.Shape{integration.ShapePlaintext, integration.ShapeCipher} {
			id := name + "-" + string(shape)
			for _, m := range []integration.Mode{integration.NewOnly, integration.LegacyOnly, integration.NewOnly} {
				w.Mode(id, m)
				v := w.Opens(id, want)
				if wantFrom := map[integration.Mode]opener.Source{integration.NewOnly: opener.FromNew, integration.LegacyOnly: opener.FromLegacy}[m]; v.From != wantFrom {
					w.Errorf("%s in %s: from %s", id, m, v.From)
				}
			}
		}
	}
	w.Clock.Advance(integration.Verified)
	for name, want := range samples() {
		id := name + "-" + string(integration.ShapeCipher)
		if _, err := w.Service.Purge(context.Background(), w.Op(), Org, id); err != nil {
			w.Fatal(id, err)
		}
		w.Opens(id, want)
	}
}

// undeclared: what has no known marker, or is not what the marker says, is kept
// as it is, is not read and does not move.
func undeclared(w *World) {
	ctx := context.Background()
	good := w.Legacy(integration.Payload, integration.ShapeCipher, secret.FromString("v")).Stored
	field := func(shape integration.Shape, stored secret.Text) []integration.LegacyField {
		return []integration.LegacyField{{Name: integration.Payload, Shape: shape, Stored: stored}}
	}
	cases := map[string]struct {
		fields []integration.LegacyField
		want   integration.Reason
		at     integration.Outcome
	}{
		"none":    {field("", good), integration.UndeclaredShape, integration.Quarantined},
		"future":  {field("legacy_cipher_v2", good), integration.UndeclaredShape, integration.Quarantined},
		"vault":   {field(integration.ShapeVault, good), integration.UndeclaredShape, integration.Quarantined},
		"token":   {field(integration.ShapeCipher, secret.FromString("ya29.token")), integration.UnknownLayout, integration.Quarantined},
		"foreign": {field(integration.ShapeCipher, secret.FromString(strings.Repeat("ab", 40))), integration.DoesNotOpen, integration.Imported},
		"big": {field(integration.ShapePlaintext, secret.New(make([]byte, integration.MaxValues))), integration.TooLarge,
			integration.Quarantined},
	}
	for id, c := range cases {
		out, err := w.Service.Import(ctx, w.Op(), Org, []integration.Row{{ID: id, Provider: "hubspot", Fields: c.fields}})
		if err != nil || out[0].Outcome != c.at || c.at == integration.Quarantined && out[0].Reason != string(c.want) {
			w.Errorf("%s: %v %+v", id, err, out)
			continue
		}
		stored, err := w.Store.Legacy(ctx, Org, id)
		if err != nil || !stored.Fields[0].Stored.Equal(c.fields[0].Stored) || stored.Fields[0].Shape != c.fields[0].Shape {
			w.Errorf("%s: not stored as it was: %v", id, err)
		}
		_, err = w.Opener(nil).Open(ctx, Org, id)
		if c.want == integration.TooLarge {
			if err != nil {
				w.Errorf("%s: what only cannot move is still read: %v", id, err)
			}
		} else if integration.ReasonOf(err) != c.want || fault.CodeOf(err) != fault.VaultUnavailable {
			w.Errorf("%s: %v, %s", id, err, integration.ReasonOf(err))
		}
		if i, _ := w.Service.Get(ctx, Org, id); i.Quarantine.Reason != c.want || i.Quarantine.At.IsZero() {
			w.Errorf("%s: quarantine %+v", id, i.Quarantine)
		}
		if _, err := w.Service.SetMode(ctx, w.Op(), Org, id, integration.DualWrite); fault.CodeOf(err) != fault.Conflict {
			w.Errorf("%s: moved: %v", id, err)
		}
	}
	// The shape that is right ends the quarantine, and a value that opens again
	// does so by the backfill.
	w.Import("token", integration.ShapePlaintext, integration.Values{integration.Payload: secret.FromString("ya29.token")})
	w.Mode("token", integration.DualWrite)
	w.Opens("token", integration.Values{integration.Payload: secret.FromString("ya29.token")})
}

// rollback is the trap of single-use refresh tokens.
func rollback(w *World) {
	for _, shape := range []integration.Shape{integration.ShapePlaintext, integration.ShapeCipher} {
		vendor, id := NewVendor(w), "crm-"+string(shape)
		w.Import(id, shape, vendor.Connect())
		call := func(at string) {
			w.Helper()
			v, err := w.Opener(nil).Open(context.Background(), Org, id)
			if err != nil || !vendor.Works(v.Values) {
				w.Fatalf("%s: the access token does not work: %v", at, err)
			}
		}
		refresh := func() {
			w.Helper()
			o := w.Opener(nil)
			v, err := o.Open(context.Background(), Org, id)
			if err == nil {
				v, err = o.Refresh(context.Background(), Org, id, v.Rev, vendor.Exchange)
			}
			if err != nil || !vendor.Works(v.Values) {
				w.Fatalf("refresh: %v (%s)", err, integration.ReasonOf(err))
			}
		}
		refresh()
		for _, up := range []integration.Mode{integration.DualWrite, integration.DualRead, integration.NewOnly} {
			if up == integration.NewOnly {
				w.Backfill()
			}
			w.Mode(id, up)
			refresh()
			call("refreshed in " + string(up))
			if up == integration.NewOnly {
				w.Mode(id, integration.DualRead)
				call("one step back")
				w.Backfill() // the legacy copy is behind
			}
			w.Mode(id, integration.LegacyOnly)
			call("rolled back from " + string(up))
			refresh()
			call("refreshed after the rollback")
			w.Mode(id, integration.DualRead)
			call("rolled forward")
			refresh()
			call("refreshed after rolling forward")
		}
		if vendor.Misuse() != 0 {
			w.Errorf("%s: a consumed refresh token was used %d times", shape, vendor.Misuse())
		}
	}
}

// leftBehind: new_only leaves the legacy copy behind, legacy_only the new one;
// neither is read then.
func leftBehind(w *World) {
	ctx, vendor := context.Background(), NewVendor(w)
	w.Import("crm", integration.ShapePlaintext, vendor.Connect())
	w.Mode("crm", integration.DualRead)
	w.Backfill()
	w.Mode("crm", integration.NewOnly)
	v, err := w.Opener(nil).Refresh(ctx, Org, "crm", 1, vendor.Exchange)
	if err != nil {
		w.Fatal(err)
	}
	w.Mode("crm", integration.DualWrite)
	if got := w.Opens("crm", v.Values); got.From != opener.FromNew {
		w.Errorf("from %s", got.From)
	}
	if _, err := w.Service.SetMode(ctx, w.Op(), Org, "crm", integration.LegacyOnly); fault.CodeOf(err) != fault.Conflict {
		w.Errorf("rolled back to a copy that is behind: %v", err)
	}
	if c := w.Backfill(); c.Synced != 1 || c.Verified != 1 {
		w.Errorf("%+v", c)
	}
	w.Mode("crm", integration.LegacyOnly)
	w.Opens("crm", v.Values)
	if v, err = w.Opener(nil).Refresh(ctx, Org, "crm", 2, vendor.Exchange); err != nil {
		w.Fatal(err)
	}
	i := w.Mode("crm", integration.DualRead)
	if i.NewCurrent() || !i.New.VerifiedAt.IsZero() {
		w.Errorf("the new copy counts as current or verified: %+v", i.New)
	}
	if _, err := w.Service.SetMode(ctx, w.Op(), Org, "crm", integration.NewOnly); fault.CodeOf(err) != fault.Conflict {
		w.Errorf("moved on with a copy that is behind: %v", err)
	}
	if got := w.Opens("crm", v.Values); got.From != opener.FromLegacy {
		w.Errorf("from %s", got.From)
	}
	if got := w.Opens("crm", v.Values); got.From != opener.FromNew {
		w.Errorf("after the migration from %s", got.From)
	}
	if vendor.Misuse() != 0 {
		w.Error("a consumed refresh token was used")
	}
}

// putBack: a head that counts further than its copies, as after a record was
// restored, opens neither.
func putBack(w *World) {
	ctx := context.Background()
	for n, m := range []integration.Mode{integration.LegacyOnly, integration.DualWrite, integration.DualRead, integration.NewOnly} {
		id := fmt.Sprint("a", n)
		w.Import(id, integration.ShapePlaintext, one("v"))
		w.at(id, m)
		if m != integration.LegacyOnly {
			w.Opens(id, one("v"))
		}
		i, _ := w.Service.Get(ctx, Org, id)
		next := i.Next("ahead", w.Clock.Now())
		next.Rev, next.Legacy.Rev = 2, 2
		if next.New.Rev > 0 {
			next.New.Rev = 2
		}
		if err := w.Store.WriteIntegration(ctx, integration.Change{Next: &next}); err != nil {
			w.Fatal(err)
		}
		if _, err := w.Opener(nil).Open(ctx, Org, id); integration.ReasonOf(err) != integration.NoCopy {
			w.Errorf("%s: %v", m, err)
		}
		if c, _, err := w.Opener(nil).Backfill(ctx, Org, fmt.Sprint("a", n-1), 1); err != nil || c.Verified != 0 || m != integration.LegacyOnly && len(c.Failed) != 1 {
			w.Errorf("%s: %v %+v", m, err, c)
		}
	}
}

// createDelete: what is deleted is gone from every place.
func createDelete(w *World) {
	ctx, want := context.Background(), integration.Values{integration.Payload: secret.FromString("one password")}
	for n := range 3 { // several may have the same password
		d := integration.Draft{ID: fmt.Sprint("smtp", n), Provider: "smtp", Label: "Mail", Values: want}
		i, err := w.Service.Create(ctx, w.Op(), Org, d)
		if err != nil {
			w.Fatal(err)
		}
		if i.Mode != integration.NewOnly || i.Shape() != integration.ShapeVault || i.Fingerprint == "" || i.HasLegacy() {
			w.Errorf("%+v", i)
		}
		if _, err := w.Service.Create(ctx, w.Op(), Org, d); fault.CodeOf(err) != fault.Conflict {
			w.Errorf("created twice: %v", err)
		}
		if _, err := w.Service.SetMode(ctx, w.Op(), Org, d.ID, integration.DualRead); fault.CodeOf(err) != fault.Conflict {
			w.Errorf("went back to nothing: %v", err)
		}
	}
	w.Import("old", integration.ShapeCipher, want)
	heads, next, err := w.Service.List(ctx, Org, "", 3)
	if err != nil || len(heads) != 3 || heads[0].ID != "old" || next != "smtp1" {
		w.Fatal(err, heads, next)
	}
	if heads, next, err = w.Service.List(ctx, Org, next, 3); err != nil || len(heads) != 1 || next != "" {
		w.Fatal(err, heads, next)
	}
	if heads[0].Fingerprint == heads[0].Legacy.Hash || heads[0].Fingerprint == "" {
		w.Error("no fingerprint")
	}
	for _, id := range []string{"smtp1", "old"} {
		if err := w.Service.Delete(ctx, w.Op(), Org, id); err != nil {
			w.Fatal(err)
		}
		if _, err := w.Opener(nil).Open(ctx, Org, id); fault.CodeOf(err) != fault.NotFound {
			w.Errorf("%s is still there: %v", id, err)
		}
		if err := w.Service.Delete(ctx, w.Op(), Org, id); fault.CodeOf(err) != fault.NotFound {
			w.Errorf("deleted twice: %v", err)
		}
	}
	w.Opens("smtp0", want)
	w.Opens("smtp2", want)
	if _, err := w.Store.Legacy(ctx, Org, "old"); err == nil {
		w.Error("the legacy copy is still there")
	}
	w.Import("old", integration.ShapeCipher, want) // the id may be used again
	w.Mode("old", integration.DualRead)
	w.Opens("old", want)
	if i, _ := w.Service.Get(ctx, Org, "old"); !i.NewCurrent() {
		w.Error("it does not move a second time")
	}
}
