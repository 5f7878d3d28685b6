package legacytokens_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/legacytokens"
	"github.com/latchkey/latchkey/shared/legacytokens/legacytest"
	"github.com/latchkey/latchkey/shared/org"
)

// drains lists organisations of which each has a memory of its own.
type drains struct {
	*memory
	listed []string
	modes  map[string]org.LedgerMode
	open   map[string]int64
	// broken cannot be read, raced changed after it was read.
	broken, raced string
	rows          []audit.Row
}

func (d *drains) Draining(context.Context, time.Time, int) ([]string, error) { return d.listed, nil }

func (d *drains) Counter(_ context.Context, id string) (legacytokens.Counter, error) {
	if id == d.broken {
		return legacytokens.Counter{}, fault.New(fault.LedgerUnavailable, "test", "down")
	}
	return legacytokens.Counter{Org: id, Mode: d.modes[id], Epoch: 2, Open: d.open[id], Version: 3}, nil
}

func (d *drains) Change(_ context.Context, ch legacytokens.Change) error {
	if ch.Counter.Org == d.raced {
		d.modes[d.raced] = org.LedgerRolledBack
		return fault.New(fault.Conflict, "test", "changed")
	}
	d.modes[ch.Counter.Org] = ch.Next.Mode
	d.rows = append(d.rows, ch.Row)
	return nil
}

// TestFinish: a counter that has drained is closed, one that has calls to pay for or
// was rolled back in between is not, and one that cannot be read keeps none waiting.
func TestFinish(t *testing.T) {
	d := &drains{memory: newMemory(), listed: []string{"down", "open", "back", "raced", "ready"}, broken: "down", raced: "raced",
		modes: map[string]org.LedgerMode{"open": org.LedgerDraining, "back": org.LedgerRolledBack, "raced": org.LedgerDraining, "ready": org.LedgerDraining},
		open:  map[string]int64{"open": 1}}
	f := legacytokens.Finisher{Drains: d, Actor: "function:sweep", NewID: func(time.Time) string { return "op1" },
		Service: &legacytokens.Service{Store: d, Balances: d, Usage: d, Wait: func(context.Context, time.Duration) error { return nil }}}
	n, err := f.Finish(t.Context(), legacytest.Start())
	if n != 1 || fault.CodeOf(err) != fault.LedgerUnavailable {
		t.Errorf("ended %d, %v", n, err)
	}
	want := map[string]org.LedgerMode{"open": org.LedgerDraining, "back": org.LedgerRolledBack, "raced": org.LedgerRolledBack, "ready": org.LedgerCredit}
	for id, mode := range want {
		if d.modes[id] != mode {
			t.Errorf("%s is %s, want %s", id, d.modes[id], mode)
		}
	}
	if !slices.ContainsFunc(d.rows, func(r audit.Row) bool {
		return r.Org == "ready" && r.Actor == "function:sweep" && r.Action == "ledger_mode.set" && r.Detail["mode"] == "credit"
	}) || len(d.rows) != 1 {
		t.Errorf("rows %+v", d.rows)
	}
}

// TestParityGate: after seven days in shadow a call that the counter and the ledger do
// not agree on stands in the way of a cutover, and is named.
func TestParityGate(t *testing.T) {
	m := newMemory()
	service, now := m.world().Service, legacytest.Start()
	change := func(to org.LedgerMode) error {
		_, err := service.Change(t.Context(), audit.Op{Actor: "operator:test", ID: "op" + string(to[:3]), At: now}, legacytest.Org, to)
		return err
	}
	if err := change(org.LedgerLegacy); err != nil {
		t.Fatal(err)
	}
	m.counter.Terms = legacytest.Terms()
	if err := change(org.LedgerShadow); err != nil {
		t.Fatal(err)
	}
	now = now.AddDate(0, 0, 8)
	day := now.AddDate(0, 0, -2).Format(time.DateOnly)
	m.days[day] = &legacytokens.Day{Day: day, Model: "prov/m", Requests: 1, Input: 2, Output: 3}
	if err := change(org.LedgerDraining); fault.CodeOf(err) != fault.Conflict || !strings.Contains(err.Error(), day+": prov/m: requests") {
		t.Errorf("without parity: %v", err)
	}
	delete(m.days, day)
	if err := change(org.LedgerDraining); err != nil || m.counter.Mode != org.LedgerDraining {
		t.Errorf("with parity: %v, %s", err, m.counter.Mode)
	}
}
