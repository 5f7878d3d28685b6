package install_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agent"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/catalog"
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

var start = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

type agents struct{}

func (agents) Agent(_ context.Context, org, id string) (agent.Agent, error) {
	if org != "o1" || id != "ag1" {
		return agent.Agent{}, fault.New(fault.NotFound, "", "")
	}
	return agent.Agent{ID: id, Org: org, Personas: []agent.Persona{{ID: "p1"}}}, nil
}

type env struct {
	*testing.T
	s      *install.Service
	store  *installtest.Memory
	vault  *vault.Vault
	opener install.Opener
	now    time.Time
	ops    int
}

func newEnv(t *testing.T) *env {
	e := &env{T: t, store: installtest.NewMemory(), now: start}
	var err error
	e.vault, err = vault.New(vault.Options{Store: vaulttest.NewStore(), KEK: vaulttest.NewKEK(), Fields: vaulttest.Fields(), Now: func() time.Time { return e.now }, App: "latchkey", Stage: "test"})
	if err != nil {
		t.Fatal(err)
	}
	e.opener = install.Opener{Vault: e.vault, Purpose: "test"}
	e.s = &install.Service{Store: e.store, Bindings: e.store, Vault: e.vault, Index: e.vault, Catalog: catalog.New(catalog.Entries()), Agents: agents{}, PublicURL: "https://api.example/", Stages: installtest.Everybody{}}
	return e
}

func (e *env) op() audit.Op {
	e.ops++
	return audit.Op{Actor: "key:k1", ID: fmt.Sprintf("op%d", e.ops), At: e.now}
}

func values(kv ...string) map[string][]secret.Text {
	m := map[string][]secret.Text{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i]] = append(m[kv[i]], secret.FromString(kv[i+1]))
	}
	return m
}

func (e *env) sample(id string) install.New {
	return install.New{ID: id, Provider: "slack", Mode: "byoa", Label: "Support", Config: webhook.Config{"app_id": {"A" + strings.ToUpper(id)}, "team_id": {"T1"}},
		Secrets: values("signing_secret", "signing-secret-of-"+id, "bot_token", "xoxb-token-of-"+id)}
}

func (e *env) create(n install.New) (install.Install, error) {
	return e.s.Create(e.Context(), e.op(), org.Org{ID: "o1", Tier: taxonomy.Enterprise}, org.Tiers{}, n)
}

func (e *env) made(id string) install.Install {
	e.Helper()
	i, err := e.create(e.sample(id))
	if err != nil {
		e.Fatal(err)
	}
	return i
}

func (e *env) want(err error, code fault.Code, param string) {
	e.Helper()
	if fault.CodeOf(err) != code || code != "" && fault.As(err).Param != param {
		e.Fatalf("%v (param %q), want %q %q", err, fault.As(err).Param, code, param)
	}
}

func (e *env) open(i install.Install, at time.Time) (vault.Accepted, error) {
	cred, err := e.opener.Verifier(e.Context(), i)
	if err != nil {
		return vault.Accepted{}, err
	}
	return e.opener.Verifying(e.Context(), cred, "signing_secret", at)
}

func (e *env) verifying(i install.Install) []string {
	e.Helper()
	open, err := e.open(i, e.now)
	if err != nil || !open.Complete || len(open.Versions) != len(open.Values) {
		e.Fatal(err)
	}
	var out []string
	for _, v := range open.Values {
		_ = v.Use(func(b []byte) error { out = append(out, string(b)); return nil })
	}
	return out
}

func TestCreate(t *testing.T) {
	e := newEnv(t)
	i := e.made("i1")
	if i.State != install.Verifying || i.Org != "o1" || i.Provider != taxonomy.Slack {
		t.Fatalf("%+v", i)
	}
	if got := e.verifying(i); !slices.Equal(got, []string{"signing-secret-of-i1"}) {
		t.Fatal(got)
	}
	token, err := e.opener.Sending(t.Context(), i, "bot_token")
	if err != nil || !token.Equal(secret.FromString("xoxb-token-of-i1")) {
		t.Fatal(err)
	}
	b, err := json.Marshal(e.s.View(i, e.now))
	if err != nil || strings.Contains(string(b), "of-i1") || !strings.Contains(string(b), `"callback_url":"https://api.example/webhooks/slack/i1"`) || !strings.Contains(string(b), `"state":"verifying"`) {
		t.Fatalf("%s %v", b, err)
	}
	if r := e.store.Rows[0]; r.Action != "install.create" || r.Target != "i1" || r.Detail["state"] != "verifying" {
		t.Fatalf("%+v", r)
	}
}

func TestCreateRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		f     func(*install.New)
		code  fault.Code
		param string
	}{
		"empty required secret": {func(n *install.New) { n.Secrets["bot_token"] = values("x", "")["x"] }, fault.InvalidRequest, "secrets.bot_token"},
		"empty list":            {func(n *install.New) { n.Secrets["bot_token"] = nil }, fault.InvalidRequest, "secrets.bot_token"},
		"two values":            {func(n *install.New) { n.Secrets = values("signing_secret", "a", "signing_secret", "b") }, fault.InvalidRequest, "secrets.signing_secret"},
		"unknown secret":        {func(n *install.New) { n.Secrets["api_key"] = values("x", "y")["x"] }, fault.InvalidRequest, "secrets.api_key"},
		"unknown setting":       {func(n *install.New) { n.Config["colour"] = []string{"red"} }, fault.InvalidRequest, "config.colour"},
		"malformed setting":     {func(n *install.New) { n.Config["team_id"] = []string{"T1#T2"} }, fault.InvalidRequest, "config.team_id"},
		"list for one":          {func(n *install.New) { n.Config["team_id"] = []string{"T1", "T2"} }, fault.InvalidRequest, "config.team_id"},
		"unknown provider":      {func(n *install.New) { n.Provider = "carrierpigeon" }, fault.InvalidRequest, "provider"},
		"platform mode":         {func(n *install.New) { n.Mode = "platform" }, fault.BillingDenied, "mode"},
		"another mode":          {func(n *install.New) { n.Mode = "app" }, fault.InvalidRequest, "mode"},
		"an app's id":           {func(n *install.New) { n.ID = "app_1" }, fault.InvalidRequest, "id"},
		"public_url":            {func(n *install.New) { n.PublicURL = "http://x" }, fault.InvalidRequest, "public_url"},
		"id":                    {func(n *install.New) { n.ID = "a#b" }, fault.InvalidRequest, "id"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			n := e.sample("i1")
			c.f(&n)
			_, err := e.create(n)
			e.want(err, c.code, c.param)
			if _, _, err := e.store.Install(t.Context(), n.ID); fault.CodeOf(err) != fault.NotFound {
				t.Fatal("an install was made")
			}
		})
	}
	e := newEnv(t)
	_, err := e.s.Create(t.Context(), e.op(), org.Org{ID: "o1", Tier: taxonomy.Pro}, org.Tiers{}, e.sample("i1"))
	e.want(err, fault.BillingDenied, "")
	if !strings.Contains(fault.As(err).Message, "enterprise") {
		t.Fatal(err)
	}
}

func TestDraftBecomesVerifying(t *testing.T) {
	e := newEnv(t)
	n := e.sample("i1")
	n.Secrets, n.Config = nil, webhook.Config{"app_id": {"A1"}}
	i, err := e.create(n)
	if err != nil || i.State != install.Draft || !slices.Equal(e.s.View(i, e.now).Missing, []string{"secrets.signing_secret", "secrets.bot_token", "config.team_id"}) {
		t.Fatalf("%+v %v", e.s.View(i, e.now).Missing, err)
	}
	_, err = e.s.Activate(t.Context(), e.op(), "o1", "i1")
	e.want(err, fault.Conflict, "")
	i, err = e.s.Update(t.Context(), e.op(), "o1", "i1", install.Patch{Secrets: values("signing_secret", "signing secret one")})
	if err != nil || i.State != install.Draft {
		t.Fatalf("%+v %v", i, err)
	}
	i, err = e.s.Update(t.Context(), e.op(), "o1", "i1", install.Patch{Config: webhook.Config{"team_id": {"T1"}}, Secrets: values("bot_token", "xoxb-1")})
	if err != nil || i.State != install.Verifying || len(i.Claims) != 2 {
		t.Fatalf("%+v %v", i, err)
	}
	_, err = e.s.Update(t.Context(), e.op(), "o1", "i1", install.Patch{Secrets: values("bot_token", "xoxb-2")})
	e.want(err, fault.Conflict, "secrets.bot_token")
	_, err = e.s.Update(t.Context(), e.op(), "o1", "i1", install.Patch{Config: webhook.Config{"team_id": {}}})
	e.want(err, fault.InvalidRequest, "config")
}

