package slack

import (
	"context"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
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
	channel.MessageGone:           channel.Refused,
	"cant_update_message":         channel.Refused,
	"edit_window_closed":          channel.Refused,
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
	"file_not_found":              channel.Refused,
	"file_deleted":                channel.Refused,
	"file_uploads_disabled":       channel.Refused,
	"file_upload_size_restricted": channel.Refused,
}

// tokenErrors mean that the credential is of no use any more.
var tokenErrors = map[string]bool{
	"invalid_auth": true, "not_authed": true, "account_inactive": true, "token_revoked": true, "token_expired": true,
}

// Send posts one message. What is not of [Adapter.Split] is escaped and shown as it
// is, so that nothing becomes a mention of a person or of everybody.
func (Adapter) Send(ctx context.Context, c channel.Call, out channel.Outgoing) (string, *channel.Failure) {
	if out.Voice != nil {
		return sendVoice(ctx, c, out)
	}
	q := body(out)
	q["unfurl_links"], q["unfurl_media"] = false, false
	if len(out.Buttons) > 0 {
		q["attachments"] = attachments(out)
	}
	if out.Thread != "" {
		q["thread_ts"] = out.Thread
	}
	o, f := call(ctx, c, "chat.postMessage", q)
	if f != nil {
		return "", f
	}
	ts := o.Str("ts")
	if !plainID(ts) {
		return "", &channel.Failure{Certainty: channel.Ambiguous, Code: "answer_without_ts"}
	}
	return ts, nil
}

// body is what posting and editing a message have in common.
func body(out channel.Outgoing) map[string]any {
	text, marked := shown(out)
	return map[string]any{
		"channel": out.To, "text": text, "mrkdwn": marked, "link_names": false,
		"metadata": map[string]any{"event_type": "latchkey_reply",
			"event_payload": map[string]any{"turn_id": out.TurnID, "part": out.Part}},
	}
}

// Edit implements [channel.Editor] with chat.update, which takes the bot's own
// messages and needs no scope beside chat:write (docs.slack.dev/reference/methods/chat.update,
// read 2026-11). Slack tells of it in a message_changed event, which starts nothing.
func (Adapter) Edit(ctx context.Context, c channel.Call, out channel.Outgoing, id string) *channel.Failure {
	q := body(out)
	q["ts"], q["attachments"] = id, attachments(out)
	_, f := call(ctx, c, "chat.update", q)
	return f
}

// call makes one Web API call. Slack answers 200 with ok and error.
func call(ctx context.Context, c channel.Call, method string, body map[string]any) (channel.Object, *channel.Failure) {
	r, f := vendorapi.Post(ctx, c, "/"+method, body, vendorapi.Bearer)
	if f != nil {
		return nil, f
	}
	return answered(r)
}

func answered(r vendorapi.Reply) (channel.Object, *channel.Failure) {
	f := r.Failure()
	if f != nil {
		return nil, f
	}
	if r.Body.Bool("ok") {
		return r.Body, nil
	}
	if _, told := r.Body["ok"].(bool); !told {
		return nil, &channel.Failure{Certainty: channel.Ambiguous, Code: "answer_malformed"}
	}
	f = &channel.Failure{Certainty: channel.Refused, Code: "refused"}
	said := r.Body.Str("error")
	if said == "message_not_found" {
		said = channel.MessageGone
	}
	if k, known := certainty[said]; known {
		f.Certainty, f.Code = k, said
	}
	f.TokenRejected = tokenErrors[f.Code]
	if f.Certainty == channel.RateLimited {
		f.RetryAfter = r.RateLimited(0).RetryAfter
	}
	return nil, f
}
