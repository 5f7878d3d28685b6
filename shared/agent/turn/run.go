package turn

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/agent"
	"github.com/latchkey/latchkey/shared/agent/approval"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/session"
)

// run is one claimed turn.
type run struct {
	*Runner
	job   session.Job
	del   Delivery
	turn  session.Turn
	parts []session.Part
	entry channel.Entry
	// install is as the last guard read it.
	install install.Install
	// agent is as this run read it.
	agent agent.Agent
	// buttons is what those under the last part of the message that is planned carry.
	buttons string
	// voice is what an answer is to be spoken with, mute that this run does not.
	voice string
	mute  bool
	// approval is the decided call that the turn goes on with, before are the steps of
	// the turns that waited for it.
	approval *approval.Approval
	before   []session.Step
	// draft is the message that the growing answer is shown in.
	draft draft
	// paused is how long the run has waited for the vendor.
	paused time.Duration
}

// end is how a step stops the run: the turn ends with code, or is tried again.
type end struct {
	code   Code
	detail string
	retry  bool
	after  time.Duration
	// pause says that the vendor asked to wait for after, quiet that the end of the
	// turn is no news, rejected that the vendor refused the credential.
	pause, quiet, rejected bool
}

// Run handles one reception of a queue message.
func (r *Runner) Run(ctx context.Context, d Delivery) Result {
	job, err := session.DecodeJob(d.Body)
	if err != nil {
		// It can never be read; the dead-letter queue and its alarm are for that.
		r.d.Recorder.Record(ctx, Event{At: r.d.Now(), Code: Malformed})
		return Result{Retry: true, After: minRetry}
	}
	x := &run{Runner: r, job: job, del: d}
	switch job.Kind {
	case session.JobRevoked:
		return x.revoked(ctx)
	case session.JobClaim:
		return x.claimed(ctx)
	case session.JobPress:
		return x.pressed(ctx)
	}
	if held, err := x.claim(ctx); err != nil || held > 0 {
		return x.finish(ctx, &end{retry: true, detail: string(fault.CodeOf(err)), after: held})
	}
	if x.turn.State.Final() {
		return Result{}
	}
	if x.turn.Attempts > 1 && x.turn.Code == "" {
		// The invocation before this one ended without a word.
		x.record(ctx, Retry, interrupted)
	}
	return x.finish(ctx, x.steps(ctx))
}

func (x *run) claim(ctx context.Context) (time.Duration, error) {
	j := x.job
	var held time.Duration
	var err error
	x.turn, x.parts, held, err = x.d.Turns.Claim(ctx, session.Claim{
		Turn: session.Turn{Org: j.Org, ID: session.TurnID(j.Install, j.EventID), Install: j.Install, EventID: j.EventID,
			Session: j.Key().Hash(), AgentID: j.AgentID, PersonaID: j.PersonaID},
		Delivery: x.del.ID, Receive: x.del.Receive, Owner: x.del.Owner, Now: x.d.Now(), Lease: lease,
	})
	return held, err
}

// steps takes the turn as far as it goes; nil means done.
func (x *run) steps(ctx context.Context) *end {
	if !x.turn.Planned {
		if err := x.resume(ctx); err != nil {
			return again(err)
		}
		if stop := x.standing(ctx); stop != nil {
			return stop
		}
		if stop := x.decided(ctx); stop != nil {
			return stop
		}
		if stop := x.make(ctx); stop != nil {
			return stop
		}
	}
	// A stored answer is committed whatever became of the install: the vendor
	// was paid for it.
	if !x.turn.Committed && len(x.turn.Receipt) > 0 {
		if stop := x.commit(ctx, x.turn.Receipt); stop != nil {
			return stop
		}
		x.turn.Committed = true
		if err := x.d.Turns.Note(ctx, x.turn, x.d.Now()); err != nil {
			return again(err)
		}
	}
	stop := x.send(ctx)
	if unpaid := x.spoken(ctx); unpaid != nil {
		return unpaid
	}
	if stop == nil || !stop.retry {
		if err := x.posted(ctx); err != nil {
			return again(err)
		}
	}
	if stop != nil {
		return stop
	}
	if x.turn.Notice != "" {
		return &end{code: Ended, detail: x.turn.Notice}
	}
	if len(x.parts) == 0 {
		return &end{code: AnswerEmpty}
	}
	return nil
}

// posted tells the model side whether the answer went out, once its parts have
// come to an end.
func (x *run) posted(ctx context.Context) error {
	if len(x.turn.Receipt) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	sent := slices.ContainsFunc(x.parts, func(p session.Part) bool { return p.State == session.Sent })
	return x.d.Model.Posted(ctx, x.turn.Org, x.turn.Receipt, sent)
}

// guard reads the install again and refuses unless it is the active one that
// the message was verified with.
func (x *run) guard(ctx context.Context) (install.Install, *end) {
	i, entry, stop := x.check(ctx)
	if stop == nil {
		x.entry, x.install = entry, i
	}
	return i, stop
}

