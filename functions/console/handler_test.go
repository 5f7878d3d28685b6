package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/latchkey/latchkey/shared/admin"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/boot/adminhttp"
	"github.com/latchkey/latchkey/shared/egress"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/org/orgtest"
	vendors "github.com/latchkey/latchkey/shared/providers/catalog"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

type clock struct{ at time.Time }

func (c *clock) Exact(at time.Time) { c.at = at }

type noLedger struct{}

func (noLedger) OpenAccount(context.Context, string, time.Time) error { return nil }

// downKeys fails as the store does.
type downKeys struct{ org.KeyStore }

func (downKeys) Key(context.Context, string, string) (*org.Key, error) {
	return nil, fault.Wrap(fault.Unavailable, "t.Key", "the store did not answer, try again", errors.New("CANARY"))
}

// panicking stands for a bug.
type panicking struct{ org.KeyStore }

func (panicking) Key(context.Context, string, string) (*org.Key, error) { panic("CANARY") }

type fixture struct {
	*testing.T
	h    *Handler
	orgs *org.Service
	key  string
	log  bytes.Buffer
	at   clock
}

func setup(t *testing.T) *fixture {
	f := &fixture{T: t}
	m := orgtest.NewMemory()
	f.orgs = &org.Service{Orgs: m, Keys: m, Config: m, Ledger: noLedger{}, Random: rand.Reader}
	log := slog.New(slog.NewJSONHandler(&f.log, nil))
	f.h = &Handler{Clock: &f.at, Log: log, API: admin.New(admin.Services{Orgs: f.orgs, Audit: m, NewID: func(time.Time) string { return "id1" }, OnError: adminhttp.LogError(log)})}
	if _, err := f.orgs.Create(t.Context(), audit.Op{ID: "c"}, org.Draft{ID: "acme", Name: "Acme", Tier: taxonomy.Pro}); err != nil {
		t.Fatal(err)
	}
	_, text, err := f.orgs.IssueKey(t.Context(), audit.Op{ID: "k"}, "acme", org.KeyDraft{ID: "k1", Name: "k", Scopes: []org.Scope{org.ScopeAdmin}})
	if err != nil {
		t.Fatal(err)
	}
	_ = text.Use(func(b []byte) error { f.key = string(b); return nil })
	return f
}

// event is what an HTTP API sends: lower-case header names, repeated values
// joined by commas, the raw query.
func (f *fixture) event(method, path, query, body string) events.APIGatewayV2HTTPRequest {
	f.Helper()
	var e events.APIGatewayV2HTTPRequest
	doc, _ := json.Marshal(map[string]any{
		"version": "2.0", "routeKey": "ANY /api/{proxy+}", "rawPath": path, "rawQueryString": query,
		"headers": map[string]string{"authorization": "Bearer " + f.key, "content-type": "application/json"}, "body": body, "isBase64Encoded": false,
		"requestContext": map[string]any{"requestId": "req-7", "timeEpoch": 1795262400123, "http": map[string]any{"method": method, "path": path}},
	})
	d := json.NewDecoder(bytes.NewReader(doc))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		f.Fatal(err)
	}
	return e
}

func (f *fixture) handle(e events.APIGatewayV2HTTPRequest) events.APIGatewayV2HTTPResponse {
	f.Helper()
	resp, err := f.h.Handle(f.Context(), e)
	if err != nil || resp.IsBase64Encoded || resp.Headers["x-request-id"] != e.RequestContext.RequestID || resp.Headers["cache-control"] != "no-store" {
		f.Fatalf("%+v, %v", resp, err)
	}
	return resp
}

