package credit

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/latchkey/latchkey/shared/taxonomy"
)

// machine is an account in memory that obeys the conditions of the store: what
// is under test are the plans of ends and refunds.
type machine struct {
	acc      Account
	postings []Posting
	holds    []Open
	now      time.Time
	paid     map[string]Micro // highest notice per grant, 0 after it was won
	won      map[string]bool
}

func (m *machine) post(p Posting) {
	p.Seq, p.Base = m.acc.Seq+1, m.acc.Posted
	m.acc.Seq, m.acc.Posted, m.acc.Available = p.Seq, p.Base+p.Amount, m.acc.Available+p.Amount
	m.postings = append(m.postings, p)
	m.acc.NextExpiry = earlier(m.acc.NextExpiry, p.ExpiresAt)
}

// sweep ends every grant that is due and reports the first plan that the store
// would not take.
func (m *machine) sweep(t *rapid.T) {
	for i := 0; i < len(m.postings); i++ {
		g := m.postings[i]
		if g.ExpiresAt.IsZero() || g.ExpiresAt.After(m.now) {
			continue
		}
		e, ok := planEnd(m.acc, m.postings, m.holds, g.ID, m.now)
		if !ok {
			t.Fatalf("no plan for %+v", g)
		}
		if g.Ended && e.Renewal != nil {
			t.Fatalf("renewed twice: %+v", e)
		}
		for j, p := range e.Steps() {
			if p.Seq != m.acc.Seq+1 || p.Base != m.acc.Posted || slices.ContainsFunc(m.postings, func(o Posting) bool { return o.ID == p.ID }) {
				t.Fatalf("step %d does not follow: %+v", j, p)
			}
			m.post(p)
		}
		m.postings[i].Ended, m.acc.NextExpiry = true, e.NextExpiry
	}
}

func (m *machine) settle(i int, amount Micro) {
	h := m.holds[i].Hold
	m.holds = slices.Delete(m.holds, i, i+1)
	m.acc.Held, m.acc.Posted, m.acc.Available = m.acc.Held-h, m.acc.Posted-amount, m.acc.Available+h-amount
}

func (m *machine) check(t *rapid.T, what string) {
	f, ok := Fold(m.postings, m.acc.Posted)
	var left, held Micro
	var next time.Time
	for _, g := range f.Grants {
		left += g.Remaining
		if g.Ended && g.Remaining > heldBefore(m.holds, g.ExpiresAt) && what == "sweep" {
			t.Fatalf("%s: %d left of a grant that has ended, calls hold %d", what, g.Remaining, heldBefore(m.holds, g.ExpiresAt))
		}
	}
	for _, p := range m.postings {
		if !p.Ended {
			next = earlier(next, p.ExpiresAt)
		}
	}
	for _, h := range m.holds {
		held += h.Hold
	}
	if !ok || left-f.Overage != m.acc.Posted || held != m.acc.Held || m.acc.Available != m.acc.Posted-held || !next.Equal(m.acc.NextExpiry) {
		t.Fatalf("%s: left %d over %d held %d next %v, account %+v", what, left, f.Overage, held, next, m.acc)
	}
	for grant, want := range m.paid {
		var taken Micro
		for _, p := range m.postings {
			if p.Of == grant && p.Ref != "" {
				taken -= p.Amount
			}
		}
		if taken != want {
			t.Fatalf("%s: %d refunded of %s, want %d", what, taken, grant, want)
		}
	}
}

