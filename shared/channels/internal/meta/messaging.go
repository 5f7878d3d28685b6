package meta

import (
	"strconv"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Messaging is a channel whose people write to a page or an account.
type Messaging struct {
	Notifications
	Channel taxonomy.Channel
	// Account names the setting that holds the page's or account's id.
	Account string
}

// Parse reads a notification into its events, in its order
// (developers.facebook.com/documentation/business-messaging/messenger-platform/webhooks/webhook-events
// and .../instagram-messaging/webhooks, read 2026-11).
func (m Messaging) Parse(in webhook.Input) ([]channel.Inbound, error) {
	return m.Read(in.Body, m.entry)
}

func (m Messaging) entry(account string, e channel.Object) ([]channel.Inbound, error) {
	var out []channel.Inbound
	for _, one := range e.List("messaging") {
		event, _ := one.(channel.Object)
		read, err := m.event(m.rest(account), event)
		if err != nil {
			return nil, err
		}
		out = append(out, read)
	}
	// Events in standby are another app's, or a person's at the inbox, to answer;
	// changes are no messages.
	if len(out) == 0 || len(e.List("standby")) > 0 {
		out = append(out, m.rest(account))
	}
	return out, nil
}

// rest is an event that starts no turn.
func (m Messaging) rest(account string) channel.Inbound {
	return channel.Inbound{Kind: channel.Ignored, Reason: channel.EventIgnored, Identity: channel.Identity{m.Account: account},
		Envelope: channel.Envelope{Provider: m.Channel, Account: account}}
}

// event reads one event. Which account it is for is said twice; one that contradicts
// itself is nobody's. An echo goes the other way: from the account to a person.
func (m Messaging) event(in channel.Inbound, e channel.Object) (channel.Inbound, error) {
	env, account := &in.Envelope, in.Envelope.Account
	said, from := e.Obj("message"), e.Obj("sender").Str("id")
	if at, ok := number(e, "timestamp"); ok && at > 0 && at < 1<<50 {
		env.SentAt = time.UnixMilli(at).UTC()
	}
	if said.Bool("is_echo") || from == account && from != "" {
		env.SelfAuthored, in.Reason = true, channel.SelfIgnored
		return in, nil
	}
	if to := e.Obj("recipient").Str("id"); to != "" && to != account {
		in.Identity = channel.Identity{m.Account: ""}
		return in, nil
	}
	env.Space, env.Actor, env.Direct = from, from, true
	switch {
	case e.Has("message"):
		return m.message(in, said)
	case e.Has("message_edit"):
		return m.edit(in, e.Obj("message_edit"))
	case e.Has("postback"):
		return m.postback(in, e.Obj("postback"))
	case e.Obj("policy_enforcement").Str("action") == "block":
		// Meta may take it back, so the install stays.
		in.Reason = channel.RevokedByVendor
	}
	return in, nil
}

// message fills the envelope of a message. A quick reply's text is its title.
func (m Messaging) message(in channel.Inbound, said channel.Object) (channel.Inbound, error) {
	env := &in.Envelope
	env.EventID, env.Message = said.Str("mid"), said.Str("mid")
	if !Plain(env.EventID) || !Digits(env.Actor) {
		return in, m.Bad("a message has no mid or no sender")
	}
	if said.Bool("is_deleted") {
		in.Kind, in.Reason = channel.Deleted, channel.EditIgnored
		env.EventID += ".deleted"
		return in, nil
	}
	env.Text = said.Str("text")
	for _, one := range said.List("attachments") {
		if a, _ := one.(channel.Object); a.Str("type") == "audio" {
			// The address is the only name that the file has.
			env.Attach(channel.Attachment{ID: a.Obj("payload").Str("url"), Kind: channel.VoiceNote})
		}
	}
	return turn(in), nil
}

// edit reads the news that a person changed a message, up to five times.
func (m Messaging) edit(in channel.Inbound, e channel.Object) (channel.Inbound, error) {
	mid := e.Str("mid")
	if !Plain(mid) || !Digits(in.Envelope.Actor) {
		return in, nil // it would start no turn, so it need not hold up what came with it
	}
	n, _ := number(e, "num_edit")
	in.Envelope.EventID, in.Envelope.Message = mid+".edit."+strconv.FormatInt(n, 10), mid
	in.Kind, in.Reason = channel.Edited, channel.EditIgnored
	return in, nil
}

// postback reads the press of a button or of an entry of a menu. What the person saw
// is what was said; the payload is for programs. Old versions of the API name no mid.
func (m Messaging) postback(in channel.Inbound, p channel.Object) (channel.Inbound, error) {
	env := &in.Envelope
	if env.EventID, env.Message = p.Str("mid"), p.Str("mid"); env.EventID == "" && !env.SentAt.IsZero() {
		env.EventID = "postback." + env.Actor + "." + strconv.FormatInt(env.SentAt.UnixMilli(), 10)
	}
	if !Plain(env.EventID) || !Digits(env.Actor) {
		return in, m.Bad("a postback has no mid or no sender")
	}
	env.Text = p.Str("title")
	return turn(in), nil
}

// turn makes a message of an envelope in which something is said.
func turn(in channel.Inbound) channel.Inbound {
	if in.Envelope.Empty() {
		return in
	}
	in.Kind, in.Reason = channel.Message, ""
	if name := channel.Addressee(in.Envelope.Text); name != "" {
		in.Envelope.Addressed = []string{name}
	}
	return in
}
