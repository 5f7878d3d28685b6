package ingest_test

import (
	"bytes"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/channels/slack"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/ingest"
)

// lines is a vendor that sends several events in one request and checks a URL
// with GET.
type lines struct{ slack.Adapter }

func (a lines) Parse(in webhook.Input) ([]channel.Inbound, error) {
	var out []channel.Inbound
	for _, b := range bytes.Split(in.Body, []byte("\n")) {
		one, err := a.Adapter.Parse(webhook.Input{Body: b, Config: in.Config})
		if err != nil {
			return nil, err
		}
		out = append(out, one...)
	}
	return out, nil
}

func newBatchEnv(t *testing.T) *env {
	e := newEnv(t)
	entry := slack.Entry()
	entry.Adapter, entry.Methods, entry.HandshakeSecret = lines{}, []string{"POST", "GET"}, "signing_secret"
	entry.Handshake = func(in webhook.Input, tokens []secret.Text) (string, *webhook.Refusal) {
		for _, k := range tokens {
			if k.Equal(secret.FromString(in.RawQuery)) {
				return "challenge", nil
			}
		}
		return "", &webhook.Refusal{Reason: webhook.HandshakeRefused}
	}
	e.in = ingest.New(ingest.Deps{Installs: e.installs, Secrets: e.secrets, Catalog: catalog.New([]channel.Entry{entry}), Dedupe: e.store, People: session.People{Store: e.store}, Queue: e.queue, Recorder: e.audit})
	return e
}

func event(id, ts, team string) string { return body(message("message", ts), id, team) }

// TestBatch: every event of a request is queued in order; a repeated request
// queues what is missing only.
func TestBatch(t *testing.T) {
	e := newBatchEnv(t)
	e.want(e.request(event("Ev1", "1.1", "T1")+"\n"+event("Ev2", "1.2", "T1"), "key one", now), http.StatusOK, webhook.Accepted)
	e.want(e.request(event("Ev1", "1.1", "T1")+"\n"+event("Ev3", "1.3", "T1")+"\n"+event("Ev2", "1.2", "T1"), "key one", now), http.StatusOK, webhook.Duplicate)
	if len(e.queue.jobs) != 3 || e.queue.jobs[0].EventID != "Ev1" || e.queue.jobs[1].EventID != "Ev2" || e.queue.jobs[2].EventID != "Ev3" {
		t.Errorf("jobs: %+v", e.queue.jobs)
	}
}

// TestBatchOfTwoTenants: one foreign event refuses all, before the first is
// queued.
func TestBatchOfTwoTenants(t *testing.T) {
	e := newBatchEnv(t)
	e.want(e.request(event("Ev1", "1.1", "T1")+"\n"+event("Ev2", "1.2", "T2"), "key one", now), http.StatusForbidden, webhook.TenantMismatch)
	if len(e.queue.jobs) != 0 {
		t.Errorf("jobs: %+v", e.queue.jobs)
	}
}

// TestBatchStopsAtAFailure: nothing behind an event that could not be queued is
// queued, and the retry brings all in order.
func TestBatchStopsAtAFailure(t *testing.T) {
	e := newBatchEnv(t)
	r := e.request(event("Ev1", "1.1", "T1")+"\n"+event("Ev2", "1.2", "T1"), "key one", now)
	e.queue.fail = errors.New("down")
	e.want(r, http.StatusServiceUnavailable, webhook.EnqueueFailed)
	if got := len(e.audit.events); got != 1 {
		t.Errorf("%d events were tried, want the first only", got)
	}
	e.queue.fail = nil
	e.want(r, http.StatusOK, webhook.Accepted)
	if len(e.queue.jobs) != 2 || e.queue.jobs[0].EventID != "Ev1" {
		t.Errorf("jobs: %+v", e.queue.jobs)
	}
}

// TestGetHandshake: the challenge is given to who knows the token, on an install
// that verifies; everything else is refused, and nothing is queued.
func TestGetHandshake(t *testing.T) {
	e := newBatchEnv(t)
	get := func(query string) ingest.Request {
		return ingest.Request{Provider: "slack", Install: "i1", Now: now, RequestID: "r1", Input: webhook.Input{Method: "GET", RawQuery: query}}
	}
	if resp := e.want(get("key one"), http.StatusOK, webhook.Handshake); resp.Body != "challenge" || resp.ContentType != "text/plain; charset=utf-8" {
		t.Errorf("%+v", resp)
	}
	if resp := e.want(get("key two"), http.StatusForbidden, webhook.HandshakeRefused); resp.Body == "challenge" {
		t.Errorf("%+v", resp)
	}
	e.want(get(""), http.StatusForbidden, webhook.HandshakeRefused)
	e.secrets.err = fault.New(fault.VaultUnavailable, "x", "x")
	e.want(get("key one"), http.StatusServiceUnavailable, webhook.SecretUnavailable)
	e.secrets.err = fault.New(fault.NotFound, "x", "x")
	e.want(get("key one"), http.StatusUnauthorized, webhook.NoSecret)
	e.secrets.err = nil
	e.install("i2", "o1", "T2", install.Draft, "key two")
	r := get("key two")
	r.Install = "i2"
	e.want(r, http.StatusUnauthorized, webhook.InstallInactive)
	if len(e.queue.jobs) != 0 {
		t.Errorf("jobs: %+v", e.queue.jobs)
	}
}

// senderOnly is a scheme that proves the sender and not the body.
type senderOnly struct{ webhook.Scheme }

func (s senderOnly) Check(in webhook.Input, secrets []secret.Text, now time.Time) (webhook.Result, *webhook.Refusal) {
	r, refusal := s.Scheme.Check(in, secrets, now)
	r.BodySigned = false
	return r, refusal
}

// TestIntegrity: the job says what the verification covered.
func TestIntegrity(t *testing.T) {
	e := newEnv(t)
	e.want(e.request(event("Ev1", "1.1", "T1"), "key one", now), http.StatusOK, webhook.Accepted)
	entry := slack.Entry()
	entry.Scheme = senderOnly{entry.Scheme}
	e.in = ingest.New(ingest.Deps{Installs: e.installs, Secrets: e.secrets, Catalog: catalog.New([]channel.Entry{entry}), Dedupe: e.store, Queue: e.queue, Recorder: e.audit})
	e.want(e.request(event("Ev2", "1.2", "T1"), "key one", now), http.StatusOK, webhook.Accepted)
	if a, b := e.queue.jobs[0].Envelope.Integrity, e.queue.jobs[1].Envelope.Integrity; a != channel.Signed || b != channel.ByChannel {
		t.Errorf("%q %q", a, b)
	}
}
