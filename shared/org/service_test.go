package org_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/limit"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/org/orgtest"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

func TestMemoryStore(t *testing.T) {
	orgtest.Run(t, func(*testing.T) orgtest.Stores {
		m := orgtest.NewMemory()
		return orgtest.Stores{Orgs: m, Keys: m, Config: m, Sharing: m, Audit: m}
	})
}

// ledger counts what was opened and can fail.
type ledger struct {
	opened []string
	err    error
}

func (l *ledger) OpenAccount(_ context.Context, id string, _ time.Time) error {
	l.opened = append(l.opened, id)
	return l.err
}

func service() (*org.Service, *orgtest.Memory, *ledger) {
	m, l := orgtest.NewMemory(), &ledger{}
	return &org.Service{Orgs: m, Keys: m, Config: m, Ledger: l, Sharing: m, Random: rand.Reader}, m, l
}

func want(t *testing.T, err error, code fault.Code, param string) {
	t.Helper()
	if fault.CodeOf(err) != code || err != nil && fault.As(err).Param != param {
		t.Fatalf("got %v, want code %q param %q", err, code, param)
	}
}

func TestCreateOpensTheAccountFirstAndRepeats(t *testing.T) {
	s, m, l := service()
	ctx, d := t.Context(), org.Draft{ID: "o1", Name: "Acme", Tier: taxonomy.Free}
	l.err = fault.New(fault.LedgerUnavailable, "t", "down")
	_, err := s.Create(ctx, orgtest.Op("a"), d)
	want(t, err, fault.LedgerUnavailable, "")
	if _, err := m.Org(ctx, "o1"); fault.CodeOf(err) != fault.NotFound {
		t.Fatal("an organisation without an account exists")
	}
	l.err = nil
	o, err := s.Create(ctx, orgtest.Op("b"), d)
	if err != nil || o.Status != org.Active || o.LedgerMode != "credit" || o.SettingsVersion != 0 || len(l.opened) != 2 {
		t.Fatalf("%+v, %v, opened %v", o, err, l.opened)
	}
	again, err := s.Create(ctx, orgtest.Op("c"), d)
	if err != nil || !reflect.DeepEqual(again, o) || len(m.Rows()) != 1 {
		t.Fatalf("the repeat gave %+v, %v and %d rows", again, err, len(m.Rows()))
	}
	d.Name = "Other"
	_, err = s.Create(ctx, orgtest.Op("d"), d)
	want(t, err, fault.Conflict, "")
}

