package legacytokens

import (
	"cmp"
	"slices"
	"time"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

const dayLayout = time.DateOnly

// Day is what the counter counted of one model on one day.
type Day struct {
	Day, Model              string
	Requests, Input, Output int64
	Money                   credit.Micro
	// Diff sums what was found per call, by class.
	Diff map[Class]credit.Micro
}

// Parity compares the counter with the ledger for one model on one day.
type Parity struct {
	Day, Model     string
	Legacy, Ledger Figures
	// Difference is the counter's money less the ledger's, Classes where it comes
	// from. They sum to it.
	Difference credit.Micro
	Classes    map[Class]credit.Micro
	// Reasons say what stands in the way of a cutover: requests, input_tokens,
	// output_tokens, unexplained, classes. The money of a day is judged as a whole.
	Reasons []string
}

// Figures are one side of a comparison.
type Figures struct {
	Requests, Input, Output int64
	Money                   credit.Micro
}

// Report is a comparison over whole days.
type Report struct {
	From, To string
	Rows     []Parity
	// Reasons say which days stand in the way of a cutover, as "day: what", empty
	// if none.
	Reasons []string
}

// centPerDay is the difference that never stands in the way.
const centPerDay = credit.Micro(10_000)

// Compare lays what the counter counted beside the rows that were projected from
// the ledger's entries. The two were added up in different transactions, from
// different items.
func Compare(days []Day, rows []credit.UsageRow, from, to string) Report {
	type key struct{ day, model string }
	found := map[key]*Parity{}
	at := func(day, model string) *Parity {
		k := key{day, model}
		if found[k] == nil {
			found[k] = &Parity{Day: day, Model: model, Classes: map[Class]credit.Micro{}}
		}
		return found[k]
	}
	for _, d := range days {
		p := at(d.Day, d.Model)
		p.Legacy = Figures{d.Requests, d.Input, d.Output, d.Money}
		for class, amount := range d.Diff {
			p.Classes[class] = amount
		}
	}
	for _, r := range rows {
		if r.Source != taxonomy.Platform || !r.Legacy {
			continue
		}
		p := at(r.Day, r.Provider+"/"+r.Model)
		p.Ledger.Requests += r.Requests
		p.Ledger.Input += r.Usage.InputTokens
		p.Ledger.Output += r.Usage.OutputTokens
		p.Ledger.Money += r.Shadow
	}
	out := Report{From: from, To: to, Rows: make([]Parity, 0, len(found))}
	for _, p := range found {
		p.judge()
		out.Rows = append(out.Rows, *p)
	}
	slices.SortFunc(out.Rows, func(a, b Parity) int { return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Model, b.Model)) })
	out.Reasons = reasons(out.Rows)
	return out
}

func (p *Parity) judge() {
	p.Difference = p.Legacy.Money - p.Ledger.Money
	var sum credit.Micro
	for _, amount := range p.Classes {
		sum += amount
	}
	for _, c := range []struct {
		what string
		bad  bool
	}{
		{"requests", p.Legacy.Requests != p.Ledger.Requests},
		{"input_tokens", p.Legacy.Input != p.Ledger.Input},
		{"output_tokens", p.Legacy.Output != p.Ledger.Output},
		{"classes", sum != p.Difference},
		{string(Unexplained), p.Classes[Unexplained] != 0},
	} {
		if c.bad {
			p.Reasons = append(p.Reasons, c.what)
		}
	}
}

func reasons(rows []Parity) (out []string) {
	type sum struct{ legacy, ledger credit.Micro }
	money := map[string]sum{}
	var days []string
	for _, p := range rows {
		if _, seen := money[p.Day]; !seen {
			days = append(days, p.Day)
		}
		m := money[p.Day]
		money[p.Day] = sum{m.legacy + p.Legacy.Money, m.ledger + p.Ledger.Money}
		for _, r := range p.Reasons {
			out = append(out, p.Day+": "+p.Model+": "+r)
		}
	}
	for _, day := range days {
		m := money[day]
		off := m.legacy - m.ledger
		if off < 0 {
			off = -off
		}
		if off > centPerDay && off > m.legacy/1000 {
			out = append(out, day+": money")
		}
	}
	return out
}

// GateDays are the whole days that must agree before credits pay.
const GateDays = 7

// window are the whole days before now that a gate looks at.
func window(now time.Time) (from, to time.Time) {
	today := now.UTC().Truncate(24 * time.Hour)
	return today.AddDate(0, 0, -GateDays), today.AddDate(0, 0, -1)
}
