package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

const byokKey = "sk-or-CNRYb7720d11BYOKKEY0000000001"

type connected struct {
	ID            string
	Hint          string
	BillingSource string `json:"billing_source"`
}

// connect adds a private endpoint connection to the simulated vendor.
func (x *tenant) connect(key string, more map[string]any) connected {
	x.t.Helper()
	body := map[string]any{"provider": "openai_compatible", "label": "own", "api_key": key, "base_url": vendorURL + "/v1"}
	for k, v := range more {
		body[k] = v
	}
	var c connected
	x.call(http.MethodPost, "/connections", body, &c)
	return c
}

func TestOwnKeyIsUsedOnlyForItsOwner(t *testing.T) {
	a, b := newTenant(t, "enterprise", 1_000_000), newTenant(t, "enterprise", 1_000_000)
	ca := a.connect(byokKey+"A", map[string]any{"billing_source": "byok"})
	b.connect(byokKey+"B", nil)
	if strings.Contains(ca.Hint, byokKey) || !strings.HasSuffix(ca.Hint, "001A") || ca.BillingSource != "byok" {
		t.Errorf("connection: %+v", ca)
	}
	for _, c := range []struct {
		x      *tenant
		key    string
		source string
	}{{a, byokKey + "A", "byok"}, {b, byokKey + "B", "private"}} {
		vendor.Reset()
		got := post(t, world.BaseURL+"/v1/chat/completions", c.x.Key, chatBody("openai_compatible/own-model", "mine", false))
		if got.Status != http.StatusOK || got.Header.Get("x-latchkey-billing-source") != c.source {
			t.Fatalf("%d %s %v", got.Status, got.Body, got.Header)
		}
		calls := vendor.Calls()
		if len(calls) != 1 || calls[0].KeyHash != mockvendor.Hash(c.key) || calls[0].Model != "own-model" {
			t.Errorf("vendor saw %+v", calls)
		}
		if after := c.x.settled(); after.Posted != 1_000_000 {
			t.Errorf("an own key was charged: %+v", after)
		}
		c.x.consistent()
		// There is no hold whose end could be waited for.
		eventually(t, "the usage entry of amount 0", func() bool {
			for _, e := range c.x.entries() {
				if e.Kind == "usage" && e.Amount == 0 && e.BillingSource == c.source {
					return true
				}
			}
			return false
		})
	}
}

func TestUnusableConnectionIsNotReplacedByThePlatform(t *testing.T) {
	x := newTenant(t, "enterprise", 1_000_000)
	c := x.connect(byokKey+"C", nil)
	x.call(http.MethodPatch, "/connections/"+c.ID, map[string]any{"enabled": false}, nil)
	vendor.Reset()
	got := post(t, world.BaseURL+"/v1/chat/completions", x.Key, chatBody("openai_compatible/sim-chat", "mine", false))
	if got.Status != http.StatusFailedDependency || got.code() != "byok_unavailable" || len(vendor.Calls()) != 0 {
		t.Errorf("%d %s, %d vendor calls", got.Status, got.Body, len(vendor.Calls()))
	}
	forced := post(t, world.BaseURL+"/v1/chat/completions", x.Key, chatBody("openai_compatible/sim-chat", "mine", false), "x-latchkey-billing", "byok")
	if forced.Status != http.StatusFailedDependency || forced.code() != "byok_unavailable" {
		t.Errorf("forced byok: %d %s", forced.Status, forced.Body)
	}
}

func TestFreeTierHasNoOwnKeys(t *testing.T) {
	x := newTenant(t, "free", 0)
	got := post(t, world.BaseURL+"/api/orgs/"+x.ID+"/connections", x.Key,
		map[string]any{"provider": "openrouter", "label": "own", "api_key": byokKey + "D"})
	if got.Status != http.StatusForbidden || got.code() != "billing_denied" || !strings.Contains(string(got.Body), "enterprise") {
		t.Errorf("%d %s", got.Status, got.Body)
	}
	forced := post(t, world.BaseURL+"/v1/chat/completions", x.Key, chatBody(simChat, "x", false), "x-latchkey-billing", "byok")
	if forced.Status != http.StatusForbidden || forced.code() != "billing_denied" {
		t.Errorf("%d %s", forced.Status, forced.Body)
	}
}

func TestRotatedAndRevokedKeys(t *testing.T) {
	x := newTenant(t, "enterprise", 0)
	c := x.connect(byokKey+"E", nil)
	chat := func() answer {
		return post(t, world.BaseURL+"/v1/chat/completions", x.Key, chatBody("openai_compatible/m", "rotate", false))
	}
	if a := chat(); a.Status != http.StatusOK {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	x.call(http.MethodPost, "/connections/"+c.ID+"/rotate", map[string]any{"api_key": byokKey + "F"}, nil)
	vendor.Reset()
	if a := chat(); a.Status != http.StatusOK {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	if calls := vendor.Calls(); len(calls) != 1 || calls[0].KeyHash != mockvendor.Hash(byokKey+"F") {
		t.Errorf("after the rotation the vendor saw %+v", calls)
	}
	x.call(http.MethodPost, "/connections/"+c.ID+"/revoke", map[string]any{}, nil)
	vendor.Reset()
	if a := chat(); a.Status != http.StatusFailedDependency || len(vendor.Calls()) != 0 {
		t.Errorf("after revoking: %d %s, %d calls", a.Status, a.Body, len(vendor.Calls()))
	}
}

func TestForeignOrganisationsAreInvisible(t *testing.T) {
	a, b := newTenant(t, "enterprise", 1000), newTenant(t, "enterprise", 1000)
	c := b.connect(byokKey+"G", nil)
	for _, path := range []string{"", "/credits", "/entries", "/keys", "/connections/" + c.ID, "/settings", "/audit"} {
		got := a.admin.Call(t.Context(), http.MethodGet, "/api/orgs/"+b.ID+path, nil, nil)
		if statusOf(got) != http.StatusNotFound {
			t.Errorf("GET %s of another organisation: %v", path, got)
		}
	}
}
