package rotationtest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/rotation"
	"github.com/latchkey/latchkey/shared/vault"
)

// crashes kills the worker at each of its writes in turn, before and after it,
// for every kind of job: the next worker waits for the lease and ends the job.
func (e *env) crashes() {
	refs := e.fill(4)
	for _, kind := range []rotation.Kind{rotation.KEK, rotation.DEK} {
		for _, after := range []bool{false, true} {
			for at := 1; ; at++ {
				if !e.crashOnce(refs, kind, at, after) {
					if at < 8 {
						e.Errorf("%s: only %d writes", kind, at)
					}
					break
				}
			}
		}
	}
}

// crashOnce reports whether the worker was killed before its end.
func (e *env) crashOnce(refs []vault.Ref, kind rotation.Kind, at int, after bool) bool {
	e.Helper()
	ring, err := e.v.Ring(context.Background())
	if err != nil {
		e.Fatal(err)
	}
	d := rotation.Draft{Kind: kind}
	if kind == rotation.KEK {
		d.To = map[string]string{e.old: e.new, e.new: e.old}[ring.Current]
	}
	j := e.start(d)
	e.clock.Advance(time.Second)
	strike := &dying{at: at, after: after}
	killed := e.runner(dyingJobs{strike, e.Jobs}, dyingRecords{strike, e.Records})
	_, _ = killed.RunAll(context.Background())
	if !strike.dead {
		e.wantState(e.job(j.ID), rotation.Done, "")
		return false
	}
	e.wantReadable(refs)
	during := ref("org0", fmt.Sprintf("%s-%d-%v", kind, at, after))
	e.create(during)
	e.clock.Advance(61 * time.Second)
	j = e.run(j.ID)
	e.wantState(j, rotation.Done, "")
	e.wantReadable(append(refs[:len(refs):len(refs)], during))
	if kind == rotation.KEK && e.under(ring.Current) != 0 {
		e.Fatalf("killed at write %d (after %v): %d under the old key; %+v", at, after, e.under(ring.Current), j)
	}
	for _, v := range e.versions() {
		if kind == rotation.DEK && v.WrappedAt.Before(j.CreatedAt) {
			e.Fatalf("killed at write %d (after %v): a data key was left; %+v", at, after, j)
		}
	}
	if _, err := e.v.Revoke(context.Background(), during, e.op()); err != nil {
		e.Fatal(err)
	}
	return true
}

// cursorBehindTheWork: the one record that is left lies on the first of two
// pages. Wherever the worker dies, nobody walks past it.
func (e *env) cursorBehindTheWork() {
	e.fill(70)
	e.wantState(e.run(e.start(rotation.Draft{Kind: rotation.KEK, To: e.new}).ID), rotation.Done, "")
	first, next, err := e.Records.Page(context.Background(), "", "", 64)
	if err != nil || next == "" {
		e.Fatalf("%v, %d credentials on the first page", err, len(first))
	}
	left := first[slices.IndexFunc(first, func(c vault.Credential) bool { return c.Head.Status == vault.Active && len(c.Versions) == 1 })].Head.Ref
	for _, after := range []bool{false, true} {
		for at := 1; at <= 6; at++ {
			e.moveBack(left)
			j := e.start(rotation.Draft{Kind: rotation.KEK})
			strike := &dying{at: at, after: after}
			_, _ = e.runner(dyingJobs{strike, e.Jobs}, dyingRecords{strike, e.Records}).RunAll(context.Background())
			e.clock.Advance(61 * time.Second)
			e.wantState(e.run(j.ID), rotation.Done, "")
			if n := e.under(e.old); n != 0 {
				e.Fatalf("killed at write %d (after %v): %d left behind", at, after, n)
			}
		}
	}
}

// flaky fails one write, which is not made.
type flaky struct {
	rotation.Store
	at, n int
}

func (s *flaky) Write(ctx context.Context, w rotation.Write) error {
	if s.n++; s.n == s.at {
		return errKilled
	}
	return s.Store.Write(ctx, w)
}

