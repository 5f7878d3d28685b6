package admin

import (
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
)

// storedDecision is the decision of an attempt, made again from its record.
type storedDecision struct {
	// Replay says how the record stands to what was stored beside it: equal;
	// differs, in rule, source or hash; unreadable; or other_policy, which this
	// build does not hold.
	Replay string `json:"replay"`
	// Reason is the recomputed one, empty if there is none.
	Reason string `json:"reason"`
	// Inputs is what the hash is taken over, absent if it cannot be read.
	Inputs *billing.Record `json:"inputs,omitempty"`
}

const (
	replayEqual       = "equal"
	replayDiffers     = "differs"
	replayUnreadable  = "unreadable"
	replayOtherPolicy = "other_policy"
)

func decisionOf(a credit.Attempt) storedDecision {
	r, err := billing.Recompute(a.Decision)
	switch {
	case fault.CodeOf(err) == fault.Unavailable:
		return storedDecision{Replay: replayOtherPolicy, Inputs: &r.Record}
	case err != nil:
		return storedDecision{Replay: replayUnreadable}
	}
	d := storedDecision{Replay: replayEqual, Reason: r.Decision.Reason, Inputs: &r.Record}
	if r.Hash != a.DecisionHash || r.Decision.Source != a.Source || r.Decision.Rule != a.Rule {
		d.Replay = replayDiffers
	}
	return d
}
