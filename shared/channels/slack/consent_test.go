package slack

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	vendor "github.com/slack-go/slack"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
)

// grantedAnswer is oauth.v2.access's documented answer (docs.slack.dev, read
// 2026-11-22), reduced to what is read.
const grantedAnswer = `{"ok":true,"access_token":"xoxb-17653672481-19874698323","token_type":"bot","scope":"app_mentions:read,chat:write","bot_user_id":"U0KRQLJ9H",` +
	`"app_id":"A0KRD7HC3","team":{"name":"Slack Softball Team","id":"T9TK3CUKW"},"enterprise":{"name":"slack-sports","id":"E12345678"},` +
	`"is_enterprise_install":false,"authed_user":{"id":"U1234","scope":"","access_token":"xoxp-1234","token_type":"user"}}`

func TestAuthorize(t *testing.T) {
	asked := channel.Asked{State: "the state", Challenge: "the-challenge", RedirectURI: "https://x.example/oauth/slack/callback", Scopes: []string{"a:b", "c"}}
	for off, want := range map[string]url.Values{
		"":      {"client_id": {"1234.5678"}, "scope": {"a:b,c"}, "state": {"the state"}, "redirect_uri": {asked.RedirectURI}, "code_challenge": {"the-challenge"}, "code_challenge_method": {"S256"}},
		pkceOff: {"client_id": {"1234.5678"}, "scope": {"a:b,c"}, "state": {"the state"}, "redirect_uri": {asked.RedirectURI}},
	} {
		u, err := url.Parse(authorize(apiBase, webhook.Config{clientID: {"1234.5678"}, pkce: {off}}, asked))
		if err != nil || u.Scheme+"://"+u.Host+u.Path != "https://slack.com/oauth/v2/authorize" || !reflect.DeepEqual(u.Query(), want) {
			t.Errorf("%v %v", u, err)
		}
	}
}

// trade runs one exchange against a vendor that answers so.
func trade(t *testing.T, status int, answer, off string) (channel.Granted, channel.ConsentFailure, *http.Request, url.Values) {
	t.Helper()
	var seen *http.Request
	var form url.Values
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		seen = r
		form, _ = url.ParseQuery(string(b))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	defer s.Close()
	g, f := exchange(context.Background(), channel.Call{HTTP: s.Client(), BaseURL: s.URL + "/api", Token: secret.FromString("the-secret"), Config: webhook.Config{clientID: {"1234.5678"}, pkce: {off}}},
		channel.Grant{Code: secret.FromString("the-code"), Verifier: secret.FromString("the-verifier"), RedirectURI: "https://x.example/cb"})
	return g, f, seen, form
}

// TestExchange: what is sent, and what each kind of answer means.
func TestExchange(t *testing.T) {
	for _, off := range []string{"", pkceOff} {
		g, f, r, form := trade(t, 200, grantedAnswer, off)
		id, key, _ := r.BasicAuth()
		want := url.Values{"grant_type": {"authorization_code"}, "code": {"the-code"}, "redirect_uri": {"https://x.example/cb"}, "code_verifier": {"the-verifier"}}
		if off != "" {
			want.Del("code_verifier")
		}
		if f != "" || g.Token.IsZero() || r.Method != http.MethodPost || r.URL.Path != "/api/oauth.v2.access" || r.URL.RawQuery != "" || id != "1234.5678" || key != "the-secret" || !reflect.DeepEqual(form, want) {
			t.Errorf("%q: %q, %s %s %s:%s %v", off, f, r.Method, r.URL, id, key, form)
		}
	}
	for name, c := range map[string]struct {
		status  int
		answer  string
		failure channel.ConsentFailure
	}{
		"unauthorised":       {401, `{"ok":false}`, channel.AppRefused},
		"a bad request":      {400, `{"ok":false}`, channel.CodeRefused},
		"too many":           {429, `{"ok":false}`, channel.VendorUnavailable},
		"an error":           {500, `<html>`, channel.VendorUnavailable},
		"a page":             {200, `<html>`, channel.VendorUnavailable},
		"an answer too long": {200, `{"ok":true,"x":"` + strings.Repeat("x", 300<<10) + `"}`, channel.VendorUnavailable},
	} {
		if g, f, _, _ := trade(t, c.status, c.answer, ""); f != c.failure || !g.Token.IsZero() {
			t.Errorf("%s: %q", name, f)
		}
	}
}

