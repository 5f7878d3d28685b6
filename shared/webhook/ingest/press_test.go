package ingest_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/channels/slack"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/ingest"
)

// pressBody is a press of a button by somebody.
func pressBody(trigger, team, who, ref string) string {
	return "payload=" + url.QueryEscape(`{"type":"block_actions","api_app_id":"A1","team":{"id":"`+team+`"},"user":{"id":"`+who+`"},"trigger_id":"`+trigger+`","channel":{"id":"C1"},
		"container":{"message_ts":"9.1"},"message":{"thread_ts":"1.0"},"actions":[{"type":"button","value":"`+ref+`","action_ts":"1772600767.1"}]}`)
}

// wordy is a vendor that reads in the answer whether a press counted.
type wordy struct{ slack.Adapter }

func (a wordy) Parse(in webhook.Input) ([]channel.Inbound, error) {
	all, err := a.Adapter.Parse(in)
	if err == nil && all[0].Kind == channel.Pressed {
		all[0].Ack, all[0].Denied = channel.Ack{ContentType: "text/plain", Body: "done"}, channel.Ack{ContentType: "text/plain", Body: "not you"}
	}
	return all, err
}

// TestPress: a press is verified, deduped and queued like any event, under the install
// alone; where nobody is named to press it ends at the door.
func TestPress(t *testing.T) {
	e := newEnv(t)
	entry := slack.Entry()
	entry.Adapter = wordy{}
	e.in = ingest.New(ingest.Deps{Installs: e.installs, Secrets: e.secrets, Catalog: catalog.New([]channel.Entry{entry}), Dedupe: e.store, People: session.People{Store: e.store}, Queue: e.queue, Recorder: e.audit})
	body := pressBody("t1", "T1", "U7", "a:ap-1:n")
	e.want(e.request(body, "key one", now), 200, channel.EventIgnored)
	if len(e.queue.jobs) != 0 {
		t.Fatalf("%+v", e.queue.jobs)
	}
	e.set(func(i *install.Install) { i.Policy.Approvers = []string{"U7"} })
	e.want(e.request(body, "key two", now), 401, webhook.SigMismatch)
	forged := e.request(body, "key one", now)
	forged.Input.Body = []byte(strings.Replace(body, "U7", "U8", 1))
	e.want(forged, 401, webhook.SigMismatch)
	e.want(e.request(pressBody("t1", "T2", "U7", "a:ap-1:n"), "key one", now), 403, webhook.TenantMismatch)
	if len(e.queue.jobs) != 0 {
		t.Fatalf("%+v", e.queue.jobs)
	}
	if resp := e.want(e.request(body, "key one", now), 200, webhook.Accepted); resp.Body != "done" {
		t.Errorf("%q", resp.Body)
	}
	if resp := e.want(e.request(body, "key one", now), 200, webhook.Duplicate); resp.Body != "done" {
		t.Errorf("%q", resp.Body)
	}
	if resp := e.want(e.request(pressBody("t2", "T1", "U8", "a:ap-1:n"), "key one", now), 200, webhook.Accepted); resp.Body != "not you" {
		t.Errorf("%q", resp.Body)
	}
	if len(e.queue.jobs) != 2 {
		t.Fatalf("%+v", e.queue.jobs)
	}
	j := e.queue.jobs[0]
	if j.Kind != session.JobPress || j.AgentID != "" || j.Envelope.Pressed != "a:ap-1:n" || j.Envelope.Actor != "U7" || j.Envelope.Integrity != channel.Signed || j.EventID != "t1" {
		t.Errorf("%+v", j)
	}
}
