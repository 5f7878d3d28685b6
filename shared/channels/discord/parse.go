package discord

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Types of interactions and of commands (interactions/receiving-and-responding and
// application-commands, read 2026-11).
const (
	ping         = 1
	commandUsed  = 2
	component    = 3
	autocomplete = 4
	slashCommand = 1
)

// maxToken bounds an interaction's token, which has some 230 characters.
const maxToken = 1024

func bad(what string) error {
	return fault.New(fault.InvalidRequest, "discord.Parse", "the body is not a Discord interaction: "+what)
}

// number reads a whole number, -1 if there is none.
func number(o channel.Object, name string) int64 {
	n, ok := o[name].(json.Number)
	if !ok {
		return -1
	}
	v, err := n.Int64()
	if err != nil {
		return -1
	}
	return v
}

// id reads a snowflake, "" if there is none.
func id(o channel.Object, name string) string {
	if s := o.Str(name); snowflake.MatchString(s) {
		return s
	}
	return ""
}

// Parse reads an interaction.
func (Adapter) Parse(in webhook.Input) ([]channel.Inbound, error) {
	o, err := channel.StrictJSON(in.Body)
	if err != nil {
		return nil, bad("not one plain JSON object")
	}
	kind := number(o, "type")
	if kind == ping {
		return []channel.Inbound{{Kind: channel.Handshake, Ack: answer(pong)}}, nil
	}
	one := channel.Inbound{Kind: channel.Ignored, Reason: channel.EventIgnored,
		Identity: channel.Identity{applicationID: id(o, applicationID), guildID: id(o, guildID)}}
	one.Envelope = channel.Envelope{Provider: taxonomy.Discord, EventID: id(o, "id"), Account: one.Identity[applicationID], Team: one.Identity[guildID]}
	if kind < 0 || one.Envelope.EventID == "" || one.Envelope.Account == "" {
		return nil, bad("type, id or application_id")
	}
	switch kind {
	case commandUsed:
		if number(o.Obj("data"), "type") == slashCommand {
			one, err = message(one, o)
		}
	case component:
		one = press(one, o)
	case autocomplete:
		one.Ack = answer(noChoice)
	}
	if err != nil {
		return nil, err
	}
	return []channel.Inbound{one}, nil
}

// message fills the envelope of a command.
func message(in channel.Inbound, o channel.Object) (channel.Inbound, error) {
	env, user, token := &in.Envelope, o.Obj("member").Obj("user"), o.Str("token")
	if user == nil {
		user = o.Obj("user") // in a direct message, which is no install's
	}
	env.Space, env.Actor, env.Message, env.Mention = id(o, "channel_id"), id(user, "id"), env.EventID, true
	if env.Space == "" || env.Actor == "" {
		return in, bad("a command has no channel or nobody who used it")
	}
	if token == "" || len(token) > maxToken || !vendorapi.Printable(token) {
		return in, bad("token")
	}
	env.ReplyTo = address{env.Space, env.EventID, token}.String()
	env.SentAt = madeAt(env.EventID)
	env.IsBot, env.SelfAuthored = user.Bool("bot"), env.Actor == env.Account
	if err := said(env, o.Obj("data")); err != nil {
		return in, err
	}
	switch {
	case env.SelfAuthored:
		in.Reason = channel.SelfIgnored
	case env.IsBot:
		in.Reason = channel.BotIgnored
	case !env.Empty():
		in.Kind, in.Reason = channel.Message, ""
	}
	return in, nil
}

// epoch is the first millisecond of snowflakes (the reference, "Snowflakes").
const epoch = 1420070400000

// madeAt is when an id was made, zero for none.
func madeAt(id string) time.Time {
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(int64(n>>22) + epoch).UTC()
}
