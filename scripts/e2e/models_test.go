package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestModelLists: what a vendor lists for a connection is kept by conform and
// shown in the model lists of every dialect and in the admin API.
func TestModelLists(t *testing.T) {
	x := newTenant(t, "enterprise", 0)
	c := x.connect(byokKey+"LISTS", map[string]any{"provider": "groq"})
	const name = "groq/sim-chat" // not priced, so not the platform's
	get := func(path, version string) string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, world.BaseURL+path, nil)
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+x.Key)
		if version != "" {
			req.Header.Set("Anthropic-Version", version)
		}
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		must(t, err)
		return string(body)
	}
	lists := func() map[string]string {
		return map[string]string{"chat": get("/v1/models", ""), "messages": get("/v1/models", "2023-06-01"), "gemini": get("/v1beta/models", "")}
	}
	for what, body := range lists() {
		if strings.Contains(body, name) || strings.Contains(body, `"error"`) {
			t.Errorf("%q before a list was read: %s", what, body)
		}
	}
	if h := x.probe(c.ID, "list_models"); h.Status != "ok" || h.ModelCount != 2 {
		t.Fatalf("%+v", h)
	}
	for what, body := range lists() {
		if !strings.Contains(body, name) {
			t.Errorf("%q: %s", what, body)
		}
	}
	var page struct {
		Items []struct{ Model, Status string }
	}
	must(t, json.Unmarshal([]byte(get("/api/models?connection="+c.ID, "")), &page))
	if len(page.Items) != 2 || !slices.ContainsFunc(page.Items, func(m struct{ Model, Status string }) bool { return m.Model == name && m.Status == "unverified" }) {
		t.Errorf("%+v", page.Items)
	}
}
