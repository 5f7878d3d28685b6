package consent_test

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/consent"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
)

// newClaimEnv has two bots of the platform; begin returns the state in the links.
func newClaimEnv(t *testing.T) (e *env, app string, begin func(orgID string) (hash, installID string)) {
	e = newEnv(t)
	e.s.Tenants = e.installs.Store
	for _, id := range []string{"7", "8"} {
		made, err := e.installs.CreateApp(t.Context(), e.op(), install.New{ID: id, Provider: "telegram", Config: webhook.Config{"bot_username": {"Platform_bot"}},
			Secrets: map[string][]secret.Text{"secret_token": {secret.FromString("secret-token-of-" + id)}, "bot_token": {secret.FromString("70000" + id + ":the-token-of-the-bot-" + id)}}})
		if err == nil {
			made, err = e.installs.Activate(t.Context(), e.op(), org.Operator, made.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return e, "app_7", func(orgID string) (hash, installID string) {
		t.Helper()
		b, err := e.s.Begin(t.Context(), e.op(), orgID, consent.Request{Provider: "telegram", App: "app_7"})
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(b.URL)
		room, err2 := url.Parse(b.RoomURL)
		state := u.Query().Get("start")
		if err != nil || err2 != nil || !strings.HasPrefix(b.URL, "https://t.me/Platform_bot?start=") || len(state) != 43 || room.Query().Get("startgroup") != state {
			t.Fatalf("%+v", b)
		}
		return consent.HashOf(state), b.Install
	}
}

func (e *env) said(hash, app, chat string) consent.Said {
	return consent.Said{Hash: hash, Provider: "telegram", App: app, Config: webhook.Config{"chat_id": {chat}}, At: e.now}
}

// TestClaim: the chat is told first, then it is the organisation's, and whoever sees the
// rows sees who began it.
func TestClaim(t *testing.T) {
	e, app, begin := newClaimEnv(t)
	hash, id := begin("o1")
	told := [2]string{}
	done, err := e.s.Claim(t.Context(), e.said(hash, app, "-42"), func(_ context.Context, name, organisation string) bool {
		if _, _, err := e.installs.Get(t.Context(), "o1", id); fault.CodeOf(err) != fault.NotFound {
			t.Errorf("the install is there before the chat was told: %v", err)
		}
		told = [2]string{name, organisation}
		return true
	})
	if err != nil || done != (consent.Claimed{Outcome: consent.Installed, Org: "o1", Install: id}) || told != [2]string{e.orgs["o1"].Name, "o1"} {
		t.Fatalf("%+v %v %q", done, err, told)
	}
	i, _, err := e.installs.Get(t.Context(), "o1", id)
	if err != nil || i.State != install.Active || i.Mode != install.Platform || i.App != app || i.Config.Get("chat_id") != "-42" || i.Config.Get("bot_id") != "700007" || len(i.Secrets) != 0 {
		t.Errorf("%+v %v", i, err)
	}
	if len(e.trader.asked) != 0 || !slices.ContainsFunc(e.states.Rows, func(r audit.Row) bool { return r.Action == "oauth.answer" && r.Actor == "key:k1" && r.Target == id }) {
		t.Errorf("%+v %+v", e.trader.asked, e.states.Rows)
	}
}

// TestRefusedClaims: states that do not count are refused with a row, tell the chat
// nothing and install nothing.
func TestRefusedClaims(t *testing.T) {
	never := func(context.Context, string, string) bool { t.Error("the chat was told"); return true }
	for name, c := range map[string]struct {
		change func(e *env, q *consent.Said)
		reason string
		rows   int
	}{
		"never begun":      {func(_ *env, q *consent.Said) { q.Hash = strings.Repeat("0", 64) }, "unknown", 0},
		"another vendor's": {func(_ *env, q *consent.Said) { q.Provider = "slack" }, "other_provider", 1},
		"another bot's":    {func(_ *env, q *consent.Said) { q.App = "app_8" }, "other_app", 1},
		"too old":          {func(e *env, q *consent.Said) { q.At = e.now.Add(consent.Lifetime) }, "expired", 1},
	} {
		e, app, begin := newClaimEnv(t)
		hash, id := begin("o1")
		q := e.said(hash, app, "-42")
		c.change(e, &q)
		done, err := e.s.Claim(t.Context(), q, never)
		if err != nil || done.Outcome != consent.Refused || done.Reason != c.reason || len(e.reasons("o1", "oauth.state_refused")) != c.rows {
			t.Errorf("%s: %+v %v %v", name, done, err, e.rows.all)
		}
		if _, _, err := e.installs.Get(t.Context(), "o1", id); fault.CodeOf(err) != fault.NotFound {
			t.Errorf("%s: %v", name, err)
		}
		if st, err := e.states.Consent(t.Context(), hash); err != nil || st.Used {
			t.Errorf("%s: the state is used up by it: %+v %v", name, st, err)
		}
	}
	// Of a state of another page there is nothing to claim, and the other way round.
	e, app, begin := newClaimEnv(t)
	hash, _ := begin("o1")
	st, _ := e.states.Consent(t.Context(), hash)
	st.Hash, st.Used = consent.HashOf("x"), true
	if err := e.states.PutConsent(t.Context(), st, audit.Row{}); err != nil {
		t.Fatal(err)
	}
	if done, err := e.s.Claim(t.Context(), e.said(st.Hash, app, "-42"), never); err != nil || done.Reason != "used" {
		t.Errorf("%+v %v", done, err)
	}
}

// TestClaimThatComesToNothing: after the state is used up nothing is installed unless
// everything is as it should be.
func TestClaimThatComesToNothing(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(e *env)
		tell    bool
		outcome consent.Outcome
		action  string
	}{
		"not told":        {func(*env) {}, false, consent.Failed, "oauth.failed"},
		"suspended":       {func(e *env) { o := e.orgs["o1"]; o.Status = org.Suspended; e.orgs["o1"] = o }, true, consent.Failed, "oauth.failed"},
		"not rolled out":  {func(e *env) { e.installs.Stages = nobody{} }, true, consent.Failed, "oauth.failed"},
		"the app is over": {func(e *env) { _, _ = e.installs.Suspend(e.Context(), e.op(), org.Operator, "app_7") }, true, consent.Failed, "oauth.failed"},
		"claimed already": {func(e *env) {
			_, err := e.installs.Create(e.Context(), e.op(), org.Org{ID: "o2"}, org.Tiers{}, install.New{ID: "i2", Provider: "telegram", Mode: "platform", App: "app_7", Vouched: true, Config: webhook.Config{"chat_id": {"-42"}}})
			if err != nil {
				e.Fatal(err)
			}
		}, true, consent.Conflicting, "install.tenant_in_use"},
	} {
		e, app, begin := newClaimEnv(t)
		hash, id := begin("o1")
		c.prepare(e)
		told := 0
		done, err := e.s.Claim(t.Context(), e.said(hash, app, "-42"), func(context.Context, string, string) bool { told++; return c.tell })
		if err != nil || done.Outcome != c.outcome || len(e.reasons("o1", c.action)) != 1 || c.tell && told != 0 {
			t.Errorf("%s: %+v %v, told %d times, %+v", name, done, err, told, e.rows.all)
		}
		if _, _, err := e.installs.Get(t.Context(), "o1", id); fault.CodeOf(err) != fault.NotFound {
			t.Errorf("%s: %v", name, err)
		}
		if st, err := e.states.Consent(t.Context(), hash); err != nil || !st.Used {
			t.Errorf("%s: %+v %v", name, st, err)
		}
	}
}

type nobody struct{}

func (nobody) Admit(context.Context, string, string) error { return fault.New(fault.Conflict, "", "") }

// TestOneOfManyClaimsWins: said in several chats at once, a state counts in one.
func TestOneOfManyClaimsWins(t *testing.T) {
	e, app, begin := newClaimEnv(t)
	hash, _ := begin("o1")
	var group sync.WaitGroup
	var mu sync.Mutex
	var outcomes []consent.Outcome
	for n := range 8 {
		group.Go(func() {
			done, err := e.s.Claim(context.Background(), e.said(hash, app, "-4"+string(rune('0'+n))), func(context.Context, string, string) bool { return true })
			mu.Lock()
			defer mu.Unlock()
			if outcomes = append(outcomes, done.Outcome); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	slices.Sort(outcomes)
	if slices.Index(outcomes, consent.Refused) != 1 || outcomes[0] != consent.Installed || outcomes[7] != consent.Refused {
		t.Errorf("%v", outcomes)
	}
	all, _, err := e.installs.List(t.Context(), "o1", "", 100)
	if err != nil || len(all) != 1 {
		t.Errorf("%d installs, %v", len(all), err)
	}
}

// TestAClaimIsNoPage: the state of a claim opens no page of ours, and one that cannot be
// read is left for another try.
func TestAClaimIsNoPage(t *testing.T) {
	e, app, begin := newClaimEnv(t)
	b, err := e.s.Begin(t.Context(), e.op(), "o1", consent.Request{Provider: "telegram", App: app})
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(b.URL)
	for _, c := range [][2]string{{"GET", "begin?ticket="}, {"POST", "begin?ticket="}, {"GET", "callback?code=x&state="}} {
		if p := e.visit(c[0], "https://api.example/oauth/telegram/"+c[1]+u.Query().Get("start"), nil, "https://api.example"); p.Outcome != consent.Refused || p.Reason != "no_page" {
			t.Errorf("%v: %+v", c, p)
		}
	}
	hash, _ := begin("o1")
	for _, method := range []string{"Consent", "UseConsent"} {
		e.states.Fail = func(m string) error {
			if m == method {
				return fault.New(fault.Unavailable, "", "")
			}
			return nil
		}
		if _, err := e.s.Claim(t.Context(), e.said(hash, app, "-42"), nil); fault.CodeOf(err) != fault.Unavailable {
			t.Errorf("%s: %v", method, err)
		}
	}
	e.states.Fail = nil
	e.now = e.now.Add(time.Minute)
	if done, err := e.s.Claim(t.Context(), e.said(hash, app, "-42"), func(context.Context, string, string) bool { return true }); err != nil || done.Outcome != consent.Installed {
		t.Errorf("%+v %v", done, err)
	}
}

// racing lets somebody else be first between the look at a state and its use.
type racing struct {
	consent.Store
	first func()
}

func (r racing) UseConsent(ctx context.Context, st consent.State, row audit.Row) error {
	r.first()
	return r.Store.UseConsent(ctx, st, row)
}

// TestWhoLosesTheWriteClaimsNothing: the conditional write decides, not the look before.
func TestWhoLosesTheWriteClaimsNothing(t *testing.T) {
	e, app, begin := newClaimEnv(t)
	hash, id := begin("o1")
	e.s.Store = racing{e.states, func() {
		st, err := e.states.Consent(t.Context(), hash)
		if err != nil {
			t.Fatal(err)
		}
		_ = e.states.UseConsent(t.Context(), st, audit.Row{})
	}}
	done, err := e.s.Claim(t.Context(), e.said(hash, app, "-42"), func(context.Context, string, string) bool { t.Error("the chat was told"); return true })
	if err != nil || done.Outcome != consent.Refused || done.Reason != "used" || len(e.reasons("o1", "oauth.state_refused")) != 1 {
		t.Errorf("%+v %v", done, err)
	}
	if _, _, err := e.installs.Get(t.Context(), "o1", id); fault.CodeOf(err) != fault.NotFound {
		t.Error(err)
	}
}

// TestWhoHoldsTheToken: a tenant that sends by itself needs a token, and one whose app
// sends has none; anything else is not what the vendor documents. Nothing or several is
// told apart from that.
func TestWhoHoldsTheToken(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(e *env)
		outcome consent.Outcome
		reason  string
	}{
		"no token":    {func(e *env) { e.trader.granted.Token = secret.Text{} }, consent.Failed, "answer_malformed"},
		"no tenant":   {func(e *env) { e.trader.failure = channel.NoTenant }, consent.Unchosen, "no_tenant"},
		"several":     {func(e *env) { e.trader.failure = channel.SeveralTenants }, consent.Unchosen, "several_tenants"},
		"as it is":    {func(*env) {}, consent.Installed, ""},
		"one too few": {func(e *env) { e.trader.granted.Scopes = nil }, consent.Failed, "scopes_missing"},
	} {
		e := newEnv(t)
		c.change(e)
		address, state := e.begin("o1")
		cookie, _ := e.press(address)
		if p := e.visit("GET", callback(state, "&code=x"), []string{cookie}, ""); p.Outcome != c.outcome || p.Reason != c.reason {
			t.Errorf("%s: %s %q", name, p.Outcome, p.Reason)
		}
	}
	for token, want := range map[string]consent.Outcome{"": consent.Installed, "a-token-of-a-person": consent.Failed} {
		e := newEnv(t)
		app, err := e.installs.CreateApp(t.Context(), e.op(), install.New{ID: "d", Provider: "discord", Config: webhook.Config{"application_id": {"1100000000000000001"}, "public_keys": {strings.Repeat("ab", 32)}},
			Secrets: map[string][]secret.Text{"bot_token": {secret.FromString("the-token-of-the-bot")}, "client_secret": {secret.FromString("the-client-secret")}}})
		if err == nil {
			_, err = e.installs.Activate(t.Context(), e.op(), org.Operator, app.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
		e.trader.granted = channel.Granted{Token: secret.FromString(token), Scopes: []string{"bot", "applications.commands"},
			Config: webhook.Config{"application_id": {"1100000000000000001"}, "guild_id": {"1100000000000000002"}}}
		b, err := e.s.Begin(t.Context(), e.op(), "o1", consent.Request{Provider: "discord"})
		if err != nil {
			t.Fatal(err)
		}
		cookie, to := e.press(b.URL)
		p := e.visit("GET", "https://api.example/oauth/discord/callback?code=x&state="+to.Query().Get("state"), []string{cookie}, "")
		if p.Outcome != want {
			t.Errorf("%q: %+v", token, p)
		}
		i, _, err := e.installs.Get(t.Context(), "o1", b.Install)
		if (err == nil) != (want == consent.Installed) || err == nil && (i.State != install.Active || len(i.Secrets) != 0 || i.Config.Get("guild_id") != "1100000000000000002") {
			t.Errorf("%q: %+v %v", token, i, err)
		}
	}
}