func TestCreateRefuses(t *testing.T) {
	s, _, _ := service()
	ctx := t.Context()
	for _, d := range []org.Draft{{ID: "free", Name: "F", Tier: taxonomy.Free}, {ID: "agency", Name: "A", Tier: taxonomy.Agency},
		{ID: "client", Name: "C", Tier: taxonomy.Free, ParentID: "agency"}} {
		if _, err := s.Create(ctx, orgtest.Op("ok-"+d.ID), d); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		d     org.Draft
		code  fault.Code
		param string
	}{
		"operator id":    {org.Draft{ID: "operator", Name: "x", Tier: "free"}, fault.InvalidRequest, "id"},
		"platform id":    {org.Draft{ID: "Platform", Name: "x", Tier: "free"}, fault.InvalidRequest, "id"},
		"underscore":     {org.Draft{ID: "a_b", Name: "x", Tier: "free"}, fault.InvalidRequest, "id"},
		"no name":        {org.Draft{ID: "n", Name: " ", Tier: "free"}, fault.InvalidRequest, "name"},
		"control name":   {org.Draft{ID: "n", Name: "a\x00b", Tier: "free"}, fault.InvalidRequest, "name"},
		"long name":      {org.Draft{ID: "n", Name: strings.Repeat("n", 121), Tier: "free"}, fault.InvalidRequest, "name"},
		"tier":           {org.Draft{ID: "n", Name: "x", Tier: "gold"}, fault.InvalidRequest, "tier"},
		"limits":         {org.Draft{ID: "n", Name: "x", Tier: "free", Limits: org.Limits{Concurrent: -1}}, fault.InvalidRequest, "limits"},
		"budget period":  {org.Draft{ID: "n", Name: "x", Tier: "free", Limits: org.Limits{Budget: limit.Budget{Amount: 1}}}, fault.InvalidRequest, "limits"},
		"no parent":      {org.Draft{ID: "n", Name: "x", Tier: "free", ParentID: "ghost"}, fault.InvalidRequest, "parent_org_id"},
		"two levels":     {org.Draft{ID: "n", Name: "x", Tier: "free", ParentID: "client"}, fault.InvalidRequest, "parent_org_id"},
		"not an agency":  {org.Draft{ID: "n", Name: "x", Tier: "free", ParentID: "free"}, fault.BillingDenied, ""},
		"reserved owner": {org.Draft{ID: "n", Name: "x", Tier: "free", ParentID: "operator"}, fault.InvalidRequest, "parent_org_id"},
	} {
		_, err := s.Create(ctx, orgtest.Op("no"), c.d)
		if fault.CodeOf(err) != c.code || fault.As(err).Param != c.param {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeysAreIssuedOnceAndRevoked(t *testing.T) {
	s, m, _ := service()
	ctx, now := t.Context(), orgtest.Now()
	k, text, err := s.IssueKey(ctx, orgtest.Op("a"), "o1", org.KeyDraft{ID: "k1", Name: "CI", Scopes: []org.Scope{org.ScopeInvoke}})
	if err != nil {
		t.Fatal(err)
	}
	plain := reveal(t, text)
	got, err := s.Lookup(ctx, plain, now)
	if err != nil || got.ID != k.ID || !got.Has(org.ScopeInvoke) || got.Has(org.ScopeAdmin) {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, row := range m.Rows() {
		if b, _ := json.Marshal(row); strings.Contains(string(b), plain[len(plain)-20:]) {
			t.Fatal("the audit row holds the key")
		}
	}
	if err := s.RevokeKey(ctx, orgtest.Op("b"), "o1", "k1"); err != nil {
		t.Fatal(err)
	}
	_, err = s.Lookup(ctx, plain, now)
	want(t, err, fault.GatewayAuth, "")
	_, _, err = s.IssueKey(ctx, orgtest.Op("c"), "o1", org.KeyDraft{ID: "k2", Name: "x", Scopes: []org.Scope{"admin"}, ExpiresAt: now})
	want(t, err, fault.InvalidRequest, "expires_at")
	_, _, err = s.IssueKey(ctx, orgtest.Op("d"), "o1", org.KeyDraft{ID: "k2", Name: "x"})
	want(t, err, fault.InvalidRequest, "scopes")
	_, err = org.ParseScopes([]string{"invoke", "invoke"})
	want(t, err, fault.InvalidRequest, "scopes")
	_, err = org.ParseScopes([]string{"root"})
	want(t, err, fault.InvalidRequest, "scopes")
}

type brokenKeys struct{ org.KeyStore }

func (brokenKeys) Key(context.Context, string, string) (*org.Key, error) {
	return nil, fault.Wrap(fault.Unavailable, "t", "down", errors.New("down"))
}

func TestAStoreThatIsDownIsNotABadKey(t *testing.T) {
	s, _, _ := service()
	_, text, err := s.IssueKey(t.Context(), orgtest.Op("a"), org.Operator, org.KeyDraft{ID: "k", Name: "x", Scopes: []org.Scope{org.ScopeAdmin}})
	if err != nil {
		t.Fatal(err)
	}
	s.Keys = brokenKeys{}
	_, err = s.Lookup(t.Context(), reveal(t, text), orgtest.Now())
	want(t, err, fault.Unavailable, "")
}

func TestSettings(t *testing.T) {
	s, m, _ := service()
	ctx := t.Context()
	if _, err := s.Create(ctx, orgtest.Op("a"), org.Draft{ID: "o1", Name: "Acme", Tier: taxonomy.Free}); err != nil {
		t.Fatal(err)
	}
	got, v, err := s.PutSettings(ctx, orgtest.Op("b"), "o1", org.Settings{DefaultModel: "google/gemini-x", Aliases: map[string]string{"a": "xai/g"}}, -1)
	if err != nil || v != 1 || got.DefaultModel != "gemini/gemini-x" || got.Aliases["a"] != "grok/g" ||
		got.BillingPreference != org.BYOKPreferred || got.PrivacyMode != org.PrivacyOff || got.QualityFloor != org.QualityUnrated || got.AllowPlatformFallback {
		t.Fatalf("%+v, %d, %v", got, v, err)
	}
	_, _, err = s.PutSettings(ctx, orgtest.Op("c"), "o1", org.Settings{}, 0)
	want(t, err, fault.Conflict, "")
	if stored, _, _ := m.Settings(ctx, "o1"); !reflect.DeepEqual(stored, got) {
		t.Fatal("a lost write changed the settings")
	}
	for param, bad := range map[string]org.Settings{
		"default_model":      {DefaultModel: "gpt-4"},
		"enabled_models":     {EnabledModels: []string{"openrouter/a", "openrouter/a"}},
		"fallback":           {Fallback: []string{"nobody/x"}},
		"routing":            {Routing: org.Routing{"chat": {}}},
		"aliases":            {Aliases: map[string]string{"auto": "openrouter/a"}},
		"privacy_mode":       {PrivacyMode: "on"},
		"quality_floor":      {QualityFloor: "best"},
		"billing_preference": {BillingPreference: "byok"},
	} {
		_, err := bad.Normalise()
		want(t, err, fault.InvalidRequest, param)
	}
	_, err = org.DecodeSettings([]byte(`{"default_model":"","later":1}`))
	want(t, err, fault.Internal, "")
	var cells org.Routing
	if err := json.Unmarshal([]byte(`{"general":{"text":"openrouter/a","vision":["openrouter/b","openrouter/c"]}}`), &cells); err != nil ||
		!reflect.DeepEqual(cells, org.Routing{"general": {"text": {"openrouter/a"}, "vision": {"openrouter/b", "openrouter/c"}}}) {
		t.Fatalf("%v, %v", cells, err)
	}
}

func TestTiers(t *testing.T) {
	var none org.Tiers
	for tier, byok := range map[taxonomy.Tier]bool{taxonomy.Free: false, taxonomy.Pro: false, taxonomy.Agency: true, taxonomy.Enterprise: true, "gold": false} {
		if none.Has(tier, org.FeatureBYOK) != byok || none.Has(tier, org.FeatureBYOA) != byok {
			t.Errorf("default of %s", tier)
		}
	}
	err := none.Require(taxonomy.Free, org.FeatureBYOK)
	if fault.CodeOf(err) != fault.BillingDenied || !strings.Contains(fault.As(err).Message, "agency or enterprise") {
		t.Errorf("refusal %v does not name the tiers", err)
	}
	over := org.Tiers{taxonomy.Pro: {BYOK: true}, taxonomy.Agency: {}, taxonomy.Enterprise: {}}
	if err := over.Require(taxonomy.Pro, org.FeatureBYOK); err != nil {
		t.Error(err)
	}
	if err := over.Require(taxonomy.Agency, org.FeatureBYOK); !strings.Contains(fault.As(err).Message, "tier pro has it") {
		t.Error(err)
	}
	if err := over.Require(taxonomy.Free, org.FeatureBYOA); !strings.Contains(fault.As(err).Message, "no tier") {
		t.Error(err)
	}
}
