package turn_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/latchkey/latchkey/shared/agent/turn"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/channels/slack"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// newTenantEnv makes the install i1 a tenant of the platform's app app_1; sends says
// that the app's token sends for it.
func newTenantEnv(t *testing.T, sends bool) *env {
	e := newEnv(t)
	entry := slack.Entry()
	shared := *entry.Shared
	shared.Sends, entry.Shared = sends, &shared
	e.deps.Catalog = catalog.New([]channel.Entry{entry})
	e.run = turn.New(e.deps)
	if err := e.installs.CreateInstall(t.Context(), install.Install{ID: "app_1", Org: "operator", Mode: install.App, Provider: taxonomy.Slack, State: install.Active, Version: 1}, audit.Row{}); err != nil {
		t.Fatal(err)
	}
	e.change("i1", func(i *install.Install) { i.Mode, i.App = install.Platform, "app_1" })
	return e
}

func (e *env) change(id string, f func(i *install.Install)) {
	e.Helper()
	old, _, err := e.installs.Install(e.Context(), id)
	if err != nil {
		e.Fatal(err)
	}
	next := old
	f(&next)
	next.Version++
	if err := e.installs.UpdateInstall(e.Context(), old, next, audit.Row{}); err != nil {
		e.Fatal(err)
	}
}

// TestTheAppSendsForItsTenants: where the platform's app has the one token, it is the
// one that is opened; a rejected one counts against the app and not against who happened
// to be answered, one that works is forgiven there.
func TestTheAppSendsForItsTenants(t *testing.T) {
	e := newTenantEnv(t, true)
	if r := e.deliver(e.job, 1); r.Retry || len(e.vendor.tokens) != 1 || e.vendor.tokens[0] != "Bearer xoxb-app_1-bot_token" {
		t.Fatalf("%+v %v %q", r, e.vendor.tokens, e.audit.codes)
	}
	rejections := func(id string) int64 { i, _, _ := e.installs.Install(t.Context(), id); return i.Rejections }
	e.vendor.next = []func(http.ResponseWriter){func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"ok":false,"error":"invalid_auth"}`) }}
	if e.deliver(e.message("Ev2", "again"), 1); rejections("app_1") != 1 || rejections("i1") != 0 {
		t.Errorf("the app has %d, the tenant %d", rejections("app_1"), rejections("i1"))
	}
	if e.deliver(e.message("Ev3", "and again"), 1); rejections("app_1") != 0 || rejections("i1") != 0 {
		t.Errorf("the app has %d, the tenant %d", rejections("app_1"), rejections("i1"))
	}
	tenant := newTenantEnv(t, false)
	if tenant.deliver(tenant.job, 1); len(tenant.vendor.tokens) != 1 || tenant.vendor.tokens[0] != "Bearer xoxb-i1-bot_token" {
		t.Errorf("%v", tenant.vendor.tokens)
	}
}

// TestAStoppedAppStopsItsTenants: no model is asked and nothing sent for a tenant of an
// app that is suspended, revoked, gone, or another thing than its app, and nothing is sent
// if it becomes that while the model is asked; whoever brings an app of its
// own is not asked for one.
func TestAStoppedAppStopsItsTenants(t *testing.T) {
	for name, c := range map[string]struct {
		change func(e *env)
		code   string
	}{
		"suspended":        {func(e *env) { e.change("app_1", func(i *install.Install) { i.State = install.Suspended }) }, "turn.install_inactive "},
		"revoked":          {func(e *env) { e.change("app_1", func(i *install.Install) { i.State = install.Revoked }) }, "turn.install_inactive "},
		"gone":             {func(e *env) { e.change("i1", func(i *install.Install) { i.App = "app_2" }) }, "turn.install_inactive "},
		"another vendor's": {func(e *env) { e.change("app_1", func(i *install.Install) { i.Provider = taxonomy.Telegram }) }, "reply.tenant_guard "},
		"somebody's own":   {func(e *env) { e.change("app_1", func(i *install.Install) { i.Org, i.Mode = "o2", install.BYOA }) }, "reply.tenant_guard "},
		"somebody's":       {func(e *env) { e.change("app_1", func(i *install.Install) { i.Org = "o2" }) }, "reply.tenant_guard "},
	} {
		for _, sends := range []bool{true, false} {
			e := newTenantEnv(t, sends)
			opened := 0
			e.tokens.asked = func() { opened++ }
			c.change(e)
			if r := e.deliver(e.job, 1); r.Retry || len(e.model.asked) != 0 || len(e.vendor.posts) != 0 || opened != 0 {
				t.Errorf("%s, %v: %+v, %d asked, %d posts, %d opened", name, sends, r, len(e.model.asked), len(e.vendor.posts), opened)
			}
			e.audited(c.code)
			e = newTenantEnv(t, sends)
			e.tokens.asked = func() { opened++ }
			e.model.onAnswer = func() { c.change(e) }
			r := e.deliver(e.job, 1)
			_, parts := e.state("Ev1")
			if r.Retry || len(e.model.asked) != 1 || len(e.vendor.posts) != 0 || opened != 0 || len(parts) != 1 || parts[0].State != session.Dropped {
				t.Errorf("%s, %v: %+v, %d posts, %d opened, %+v", name, sends, r, len(e.vendor.posts), opened, parts)
			}
			e.audited(c.code)
		}
	}
	own := newTenantEnv(t, true)
	own.change("i1", func(i *install.Install) { i.Mode, i.App = install.BYOA, "" })
	own.change("app_1", func(i *install.Install) { i.State = install.Revoked })
	if own.deliver(own.job, 1); len(own.vendor.tokens) != 1 || own.vendor.tokens[0] != "Bearer xoxb-i1-bot_token" {
		t.Errorf("%v", own.vendor.tokens)
	}
}
