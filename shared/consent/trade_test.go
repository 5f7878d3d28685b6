package consent_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/consent"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
	"github.com/latchkey/latchkey/shared/webhook"
)

// alike has Slack's page for every channel.
type alike struct{ install.Catalog }

func (a alike) Find(id taxonomy.Channel) (channel.Entry, bool) {
	e, ok := a.Catalog.Find(taxonomy.Slack)
	e.ID = id
	return e, ok
}

// TestTrade: the code goes to conform and with the app's secret to the vendor, the
// token comes back, and what travels is masked on both sides.
func TestTrade(t *testing.T) {
	var basic string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, basic, _ = r.BasicAuth()
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"ok":true,"access_token":"xoxb-the-token","token_type":"bot","scope":"chat:write","bot_user_id":"U1","app_id":"A1","team":{"id":"T1"}}`)
	}))
	defer s.Close()
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	store := vaulttest.NewStore()
	v, err := vault.New(vault.Options{Store: store, KEK: vaulttest.NewKEK(), Fields: vaulttest.Fields(), Now: func() time.Time { return now }, App: "latchkey", Stage: "test"})
	if err == nil {
		_, err = v.Create(t.Context(), vault.NewCredential{Ref: vault.Ref{Org: "operator", ID: "app_1", Provider: "slack", Class: taxonomy.ChannelApp}, Label: "x",
			Fields: map[string]secret.Text{"client_secret": secret.FromString("the-client-secret")}, Op: audit.Op{Actor: "key:k", ID: "op1", At: now}})
	}
	if err != nil {
		t.Fatal(err)
	}
	var masked []string
	mask := func(b []byte) { masked = append(masked, string(b)) }
	c := &conform{t: t, counter: &consent.Counter{Vault: v, Catalog: alike{catalog.New(catalog.Entries())}, HTTP: s.Client(), Base: func(taxonomy.Channel) string { return s.URL + "/api" }, Mask: mask}}
	r := consent.Remote{Invoker: c, Mask: mask}
	ask := consent.Trade{Provider: taxonomy.Slack, App: "app_1", Config: webhook.Config{"client_id": {"1234.5678"}},
		Grant: channel.Grant{Code: secret.FromString("the-code"), Verifier: secret.FromString("the-verifier"), RedirectURI: "https://x.example/cb"}}
	got, failure, err := r.Trade(t.Context(), ask, now)
	if err != nil || failure != "" || !got.Token.Equal(secret.FromString("xoxb-the-token")) || got.Config.Get("team_id") != "T1" || !slices.Equal(got.Scopes, []string{"chat:write"}) || basic != "the-client-secret" {
		t.Fatalf("%+v %q %v %q", got, failure, err, basic)
	}
	for _, s := range []string{"the-code", "the-verifier", "xoxb-the-token"} {
		if !slices.Contains(masked, s) {
			t.Errorf("%q is not masked", s)
		}
	}
	for name, change := range map[string]func(*consent.Trade){
		"no such app":             func(t *consent.Trade) { t.App = "app_2" },
		"another vendor's secret": func(t *consent.Trade) { t.Provider = taxonomy.WhatsApp },
	} {
		basic = ""
		other := ask
		change(&other)
		if got, failure, err := r.Trade(t.Context(), other, now); err != nil || failure != channel.NotSetUp || !got.Token.IsZero() || basic != "" {
			t.Errorf("%s: %+v %q %v", name, got, failure, err)
		}
	}
	for _, answer := range []string{"", "null", "{}", `{"token":"x","failure":"y"}`, `{"token":"x","more":1}`, `{"failure":"x"} {}`} {
		c.garble = answer + " "
		if _, failure, err := r.Trade(t.Context(), ask, now); fault.CodeOf(err) != fault.Unavailable || failure != "" {
			t.Errorf("%q: %q %v", answer, failure, err)
		}
	}
}

// FuzzParseEvent: an event is whole or refused, and refusals repeat nothing.
func FuzzParseEvent(f *testing.F) {
	f.Add([]byte(`{"consent":{"provider":"slack","app":"app_1","config":{"client_id":["1.2"]},"code":"c","verifier":"v","redirect_uri":"https://x","at":"2026-03-04T05:06:07Z"}}`))
	f.Add([]byte(`{"consent":{}}`))
	f.Add([]byte(`{"org":"o","connection":"c","probe":"test_auth","at":"2026-03-04T05:06:07Z"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		trade, at, err := consent.ParseEvent(raw)
		switch {
		case err != nil && fault.CodeOf(err) != fault.InvalidRequest:
			t.Fatal(err)
		case err == nil && (!consent.Mine(raw) || trade.App == "" || trade.Grant.Code.IsZero() || trade.Grant.Verifier.IsZero() || at.IsZero()):
			t.Fatalf("%+v", trade)
		}
	})
}
