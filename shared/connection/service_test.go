package connection_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/connection/connectiontest"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/org/orgtest"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

const (
	keyA = "sk-test-aaaaaaaaaaaaaaaaaaaaaaaa1111"
	keyB = "sk-test-bbbbbbbbbbbbbbbbbbbbbbbb2222"
)

type fixture struct {
	*testing.T
	*connection.Service
	store *connectiontest.Memory
	rows  *orgtest.Memory
	vault *vault.Vault
	vs    *vaulttest.Store
	clock *vaulttest.Clock
	o     org.Org
	n     int
}

func setup(t *testing.T) *fixture {
	f := &fixture{T: t, rows: orgtest.NewMemory(), vs: vaulttest.NewStore(), clock: vaulttest.NewClock(),
		o: org.Org{ID: "a1", Tier: taxonomy.Enterprise, Status: org.Active}}
	f.store = connectiontest.NewMemory(f.rows)
	var err error
	if f.vault, err = vault.New(vault.Options{Store: f.vs, KEK: vaulttest.NewKEK(), Fields: vaulttest.Fields(), Now: f.clock.Now, App: "latchkey", Stage: "test"}); err != nil {
		t.Fatal(err)
	}
	f.Service = &connection.Service{Store: f.store, Vault: f.vault, Providers: []connection.Provider{
		{ID: taxonomy.OpenRouter, DefaultBaseURL: "https://openrouter.ai/api/v1", KeyRequired: true, DefaultBilling: taxonomy.BYOK,
			Capabilities: []taxonomy.Capability{taxonomy.CapText}, CheckKey: checkKey, CheckURL: checkURL},
		{ID: taxonomy.OpenAICompatible, DefaultBilling: taxonomy.Private, CheckKey: checkKey, CheckURL: checkURL},
	}}
	return f
}

func checkKey(k secret.Text) error {
	if k.Len() < 8 {
		return fault.New(fault.InvalidRequest, "t", "too short").WithParam("api_key")
	}
	return nil
}

func checkURL(s string) error {
	if strings.Contains(s, "169.254") {
		return fault.New(fault.InvalidRequest, "t", "address not allowed").WithParam("base_url")
	}
	return nil
}

func (f *fixture) op() audit.Op {
	f.n++
	return audit.Op{Actor: "key:k1", ID: "op" + string(rune('a'+f.n)), At: f.clock.Now()}
}

func (f *fixture) create(id, provider, key string, p connection.Patch) (connection.Connection, error) {
	return f.Create(f.Context(), f.op(), f.o, nil, connection.Draft{ID: id, Provider: provider, Key: secret.FromString(key), Patch: p})
}

func (f *fixture) must(c connection.Connection, err error) connection.Connection {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
	return c
}

func (f *fixture) refused(err error, code fault.Code, param string) {
	f.Helper()
	if fault.CodeOf(err) != code || fault.As(err).Param != param {
		f.Fatalf("got %v param %q, want code %q param %q", err, fault.As(err).Param, code, param)
	}
}

// opens reads the stored key back as a caller of the vendor would.
func (f *fixture) opens(c connection.Connection) string {
	f.Helper()
	cred, err := f.vault.Load(f.Context(), c.Org, c.Class, c.ID)
	if err != nil {
		return "error " + string(vault.ReasonOf(err))
	}
	out := ""
	err = f.vault.Reveal(f.Context(), cred, vault.Use{Field: connection.KeyField, Purpose: "test"},
		func(b []byte) error { out = string(b); return nil })
	if err != nil {
		return "error " + string(vault.ReasonOf(err))
	}
	return out
}

func ptr[T any](v T) *T { return &v }

