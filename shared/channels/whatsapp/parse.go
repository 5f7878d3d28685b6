package whatsapp

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/meta"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// scopedID is a business-scoped user ID, such as US.13491208655302741918 or
// US.ENT.11815799212886844830.
var scopedID = regexp.MustCompile(`^[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}$`)

func notifications() meta.Notifications {
	return meta.Notifications{Object: "whatsapp_business_account", Op: "whatsapp.Parse", Title: "WhatsApp"}
}

func bad(what string) error { return notifications().Bad(what) }

// Parse reads a notification into its messages and the rest, in its order.
func (Adapter) Parse(in webhook.Input) ([]channel.Inbound, error) {
	return notifications().Read(in.Body, func(account string, entry channel.Object) ([]channel.Inbound, error) {
		if len(entry.List("changes")) == 0 {
			return nil, bad("an entry has no changes")
		}
		var out []channel.Inbound
		for _, c := range entry.List("changes") {
			change, _ := c.(channel.Object)
			more, err := read(account, change, in.Config)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
		}
		return out, nil
	})
}

// read reads one change. What is no message is one event without a turn.
func read(account string, change channel.Object, cfg webhook.Config) ([]channel.Inbound, error) {
	value := change.Obj("value")
	number := value.Obj("metadata").Str(phoneNumberID)
	rest := channel.Inbound{Kind: channel.Ignored, Reason: channel.EventIgnored, Identity: channel.Identity{wabaID: account, phoneNumberID: number},
		Envelope: channel.Envelope{Provider: taxonomy.WhatsApp, Account: account, Team: number}}
	switch change.Str("field") {
	case "messages":
	case "user_id_update":
		return updates(rest, value), nil
	default:
		return []channel.Inbound{ofAccount(rest, change, cfg)}, nil
	}
	if !meta.Plain(number) {
		return nil, bad("a message has no phone number ID")
	}
	var out []channel.Inbound
	for _, m := range value.List("messages") {
		msg, _ := m.(channel.Object)
		if msg.Str("type") == "system" {
			out = append(out, system(rest, msg))
			continue
		}
		one, err := message(rest, msg, value.List("contacts"))
		if err != nil {
			return nil, err
		}
		if own := onlyDigits(value.Obj("metadata").Str("display_phone_number")); own != "" && own == msg.Str("from") {
			one.Kind, one.Reason, one.Envelope.SelfAuthored = channel.Ignored, channel.SelfIgnored, true
		}
		out = append(out, one)
	}
	if len(out) == 0 {
		out = append(out, rest) // statuses and errors
	}
	return out, nil
}

// onlyDigits makes a number as people write it comparable with one as a sender has.
func onlyDigits(s string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
}

// ofAccount reads a change of the whole account. It names no number and concerns
// each, so it is the install's own.
func ofAccount(rest channel.Inbound, change channel.Object, cfg webhook.Config) channel.Inbound {
	rest.Identity[phoneNumberID] = cfg.Get(phoneNumberID)
	if change.Str("field") == "smb_message_echoes" {
		// What the business wrote in its own app.
		rest.Reason = channel.SelfIgnored
	}
	if event := change.Obj("value").Str("event"); change.Str("field") == "account_update" && (event == "PARTNER_REMOVED" || event == "ACCOUNT_DELETED") {
		rest.Kind, rest.Reason = channel.Revoked, channel.RevokedByVendor
		rest.Envelope.EventID = event + "." + rest.Envelope.Account
	}
	return rest
}

// message fills the envelope of a message. What a person writes under a picture or a
// file, or with an order, is what they say; the rest of it is not looked at
// (developers.facebook.com/docs/whatsapp/cloud-api/webhooks/payload-examples, read
// 2026-11, and .../documentation/business-messaging/whatsapp/webhooks/reference/messages
// of 2026-05-21).
func message(in channel.Inbound, m channel.Object, contacts []any) (channel.Inbound, error) {
	env := &in.Envelope
	env.EventID, env.Message, env.Direct = m.Str("id"), m.Str("id"), true
	phone, person := m.Str("from"), sender(m, contacts)
	if !meta.Plain(env.EventID) || phone != "" && !digits.MatchString(phone) || person != "" && !scopedID.MatchString(person) || phone == "" && person == "" {
		return in, bad("a message has no id or no sender")
	}
	env.Space, env.Actor = phone, phone
	if person != "" {
		env.Space, env.Actor = person, person
		env.ReplyTo, env.Beside = phone, phone
	}
	if n, err := strconv.ParseInt(m.Str("timestamp"), 10, 64); err == nil && n > 0 && n < 1<<40 {
		env.SentAt = time.Unix(n, 0).UTC()
	}
	switch kind := m.Str("type"); kind {
	case "text":
		env.Text = m.Obj("text").Str("body")
	case "image", "video", "document":
		env.Text = m.Obj(kind).Str("caption")
	case "order":
		env.Text = m.Obj(kind).Str("text")
	case "button":
		env.Text = m.Obj("button").Str("text")
	case "interactive":
		i := m.Obj("interactive")
		if env.Text = i.Obj("button_reply").Str("title"); env.Text == "" {
			env.Text = i.Obj("list_reply").Str("title")
		}
	case "audio":
		attach(env, m.Obj("audio"))
	case "edit":
		in.Kind, in.Reason = channel.Edited, channel.EditIgnored
		return in, nil
	case "revoke":
		in.Kind, in.Reason = channel.Deleted, channel.EditIgnored
		return in, nil
	}
	if env.Empty() {
		return in, nil
	}
	in.Kind, in.Reason = channel.Message, ""
	if name := channel.Addressee(env.Text); name != "" {
		env.Addressed = []string{name}
	}
	return in, nil
}

// sender is the business-scoped ID, stated with the message or the contact of the
// same number; "" if there is none.
func sender(m channel.Object, contacts []any) string {
	for _, name := range []string{"from_user_id", "user_id"} {
		if id := m.Str(name); id != "" {
			return id
		}
	}
	for _, c := range contacts {
		if contact, _ := c.(channel.Object); contact.Str("wa_id") == m.Str("from") {
			return contact.Str("user_id")
		}
	}
	return ""
}
