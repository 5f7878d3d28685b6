package messenger

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Meta's documented answers, reduced (the sources are in package meta, read 2026-11-22).
const (
	tokenAnswer = `{"access_token":"EAAbusiness0123456789","token_type":"bearer"}`
	pagesAnswer = `{"data":[{"access_token":"EAApage0123456789","id":"682498302938465"}],"paging":{"cursors":{"before":"a","after":"b"}}}`
)

func TestAuthorize(t *testing.T) {
	app := webhook.Config{"client_id": {"4321"}, "config_id": {"8765"}}
	page := Entry().Shared.Consent
	u, err := url.Parse(page.Authorize("https://graph.facebook.com/v23.0", app, channel.Asked{State: "the state", Challenge: "unused", RedirectURI: "https://x.example/oauth/messenger/callback", Scopes: page.Scopes}))
	want := url.Values{"client_id": {"4321"}, "config_id": {"8765"}, "response_type": {"code"}, "redirect_uri": {"https://x.example/oauth/messenger/callback"}, "state": {"the state"}}
	if err != nil || u.Scheme+"://"+u.Host+u.Path != "https://www.facebook.com/v23.0/dialog/oauth" || !reflect.DeepEqual(u.Query(), want) {
		t.Errorf("%v %v", u, err)
	}
	if page.Ready(webhook.Config{"client_id": {"4321"}}) || page.Ready(webhook.Config{"config_id": {"1"}}) || !page.Ready(app) {
		t.Error("ready")
	}
}

// loginAPI is a Graph API that answers by path.
type loginAPI struct {
	status  map[string]int
	answers map[string]string
	seen    []string
	forms   map[string]url.Values
}

func newLoginAPI() *loginAPI {
	return &loginAPI{status: map[string]int{}, forms: map[string]url.Values{}, answers: map[string]string{"/v1/oauth/access_token": tokenAnswer, "/v1/me/accounts": pagesAnswer,
		"/v1/682498302938465/subscribed_apps": `{"success":true}`}}
}

