package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/channels/slack"
	"github.com/latchkey/latchkey/shared/consent"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/ingest"
)

// newAppEnv has an app of the platform with two organisations, and beside it an
// organisation's own app with the same ids.
func newAppEnv(t *testing.T) *env {
	e := newEnv(t)
	add := func(i install.Install, claim string) {
		i.Provider, i.Version = taxonomy.Slack, 1
		if claim != "" {
			i.Claims = []install.Claim{{Field: "config.team_id", App: "app_1", Tenant: claim}}
		}
		if err := e.installs.CreateInstall(t.Context(), i, audit.Row{}); err != nil {
			t.Fatal(err)
		}
	}
	add(install.Install{ID: "app_1", Org: "operator", Mode: install.App, State: install.Active, Config: webhook.Config{"app_id": {"A1"}}}, "")
	e.secrets.values["app_1"] = []secret.Text{secret.FromString("the app's key")}
	config := func(team string) webhook.Config {
		return webhook.Config{"app_id": {"A1"}, "team_id": {team}, "bot_user_id": {"UBOT"}}
	}
	add(install.Install{ID: "p7", Org: "o7", Mode: install.Platform, App: "app_1", State: install.Active, Config: config("T7")}, "T:T7")
	add(install.Install{ID: "p8", Org: "o8", Mode: install.Platform, App: "app_1", State: install.Suspended, Config: config("T8")}, "T:T8")
	add(install.Install{ID: "p9", Org: "o9", Mode: install.Platform, App: "app_1", State: install.Active, Config: webhook.Config{"app_id": {"A1"}, "enterprise_id": {"E9"}}}, "E:E9")
	// A store that leads to an install of another kind is not believed.
	add(install.Install{ID: "b6", Org: "o6", Mode: install.BYOA, State: install.Active, Config: config("T6")}, "T:T6")
	add(install.Install{ID: "q5", Org: "o5", Mode: install.Platform, App: "app_2", State: install.Active, Config: config("T5")}, "T:T5")
	for _, id := range []string{"p7", "p8", "p9", "b6", "q5"} {
		e.bind(id, install.Selector{})
	}
	return e
}

func (e *env) atApp(b, key string) ingest.Request {
	r := e.request(b, key, now)
	r.Install = "app_1"
	return r
}

func atTeam(team string) string { return body(message("message", "1.2"), "Ev"+team, team) }

