package audit_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
)

// chain is an organisation's rows as a test wants them.
type chain struct {
	head, later audit.Head // later, if set, is what the second read gives
	rows        []audit.Stored
	reads       int
	err         error
}

func (c *chain) AuditHead(context.Context, string) (audit.Head, error) {
	if c.reads++; c.reads%2 == 0 && c.later.Seq > 0 {
		return c.later, c.err
	}
	return c.head, c.err
}

func (c *chain) AuditMonth(_ context.Context, _ string, month time.Time, f func(audit.Stored) error) error {
	for _, s := range c.rows {
		if s.At.Format("200601") == month.Format("200601") {
			if err := f(s); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *chain) add(org string, at time.Time, detail ...string) {
	op := audit.Op{Actor: "key:k1", ID: fmt.Sprint("r", c.head.Seq+1), At: at}
	row, head := c.head.Next(op.Row(org, "thing.change", fmt.Sprint("t", c.head.Seq+1), detail...))
	c.rows, c.head = append(c.rows, audit.Stored{Row: row}), head
}

func (c *chain) verify(t testing.TB, months int) audit.Report {
	t.Helper()
	r, err := audit.Verify(t.Context(), c, "acme", months, now)
	if err != nil {
		t.Fatal(err)
	}
	if r.OK != (r.Breaks == 0) || len(r.Broken) != min(r.Breaks, audit.MaxBroken) {
		t.Errorf("inconsistent report %+v", r)
	}
	return r
}

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// chainOf has n rows, all in November but the first, which is in October.
func chainOf(n int) *chain {
	c := &chain{}
	for i := range n {
		at := now.Add(time.Duration(i-n) * time.Minute)
		if i == 0 {
			at = at.AddDate(0, -1, 0)
		}
		c.add("acme", at, "kind", fmt.Sprint(i), "label", "l")
	}
	return c
}

func TestAWholeChainVerifies(t *testing.T) {
	c := chainOf(6)
	r := c.verify(t, 13)
	if !r.OK || r.Checked != 6 || r.First != 1 || r.Last != 6 || r.Head != c.head.Hash || r.Older != 0 {
		t.Errorf("%+v", r)
	}
	if r := c.verify(t, 1); !r.OK || r.Checked != 5 || r.First != 2 || r.Last != 6 {
		t.Errorf("one month: %+v", r)
	}
	if r := (&chain{}).verify(t, 13); !r.OK || r.First != 0 || r.Last != 0 {
		t.Errorf("an empty chain: %+v", r)
	}
	// Idle since before the months that are asked for.
	old := &chain{}
	old.add("acme", now.AddDate(0, -3, 0))
	if r := old.verify(t, 2); !r.OK || r.Checked != 0 {
		t.Errorf("an idle chain: %+v", r)
	}
}

func breaks(r audit.Report) []string {
	out := make([]string, len(r.Broken))
	for i, b := range r.Broken {
		out[i] = fmt.Sprintf("%d %s", b.Seq, b.Reason)
		if b.To > 0 {
			out[i] = fmt.Sprintf("%d-%d %s", b.Seq, b.To, b.Reason)
		}
	}
	return out
}

// TestEveryChangeIsReported makes one change at a time to a chain of six.
func TestEveryChangeIsReported(t *testing.T) {
	relink := func(c *chain, from int) { // makes rows from an index on consistent again
		h := audit.Head{Since: c.rows[0].At}
		if from > 0 {
			p := c.rows[from-1].Row
			h = audit.Head{Seq: p.Seq, Hash: p.Hash, At: p.At, Since: c.rows[0].At}
		}
		for i := from; i < len(c.rows); i++ {
			c.rows[i].Row, h = h.Next(c.rows[i].Row)
		}
	}
	for name, k := range map[string]struct {
		change func(*chain)
		want   []string
	}{
		"actor":        {func(c *chain) { c.rows[2].Actor = "key:k2" }, []string{"3 altered"}},
		"action":       {func(c *chain) { c.rows[2].Action = "x" }, []string{"3 altered"}},
		"target":       {func(c *chain) { c.rows[2].Target = "x" }, []string{"3 altered"}},
		"id":           {func(c *chain) { c.rows[2].ID = "x" }, []string{"3 altered"}},
		"time":         {func(c *chain) { c.rows[2].At = c.rows[2].At.Add(time.Millisecond) }, []string{"3 altered"}},
		"outcome":      {func(c *chain) { c.rows[2].Outcome = audit.Refused }, []string{"3 altered"}},
		"code":         {func(c *chain) { c.rows[2].Code = "x" }, []string{"3 altered"}},
		"detail value": {func(c *chain) { c.rows[2].Detail["kind"] = "x" }, []string{"3 altered"}},
		"detail name":  {func(c *chain) { d := c.rows[2].Detail; d["mode"] = d["kind"]; delete(d, "kind") }, []string{"3 altered"}},
		"detail gone":  {func(c *chain) { c.rows[2].Detail = nil }, []string{"3 altered"}},
		"hash":         {func(c *chain) { c.rows[2].Hash[0]++ }, []string{"3 altered", "4 unlinked"}},
		"prev":         {func(c *chain) { c.rows[2].Prev[0]++ }, []string{"3 altered"}},
		"number":       {func(c *chain) { c.rows[2].Seq = 9 }, []string{"3-3 missing", "7-8 missing", "9 altered"}},
		"number zero":  {func(c *chain) { c.rows[2].Seq = 0 }, []string{"0 altered", "3-3 missing"}},
		"damaged":      {func(c *chain) { c.rows[2].Damaged = true }, []string{"3 damaged"}},
		"altered and rehashed": {func(c *chain) {
			h := audit.Head{Seq: 2, Hash: c.rows[1].Hash}
			c.rows[2].Actor = "x"
			c.rows[2].Row, _ = h.Next(c.rows[2].Row)
		}, []string{"4 unlinked"}},
		"last altered and rehashed": {func(c *chain) {
			h := audit.Head{Seq: 5, Hash: c.rows[4].Hash}
			c.rows[5].Actor = "x"
			c.rows[5].Row, _ = h.Next(c.rows[5].Row)
		}, []string{"6 head_mismatch"}},
		"unchained":     {func(c *chain) { c.rows[2].Seq, c.rows[2].Prev, c.rows[2].Hash = 0, audit.Hash{}, audit.Hash{} }, []string{"0 unchained", "3-3 missing"}},
		"deleted":       {func(c *chain) { c.rows = slices.Delete(c.rows, 2, 4) }, []string{"3-4 missing"}},
		"first deleted": {func(c *chain) { c.rows = c.rows[2:] }, []string{"1-2 missing"}},
		"first deleted and relinked": {func(c *chain) { c.rows = c.rows[2:]; relink(c, 0); c.head.Seq, c.head.Hash = 4, c.rows[3].Hash },
			[]string{"1 head_mismatch"}},
		"tail deleted": {func(c *chain) { c.rows = c.rows[:4] }, []string{"5-6 truncated"}},
		"all deleted":  {func(c *chain) { c.rows = nil }, []string{"6 truncated"}},
		"inserted": {func(c *chain) {
			row := c.rows[2].Row
			row.ID, row.Actor = "new", "key:k9"
			row, _ = audit.Head{Seq: 2, Hash: c.rows[1].Hash}.Next(row)
			c.rows = append(c.rows, audit.Stored{Row: row})
		}, []string{"3 duplicate"}},
		"inserted and relinked": {func(c *chain) {
			c.rows = slices.Insert(c.rows, 3, audit.Stored{Row: audit.Op{Actor: "x", ID: "new", At: now}.Row("acme", "a", "t")})
			relink(c, 3)
		}, []string{"7 beyond_head", "6 head_mismatch"}},
		"appended": {func(c *chain) {
			row, _ := c.head.Next(audit.Op{Actor: "x", ID: "new", At: now}.Row("acme", "a", "t"))
			c.rows = append(c.rows, audit.Stored{Row: row})
		}, []string{"7 beyond_head"}},
		"appended without a number": {func(c *chain) {
			c.rows = append(c.rows, audit.Stored{Row: audit.Op{Actor: "x", ID: "new", At: now}.Row("acme", "a", "t")})
		}, []string{"0 unchained"}},
		"reordered": {func(c *chain) { c.rows[2].Seq, c.rows[3].Seq = 4, 3 }, []string{"3 altered", "4 altered", "5 unlinked"}},
		"reordered and rehashed": {func(c *chain) {
			c.rows[2], c.rows[3] = c.rows[3], c.rows[2]
			c.rows[2].Row, _ = audit.Head{Seq: 2, Hash: c.rows[1].Hash}.Next(c.rows[2].Row)
			c.rows[3].Row, _ = audit.Head{Seq: 3, Hash: c.rows[2].Hash}.Next(c.rows[3].Row)
		}, []string{"5 unlinked"}},
		"of another organisation": {func(c *chain) { c.rows[2].Org = "other" }, []string{"3 damaged"}},
		"head hash":               {func(c *chain) { c.head.Hash[0]++ }, []string{"6 head_mismatch"}},
		"head number back":        {func(c *chain) { c.head.Seq = 4; c.head.Hash, c.head.At = c.rows[3].Hash, c.rows[3].At }, []string{"5 beyond_head", "6 beyond_head"}},
		"head number on":          {func(c *chain) { c.head.Seq = 8 }, []string{"7-8 truncated"}},
		"head time":               {func(c *chain) { c.head.At = c.head.At.Add(time.Hour) }, []string{"6 head_mismatch"}},
		"head start":              {func(c *chain) { c.head.Since = c.head.Since.Add(-time.Hour) }, []string{"1 head_mismatch"}},
		"head gone":               {func(c *chain) { c.head = audit.Head{} }, []string{"6 head_missing"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := chainOf(6)
			for i := range c.rows {
				c.rows[i].Detail = maps.Clone(c.rows[i].Detail)
			}
			k.change(c)
			if got := breaks(c.verify(t, 13)); !slices.Equal(got, k.want) {
				t.Errorf("%v, want %v", got, k.want)
			}
		})
	}
}

// TestAnyFieldChangeChangesTheHash: no two rows share a hash, whatever is moved
// between neighbouring fields.
func TestAnyFieldChangeChangesTheHash(t *testing.T) {
	word := rapid.StringMatching(`[ab#|]{0,3}`)
	draw := func(t *rapid.T) audit.Row {
		return audit.Row{Org: word.Draw(t, "org"), ID: word.Draw(t, "id"), At: time.UnixMilli(rapid.Int64Range(0, 3).Draw(t, "at")).UTC(), Actor: word.Draw(t, "actor"),
			Action: word.Draw(t, "action"), Target: word.Draw(t, "target"), Outcome: audit.Outcome(word.Draw(t, "outcome")), Code: word.Draw(t, "code"),
			Detail: rapid.MapOfN(word, word, 0, 2).Draw(t, "detail")}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, _ := audit.Head{}.Next(draw(t))
		b, _ := audit.Head{}.Next(draw(t))
		if (a.Hash == b.Hash) != reflect.DeepEqual(withoutHash(a), withoutHash(b)) {
			t.Fatalf("%+v\n%+v", a, b)
		}
	})
	row := audit.Op{Actor: "a", ID: "i", At: now}.Row("acme", "x", "t")
	first, h := audit.Head{}.Next(row)
	second, _ := h.Next(row)
	other, _ := audit.Head{Seq: 1, Hash: audit.Hash{1}}.Next(row)
	if first.Hash == second.Hash || second.Hash == other.Hash || second.Prev != first.Hash {
		t.Error("number or hash of the row before does not count")
	}
	// The list of values is frozen: another one needs another name.
	const golden = "ab09fc8c4a76553c89300b6816f8a92fd981354c9a0608a2472faedf5ce0d2a1"
	if first.Hash.String() != golden {
		t.Errorf("the encoding changed without a new name: %s", first.Hash)
	}
}

func withoutHash(r audit.Row) audit.Row { r.Hash = audit.Hash{}; return r }

func TestRowsOlderThanTheChainAreCountedNotCovered(t *testing.T) {
	c := chainOf(3)
	old := audit.Op{Actor: "a", ID: "old", At: c.head.Since.Add(-time.Hour)}.Row("acme", "x", "t")
	c.rows = append(c.rows, audit.Stored{Row: old})
	if r := c.verify(t, 13); !r.OK || r.Older != 1 || r.Checked != 3 || r.First != 1 {
		t.Errorf("%+v", r)
	}
	none := &chain{rows: []audit.Stored{{Row: old}}}
	if r := none.verify(t, 13); !r.OK || r.Older != 1 || r.Checked != 0 {
		t.Errorf("before the first chained row: %+v", r)
	}
}

// TestRowsWrittenMeanwhileAreLeftOut: between the two reads of the head the
// chain grows; the rows of that time may have been read or not.
func TestRowsWrittenMeanwhileAreLeftOut(t *testing.T) {
	for read := range 3 {
		c := chainOf(4)
		before := c.head
		c.add("acme", now)
		c.add("acme", now)
		c.head, c.later, c.rows = before, c.head, c.rows[:4+read]
		if r := c.verify(t, 13); !r.OK || r.Last != 4 || r.Checked != 4 {
			t.Errorf("%d of the new rows read: %+v", read, r)
		}
	}
	first := &chain{}
	first.add("acme", now)
	first.head, first.later = audit.Head{}, first.head
	if r := first.verify(t, 13); !r.OK || r.Checked != 0 {
		t.Errorf("the first row of all: %+v", r)
	}
}

// TestTheTurnOfTheMonth: two operations at midnight may be numbered in another
// order than their times.
func TestTheTurnOfTheMonth(t *testing.T) {
	turn := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	c := &chain{}
	c.add("acme", turn.Add(-time.Hour))
	c.add("acme", turn.Add(-time.Minute))
	c.add("acme", turn.Add(time.Millisecond))
	c.add("acme", turn.Add(-time.Millisecond))
	c.add("acme", turn.Add(time.Minute))
	if r := c.verify(t, 1); !r.OK || r.First != 3 || r.Last != 5 || r.Checked != 3 {
		t.Errorf("%+v", r)
	}
	c.rows[1].Hash[0]++ // outside, but what row 3 follows
	if got := breaks(c.verify(t, 1)); !slices.Equal(got, []string{"3 unlinked"}) {
		t.Errorf("%v", got)
	}
}

func TestVerifyIsBounded(t *testing.T) {
	for _, months := range []int{-1, 0, 14} {
		_, err := audit.Verify(t.Context(), chainOf(1), "acme", months, now)
		if fault.CodeOf(err) != fault.InvalidRequest || fault.As(err).Param != "months" {
			t.Errorf("%d months: %v", months, err)
		}
	}
	c := chainOf(2)
	s := c.rows[1]
	c.rows = slices.Repeat([]audit.Stored{s}, audit.MaxVerified+1)
	if _, err := audit.Verify(t.Context(), c, "acme", 1, now); fault.CodeOf(err) != fault.InvalidRequest {
		t.Errorf("too many rows: %v", err)
	}
	c.rows = c.rows[:300]
	if r := c.verify(t, 1); r.Breaks != 299 || len(r.Broken) != audit.MaxBroken {
		t.Errorf("%d findings, %d listed", r.Breaks, len(r.Broken))
	}
	if _, err := audit.Verify(t.Context(), &chain{err: errors.New("down")}, "acme", 1, now); err == nil || err.Error() != "down" {
		t.Errorf("%v", err)
	}
}

func TestParts(t *testing.T) {
	op := audit.Op{Actor: "a", ID: "0123456789abcdefghjkmnpqrs", At: now}
	ids := map[string]bool{}
	for _, parts := range [][]string{{"a", "bc"}, {"ab", "c"}, {"abc"}, {}} {
		p := op.Part(parts...)
		if !p.Valid() || p.Actor != op.Actor || ids[p.ID] || p != op.Part(parts...) {
			t.Errorf("%q", p.ID)
		}
		ids[p.ID] = true
	}
	long := audit.Op{Actor: "a", ID: fmt.Sprintf("%064d", 1), At: now}
	other := audit.Op{Actor: "a", ID: fmt.Sprintf("%064d", 2), At: now}
	if !long.Part("x").Valid() || long.Part("x").ID == other.Part("x").ID {
		t.Error("a long id")
	}
	for _, bad := range []audit.Op{{}, {ID: "a", At: now}, {Actor: "a", At: now}, {Actor: "a", ID: "a"}, {Actor: "a", ID: "a#b", At: now}} {
		if bad.Valid() {
			t.Errorf("%+v is valid", bad)
		}
	}
}
