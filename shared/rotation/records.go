package rotation

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/vault"
)

// outageTries bounds the repetitions of one record while the key service or the
// store is busy; then the run ends and the next one goes on.
const outageTries = 6

// patiently repeats f while the vault is not available, at half the rate each
// time.
func (w *worker) patiently(ctx context.Context, f func() error) error {
	for try := 0; ; try++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		w.pace.wait(ctx)
		err := f()
		if err == nil || !vault.IsOutage(err) || try+1 == outageTries {
			return err
		}
		w.pace.slow()
		w.Sleep(ctx, 100*time.Millisecond<<try)
	}
}

// credential does the job's work on one credential. An error ends the run.
func (w *worker) credential(ctx context.Context, c vault.Credential, t *tally) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	switch {
	case c.Head.Status == vault.Revoked:
		return nil
	case w.job.Kind == Verify:
		return w.verify(ctx, c, t)
	case w.job.Kind == Prune:
		return w.prune(ctx, c, t)
	case c.Head.Status == vault.Unreadable:
		w.fail(ctx, t, c.Head.Ref, 0, "", vault.MalformedRecord)
		return nil
	}
	if !c.Sound() {
		var err error
		if c, err = w.repair(ctx, c, t); err != nil || c.Head.Status == vault.Revoked {
			return err
		}
	}
	if c.Head.Status == vault.NeedsReentry {
		w.fail(ctx, t, c.Head.Ref, 0, "", vault.AwaitsReentry)
	}
	for _, ver := range c.Versions {
		if !w.stale(ver) {
			t.skipped++
			continue
		}
		if err := w.version(ctx, c, ver, t); err != nil {
			return err
		}
	}
	return nil
}

// stale reports whether the job has something to do about a version.
func (w *worker) stale(ver vault.Version) bool {
	switch w.job.Kind {
	case Material:
		return ver.Key.KEK != w.job.To || ver.Key.Material != w.job.Material
	case DEK:
		// Creations and rotations since then have a fresh data key.
		return ver.WrappedAt.Before(w.job.CreatedAt)
	}
	return ver.Key.KEK != w.job.To
}

func (w *worker) version(ctx context.Context, c vault.Credential, ver vault.Version, t *tally) error {
	var out vault.Outcome
	err := w.patiently(ctx, func() (err error) {
		if w.job.Kind == DEK {
			out, err = w.Vault.Reseal(ctx, c, ver.Number, w.ring, w.job.CreatedAt)
			return err
		}
		var material string
		out, material, err = w.Vault.Rewrap(ctx, c, ver.Number, w.ring)
		if err == nil && w.job.Kind == Material && material != w.job.Material {
			// The key got new material meanwhile: that is what this pass goes for now.
			w.job.Material, t.touched = material, true
		}
		return err
	})
	switch reason := vault.ReasonOf(err); {
	case err == nil && out == vault.Lost:
		t.touched = true
	case err == nil:
		t.done++
		t.touched = true
	case ctx.Err() != nil:
		return ctx.Err()
	case reason == vault.RingMoved:
		return errLease
	case vault.IsOutage(err):
		return err
	case reason == vault.IsRevoked:
	case (reason == vault.KeyInvalidCiphertext || reason == vault.TagMismatch) && !c.Head.Uses(ver.Number):
		t.skipped++ // nobody opens it, and nobody could
	case reason == vault.KeyInvalidCiphertext || reason == vault.TagMismatch:
		return w.quarantine(ctx, c, ver.Number, reason, t)
	default:
		w.fail(ctx, t, c.Head.Ref, ver.Number, "", reason)
	}
	return nil
}

func (w *worker) fail(ctx context.Context, t *tally, ref vault.Ref, version int, field string, reason vault.Reason) {
	if reason == "" {
		reason = vault.KeyUnexpected
	}
	f := Failure{Org: ref.Org, Class: ref.Class, Credential: ref.ID, Version: version, Field: field, Reason: reason}
	t.failures = append(t.failures, f)
	w.OnEvent(ctx, Event{Job: w.job, Failure: f, What: "failure"})
}

