package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/shared/table"
)

type healthView struct {
	Status, Reason, Probe string
	HTTPStatus            int       `json:"http_status"`
	CheckedAt             time.Time `json:"checked_at"`
	LatencyMS             int64     `json:"latency_ms"`
	ModelCount            int64     `json:"model_count"`
	VoiceCount            int64     `json:"voice_count"`
}

type connectionView struct {
	ID               string
	Hint             string
	Usable           bool
	UnusableReason   string `json:"unusable_reason"`
	Health           healthView
	Warnings         []string
	PreviousKeyUntil *time.Time `json:"previous_key_until"`
}

func (x *tenant) connection(id string) connectionView {
	x.t.Helper()
	var c connectionView
	x.call(http.MethodGet, "/connections/"+id, nil, &c)
	return c
}

func (x *tenant) probe(id, probe string) healthView {
	x.t.Helper()
	var h healthView
	x.call(http.MethodPost, "/connections/"+id+"/test", map[string]any{"probe": probe}, &h)
	return h
}

func (x *tenant) ownChat(text string) answer {
	x.t.Helper()
	return post(x.t, world.BaseURL+"/v1/chat/completions", x.Key, chatBody("openai_compatible/m", text, false))
}

// onlyKeys makes the vendor refuse all other keys until the test ends.
func onlyKeys(t *testing.T, keys ...string) {
	t.Helper()
	vendor.AcceptOnly(append(keys, platformKey)...)
	t.Cleanup(vendor.AcceptAny)
}

func TestTheFourProbes(t *testing.T) {
	x := newTenant(t, "enterprise", 1_000_000)
	key := byokKey + "PROBE"
	c := x.connect(key, nil)
	if h := x.connection(c.ID).Health; h.Status != "ok" || h.Probe != "test_auth" || h.HTTPStatus != 200 || h.CheckedAt.IsZero() {
		t.Errorf("after saving: %+v", h)
	}
	for probe, want := range map[string]struct {
		checks, calls []string
		models        int64
	}{
		"test_auth":   {[]string{"/v1/models"}, nil, 0},
		"list_models": {[]string{"/v1/models"}, nil, 2},
		"test_text":   {[]string{"/v1/models"}, []string{"/v1/chat/completions sim-chat"}, 0},
		"test_voice":  {[]string{"/v1/models"}, []string{"/v1/audio/speech sim-voice"}, 0},
	} {
		vendor.Reset()
		h := x.probe(c.ID, probe)
		if h.Status != "ok" || h.Reason != "" || h.Probe != probe || h.HTTPStatus != 200 || h.ModelCount != want.models || h.CheckedAt.IsZero() || h.LatencyMS < 0 {
			t.Errorf("%s: %+v", probe, h)
		}
		if stored := x.connection(c.ID).Health; stored.Probe != probe || stored.Status != "ok" || !stored.CheckedAt.Equal(h.CheckedAt) {
			t.Errorf("%s: stored %+v, answered %+v", probe, stored, h)
		}
		var calls []string
		for _, call := range append(vendor.Calls(), vendor.Checks()...) {
			if call.KeyHash != mockvendor.Hash(key) {
				continue
			}
			calls = append(calls, strings.TrimSpace(call.Path+" "+call.Model))
		}
		if got := strings.Join(calls, ","); got != strings.Join(append(want.calls, want.checks...), ",") {
			t.Errorf("%s called %s", probe, got)
		}
	}
	// Nobody but the key's owner pays, and there is nothing in the ledger.
	if after := x.credits(); after.Posted != 1_000_000 || after.Held != 0 || len(x.entries()) != 1 {
		t.Errorf("probes were metered: %+v %+v", after, x.entries())
	}
	onlyKeys(t, byokKey+"OTHER")
	if h := x.probe(c.ID, "test_text"); h.Status != "failed" || h.Reason != "provider_key_invalid" || h.HTTPStatus != 401 {
		t.Errorf("a refused key: %+v", h)
	}
	if got := x.connection(c.ID); got.Usable || got.UnusableReason != "unhealthy" {
		t.Errorf("after a refused key: %+v", got)
	}
	vendor.AcceptAny()
	if h := x.probe(c.ID, "test_auth"); h.Status != "ok" || !x.connection(c.ID).Usable {
		t.Errorf("after it is taken again: %+v", h)
	}
}

