package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/ingest"
)

// warm lets the process meet the install once.
func (e *env) warm() {
	e.Helper()
	e.want(e.request(event("EvWarm", "1.9", "T1"), "key one", now), http.StatusOK, webhook.Accepted)
	e.queue.jobs = nil
}

// set changes the stored install, and its version as every change does.
func (e *env) set(change func(*install.Install)) {
	e.Helper()
	i, _, err := e.installs.Install(e.Context(), "i1")
	if err != nil {
		e.Fatal(err)
	}
	next := i
	change(&next)
	next.Version++
	if err := e.installs.UpdateInstall(e.Context(), i, next, audit.Row{}); err != nil {
		e.Fatal(err)
	}
}

// calls notes the calls of a request in their order.
type calls struct {
	mu    sync.Mutex
	names []string
}

func (c *calls) add(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.names = append(c.names, name)
}

// taken returns the calls so far, sorted.
func (c *calls) taken() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.names
	c.names = nil
	slices.Sort(out)
	return out
}

type notedQueue struct {
	ingest.Queue
	c *calls
}

func (q notedQueue) Send(ctx context.Context, group, id string, body []byte) error {
	q.c.add("Send")
	return q.Queue.Send(ctx, group, id, body)
}

type notedSecrets struct {
	*secrets
	c *calls
}

func (s notedSecrets) Verifier(ctx context.Context, i install.Install) (vault.Credential, error) {
	s.c.add("Verifier")
	return s.secrets.Verifier(ctx, i)
}

func (e *env) noted() *calls {
	c := new(calls)
	note := func(name string) error { c.add(name); return nil }
	e.installs.Fail, e.store.Fail = note, note
	e.in = ingest.New(ingest.Deps{Installs: e.installs, Secrets: notedSecrets{e.secrets, c}, Catalog: catalog.New(catalog.Entries()), Dedupe: e.store,
		People: session.People{Store: e.store}, Queue: notedQueue{e.queue, c}, Recorder: e.audit})
	return c
}

// TestCallsOfADelivery: each of these is one call to AWS, but Receive of a repeat,
// which is two.
func TestCallsOfADelivery(t *testing.T) {
	e := newEnv(t)
	c := e.noted()
	deliver := func(b string, code webhook.Reason, want ...string) {
		t.Helper()
		e.want(e.request(b, "key one", now), http.StatusOK, code)
		if got := c.taken(); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", code, got, want)
		}
	}
	deliver(event("Ev1", "1.1", "T1"), webhook.Accepted, "Install", "Queued", "Receive", "Send", "Verifier")
	deliver(event("Ev2", "1.2", "T1"), webhook.Accepted, "Queued", "Receive", "Send", "Version")
	deliver(event("Ev2", "1.2", "T1"), webhook.Duplicate, "Log", "Receive", "Version")
	deliver(body(message("app_mention", "1.2"), "Ev3", "T1"), webhook.DuplicateContent, "Log", "Receive", "Version")
	deliver(body(`{"type":"app_uninstalled"}`, "Ev4", "T1"), webhook.Accepted, "Queued", "Receive", "Send", "Version")
	// What needs no receipt asks for none.
	deliver(body(`{"type":"message","channel":"C1","user":"UBOT","ts":"1.3","text":"x"}`, "Ev5", "T1"), "turn.self_ignored", "Install", "Log")
	r := e.request(event("Ev6", "1.6", "T1"), "another key", now)
	e.want(r, http.StatusUnauthorized, webhook.SigMismatch)
	if got := c.taken(); !slices.Equal(got, []string{"Install", "Log", "Verifier"}) {
		t.Errorf("a bad signature: %v", got)
	}
}

// TestReceiptIsAskedForMeanwhile: version and receipt are read at the same time;
// each waits here until the other one is on its way.
func TestReceiptIsAskedForMeanwhile(t *testing.T) {
	e := newEnv(t)
	e.warm()
	var both sync.WaitGroup
	both.Add(2)
	meet := func(want string) func(string) error {
		return func(name string) error {
			if name != want {
				return nil
			}
			both.Done()
			met := make(chan struct{})
			go func() { both.Wait(); close(met) }()
			select {
			case <-met:
				return nil
			case <-time.After(20 * time.Second):
				return errors.New("alone")
			}
		}
	}
	e.installs.Fail, e.store.Fail = meet("Version"), meet("Receive")
	e.want(e.request(hello, "key one", now), http.StatusOK, webhook.Accepted)
}