// quarantine takes a version that opens under no key out of use and lists it.
func (w *worker) quarantine(ctx context.Context, c vault.Credential, number int, reason vault.Reason, t *tally) error {
	was := c.Head
	h, err := w.Vault.Quarantine(ctx, was.Ref, number, w.op())
	switch {
	case fault.CodeOf(err) == fault.Conflict:
		t.touched = true // somebody changed it; the next pass looks again
		return nil
	case err != nil:
		return err
	case h.Epoch != was.Epoch:
		t.mended++
		w.OnEvent(ctx, Event{Job: w.job, What: "quarantined", Failure: Failure{Org: was.Ref.Org, Class: was.Ref.Class, Credential: was.Ref.ID, Version: number, Reason: reason}})
	}
	if was.Status != vault.NeedsReentry { // that is listed already
		w.fail(ctx, t, was.Ref, number, "", reason)
	}
	return nil
}

// repair mends a head that names a version which does not exist and returns the
// credential as it is then.
func (w *worker) repair(ctx context.Context, c vault.Credential, t *tally) (vault.Credential, error) {
	ref := c.Head.Ref
	again, err := w.Vault.Load(ctx, ref.Org, ref.Class, ref.ID)
	if fault.CodeOf(err) == fault.NotFound {
		return vault.Credential{Head: vault.Head{Status: vault.Revoked}}, nil
	}
	if err != nil || again.Sound() {
		return again, err
	}
	h, err := w.Vault.Repair(ctx, ref, w.op())
	if err != nil && fault.CodeOf(err) != fault.Conflict {
		return again, err
	}
	t.touched = true
	if err == nil && h.Epoch != again.Head.Epoch {
		t.mended++
		w.OnEvent(ctx, Event{Job: w.job, What: "repaired", Failure: Failure{Org: ref.Org, Class: ref.Class, Credential: ref.ID, Reason: vault.VersionMissing}})
	}
	return w.Vault.Load(ctx, ref.Org, ref.Class, ref.ID)
}

// op is the operation under whose name a credential is changed.
func (w *worker) op() audit.Op {
	now := w.Now()
	return audit.Op{Actor: actor, ID: w.NewID(now), At: stamp(now)}
}

func (w *worker) verify(ctx context.Context, c vault.Credential, t *tally) error {
	if !c.Sound() {
		again, err := w.Vault.Load(ctx, c.Head.Ref.Org, c.Head.Ref.Class, c.Head.Ref.ID)
		if err != nil && fault.CodeOf(err) != fault.NotFound {
			return err
		}
		if err == nil {
			c = again
		}
	}
	var problems []vault.Problem
	err := w.patiently(ctx, func() (err error) {
		problems, err = w.Vault.Examine(ctx, c)
		return err
	})
	if err != nil {
		return err
	}
	for _, p := range problems {
		w.fail(ctx, t, p.Ref, p.Version, p.Field, p.Reason)
	}
	t.done++
	return nil
}

func (w *worker) prune(ctx context.Context, c vault.Credential, t *tally) error {
	if !c.Head.HasEndedDrains(w.Now()) {
		t.skipped++
		return nil
	}
	_, err := w.Vault.Prune(ctx, c.Head.Ref, actor)
	switch {
	case err == nil:
		t.done++
	case vault.IsOutage(err):
		return err
	case fault.CodeOf(err) == fault.Conflict || fault.CodeOf(err) == fault.NotFound:
		// Changed or revoked meanwhile; the next hour looks again.
	default:
		w.fail(ctx, t, c.Head.Ref, 0, "", vault.ReasonOf(err))
	}
	return nil
}

// pace spreads the work over time.
type pace struct {
	now   func() time.Time
	sleep func(context.Context, time.Duration)
	rate  int
	next  time.Time
}

func newPace(rate int, o Options) *pace {
	if rate <= 0 {
		rate = Rate
	}
	return &pace{now: o.Now, sleep: o.Sleep, rate: rate}
}

// wait returns when the next record may begin.
func (p *pace) wait(ctx context.Context) {
	now := p.now()
	if p.next.After(now) {
		p.sleep(ctx, p.next.Sub(now))
	} else {
		p.next = now
	}
	p.next = p.next.Add(time.Second / time.Duration(p.rate))
}

// slow halves the rate.
func (p *pace) slow() { p.rate = max(p.rate/2, 1) }
