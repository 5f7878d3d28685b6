// Package approval is the calls of tools that wait for a person to approve them.
//
// Flow: a turn whose model calls such a tool stores the call ([Approval], pending)
// and ends with a message that says what is to be approved; an event tells the
// organisation. An admin approves or refuses it, or somebody whom the organisation
// named, with a button under the message ([Buttons], [Press]; [Service.Decide]); nobody
// doing so until it expires is a refusal
// ([Service.Finish]). Either puts a job behind the conversation's others, and the
// turn of that job goes on with the stored rounds: it makes the call, or tells the
// model why not.
//
// Guarantees: a call is decided once, by a conditional write together with its audit
// row, and every decision is followed by its job however often a process dies: a due
// row is written with the decision and deleted behind the queue's answer, and what is
// due is sent again. The job's turn runs once, as every turn does. What was approved
// is one call with these arguments by this version of the tool.
//
// Limits: [MaxArguments] of arguments, [MaxWaiting] calls of a conversation at a time,
// an hour to a week of time; decided calls are kept for 90 days.
package approval

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/outbox"
	"github.com/latchkey/latchkey/shared/session"
)

// State is what became of a call.
type State string

// States.
const (
	Pending  State = "pending"
	Approved State = "approved"
	Refused  State = "refused"
	Expired  State = "expired"
)

// Limits.
const (
	// MaxArguments bounds the arguments that a person can be shown, in bytes.
	MaxArguments = 8 << 10
	// MaxWaiting bounds the calls of one conversation that wait.
	MaxWaiting = 5
	// MaxReason bounds why somebody decided, in bytes.
	MaxReason = 500
	// Kept is how long a call is kept after it expired.
	Kept = 90 * 24 * time.Hour
	// page is how many due calls one run looks at.
	page = 100
)

// Approval is one call that waits, or waited, for a person.
type Approval struct {
	Org, ID    string
	State      State
	Tool       string
	Version    int64  // of the tool that was shown
	Arguments  string // JSON, as the model wrote it
	Session    string
	Agent      string
	Persona    string
	Asker      string // the vendor's id of who wrote the message
	Integrity  channel.Integrity
	Turns      []string // the waiting turn and those before it, oldest first
	Call       int      // number of the call among all of those turns, from 0
	Nonce      string   // of the buttons under the question, empty without any
	Reason     string
	DecidedBy  string
	AskedAt    time.Time
	ExpiresAt  time.Time
	DecidedAt  time.Time // zero while pending
	Continuing session.Job
}

// Turn is the turn that waits.
func (a Approval) Turn() string {
	if len(a.Turns) == 0 {
		return ""
	}
	return a.Turns[len(a.Turns)-1]
}

// DueAt is when something has to be done about it: expire it, or send its job.
func (a Approval) DueAt() time.Time {
	if a.State == Pending {
		return a.ExpiresAt
	}
	return a.DecidedAt
}

// NewID is the id of a call of a turn; the same call has the same one. Ids sort by
// the time of the turn, newest first.
func NewID(turn string, created time.Time, call int) string {
	sum := sha256.Sum256([]byte(turn + "#" + strconv.Itoa(call)))
	return fmt.Sprintf("ap-%013d-%s", max(lastMillis-created.UnixMilli(), 0), hex.EncodeToString(sum[:8]))
}

// lastMillis is the largest number of 13 digits.
const lastMillis = 9_999_999_999_999

// Told is the event that tells the organisation of a call that waits.
func (a Approval) Told(stage string) outbox.Event {
	return outbox.ApprovalEvent(stage, outbox.Approval{Org: a.Org, ID: a.ID, Tool: a.Tool, Agent: a.Agent, Install: a.Continuing.Install, Session: a.Session, At: a.AskedAt, ExpiresAt: a.ExpiresAt})
}

// EventID names the event that a decision is, among those of the install.
func EventID(id string) string { return "approval-" + id }

// Store keeps calls; each write puts its audit row in the same transaction.
type Store interface {
	// Approval fails with not_found.
	Approval(ctx context.Context, org, id string) (Approval, error)
	// Approvals lists an organisation's calls, newest first.
	Approvals(ctx context.Context, org, after string, limit int) (page []Approval, next string, err error)
	// Decide replaces a pending call, else it fails with conflict.
	Decide(ctx context.Context, old, next Approval, row audit.Row) error
	// Sent forgets that a decided call is due.
	Sent(ctx context.Context, a Approval) error
	// Due lists calls that are due by now; one that is gone has no state.
	Due(ctx context.Context, now time.Time, limit int) ([]Approval, error)
}

// Queue takes jobs; see boot.TurnQueue.
type Queue interface {
	Send(ctx context.Context, group, id string, body []byte) error
}