// TestPlatformApp: one secret, many organisations; each event goes to the install
// of its workspace, or nowhere (matrix rows 22 and 23).
func TestPlatformApp(t *testing.T) {
	const key = "the app's key"
	grid := `{"type":"event_callback","api_app_id":"A1","team_id":"T9","event_id":"EvG","authorizations":[{"enterprise_id":"E9","team_id":null,"user_id":"UB9","is_bot":true,"is_enterprise_install":true}],"event":` +
		message("message", "1.3") + `}`
	for name, c := range map[string]struct {
		req    func(*env) ingest.Request
		status int
		code   webhook.Reason
		org    string
	}{
		"its workspace":                 {func(e *env) ingest.Request { return e.atApp(atTeam("T7"), key) }, 200, webhook.Accepted, "o7"},
		"its organisation-wide install": {func(e *env) ingest.Request { return e.atApp(grid, key) }, 200, webhook.Accepted, "o9"},
		"a workspace without install":   {func(e *env) ingest.Request { return e.atApp(atTeam("T1"), key) }, 200, webhook.Unbound, ""},
		"an install of another kind":    {func(e *env) ingest.Request { return e.atApp(atTeam("T6"), key) }, 200, webhook.Unbound, ""},
		"an install of another app":     {func(e *env) ingest.Request { return e.atApp(atTeam("T5"), key) }, 200, webhook.Unbound, ""},
		"a suspended install":           {func(e *env) ingest.Request { return e.atApp(atTeam("T8"), key) }, 200, webhook.InstallInactive, ""},
		"another app's event": {func(e *env) ingest.Request {
			return e.atApp(`{"type":"event_callback","api_app_id":"A2","team_id":"T7","event_id":"Ev1","event":`+message("message", "1.2")+`}`, key)
		}, 403, webhook.TenantMismatch, ""},
		"another app's event, unknown workspace": {func(e *env) ingest.Request {
			return e.atApp(`{"type":"event_callback","api_app_id":"A2","team_id":"T1","event_id":"Ev1","event":`+message("message", "1.2")+`}`, key)
		}, 403, webhook.TenantMismatch, ""},
		"uninstalled from one workspace": {func(e *env) ingest.Request { return e.atApp(body(`{"type":"app_uninstalled"}`, "Ev1", "T7"), key) }, 200, webhook.Accepted, "o7"},
		"no workspace named": {func(e *env) ingest.Request {
			return e.atApp(`{"type":"event_callback","api_app_id":"A1","event_id":"Ev1","event":`+message("message", "1.2")+`}`, key)
		}, 200, webhook.Unbound, ""},
		"signed with an own app's key":  {func(e *env) ingest.Request { return e.atApp(atTeam("T1"), "key one") }, 401, webhook.SigMismatch, ""},
		"signed with the key, own path": {func(e *env) ingest.Request { return e.request(hello, key, now) }, 401, webhook.SigMismatch, ""},
		"the install has no path":       {func(e *env) ingest.Request { r := e.atApp(atTeam("T7"), key); r.Install = "p7"; return r }, 401, webhook.InstallUnknown, ""},
		"an app that is not there":      {func(e *env) ingest.Request { r := e.atApp(atTeam("T7"), key); r.Install = "app_3"; return r }, 401, webhook.InstallUnknown, ""},
		"another channel's path":        {func(e *env) ingest.Request { r := e.atApp(atTeam("T7"), key); r.Provider = "telegram"; return r }, 401, webhook.ProviderMismatch, ""},
		"stale": {func(e *env) ingest.Request {
			r := e.request(atTeam("T7"), key, now.Add(-time.Hour))
			r.Install = "app_1"
			return r
		}, 401, webhook.Stale, ""},
		"the app's handshake": {func(e *env) ingest.Request { return e.atApp(`{"type":"url_verification","challenge":"c"}`, key) }, 200, webhook.Handshake, ""},
		"own message of the install's bot": {func(e *env) ingest.Request {
			return e.atApp(body(`{"type":"message","channel":"C1","user":"UBOT","ts":"1.2","text":"x"}`, "Ev1", "T7"), key)
		}, 200, "turn.self_ignored", ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := newAppEnv(t)
			asked := e.secrets.asked.Load()
			e.want(c.req(e), c.status, c.code)
			if n := e.secrets.asked.Load() - asked; n > 1 {
				t.Errorf("%d secrets were opened", n)
			}
			if len(e.queue.jobs) != map[bool]int{true: 1}[c.org != ""] || c.org != "" && e.queue.jobs[0].Org != c.org {
				t.Errorf("%+v", e.queue.jobs)
			}
		})
	}
	e := newAppEnv(t)
	e.want(e.atApp(atTeam("T1"), key), 200, webhook.Unbound)
	if page, _, err := e.store.Deliveries(t.Context(), "app_1", "", 5); err != nil || len(page) != 1 || page[0].Outcome != session.Unbound {
		t.Errorf("the operator sees %+v %v", page, err)
	}
	e.want(e.atApp(atTeam("T7"), key), 200, webhook.Accepted)
	if j := e.queue.jobs[0]; j.Install != "p7" || j.Tenant != "T:T7" || j.AgentID != "ag1" {
		t.Errorf("%+v", j)
	}
	e.want(e.atApp(atTeam("T7"), key), 200, webhook.Duplicate)
	if page, _, _ := e.store.Deliveries(t.Context(), "p7", "", 5); len(page) != 2 {
		t.Errorf("the organisation sees %+v", page)
	}
}

// TestPlatformAppFailures: what cannot be found out is 503, never another secret
// and never a drop; an app that is not active lets nothing through.
func TestPlatformAppFailures(t *testing.T) {
	e := newAppEnv(t)
	calls := 0
	e.installs.Fail = func(string) error {
		if calls++; calls == 2 {
			return errors.New("down")
		}
		return nil
	}
	e.want(e.atApp(atTeam("T7"), "the app's key"), http.StatusServiceUnavailable, webhook.InstallLookup)
	e.installs.Fail = nil
	e.secrets.err = fault.New(fault.VaultUnavailable, "", "")
	e.want(e.atApp(atTeam("T7"), "the app's key"), http.StatusServiceUnavailable, webhook.SecretUnavailable)
	e.secrets.err = nil
	app, _, _ := e.installs.Install(t.Context(), "app_1")
	for _, s := range []struct {
		state  install.State
		status int
		code   webhook.Reason
	}{{install.Verifying, 200, webhook.NotDispatched}, {install.Suspended, 401, webhook.InstallInactive}, {install.Revoked, 401, webhook.InstallInactive}} {
		next := app
		next.State, next.Version = s.state, app.Version+1
		if err := e.installs.UpdateInstall(t.Context(), app, next, audit.Row{}); err != nil {
			t.Fatal(err)
		}
		app = next
		e.want(e.atApp(atTeam("T7"), "the app's key"), s.status, s.code)
	}
	if len(e.queue.jobs) != 0 {
		t.Errorf("%+v", e.queue.jobs)
	}
}

