package line

import (
	"encoding/json"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// maxEvents is far above what was seen of LINE, which states no number.
const maxEvents = 1000

// maxID bounds what names an event, a message or a reply token.
const maxID = 200

func bad(what string) error {
	return fault.New(fault.InvalidRequest, "line.Parse", "the body is not a LINE webhook: "+what)
}

// Parse reads a request into its events, in its order.
func (Adapter) Parse(in webhook.Input) ([]channel.Inbound, error) {
	o, err := channel.StrictJSON(in.Body)
	if err != nil {
		return nil, bad("not one plain JSON object")
	}
	bot := o.Str(destination)
	events, listed := o["events"].([]any)
	if !botForm.MatchString(bot) || !listed {
		return nil, bad("destination or events")
	}
	if len(events) > maxEvents {
		return nil, bad("more events than LINE sends")
	}
	rest := channel.Inbound{Kind: channel.Ignored, Reason: channel.EventIgnored, Identity: channel.Identity{destination: bot},
		Envelope: channel.Envelope{Provider: taxonomy.LINE, Account: bot}}
	if len(events) == 0 { // the console's check of the URL
		return []channel.Inbound{{Kind: channel.Handshake}}, nil
	}
	out := make([]channel.Inbound, 0, len(events))
	for _, e := range events {
		event, _ := e.(channel.Object)
		one, err := read(rest, event)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

// read reads one event (github.com/line/line-openapi, webhook.yml, read 2026-11).
func read(in channel.Inbound, e channel.Object) (channel.Inbound, error) {
	env := &in.Envelope
	if env.EventID = e.Str("webhookEventId"); !plain(env.EventID) || e.Str("type") == "" {
		return in, bad("an event has no webhookEventId or no type")
	}
	if at, ok := e["timestamp"].(json.Number); ok {
		if ms, err := at.Int64(); err == nil && ms > 0 && ms < 1<<50 {
			env.SentAt = time.UnixMilli(ms).UTC()
		}
	}
	// In standby another system answers.
	if e.Str("mode") == "standby" {
		return in, nil
	}
	switch e.Str("type") {
	case "message":
		return message(in, e)
	case "unsend":
		in.Kind, in.Reason = channel.Deleted, channel.EditIgnored
	case "unfollow", "leave":
		in.Reason = channel.RevokedByVendor
	}
	return in, nil
}

// message fills the envelope of a message.
func message(in channel.Inbound, e channel.Object) (channel.Inbound, error) {
	env, m, source := &in.Envelope, e.Obj("message"), e.Obj("source")
	switch source.Str("type") {
	case "user":
		env.Space, env.Direct = source.Str("userId"), true
	case "group":
		env.Space = source.Str("groupId")
	case "room":
		env.Space = source.Str("roomId")
	}
	// In groups LINE names only people who let it.
	env.Actor, env.Message = source.Str("userId"), m.Str("id")
	if !spaceForm.MatchString(env.Space) || env.Actor != "" && !botForm.MatchString(env.Actor) || !plain(env.Message) {
		return in, bad("a message has no id or no source")
	}
	env.SelfAuthored = env.Actor == env.Account
	if token := e.Str("replyToken"); plain(token) && !strings.Contains(token, separator) {
		env.ReplyTo = env.Space + separator + token
	}
	switch m.Str("type") {
	case "text":
		text, mentioned := addressed(m)
		env.Text, env.Mention = text, mentioned
		if name := channel.Addressee(text); name != "" && (mentioned || env.Direct) {
			env.Addressed = []string{name}
		}
	case "audio":
		attach(env, m)
	}
	switch {
	case env.SelfAuthored:
		in.Reason = channel.SelfIgnored
	case !env.Empty() && env.Actor != "":
		in.Kind, in.Reason = channel.Message, ""
	}
	return in, nil
}

// addressed is what was said, without the bot's name where the text begins with it,
// and whether the bot is mentioned. Indexes count UTF-16 units
// (developers.line.biz/en/docs/messaging-api/text-character-count, read 2026-11).
func addressed(m channel.Object) (text string, mentioned bool) {
	units := utf16.Encode([]rune(m.Str("text")))
	lead := 0
	for _, one := range m.Obj("mention").List("mentionees") {
		o, _ := one.(channel.Object)
		if !o.Bool("isSelf") {
			continue
		}
		mentioned = true
		from, to, ok := span(o, len(units))
		if ok && from == 0 {
			lead = to
		}
	}
	return strings.TrimSpace(string(utf16.Decode(units[lead:]))), mentioned
}

func span(o channel.Object, limit int) (from, to int, ok bool) {
	index, ok1 := o["index"].(json.Number)
	length, ok2 := o["length"].(json.Number)
	i, err1 := index.Int64()
	n, err2 := length.Int64()
	if !ok1 || !ok2 || err1 != nil || err2 != nil || i < 0 || n < 1 || i > int64(limit) || n > int64(limit)-i {
		return 0, 0, false
	}
	return int(i), int(i + n), true
}

func plain(s string) bool { return s != "" && len(s) <= maxID && vendorapi.Printable(s) }
