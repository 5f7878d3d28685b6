package ingest_test

import (
	"net/http"
	"testing"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/channels/slack"
	"github.com/latchkey/latchkey/shared/install"
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

// TestAckOfWhatIsQueued: a message that is queued and its repeats have an answer of
// their own, what nobody answers has the other.
func TestAckOfWhatIsQueued(t *testing.T) {
	e := speaking(t)
	said := func(event string) ingest.Request { return e.request(event, "key one", now) }
	got := func(r ingest.Request, code webhook.Reason, want string) {
		t.Helper()
		if resp := e.want(r, http.StatusOK, code); resp.Body != want || resp.ContentType != "text/xml" {
			t.Errorf("%s: %+v, want %q", code, resp, want)
		}
	}
	got(said(hello), webhook.Accepted, "queued")
	got(said(hello), webhook.Duplicate, "queued")
	got(said(body(message("app_mention", "1772600767.000100"), "Ev2", "T1")), webhook.DuplicateContent, "queued")
	got(said(body(`{"type":"message","channel":"C1","user":"UBOT","ts":"1.2","text":"x"}`, "Ev3", "T1")), "turn.self_ignored", "dropped")
	e.install("i3", "o3", "T3", install.Active, "key")
	unbound := e.request(body(message("message", "1.2"), "Ev5", "T3"), "key", now)
	unbound.Install = "i3"
	got(unbound, webhook.Unbound, "dropped")
	i, _, _ := e.installs.Install(t.Context(), "i3")
	next := i
	next.State, next.Version = install.Verifying, i.Version+1
	if err := e.installs.UpdateInstall(t.Context(), i, next, audit.Row{}); err != nil {
		t.Fatal(err)
	}
	got(unbound, webhook.NotDispatched, "dropped")
}

// speaking is an environment whose vendor reads answers and takes 401 only.
func speaking(t *testing.T) *env {
	e := newEnv(t)
	entry := slack.Entry()
	entry.Ack, entry.Queued, entry.Only401 = channel.Ack{ContentType: "text/xml", Body: "dropped"}, channel.Ack{ContentType: "text/xml", Body: "queued"}, true
	e.in = ingest.New(ingest.Deps{Installs: e.installs, Secrets: e.secrets, Catalog: catalog.New([]channel.Entry{entry}), Dedupe: e.store,
		People: session.People{Store: e.store}, Queue: e.queue, Recorder: e.audit})
	return e
}

// TestFloodWhereOnly401IsTaken: a flood is recorded as one and answered like its
// first request.
func TestFloodWhereOnly401IsTaken(t *testing.T) {
	for _, path := range []string{"i1", "nobody"} {
		e := speaking(t)
		_, send := e.bad(path, "203.0.113.0/24", now)
		first := send()
		for n := range 99 {
			if resp := send(); resp.Status != http.StatusUnauthorized || resp.Body != first.Body {
				t.Fatalf("%s: request %d: %+v", path, n, resp)
			}
		}
		if last := e.audit.last(); last != webhook.Flood {
			t.Errorf("%s: recorded as %s", path, last)
		}
	}
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
