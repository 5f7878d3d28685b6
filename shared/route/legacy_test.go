package route

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// recorded is a stored openrouter_v1 record with what its organisation's requests
// were tried with, in order, and who pays for each candidate.
type recorded struct {
	About       string          `json:"about"`
	NowMS       int64           `json:"now_ms"`
	Record      json.RawMessage `json:"record"`
	Connections []struct {
		Label     string `json:"label"`
		CreatedMS int64  `json:"created_ms"`
	} `json:"connections"`
	Settings json.RawMessage `json:"settings"`
	Want     []string        `json:"want"`
	Pays     []string        `json:"pays"`
}

// TestLegacyParity plays recorded records: order, exclusions and who pays are
// what they were.
func TestLegacyParity(t *testing.T) {
	files, err := filepath.Glob("testdata/legacy/*.json")
	if err != nil || len(files) < 8 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".json"), func(t *testing.T) {
			raw, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var c recorded
			d := json.NewDecoder(bytes.NewReader(raw))
			d.DisallowUnknownFields()
			if err := d.Decode(&c); err != nil {
				t.Fatal(err)
			}
			c.check(t)
		})
	}
}

func (c recorded) check(t *testing.T) {
	t.Helper()
	s, err := org.ParseLegacy(c.Record)
	if err != nil {
		t.Fatal(err)
	}
	want := org.DefaultSettings()
	if err := json.Unmarshal(c.Settings, &want); err != nil {
		t.Fatal(err)
	}
	plain := s
	plain.Legacy = nil
	got, _ := json.Marshal(plain)
	if w, _ := json.Marshal(want); !bytes.Equal(got, w) {
		t.Errorf("settings\n %s, want\n %s", got, w)
	}
	at := time.UnixMilli(c.NowMS).UTC()
	var conns []connection.Connection
	for i, x := range c.Connections {
		conns = append(conns, conn(x.Label, taxonomy.OpenRouter, taxonomy.BYOK, func(k *connection.Connection) {
			k.Label, k.Priority, k.CreatedAt = x.Label, int64(i), time.UnixMilli(x.CreatedMS).UTC()
		}))
	}
	before, _ := json.Marshal(conns)
	plan, err := Plan(Inputs{Request: Request{Modality: taxonomy.ModalText}, Settings: s, Connections: conns, Provider: providers, Now: at})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(show(plan)); strings.Join(got, "\n") != strings.Join(c.Want, "\n") {
		t.Errorf("plan\n %s, want\n %s", strings.Join(got, "\n "), strings.Join(c.Want, "\n "))
	}
	if after, _ := json.Marshal(conns); !bytes.Equal(before, after) {
		t.Error("the caller's connections were changed")
	}
	var pays []string
	for _, cand := range plan.Candidates {
		in := billing.Inputs{RequestSource: taxonomy.LLM, Candidate: cand.Source, OrgActive: true, TierBYOK: true,
			Preference: billing.Preference(s.BillingPreference), OrgAllowPlatformFallback: s.AllowPlatformFallback}
		in.Connection.Exists = len(conns) > 0
		in.Connection.Usable = cand.Connection != nil
		for _, other := range plan.Candidates {
			in.Connection.Usable = in.Connection.Usable || other.Connection != nil
		}
		d := billing.Decide(in)
		word := "denied"
		if d.Allowed {
			word = string(d.Source)
		}
		pays = append(pays, word+" "+d.Rule)
	}
	if strings.Join(pays, ", ") != strings.Join(c.Pays, ", ") {
		t.Errorf("pays %q, want %q", pays, c.Pays)
	}
}

// TestLegacyKeepsToItsVendor: a profile's word counts for connections of
// OpenRouter only, and what is off stays off.
func TestLegacyKeepsToItsVendor(t *testing.T) {
	s, err := org.ParseLegacy([]byte(`{"llm":{"model":"x/y","authProfiles":[{"profileId":"a","enabled":true,"priority":7}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	conns := []connection.Connection{
		conn("1", taxonomy.OpenAICompatible, taxonomy.Private, func(c *connection.Connection) { c.Label = "a" }),
		conn("2", taxonomy.OpenRouter, taxonomy.BYOK, func(c *connection.Connection) { c.Label, c.Enabled = "a", false }),
	}
	got := legacyOrder(s.Legacy, conns, now)
	if got[0].Priority != 0 || got[1].Priority != 7 || got[1].Enabled {
		t.Fatalf("%+v", got)
	}
	if _, err := org.ParseLegacy([]byte(`{"llm":{"authProfiles":[{"profileId":"a","enabled":true,"openrouterApiKey":"sk-or-v1-x"}]}}`)); fault.CodeOf(err) != fault.InvalidRequest {
		t.Fatal(err)
	}
}
