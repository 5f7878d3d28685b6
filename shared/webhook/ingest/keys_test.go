package ingest_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/channels/googlechat"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/ingest"
)

// published are key sets, or none, and what was asked for.
type published struct {
	keys  []webhook.Key
	asked []string
	at    time.Time
}

func (p *published) For(_ context.Context, now time.Time) webhook.KeySets { p.at = now; return p }

func (p *published) KeySet(name, kid string) ([]webhook.Key, bool) {
	p.asked = append(p.asked, name+" "+kid)
	return p.keys, p.keys != nil
}

const chatHello = `{"type":"MESSAGE","eventTime":"2026-03-04T05:06:07Z","space":{"name":"spaces/A","spaceType":"SPACE","customer":"customers/C01"},
	"message":{"name":"spaces/A/messages/B.B","sender":{"name":"users/1","type":"HUMAN"},"text":"hi"}}`

const chatAudience = "https://latchkey.example/webhooks/google_chat/g1"

// TestPublishedKeys: a channel that is verified with its vendor's keys. The request's
// own are asked for, a request to no install asks as any other does, and without a set
// nothing is accepted.
func TestPublishedKeys(t *testing.T) {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	signer := secret.New(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	e, p := newEnv(t), &published{keys: []webhook.Key{{ID: "test", RSA: &k.PublicKey}}}
	e.in = ingest.New(ingest.Deps{Installs: e.installs, Secrets: e.secrets, Keys: p, Catalog: catalog.New([]channel.Entry{googlechat.Entry()}), Dedupe: e.store,
		People: session.People{Store: e.store}, Queue: e.queue, Recorder: e.audit})
	for id, config := range map[string]webhook.Config{"g1": {"audience": {chatAudience}}, "g2": {"audience": {chatAudience}, "customer": {"customers/C02"}}, "g3": {"audience": {"123"}}} {
		i := install.Install{ID: id, Org: "o1", Provider: taxonomy.GoogleChat, State: install.Active, Version: 1, Config: config}
		if err := e.installs.CreateInstall(t.Context(), i, audit.Row{}); err != nil {
			t.Fatal(err)
		}
		e.bind(id, install.Selector{})
	}
	request := func(to string, settings webhook.Config, body string) ingest.Request {
		in := webhook.Input{Method: "POST", Body: []byte(body), Config: settings}
		scheme, _ := googlechat.Entry().Scheme.(webhook.Signer)
		if err := scheme.Sign(&in, signer, now); err != nil {
			t.Fatal(err)
		}
		in.Config = nil
		return ingest.Request{Provider: "google_chat", Install: to, Input: in, Now: now, RequestID: "r1"}
	}
	own := webhook.Config{"audience": {chatAudience}}
	resp := e.want(request("g1", own, chatHello), 200, webhook.Accepted)
	if resp.Body != "{}" || resp.ContentType != "application/json" || len(e.queue.jobs) != 1 || e.queue.jobs[0].Envelope.Integrity != channel.ByChannel || e.secrets.asked.Load() != 0 || !p.at.Equal(now) {
		t.Errorf("%+v %+v", resp, e.queue.jobs)
	}
	e.want(request("g1", own, chatHello), 200, webhook.Duplicate)
	if r := e.want(request("g2", own, chatHello), 403, webhook.TenantMismatch); r.Body == "{}" {
		t.Errorf("%+v", r)
	}
	e.want(request("g3", own, chatHello), 401, webhook.ClaimRefused)
	e.want(request("g1", webhook.Config{"audience": {"https://another.example/"}}, chatHello), 401, webhook.ClaimRefused)
	e.want(request("g1", webhook.Config{"audience": {chatAudience}, "email": {"somebody@example.com"}}, chatHello), 401, webhook.IdentityRefused)
	e.want(request("g1", own, `{"chat":{}}`), 400, webhook.BadPayload)
	e.want(request("g1", webhook.Config{"audience": {chatAudience}, "kid": {"other"}}, chatHello), 401, webhook.KeyUnknown)
	p.asked = nil
	e.want(request("nobody", own, chatHello), 401, webhook.InstallUnknown)
	if len(p.asked) != 1 || p.asked[0] != "google_chat_url test" {
		t.Errorf("a request to no install asked for %q", p.asked)
	}
	p.keys = nil
	e.want(request("g1", own, chatHello), 503, webhook.KeySetUnavailable)
	e.in = ingest.New(ingest.Deps{Installs: e.installs, Secrets: e.secrets, Catalog: catalog.New([]channel.Entry{googlechat.Entry()}), Dedupe: e.store, Queue: e.queue, Recorder: e.audit})
	e.want(request("g1", own, chatHello), 503, webhook.KeySetUnavailable)
	if len(e.queue.jobs) != 1 {
		t.Errorf("%d messages queued", len(e.queue.jobs))
	}
}
