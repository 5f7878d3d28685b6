package security

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/rollout"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

var (
	update = flag.Bool("update", false, "write what the run saw into security-matrix.json and SECURITY.md")
	at     = flag.String("at", "", "with -update: the time that is written, RFC 3339; empty = now")
)

const (
	verdictFile = "../../shared/rollout/security-matrix.json"
	tableFile   = "../../SECURITY.md"
	tableBegin  = "<!-- matrix: made by go test ./scripts/security -update -->\n"
	tableEnd    = "<!-- end of matrix -->"
)

// outage are the rows that break a service for everybody: all columns play them at
// once, within the same fault.
func outage(n int) bool { return slices.Contains([]int{5, 39, 40}, n) }

// apart are the rows that kill processes, move the clock or flood a process: what the
// boundary counts it counts per process, and of many requests at once each would see few.
func apart(n int) bool { return slices.Contains([]int{15, 41, 44, 45, 46, 50}, n) }

// TestSecurityMatrix plays every cell and compares what it saw with what is
// stored.
func TestSecurityMatrix(t *testing.T) {
	chosen := choose(t)
	w := start(t)
	cells := map[int]map[taxonomy.Channel]*cell{}
	var mu sync.Mutex
	orgs := map[taxonomy.Channel]*tenant{}
	one := func(row rollout.Row, provider taxonomy.Channel, meet *rendezvous) {
		began := time.Now()
		c := w.play(t, row, provider, orgs[provider], meet)
		if c.seen.Result != rollout.Excluded && c.seen.Result != rollout.Unfinished {
			t.Logf("row %2d %-9s %s %v in %v", row.N, provider, c.seen.Result, c.problems, time.Since(began).Round(time.Millisecond))
		}
		mu.Lock()
		defer mu.Unlock()
		if cells[row.N] == nil {
			cells[row.N] = map[taxonomy.Channel]*cell{}
		}
		cells[row.N][provider] = c
	}
	for _, p := range chosen.columns {
		orgs[p] = w.tenant(&cell{world: w, t: t, ctx: t.Context()})
	}
	inColumns := func(play func(taxonomy.Channel)) {
		var group sync.WaitGroup
		for _, p := range chosen.columns {
			group.Go(func() { play(p) })
		}
		group.Wait()
	}
	rows := slices.DeleteFunc(rollout.Rows(), func(r rollout.Row) bool { return !chosen.row(r.N) })
	inColumns(func(p taxonomy.Channel) {
		for _, r := range rows {
			if !outage(r.N) && !apart(r.N) {
				one(r, p, nil)
			}
		}
	})
	for _, r := range rows {
		switch {
		case outage(r.N):
			meet := newRendezvous(len(chosen.columns))
			inColumns(func(p taxonomy.Channel) {
				defer meet.leave()
				one(r, p, meet)
			})
		case apart(r.N):
			for _, p := range chosen.columns {
				one(r, p, nil)
			}
		}
	}
	w.atRest(t, cells)
	where, kept := w.leaked(t)
	for _, found := range where {
		t.Errorf("at rest: %s", found)
	}
	if kept < 20 && !chosen.part {
		t.Errorf("%d messages in the conversations: what is looked for is not there", kept)
	}
	for n, row := range cells {
		for p, c := range row {
			for _, problem := range c.problems {
				t.Errorf("row %d, %s: %s", n, p, problem)
			}
		}
	}
	if chosen.part {
		t.Log("a part of the matrix: not compared with the stored verdict")
		return
	}
	compare(t, verdict(t, cells))
}

// atRest checks that exactly the stated messages were answered, and that no other
// install has a conversation.
func (w *world) atRest(t *testing.T, cells map[int]map[taxonomy.Channel]*cell) {
	if !w.quiet(t) {
		t.Error("the queues do not come to rest")
	}
	for n, row := range cells {
		for p, c := range row {
			for _, a := range c.apps {
				if got := a.posts(); got != a.replies {
					t.Errorf("row %d, %s: %d replies, want %d", n, p, got, a.replies)
					c.seen.Result = rollout.Fail
				}
			}
		}
	}
}

// quiet waits until nothing is queued and no turn runs, and reports whether that is so.
// What a process that died had taken comes back when its time is over, at most so often
// as a message is given.
func (w *world) quiet(t testing.TB) bool {
	rests := func() bool { return w.queued() == 0 && len(w.processes(t, "turn", "busy")) == 0 }
	for range 3 { // Queue.MaxReceive
		if w.until(rests) {
			return true
		}
		must(t, w.advance(5*time.Minute))
	}
	return w.until(rests)
}

// queued counts the messages in all queues.
func (w *world) queued() int {
	n := 0
	for _, q := range w.Queues.Queues() {
		if q.DLQFor == "" {
			n += q.Visible + q.InFlight + q.Delayed
		}
	}
	return n
}

