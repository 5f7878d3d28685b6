package telegram

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
)

const pressUpdate = `{"update_id":91,"callback_query":{"id":"4382bfdwdsb323b2d9","from":{"id":4411,"is_bot":false,"first_name":"A"},
	"message":{"message_id":7,"chat":{"id":-1009,"type":"supergroup"},"date":1772600767,"is_topic_message":true,"message_thread_id":5,"text":"x"},"chat_instance":"1","data":"a:ap-1:n"}}`

// TestPress: a press is answered by the answer to its own request, and says more to who
// may not press.
func TestPress(t *testing.T) {
	all, err := Adapter{}.Parse(webhook.Input{Body: []byte(pressUpdate)})
	ack := func(more string) channel.Ack {
		return channel.Ack{ContentType: "application/json", Body: `{"callback_query_id":"4382bfdwdsb323b2d9","method":"answerCallbackQuery"` + more + `}`}
	}
	want := channel.Inbound{Kind: channel.Pressed, Identity: channel.Identity{chatID: "-1009"}, Ack: ack(""), Denied: ack(`,"text":"` + denied + `"`),
		Envelope: channel.Envelope{Provider: "telegram", EventID: "91", Space: "-1009", Thread: "5", Message: "7", Actor: "4411", Pressed: "a:ap-1:n"}}
	if err != nil || len(all) != 1 || !reflect.DeepEqual(all[0], want) {
		t.Fatalf("%+v %v", all, err)
	}
	for name, p := range map[string]string{
		"a game":      strings.Replace(pressUpdate, `"data":"a:ap-1:n"`, `"game_short_name":"x"`, 1),
		"inline":      strings.Replace(pressUpdate, `"message":{`, `"inline_message_id":"1","x":{`, 1),
		"long":        strings.Replace(pressUpdate, "a:ap-1:n", strings.Repeat("x", 65), 1),
		"not for us":  strings.Replace(pressUpdate, "a:ap-1:n", "größer", 1),
		"nobody":      strings.Replace(pressUpdate, `"id":4411`, `"id":"x"`, 1),
		"no message":  strings.Replace(pressUpdate, `"message_id":7,`, "", 1),
		"of a nobody": strings.Replace(pressUpdate, `"from":{`, `"x":{`, 1),
	} {
		if all, err := (Adapter{}).Parse(webhook.Input{Body: []byte(p)}); err != nil || all[0].Kind != channel.Ignored || all[0].Ack != ack("") {
			t.Errorf("%s: %+v %v", name, all, err)
		}
	}
	for name, id := range map[string]string{"no id": "", "long": strings.Repeat("1", 65), "lines": "a\\nb"} {
		if _, err := (Adapter{}).Parse(webhook.Input{Body: []byte(strings.Replace(pressUpdate, "4382bfdwdsb323b2d9", id, 1))}); fault.CodeOf(err) != fault.InvalidRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestButtons: they are below the text; an edit without any takes them away.
func TestButtons(t *testing.T) {
	var got map[string]any
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = map[string]any{}
		_ = json.NewDecoder(r.Body).Decode(&got)
		_, _ = w.Write([]byte(`{"ok":true,"result":{"message_id":7}}`))
	}))
	defer s.Close()
	c := channel.Call{HTTP: s.Client(), BaseURL: s.URL, Token: secret.FromString("1:x")}
	out := channel.Outgoing{To: "4411", Text: "approve?", Buttons: []channel.Button{{Label: "Approve", Ref: "a:1:n"}, {Label: "Refuse", Ref: "r:1:n"}}}
	want := map[string]any{"inline_keyboard": []any{[]any{map[string]any{"text": "Approve", "callback_data": "a:1:n"}, map[string]any{"text": "Refuse", "callback_data": "r:1:n"}}}}
	if _, f := (Adapter{}).Send(t.Context(), c, out); f != nil || !reflect.DeepEqual(got["reply_markup"], want) || got["text"] != "approve?" {
		t.Errorf("%+v %v", f, got)
	}
	if f := (Adapter{}).Edit(t.Context(), c, out, "7"); f != nil || !reflect.DeepEqual(got["reply_markup"], want) {
		t.Errorf("%+v %v", f, got)
	}
	out.Buttons = nil
	if f := (Adapter{}).Edit(t.Context(), c, out, "7"); f != nil || got["reply_markup"] != nil {
		t.Errorf("%+v %v", f, got)
	}
}
