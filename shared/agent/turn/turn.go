// Package turn runs one agent turn: a queued message becomes one answer of the
// model and one reply on the channel.
//
// Flow: claim the turn → check the install → put a recording into words, which
// later runs of the turn use → append the user's message → sum up
// the oldest messages if all of them do not fit the agent's budget → ask the
// model → store the answer with its parts and the model side's receipt → commit
// the receipt → send the parts in order, a short one spoken where the person spoke
// and the agent has a voice. Every step is stored before the next,
// so a run that dies is continued by the next reception of the message where it
// stopped: a stored answer is committed and sent without asking the model again.
//
// Guarantees: one turn per event, however often the event is delivered; no
// answer is asked for twice once it is stored; each part is sent at most once,
// and one whose fate is unknown stays unknown; before each send (of a growing answer, before its
// first state) the install must still be active and still be the tenant that the
// message came from, else nothing is sent. Messages of one session run in order, because the queue gives
// them so.
//
// Where an agent has tools the model may call them before it answers: its calls are
// stored, then run one after another, each result stored before the next, then the
// model is asked again, at most 8 times and for at most 16 calls. A later run of the
// turn goes on behind what is stored, so a tool whose result is stored is never
// called again; one whose run died in between is, with the same key. A tool that
// demands a signed message is refused on one that was not. A call that a person has to
// approve ends the turn with a message that says so; the decision is an event of its
// own, whose turn goes on with the stored rounds and makes the call, or not. Where the
// organisation named who may, the question has buttons; a press is no turn, but a
// decision, one conditional write, that only the press of a named person makes.
//
// Where the agent may hand over to a person its model has a tool for that: the turn
// ends with a message that says so, stored in one write with who answers from then on,
// its audit row and its event. While a person answers, the turn of a message stores it
// and nothing more; what the person says is a job of its own, posted over the same
// outbox. An answer that was being made when somebody took over is paid and not posted.
//
// Where the install wants it, one message shows the answer while the model writes it
// and then is its first part: that it may be there is stored before it is posted, its
// id behind it, so whoever continues the turn edits it and posts no second one.
//
// On a channel without a vendor nothing is posted: the write that makes a part sent is
// what the person's page reads, and what the person wrote is shown with the write that
// stores it. There is no token, and no part whose fate is unknown.
//
// A failure that may pass is returned for another try. One that cannot ends the
// turn and is recorded. Where the model side gives no answer, on the last reception
// also for what may pass unless tools were called, or a recording was not understood, people get one short notice
// instead of silence, because they cannot see our records and would keep asking.
//
// Posting an answer is an action of the platform, which may have a price: what it
// costs is held before the model is asked, charged once when a part was sent, and
// given back when none was or nobody knows.
//
// Not guaranteed: between the vendor's answer and our storing it a crash may let
// the vendor be asked again under the same request key; what that costs is the
// model side's to decide.
package turn

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/latchkey/latchkey/shared/agent"
	"github.com/latchkey/latchkey/shared/agent/tool"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Message is one message of a conversation for the model.
type Message struct {
	Role session.Role
	Text string
}

// AnswerRequest asks for one answer.
type AnswerRequest struct {
	Org   string
	Agent agent.Agent
	// RequestKey is the same for every try of this step of the turn; Attempt
	// counts the tries from 1.
	RequestKey string
	Attempt    int64
	System     string
	Messages   []Message // oldest first; the last is the user's
	// Pin is what the session's last answer was served with.
	Pin session.Pin
	// Deadline leaves time to store and send the answer.
	Deadline time.Time
	// Aside is an answer that is not posted on the channel: nothing is held for
	// posting it.
	Aside bool
	// Tools are offered to the model; NoCalls forbids calling them any more.
	Tools   []tool.Tool
	NoCalls bool
	// Rounds are the answers with calls that the turn has had, with their results.
	Rounds []Round
	// Grown hears the text so far whenever more has come, and returns at once; nil
	// where nobody looks.
	Grown func(text string)
	// Held is the receipt of the first of them: what it holds for posting goes over
	// to this answer.
	Held []byte
}

// Round is an answer that called tools, and what they said, a result per call.
type Round struct {
	Message model.Message
	Results []model.ToolResult
}

// Answer is what the model said.
type Answer struct {
	Text       string
	RequestIDs []string
	// Pin is what it was served with; the session remembers it.
	Pin session.Pin
	// Receipt is everything [Model].Commit needs, in at most [MaxReceipt]
	// bytes and without secrets. Empty means that nothing has to be committed.
	Receipt []byte
	// Message is the whole answer where it calls tools, else zero.
	Message model.Message
}

