package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/scripts/internal/stack"
)

// TestMetaConsent: two organisations connect a page, or an account of Instagram, each to
// the platform's app on Meta's page; messages go to the organisation whose it is and are
// answered with its token. Nothing, several or somebody else's connects nothing, and an
// organisation's own app with the same page stands beside it.
func TestMetaConsent(t *testing.T) {
	for _, provider := range []string{"messenger", "instagram"} {
		t.Run(provider, func(t *testing.T) { metaConsent(t, provider) })
	}
}

func metaConsent(t *testing.T, provider string) {
	n := serial.Add(1)
	secret := fmt.Sprintf("CNRY%sapp%06d", provider, n)
	app := mockvendor.App{ClientID: fmt.Sprintf("56%08d", n), Secret: fmt.Sprintf("%s%04d", clientSecret, n), Redirect: world.BaseURL + "/oauth/" + provider + "/callback"}
	var made struct{ ID string }
	op := operator()
	must(t, op.Call(t.Context(), http.MethodPost, "/api/operator/apps", map[string]any{"provider": provider, "config": map[string]any{"client_id": app.ClientID, "config_id": "8765"},
		"secrets": map[string]any{"app_secret": secret, "verify_token": secret + "v", "client_secret": app.Secret}}, &made))
	admitSomebody(t, provider)
	must(t, op.Call(t.Context(), http.MethodPost, "/api/operator/apps/"+made.ID+"/activate", map[string]any{}, nil))
	connect := func(x *tenant, who mockvendor.Tenant) (answer, string) {
		must(t, stack.Admit(t.Context(), operator(), provider, x.ID))
		vendor.Authorises(app, who)
		var b begun
		x.call(http.MethodPost, "/installs/consent", map[string]any{"provider": provider, "app": made.ID}, &b)
		someone := newBrowser(t)
		return someone.open(http.MethodGet, someone.press(b), ""), b.InstallID
	}
	phoneOf := func() *phone {
		p := &phone{tenant: newTenant(t, "free", 1_000_000), channelCase: caseOf(t, provider), secret: secret}
		p.fills(p, serial.Add(1), map[string]any{})
		return p
	}
	one, two := phoneOf(), phoneOf()
	for i, p := range []*phone{one, two} {
		done, install := connect(p.tenant, mockvendor.Tenant{Team: p.number, Token: p.token})
		if done.Status != http.StatusOK || !strings.Contains(string(done.Body), "<h1>Installed</h1>") {
			t.Fatalf("%d %s", done.Status, done.Body)
		}
		p.install = install
		p.bind("Helper", map[string]any{})
		var shown struct {
			State, Mode, App string
			Config           map[string]any
		}
		p.call(http.MethodGet, "/installs/"+install, nil, &shown)
		if page := mockvendor.PageOf(p.number); shown.State != "active" || shown.App != made.ID || shown.Config["page_id"] != page || !strings.Contains(vendor.Subscribed(page), "messages") {
			t.Errorf("%+v, subscribed to %q", shown, vendor.Subscribed(page))
		}
		at := *p
		at.install = made.ID
		if a := at.post(secret, p.text(10+i, "4915112345678", "", fmt.Sprintf("hello %d", i))); a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		eventually(t, "it is answered", func() bool { return len(p.posts()) == 1 })
		if got := p.posts()[0].Text; got != fmt.Sprintf("You said: hello %d", i) {
			t.Errorf("%q", got)
		}
	}
	// Nothing, several, a page that is another organisation's, and a token that ends.
	other := phoneOf()
	for name, c := range map[string]struct {
		who    mockvendor.Tenant
		status int
		reason string
		action string
	}{
		"nothing":        {mockvendor.Tenant{Token: other.token}, http.StatusConflict, "no_tenant", "oauth.failed"},
		"several":        {mockvendor.Tenant{Team: other.number, Token: other.token, Pages: []string{one.number}}, http.StatusConflict, "several_tenants", "oauth.failed"},
		"another's":      {mockvendor.Tenant{Team: one.number, Token: one.token + "9"}, http.StatusConflict, "in_use", "install.tenant_in_use"},
		"a token's end":  {mockvendor.Tenant{Team: other.number, Token: other.token, Expires: true}, http.StatusBadGateway, "token_expires", "oauth.failed"},
		"it is declined": {mockvendor.Tenant{Declines: true}, http.StatusOK, "access_denied", "oauth.declined"},
	} {
		done, _ := connect(other.tenant, c.who)
		if rows := other.auditReasons(c.action); done.Status != c.status || len(rows) == 0 || rows[0] != c.reason {
			t.Errorf("%s: %d %s, rows %v", name, done.Status, done.Body, rows)
		}
	}
	if got := other.liveInstalls(); len(got) != 0 || vendor.Subscribed(mockvendor.PageOf(other.number)) != "" {
		t.Errorf("%v, subscribed to %q", got, vendor.Subscribed(mockvendor.PageOf(other.number)))
	}
	// An own app in the same page: its path, its secret, its token.
	own := newPhone(t, provider)
	crossed := *own
	crossed.install = made.ID
	if a := crossed.post(own.secret, own.text(40, "4915112345678", "", "x")); a.Status != http.StatusUnauthorized {
		t.Errorf("an own app's secret at the platform's: %d", a.Status)
	}
	if a := own.post(secret, own.text(41, "4915112345678", "", "x")); a.Status != http.StatusUnauthorized {
		t.Errorf("the platform's secret at an own app: %d", a.Status)
	}
	in := map[string]any{"provider": provider, "mode": "byoa"}
	same := phoneOf()
	must(t, operator().Call(t.Context(), http.MethodPatch, "/api/orgs/"+same.ID, map[string]any{"tier": "enterprise"}, nil))
	same.fills(same, serial.Add(1), in)
	for name := range in["config"].(map[string]any) {
		in["config"] = map[string]any{name: one.number}
	}
	var install struct{ ID string }
	same.call(http.MethodPost, "/installs", in, &install)
	if got := one.liveInstalls(); !slices.Equal(got, []string{one.install}) {
		t.Errorf("%v", got)
	}
	// A page that nobody connected is nobody's.
	stranger := phoneOf()
	stranger.install = made.ID
	if a := stranger.post(secret, stranger.text(42, "4915112345678", "", "x")); a.Status != http.StatusOK || len(stranger.posts()) != 0 {
		t.Errorf("a stranger: %d", a.Status)
	}
	one.settled()
	one.consistent()
}
