package slack

import (
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// maxID bounds every id we keep; Slack's are below 40 characters.
const maxID = 128

// maxChallenge bounds the text that is echoed.
const maxChallenge = 1024

func bad(what string) error {
	return fault.New(fault.InvalidRequest, "slack.Parse", "the body is not a Slack event: "+what)
}

// Parse reads a verified request of the Events API, of interactivity or of a slash
// command, which holds one event.
func (Adapter) Parse(in webhook.Input) ([]channel.Inbound, error) {
	one, err := parse(in)
	if err != nil {
		return nil, err
	}
	return []channel.Inbound{one}, nil
}

func parse(in webhook.Input) (channel.Inbound, error) {
	if isForm(in.Body) {
		return formed(in)
	}
	o, err := channel.StrictJSON(in.Body)
	if err != nil {
		return channel.Inbound{}, bad("not one plain JSON object")
	}
	switch o.Str("type") {
	case "url_verification":
		c := o.Str("challenge")
		if c == "" || len(c) > maxChallenge || !vendorapi.Printable(c) {
			return channel.Inbound{}, bad("challenge")
		}
		return channel.Inbound{Kind: channel.Handshake, Challenge: c}, nil
	case "event_callback":
		return event(o, in.Config)
	case "":
		return channel.Inbound{}, bad("type is missing")
	}
	return channel.Inbound{Kind: channel.Ignored, Reason: channel.EventIgnored, Identity: identity(o),
		Envelope: channel.Envelope{Provider: taxonomy.Slack}}, nil
}

// identity prefers authorizations[0], which names the installation that the
// event was delivered for; in shared channels the outer team can be another.
func identity(o channel.Object) channel.Identity {
	id := channel.Identity{appID: o.Str("api_app_id")}
	a := o.First("authorizations")
	if a.Bool(orgWide) || a == nil && o.Bool(orgWide) {
		id[orgWide] = "true"
	}
	for _, name := range []string{teamID, enterpriseID} {
		if id[name] = a.Str(name); id[name] == "" && (a == nil || a.Bool("is_enterprise_install")) {
			id[name] = o.Str(name)
		}
	}
	return id
}

func event(o channel.Object, cfg webhook.Config) (channel.Inbound, error) {
	e := o.Obj("event")
	in := channel.Inbound{Identity: identity(o)}
	in.Envelope = channel.Envelope{
		Provider: taxonomy.Slack, EventID: o.Str("event_id"),
		Account: in.Identity[enterpriseID], Team: in.Identity[teamID],
		Space: e.Str("channel"), Actor: e.Str("user"),
	}
	if !plainID(in.Envelope.EventID) || e == nil {
		return channel.Inbound{}, bad("event_id or event is missing")
	}
	switch e.Str("type") {
	case "message", "app_mention":
		return message(in, o, e, cfg)
	case "app_uninstalled":
		in.Kind, in.Reason = channel.Revoked, channel.RevokedByVendor
		return in, nil
	case "tokens_revoked":
		// User tokens may go; the install only lives on its bot token.
		if len(e.Obj("tokens").List("bot")) > 0 {
			in.Kind, in.Reason = channel.Revoked, channel.RevokedByVendor
			return in, nil
		}
	}
	in.Kind, in.Reason = channel.Ignored, channel.EventIgnored
	in.Envelope.Space, in.Envelope.Actor = "", ""
	return in, nil
}

// message fills the envelope of a message or app_mention event.
func message(in channel.Inbound, o, e channel.Object, cfg webhook.Config) (channel.Inbound, error) {
	env := &in.Envelope
	ts, thread := e.Str("ts"), e.Str("thread_ts")
	if !plainID(env.Space) || !plainID(ts) || thread != "" && !plainID(thread) || len(env.Actor) > maxID {
		return channel.Inbound{}, bad("channel or ts is missing")
	}
	switch subtype := e.Str("subtype"); subtype {
	case "message_changed":
		in.Kind, in.Reason = channel.Edited, channel.EditIgnored
		return in, nil
	case "message_deleted":
		in.Kind, in.Reason = channel.Deleted, channel.EditIgnored
		return in, nil
	case "", "file_share", "thread_broadcast", "me_message", "bot_message":
	default:
		in.Kind, in.Reason = channel.Ignored, channel.EventIgnored
		return in, nil
	}
	bot := botUser(o, cfg)
	env.Message, env.ContentKey = ts, env.Space+":"+ts
	env.SentAt = sentAt(ts)
	env.Direct = e.Str("channel_type") == "im" || strings.HasPrefix(env.Space, "D")
	if env.Thread = thread; thread == "" && !env.Direct {
		env.Thread = ts // an answer in a room starts a thread below the question
	}
	env.IsBot = e.Str("bot_id") != "" || e.Str("subtype") == "bot_message" || e.Has("bot_profile")
	app := e.Str("app_id")
	if app == "" {
		app = e.Obj("bot_profile").Str("app_id")
	}
	if env.IsBot && env.Actor == "" && plainID(e.Str("bot_id")) {
		env.Actor = e.Str("bot_id") // posts of a bare webhook have no user
	}
	env.SelfAuthored = bot != "" && env.Actor == bot || env.IsBot && app != "" && app == in.Identity[appID]
	text := e.Str("text")
	env.Mention = e.Str("type") == "app_mention" || bot != "" && (strings.Contains(text, "<@"+bot+">") || strings.Contains(text, "<@"+bot+"|"))
	env.Text = plainText(text, bot)
	attach(env, e.List("files"))
	if env.Mention || env.Direct {
		env.Addressed = addressed(env.Text)
	}
	in.Kind = channel.Message
	switch {
	case env.SelfAuthored:
		in.Kind, in.Reason = channel.Ignored, channel.SelfIgnored
	case env.IsBot:
		in.Kind, in.Reason = channel.Ignored, channel.BotIgnored
	case env.Empty() || env.Actor == "":
		in.Kind, in.Reason = channel.Ignored, channel.EventIgnored
	}
	return in, nil
}

func addressed(text string) []string {
	if name := channel.Addressee(text); name != "" {
		return []string{name}
	}
	return nil
}

// botUser is the app's own user: as configured, else as the authorization says.
func botUser(o channel.Object, cfg webhook.Config) string {
	if u := cfg.Get(botUserID); u != "" {
		return u
	}
	if a := o.First("authorizations"); a.Bool("is_bot") {
		return a.Str("user_id")
	}
	return ""
}

// plainText removes a leading address to the bot and Slack's three escapes.
func plainText(s, bot string) string {
	s = strings.TrimSpace(s)
	if bot != "" {
		if rest, ok := strings.CutPrefix(s, "<@"+bot); ok {
			if end := strings.IndexByte(rest, '>'); end >= 0 && (end == 0 || rest[0] == '|') {
				s = strings.TrimSpace(rest[end+1:])
			}
		}
	}
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(s)
}

// sentAt reads the seconds of a message timestamp, zero if it has none.
func sentAt(ts string) time.Time {
	sec, _, _ := strings.Cut(ts, ".")
	n, err := strconv.ParseInt(sec, 10, 64)
	if err != nil || n <= 0 || n > 1<<40 {
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}

func plainID(s string) bool { return s != "" && len(s) <= maxID && vendorapi.Printable(s) }
