package telegram

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/secret"
)

// TestEdit: what stands there already is success, what was deleted has a name of its
// own, and formatting that is refused is left out.
func TestEdit(t *testing.T) {
	var path string
	var body map[string]any
	var answers []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, body = r.URL.Path, nil
		b, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(b, &body)
		a := `{"ok":true,"result":{"message_id":88}}`
		if len(answers) > 0 {
			a, answers = answers[0], answers[1:]
		}
		var o struct {
			Code int `json:"error_code"`
		}
		if _ = json.Unmarshal([]byte(a), &o); o.Code > 0 {
			w.WriteHeader(o.Code)
		}
		_, _ = io.WriteString(w, a)
	}))
	defer s.Close()
	c := channel.Call{HTTP: s.Client(), BaseURL: s.URL, Token: secret.FromString("7000001:AA-b_c"), Config: config()}
	edit := func(id string, said ...string) *channel.Failure {
		answers = said
		return Adapter{}.Edit(t.Context(), c, channel.Outgoing{To: "-100", Thread: "5", Text: "half", Format: `[{"type":"bold","offset":0,"length":4}]`}, id)
	}
	if f := edit("88"); f != nil || path != "/bot7000001:AA-b_c/editMessageText" || body["chat_id"] != float64(-100) || body["message_id"] != float64(88) ||
		body["text"] != "half" || body["entities"] == nil || body["message_thread_id"] != nil {
		t.Fatalf("%+v %s %v", f, path, body)
	}
	bad := func(text string) string {
		return `{"ok":false,"error_code":400,"description":"Bad Request: ` + text + `"}`
	}
	if f := edit("88", bad("message is not modified: specified new message content and reply markup are exactly the same")); f != nil {
		t.Errorf("%+v", f)
	}
	if f := edit("88", bad("message to edit not found")); f == nil || f.Certainty != channel.Refused || f.Code != channel.MessageGone {
		t.Errorf("%+v", f)
	}
	if f := edit("88", bad("message can't be edited")); f == nil || f.Certainty != channel.Refused || f.Code != "http_400" {
		t.Errorf("%+v", f)
	}
	if f := edit("88", bad("can't parse entities"), bad("message is not modified")); f != nil || body["entities"] != nil {
		t.Errorf("%+v %v", f, body)
	}
	if f := edit("88", `{"ok":false,"error_code":429,"description":"Too Many Requests","parameters":{"retry_after":9}}`); f == nil || f.Certainty != channel.RateLimited || f.RetryAfter != 9*time.Second {
		t.Errorf("%+v", f)
	}
	if f := edit("88", `{}`); f == nil || f.Certainty != channel.Ambiguous {
		t.Errorf("%+v", f)
	}
	path = ""
	if f := edit("8/8"); f == nil || f.Certainty != channel.Refused || path != "" {
		t.Errorf("%+v %s", f, path)
	}
}
