package rollout_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/rollout"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// perfect is a file in which everything that can pass has passed.
func perfect() rollout.File {
	f := rollout.File{Inputs: rollout.Inputs([]byte("player")), GeneratedAt: time.Unix(1772600767, 0).UTC(), NotPlayed: rollout.NotPlayed()}
	for _, p := range rollout.Columns() {
		c := rollout.Column{Provider: p, Rows: map[string]rollout.Seen{}}
		for _, r := range rollout.Rows() {
			want := r.Cells[p]
			s := rollout.Seen{Status: want.Status, Audit: want.Audit, Result: rollout.Pass}
			switch {
			case want.NotApplicable != "":
				s = rollout.Seen{Result: rollout.Excluded, Reason: want.NotApplicable}
			case want.Pending != "":
				s = rollout.Seen{Result: rollout.Unfinished, Reason: want.Pending}
			}
			c.Rows[strconv.Itoa(r.N)] = s
		}
		f.Columns = append(f.Columns, c.Judge())
	}
	return f
}

func encoded(t *testing.T, f rollout.File) []byte {
	t.Helper()
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// pendingRows lists the rows that are not played yet for a channel.
func pendingRows(p taxonomy.Channel) int {
	n := 0
	for _, r := range rollout.Rows() {
		if r.Cells[p].Pending != "" {
			n++
		}
	}
	return n
}

func TestRows(t *testing.T) {
	rows := rollout.Rows()
	if len(rows) != 50 {
		t.Fatalf("%d rows", len(rows))
	}
	for i, r := range rows {
		if r.N != i+1 || r.Title == "" || len(r.Cells) != len(rollout.Columns()) {
			t.Errorf("%+v", r)
		}
		for _, p := range rollout.Columns() {
			c, ok := r.Cells[p]
			played := c.Audit != ""
			if !ok || (c.NotApplicable != "") == (played || c.Pending != "") && !(c.NotApplicable == "" && (played != (c.Pending != ""))) {
				t.Errorf("row %d, %s: exactly one of played, pending and not applicable: %+v", r.N, p, c)
			}
		}
	}
}

// TestPromotable: green only if nothing is open, red with the open rows, refused
// where nothing was played.
func TestPromotable(t *testing.T) {
	f := perfect()
	if _, err := rollout.Parse(encoded(t, f)); err != nil {
		t.Fatal(err)
	}
	for _, c := range f.Columns {
		if open := pendingRows(c.Provider); (c.Verdict == rollout.Green) != (open == 0) {
			t.Errorf("%s: verdict %s, %d pending", c.Provider, c.Verdict, open)
		}
	}
	for channel, open := range pendingOf() {
		if err := f.Promotable(channel); (err == nil) != (open == 0) {
			t.Errorf("%s: %v, %d pending", channel, err, open)
		}
	}
	if err := f.Promotable(taxonomy.Postmark); fault.CodeOf(err) != fault.Conflict {
		t.Errorf("a vendor is no channel: %v", err)
	}
	if err := f.Promotable("nobody"); fault.CodeOf(err) != fault.Conflict {
		t.Errorf("%v", err)
	}
	if err := (rollout.File{}).Promotable(taxonomy.Slack); fault.CodeOf(err) != fault.Conflict {
		t.Errorf("%v", err)
	}
}

// pendingOf counts the rows that are not played yet, by channel.
func pendingOf() map[taxonomy.Channel]int {
	out := map[taxonomy.Channel]int{}
	for _, id := range rollout.Columns() {
		out[rollout.ChannelOf(id)] += pendingRows(id)
	}
	return out
}

// TestEveryVendorHasAColumn: a channel that several vendors serve has a column for each.
func TestEveryVendorHasAColumn(t *testing.T) {
	for _, e := range catalog.Entries() {
		played := map[taxonomy.Channel]bool{}
		for _, id := range rollout.Columns() {
			if rollout.ChannelOf(id) == e.ID && rollout.VendorOf(id) != "" {
				played[rollout.VendorOf(id)] = true
			}
		}
		if !slices.ContainsFunc(rollout.Columns(), func(id taxonomy.Channel) bool { return rollout.ChannelOf(id) == e.ID }) {
			t.Errorf("%s has no column", e.ID)
		}
		for vendor := range e.Vendors {
			if !played[vendor] {
				t.Errorf("%s: no column for %s", e.ID, vendor)
			}
		}
		if len(played) != len(e.Vendors) {
			t.Errorf("%s: columns for %v", e.ID, played)
		}
	}
}

// TestAChannelIsItsVendors: a channel is green only if the columns of all its vendors
// are, and what is missing names the vendor.
func TestAChannelIsItsVendors(t *testing.T) {
	vendors := map[taxonomy.Channel]string{taxonomy.Email: "mailgun", taxonomy.Postmark: "postmark"}
	for id, vendor := range vendors {
		f := perfect()
		if err := f.Promotable(taxonomy.Email); err != nil {
			t.Fatal(err)
		}
		k := slices.IndexFunc(f.Columns, func(c rollout.Column) bool { return c.Provider == id })
		seen := f.Columns[k].Rows["9"]
		seen.Result = rollout.Fail
		f.Columns[k].Rows["9"] = seen
		f.Columns[k] = f.Columns[k].Judge()
		if err := f.Promotable(taxonomy.Email); fault.CodeOf(err) != fault.Conflict || !strings.Contains(err.Error(), "over its vendor "+vendor+" is not green; open rows: 9") {
			t.Errorf("%s is red: %v", id, err)
		}
		if rows, played := f.Open(taxonomy.Email); !played || !slices.Equal(rows, []int{9}) {
			t.Errorf("%s is red: open %v, played %v", id, rows, played)
		}
		f.Columns = slices.Delete(f.Columns, k, k+1)
		if err := f.Promotable(taxonomy.Email); fault.CodeOf(err) != fault.Conflict || !strings.Contains(err.Error(), "not played for this channel over its vendor "+vendor) {
			t.Errorf("%s is not there: %v", id, err)
		}
		if rows, played := f.Open(taxonomy.Email); played || len(rows) > 0 {
			t.Errorf("%s is not there: open %v, played %v", id, rows, played)
		}
	}
}

// TestNothingButTheRowsMakesGreen: every way in which a column could look green
// without being it is a refusal.
func TestNothingButTheRowsMakesGreen(t *testing.T) {
	const row = "9" // played for every channel
	for name, change := range map[string]func(*rollout.Column){
		"failed":             func(c *rollout.Column) { s := c.Rows[row]; s.Result = rollout.Fail; c.Rows[row] = s },
		"unknown result":     func(c *rollout.Column) { s := c.Rows[row]; s.Result = "green"; c.Rows[row] = s },
		"no result":          func(c *rollout.Column) { s := c.Rows[row]; s.Result = ""; c.Rows[row] = s },
		"another status":     func(c *rollout.Column) { s := c.Rows[row]; s.Status = 200; c.Rows[row] = s },
		"another audit code": func(c *rollout.Column) { s := c.Rows[row]; s.Audit = "hook.stale"; c.Rows[row] = s },
		"declared away":      func(c *rollout.Column) { c.Rows[row] = rollout.Seen{Result: rollout.Excluded, Reason: "not needed"} },
		"missing":            func(c *rollout.Column) { delete(c.Rows, row) },
		"a row too many":     func(c *rollout.Column) { c.Rows["51"] = rollout.Seen{Status: 200, Result: rollout.Pass} },
		"another name":       func(c *rollout.Column) { c.Rows["09"] = c.Rows[row]; delete(c.Rows, row) },
	} {
		t.Run(name, func(t *testing.T) {
			f := perfect()
			f.Columns[0].Rows = maps.Clone(f.Columns[0].Rows)
			change(&f.Columns[0])
			f.Columns[0].Verdict = rollout.Green
			if _, err := rollout.Parse(encoded(t, f)); err == nil {
				t.Error("a green verdict that the rows do not bear out was accepted")
			}
			if f.Columns[0] = f.Columns[0].Judge(); f.Columns[0].Verdict != rollout.Red || f.Promotable(f.Columns[0].Provider) == nil {
				t.Errorf("verdict %s", f.Columns[0].Verdict)
			}
		})
	}
}

func TestParseIsStrict(t *testing.T) {
	good := string(encoded(t, perfect()))
	for name, text := range map[string]string{
		"empty": "", "no object": "[]", "unknown name": strings.Replace(good, `{`, `{"x":1,`, 1), "trailing": good + "{}",
		"a name twice": strings.Replace(good, `{`, `{"inputs":"00",`, 1), "no time": strings.Replace(good, "2026-03-04T05:06:07Z", "0001-01-01T00:00:00Z", 1),
		"short inputs":    strings.Replace(good, `"inputs":"`, `"inputs":"00`, 1),
		"unknown column":  strings.Replace(good, `"provider":"`, `"provider":"x`, 1),
		"column twice":    strings.Replace(good, string(rollout.Columns()[1]), string(rollout.Columns()[0]), 1),
		"columns dropped": strings.Replace(good, `"not_played":[`, `"not_played":["x",`, 1),
		"large":           good + strings.Repeat(" ", 1<<20),
	} {
		if text == good {
			t.Fatalf("%s changes nothing", name)
		}
		if _, err := rollout.Parse([]byte(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestStored: the file of this build is one that can be judged.
func TestStored(t *testing.T) {
	f, err := rollout.Stored()
	if err != nil {
		t.Fatal(err)
	}
	for p, pending := range pendingOf() {
		err := f.Promotable(p)
		t.Logf("%s: %v", p, err)
		if pending > 0 && err == nil {
			t.Errorf("%s has rows that are not played and may be promoted", p)
		}
	}
}

func FuzzParse(f *testing.F) {
	good, err := json.Marshal(perfect())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"inputs":"","generated_at":"2026-03-04T05:06:07Z","columns":[{"provider":"x","verdict":"green","rows":{}}],"not_played":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := rollout.Parse(b)
		if err != nil {
			return
		}
		for _, c := range file.Columns {
			if err := file.Promotable(rollout.ChannelOf(c.Provider)); c.Verdict != rollout.Green && err == nil {
				t.Fatalf("%s: verdict %s, promotable", c.Provider, c.Verdict)
			}
			if c.Verdict == rollout.Green && len(c.Rows) != 50 {
				t.Fatal("green without 50 rows")
			}
		}
	})
}
