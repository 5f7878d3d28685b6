package rotation

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/latchkey/latchkey/shared/vault"
)

// Event is something a worker did that a person may want to know.
type Event struct {
	Job     Job
	Failure Failure // of a record; zero for the job itself
	What    string  // "begun" "passed" "ended" "stopped" "failure" "quarantined" "repaired"
}

// Options are the dependencies of a [Runner]. All but Imports and OnEvent are
// required.
type Options struct {
	Store Store
	Vault *vault.Vault
	Pages Pages
	// Imports works for jobs of kind [Import]; without it they fail.
	Imports Importer
	Now     func() time.Time
	// Sleep waits, or returns early when ctx ends.
	Sleep func(ctx context.Context, d time.Duration)
	// NewID makes ids of jobs, leases and audit rows.
	NewID   func(now time.Time) string
	OnEvent func(context.Context, Event)
}

// Runner works on jobs. It is safe for concurrent use.
type Runner struct{ o Options }

// NewRunner returns a worker. It fails if a required option is missing.
func NewRunner(o Options) (*Runner, error) {
	if o.Store == nil || o.Vault == nil || o.Pages == nil || o.Now == nil || o.Sleep == nil || o.NewID == nil {
		return nil, errors.New("rotation: Store, Vault, Pages, Now, Sleep and NewID are required")
	}
	if o.OnEvent == nil {
		o.OnEvent = func(context.Context, Event) {}
	}
	return &Runner{o}, nil
}

// actor is who the worker's changes are recorded for.
const actor = "function:rotate"

// RunAll works on every open job until each has ended, stopped, or belongs to
// another worker, or until ctx ends. It returns the jobs as they are then. An
// error means that the jobs could not be read.
func (r *Runner) RunAll(ctx context.Context) ([]Job, error) {
	open, err := r.o.Store.Open(ctx)
	if err != nil {
		return nil, storeFault("rotation.RunAll", err)
	}
	var out []Job
	for _, slot := range []string{slots[KEK], slots[Verify], slots[Prune], slots[Import]} {
		if id := open[slot]; id != "" && ctx.Err() == nil {
			job, err := r.Run(ctx, id)
			if err != nil && !errors.Is(err, ErrAbsent) {
				return out, err
			}
			out = append(out, job)
		}
	}
	return out, nil
}

// StartPrune opens the prune job unless it is open. Errors: unavailable.
func (r *Runner) StartPrune(ctx context.Context) error {
	const op = "rotation.StartPrune"
	now := stamp(r.o.Now())
	was, err := r.o.Store.Job(ctx, pruneID)
	if err != nil && !errors.Is(err, ErrAbsent) {
		return storeFault(op, err)
	}
	if err == nil && !was.State.Ended() {
		return nil
	}
	job := Job{ID: pruneID, Kind: Prune, State: Planned, CreatedBy: actor, CreatedAt: now, UpdatedAt: now, Rev: was.Rev + 1}
	err = r.o.Store.Write(ctx, Write{Job: job, Slot: TakeSlot})
	if err != nil && !errors.Is(err, ErrLost) && !errors.Is(err, ErrTaken) {
		return storeFault(op, err)
	}
	return nil
}

// Run works on one job until it has ended, until ctx ends or until the key
// service or the store stays away. It returns the job as it is then. Only
// ErrAbsent and faults of reading the job are errors.
func (r *Runner) Run(ctx context.Context, id string) (Job, error) {
	job, err := r.o.Store.Job(ctx, id)
	if errors.Is(err, ErrAbsent) {
		return Job{}, ErrAbsent
	}
	if err != nil {
		return Job{}, storeFault("rotation.Run", err)
	}
	now := r.o.Now()
	if job.State.Ended() || job.leased(now) {
		return job, nil
	}
	w := &worker{Options: r.o, job: job, owner: r.o.NewID(now), pace: newPace(job.Rate, r.o)}
	job.Attempts++
	job.Reason = ""
	if w.write(ctx, Write{Job: job}) != nil {
		return w.job, nil // somebody else has taken it
	}
	err = w.work(ctx)
	if !w.job.State.Ended() {
		w.release(ctx, err)
	}
	return w.job, nil
}

