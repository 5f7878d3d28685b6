package rotation

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/vault"
)

// Keys is what the service needs of the vault.
type Keys interface {
	Keys() []string
	Ring(ctx context.Context) (vault.Ring, error)
	ProbeWrite(ctx context.Context, arn string) error
}

// Service starts jobs and turns them round. It never opens a credential.
type Service struct {
	Store Store
	Keys  Keys
	// Wake starts the worker. That it fails is no error of the job: open jobs are
	// looked for every minute.
	Wake func(ctx context.Context) error
}

// Draft is a job that is asked for.
type Draft struct {
	Kind Kind
	// Org limits the job; empty means all organisations.
	Org string
	// To is the key to move to, for [KEK] only; empty means the present one.
	To string
	// Rate is records per second; 0 means [Rate].
	Rate int
}

// Start stores a job under id and wakes the worker. Errors: invalid_request,
// conflict (another job is open), vault_unavailable, unavailable.
func (s *Service) Start(ctx context.Context, op audit.Op, id string, d Draft) (Job, error) {
	const at = "rotation.Start"
	if d.Kind != KEK && d.Kind != Material && d.Kind != DEK && d.Kind != Verify && d.Kind != Import {
		return Job{}, fault.New(fault.InvalidRequest, at, "kind is kek, material, dek, verify or import").WithParam("kind")
	}
	if d.Kind == Import && d.Org == "" {
		return Job{}, fault.New(fault.InvalidRequest, at, "an import is for one organisation; name it").WithParam("org_id")
	}
	if d.Org != "" && !table.ValidID(d.Org) {
		return Job{}, fault.New(fault.InvalidRequest, at, "this is not the id of an organisation").WithParam("org_id")
	}
	if d.Rate < 0 || d.Rate > maxRate {
		return Job{}, fault.New(fault.InvalidRequest, at, "rate is 1 to 1000 records per second").WithParam("rate")
	}
	ring, err := s.Keys.Ring(ctx)
	if err != nil {
		return Job{}, err
	}
	to, err := s.target(at, ring, d)
	if err != nil {
		return Job{}, err
	}
	over, err := s.freeSlot(ctx, at, d.Kind, "")
	if err != nil {
		return Job{}, err
	}
	job := Job{ID: id, Kind: d.Kind, Org: d.Org, From: ring.Current, To: to, State: Planned, Rate: d.Rate, CreatedBy: op.Actor,
		CreatedAt: stamp(op.At), UpdatedAt: stamp(op.At), Rev: 1}
	if !d.Kind.rewrites() {
		job.From, job.To = "", ""
	}
	row := op.Row(operator, "rotation.start", id, "kind", string(d.Kind), "key_id", keyID(to))
	if err := s.Store.Write(ctx, Write{Job: job, Slot: TakeSlot, Over: over, Audit: &row}); err != nil {
		return Job{}, writeFault(at, err)
	}
	_ = s.Wake(ctx)
	return job, nil
}

// operator is the organisation of the operator's own audit rows.
const operator = "operator"

func (s *Service) target(at string, ring vault.Ring, d Draft) (string, error) {
	switch {
	case d.To == "":
		return ring.Current, nil
	case d.Kind != KEK:
		return "", fault.New(fault.InvalidRequest, at, "only the kind kek moves to another key; leave to out").WithParam("to")
	case !slices.Contains(s.Keys.Keys(), d.To):
		return "", fault.New(fault.InvalidRequest, at, "this key is not configured; to is the full ARN of a key in LATCHKEY_VAULT_KEY_ARN").WithParam("to")
	case d.Org != "" && d.To != ring.Current:
		return "", fault.New(fault.InvalidRequest, at, "a new key is one for all organisations; leave org_id out").WithParam("org_id")
	}
	return d.To, nil
}

// freeSlot finds out whether a job may open: mine may hold the slot already. It
// returns a job that is in the way although its record is lost.
func (s *Service) freeSlot(ctx context.Context, at string, k Kind, mine string) (over string, err error) {
	open, err := s.Store.Open(ctx)
	if err != nil {
		return "", storeFault(at, err)
	}
	id, taken := open[k.Slot()]
	if !taken || id == mine {
		return "", nil
	}
	other, err := s.Store.Job(ctx, id)
	switch {
	case errors.Is(err, ErrAbsent):
		return id, nil
	case err != nil:
		return "", storeFault(at, err)
	}
	return "", fault.Wrap(fault.Conflict, at, "the rotation "+id+" ("+string(other.Kind)+", "+string(other.State)+") is not finished; wait for it", ErrTaken)
}

