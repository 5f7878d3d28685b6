package ingest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/web"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/ingest"
)

const (
	widgetKey = "a secret of the organisation's own, 48 characters"
	shop      = "https://shop.example"
)

// pages is an environment with installs of a page: w1 active, w2 active without pages
// and w3 verifying.
func pages(t *testing.T) *env {
	e := newEnv(t)
	entry := web.Entry()
	entry.VerifySecret = "signing_secret" // as the vault of these tests has it
	e.in = ingest.New(ingest.Deps{Installs: e.installs, Secrets: e.secrets, Catalog: single{entry}, Dedupe: e.store, People: session.People{Store: e.store}, Queue: e.queue, Recorder: e.audit, Shown: e.store})
	for id, state := range map[string]install.State{"w1": install.Active, "w2": install.Active, "w3": install.Verifying} {
		config := webhook.Config{"allowed_origins": {"https://other.example", shop}}
		if id == "w2" {
			config = webhook.Config{}
		}
		if err := e.installs.CreateInstall(t.Context(), install.Install{ID: id, Org: "o1", Provider: taxonomy.Web, State: state, Version: 1, Config: config}, audit.Row{}); err != nil {
			t.Fatal(err)
		}
		e.secrets.values[id] = []secret.Text{secret.FromString(widgetKey)}
		e.bind(id, install.Selector{})
	}
	return e
}

type single struct{ e channel.Entry }

func (s single) Find(id taxonomy.Channel) (channel.Entry, bool) {
	if id != s.e.ID {
		return channel.Entry{}, false
	}
	return s.e, true
}

func page(t *testing.T, method, to, visitor, origin string) ingest.Request {
	t.Helper()
	in := webhook.Input{Method: method, Install: to, Config: webhook.Config{"visitor": {visitor}}}
	if err := web.Scheme().Sign(&in, secret.FromString(widgetKey), now); err != nil {
		t.Fatal(err)
	}
	in.Config, in.Install = nil, ""
	if origin != "" {
		in.Header.Add("Origin", origin)
	}
	if method == http.MethodPost {
		in.Body = []byte(`{"id":"0123456789abcdef","text":"hello"}`)
	}
	return ingest.Request{Provider: "web", Install: to, Input: in, Now: now, RequestID: "r1", Source: "203.0.113.0/24"}
}

func TestVisitorSays(t *testing.T) {
	e := pages(t)
	for range 2 {
		resp := e.in.Handle(t.Context(), page(t, http.MethodPost, "w1", "ada", shop))
		if resp.Status != 200 || resp.Body != `{"queued":true}` || resp.Header["access-control-allow-origin"] != shop || resp.Header["vary"] != "origin" {
			t.Fatalf("%+v", resp)
		}
	}
	e.want(page(t, http.MethodPost, "w1", "bob", ""), 200, webhook.Accepted)
	if len(e.queue.jobs) != 2 {
		t.Fatalf("%+v", e.queue.jobs)
	}
	for k, who := range []string{"ada", "bob"} {
		if j := e.queue.jobs[k]; j.Tenant != "" || j.Envelope.Space != who || j.EventID != who+"/0123456789abcdef" || j.Envelope.Integrity != channel.ByChannel || j.AgentID != "ag1" {
			t.Errorf("%+v", j)
		}
	}
	for name, c := range map[string]struct {
		r      ingest.Request
		status int
		code   webhook.Reason
	}{
		"another page": {page(t, "POST", "w1", "ada", "https://evil.example"), 403, webhook.OriginRefused},
		"no page's":    {page(t, "POST", "w1", "ada", "null"), 403, webhook.OriginRefused},
		"two pages":    {page(t, "POST", "w1", "ada", shop+","+shop), 403, webhook.OriginRefused},
		"no pages":     {page(t, "POST", "w2", "ada", shop), 403, webhook.OriginRefused},
		"no browser":   {page(t, "POST", "w2", "ada", ""), 200, webhook.Accepted},
		"verifying":    {page(t, "POST", "w3", "ada", shop), 200, webhook.NotDispatched},
		"nobody's":     {page(t, "POST", "w9", "ada", "https://evil.example"), 401, webhook.InstallUnknown},
		"another's, no page": {func() ingest.Request {
			r := page(t, "POST", "w2", "ada", "https://evil.example")
			r.Install = "w1"
			return r
		}(), 401, webhook.ClaimRefused},
		"put": {page(t, "PUT", "w1", "ada", shop), 405, webhook.Method},
	} {
		t.Run(name, func(t *testing.T) {
			e.T = t
			resp := e.want(c.r, c.status, c.code)
			if o := origin(c.r); resp.Header["access-control-allow-origin"] != o && !strings.Contains(o, ",") {
				t.Errorf("%+v", resp.Header)
			}
		})
	}
}

