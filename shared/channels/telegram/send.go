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
	more := map[string]any{}
	if out.Thread != "" {
		var ok bool
		if more["message_thread_id"], ok = number(out.Thread); !ok {
			return "", &channel.Failure{Certainty: channel.Refused, Code: "topic_malformed"}
		}
	}
	o, f := text(ctx, c, "sendMessage", out, more)
	if f != nil {
		return "", f
	}
	return posted(o)
}

// Edit implements [channel.Editor] with editMessageText. A text that stands there
// already is answered with an error, which is success here
// (core.telegram.org/bots/api#editmessagetext, read 2026-11).
func (Adapter) Edit(ctx context.Context, c channel.Call, out channel.Outgoing, id string) *channel.Failure {
	message, ok := number(id)
	if !ok {
		return &channel.Failure{Certainty: channel.Refused, Code: "message_malformed"}
	}
	_, f := text(ctx, c, "editMessageText", out, map[string]any{"message_id": message})
	if f != nil && f.Code == notModified {
		return nil
	}
	return f
}

// text makes a call that shows a text; body holds what is the call's own.
func text(ctx context.Context, c channel.Call, method string, out channel.Outgoing, body map[string]any) (channel.Object, *channel.Failure) {
	chat, ok := number(out.To)
	if !ok {
		return nil, &channel.Failure{Certainty: channel.Refused, Code: "chat_malformed"}
	}
	body["chat_id"], body["text"], body["link_preview_options"] = chat, out.Text, map[string]any{"is_disabled": true}
	if out.Format != "" {
		body["entities"] = json.RawMessage(out.Format)
	}
	if len(out.Buttons) > 0 {
		body["reply_markup"] = keyboard(out.Buttons)
	}
	o, f := call(ctx, c, method, body)
	if f != nil && f.Code == entitiesRefused && out.Format != "" {
		delete(body, "entities")
		o, f = call(ctx, c, method, body)
	}
	return o, f
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

// notModified is our word for "message is not modified".
const notModified = "not_modified"

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
		if r.Status == http.StatusBadRequest {
			f.Code = badRequest(strings.ToLower(r.Body.Str("description")), f.Code)
		}
		return nil, f
	}
	if !r.Body.Bool("ok") {
		return nil, &channel.Failure{Certainty: channel.Ambiguous, Code: "answer_malformed"}
	}
	return r.Body, nil
}

// badRequest finds the words that mean something to us in Telegram's text.
func badRequest(said, otherwise string) string {
	switch {
	case strings.Contains(said, "message is not modified"):
		return notModified
	case strings.Contains(said, "message to edit not found"):
		return channel.MessageGone
	case strings.Contains(said, "entit"):
		return entitiesRefused
	}
	return otherwise
}