// TestVersionUnread: who cannot be told the version reads the install.
func TestVersionUnread(t *testing.T) {
	e := newEnv(t)
	e.warm()
	down := errors.New("down")
	e.installs.Fail = func(name string) error {
		if name == "Version" {
			return down
		}
		return nil
	}
	e.want(e.request(hello, "key one", now), http.StatusOK, webhook.Accepted)
	e.installs.Fail = nil
	e.want(e.request(event("Ev1", "1.1", "T1"), "key one", now), http.StatusOK, webhook.Accepted)
	e.installs.Fail = func(string) error { return down }
	e.want(e.request(event("Ev2", "1.2", "T1"), "key one", now), http.StatusServiceUnavailable, webhook.InstallLookup)
}

// TestStoppedInstallStopsAtOnce: what is remembered of an install lets nothing
// through that the stored one does not.
func TestStoppedInstallStopsAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*env)
		status int
		code   webhook.Reason
	}{
		"suspended":     {func(e *env) { e.set(func(i *install.Install) { i.State = install.Suspended }) }, 401, webhook.InstallInactive},
		"revoked":       {func(e *env) { e.set(func(i *install.Install) { i.State = install.Revoked }) }, 401, webhook.InstallInactive},
		"not activated": {func(e *env) { e.set(func(i *install.Install) { i.State = install.Verifying }) }, 200, webhook.NotDispatched},
		"other tenant": {func(e *env) {
			e.set(func(i *install.Install) { i.Config = webhook.Config{"app_id": {"A1"}, "team_id": {"T2"}} })
		}, 403, webhook.TenantMismatch},
		"rotated": {func(e *env) {
			e.secrets.values["i1"] = []secret.Text{secret.FromString("key two")}
			e.set(func(*install.Install) {})
		}, 401, webhook.SigMismatch},
		"rotated, store of secrets down": {func(e *env) {
			e.set(func(*install.Install) {})
			e.secrets.err = errors.New("down")
		}, 503, webhook.SecretUnavailable},
		"unbound": {func(e *env) {
			if err := e.installs.DeleteBinding(e.Context(), install.Binding{ID: install.BindingID("i1", install.Selector{}), Install: "i1"}, audit.Row{}); err != nil {
				e.Fatal(err)
			}
		}, 200, webhook.Unbound},
		"gone":          {func(e *env) { e.installs.Fail = func(string) error { return fault.New(fault.NotFound, "", "") } }, 401, webhook.InstallUnknown},
		"store is down": {func(e *env) { e.installs.Fail = func(string) error { return errors.New("down") } }, 503, webhook.InstallLookup},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			e.warm()
			c.change(e)
			for range 2 { // what was remembered is gone then
				e.want(e.request(hello, "key one", now), c.status, c.code)
			}
			if len(e.queue.jobs) != 0 {
				t.Fatalf("%+v", e.queue.jobs)
			}
			if r, fresh, err := e.store.Receive(t.Context(), "i1", session.DedupeKey("", "C1:1772600767.000100"), "Ev1", now, time.Hour); err != nil || r.Enqueued {
				t.Errorf("%+v %v %v", r, fresh, err)
			}
		})
	}
}

// TestResumedInstallTakesWhatWasRefused: a receipt that was asked for meanwhile
// swallows nothing.
func TestResumedInstallTakesWhatWasRefused(t *testing.T) {
	e := newEnv(t)
	e.warm()
	e.set(func(i *install.Install) { i.State = install.Suspended })
	e.want(e.request(hello, "key one", now), http.StatusUnauthorized, webhook.InstallInactive)
	e.set(func(i *install.Install) { i.State = install.Active })
	e.want(e.request(hello, "key one", now), http.StatusOK, webhook.Accepted)
	e.want(e.request(hello, "key one", now), http.StatusOK, webhook.Duplicate)
	if len(e.queue.jobs) != 1 {
		t.Fatalf("%+v", e.queue.jobs)
	}
}