func TestCreateDefaults(t *testing.T) {
	f := setup(t)
	c := f.must(f.create("c1", "OpenRouter", keyA, connection.Patch{}))
	if c.Provider != "openrouter" || c.BillingSource != taxonomy.BYOK || !c.Enabled || c.AllowPlatformFallback || c.Keyless ||
		c.Class != taxonomy.AIKey || c.Origin != "https://openrouter.ai" || c.Hint != "1111" || c.Fingerprint == "" || c.Priority != 0 ||
		connection.Usable(c, at) != connection.IsUsable {
		t.Fatalf("%+v", c)
	}
	if f.opens(c) != keyA {
		t.Fatal("the vault does not hold the key")
	}
	second := f.must(f.create("c2", "openrouter", keyB, connection.Patch{Label: ptr("Second")}))
	if second.Priority != 1 {
		t.Fatalf("priority %d, want the position", second.Priority)
	}
	local := f.must(f.create("c3", "ollama", "", connection.Patch{BaseURL: ptr("https://llm.example:8443/v1/")}))
	if local.Provider != "openai_compatible" || local.BillingSource != taxonomy.Private || !local.Keyless || local.Fingerprint != "" ||
		local.BaseURL != "https://llm.example:8443/v1" || local.Origin != "https://llm.example:8443" {
		t.Fatalf("%+v", local)
	}
	if _, err := f.vault.Head(t.Context(), "a1", taxonomy.AIKey, "c3"); fault.CodeOf(err) != fault.NotFound {
		t.Fatal("a keyless connection has a vault item")
	}
	for _, row := range f.rows.Rows() {
		if b, _ := json.Marshal(row); strings.Contains(string(b), "aaaaaaaa") || strings.Contains(string(b), "bbbbbbbb") {
			t.Fatalf("audit row holds a key: %s", b)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		tier          taxonomy.Tier
		provider, key string
		patch         connection.Patch
		code          fault.Code
		param         string
	}{
		"tier free":         {"free", "openrouter", keyA, connection.Patch{}, fault.BillingDenied, ""},
		"tier pro":          {"pro", "openrouter", keyA, connection.Patch{}, fault.BillingDenied, ""},
		"no adapter":        {"", "anthropic", keyA, connection.Patch{}, fault.InvalidRequest, "provider"},
		"no provider":       {"", "nobody", keyA, connection.Patch{}, fault.InvalidRequest, "provider"},
		"key missing":       {"", "openrouter", "", connection.Patch{}, fault.InvalidRequest, "api_key"},
		"key short":         {"", "openrouter", "k", connection.Patch{}, fault.InvalidRequest, "api_key"},
		"key masked dots":   {"", "openrouter", "sk-or...1111", connection.Patch{}, fault.InvalidRequest, "api_key"},
		"key masked stars":  {"", "openrouter", "********1111", connection.Patch{}, fault.InvalidRequest, "api_key"},
		"key masked bullet": {"", "openrouter", "••••••••1111", connection.Patch{}, fault.InvalidRequest, "api_key"},
		"key our mask":      {"", "openrouter", secret.Mask + secret.Mask, connection.Patch{}, fault.InvalidRequest, "api_key"},
		"no endpoint":       {"", "openai_compatible", keyA, connection.Patch{}, fault.InvalidRequest, "base_url"},
		"endpoint checked":  {"", "openai_compatible", keyA, connection.Patch{BaseURL: ptr("https://169.254.169.254/")}, fault.InvalidRequest, "base_url"},
		"endpoint relative": {"", "openai_compatible", keyA, connection.Patch{BaseURL: ptr("/v1")}, fault.InvalidRequest, "base_url"},
		"endpoint ftp":      {"", "openai_compatible", keyA, connection.Patch{BaseURL: ptr("ftp://x.example")}, fault.InvalidRequest, "base_url"},
		"endpoint userinfo": {"", "openai_compatible", keyA, connection.Patch{BaseURL: ptr("https://u:p@x.example")}, fault.InvalidRequest, "base_url"},
		"endpoint query":    {"", "openai_compatible", keyA, connection.Patch{BaseURL: ptr("https://x.example/?k=v")}, fault.InvalidRequest, "base_url"},
		"platform source":   {"", "openrouter", keyA, connection.Patch{BillingSource: ptr("platform")}, fault.InvalidRequest, "billing_source"},
		"empty model":       {"", "openrouter", keyA, connection.Patch{Models: &[]string{""}}, fault.InvalidRequest, "models"},
		"model twice":       {"", "openrouter", keyA, connection.Patch{Models: &[]string{"a", "a"}}, fault.InvalidRequest, "models"},
		"too many models":   {"", "openrouter", keyA, connection.Patch{Models: ptr(make([]string, 201))}, fault.InvalidRequest, "models"},
		"priority":          {"", "openrouter", keyA, connection.Patch{Priority: ptr(int64(-1))}, fault.InvalidRequest, "priority"},
		"label":             {"", "openrouter", keyA, connection.Patch{Label: ptr("")}, fault.InvalidRequest, "label"},
		"voice":             {"", "openrouter", keyA, connection.Patch{DefaultVoiceID: ptr("a b")}, fault.InvalidRequest, "default_voice_id"},
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			if c.tier != "" {
				f.o.Tier = c.tier
			}
			_, err := f.create("c1", c.provider, c.key, c.patch)
			f.refused(err, c.code, c.param)
			if c.code == fault.BillingDenied && !strings.Contains(fault.As(err).Message, "agency or enterprise") {
				t.Errorf("%q does not say which tier has it", fault.As(err).Message)
			}
			heads, _ := f.vault.Heads(t.Context(), "a1")
			all, _ := f.store.Connections(t.Context(), "a1")
			if len(heads)+len(all) != 0 {
				t.Errorf("left behind: %v %v", heads, all)
			}
		})
	}
}