// sealedItems counts what the vault keeps of an organisation.
func sealedItems(t *testing.T, org string) int {
	t.Helper()
	out, err := world.Dynamo.Query(t.Context(), &dynamodb.QueryInput{TableName: aws.String(world.Tables[table.Vault]),
		KeyConditionExpression:    aws.String("#pk = :pk"),
		ExpressionAttributeNames:  map[string]string{"#pk": table.PK},
		ExpressionAttributeValues: map[string]types.AttributeValue{":pk": &types.AttributeValueMemberS{Value: "ORG#" + org}}})
	must(t, err)
	return len(out.Items)
}

func TestAKeyThatTheVendorRefusesIsNotStored(t *testing.T) {
	x := newTenant(t, "enterprise", 0)
	good := byokKey + "GOOD"
	onlyKeys(t, good)
	url := world.BaseURL + "/api/orgs/" + x.ID + "/connections"
	body := map[string]any{"provider": "openai_compatible", "label": "own", "api_key": byokKey + "STOLEN", "base_url": vendorURL + "/v1"}
	refused := func(what string, a answer) {
		t.Helper()
		var e struct {
			Error struct{ Code, Param, Message string }
		}
		must(t, json.Unmarshal(a.Body, &e))
		if a.Status != http.StatusBadRequest || e.Error.Code != "invalid_request" || e.Error.Param != "api_key" ||
			!strings.HasPrefix(e.Error.Message, "the provider refused this key") {
			t.Errorf("%s: %d %s", what, a.Status, a.Body)
		}
	}
	refused("create", post(t, url, x.Key, body))
	if n := sealedItems(t, x.ID); n != 0 {
		t.Errorf("%d items of a refused key in the vault", n)
	}
	var list struct{ Items []connectionView }
	x.call(http.MethodGet, "/connections", nil, &list)
	if len(list.Items) != 0 {
		t.Errorf("stored: %+v", list.Items)
	}
	c := x.connect(good, nil)
	sealed := sealedItems(t, x.ID)
	refused("rotate", post(t, url+"/"+c.ID+"/rotate", x.Key, map[string]any{"api_key": byokKey + "STOLEN"}))
	if got := x.connection(c.ID); got.Hint != c.Hint || sealedItems(t, x.ID) != sealed {
		t.Errorf("after a refused rotation: %+v", got)
	}
	if a := x.ownChat("still the good key"); a.Status != http.StatusOK {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

func TestUnverifiedHealsWhenTheVendorIsBack(t *testing.T) {
	x := newTenant(t, "enterprise", 0)
	vendor.FailChecks(&mockvendor.Failure{Status: 503, Body: `{"error":{"message":"down"}}`})
	t.Cleanup(func() { vendor.FailChecks(nil) })
	var c connectionView
	x.call(http.MethodPost, "/connections", map[string]any{"provider": "openai_compatible", "label": "own", "api_key": byokKey + "LATER",
		"base_url": vendorURL + "/v1"}, &c)
	if c.Health.Status != "unverified" || c.Health.Reason != "provider_overloaded" || c.Usable || c.UnusableReason != "unverified" || len(c.Warnings) != 1 {
		t.Fatalf("%+v", c)
	}
	vendor.Reset()
	if a := x.ownChat("too early"); a.Status != http.StatusFailedDependency || a.code() != "byok_unavailable" || len(vendor.Calls()) != 0 {
		t.Errorf("%d %s, %d calls", a.Status, a.Body, len(vendor.Calls()))
	}
	vendor.FailChecks(nil)
	sweep(t, 2*time.Minute)
	eventually(t, "sweep has the key checked", func() bool { return x.connection(c.ID).Health.Status == "ok" })
	if a := x.ownChat("now"); a.Status != http.StatusOK {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

func keysUsed() []string {
	var out []string
	for _, c := range vendor.Calls() {
		out = append(out, c.KeyHash)
	}
	return out
}

func TestTheOldKeyServesWhenTheNewOneIsRefused(t *testing.T) {
	x := newTenant(t, "enterprise", 0)
	older, newer := byokKey+"OLDER", byokKey+"NEWER"
	c := x.connect(older, nil)
	var rotated connectionView
	x.call(http.MethodPost, "/connections/"+c.ID+"/rotate", map[string]any{"api_key": newer}, &rotated)
	if rotated.PreviousKeyUntil == nil || rotated.PreviousKeyUntil.Before(time.Now().Add(50*time.Minute)) {
		t.Fatalf("%+v", rotated)
	}
	// The vendor took the new key when it was saved, and does not any more.
	onlyKeys(t, older)
	vendor.Reset()
	a := x.ownChat("overlap")
	if a.Status != http.StatusOK {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	if got := keysUsed(); len(got) != 2 || got[0] != mockvendor.Hash(newer) || got[1] != mockvendor.Hash(older) {
		t.Errorf("keys %v", got)
	}
	requests := 0
	eventually(t, "the request is settled", func() bool {
		requests = 0
		for _, e := range x.entries() {
			if e.RequestID == a.Header.Get("x-request-id") {
				requests++
			}
		}
		return requests > 0
	})
	if requests != 1 {
		t.Errorf("%d entries of one request", requests)
	}
	log, err := os.ReadFile(filepath.Join(world.LogDir, "invoke.log"))
	must(t, err)
	if !strings.Contains(string(log), "rotation_suspect") || !strings.Contains(string(log), c.ID) {
		t.Error("nothing in the log says that the rotation is suspect")
	}
	var back connectionView
	x.call(http.MethodPost, "/connections/"+c.ID+"/rotate/rollback", map[string]any{}, &back)
	if back.Hint != c.Hint || back.PreviousKeyUntil != nil || !back.Usable {
		t.Errorf("rolled back: %+v", back)
	}
	vendor.Reset()
	if a := x.ownChat("after the rollback"); a.Status != http.StatusOK || len(keysUsed()) != 1 || keysUsed()[0] != mockvendor.Hash(older) {
		t.Errorf("%d %s, keys %v", a.Status, a.Body, keysUsed())
	}
	if again := x.admin.Call(t.Context(), http.MethodPost, "/api/orgs/"+x.ID+"/connections/"+c.ID+"/rotate/rollback", map[string]any{}, nil); statusOf(again) != http.StatusConflict {
		t.Errorf("a second rollback: %v", again)
	}
}

func TestARotationEndsTheCooldownAtOnce(t *testing.T) {
	x := newTenant(t, "enterprise", 0)
	c := x.connect(byokKey+"COLD", nil)
	onlyKeys(t, byokKey+"WARM")
	for range 2 {
		if a := x.ownChat("refused"); a.Status != http.StatusFailedDependency {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	if got := x.connection(c.ID); got.Usable || got.UnusableReason != "cooldown" {
		t.Fatalf("%+v", got)
	}
	x.call(http.MethodPost, "/connections/"+c.ID+"/rotate", map[string]any{"api_key": byokKey + "WARM", "overlap_seconds": 0}, nil)
	vendor.Reset()
	if a := x.ownChat("at once"); a.Status != http.StatusOK || len(keysUsed()) != 1 || keysUsed()[0] != mockvendor.Hash(byokKey+"WARM") {
		t.Errorf("%d %s, keys %v", a.Status, a.Body, keysUsed())
	}
}

func TestProbesAreLimited(t *testing.T) {
	x := newTenant(t, "enterprise", 0)
	c := x.connect(byokKey+"LIMIT", nil)
	url := world.BaseURL + "/api/orgs/" + x.ID + "/connections/" + c.ID + "/test"
	done := 0
	// A new minute may begin on the way.
	for range 21 {
		a := post(t, url, x.Key, map[string]any{"probe": "test_auth"})
		if a.Status == http.StatusOK {
			done++
			continue
		}
		if a.Status != http.StatusTooManyRequests || a.code() != "rate_limited" || a.Header.Get("retry-after") == "" {
			t.Errorf("%d %s %v", a.Status, a.Body, a.Header)
		}
		break
	}
	if done < 10 || done > 20 {
		t.Errorf("%d probes went through", done)
	}
}