// standing is guard, and asks the platform's app that the install belongs to: nothing is
// made that it may not send.
func (x *run) standing(ctx context.Context) *end {
	i, stop := x.guard(ctx)
	if stop == nil {
		_, stop = x.sender(ctx, i)
	}
	return stop
}

// check is guard for what runs beside the turn.
func (x *run) check(ctx context.Context) (i install.Install, entry channel.Entry, stop *end) {
	i, _, err := x.d.Installs.Install(ctx, x.job.Install)
	if fault.CodeOf(err) == fault.NotFound {
		return i, entry, &end{code: InstallInactive}
	}
	if err != nil {
		return i, entry, again(err)
	}
	entry, ok := x.d.Catalog.Find(i.Provider)
	entry = install.Declared(i, entry)
	if !ok || i.Org != x.job.Org || i.Provider != x.job.Envelope.Provider || !entry.SameTenant(i.Config, x.job.Identity) {
		return i, entry, &end{code: TenantGuard}
	}
	if i.State != install.Active {
		return i, entry, &end{code: InstallInactive}
	}
	return i, entry, nil
}

// make stores what is to be posted: a person's words or the agent's.
func (x *run) make(ctx context.Context) *end {
	if x.job.Kind == session.JobHuman {
		return x.say(ctx)
	}
	conversation, err := x.open(ctx)
	if err != nil {
		return again(err)
	}
	conversation, agents, stop := x.person(ctx, conversation)
	if stop != nil || !agents {
		return stop
	}
	a, err := x.d.Agents.Agent(ctx, x.job.Org, x.job.AgentID)
	if fault.CodeOf(err) == fault.NotFound {
		return &end{code: AgentMissing}
	}
	if err != nil {
		return again(err)
	}
	x.agent = a
	return x.answer(ctx, a, conversation)
}

// open reads the conversation, which begins with its first message.
func (x *run) open(ctx context.Context) (session.Session, error) {
	j := x.job
	return x.d.Transcript.Open(ctx, session.Session{Org: j.Org, ID: x.turn.Session, Key: j.Key().String(), Install: j.Install, AgentID: j.AgentID,
		PersonaID: j.PersonaID, Provider: string(j.Envelope.Provider), Space: j.Envelope.Space, Thread: j.Envelope.Thread}, x.d.Now())
}

// answer asks the model and stores what it said.
func (x *run) answer(ctx context.Context, a agent.Agent, conversation session.Session) *end {
	counted, stop := x.bots(ctx, conversation)
	if stop != nil {
		return stop
	}
	if stop := x.listen(ctx); stop != nil {
		return stop
	}
	if x.turn.Planned { // what could not be understood was heard all the same
		return x.quietly(ctx, conversation, counted)
	}
	x.voice = x.voiceOf(a)
	heard := x.incoming(x.said())
	heard.Loop = counted
	if err := x.d.Transcript.Append(ctx, x.turn, heard); err != nil {
		return again(err)
	}
	x.turn.Appended = true
	if stop := x.heard(ctx); stop != nil {
		return stop
	}
	got, err := x.asking(ctx, a, conversation)
	if err != nil {
		return x.refused(ctx, err)
	}
	x.turn.RequestIDs, x.turn.Receipt = merge(x.turn.RequestIDs, got.RequestIDs), got.Receipt
	if x.draft.State == draftPosted && len(x.entry.Adapter.Split(cut(got.Text, maxAnswer))) == 0 {
		// What was shown before the last call of a tool is no answer.
		x.turn.Notice = string(AnswerEmpty)
		return x.plan(ctx, NoticeBroken, "", session.Pin{})
	}
	return x.plan(ctx, cut(got.Text, maxAnswer), session.Assistant, got.Pin)
}

func (x *run) message(role session.Role, text string, at time.Time) session.Message {
	return session.Message{Role: role, Text: text, AgentID: x.job.AgentID, PersonaID: x.job.PersonaID, TurnID: x.turn.ID, EventID: x.job.EventID, At: at}
}

// refused handles an error of the model side.
func (x *run) refused(ctx context.Context, err error) *end {
	f := fault.As(err)
	if f.RequestID != "" {
		x.turn.RequestIDs = merge(x.turn.RequestIDs, []string{f.RequestID})
	}
	var w *waits
	var h *hands
	switch {
	case errors.As(err, &w):
		return x.suspend(ctx, w)
	case errors.As(err, &h):
		return x.handOver(ctx, h)
	case errors.Is(err, session.ErrFenced), passes(err) && (x.del.Receive < Receptions || x.acted()):
		return again(err)
	case f.Code == fault.ScopeMissing && x.draft.State != draftPosted:
		// Nothing is posted for an organisation that is suspended, but half an answer
		// that people have seen gets its end.
		x.unheld(ctx)
		return &end{code: Ended, detail: string(f.Code)}
	}
	return x.apologise(ctx, err)
}

