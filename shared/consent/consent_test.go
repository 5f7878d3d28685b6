package consent_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/consent"
	"github.com/latchkey/latchkey/shared/consent/consenttest"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/install/installtest"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
	"github.com/latchkey/latchkey/shared/webhook"
)

// trader stands in for conform.
type trader struct {
	mu      sync.Mutex
	asked   []consent.Trade
	granted channel.Granted
	failure channel.ConsentFailure
	err     error
}

func (f *trader) Trade(_ context.Context, t consent.Trade, _ time.Time) (channel.Granted, channel.ConsentFailure, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, t)
	if f.failure != "" || f.err != nil {
		return channel.Granted{}, f.failure, f.err
	}
	return f.granted, "", nil
}

type orgs map[string]org.Org

func (o orgs) Org(_ context.Context, id string) (org.Org, error) {
	if found, ok := o[id]; ok {
		return found, nil
	}
	return org.Org{}, fault.New(fault.NotFound, "", "")
}

type rows struct {
	mu  sync.Mutex
	all []audit.Row
}

func (r *rows) PutAudit(_ context.Context, row audit.Row) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, row)
	return nil
}

type env struct {
	*testing.T
	s        *consent.Service
	installs *install.Service
	states   *consenttest.Memory
	trader   *trader
	rows     *rows
	orgs     orgs
	now      time.Time
	ids      atomic.Int64
	app      install.Install
	masked   []string
}