// TestMachine plays grants, calls, ends, renewals, refunds and won disputes in random order:
// the remainders account for what is posted at every step, nothing is left of a
// grant after its end but what older calls hold, and no call reserves between an
// end and its folding.
func TestMachine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{now: t0, acc: Account{Org: "o"}, paid: map[string]Micro{}, won: map[string]bool{}}
		kinds := taxonomy.GrantKinds()
		for i := range rapid.IntRange(5, 60).Draw(t, "steps") {
			n := Micro(rapid.Int64Range(1, 60).Draw(t, "n"))
			what := rapid.SampledFrom([]string{"grant", "reserve", "reserve", "settle", "settle", "pass", "sweep", "refund", "reinstate"}).Draw(t, "what")
			switch what {
			case "grant":
				p := Posting{ID: "g_" + strconv.Itoa(i), Org: "o", Origin: GrantEntry, Kind: kinds[int(n)%4], Amount: n, At: m.now}
				if rapid.Bool().Draw(t, "ends") {
					p.ExpiresAt = m.now.Add(time.Duration(n) * time.Hour)
					if end, ok := periodEnd(p.Kind, m.now); ok && rapid.Bool().Draw(t, "rolls") {
						p.ExpiresAt, p.Rollover = end, Rollover{Min: n % 7, Max: 40}
					}
				}
				m.post(p)
			case "reserve":
				due := !m.acc.NextExpiry.IsZero() && !m.acc.NextExpiry.After(m.now)
				if !due && m.acc.Available >= n {
					m.holds = append(m.holds, Open{Org: "o", Request: strconv.Itoa(i), Hold: n, Created: m.now})
					m.acc.Held, m.acc.Available = m.acc.Held+n, m.acc.Available-n
				}
			case "settle":
				if len(m.holds) > 0 {
					// Now and then a call costs more than it held.
					at := rapid.IntRange(0, len(m.holds)-1).Draw(t, "call")
					m.settle(at, m.holds[at].Hold*Micro(rapid.IntRange(0, 11).Draw(t, "tenths"))/10)
				}
			case "pass":
				m.now = m.now.Add(time.Duration(n) * 20 * time.Minute)
			case "sweep":
				m.sweep(t)
			case "refund":
				if g := slices.IndexFunc(m.postings, func(p Posting) bool { return p.Origin == GrantEntry }); g >= 0 {
					grant := m.postings[g]
					r, err := planRefund(RefundRequest{Org: "o", Grant: grant.ID, Reference: "ch", Cumulative: n, Now: m.now}, m.acc, m.postings)
					if err != nil {
						t.Fatal(err)
					}
					if r.Delta > 0 {
						m.post(r.Posting)
					}
					if !m.won[grant.ID] {
						m.paid[grant.ID] = max(m.paid[grant.ID], min(n, grant.Amount))
					}
				}
			case "reinstate":
				if g := slices.IndexFunc(m.postings, func(p Posting) bool { return p.Origin == GrantEntry }); g >= 0 {
					grant := m.postings[g]
					r, err := planReinstate(RefundRequest{Org: "o", Grant: grant.ID, Reference: "ch", Now: m.now}, m.acc, m.postings)
					if err != nil || r.Delta != -m.paid[grant.ID] {
						t.Fatalf("%+v %v, %d were taken", r, err, m.paid[grant.ID])
					}
					if r.Delta != 0 {
						m.post(r.Posting)
						m.won[grant.ID], m.paid[grant.ID] = true, 0
					}
				}
			}
			m.check(t, what)
		}
		for len(m.holds) > 0 {
			m.settle(0, 0)
		}
		m.sweep(t)
		m.check(t, "sweep")
	})
}

var proof = regexp.MustCompile("`([^`: ]+): ([A-Za-z0-9_]+)`")

// TestInvariantsAreProven: every invariant is in the table, and every test that
// the table names exists.
func TestInvariantsAreProven(t *testing.T) {
	raw, err := os.ReadFile("INVARIANTS.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		if cells := strings.Split(line, "|"); len(cells) > 3 && strings.HasPrefix(strings.TrimSpace(cells[1]), "I") {
			rows[strings.TrimSpace(cells[1])] = cells[3]
		}
	}
	for n := 1; n <= 25; n++ {
		name := "I" + strconv.Itoa(n)
		named := proof.FindAllStringSubmatch(rows[name], -1)
		if len(named) == 0 && !strings.Contains(rows[name], "not proven here") {
			t.Errorf("%s has no test and does not say so: %q", name, rows[name])
		}
		for _, p := range named {
			source, err := os.ReadFile(filepath.Join("..", "..", p[1]))
			if err != nil || !strings.Contains(string(source), "\nfunc "+p[2]+"(") {
				t.Errorf("%s: there is no %s in %s", name, p[2], p[1])
			}
		}
	}
}