func TestGranted(t *testing.T) {
	for name, c := range map[string]struct {
		old, new string
		failure  channel.ConsentFailure
		tenant   webhook.Config
	}{
		"a workspace":                 {"", "", "", webhook.Config{appID: {"A0KRD7HC3"}, botUserID: {"U0KRQLJ9H"}, teamID: {"T9TK3CUKW"}}},
		"a whole organisation":        {`"is_enterprise_install":false`, `"is_enterprise_install":true`, "", webhook.Config{appID: {"A0KRD7HC3"}, botUserID: {"U0KRQLJ9H"}, enterpriseID: {"E12345678"}}},
		"no workspace":                {`"team":{"name":"Slack Softball Team","id":"T9TK3CUKW"}`, `"team":null`, channel.AnswerMalformed, nil},
		"no app":                      {`"app_id":"A0KRD7HC3"`, `"app_id":"a key/../"`, channel.AnswerMalformed, nil},
		"a user's token":              {`"token_type":"bot"`, `"token_type":"user"`, channel.AnswerMalformed, nil},
		"a token that is none":        {"xoxb-17653672481-19874698323", "x", channel.AnswerMalformed, nil},
		"a token that ends":           {`"ok":true`, `"ok":true,"expires_in":43200,"refresh_token":"xoxe-1"`, channel.TokenExpires, nil},
		"a used code":                 {`"ok":true`, `"ok":false,"error":"code_already_used"`, channel.CodeRefused, nil},
		"an unknown code":             {`"ok":true`, `"ok":false,"error":"invalid_code"`, channel.CodeRefused, nil},
		"a wrong secret":              {`"ok":true`, `"ok":false,"error":"bad_client_secret"`, channel.AppRefused, nil},
		"an unknown app":              {`"ok":true`, `"ok":false,"error":"invalid_client_id"`, channel.AppRefused, nil},
		"an error nobody knows":       {`"ok":true`, `"ok":false,"error":"<b>text</b>"`, channel.CodeRefused, nil},
		"an error of the vendor's":    {`"ok":true`, `"ok":false,"error":"internal_error"`, channel.VendorUnavailable, nil},
		"an answer that says nothing": {`"ok":true`, `"fine":true`, channel.AnswerMalformed, nil},
	} {
		o, err := channel.StrictJSON([]byte(strings.Replace(grantedAnswer, c.old, c.new, 1)))
		if err != nil {
			t.Fatal(name, err)
		}
		g, f := granted(o)
		if f != c.failure || !reflect.DeepEqual(g.Config, c.tenant) || g.Token.IsZero() != (f != "") {
			t.Errorf("%s: %+v %q", name, g, f)
		}
		if f == "" && !slices.Equal(g.Scopes, []string{"app_mentions:read", "chat:write"}) {
			t.Errorf("%s: %v", name, g.Scopes)
		}
	}
}

// TestGrantedOracle: a library by other people reads the same out of the answer.
func TestGrantedOracle(t *testing.T) {
	var theirs vendor.OAuthV2Response
	if err := json.Unmarshal([]byte(grantedAnswer), &theirs); err != nil {
		t.Fatal(err)
	}
	o, _ := channel.StrictJSON([]byte(grantedAnswer))
	g, f := granted(o)
	if f != "" || !g.Token.Equal(secret.FromString(theirs.AccessToken)) || g.Config.Get(teamID) != theirs.Team.ID || g.Config.Get(appID) != theirs.AppID ||
		g.Config.Get(botUserID) != theirs.BotUserID || strings.Join(g.Scopes, ",") != theirs.Scope {
		t.Errorf("%+v %q, theirs %+v", g, f, theirs)
	}
}

// FuzzGranted: whatever a vendor answers is a token with a tenant, or a failure.
func FuzzGranted(f *testing.F) {
	f.Add([]byte(grantedAnswer))
	f.Add([]byte(`{"ok":false,"error":"x"}`))
	f.Add([]byte(`{"ok":true,"team":{"id":1},"is_enterprise_install":true}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := channel.StrictJSON(b)
		if err != nil {
			return
		}
		g, failure := granted(o)
		if g.Token.IsZero() == (failure == "") {
			t.Fatal(failure)
		}
		if failure == "" {
			if _, tenant := tenant(g.Config); len(tenant) < 4 {
				t.Fatal(tenant)
			}
		}
	})
}
