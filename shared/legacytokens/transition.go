package legacytokens

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
)

// Need is what must be so before a transition.
type Need string

// Needs.
const (
	NeverMigrated Need = "never_migrated" // the organisation has had no counter before
	Migrated      Need = "migrated"       // it has had one
	HasTerms      Need = "terms"          // worth of a token and rates are known
	HasParity     Need = "parity"         // seven whole days in shadow agree
	Drained       Need = "drained"        // nothing is open that the counter pays for
)

// Effect is what a transition does besides changing the mode.
type Effect string

// Effects. Grant posts the opening grant, Correct takes off it what was counted
// during the drain, Restore counts what credits paid for and takes back what is left
// of the opening grant; with a switch it only counts, and another one follows.
const (
	Grant   Effect = "grant"
	Correct Effect = "correct"
	Restore Effect = "restore"
)

// Transition is one allowed change of mode. All are the operator's; the end of a drain
// also comes by itself ([Finisher]).
type Transition struct {
	From, To Mode
	// Switches says that another one pays from then on, which begins an epoch.
	Switches bool
	Needs    []Need
	Effect   Effect
}

// Transitions lists every allowed change. Asking for the mode that is there restores,
// while the counter pays, what calls that were in flight at the rollback used since.
func Transitions() []Transition {
	return []Transition{
		{From: org.LedgerCredit, To: org.LedgerLegacy, Switches: true, Needs: []Need{NeverMigrated}},
		{From: org.LedgerLegacy, To: org.LedgerShadow, Needs: []Need{HasTerms}},
		{From: org.LedgerShadow, To: org.LedgerLegacy},
		{From: org.LedgerShadow, To: org.LedgerDraining, Switches: true, Needs: []Need{HasTerms, HasParity}, Effect: Grant},
		{From: org.LedgerDraining, To: org.LedgerCredit, Needs: []Need{Drained}, Effect: Correct},
		{From: org.LedgerDraining, To: org.LedgerRolledBack, Switches: true, Effect: Restore},
		{From: org.LedgerCredit, To: org.LedgerRolledBack, Switches: true, Needs: []Need{Migrated}, Effect: Restore},
		{From: org.LedgerRolledBack, To: org.LedgerShadow, Needs: []Need{HasTerms}, Effect: Restore},
		{From: org.LedgerRolledBack, To: org.LedgerRolledBack, Effect: Restore},
		{From: org.LedgerShadow, To: org.LedgerShadow, Effect: Restore},
		{From: org.LedgerLegacy, To: org.LedgerLegacy, Effect: Restore},
	}
}

// Next lists the modes that can follow a mode.
func Next(from Mode) []Transition {
	return slices.DeleteFunc(Transitions(), func(t Transition) bool { return t.From != from || t.To == from })
}

func transition(from, to Mode) (Transition, bool) {
	all := Transitions()
	i := slices.IndexFunc(all, func(t Transition) bool { return t.From == from && t.To == to })
	if i < 0 {
		return Transition{}, false
	}
	return all[i], true
}

// Change is a transition with everything that is written in its transaction. The
// store writes it only if the counter still is as From says (mode, epoch, version
// and, with a grant or a correction, what the period has counted), nothing was posted
// since Account was read, and for a drain nothing is open.
type Change struct {
	Transition
	Counter Counter        // as it was read
	Account credit.Account // as it was read
	Next    Counter
	Posting *credit.Posting
	// Period and Seed: so many tokens are added to the counter of the period.
	Period string
	Seed   int64
	Row    audit.Row
}

// facts are what a plan is made of.
type facts struct {
	counter Counter
	balance credit.BalanceView
	parity  Report
	now     time.Time
}

// shadowLife is how long what a shadow shows can be acted on: a counter that runs in
// parallel for longer than this is forgotten, not migrated.
const shadowLife = 60 * 24 * time.Hour

// plan makes the change, and the reasons that stand in its way.
func plan(t Transition, f facts) (Change, []string) {
	c := f.counter
	ch := Change{Transition: t, Counter: c, Account: f.balance.Account, Next: c, Period: credit.CountPeriod(f.now)}
	ch.Next.Mode, ch.Next.Since, ch.Next.Version = t.To, f.now.UTC().Truncate(time.Millisecond), c.Version+1
	if t.Switches {
		ch.Next.Epoch++
	}
	if t.To == org.LedgerShadow {
		ch.Next.ShadowUntil = ch.Next.Since.Add(shadowLife)
	}
	var reasons []string
	for _, n := range t.Needs {
		reasons = append(reasons, missing(n, f)...)
	}
	switch t.Effect {
	case Grant:
		ch.grant(f)
	case Correct:
		ch.correct(f)
	case Restore:
		ch.restore(f)
	}
	return ch, reasons
}

