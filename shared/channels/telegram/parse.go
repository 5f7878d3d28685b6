package telegram

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

func bad(what string) error {
	return fault.New(fault.InvalidRequest, "telegram.Parse", "the body is not a Telegram update: "+what)
}

// Parse reads one update.
func (Adapter) Parse(in webhook.Input) ([]channel.Inbound, error) {
	o, err := channel.StrictJSON(in.Body)
	if err != nil {
		return nil, bad("not one plain JSON object")
	}
	id, ok := integer(o, "update_id")
	if !ok {
		return nil, bad("update_id is missing")
	}
	out := channel.Inbound{Kind: channel.Ignored, Reason: channel.EventIgnored, Identity: channel.Identity{},
		Envelope: channel.Envelope{Provider: taxonomy.Telegram, EventID: id}}
	// Of an app of the platform the settings name one chat, whose end is the install's.
	one := in.Config.Get(chatID) != ""
	switch {
	case o.Has("message"):
		err = message(&out, o.Obj("message"), in.Config)
		named(out.Identity, o.Obj("message"))
		if one && o.Obj("message").Has("migrate_to_chat_id") {
			out.Kind, out.Reason = channel.Revoked, channel.RevokedByVendor
		}
	case o.Has("callback_query"):
		err = press(&out, o.Obj("callback_query"))
		named(out.Identity, o.Obj("callback_query").Obj("message"))
	case o.Has("edited_message"):
		out.Kind, out.Reason = channel.Edited, channel.EditIgnored
		named(out.Identity, o.Obj("edited_message"))
	case o.Has("my_chat_member"):
		named(out.Identity, o.Obj("my_chat_member"))
		if gone(o.Obj("my_chat_member").Obj("new_chat_member").Str("status")) {
			if out.Reason = channel.RevokedByVendor; one {
				out.Kind = channel.Revoked
			}
		}
	}
	if err != nil {
		return nil, err
	}
	return []channel.Inbound{out}, nil
}

// named says in which chat something happened.
func named(id channel.Identity, in channel.Object) {
	if chat, ok := integer(in.Obj("chat"), "id"); ok {
		id[chatID] = chat
	}
}

// gone reports a status without the bot in the chat (core.telegram.org/bots/api#chatmember, read 2026-11).
func gone(status string) bool { return status == "left" || status == "kicked" }

// integer reads a whole number as its text: ids are up to 52 bits and signed.
func integer(o channel.Object, name string) (string, bool) {
	n, ok := o[name].(json.Number)
	if !ok {
		return "", false
	}
	v, err := strconv.ParseInt(n.String(), 10, 64)
	return strconv.FormatInt(v, 10), err == nil
}

// message fills the envelope from a message (core.telegram.org/bots/api#message, read 2026-11).
func message(out *channel.Inbound, m channel.Object, cfg webhook.Config) error {
	env, chat, from := &out.Envelope, m.Obj("chat"), m.Obj("from")
	var ok bool
	if env.Space, ok = integer(chat, "id"); !ok {
		return bad("the chat has no id")
	}
	if env.Message, ok = integer(m, "message_id"); !ok {
		return bad("message_id is missing")
	}
	env.Actor, _ = integer(from, "id")
	env.Direct = chat.Str("type") == "private"
	if m.Bool("is_topic_message") {
		if env.Thread, ok = integer(m, "message_thread_id"); !ok {
			return bad("a topic has no id")
		}
	}
	if at, ok := integer(m, "date"); ok {
		if n, err := strconv.ParseInt(at, 10, 64); err == nil && n > 0 && n < 1<<40 {
			env.SentAt = time.Unix(n, 0).UTC()
		}
	}
	self := cfg.Get(botID)
	env.IsBot = from.Bool("is_bot") || m.Has("via_bot")
	env.SelfAuthored = self != "" && env.Actor == self
	text, entities := m.Str("text"), m.List("entities")
	if text == "" {
		text, entities = m.Str("caption"), m.List("caption_entities")
	}
	a := address{self: self, username: strings.ToLower(cfg.Get(botUsername)), units: utf16.Encode([]rune(text))}
	a.read(entities)
	if by, _ := integer(m.Obj("reply_to_message").Obj("from"), "id"); by != "" && by == self {
		a.mentioned = true
	}
	env.Mention, env.Text = a.mentioned, a.text()
	attach(env, m.Obj("voice"), channel.VoiceNote)
	attach(env, m.Obj("audio"), channel.AudioFile)
	env.Addressed = a.names(env.Text, env.Direct)
	out.Kind, out.Reason = channel.Message, ""
	switch {
	case env.SelfAuthored:
		out.Kind, out.Reason = channel.Ignored, channel.SelfIgnored
	case env.IsBot:
		out.Kind, out.Reason = channel.Ignored, channel.BotIgnored
	case env.Empty() || env.Actor == "":
		out.Kind, out.Reason = channel.Ignored, channel.EventIgnored
	case !m.Has("forward_origin"):
		out.Claim = claim(m.Str("text"), cfg.Get(botUsername))
	}
	return nil
}

