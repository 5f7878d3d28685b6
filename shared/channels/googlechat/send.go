package googlechat

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
)

// Send posts one message. Its name is made of turn and part: Google refuses a second
// message of a name, which therefore was posted
// (developers.google.com/workspace/chat/create-messages, "Name a message", read 2026-11).
func (Adapter) Send(ctx context.Context, c channel.Call, out channel.Outgoing) (string, *channel.Failure) {
	if !spaceForm.MatchString(out.To) || out.Thread != "" && !(threadForm.MatchString(out.Thread) && strings.HasPrefix(out.Thread, out.To+"/")) {
		return "", &channel.Failure{Certainty: channel.Refused, Code: "space_malformed"}
	}
	name := clientName(out)
	q := url.Values{"messageId": {name}}
	body := body(out)
	if out.Thread != "" {
		q.Set("messageReplyOption", "REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD")
		body["thread"] = map[string]any{"name": out.Thread}
	}
	r, f := vendorapi.Post(ctx, c, "/"+out.To+"/messages?"+q.Encode(), body, vendorapi.Bearer)
	if f != nil {
		return "", f
	}
	if r.Status == http.StatusConflict && r.Body.Obj("error").Str("status") == "ALREADY_EXISTS" {
		return out.To + "/messages/" + name, nil
	}
	if f := failure(r); f != nil {
		return "", f
	}
	id := r.Body.Str("name")
	if !messageForm.MatchString(id) {
		return "", &channel.Failure{Certainty: channel.Ambiguous, Code: "answer_without_name"}
	}
	return id, nil
}

// clientName is at most 63 characters of a-z, 0-9 and - behind client- (the same page).
func clientName(out channel.Outgoing) string {
	sum := sha256.Sum256([]byte(out.TurnID + "/" + strconv.Itoa(out.Part)))
	return "client-" + hex.EncodeToString(sum[:16])
}

// body is what posting and editing have in common. The form of marks is stated: apps
// differ in their default (developers.google.com/workspace/chat/format-messages, read 2026-11).
func body(out channel.Outgoing) map[string]any {
	text := out.Text
	if out.Format != marked {
		text = plain(text)
	}
	return map[string]any{"text": text, "markupSyntax": "MARKUP_SYNTAX_CHAT"}
}

// Edit implements [channel.Editor]; an app may edit its own messages
// (developers.google.com/workspace/chat/api/reference/rest/v1/spaces.messages/patch, read 2026-11).
func (Adapter) Edit(ctx context.Context, c channel.Call, out channel.Outgoing, id string) *channel.Failure {
	if !messageForm.MatchString(id) || !strings.HasPrefix(id, out.To+"/") {
		return &channel.Failure{Certainty: channel.Refused, Code: "message_malformed"}
	}
	r, f := vendorapi.Patch(ctx, c, "/"+id+"?updateMask=text", body(out), vendorapi.Bearer)
	if f != nil {
		return f
	}
	if f = failure(r); f != nil && r.Status == http.StatusNotFound {
		f.Code = channel.MessageGone
	}
	return f
}

// words are Google's names of errors that say more than their status
// (cloud.google.com/apis/design/errors, read 2026-11).
var words = map[string]string{
	"PERMISSION_DENIED": "permission_denied", "NOT_FOUND": "not_found", "INVALID_ARGUMENT": "invalid_argument", "FAILED_PRECONDITION": "failed_precondition",
	"UNAUTHENTICATED": "unauthenticated",
}

func failure(r vendorapi.Reply) *channel.Failure {
	f := r.Failure()
	if f != nil && f.Certainty == channel.Refused {
		if word := words[r.Body.Obj("error").Str("status")]; word != "" {
			f.Code = word
		}
	}
	return f
}