// batchOfApp is an app whose requests hold an event on each line, and the number
// of times that a body was read.
func batchOfApp(t *testing.T) (*env, *atomic.Int32) {
	e, n := newAppEnv(t), new(atomic.Int32)
	entry := slack.Entry()
	entry.Adapter = counted{lines{}, n}
	e.in = ingest.New(ingest.Deps{Installs: e.installs, Secrets: e.secrets, Catalog: catalog.New([]channel.Entry{entry}), Dedupe: e.store, People: session.People{Store: e.store}, Queue: e.queue, Recorder: e.audit})
	return e, n
}

type counted struct {
	lines
	n *atomic.Int32
}

func (c counted) Parse(in webhook.Input) ([]channel.Inbound, error) {
	c.n.Add(1)
	return c.lines.Parse(in)
}

// TestTenantIsLookedUpOnce: however many of its events a request has.
func TestTenantIsLookedUpOnce(t *testing.T) {
	e, parsed := batchOfApp(t)
	reads := 0
	e.installs.Fail = func(string) error { reads++; return nil }
	var all []string
	for n := range 200 {
		all = append(all, event(fmt.Sprint("Ev", n), fmt.Sprint("1.", n), "T7"))
	}
	e.want(e.atApp(strings.Join(all, "\n"), "the app's key"), http.StatusOK, webhook.Accepted)
	if len(e.queue.jobs) != 200 || reads != 2 || parsed.Load() != 2 {
		t.Fatalf("%d jobs, %d installs read, body read %d times", len(e.queue.jobs), reads, parsed.Load())
	}
}

// TestWrongTenantHoldsUpNoOther: an install whose settings do not fit its claim
// loses its events, and nobody else's.
func TestWrongTenantHoldsUpNoOther(t *testing.T) {
	e, _ := batchOfApp(t)
	i := install.Install{ID: "p4", Org: "o4", Provider: taxonomy.Slack, Mode: install.Platform, App: "app_1", State: install.Active, Version: 1,
		Config: webhook.Config{"app_id": {"A1"}, "team_id": {"T5"}}, Claims: []install.Claim{{Field: "config.team_id", App: "app_1", Tenant: "T:T4"}}}
	if err := e.installs.CreateInstall(t.Context(), i, audit.Row{}); err != nil {
		t.Fatal(err)
	}
	e.bind("p4", install.Selector{})
	e.want(e.atApp(event("Ev1", "1.1", "T7")+"\n"+event("Ev2", "1.2", "T4")+"\n"+event("Ev3", "1.3", "T7"), "the app's key"), http.StatusOK, webhook.Accepted)
	if len(e.queue.jobs) != 2 || e.queue.jobs[0].Org != "o7" || e.queue.jobs[1].EventID != "Ev3" {
		t.Fatalf("%+v", e.queue.jobs)
	}
	page, _, err := e.store.Deliveries(t.Context(), "p4", "", 5)
	if err != nil || len(page) != 1 || page[0].Code != string(webhook.TenantMismatch) || page[0].EventID != "Ev2" {
		t.Fatalf("%+v %v", page, err)
	}
	e.want(e.atApp(event("Ev2", "1.2", "T4"), "the app's key"), http.StatusForbidden, webhook.TenantMismatch)
}

// ending ends the request's time with its first event.
type ending struct {
	ingest.Recorder
	end context.CancelFunc
}

func (r ending) Record(ctx context.Context, e ingest.Event) {
	r.Recorder.Record(ctx, e)
	r.end()
}

