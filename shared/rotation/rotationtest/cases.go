package rotationtest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/rotation"
	"github.com/latchkey/latchkey/shared/vault"
)

// keepsJobs: every field of a record comes back, and pages list the newest first.
func (e *env) keepsJobs() {
	ctx := context.Background()
	at := e.clock.Now()
	full := rotation.Job{ID: "j2", Kind: rotation.KEK, Org: "o", From: "a", To: "b", Material: "m", Epoch: 3, State: rotation.Verifying, Reversed: true,
		Pass: 2, Cursor: "c|d", Touched: true, Rate: 7, Done: 1, Skipped: 2, Mended: 3, FailedCount: 4,
		Failures: []rotation.Failure{{Org: "o", Class: "ai_key", Credential: "c", Version: 5, Field: "f", Reason: vault.TagMismatch}},
		Reason:   "r", LeaseOwner: "w", LeaseUntil: at.Add(time.Minute), Attempts: 6, CreatedBy: "me", CreatedAt: at, UpdatedAt: at, EndedAt: at, Rev: 1}
	for name := range reflect.TypeFor[rotation.Job]().NumField() {
		if f := reflect.ValueOf(full).Field(name); f.IsZero() {
			e.Fatalf("the example leaves %s out", reflect.TypeFor[rotation.Job]().Field(name).Name)
		}
	}
	for _, id := range []string{"j1", "j2", "j3"} {
		j := full
		j.ID = id
		if err := e.Jobs.Write(ctx, rotation.Write{Job: j}); err != nil {
			e.Fatal(err)
		}
	}
	if got := e.job("j2"); fmt.Sprint(got) != fmt.Sprint(full) {
		e.Errorf("%+v\nwant\n%+v", got, full)
	}
	next := full
	next.Rev, next.Cursor = 2, "e|f"
	for _, want := range []error{nil, rotation.ErrLost} {
		if err := e.Jobs.Write(ctx, rotation.Write{Job: next}); !errors.Is(err, want) {
			e.Errorf("second revision: %v, want %v", err, want)
		}
	}
	if err := e.Jobs.Write(ctx, rotation.Write{Job: full}); !errors.Is(err, rotation.ErrLost) {
		e.Errorf("first revision again: %v", err)
	}
	var ids []string
	for after, n := "", 0; n == 0 || after != ""; n++ {
		jobs, more, err := e.Jobs.Jobs(ctx, after, 2)
		if err != nil || n > 3 {
			e.Fatal(err)
		}
		for _, j := range jobs {
			ids = append(ids, j.ID)
		}
		after = more
	}
	if !slices.Equal(ids, []string{"j3", "j2", "j1"}) {
		e.Errorf("listed %v", ids)
	}
	if _, err := e.Jobs.Job(ctx, "none"); !errors.Is(err, rotation.ErrAbsent) {
		e.Errorf("absent: %v", err)
	}
	if open, err := e.Jobs.Open(ctx); err != nil || len(open) != 0 {
		e.Errorf("open: %v, %v", open, err)
	}
}

func (e *env) oneOpenJob() {
	ctx := context.Background()
	s := e.service()
	first := e.start(rotation.Draft{Kind: rotation.KEK, To: e.new})
	for _, k := range []rotation.Kind{rotation.KEK, rotation.Material, rotation.DEK} {
		_, err := s.Start(ctx, e.op(), e.id(time.Time{}), rotation.Draft{Kind: k})
		e.wantCode(string(k), err, fault.Conflict)
		if err == nil || !errors.Is(err, rotation.ErrTaken) || !contains(fault.As(err).Message, first.ID) {
			e.Errorf("the refusal does not name the job: %v", err)
		}
	}
	other := rotation.Job{ID: "x", Kind: rotation.DEK, State: rotation.Planned, Rev: 1}
	for _, over := range []string{"", "another"} {
		if err := e.Jobs.Write(ctx, rotation.Write{Job: other, Slot: rotation.TakeSlot, Over: over}); !errors.Is(err, rotation.ErrTaken) {
			e.Errorf("the store let a second one in: %v", err)
		}
	}
	e.start(rotation.Draft{Kind: rotation.Verify})
	e.wantState(e.run(first.ID), rotation.Done, "")
	e.start(rotation.Draft{Kind: rotation.DEK})
	for name, d := range map[string]rotation.Draft{
		"prune": {Kind: rotation.Prune}, "none": {}, "word": {Kind: "x"}, "unknown key": {Kind: rotation.KEK, To: e.new + "0"},
		"key for dek": {Kind: rotation.DEK, To: e.new}, "key for an organisation": {Kind: rotation.KEK, To: e.old, Org: "o"},
		"organisation": {Kind: rotation.KEK, Org: "a#b"}, "rate": {Kind: rotation.KEK, Rate: 1001}, "negative rate": {Kind: rotation.KEK, Rate: -1},
	} {
		_, err := s.Start(ctx, e.op(), e.id(time.Time{}), d)
		e.wantCode(name, err, fault.InvalidRequest)
	}
	if rows := e.Rows("operator"); len(rows) != 3 || rows[0].Action != "rotation.start" || rows[0].Actor != "operator:k1" {
		e.Errorf("audit: %+v", rows)
	}
	_, err := s.Job(ctx, "none")
	e.wantCode("absent", err, fault.NotFound)
}