// worker is one run of one job.
type worker struct {
	Options
	job   Job // as it is stored
	owner string
	ring  vault.Ring
	pace  *pace
	saved time.Time
}

// Reasons why a run stops that concern no record.
var (
	errLease  = errors.New("rotation: the lease is lost")
	errOutage = errors.New("rotation: the vault is not available")
)

// write stores a job, renews the lease and takes the job over into w. After a
// failure w has what is known to be stored: nothing that was only meant to be
// written can get into the record later.
func (w *worker) write(ctx context.Context, change Write) error {
	now := w.Now()
	next := change.Job
	next.Rev = w.job.Rev + 1
	next.UpdatedAt = stamp(now)
	if !next.State.Ended() {
		next.LeaseOwner, next.LeaseUntil = w.owner, stamp(now.Add(lease))
	} else {
		next.LeaseOwner, next.LeaseUntil, next.EndedAt = "", time.Time{}, stamp(now)
	}
	change.Job = next
	err := w.Store.Write(ctx, change)
	if err != nil {
		// A write whose answer was lost shows in the record, which nobody else
		// writes under this owner and revision.
		stored, readErr := w.Store.Job(ctx, next.ID)
		if readErr != nil || stored.Rev != next.Rev || stored.LeaseOwner != next.LeaseOwner || stored.State != next.State || !stored.UpdatedAt.Equal(next.UpdatedAt) {
			return err
		}
	}
	w.job, w.saved = next, now
	return nil
}

// release gives the lease back, so that the next run need not wait for its end.
func (w *worker) release(ctx context.Context, why error) {
	if errors.Is(why, errLease) {
		return
	}
	// The run's own time is over; the function's is not.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	next := w.job
	next.Rev++
	next.Reason = stopReason(why)
	next.LeaseOwner, next.LeaseUntil, next.UpdatedAt = "", time.Time{}, stamp(w.Now())
	if w.Store.Write(ctx, Write{Job: next}) == nil {
		w.job = next
	}
	w.OnEvent(ctx, Event{Job: w.job, What: "stopped"})
}

func stopReason(err error) string {
	if err == nil {
		return ""
	}
	if r := vault.ReasonOf(err); r != "" {
		return string(r)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return ""
	}
	return "store_failed"
}

// end closes the job.
func (w *worker) end(ctx context.Context, s State, reason string) error {
	next := w.job
	next.State, next.Reason = s, reason
	if err := w.write(ctx, Write{Job: next, Slot: FreeSlot}); err != nil {
		return leaseOr(err)
	}
	w.OnEvent(ctx, Event{Job: w.job, What: "ended"})
	return nil
}

// leaseOr says whether a failed write of the job means that it belongs to
// another worker now.
func leaseOr(err error) error {
	if errors.Is(err, ErrLost) || errors.Is(err, vault.ErrRing) || errors.Is(err, ErrTaken) {
		return errLease
	}
	return errors.Join(errOutage, err)
}

func (w *worker) work(ctx context.Context) error {
	if w.job.Pass == 0 {
		if err := w.prepare(ctx); err != nil || w.job.State.Ended() {
			return err
		}
		w.OnEvent(ctx, Event{Job: w.job, What: "begun"})
	}
	if w.job.Kind.rewrites() {
		ring, err := w.Vault.Ring(ctx)
		if err != nil {
			return err
		}
		if ring.Epoch != w.job.Epoch || ring.Current != w.job.To {
			return w.end(ctx, Failed, string(vault.RingMoved))
		}
		w.ring = ring
	}
	for !w.job.State.Ended() {
		if err := w.pass(ctx); err != nil {
			return err
		}
	}
	return nil
}

