package mockvendor

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// TestTeamsRefuses: what the real one would not take, and what is not documented.
func TestTeamsRefuses(t *testing.T) {
	const tenant, app, chat = "72f988bf-86f1-41af-91ab-2d7cd011db47", "c9e8c047-2a74-40a2-b28a-b162d5f5327c", "/v3/conversations/a:1_x/activities"
	s := New()
	srv := httptest.NewServer(s)
	defer srv.Close()
	token := TeamsToken("secret-1")
	s.AcceptOnly(token)
	ask := func(method, path, auth, kind, body string) (int, map[string]any) {
		t.Helper()
		r, err := http.NewRequest(method, srv.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", kind)
		r.Header.Set("Authorization", "Bearer "+auth)
		resp, err := srv.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		var v map[string]any
		_ = json.Unmarshal(b, &v)
		return resp.StatusCode, v
	}
	message := func(text string) string {
		b, _ := json.Marshal(text)
		return `{"type":"message","textFormat":"xml","text":` + string(b) + `}`
	}
	for _, c := range []struct {
		method, path, auth, body string
		status                   int
	}{
		{"POST", "/teams/emea/" + tenant + chat, token, message(`<strong>a</strong> &lt; <a href="https://a.example/">b</a><br/>`), 201},
		{"POST", "/teams/teams" + chat, token, `{"type":"message","text":"a < b"}`, 201},
		{"POST", "/teams/amer/v3/conversations/19:x@thread.tacv2%3Bmessageid=1/activities", token, message("a"), 201},
		{"POST", "/teams/emea" + chat, token, `{"type":"typing"}`, 201},
		{"POST", "/teams/emea" + chat, "other", message("a"), 401},
		{"POST", "/teams/moon" + chat, token, message("a"), 404},
		{"POST", "/teams/emea/common" + chat, token, message("a"), 404},
		{"POST", "/teams/emea/v3/conversations/x/activities", token, message("a"), 404},
		{"POST", "/teams/emea/v3/conversations/a:1%3Bmessageid=1/activities", token, message("a"), 404},
		{"POST", "/teams/emea/v3/conversations/19:x@thread.tacv2%3Bmessageid=/activities", token, message("a"), 404},
		{"POST", "/teams/emea" + chat, token, message("a < b"), 400},
		{"POST", "/teams/emea" + chat, token, message("<at>a</at>"), 400},
		{"POST", "/teams/emea" + chat, token, message(`<a onclick="x">b</a>`), 400},
		{"POST", "/teams/emea" + chat, token, message(" "), 400},
		{"POST", "/teams/emea" + chat, token, `{"type":"message","text":"a","newest":1}`, 400},
		{"POST", "/teams/emea" + chat, token, `{"type":"message","textFormat":"html","text":"a"}`, 400},
		{"POST", "/teams/emea" + chat, token, message(strings.Repeat("x", 51201)), 413},
		{"PUT", "/teams/emea" + chat + "/1600000000001", token, message("more"), 200},
		{"PUT", "/teams/emea" + chat + "/1600000000009", token, message("more"), 404},
		{"PUT", "/teams/emea" + chat + "/1600000000001", token, `{"type":"typing"}`, 400},
	} {
		if got, v := ask(c.method, c.path, c.auth, "application/json", c.body); got != c.status {
			t.Errorf("%s %s %.80s: %d %v, want %d", c.method, c.path, c.body, got, v, c.status)
		}
	}
	if posts, signs := s.Posts(), s.Signs(); len(posts) != 3 || posts[0].Text != "more" || posts[2].ThreadTS != "1" || posts[2].Channel != "19:x@thread.tacv2" || len(signs) != 1 || signs[0].Text != "typing" {
		t.Errorf("%+v %+v", posts, signs)
	}
	good := url.Values{"grant_type": {"client_credentials"}, "client_id": {app}, "client_secret": {"secret-1"}, "scope": {"https://api.botframework.com/.default"}}
	for _, c := range []struct{ tenant, name, value, want string }{
		{tenant, "", "", ""}, {"common", "", "", "invalid_request"}, {tenant, "client_id", "x", "unauthorized_client"}, {tenant, "client_secret", "secret-2", "invalid_client"},
		{tenant, "client_secret", "", "invalid_client"}, {tenant, "scope", "https://graph.microsoft.com/.default", "invalid_scope"}, {tenant, "grant_type", "password", "unsupported_grant_type"},
	} {
		form := url.Values{}
		for k, v := range good {
			form[k] = v
		}
		if c.name != "" {
			form.Set(c.name, c.value)
		}
		_, v := ask("POST", "/teamslogin/"+c.tenant+"/oauth2/v2.0/token", "", "application/x-www-form-urlencoded", form.Encode())
		if word, _ := v["error"].(string); word != c.want || c.want == "" && v["access_token"] != token {
			t.Errorf("%+v: %v", c, v)
		}
	}
}
