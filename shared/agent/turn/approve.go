package turn

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/latchkey/latchkey/shared/agent/approval"
	"github.com/latchkey/latchkey/shared/agent/tool"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/outbox"
	"github.com/latchkey/latchkey/shared/session"
)

// Approvals keeps the calls that wait for a person.
type Approvals interface {
	// Ask stores a call with its audit row and the event that tells of it, all or
	// nothing; for one that is stored already nothing is.
	Ask(ctx context.Context, a approval.Approval, row audit.Row, told outbox.Event) error
	// Approval fails with not_found.
	Approval(ctx context.Context, org, id string) (approval.Approval, error)
	// Approvals lists calls, newest first.
	Approvals(ctx context.Context, org, after string, limit int) (page []approval.Approval, next string, err error)
	// Turn reads a turn with its steps; not_found.
	Turn(ctx context.Context, org, id string) (session.Turn, []session.Part, error)
}

// ApprovalPending is the notice of a turn that asked for an approval.
const ApprovalPending = "approval_pending"

const (
	// approvalsRead is how many of an organisation's newest calls are looked at for
	// those of the conversation that wait.
	approvalsRead = 100
	// shownArguments and shownArgument bound what of a call is shown in a conversation.
	shownArguments = 20
	shownArgument  = 200
)

// waits is the error of a call that has to be approved first.
type waits struct {
	tool tool.Tool
	call model.ToolCall
	n    int
}

// Error implements error.
func (w *waits) Error() string { return "turn: the call of " + w.tool.Name + " waits for approval" }

// allSteps are the steps of the turns that this one goes on with, then its own.
func (x *run) allSteps() []session.Step { return append(slices.Clip(x.before), x.turn.Steps...) }

// decided reads what the decision that this turn goes on with was about.
func (x *run) decided(ctx context.Context) *end {
	if x.job.Kind != session.JobApproval {
		return nil
	}
	a, err := x.d.Approvals.Approval(ctx, x.job.Org, x.job.Approval)
	if fault.CodeOf(err) == fault.NotFound || err == nil && (a.State == approval.Pending || a.Session != x.turn.Session) {
		return &end{code: Ended, detail: "approval_missing"}
	}
	if err != nil {
		return again(err)
	}
	var asked []session.Part
	for _, id := range a.Turns {
		t, parts, err := x.d.Approvals.Turn(ctx, x.job.Org, id)
		if fault.CodeOf(err) == fault.NotFound {
			return &end{code: Ended, detail: "approval_missing"}
		}
		if err != nil {
			return again(err)
		}
		x.before = append(x.before, t.Steps...)
		asked = parts
	}
	x.approval = &a
	x.unbutton(ctx, a, asked)
	return nil
}

// approved reports whether call n may be made. If not, r is its result, or err says
// that it waits.
func (x *run) approved(ctx context.Context, t tool.Tool, c model.ToolCall, n int) (r tool.Result, ok bool, err error) {
	if a := x.approval; a != nil && a.Call == n {
		switch {
		case a.State == approval.Expired:
			return tool.Result{Status: tool.NotApproved, Text: "The tool was not called: nobody approved the call in time."}, false, nil
		case a.State != approval.Approved:
			return tool.Result{Status: tool.NotApproved, Text: strings.TrimSpace("The tool was not called: who may approve it refused it. " + a.Reason)}, false, nil
		case a.Tool != t.Name || a.Version != t.Version || t.CreatedAt.After(a.AskedAt) || a.Arguments != c.Args:
			return tool.Result{Status: tool.NotApproved, Text: "The tool was not called: it was changed since the call was approved. The call has to be approved again."}, false, nil
		}
		return tool.Result{}, true, nil
	}
	// Nobody is asked about a call that would not be made.
	if r, ok := t.Accepts(c.Args); !ok {
		return r, false, nil
	}
	if len(c.Args) > approval.MaxArguments {
		return tool.Result{Status: tool.BadArguments, Text: "The tool was not called: its arguments are too long to be shown to whoever has to approve the call."}, false, nil
	}
	recent, _, err := x.d.Approvals.Approvals(ctx, x.job.Org, "", approvalsRead)
	if err != nil {
		return tool.Result{}, false, err
	}
	mine, now := approval.NewID(x.turn.ID, x.turn.CreatedAt, n), x.d.Now()
	waiting := 0
	for _, a := range recent {
		if a.Session == x.turn.Session && a.State == approval.Pending && a.ID != mine && now.Before(a.ExpiresAt) {
			waiting++
		}
	}
	if waiting >= approval.MaxWaiting {
		return tool.Result{Status: tool.TooManyWaiting, Text: "The tool was not called: too many calls of this conversation wait for approval already."}, false, nil
	}
	return tool.Result{}, false, &waits{t, c, n}
}

