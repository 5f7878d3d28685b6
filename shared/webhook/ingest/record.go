package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Event is one audit record of the boundary. It holds no header, body or MAC.
type Event struct {
	At        time.Time
	Org       string
	Install   string
	Provider  taxonomy.Channel
	Code      webhook.Reason
	EventID   string
	RequestID string
	// Source is the prefix of the sender's address.
	Source     string
	BodySHA256 string
	// SecretVersions are the numbers of the secret's values that were tried.
	SecretVersions []int
	// RetiringSecret says that a value that is being replaced matched,
	// RetiredSecret that one would have whose time is over.
	RetiringSecret, RetiredSecret bool
	// URLHint says that another URL was signed than the stored one.
	URLHint webhook.URLHint
	// Suppressed counts the refusals since the last record that have none of
	// their own.
	Suppressed int64
}

// Response is the answer. Body is one of a few constants, a vendor's [channel.Ack], a
// challenge or a visitor's messages.
type Response struct {
	Status      int
	ContentType string
	Body        string
	Allow       []string          // for 405
	Header      map[string]string // what a browser is told besides
}

// unknownInstall collects what is refused before an install is known: written as
// any other refusal is, until a sender has more of them than are recorded.
const unknownInstall = "_unknown"

// end records why the request ends and makes its answer.
func (c *call) end(ctx context.Context, code webhook.Reason, outcome session.Outcome) Response {
	status := statusOf(code, outcome, c.r.Input.Method)
	if code == webhook.IdentityRefused && c.entry.Identity403 {
		status = http.StatusForbidden
	}
	var suppressed int64
	unknown := c.inst.ID == "" || code == webhook.InstallUnknown
	if outcome == session.Refused && status < 500 && (status == http.StatusUnauthorized || code == webhook.HandshakeRefused || unknown) {
		v := c.floods.hit(c.r.Source, c.r.Install, unknown, c.r.Now)
		if v.limited {
			code = webhook.Flood
		}
		if v.limited && !c.entry.Only401 {
			status = http.StatusTooManyRequests
		}
		if !v.record {
			return c.answer(code, status)
		}
		suppressed = v.suppressed
	}
	// The log is for people; it must not turn a decision around.
	_ = c.d.Dedupe.Log(ctx, c.delivery(code, outcome))
	return c.tell(ctx, code, status, suppressed)
}

// delivery is the row of the log for an end.
func (c *call) delivery(code webhook.Reason, outcome session.Outcome) session.Delivery {
	id := c.inst.ID
	if id == "" {
		id = unknownInstall
	}
	return session.Delivery{Install: id, EventID: c.in.Envelope.EventID, Outcome: outcome, Code: string(code), At: c.r.Now, URLHint: string(c.hint)}
}

// tell records an end that is logged and makes its answer.
func (c *call) tell(ctx context.Context, code webhook.Reason, status int, suppressed int64) Response {
	sum := sha256.Sum256(c.r.Input.Body)
	c.d.Recorder.Record(ctx, Event{At: c.r.Now, Org: c.inst.Org, Install: c.inst.ID, Provider: c.entry.ID, Code: code, EventID: c.in.Envelope.EventID,
		RequestID: c.r.RequestID, Source: c.r.Source, BodySHA256: hex.EncodeToString(sum[:]), SecretVersions: c.versions,
		RetiringSecret: c.result.SecretIndex > 0, RetiredSecret: c.retired, URLHint: c.hint, Suppressed: suppressed})
	return c.answer(code, status)
}

// statusOf maps a code to its status.
func statusOf(code webhook.Reason, outcome session.Outcome, method string) int {
	switch code {
	case webhook.Method:
		return http.StatusMethodNotAllowed
	case webhook.TooLarge:
		return http.StatusRequestEntityTooLarge
	case webhook.BadPayload:
		return http.StatusBadRequest
	case webhook.TenantMismatch, webhook.ServiceURLRefused, webhook.OriginRefused:
		return http.StatusForbidden
	case webhook.Busy:
		return http.StatusTooManyRequests
	case webhook.HandshakeRefused:
		// A check by GET carries a token; any other is one without its signature.
		if method == http.MethodGet {
			return http.StatusForbidden
		}
	case webhook.InstallLookup, webhook.SecretUnavailable, webhook.DedupeUnavailable, webhook.EnqueueFailed, webhook.Unfinished, webhook.KeySetUnavailable, webhook.PersonUnavailable, webhook.ShownUnavailable:
		return http.StatusServiceUnavailable
	}
	if outcome == session.Refused {
		return http.StatusUnauthorized
	}
	return http.StatusOK
}

const (
	contentJSON = "application/json"
	contentText = "text/plain; charset=utf-8"
	head        = `{"error":{"type":"webhook_error","code":"`
)

// answer makes the constant answer of a status.
func (c *call) answer(code webhook.Reason, status int) Response {
	fail := func(code fault.Code, message, retryable string) Response {
		return Response{Status: status, ContentType: contentJSON, Body: head + string(code) + `","message":"` + message + `","retryable":` + retryable + `}}`}
	}
	switch status {
	case http.StatusMethodNotAllowed:
		resp := fail(fault.MethodNotAllowed, "method not allowed", "false")
		if code == webhook.Method {
			resp.Allow = c.entry.Methods
		}
		return resp
	case http.StatusRequestEntityTooLarge:
		return fail(fault.TooLarge, "the body is too large", "false")
	case http.StatusBadRequest:
		if c.reads() {
			return fail(fault.InvalidRequest, "after and limit are numbers, limit 1 to 100", "false")
		}
		return fail(fault.InvalidRequest, "the body is malformed", "false")
	case http.StatusForbidden:
		if code == webhook.OriginRefused {
			return fail(fault.InvalidRequest, "this page is not one of the allowed_origins of the install", "false")
		}
		return fail(fault.TenantMismatch, "forbidden", "false")
	case http.StatusServiceUnavailable:
		return fail(fault.Unavailable, "unavailable, try again", "true")
	case http.StatusTooManyRequests:
		if code == webhook.Busy {
			return fail(fault.RateLimited, "too many requests, ask less often", "true")
		}
		return fail(fault.RateLimited, "too many requests that were refused", "true")
	case http.StatusUnauthorized:
		return fail(fault.WebhookUnauthorized, "unauthorized", "false")
	}
	ack := c.acknowledgement(code)
	return Response{Status: http.StatusOK, ContentType: ack.ContentType, Body: ack.Body}
}

// acknowledgement is the answer to an event that is queued, or that needs nothing.
func (c *call) acknowledgement(code webhook.Reason) channel.Ack {
	queued := code == webhook.Accepted || code == webhook.Duplicate || code == webhook.DuplicateContent
	none := channel.Ack{}
	switch {
	case c.in.Ack != none:
		return c.in.Ack
	case queued && c.entry.Queued != none:
		return c.entry.Queued
	case c.entry.Ack != none:
		return c.entry.Ack
	}
	return channel.Ack{ContentType: contentText}
}