// lostWrites: a write of the job that is not made, with a worker that lives on
// and gives its lease back, leaves nothing in the record that did not happen.
func (e *env) lostWrites() {
	refs := e.fill(3)
	to := []string{e.new, e.old}
	for at := 1; at <= 6; at++ {
		j := e.start(rotation.Draft{Kind: rotation.KEK, To: to[at%2]})
		if _, err := e.runner(&flaky{Store: e.Jobs, at: at}, e.Records).RunAll(context.Background()); err != nil {
			e.Fatal(err)
		}
		e.clock.Advance(61 * time.Second)
		e.wantState(e.run(j.ID), rotation.Done, "")
		if n := e.under(to[1-at%2]); n != 0 {
			e.Fatalf("write %d was lost: %d left behind", at, n)
		}
		e.wantReadable(refs)
	}
}

// losing answers every n-th write with an error although it was made.
type losing struct {
	rotation.Store
	n int
}

func (s *losing) Write(ctx context.Context, w rotation.Write) error {
	err := s.Store.Write(ctx, w)
	if s.n++; s.n%2 == 0 && err == nil {
		return errKilled
	}
	return err
}

// lostAnswers: a worker recognises its own write.
func (e *env) lostAnswers() {
	refs := e.fill(80)
	j := e.start(rotation.Draft{Kind: rotation.KEK, To: e.new})
	if _, err := e.runner(&losing{Store: e.Jobs}, e.Records).RunAll(context.Background()); err != nil {
		e.Fatal(err)
	}
	j = e.job(j.ID)
	e.wantState(j, rotation.Done, "")
	if j.Attempts != 1 || e.under(e.old) != 0 {
		e.Errorf("%+v", j)
	}
	e.wantReadable(refs)
}

// lostJob: the record of a half-finished job is gone. A new one takes its place
// and ends its work.
func (e *env) lostJob() {
	refs := e.fill(10)
	j := e.start(rotation.Draft{Kind: rotation.KEK, To: e.new})
	strike := &dying{at: 6}
	_, _ = e.runner(dyingJobs{strike, e.Jobs}, dyingRecords{strike, e.Records}).RunAll(context.Background())
	if e.under(e.old) == 0 || e.under(e.new) == 0 {
		e.Fatalf("%d old, %d new", e.under(e.old), e.under(e.new))
	}
	e.Lose(j.ID)
	if _, err := e.runner(e.Jobs, e.Records).RunAll(context.Background()); err != nil {
		e.Fatal(err)
	}
	j = e.run(e.start(rotation.Draft{Kind: rotation.KEK}).ID)
	e.wantState(j, rotation.Done, "")
	if e.under(e.old) != 0 || j.To != e.new {
		e.Errorf("%d old: %+v", e.under(e.old), j)
	}
	e.wantReadable(refs)
}

// opensNowhere: the record is quarantined and listed, never deleted; the others
// are moved; entering the value again heals it, and then the job can be done.
func (e *env) opensNowhere() {
	ctx := context.Background()
	refs := e.fill(6)
	e.damage(refs[3], 1, func(v *vault.Version) { v.Key.Blob[20] ^= 1 })
	e.damage(refs[0], 1, func(v *vault.Version) { v.Key.Blob[20] ^= 1 }) // drains only
	j := e.run(e.start(rotation.Draft{Kind: rotation.KEK, To: e.new}).ID)
	e.wantState(j, rotation.Failed, "records_failed")
	want := []rotation.Failure{{Org: "org0", Class: refs[3].Class, Credential: "c003", Reason: vault.AwaitsReentry}}
	if !slices.Equal(j.Failures, want) || j.FailedCount != 1 || j.Mended != 2 || e.under(e.old) != 2 {
		e.Fatalf("%d under the old key, %+v", e.under(e.old), j)
	}
	c := e.load(refs[3])
	if c.Head.Status != vault.NeedsReentry || len(c.Versions) != 1 {
		e.Errorf("%+v", c)
	}
	if _, err := e.reveal(refs[3]); vault.ReasonOf(err) != vault.AwaitsReentry || !contains(fault.As(err).Message, "entering the value again") {
		e.Errorf("%v", err)
	}
	e.wantReadable(append(refs[:3:3], refs[4:]...))
	rows := 0
	for _, row := range e.Rows("org0") {
		if row.Action == "credential.quarantine" && row.Actor == "function:rotate" {
			rows++
		}
	}
	if rows != 2 {
		e.Errorf("%d audit rows", rows)
	}
	// Without a healing it stays listed.
	j = e.run(e.start(rotation.Draft{Kind: rotation.KEK}).ID)
	e.wantState(j, rotation.Failed, "records_failed")
	if _, err := e.v.Rotate(ctx, vault.Rotation{Op: e.op(), Ref: refs[3], Fields: text("value of " + refs[3].Org + " " + refs[3].ID)}); err != nil {
		e.Fatalf("re-entry: %v (%s)", err, vault.ReasonOf(err))
	}
	j = e.run(e.start(rotation.Draft{Kind: rotation.KEK}).ID)
	e.wantState(j, rotation.Done, "")
	e.wantReadable(refs)

	// A damaged ciphertext shows only to jobs that open.
	e.damage(refs[4], 1, func(v *vault.Version) { v.Fields[field].Ciphertext[20] ^= 1 })
	e.clock.Advance(time.Minute)
	j = e.run(e.start(rotation.Draft{Kind: rotation.DEK}).ID)
	e.wantState(j, rotation.Failed, "records_failed")
	if h := e.load(refs[4]).Head; h.Status != vault.NeedsReentry {
		e.Errorf("%+v", h)
	}
}

