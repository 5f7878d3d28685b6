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

// TestGoogleChatRefuses: what the real one would not take.
func TestGoogleChatRefuses(t *testing.T) {
	s := New()
	srv := httptest.NewServer(s)
	defer srv.Close()
	token := GoogleToken("bot@simulated")
	s.AcceptOnly(token)
	ask := func(method, path, auth, body string) (int, map[string]any) {
		t.Helper()
		r, err := http.NewRequest(method, srv.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
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
	const to = "/googlechat/spaces/A/messages"
	for _, c := range []struct {
		method, path, auth, body string
		status                   int
	}{
		{"POST", to + "?messageId=client-1", token, `{"text":"hi","markupSyntax":"MARKUP_SYNTAX_CHAT"}`, 200},
		{"POST", to + "?messageId=client-1", token, `{"text":"hi"}`, 409},
		{"POST", to, token, `{"text":"hi"}`, 200},
		{"POST", to, "other", `{"text":"hi"}`, 401},
		{"POST", to + "?messageId=client-1", "other", `{"text":"hi"}`, 401},
		{"POST", to + "?messageId=mine", token, `{"text":"hi"}`, 400},
		{"POST", to, token, `{"text":" "}`, 400},
		{"POST", to, token, `{"text":"hi","newest":1}`, 400},
		{"POST", to, token, `{"text":"` + strings.Repeat("x", 32001) + `"}`, 400},
		{"POST", to, token, `{"text":"hi","thread":{"name":"spaces/B/threads/T"}}`, 400},
		{"POST", to + "?messageReplyOption=NONE", token, `{"text":"hi"}`, 400},
		{"PATCH", to + "/M00001.M?updateMask=text", token, `{"text":"more"}`, 200},
		{"PATCH", to + "/M00001.M", token, `{"text":"more"}`, 400},
		{"PATCH", to + "/M00009.M?updateMask=text", token, `{"text":"more"}`, 404},
		{"GET", "/googlechat/media/x?alt=media", "other", ``, 401},
		{"GET", "/googlechat/media/x", token, ``, 400},
		{"GET", "/googlechat/media/x?alt=media", token, ``, 404},
	} {
		if got, v := ask(c.method, c.path, c.auth, c.body); got != c.status {
			t.Errorf("%s %s %.60s: %d %v, want %d", c.method, c.path, c.body, got, v, c.status)
		}
	}
	if p := s.Posts(); len(p) != 2 || p[0].Text != "more" || p[0].Channel != "spaces/A" || p[0].KeyHash != Hash(token) {
		t.Errorf("%+v", p)
	}
}

func TestGoogleTokenIsTraded(t *testing.T) {
	srv := httptest.NewServer(New())
	defer srv.Close()
	good := map[string]any{"iss": "bot@simulated", "scope": "https://www.googleapis.com/auth/chat.bot", "aud": "https://oauth2.googleapis.com/token", "iat": 1000, "exp": 4600}
	trade := func(grant, assertion string) map[string]any {
		t.Helper()
		resp, err := srv.Client().PostForm(srv.URL+"/googletoken/token", url.Values{"grant_type": {grant}, "assertion": {assertion}})
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var v map[string]any
		_ = json.NewDecoder(resp.Body).Decode(&v)
		return v
	}
	const grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	claim := func(name string, v any) string {
		c := map[string]any{}
		for k, v := range good {
			c[k] = v
		}
		c[name] = v
		return signedToken(googleKeys().customers, map[string]any{"alg": "RS256", "kid": GoogleKeyID}, c)
	}
	if v := trade(grant, claim("iat", 1000)); v["access_token"] != GoogleToken("bot@simulated") {
		t.Errorf("%v", v)
	}
	for word, got := range map[string]map[string]any{
		"unsupported_grant_type": trade("password", claim("iat", 1000)), "invalid_scope": trade(grant, claim("scope", "x")),
	} {
		if got["error"] != word {
			t.Errorf("%v, want %s", got, word)
		}
	}
	for name, assertion := range map[string]string{"nothing": "", "another audience": claim("aud", "x"), "too long": claim("exp", 4601), "no account": claim("iss", "x"),
		"another key": signedToken(googleKeys().chat, map[string]any{"alg": "RS256", "kid": GoogleKeyID}, good), "another algorithm": signedToken(googleKeys().customers, map[string]any{"alg": "none", "kid": GoogleKeyID}, good)} {
		if v := trade(grant, assertion); v["error"] != "invalid_grant" {
			t.Errorf("%s: %v", name, v)
		}
	}
}
