package turn

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/agent/approval"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/session"
)

// Decider decides about calls that wait; see [approval.Service].
type Decider interface {
	Decide(ctx context.Context, op audit.Op, org, id string, approve bool, reason string) (approval.Approval, error)
}

// Rows take audit rows that stand for no change. Writing one again is no error.
type Rows interface {
	PutAudit(ctx context.Context, row audit.Row) error
}

// Audit codes of presses.
const (
	// Decided has the new state of the call as detail.
	Decided Code = "approval.decided"
	// PressLate: the call was decided before, or its time is over.
	PressLate Code = "approval.press_late"
	// PressRefused has one of the reasons below as detail.
	PressRefused Code = "approval.press_refused"
)

// Why a press changes nothing.
const (
	pressMalformed = "malformed"
	pressUnknown   = "unknown"
	pressForeign   = "another_conversation"
	pressForged    = "reference"
	pressUnsigned  = "not_signed"
	pressDenied    = "not_an_approver"
)

// pressed deals with the press of a button. It is no turn: nothing is claimed and
// nothing answered. The decision is one conditional write, so that of two presses, or
// of a press that is tried again, one counts; what follows it is the turn of its own
// event.
func (x *run) pressed(ctx context.Context) Result {
	x.turn = session.Turn{Org: x.job.Org, ID: session.TurnID(x.job.Install, x.job.EventID)}
	stop := x.press(ctx)
	if stop.retry {
		return x.retry(ctx, stop)
	}
	x.record(ctx, stop.code, stop.detail)
	return Result{}
}

func (x *run) press(ctx context.Context) *end {
	i, _, stop := x.check(ctx)
	if stop == nil {
		_, stop = x.sender(ctx, i)
	}
	if stop != nil {
		return stop
	}
	p, ok := approval.ReadPress(x.job.Envelope.Pressed)
	if !ok {
		return &end{code: PressRefused, detail: pressMalformed}
	}
	a, err := x.d.Approvals.Approval(ctx, x.job.Org, p.ID)
	if fault.CodeOf(err) == fault.NotFound {
		return &end{code: PressRefused, detail: pressUnknown}
	}
	if err != nil {
		return again(err)
	}
	who := string(x.job.Envelope.Provider) + ":" + x.job.Envelope.Actor
	if why := x.unfit(i, a, p); why != "" {
		if err := x.d.Audit.PutAudit(ctx, x.refusedRow(a, who, why)); err != nil {
			return again(err)
		}
		return &end{code: PressRefused, detail: why}
	}
	a, err = x.d.Decider.Decide(ctx, audit.Op{Actor: who, ID: x.turn.ID, At: x.d.Now()}, x.job.Org, a.ID, p.Approve, "")
	switch fault.CodeOf(err) {
	case fault.Conflict, fault.NotFound:
		return &end{code: PressLate}
	}
	if err != nil {
		return again(err)
	}
	return &end{code: Decided, detail: string(a.State)}
}

// unfit says why a press may not decide about a call, "" if it may.
func (x *run) unfit(i install.Install, a approval.Approval, p approval.Press) string {
	e, asked := x.job.Envelope, a.Continuing
	switch {
	case asked.Install != i.ID || asked.Envelope.Space != e.Space || e.Thread != "" && asked.Envelope.Thread != e.Thread:
		return pressForeign
	case !p.Of(a):
		return pressForged
	case a.Integrity == channel.Signed && e.Integrity != channel.Signed:
		return pressUnsigned
	case !i.Policy.Approves(e.Actor):
		return pressDenied
	}
	return ""
}

// refusedRow tells the organisation who pressed without the right to. There is one per
// person and call and hour, so that nobody fills the log by pressing on.
func (x *run) refusedRow(a approval.Approval, who, why string) audit.Row {
	op := audit.Op{Actor: who, ID: a.ID, At: x.job.ReceivedAt.UTC().Truncate(time.Hour)}.Part("press", who, why)
	row := op.Row(a.Org, "approval.press", a.ID, "label", a.Tool, "agent_id", a.Agent, "install_id", x.job.Install, "reason", why)
	row.Outcome, row.Code = audit.Refused, string(fault.ScopeMissing)
	return row
}

// choosing reports whether a question is asked with buttons: the vendor shows them and
// the organisation named who may press.
func (x *run) choosing() bool {
	_, chooses := x.entry.Adapter.(channel.Chooser)
	return chooses && len(x.install.Policy.Approvers) > 0
}

// unbutton replaces the buttons under a decided call's question by what was decided and
// by whom, however that was, where the vendor has edits. It may happen again, and
// what fails of it is recorded and no more: a press on what is decided changes nothing.
func (x *run) unbutton(ctx context.Context, a approval.Approval, asked []session.Part) {
	k := slices.IndexFunc(asked, func(p session.Part) bool { return p.Ask != "" && p.ProviderMessageID != "" })
	editor, edits := x.entry.Adapter.(channel.Editor)
	chooser, chooses := x.entry.Adapter.(channel.Chooser)
	if k < 0 || !edits || !chooses || !timeFor(ctx, sendTime+storeTime) {
		return
	}
	how, ok := x.reach(ctx)
	if !ok {
		return
	}
	by := ""
	if provider, id, _ := strings.Cut(a.DecidedBy, ":"); provider == string(x.job.Envelope.Provider) {
		by = chooser.Person(id)
	}
	calling, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	// The note holds nothing that a vendor takes for a mark: names, and an id of ours.
	out := x.outgoing(session.Part{Part: asked[k].Part, Text: asked[k].Text + "\n\n" + a.Note(by), Format: asked[k].Format})
	if f := editor.Edit(calling, how, out, asked[k].ProviderMessageID); f != nil {
		x.record(ctx, EditFailed, f.Code)
	}
}