// TestOnlyWhatIsRolledOutBecomesActive: the stage is asked by whatever makes an
// install active, and by nothing else.
func TestOnlyWhatIsRolledOutBecomesActive(t *testing.T) {
	e := newEnv(t)
	stages := installtest.Stages{}
	e.s.Stages = stages
	e.made("i1")
	step := func(f func(context.Context, audit.Op, string, string) (install.Install, error), want install.State, code fault.Code) {
		t.Helper()
		before := len(e.store.Rows)
		_, err := f(t.Context(), e.op(), "o1", "i1")
		e.want(err, code, "")
		if i, _, _ := e.store.Install(t.Context(), "i1"); i.State != want || code != "" && len(e.store.Rows) != before {
			t.Fatalf("state %s, want %s; %d rows, %d before", i.State, want, len(e.store.Rows), before)
		}
	}
	step(e.s.Activate, install.Verifying, fault.Conflict)
	step(e.s.Suspend, install.Suspended, "")
	step(e.s.Resume, install.Verifying, "") // lets nothing through
	stages["slack/o2"], stages["telegram/o1"] = true, true
	step(e.s.Activate, install.Verifying, fault.Conflict)
	stages["slack/o1"] = true
	step(e.s.Activate, install.Active, "")
	stages["slack/o1"] = false
	step(e.s.Activate, install.Active, "") // it is already
	step(e.s.Suspend, install.Suspended, "")
	step(e.s.Resume, install.Suspended, fault.Conflict)
	stages["slack/o1"] = true
	step(e.s.Resume, install.Active, "")
	e.s.Stages = nil
	step(e.s.Suspend, install.Suspended, "")
	step(e.s.Resume, install.Suspended, fault.Internal)
	step(e.s.Revoke, install.Revoked, "")
}

func TestStates(t *testing.T) {
	e := newEnv(t)
	e.made("i1")
	step := func(f func(context.Context, audit.Op, string, string) (install.Install, error), want install.State, code fault.Code) {
		t.Helper()
		i, err := f(t.Context(), e.op(), "o1", "i1")
		e.want(err, code, "")
		if code == "" && i.State != want {
			t.Fatalf("state %s, want %s", i.State, want)
		}
	}
	step(e.s.Resume, install.Verifying, "")
	step(e.s.Suspend, install.Suspended, "")
	step(e.s.Activate, "", fault.Conflict)
	step(e.s.Resume, install.Verifying, "")
	step(e.s.Activate, install.Active, "")
	step(e.s.Activate, install.Active, "")
	step(e.s.Suspend, install.Suspended, "")
	step(e.s.Suspend, install.Suspended, "")
	step(e.s.Resume, install.Active, "")
	step(e.s.Revoke, install.Revoked, "")
	step(e.s.Revoke, install.Revoked, "")
	step(e.s.Resume, "", fault.Conflict)
	step(e.s.Activate, "", fault.Conflict)
	step(e.s.Suspend, "", fault.Conflict)
	i, _, _ := e.store.Install(t.Context(), "i1")
	if _, err := e.open(i, e.now); fault.CodeOf(err) != fault.NotFound {
		t.Fatalf("a revoked install's secret opened: %v", err)
	}
	_, err := e.s.Suspend(t.Context(), e.op(), "o2", "i1")
	e.want(err, fault.NotFound, "")
}

