package org_test

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/org/orgtest"
)

const record = `{"settingsContractVersion":"openrouter_v1","billingMode":"byok","llm":{"provider":"openrouter","model":"a/b","temperature":0.70,"maxTokens":1000,` +
	`"enabledModels":[{"modelId":"a/b","isDefault":true,"customLabel":"Größe & <b>","enabledAt":1.7e12}],"authProfiles":[{"profileId":"p","enabled":true,"priority":3,` +
	`"cooldownUntil":1763726460000,"failureCount":2,"lastFailureAt":1763726400000,"lastFailureReason":"429"}]},"monthlyBudgetUsd":50.50}`

// TestLegacyRecordIsKept: the record that was put is the record that is stored,
// byte for byte, and reads as the same settings.
func TestLegacyRecordIsKept(t *testing.T) {
	s, err := org.ParseLegacy([]byte(record))
	if err != nil {
		t.Fatal(err)
	}
	if string(s.Legacy.Record) != record {
		t.Fatalf("%s", s.Legacy.Record)
	}
	if l := s.Legacy; *l.Temperature != 0.7 || l.MaxTokens != 1000 || !reflect.DeepEqual(l.Profiles, []org.LegacyProfile{{ID: "p", Enabled: true, Priority: 3,
		CooldownUntil: time.UnixMilli(1763726460000).UTC(), FailedAt: time.UnixMilli(1763726400000).UTC()}}) {
		t.Errorf("%+v", l)
	}
	stored, err := org.EncodeSettings(s)
	if err != nil || string(stored) != record {
		t.Fatal(err, string(stored))
	}
	again, err := org.DecodeSettings(stored)
	if err != nil || !reflect.DeepEqual(again, s) {
		t.Fatalf("%v\n%+v\n%+v", err, again, s)
	}
	m := orgtest.NewMemory()
	service := &org.Service{Orgs: m, Keys: m, Config: m}
	if err := m.CreateOrg(context.Background(), org.Org{ID: "o1", Version: 1}, audit.Row{}); err != nil {
		t.Fatal(err)
	}
	put, version, err := service.PutSettings(t.Context(), audit.Op{ID: "1"}, "o1", s, -1)
	if err != nil || version != 1 || !reflect.DeepEqual(put, s) {
		t.Fatal(err, version)
	}
}

func TestLegacyRefusals(t *testing.T) {
	for _, c := range []struct{ record, param string }{
		{`{"llm":{"openrouterApiKey":"sk-or-CANARY"}}`, "llm.openrouterApiKey"},
		{`{"llm":{"authProfiles":[{"profileId":"a","enabled":true},{"profileId":"b","enabled":true,"openrouterApiKey":"sk-or-CANARY"}]}}`, "llm.authProfiles[1].openrouterApiKey"},
		{`{"llm":{"providerAuthProfiles":[{"profileId":"a","providerId":"openai","enabled":true,"apiKey":"sk-CANARY"}]}}`, "llm.providerAuthProfiles[0].apiKey"},
		{`{"llm":{"openrouterApiKey":"sk-or-CANARY","openrouterApiKey":""}}`, "llm.openrouterApiKey"},
		{`{"llm":{"openrouterApiKey":["sk-or-CANARY"]}}`, "llm.openrouterApiKey"},
		{`{"settingsContractVersion":"provider_agnostic_v1","llm":{}}`, "settingsContractVersion"},
		{`{"settingsContractVersion":"openrouter_v2","llm":{}}`, "settingsContractVersion"},
		{`{"billingMode":"gift","llm":{}}`, "billingMode"},
		{`{"llm":{"openaiApiKey":"sk-CANARY"}}`, "llm"},
		{`{"llm":{"model":7}}`, "llm"},
		{`{"llm":{"model":"a b"}}`, "llm.defaultModelId"},
		{`{"llm":{"enabledModels":[{"modelId":"a\u0000b"}]}}`, "llm.enabledModels"},
		{`{"llm":{"privacyMode":"on"}}`, "llm.privacyMode"},
		{`{"llm":{"qualityTierFloor":"best"}}`, "llm.qualityTierFloor"},
		{`{"llm":{"temperature":3}}`, "llm.temperature"},
		{`{"llm":{"maxTokens":-1}}`, "llm.maxTokens"},
		{`{"llm":{"authProfiles":[{"enabled":true}]}}`, "llm.authProfiles"},
		{`{"llm":{"authProfiles":[{"profileId":"a","enabled":true,"cooldownUntil":-1}]}}`, "llm.authProfiles"},
		{`{"llm":{"authProfiles":[` + strings.TrimSuffix(strings.Repeat(`{"profileId":"a","enabled":true},`, 101), ",") + `]}}`, "llm.authProfiles"},
		{`{"llm":{"model":"` + strings.Repeat("x", 64<<10) + `"}}`, "llm"},
		{`{"llm":{}} {}`, "llm"},
		{`null x`, "llm"},
	} {
		_, err := org.ParseLegacy([]byte(c.record))
		if f := fault.As(err); f == nil || f.Code != fault.InvalidRequest || f.Param != c.param || strings.Contains(f.Error(), "CANARY") {
			t.Errorf("%.80s: %v %+v", c.record, err, f)
		}
	}
	for _, empty := range []string{`{"llm":{"openrouterApiKey":""}}`, `{"llm":{"openrouterApiKey":null,"authProfiles":null}}`, `{"billingMode":"platform"}`} {
		if _, err := org.ParseLegacy([]byte(empty)); err != nil {
			t.Errorf("%s: %v", empty, err)
		}
	}
}

func TestIsLegacy(t *testing.T) {
	for doc, want := range map[string]bool{`{"llm":{}}`: true, `{"settingsContractVersion":"openrouter_v1"}`: true, `{"billingMode":"byok"}`: true,
		`{}`: false, `{"default_model":"","version":1}`: false} {
		var m map[string]json.RawMessage
		if err := json.Unmarshal([]byte(doc), &m); err != nil || org.IsLegacy(m) != want {
			t.Errorf("%s: %v", doc, err)
		}
	}
}

// FuzzParseLegacy: whatever is accepted holds no key, is stored as it came and
// reads back as the same settings.
func FuzzParseLegacy(f *testing.F) {
	for _, s := range []string{record, `{"llm":{}}`, `{"billingSource":"private","llm":{"providerAuthProfiles":[{"profileId":"x","providerId":"google","enabled":true}]}}`,
		`{"llm":{"openrouterApiKey":"k"}}`, `{"llm":{"OPENROUTERAPIKEY":"k"}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := org.ParseLegacy(b)
		if err != nil {
			if fault.CodeOf(err) != fault.InvalidRequest {
				t.Fatal(err)
			}
			return
		}
		stored, err := org.EncodeSettings(s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := org.ParseLegacy(stored)
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("%v: %s became %s", err, b, stored)
		}
		if _, err := s.Normalise(); err != nil {
			t.Fatal(err)
		}
	})
}
