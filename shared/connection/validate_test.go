package connection_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

const keyC = "sk-test-cccccccccccccccccccccccc3333"

func (f *fixture) says(v connection.Verdict, code fault.Code) {
	f.asks.Says = func(connection.Connection, string) connection.Seen {
		return connection.Seen{Verdict: v, Reason: string(code), HTTPStatus: 418, LatencyMS: 9}
	}
}

// answers are every answer that saving a key may get.
var answers = []struct {
	name    string
	verdict connection.Verdict
	code    fault.Code
	health  connection.HealthStatus
	usable  connection.Reason
	refused bool
}{
	{"accepted", connection.Accepted, "", connection.Healthy, connection.IsUsable, false},
	{"refused", connection.Refused, fault.ProviderKeyInvalid, "", "", true},
	{"no quota", connection.Refused, fault.ProviderQuotaExhausted, connection.Failed, connection.IsFailed, false},
	{"nothing to ask", connection.NoCheck, fault.InvalidRequest, connection.Unknown, connection.IsUsable, false},
	{"429", connection.Undecided, fault.ProviderRateLimited, connection.Unverified, connection.IsUnverified, false},
	{"503", connection.Undecided, fault.ProviderOverloaded, connection.Unverified, connection.IsUnverified, false},
	{"unreachable", connection.Undecided, fault.ProviderError, connection.Unverified, connection.IsUnverified, false},
	{"timeout", connection.Undecided, fault.ProviderTimeout, connection.Unverified, connection.IsUnverified, false},
}

func TestSavingShowsTheKeyToItsVendor(t *testing.T) {
	for _, a := range answers {
		for name, save := range map[string]func(*fixture) (connection.Connection, error){
			"create": func(f *fixture) (connection.Connection, error) {
				return f.create("c1", "openrouter", keyB, connection.Patch{})
			},
			"rotate": func(f *fixture) (connection.Connection, error) {
				return f.Rotate(f.Context(), f.op(), "a1", "c0", secret.FromString(keyB), time.Hour)
			},
			"patch": func(f *fixture) (connection.Connection, error) {
				return f.Update(f.Context(), f.op(), "a1", "c0", connection.Patch{Key: secret.FromString(keyB), Label: ptr("new")})
			},
		} {
			t.Run(a.name+"/"+name, func(t *testing.T) {
				f := setup(t)
				before := f.must(f.create("c0", "openrouter", keyA, connection.Patch{}))
				if err := connection.Cool(t.Context(), f.store, "a1", "c0", 401, 0, f.clock.Now()); err != nil {
					t.Fatal(err)
				}
				rows := len(f.rows.Rows())
				f.says(a.verdict, a.code)
				c, err := save(f)
				if f.asks.Asked[len(f.asks.Asked)-1] != keyB || len(f.asks.Asked) != 2 {
					t.Fatalf("the vendor was shown %v", f.asks.Asked)
				}
				if a.refused {
					f.refused(err, fault.InvalidRequest, "api_key")
					if !strings.HasPrefix(fault.As(err).Message, "the provider refused this key") {
						t.Errorf("%q", fault.As(err).Message)
					}
					heads, _ := f.vault.Heads(t.Context(), "a1")
					all, _ := f.store.Connections(t.Context(), "a1")
					if len(heads) != 1 || len(all) != 1 || all[0].Label != before.Label || f.opens(before) != keyA || len(f.rows.Rows()) != rows {
						t.Errorf("something was stored: %v %v", heads, all)
					}
					return
				}
				f.must(c, err)
				want := connection.Health{Status: a.health, Reason: string(a.code), Probe: connection.TestAuth, HTTPStatus: 418,
					CheckedAt: f.clock.Now(), Since: f.clock.Now(), LatencyMS: 9}
				stored, _ := f.store.Connection(t.Context(), "a1", c.ID)
				if stored.Health != want || connection.Usable(stored, f.clock.Now()) != a.usable || stored.Cooldown != (connection.Cooldown{}) {
					t.Errorf("%+v usable %q cooling %v, want %+v %q", stored.Health, connection.Usable(stored, f.clock.Now()), stored.Cooldown, want, a.usable)
				}
				if f.opens(stored) != keyB {
					t.Error("the key is not in the vault")
				}
			})
		}
	}
}

func TestAKeylessConnectionIsNotAskedAbout(t *testing.T) {
	f := setup(t)
	c := f.must(f.create("c1", "ollama", "", connection.Patch{BaseURL: ptr("https://llm.example/v1")}))
	if len(f.asks.Asked) != 0 || c.Health.Status != connection.Unknown || connection.Usable(c, f.clock.Now()) != connection.IsUsable {
		t.Errorf("%v %+v", f.asks.Asked, c.Health)
	}
	f.must(f.Update(t.Context(), f.op(), "a1", "c1", connection.Patch{Label: ptr("x")}))
	if len(f.asks.Asked) != 0 {
		t.Error("a change without a key asked the vendor")
	}
}

// TestAValidationIsNotRepeatedAfterALostRace: the vendor is asked once.
func TestAValidationIsNotRepeatedAfterALostRace(t *testing.T) {
	f := setup(t)
	f.must(f.create("c1", "openrouter", keyA, connection.Patch{}))
	races := 2
	f.store.Before = func(action string) error {
		if action == "update" && races > 0 {
			races--
			return connection.Cool(t.Context(), f.store, "a1", "c1", 401, 0, f.clock.Now())
		}
		return nil
	}
	r := f.must(f.Rotate(t.Context(), f.op(), "a1", "c1", secret.FromString(keyB), 0))
	if len(f.asks.Asked) != 2 || r.Cooldown != (connection.Cooldown{}) {
		t.Errorf("asked %v, cooling %v", f.asks.Asked, r.Cooldown)
	}
}

