package slack

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
)

const pressPayload = `{"type":"block_actions","api_app_id":"A1","team":{"id":"T1","domain":"x"},"enterprise":null,"is_enterprise_install":false,"user":{"id":"U7","team_id":"T1"},
	"container":{"type":"message_attachment","message_ts":"1772600767.1","channel_id":"C1","attachment_id":1},"trigger_id":"12321423423.333649436676.d8c1bb8","channel":{"id":"C1","name":"x"},
	"message":{"ts":"1772600767.1","thread_ts":"1772600700.1","text":"x"},"response_url":"https://hooks.slack.com/actions/x",
	"actions":[{"type":"button","action_id":"choice_0","block_id":"b","value":"a:ap-1:n","action_ts":"1772600777.123"}]}`

func form(payload string) string { return "payload=" + url.QueryEscape(payload) }

func TestPress(t *testing.T) {
	all, err := Adapter{}.Parse(webhook.Input{Body: []byte(form(pressPayload)), Config: config()})
	want := channel.Inbound{Kind: channel.Pressed, Identity: channel.Identity{appID: "A1", teamID: "T1", enterpriseID: ""},
		Envelope: channel.Envelope{Provider: "slack", EventID: "12321423423.333649436676.d8c1bb8", Team: "T1", Space: "C1", Thread: "1772600700.1", Message: "1772600767.1", Actor: "U7",
			Pressed: "a:ap-1:n", SentAt: time.Unix(1772600777, 0).UTC()}}
	if err != nil || len(all) != 1 || !reflect.DeepEqual(all[0], want) {
		t.Fatalf("%+v %v", all, err)
	}
	if !Entry().SameTenant(webhook.Config{appID: {"A1"}, teamID: {"T1"}}, all[0].Identity) || Entry().SameTenant(webhook.Config{appID: {"A1"}, teamID: {"T2"}}, all[0].Identity) {
		t.Errorf("%v", all[0].Identity)
	}
	begins := strings.Replace(pressPayload, `"thread_ts":"1772600700.1"`, `"thread_ts":"1772600767.1"`, 1)
	if all, err := (Adapter{}).Parse(webhook.Input{Body: []byte(form(begins)), Config: config()}); err != nil || all[0].Envelope.Thread != "" || all[0].Kind != channel.Pressed {
		t.Errorf("under a question that people talk about: %+v %v", all, err)
	}
	for name, p := range map[string]string{
		"a modal":          strings.Replace(pressPayload, "block_actions", "view_submission", 1),
		"a menu":           strings.Replace(pressPayload, `"type":"button"`, `"type":"static_select"`, 1),
		"somebody else's":  strings.Replace(pressPayload, "a:ap-1:n", strings.Repeat("x", 65), 1),
		"without a value":  strings.Replace(pressPayload, "a:ap-1:n", "", 1),
		"nothing happened": strings.Replace(pressPayload, `"actions":[{`, `"actions":[],"x":[{`, 1),
	} {
		if all, err := (Adapter{}).Parse(webhook.Input{Body: []byte(form(p)), Config: config()}); err != nil || all[0].Kind != channel.Ignored || all[0].Reason != channel.EventIgnored || all[0].Identity[appID] != "A1" {
			t.Errorf("%s: %+v %v", name, all, err)
		}
	}
	for name, body := range map[string]string{
		"two payloads": form(pressPayload) + "&" + form(pressPayload), "a field beside it": form(pressPayload) + "&x=1", "no JSON": "payload=x", "nothing": "payload=", "no type": form(`{}`),
		"bad escape": "payload=%zz", "no trigger": form(strings.Replace(pressPayload, "12321423423.333649436676.d8c1bb8", "", 1)), "no channel": form(strings.Replace(pressPayload, `"channel":{"id":"C1"`, `"channel":{"id":""`, 1)),
		"nobody": form(strings.Replace(pressPayload, "U7", "", 1)), "name twice": form(`{"type":"block_actions","type":"x"}`), "a line break": form(strings.Replace(pressPayload, "U7", "U\\n7", 1)),
	} {
		if _, err := (Adapter{}).Parse(webhook.Input{Body: []byte(body), Config: config()}); fault.CodeOf(err) != fault.InvalidRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestButtons: they stand below the text, which stays as it is; an edit without any
// takes them away.
func TestButtons(t *testing.T) {
	var got map[string]any
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = map[string]any{}
		_ = json.NewDecoder(r.Body).Decode(&got)
		_, _ = w.Write([]byte(`{"ok":true,"ts":"1.1"}`))
	}))
	defer s.Close()
	c := channel.Call{HTTP: s.Client(), BaseURL: s.URL, Token: secret.FromString("xoxb-1")}
	out := channel.Outgoing{To: "C1", Text: "approve?", Buttons: []channel.Button{{Label: "Approve", Ref: "a:1:n"}, {Label: "Refuse", Ref: "r:1:n"}}}
	element := func(k, label, ref string) any {
		return map[string]any{"type": "button", "action_id": "choice_" + k, "value": ref, "text": map[string]any{"type": "plain_text", "text": label}}
	}
	want := []any{map[string]any{"fallback": "Approve / Refuse", "blocks": []any{map[string]any{"type": "actions", "elements": []any{element("0", "Approve", "a:1:n"), element("1", "Refuse", "r:1:n")}}}}}
	if _, f := (Adapter{}).Send(t.Context(), c, out); f != nil || !reflect.DeepEqual(got["attachments"], want) || got["text"] != "approve?" {
		t.Errorf("%+v %v", f, got)
	}
	if f := (Adapter{}).Edit(t.Context(), c, out, "1.1"); f != nil || !reflect.DeepEqual(got["attachments"], want) {
		t.Errorf("%+v %v", f, got)
	}
	out.Buttons = nil
	if f := (Adapter{}).Edit(t.Context(), c, out, "1.1"); f != nil || !reflect.DeepEqual(got["attachments"], []any{}) {
		t.Errorf("%+v %v", f, got)
	}
	if _, f := (Adapter{}).Send(t.Context(), c, out); f != nil || got["attachments"] != nil {
		t.Errorf("%+v %v", f, got)
	}
	for id, want := range map[string]string{"U7": "<@U7>", "B0T": "<@B0T>", "<!channel>": "<!channel>", "x": "x"} {
		if got := (Adapter{}).Person(id); got != want {
			t.Errorf("%q: %q", id, got)
		}
	}
}
