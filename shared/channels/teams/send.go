package teams

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
	"github.com/latchkey/latchkey/shared/webhook/profiles"
)

// address is where an answer goes: the connector of the conversation's region, without
// a trailing slash, and the conversation without its thread.
type address struct{ service, space string }

const separator = " "

// String is the address as the envelope carries it.
func (a address) String() string { return a.service + separator + a.space }

// addressOf reads one.
func addressOf(s string) (a address, ok bool) {
	service, space, ok := strings.Cut(s, separator)
	a.space = space
	if !ok || !spaceForm.MatchString(space) {
		return a, false
	}
	a.service, ok = serviceOf(service)
	return a, ok
}

// serviceOf reads a connector's address: one of its exact hosts, over TLS, with the path
// of a region and perhaps of a tenant.
func serviceOf(s string) (string, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.RawPath != "" {
		return "", false
	}
	host, path := strings.ToLower(u.Host), strings.TrimSuffix(u.Path, "/")
	return "https://" + host + path, slices.Contains(profiles.ConnectorHosts(), host) && servicePath.MatchString(path)
}

// reach is the call with the address' own host, and the path of a conversation's
// activities there. A stack that is moved has one connector.
func (a address) reach(c channel.Call, thread string) (channel.Call, string) {
	host, path, _ := strings.Cut(strings.TrimPrefix(a.service, "https://"), "/")
	if c.BaseURL == apiBase {
		c.BaseURL = "https://" + host
	}
	if path != "" {
		path = "/" + path
	}
	return c, path + "/v3/conversations/" + url.PathEscape(conversation(a.space, thread)) + "/activities"
}

// body is what posting and editing have in common.
func body(out channel.Outgoing) map[string]any {
	text := out.Text
	if out.Format != marked {
		text = escaped(text)
	}
	return map[string]any{"type": "message", "textFormat": "xml", "text": text}
}

func malformed() *channel.Failure {
	return &channel.Failure{Certainty: channel.Refused, Code: "address_malformed"}
}

// to reads where a message goes.
func to(c channel.Call, out channel.Outgoing) (channel.Call, string, bool) {
	a, ok := addressOf(out.To)
	if !ok || out.Thread != "" && !threadForm.MatchString(out.Thread) {
		return c, "", false
	}
	c, path := a.reach(c, out.Thread)
	return c, path, true
}

// Send posts one message to the conversation, in a channel to its thread
// (bot-framework-rest-connector-api-reference, "Send to Conversation", read 2026-11).
func (Adapter) Send(ctx context.Context, c channel.Call, out channel.Outgoing) (string, *channel.Failure) {
	c, path, ok := to(c, out)
	if !ok {
		return "", malformed()
	}
	r, f := vendorapi.Post(ctx, c, path, body(out), vendorapi.Bearer)
	if f != nil {
		return "", f
	}
	if f := failure(r); f != nil {
		return "", f
	}
	id := r.Body.Str("id")
	if !activityForm.MatchString(id) {
		return "", &channel.Failure{Certainty: channel.Ambiguous, Code: "answer_without_id"}
	}
	return id, nil
}

// Edit implements [channel.Editor]
// (msteams-docs, bots/how-to/update-and-delete-bot-messages.md, read 2026-11).
func (Adapter) Edit(ctx context.Context, c channel.Call, out channel.Outgoing, id string) *channel.Failure {
	c, path, ok := to(c, out)
	if !ok || !activityForm.MatchString(id) {
		return malformed()
	}
	r, f := vendorapi.Put(ctx, c, path+"/"+url.PathEscape(id), body(out), vendorapi.Bearer)
	if f != nil {
		return f
	}
	if f = failure(r); f != nil && r.Status == http.StatusNotFound {
		f.Code = channel.MessageGone
	}
	return f
}

// typingLife is how long the sign is meant to be shown
// (microsoft.github.io/spark.js/9.activity/2.typing, A6000, read 2026-11).
const typingLife = 3 * time.Second

// Typing shows that an answer is being made. It counts towards the limits of the
// conversation, 60 requests in 30 seconds
// (msteams-docs, bots/how-to/rate-limit.md, read 2026-11).
func (Adapter) Typing(ctx context.Context, c channel.Call, in channel.Envelope) (time.Duration, bool) {
	c, path, ok := to(c, channel.Outgoing{To: in.ReplyTo, Thread: in.Thread})
	if !ok {
		return 0, false
	}
	r, f := vendorapi.Post(ctx, c, path, map[string]any{"type": "typing"}, vendorapi.Bearer)
	return typingLife, f == nil && failure(r) == nil
}

// words are the connector's codes that say more than their status
// (msteams-docs, bots/build-conversational-capability.md, "Status code responses", read
// 2026-11).
var words = map[string]string{
	"ActivityNotFoundInConversation": "activity_not_found",
	"BotDisabledByAdmin":             "disabled_by_admin",
	"BotNotInConversationRoster":     "not_in_conversation",
	"BotNotRegistered":               "bot_not_registered",
	"ConversationBlockedByUser":      "blocked_by_user",
	"ConversationNotFound":           "conversation_not_found",
	"ForbiddenOperationException":    "not_installed",
	"InvalidBotApiHost":              "wrong_service_url",
	"MessageSizeTooBig":              "message_too_large",
	"NotEnoughPermissions":           "missing_permissions",
}

// writesBlocked is the code of a conversation in which nobody may write now, in an older
// form of errors (msteams-docs, bots/how-to/conversations/send-proactive-messages.md,
// read 2026-11).
const writesBlocked = "209"

// concurrent is how long to wait when several requests met in one conversation, which
// Microsoft answers with 412 and asks to repeat (the same page).
const concurrent = 2 // seconds

// failure says what an answer means. 502 and 504 are to be repeated, too, but do not
// say that nothing was posted.
func failure(r vendorapi.Reply) *channel.Failure {
	switch r.Status {
	case http.StatusCreated, http.StatusAccepted:
		r.Status = http.StatusOK
	case http.StatusPreconditionFailed:
		f := r.RateLimited(concurrent)
		f.Code = "concurrent"
		return f
	}
	f := r.Failure()
	if f == nil || f.Certainty != channel.Refused {
		return f
	}
	if word := words[r.Body.Obj("error").Str("code")]; word != "" {
		f.Code = word
	} else if n, _ := r.Body["errorCode"].(json.Number); n == writesBlocked {
		f.Code = "writes_blocked"
	}
	return f
}
