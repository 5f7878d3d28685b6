package audit

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
)

// Chain gives the rows for [Verify]. All reads are consistent.
type Chain interface {
	// AuditHead reads the head, the zero Head if there is none.
	AuditHead(ctx context.Context, org string) (Head, error)
	// AuditMonth calls f for every row of a calendar month, in no particular
	// order, until f fails.
	AuditMonth(ctx context.Context, org string, month time.Time, f func(Stored) error) error
}

// Stored is a row as it was found.
type Stored struct {
	Row
	// Damaged says that the stored row cannot be read completely, holds what no
	// row has, or does not lie where it belongs.
	Damaged bool
}

// Reason says what is wrong with a row of a chain.
type Reason string

// Reasons of a [Break].
const (
	Altered      Reason = "altered"       // the row does not have the hash it states
	Damaged      Reason = "damaged"       // see [Stored]
	Missing      Reason = "missing"       // no row has the number
	Truncated    Reason = "truncated"     // the head counts rows behind the last one
	Duplicate    Reason = "duplicate"     // another row has the number, too
	Unlinked     Reason = "unlinked"      // the row does not follow the one before it
	Unchained    Reason = "unchained"     // a row without a number since the chain began
	BeyondHead   Reason = "beyond_head"   // the head does not count the row
	HeadMismatch Reason = "head_mismatch" // the head names another row than the one with its number
	HeadMissing  Reason = "head_missing"  // there are rows and no head
)

// Break is one finding. Seq is 0 for a row without a number.
type Break struct {
	Seq    int64
	To     int64 // end of a range that begins with Seq, 0 for one row
	ID     string
	Reason Reason
}

// Report is the result of [Verify].
type Report struct {
	OK bool
	// Checked counts the chained rows that were recomputed.
	Checked int
	// Older counts rows from before the chain existed; they are not covered.
	Older int
	// First and Last are the numbers of the rows the check began and ended with,
	// 0 if the months hold no chained row.
	First, Last int64
	// Head is the hash of the last row, to be noted outside.
	Head Hash
	// Breaks counts the findings; Broken holds the first [MaxBroken].
	Breaks int
	Broken []Break
}

// MaxBroken bounds the findings that a report lists.
const MaxBroken = 100

// MaxVerified bounds the rows of one check, which are held in memory.
const MaxVerified = 200_000

// link is what the check keeps of a row.
type link struct {
	seq        int64
	prev, hash Hash
	at         time.Time
	id         string
	bad        Reason
}

// Verify recomputes the chain over this month and the ones before it, months in
// all (1 to [Months]). Rows that are written while it runs are left to the next
// check. Errors: invalid_request if months is out of range or holds more than
// [MaxVerified] rows; else the store's.
func Verify(ctx context.Context, c Chain, org string, months int, now time.Time) (Report, error) {
	if months < 1 || months > Months {
		return Report{}, fault.New(fault.InvalidRequest, "audit.Verify", "months is 1 to "+strconv.Itoa(Months)).WithParam("months")
	}
	before, err := c.AuditHead(ctx, org)
	if err != nil {
		return Report{}, err
	}
	v := &verifier{head: before, from: month(now).AddDate(0, 1-months, 0)}
	// A chain may cross the turn of the month out of step with its times, so the
	// month before is read for what belongs behind the first row.
	for m := v.from.AddDate(0, -1, 0); !m.After(month(now)); m = m.AddDate(0, 1, 0) {
		if err := c.AuditMonth(ctx, org, m, func(s Stored) error { return v.take(org, s, m.Before(v.from)) }); err != nil {
			return Report{}, err
		}
	}
	after, err := c.AuditHead(ctx, org)
	if err != nil {
		return Report{}, err
	}
	v.check(after.Seq)
	v.r.OK = v.r.Breaks == 0
	return v.r, nil
}

// month is the first instant of t's month.
func month(t time.Time) time.Time {
	return time.Date(t.UTC().Year(), t.UTC().Month(), 1, 0, 0, 0, 0, time.UTC)
}

type verifier struct {
	head  Head
	from  time.Time // first month that is checked
	links []link
	lead  []link // of the month before
	r     Report
}

func (v *verifier) broken(b Break) {
	if v.r.Breaks++; len(v.r.Broken) < MaxBroken {
		v.r.Broken = append(v.r.Broken, b)
	}
}

