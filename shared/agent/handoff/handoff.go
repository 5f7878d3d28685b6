// Package handoff is a person answering in the agent's place.
//
// Flow: a session goes into a person's hands because its model called the tool
// [Tool] (the turn stores that together with its last message) or because somebody
// took it ([Service.Take]). While a person answers, messages are stored and nothing
// else happens to them. What the person says ([Service.Say]) is a job behind the
// conversation's others, whose turn posts it with the install's own token over the
// turn's outbox. [Service.Resume] gives the session back; where the agent says so,
// the first message that arrives after nobody answered for long enough does, too.
//
// Guarantees: who answers changes by a conditional write, together with the audit
// row, the note in the conversation and, on the way to a person, the event that tells
// the organisation; a repeat changes nothing. An answer of the model that was under way
// when a person took over is not posted. What a person says under one key is posted at
// most once.
//
// Limits: [MaxText] of what a person says at once, [MaxReason] of a reason. The agent
// does not answer what was written meanwhile: it goes on with the next message, and has
// seen the others. What the queue refused can be said again under its key only while a
// person answers.
package handoff

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/agent"
	"github.com/latchkey/latchkey/shared/agent/tool"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/outbox"
	"github.com/latchkey/latchkey/shared/session"
)

// Limits.
const (
	// MaxReason bounds why a session was handed over, in bytes.
	MaxReason = 300
	// MaxText bounds one message of a person, in bytes; it is less than what an answer
	// may have in the smallest parts of a channel, so that nothing of it is cut off.
	MaxText = 8000
	// MaxKey bounds an idempotency key, in characters.
	MaxKey = 100
	// tries bounds the repeats of a change that met messages.
	tries = 8
)

// DefaultNote is what people are told when an agent hands them over.
const DefaultNote = "I'm handing this conversation over to a person, who will answer you here."

// What the conversation says of its changes, to whoever reads it later.
const (
	tookOver = "[A person took this conversation over from the agent.]"
	gaveBack = "[The person gave this conversation back to the agent.]"
	timeIsUp = "[No person answered for a while: the agent answers again.]"
)

// Spoken is what a model is shown of a message of a person on its own side.
func Spoken(text string) string { return "[A colleague, a person, wrote this:] " + text }

// Tool is what the model is offered to hand over. Nothing is called for it.
func Tool() tool.Tool {
	return tool.Tool{Name: agent.HandoffTool, Description: "Hands this conversation over to a person of the organisation and ends your part in it. Use it when somebody asks for a person, or when you cannot help. " +
		"Do not announce it: they are told.",
		Parameters: []byte(`{"type":"object","properties":{"reason":{"type":"string","description":"Why, in one short sentence for the person who takes over"}},"required":["reason"]}`)}
}

// Reason reads the reason of a model's call, which the tool's schema was checked for.
func Reason(arguments string) string {
	var a struct{ Reason string }
	if json.Unmarshal([]byte(arguments), &a) != nil {
		return ""
	}
	return line(a.Reason)
}

// line is text on one line of at most [MaxReason] bytes.
func line(s string) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD")))
	for len(s) > MaxReason {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return strings.TrimSpace(s)
}

// Note is what people are told when the agent hands over.
func Note(a agent.Agent) string {
	if a.Handoff.Note != "" {
		return a.Handoff.Note
	}
	return DefaultNote
}

// Change is a change of who answers, with everything that is stored with it.
type Change struct {
	// Next is nil when the agent answers again.
	Next    *session.Handoff
	Message session.Message
	Row     audit.Row
	// Event tells the organisation; nil when nobody is told.
	Event *outbox.Event
}

// ByModel is the change that a turn makes whose model called [Tool]. pin is what that
// answer was served with.
func ByModel(stage string, t session.Turn, a agent.Agent, reason string, pin session.Pin, now time.Time) Change {
	now = now.UTC().Truncate(time.Millisecond)
	h := &session.Handoff{At: now, By: session.ByAgent, Reason: reason, Turn: t.ID, Resume: a.Handoff.ResumeAfter}
	op := audit.Op{Actor: "function:turn", ID: t.ID + "-handoff", At: now}
	ev := told(stage, t.Org, t.Install, t.Session, t.AgentID, h, t.ID)
	return Change{Next: h, Row: op.Row(t.Org, "session.handoff", t.Session, "agent_id", t.AgentID, "install_id", t.Install, "reason", reason), Event: &ev,
		Message: session.Message{Role: session.Assistant, Text: Note(a), AgentID: t.AgentID, PersonaID: t.PersonaID, TurnID: t.ID, EventID: t.EventID, At: now, Pin: pin}}
}

