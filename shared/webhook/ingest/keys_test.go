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
	"github.com/latchkey/latchkey/shared/channels/teams"
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

// vendorKey is a pair of keys that stands for a vendor's.
func vendorKey(t *testing.T) (*rsa.PrivateKey, secret.Text) {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return k, secret.New(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// TestForbiddenIdentity: of Teams a token that speaks for another channel of the Bot
// Framework is forbidden, a token that is none is unproven. Installs that may not be
// shown to exist answer 401 to both.
func TestForbiddenIdentity(t *testing.T) {
	k, signer := vendorKey(t)
	const appID, tenantID, off = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002", "t2"
	e, p := newEnv(t), &published{keys: []webhook.Key{{ID: "test", RSA: &k.PublicKey, Endorsements: []string{"msteams"}}}}
	e.in = ingest.New(ingest.Deps{Installs: e.installs, Secrets: e.secrets, Keys: p, Catalog: catalog.New([]channel.Entry{teams.Entry()}), Dedupe: e.store,
		People: session.People{Store: e.store}, Queue: e.queue, Recorder: e.audit})
	config := webhook.Config{"app_id": {appID}, "tenant_id": {tenantID}}
	for id, state := range map[string]install.State{"t1": install.Active, off: install.Suspended} {
		if err := e.installs.CreateInstall(t.Context(), install.Install{ID: id, Org: "o1", Provider: taxonomy.Teams, State: state, Version: 1, Config: config}, audit.Row{}); err != nil {
			t.Fatal(err)
		}
		e.bind(id, install.Selector{})
	}
	request := func(to, channelID string, edit func(webhook.Header)) ingest.Request {
		in := webhook.Input{Method: "POST", Config: config, Body: []byte(`{"type":"message","id":"1","timestamp":"2026-03-04T05:06:07Z","channelId":"` + channelID + `","serviceUrl":"https://smba.trafficmanager.net/emea/",
			"from":{"id":"29:ada"},"conversation":{"id":"a:1","conversationType":"personal","tenantId":"` + tenantID + `"},"recipient":{"id":"28:` + appID + `"},"text":"hi"}`)}
		scheme, _ := teams.Entry().Scheme.(webhook.Signer)
		if err := scheme.Sign(&in, signer, now); err != nil {
			t.Fatal(err)
		}
		in.Config = nil
		edit(in.Header)
		return ingest.Request{Provider: "teams", Install: to, Input: in, Now: now, RequestID: "r1"}
	}
	same := func(webhook.Header) {}
	e.want(request("t1", "msteams", same), 200, webhook.Accepted)
	e.want(request("t1", "webchat", same), 403, webhook.IdentityRefused)
	e.want(request("t1", "msteams", func(h webhook.Header) { h["authorization"][0] += "x" }), 401, webhook.SigFormat)
	e.want(request(off, "webchat", same), 401, webhook.InstallInactive)
	e.want(request("nobody", "webchat", same), 401, webhook.InstallUnknown)
	p.keys[0].Endorsements = []string{"webchat"}
	e.want(request("t1", "msteams", same), 403, webhook.IdentityRefused)
	if len(e.queue.jobs) != 1 {
		t.Errorf("%d messages queued", len(e.queue.jobs))
	}
}

// TestPublishedKeys: a channel that is verified with its vendor's keys. The request's
// own are asked for, a request to no install asks as any other does, and without a set
// nothing is accepted.
func TestPublishedKeys(t *testing.T) {
	k, signer := vendorKey(t)
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