// address finds whom a text is addressed to. Offsets count UTF-16 units
// (core.telegram.org/bots/api#messageentity, read 2026-11).
type address struct {
	self, username string
	units          []uint16
	mentioned      bool
	command        string
	// lead is how many units at the start only address the bot.
	lead int
	// cut and cutEnd are the bot's name behind a command.
	cut, cutEnd int
}

// maxEntities is Telegram's bound per message, and a margin.
const maxEntities = 256

func (a *address) read(entities []any) {
	for i, e := range entities {
		if i == maxEntities {
			return
		}
		o, _ := e.(channel.Object)
		from, to, ok := a.span(o)
		if !ok {
			continue
		}
		text := string(utf16.Decode(a.units[from:to]))
		switch o.Str("type") {
		case "mention":
			a.at(strings.EqualFold(text, "@"+a.username) && a.username != "", from, to)
		case "text_mention":
			id, _ := integer(o.Obj("user"), "id")
			a.at(id != "" && id == a.self, from, to)
		case "bot_command":
			a.commanded(text, from, to)
		}
	}
}

func (a *address) span(o channel.Object) (from, to int, ok bool) {
	offset, ok1 := integer(o, "offset")
	length, ok2 := integer(o, "length")
	f, err1 := strconv.Atoi(offset)
	n, err2 := strconv.Atoi(length)
	if !ok1 || !ok2 || err1 != nil || err2 != nil || f < 0 || n < 1 || f > len(a.units) || n > len(a.units)-f {
		return 0, 0, false
	}
	return f, f + n, true
}

func (a *address) at(us bool, from, to int) {
	if !us {
		return
	}
	a.mentioned = true
	if from == 0 {
		a.lead = to
	}
}

// commanded reads /name or /name@bot; a command for another bot says nothing.
func (a *address) commanded(text string, from, to int) {
	name, bot, named := strings.Cut(strings.TrimPrefix(text, "/"), "@")
	if named && (a.username == "" || !strings.EqualFold(bot, a.username)) {
		return
	}
	a.mentioned = a.mentioned || named
	if name = strings.ToLower(name); a.command == "" && channel.ValidAddressee(name) {
		a.command = name
	}
	if named && a.cutEnd == 0 {
		a.cut, a.cutEnd = to-len(utf16.Encode([]rune(bot)))-1, to
	}
}

// text is what was said to the bot, without its name.
func (a *address) text() string {
	u := a.units
	if a.cutEnd > 0 {
		u = append(append([]uint16(nil), u[:a.cut]...), u[a.cutEnd:]...)
	}
	return strings.TrimSpace(string(utf16.Decode(u[min(a.lead, len(u)):])))
}

// names are the command, and the first word of what is said to the bot alone.
func (a *address) names(text string, direct bool) []string {
	var out []string
	if a.command != "" {
		out = append(out, a.command)
	}
	if first := channel.Addressee(text); first != "" && (a.mentioned || direct) {
		out = append(out, first)
	}
	return out
}
