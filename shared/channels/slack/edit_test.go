package slack

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

// TestEdit holds the request of chat.update, and what its errors mean.
func TestEdit(t *testing.T) {
	var path string
	var body map[string]any
	status, said := 200, `{"ok":true,"ts":"1.2"}`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, body = r.URL.Path, nil
		b, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(b, &body)
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, said)
	}))
	defer s.Close()
	c := channel.Call{HTTP: s.Client(), BaseURL: s.URL, Token: secret.FromString("xoxb-1")}
	edit := func() *channel.Failure {
		return Adapter{}.Edit(t.Context(), c, channel.Outgoing{To: "C1", Thread: "1.0", Text: "half <!here>", TurnID: "t", Part: 1}, "1.2")
	}
	if f := edit(); f != nil || path != "/chat.update" || body["channel"] != "C1" || body["ts"] != "1.2" || body["text"] != "half &lt;!here&gt;" ||
		body["thread_ts"] != nil || body["unfurl_links"] != nil || body["metadata"] == nil {
		t.Fatalf("%+v %s %v", f, path, body)
	}
	for word, want := range map[string]channel.Failure{
		"message_not_found":   {Certainty: channel.Refused, Code: channel.MessageGone},
		"cant_update_message": {Certainty: channel.Refused, Code: "cant_update_message"},
		"edit_window_closed":  {Certainty: channel.Refused, Code: "edit_window_closed"},
		"internal_error":      {Certainty: channel.Ambiguous, Code: "internal_error"},
		"token_revoked":       {Certainty: channel.Refused, Code: "token_revoked", TokenRejected: true},
		"never_heard_of":      {Certainty: channel.Refused, Code: "refused"},
	} {
		said = `{"ok":false,"error":"` + word + `"}`
		if f := edit(); f == nil || *f != want {
			t.Errorf("%s: %+v", word, f)
		}
	}
	status = http.StatusTooManyRequests
	if f := edit(); f == nil || f.Certainty != channel.RateLimited || f.RetryAfter != 7*time.Second {
		t.Errorf("%+v", f)
	}
}
