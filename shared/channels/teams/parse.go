package teams

import (
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

func bad(what string) error {
	return fault.New(fault.InvalidRequest, "teams.Parse", "the body is not an activity of Microsoft Teams: "+what)
}

// Bounds of an activity's type and time, and of how many entities are looked at, far
// above what a message has.
const (
	maxNote     = 64
	maxEntities = 256
)

// teamsChannel is the Bot Framework's name of Teams among its channels: a bot may be
// open to others, which name no tenant.
const teamsChannel = "msteams"

// botAccount stands before an app's id in the id of its bot
// (msteams-docs, bots/how-to/conversations/conversation-messages.md, read 2026-11).
const botAccount = "28:"

// Parse reads the one activity of a request
// (learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference,
// "Activity object", read 2026-11).
func (Adapter) Parse(in webhook.Input) ([]channel.Inbound, error) {
	o, err := channel.StrictJSON(in.Body)
	if err != nil {
		return nil, bad("not one plain JSON object")
	}
	kind, id, at := o.Str("type"), o.Str("id"), o.Str("timestamp")
	if kind == "" || len(kind) > maxNote || len(at) > maxNote || o.Str("channelId") != teamsChannel {
		return nil, bad("type, timestamp or channelId")
	}
	if id != "" && !activityForm.MatchString(id) {
		return nil, bad("id")
	}
	one := channel.Inbound{Kind: channel.Ignored, Reason: channel.EventIgnored, Envelope: channel.Envelope{Provider: taxonomy.Teams}}
	env := &one.Envelope
	env.Account = tenant(o)
	one.Identity = channel.Identity{appID: webhook.Audience(in.Header), tenantID: env.Account}
	if whole := o.Obj("conversation").Str("id"); whole != "" {
		var ok bool
		if env.Space, env.Thread, ok = apart(whole); !ok {
			return nil, bad("conversation")
		}
	}
	if env.Team = o.Obj("channelData").Obj("team").Str("id"); env.Team != "" && !spaceForm.MatchString(env.Team) {
		return nil, bad("team")
	}
	env.EventID = kind + " " + env.Space + " " + id + " " + at
	if t, err := time.Parse(time.RFC3339Nano, at); err == nil {
		env.SentAt = t.UTC()
	}
	switch {
	case kind == "message":
		if one, err = message(one, o, in.Config); err != nil {
			return nil, err
		}
	case kind == "messageUpdate":
		one.Kind, one.Reason = channel.Edited, channel.EditIgnored
	case kind == "messageDelete":
		one.Kind, one.Reason = channel.Deleted, channel.EditIgnored
	case removed(o, kind):
		one.Reason = channel.RevokedByVendor
	}
	return []channel.Inbound{one}, nil
}

// tenant is the activity's, "" if it names none or two: the channel's data have it in
// all contexts (conversation-messages.md, "Teams channel data", read 2026-11), the
// conversation repeats it.
func tenant(o channel.Object) string {
	a, b := strings.ToLower(o.Obj("channelData").Obj("tenant").Str("id")), strings.ToLower(o.Obj("conversation").Str("tenantId"))
	switch {
	case a == "":
		a = b
	case b != "" && a != b:
		return ""
	}
	if !guid.MatchString(a) {
		return ""
	}
	return a
}

// removed tells that the app is no longer in a chat or team
// (msteams-docs, bots/how-to/conversations/subscribe-to-conversation-events.md,
// "Install update event" and "Members removed", read 2026-11). An upgrade removes and
// adds it with other words.
func removed(o channel.Object, kind string) bool {
	switch kind {
	case "installationUpdate":
		return o.Str("action") == "remove"
	case "conversationUpdate":
		us := o.Obj("recipient").Str("id")
		for k, one := range o.List("membersRemoved") {
			m, _ := one.(channel.Object)
			if k < maxEntities && us != "" && m.Str("id") == us {
				return true
			}
		}
	}
	return false
}

// message fills the envelope of a message.
func message(in channel.Inbound, o channel.Object, c webhook.Config) (channel.Inbound, error) {
	env, from := &in.Envelope, o.Obj("from")
	env.Message, env.Actor = o.Str("id"), from.Str("id")
	if env.Message == "" || env.Space == "" || !accountForm.MatchString(env.Actor) {
		return in, bad("a message has no id, no conversation or no sender")
	}
	service, ok := serviceOf(o.Str("serviceUrl"))
	if !ok {
		return in, bad("serviceUrl")
	}
	env.ReplyTo = address{service, env.Space}.String()
	env.EventID = "message " + env.Space + " " + env.Message
	env.Direct = o.Obj("conversation").Str("conversationType") == "personal"
	env.SelfAuthored = env.Actor == botAccount+c.Get(appID)
	// The role is often missing: the examples of msteams-docs have none.
	env.IsBot = strings.HasPrefix(env.Actor, botAccount) || from.Str("role") == "bot" || from.Str("role") == "skill"
	env.Text, env.Mention = said(o)
	if name := channel.Addressee(env.Text); name != "" && (env.Mention || env.Direct) {
		env.Addressed = []string{name}
	}
	in.Kind, in.Reason = channel.Message, ""
	switch {
	case env.SelfAuthored:
		in.Kind, in.Reason = channel.Ignored, channel.SelfIgnored
	case env.IsBot:
		in.Kind, in.Reason = channel.Ignored, channel.BotIgnored
	case env.Empty():
		in.Kind, in.Reason = channel.Ignored, channel.EventIgnored
	}
	return in, nil
}

// said is the text without the bot's name, with the names of other people in place of
// their marks, and whether the bot is mentioned
// (msteams-docs, bots/how-to/conversations/channel-and-group-conversations.md, "Work with
// mentions", read 2026-11: only the entities say who is). The same text comes again as
// an attachment of HTML, which is not read.
func said(o channel.Object) (text string, mentioned bool) {
	text = o.Str("text")
	us := o.Obj("recipient").Str("id")
	for k, one := range o.List("entities") {
		e, _ := one.(channel.Object)
		if k >= maxEntities || e.Str("type") != "mention" {
			continue
		}
		who := e.Obj("mentioned")
		mark, ours := e.Str("text"), us != "" && who.Str("id") == us
		if mark == "" { // in group chats it is missing (github.com/microsoft/botbuilder-dotnet/issues/2504)
			mark = "<at>" + who.Str("name") + "</at>"
		}
		name := strings.TrimSuffix(strings.TrimPrefix(mark, "<at>"), "</at>")
		mentioned = mentioned || ours
		switch {
		case !strings.HasPrefix(mark, "<at>") || name == "":
		case ours:
			text = strings.Replace(text, mark, "", 1)
		default:
			text = strings.Replace(text, mark, "@"+strings.TrimPrefix(name, "@"), 1)
		}
	}
	return strings.TrimSpace(strings.ReplaceAll(text, "\u00a0", " ")), mentioned
}
