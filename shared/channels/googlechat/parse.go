package googlechat

import (
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

func bad(what string) error {
	return fault.New(fault.InvalidRequest, "googlechat.Parse", "the body is not a Google Chat event: "+what)
}

// maxNote bounds an event's type and time.
const maxNote = 64

// Parse reads the one event of a request
// (developers.google.com/workspace/chat/api/reference/rest/v1/Event, read 2026-11).
func (Adapter) Parse(in webhook.Input) ([]channel.Inbound, error) {
	o, err := channel.StrictJSON(in.Body)
	if err != nil {
		return nil, bad("not one plain JSON object")
	}
	kind, at, space, m := o.Str("type"), o.Str("eventTime"), o.Obj("space"), o.Obj("message")
	if kind == "" || len(kind) > maxNote || len(at) > maxNote {
		return nil, bad("it has no type")
	}
	if space == nil {
		space = m.Obj("space")
	}
	one := channel.Inbound{Kind: channel.Ignored, Reason: channel.EventIgnored,
		Envelope: channel.Envelope{Provider: taxonomy.GoogleChat, Space: space.Str("name")}}
	env := &one.Envelope
	if env.Space != "" && !spaceForm.MatchString(env.Space) {
		return nil, bad("the space's name")
	}
	env.Account = webhook.Audience(in.Header)
	one.Identity = channel.Identity{audience: env.Account}
	if env.Team = space.Str("customer"); customerForm.MatchString(env.Team) {
		one.Identity[customer] = env.Team
	} else if env.Team != "" {
		return nil, bad("the space's customer")
	}
	env.EventID = kind + " " + env.Space + " " + at
	if t, err := time.Parse(time.RFC3339Nano, at); err == nil {
		env.SentAt = t.UTC()
	}
	switch {
	case kind == "REMOVED_FROM_SPACE":
		one.Reason = channel.RevokedByVendor
	case m != nil && (kind == "MESSAGE" || kind == "ADDED_TO_SPACE" || kind == "APP_COMMAND"):
		// Whoever adds an app by mentioning it says something already.
		if one, err = message(one, o, space, m); err != nil {
			return nil, err
		}
	case kind == "MESSAGE":
		return nil, bad("a message is missing")
	}
	return []channel.Inbound{limited(one, in.Config)}, nil
}

// limited leaves out what no customer is named for where the install answers one
// customer only. That is not another tenant, which would call people up.
func limited(in channel.Inbound, c webhook.Config) channel.Inbound {
	if want := c.Get(customer); want != "" && in.Identity[customer] == "" {
		in.Identity[customer] = want
		if in.Kind == channel.Message || in.Reason == channel.BotIgnored {
			in.Kind, in.Reason = channel.Ignored, channel.EventIgnored
		}
	}
	return in
}

// message fills the envelope of a message
// (developers.google.com/workspace/chat/api/reference/rest/v1/spaces.messages, read 2026-11).
func message(in channel.Inbound, event, space, m channel.Object) (channel.Inbound, error) {
	env := &in.Envelope
	sender := m.Obj("sender")
	if sender == nil {
		sender = event.Obj("user")
	}
	env.Message, env.Actor = m.Str("name"), sender.Str("name")
	if !messageForm.MatchString(env.Message) || !strings.HasPrefix(env.Message, env.Space+"/") || !userForm.MatchString(env.Actor) {
		return in, bad("a message has no name, no sender or no space")
	}
	env.EventID = env.Message
	if t, err := time.Parse(time.RFC3339Nano, m.Str("createTime")); err == nil {
		env.SentAt = t.UTC()
	}
	env.IsBot = sender.Str("type") == "BOT"
	env.SelfAuthored = env.Actor == "users/app"
	env.Direct = direct(space)
	if thread := m.Obj("thread").Str("name"); threaded(space) && thread != "" {
		if !threadForm.MatchString(thread) || !strings.HasPrefix(thread, env.Space+"/") {
			return in, bad("the thread's name")
		}
		env.Thread = thread
	}
	command, mentioned := addressed(m)
	env.Mention = mentioned || command != ""
	if env.Text = m.Str("text"); command == "" && m.Has("argumentText") {
		env.Text = m.Str("argumentText")
	}
	env.Text = strings.TrimSpace(env.Text)
	attach(env, m)
	if command != "" {
		env.Addressed = append(env.Addressed, command)
	}
	if name := channel.Addressee(env.Text); name != "" && (env.Mention || env.Direct) {
		env.Addressed = append(env.Addressed, name)
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

// direct reports a conversation with one person. The type is the older field's.
func direct(space channel.Object) bool {
	return space.Bool("singleUserBotDm") || space.Str("spaceType") == "DIRECT_MESSAGE" || space.Str("type") == "DM"
}

// threaded reports whether an answer belongs to the thread of its question. In
// conversations without a name and in spaces without threads every message is a
// thread of its own.
func threaded(space channel.Object) bool {
	return !direct(space) && space.Str("spaceType") != "GROUP_CHAT" && space.Str("spaceThreadingState") != "UNTHREADED_MESSAGES"
}

// maxAnnotations is far above what a message has.
const maxAnnotations = 256

// addressed is the slash command of a message, in lower case and without its slash, and whether an app is
// mentioned: Google tells of mentions of other apps only beside ours.
func addressed(m channel.Object) (command string, mentioned bool) {
	for k, one := range m.List("annotations") {
		a, _ := one.(channel.Object)
		switch {
		case k >= maxAnnotations:
			return command, mentioned
		case a.Str("type") == "USER_MENTION":
			mentioned = mentioned || a.Obj("userMention").Obj("user").Str("type") == "BOT"
		case a.Str("type") == "SLASH_COMMAND":
			name := strings.ToLower(a.Obj("slashCommand").Str("commandName"))
			if bare := strings.TrimPrefix(name, "/"); command == "" && channel.ValidAddressee(bare) {
				command = bare
			}
		}
	}
	return command, mentioned || m.Has("slashCommand")
}
