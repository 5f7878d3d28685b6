package discord

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
)

// address is where an answer goes: the channel, and the interaction with its token.
type address struct{ channel, interaction, token string }

const separator = "/"

// String is the address as the envelope carries it.
func (a address) String() string {
	return strings.Join([]string{a.channel, a.interaction, a.token}, separator)
}

// addressOf reads one; a channel alone is one, too.
func addressOf(s string) (a address, ok bool) {
	parts := strings.SplitN(s, separator, 3)
	if a.channel = parts[0]; len(parts) == 3 {
		a.interaction, a.token = parts[1], parts[2]
	}
	return a, snowflake.MatchString(a.channel) && len(parts) != 2 && len(a.token) <= maxToken && (len(parts) == 1) == (a.token == "")
}

// noPreview keeps Discord from opening links for a preview (resources/message,
// "Message Flags", SUPPRESS_EMBEDS, read 2026-11).
const noPreview = 4

// body is a message; nobody is mentioned by it (the same, "Allowed Mentions Object").
func body(out channel.Outgoing) map[string]any {
	text := out.Text
	if out.Format != discordMarks {
		text = escape(text)
	}
	b := map[string]any{"content": text, "flags": noPreview, "allowed_mentions": map[string]any{"parse": []string{}}}
	if len(out.Buttons) > 0 {
		b["components"] = components(out)
	}
	return b
}

// replacing is a message in the place of another one.
func replacing(out channel.Outgoing) map[string]any {
	b := body(out)
	b["components"] = components(out)
	return b
}

// agent is the form that the API asks of clients (the reference, "User Agent", read
// 2026-11).
const agent = "DiscordBot (https://github.com/latchkey/latchkey, 1)"

// byBot sends the bot's token.
func byBot(r *http.Request, token string) bool {
	r.Header.Set("User-Agent", agent)
	r.Header.Set("Authorization", "Bot "+token)
	return true
}

// byInteraction sends none: the path has the interaction's.
func byInteraction(r *http.Request, _ string) bool {
	r.Header.Set("User-Agent", agent)
	return true
}

// Send posts one message: in the place of "thinking" or behind it by the
// interaction's token, else into the channel.
func (Adapter) Send(ctx context.Context, c channel.Call, out channel.Outgoing) (string, *channel.Failure) {
	to, ok := addressOf(out.To)
	if !ok {
		return "", &channel.Failure{Certainty: channel.Refused, Code: "address_malformed"}
	}
	if path := to.webhook(c); path != "" {
		method, where := http.MethodPost, path
		if out.Part <= 1 && !out.Follows {
			method, where = http.MethodPatch, path+"/messages/@original"
		}
		id, f := call(ctx, c, posting{method, where, body(out), out.Voice}, byInteraction, to)
		if f == nil || f.Code != interactionOver {
			return id, f
		}
	}
	b := body(out)
	b["nonce"], b["enforce_nonce"] = nonce(out), true
	return call(ctx, c, posting{http.MethodPost, "/channels/" + to.channel + "/messages", b, out.Voice}, byBot, address{})
}

// Edit implements [channel.Editor].
func (Adapter) Edit(ctx context.Context, c channel.Call, out channel.Outgoing, id string) *channel.Failure {
	to, ok := addressOf(out.To)
	if !ok || !snowflake.MatchString(id) {
		return &channel.Failure{Certainty: channel.Refused, Code: "address_malformed"}
	}
	if path := to.webhook(c); path != "" {
		_, f := call(ctx, c, posting{http.MethodPatch, path + "/messages/" + id, replacing(out), nil}, byInteraction, to)
		if f == nil || f.Code != interactionOver {
			return f
		}
	}
	_, f := call(ctx, c, posting{http.MethodPatch, "/channels/" + to.channel + "/messages/" + id, replacing(out), nil}, byBot, address{})
	return f
}

// webhook is the path that answers an interaction, "" without one.
func (a address) webhook(c channel.Call) string {
	app := c.Config.Get(applicationID)
	if a.token == "" || !snowflake.MatchString(app) {
		return ""
	}
	return "/webhooks/" + app + "/" + url.PathEscape(a.token)
}