func TestOneLiveInstall(t *testing.T) {
	e := newEnv(t)
	e.made("i1")
	n := e.sample("i2")
	n.Config["app_id"] = []string{"AI1"}
	_, err := e.create(n)
	e.want(err, fault.Conflict, "config.team_id")
	n = e.sample("i3")
	n.Secrets["bot_token"] = values("x", "xoxb-token-of-i1")["x"]
	_, err = e.s.Create(t.Context(), e.op(), org.Org{ID: "o2", Tier: taxonomy.Agency}, org.Tiers{}, n)
	e.want(err, fault.Conflict, "secrets.bot_token")
	if strings.Contains(err.Error(), "o1") || strings.Contains(err.Error(), "i1") {
		t.Fatalf("the conflict names the other side: %v", err)
	}
	// The refused install's secrets are taken back.
	if head, err := e.vault.Head(t.Context(), "o2", taxonomy.ChannelSend, "i3"); err != nil || head.Status != vault.Revoked {
		t.Fatalf("%+v %v", head, err)
	}
	// The signing secret of one app may serve several installs.
	n = e.sample("i4")
	n.Secrets["signing_secret"] = values("x", "signing-secret-of-i1")["x"]
	if _, err := e.create(n); err != nil {
		t.Fatal(err)
	}
	if _, err := e.s.Revoke(t.Context(), e.op(), "o1", "i1"); err != nil {
		t.Fatal(err)
	}
	n = e.sample("i5")
	n.Config["app_id"] = []string{"AI1"}
	n.Secrets["bot_token"] = values("x", "xoxb-token-of-i1")["x"]
	if _, err := e.create(n); err != nil {
		t.Fatalf("a revoked install keeps its claims: %v", err)
	}
}

