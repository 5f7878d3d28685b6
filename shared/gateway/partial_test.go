package gateway_test

import (
	"testing"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
)

// TestUsageOfABrokenStream: numbers from before the finish are a beginning, those
// after it are the vendor's last word.
func TestUsageOfABrokenStream(t *testing.T) {
	usage := func(in, out int64) model.Event {
		return model.Event{Kind: model.EventUsage, Usage: &model.Usage{Input: in, Output: out, Source: model.UsageProvider}}
	}
	for name, c := range map[string]struct {
		events    []any
		output    int64
		estimated bool
	}{
		"counted before":          {[]any{usage(50, 1), text(400)}, 100, true},
		"counted before, no text": {[]any{usage(50, 7)}, 7, true},
		"counted more":            {[]any{usage(50, 150), text(400)}, 150, true},
		"counted after":           {[]any{usage(50, 1), text(400), model.Event{Kind: model.EventFinish, Finish: model.FinishStop}, usage(50, 90)}, 90, false},
		"finished, not counted":   {[]any{usage(50, 1), text(400), model.Event{Kind: model.EventFinish, Finish: model.FinishStop}}, 100, true},
	} {
		r := newRig(t)
		s := r.stream(append(c.events, vendorFault(fault.ProviderError))...)
		var err error
		for err == nil {
			_, err = s.Next()
		}
		wantCode(t, err, fault.ProviderError)
		u := r.used[0]
		source := billing.FromProvider
		if c.estimated {
			source = billing.Estimated
		}
		if u.Kind != credit.Partial || u.Usage.InputTokens != 50 || u.Usage.OutputTokens != c.output || u.Usage.Source != source || u.Estimated != c.estimated ||
			u.Amount != billing.Micro(50+2*c.output) {
			t.Errorf("%s: %+v", name, u)
		}
	}
}

// TestEstimateNeverCostsMoreThanTheHold: a vendor that sends without end does not
// empty the account.
func TestEstimateNeverCostsMoreThanTheHold(t *testing.T) {
	var amounts []billing.Micro
	for _, sent := range []int{4_000_000, 8_000_000} {
		r := newRig(t)
		s := r.stream(text(sent), vendorFault(fault.ProviderError))
		_, _ = s.Next()
		_, err := s.Next()
		wantCode(t, err, fault.ProviderError)
		u := r.used[0]
		if !u.Estimated || u.Usage.OutputTokens != int64(sent/4) {
			t.Errorf("used %+v", u)
		}
		amounts = append(amounts, u.Amount)
	}
	// Counted, each byte more would cost more.
	if amounts[0] == 0 || amounts[0] != amounts[1] || amounts[0] >= 2_000_000 {
		t.Errorf("amounts %v", amounts)
	}
}