func contains(s, part string) bool {
	for i := 0; i+len(part) <= len(s); i++ {
		if s[i:i+len(part)] == part {
			return true
		}
	}
	return false
}

// key moves everything, drains included, without opening anything.
func (e *env) key() {
	refs := e.fill(40)
	before := e.kek.Calls("Decrypt")
	j := e.start(rotation.Draft{Kind: rotation.KEK, To: e.new})
	if j.State != rotation.Planned || j.From != e.old || e.under(e.new) != 0 {
		e.Fatalf("%+v", j)
	}
	j = e.run(j.ID)
	e.wantState(j, rotation.Done, "")
	if e.under(e.old) != 0 || e.under(e.new) != 42 || j.Done != 42 || j.Pass != 2 || j.Skipped != 42 || j.FailedCount != 0 || !j.EndedAt.Equal(e.clock.Now()) {
		e.Errorf("%d under the old key: %+v", e.under(e.old), j)
	}
	if n := e.kek.Calls("Decrypt") - before; n != 1 { // the probe
		e.Errorf("%d data keys were unwrapped", n)
	}
	if r, err := e.v.Ring(context.Background()); err != nil || r != (vault.Ring{Current: e.new, Epoch: 1}) {
		e.Errorf("ring: %+v, %v", r, err)
	}
	e.create(ref("org1", "later"))
	e.kek.Disable(e.old, true) // what nobody needs any more may go
	e.wantReadable(append(refs, ref("org1", "later")))
	if e.under(e.new) != 43 {
		e.Error("a new record is not under the new key")
	}
	again := e.run(e.start(rotation.Draft{Kind: rotation.KEK}).ID)
	e.wantState(again, rotation.Done, "")
	if again.Done != 0 || again.Pass != 1 || again.Epoch != 1 {
		e.Errorf("a second job did something: %+v", again)
	}
}

func (e *env) keyOfOneOrg() {
	e.fill(9)
	e.wantState(e.run(e.start(rotation.Draft{Kind: rotation.KEK, To: e.new}).ID), rotation.Done, "")
	for _, r := range []vault.Ref{ref("org0", "c000"), ref("org1", "c001")} {
		e.moveBack(r)
	}
	n := e.under(e.old)
	j := e.run(e.start(rotation.Draft{Kind: rotation.KEK, Org: "org1"}).ID)
	e.wantState(j, rotation.Done, "")
	if j.Done != 1 || e.under(e.old) != n-1 {
		e.Errorf("%d of %d left: %+v", e.under(e.old), n, j)
	}
}

// moveBack puts the versions of a credential under the old key, as a restored
// backup has them.
func (e *env) moveBack(r vault.Ref) {
	e.Helper()
	c := e.load(r)
	for _, ver := range c.Versions {
		ring, err := e.v.Ring(context.Background())
		if err != nil {
			e.Fatal(err)
		}
		ring.Current = e.old
		if out, _, err := e.v.Rewrap(context.Background(), c, ver.Number, ring); err != nil || out != vault.Moved {
			e.Fatalf("%v, %v", out, err)
		}
	}
}

func (e *env) material() {
	refs := e.fill(6)
	j := e.run(e.start(rotation.Draft{Kind: rotation.Material}).ID)
	e.wantState(j, rotation.Done, "")
	if j.Done != 0 || j.Skipped != 8 {
		e.Errorf("without new material: %+v", j)
	}
	e.kek.RotateMaterial(e.old)
	e.create(ref("org1", "fresh"))
	j = e.run(e.start(rotation.Draft{Kind: rotation.Material}).ID)
	e.wantState(j, rotation.Done, "")
	if j.Done != 8 || j.Skipped != 1+9 || e.under(e.old) != 9 {
		e.Errorf("%+v", j)
	}
	for _, v := range e.versions() {
		if v.Key.Material != e.old+"/material-2" {
			e.Errorf("%+v", v.Key)
		}
	}
	e.wantReadable(refs)
	// New material in the middle of the job is what it goes for then.
	e.kek.RotateMaterial(e.old)
	n := 0
	e.kek.Before(func(operation string) vault.Reason {
		if operation == "ReEncrypt" {
			if n++; n == 5 {
				e.kek.RotateMaterial(e.old)
			}
		}
		return ""
	})
	j = e.run(e.start(rotation.Draft{Kind: rotation.Material}).ID)
	e.wantState(j, rotation.Done, "")
	for _, v := range e.versions() {
		if v.Key.Material != e.old+"/material-4" {
			e.Errorf("%+v, %+v", v.Key, j)
		}
	}
	e.wantReadable(refs)
}