// MaxReceipt bounds a receipt.
const MaxReceipt = 8 << 10

// Model answers conversations.
type Model interface {
	// Answer calls a model. The usage of a successful answer is not recorded
	// yet. Errors carry the fault codes of the model surface, with RequestID
	// if a request was made; retryable codes are tried again.
	Answer(ctx context.Context, q AnswerRequest) (Answer, error)
	// Commit records the usage of a stored answer. It may be called again for
	// the same receipt, by another process, and then changes nothing.
	Commit(ctx context.Context, org string, receipt []byte) error
	// Posted ends what the receipt holds for posting the answer: sent says that a
	// part of it has certainly been sent. It may be called again as Commit may.
	Posted(ctx context.Context, org string, receipt []byte, sent bool) error
}

// ToolCall is one call of a tool.
type ToolCall struct {
	Org, Agent string
	Tool       tool.Tool
	Arguments  string // JSON, as the model wrote it
	// Key is the same for every try of the call, Attempt is the try's own: a try that
	// ended without a stored result ended its price, too.
	Key     string
	Attempt int64
}

// Tools runs the tools of agents.
type Tools interface {
	// Offered returns the tools of these names, in their order; names of no tool are
	// left out.
	Offered(ctx context.Context, org string, names []string) ([]tool.Tool, error)
	// Call calls a tool and reserves its price. What goes wrong with the tool is a
	// result; an error means that the call is to be tried again. The receipt, if any,
	// is committed with [Model].Commit once the result is stored.
	Call(ctx context.Context, c ToolCall) (r tool.Result, receipt []byte, err error)
}

// Installs reads and, when the vendor says so, ends installs.
type Installs interface {
	Install(ctx context.Context, id string) (install.Install, []install.Binding, error)
}

// Revoker ends an install whose app was removed at the vendor, and counts how
// often its token is rejected; see [install.Service].
type Revoker interface {
	RevokedByVendor(ctx context.Context, op audit.Op, i install.Install) error
	TokenRejected(ctx context.Context, op audit.Op, org, id string) error
	TokenAccepted(ctx context.Context, op audit.Op, org, id string) error
}

// Agents reads agents; not_found.
type Agents interface {
	Agent(ctx context.Context, org, id string) (agent.Agent, error)
}

// Secrets opens what sends; see [install.Opener].
type Secrets interface {
	Sending(ctx context.Context, i install.Install, name string) (secret.Text, error)
}

// Tokens trades an opened secret for what the vendor's API takes; see
// [exchange.Tokens].
type Tokens interface {
	Token(ctx context.Context, e channel.Entry, i install.Install, from secret.Text) (secret.Text, *channel.Failure)
	Forget(installID string)
}

// Code is an audit code of a turn.
type Code string

// Audit codes. Those that end a turn are also the code of its record.
const (
	Done            Code = "turn.done"
	Retry           Code = "turn.retry"
	Lost            Code = "turn.lost" // another claim of the turn exists
	Malformed       Code = "turn.malformed"
	InstallInactive Code = "turn.install_inactive"
	AgentMissing    Code = "turn.agent_missing"
	AnswerEmpty     Code = "turn.answer_empty"
	Ended           Code = "turn.ended"
	// GaveUp: people were told to ask again, because what may pass did not in time.
	GaveUp         Code = "turn.gave_up"
	BotIgnored     Code = "turn.bot_ignored"
	LoopSuppressed Code = "turn.loop_suppressed"
	TenantGuard    Code = "reply.tenant_guard"
	ReplyUnknown   Code = "reply.unknown"
	ReplyRefused   Code = "reply.refused"
	EditFailed     Code = "reply.edit_failed"
	TokenRejected  Code = "install.token_rejected"
	Uncounted      Code = "install.rejection_uncounted"
	Revoked        Code = "install.revoked_by_provider"
	Summarised     Code = "turn.summarised"
	SummaryFailed  Code = "turn.summary_failed"
	// ToolCalled has the call's status as detail, IntegrityRefused the tool's name.
	ToolCalled       Code = "tool.called"
	IntegrityRefused Code = "tool.integrity_refused"
	// ApprovalAsked has the tool's name as detail.
	ApprovalAsked Code = "tool.approval_asked"
	// Handed: the model gave the conversation to a person; Resumed: none answered for
	// long enough.
	Handed  Code = "turn.handed_over"
	Resumed Code = "turn.resumed"
)