// TestValidationsAreCountedWhereTheKeyGoesToAVendor: also when the organisation
// names the vendor's host itself.
func TestValidationsAreCountedWhereTheKeyGoesToAVendor(t *testing.T) {
	key := func(i int) string { return fmt.Sprintf("sk-test-%024d", i) }
	for name, c := range map[string]struct {
		provider, base string
		counted        bool
	}{
		"vendor":                      {"openrouter", "", true},
		"vendor's host by its name":   {"openai_compatible", "https://OpenRouter.ai/api/v1", true},
		"endpoint":                    {"openai_compatible", "https://llm.example/v1", false},
		"a host opened for the stage": {"openrouter", "http://127.0.0.1:7001/v1", false},
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			n := 0
			save := func() error {
				n++
				p := connection.Patch{}
				if c.base != "" {
					p.BaseURL = ptr(c.base)
				}
				_, err := f.create(fmt.Sprint("c", n), c.provider, key(n), p)
				return err
			}
			for range 5 {
				if err := save(); err != nil {
					t.Fatal(err)
				}
			}
			err := save()
			if !c.counted {
				f.refused(err, "", "")
				return
			}
			f.refused(err, fault.RateLimited, "")
			if len(f.asks.Asked) != 5 {
				t.Fatalf("the vendor was shown %d keys", len(f.asks.Asked))
			}
			for range 3 {
				f.clock.Advance(time.Minute)
				for range 5 {
					if err := save(); err != nil {
						t.Fatal(err)
					}
				}
			}
			f.clock.Advance(time.Minute)
			f.refused(save(), fault.RateLimited, "")
			if wait := fault.As(save()).RetryAfter; wait != 56*time.Minute {
				t.Errorf("wait %v", wait)
			}
		})
	}
}

// TestWithoutACounterNothingIsAsked: what cannot be counted is refused.
func TestWithoutACounterNothingIsAsked(t *testing.T) {
	f := setup(t)
	f.store.Before = func(action string) error {
		if action == "take" {
			return fault.New(fault.Unavailable, "t", "down")
		}
		return nil
	}
	_, err := f.create("c1", "openrouter", keyA, connection.Patch{})
	f.refused(err, fault.Unavailable, "")
	if len(f.asks.Asked) != 0 {
		t.Error("the vendor was asked")
	}
}

func TestWarnings(t *testing.T) {
	f := setup(t)
	c := connection.Connection{Provider: taxonomy.OpenRouter}
	for name, w := range map[string]struct {
		key    string
		health connection.Health
		want   []string
	}{
		"usual":      {keyA, connection.Health{Status: connection.Healthy}, nil},
		"unusual":    {"other-key-of-a-vendor", connection.Health{Status: connection.Healthy}, []string{"sk-test-"}},
		"unverified": {keyA, connection.Health{Status: connection.Unverified, Reason: "provider_timeout"}, []string{"provider_timeout"}},
		"no quota":   {keyA, connection.Health{Status: connection.Failed}, []string{"quota"}},
		"both":       {"other-key-of-a-vendor", connection.Health{Status: connection.Unverified, Reason: "r"}, []string{"sk-test-", "(r)"}},
	} {
		c.Health = w.health
		got := f.Warnings(c, secret.FromString(w.key))
		if len(got) != len(w.want) || slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "other-key") || strings.Contains(s, "aaaa") }) {
			t.Errorf("%s: %q", name, got)
			continue
		}
		for i := range got {
			if !strings.Contains(got[i], w.want[i]) {
				t.Errorf("%s: %q lacks %q", name, got[i], w.want[i])
			}
		}
	}
}

func TestTest(t *testing.T) {
	f := setup(t)
	f.must(f.create("c1", "openrouter", keyA, connection.Patch{Models: &[]string{"x/y"}}))
	ask := func(id string, p connection.Probe, model string) error {
		_, err := f.Test(t.Context(), "a1", id, p, model, f.clock.Now())
		return err
	}
	f.refused(ask("c1", connection.TestVoice, ""), fault.InvalidRequest, "probe")
	f.refused(ask("c1", connection.TestText, "x/z"), fault.InvalidRequest, "model")
	f.refused(ask("c1", connection.TestText, strings.Repeat("m", 201)), fault.InvalidRequest, "model")
	f.refused(ask("nope", connection.TestText, ""), fault.NotFound, "")
	for _, model := range []string{"", "x/y", "openrouter/x/y"} {
		if err := ask("c1", connection.TestText, model); err != nil {
			t.Errorf("%q: %v", model, err)
		}
	}
	for range 7 {
		f.refused(ask("c1", connection.TestAuth, ""), "", "")
	}
	f.refused(ask("c1", connection.TestAuth, ""), fault.RateLimited, "")
	if len(f.asks.Probed) != 10 {
		t.Errorf("%d probes", len(f.asks.Probed))
	}
	for i := range 5 {
		id := fmt.Sprint("p", i)
		f.must(f.create(id, "openai_compatible", "", connection.Patch{BaseURL: ptr("https://" + id + ".example")}))
		f.Providers[1].Probes = []connection.Probe{connection.TestAuth}
		for range 10 {
			f.refused(ask(id, connection.TestAuth, ""), "", "")
		}
	}
	// 60 a minute over all connections.
	f.must(f.create("p9", "openai_compatible", "", connection.Patch{BaseURL: ptr("https://p9.example")}))
	f.refused(ask("p9", connection.TestAuth, ""), fault.RateLimited, "")
}
