package dynamo_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/alert"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/dynamo/dynamotest"
	"github.com/latchkey/latchkey/shared/outbox"
	"github.com/latchkey/latchkey/shared/table"
)

// TestAlerts: of many that find the same limit one tells it, with its event kept
// in the same write; a top-up begins anew, whatever order it is seen in.
func TestAlerts(t *testing.T) {
	fx := dynamotest.Open(t, table.Usage, table.Config)
	db, err := dynamo.New(fx.Client, fx.Tables)
	if err != nil {
		t.Fatal(err)
	}
	s, kept := db.Alerts(), db.Outbox()
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	level := func() alert.Level {
		t.Helper()
		l, err := s.Level(t.Context(), "acme")
		fail(err)
		return l
	}
	tell := func(l alert.Level, limit credit.Micro) bool {
		a := alert.Alert{ID: fmt.Sprint("al_", limit, l.At.Unix()), Org: "acme", Threshold: "20%", Limit: limit, Left: limit - 1, Level: l.Amount, Since: l.At, At: at}
		fresh, err := s.Tell(t.Context(), l, a, outbox.Event{ID: a.ID, Type: "t", At: at, Detail: []byte(`{"id":"` + a.ID + `"}`)})
		if err != nil {
			t.Error(err)
		}
		return fresh
	}
	if l := level(); l != (alert.Level{Org: "acme"}) {
		t.Fatalf("%+v", l)
	}
	if !tell(level(), 7) || tell(alert.Level{}, 7) {
		t.Error("before the first top-up")
	}
	fail(s.Raise(t.Context(), "acme", at, 1000))
	old := level()
	if tell(alert.Level{}, 5) {
		t.Error("told for a level that has gone")
	}
	var fresh atomic.Int64
	var group sync.WaitGroup
	for range 12 {
		group.Add(1)
		go func() {
			defer group.Done()
			if tell(old, 200) {
				fresh.Add(1)
			}
		}()
	}
	group.Wait()
	if fresh.Load() != 1 || tell(level(), 500) || !tell(level(), -3) {
		t.Errorf("%d told the same limit", fresh.Load())
	}
	fail(s.Raise(t.Context(), "acme", at.Add(time.Hour), 800))
	fail(s.Raise(t.Context(), "acme", at, 5555))
	fail(s.SetAbsolute(t.Context(), "acme", 300, audit.Op{Actor: "key:k1", ID: "op1", At: at}.Row("acme", "alerts.update", "acme")))
	if l := level(); l.Amount != 800 || l.Told || l.Absolute != 300 || !l.At.Equal(at.Add(time.Hour)) {
		t.Fatalf("%+v", l)
	}
	if tell(old, 1) || !tell(level(), 200) {
		t.Error("second period")
	}
	var got []string
	for after := ""; ; {
		list, next, err := s.Alerts(t.Context(), "acme", after, 3)
		fail(err)
		for _, a := range list {
			got = append(got, fmt.Sprint(a.Level, a.Limit, a.Left, a.Threshold))
		}
		if after = next; after == "" {
			break
		}
	}
	if want := "[800 200 19920% 1000 200 19920% 1000 -3 -420% 0 7 620%]"; fmt.Sprint(got) != want {
		t.Errorf("alerts %v, want %s", got, want)
	}
	// Every alert is in the outbox, once, in pages.
	fail(kept.Keep(t.Context(), []outbox.Event{{ID: "e_1", Type: "x", At: at, Detail: []byte("{}")}, {ID: "e_1", Type: "x", At: at, Detail: []byte("{}")}}))
	first, err := kept.Kept(t.Context(), "", 2)
	fail(err)
	rest, err := kept.Kept(t.Context(), first[1].ID, 100)
	fail(err)
	if all := append(first, rest...); len(all) != 5 || string(all[4].Detail) != "{}" || all[4].Type != "x" || !all[4].At.Equal(at) {
		t.Errorf("kept %+v", all)
	}
	fail(kept.Drop(t.Context(), []string{"e_1", first[0].ID, "never there"}))
	if left, err := kept.Kept(t.Context(), "", 100); err != nil || len(left) != 3 {
		t.Errorf("left %+v %v", left, err)
	}
}
