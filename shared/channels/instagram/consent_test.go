package instagram

import (
	"fmt"
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

// TestConsent: the account of the one chosen page that has one is connected, over the
// page and with its token; pages without an account count for nothing.
func TestConsent(t *testing.T) {
	page := Entry().Shared.Consent
	u, err := url.Parse(page.Authorize(apiBase, webhook.Config{"client_id": {"4321"}, "config_id": {"8765"}}, channel.Asked{State: "s", RedirectURI: "https://x.example/cb"}))
	if err != nil || u.Host != "www.facebook.com" || !strings.HasSuffix(u.Path, "/dialog/oauth") || u.Query().Get("config_id") != "8765" {
		t.Errorf("%v %v", u, err)
	}
	const plain, mine, other = `{"id":"100001","access_token":"EAAplain0123456789"}`, `{"id":"100002","access_token":"EAApage0123456789","instagram_business_account":{"id":"17841400000000001"}}`,
		`{"id":"100003","access_token":"EAAother0123456789","instagram_business_account":{"id":"17841400000000002"}}`
	for pages, want := range map[string]channel.ConsentFailure{plain + "," + mine: "", mine: "", plain: channel.NoTenant, "": channel.NoTenant, mine + "," + other: channel.SeveralTenants} {
		var asked []string
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.Method+" "+r.URL.Path)
			w.Header().Set("Content-Type", "application/json")
			switch r.URL.Path {
			case "/oauth/access_token":
				fmt.Fprint(w, `{"access_token":"EAAbusiness0123456789","token_type":"bearer"}`)
			case "/me/accounts":
				if r.URL.Query().Get("fields") != "id,access_token,instagram_business_account{id}" {
					t.Errorf("%v", r.URL.Query())
				}
				fmt.Fprintf(w, `{"data":[%s]}`, pages)
			default:
				fmt.Fprint(w, `{"success":true}`)
			}
		}))
		got, failure := page.Exchange(t.Context(), channel.Call{HTTP: s.Client(), BaseURL: s.URL, Token: secret.FromString("the-secret"), Config: webhook.Config{"client_id": {"4321"}}},
			channel.Grant{Code: secret.FromString("the-code"), RedirectURI: "https://x.example/cb"})
		s.Close()
		if failure != want || failure == "" && (!reflect.DeepEqual(got.Config, webhook.Config{pageID: {"100002"}, accountID: {"17841400000000001"}}) ||
			!got.Token.Equal(secret.FromString("EAApage0123456789")) || asked[len(asked)-1] != "POST /100002/subscribed_apps") || failure != "" && len(asked) != 2 {
			t.Errorf("%s: %+v %q %q", pages, got, failure, asked)
		}
	}
}