func newEnv(t *testing.T) *env {
	t.Helper()
	e := &env{T: t, states: consenttest.NewMemory(), rows: &rows{}, now: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
		orgs: orgs{"o1": {ID: "o1", Name: `Acme <b>&`, Status: org.Active}, "o2": {ID: "o2", Name: "Other", Status: org.Active}}}
	v, err := vault.New(vault.Options{Store: vaulttest.NewStore(), KEK: vaulttest.NewKEK(), Fields: vaulttest.Fields(), Now: func() time.Time { return e.now }, App: "latchkey", Stage: "test"})
	if err != nil {
		t.Fatal(err)
	}
	memory := installtest.NewMemory()
	e.installs = &install.Service{Store: memory, Bindings: memory, Vault: v, Index: v, Catalog: catalog.New(catalog.Entries()), PublicURL: "https://api.example", Stages: installtest.Everybody{}}
	e.trader = &trader{granted: e.granted("T1", "xoxb-token-of-tenant-1")}
	var random byte
	e.s = &consent.Service{Store: e.states, Installs: e.installs, Orgs: e.orgs, Trader: e.trader, Rows: e.rows, Hasher: v, Catalog: e.installs.Catalog,
		Base: func(taxonomy.Channel) string { return "https://vendor.example/api" }, PublicURL: "https://api.example/", NewID: e.newID,
		Random: readerFunc(func(b []byte) (int, error) {
			random++
			copy(b, bytes.Repeat([]byte{random}, len(b)))
			return len(b), nil
		}),
		Mask: func(b []byte) {
			e.trader.mu.Lock() // visits may be at the same time
			defer e.trader.mu.Unlock()
			e.masked = append(e.masked, string(b))
		}}
	e.app = e.addApp("1")
	return e
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func (e *env) newID(time.Time) string { return fmt.Sprintf("id%d", e.ids.Add(1)) }

func (e *env) op() audit.Op { return audit.Op{Actor: "key:k1", ID: e.newID(e.now), At: e.now} }

func (e *env) granted(team, token string) channel.Granted {
	entry, _ := catalog.New(catalog.Entries()).Find(taxonomy.Slack)
	return channel.Granted{Token: secret.FromString(token), Scopes: entry.Shared.Consent.Scopes,
		Config: webhook.Config{"app_id": {"A1"}, "team_id": {team}, "bot_user_id": {"U1"}}}
}

// addApp is an active app of the platform that can be authorised.
func (e *env) addApp(id string) install.Install {
	e.Helper()
	app, err := e.installs.CreateApp(e.Context(), e.op(), install.New{ID: id, Provider: "slack", Config: webhook.Config{"app_id": {"A" + id}, "client_id": {"1234.5678"}},
		Secrets: map[string][]secret.Text{"signing_secret": {secret.FromString("signing-secret-" + id)}, "client_secret": {secret.FromString("client-secret-" + id)}}})
	if err == nil {
		app, err = e.installs.Activate(e.Context(), e.op(), org.Operator, app.ID)
	}
	if err != nil {
		e.Fatal(err)
	}
	return app
}

// begin returns the address of our page and the state.
func (e *env) begin(orgID string) (address, state string) {
	e.Helper()
	b, err := e.s.Begin(e.Context(), e.op(), orgID, consent.Request{Provider: "slack"})
	if err != nil {
		e.Fatal(err)
	}
	u, err := url.Parse(b.URL)
	if err != nil || !strings.HasPrefix(b.URL, "https://api.example/oauth/slack/begin?") || !b.Expires.Equal(e.now.Add(10*time.Minute)) || b.App != e.app.ID {
		e.Fatalf("%+v", b)
	}
	return b.URL, u.Query().Get("ticket")
}

func (e *env) visit(method, target string, cookies []string, origin string) consent.Page {
	e.Helper()
	u, err := url.Parse(target)
	if err != nil {
		e.Fatal(err)
	}
	return e.s.Serve(e.Context(), consent.Visit{Method: method, Path: u.Path, Query: u.Query(), Cookies: cookies, Origin: origin, Now: e.now})
}

// press opens our page and presses its button; it returns the cookie.
func (e *env) press(address string) (cookie string, to *url.URL) {
	e.Helper()
	if p := e.visit("GET", address, nil, ""); p.Status != 200 || p.Outcome != consent.Shown {
		e.Fatalf("%+v", p)
	}
	p := e.visit("POST", address, nil, "https://api.example")
	to, err := url.Parse(p.Header["location"])
	if p.Status != 303 || err != nil || len(p.Cookies) != 1 {
		e.Fatalf("%+v", p)
	}
	for _, want := range []string{"; Path=/", "; Max-Age=600", "; HttpOnly", "; Secure", "; SameSite=Lax"} {
		if !strings.Contains(p.Cookies[0], want) {
			e.Errorf("%s: no %s", p.Cookies[0], want)
		}
	}
	cookie, _, _ = strings.Cut(p.Cookies[0], ";")
	return cookie, to
}

func callback(state, more string) string {
	return "https://api.example/oauth/slack/callback?state=" + state + more
}

// actions lists the rows of an organisation written so far.
func (e *env) reasons(orgID, action string) (out []string) {
	for _, r := range e.rows.all {
		if r.Org == orgID && r.Action == action {
			out = append(out, r.Detail["reason"])
		}
	}
	return out
}

func TestWholeFlow(t *testing.T) {
	e := newEnv(t)
	address, state := e.begin("o1")
	page := e.visit("GET", address, nil, "")
	if !strings.Contains(page.Body, "Acme &lt;b&gt;&amp;") || strings.Contains(page.Body, state) || page.Header["referrer-policy"] != "same-origin" ||
		page.Header["x-frame-options"] != "DENY" || !strings.Contains(page.Header["content-security-policy"], "frame-ancestors 'none'") {
		t.Errorf("%+v", page)
	}
	cookie, to := e.press(address)
	q := to.Query()
	if to.Host != "vendor.example" || q.Get("state") != state || q.Get("redirect_uri") != "https://api.example/oauth/slack/callback" || q.Get("client_id") != "1234.5678" || !strings.HasPrefix(cookie, "__Host-lk_consent_") {
		t.Fatal(to, cookie)
	}
	done := e.visit("GET", callback(state, "&code=c1"), []string{"x=y", cookie}, "")
	if done.Status != 200 || done.Outcome != consent.Installed || !strings.Contains(done.Body, "Installed") || !strings.Contains(done.Cookies[0], "Max-Age=0") {
		t.Fatalf("%+v", done)
	}
	i, _, err := e.installs.Get(t.Context(), "o1", done.Install)
	if err != nil || i.State != install.Active || i.Mode != install.Platform || i.App != e.app.ID || i.Config.Get("team_id") != "T1" || i.Config.Get("app_id") != "A1" || i.Config.Get("client_id") != "" ||
		!slices.Equal(i.SecretsSet(), []string{"bot_token"}) {
		t.Fatalf("%+v %v", i, err)
	}
	traded := e.trader.asked[0]
	var verifier string
	_ = traded.Grant.Verifier.Use(func(b []byte) error { verifier = string(b); return nil })
	sum := sha256.Sum256([]byte(verifier))
	if len(verifier) < 43 || base64.RawURLEncoding.EncodeToString(sum[:]) != q.Get("code_challenge") || !traded.Grant.Code.Equal(secret.FromString("c1")) || traded.App != e.app.ID {
		t.Errorf("%+v", traded)
	}
	for _, s := range []string{state, verifier, "c1"} {
		if !slices.Contains(e.masked, s) {
			t.Errorf("%q is not masked", s)
		}
	}
	if stored := fmt.Sprintf("%+v", e.states); strings.Contains(stored, state) || strings.Contains(stored, verifier) {
		t.Error("the state or its verifier is stored")
	}
	// The rows name who began it.
	if e.states.Rows[0].Action != "oauth.begin" || e.states.Rows[1].Action != "oauth.answer" || e.states.Rows[1].Actor != "key:k1" || e.states.Rows[1].Org != "o1" {
		t.Errorf("%+v", e.states.Rows)
	}
}

// TestRefusedStates is row 46 of the security matrix: each leads to the same bytes,
// trades nothing, and leaves its row.
func TestRefusedStates(t *testing.T) {
	e := newEnv(t)
	address, state := e.begin("o1")
	cookie, _ := e.press(address)
	otherAddress, otherState := e.begin("o2")
	otherCookie, _ := e.press(otherAddress)
	unknown := base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{200}, 32))
	var same string
	try := func(name, target string, cookies []string, of, reason string) {
		t.Helper()
		before := len(e.reasons(of, "oauth.state_refused"))
		p := e.visit("GET", target, cookies, "")
		if p.Status != 400 || p.Outcome != consent.Refused || p.Reason != reason || len(p.Cookies) != 0 {
			t.Errorf("%s: %+v", name, p)
		}
		if same == "" {
			same = p.Body
		}
		if p.Body != same || strings.Contains(p.Body, "code=") {
			t.Errorf("%s: other bytes", name)
		}
		if got := e.reasons(of, "oauth.state_refused"); len(got) != before+1 || got[before] != reason {
			t.Errorf("%s: rows %v", name, got)
		}
	}
	code := "&code=c1"
	try("missing", "https://api.example/oauth/slack/callback?code=c1", nil, org.Operator, "missing")
	try("empty", callback("", code), []string{cookie}, org.Operator, "missing")
	try("twice in the address", callback(state, code+"&state="+state), []string{cookie}, org.Operator, "malformed")
	try("malformed", callback("x", code), nil, org.Operator, "malformed")
	try("unknown", callback(unknown, code), []string{cookie}, org.Operator, "unknown")
	try("another organisation's", callback(otherState, code), []string{cookie}, "o2", "other_browser")
	try("another organisation's cookie", callback(state, code), []string{otherCookie}, "o1", "other_browser")
	try("no cookie", callback(state, code), nil, "o1", "other_browser")
	try("another vendor's", strings.Replace(callback(state, code), "slack", "whatsapp", 1), []string{cookie}, "o1", "other_provider")
	try("no vendor's", strings.Replace(callback(state, code), "slack", "nobody", 1), []string{cookie}, "o1", "other_provider")
	if len(e.trader.asked) != 0 {
		t.Fatal("a code was traded")
	}
	// None of these used the state up.
	if p := e.visit("GET", callback(state, code), []string{cookie}, ""); p.Outcome != consent.Installed {
		t.Fatalf("%+v", p)
	}
	try("used", callback(state, code), []string{cookie}, "o1", "used")
	e.now = e.now.Add(consent.Lifetime)
	try("expired", callback(otherState, code), []string{otherCookie}, "o2", "expired")
	if len(e.trader.asked) != 1 {
		t.Errorf("%d trades", len(e.trader.asked))
	}
	// The page that leads to the vendor refuses the same states.
	for target, reason := range map[string]string{address: "expired", otherAddress: "expired", "https://api.example/oauth/slack/begin": "missing", "https://api.example/oauth/slack/begin?ticket=" + unknown: "unknown"} {
		for _, method := range []string{"GET", "POST"} {
			if p := e.visit(method, target, nil, "https://api.example"); p.Body != same || p.Reason != reason {
				t.Errorf("%s %s: %+v", method, target, p)
			}
		}
	}
}

