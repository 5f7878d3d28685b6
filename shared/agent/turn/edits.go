package turn

import (
	"context"
	"encoding/json"
	"time"

	"github.com/latchkey/latchkey/shared/agent/approval"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/session"
)

// draftState is what is known of the message that a growing answer is shown in.
type draftState string

const (
	noDraft      draftState = ""
	draftClaimed draftState = "claimed" // it may have been posted
	draftPosted  draftState = "posted"
	draftRefused draftState = "refused" // certainly not posted: the answer is posted as ever
)

// draft is stored before and after the message is posted, so that a later run edits
// the same one, or knows that it may not post another.
type draft struct {
	State draftState `json:"state"`
	ID    string     `json:"id,omitempty"`
}

// redraft finds the draft of earlier runs.
func (x *run) redraft() error {
	for _, s := range x.turn.Steps {
		if s.Kind == session.StepDraft && json.Unmarshal(s.Data, &x.draft) != nil {
			return fault.New(fault.Internal, "turn.redraft", "internal error, a stored step of this turn cannot be read")
		}
	}
	return nil
}

// drafted stores the state of the draft. It holds here also if the store fails.
func (x *run) drafted(ctx context.Context, d draft) error {
	x.draft = d
	data, _ := json.Marshal(d) // two strings
	s := session.Step{N: len(x.turn.Steps) + 1, Kind: session.StepDraft, Data: data}
	if err := x.d.Turns.Step(ctx, x.turn, s); err != nil {
		return err
	}
	x.turn.Steps = append(x.turn.Steps[:len(x.turn.Steps):len(x.turn.Steps)], s)
	return nil
}

// growing shows the answer of one model call while it grows, where the install wants
// it, until leave is called. What fails of it is not the turn's: the answer itself is
// sent later. leave waits for the call that is under way, or that one's older text
// might arrive behind the answer.
func (x *run) growing(ctx context.Context, q AnswerRequest) (grown func(text string), leave func()) {
	editor, ok := x.entry.Adapter.(channel.Editor)
	if !ok || q.Aside || x.install.Policy.Streaming != install.StreamEdits || x.voice != "" || x.draft.State == draftClaimed || x.draft.State == draftRefused {
		return nil, func() {}
	}
	waiting, stop := context.WithCancel(ctx)
	news, done := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(done)
		// A fault of an adapter must not end the process for a draft; what is stored
		// says whether it may have been posted.
		defer func() { _ = recover() }()
		x.show(ctx, waiting, editor, news)
	}()
	grown = func(text string) {
		select {
		case <-news: // replaced by what is newer
		default:
		}
		news <- text
	}
	return grown, func() {
		stop()
		<-done
	}
}

// show posts the first state and replaces it by the newest one from time to time.
func (x *run) show(ctx, waiting context.Context, editor channel.Editor, news <-chan string) {
	pause, last := editEvery, channel.Piece{}
	var how channel.Call
	for shown := 0; shown < maxEdits; {
		var text string
		select {
		case text = <-news:
		case <-waiting.Done():
			return
		}
		if !x.d.Wait(waiting, pause) {
			return
		}
		select {
		case text = <-news:
		default:
		}
		pieces := x.entry.Adapter.Split(cut(text, maxAnswer))
		if len(pieces) == 0 || pieces[0] == last {
			continue
		}
		if shown == 0 {
			var ok bool
			if how, ok = x.reach(ctx); !ok {
				return
			}
		}
		again, ok := x.showPiece(ctx, how, editor, pieces[0])
		if !ok {
			return
		}
		if shown, pause = shown+1, max(again, editEvery); again == 0 {
			last = pieces[0]
		}
	}
}

// reach is how the vendor is called, if the install is still what the message was
// verified with.
func (x *run) reach(ctx context.Context) (channel.Call, bool) {
	i, _, stop := x.check(ctx)
	if stop != nil {
		return channel.Call{}, false
	}
	token, _, stop := x.token(ctx, i)
	return channel.Call{HTTP: x.d.HTTP, Media: x.d.Media(i.Provider), BaseURL: x.d.BaseURL(x.entry.Reached()), Token: token, Config: i.Config}, stop == nil
}

// showPiece shows one state. again is above 0 if the vendor asked for so long a pause
// and did not show it; ok is false if nothing is to be shown any more.
func (x *run) showPiece(ctx context.Context, how channel.Call, editor channel.Editor, p channel.Piece) (again time.Duration, ok bool) {
	if !timeFor(ctx, sendTime+storeTime) {
		return 0, false
	}
	calling, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	out := x.outgoing(session.Part{Part: 1, Text: p.Text, Format: p.Format})
	if x.draft.State == draftPosted {
		f := editor.Edit(calling, how, out, x.draft.ID)
		if f == nil {
			return 0, true
		}
		x.record(ctx, EditFailed, f.Code)
		return max(f.RetryAfter, editEvery), f.Certainty != channel.Refused
	}
	if err := x.drafted(ctx, draft{State: draftClaimed}); err != nil {
		x.draft = draft{State: draftRefused} // certainly not posted
		return 0, false
	}
	id, f := x.entry.Adapter.Send(calling, how, out)
	storing, done := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer done()
	switch {
	case f == nil:
		return 0, x.drafted(storing, draft{State: draftPosted, ID: id}) == nil
	case f.Certainty != channel.Ambiguous:
		_ = x.drafted(storing, draft{State: draftRefused})
	}
	return 0, false
}

// redirect gives the first part of an answer the message that has shown it so far.
// Where nobody knows whether there is one, another must not be posted.
func (x *run) redirect(parts []session.Part) {
	switch {
	case len(parts) == 0:
	case x.draft.State == draftPosted:
		parts[0].ProviderMessageID = x.draft.ID
	case x.draft.State == draftClaimed:
		parts[0].State, parts[0].Code = session.Unknown, interrupted
	}
}

// post sends a part, or replaces with it the message that the part has already. A
// replacement whose fate is unknown may be repeated.
func (x *run) post(ctx context.Context, how channel.Call, p session.Part, out channel.Outgoing) (string, *channel.Failure) {
	if p.ProviderMessageID == "" {
		return x.entry.Adapter.Send(ctx, how, out)
	}
	editor, ok := x.entry.Adapter.(channel.Editor)
	if !ok {
		return "", &channel.Failure{Certainty: channel.Refused, Code: "no_edits"}
	}
	f := editor.Edit(ctx, how, out, p.ProviderMessageID)
	if f != nil && f.Certainty == channel.Ambiguous {
		f.Certainty = channel.NotSent
	}
	return p.ProviderMessageID, f
}

// outgoing is a part as the adapter takes it.
func (x *run) outgoing(p session.Part) channel.Outgoing {
	to := x.job.Envelope.ReplyTo
	if to == "" {
		to = x.job.Envelope.Space
	}
	return channel.Outgoing{To: to, Thread: x.job.Envelope.Thread, Text: p.Text, Format: p.Format, TurnID: x.turn.ID, Part: p.Part,
		Buttons: approval.Buttons(p.Ask), Follows: x.job.Kind != session.JobMessage}
}