// told is the event of a handoff; once tells those of one session apart.
func told(stage, org, install, id, agentID string, h *session.Handoff, once string) outbox.Event {
	by := outbox.ByPerson
	if h.By == session.ByAgent {
		by = session.ByAgent
	}
	return outbox.HandoffEvent(stage, outbox.Handoff{Org: org, Install: install, Session: id, Agent: agentID, Reason: h.Reason, By: by, At: h.At, Once: once})
}

// ByTime is the change of a session that nobody answered in for long enough, made by
// the turn of the next message.
func ByTime(t session.Turn, now time.Time) Change {
	op := audit.Op{Actor: "function:turn", ID: t.ID + "-resume", At: now}
	return Change{Row: op.Row(t.Org, "session.resume", t.Session, "agent_id", t.AgentID, "install_id", t.Install, "reason", "time"), Message: notice(t.AgentID, t.PersonaID, timeIsUp, now)}
}

func notice(agentID, persona, text string, at time.Time) session.Message {
	return session.Message{Role: session.Notice, Text: text, AgentID: agentID, PersonaID: persona, At: at.UTC().Truncate(time.Millisecond)}
}

// Said is a message of a person on its way to the queue.
type Said struct {
	Org, Turn string
	// Sum is the hash of what is said.
	Sum []byte
	At  time.Time
}

// Store keeps who answers in sessions.
type Store interface {
	// Session fails with not_found.
	Session(ctx context.Context, org, id string) (session.Session, error)
	// Handed lists the sessions in which a person answers, by id.
	Handed(ctx context.Context, org, after string, limit int) (page []session.Session, next string, err error)
	// Hand makes a change, all or nothing; [session.ErrChanged] if a message or a change
	// was stored since x was read.
	Hand(ctx context.Context, x session.Session, c Change) error
	// Say remembers what is said under a turn, with its row, and returns what was
	// remembered first: another Sum then is another message.
	Say(ctx context.Context, s Said, row audit.Row) (Said, error)
	// Said is what was remembered under a turn; not_found.
	Said(ctx context.Context, org, turn string) (Said, error)
}

// Queue takes jobs; see boot.TurnQueue.
type Queue interface {
	Send(ctx context.Context, group, id string, body []byte) error
}

// Agents reads agents; not_found.
type Agents interface {
	Agent(ctx context.Context, org, id string) (agent.Agent, error)
}

// Service carries the rules for people. Safe for concurrent use.
type Service struct {
	Store  Store
	Queue  Queue
	Agents Agents
	Stage  string
}

// List lists the sessions in which a person answers, by id.
func (s *Service) List(ctx context.Context, org, after string, limit int) ([]session.Session, string, error) {
	return s.Store.Handed(ctx, org, after, limit)
}

// Take puts a session into the hands of a person. An answer that is being made is not
// posted any more. Errors: not_found, invalid_request, conflict.
func (s *Service) Take(ctx context.Context, op audit.Op, org, id, reason string) (session.Session, error) {
	if !utf8.ValidString(reason) || line(reason) != reason {
		return session.Session{}, fault.New(fault.InvalidRequest, "handoff.Take", fmt.Sprintf("the reason is one line of at most %d bytes", MaxReason)).WithParam("reason")
	}
	return s.change(ctx, org, id, func(x session.Session) (Change, error) {
		if x.Handoff != nil {
			return Change{}, fault.New(fault.Conflict, "handoff.Take", "a person answers in this session already")
		}
		a, err := s.Agents.Agent(ctx, org, x.AgentID)
		if err != nil && fault.CodeOf(err) != fault.NotFound {
			return Change{}, err
		}
		h := &session.Handoff{At: op.At.UTC().Truncate(time.Millisecond), By: op.Actor, Reason: reason, Resume: a.Handoff.ResumeAfter}
		ev := told(s.Stage, org, x.Install, x.ID, x.AgentID, h, op.ID)
		return Change{Next: h, Row: op.Row(org, "session.handoff", id, "agent_id", x.AgentID, "install_id", x.Install, "reason", reason), Event: &ev, Message: notice(x.AgentID, x.PersonaID, tookOver, op.At)}, nil
	})
}

// Resume gives a session back to its agent. Errors: not_found, conflict.
func (s *Service) Resume(ctx context.Context, op audit.Op, org, id string) (session.Session, error) {
	return s.change(ctx, org, id, func(x session.Session) (Change, error) {
		if x.Handoff == nil {
			return Change{}, fault.New(fault.Conflict, "handoff.Resume", "the agent answers in this session already")
		}
		return Change{Row: op.Row(org, "session.resume", id, "agent_id", x.AgentID, "install_id", x.Install), Message: notice(x.AgentID, x.PersonaID, gaveBack, op.At)}, nil
	})
}