// TestTheButtonIsPressedOnOurPage: another site cannot press it, so nobody is led
// to the vendor without having read for whom.
func TestTheButtonIsPressedOnOurPage(t *testing.T) {
	e := newEnv(t)
	address, _ := e.begin("o1")
	for _, origin := range []string{"", "null", "https://evil.example", "http://api.example", "https://api.example.evil.example"} {
		if p := e.visit("POST", address, nil, origin); p.Status != 400 || p.Reason != "other_site" || len(p.Cookies) != 0 || p.Header["location"] != "" {
			t.Errorf("%q: %+v", origin, p)
		}
	}
}

func TestOnlyOneOfManyWins(t *testing.T) {
	e := newEnv(t)
	address, state := e.begin("o1")
	cookie, _ := e.press(address)
	const together = 8
	got := make(chan consent.Outcome, together)
	for range together {
		go func() {
			p := e.s.Serve(context.Background(), consent.Visit{Method: "GET", Path: "/oauth/slack/callback", Query: url.Values{"state": {state}, "code": {"c"}}, Cookies: []string{cookie}, Now: e.now})
			got <- p.Outcome
		}()
	}
	won := map[consent.Outcome]int{}
	for range together {
		won[<-got]++
	}
	if won[consent.Installed] != 1 || won[consent.Refused] != together-1 || len(e.trader.asked) != 1 {
		t.Errorf("%v, %d trades", won, len(e.trader.asked))
	}
}