// missingVersion: a head that names a version which does not exist.
func (e *env) missingVersion() {
	refs := e.fill(4)
	e.remove(refs[0], 3) // its older values drain
	e.remove(refs[1], 1) // has nothing else
	j := e.run(e.start(rotation.Draft{Kind: rotation.KEK, To: e.new}).ID)
	e.wantState(j, rotation.Failed, "records_failed")
	if j.Mended != 2 || e.under(e.old) != 0 {
		e.Errorf("%+v", j)
	}
	if got, err := e.reveal(refs[0]); err != nil || got != "a value in between" {
		e.Errorf("%q, %v", got, err)
	}
	if h := e.load(refs[1]).Head; h.Status != vault.NeedsReentry {
		e.Errorf("%+v", h)
	}
	rows := slices.DeleteFunc(e.Rows(refs[1].Org), func(r audit.Row) bool { return r.Action != "credential.repair" })
	if len(rows) != 1 || rows[0].Actor != "function:rotate" || rows[0].Target != refs[1].ID {
		e.Errorf("audit: %+v", rows)
	}
	e.wantReadable(refs[2:])
}

// throttled: the worker slows down, and if that does not help leaves the rest to
// the next run. No record is taken for broken.
func (e *env) throttled() {
	refs := e.fill(10)
	n := 0
	e.kek.Before(func(operation string) vault.Reason {
		if n++; operation == "ReEncrypt" && n%3 == 0 {
			return vault.KeyThrottled
		}
		return ""
	})
	j := e.run(e.start(rotation.Draft{Kind: rotation.KEK, To: e.new, Rate: 64}).ID)
	e.wantState(j, rotation.Done, "")
	if j.FailedCount != 0 || e.under(e.old) != 0 {
		e.Errorf("%+v", j)
	}
	// Twelve records at 64 a second are a fifth of a second.
	if e.slept < time.Second {
		e.Errorf("the worker slept for %v only", e.slept)
	}
	n = 0
	e.kek.Before(func(operation string) vault.Reason {
		if n++; operation == "ReEncrypt" && n > 5 {
			return vault.KeyThrottled
		}
		return ""
	})
	j = e.run(e.start(rotation.Draft{Kind: rotation.KEK, To: e.old}).ID)
	if j.State != rotation.Running || j.Reason != string(vault.KeyThrottled) || j.LeaseOwner != "" || j.FailedCount != 0 {
		e.Fatalf("%+v", j)
	}
	e.wantReadable(refs)
	e.kek.Before(nil)
	j = e.run(j.ID)
	e.wantState(j, rotation.Done, "")
	if j.Attempts != 2 || e.under(e.new) != 0 {
		e.Errorf("%+v", j)
	}
	e.wantReadable(refs)
}