// Service carries the rules. Safe for concurrent use.
type Service struct {
	Store Store
	Queue Queue
}

// Get returns one call; not_found.
func (s *Service) Get(ctx context.Context, org, id string) (Approval, error) {
	return s.Store.Approval(ctx, org, id)
}

// List lists the calls of an organisation, newest first.
func (s *Service) List(ctx context.Context, org, after string, limit int) ([]Approval, string, error) {
	return s.Store.Approvals(ctx, org, after, limit)
}

// Decide approves or refuses a call that waits. Errors: not_found, invalid_request,
// conflict if it was decided before or its time is over. What cannot be queued now is
// queued within a minute or two, and is no error.
func (s *Service) Decide(ctx context.Context, op audit.Op, org, id string, approve bool, reason string) (Approval, error) {
	old, err := s.Store.Approval(ctx, org, id)
	if err != nil {
		return Approval{}, err
	}
	if len(reason) > MaxReason || !utf8.ValidString(reason) || strings.ContainsFunc(reason, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return Approval{}, fault.New(fault.InvalidRequest, "approval.Decide", "the reason is one line of at most 500 bytes").WithParam("reason")
	}
	if old.State != Pending || !op.At.Before(old.ExpiresAt) {
		state := old.State
		if state == Pending {
			state = Expired
		}
		return Approval{}, fault.New(fault.Conflict, "approval.Decide", "this call does not wait any more: it is "+string(state))
	}
	next, verb := old, "approve"
	next.State, next.Reason, next.DecidedBy, next.DecidedAt = Approved, reason, op.Actor, op.At.UTC().Truncate(time.Millisecond)
	if !approve {
		next.State, verb = Refused, "refuse"
	}
	if err := s.Store.Decide(ctx, old, next, op.Row(org, "approval."+verb, id, "label", old.Tool, "agent_id", old.Agent)); err != nil {
		return Approval{}, err
	}
	_ = s.send(ctx, next) // else it stays due
	return next, nil
}

// Finish expires what nobody decided and sends the jobs of decisions that were not
// sent. It returns how many calls it dealt with; what fails is due again.
func (s *Service) Finish(ctx context.Context, now time.Time) (int, error) {
	due, err := s.Store.Due(ctx, now, page)
	if err != nil {
		return 0, err
	}
	var failed error
	done := 0
	for _, a := range due {
		if err := s.finish(ctx, a, now); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		done++
	}
	return done, failed
}

func (s *Service) finish(ctx context.Context, a Approval, now time.Time) error {
	switch {
	case a.State == "":
		return s.Store.Sent(ctx, a)
	case a.State == Pending && now.Before(a.ExpiresAt):
		return nil
	case a.State == Pending:
		next := a
		next.State, next.DecidedBy, next.DecidedAt = Expired, "function:sweep", now.UTC().Truncate(time.Millisecond)
		op := audit.Op{Actor: next.DecidedBy, ID: a.ID, At: now.UTC()}
		if err := s.Store.Decide(ctx, a, next, op.Row(a.Org, "approval.expire", a.ID, "label", a.Tool, "agent_id", a.Agent)); err != nil {
			if fault.CodeOf(err) == fault.Conflict {
				return nil // somebody was faster
			}
			return err
		}
		a = next
	}
	return s.send(ctx, a)
}

// send queues the job of a decided call. The queue and the turn know it by its event,
// so that a repeat changes nothing.
func (s *Service) send(ctx context.Context, a Approval) error {
	job := a.Continuing
	job.Kind, job.EventID, job.Approval = session.JobApproval, EventID(a.ID), a.ID
	job.Envelope.EventID, job.Envelope.Text = job.EventID, a.Says()
	body, err := job.Encode()
	if err != nil {
		return fault.Wrap(fault.Internal, "approval.send", "internal error, the job of this decision cannot be written", err)
	}
	if err := s.Queue.Send(ctx, job.Key().Hash(), session.QueueID(job.Install, job.EventID), body); err != nil {
		return err
	}
	return s.Store.Sent(ctx, a)
}

// Says is what the conversation is told of a decision.
func (a Approval) Says() string {
	reason := ""
	if a.Reason != "" {
		reason = " The reason given: " + a.Reason
	}
	switch a.State {
	case Approved:
		return "[Somebody who may approved the call of " + a.Tool + " (" + a.ID + ") that waited. It is made now." + reason + "]"
	case Refused:
		return "[Somebody who may refused the call of " + a.Tool + " (" + a.ID + ") that waited. It is not made." + reason + "]"
	}
	return "[Nobody approved the call of " + a.Tool + " (" + a.ID + ") in time. It is not made.]"
}
