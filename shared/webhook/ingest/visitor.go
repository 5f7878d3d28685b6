package ingest

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/webhook"
)

// What one answer to a question for messages holds at most.
const (
	shownLimit = 50
	maxShown   = 100
	// conversationName is how much of a session's id a page is told.
	conversationName = 16
	// shownBytes is far below what an answer may be; the rest is asked for next.
	shownBytes = 1 << 20
)

// retryAfter is when a visitor may say something again.
const retryAfter = "2"

// preflightAge is how long a browser need not ask again.
const preflightAge = "600"

// origin is the page that a request comes from, as the browser says; "" for none.
func origin(h webhook.Header) string { return strings.Join(h.Values("origin"), ",") }

// readable lets the page that asked read the answer, whichever page that is: none of
// them is sent with anything that the page did not hold itself.
func readable(h webhook.Header, r Response) Response {
	if o := origin(h); o != "" && len(o) <= 512 && !strings.ContainsFunc(o, func(c rune) bool { return c <= ' ' || c > '~' }) {
		r.Header = map[string]string{"access-control-allow-origin": o, "vary": "origin", "access-control-expose-headers": "retry-after"}
	}
	if r.Status == http.StatusTooManyRequests {
		if r.Header == nil {
			r.Header = map[string]string{}
		}
		r.Header["retry-after"] = retryAfter
	}
	return r
}

// preflight answers the question that a browser asks before a request, for every path
// alike and without asking anybody.
func preflight(h webhook.Header) Response {
	r := readable(h, Response{Status: http.StatusNoContent, ContentType: contentText})
	if r.Header != nil {
		r.Header["access-control-allow-methods"], r.Header["access-control-allow-headers"] = "GET, POST", "authorization, content-type"
		r.Header["access-control-max-age"] = preflightAge
	}
	return r
}

// browser handles a request to a channel for browsers.
func (c *call) browser(ctx context.Context) Response {
	if c.r.Input.Method == http.MethodOptions {
		return preflight(c.r.Input.Header)
	}
	return readable(c.r.Input.Header, c.handle(ctx, true))
}

// visit handles a verified one.
func (c *call) visit(ctx context.Context) Response {
	if resp, refused := c.visited(ctx); refused {
		return resp
	}
	if c.reads() {
		return c.conversation(ctx)
	}
	return c.dispatch(ctx)
}

// reads reports whether the request asks for messages.
func (c *call) reads() bool { return c.entry.Browsers != nil && c.r.Input.Method == http.MethodGet }

// visited refuses a verified request of a visitor who asks too often, or from a page
// that is none of the install's.
func (c *call) visited(ctx context.Context) (Response, bool) {
	if v := c.floods.visit(c.inst.ID, c.entry.Browsers.Visitor(c.r.Input.Header), c.reads(), c.r.Now); v.limited {
		resp := c.answer(webhook.Busy, http.StatusTooManyRequests)
		if v.record {
			_ = c.d.Dedupe.Log(ctx, c.delivery(webhook.Busy, session.Refused))
			resp = c.tell(ctx, webhook.Busy, http.StatusTooManyRequests, v.suppressed)
		}
		return resp, true
	}
	if o := origin(c.r.Input.Header); o != "" && !slices.Contains(c.inst.Config[c.entry.Browsers.Origins], o) {
		return c.end(ctx, webhook.OriginRefused, session.Refused), true
	}
	return Response{}, false
}

// conversation answers with what the visitor was shown. It is written to no log: a page
// asks every few seconds.
func (c *call) conversation(ctx context.Context) Response {
	after, limit, ok := span(c.r.Input.RawQuery)
	if !ok {
		return c.end(ctx, webhook.BadPayload, session.Refused)
	}
	e := c.entry.Browsers.Reads(c.entry.Browsers.Visitor(c.r.Input.Header))
	b, bound := install.Match(c.binds, e)
	if !bound {
		return shownAs(session.ShownPage{}, "", after, c.r.Now)
	}
	_, tenant := c.entry.Claimed(c.inst.Config)
	id := session.Job{Org: c.inst.Org, Install: c.inst.ID, AgentID: b.AgentID, PersonaID: b.PersonaID, Tenant: tenant, Envelope: e}.Key().Hash()
	page, err := c.d.Shown.Shown(ctx, c.inst.Org, id, after, limit)
	if err != nil {
		return c.end(ctx, webhook.ShownUnavailable, session.Failed)
	}
	return shownAs(page, id[:conversationName], after, c.r.Now)
}

// span reads after and limit of a query strictly.
func span(raw string) (after int64, limit int, ok bool) {
	q, err := url.ParseQuery(raw)
	if err != nil || len(raw) > 256 {
		return 0, 0, false
	}
	limit = shownLimit
	for name, values := range q {
		n, err := strconv.ParseInt(values[0], 10, 48)
		if err != nil || len(values) != 1 || n < 0 || values[0][0] == '+' || values[0][0] == '-' {
			return 0, 0, false
		}
		switch {
		case name == "after":
			after = n
		case name == "limit" && n >= 1 && n <= maxShown:
			limit = int(n)
		default:
			return 0, 0, false
		}
	}
	return after, limit, true
}

// shownAs writes the answer: the messages, where to go on and in which conversation, for
// an operator may bind the visitor to another agent, and whether there is more and an
// answer is being made.
func shownAs(p session.ShownPage, conversation string, after int64, now time.Time) Response {
	out := append([]byte(nil), `{"items":[`...)
	for k, x := range p.Items {
		if len(out)+len(x.Text) > shownBytes && k > 0 {
			p.More = true
			break
		}
		if k > 0 {
			out = append(out, ',')
		}
		o := jsonwire.Begin(out)
		o.String("id", strconv.FormatInt(x.Seq, 10))
		o.String("role", string(x.Role))
		o.String("text", x.Text)
		o.String("at", x.At.UTC().Format(time.RFC3339Nano))
		if x.By != "" {
			o.String("name", x.By)
		}
		if x.Message != "" {
			o.String("message_id", x.Message)
		}
		out, after = o.End(), x.Seq
	}
	out = append(out, `],"cursor":"`...)
	out = strconv.AppendInt(out, after, 10)
	out = append(out, `","conversation":"`...)
	out = append(out, conversation...)
	out = append(out, `","more":`...)
	out = strconv.AppendBool(out, p.More)
	out = append(out, `,"typing":`...)
	out = strconv.AppendBool(out, p.Typing.After(now))
	return Response{Status: http.StatusOK, ContentType: contentJSON, Body: string(append(out, '}'))}
}