func origin(r ingest.Request) string { return strings.Join(r.Input.Header.Values("origin"), ",") }

// TestVisitorReads: the visitor's own conversation, in two calls, and in no log.
func TestVisitorReads(t *testing.T) {
	e := pages(t)
	e.in.Handle(t.Context(), page(t, http.MethodPost, "w1", "ada", shop))
	j := e.queue.jobs[0]
	x, _, _, err := e.store.Claim(t.Context(), session.Claim{Turn: session.Turn{Org: "o1", ID: "t1", Session: j.Key().Hash()}, Delivery: "m", Receive: 1, Owner: "w", Now: now, Lease: time.Minute})
	if err == nil {
		_, err = e.store.Open(t.Context(), session.Session{Org: "o1", ID: j.Key().Hash()}, now)
	}
	if err == nil {
		err = e.store.Append(t.Context(), x, session.Message{Role: session.User, Text: "a", Shown: &session.Shown{Role: session.User, Text: `a "<b>" größer`, Message: "0123456789abcdef", At: now}})
	}
	if err == nil {
		err = e.store.Typing(t.Context(), "o1", j.Key().Hash(), now.Add(time.Second))
	}
	if err != nil {
		t.Fatal(err)
	}
	records := len(e.audit.events)
	calls := map[string]int{}
	note := func(m string) error { calls[m]++; return nil }
	e.installs.Fail, e.store.Fail = note, note
	read := func(r ingest.Request, query string) ingest.Response {
		r.Input.RawQuery = query
		return e.in.Handle(t.Context(), r)
	}
	named, bobs := j.Key().Hash()[:16], func() string { b := j; b.Envelope.Space = "bob"; return b.Key().Hash()[:16] }()
	items := `{"items":[{"id":"1","role":"user","text":"a \"<b>\" größer","at":"2026-03-04T05:06:07Z","message_id":"0123456789abcdef"}],"cursor":"1","conversation":"` + named + `","more":false,"typing":true}`
	if r := read(page(t, "GET", "w1", "ada", shop), ""); r.Status != 200 || r.Body != items || r.ContentType != "application/json" || r.Header["access-control-allow-origin"] != shop {
		t.Errorf("%+v", r)
	}
	if len(calls) != 2 || calls["Shown"] != 1 || calls["Version"] != 1 || len(e.audit.events) != records {
		t.Errorf("%v, %d records", calls, len(e.audit.events)-records)
	}
	late := page(t, "GET", "w1", "ada", shop)
	late.Now = now.Add(2 * time.Second)
	for name, c := range map[string]struct{ r, query, want string }{
		"ada on":    {"ada", "after=1", `{"items":[],"cursor":"1","conversation":"` + named + `","more":false,"typing":true}`},
		"bob":       {"bob", "", `{"items":[],"cursor":"0","conversation":"` + bobs + `","more":false,"typing":false}`},
		"bob on":    {"bob", "after=7&limit=3", `{"items":[],"cursor":"7","conversation":"` + bobs + `","more":false,"typing":false}`},
		"ada again": {"ada", "after=0&limit=100", items},
	} {
		if r := read(page(t, "GET", "w1", c.r, shop), c.query); r.Status != 200 || r.Body != c.want {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if r := e.in.Handle(t.Context(), late); !strings.HasSuffix(r.Body, `"typing":false}`) {
		t.Errorf("%+v", r)
	}
	for _, query := range []string{"after=x", "after=-1", "after=+1", "after=%2B1", "limit=0", "limit=101", "after=1&after=2", "visitor=bob", "after=", "after=99999999999999999999", "%zz", strings.Repeat("a", 300)} {
		if r := read(page(t, "GET", "w1", "ada", shop), query); r.Status != 400 || !strings.Contains(r.Body, `"message":"after and limit are numbers, limit 1 to 100"`) {
			t.Errorf("%s: %+v", query, r)
		}
	}
	if r := e.want(page(t, "GET", "w1", "ada", "https://evil.example"), 403, webhook.OriginRefused); strings.Contains(r.Body, "größer") {
		t.Errorf("%+v", r)
	}
	if r := read(page(t, "GET", "w3", "ada", shop), ""); r.Status != 200 || !strings.HasPrefix(r.Body, `{"items":[]`) {
		t.Errorf("%+v", r)
	}
	e.moved(t, named)
	e.store.Fail = func(m string) error {
		if m == "Shown" {
			return fault.New(fault.Unavailable, "", "")
		}
		return nil
	}
	e.want(page(t, "GET", "w1", "ada", shop), 503, webhook.ShownUnavailable)
}

// moved: another agent is another conversation, and a page learns that it is.
func (e *env) moved(t *testing.T, before string) {
	t.Helper()
	ask := func() (told struct{ Conversation *string }) {
		r := e.in.Handle(t.Context(), page(t, "GET", "w1", "ada", shop))
		if err := json.Unmarshal([]byte(r.Body), &told); err != nil || told.Conversation == nil {
			t.Fatalf("%+v %v", r, err)
		}
		return told
	}
	if got := *ask().Conversation; got != before {
		t.Errorf("%s before", got)
	}
	s := install.Selector{Peer: "ada"}
	if err := e.installs.CreateBinding(t.Context(), install.Binding{ID: install.BindingID("w1", s), Install: "w1", Selector: s, AgentID: "ag2"}, audit.Row{}); err != nil {
		t.Fatal(err)
	}
	if got := *ask().Conversation; got == before || len(got) != 16 {
		t.Errorf("%s of another agent", got)
	}
}

// TestVisitorUnbound: nobody answers, in no conversation.
func TestVisitorUnbound(t *testing.T) {
	e := pages(t)
	if err := e.installs.CreateInstall(t.Context(), install.Install{ID: "w4", Org: "o1", Provider: taxonomy.Web, State: install.Active, Version: 1, Config: webhook.Config{"allowed_origins": {shop}}}, audit.Row{}); err != nil {
		t.Fatal(err)
	}
	e.secrets.values["w4"] = []secret.Text{secret.FromString(widgetKey)}
	if r := e.in.Handle(t.Context(), page(t, "GET", "w4", "ada", shop)); r.Status != 200 || r.Body != `{"items":[],"cursor":"0","conversation":"","more":false,"typing":false}` {
		t.Errorf("%+v", r)
	}
}

// TestVisitorIsLimited: one visitor who asks or says too much is told so, and no other
// is; it is recorded once a minute.
func TestVisitorIsLimited(t *testing.T) {
	e := pages(t)
	counts, received := map[string]int{}, 0
	e.store.Fail = func(m string) error {
		if m == "Receive" {
			received++
		}
		return nil
	}
	for n := range 80 {
		r := page(t, http.MethodPost, "w1", "ada", shop)
		r.Input.Body = []byte(fmt.Sprintf(`{"id":"message-%04d","text":"x"}`, n))
		said := e.in.Handle(t.Context(), r)
		if counts[fmt.Sprint("POST ", said.Status)]++; (said.Status == 429) != (said.Header["retry-after"] == "2") {
			t.Errorf("%+v", said)
		}
		counts[fmt.Sprint("GET ", e.in.Handle(t.Context(), page(t, http.MethodGet, "w1", "ada", shop)).Status)]++
	}
	if counts["POST 200"] != 20 || counts["POST 429"] != 60 || counts["GET 200"] != 60 || counts["GET 429"] != 20 || len(e.queue.jobs) != 20 {
		t.Errorf("%v, %d jobs", counts, len(e.queue.jobs))
	}
	if received != 20 {
		t.Errorf("%d receipts were written", received)
	}
	for n := range 5 {
		r := page(t, http.MethodPost, "w1", "bob", "https://evil.example")
		r.Input.Body = []byte(fmt.Sprintf(`{"id":"foreign-%04d","text":"x"}`, n))
		if got := e.in.Handle(t.Context(), r); got.Status != 403 || received != 20 {
			t.Errorf("%+v, %d receipts", got, received)
		}
	}
	busy := 0
	for _, ev := range e.audit.events {
		if ev.Code == webhook.Busy {
			busy++
		}
	}
	if busy != 2 {
		t.Errorf("%d records", busy)
	}
	for _, r := range []ingest.Request{page(t, "POST", "w1", "bob", shop), page(t, "POST", "w2", "ada", "")} {
		if got := e.in.Handle(t.Context(), r); got.Status != 200 {
			t.Errorf("%+v", got)
		}
	}
	r := page(t, http.MethodPost, "w1", "ada", shop)
	r.Now, r.Input.Body = now.Add(3*time.Second), []byte(`{"id":"message-later","text":"x"}`)
	if got := e.in.Handle(t.Context(), r); got.Status != 200 {
		t.Errorf("%+v", got)
	}
}

// TestVisitorAmongStrangers: refused requests of many strangers take every place in which
// senders are counted; visitors are not limited with them.
func TestVisitorAmongStrangers(t *testing.T) {
	e := pages(t)
	for n := range 4200 {
		r := page(t, http.MethodGet, "w1", "ada", "")
		r.Input.Header, r.Source = webhook.Header{}, fmt.Sprintf("2001:db8:%x::/48", n)
		if got := e.in.Handle(t.Context(), r); got.Status != 401 && got.Status != 429 {
			t.Fatalf("%+v", got)
		}
	}
	for n := range 70 {
		if got := e.in.Handle(t.Context(), page(t, http.MethodGet, "w1", "ada", shop)); got.Status != 200 {
			t.Fatalf("question %d: %+v", n, got)
		}
	}
}

// TestBrowsersQuestion: asked of nobody, answered alike for every path.
func TestBrowsersQuestion(t *testing.T) {
	e := pages(t)
	e.store.Fail = func(m string) error { t.Errorf("%s was asked", m); return nil }
	var first ingest.Response
	for k, to := range []string{"w1", "w9", "w3", "not an id!"} {
		r := ingest.Request{Provider: "web", Install: to, Now: now, Input: webhook.Input{Method: http.MethodOptions, Header: webhook.Header{"origin": {"https://evil.example"}}}}
		got := e.in.Handle(t.Context(), r)
		if k == 0 {
			first = got
		}
		if got.Status != 204 || fmt.Sprint(got) != fmt.Sprint(first) || got.Header["access-control-allow-headers"] != "authorization, content-type" || got.Header["access-control-allow-credentials"] != "" {
			t.Errorf("%s: %+v", to, got)
		}
	}
	r := ingest.Request{Provider: "web", Install: "w1", Now: now, Input: webhook.Input{Method: http.MethodOptions, Header: webhook.Header{"origin": {"https://a\r\nx: y"}}}}
	if got := e.in.Handle(t.Context(), r); len(got.Header) != 0 {
		t.Errorf("%+v", got)
	}
	if len(e.audit.events) != 0 || e.secrets.asked.Load() != 0 {
		t.Error("somebody was asked")
	}
}
