package discord

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
)

// grantedAnswer is the documented answer of an extended bot authorisation, reduced
// (docs.discord.com, "OAuth2", "Advanced Bot Authorization", read 2026-11-22).
const grantedAnswer = `{"token_type":"Bearer","guild":{"id":"290926798626357250","name":"A","owner_id":"53908232506183680","roles":[]},` +
	`"access_token":"zMndOe7jFLXGawdlxMOdNvXjjOce5X","scope":"applications.commands bot","expires_in":604800,"refresh_token":"mgp8qnvBwJcmadwgCHKyAAXEGyzqXd"}`

func TestAuthorize(t *testing.T) {
	u, err := url.Parse(authorize(apiBase, webhook.Config{applicationID: {app}}, channel.Asked{State: "the state", Challenge: "the-challenge",
		RedirectURI: "https://x.example/oauth/discord/callback", Scopes: []string{botScope, commandsScope}}))
	want := url.Values{"client_id": {app}, "response_type": {"code"}, "scope": {"bot applications.commands"}, "permissions": {permissions}, "integration_type": {"0"},
		"redirect_uri": {"https://x.example/oauth/discord/callback"}, "state": {"the state"}, "code_challenge": {"the-challenge"}, "code_challenge_method": {"S256"}}
	if err != nil || u.Scheme+"://"+u.Host+u.Path != "https://discord.com/oauth2/authorize" || !reflect.DeepEqual(u.Query(), want) {
		t.Errorf("%v %v", u, err)
	}
}

func trade(t *testing.T, status int, answer string) (channel.Granted, channel.ConsentFailure, *http.Request, url.Values) {
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
	g, f := exchange(t.Context(), channel.Call{HTTP: s.Client(), BaseURL: s.URL + "/api/v10", Token: secret.FromString("the-secret"), Config: webhook.Config{applicationID: {app}}},
		channel.Grant{Code: secret.FromString("the-code"), Verifier: secret.FromString("the-verifier"), RedirectURI: "https://x.example/cb"})
	return g, f, seen, form
}

// TestExchange: what is sent, and what each kind of answer means. The person's token is
// kept in no case.
func TestExchange(t *testing.T) {
	g, f, r, form := trade(t, 200, grantedAnswer)
	id, key, _ := r.BasicAuth()
	want := url.Values{"grant_type": {"authorization_code"}, "code": {"the-code"}, "redirect_uri": {"https://x.example/cb"}, "code_verifier": {"the-verifier"}}
	if f != "" || !g.Token.IsZero() || r.Method != http.MethodPost || r.URL.Path != "/api/v10/oauth2/token" || r.URL.RawQuery != "" || id != app || key != "the-secret" ||
		!strings.HasPrefix(r.Header.Get("User-Agent"), "DiscordBot (") || !reflect.DeepEqual(form, want) {
		t.Errorf("%q, %s %s %s:%s %v", f, r.Method, r.URL, id, key, form)
	}
	if !reflect.DeepEqual(g.Config, webhook.Config{applicationID: {app}, guildID: {"290926798626357250"}}) || !slices.Equal(g.Scopes, []string{commandsScope, botScope}) {
		t.Errorf("%+v", g)
	}
	for name, c := range map[string]struct {
		status  int
		answer  string
		failure channel.ConsentFailure
		scopes  []string
	}{
		"a wrong secret":     {401, `{"error":"invalid_client"}`, channel.AppRefused, nil},
		"a used code":        {400, `{"error":"invalid_grant"}`, channel.CodeRefused, nil},
		"too many":           {429, `{"retry_after":1}`, channel.VendorUnavailable, nil},
		"an error":           {500, `<html>`, channel.VendorUnavailable, nil},
		"a page":             {200, `<html>`, channel.VendorUnavailable, nil},
		"an answer too long": {200, `{"x":"` + strings.Repeat("x", 300<<10) + `"}`, channel.VendorUnavailable, nil},
		"no server":          {200, strings.Replace(grantedAnswer, `"guild":`, `"guilds":`, 1), channel.AnswerMalformed, nil},
		"no id":              {200, strings.Replace(grantedAnswer, "290926798626357250", "me/../", 1), channel.AnswerMalformed, nil},
		"no token":           {200, strings.Replace(grantedAnswer, "access_token", "token", 1), channel.AnswerMalformed, nil},
		"many scopes":        {200, strings.Replace(grantedAnswer, `"scope":"`, `"scope":"`+strings.Repeat("a ", 60), 1), channel.AnswerMalformed, nil},
		"the bot alone":      {200, strings.Replace(grantedAnswer, "applications.commands bot", "bot", 1), "", []string{botScope, commandsScope}},
		"commands alone":     {200, strings.Replace(grantedAnswer, "applications.commands bot", "applications.commands", 1), "", []string{commandsScope}},
	} {
		if g, f, _, _ := trade(t, c.status, c.answer); f != c.failure || !g.Token.IsZero() || !slices.Equal(g.Scopes, c.scopes) || (f != "") != (g.Config == nil) {
			t.Errorf("%s: %q %+v", name, f, g)
		}
	}
}

// TestShared: what the app holds and what its servers hold; a direct message is
// nobody's.
func TestShared(t *testing.T) {
	e := Entry()
	of := func(e channel.Entry) (secrets, settings []string) {
		for _, f := range e.Secrets {
			secrets = append(secrets, f.Name)
		}
		for _, f := range e.Config {
			settings = append(settings, f.Name)
		}
		return secrets, settings
	}
	if secrets, settings := of(e.OfApp()); !slices.Equal(secrets, []string{botToken, clientSecret}) || !slices.Equal(settings, []string{applicationID, webhook.KeysSetting}) {
		t.Errorf("the app: %v %v", secrets, settings)
	}
	if secrets, settings := of(e.OfTenant("app_1")); secrets != nil || !slices.Equal(settings, []string{applicationID, guildID}) {
		t.Errorf("a server: %v %v", secrets, settings)
	}
	if common := e.Common(); !slices.Equal(common, []string{applicationID}) || !e.AppSends() {
		t.Errorf("%v", common)
	}
	_, tenant := e.OfTenant("app_1").Tenant(config(guild))
	if got := e.Shared.Locate(channel.Identity{applicationID: app, guildID: guild}); got != tenant || got == "" {
		t.Errorf("%q, claimed is %q", got, tenant)
	}
	if got := e.Shared.Locate(channel.Identity{applicationID: app, guildID: ""}); got != "" {
		t.Errorf("a direct message: %q", got)
	}
}

// FuzzGranted: whatever is answered is a server or a failure.
func FuzzGranted(f *testing.F) {
	f.Add([]byte(grantedAnswer))
	f.Add([]byte(`{"guild":{"id":7},"access_token":"x","scope":"bot"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := channel.StrictJSON(b)
		if err != nil {
			return
		}
		g, failure := granted(o, app)
		if (failure == "") != snowflake.MatchString(g.Config.Get(guildID)) || !g.Token.IsZero() {
			t.Fatalf("%+v %q", g, failure)
		}
	})
}
