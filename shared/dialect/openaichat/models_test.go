package openaichat

import "testing"

func TestModels(t *testing.T) {
	got := string(EncodeModels(nil, []Listed{{ID: "a/b", OwnedBy: "a", Created: 5, Capabilities: []string{"text"}, ContextLength: 9, MaxCompletionTokens: 3}, {ID: "c", OwnedBy: "d"}}))
	want := `{"object":"list","data":[{"id":"a/b","object":"model","created":5,"owned_by":"a","capabilities":["text"],"context_length":9,"max_completion_tokens":3},` +
		`{"id":"c","object":"model","created":0,"owned_by":"d"}]}`
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}
