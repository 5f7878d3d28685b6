package anthropicmessages

import (
	"testing"
	"time"
)

func TestModels(t *testing.T) {
	got := string(EncodeModels(nil, []Listed{{ID: "a/b", Created: time.Date(2026, 5, 6, 0, 0, 0, 0, time.UTC), MaxInputTokens: 200000, MaxTokens: 64000}, {ID: "c"}}))
	want := `{"data":[{"type":"model","id":"a/b","display_name":"a/b","created_at":"2026-05-06T00:00:00Z","max_input_tokens":200000,"max_tokens":64000},` +
		`{"type":"model","id":"c","display_name":"c","created_at":"1970-01-01T00:00:00Z","max_input_tokens":null,"max_tokens":null}],"has_more":false,"first_id":"a/b","last_id":"c"}`
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if got := string(EncodeModels(nil, nil)); got != `{"data":[],"has_more":false,"first_id":null,"last_id":null}` {
		t.Error(got)
	}
}