func TestRotate(t *testing.T) {
	e := newEnv(t)
	e.made("i1")
	ctx := t.Context()
	i, err := e.s.Rotate(ctx, e.op(), "o1", "i1", "signing_secret", secret.FromString("the new signing secret"), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if got := e.verifying(i); !slices.Equal(got, []string{"the new signing secret", "signing-secret-of-i1"}) {
		t.Fatal(got)
	}
	view := e.s.View(i, e.now).Secrets["signing_secret"]
	if len(view) != 2 || view[0].State != "live" || view[1].State != "retiring" || !view[1].RetireAt.Equal(start.Add(24*time.Hour)) {
		t.Fatalf("%+v", view)
	}
	// The event's clock alone retires it, whatever the vault's says.
	open, err := e.open(i, start.Add(24*time.Hour))
	if err != nil || len(open.Values) != 1 {
		t.Fatalf("%d %v", len(open.Values), err)
	}
	if i, err = e.s.RotateFinish(ctx, e.op(), "o1", "i1", "signing_secret"); err != nil || len(e.verifying(i)) != 1 {
		t.Fatal(err)
	}
	i, err = e.s.Rotate(ctx, e.op(), "o1", "i1", "bot_token", secret.FromString("xoxb-second"), start.Add(time.Hour))
	if err != nil || len(i.Claims) != 2 {
		t.Fatalf("%+v %v", i.Claims, err)
	}
	if token, err := e.opener.Sending(ctx, i, "bot_token"); err != nil || !token.Equal(secret.FromString("xoxb-second")) {
		t.Fatal(err)
	}
	_, err = e.s.Rotate(ctx, e.op(), "o1", "i1", "bot_token", secret.Text{}, time.Time{})
	e.want(err, fault.InvalidRequest, "value")
	_, err = e.s.Rotate(ctx, e.op(), "o1", "i1", "nope", secret.FromString("x"), time.Time{})
	e.want(err, fault.InvalidRequest, "name")
	_, err = e.s.Rotate(ctx, e.op(), "o1", "i1", "signing_secret", secret.FromString("x"), start.Add(31*24*time.Hour))
	e.want(err, fault.InvalidRequest, "retire_at")
	e.made("i2")
	_, err = e.s.Rotate(ctx, e.op(), "o1", "i2", "bot_token", secret.FromString("xoxb-second"), time.Time{})
	e.want(err, fault.Conflict, "secrets.bot_token")
	i2, _, _ := e.store.Install(ctx, "i2")
	if token, err := e.opener.Sending(ctx, i2, "bot_token"); err != nil || !token.Equal(secret.FromString("xoxb-token-of-i2")) {
		t.Fatal("a refused rotation changed the token")
	}
	// The replaced token is free.
	n := e.sample("i3")
	n.Secrets["bot_token"] = values("x", "xoxb-token-of-i1")["x"]
	if _, err := e.create(n); err != nil {
		t.Fatal(err)
	}
	// A repeat after a lost answer succeeds.
	if _, err := e.s.Rotate(ctx, e.op(), "o1", "i1", "bot_token", secret.FromString("xoxb-second"), time.Time{}); err != nil {
		t.Fatal(err)
	}
}

func TestRevokedByVendorNeedsNoVault(t *testing.T) {
	e := newEnv(t)
	i := e.made("i1")
	bare := &install.Service{Store: e.store, Bindings: e.store, Catalog: e.s.Catalog}
	if err := bare.RevokedByVendor(t.Context(), e.op(), i); err != nil {
		t.Fatal(err)
	}
	if got, _, _ := e.store.Install(t.Context(), "i1"); got.State != install.Revoked || got.Claims != nil {
		t.Fatalf("%+v", got)
	}
}

func TestBindings(t *testing.T) {
	e := newEnv(t)
	e.made("i1")
	ctx := t.Context()
	add := func(s install.Selector, agent, persona string) (install.Binding, error) {
		return e.s.CreateBinding(ctx, e.op(), "o1", install.NewBinding{Install: "i1", Selector: s, AgentID: agent, PersonaID: persona})
	}
	b, err := add(install.Selector{Channel: "C1"}, "ag1", "p1")
	e.want(err, "", "")
	_, err = add(install.Selector{Channel: "C1"}, "ag1", "")
	e.want(err, fault.Conflict, "selector")
	_, err = add(install.Selector{Channel: "C1", Mention: install.AnyMention}, "ag1", "")
	e.want(err, "", "")
	_, err = add(install.Selector{}, "ag2", "")
	e.want(err, fault.InvalidRequest, "agent_id")
	_, err = add(install.Selector{}, "ag1", "p2")
	e.want(err, fault.InvalidRequest, "persona_id")
	_, err = add(install.Selector{Channel: "a\x00b"}, "ag1", "")
	e.want(err, fault.InvalidRequest, "selector")
	_, err = e.s.CreateBinding(ctx, e.op(), "o2", install.NewBinding{Install: "i1", AgentID: "ag1"})
	e.want(err, fault.NotFound, "install_id")
	_, err = e.s.Binding(ctx, "o2", b.ID)
	e.want(err, fault.NotFound, "")
	for _, id := range []string{"", "x", "-b-", "i1-b-0000"} {
		_, err = e.s.Binding(ctx, "o1", id)
		e.want(err, fault.NotFound, "")
	}
	if got, err := e.s.UpdateBinding(ctx, e.op(), "o1", b.ID, "ag1", ""); err != nil || got.PersonaID != "" {
		t.Fatal(err)
	}
	list, err := e.s.ListBindings(ctx, "o1", "i1")
	if err != nil || len(list) != 2 || list[0].Selector.Mention != install.AnyMention {
		t.Fatalf("%+v %v", list, err)
	}
	e.want(e.s.DeleteBinding(ctx, e.op(), "o1", b.ID), "", "")
	e.want(e.s.DeleteBinding(ctx, e.op(), "o1", b.ID), fault.NotFound, "")
}

func TestMatch(t *testing.T) {
	env := channel.Envelope{Account: "E", Team: "T", Space: "C", Actor: "U", Thread: "1", Mention: true}
	plain, sales := env, env
	plain.Mention = false
	sales.Addressed = []string{"sales"}
	sel := func(f func(*install.Selector)) install.Selector { var s install.Selector; f(&s); return s }
	all := map[string]install.Selector{
		"default": {}, "account": {Account: "E"}, "team": {Team: "T"}, "peer": {Peer: "U"}, "channel": {Channel: "C"}, "mention": {Mention: install.AnyMention}, "thread": {Thread: "1"},
		"other channel": {Channel: "C9"}, "other thread": {Thread: "9"}, "sales": {Mention: "sales"}, "support": {Mention: "support"},
		"channel+peer+team": sel(func(s *install.Selector) { s.Channel, s.Peer, s.Team = "C", "U", "T" }),
		"team+account":      {Team: "T", Account: "E"},
	}
	for name, c := range map[string]struct {
		have []string
		e    channel.Envelope
		want string
	}{
		"nothing":                           {nil, env, ""},
		"only others":                       {[]string{"other channel", "other thread"}, env, ""},
		"default":                           {[]string{"default", "other channel"}, env, "default"},
		"account over default":              {[]string{"default", "account"}, env, "account"},
		"team over account":                 {[]string{"account", "team"}, env, "team"},
		"account decides between equals":    {[]string{"team", "team+account"}, env, "team+account"},
		"peer over team":                    {[]string{"team", "peer"}, env, "peer"},
		"channel over peer":                 {[]string{"peer", "channel"}, env, "channel"},
		"mention over channel":              {[]string{"channel", "mention"}, env, "mention"},
		"mention over channel, peer, team":  {[]string{"channel+peer+team", "mention"}, env, "mention"},
		"thread over everything":            {[]string{"mention", "channel+peer+team", "thread", "default"}, env, "thread"},
		"mention does not match without it": {[]string{"mention", "team"}, plain, "team"},
		"a name over any mention":           {[]string{"mention", "sales", "support"}, sales, "sales"},
		"thread over a name":                {[]string{"sales", "thread"}, sales, "thread"},
		"nobody of that name":               {[]string{"support", "mention"}, sales, "mention"},
		"a name matches nothing else":       {[]string{"sales", "team"}, env, "team"},
	} {
		var bs []install.Binding
		for _, n := range c.have {
			bs = append(bs, install.Binding{ID: n, Selector: all[n]})
		}
		for range 2 { // in both orders
			if got, ok := install.Match(bs, c.e); got.ID != c.want || ok != (c.want != "") {
				t.Errorf("%s: %q, want %q", name, got.ID, c.want)
			}
			slices.Reverse(bs)
		}
	}
	weights := map[string]int{"default": 0, "account": 0, "team": 1, "peer": 2, "channel": 4, "mention": 8, "thread": 16, "channel+peer+team": 7}
	for n, w := range weights {
		if all[n].Weight() != w {
			t.Errorf("%s weighs %d, want %d", n, all[n].Weight(), w)
		}
	}
}

func TestBindingID(t *testing.T) {
	seen := map[string]string{}
	for _, s := range []install.Selector{{}, {Account: "a"}, {Team: "a"}, {Channel: "a"}, {Peer: "a"}, {Thread: "a"}, {Mention: install.AnyMention}, {Mention: "1"}, {Mention: "a"}, {Account: "ab"}, {Account: "a", Team: "b"}, {Peer: "1"}, {Thread: "1"}} {
		id := install.BindingID("i1", s)
		if was, dup := seen[id]; dup || id != install.BindingID("i1", s) {
			t.Errorf("%+v has the id of %s", s, was)
		}
		seen[id] = fmt.Sprint(s)
	}
}

func TestSetup(t *testing.T) {
	e := newEnv(t)
	e.made("i1")
	got, err := e.s.Setup(t.Context(), "o1", "i1", []string{"hook.handshake"})
	if err != nil || got.CallbackURLs[0] != "https://api.example/webhooks/slack/i1" || got.Manifest == nil {
		t.Fatalf("%+v %v", got, err)
	}
	_, err = e.s.Setup(t.Context(), "o2", "i1", nil)
	e.want(err, fault.NotFound, "")
}

// TestMentionJSON: true or a name; a command's slash is left out.
func TestMentionJSON(t *testing.T) {
	for in, want := range map[string]install.Mention{`true`: install.AnyMention, `false`: "", `"Sales"`: "sales", `"/sales"`: "sales", `""`: "", `null`: ""} {
		var s install.Selector
		if err := json.Unmarshal([]byte(`{"mention":`+in+`}`), &s); err != nil || s.Mention != want {
			t.Errorf("%s: %q %v", in, s.Mention, err)
		}
		b, err := json.Marshal(s)
		var back install.Selector
		if err != nil || json.Unmarshal(b, &back) != nil || back != s {
			t.Errorf("%s: %s %v", in, b, err)
		}
	}
	var s install.Selector
	if json.Unmarshal([]byte(`{"mention":1}`), &s) == nil {
		t.Error("a number is taken")
	}
}
