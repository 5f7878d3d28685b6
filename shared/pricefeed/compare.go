package pricefeed

import (
	"slices"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
)

// Change is a row that differs from the active book.
type Change struct {
	Row billing.Row
	// Had says that the book has the row; Old is its rate then, OldMin its least
	// units.
	Had         bool
	Old, OldMin int64
	// Held is why a person must look at it first, "" if nobody must.
	Held string
	// Accepted says that somebody did.
	Accepted bool
}

// Applies says that the change may be imported.
func (c Change) Applies() bool { return c.Held == "" || c.Accepted }

// Name is what [Accept] knows the change by: provider/model/meter, of every tier.
func (c Change) Name() string {
	return c.Row.Provider + "/" + c.Row.Model + "/" + string(c.Row.Meter)
}

// Accept says which held changes were looked at.
type Accept struct {
	All   bool
	Names []string // see [Change.Name]
}

// Diff is a feed beside the active book.
type Diff struct {
	// Changes are sorted by provider, model, meter and tier.
	Changes []Change
	// Same counts rows whose price is the book's; their source is left as it is.
	Same int
	// Gone are rows of the book for models of the feed which the feed has not.
	// They stay: a merge removes nothing.
	Gone []billing.Row
	// Unused are names of Accept that fit no held change.
	Unused []string
}

// Why a change is held.
const (
	HeldMove  = "moves by more than 20 %"
	HeldZero  = "would be free"
	HeldFree  = "was free"
	HeldLeast = "changes the least units"
)

// Compare lays rows over the rows of the active book. A price that moves by more
// than a fifth, a new price of zero and an end of one are held: most often they
// are a mistake of the feed.
func Compare(active, rows []billing.Row, accept Accept) Diff {
	book := make(map[rowKey]billing.Row, len(active))
	for _, r := range active {
		book[keyOf(r)] = r
	}
	var d Diff
	models, fed := map[[2]string]bool{}, map[rowKey]bool{}
	used := map[string]bool{}
	for _, r := range rows {
		models[[2]string{r.Provider, r.Model}], fed[keyOf(r)] = true, true
		old, had := book[keyOf(r)]
		if had && old.RatePico == r.RatePico && old.MinUnits == r.MinUnits {
			d.Same++
			continue
		}
		c := Change{Row: r, Had: had, Old: old.RatePico, OldMin: old.MinUnits, Held: held(old, had, r)}
		if c.Held != "" {
			c.Accepted = accept.All || slices.Contains(accept.Names, c.Name())
			used[c.Name()] = true
		}
		d.Changes = append(d.Changes, c)
	}
	slices.SortFunc(d.Changes, func(a, b Change) int { return compareRows(a.Row, b.Row) })
	for _, r := range active {
		if models[[2]string{r.Provider, r.Model}] && !fed[keyOf(r)] {
			d.Gone = append(d.Gone, r)
		}
	}
	for _, name := range accept.Names {
		if !used[name] {
			d.Unused = append(d.Unused, name)
		}
	}
	return d
}

func keyOf(r billing.Row) rowKey { return rowKey{r.Provider, r.Model, r.Meter, r.TierFrom} }

func held(old billing.Row, had bool, r billing.Row) string {
	move := r.RatePico - old.RatePico
	switch {
	case r.Provider == credit.ActionProvider && !had:
		return "" // a free one is what the platform chose, not an error of a list
	case r.RatePico == 0 && (!had || old.RatePico != 0):
		return HeldZero
	case !had:
		return ""
	case old.RatePico == 0 && r.RatePico != 0:
		return HeldFree
	case max(move, -move)*5 > old.RatePico:
		return HeldMove
	case old.MinUnits != r.MinUnits:
		return HeldLeast
	}
	return ""
}

// Rows are the rows to import, what is held left out.
func (d Diff) Rows() []billing.Row {
	var out []billing.Row
	for _, c := range d.Changes {
		if c.Applies() {
			out = append(out, c.Row)
		}
	}
	return out
}

// Held counts the changes that wait for a person.
func (d Diff) Held() (n int) {
	for _, c := range d.Changes {
		if !c.Applies() {
			n++
		}
	}
	return n
}