func (v *verifier) take(org string, s Stored, lead bool) error {
	if len(v.links)+len(v.lead)+v.r.Older >= MaxVerified {
		return fault.New(fault.InvalidRequest, "audit.Verify", "these months hold too many rows for one check; ask for fewer months").WithParam("months")
	}
	l := link{seq: s.Seq, prev: s.Prev, hash: s.Hash, at: s.At, id: s.ID}
	switch {
	case s.Damaged || s.Org != org:
		l.bad = Damaged
	case s.Seq == 0 && s.Hash == Hash{} && s.Prev == Hash{}:
		if lead {
			return nil
		}
		if v.head.Seq == 0 || s.At.Before(v.head.Since) {
			v.r.Older++
			return nil
		}
		l.bad = Unchained
	case s.Seq <= 0 || s.sum() != s.Hash:
		l.bad = Altered
	}
	switch {
	case lead:
		v.lead = append(v.lead, l)
	case l.seq <= 0:
		v.broken(Break{Seq: l.seq, ID: l.id, Reason: l.bad})
	default:
		v.links = append(v.links, l)
	}
	return nil
}

// check compares the rows with each other and with the head. counted is the
// head's number after reading: rows between it and the head before were written
// meanwhile.
func (v *verifier) check(counted int64) {
	v.join(counted)
	var prev []Hash // of the rows that have the number before
	expected := v.r.First
	if v.r.First > 1 {
		for _, l := range v.lead {
			if l.seq == v.r.First-1 {
				prev = append(prev, l.hash)
			}
		}
		if !v.head.Since.Before(v.from) {
			v.broken(Break{Seq: 1, To: v.r.First - 1, Reason: Missing})
		}
	}
	for rest := v.links; len(rest) > 0; {
		n := slices.IndexFunc(rest, func(l link) bool { return l.seq != rest[0].seq })
		if n < 0 {
			n = len(rest)
		}
		same := rest[:n]
		rest = rest[n:]
		if seq := same[0].seq; seq > expected {
			v.broken(Break{Seq: expected, To: seq - 1, Reason: Missing})
			prev = nil
		}
		v.group(same, prev)
		prev = nil
		for _, l := range same {
			prev = append(prev, l.hash)
		}
		v.r.Last = same[0].seq
		expected = v.r.Last + 1
	}
	v.checkHead(expected)
}

// join sorts the rows, adds those of the month before that belong among them and
// leaves out what was written meanwhile.
func (v *verifier) join(counted int64) {
	meanwhile := func(l link) bool { return l.seq > v.head.Seq && l.seq <= counted }
	v.links = slices.DeleteFunc(v.links, meanwhile)
	if len(v.links) == 0 {
		return
	}
	bySeq := func(a, b link) int { return cmp.Compare(a.seq, b.seq) }
	v.r.First = slices.MinFunc(v.links, bySeq).seq
	for _, l := range v.lead {
		if l.seq >= v.r.First && !meanwhile(l) {
			v.links = append(v.links, l)
		}
	}
	slices.SortStableFunc(v.links, bySeq)
}

// group checks the rows that have one number; there should be one.
func (v *verifier) group(same []link, prev []Hash) {
	for n, l := range same {
		v.r.Checked++
		bad := l.bad
		switch {
		case bad != "":
		case n > 0:
			bad = Duplicate
		case l.seq == 1 && l.prev != Hash{}, len(prev) > 0 && !slices.Contains(prev, l.prev):
			bad = Unlinked
		case l.seq > v.head.Seq && v.head.Seq > 0:
			bad = BeyondHead
		}
		if bad != "" {
			v.broken(Break{Seq: l.seq, ID: l.id, Reason: bad})
		}
		v.r.Head = l.hash
	}
}

// checkHead compares the head with the rows; expected is the number behind the
// last one.
func (v *verifier) checkHead(expected int64) {
	h := v.head
	switch {
	case h.Seq == 0 && len(v.links) == 0:
		return
	case h.Seq == 0:
		v.broken(Break{Seq: v.r.Last, Reason: HeadMissing})
		return
	case len(v.links) == 0:
		// Nothing happened in these months, unless the head says so.
		if !h.At.Before(v.from) {
			v.broken(Break{Seq: h.Seq, Reason: Truncated})
		}
		return
	case h.Seq >= expected:
		v.broken(Break{Seq: expected, To: h.Seq, Reason: Truncated})
	}
	for _, l := range v.links {
		if l.seq == h.Seq && (l.hash != h.Hash || !l.at.Equal(h.At)) || l.seq == 1 && !l.at.Equal(h.Since) {
			v.broken(Break{Seq: l.seq, ID: l.id, Reason: HeadMismatch})
		}
	}
}