// verdict is what the run saw, in the form of the stored file.
func verdict(t *testing.T, cells map[int]map[taxonomy.Channel]*cell) rollout.File {
	f := rollout.File{Inputs: rollout.Inputs(player(t)), NotPlayed: rollout.NotPlayed()}
	for _, p := range rollout.Columns() {
		col := rollout.Column{Provider: p, Rows: map[string]rollout.Seen{}}
		for n, row := range cells {
			col.Rows[strconv.Itoa(n)] = row[p].seen
		}
		f.Columns = append(f.Columns, col.Judge())
	}
	return f
}

// player is the source of what plays the matrix.
func player(t testing.TB) []byte {
	names, err := filepath.Glob("*.go")
	must(t, err)
	slices.Sort(names)
	var b bytes.Buffer
	for _, n := range names {
		text, err := os.ReadFile(n)
		must(t, err)
		fmt.Fprintf(&b, "%s %d\n%s\n", n, len(text), text)
	}
	return b.Bytes()
}

func compare(t *testing.T, saw rollout.File) {
	stored, err := os.ReadFile(verdictFile)
	must(t, err)
	var old rollout.File
	_ = json.Unmarshal(stored, &old)
	page, err := os.ReadFile(tableFile)
	must(t, err)
	head, rest, ok := strings.Cut(string(page), tableBegin)
	shown, tail, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatal("SECURITY.md has no place for the matrix")
	}
	saw.GeneratedAt = old.GeneratedAt
	same, table := reflect.DeepEqual(old, saw), pageTable(saw)
	if *update && t.Failed() {
		t.Fatal("-update: nothing is written of a run that failed")
	}
	if *update {
		if !same || saw.GeneratedAt.IsZero() {
			saw.GeneratedAt = generated(t)
			b, err := json.MarshalIndent(saw, "", " ")
			must(t, err)
			must(t, os.WriteFile(verdictFile, append(b, '\n'), 0o644))
		}
		must(t, os.WriteFile(tableFile, []byte(head+tableBegin+table+tableEnd+tail), 0o644))
		return
	}
	if !same {
		t.Errorf("%s is not what this run saw; look at the differences and run this test with -update", verdictFile)
	}
	if shown != table {
		t.Error("SECURITY.md shows another matrix than this run saw; run this test with -update")
	}
}

func generated(t *testing.T) time.Time {
	if *at == "" {
		return time.Now().UTC().Truncate(time.Second)
	}
	when, err := time.Parse(time.RFC3339, *at)
	must(t, err)
	return when.UTC()
}

// pageTable is the part of SECURITY.md that people read.
func pageTable(f rollout.File) string {
	var b strings.Builder
	b.WriteString("| # | attack or fault |")
	channels := subjects(f)
	for _, columns := range channels {
		fmt.Fprintf(&b, " %s |", columns[0].Provider)
	}
	b.WriteString(" audit code |\n|---|---|" + strings.Repeat("---|", len(channels)+1) + "\n")
	for _, r := range rollout.Rows() {
		fmt.Fprintf(&b, "| %d | %s |", r.N, r.Title)
		var audits []string
		for _, columns := range channels {
			var marks []string
			for _, c := range columns {
				seen := c.Rows[strconv.Itoa(r.N)]
				marks = append(marks, mark(seen))
				if code := "`" + seen.Audit + "`"; seen.Audit != "" && !slices.Contains(audits, code) {
					audits = append(audits, code)
				}
			}
			b.WriteString(" " + strings.Join(slices.Compact(marks), " / ") + " |")
		}
		b.WriteString(" " + cmp.Or(strings.Join(audits, ", "), "–") + " |\n")
	}
	b.WriteString("|   | verdict |")
	for _, columns := range channels {
		verdict := rollout.Green
		if slices.ContainsFunc(columns, func(c rollout.Column) bool { return c.Verdict != rollout.Green }) {
			verdict = rollout.Red
		}
		fmt.Fprintf(&b, " **%s** |", verdict)
	}
	b.WriteString("   |\n")
	return b.String()
}

// subjects are a file's columns by channel: of one that several vendors serve there are
// several, in their order.
func subjects(f rollout.File) (out [][]rollout.Column) {
	for _, c := range f.Columns {
		of := func(o []rollout.Column) bool {
			return rollout.ChannelOf(o[0].Provider) == rollout.ChannelOf(c.Provider)
		}
		if k := slices.IndexFunc(out, of); k >= 0 {
			out[k] = append(out[k], c)
		} else {
			out = append(out, []rollout.Column{c})
		}
	}
	return out
}

// mark is what the table shows of a cell.
func mark(seen rollout.Seen) string {
	switch {
	case seen.Result == rollout.Excluded:
		return "–"
	case seen.Result == rollout.Pass && seen.Status == 0:
		return "yes"
	case seen.Result == rollout.Pass:
		return strconv.Itoa(seen.Status)
	}
	return "**" + string(seen.Result) + "**"
}
