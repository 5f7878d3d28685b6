package legacytokens_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/legacytokens"
	"github.com/latchkey/latchkey/shared/legacytokens/legacytest"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// memory is a store of one organisation that obeys the conditions of the real one.
type memory struct {
	counter  legacytokens.Counter
	acc      credit.Account
	postings []credit.Posting
	calls    map[string]*kept
	entries  []credit.Entry
	days     map[string]*legacytokens.Day
	paid     map[string]int64
	// broken leaves a condition out.
	broken string
}

type kept struct {
	hold    credit.Hold
	held    credit.Micro
	used    *credit.Used
	expired bool
	done    bool
}

func newMemory() *memory {
	m := &memory{calls: map[string]*kept{}, days: map[string]*legacytokens.Day{}, paid: map[string]int64{},
		counter: legacytokens.Counter{Org: legacytest.Org, Mode: org.LedgerCredit, Used: map[string]int64{}, Seeded: map[string]int64{}},
		acc:     credit.Account{Org: legacytest.Org, Mode: credit.ModeCredit}}
	m.post(credit.Posting{ID: "g", Org: legacytest.Org, Origin: credit.GrantEntry, Kind: taxonomy.Purchased, Amount: 10_000_000, At: legacytest.Start()})
	return m
}

func (m *memory) post(p credit.Posting) {
	p.Seq, p.Base = m.acc.Seq+1, m.acc.Posted
	m.acc.Seq, m.acc.Posted, m.acc.Available = p.Seq, m.acc.Posted+p.Amount, m.acc.Available+p.Amount
	m.postings = append(m.postings, p)
	m.entries = append(m.entries, p.Entry())
}

func (m *memory) Reserve(r credit.ReserveRequest) (credit.Hold, error) {
	if m.broken != "stamp" {
		r.Stamp = credit.StampOf(string(m.counter.Mode), m.counter.Epoch)
	}
	k := &kept{hold: credit.Hold{Org: r.Org, Request: r.Request, Attempt: 1, Owner: r.Owner, Amount: r.Hold, Created: r.Now, Expires: r.Expires, Stamp: r.Stamp}}
	if r.Legacy() {
		m.counter.Open++
	} else {
		k.held = r.Hold
		m.acc.Held, m.acc.Available = m.acc.Held+r.Hold, m.acc.Available-r.Hold
	}
	m.calls[r.Request] = k
	return k.hold, nil
}

func (m *memory) Used(h credit.Hold, o credit.Outcome) error {
	k := m.calls[h.Request]
	if k.used != nil {
		return errors.New("used twice")
	}
	stamp := h.Stamp
	if m.broken == "mode" { // settles by the present mode
		stamp = credit.StampOf(string(m.counter.Mode), m.counter.Epoch)
	}
	k.used = &credit.Used{Org: h.Org, Request: h.Request, Attempt: 1, Hold: k.held, Amount: o.Amount, Expired: k.expired, Kind: o.Kind, Usage: o.Usage,
		At: o.At, Source: taxonomy.Platform, Provider: "prov", Model: "m", Stamp: stamp}
	return nil
}

func (m *memory) Settle(time.Time) error {
	for _, k := range m.calls {
		if k.used == nil || k.done {
			continue
		}
		k.done = true
		u := *k.used
		period := credit.CountPeriod(u.At)
		switch {
		case u.Stamp.Legacy() && m.counter.Mode == org.LedgerCredit && m.broken != "guard":
			m.paid[period] += u.Tokens()
		case u.Stamp.Legacy():
			if !u.Expired {
				m.counter.Open--
			}
			m.counter.Used[period] += u.Tokens()
			m.count(u)
		default:
			m.acc.Held, m.acc.Posted, m.acc.Available = m.acc.Held-u.Hold, m.acc.Posted-u.Amount, m.acc.Available+u.Hold-u.Amount
			if u.Stamp.Epoch > 0 {
				m.paid[period] += u.Tokens()
			}
		}
		if e, ok := u.Entry(); ok {
			m.entries = append(m.entries, e)
		}
	}
	return nil
}

