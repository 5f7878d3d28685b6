package slack

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/secret"
)

// maxText is where chat.postMessage truncates (docs.slack.dev, read 2026-11).
// Whether escapes count is not documented, so they count here.
const maxText = 40_000

// maxReply bounds what is read of an answer.
const maxReply = 256 << 10

// Retry delays: Slack names one; these bound it and stand in for it.
const (
	defaultRetry = 30 * time.Second
	maxRetry     = 15 * time.Minute
)

// certainty of Slack's documented error codes (chat.postMessage and the errors
// that every method shares). An unlisted code is a refusal: ok is false.
var certainty = map[string]channel.Certainty{
	"ratelimited":                 channel.RateLimited,
	"rate_limited":                channel.RateLimited,
	"fatal_error":                 channel.Ambiguous,
	"internal_error":              channel.Ambiguous,
	"request_timeout":             channel.Ambiguous,
	"service_unavailable":         channel.Ambiguous,
	"duplicate_message_not_found": channel.Refused,
	"channel_not_found":           channel.Refused,
	"not_in_channel":              channel.Refused,
	"is_archived":                 channel.Refused,
	"msg_too_long":                channel.Refused,
	"no_text":                     channel.Refused,
	"restricted_action":           channel.Refused,
	"thread_not_found":            channel.Refused,
	"cannot_reply_to_message":     channel.Refused,
	"missing_scope":               channel.Refused,
	"invalid_auth":                channel.Refused,
	"not_authed":                  channel.Refused,
	"account_inactive":            channel.Refused,
	"token_revoked":               channel.Refused,
	"token_expired":               channel.Refused,
	"no_permission":               channel.Refused,
	"ekm_access_denied":           channel.Refused,
	"org_login_required":          channel.Refused,
	"team_access_not_granted":     channel.Refused,
	"messages_tab_disabled":       channel.Refused,
}

// tokenErrors mean that the credential is of no use any more.
var tokenErrors = map[string]bool{
	"invalid_auth": true, "not_authed": true, "account_inactive": true, "token_revoked": true, "token_expired": true,
}

// Split counts UTF-16 units of the escaped text, the larger of the ways in which
// Slack could count.
func (Adapter) Split(text string) []string {
	return channel.Split(text, maxText, func(r rune) int {
		switch {
		case r == '&':
			return len("&amp;")
		case r == '<' || r == '>':
			return len("&lt;")
		case r > 0xFFFF:
			return 2
		}
		return 1
	})
}

// Send posts one message. The text is escaped, so that nothing a model writes
// becomes a mention of a person or of everybody.
func (Adapter) Send(ctx context.Context, c channel.Call, out channel.Outgoing) (string, *channel.Failure) {
	body := map[string]any{
		"channel": out.Space, "text": strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(out.Text),
		"unfurl_links": false, "unfurl_media": false,
		"metadata": map[string]any{"event_type": "latchkey_reply",
			"event_payload": map[string]any{"turn_id": out.TurnID, "part": out.Part}},
	}
	if out.Thread != "" {
		body["thread_ts"] = out.Thread
	}
	o, f := call(ctx, c, "chat.postMessage", body)
	if f != nil {
		return "", f
	}
	ts := o.Str("ts")
	if !plainID(ts) {
		return "", &channel.Failure{Certainty: channel.Ambiguous, Code: "answer_without_ts"}
	}
	return ts, nil
}

// Identify asks auth.test whose token this is. Slack does not tell the app.
func (Adapter) Identify(ctx context.Context, c channel.Call) (channel.Identity, *channel.Failure) {
	o, f := call(ctx, c, "auth.test", map[string]any{})
	if f != nil {
		return nil, f
	}
	return channel.Identity{teamID: o.Str("team_id"), enterpriseID: o.Str("enterprise_id"), botUserID: o.Str("user_id")}, nil
}

// call makes one Web API call.
func call(ctx context.Context, c channel.Call, method string, body map[string]any) (channel.Object, *channel.Failure) {
	payload, err := json.Marshal(body)
	if err != nil || ctx.Err() != nil {
		return nil, &channel.Failure{Certainty: channel.NotSent, Code: "not_started"}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.BaseURL+"/"+method, bytes.NewReader(payload))
	if err != nil {
		return nil, &channel.Failure{Certainty: channel.Refused, Code: "base_url"}
	}
	// The transport must not repeat the request on its own.
	req.GetBody = nil
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	if !authorize(req, c.Token) {
		return nil, &channel.Failure{Certainty: channel.Refused, Code: "token_malformed", TokenRejected: true}
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, transportFailure(err)
	}
	defer func() { _ = resp.Body.Close() }()
	return decode(resp)
}

func authorize(req *http.Request, token secret.Text) bool {
	ok := false
	_ = token.Use(func(b []byte) error {
		if ok = len(b) > 0 && printable(string(b)); ok {
			req.Header.Set("Authorization", "Bearer "+string(b))
		}
		return nil
	})
	return ok
}

// transportFailure is ambiguous unless the connection was never made.
func transportFailure(err error) *channel.Failure {
	var op *net.OpError
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	if errors.As(err, &op) && op.Op == "dial" || errors.As(err, &dns) || errors.As(err, &cert) {
		return &channel.Failure{Certainty: channel.NotSent, Code: "connect"}
	}
	return &channel.Failure{Certainty: channel.Ambiguous, Code: "transport"}
}

func decode(resp *http.Response) (channel.Object, *channel.Failure) {
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	switch {
	case resp.StatusCode == http.StatusTooManyRequests:
		return nil, &channel.Failure{Certainty: channel.RateLimited, Code: "ratelimited", RetryAfter: retryAfter(resp)}
	case resp.StatusCode >= 300 && resp.StatusCode < 500:
		return nil, &channel.Failure{Certainty: channel.Refused, Code: "http_" + strconv.Itoa(resp.StatusCode),
			TokenRejected: resp.StatusCode == http.StatusUnauthorized}
	case resp.StatusCode != http.StatusOK:
		return nil, &channel.Failure{Certainty: channel.Ambiguous, Code: "http_" + strconv.Itoa(resp.StatusCode)}
	case err != nil || len(b) > maxReply:
		return nil, &channel.Failure{Certainty: channel.Ambiguous, Code: "answer_unreadable"}
	}
	o, err := channel.StrictJSON(b)
	if err != nil {
		return nil, &channel.Failure{Certainty: channel.Ambiguous, Code: "answer_malformed"}
	}
	if o.Bool("ok") {
		return o, nil
	}
	if _, said := o["ok"].(bool); !said {
		return nil, &channel.Failure{Certainty: channel.Ambiguous, Code: "answer_malformed"}
	}
	f := &channel.Failure{Certainty: channel.Refused, Code: "refused"}
	if k, known := certainty[o.Str("error")]; known {
		f.Certainty, f.Code = k, o.Str("error")
	}
	f.TokenRejected = tokenErrors[f.Code]
	if f.Certainty == channel.RateLimited {
		f.RetryAfter = retryAfter(resp)
	}
	return nil, f
}

func retryAfter(resp *http.Response) time.Duration {
	n, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || n <= 0 {
		return defaultRetry
	}
	return min(time.Duration(min(n, 86400))*time.Second, maxRetry)
}
