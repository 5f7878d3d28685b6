package connectiontest

import (
	"cmp"
	"context"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/connection"
)

// SetOffers implements [connection.OfferStore].
func (m *Memory) SetOffers(_ context.Context, o connection.Offers) error {
	if err := m.before("offers"); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.offers == nil {
		m.offers = map[string]connection.Offers{}
	}
	if old, ok := m.offers[o.Org+"/"+o.Connection]; !ok || old.At.Before(o.At) {
		o.Models = slices.Clone(o.Models)
		m.offers[o.Org+"/"+o.Connection] = o
	}
	return nil
}

// Offers implements [connection.OfferStore].
func (m *Memory) Offers(_ context.Context, org string) ([]connection.Offers, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []connection.Offers
	for _, o := range m.offers {
		if o.Org == org {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b connection.Offers) int { return cmp.Compare(a.Connection, b.Connection) })
	return out, nil
}

func testOffers(t *testing.T, ctx context.Context, s Store) {
	c := sample("c1", "f1")
	code(t, s.CreateConnection(ctx, c, row("r1")), "", "")
	list := connection.Offers{Org: "a1", Connection: "c1", Fingerprint: "f1", BaseURL: c.BaseURL, At: now(), Total: 900,
		Models: []connection.Offered{{Model: "a/b c:free", ContextTokens: 131072, MaxOutputTokens: 8192}, {Model: "m"}}}
	other := connection.Offers{Org: "a1", Connection: "c0", At: now()}
	foreign := connection.Offers{Org: "a2", Connection: "c1", At: now(), Total: 1, Models: []connection.Offered{{Model: "x"}}}
	for _, o := range []connection.Offers{list, other, foreign} {
		code(t, s.SetOffers(ctx, o), "", "")
	}
	want := []connection.Offers{other, list}
	check := func(what string) {
		t.Helper()
		got, err := s.Offers(ctx, "a1")
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: %+v, %v\nwant %+v", what, got, err, want)
		}
	}
	check("kept")
	if !list.Of(c) {
		t.Error("the list is not of its own connection")
	}
	for _, change := range []func(*connection.Connection){func(c *connection.Connection) { c.Fingerprint = "f2" }, func(c *connection.Connection) { c.BaseURL = "" },
		func(c *connection.Connection) { c.ID = "c2" }, func(c *connection.Connection) { c.Org = "a2" }} {
		x := c
		change(&x)
		if list.Of(x) {
			t.Errorf("the list is of %+v", x)
		}
	}
	// One that began earlier does not replace it, one that began later does.
	late := list
	late.At, late.Models = now().Add(-time.Second), nil
	code(t, s.SetOffers(ctx, late), "", "")
	check("an older list")
	want[1].At, want[1].Total, want[1].Models = now().Add(time.Second), 1, []connection.Offered{{Model: "n", ContextTokens: 1}}
	code(t, s.SetOffers(ctx, want[1]), "", "")
	check("a newer list")
	// The list goes with its connection, and no other does.
	stored, err := s.Connection(ctx, "a1", "c1")
	code(t, err, "", "")
	code(t, s.DeleteConnection(ctx, stored, row("r2")), "", "")
	want = want[:1]
	check("after the connection is gone")
	if got, err := s.Offers(ctx, "a2"); err != nil || len(got) != 1 {
		t.Errorf("another organisation has %+v, %v", got, err)
	}
}