// Rollback turns a change of the key round: the ring goes back to the key
// before, and the same job moves the records back. It is possible while that key
// is configured and no later rotation has come. Errors: not_found, conflict,
// vault_unavailable, unavailable.
func (s *Service) Rollback(ctx context.Context, op audit.Op, id string) (Job, error) {
	const at = "rotation.Rollback"
	job, err := s.Job(ctx, id)
	if err != nil {
		return Job{}, err
	}
	if err := s.reversible(ctx, at, job); err != nil {
		return Job{}, err
	}
	if _, err := s.freeSlot(ctx, at, job.Kind, id); err != nil {
		return Job{}, err
	}
	if err := s.Keys.ProbeWrite(ctx, job.From); err != nil {
		return Job{}, err
	}
	next := job
	next.From, next.To, next.Reversed, next.State = job.To, job.From, true, RollingBack
	next.Pass, next.Cursor, next.Touched, next.Failures, next.FailedCount, next.Reason = 0, "", false, nil, 0, ""
	next.LeaseOwner, next.LeaseUntil, next.EndedAt = "", time.Time{}, time.Time{}
	next.UpdatedAt = stamp(op.At)
	next.Rev++
	row := op.Row(operator, "rotation.rollback", id, "kind", string(job.Kind), "key_id", keyID(next.To))
	if err := s.Store.Write(ctx, Write{Job: next, Slot: TakeSlot, Audit: &row}); err != nil {
		return Job{}, writeFault(at, err)
	}
	_ = s.Wake(ctx)
	return next, nil
}

func (s *Service) reversible(ctx context.Context, at string, job Job) error {
	conflict := func(message string) error { return fault.New(fault.Conflict, at, message) }
	switch {
	case job.Kind != KEK || job.From == job.To:
		return conflict("only a change of the key can be rolled back")
	case job.Reversed:
		return conflict("this rotation was rolled back already; start a new one")
	case job.Pass == 0:
		return conflict("this rotation has not begun, there is nothing to roll back yet")
	case !slices.Contains(s.Keys.Keys(), job.From):
		return conflict("the key before is not configured any more; add it to LATCHKEY_VAULT_KEY_ARN")
	}
	ring, err := s.Keys.Ring(ctx)
	if err != nil {
		return err
	}
	if ring.Current != job.To {
		return conflict("another rotation came after this one; start a new one")
	}
	return nil
}

// Job returns one job. Errors: not_found, unavailable.
func (s *Service) Job(ctx context.Context, id string) (Job, error) {
	const at = "rotation.Job"
	job, err := s.Store.Job(ctx, id)
	if err != nil {
		return Job{}, storeFault(at, err)
	}
	return job, nil
}

// Jobs lists jobs, newest first. Errors: unavailable.
func (s *Service) Jobs(ctx context.Context, after string, limit int) ([]Job, string, error) {
	jobs, next, err := s.Store.Jobs(ctx, after, limit)
	if err != nil {
		return nil, "", storeFault("rotation.Jobs", err)
	}
	return jobs, next, nil
}

func storeFault(op string, err error) error {
	if errors.Is(err, ErrAbsent) {
		return fault.Wrap(fault.NotFound, op, "there is no such rotation", err)
	}
	return fault.Wrap(fault.Unavailable, op, "the store of rotations did not answer, try again", err)
}

func writeFault(op string, err error) error {
	switch {
	case errors.Is(err, ErrTaken):
		return fault.Wrap(fault.Conflict, op, "another rotation was started at the same time; wait for it", err)
	case errors.Is(err, ErrLost):
		return fault.Wrap(fault.Conflict, op, "this rotation has just gone on; read it and try again", err)
	}
	return storeFault(op, err)
}

// keyID is the last part of a key's ARN, which is enough to tell keys apart.
func keyID(arn string) string {
	for i := len(arn) - 1; i >= 0; i-- {
		if arn[i] == '/' {
			return arn[i+1:]
		}
	}
	return arn
}

// stamp is a time as it is stored.
func stamp(t time.Time) time.Time { return t.UTC().Round(0).Truncate(time.Millisecond) }

// Waiting reports whether an open job has no worker: the one it had is gone or
// out of time. Errors: unavailable.
func Waiting(ctx context.Context, s Store, now time.Time) (bool, error) {
	const at = "rotation.Waiting"
	open, err := s.Open(ctx)
	if err != nil {
		return false, storeFault(at, err)
	}
	for _, id := range open {
		job, err := s.Job(ctx, id)
		if err != nil && !errors.Is(err, ErrAbsent) {
			return false, storeFault(at, err)
		}
		if err == nil && !job.State.Ended() && !job.leased(now) {
			return true, nil
		}
	}
	return false, nil
}

func (j Job) leased(now time.Time) bool { return j.LeaseOwner != "" && now.Before(j.LeaseUntil) }