// suspend stores a call that waits and ends the turn with a message that says so. What
// the turn held for posting its answer pays for that message.
func (x *run) suspend(ctx context.Context, w *waits) *end {
	now := x.d.Now().UTC().Truncate(time.Millisecond)
	a := approval.Approval{Org: x.job.Org, ID: approval.NewID(x.turn.ID, x.turn.CreatedAt, w.n), State: approval.Pending, Tool: w.tool.Name, Version: w.tool.Version, Arguments: w.call.Args,
		Session: x.turn.Session, Agent: x.job.AgentID, Persona: x.job.PersonaID, Asker: x.job.Envelope.Actor, Integrity: x.job.Envelope.Integrity, Turns: []string{x.turn.ID}, Call: w.n,
		AskedAt: now, ExpiresAt: now.Add(w.tool.Approval), Continuing: x.job.Continuing()}
	if x.approval != nil {
		a.Turns = append(slices.Clip(x.approval.Turns), x.turn.ID)
	}
	if x.choosing() && shownWhole(a.Arguments) {
		var err error
		if a.Nonce, err = approval.NewNonce(x.d.Random); err != nil {
			return again(err)
		}
	}
	op := audit.Op{Actor: "function:turn", ID: x.turn.ID + "-ap" + strconv.Itoa(w.n), At: now}
	if err := x.d.Approvals.Ask(ctx, a, op.Row(a.Org, "approval.ask", a.ID, "label", a.Tool, "agent_id", a.Agent), a.Told(x.d.Stage)); err != nil {
		return again(err)
	}
	if a.Nonce != "" {
		// An earlier run may have asked already; what it stored is what counts.
		stored, err := x.d.Approvals.Approval(ctx, a.Org, a.ID)
		if err != nil {
			return again(err)
		}
		a.Nonce = stored.Nonce
	}
	_, pin, err := x.rounds()
	if err != nil {
		return again(err)
	}
	x.turn.Receipt, x.turn.Notice, x.voice, x.buttons = x.firstCalls().Receipt, ApprovalPending, "", a.Ref()
	x.record(ctx, ApprovalAsked, w.tool.Name)
	return x.plan(ctx, asks(a, w.tool), session.Assistant, pin)
}

// shownWhole reports whether the question shows all of a call. Who presses sees nothing
// else of it, and must not approve what was cut off.
func shownWhole(arguments string) bool {
	var args map[string]json.RawMessage
	if json.Unmarshal([]byte(arguments), &args) != nil || len(args) > shownArguments {
		return false
	}
	for name, value := range args {
		if len(name) > shownArgument || len(value) > shownArgument {
			return false
		}
	}
	return true
}

// asks is the message that says what is to be approved, and how.
func asks(a approval.Approval, t tool.Tool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Before I go on, somebody who may has to approve this call of **%s**:\n\n```\n", a.Tool)
	var args map[string]json.RawMessage
	if err := json.Unmarshal([]byte(a.Arguments), &args); err != nil {
		args = nil // was checked against the schema
	}
	names := slices.Sorted(maps.Keys(args))
	for i, name := range names {
		if i == shownArguments {
			fmt.Fprintf(&b, "and %d more\n", len(names)-i)
			break
		}
		b.WriteString(shown(name) + ": " + shown(string(args[name])) + "\n")
	}
	if len(names) == 0 {
		b.WriteString("no arguments\n")
	}
	fmt.Fprintf(&b, "```\n\nIt waits until %s UTC as `%s`. I go on when it is decided; anything else you can ask me meanwhile.", a.ExpiresAt.UTC().Format("2006-01-02 15:04"), a.ID)
	if a.Nonce != "" {
		b.WriteString(" The buttons are for those who were named to approve.")
	}
	return b.String()
}

// shown is a bounded line of a call that cannot end the block that it stands in.
func shown(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '`':
			return '\''
		case r < ' ' || r == 0x7f || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp): // marks of direction, and what has no width
			return ' '
		}
		return r
	}, s)
	if short := cut(s, shownArgument); short != s {
		return short + " …"
	}
	return s
}

// speaks is who the message of the turn is from.
func (x *run) speaks() session.Role {
	if x.job.Kind == session.JobApproval {
		return session.Notice
	}
	return session.User
}
