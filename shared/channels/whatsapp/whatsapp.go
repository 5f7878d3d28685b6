// Package whatsapp connects numbers of the WhatsApp Cloud API: notifications in,
// messages out.
//
// Meta signs the body with the app's secret (HMAC-SHA256, sha256= hex) and states
// no time, so repetitions are told by the messages' ids. It checks a URL with an
// unsigned GET that carries a token of the user's. One notification may hold
// several messages, and those of several numbers of the same app.
//
// A person is known by a business-scoped user ID since April 2026, and by the
// telephone number where it is shown (developers.facebook.com/documentation/business-messaging/whatsapp/business-scoped-user-ids,
// read 2026-11 through vendors' copies). A message states the ID it is the space's,
// and the number beside it; package session makes one conversation of both. Answers
// go to the number where there is one, as Meta recommends, and in the field to; an
// ID there would be accepted and dropped (github.com/chatwoot/chatwoot/pull/15150).
//
// An ID or number that changes is told in a message of the type system (Meta's
// changelog of 2026-08-11, which says that the field user_id_update of the earlier
// documentation cannot be subscribed to; both are read).
//
// Free text may be sent for 24 hours after the person's last message; later
// answers are refused by Meta and not tried again.
package whatsapp

import (
	"regexp"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/meta"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/profiles"
)

// Names of settings and secrets.
const (
	phoneNumberID = "phone_number_id"
	wabaID        = "waba_id"
)

// mediaHost is where the URLs of media lie (the Cloud API's documentation, "Media",
// read 2026-11).
const mediaHost = "lookaside.fbsbx.com"

var digits = regexp.MustCompile(`^[0-9]{4,32}$`)

// Entry describes WhatsApp to the catalog.
func Entry() channel.Entry {
	profile, _ := profiles.Find(taxonomy.ProfileMeta)
	return channel.Entry{
		ID: taxonomy.WhatsApp, Title: "WhatsApp", Methods: profile.Methods,
		Config: []channel.ConfigField{
			{Name: phoneNumberID, Title: "Phone number ID", Required: true, Valid: digits.MatchString},
			{Name: wabaID, Title: "WhatsApp Business Account ID", Required: true, Valid: digits.MatchString},
		},
		Secrets:      meta.Secrets("Access token of a system user", "One for each number: a system user can make several."),
		VerifySecret: meta.AppSecret, SendSecret: meta.AccessToken,
		Handshake: profile.Handshake, HandshakeSecret: meta.VerifyToken,
		Identity: [][]string{{phoneNumberID}, {wabaID}}, ManyIDs: true,
		Tenant: func(c webhook.Config) (app, tenant string) {
			return "waba", "P:" + c.Get(phoneNumberID)
		},
		Anonymous: true, Scheme: profile.Scheme, Adapter: Adapter{}, RetryHorizon: meta.RetryHorizon, Setup: setup,
		APIBase: meta.GraphBase, Hosts: []string{meta.GraphHost}, MediaHosts: []string{mediaHost},
		Shared: &channel.Shared{Locate: func(id channel.Identity) string {
			if id[phoneNumberID] == "" {
				return "" // a change of the whole account names no number
			}
			return "P:" + id[phoneNumberID]
		}},
	}
}

// Adapter is stateless.
type Adapter struct{}
