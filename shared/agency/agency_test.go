package agency

import (
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

func TestTermsTable(t *testing.T) {
	base := Client{Offer: Offer{Agency: "a", Version: 3, Active: true, Tier: taxonomy.Agency, Policy: Policy{WhenEmpty, 10, 100}, Shards: 2}}
	with := func(f func(*Client)) Client { c := base; f(&c); return c }
	agencies := func(tier taxonomy.Tier) bool { return tier == taxonomy.Agency }
	for name, row := range map[string]struct {
		client Client
		parent string
		mode   Mode
		cap    int64
	}{
		"as the agency says":             {base, "a", WhenEmpty, 10},
		"another mode for this client":   {with(func(c *Client) { c.Override.Mode = Always }), "a", Always, 10},
		"off for this client":            {with(func(c *Client) { c.Override.Mode = Off }), "a", Off, 10},
		"a lower cap":                    {with(func(c *Client) { c.Override.PerDay = 4 }), "a", WhenEmpty, 4},
		"a higher cap":                   {with(func(c *Client) { c.Override.PerDay = 40 }), "a", WhenEmpty, 40},
		"no agency":                      {base, "", Off, 10},
		"another agency":                 {base, "b", Off, 10},
		"agency suspended":               {with(func(c *Client) { c.Offer.Active = false }), "a", Off, 10},
		"tier without clients":           {with(func(c *Client) { c.Offer.Tier = taxonomy.Pro }), "a", Off, 10},
		"agency off, client overridden":  {with(func(c *Client) { c.Offer.Policy.Mode, c.Override.Mode = Off, Always }), "a", Off, 10},
		"no policy":                      {Client{}, "", Off, 0},
		"no cap for the client":          {with(func(c *Client) { c.Offer.Policy.ClientPerDay = 0 }), "a", Off, 0},
		"no cap in all":                  {with(func(c *Client) { c.Offer.Policy.TotalPerDay = 0 }), "a", Off, 10},
		"a mode of another build":        {with(func(c *Client) { c.Offer.Policy.Mode = "sometimes" }), "a", Off, 10},
		"an override of another build":   {with(func(c *Client) { c.Override.Mode = "sometimes" }), "a", Off, 10},
		"an offer that was never stored": {with(func(c *Client) { c.Offer.Version = 0 }), "a", Off, 10},
	} {
		got := row.client.Terms(row.parent, agencies)
		if got.Mode != row.mode || got.ClientCap != row.cap {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got, want := base.Terms("a", agencies), (Terms{"a", 3, WhenEmpty, 10, 100, 2}); got != want {
		t.Errorf("%+v", got)
	}
}

func TestChecks(t *testing.T) {
	for _, p := range []Policy{{Mode: Off}, {Off, 1, 1}, {WhenEmpty, 1, 1}, {Always, maxCap, maxCap}} {
		if err := p.Check(); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
	for param, bad := range map[string][]Policy{
		"mode":           {{}, {Mode: "on"}, {"ALWAYS", 1, 1}},
		"client_per_day": {{Always, 0, 1}, {Always, -1, 1}, {Always, maxCap + 1, 1}, {Off, 0, 5}},
		"total_per_day":  {{WhenEmpty, 1, 0}, {WhenEmpty, 1, -1}, {WhenEmpty, 1, maxCap + 1}, {Off, 5, 0}},
	} {
		for _, p := range bad {
			if err := p.Check(); fault.CodeOf(err) != fault.InvalidRequest || fault.As(err).Param != param {
				t.Errorf("%+v: %v", p, err)
			}
		}
	}
	for _, o := range []Override{{}, {Mode: Off}, {Always, 7}} {
		if err := o.Check(); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
	for _, o := range []Override{{Mode: "x"}, {PerDay: -1}, {PerDay: maxCap + 1}} {
		if err := o.Check(); fault.CodeOf(err) != fault.InvalidRequest {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestDays(t *testing.T) {
	east := time.FixedZone("east", 5*3600)
	at := time.Date(2026, 11, 23, 3, 0, 0, 0, east) // 22:00 of the 22nd
	if Day(at) != "20261122" || !NextDay(at).Equal(time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%s %s", Day(at), NextDay(at))
	}
	last := time.Date(2026, 12, 31, 23, 59, 59, 999, time.UTC)
	if Day(last) != "20261231" || !NextDay(last).Equal(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%s %s", Day(last), NextDay(last))
	}
}