// TestBindingsAreRead: the agent is that of the stored binding.
func TestBindingsAreRead(t *testing.T) {
	e := newEnv(t)
	e.warm()
	b := install.Binding{ID: install.BindingID("i1", install.Selector{}), Install: "i1", AgentID: "ag2"}
	if err := e.installs.UpdateBinding(t.Context(), b, audit.Row{}); err != nil {
		t.Fatal(err)
	}
	e.want(e.request(hello, "key one", now), http.StatusOK, webhook.Accepted)
	if e.queue.jobs[0].AgentID != "ag2" {
		t.Fatalf("%+v", e.queue.jobs)
	}
}

// TestRememberedSecret: a value that was replaced without a trace on the install,
// as a rotation that died half way does, verifies for less than a minute more; the
// new one verifies at once.
func TestRememberedSecret(t *testing.T) {
	at := func(n int, key string, after time.Duration, status int, code webhook.Reason) func(*env) {
		return func(e *env) {
			e.Helper()
			r := e.request(event(fmt.Sprint("Ev", n), fmt.Sprint("1.", n), "T1"), key, now.Add(after))
			r.Now = now.Add(after)
			e.want(r, status, code)
		}
	}
	for name, steps := range map[string][]func(*env){
		"old": {at(1, "key one", 59*time.Second, 200, webhook.Accepted), at(2, "key one", 60*time.Second, 401, webhook.SigMismatch)},
		// Using it does not make it younger.
		"old, used":              {at(1, "key one", 30*time.Second, 200, webhook.Accepted), at(2, "key one", 61*time.Second, 401, webhook.SigMismatch)},
		"new":                    {at(1, "key two", time.Second, 200, webhook.Accepted), at(2, "key one", 2*time.Second, 401, webhook.SigMismatch)},
		"a clock that went back": {at(1, "key one", -time.Second, 401, webhook.SigMismatch)},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			e.warm()
			e.secrets.values["i1"] = []secret.Text{secret.FromString("key two")}
			for _, step := range steps {
				step(e)
			}
		})
	}
}

// TestOnlyVerifiedIsRemembered: nobody without the secret fills the memory.
func TestOnlyVerifiedIsRemembered(t *testing.T) {
	e := newEnv(t)
	e.want(e.request(hello, "another key", now), http.StatusUnauthorized, webhook.SigMismatch)
	e.want(e.request(hello, "key one", now), http.StatusOK, webhook.Accepted)
	if n := e.secrets.asked.Load(); n != 2 {
		t.Fatalf("the secret was read %d times", n)
	}
}

// TestManyInstalls: each of more installs than are remembered has its own secret
// and its own queue.
func TestManyInstalls(t *testing.T) {
	e := newEnv(t)
	for round := range 2 {
		for n := range 300 {
			id := fmt.Sprint("m", n)
			if round == 0 {
				e.install(id, "o"+id, "T"+id, install.Active, "key "+id)
				e.bind(id, install.Selector{})
			}
			r := e.request(event(fmt.Sprint("Ev", round), fmt.Sprint("1.", round), "T"+id), "key "+id, now)
			r.Install = id
			e.want(r, http.StatusOK, webhook.Accepted)
			if j := e.queue.jobs[len(e.queue.jobs)-1]; j.Org != "o"+id || j.Install != id {
				t.Fatalf("%+v", j)
			}
		}
	}
	if asked := e.secrets.asked.Load(); asked <= 300 || asked > 600 {
		t.Fatalf("%d secrets read", asked)
	}
}

// TestRotatedSecretAnswersNoHandshake: nor does it verify what asks for no receipt.
func TestRotatedSecretAnswersNoHandshake(t *testing.T) {
	e := newEnv(t)
	e.warm()
	e.secrets.values["i1"] = []secret.Text{secret.FromString("key two")}
	e.set(func(*install.Install) {})
	e.want(e.request(`{"type":"url_verification","challenge":"c"}`, "key one", now), http.StatusUnauthorized, webhook.SigMismatch)
}

// TestEventTwiceInARequest: the second finds the first one queued.
func TestEventTwiceInARequest(t *testing.T) {
	e := newBatchEnv(t)
	e.warm()
	e.want(e.request(event("Ev1", "1.1", "T1")+"\n"+event("Ev1", "1.1", "T1"), "key one", now), http.StatusOK, webhook.Duplicate)
}
