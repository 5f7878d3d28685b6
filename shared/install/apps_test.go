package install_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/webhook"
)

func (e *env) app(id string) install.Install {
	e.Helper()
	i, err := e.s.CreateApp(e.Context(), e.op(), install.New{ID: id, Provider: "slack", Label: "Ours", Config: webhook.Config{"app_id": {"A" + id}},
		Secrets: values("signing_secret", "signing-secret-of-app"+id)})
	if err != nil {
		e.Fatal(err)
	}
	return i
}

func (e *env) shared(id, app, team string) (install.Install, error) {
	return e.s.Create(e.Context(), e.op(), org.Org{ID: "o1", Tier: taxonomy.Free}, org.Tiers{}, install.New{ID: id, Provider: "slack", Mode: "platform", App: app, Vouched: true,
		Config: webhook.Config{"team_id": {team}, "app_id": {"AOTHER"}}, Secrets: values("bot_token", "xoxb-token-of-"+id)})
}

// TestAppHoldsWhatVerifies: the app's record is the operator's and has no token,
// the install has nothing that verifies, and whatever tier the organisation has.
func TestAppHoldsWhatVerifies(t *testing.T) {
	e := newEnv(t)
	app := e.app("1")
	if app.ID != "app_1" || app.Org != org.Operator || app.Mode != install.App || app.State != install.Verifying || !slices.Equal(app.SecretsSet(), []string{"signing_secret"}) {
		t.Fatalf("%+v", app)
	}
	i, err := e.shared("i1", app.ID, "T1")
	if err != nil || i.State != install.Verifying || i.Mode != install.Platform || i.App != app.ID || !slices.Equal(i.SecretsSet(), []string{"bot_token"}) ||
		i.Config.Get("app_id") != "A1" {
		t.Fatalf("%+v %v", i, err)
	}
	if url := e.s.View(i, e.now).CallbackURL; url != "https://api.example/webhooks/slack/app_1" {
		t.Error(url)
	}
	found, _, err := e.store.InstallOf(t.Context(), "slack", app.ID, "T:T1")
	if err != nil || found.ID != "i1" {
		t.Fatal(found, err)
	}
	if _, err := e.open(i, e.now); fault.CodeOf(err) != fault.NotFound {
		t.Error(err)
	}
	if got, err := e.open(app, e.now); err != nil || !got.Values[0].Equal(secret.FromString("signing-secret-of-app1")) {
		t.Error(err)
	}
	if head, err := e.vault.Head(t.Context(), org.Operator, taxonomy.ChannelVerify, app.ID); err != nil || head.Status != vault.Active {
		t.Error(head, err)
	}
	// A workspace is one install's, whichever the mode of the app; an app of an
	// organisation's own with the same ids stands in nobody's way.
	_, err = e.shared("i2", app.ID, "T1")
	e.want(err, fault.Conflict, "config.team_id")
	own := e.sample("i3")
	own.Config["app_id"] = []string{"A1"}
	if _, err := e.create(own); err != nil {
		t.Error(err)
	}
	setup, err := e.s.Setup(t.Context(), "o1", "i1", nil)
	if err != nil || setup.Manifest != nil || len(setup.Checklist) != 2 {
		t.Errorf("%+v %v", setup, err)
	}
}