func (m *memory) count(u credit.Used) {
	if u.Kind == credit.Refused {
		return
	}
	ch := legacytokens.Charge(m.counter.Terms, u)
	d := m.days[ch.Day]
	if d == nil {
		d = &legacytokens.Day{Day: ch.Day, Model: ch.Model, Diff: map[legacytokens.Class]credit.Micro{}}
		m.days[ch.Day] = d
	}
	d.Requests, d.Input, d.Output, d.Money = d.Requests+1, d.Input+ch.Input, d.Output+ch.Output, d.Money+ch.Money
	if ch.Class != "" {
		d.Diff[ch.Class] += ch.Diff
	}
}

func (m *memory) Sweep(now time.Time) error {
	for _, k := range m.calls {
		if k.used != nil || k.expired || !k.hold.Expires.Before(now) {
			continue
		}
		k.expired = true
		if k.hold.Stamp.Legacy() {
			m.counter.Open--
		}
		m.acc.Held, m.acc.Available, k.held = m.acc.Held-k.held, m.acc.Available+k.held, 0
	}
	return nil
}

func (m *memory) Counter(context.Context, string) (legacytokens.Counter, error) {
	c := m.counter
	c.Used, c.Seeded = maps.Clone(c.Used), maps.Clone(c.Seeded)
	return c, nil
}

func (m *memory) SetTerms(_ context.Context, _ string, t legacytokens.Terms, _ int64, _ audit.Row) error {
	if !m.counter.Pays() {
		return legacytokens.Disabled("memory")
	}
	m.counter.Terms = t
	m.counter.Version++
	return nil
}

func (m *memory) Change(_ context.Context, ch legacytokens.Change) error {
	if m.counter.Mode != ch.From || m.counter.Version != ch.Counter.Version || ch.Account.Seq != m.acc.Seq {
		return fault.New(fault.Conflict, "memory", "changed")
	}
	used, seeded, open := m.counter.Used, m.counter.Seeded, m.counter.Open
	m.counter = ch.Next
	m.counter.Used, m.counter.Seeded, m.counter.Open = used, seeded, open
	m.counter.Used[ch.Period] += ch.Seed
	m.counter.Seeded[ch.Period] += ch.Seed
	if ch.Posting != nil {
		m.post(*ch.Posting)
	}
	return nil
}

// late lets a call in between the reading and the writing of a rollback.
type late struct {
	*memory
	hold credit.Hold
}

func (l *late) Change(ctx context.Context, ch legacytokens.Change) error {
	if ch.Switches && ch.Effect == legacytokens.Restore {
		l.hold, _ = l.Reserve(credit.ReserveRequest{Org: legacytest.Org, Request: "late", Attempt: 1, Owner: "own", Hold: 5000, Now: ch.Next.Since,
			Expires: ch.Next.Since.Add(time.Minute), Source: taxonomy.Platform})
	}
	return l.memory.Change(ctx, ch)
}

// TestRollbackMeetsCalls: a call that credits admit while a rollback is on its way is
// paid with the opening grant, and what was bought stays whole.
func TestRollbackMeetsCalls(t *testing.T) {
	m := newMemory()
	m.counter = legacytokens.Counter{Org: legacytest.Org, Mode: org.LedgerCredit, Epoch: 2, Version: 1, Terms: legacytest.Terms(),
		Opening: legacytokens.Opening{ID: "lo_1", Amount: 2_000_000}, Used: map[string]int64{}, Seeded: map[string]int64{}}
	m.post(credit.Posting{ID: "lo_1", Org: legacytest.Org, Origin: credit.GrantEntry, Kind: taxonomy.Monthly, Amount: 2_000_000, At: legacytest.Start()})
	l := &late{memory: m}
	s := m.world().Service
	s.Store = l
	back := func(id string, posted credit.Micro) {
		t.Helper()
		v, err := s.Change(t.Context(), audit.Op{Actor: "operator:test", ID: id, At: legacytest.Start()}, legacytest.Org, org.LedgerRolledBack)
		if err != nil || v.Mode != org.LedgerRolledBack || m.acc.Posted != posted {
			t.Fatalf("%s: %s, posted %d, want %d: %v", id, v.Mode, m.acc.Posted, posted, err)
		}
	}
	back("a", 10_000_000+5000)
	if err := m.Used(l.hold, credit.Outcome{Kind: credit.Completed, Amount: 3, At: legacytest.Start(), Usage: billing.Usage{InputTokens: 1}}); err != nil || m.Settle(legacytest.Start()) != nil {
		t.Fatal(err)
	}
	back("b", 10_000_000)
	if period := credit.CountPeriod(legacytest.Start()); m.counter.Used[period] != 1 || l.hold.Stamp.Legacy() {
		t.Errorf("counted %v, admitted as %+v", m.counter.Used, l.hold.Stamp)
	}
}

