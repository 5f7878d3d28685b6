package gateway_test

import (
	"slices"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/config"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

const (
	oldKey = "own-key-of-c1-0123456789"
	newKey = "new-key-of-c1-9876543210"
)

// rotate gives c1 a new key with an overlap.
func (r *rig) rotate(overlap time.Duration) {
	r.t.Helper()
	_, err := r.vault.Rotate(r.t.Context(), vault.Rotation{Ref: vault.Ref{Org: "acme", ID: "c1", Provider: "openrouter", Class: taxonomy.AIKey},
		Fields: map[string]secret.Text{"api_key": secret.FromString(newKey)}, Overlap: overlap, Op: vaulttest.Op()})
	check(r.t, err)
}

// TestARefusedNewKeyIsFollowedByTheOldOneOnce: inside the overlap, one more call
// in the same attempt, with the same hold and one outcome.
func TestARefusedNewKeyIsFollowedByTheOldOneOnce(t *testing.T) {
	for name, c := range map[string]struct {
		script  []any
		code    fault.Code
		suspect string
		log     []string
	}{
		"the old key works": {[]any{vendorFault(fault.ProviderKeyInvalid)}, "", "c1:",
			[]string{"reserve 1 byok P5 hold=false", "call m key=" + newKey, "call m key=" + oldKey, "used 1 completed"}},
		"both are refused": {[]any{vendorFault(fault.ProviderKeyInvalid), vendorFault(fault.ProviderKeyInvalid)}, fault.ProviderKeyInvalid,
			"c1:provider_key_invalid", []string{"reserve 1 byok P5 hold=false", "call m key=" + newKey, "call m key=" + oldKey, "used 1 refused",
				"cool c1 1 5m0s"}},
		"the old key fails otherwise": {[]any{vendorFault(fault.ProviderKeyInvalid), vendorFault(fault.ProviderRateLimited)}, fault.ProviderRateLimited,
			"c1:provider_rate_limited", []string{"reserve 1 byok P5 hold=false", "call m key=" + newKey, "call m key=" + oldKey, "used 1 refused",
				"cool c1 0 30s"}},
		"the new key works": {nil, "", "", []string{"reserve 1 byok P5 hold=false", "call m key=" + newKey, "used 1 completed"}},
		"another failure is no reason": {[]any{vendorFault(fault.ProviderRateLimited)}, fault.ProviderRateLimited, "",
			[]string{"reserve 1 byok P5 hold=false", "call m key=" + newKey, "used 1 refused", "cool c1 0 30s"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.connect("c1", "https://vendor.example", nil)
			r.rotate(time.Hour)
			r.script = c.script
			a, err := r.complete(gateway.Query{}, ask("openrouter/m"))
			wantCode(t, err, c.code)
			r.wantLog(c.log...)
			if c.suspect == "" && r.suspects != nil || c.suspect != "" && !slices.Equal(r.suspects, []string{c.suspect}) {
				t.Errorf("suspects %v, want %q", r.suspects, c.suspect)
			}
			if err == nil && (a.Info().Connection != "c1" || len(r.used) != 1) {
				t.Errorf("%+v, %d outcomes", a.Info(), len(r.used))
			}
		})
	}
}

func TestTheOldKeyEndsWithItsOverlap(t *testing.T) {
	refused := []string{"reserve 1 byok P5 hold=false", "call m key=" + newKey, "used 1 refused", "cool c1 1 5m0s"}
	for name, prepare := range map[string]func(*rig){
		"no overlap":        func(r *rig) { r.rotate(0) },
		"the overlap ended": func(r *rig) { r.rotate(time.Hour); r.now = r.now.Add(time.Hour) },
	} {
		r := newRig(t)
		r.connect("c1", "https://vendor.example", nil)
		prepare(r)
		r.script = []any{vendorFault(fault.ProviderKeyInvalid), answered("must not be reached")}
		_, err := r.complete(gateway.Query{}, ask("openrouter/m"))
		wantCode(t, err, fault.ProviderKeyInvalid)
		r.wantLog(refused...)
		if r.suspects != nil {
			t.Errorf("%s: suspects %v", name, r.suspects)
		}
	}
}

// TestThePlatformsKeyHasNoSecondTry: its overlap is the operator's business, and a
// refusal there must be seen.
func TestThePlatformsKeyHasNoSecondTry(t *testing.T) {
	r := newRig(t)
	ref := vault.Ref{Org: "house", ID: "p1", Provider: "openrouter", Class: taxonomy.AIKey}
	_, err := r.vault.Create(t.Context(), vault.NewCredential{Ref: ref, Origin: "https://vendor.example",
		Fields: map[string]secret.Text{"api_key": secret.FromString(oldKey)}, Op: vaulttest.Op()})
	check(t, err)
	_, err = r.vault.Rotate(t.Context(), vault.Rotation{Ref: ref, Fields: map[string]secret.Text{"api_key": secret.FromString(newKey)}, Overlap: time.Hour, Op: vaulttest.Op()})
	check(t, err)
	r.platform = map[taxonomy.Provider]config.PlatformCredential{taxonomy.OpenRouter: {VaultRef: "house/p1"}}
	r.script = []any{vendorFault(fault.ProviderKeyInvalid)}
	_, err = r.complete(gateway.Query{}, ask("openrouter/m"))
	wantCode(t, err, fault.ProviderKeyInvalid)
	r.wantLog("reserve 1 platform P7 hold=true", "call m key="+newKey, "used 1 refused")
}

func TestARolledBackKeyIsLive(t *testing.T) {
	r := newRig(t)
	r.connect("c1", "https://vendor.example", nil)
	r.rotate(time.Hour)
	_, err := r.vault.Rollback(t.Context(), vault.Ref{Org: "acme", ID: "c1", Provider: "openrouter", Class: taxonomy.AIKey}, "api_key", vaulttest.Op())
	check(t, err)
	_, err = r.complete(gateway.Query{}, ask("openrouter/m"))
	check(t, err)
	r.wantLog("reserve 1 byok P5 hold=false", "call m key="+oldKey, "used 1 completed")
}

// TestAStreamIsRetriedBeforeItsFirstByte: the second try happens before anything
// reached the client.
func TestAStreamIsRetriedBeforeItsFirstByte(t *testing.T) {
	r := newRig(t)
	r.connect("c1", "https://vendor.example", nil)
	r.rotate(time.Hour)
	r.script = []any{vendorFault(fault.ProviderKeyInvalid), []any{}}
	g := r.gateway()
	s, err := g.Stream(t.Context(), r.caller(g), gateway.Query{}, ask("openrouter/m"))
	check(t, err)
	check(t, s.Close())
	r.wantLog("reserve 1 byok P5 hold=false", "call m key="+newKey, "call m key="+oldKey, "used 1 partial", "closed")
}

// TestAnotherOrganisationsKeyIsNeverUsed: a connection whose id belongs to a
// credential of another organisation has no key.
func TestAnotherOrganisationsKeyIsNeverUsed(t *testing.T) {
	r := newRig(t)
	_, err := r.vault.Create(t.Context(), vault.NewCredential{Ref: vault.Ref{Org: "other", ID: "c1", Provider: "openrouter", Class: taxonomy.AIKey},
		Origin: "https://vendor.example", Fields: map[string]secret.Text{"api_key": secret.FromString(oldKey)}, Op: vaulttest.Op()})
	check(t, err)
	r.store.config.Connections = []connection.Connection{{ID: "c1", Org: "acme", Provider: taxonomy.OpenRouter, Enabled: true, Status: connection.Active,
		BillingSource: taxonomy.BYOK, Class: taxonomy.AIKey, Version: 1, CreatedAt: r.now}}
	_, err = r.complete(gateway.Query{}, ask("openrouter/m"))
	wantCode(t, err, fault.BYOKUnavailable)
	if r.log != nil {
		t.Errorf("log %v", r.log)
	}
}

// TestUnverifiedAndFailedConnectionsAreNotUsed, nor replaced by the platform.
func TestUnverifiedAndFailedConnectionsAreNotUsed(t *testing.T) {
	for status, usable := range map[connection.HealthStatus]bool{connection.Healthy: true, connection.Unknown: true,
		connection.Unverified: false, connection.Failed: false} {
		r := newRig(t)
		r.connect("c1", "https://vendor.example", func(c *connection.Connection) { c.Health.Status = status })
		_, err := r.complete(gateway.Query{}, ask("openrouter/m"))
		if usable {
			check(t, err)
			continue
		}
		wantCode(t, err, fault.BYOKUnavailable)
		if r.log != nil {
			t.Errorf("%s: log %v", status, r.log)
		}
	}
}

// TestEachConnectionsOwnBaseURL is where its key goes.
func TestEachConnectionsOwnBaseURL(t *testing.T) {
	r := newRig(t)
	r.connect("c1", "https://one.example", func(c *connection.Connection) { c.BaseURL, c.Models = "https://one.example/v1", []string{"m"} })
	r.connect("c2", "https://two.example:8443", func(c *connection.Connection) { c.BaseURL = "https://two.example:8443/llm" })
	for model, want := range map[string]string{"openrouter/m": "https://one.example/v1", "openrouter/second": "https://two.example:8443/llm"} {
		r.calls = nil
		_, err := r.complete(gateway.Query{}, ask(model))
		check(t, err)
		if len(r.calls) != 1 || r.calls[0].BaseURL != want {
			t.Errorf("%s went to %v", model, r.calls)
		}
	}
}