// TestOnlyTheVendorsWordMakesAPlatformInstall: an organisation cannot take another's
// workspace, neither at creation nor afterwards.
func TestOnlyTheVendorsWordMakesAPlatformInstall(t *testing.T) {
	e := newEnv(t)
	app := e.app("1")
	n := install.New{ID: "i1", Provider: "slack", Mode: "platform", App: app.ID, Config: webhook.Config{"team_id": {"T1"}}, Secrets: values("bot_token", "x")}
	create := func(n install.New) error {
		_, err := e.s.Create(t.Context(), e.op(), org.Org{ID: "o1", Tier: taxonomy.Enterprise}, org.Tiers{}, n)
		return err
	}
	e.want(create(n), fault.BillingDenied, "mode")
	n.Vouched = true
	for _, bad := range []string{"", "app_9", "i1"} {
		n.App = bad
		e.want(create(n), fault.InvalidRequest, "app")
	}
	n.App, n.Secrets = app.ID, values("signing_secret", "another secret")
	e.want(create(n), fault.InvalidRequest, "secrets.signing_secret")
	if _, err := e.shared("i1", app.ID, "T1"); err != nil {
		t.Fatal(err)
	}
	for _, p := range []install.Patch{{Config: webhook.Config{"team_id": {"T2"}}}, {Secrets: values("bot_token", "y")}} {
		_, err := e.s.Update(t.Context(), e.op(), "o1", "i1", p)
		e.want(err, fault.Conflict, "")
	}
	_, err := e.s.Rotate(t.Context(), e.op(), "o1", "i1", "bot_token", secret.FromString("y"), time.Time{})
	e.want(err, fault.Conflict, "")
	label := "Ours"
	if i, err := e.s.Update(t.Context(), e.op(), "o1", "i1", install.Patch{Label: &label}); err != nil || i.Label != label {
		t.Error(i, err)
	}
	// An app that was ended takes no more organisations.
	if _, err := e.s.Revoke(t.Context(), e.op(), org.Operator, app.ID); err != nil {
		t.Fatal(err)
	}
	_, err = e.shared("i2", app.ID, "T2")
	e.want(err, fault.InvalidRequest, "app")
}

func TestAppRefusals(t *testing.T) {
	e := newEnv(t)
	make := func(f func(*install.New)) error {
		n := install.New{ID: "2", Provider: "slack", Config: webhook.Config{"app_id": {"A1"}}, Secrets: values("signing_secret", "signing-secret")}
		f(&n)
		_, err := e.s.CreateApp(t.Context(), e.op(), n)
		return err
	}
	e.want(make(func(n *install.New) { n.Provider = "line" }), fault.InvalidRequest, "provider")
	e.want(make(func(n *install.New) { n.Mode = "byoa" }), fault.InvalidRequest, "mode")
	e.want(make(func(n *install.New) { n.Config["team_id"] = []string{"T1"} }), fault.InvalidRequest, "config.team_id")
	e.want(make(func(n *install.New) { n.Secrets = values("bot_token", "x") }), fault.InvalidRequest, "secrets.bot_token")
	e.app("1")
	e.want(make(func(*install.New) {}), fault.Conflict, "config.app_id")
	// A rotated secret of the app has an overlap like any other.
	i, err := e.s.Rotate(t.Context(), e.op(), org.Operator, "app_1", "signing_secret", secret.FromString("the next secret"), time.Time{})
	if err != nil || len(e.s.View(i, e.now).Secrets["signing_secret"]) != 2 {
		t.Error(i, err)
	}
	// Meta's requests name no app, so several may be kept.
	for _, id := range []string{"3", "4"} {
		if i, err := e.s.CreateApp(t.Context(), e.op(), install.New{ID: id, Provider: "whatsapp", Secrets: values("app_secret", "0123456789abcdef", "verify_token", "verify")}); err != nil || i.State != install.Verifying || len(i.Claims) != 0 {
			t.Error(i, err)
		}
	}
}

// TestAppKeepsItsIdentity: tenants hold a copy of it, so it changes in a draft only.
func TestAppKeepsItsIdentity(t *testing.T) {
	e := newEnv(t)
	app := e.app("1")
	rename := func(id, to string) error {
		_, err := e.s.Update(t.Context(), e.op(), org.Operator, id, install.Patch{Config: webhook.Config{"app_id": {to}}})
		return err
	}
	e.want(rename(app.ID, "A2"), fault.Conflict, "")
	e.want(rename(app.ID, "A1"), "", "") // the same
	if got, _, err := e.store.Install(t.Context(), app.ID); err != nil || got.Config.Get("app_id") != "A1" {
		t.Fatal(got, err)
	}
	draft, err := e.s.CreateApp(t.Context(), e.op(), install.New{ID: "2", Provider: "slack", Config: webhook.Config{"app_id": {"A7"}}})
	if err != nil || draft.State != install.Draft {
		t.Fatal(draft, err)
	}
	e.want(rename(draft.ID, "A8"), "", "")
}