// TestWhoLosesTheWriteTradesNothing: between reading a state and using it up another
// callback may have won.
func TestWhoLosesTheWriteTradesNothing(t *testing.T) {
	for code, want := range map[fault.Code]consent.Outcome{fault.Conflict: consent.Refused, fault.Unavailable: consent.Unavailable} {
		e := newEnv(t)
		address, state := e.begin("o1")
		cookie, _ := e.press(address)
		e.states.Fail = func(method string) error {
			if method == "UseConsent" {
				return fault.New(code, "", "lost")
			}
			return nil
		}
		if p := e.visit("GET", callback(state, "&code=c"), []string{cookie}, ""); p.Outcome != want || len(e.trader.asked) != 0 {
			t.Errorf("%s: %+v, %d trades", code, p, len(e.trader.asked))
		}
	}
}

// TestWhatComesAfterTheState: it is used up whatever comes, nothing is installed,
// and the log says why.
func TestWhatComesAfterTheState(t *testing.T) {
	down := fault.New(fault.Unavailable, "", "down")
	for name, c := range map[string]struct {
		set    func(e *env)
		query  string
		out    consent.Outcome
		status int
		action string
		reason string
	}{
		"the person declines":           {nil, "&error=access_denied", consent.Declined, 200, "oauth.declined", "access_denied"},
		"the vendor says no":            {nil, "&error=%3Cscript%3E&code=c", consent.Declined, 200, "oauth.declined", "vendor_error"},
		"no code":                       {nil, "", consent.Failed, 502, "oauth.failed", "code_refused"},
		"a code too long":               {nil, "&code=" + strings.Repeat("c", 3000), consent.Failed, 502, "oauth.failed", "code_refused"},
		"the code is refused":           {func(e *env) { e.trader.failure = channel.CodeRefused }, "&code=c", consent.Failed, 502, "oauth.failed", "code_refused"},
		"conform does not answer":       {func(e *env) { e.trader.err = down }, "&code=c", consent.Unavailable, 503, "oauth.failed", ""},
		"another app's token":           {func(e *env) { e.trader.granted.Config["app_id"] = []string{"A2"} }, "&code=c", consent.Failed, 502, "oauth.failed", "other_app"},
		"a scope less":                  {func(e *env) { e.trader.granted.Scopes = e.trader.granted.Scopes[1:] }, "&code=c", consent.Failed, 502, "oauth.failed", "scopes_missing"},
		"the organisation is suspended": {func(e *env) { e.orgs["o1"] = org.Org{ID: "o1", Status: "suspended"} }, "&code=c", consent.Failed, 502, "oauth.failed", "org_not_active"},
		"the app was suspended": {func(e *env) {
			if _, err := e.installs.Suspend(e.Context(), e.op(), org.Operator, e.app.ID); err != nil {
				e.Fatal(err)
			}
		}, "&code=c", consent.Failed, 502, "oauth.failed", "not_set_up"},
		"the workspace is another's": {func(e *env) {
			if _, err := e.installs.Create(e.Context(), e.op(), org.Org{ID: "o2"}, org.Tiers{}, install.New{ID: "theirs", Provider: "slack", Mode: "platform", App: e.app.ID, Vouched: true,
				Config: webhook.Config{"team_id": {"T1"}}, Secrets: map[string][]secret.Text{"bot_token": {secret.FromString("xoxb-another-token")}}}); err != nil {
				e.Fatal(err)
			}
		}, "&code=c", consent.Conflicting, 409, "install.tenant_in_use", "in_use"},
	} {
		e := newEnv(t)
		address, state := e.begin("o1")
		cookie, _ := e.press(address)
		if c.set != nil {
			c.set(e)
		}
		p := e.visit("GET", callback(state, c.query), []string{cookie}, "")
		if p.Outcome != c.out || p.Status != c.status || strings.Contains(p.Body, "script") || p.Header["content-security-policy"] == "" {
			t.Errorf("%s: %+v", name, p)
		}
		if got := e.reasons("o1", c.action); !slices.Equal(got, []string{c.reason}) {
			t.Errorf("%s: rows %+v", name, e.rows.all)
		}
		if _, _, err := e.installs.Get(t.Context(), "o1", p.Install); fault.CodeOf(err) != fault.NotFound {
			t.Errorf("%s: an install is there: %v", name, err)
		}
		if again := e.visit("GET", callback(state, "&code=c"), []string{cookie}, ""); again.Reason != "used" {
			t.Errorf("%s: the state counts again: %+v", name, again)
		}
	}
}

