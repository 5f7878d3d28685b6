package session

import (
	"context"
	"errors"
	"time"
)

// TurnState is where a turn is.
type TurnState string

// Turn states. Waiting turns are tried again; done and ended are final.
const (
	TurnRunning  TurnState = "running"
	TurnWaiting  TurnState = "waiting"
	TurnAnswered TurnState = "answered" // the answer is stored, its parts are being sent
	TurnDone     TurnState = "done"
	TurnEnded    TurnState = "ended" // without an answer of the model; Code says why
)

// Final reports whether a turn never runs again.
func (s TurnState) Final() bool { return s == TurnDone || s == TurnEnded }

// Turn is one answer of an agent to one event.
type Turn struct {
	Org       string
	ID        string
	Install   string
	EventID   string
	Session   string
	AgentID   string
	PersonaID string
	State     TurnState
	// Code says why a turn waits or ended, empty otherwise.
	Code string
	// Notice says why the stored parts are a notice and not an answer.
	Notice string
	// Attempts counts claims.
	Attempts int64
	// Fence is raised by every claim; writes with a lower one are refused.
	Fence int64
	// RequestIDs are the model requests made so far.
	RequestIDs []string
	// Steps are what was stored on the way to the answer, in order. A first claim
	// has none.
	Steps []Step
	// Receipt is the model side's note for committing the stored answer;
	// Committed says that it was committed.
	Receipt   []byte
	Committed bool
	// Heard is the text of the recording that the user sent in place of text, and
	// HeardReceipt the model side's note for committing its transcription. Both are
	// stored with the user's message.
	Heard        string
	HeardReceipt []byte
	// Appended says that the user's message is in the transcript, Planned that
	// the answer is stored.
	Appended  bool
	Planned   bool
	CreatedAt time.Time
	UpdatedAt time.Time
}

// StepKind is what a step holds.
type StepKind string

// Step kinds.
const (
	// StepSummary is a summary that was stored with the session.
	StepSummary StepKind = "summary"
	// StepCalls is an answer of the model that calls tools; Data holds it.
	StepCalls StepKind = "calls"
	// StepDraft says where the growing answer is shown; the last one counts.
	StepDraft StepKind = "draft"
	// StepResult is what became of one call; Data holds what the model is told.
	StepResult StepKind = "result"
)

// Step is one thing that was done on the way to a turn's answer and is stored, so
// that a later run of the turn does not do it again.
type Step struct {
	N    int // from 1
	Kind StepKind
	// RequestID is the model request of the step, Receipt what it is committed
	// with; both empty if there was none.
	RequestID string
	Receipt   []byte
	// Data is the turn runner's.
	Data []byte
	// Call says of a result which call it is of and how that ended.
	Call ToolCall
}

// ToolCall is one call of a tool as people are shown it: no arguments, no answer.
type ToolCall struct {
	// ID is the model's, unique among the calls of one of its answers.
	ID         string    `json:"-"`
	Tool       string    `json:"tool"`
	Status     string    `json:"status"`
	At         time.Time `json:"at"`
	DurationMS int64     `json:"duration_ms"`
}

// Claim asks for the right to run a turn.
type Claim struct {
	Turn Turn // identity of the turn
	// Delivery names the queue message and Receive counts its receptions: a
	// later reception of the same message proves that the earlier invocation
	// lost it.
	Delivery string
	Receive  int64
	// Owner is unique per invocation: it tells a claim whose outcome is unknown
	// whether it happened.
	Owner string
	Now   time.Time
	// Lease bounds how long a claim holds against another queue message.
	Lease time.Duration
}

// PartState is where one outgoing part is.
type PartState string

// Part states.
const (
	Planned PartState = "planned"
	Claimed PartState = "claimed" // a send may be on its way
	Sent    PartState = "sent"
	Unknown PartState = "unknown" // may have been sent; never sent again
	Dropped PartState = "failed"  // certainly not sent and never will be
)

// Part is one outgoing message of a turn.
type Part struct {
	Part              int       `json:"part"`
	State             PartState `json:"state"`
	ProviderMessageID string    `json:"provider_message_id,omitempty"`
	// Code says why it was not sent.
	Code string `json:"code,omitempty"`
	// Text and Format are a [channel.Piece].
	Text   string `json:"-"`
	Format string `json:"-"`
	// Voice is the voice that the text is to be spoken with, empty for text.
	Voice string `json:"-"`
	// Spoken is the text without formatting, kept for a part with a voice.
	Spoken string `json:"-"`
	// Ask is what the buttons under the part carry; empty for none. See
	// approval.Buttons.
	Ask string `json:"-"`
	// Receipt is the model side's note for committing the speech of this part. It is
	// stored with the claim of the part: a part that has one was spoken before.
	Receipt []byte `json:"-"`
	Fence   int64  `json:"-"`
	// Shown is what a person is shown of it, stored in the write that makes it [Sent]; nil
	// where a vendor was sent it. It is not read back.
	Shown *Shown `json:"-"`
}

