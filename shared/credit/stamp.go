package credit

import (
	"time"

	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Modes of an organisation: who pays for its platform calls. In draining, new
// calls are paid with credits and those that were admitted before finish on the
// legacy token counter.
const (
	// ModeCredit is the mode in which the ledger charges.
	ModeCredit     = "credit"
	ModeLegacy     = "legacy"
	ModeShadow     = "shadow"
	ModeDraining   = "draining"
	ModeRolledBack = "rolled_back"
)

// Stamp says who pays for an attempt. It is written with the attempt, in the
// transaction that checks it against the balance, and settlement obeys it
// whatever the organisation's mode is by then.
//
// The zero Stamp of a [ReserveRequest] is an attempt that only credits can pay; any
// other is what the caller knows of the organisation. A stamp that turns out to be
// old is replaced by the present one before anything is written.
type Stamp struct {
	// Mode is ModeCredit or one of the modes in which the counter pays.
	Mode string
	// Epoch counts the changes of who pays, 0 for an organisation that never had
	// a legacy counter.
	Epoch int64
}

// StampOf is the stamp of an attempt that is admitted in a mode.
func StampOf(mode string, epoch int64) Stamp {
	if mode == ModeDraining {
		mode = ModeCredit
	}
	return Stamp{Mode: mode, Epoch: epoch}
}

// Legacy reports whether the legacy token counter pays.
func (s Stamp) Legacy() bool {
	return s.Mode == ModeLegacy || s.Mode == ModeShadow || s.Mode == ModeRolledBack
}

// Legacy reports whether the attempt is one that the legacy counter pays for. What
// an organisation does on its own keys was never counted in tokens, but a fee for
// it must not be taken from credits either, held or not: what settlement finds of the
// month's allowance is known too late.
func (r ReserveRequest) Legacy() bool {
	return r.Stamp.Legacy() && r.Draw == nil && (r.Source == taxonomy.Platform || r.Hold > 0 || r.Fee.Due())
}

// Tokens is what the attempt counts on a legacy token counter: the vendor's totals
// of what the platform paid for. A refused call counts nothing.
func (u Used) Tokens() int64 {
	if u.Source != taxonomy.Platform || u.Kind == Refused {
		return 0
	}
	return u.Usage.InputTokens + u.Usage.OutputTokens
}

// CountPeriod is the UTC month in which tokens used at a time count, YYYYMM.
func CountPeriod(at time.Time) string { return at.UTC().Format("200601") }

// legs are the legs of an entry that moves no credits because the legacy counter
// pays; in shadow mode they say on accounts of their own what would have moved. A fee
// on own keys is of credits only: the counter knows none.
func (u Used) legs() []Leg {
	if u.Stamp.Mode == ModeShadow && !u.Own() {
		return []Leg{{AccountShadow, -u.Amount}, {AccountShadowRevenue, u.Amount}}
	}
	return []Leg{{AccountOrg, 0}, {AccountRevenue, 0}}
}

// Shadow is what credits would have paid, 0 for an entry that moved some.
func (e Entry) Shadow() (amount Micro) {
	for _, leg := range e.Legs {
		if leg.Account == AccountShadow {
			amount -= leg.Amount
		}
	}
	return amount
}