func (m *memory) Import(context.Context, string, []legacytokens.Row, audit.Op) (int, error) {
	return 0, errors.New("not here")
}

func (m *memory) Days(_ context.Context, _, from, to string) ([]legacytokens.Day, error) {
	var out []legacytokens.Day
	for day, d := range m.days {
		if day >= from && day <= to {
			out = append(out, *d)
		}
	}
	return out, nil
}

func (m *memory) Balance(context.Context, string) (credit.BalanceView, error) {
	a := m.acc
	a.Shards = []credit.Shard{{Posted: a.Posted, Held: a.Held, Available: a.Available, Counted: maps.Clone(m.paid)}}
	f, ok := credit.Fold(m.postings, a.Posted)
	if !ok {
		return credit.BalanceView{}, errors.New("the balance does not fold")
	}
	return credit.BalanceView{Account: a, Grants: f.Grants}, nil
}

func (m *memory) Usage(_ context.Context, _, from, to string) ([]credit.UsageRow, error) {
	var out []credit.UsageRow
	for _, e := range m.entries {
		if r := credit.RowOf(e); e.Kind == credit.UsageEntry && e.Stamp.Legacy() && r.Day >= from && r.Day <= to {
			out = append(out, r)
		}
	}
	return out, nil
}

func (m *memory) world() legacytest.World {
	return legacytest.World{Reserve: m.Reserve, Used: m.Used, Settle: m.Settle, Sweep: m.Sweep,
		Entries: func(time.Time) ([]credit.Entry, error) { return m.entries, nil },
		Raw:     func() string { return fmt.Sprintf("%d %d %d", m.acc.Posted, m.acc.Held, m.acc.Available) },
		Service: &legacytokens.Service{Store: m, Balances: m, Usage: m, Wait: func(context.Context, time.Duration) error { return nil }}}
}

func draw(t *rapid.T) []legacytest.Op {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) legacytest.Op {
		return legacytest.Op{Kind: rapid.SampledFrom(legacytest.Kinds()).Draw(t, "kind"), N: rapid.IntRange(0, 40).Draw(t, "n")}
	}), 30, 160).Draw(t, "ops")
}

// TestMachine: whatever happens in whatever order, each call is paid once, by the one
// that was stamped on it, and the counter knows all of it in the end.
func TestMachine(t *testing.T) {
	entered := map[org.LedgerMode]int{}
	rapid.Check(t, func(t *rapid.T) {
		seen, err := legacytest.Play(newMemory().world(), draw(t))
		if err != nil {
			t.Fatal(err)
		}
		for mode, n := range seen {
			entered[mode] += n
		}
	})
	for _, mode := range []org.LedgerMode{org.LedgerShadow, org.LedgerDraining, org.LedgerCredit, org.LedgerRolledBack} {
		if entered[mode] < 5 {
			t.Errorf("%s was entered %d times: the dice are wrong", mode, entered[mode])
		}
	}
}

// TestMachineFinds: without its conditions the machine breaks, and the play sees it.
func TestMachineFinds(t *testing.T) {
	for _, broken := range []string{"stamp", "mode", "guard"} {
		found := false
		for seed := range 400 {
			m := newMemory()
			m.broken = broken
			ops := rapid.Custom(draw).Example(seed)
			if _, err := legacytest.Play(m.world(), ops); err != nil {
				found = true
				break
			}
		}
		if !found {
			t.Errorf("nothing was found without %s", broken)
		}
	}
}