func TestBeginRefusals(t *testing.T) {
	e := newEnv(t)
	try := func(r consent.Request, code fault.Code, param string) {
		t.Helper()
		if _, err := e.s.Begin(t.Context(), e.op(), "o1", r); fault.CodeOf(err) != code || fault.As(err).Param != param {
			t.Errorf("%+v: %v", r, err)
		}
	}
	try(consent.Request{Provider: "nobody"}, fault.InvalidRequest, "provider")
	try(consent.Request{Provider: "telegram"}, fault.InvalidRequest, "provider")
	try(consent.Request{Provider: "whatsapp"}, fault.InvalidRequest, "provider")
	for _, app := range []string{"app_9", "id1", "../x"} {
		try(consent.Request{Provider: "slack", App: app}, fault.InvalidRequest, "app")
	}
	if b, err := e.s.Begin(t.Context(), e.op(), "o1", consent.Request{Provider: "slack", App: e.app.ID}); err != nil || b.App != e.app.ID {
		t.Error(b, err)
	}
	e.installs.Stages = installtest.Stages{"slack/o2": true}
	try(consent.Request{Provider: "slack"}, fault.Conflict, "")
	e.installs.Stages = installtest.Everybody{}
	e.addApp("2")
	try(consent.Request{Provider: "slack"}, fault.InvalidRequest, "app")
	for _, id := range []string{"app_1", "app_2"} {
		if _, err := e.installs.Suspend(t.Context(), e.op(), org.Operator, id); err != nil {
			t.Fatal(err)
		}
		try(consent.Request{Provider: "slack", App: id}, fault.InvalidRequest, "app")
	}
	try(consent.Request{Provider: "slack"}, fault.InvalidRequest, "provider")
}

