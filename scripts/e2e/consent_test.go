package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/latchkey/latchkey/scripts/internal/leak"
	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/scripts/internal/stack"
)

// clientSecret is a canary: it belongs to the vendor's token endpoint only.
const clientSecret = "CNRY6be20f93CLIENTSECRET"

// consentApp is an active app of the platform that tenants can authorise.
type consentApp struct {
	mockvendor.App
	id, signing string
}

func newConsentApp(t *testing.T) consentApp {
	t.Helper()
	n := serial.Add(1)
	a := consentApp{App: mockvendor.App{ClientID: fmt.Sprintf("1234.%d", 5000+n), Secret: fmt.Sprintf("%s%04d", clientSecret, n), AppID: fmt.Sprintf("A%08d", n),
		Redirect: world.BaseURL + "/oauth/slack/callback"}, signing: fmt.Sprintf("%scon%04d", signingSecret, n)}
	var app struct{ ID, State string }
	op := operator()
	admitSomebody(t, "slack")
	must(t, op.Call(t.Context(), http.MethodPost, "/api/operator/apps", map[string]any{"provider": "slack", "config": map[string]any{"app_id": a.AppID, "client_id": a.ClientID},
		"secrets": map[string]any{"signing_secret": a.signing, "client_secret": a.Secret}}, &app))
	must(t, op.Call(t.Context(), http.MethodPost, "/api/operator/apps/"+app.ID+"/activate", map[string]any{}, nil))
	a.id = app.ID
	return a
}

type begun struct {
	URL       string
	InstallID string `json:"install_id"`
}

func (x *tenant) beginConsent(app string) begun {
	x.t.Helper()
	var b begun
	must(x.t, stack.Admit(x.t.Context(), operator(), "slack", x.ID))
	x.call(http.MethodPost, "/installs/consent", map[string]any{"provider": "slack", "app": app}, &b)
	return b
}

// browser keeps cookies and follows no redirect by itself.
type browser struct {
	t testing.TB
	c *http.Client
}