// TestLongBatchIsGoneOnWith: what is left when the time is over is asked for again.
func TestLongBatchIsGoneOnWith(t *testing.T) {
	for name, own := range map[string]bool{"own app": true, "the platform's": false} {
		e, _ := batchOfApp(t)
		entry := slack.Entry()
		entry.Adapter = lines{}
		ctx, end := context.WithCancel(t.Context())
		e.in = ingest.New(ingest.Deps{Installs: e.installs, Secrets: e.secrets, Catalog: catalog.New([]channel.Entry{entry}), Dedupe: e.store,
			People: session.People{Store: e.store}, Queue: e.queue, Recorder: ending{e.audit, end}})
		r := e.atApp(event("Ev1", "1.1", "T7")+"\n"+event("Ev2", "1.2", "T7"), "the app's key")
		if own {
			r = e.request(event("Ev1", "1.1", "T1")+"\n"+event("Ev2", "1.2", "T1"), "key one", now)
		}
		if resp := e.in.Handle(ctx, r); resp.Status != http.StatusServiceUnavailable || e.audit.last() != webhook.Unfinished || len(e.queue.jobs) != 1 {
			t.Fatalf("%s: %+v %s %d", name, resp, e.audit.last(), len(e.queue.jobs))
		}
		e.want(r, http.StatusOK, webhook.Accepted)
		if len(e.queue.jobs) != 2 || e.queue.jobs[1].EventID != "Ev2" {
			t.Fatalf("%s: %+v", name, e.queue.jobs)
		}
	}
}

// claimer is an adapter whose every event is a claim.
type claimer struct{ channel.Adapter }

func (a claimer) Parse(in webhook.Input) ([]channel.Inbound, error) {
	all, err := a.Adapter.Parse(in)
	for i := range all {
		all[i].Claim = "the state"
	}
	return all, err
}

// begun are the states that somebody began.
type begun struct {
	hash string
	err  error
}

func (b begun) Consent(_ context.Context, hash string) (consent.State, error) {
	if b.err == nil && hash != b.hash {
		return consent.State{}, fault.New(fault.NotFound, "", "")
	}
	return consent.State{Hash: hash}, b.err
}

// TestClaimInAConversation: a state that somebody began goes on to who may use it up,
// once, without the text; one that nobody began, and every one that an organisation's own
// app hears, is no claim. No agent hears any that the platform's app hears.
func TestClaimInAConversation(t *testing.T) {
	entry := slack.Entry()
	shared := *entry.Shared
	shared.Claim, entry.Shared, entry.Adapter = &channel.Claim{}, &shared, claimer{entry.Adapter}
	for name, c := range map[string]struct {
		claims begun
		team   string
		status int
		code   webhook.Reason
		jobs   int
	}{
		"of a chat that is nobody's": {begun{hash: consent.HashOf("the state")}, "T1", 200, webhook.Accepted, 1},
		"of one that is somebody's":  {begun{hash: consent.HashOf("the state")}, "T7", 200, webhook.Accepted, 1},
		"never begun":                {begun{}, "T7", 200, webhook.Unbound, 0},
		"states cannot be read":      {begun{err: fault.New(fault.Unavailable, "", "")}, "T7", 503, webhook.InstallLookup, 0},
	} {
		e := newAppEnv(t)
		e.in = ingest.New(ingest.Deps{Installs: e.installs, Secrets: e.secrets, Catalog: catalog.New([]channel.Entry{entry}), Dedupe: e.store, People: session.People{Store: e.store}, Queue: e.queue, Recorder: e.audit, Claims: c.claims})
		for range 2 {
			resp := e.in.Handle(t.Context(), e.atApp(atTeam(c.team), "the app's key"))
			if got := e.audit.last(); resp.Status != c.status || got != c.code && got != webhook.Duplicate {
				t.Errorf("%s: %d %s", name, resp.Status, got)
			}
		}
		if len(e.queue.jobs) != c.jobs {
			t.Fatalf("%s: %+v", name, e.queue.jobs)
		}
		for _, j := range e.queue.jobs {
			if j.Kind != session.JobClaim || j.Org != "operator" || j.Install != "app_1" || j.Claim != consent.HashOf("the state") || j.Envelope.Text != "" || j.Identity["team_id"] != c.team || j.AgentID != "" {
				t.Errorf("%s: %+v", name, j)
			}
		}
	}
	e := newEnv(t)
	e.in = ingest.New(ingest.Deps{Installs: e.installs, Secrets: e.secrets, Catalog: catalog.New([]channel.Entry{entry}), Dedupe: e.store, People: session.People{Store: e.store}, Queue: e.queue, Recorder: e.audit, Claims: begun{hash: consent.HashOf("the state")}})
	if e.in.Handle(t.Context(), e.request(body(message("message", "1.2"), "Ev1", "T1"), "key one", now)); len(e.queue.jobs) != 1 || e.queue.jobs[0].Kind != session.JobMessage {
		t.Errorf("an own app: %+v", e.queue.jobs)
	}
}