func TestOneConnectionPerKey(t *testing.T) {
	f := setup(t)
	c := f.must(f.create("c1", "openrouter", keyA, connection.Patch{}))
	_, err := f.create("c2", "openrouter", keyA, connection.Patch{})
	f.refused(err, fault.Conflict, "api_key")
	f.must(f.Revoke(t.Context(), f.op(), "a1", c.ID))
	f.must(f.create("c3", "openrouter", keyA, connection.Patch{}))
}

func TestBaseURLNeedsTheKeyAgain(t *testing.T) {
	f := setup(t)
	c := f.must(f.create("c1", "openai_compatible", keyA, connection.Patch{BaseURL: ptr("https://x.example/v1")}))
	_, err := f.Update(t.Context(), f.op(), "a1", c.ID, connection.Patch{BaseURL: ptr("https://evil.example/v1")})
	f.refused(err, fault.InvalidRequest, "api_key")
	if again, _ := f.store.Connection(t.Context(), "a1", c.ID); again.BaseURL != c.BaseURL {
		t.Fatal("the refused change was stored")
	}
	f.must(f.Update(t.Context(), f.op(), "a1", c.ID, connection.Patch{BaseURL: ptr("https://x.example/v1"), Label: ptr("same place")}))
	moved := f.must(f.Update(t.Context(), f.op(), "a1", c.ID, connection.Patch{BaseURL: ptr("https://y.example/v1"), Key: secret.FromString(keyB)}))
	if moved.Origin != "https://y.example" || f.opens(moved) != keyB {
		t.Fatalf("%+v opens %q", moved, f.opens(moved))
	}
	head, _ := f.vault.Head(t.Context(), "a1", taxonomy.AIKey, c.ID)
	if head.Origin != "https://y.example" {
		t.Fatalf("the vault allows %q", head.Origin)
	}
	local := f.must(f.create("c2", "openai_compatible", "", connection.Patch{BaseURL: ptr("https://l.example")}))
	f.must(f.Update(t.Context(), f.op(), "a1", local.ID, connection.Patch{BaseURL: ptr("https://m.example")}))
	keyed := f.must(f.Rotate(t.Context(), f.op(), "a1", local.ID, secret.FromString(keyA)))
	if keyed.Keyless || f.opens(keyed) != keyA {
		t.Fatalf("%+v", keyed)
	}
}

