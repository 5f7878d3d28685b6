package gateway

import (
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/route"
)

// Told is an error of a call with what was decided about the candidate that it
// speaks of. Source and rule say who would have paid, not that anything was
// charged; Source is empty if the rule refused the candidate.
type Told struct {
	Info Info
	Err  error
}

// Error is that of the failure itself.
func (t *Told) Error() string { return t.Err.Error() }

// Unwrap gives the failure.
func (t *Told) Unwrap() error { return t.Err }

// suspended refuses an organisation that is not active before anything is
// planned, with the rule that would refuse each candidate.
func (c *Caller) suspended() error {
	if err := c.config.Org.Allow(); err != nil {
		return &Told{Info: Info{Rule: billing.RuleOrgInactive}, Err: err}
	}
	return nil
}

// about describes a candidate and its decision.
func about(cand route.Candidate, d billing.Decision) Info {
	i := Info{Provider: cand.Provider, Model: cand.Name(), Source: d.Source, Rule: d.Rule}
	if cand.Connection != nil {
		i.Connection = cand.Connection.ID
	}
	return i
}

// told adds to an error what was decided about the candidate it speaks of: the
// one that ended the request, else as [attempts.failure] chooses.
func (a *attempts) told(err error) error {
	info := a.current
	if !a.final {
		switch {
		case a.last != nil:
			info = a.lastInfo
		case a.denied != nil:
			info = a.deniedInfo
		default:
			info = Info{}
		}
	}
	info.RequestID, info.Fallback = a.request, a.tried
	return &Told{Info: info, Err: err}
}