// besideAWriter: a person rotates between the worker's read and its write. Both
// changes last.
func (e *env) besideAWriter() {
	refs := e.fill(6)
	done := false
	e.kek.Before(func(operation string) vault.Reason {
		if operation == "ReEncrypt" && e.load(refs[2]).Versions[0].Key.KEK == e.old && !done {
			if r, err := e.v.Ring(context.Background()); err == nil && r.Epoch == 1 {
				done = true
				for _, r := range refs {
					e.rotate(r, "rotated "+r.ID, 0)
				}
				e.create(ref("org0", "new"))
			}
		}
		return ""
	})
	j := e.run(e.start(rotation.Draft{Kind: rotation.KEK, To: e.new}).ID)
	e.wantState(j, rotation.Done, "")
	e.kek.Disable(e.old, true)
	for _, r := range refs {
		if got, err := e.reveal(r); err != nil || got != "rotated "+r.ID {
			e.Errorf("%s opens as %q, %v: an update was lost", r.ID, got, err)
		}
	}
	if !done || e.under(e.old) != 0 || j.Pass < 2 {
		e.Errorf("%v, %d, %+v", done, e.under(e.old), j)
	}
	e.wantReadable([]vault.Ref{ref("org0", "new")})
}

// secondWorker: while a lease runs, nobody else works on the job.
func (e *env) secondWorker() {
	refs := e.fill(6)
	j := e.start(rotation.Draft{Kind: rotation.KEK, To: e.new})
	var second rotation.Job
	asked := false
	e.kek.Before(func(operation string) vault.Reason {
		if operation == "ReEncrypt" && !asked {
			asked = true
			var err error
			if second, err = e.runner(e.Jobs, e.Records).Run(context.Background(), j.ID); err != nil {
				e.Error(err)
			}
		}
		return ""
	})
	j = e.run(j.ID)
	e.wantState(j, rotation.Done, "")
	if !asked || second.State.Ended() || second.Done != 0 || j.Attempts != 1 {
		e.Errorf("second worker: %+v; job: %+v", second, j)
	}

	// A worker whose lease ran out without its notice goes on; the job is another
	// worker's by then. It stops at its next word with the store, and what it
	// writes until then does no harm.
	j = e.start(rotation.Draft{Kind: rotation.KEK, To: e.old})
	asked = false
	e.kek.Before(func(operation string) vault.Reason {
		if r, err := e.v.Ring(context.Background()); operation == "ReEncrypt" && !asked && err == nil && r.Current == e.old {
			asked = true
			e.clock.Advance(61 * time.Second)
			var err error
			if second, err = e.runner(e.Jobs, e.Records).Run(context.Background(), j.ID); err != nil {
				e.Error(err)
			}
		}
		return ""
	})
	first, err := e.runner(e.Jobs, e.Records).Run(context.Background(), j.ID)
	if err != nil || second.State != rotation.Done || first.State.Ended() {
		e.Errorf("%v: first %+v, second %+v", err, first, second)
	}
	if got := e.job(j.ID); fmt.Sprint(got) != fmt.Sprint(second) {
		e.Errorf("the first worker wrote over the second: %+v", got)
	}
	e.wantReadable(refs)
}