func TestRotationEndsTheCooldown(t *testing.T) {
	f := setup(t)
	c := f.must(f.create("c1", "openrouter", keyA, connection.Patch{}))
	if err := connection.Cool(t.Context(), f.store, "a1", c.ID, 401, 0, f.clock.Now()); err != nil {
		t.Fatal(err)
	}
	if cooled, _ := f.store.Connection(t.Context(), "a1", c.ID); connection.Usable(cooled, f.clock.Now()) != connection.IsCooling {
		t.Fatal("not cooling")
	}
	r := f.must(f.Rotate(t.Context(), f.op(), "a1", c.ID, secret.FromString(keyB)))
	if r.Cooldown != (connection.Cooldown{}) || r.Hint != "2222" || r.Fingerprint == c.Fingerprint || f.opens(r) != keyB {
		t.Fatalf("%+v", r)
	}
	_, err := f.Rotate(t.Context(), f.op(), "a1", c.ID, secret.FromString(keyB))
	f.refused(err, fault.Conflict, "api_key")
	_, err = f.Rotate(t.Context(), f.op(), "a1", c.ID, secret.FromString("sk-te...2222"))
	f.refused(err, fault.InvalidRequest, "api_key")
	_, err = f.Rotate(t.Context(), f.op(), "a1", c.ID, secret.Text{})
	f.refused(err, fault.InvalidRequest, "api_key")
	_, err = f.Rotate(t.Context(), f.op(), "a2", c.ID, secret.FromString(keyA))
	f.refused(err, fault.NotFound, "")
}

// TestACooldownInBetweenDoesNotRotateTwice lets a failing call write between the
// read and the write of a rotation.
func TestACooldownInBetweenDoesNotRotateTwice(t *testing.T) {
	f := setup(t)
	c := f.must(f.create("c1", "openrouter", keyA, connection.Patch{}))
	f.must(f.create("c2", "openrouter", "sk-test-cccccccccccccccccccccccc3333", connection.Patch{}))
	once := true
	f.store.Before = func(action string) error {
		if action == "update" && once {
			once = false
			return connection.Cool(t.Context(), f.store, "a1", c.ID, 401, 0, f.clock.Now())
		}
		return nil
	}
	r := f.must(f.Rotate(t.Context(), f.op(), "a1", c.ID, secret.FromString(keyB)))
	head, _ := f.vault.Head(t.Context(), "a1", taxonomy.AIKey, c.ID)
	if head.ActiveVersion != 2 || r.Cooldown != (connection.Cooldown{}) || f.opens(r) != keyB {
		t.Fatalf("version %d, %+v", head.ActiveVersion, r)
	}
}

func TestRevokeAndDelete(t *testing.T) {
	f := setup(t)
	c := f.must(f.create("c1", "openrouter", keyA, connection.Patch{}))
	r := f.must(f.Revoke(t.Context(), f.op(), "a1", c.ID))
	if connection.Usable(r, at) != connection.IsRevoked || !strings.HasPrefix(f.opens(r), "error") {
		t.Fatalf("%+v still opens", r)
	}
	if again := f.must(f.Revoke(t.Context(), f.op(), "a1", c.ID)); again.Version != r.Version {
		t.Fatal("a second revoke wrote again")
	}
	_, err := f.Rotate(t.Context(), f.op(), "a1", c.ID, secret.FromString(keyB))
	f.refused(err, fault.Conflict, "")
	if err := f.Delete(t.Context(), f.op(), "a1", c.ID); err != nil {
		t.Fatal(err)
	}
	f.refused(f.Delete(t.Context(), f.op(), "a1", c.ID), fault.NotFound, "")
	// A vendor that lost its adapter must not keep people from ending its keys.
	d := f.must(f.create("c2", "openrouter", keyB, connection.Patch{}))
	f.Providers = nil
	if err := f.Delete(t.Context(), f.op(), "a1", d.ID); err != nil || !strings.HasPrefix(f.opens(d), "error") {
		t.Fatalf("%v, opens %q", err, f.opens(d))
	}
}

