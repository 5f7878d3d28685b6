package ingest_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/ingest"
)

const limitedBody = `{"error":{"type":"webhook_error","code":"rate_limited","message":"too many requests that were refused","retryable":true}}`

// bad is a request that is refused, from a sender at a time.
func (e *env) bad(path, source string, at time.Time) (ingest.Request, func() ingest.Response) {
	r := e.request(hello, "another key", at)
	r.Install, r.Source, r.Now = path, source, at
	return r, func() ingest.Response { return e.in.Handle(e.Context(), r) }
}

// TestFloodOfBadSignatures: 401, then 429, told once a minute; never for what
// verifies, another sender or another install; and an install that does not exist
// behaves alike.
func TestFloodOfBadSignatures(t *testing.T) {
	for _, path := range []string{"i1", "nobody"} {
		t.Run(path, func(t *testing.T) {
			e := newEnv(t)
			_, send := e.bad(path, "203.0.113.0/24", now)
			for n := range 60 {
				if resp := send(); resp.Status != http.StatusUnauthorized {
					t.Fatalf("request %d: %d", n, resp.Status)
				}
			}
			before := len(e.audit.events)
			for range 40 {
				if resp := send(); resp.Status != http.StatusTooManyRequests || resp.Body != limitedBody {
					t.Fatalf("%+v", resp)
				}
			}
			if told := e.audit.events[before:]; len(told) != 1 || told[0].Code != webhook.Flood || told[0].Suppressed != 0 {
				t.Fatalf("%+v", told)
			}
			good := e.request(hello, "key one", now)
			good.Source = "203.0.113.0/24"
			e.want(good, 200, webhook.Accepted)
			_, other := e.bad(path, "198.51.100.0/24", now)
			if resp := other(); resp.Status != http.StatusUnauthorized {
				t.Errorf("another sender: %d", resp.Status)
			}
			_, elsewhere := e.bad("i2", "203.0.113.0/24", now)
			if resp := elsewhere(); resp.Status != http.StatusUnauthorized {
				t.Errorf("another install: %d", resp.Status)
			}
			// One more every two seconds; the next record says how many had none.
			_, later := e.bad(path, "203.0.113.0/24", now.Add(2*time.Second))
			if resp := later(); resp.Status != http.StatusUnauthorized {
				t.Errorf("two seconds later: %d", resp.Status)
			}
			_, minute := e.bad(path, "203.0.113.0/24", now.Add(time.Minute))
			for range 60 {
				minute()
			}
			if last := e.audit.events[len(e.audit.events)-1]; last.Code != webhook.Flood || last.Suppressed != 39 {
				t.Errorf("%+v", last)
			}
		})
	}
}

// TestInventedInstallsAreSampled: whoever invents an id for each request is not
// recorded singly, and what is kept of it is bounded.
func TestInventedInstallsAreSampled(t *testing.T) {
	e := newEnv(t)
	for n := range 9000 {
		_, send := e.bad(fmt.Sprintf("x%d", n), "203.0.113.0/24", now)
		if resp := send(); resp.Status != http.StatusUnauthorized && n < 4000 {
			t.Fatalf("%d: %d", n, resp.Status)
		}
	}
	if n := len(e.audit.events); n > 100 {
		t.Errorf("%d records", n)
	}
	good := e.request(hello, "key one", now)
	good.Source = "203.0.113.0/24"
	e.want(good, 200, webhook.Accepted)
}

// TestRetiredSecretIsTold: a signature of a value whose time is over is refused as
// any other, and the record says what it was.
func TestRetiredSecretIsTold(t *testing.T) {
	e := newEnv(t)
	e.secrets.retired = []secret.Text{secret.FromString("old key")}
	ask := func(key string) (r ingest.Event) {
		e.want(e.request(hello, key, now), 401, webhook.SigMismatch)
		return e.audit.events[len(e.audit.events)-1]
	}
	if got := ask("old key"); got.RetiredSecret {
		t.Error("the install has no retired value")
	}
	i, _, _ := e.installs.Install(t.Context(), "i1")
	next := i
	next.Version++
	next.Secrets = []install.Secret{{Name: "signing_secret"}, {Name: "signing_secret", RetireAt: now}}
	if err := e.installs.UpdateInstall(t.Context(), i, next, audit.Row{}); err != nil {
		t.Fatal(err)
	}
	if got := ask("old key"); !got.RetiredSecret || len(got.SecretVersions) != 1 || got.SecretVersions[0] != 3 {
		t.Errorf("%+v", got)
	}
	if got := ask("another key"); got.RetiredSecret {
		t.Errorf("%+v", got)
	}
}

// TestFloodBeforeAnInstall: what is refused before an install is looked for is
// limited like what has none.
func TestFloodBeforeAnInstall(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*ingest.Request)
		status int
		code   webhook.Reason
	}{
		"method":    {func(r *ingest.Request) { r.Input.Method = "GET" }, http.StatusMethodNotAllowed, webhook.Method},
		"too large": {func(r *ingest.Request) { r.TooLarge = true }, http.StatusRequestEntityTooLarge, webhook.TooLarge},
		"base64":    {func(r *ingest.Request) { r.Undecodable = true }, http.StatusBadRequest, webhook.BadPayload},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			logged := 0
			e.store.Fail = func(m string) error { logged++; return nil }
			for n := range 200 {
				r := e.request(hello, "key one", now)
				c.change(&r)
				want := c.status
				if n >= 60 {
					want = http.StatusTooManyRequests
				}
				if resp := e.in.Handle(t.Context(), r); resp.Status != want {
					t.Fatalf("request %d: %d, want %d", n, resp.Status, want)
				}
				if n == 0 && e.audit.last() != c.code {
					t.Fatalf("%s", e.audit.last())
				}
			}
			// Thirty, and one that tells of others, twice.
			if logged != 32 {
				t.Errorf("%d writes", logged)
			}
			e.want(e.request(hello, "key one", now), http.StatusOK, webhook.Accepted)
		})
	}
}