// Pages reports whether somebody has to look at it at once: something made a job
// for an install that it does not belong to.
func (c Code) Pages() bool { return c == TenantGuard }

// Event is one audit record of a turn. It holds no text of the conversation.
type Event struct {
	At      time.Time
	Org     string
	Install string
	Turn    string
	EventID string
	Code    Code
	// Detail is a fault code or a vendor's error code from a known list.
	Detail string
}

// Recorder writes audit records. It must not block and cannot fail the turn.
type Recorder interface {
	Record(ctx context.Context, e Event)
}

// Deps are the dependencies of a [Runner]; all are required.
type Deps struct {
	Installs   Installs
	Revoker    Revoker
	Agents     Agents
	Turns      session.Turns
	Transcript session.Transcript
	Rooms      session.Rooms
	Model      Model
	Speech     Speech
	Tools      Tools
	Approvals  Approvals
	// Claims is needed where an entry of Catalog has conversations that are claimed.
	Claims Claims
	// Decider and Audit are for presses of buttons, Random for what buttons carry.
	Decider Decider
	Audit   Rows
	Random  io.Reader
	People  People
	// Signs is needed where an entry of Catalog is kept.
	Signs   session.Signs
	Secrets Secrets
	// Tokens is needed where an entry of Catalog has an exchange.
	Tokens  Tokens
	Catalog install.Catalog
	// HTTP is the guarded egress client; BaseURL is a vendor's API, DataURL where its
	// files are asked for if that is another; Media is the client that reaches where
	// a vendor's files lie, and nothing else.
	HTTP     *http.Client
	Media    func(taxonomy.Channel) *http.Client
	BaseURL  func(taxonomy.Channel) string
	DataURL  func(taxonomy.Channel) string
	Recorder Recorder
	// Stage is told with events.
	Stage string
	Now   func() time.Time
	// Wait returns after d, or with false as soon as ctx ends.
	Wait func(ctx context.Context, d time.Duration) bool
}

// Runner runs turns. It is safe for concurrent use.
type Runner struct{ d Deps }

// New returns a Runner.
func New(d Deps) *Runner { return &Runner{d} }

// Delivery is one reception of a queue message.
type Delivery struct {
	Body []byte
	// ID names the message, Receive counts its receptions from 1, Owner is
	// unique per invocation.
	ID      string
	Receive int64
	Owner   string
}

// Result says what becomes of the queue message.
type Result struct {
	// Retry means that the message must be received again, after After.
	Retry bool
	After time.Duration
}

// Limits of a run.
const (
	// lease is above the function's timeout, so that a claim under another
	// queue message never overtakes a live run.
	lease = 150 * time.Second
	// reserve is kept of the deadline to store and send the answer.
	reserve = 20 * time.Second
	// editEvery is the least time between two states of a growing answer (Telegram:
	// about one message a second per chat; Slack: chat.update 50 a minute and more;
	// core.telegram.org/bots/faq, docs.slack.dev/apis/web-api/rate-limits, read
	// 2026-11), maxEdits how many are shown.
	editEvery = 1200 * time.Millisecond
	maxEdits  = 60
	// sendTime is how much time one send may take.
	sendTime = 10 * time.Second
	// maxPause is how long a vendor that asks for a pause is waited for within the
	// run, and all of them together; a longer pause is the queue's.
	maxPause = 20 * time.Second
	// storeTime is kept for a last write after the invocation's time is up.
	storeTime = 5 * time.Second
	// minRetry and maxRetry bound the wait before another try.
	minRetry = 2 * time.Second
	maxRetry = 15 * time.Minute
	// lostRetry is when a run that was replaced looks again: the other one has
	// usually ended. Nothing of the conversation is received before.
	lostRetry = 30 * time.Second
	// summaryTime is how long a summary may take. It is made only when as much is
	// left for the answer.
	summaryTime = 30 * time.Second
	// maxRounds and maxCalls bound a turn's calls of tools: then the model has to
	// answer with what it has.
	maxRounds = 8
	maxCalls  = 16
	// maxCallData bounds an answer that calls tools, as it is stored.
	maxCallData = 256 << 10
	// maxAnswer and maxParts bound an answer; the rest is cut off.
	maxAnswer = 100_000
	maxParts  = 25
)
