package credit

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/taxonomy"
)

// GrantBalance is a grant with what is left of it.
type GrantBalance struct {
	Posting
	Remaining Micro
}

// Folded is what [Fold] makes of an account: every grant and positive
// adjustment in spending order with what is left of it, and what was spent
// beyond all of them. The remainders less Overage sum to what is posted.
type Folded struct {
	Grants  []GrantBalance
	Overage Micro
}

// Fold spreads what an organisation spent over its grants: the kinds in
// spending order, then the earlier end (those without one last), then the
// earlier grant, then the id. A grant takes only what was spent after it; what
// had been spent beyond all grants before it, it makes good first. Fold is a
// pure function of what is stored, because every posting says what was posted
// when it was made: two readers, or one reader at two times, see the same
// past. posted is the balance that postings led to; ok is false if it exceeds
// them, which means that postings are missing.
func Fold(postings []Posting, posted Micro) (f Folded, ok bool) {
	postings = slices.Clone(postings)
	slices.SortFunc(postings, func(a, b Posting) int {
		return cmp.Or(cmp.Compare(a.Seq, b.Seq), a.At.Compare(b.At), strings.Compare(a.ID, b.ID))
	})
	var after Micro
	for _, p := range postings {
		// What others posted in between has a number of its own, so the balance
		// has only been spent from.
		f.spend(max(after-p.Base, 0))
		after = p.Base + p.Amount
		switch {
		case p.Amount < 0 && p.Of != "":
			f.take(p.Of, -p.Amount)
		case p.Amount < 0:
			f.spend(-p.Amount)
		case p.Amount > 0:
			f.add(p)
		}
	}
	if posted > after {
		return Folded{}, false
	}
	f.spend(after - posted)
	return f, true
}

func (f *Folded) add(p Posting) {
	owed := min(f.Overage, p.Amount)
	f.Overage -= owed
	g := GrantBalance{Posting: p, Remaining: p.Amount - owed}
	at, _ := slices.BinarySearchFunc(f.Grants, g, spendingOrder)
	f.Grants = slices.Insert(f.Grants, at, g)
}

// spend takes from the grants in spending order.
func (f *Folded) spend(amount Micro) {
	for i := range f.Grants {
		if amount == 0 {
			return
		}
		taken := min(amount, f.Grants[i].Remaining)
		f.Grants[i].Remaining -= taken
		amount -= taken
	}
	f.Overage += amount
}

// take takes from one grant; what that has no more is spending like any other.
func (f *Folded) take(id string, amount Micro) {
	for i := range f.Grants {
		if f.Grants[i].ID == id {
			taken := min(amount, f.Grants[i].Remaining)
			f.Grants[i].Remaining -= taken
			amount -= taken
		}
	}
	f.spend(amount)
}

// spendingOrder is total, so that a replay is unique.
func spendingOrder(a, b GrantBalance) int {
	kinds := taxonomy.GrantKinds()
	return cmp.Or(cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind)), compareEnds(a.ExpiresAt, b.ExpiresAt),
		a.At.Compare(b.At), strings.Compare(a.ID, b.ID))
}

func compareEnds(a, b time.Time) int {
	if a.IsZero() || b.IsZero() {
		return cmp.Compare(boolInt(a.IsZero()), boolInt(b.IsZero()))
	}
	return a.Compare(b)
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// ByKind sums what is left per kind. What was spent beyond all grants lowers
// the last kind, so that the kinds sum to what is posted.
func (f Folded) ByKind() map[taxonomy.GrantKind]Micro {
	kinds := taxonomy.GrantKinds()
	out := make(map[taxonomy.GrantKind]Micro, len(kinds))
	for _, k := range kinds {
		out[k] = 0
	}
	for _, g := range f.Grants {
		out[g.Kind] += g.Remaining
	}
	out[kinds[len(kinds)-1]] -= f.Overage
	return out
}

// free tells what of each grant no running hold can still take: what would be
// left if all of held were spent.
func (f Folded) free(held Micro) []GrantBalance {
	g := Folded{Grants: slices.Clone(f.Grants)}
	g.spend(held)
	return g.Grants
}
