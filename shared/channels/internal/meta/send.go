package meta

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/markdown"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
)

// MediaHosts are the exact names of the hosts at which recordings lie, seen in
// notifications of both products. An address there is good for whoever has it, for
// a time.
func MediaHosts() []string { return []string{"cdn.fbsbx.com", "lookaside.fbsbx.com"} }

// typingLife is below the 20 seconds for which the sign is shown
// (developers.facebook.com/docs/messenger-platform/send-messages/sender-actions, read 2026-11).
const typingLife = 18 * time.Second

// MessagingCodes are those of the Send API and of its limits
// (developers.facebook.com/docs/messenger-platform/error-codes of 2026-03-18 and
// developers.facebook.com/docs/graph-api/overview/rate-limiting, read 2026-11). Code
// 1 is told of messages that were sent, too.
func MessagingCodes() Codes {
	const closed, unreachable, nobody, missing = "window_closed", "undeliverable", "recipient_unknown", "permission_missing"
	return Codes{
		Certainty: map[int64]channel.Certainty{
			4: channel.RateLimited, 17: channel.RateLimited, 32: channel.RateLimited, 613: channel.RateLimited,
			80001: channel.RateLimited, 80002: channel.RateLimited, 80006: channel.RateLimited,
			1: channel.Ambiguous, 2: channel.Ambiguous, 1200: channel.Ambiguous,
		},
		Words: map[int64]string{190: TokenRefused, 10: missing, 200: missing, 230: missing, 368: "policy_violation", 551: unreachable},
		// The first three are the 24 hours after a person's last message.
		Subcodes: map[int64]string{2018278: closed, 2018065: closed, 2534022: closed,
			1545041: unreachable, 2018108: unreachable, 2018001: nobody, 2534014: nobody},
	}
}

// Ready says why nothing can be sent from an account to a person, nil if it can.
func (m Messaging) Ready(account, person string) *channel.Failure {
	switch {
	case !Digits(account):
		return &channel.Failure{Certainty: channel.Refused, Code: "account_malformed"}
	case !Digits(person):
		return &channel.Failure{Certainty: channel.Refused, Code: "recipient_malformed"}
	}
	return nil
}

// Messages is the path that an account's messages are posted to. It names the
// account, so that a token of another is refused and does not speak for that.
func Messages(account string) string { return "/" + account + "/messages" }

// Recipient names a person.
func Recipient(person string) map[string]any { return map[string]any{"id": person} }

// Posted is the message's id of an answer.
func Posted(r vendorapi.Reply, f *channel.Failure) (string, *channel.Failure) {
	if f != nil {
		return "", f
	}
	o, f := MessagingCodes().Answered(r)
	if f != nil {
		return "", f
	}
	id := o.Str("message_id")
	if !Plain(id) {
		return "", &channel.Failure{Certainty: channel.Ambiguous, Code: "answer_without_id"}
	}
	return id, nil
}

// Typing shows that an answer is being written.
func (m Messaging) Typing(ctx context.Context, c channel.Call, account string, in channel.Envelope) (time.Duration, bool) {
	if m.Ready(account, in.Space) != nil {
		return 0, false
	}
	r, f := vendorapi.Post(ctx, c, Messages(account), map[string]any{"recipient": Recipient(in.Space), "sender_action": "typing_on"}, vendorapi.Bearer)
	if f == nil {
		_, f = MessagingCodes().Answered(r)
	}
	return typingLife, f == nil
}

// Fetch downloads a recording, without the token.
func Fetch(ctx context.Context, c channel.Call, a channel.Attachment) (channel.File, *channel.MediaFailure) {
	return vendorapi.Download(ctx, c, a.ID, channel.MaxMedia, nil)
}

// Split writes an answer as plain text, the only form that is documented, in
// messages of at most limit as size counts them.
func Split(text string, limit int, size func(string) int) []channel.Piece {
	var out []channel.Piece
	written := func(r []markdown.Run) int { return size(markdown.Plain(r)) }
	for _, p := range markdown.Split(markdown.Parse(text, markdown.Options{Bullet: "• ", PlainLinks: true}), limit, written) {
		t := markdown.Plain(p)
		out = append(out, channel.Piece{Text: t, Plain: t})
	}
	return out
}