// prepare tries the keys and makes the ring name the new one, so that nothing
// depends on a key that does not work.
func (w *worker) prepare(ctx context.Context) error {
	next := w.job
	next.Pass = 1
	if next.State == Planned {
		next.State = Running
	}
	change := Write{}
	if w.job.Kind.rewrites() {
		ring, err := w.Vault.Ring(ctx)
		if err != nil {
			return err
		}
		if w.job.Reversed && ring.Current != w.job.From {
			return w.end(ctx, Failed, string(vault.RingMoved))
		}
		if w.job.Kind != KEK || w.job.Org != "" {
			next.To = ring.Current
		}
		next.From, next.Epoch = ring.Current, ring.Epoch
		material, err := w.Vault.Probe(ctx, ring.Current, next.To)
		switch {
		case vault.IsOutage(err):
			return err
		case err != nil:
			return w.end(ctx, Failed, string(vault.ReasonOf(err)))
		case next.Kind == Material && material == "":
			return w.end(ctx, Failed, "no_material")
		case next.Kind == Material:
			next.Material = material
		}
		if next.To != ring.Current {
			next.Epoch++
			change.Ring = &vault.Ring{Current: next.To, Epoch: next.Epoch}
		}
	}
	change.Job = next
	if err := w.write(ctx, change); err != nil {
		return leaseOr(err)
	}
	return nil
}

// tally is what one page adds to the job.
type tally struct {
	done, skipped, mended int64
	touched               bool
	failures              []Failure
}

// pageItems is how many stored items one page reads: about thirty credentials,
// which even at one a second is less than a lease.
const pageItems = 64

// pass walks the pages from the cursor on and decides what comes after the last.
func (w *worker) pass(ctx context.Context) error {
	if w.job.Kind == Import {
		return w.importPass(ctx)
	}
	for {
		creds, next, err := w.Pages.Page(ctx, w.job.Org, w.job.Cursor, pageItems)
		if err != nil {
			return errors.Join(errOutage, err)
		}
		var t tally
		for _, c := range creds {
			if err := w.credential(ctx, c, &t); err != nil {
				return err
			}
			if w.Now().Sub(w.saved) > lease/6 {
				if err := w.write(ctx, Write{Job: w.job}); err != nil {
					return leaseOr(err)
				}
			}
		}
		job := t.addTo(w.job)
		job.Cursor = next
		if next == "" {
			return w.endPass(ctx, job)
		}
		if err := w.write(ctx, Write{Job: job}); err != nil {
			return leaseOr(err)
		}
	}
}

func (t tally) addTo(job Job) Job {
	job.Done += t.done
	job.Skipped += t.skipped
	job.Mended += t.mended
	job.Touched = job.Touched || t.touched
	job.FailedCount += int64(len(t.failures))
	room := max(maxFailures-len(job.Failures), 0)
	job.Failures = append(slices.Clone(job.Failures), t.failures[:min(room, len(t.failures))]...)
	return job
}

// endPass begins another pass if this one found something to do, else ends the
// job.
func (w *worker) endPass(ctx context.Context, job Job) error {
	w.OnEvent(ctx, Event{Job: job, What: "passed"})
	slot := FreeSlot
	switch {
	case job.Touched && job.Kind.rewrites():
		slot = KeepSlot
		job.Pass++
		job.Touched, job.FailedCount, job.Failures = false, 0, nil
		if job.State == Running {
			job.State = Verifying
		}
	case job.FailedCount > 0:
		job.State, job.Reason = Failed, "records_failed"
	default:
		job.State = Done
	}
	if err := w.write(ctx, Write{Job: job, Slot: slot}); err != nil {
		return leaseOr(err)
	}
	if job.State.Ended() {
		w.OnEvent(ctx, Event{Job: w.job, What: "ended"})
	}
	return nil
}
