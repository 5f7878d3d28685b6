package line

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/markdown"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
)

// maxText is the limit of a text message in UTF-16 units
// (developers.line.biz/en/reference/messaging-api/#text-message, read 2026-11).
const maxText = 5000

// separator stands between a chat and the reply token of a message in it.
const separator = "/"

// Split writes an answer as plain text, the only form that LINE has.
func (Adapter) Split(text string) []channel.Piece {
	var out []channel.Piece
	size := func(r []markdown.Run) int { return markdown.Units(markdown.Plain(r)) }
	for _, p := range markdown.Split(markdown.Parse(text, markdown.Options{Bullet: "• ", PlainLinks: true}), maxText, size) {
		t := markdown.Plain(p)
		out = append(out, channel.Piece{Text: t, Plain: t})
	}
	return out
}

// Send posts one message: the first of an answer by the reply token, if it still
// works, else by a push.
func (Adapter) Send(ctx context.Context, c channel.Call, out channel.Outgoing) (string, *channel.Failure) {
	chat, token, _ := strings.Cut(out.To, separator)
	if !spaceForm.MatchString(chat) {
		return "", &channel.Failure{Certainty: channel.Refused, Code: "chat_malformed"}
	}
	messages := []any{map[string]any{"type": "text", "text": out.Text}}
	if token != "" && out.Part <= 1 {
		id, f := call(ctx, c, "/v2/bot/message/reply", map[string]any{"replyToken": token, "messages": messages}, vendorapi.Bearer)
		if f == nil || f.Code != replyTokenRefused {
			return id, f
		}
	}
	return call(ctx, c, "/v2/bot/message/push", map[string]any{"to": chat, "messages": messages}, retryable(out))
}

// retryable names the message for LINE, which takes one of a name only, for 24 hours
// (developers.line.biz/en/docs/messaging-api/retrying-api-request, read 2026-11).
func retryable(out channel.Outgoing) vendorapi.Token {
	sum := sha256.Sum256([]byte(out.TurnID + "/" + strconv.Itoa(out.Part)))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80 // a UUID of our own making, version 8
	h := hex.EncodeToString(sum[:16])
	key := h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
	return func(r *http.Request, token string) bool {
		r.Header.Set("X-Line-Retry-Key", key)
		return vendorapi.Bearer(r, token)
	}
}

// replyTokenRefused is our word for a reply token that was used or is too old.
const replyTokenRefused = "reply_token_refused"

// words are LINE's messages that mean more than their status
// (developers.line.biz/en/reference/messaging-api/#error-messages, read 2026-11).
var words = map[string]channel.Failure{
	"Invalid reply token":                  {Certainty: channel.Refused, Code: replyTokenRefused},
	"You have reached your monthly limit.": {Certainty: channel.Refused, Code: "monthly_limit"},
	"Failed to send messages":              {Certainty: channel.Refused, Code: "undeliverable"},
}

// call makes one call that posts. Errors are an object with a message.
func call(ctx context.Context, c channel.Call, path string, body map[string]any, put vendorapi.Token) (string, *channel.Failure) {
	r, f := vendorapi.Post(ctx, c, path, body, put)
	if f != nil {
		return "", f
	}
	id := r.Body.First("sentMessages").Str("id")
	// A message that was taken before is told with its id.
	if r.Status == http.StatusConflict {
		if plain(id) {
			return id, nil
		}
		return "", &channel.Failure{Certainty: channel.Ambiguous, Code: "taken_before"}
	}
	if f := r.Failure(); f != nil {
		if w, known := words[r.Body.Str("message")]; known && f.Certainty != channel.Ambiguous {
			return "", &w
		}
		return "", f
	}
	if !plain(id) {
		return "", &channel.Failure{Certainty: channel.Ambiguous, Code: "answer_without_id"}
	}
	return id, nil
}