// Turns keeps turns and their outgoing parts. Writes after the claim fail with
// [ErrFenced] if a later claim exists or, for parts, changed the part.
type Turns interface {
	// Claim makes or takes over a turn and returns it with its parts. held is
	// how long another claim still holds; the turn must not be run then.
	Claim(ctx context.Context, c Claim) (t Turn, parts []Part, held time.Duration, err error)
	// Note changes state, code, request ids and the committed mark.
	Note(ctx context.Context, t Turn, now time.Time) error
	// Plan stores the answer: receipt, parts and the transcript's message, and
	// moves the turn to answered, all or nothing; [ErrTakenOver] if the message is the
	// agent's and a person answers.
	Plan(ctx context.Context, t Turn, parts []Part, m Message, now time.Time) error
	// Move changes a part that still has the state and fence of from. Claiming
	// a planned part, and ending one that another claim left behind, also need the
	// turn's fence: a run that was replaced decides about its own sends only. A
	// receipt is added, never taken away; text and voice stay. What is shown of it is
	// stored in the same write.
	Move(ctx context.Context, t Turn, from, to Part) error
	// Step stores what was done on the way to the answer, which later claims return
	// with the turn; [ErrFenced] also if the step is stored already.
	Step(ctx context.Context, t Turn, s Step) error
}

// Transcript keeps a session's messages.
type Transcript interface {
	// Open returns the session of a key, making it if absent.
	Open(ctx context.Context, s Session, now time.Time) (Session, error)
	// Append adds the user's message of a turn once, however often it is
	// called, and marks the turn; [ErrFenced] if a later claim exists. What the turn
	// heard is stored with it, and the request ids so far.
	Append(ctx context.Context, t Turn, m Message) error
	// Recent returns the newest messages from a sequence number on, oldest first.
	Recent(ctx context.Context, org, id string, from int64, limit int) ([]Message, error)
	// Quiet stores what the guard against loops found about a message that is not
	// answered.
	Quiet(ctx context.Context, org, id, loop string) error
	// Fold replaces the session's summary, if it is still old, and stores the
	// turn's step that made the new one, all or nothing; [ErrFenced] if a later
	// claim of the turn exists, the step is stored already or the summary changed.
	Fold(ctx context.Context, t Turn, s Step, old, next Summary) error
}

// Rooms keep what the guard against loops knows of a whole room, for bots that begin
// a conversation of their own with every message.
type Rooms interface {
	// Room returns what is kept of a room, empty if nothing is.
	Room(ctx context.Context, org, id string) (string, error)
	// KeepRoom replaces what is kept; [ErrChanged] if it is not was any more. It may
	// be forgotten after until.
	KeepRoom(ctx context.Context, org, id, was, next string, until time.Time) error
}

// ErrChanged says that somebody else was faster: read again.
var ErrChanged = errors.New("session: it was changed meanwhile")

// ErrTakenOver says that a person took the session over: the agent's answer has no
// place in it any more.
var ErrTakenOver = errors.New("session: a person answers here")

// ErrFenced says that a later claim of the turn exists: stop, change nothing.
var ErrFenced = errors.New("session: another claim of the turn exists")

// TurnView is a turn as clients see it.
type TurnView struct {
	ID         string     `json:"id"`
	State      TurnState  `json:"state"`
	Code       string     `json:"code,omitempty"`
	SessionID  string     `json:"session_id"`
	EventID    string     `json:"event_id"`
	AgentID    string     `json:"agent_id"`
	PersonaID  string     `json:"persona_id,omitempty"`
	Attempts   int64      `json:"attempts"`
	RequestIDs []string   `json:"request_ids"`
	Outbox     []Part     `json:"outbox"`
	ToolCalls  []ToolCall `json:"tool_calls"`
	CreatedAt  time.Time  `json:"created_at"`
	UpdatedAt  time.Time  `json:"updated_at"`
}

// View makes the client's view.
func View(t Turn, parts []Part) TurnView {
	v := TurnView{ID: t.ID, State: t.State, Code: t.Code, SessionID: t.Session, EventID: t.EventID, AgentID: t.AgentID, PersonaID: t.PersonaID,
		Attempts: t.Attempts, RequestIDs: t.RequestIDs, Outbox: parts, CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt}
	if v.RequestIDs == nil {
		v.RequestIDs = []string{}
	}
	if v.Outbox == nil {
		v.Outbox = []Part{}
	}
	v.ToolCalls = []ToolCall{}
	for _, s := range t.Steps {
		if s.Kind == StepResult {
			v.ToolCalls = append(v.ToolCalls, s.Call)
		}
	}
	return v
}
