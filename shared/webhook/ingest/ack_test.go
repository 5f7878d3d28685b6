package ingest_test

import (
	"net/http"
	"testing"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/channels/slack"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/ingest"
)

// formal is a vendor some of whose events have an acknowledgement of their own.
type formal struct{ slack.Adapter }

var own = channel.Ack{ContentType: "application/json", Body: `{"type":1}`}

func (a formal) Parse(in webhook.Input) ([]channel.Inbound, error) {
	all, err := a.Adapter.Parse(in)
	for k := range all {
		if all[k].Kind == channel.Handshake {
			all[k].Challenge, all[k].Ack = "", own
		}
	}
	return all, err
}

// TestAck: every 200 has the vendor's form, a repeat what the first delivery got;
// refusals keep ours.
func TestAck(t *testing.T) {
	e := newEnv(t)
	entry := slack.Entry()
	entry.Adapter, entry.Ack = formal{}, channel.Ack{ContentType: "text/xml", Body: "<Response/>"}
	e.in = ingest.New(ingest.Deps{Installs: e.installs, Secrets: e.secrets, Catalog: catalog.New([]channel.Entry{entry}), Dedupe: e.store, People: session.People{Store: e.store}, Queue: e.queue, Recorder: e.audit})
	is := func(r ingest.Response, want channel.Ack) {
		t.Helper()
		if r.ContentType != want.ContentType || r.Body != want.Body {
			t.Errorf("%+v", r)
		}
	}
	is(e.want(e.request(hello, "key one", now), http.StatusOK, webhook.Accepted), entry.Ack)
	is(e.want(e.request(hello, "key one", now), http.StatusOK, webhook.Duplicate), entry.Ack)
	is(e.want(e.request(body(`{"type":"reaction_added","user":"U1"}`, "Ev2", "T1"), "key one", now), http.StatusOK, channel.EventIgnored), entry.Ack)
	is(e.want(e.request(`{"type":"url_verification","challenge":"x"}`, "key one", now), http.StatusOK, webhook.Handshake), own)
	if r := e.want(e.request(hello, "wrong", now), http.StatusUnauthorized, webhook.SigMismatch); r.ContentType != "application/json" || r.Body == entry.Ack.Body {
		t.Errorf("%+v", r)
	}
}