func TestHandle(t *testing.T) {
	f := setup(t)
	resp := f.handle(f.event("GET", "/api/orgs/acme", "", ""))
	if resp.StatusCode != 200 || !strings.Contains(resp.Body, `"id":"acme"`) {
		t.Fatalf("%+v", resp)
	}
	if !f.at.at.Equal(time.UnixMilli(1795262400123)) || f.at.at.Location() != time.UTC {
		t.Errorf("the clock was set to %v", f.at.at)
	}
	e := f.event("PATCH", "/api/orgs/acme", "", base64.StdEncoding.EncodeToString([]byte(`{"name":"New"}`)))
	e.IsBase64Encoded = true
	if resp := f.handle(e); resp.StatusCode != 200 || !strings.Contains(resp.Body, `"name":"New"`) {
		t.Errorf("base64: %+v", resp)
	}
	e.Body = "%"
	if resp := f.handle(e); resp.StatusCode != 400 || !strings.Contains(resp.Body, "invalid_request") {
		t.Errorf("broken base64: %+v", resp)
	}
	if resp := f.handle(f.event("GET", "/api/orgs/acme/keys", "limit=1&cursor=%zz", "")); resp.StatusCode != 400 {
		t.Errorf("broken query: %+v", resp)
	}
	if resp := f.handle(f.event("GET", "/api/orgs/acme/keys", "limit=1", "")); resp.StatusCode != 200 || !strings.Contains(resp.Body, `"next_cursor":null`) {
		t.Errorf("query: %+v", resp)
	}
	e = f.event("GET", "/api/orgs/acme", "", "")
	e.Headers["authorization"] += ",Bearer " + f.key
	if resp := f.handle(e); resp.StatusCode != 401 {
		t.Errorf("two keys joined: %+v", resp)
	}
	if resp := f.handle(f.event("DELETE", "/api/orgs/acme/keys/k1", "", "")); resp.StatusCode != 204 || resp.Body != "" {
		t.Errorf("no content: %+v", resp)
	}
	e = f.event("GET", "/api/health", "", "")
	e.RequestContext.TimeEpoch = 0
	if resp := f.handle(e); resp.StatusCode != 500 {
		t.Errorf("an event without time: %+v", resp)
	}
}

func TestFailuresAreAnsweredAndLoggedWithoutTheirCause(t *testing.T) {
	for name, c := range map[string]struct {
		keys   org.KeyStore
		status int
		code   string
		log    string
	}{
		"store down": {downKeys{}, 503, `"code":"unavailable"`, `"cause":"errors.errorString"`},
		"panic":      {panicking{}, 500, `"code":"internal"`, `"type":"string"`},
	} {
		f := setup(t)
		f.orgs.Keys = c.keys
		resp := f.handle(f.event("GET", "/api/orgs/acme", "", ""))
		if resp.StatusCode != c.status || !strings.Contains(resp.Body, c.code) || !strings.Contains(resp.Body, `"request_id":"req-7"`) {
			t.Errorf("%s: %+v", name, resp)
		}
		if log := f.log.String(); strings.Count(log, "\n") != 1 || !strings.Contains(log, c.log) || !strings.Contains(log, "req-7") ||
			strings.Contains(log+resp.Body, "CANARY") {
			t.Errorf("%s: log %s", name, log)
		}
	}
}

func TestConnectable(t *testing.T) {
	out, err := egress.New(egress.Options{Allow: []string{"127.0.0.1:7001"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range connectable(vendors.Entries(), out, []string{"127.0.0.1:7001"}) {
		tenant := p.DefaultBaseURL == ""
		if p.KeyRequired == tenant || p.DefaultBilling == "" {
			t.Errorf("%+v", p)
		}
		// Text functions may not open keys of class voice_key, and a vendor of
		// text that serves nothing yet must not get that class.
		if voice := map[taxonomy.Provider]bool{taxonomy.ElevenLabs: true, taxonomy.Deepgram: true, taxonomy.AssemblyAI: true, taxonomy.Cartesia: true,
			taxonomy.GoogleSpeech: true, taxonomy.AWSPolly: true, taxonomy.AWSTranscribe: true}; p.VoiceOnly != voice[p.ID] {
			t.Errorf("%s: voice only is %v", p.ID, p.VoiceOnly)
		}
		for raw, want := range map[string]bool{
			p.DefaultBaseURL: !tenant, "https://llm.example.org/v1": tenant, "http://127.0.0.1:7001/v1": true, "http://127.0.0.1:7002/v1": false,
			"https://169.254.169.254/": false, "http://llm.example.org/": false, "https://openrouter.ai.evil.example/api/v1": tenant,
		} {
			if raw == "" {
				continue
			}
			err := p.CheckURL(raw)
			if (err == nil) != want || err != nil && (fault.CodeOf(err) != fault.InvalidRequest || fault.As(err).Param != "base_url") {
				t.Errorf("%s %s: %v, want %v", p.ID, raw, err, want)
			}
		}
	}
}
