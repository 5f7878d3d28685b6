package legacytokens

import (
	"math/big"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
)

// Class says why the older product's money for a call differs from credits.
type Class string

// Classes. Unexplained is none of them, and stops a cutover.
const (
	Rounding     Class = "rounding"
	MissingPrice Class = "missing_price"
	Abort        Class = "abort"
	Cached       Class = "cached"
	Unexplained  Class = "unexplained"
)

// Classes lists the classes in the order in which they are tried.
func Classes() []Class { return []Class{MissingPrice, Abort, Cached, Rounding, Unexplained} }

// Charged is what one call came to on the counter.
type Charged struct {
	Day, Model           string
	Input, Output, Total int64
	// Money is what the older product would have taken.
	Money credit.Micro
	// Diff is Money less what credits would have paid, Class why; only in shadow
	// mode, where that is known.
	Diff  credit.Micro
	Class Class
}

// Charge is what a used attempt comes to under the terms of its organisation: a
// pure function. Input counts what was read from or written to a cache like any
// other, and each class of tokens is rounded up by itself, as the older product did.
func Charge(t Terms, u credit.Used) Charged {
	c := Charged{Day: u.At.UTC().Format(dayLayout), Model: u.Provider + "/" + u.Model, Total: u.Tokens()}
	if c.Total > 0 {
		c.Input, c.Output = u.Usage.InputTokens, u.Usage.OutputTokens
	}
	rate, priced := t.rate(c.Model)
	c.Money = t.price(c.Input, rate.InputPico) + t.price(c.Output, rate.OutputPico)
	if u.Stamp.Mode != credit.ModeShadow || u.Kind == credit.Refused {
		return c
	}
	if c.Diff = c.Money - u.Amount; c.Diff == 0 {
		return c
	}
	width := c.Diff
	if width < 0 {
		width = -width
	}
	cached := u.Usage.CachedInputTokens + u.Usage.CacheWriteTokens
	switch {
	case !priced:
		c.Class = MissingPrice
	case u.Kind == credit.Partial || u.Estimated:
		c.Class = Abort
	case cached > 0 && width <= t.price(cached, rate.InputPico)+2*t.Rounding:
		c.Class = Cached
	case width < 2*t.Rounding+1:
		c.Class = Rounding
	default:
		c.Class = Unexplained
	}
	return c
}

// price is what one class of tokens cost, rounded up.
func (t Terms) price(tokens, pico int64) credit.Micro {
	unit := new(big.Int).Mul(big.NewInt(int64(max(t.Rounding, 1))), big.NewInt(picoPerMicro))
	cost := new(big.Int).Mul(big.NewInt(tokens), big.NewInt(pico))
	cost.Add(cost, new(big.Int).Sub(unit, big.NewInt(1)))
	cost.Quo(cost, unit).Mul(cost, big.NewInt(int64(max(t.Rounding, 1))))
	if cost.Cmp(big.NewInt(int64(billing.MaxAmount))) > 0 {
		return billing.MaxAmount
	}
	return credit.Micro(cost.Int64())
}