func newBrowser(t testing.TB) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	must(t, err)
	return &browser{t, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (b *browser) open(method, address, origin string) answer {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, address, http.NoBody)
	must(b.t, err)
	if origin != "" {
		req.Header.Set("Origin", origin)
	}
	resp, err := b.c.Do(req)
	must(b.t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	must(b.t, err)
	if strings.HasPrefix(address, world.BaseURL) {
		noteAnswer(req.URL.Path, http.Header{}, body) // its address and cookie are what they are
	}
	return answer{resp.StatusCode, resp.Header, body}
}

// press opens our page, presses the button and lets the vendor's page decide; it
// returns the address that the vendor leads back to.
func (b *browser) press(at begun) string {
	b.t.Helper()
	if a := b.open(http.MethodGet, at.URL, ""); a.Status != http.StatusOK || !strings.Contains(string(a.Body), "You are about to connect") {
		b.t.Fatalf("%d %s", a.Status, a.Body)
	}
	sent := b.open(http.MethodPost, at.URL, world.BaseURL)
	if sent.Status != http.StatusSeeOther {
		b.t.Fatalf("%d %s", sent.Status, sent.Body)
	}
	page := b.open(http.MethodGet, sent.Header.Get("Location"), "")
	if page.Status != http.StatusFound {
		b.t.Fatalf("the vendor's page: %d %s", page.Status, page.Body)
	}
	return page.Header.Get("Location")
}

// refusals lists the reasons of an organisation's refused states, newest first.
func consentRows(t testing.TB, path, action string) (reasons []string) {
	t.Helper()
	var page struct {
		Items []struct {
			Action string
			Detail map[string]string
		}
	}
	must(t, operator().Call(t.Context(), http.MethodGet, path+"?limit=100", nil, &page))
	for _, r := range page.Items {
		if r.Action == action {
			reasons = append(reasons, r.Detail["reason"])
		}
	}
	return reasons
}

// TestConsent: an owner installs the platform's app on the vendor's page, and a
// message of that workspace is answered with the token that the vendor gave.
func TestConsent(t *testing.T) {
	app := newConsentApp(t)
	n := serial.Add(1)
	w := &workspace{tenant: newTenant(t, "free", 1_000_000), team: fmt.Sprintf("T%08d", n), secret: app.signing, token: fmt.Sprintf("%s-%04d", botToken, n)}
	vendor.Authorises(app.App, mockvendor.Tenant{Team: w.team, BotUser: "U0BOT", Token: w.token})
	at, b := w.beginConsent(app.id), newBrowser(t)
	back := b.press(at)
	done := b.open(http.MethodGet, back, "")
	if done.Status != http.StatusOK || !strings.Contains(string(done.Body), "<h1>Installed</h1>") {
		t.Fatalf("%d %s", done.Status, done.Body)
	}
	var i struct {
		State, Mode, App string
		Config           map[string]any
	}
	w.call(http.MethodGet, "/installs/"+at.InstallID, nil, &i)
	if i.State != "active" || i.Mode != "platform" || i.App != app.id || i.Config["team_id"] != w.team || i.Config["app_id"] != app.AppID || i.Config["bot_user_id"] != "U0BOT" {
		t.Errorf("%+v", i)
	}
	var agent struct{ ID string }
	w.call(http.MethodPost, "/agents", map[string]any{"name": "Helper", "instructions": "Be brief.", "model": simChat}, &agent)
	w.call(http.MethodPost, "/bindings", map[string]any{"install_id": at.InstallID, "selector": map[string]any{}, "agent_id": agent.ID}, nil)
	e := w.message("Ev1", "hello", "1760000001.000100")
	e.path = "/webhooks/slack/" + app.id
	e.body = []byte(strings.ReplaceAll(string(e.body), `"api_app_id":"A`+w.team[1:], `"api_app_id":"`+app.AppID))
	if a := e.send(t); a.Status != http.StatusOK {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	eventually(t, "the reply is posted with the vendor's token", func() bool { return len(w.posts()) == 1 })
	w.settled()
	// The workspace is taken: nobody else gets it, and the page says what to do.
	other := newTenant(t, "free", 0)
	again, second := other.beginConsent(app.id), newBrowser(t)
	vendor.Authorises(app.App, mockvendor.Tenant{Team: w.team, BotUser: "U0BOT", Token: w.token})
	if a := second.open(http.MethodGet, second.press(again), ""); a.Status != http.StatusConflict || !strings.Contains(string(a.Body), "revoke") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	var list struct{ Items []struct{ ID string } }
	other.call(http.MethodGet, "/installs", nil, &list)
	if len(list.Items) != 0 {
		t.Errorf("%+v", list)
	}
	// Neither state nor code nor verifier is in a log or a table.
	u, err := url.Parse(back)
	must(t, err)
	for name, text := range map[string]string{"state": u.Query().Get("state"), "code": u.Query().Get("code"), "verifier": vendor.Verifier(app.ClientID)} {
		if found := seenAnywhere(t, text); len(text) < 16 || len(found) > 0 {
			t.Errorf("the %s of %d bytes is in %v", name, len(text), found)
		}
	}
	if len(seenAnywhere(t, w.team)) == 0 {
		t.Error("a workspace's id is found nowhere: this does not search")
	}
}

// seenAnywhere looks for a text in the logs and tables.
func seenAnywhere(t testing.TB, text string) (found []string) {
	t.Helper()
	must(t, filepath.WalkDir(world.LogDir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		if err == nil && strings.Contains(string(b), text) {
			found = append(found, filepath.Base(p))
		}
		return err
	}))
	for role, name := range world.Tables {
		pages := dynamodb.NewScanPaginator(world.Dynamo, &dynamodb.ScanInput{TableName: aws.String(name)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(t.Context())
			must(t, err)
			for _, it := range page.Items {
				if len(leak.In(leak.Flatten(it), map[string]string{"text": text})) > 0 {
					found = append(found, string(role))
				}
			}
		}
	}
	return found
}

// TestConsentStateIsRefused is row 46 of the matrix: a state that is missing, used,
// too old, another organisation's or another vendor's is 400 with the same bytes,
// leaves a row, and trades nothing.
func TestConsentStateIsRefused(t *testing.T) {
	app := newConsentApp(t)
	x, y := newTenant(t, "free", 0), newTenant(t, "free", 0)
	audit := func(of *tenant) string { return "/api/orgs/" + of.ID + "/audit" }
	tenantOf := func(n int64) mockvendor.Tenant {
		return mockvendor.Tenant{Team: fmt.Sprintf("T%08d", n), BotUser: "U0BOT", Token: fmt.Sprintf("%s-%04d", botToken, n)}
	}
	vendor.Authorises(app.App, tenantOf(serial.Add(1)))
	bx, by := newBrowser(t), newBrowser(t)
	mine, theirs := x.beginConsent(app.id), y.beginConsent(app.id)
	back, foreign := bx.press(mine), by.press(theirs)
	var same []byte
	refused := func(name string, b *browser, address, rows, reason string) {
		t.Helper()
		before := len(consentRows(t, rows, "oauth.state_refused"))
		a := b.open(http.MethodGet, address, "")
		if same == nil {
			same = a.Body
		}
		if a.Status != http.StatusBadRequest || string(a.Body) != string(same) || a.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
		if got := consentRows(t, rows, "oauth.state_refused"); len(got) != before+1 || got[0] != reason {
			t.Errorf("%s: rows %v, %d before", name, got, before)
		}
	}
	callback := world.BaseURL + "/oauth/slack/callback"
	const all = "/api/operator/audit"
	refused("missing", bx, callback+"?code=x", all, "missing")
	refused("malformed", bx, callback+"?code=x&state=%3Cscript%3E", all, "malformed")
	refused("unknown", bx, callback+"?code=x&state="+strings.Repeat("A", 43), all, "unknown")
	refused("another organisation's", bx, foreign, audit(y), "other_browser")
	refused("no cookie", newBrowser(t), back, audit(x), "other_browser")
	refused("another vendor's", bx, strings.Replace(back, "/slack/", "/whatsapp/", 1), audit(x), "other_provider")
	// Two at once: one wins.
	var group sync.WaitGroup
	statuses := make([]int, 2)
	for i := range statuses {
		group.Add(1)
		go func() {
			defer group.Done()
			statuses[i] = bx.open(http.MethodGet, back, "").Status
		}()
	}
	group.Wait()
	if slices.Sort(statuses); !slices.Equal(statuses, []int{http.StatusOK, http.StatusBadRequest}) {
		t.Errorf("two at once: %v", statuses)
	}
	var list struct{ Items []struct{ ID, State string } }
	if x.call(http.MethodGet, "/installs", nil, &list); len(list.Items) != 1 || list.Items[0].State != "active" {
		t.Errorf("%+v", list)
	}
	// Its cookie is gone, so that it is not even known as used from here: a browser
	// that kept it is told the same.
	keeping := newBrowser(t)
	u, err := url.Parse(back)
	must(t, err)
	refused("used", keeping, u.String(), audit(x), "used")
	// Begun, and eleven minutes later.
	local(t, "/clock", map[string]any{"offset_seconds": 660})
	defer local(t, "/clock", map[string]any{"offset_seconds": 0})
	refused("expired", by, foreign, audit(y), "expired")
	if y.call(http.MethodGet, "/installs", nil, &list); len(list.Items) != 0 {
		t.Errorf("%+v", list)
	}
}

// TestConsentThatComesToNothing: declined, a wrong secret, a code too old, and a
// console that dies between the vendor's answer and its own write: no install is
// left, the state is used up, and beginning again works.
func TestConsentThatComesToNothing(t *testing.T) {
	app := newConsentApp(t)
	n := serial.Add(1)
	x := newTenant(t, "free", 0)
	who := mockvendor.Tenant{Team: fmt.Sprintf("T%08d", n), BotUser: "U0BOT", Token: fmt.Sprintf("%s-%04d", botToken, n)}
	nothing := func(name string, a answer, status int, title string) {
		t.Helper()
		if a.Status != status || !strings.Contains(string(a.Body), "<h1>"+title+"</h1>") {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
		var list struct{ Items []struct{ ID string } }
		if x.call(http.MethodGet, "/installs", nil, &list); len(list.Items) != 0 {
			t.Errorf("%s: %+v", name, list)
		}
	}
	b := newBrowser(t)
	declining := who
	declining.Declines = true
	vendor.Authorises(app.App, declining)
	nothing("declined", b.open(http.MethodGet, b.press(x.beginConsent(app.id)), ""), http.StatusOK, "Not installed")

	vendor.Authorises(app.App, who)
	back := b.press(x.beginConsent(app.id))
	vendor.ExpireCodes(app.ClientID)
	nothing("a code too old", b.open(http.MethodGet, back, ""), http.StatusBadGateway, "Not installed")

	back = b.press(x.beginConsent(app.id))
	changed := app.App
	changed.Secret = "another"
	vendor.Authorises(changed, who)
	nothing("a wrong secret", b.open(http.MethodGet, back, ""), http.StatusBadGateway, "Not installed")

	vendor.Authorises(app.App, mockvendor.Tenant{Team: who.Team, BotUser: who.BotUser, Token: who.Token, Scopes: "chat:write"})
	nothing("too few scopes", b.open(http.MethodGet, b.press(x.beginConsent(app.id)), ""), http.StatusBadGateway, "Not installed")
	vendor.Authorises(app.App, mockvendor.Tenant{Team: who.Team, BotUser: who.BotUser, Token: who.Token, AppID: "AOTHER0001"})
	nothing("another app", b.open(http.MethodGet, b.press(x.beginConsent(app.id)), ""), http.StatusBadGateway, "Not installed")

	vendor.Authorises(app.App, mockvendor.Tenant{Team: who.Team, BotUser: who.BotUser, Token: who.Token, Expires: true})
	nothing("a token that expires", b.open(http.MethodGet, b.press(x.beginConsent(app.id)), ""), http.StatusBadGateway, "Not installed")
	if got := consentRows(t, "/api/orgs/"+x.ID+"/audit", "oauth.failed"); !slices.Equal(got, []string{"token_expires", "other_app", "scopes_missing", "app_refused", "code_refused"}) {
		t.Errorf("rows %v", got)
	}

	vendor.Authorises(app.App, who)
	at := x.beginConsent(app.id)
	back = b.press(at)
	held := vendor.Hold(mockvendor.AfterTrade)
	got := make(chan int, 1)
	go func() { got <- b.open(http.MethodGet, back, "").Status }()
	select {
	case <-held.Reached():
	case <-time.After(time.Minute):
		t.Fatal("the code is not traded")
	}
	killBusy(t, "console")
	held.Release()
	if status := <-got; status < 500 {
		t.Errorf("a console that died answered %d", status)
	}
	nothing("killed", b.open(http.MethodGet, back, ""), http.StatusBadRequest, "Not accepted")
	if a := b.open(http.MethodGet, b.press(x.beginConsent(app.id)), ""); a.Status != http.StatusOK {
		t.Errorf("begun again: %d %s", a.Status, a.Body)
	}
	var one struct{ State string }
	var list struct{ Items []json.RawMessage }
	if x.call(http.MethodGet, "/installs", nil, &list); len(list.Items) != 1 || json.Unmarshal(list.Items[0], &one) != nil || one.State != "active" {
		t.Errorf("%s", list.Items)
	}
}