func (e *env) rollback() {
	ctx := context.Background()
	refs := e.fill(6)
	j := e.run(e.start(rotation.Draft{Kind: rotation.KEK, To: e.new}).ID)
	e.wantState(j, rotation.Done, "")
	j, err := e.service().Rollback(ctx, e.op(), j.ID)
	if err != nil || j.State != rotation.RollingBack || j.To != e.old {
		e.Fatalf("%v, %+v", err, j)
	}
	_, err = e.service().Start(ctx, e.op(), "other", rotation.Draft{Kind: rotation.KEK})
	e.wantCode("another job meanwhile", err, fault.Conflict)
	j = e.run(j.ID)
	e.wantState(j, rotation.Done, "")
	if r, err := e.v.Ring(ctx); err != nil || r != (vault.Ring{Current: e.old, Epoch: 2}) || e.under(e.new) != 0 {
		e.Errorf("%+v, %v, %d", r, err, e.under(e.new))
	}
	e.kek.Disable(e.new, true)
	e.wantReadable(refs)
	_, err = e.service().Rollback(ctx, e.op(), j.ID)
	e.wantCode("twice", err, fault.Conflict)
	e.kek.Disable(e.new, false)

	first := e.run(e.start(rotation.Draft{Kind: rotation.KEK, To: e.new}).ID)
	third := e.kek.Add()
	last := e.run(e.start(rotation.Draft{Kind: rotation.KEK, To: third}).ID)
	e.wantState(last, rotation.Done, "")
	_, err = e.service().Rollback(ctx, e.op(), first.ID)
	e.wantCode("not the last one", err, fault.Conflict)
	e.kek.Disable(e.new, true)
	_, err = e.service().Rollback(ctx, e.op(), last.ID)
	if fault.CodeOf(err) != fault.VaultUnavailable || vault.ReasonOf(err) != vault.KeyDisabled {
		e.Errorf("the key before is disabled: %v", err)
	}
	// Should the ring have moved between the request and the worker, nothing is done.
	e.kek.Disable(e.new, false)
	late := first
	late.From, late.To, late.Reversed, late.State, late.Pass, late.Rev = e.new, e.old, true, rotation.RollingBack, 0, first.Rev+1
	if err := e.Jobs.Write(ctx, rotation.Write{Job: late, Slot: rotation.TakeSlot}); err != nil {
		e.Fatal(err)
	}
	e.wantState(e.run(first.ID), rotation.Failed, string(vault.RingMoved))
	if r, err := e.v.Ring(ctx); err != nil || r.Current != third {
		e.Errorf("%+v, %v", r, err)
	}
	verify := e.run(e.start(rotation.Draft{Kind: rotation.Verify}).ID)
	_, err = e.service().Rollback(ctx, e.op(), verify.ID)
	e.wantCode("a job without a key", err, fault.Conflict)
	_, err = e.service().Rollback(ctx, e.op(), "none")
	e.wantCode("no job", err, fault.NotFound)
}

// rollbackUnderAWorker: the worker is between its call of the key service and
// its write when the job is turned round and ended by others. Its write must not
// bring a record back under the key that is out of use by then.
func (e *env) rollbackUnderAWorker() {
	ctx := context.Background()
	refs := e.fill(6)
	j := e.start(rotation.Draft{Kind: rotation.KEK, To: e.new})
	calls, turned := 0, false
	e.kek.Before(func(operation string) vault.Reason {
		if operation != "ReEncrypt" || turned {
			return ""
		}
		if calls++; calls < 3 { // one is the probe's
			return ""
		}
		turned = true
		e.clock.Advance(61 * time.Second)
		if _, err := e.service().Rollback(ctx, e.op(), j.ID); err != nil {
			e.Errorf("rollback: %v", err)
		}
		if second, err := e.runner(e.Jobs, e.Records).Run(ctx, j.ID); err != nil || second.State != rotation.Done {
			e.Errorf("%v, %+v", err, second)
		}
		return ""
	})
	if _, err := e.runner(e.Jobs, e.Records).Run(ctx, j.ID); err != nil {
		e.Fatal(err)
	}
	e.wantState(e.job(j.ID), rotation.Done, "")
	if n := e.under(e.new); n != 0 || !turned {
		e.Errorf("%d records are under the key that was given up (%v)", n, turned)
	}
	e.kek.Disable(e.new, true)
	e.wantReadable(refs)
}

// endOfTime: a run whose time is over gives the lease back and keeps its place.
func (e *env) endOfTime() {
	refs := e.fill(70)
	j := e.start(rotation.Draft{Kind: rotation.KEK, To: e.new})
	for n := 1; ; n++ {
		ctx, cancel := context.WithCancel(context.Background())
		calls := 0
		e.kek.Before(func(operation string) vault.Reason {
			if calls++; calls == 50 {
				cancel()
			}
			return ""
		})
		if _, err := e.runner(e.Jobs, e.Records).RunAll(ctx); err != nil {
			e.Fatal(err)
		}
		cancel()
		j = e.job(j.ID)
		if j.LeaseOwner != "" || j.Attempts != n || j.Reason != "" {
			e.Fatalf("%+v", j)
		}
		if j.State.Ended() {
			break
		}
		if n > 10 {
			e.Fatal("the job does not get on")
		}
	}
	e.wantState(j, rotation.Done, "")
	if j.Attempts < 2 || e.under(e.old) != 0 {
		e.Errorf("%+v", j)
	}
	e.wantReadable(refs)
}
