// Package legacytokens takes organisations from an older product's token counter
// to credits, and back.
//
// An organisation on its legacy counter ([Counter]) pays for platform calls with the
// tokens of a month. [Service.Change] moves it along [Transitions]: legacy -> shadow
// (the counter pays, the ledger writes what credits would have paid on accounts of
// their own) -> draining (new calls are paid with credits, those that were admitted
// before finish on the counter) -> credit -> rolled_back (the counter pays again,
// with what was used meanwhile counted). Each change is one transaction over
// counter, balance, organisation and audit row; a rollback is two of them.
//
// Guarantees. A call is paid once, by one of the two: who pays is stamped on the
// attempt ([credit.Stamp]) in the transaction that checks mode and epoch on the
// balance, and settlement obeys the stamp. While credits pay, nothing can write the
// counter: the condition is in the write ([fault.LegacyLedgerDisabled]). Shadow
// leaves the balance as it is, to the byte. The opening grant is written with the
// change that makes credits pay, under an id made of organisation and epoch; what
// calls still counted on the counter after it is taken off when the drain ends, and
// what is left of it, and no running call holds, after a rollback. Credits pay only
// after seven whole days on which [Compare] found requests and tokens equal and the
// money within a tenth of a percent or a cent, every difference explained.
//
// Limits. An organisation on a counter gets what one item takes, about ten calls a
// second, and its limit admits while the month's count is below it, so running calls
// may go beyond it. Usage that arrives after the counter was closed, from a call that
// was given up for dead, is recorded as the counter's and joins it at a rollback.
// Platform actions are priced in credits only and refused while a counter pays.
package legacytokens

import (
	"crypto/sha256"
	"encoding/base64"
	"math/big"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
)

// Mode is who pays for an organisation's platform calls.
type Mode = org.LedgerMode

// Counter is an organisation's legacy counter and its place on the way to credits.
// One that was never written is the zero Counter in mode credit.
type Counter struct {
	Org  string
	Mode Mode
	// Epoch counts the changes of who pays; Since is when the mode began.
	Epoch int64
	Since time.Time
	// ShadowUntil is when what a shadow showed becomes too old to act on.
	ShadowUntil time.Time
	// Cutover is when credits began to pay last.
	Cutover time.Time
	// Open are the attempts that the counter will pay for and that have not ended.
	Open  int64
	Terms Terms
	// Used are the tokens per [credit.CountPeriod]; Seeded says how many of them
	// were paid with credits and counted at a rollback.
	Used, Seeded map[string]int64
	// Opening is the grant that the present epoch, or the last one of credits,
	// began with; empty id: none.
	Opening Opening
	// Version counts the changes of terms and mode.
	Version int64
}

// Opening is the grant that stands for the tokens that were left.
type Opening struct {
	ID     string
	Amount credit.Micro
	// Period and Used are the month and what had been counted in it.
	Period string
	Used   int64
}

// Terms are what was agreed with an organisation about its tokens. They can be
// changed while the counter pays.
type Terms struct {
	// Limit are the tokens of a month, 0 without a limit.
	Limit int64
	// RatePico is what a token that is left becomes worth in credits, in pico-USD.
	RatePico int64
	// Rounding is what each class of tokens of a call was rounded up to, in
	// micro-USD: 10,000 is a cent.
	Rounding credit.Micro
	// Rates are what the older product charged, for comparison.
	Rates []Rate
}

// Rate is the older product's price of a model, in pico-USD per token. The model
// "*" stands for all that have none of their own.
type Rate struct {
	Model                 string // provider/model
	InputPico, OutputPico int64
}

const (
	maxTokens    = int64(1) << 50
	maxRate      = int64(1_000_000_000_000) // one USD per token
	maxRounding  = credit.Micro(1_000_000)
	maxRates     = 200
	maxModelName = 264
	anyModel     = "*"
)

// Check refuses terms that make no sense with invalid_request.
func (t Terms) Check() error {
	switch {
	case t.Limit < 0 || t.Limit > maxTokens:
		return invalid("limit_tokens", "limit_tokens must be between 0 (no limit) and 2^50")
	case t.RatePico < 0 || t.RatePico > maxRate:
		return invalid("rate_pico", "rate_pico is what a token is worth in pico-USD, 0 to 1,000,000,000,000")
	case t.Rounding < 1 || t.Rounding > maxRounding:
		return invalid("rounding", "rounding is in micro-USD, 1 to 1,000,000")
	case len(t.Rates) > maxRates:
		return invalid("rates", "there may be 200 rates")
	}
	seen := make(map[string]bool, len(t.Rates))
	for _, r := range t.Rates {
		switch {
		case r.Model == "" || len(r.Model) > maxModelName || seen[r.Model]:
			return invalid("rates.model", "each rate needs a model of its own, as provider/model, or * for all others")
		case r.InputPico < 0 || r.InputPico > maxRate || r.OutputPico < 0 || r.OutputPico > maxRate:
			return invalid("rates", "a rate is in pico-USD per token, 0 to 1,000,000,000,000")
		}
		seen[r.Model] = true
	}
	return nil
}

// rate is the older product's price of a model.
func (t Terms) rate(model string) (Rate, bool) {
	var other Rate
	found := false
	for _, r := range t.Rates {
		if r.Model == model {
			return r, true
		}
		if r.Model == anyModel {
			other, found = r, true
		}
	}
	return other, found
}

// worth is what tokens become in credits, rounded down.
func (t Terms) worth(tokens int64) credit.Micro {
	v := new(big.Int).Mul(big.NewInt(max(tokens, 0)), big.NewInt(t.RatePico))
	v.Quo(v, big.NewInt(picoPerMicro))
	if v.Cmp(big.NewInt(int64(billing.MaxAmount))) > 0 {
		return billing.MaxAmount
	}
	return credit.Micro(v.Int64())
}

const picoPerMicro = 1_000_000

// Left are the tokens that a period has left, 0 without a limit.
func (c Counter) Left(period string) int64 { return max(c.Terms.Limit-c.Used[period], 0) }

// Pays reports whether the counter pays for new calls.
func (c Counter) Pays() bool { return credit.StampOf(string(c.Mode), c.Epoch).Legacy() }

// Mirror is what the counter of a period would say had it counted on: what it has,
// and what credits have paid for since.
func (c Counter) Mirror(period string, a credit.Account) int64 {
	return c.Used[period] + c.unseeded(period, a)
}

// unseeded are the tokens that credits paid for and the counter does not know.
func (c Counter) unseeded(period string, a credit.Account) int64 {
	return max(a.Counted(period)-c.Seeded[period], 0)
}

// postingID is unique per organisation and epoch; parts tell several apart.
func postingID(prefix, org string, epoch int64, parts ...string) string {
	h := sha256.New()
	for _, p := range append([]string{prefix, org, strconv.FormatInt(epoch, 10)}, parts...) {
		_, _ = h.Write([]byte(strconv.Itoa(len(p)) + ":" + p))
	}
	return prefix + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:15])
}

func invalid(param, message string) error {
	return fault.New(fault.InvalidRequest, "legacytokens", message).WithParam(param)
}

// Disabled is the refusal of a write to a counter that does not pay.
func Disabled(op string) error {
	return fault.New(fault.LegacyLedgerDisabled, op, "this organisation's legacy token counter is closed, credits are the only authority; roll back first")
}