// change reads, decides and writes until no message comes between.
func (s *Service) change(ctx context.Context, org, id string, decide func(session.Session) (Change, error)) (session.Session, error) {
	for range tries {
		x, err := s.Store.Session(ctx, org, id)
		if err != nil {
			return x, err
		}
		c, err := decide(x)
		if err != nil {
			return session.Session{}, err
		}
		err = s.Store.Hand(ctx, x, c)
		if err == nil {
			x.Handoff, x.UpdatedAt, x.Next = c.Next, c.Message.At, x.Next+1
			return x, nil
		}
		if !errors.Is(err, session.ErrChanged) {
			return session.Session{}, err
		}
	}
	return session.Session{}, fault.New(fault.Unavailable, "handoff.change", "the session is busy, try again")
}

// Say queues what a person says behind what happens in the session and returns the turn
// that posts it. The same key and text again are the same message. Errors: not_found,
// invalid_request, conflict, unavailable (say it again under the same key).
func (s *Service) Say(ctx context.Context, op audit.Op, org, id, text, key string) (turn string, err error) {
	x, err := s.Store.Session(ctx, org, id)
	if err != nil {
		return "", err
	}
	switch {
	case strings.TrimSpace(text) == "" || len(text) > MaxText || !utf8.ValidString(text) || strings.ContainsFunc(text, unprintable):
		return "", fault.New(fault.InvalidRequest, "handoff.Say", fmt.Sprintf("the text is 1 to %d bytes without control characters", MaxText)).WithParam("text")
	case len(key) > MaxKey || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", fault.New(fault.InvalidRequest, "handoff.Say", fmt.Sprintf("an idempotency key is a word of at most %d characters", MaxKey)).WithParam("idempotency_key")
	case key == "":
		key = op.ID
	}
	h := sha256.Sum256([]byte(x.ID + "#" + key))
	event := "human-" + hex.EncodeToString(h[:20])
	sum := sha256.Sum256([]byte(text))
	mine := Said{Org: org, Turn: session.TurnID(x.Install, event), Sum: sum[:], At: op.At}
	if x.Handoff == nil {
		if err := s.before(ctx, mine); err != nil {
			return "", err
		}
	}
	job, err := said(x, text, event, op.At)
	if err != nil {
		return "", err
	}
	body, err := job.Encode()
	if err != nil {
		return "", fault.Wrap(fault.Internal, "handoff.Say", "internal error, this message cannot be written", err)
	}
	first, err := s.Store.Say(ctx, mine, op.Row(org, "session.say", id, "agent_id", x.AgentID, "install_id", x.Install))
	if err != nil {
		return "", err
	}
	if err := mine.same(first); err != nil {
		return "", err
	}
	return mine.Turn, s.Queue.Send(ctx, x.ID, session.QueueID(job.Install, job.EventID), body)
}

// before returns nil where the agent answers and a person said this while it did not:
// what the queue did not take then may be said again under its key, and what it took is
// the same message.
func (s *Service) before(ctx context.Context, mine Said) error {
	first, err := s.Store.Said(ctx, mine.Org, mine.Turn)
	if fault.CodeOf(err) == fault.NotFound {
		return fault.New(fault.Conflict, "handoff.Say", "the agent answers in this session; take it over first")
	}
	if err != nil {
		return err
	}
	return mine.same(first)
}

// same refuses another text than the first of a turn.
func (s Said) same(first Said) error {
	if string(first.Sum) != string(s.Sum) {
		return fault.New(fault.Conflict, "handoff.Say", "another text was said under this idempotency key").WithParam("idempotency_key")
	}
	return nil
}

func unprintable(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r == 0x7f }

// said is the job of what a person says in a session, under an event.
func said(x session.Session, text, event string, at time.Time) (session.Job, error) {
	var job session.Job
	if len(x.Way) == 0 {
		return job, fault.New(fault.Conflict, "handoff.Say", "it is not known how to answer here until the person writes again: what was written so far is from before people could answer")
	}
	if err := json.Unmarshal(x.Way, &job); err != nil || job.Org != x.Org || job.Install != x.Install || job.Key().Hash() != x.ID {
		return job, fault.New(fault.Internal, "handoff.Say", "internal error, how to answer in this session cannot be read")
	}
	job.Kind, job.EventID, job.ReceivedAt = session.JobHuman, event, at
	job.Envelope.EventID, job.Envelope.Text, job.Envelope.IsBot = job.EventID, text, false
	return job, nil
}