func (e *env) dataKeys() {
	refs := e.fill(8)
	before := e.versions()
	loaded := e.load(refs[0])
	e.clock.Advance(time.Minute)
	j := e.start(rotation.Draft{Kind: rotation.DEK})
	e.clock.Advance(-30 * time.Second) // the worker's clock is behind
	j = e.run(j.ID)
	e.wantState(j, rotation.Done, "")
	if j.Done != 10 || j.Pass != 2 {
		e.Errorf("%+v", j)
	}
	after := e.versions()
	for i, v := range after {
		if slices.Equal(v.Key.Blob, before[i].Key.Blob) || slices.Equal(v.Fields[field].Ciphertext, before[i].Fields[field].Ciphertext) || v.Number != before[i].Number {
			e.Errorf("version %d has its old data key", v.Number)
		}
	}
	e.wantReadable(refs)
	// A request that loaded the credential before still opens it.
	got := ""
	err := e.v.Reveal(context.Background(), loaded, vault.Use{Field: field, Purpose: "test"}, func(b []byte) error { got = string(b); return nil })
	if err != nil || got != "value of org0 c000" {
		e.Errorf("%q, %v", got, err)
	}
}

func (e *env) verify() {
	refs := e.fill(5)
	stored := fmt.Sprint(e.versions())
	j := e.run(e.start(rotation.Draft{Kind: rotation.Verify}).ID)
	e.wantState(j, rotation.Done, "")
	if j.Done != 5 || e.kek.Calls("Decrypt") < 7 {
		e.Errorf("%+v, %d calls", j, e.kek.Calls("Decrypt"))
	}
	if fmt.Sprint(e.versions()) != stored {
		e.Error("verifying changed something")
	}
	e.damage(refs[1], 1, func(v *vault.Version) { v.Fields[field].Ciphertext[20] ^= 1 })
	e.damage(refs[2], 1, func(v *vault.Version) { v.Key.Blob[20] ^= 1 })
	e.remove(refs[3], 1)
	stored = fmt.Sprint(e.versions(), e.load(refs[1]).Head, e.load(refs[2]).Head, e.load(refs[3]).Head)
	j = e.run(e.start(rotation.Draft{Kind: rotation.Verify}).ID)
	e.wantState(j, rotation.Failed, "records_failed")
	want := []rotation.Failure{
		{Org: "org0", Class: refs[3].Class, Credential: "c003", Version: 1, Field: field, Reason: vault.VersionMissing},
		{Org: "org1", Class: refs[1].Class, Credential: "c001", Version: 1, Field: field, Reason: vault.TagMismatch},
		{Org: "org2", Class: refs[2].Class, Credential: "c002", Version: 1, Field: field, Reason: vault.KeyInvalidCiphertext},
	}
	if got := sorted(j.Failures); !slices.Equal(got, want) || j.FailedCount != 3 {
		e.Errorf("%+v\nwant\n%+v", got, want)
	}
	if fmt.Sprint(e.versions(), e.load(refs[1]).Head, e.load(refs[2]).Head, e.load(refs[3]).Head) != stored {
		e.Error("verifying changed something")
	}
}

func sorted(f []rotation.Failure) []rotation.Failure {
	f = slices.Clone(f)
	slices.SortFunc(f, func(a, b rotation.Failure) int {
		return compare(a.Org+"#"+a.Credential, b.Org+"#"+b.Credential)
	})
	return f
}

func compare(a, b string) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

func (e *env) prune() {
	ctx := context.Background()
	refs := e.fill(5)
	r := e.runner(e.Jobs, e.Records)
	for range 3 { // one record for all of them
		if err := r.StartPrune(ctx); err != nil {
			e.Fatal(err)
		}
	}
	j := e.run("prune")
	e.wantState(j, rotation.Done, "")
	if j.Done != 0 || len(e.load(refs[0]).Versions) != 3 {
		e.Errorf("%+v", j)
	}
	e.clock.Advance(2 * time.Hour)
	if err := r.StartPrune(ctx); err != nil {
		e.Fatal(err)
	}
	j = e.run("prune")
	e.wantState(j, rotation.Done, "")
	if c := e.load(refs[0]); j.Done != 1 || len(c.Versions) != 1 || len(c.Head.Drains) != 0 {
		e.Errorf("%+v, %+v", j, c.Head)
	}
	if jobs, _, err := e.Jobs.Jobs(ctx, "", 10); err != nil || len(jobs) != 1 {
		e.Errorf("%v, %+v", err, jobs)
	}
	e.wantReadable(refs)
}

// badKey: a key that does not work is found before anything depends on it.
func (e *env) badKey() {
	refs := e.fill(3)
	e.kek.Disable(e.new, true)
	j := e.run(e.start(rotation.Draft{Kind: rotation.KEK, To: e.new}).ID)
	e.wantState(j, rotation.Failed, string(vault.KeyDisabled))
	if r, err := e.v.Ring(context.Background()); err != nil || r != (vault.Ring{Current: e.old}) {
		e.Errorf("the ring was switched: %+v, %v", r, err)
	}
	e.create(ref("org1", "later"))
	e.wantReadable(append(refs, ref("org1", "later")))
	_, err := e.service().Rollback(context.Background(), e.op(), j.ID)
	e.wantCode("nothing to roll back", err, fault.Conflict)
}
