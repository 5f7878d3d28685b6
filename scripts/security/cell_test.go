package security

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/rollout"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// cell is one row for one channel.
type cell struct {
	*world
	t        testing.TB
	ctx      context.Context
	col      column
	org      *tenant
	want     rollout.Cell
	seen     rollout.Seen
	apps     []*app
	problems []string
	// meet is with the other columns' cells of the row, if it is played at once.
	meet *rendezvous
	// also says that the row is played for the second kind of apps.
	also bool
}

// errStop ends a cell that cannot go on.
var errStop = errors.New("stop")

// play runs the attack of a row and judges what it saw.
func (w *world) play(t testing.TB, row rollout.Row, provider taxonomy.Channel, org *tenant, meet *rendezvous) *cell {
	c := &cell{world: w, t: t, ctx: t.Context(), col: columnOf(provider), org: org, want: row.Cells[provider], meet: meet}
	switch {
	case c.want.NotApplicable != "":
		c.seen = rollout.Seen{Result: rollout.Excluded, Reason: c.want.NotApplicable}
		return c
	case c.want.Pending != "":
		c.seen = rollout.Seen{Result: rollout.Unfinished, Reason: c.want.Pending}
		return c
	}
	func() {
		defer func() {
			if v := recover(); v != nil && v != errStop {
				panic(v)
			}
		}()
		c.col.attack(row.N)(c)
		if c.col.also != nil && slices.Contains(c.col.alsoRows, row.N) {
			c.also = true
			c.col.attack(row.N)(c)
		}
	}()
	if c.seen.Result == "" && len(c.problems) == 0 {
		c.bad("nothing was tried")
	}
	if len(c.problems) > 0 {
		c.seen.Result = rollout.Fail
	}
	return c
}

// bad notes what is wrong.
func (c *cell) bad(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

// need ends the cell if preparing it failed.
func (c *cell) need(err error) {
	if err != nil {
		c.bad("%v", err)
		panic(errStop)
	}
}

// saw notes a status and an audit code. Of several that are all as they should be
// the first is kept, else the first that is not.
func (c *cell) saw(status int, audit string) {
	good := status == c.want.Status && audit == c.want.Audit
	if c.seen.Result == "" || !good && c.seen.Result == rollout.Pass {
		c.seen = rollout.Seen{Status: status, Audit: audit, Result: rollout.Pass}
	}
	if !good {
		c.bad("%d %q, want %d %q", status, audit, c.want.Status, c.want.Audit)
	}
}

// reply is an HTTP answer.
type reply struct {
	status int
	body   string
	header http.Header
}

func (c *cell) do(h hit) reply {
	url := c.BaseURL + h.path
	if h.query != "" {
		url += "?" + h.query
	}
	req, err := http.NewRequestWithContext(c.ctx, h.method, url, bytes.NewReader(h.body))
	c.need(err)
	req.Header, req.Host = h.header, h.host
	resp, err := http.DefaultClient.Do(req)
	c.need(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	c.need(err)
	return reply{resp.StatusCode, string(b), resp.Header}
}

// bodies are the whole answers that a sender may get; with status 200 it is the vendor's ack.
func bodies() map[int]string {
	fail := func(code, message, retryable string) string {
		return `{"error":{"type":"webhook_error","code":"` + code + `","message":"` + message + `","retryable":` + retryable + `}}`
	}
	return map[int]string{
		200: "", 400: fail("invalid_request", "the body is malformed", "false"), 401: fail("unauthorized", "unauthorized", "false"),
		403: fail("tenant_mismatch", "forbidden", "false"), 405: fail("method_not_allowed", "method not allowed", "false"),
		413: fail("too_large", "the body is too large", "false"), 429: fail("rate_limited", "too many requests that were refused", "true"),
		503: fail("unavailable", "unavailable, try again", "true"),
	}
}

// hit sends a request, notes the answer and its record, and checks both.
func (c *cell) hit(a *app, h hit) record {
	got := c.do(h)
	r := c.recordOf(a, h)
	want, known := bodies()[got.status]
	if got.status == http.StatusOK {
		want = c.col.acks[r.Code]
	}
	if !known || got.body != want {
		c.bad("the body of a %d is not the constant one: %.200s", got.status, got.body)
	}
	c.saw(got.status, r.Code)
	return r
}

// unresolved are the codes of what is refused before the install is read.
func unresolved(code string) bool {
	return slices.Contains([]string{"hook.install_unknown", "hook.method", "hook.too_large"}, code)
}

// recordOf takes the audit record of a request and checks what it says and that it
// holds nothing that must not be kept.
func (c *cell) recordOf(a *app, h hit) record {
	sum := sha256.Sum256(h.body)
	hash := hex.EncodeToString(sum[:])
	r, ok := c.hooks.next(func(r record) bool {
		return r.BodySHA256 == hash && (len(h.body) > 0 || r.Install == a.install)
	})
	if !ok {
		c.bad("no audit record")
		return r
	}
	install, org := a.install, a.tenant.id
	if unresolved(r.Code) {
		install, org = "", ""
	}
	if r.Install != install || r.Org != org || r.Source != "127.0.0.0/24" || r.RequestID == "" || r.At.IsZero() || r.Provider != string(c.col.provider()) && r.Code != "hook.provider_mismatch" {
		c.bad("audit record: %s", r.raw)
	}
	secrets := []string{a.secret, a.verify, a.token}
	for name, vs := range h.header {
		if slices.Contains(a.col.proofs, name) {
			secrets = append(secrets, vs...)
		}
	}
	if len(h.body) > 0 {
		secrets = append(secrets, string(h.body[:min(len(h.body), 60)]))
	}
	raw := strings.ReplaceAll(r.raw, `\"`, `"`)
	for _, s := range secrets {
		if s = strings.TrimPrefix(s, a.col.tag); len(s) > 5 && strings.Contains(raw, s) {
			c.bad("the audit record holds %q: %s", s, r.raw)
		}
	}
	return r
}

// turned waits for a record of a turn of the install that nobody has taken yet.
func (c *cell) turned(a *app, status int, code string) record {
	r, ok := c.turns.next(func(r record) bool { return r.Install == a.install && r.Code == code })
	if !ok {
		r = c.turns.last(a.install)
		c.bad("no new record %q of a turn, the newest is %q", code, r.Code)
	}
	c.saw(status, r.Code)
	return r
}

// accepted sends what must be taken and answered.
func (c *cell) accepted(a *app, h hit) {
	got := c.do(h)
	if got.status != http.StatusOK {
		c.bad("a valid request: %d %s", got.status, got.body)
		return
	}
	a.replies++
	if r := c.recordOf(a, h); r.Code != "hook.accepted" || (len(r.SecretVersions) == 0) != (c.col.verifies == "" || c.col.keyed) || got.body != c.col.acks[r.Code] {
		c.bad("a valid request: %q %s", got.body, r.raw)
	}
}

// answered waits until the install's messages are answered.
func (c *cell) answered(a *app) {
	if !c.until(func() bool { return a.posts() >= a.replies }) {
		c.bad("%d replies, want %d", a.posts(), a.replies)
	}
}