// TestRowsAreBounded: whoever makes up states does not fill the log.
func TestRowsAreBounded(t *testing.T) {
	e := newEnv(t)
	for range 200 {
		if p := e.visit("GET", callback("x", ""), nil, ""); p.Status != 400 {
			t.Fatal(p)
		}
	}
	if n := len(e.rows.all); n != 10 {
		t.Errorf("%d rows", n)
	}
	// One that somebody began has a budget of its own.
	_, state := e.begin("o1")
	for range 200 {
		e.visit("GET", callback(state, "&code=c"), nil, "") // without the cookie
	}
	if n := len(e.reasons("o1", "oauth.state_refused")); n != 60 {
		t.Errorf("%d rows of a state that was begun", n)
	}
	e.now = e.now.Add(time.Minute)
	e.visit("GET", callback("x", ""), nil, "")
	if n := len(e.reasons(org.Operator, "oauth.state_refused")); n != 11 {
		t.Errorf("%d rows after a minute", n)
	}
}

func TestOtherPaths(t *testing.T) {
	e := newEnv(t)
	for _, target := range []string{"/oauth/slack", "/oauth/slack/", "/oauth/slack/begin/x", "/oauth/slack/token", "/other/slack/begin"} {
		if p := e.visit("GET", "https://api.example"+target, nil, ""); p.Status != 404 || p.Outcome != consent.Lost {
			t.Errorf("%s: %+v", target, p)
		}
	}
	if p := e.visit("POST", callback("x", ""), nil, "https://api.example"); p.Status != 404 {
		t.Errorf("%+v", p)
	}
	e.states.Fail = func(string) error { return fault.New(fault.Unavailable, "", "down") }
	if p := e.visit("GET", callback(base64.RawURLEncoding.EncodeToString(make([]byte, 32)), ""), nil, ""); p.Status != 503 {
		t.Errorf("%+v", p)
	}
}

func TestStore(t *testing.T) { consenttest.Run(t, consenttest.NewMemory()) }

// conform answers as the function does.
type conform struct {
	t       *testing.T
	counter *consent.Counter
	raw     []byte
	garble  string
}

func (c *conform) Invoke(ctx context.Context, function string, payload []byte) ([]byte, error) {
	if c.raw = payload; function != "conform" || !consent.Mine(payload) {
		c.t.Fatal(function, string(payload))
	}
	if c.garble != "" {
		return []byte(c.garble), nil
	}
	trade, at, err := consent.ParseEvent(payload)
	if err != nil || at.IsZero() {
		c.t.Fatal(err)
	}
	a, err := c.counter.Trade(ctx, trade)
	if err != nil {
		return nil, err
	}
	return json.Marshal(a)
}