func missing(n Need, f facts) []string {
	c := f.counter
	switch n {
	case NeverMigrated:
		if c.Epoch != 0 {
			return []string{"this organisation has been on a legacy counter before, roll back instead"}
		}
	case Migrated:
		if c.Epoch == 0 {
			return []string{"this organisation never was on a legacy counter"}
		}
	case HasTerms:
		if c.Terms.Check() != nil {
			return []string{"the terms of the legacy counter are not set"}
		}
	case Drained:
		if c.Open != 0 {
			return []string{"calls that the legacy counter pays for are still open"}
		}
	case HasParity:
		from, _ := window(f.now)
		switch {
		case c.Mode != org.LedgerShadow || c.Since.After(from):
			return []string{"seven whole days in shadow are needed"}
		case f.now.After(c.ShadowUntil):
			return []string{"the shadow has run for too long, begin it again"}
		}
		return f.parity.Reasons
	}
	return nil
}

// grant turns what is left of the period into credits.
func (ch *Change) grant(f facts) {
	c := f.counter
	ch.Next.Cutover = ch.Next.Since
	ch.Next.Opening = Opening{Period: ch.Period, Used: c.Used[ch.Period]}
	amount := c.Terms.worth(c.Left(ch.Period))
	if amount == 0 {
		return
	}
	p := ch.posting("lo_", credit.GrantEntry, amount, f)
	p.Of = ""
	ch.Next.Opening.ID, ch.Next.Opening.Amount = p.ID, amount
	ch.Posting = p
}

// correct takes off the opening grant what was counted after it was made.
func (ch *Change) correct(f facts) {
	o := f.counter.Opening
	if o.ID == "" {
		return
	}
	ch.Period = o.Period
	if d := f.counter.Terms.worth(f.counter.Left(o.Period)) - o.Amount; d < 0 {
		ch.Posting = ch.posting("lc_", credit.AdjustmentEntry, d, f)
		ch.Next.Opening.Amount += d
	}
}

// restore counts what credits paid for, and takes back what is left of the opening
// grant, unless credits still admit calls of models: what those hold is known when
// they no longer do, so a rollback takes it back after it has switched. Actions that
// have a price are paid with credits in every mode, so with that grant, too, until then.
func (ch *Change) restore(f facts) {
	ch.Seed = f.counter.unseeded(ch.Period, f.balance.Account)
	if ch.From == ch.To {
		ch.Next.Since, ch.Next.ShadowUntil = f.counter.Since, f.counter.ShadowUntil
	}
	if n := f.takesBack(); n > 0 && !ch.Switches {
		ch.Posting = ch.posting("lb_", credit.AdjustmentEntry, -n, f)
	}
}

// takesBack is what is left of the opening grant. As much as running calls hold stays,
// so that none of them is paid with what the organisation bought because the grant is
// gone; a later restore takes it. What a call costs beyond what it holds by then is
// paid with whatever is there.
func (f facts) takesBack() credit.Micro {
	for _, g := range f.balance.Grants {
		if g.ID != "" && g.ID == f.counter.Opening.ID {
			return max(min(g.Remaining-f.balance.Held, f.balance.Available), 0)
		}
	}
	return 0
}

// idle reports whether a change of nothing but the version would be left.
func (ch Change) idle() bool { return ch.From == ch.To && ch.Seed == 0 && ch.Posting == nil }

func (ch *Change) posting(prefix string, origin credit.EntryKind, amount credit.Micro, f facts) *credit.Posting {
	id := postingID(prefix, f.counter.Org, ch.Next.Epoch)
	if ch.Effect == Restore {
		// What running calls leave is taken back by a later one.
		id = postingID(prefix, f.counter.Org, ch.Next.Epoch, f.counter.Opening.ID, strconv.FormatInt(f.balance.Seq, 10))
	}
	return &credit.Posting{ID: id, Org: f.counter.Org, Origin: origin, Kind: grantKind, Amount: amount,
		At: f.now.UTC().Truncate(time.Millisecond), Of: f.counter.Opening.ID, Seq: f.balance.Seq + 1, Base: f.balance.Posted}
}

func refused(to Mode, reasons []string) error {
	const shown = 5
	text := strings.Join(reasons[:min(len(reasons), shown)], "; ")
	return fault.New(fault.Conflict, "legacytokens.Change", "the ledger mode cannot become "+string(to)+": "+text)
}