// plan stores text as parts to send. Without a role it does not become part of
// the conversation. pin is what the text was answered with. It is stored although
// the time of what led to it is up.
func (x *run) plan(ctx context.Context, text string, role session.Role, pin session.Pin) *end {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	parts := x.split(text)
	if n := len(parts); n > 0 {
		parts[n-1].Ask = x.buttons
	}
	m := session.Message{}
	if role != "" {
		x.aloud(parts)
		m = x.message(role, text, x.d.Now())
		m.Pin = pin
	}
	x.turn.Code = "" // of an earlier try
	if err := x.d.Turns.Plan(ctx, x.turn, parts, m, x.d.Now()); err != nil {
		return x.unplanned(ctx, err)
	}
	x.planned(ctx, parts)
	return nil
}

// split makes parts to send of a text.
func (x *run) split(text string) []session.Part {
	var parts []session.Part
	for i, p := range x.entry.Adapter.Split(text) {
		if i == maxParts {
			break
		}
		parts = append(parts, session.Part{Part: i + 1, State: session.Planned, Text: p.Text, Format: p.Format, Spoken: p.Plain})
	}
	x.redirect(parts)
	return parts
}

// planned takes parts as they were stored.
func (x *run) planned(ctx context.Context, parts []session.Part) {
	x.turn.Planned, x.turn.State, x.parts = true, session.TurnAnswered, parts
	if len(parts) > 0 && parts[0].State == session.Unknown {
		x.record(ctx, ReplyUnknown, interrupted)
	}
}

// again is a failure that may pass.
func again(err error) *end {
	return &end{retry: true, detail: string(fault.CodeOf(err)), after: retryAfter(err), code: lostTo(err)}
}

func lostTo(err error) Code {
	if errors.Is(err, session.ErrFenced) {
		return Lost
	}
	return Retry
}

func retryAfter(err error) time.Duration {
	if f := fault.As(err); f != nil {
		return f.RetryAfter
	}
	return 0
}

// finish records how the run ended.
func (x *run) finish(ctx context.Context, stop *end) Result {
	// The record must be written although the run's own time is up.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	note := func(s session.TurnState, code string) error {
		x.turn.State, x.turn.Code = s, code
		return x.d.Turns.Note(ctx, x.turn, x.d.Now())
	}
	switch {
	case stop == nil:
		if err := note(session.TurnDone, ""); err != nil {
			return x.retry(ctx, again(err))
		}
		x.record(ctx, Done, "")
		return Result{}
	case stop.retry && stop.code == Lost:
		// Another claim runs the turn; whatever happens to this reception, the
		// record is that claim's.
		x.record(ctx, Lost, "")
		return Result{Retry: true, After: lostRetry}
	case stop.retry:
		if x.turn.Fence > 0 && stop.code == Retry {
			_ = note(session.TurnWaiting, stop.detail)
		}
		return x.retry(ctx, stop)
	}
	detail := stop.detail
	if detail == "" {
		detail = string(stop.code)
	}
	if err := note(session.TurnEnded, detail); err != nil {
		return x.retry(ctx, again(err))
	}
	if !stop.quiet {
		x.record(ctx, stop.code, stop.detail)
	}
	return Result{}
}

// retry asks for another reception: after what the failure says, else after a
// time that grows with the receptions.
func (x *run) retry(ctx context.Context, stop *end) Result {
	x.record(ctx, Retry, stop.detail)
	after := stop.after
	if after <= 0 {
		after = minRetry << min(2*(max(x.del.Receive, 1)-1), 6)
	}
	return Result{Retry: true, After: min(max(after, minRetry), maxRetry)}
}

func (x *run) record(ctx context.Context, code Code, detail string) {
	x.d.Recorder.Record(ctx, Event{At: x.d.Now(), Org: x.job.Org, Install: x.job.Install, Turn: x.turn.ID, EventID: x.job.EventID, Code: code, Detail: detail})
}

// revoked ends the install of an app that was removed at the vendor.
func (x *run) revoked(ctx context.Context) Result {
	i, _, err := x.d.Installs.Install(ctx, x.job.Install)
	switch {
	case fault.CodeOf(err) == fault.NotFound:
		return Result{}
	case err != nil:
		return x.retry(ctx, again(err))
	}
	entry, ok := x.d.Catalog.Find(i.Provider)
	if !ok || i.Org != x.job.Org || !install.Declared(i, entry).SameTenant(i.Config, x.job.Identity) {
		x.record(ctx, TenantGuard, "")
		return Result{}
	}
	op := audit.Op{Actor: "function:turn", ID: session.TurnID(x.job.Install, x.job.EventID), At: x.d.Now()}
	if err := x.d.Revoker.RevokedByVendor(ctx, op, i); err != nil {
		return x.retry(ctx, again(err))
	}
	x.record(ctx, Revoked, "")
	return Result{}
}

func merge(ids, more []string) []string {
	out := slices.Clone(ids)
	for _, id := range more {
		if id != "" && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

// cut shortens text to at most limit bytes without breaking a character.
func cut(text string, limit int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}