// TestClientSecretOfTwoApps: an app's client secret is one app's, and whoever gives it
// twice is told so.
func TestClientSecretOfTwoApps(t *testing.T) {
	e := newEnv(t)
	create := func(id string) error {
		_, err := e.s.CreateApp(t.Context(), e.op(), install.New{ID: id, Provider: "slack", Config: webhook.Config{"app_id": {"A" + id}, "client_id": {"1234.5678"}},
			Secrets: values("signing_secret", "signing-secret-of-app"+id, "client_secret", "one-client-secret-0123456789")})
		return err
	}
	e.want(create("1"), "", "")
	if err := create("2"); fault.CodeOf(err) != fault.Conflict || !errors.Is(err, vault.Duplicate) {
		t.Errorf("%v", err)
	}
}

// TestAppThatSends: of a vendor whose app has one token for all tenants the record
// holds it, its tenants hold none, and neither rotating what verifies nor the token
// touches them.
func TestAppThatSends(t *testing.T) {
	e := newEnv(t)
	key, next := strings.Repeat("ab", 32), strings.Repeat("cd", 32)
	create := func(id, token string) (install.Install, error) {
		return e.s.CreateApp(t.Context(), e.op(), install.New{ID: id, Provider: "discord", Config: webhook.Config{"application_id": {"11" + id}, "public_keys": {key}},
			Secrets: values("bot_token", token)})
	}
	app, err := create("1", "the-token-of-the-bot")
	if err != nil || app.State != install.Verifying || !slices.Equal(app.SecretsSet(), []string{"bot_token"}) {
		t.Fatalf("%+v %v", app, err)
	}
	_, err = create("2", "the-token-of-the-bot")
	e.want(err, fault.Conflict, "secrets.bot_token")
	tenant := func(id, org_, guild string, secrets map[string][]secret.Text) (install.Install, error) {
		return e.s.Create(t.Context(), e.op(), org.Org{ID: org_, Tier: taxonomy.Free}, org.Tiers{}, install.New{ID: id, Provider: "discord", Mode: "platform", App: app.ID, Vouched: true,
			Config: webhook.Config{"guild_id": {guild}, "application_id": {"999"}}, Secrets: secrets})
	}
	_, err = tenant("i0", "o1", "71", values("bot_token", "a-token-of-ones-own"))
	e.want(err, fault.InvalidRequest, "secrets.bot_token")
	one, err := tenant("i1", "o1", "71", nil)
	if err != nil || one.State != install.Verifying || len(one.Secrets) != 0 || one.Config.Get("application_id") != "111" || one.Config.Get("public_keys") != "" {
		t.Fatalf("%+v %v", one, err)
	}
	_, err = tenant("i2", "o2", "71", nil)
	e.want(err, fault.Conflict, "config.guild_id")
	// An organisation's own app in the same server, which holds a token and a key of
	// its own, stands in nobody's way.
	own := install.New{ID: "i3", Provider: "discord", Config: webhook.Config{"application_id": {"111"}, "guild_id": {"71"}, "public_keys": {next}}, Secrets: values("bot_token", "the-token-of-our-bot")}
	if _, err := e.create(own); err != nil {
		t.Error(err)
	}
	for _, ref := range []install.Install{app, one} {
		head, err := e.vault.Head(t.Context(), ref.Org, taxonomy.ChannelSend, ref.ID)
		if (err == nil) != (ref.ID == app.ID) || err == nil && head.Status != vault.Active {
			t.Errorf("%s: %+v %v", ref.ID, head, err)
		}
	}
	// What verifies may be replaced, though it has tenants; the application may not.
	if _, err := e.s.Rotate(t.Context(), e.op(), org.Operator, app.ID, "public_keys", secret.FromString(next), time.Time{}); err != nil {
		t.Error(err)
	}
	if _, err := e.s.Rotate(t.Context(), e.op(), org.Operator, app.ID, "bot_token", secret.FromString("the-next-token-of-the-bot"), time.Time{}); err != nil {
		t.Error(err)
	}
	_, err = e.s.Update(t.Context(), e.op(), org.Operator, app.ID, install.Patch{Config: webhook.Config{"application_id": {"112"}}})
	e.want(err, fault.Conflict, "")
	// Ended: what sends is gone with it.
	if _, err := e.s.Revoke(t.Context(), e.op(), org.Operator, app.ID); err != nil {
		t.Fatal(err)
	}
	if head, err := e.vault.Head(t.Context(), org.Operator, taxonomy.ChannelSend, app.ID); err == nil && head.Status == vault.Active {
		t.Errorf("%+v", head)
	}
}