// nonce names a message for Discord, which takes one of a name only for some minutes
// (resources/message, "Create Message": at most 25 characters, read 2026-11).
func nonce(out channel.Outgoing) string {
	sum := sha256.Sum256([]byte(out.TurnID + "/" + strconv.Itoa(out.Part)))
	return hex.EncodeToString(sum[:12])
}

// interactionOver is our word for an interaction whose token answers no more.
const interactionOver = "interaction_over"

// words are Discord's codes that mean more than their status
// (topics/opcodes-and-status-codes, "JSON Error Codes", read 2026-11).
var words = map[int64]string{
	10003:  "unknown_channel",
	10008:  channel.MessageGone,
	40005:  "too_large",
	50001:  "missing_access",
	50005:  "not_our_message",
	50013:  "missing_permissions",
	50035:  "invalid_form",
	50083:  "thread_archived",
	160005: "thread_locked",
	200000: "blocked_by_moderation",
	240000: "blocked_link",
}

// unknownWebhook is the code of an interaction that Discord does not know: one that
// is over, or whose first answer is still on its way.
const unknownWebhook = 10015

// ackTime is how long the first answer may take to be known; Discord itself waits
// three seconds.
const ackTime = 5 * time.Second

// posting is a call that posts or edits a message.
type posting struct {
	method, path string
	body         map[string]any
	voice        []byte
}

func (m posting) ask(ctx context.Context, c channel.Call, put vendorapi.Token) (vendorapi.Reply, *channel.Failure) {
	switch {
	case m.voice != nil:
		return speak(ctx, c, m, put)
	case m.method == http.MethodPatch:
		return vendorapi.Patch(ctx, c, m.path, m.body, put)
	}
	return vendorapi.Post(ctx, c, m.path, m.body, put)
}

// call makes one call that posts or edits. of is the interaction that it answers.
func call(ctx context.Context, c channel.Call, m posting, put vendorapi.Token, of address) (string, *channel.Failure) {
	r, f := m.ask(ctx, c, put)
	if f != nil {
		return "", f
	}
	if f = failure(r, of); f != nil {
		return "", f
	}
	posted := id(r.Body, "id")
	if posted == "" {
		return "", &channel.Failure{Certainty: channel.Ambiguous, Code: "answer_without_id"}
	}
	return posted, nil
}

// failure says what an answer means. A refused token of an interaction says nothing of
// the bot's, which was not sent.
func failure(r vendorapi.Reply, of address) *channel.Failure {
	f := r.Failure()
	if f == nil || f.Certainty == channel.Ambiguous {
		return f
	}
	code := number(r.Body, "code")
	switch {
	case f.Certainty == channel.RateLimited:
		wait, _ := r.Body["retry_after"].(json.Number)
		return r.RateLimited((millis(wait) + 999) / 1000)
	case of.token != "" && r.Status == http.StatusUnauthorized:
		return &channel.Failure{Certainty: channel.Refused, Code: interactionOver}
	case of.token != "" && code == unknownWebhook:
		if of.fresh(r) {
			return &channel.Failure{Certainty: channel.RateLimited, Code: "not_acknowledged", RetryAfter: time.Second}
		}
		return &channel.Failure{Certainty: channel.Refused, Code: interactionOver}
	}
	if w, known := words[code]; known {
		f.Code = w
	}
	return f
}

// fresh reports whether the interaction is so new, by Discord's own clock, that its
// first answer may still be on its way.
func (a address) fresh(r vendorapi.Reply) bool {
	at, err := http.ParseTime(r.Header.Get("Date"))
	made := madeAt(a.interaction)
	return err == nil && !made.IsZero() && at.Sub(made) < ackTime
}

// millis reads seconds with a fraction, rounded up; 0 for what is none.
func millis(n json.Number) int64 {
	whole, rest, _ := strings.Cut(n.String(), ".")
	s, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || s < 0 || s > 1<<32 {
		return 0
	}
	out := s * 1000
	if digits := (rest + "000")[:3]; rest != "" {
		ms, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			return out
		}
		if out += ms; strings.Trim(rest[min(3, len(rest)):], "0") != "" {
			out++
		}
	}
	return out
}