func (g *loginAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	g.seen = append(g.seen, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization"))
	if g.forms[r.URL.Path], _ = url.ParseQuery(string(b)); r.Method == http.MethodGet {
		g.forms[r.URL.Path] = r.URL.Query()
	}
	w.Header().Set("Content-Type", "application/json")
	if s := g.status[r.URL.Path]; s != 0 {
		w.WriteHeader(s)
	}
	_, _ = io.WriteString(w, g.answers[r.URL.Path])
}

func (g *loginAPI) trade(t *testing.T) (channel.Granted, channel.ConsentFailure) {
	t.Helper()
	s := httptest.NewServer(g)
	defer s.Close()
	return Entry().Shared.Consent.Exchange(t.Context(), channel.Call{HTTP: s.Client(), BaseURL: s.URL + "/v1", Token: secret.FromString("the-secret"), Config: webhook.Config{"client_id": {"4321"}, "config_id": {"8765"}}},
		channel.Grant{Code: secret.FromString("the-code"), Verifier: secret.FromString("the-verifier"), RedirectURI: "https://x.example/cb"})
}

// TestExchange: code, page, subscription, each with its own token, none in an address.
func TestExchange(t *testing.T) {
	g := newLoginAPI()
	got, failure := g.trade(t)
	if failure != "" || !got.Token.Equal(secret.FromString("EAApage0123456789")) || !reflect.DeepEqual(got.Config, webhook.Config{pageID: {"682498302938465"}}) {
		t.Fatalf("%+v %q", got, failure)
	}
	want := []string{"POST /v1/oauth/access_token ", "GET /v1/me/accounts Bearer EAAbusiness0123456789", "POST /v1/682498302938465/subscribed_apps Bearer EAApage0123456789"}
	if !reflect.DeepEqual(g.seen, want) {
		t.Errorf("%q", g.seen)
	}
	if form := (url.Values{"client_id": {"4321"}, "client_secret": {"the-secret"}, "redirect_uri": {"https://x.example/cb"}, "code": {"the-code"}}); !reflect.DeepEqual(g.forms["/v1/oauth/access_token"], form) {
		t.Errorf("%v", g.forms["/v1/oauth/access_token"])
	}
	if q := (url.Values{"fields": {"id,access_token"}, "limit": {"25"}}); !reflect.DeepEqual(g.forms["/v1/me/accounts"], q) {
		t.Errorf("%v", g.forms["/v1/me/accounts"])
	}
	if fields := g.forms["/v1/682498302938465/subscribed_apps"].Get("subscribed_fields"); !strings.HasPrefix(fields, "messages,messaging_postbacks") {
		t.Errorf("%q", fields)
	}
}

// TestExchangeFailures: what each answer means; nothing is subscribed unless one page was
// chosen.
func TestExchangeFailures(t *testing.T) {
	const token, pages, subscribed = "/v1/oauth/access_token", "/v1/me/accounts", "/v1/682498302938465/subscribed_apps"
	fault := func(code string) string {
		return `{"error":{"message":"x","type":"OAuthException","code":` + code + `}}`
	}
	for name, c := range map[string]struct {
		path, answer string
		status       int
		failure      channel.ConsentFailure
		asked        int
	}{
		"a used code":               {token, fault("100"), 400, channel.CodeRefused, 1},
		"a wrong secret":            {token, fault("1"), 400, channel.AppRefused, 1},
		"an unknown app":            {token, fault("101"), 400, channel.AppRefused, 1},
		"its own trouble":           {token, fault("2"), 500, channel.VendorUnavailable, 1},
		"a page of HTML":            {token, "<html>", 200, channel.VendorUnavailable, 1},
		"a token that ends":         {token, `{"access_token":"EAAbusiness0123456789","token_type":"bearer","expires_in":5183944}`, 0, channel.TokenExpires, 1},
		"no token":                  {token, `{"token_type":"bearer"}`, 0, channel.AnswerMalformed, 1},
		"another type":              {token, `{"access_token":"EAAbusiness0123456789","token_type":"mac"}`, 0, channel.AnswerMalformed, 1},
		"no page":                   {pages, `{"data":[]}`, 0, channel.NoTenant, 2},
		"no list":                   {pages, `{"pages":[]}`, 0, channel.AnswerMalformed, 2},
		"two pages":                 {pages, strings.Replace(pagesAnswer, `}],`, `},{"id":"682498302938466","access_token":"EAApage0123456780"}],`, 1), 0, channel.SeveralTenants, 2},
		"one page, and more":        {pages, strings.Replace(pagesAnswer, `"paging":{`, `"paging":{"next":"https://graph.facebook.com/v23.0/1/accounts?after=b",`, 1), 0, channel.SeveralTenants, 2},
		"none yet, and more":        {pages, `{"data":[],"paging":{"next":"https://graph.facebook.com/v23.0/1/accounts?after=b"}}`, 0, channel.SeveralTenants, 2},
		"a page that is a path":     {pages, strings.Replace(pagesAnswer, "682498302938465", "me/../1", 1), 0, channel.AnswerMalformed, 2},
		"a page without a token":    {pages, `{"data":[{"id":"682498302938465"}]}`, 0, channel.AnswerMalformed, 2},
		"pages are limited":         {pages, fault("17"), 400, channel.VendorUnavailable, 2},
		"pages are down":            {pages, "", 503, channel.VendorUnavailable, 2},
		"not allowed to subscribe":  {subscribed, fault("200"), 403, channel.ScopesMissing, 3},
		"not subscribed":            {subscribed, `{"success":false}`, 0, channel.AnswerMalformed, 3},
		"subscribing does not work": {subscribed, fault("1"), 500, channel.VendorUnavailable, 3},
	} {
		g := newLoginAPI()
		g.answers[c.path], g.status[c.path] = c.answer, c.status
		if got, failure := g.trade(t); failure != c.failure || !got.Token.IsZero() || got.Config != nil || len(g.seen) != c.asked {
			t.Errorf("%s: %+v %q, asked %q", name, got, failure, g.seen)
		}
	}
}