// TestNothingToTakeBack: an install without secrets of its own needs no vault, also where
// its tenant is taken: who makes it may have none.
func TestNothingToTakeBack(t *testing.T) {
	e := newEnv(t)
	app, err := e.s.CreateApp(t.Context(), e.op(), install.New{ID: "1", Provider: "discord", Config: webhook.Config{"application_id": {"111"}, "public_keys": {strings.Repeat("ab", 32)}},
		Secrets: values("bot_token", "the-token-of-the-bot")})
	if err != nil {
		t.Fatal(err)
	}
	bare := &install.Service{Store: e.s.Store, Bindings: e.s.Bindings, Catalog: e.s.Catalog}
	create := func(id, orgID string) error {
		_, err := bare.Create(t.Context(), e.op(), org.Org{ID: orgID}, org.Tiers{}, install.New{ID: id, Provider: "discord", Mode: "platform", App: app.ID, Vouched: true, Config: webhook.Config{"guild_id": {"71"}}})
		return err
	}
	e.want(create("i1", "o1"), "", "")
	e.want(create("i2", "o2"), fault.Conflict, "config.guild_id")
}

// TestADraftOfAnAppHasNoTenants: what tenants hold a copy of, and what a conversation is
// claimed by, is there before the app serves anybody.
func TestADraftOfAnAppHasNoTenants(t *testing.T) {
	e := newEnv(t)
	app, err := e.s.CreateApp(t.Context(), e.op(), install.New{ID: "1", Provider: "telegram", Secrets: values("secret_token", "the-secret-token-of-the-bot", "bot_token", "7000001:the-token-of-the-bot")})
	if err != nil || app.State != install.Draft || app.Config.Get("bot_id") != "7000001" {
		t.Fatalf("%+v %v", app, err)
	}
	tenant := func() (install.Install, error) {
		return e.s.Create(t.Context(), e.op(), org.Org{ID: "o1", Tier: taxonomy.Free}, org.Tiers{}, install.New{ID: "i1", Provider: "telegram", Mode: "platform", App: app.ID, Vouched: true,
			Config: webhook.Config{"chat_id": {"42"}}})
	}
	_, err = tenant()
	e.want(err, fault.InvalidRequest, "app")
	app, err = e.s.Update(t.Context(), e.op(), org.Operator, app.ID, install.Patch{Config: webhook.Config{"bot_username": {"Acme_bot"}}})
	if err != nil || app.State != install.Verifying {
		t.Fatalf("%+v %v", app, err)
	}
	if one, err := tenant(); err != nil || one.State != install.Verifying || one.Config.Get("bot_username") != "Acme_bot" {
		t.Errorf("%+v %v", one, err)
	}
}
