package credit

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
)

// Poison is something that settlement met and cannot process. It is kept, told,
// looked at by people, and tried again by the sweep once an hour. A record whose
// item has been settled, by whomever, is forgotten. One that can never be settled may
// be dismissed: it stays, and is not counted as something to look at.
type Poison struct {
	PK, SK string // key of the item in question
	Reason string
	At     time.Time // when it was tried last
	First  time.Time // when it was found
	Tries  int
	Next   time.Time // when the sweep tries it again
	// Dismissed is when somebody dismissed it, zero if nobody has; By and Note are who,
	// and why.
	Dismissed time.Time
	By, Note  string
}

// PoisonRest is how long the sweep leaves poison alone.
const PoisonRest = time.Hour

// Unreadable is the reason of an item that cannot be understood.
const Unreadable = "unreadable"

// ID names a record for people and for the API.
func (p Poison) ID() string { return "p_" + shortHash(p.PK, p.SK) }

// Org is the organisation that the item belongs to, "" if its key does not say.
func (p Poison) Org() string {
	kind, rest, _ := strings.Cut(p.PK, "#")
	org, _, _ := strings.Cut(rest, "#")
	if kind != "R" && kind != "J" || !table.ValidID(org) {
		return ""
	}
	return org
}

// Reread is the item of a record as it is stored now: an attempt, an entry or
// neither, which means that there is no such item.
type Reread struct {
	Open  *Open // with its state, also a final one
	Entry *Entry
}

// HoldRefused is the error of a [SweepStore] that cannot give back a hold, because
// the balance holds less than that. The store does not record it.
type HoldRefused struct{ Reason string }

// Error names the reason.
func (r *HoldRefused) Error() string { return "credit: the balance refuses: " + r.Reason }

func refusedOf(err error) string {
	if r, ok := errors.AsType[*HoldRefused](err); ok {
		return r.Reason
	}
	return ""
}

// Poison records a stream record that cannot be read.
func (l *Ledger) Poison(ctx context.Context, p Poison) error { return l.store.Poison(ctx, p) }

// Poisoned lists what settlement cannot process, a thousand at most.
func (l *Ledger) Poisoned(ctx context.Context) ([]Poison, error) { return l.store.Poisoned(ctx) }

// RetryPoison makes the next sweep try the record with an ID again, or all with
// an empty one, and says how many. Errors: not_found, ledger_unavailable.
func (l *Ledger) RetryPoison(ctx context.Context, id string) (int, error) {
	all, err := l.store.Poisoned(ctx)
	n := 0
	for _, p := range all {
		if err == nil && (id == "" || p.ID() == id) {
			err = l.store.Retry(ctx, p)
			n++
		}
	}
	if err == nil && n == 0 && id != "" {
		err = fault.New(fault.NotFound, "credit.RetryPoison", "there is no such poison, it may have been settled meanwhile")
	}
	return n, err
}

// maxNote bounds the reason of a dismissal, in bytes.
const maxNote = 200

// DismissPoison says that the record with an ID needs nobody any more, and why. Its
// hold and whatever else there is of it stay as they are. The audit row is written
// with it. Errors: invalid_request without a reason of at most 200 characters in
// ASCII, not_found, conflict if it was dismissed before, ledger_unavailable.
func (l *Ledger) DismissPoison(ctx context.Context, id, note string, row audit.Row) (Poison, error) {
	const where = "credit.DismissPoison"
	note = strings.TrimSpace(note)
	if note == "" || len(note) > maxNote || strings.ContainsFunc(note, func(c rune) bool { return c < 0x20 || c > 0x7e }) {
		return Poison{}, fault.New(fault.InvalidRequest, where, "say why it is dismissed, in 1 to 200 ASCII characters").WithParam("reason")
	}
	all, err := l.store.Poisoned(ctx)
	if err != nil {
		return Poison{}, err
	}
	for _, p := range all {
		if p.ID() != id {
			continue
		}
		if !p.Dismissed.IsZero() {
			return Poison{}, fault.New(fault.Conflict, where, "this was dismissed before")
		}
		p.Dismissed, p.By, p.Note = row.At, row.Actor, note
		return p, l.store.Dismiss(ctx, p, row)
	}
	return Poison{}, fault.New(fault.NotFound, where, "there is no such poison, it may have been settled meanwhile")
}

// found records poison and reports it.
func (l *Ledger) found(ctx context.Context, s *sweeper, p Poison) error {
	s.report.Found = append(s.report.Found, p)
	s.report.Left++
	return l.store.Poison(ctx, p)
}

// retryPoison tries what is due. All that is recorded stays out of the walk.
func (l *Ledger) retryPoison(ctx context.Context, s *sweeper) error {
	poisoned, err := l.store.Poisoned(ctx)
	if err != nil {
		return err
	}
	s.poison = make(map[table.Key]bool, len(poisoned))
	for _, p := range poisoned {
		s.poison[table.Key{PK: p.PK, SK: p.SK}] = true
	}
	for _, p := range poisoned {
		if p.Dismissed.IsZero() {
			s.report.Left++
		}
	}
	for _, p := range poisoned {
		if ctx.Err() != nil {
			return nil
		}
		if p.Next.After(s.now) {
			continue
		}
		healed, err := l.retry(ctx, s, p)
		if err != nil {
			return err
		}
		if healed {
			if err := l.store.Heal(ctx, p); err != nil {
				return err
			}
			s.report.Healed++
			if p.Dismissed.IsZero() {
				s.report.Left--
			}
		}
	}
	return nil
}

// retry tries one record; what fails again is recorded again.
func (l *Ledger) retry(ctx context.Context, s *sweeper, p Poison) (healed bool, err error) {
	p.At = s.now
	now, err := l.store.Reread(ctx, p)
	switch {
	case fault.CodeOf(err) == fault.Internal: // still unreadable
		s.report.Poisoned++
		return false, l.store.Poison(ctx, p)
	case err != nil:
		return false, err
	case now.Entry != nil:
		return l.decided(s, l.store.Project(ctx, []Entry{*now.Entry}, s.now)[0]), nil
	case now.Open == nil: // somebody has to look at it
		s.report.Poisoned++
		return false, l.store.Poison(ctx, p)
	}
	o := *now.Open
	switch {
	case o.State.Final() || o.State == Expired:
		return true, nil
	case o.State == UsedState:
		return l.settled(ctx, s, o.Used), nil
	case o.Expires.After(s.now):
		return false, l.store.Poison(ctx, p)
	case o.HasCheckpoint:
		u, ok, err := l.store.UseCheckpoint(ctx, o, s.now)
		return ok && l.settled(ctx, s, u), err
	}
	ok, err := l.store.Expire(ctx, o, s.now)
	if p.Reason = refusedOf(err); p.Reason != "" {
		s.report.Poisoned++
		return false, l.store.Poison(ctx, p)
	}
	if ok {
		s.expired(o)
	}
	return ok, err
}

// settled settles one attempt and reports whether it has ended.
func (l *Ledger) settled(ctx context.Context, s *sweeper, u Used) bool {
	r := l.Settle(ctx, []Used{u}, s.now)
	s.report.Settled += r.Settled + r.Late
	s.report.Released += r.Released
	return l.decided(s, r.Verdicts[0])
}

func (l *Ledger) decided(s *sweeper, v Verdict) bool {
	switch v.Result {
	case Undecided:
		s.report.Undecided++
	case Poisoned: // the store has recorded it
		s.report.Poisoned++
	}
	return v.Result == Applied || v.Result == Done
}
