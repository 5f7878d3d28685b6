package billing

import (
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Fees are the terms on which requests on an organisation's own keys and endpoints
// are charged, as its commercial policy has them. The zero value charges nothing.
type Fees struct {
	// Policy is the version of the policy.
	Policy string
	// FlatFee is per request on an own key, SurchargeBPS in basis points of what the
	// request would cost on platform credits; at most one of them is set.
	FlatFee      Micro
	SurchargeBPS int64
	// PrivateFee is per request on an own endpoint.
	PrivateFee Micro
	// FreeRequests of a calendar month (UTC) are not charged.
	FreeRequests int64
}

// Any reports whether any request can cost anything.
func (f Fees) Any() bool { return f.FlatFee > 0 || f.SurchargeBPS > 0 || f.PrivateFee > 0 }

// Fee is what a decision makes of the terms for one candidate.
type Fee struct {
	// Flat is per request, BPS in basis points of its price; at most one is set.
	Flat Micro
	BPS  int64
	// Free is the allowance of the month in requests: settlement charges nothing
	// while fewer have been counted, whatever was known before the call.
	Free int64
	// Held says that the fee is reserved before the call, because the allowance is
	// used up or may be by the time the request is settled.
	Held bool
}

// Due reports whether the request can cost anything.
func (f Fee) Due() bool { return f.Flat > 0 || f.BPS > 0 }

// The last part of an allowance is reserved for like what is charged, so that
// requests that run at once do not pass its end together on credit nobody has: a
// tenth of it, within these bounds.
const (
	leastMargin = 20
	mostMargin  = 1000
)

// fee is the fee of a candidate whose source was decided; used is how many
// requests of the month were counted against the allowance.
func (f Fees) fee(source taxonomy.BillingSource, used int64) Fee {
	out := Fee{Free: f.FreeRequests}
	switch source {
	case taxonomy.BYOK:
		out.Flat, out.BPS = f.FlatFee, f.SurchargeBPS
	case taxonomy.Private:
		out.Flat = f.PrivateFee
	}
	if !out.Due() {
		return Fee{}
	}
	out.Held = f.FreeRequests-used <= min(max(f.FreeRequests/10, leastMargin), mostMargin) || f.FreeRequests <= 0
	return out
}

// Of is the fee for a usage: the flat amount, or the basis points of the exact
// price, rounded up once. Errors as [Cost], for a surcharge only.
func (f Fee) Of(book *Book, provider, model string, u Usage) (Micro, error) {
	if f.BPS <= 0 {
		return f.Flat, nil
	}
	s, err := priceOf(book, provider, model, u)
	if err != nil {
		return 0, err
	}
	s.scale(uint64(f.BPS))
	micro, ok := s.micro(milliPicoPerMicro * basisPoints)
	if !ok {
		return 0, outOfRange()
	}
	return micro, nil
}

// Estimate is what is held for the fee of a request before it is made. Errors as
// [Estimate], for a surcharge only: a model without a price is price_missing.
func (f Fee) Estimate(book *Book, provider, model string, e Expected) (Micro, error) {
	if f.BPS <= 0 {
		return f.Flat, nil
	}
	hold, _, err := estimate(book, provider, model, e, f.Of)
	if fault.CodeOf(err) == fault.PriceMissing {
		return 0, fault.New(fault.PriceMissing, "billing.Fee", "this model has no price to take the surcharge on own keys from, ask the operator to add one")
	}
	return hold, err
}

const basisPoints = 10_000
