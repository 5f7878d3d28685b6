package telegram

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
)

// Send posts one message. Its formatting stands beside the text, so that nothing a
// model writes becomes markup. Should Telegram refuse the formatting, which is
// certain not to have posted, the text is sent without it.
func (Adapter) Send(ctx context.Context, c channel.Call, out channel.Outgoing) (string, *channel.Failure) {
	if out.Voice != nil {
		return sendVoice(ctx, c, out)
	}
	chat, ok := number(out.To)
	if !ok {
		return "", &channel.Failure{Certainty: channel.Refused, Code: "chat_malformed"}
	}
	body := map[string]any{"chat_id": chat, "text": out.Text, "link_preview_options": map[string]any{"is_disabled": true}}
	if out.Thread != "" {
		if body["message_thread_id"], ok = number(out.Thread); !ok {
			return "", &channel.Failure{Certainty: channel.Refused, Code: "topic_malformed"}
		}
	}
	if out.Format != "" {
		body["entities"] = json.RawMessage(out.Format)
	}
	o, f := call(ctx, c, "sendMessage", body)
	if f != nil && f.Code == entitiesRefused && out.Format != "" {
		delete(body, "entities")
		o, f = call(ctx, c, "sendMessage", body)
	}
	if f != nil {
		return "", f
	}
	return posted(o)
}

func posted(o channel.Object) (string, *channel.Failure) {
	id, ok := integer(o.Obj("result"), "message_id")
	if !ok {
		return "", &channel.Failure{Certainty: channel.Ambiguous, Code: "answer_without_id"}
	}
	return id, nil
}

func number(s string) (json.Number, bool) {
	_, err := strconv.ParseInt(s, 10, 64)
	return json.Number(s), err == nil
}

// inPath is the token's place; it may not change the path.
func inPath(r *http.Request, token string) bool {
	if strings.ContainsAny(token, "/?#%") {
		return false
	}
	r.URL.Path, r.URL.RawPath = strings.Replace(r.URL.Path, tokenMark, token, 1), ""
	return true
}

const tokenMark = "{token}"

// entitiesRefused is our word for "can't parse entities", "ENTITIES_TOO_LONG" and
// their like (github.com/tdlib/telegram-bot-api/issues/165, read 2026-11).
const entitiesRefused = "entities_refused"

// call makes one Bot API call. Errors have ok false, error_code, a text and
// parameters (core.telegram.org/bots/api#making-requests, read 2026-11).
func call(ctx context.Context, c channel.Call, method string, body map[string]any) (channel.Object, *channel.Failure) {
	r, f := vendorapi.Post(ctx, c, "/bot"+tokenMark+"/"+method, body, inPath)
	if f != nil {
		return nil, f
	}
	return answered(r)
}

func answered(r vendorapi.Reply) (channel.Object, *channel.Failure) {
	switch r.Status {
	case http.StatusTooManyRequests:
		wait, _ := integer(r.Body.Obj("parameters"), "retry_after")
		seconds, _ := strconv.ParseInt(wait, 10, 64)
		return nil, r.RateLimited(seconds)
	case http.StatusUnauthorized, http.StatusNotFound:
		// A token of the wrong form is no path of the API: 404.
		return nil, &channel.Failure{Certainty: channel.Refused, Code: "unauthorized", TokenRejected: true}
	case http.StatusForbidden:
		return nil, &channel.Failure{Certainty: channel.Refused, Code: "forbidden"}
	}
	if f := r.Failure(); f != nil {
		if r.Status == http.StatusBadRequest && strings.Contains(strings.ToLower(r.Body.Str("description")), "entit") {
			f.Code = entitiesRefused
		}
		return nil, f
	}
	if !r.Body.Bool("ok") {
		return nil, &channel.Failure{Certainty: channel.Ambiguous, Code: "answer_malformed"}
	}
	return r.Body, nil
}
