package gateway_test

import (
	"testing"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
)

// TestCollectedIsRecordedByItsHolder: a stream that is read to its end is a whole answer
// that is not recorded before whoever holds it says so.
func TestCollectedIsRecordedByItsHolder(t *testing.T) {
	r := newRig(t)
	s := r.stream(model.Event{Kind: model.EventStart, RequestID: "v1"}, text(30), text(10), model.Event{Kind: model.EventUsage, Usage: &model.Usage{Input: 3, Output: 7, Source: model.UsageProvider}},
		model.Event{Kind: model.EventFinish, Finish: model.FinishStop}, model.Event{Kind: model.EventEnd})
	texts := 0
	a, err := s.Collect(func(ev model.Event) {
		if ev.Kind == model.EventText {
			texts++
		}
	})
	check(t, err)
	if len(r.used) != 0 || texts != 2 || len(a.Response.Text()) != 40 || a.Response.ProviderRequestID != "v1" {
		t.Errorf("used %+v, %d texts, %+v", r.used, texts, a.Response)
	}
	p := a.Defer()
	if len(r.used) != 0 || p.Outcome.Kind != credit.Completed || p.Outcome.Amount != 3+2*7 || p.Outcome.Estimated || p.Outcome.ProviderRequestID != "v1" {
		t.Errorf("%+v", p)
	}
	check(t, r.gateway().Commit(t.Context(), p))
	if len(r.used) != 1 || r.used[0].Amount != 3+2*7 {
		t.Errorf("used: %+v", r.used)
	}
}

// TestCollectedThatBreaksOff: what arrived was paid for, and there is no answer.
func TestCollectedThatBreaksOff(t *testing.T) {
	r := newRig(t)
	s := r.stream(model.Event{Kind: model.EventStart}, text(40), fault.New(fault.ProviderError, "", "broken"))
	a, err := s.Collect(func(model.Event) {})
	wantCode(t, err, fault.ProviderError)
	if a != nil || len(r.used) != 1 || r.used[0].Kind != credit.Partial {
		t.Errorf("%+v, used %+v", a, r.used)
	}
}
