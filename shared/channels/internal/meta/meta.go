// Package meta is what the channels of Meta's Graph API share: how a notification
// is cut into events, what an error of the API means, and, for the channels whose
// people write to a page or an account, whole messages in and out.
//
// A notification holds entries, one for each page, account or business, and the
// events of several of them where an app serves several. It is read strictly and
// bounded; what is no message is one event without a turn.
//
// The token goes into the Authorization header, never into a URL
// (developers.facebook.com/docs/facebook-login/guides/access-tokens, read 2026-11
// through copies), and to the API alone: files lie at addresses that are signed
// themselves.
package meta

import (
	"regexp"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// The Graph API (developers.facebook.com/docs/graph-api/changelog, read 2026-11).
const (
	GraphHost = "graph.facebook.com"
	Version   = "/v23.0"
	GraphBase = "https://" + GraphHost + Version
)

// RetryHorizon is above the seven days of Meta's retries
// (developers.facebook.com/docs/whatsapp/cloud-api/guides/set-up-webhooks, read
// 2026-11); the other products state 36 hours.
const RetryHorizon = 8 * 24 * time.Hour

// MaxEvents bounds a notification: Meta aggregates up to 1,000 updates
// (developers.facebook.com/docs/graph-api/webhooks/getting-started, read 2026-11).
const MaxEvents = 1000

// maxID bounds what names a message. Those of direct messages are longer than others.
const maxID = 400

// Names of the secrets, which are the same for all channels.
const (
	AppSecret   = "app_secret"
	VerifyToken = "verify_token"
	AccessToken = "access_token"
)

var digits = regexp.MustCompile(`^[0-9]{4,32}$`)

// Digits reports whether a text is an id of an account or a person.
func Digits(s string) bool { return digits.MatchString(s) }

// Plain reports whether a text may be the id of a message or an entry.
func Plain(s string) bool { return s != "" && len(s) <= maxID && vendorapi.Printable(s) }

// Secrets are those of an install, with what its access token is and how to get it.
func Secrets(token, help string) []channel.SecretField {
	return []channel.SecretField{
		{Name: AppSecret, Title: "App secret", Class: taxonomy.ChannelVerify, Required: true, Form: credential.Token},
		{Name: VerifyToken, Title: "Verify token of the webhook", Class: taxonomy.ChannelVerify, Required: true,
			Help: "A text of your own; Meta repeats it once, when the URL is saved."},
		{Name: AccessToken, Title: token, Class: taxonomy.ChannelSend, Required: true, Unique: true, Hint: credential.Last4,
			Form: credential.Token, MaxBytes: 1024, Help: help},
	}
}

// Notifications describes those of one channel.
type Notifications struct {
	// Object is what they are about; Op and Title are those of errors.
	Object, Op, Title string
}

// Bad is the error of a body that is not what Meta documents.
func (n Notifications) Bad(what string) error {
	return fault.New(fault.InvalidRequest, n.Op, "the body is not a "+n.Title+" notification: "+what)
}

// Read hands each entry, with its id, to read, and gathers the events, at least one.
func (n Notifications) Read(body []byte, read func(id string, entry channel.Object) ([]channel.Inbound, error)) ([]channel.Inbound, error) {
	o, err := channel.StrictJSON(body)
	if err != nil {
		return nil, n.Bad("not one plain JSON object")
	}
	if o.Str("object") != n.Object || len(o.List("entry")) == 0 {
		return nil, n.Bad("object or entry")
	}
	var out []channel.Inbound
	for _, e := range o.List("entry") {
		entry, _ := e.(channel.Object)
		id := entry.Str("id")
		if !Plain(id) {
			return nil, n.Bad("an entry has no id")
		}
		more, err := read(id, entry)
		if err != nil {
			return nil, err
		}
		if out = append(out, more...); len(out) > MaxEvents {
			return nil, n.Bad("more updates than Meta sends")
		}
	}
	return out, nil
}