// TestCrashes stops after each step that another store does and repeats.
func TestCrashes(t *testing.T) {
	crash := fault.Wrap(fault.Unavailable, "t", "down", errors.New("down"))
	t.Run("create leaves no usable key behind", func(t *testing.T) {
		f := setup(t)
		f.store.Before = func(string) error { return crash }
		_, err := f.create("c1", "openrouter", keyA, connection.Patch{})
		f.refused(err, fault.Unavailable, "")
		f.store.Before = nil
		f.must(f.create("c2", "openrouter", keyA, connection.Patch{}))
	})
	t.Run("a key without connection is cleaned up by the next create", func(t *testing.T) {
		f := setup(t)
		orphan := connection.Connection{Org: "a1", ID: "dead", Provider: "openrouter", Class: taxonomy.AIKey}
		if _, err := f.vault.Create(t.Context(), vault.NewCredential{Op: vaulttest.Op(), Ref: orphan.Ref(), Origin: "https://openrouter.ai",
			Fields: map[string]secret.Text{connection.KeyField: secret.FromString(keyA)}}); err != nil {
			t.Fatal(err)
		}
		_, err := f.create("c1", "openrouter", keyA, connection.Patch{})
		f.refused(err, fault.Conflict, "api_key") // it may be a create that still runs
		f.clock.Advance(3 * time.Minute)
		c := f.must(f.create("c1", "openrouter", keyA, connection.Patch{}))
		if f.opens(c) != keyA || !strings.HasPrefix(f.opens(orphan), "error") {
			t.Fatal("the orphan was not replaced")
		}
	})
	t.Run("a rotation that stopped half way is finished by its repeat", func(t *testing.T) {
		f := setup(t)
		c := f.must(f.create("c1", "openrouter", keyA, connection.Patch{}))
		f.store.Before = func(string) error { return crash }
		_, err := f.Rotate(t.Context(), f.op(), "a1", c.ID, secret.FromString(keyB))
		f.refused(err, fault.Unavailable, "")
		f.store.Before = nil
		r := f.must(f.Rotate(t.Context(), f.op(), "a1", c.ID, secret.FromString(keyB)))
		if r.Hint != "2222" || f.opens(r) != keyB {
			t.Fatalf("%+v", r)
		}
	})
	t.Run("a half rotation never passes another connection's key off", func(t *testing.T) {
		f := setup(t)
		c := f.must(f.create("c1", "openrouter", keyA, connection.Patch{}))
		f.must(f.create("c2", "openrouter", "sk-test-cccccccccccccccccccccccc3333", connection.Patch{}))
		f.store.Before = func(string) error { return crash }
		_, _ = f.Rotate(t.Context(), f.op(), "a1", c.ID, secret.FromString(keyB))
		f.store.Before = nil
		_, err := f.Rotate(t.Context(), f.op(), "a1", c.ID, secret.FromString("sk-test-cccccccccccccccccccccccc3333"))
		f.refused(err, fault.Conflict, "api_key")
	})
	t.Run("a revoke that stopped half way is finished by its repeat", func(t *testing.T) {
		f := setup(t)
		c := f.must(f.create("c1", "openrouter", keyA, connection.Patch{}))
		f.vs.FailWrites(func() vaulttest.WriteFault { return vaulttest.FailBefore })
		_, err := f.Revoke(t.Context(), f.op(), "a1", c.ID)
		f.refused(err, fault.VaultUnavailable, "")
		if half, _ := f.store.Connection(context.Background(), "a1", c.ID); connection.Usable(half, at) != connection.IsRevoked {
			t.Fatal("the connection is still selected")
		}
		f.vs.FailWrites(nil)
		f.must(f.Revoke(t.Context(), f.op(), "a1", c.ID))
		if !strings.HasPrefix(f.opens(c), "error") {
			t.Fatal("the key still opens")
		}
	})
}
