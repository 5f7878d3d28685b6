package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/consent"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/probe"
	"github.com/latchkey/latchkey/shared/secret"
)

type fakeStation struct {
	asked []string
	seen  connection.Seen
	n     int
	err   error
}

func (f *fakeStation) Probe(_ context.Context, org, id string, p connection.Probe, model string) (connection.Seen, error) {
	f.asked = append(f.asked, strings.Join([]string{org, id, string(p), model}, " "))
	return f.seen, f.err
}

func (f *fakeStation) Batch(_ context.Context, refs []probe.Ref) (int, error) {
	for _, r := range refs {
		f.asked = append(f.asked, r.Org+" "+r.Connection)
	}
	return f.n, f.err
}

type fakeClock struct{ exact, least time.Time }

func (c *fakeClock) Exact(at time.Time)   { c.exact = at }
func (c *fakeClock) AtLeast(at time.Time) { c.least = at }

func TestHandle(t *testing.T) {
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		event  string
		f      fakeStation
		answer string
		code   fault.Code
		asked  string
	}{
		"a probe": {`{"org":"o","connection":"c","probe":"test_text","model":"m","at":"2026-11-21T12:00:00Z"}`,
			fakeStation{seen: connection.Seen{Probe: connection.TestText, Verdict: connection.Accepted, HTTPStatus: 200, At: at, LatencyMS: 3}},
			`{"seen":{"probe":"test_text","verdict":"accepted","status":"ok","http_status":200,"checked_at":"2026-11-21T12:00:00Z","latency_ms":3,"model_count":0,"voice_count":0},"probed":1}`,
			"", "o c test_text m"},
		"one that is not made": {`{"org":"o","connection":"c","probe":"x","at":"2026-11-21T12:00:00Z"}`,
			fakeStation{err: fault.Wrap(fault.InvalidRequest, "op", "it has test_auth", context.Canceled).WithParam("probe")},
			`{"error":{"code":"invalid_request","message":"it has test_auth","param":"probe"},"probed":0}`, "", "o c x "},
		"a batch": {`{"batch":[{"org":"o","connection":"c"},{"org":"p","connection":"d"}],"at":"2026-11-21T12:00:00Z"}`,
			fakeStation{n: 2}, `{"probed":2}`, "", "o c,p d"},
		"a batch that fails": {`{"batch":[{"org":"o","connection":"c"}],"at":"2026-11-21T12:00:00Z"}`,
			fakeStation{n: 1, err: fault.New(fault.Unavailable, "op", "down")}, `{"probed":1}`, fault.Unavailable, "o c"},
		"no event": {`{"org":"o"}`, fakeStation{}, `{"probed":0}`, fault.InvalidRequest, ""},
	} {
		var log bytes.Buffer
		clock := &fakeClock{}
		h := &Handler{Station: &c.f, Clock: clock, Log: slog.New(slog.NewJSONHandler(&log, nil))}
		a, err := h.Handle(t.Context(), json.RawMessage(c.event))
		raw, _ := json.Marshal(a)
		if fault.CodeOf(err) != c.code || string(raw) != c.answer || strings.Join(c.f.asked, ",") != c.asked {
			t.Errorf("%s: %s %v, asked %v", name, raw, err, c.f.asked)
		}
		if batch := strings.Contains(c.event, "batch"); c.asked != "" && (clock.least.Equal(at) != batch || clock.exact.Equal(at) == batch) {
			t.Errorf("%s: clock %+v", name, clock)
		}
		if strings.Contains(log.String(), `"m"`) {
			t.Errorf("%s: the log names what was asked: %s", name, log.String())
		}
	}
}

type fakeCounter struct {
	asked []consent.Trade
	a     consent.Answer
	err   error
}

func (f *fakeCounter) Trade(_ context.Context, t consent.Trade) (consent.Answer, error) {
	f.asked = append(f.asked, t)
	return f.a, f.err
}

// TestTrade: a code is traded at the asker's time; neither it nor the token is
// logged, and what is not known fails.
func TestTrade(t *testing.T) {
	const event = `{"consent":{"provider":"slack","app":"app_1","code":"the-code","verifier":"v","redirect_uri":"https://x","at":"2026-11-21T12:00:00Z"}}`
	for name, c := range map[string]struct {
		event, answer string
		f             fakeCounter
		code          fault.Code
	}{
		"a token":  {event, `{"config":null,"scopes":["a"],"token":"the-token"}`, fakeCounter{a: consent.Answer{Granted: channel.Granted{Token: secret.FromString("the-token"), Scopes: []string{"a"}}}}, ""},
		"none":     {event, `{"failure":"code_refused"}`, fakeCounter{a: consent.Answer{Failure: channel.CodeRefused}}, ""},
		"no vault": {event, "", fakeCounter{err: fault.New(fault.VaultUnavailable, "op", "down")}, fault.VaultUnavailable},
		"no event": {`{"consent":{"app":"../x"}}`, "", fakeCounter{}, fault.InvalidRequest},
	} {
		var log bytes.Buffer
		clock := &fakeClock{}
		h := &Handler{Counter: &c.f, Clock: clock, Log: slog.New(slog.NewJSONHandler(&log, nil))}
		a, err := h.Handle(t.Context(), json.RawMessage(c.event))
		if fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
		if raw, merr := json.Marshal(a); err == nil && (merr != nil || string(raw) != c.answer || len(c.f.asked) != 1 || clock.exact.IsZero()) {
			t.Errorf("%s: %s %v", name, raw, merr)
		}
		if strings.Contains(log.String(), "the-code") || strings.Contains(log.String(), "the-token") {
			t.Errorf("%s: %s", name, log.String())
		}
	}
}
