// Package messenger connects Facebook Pages over the Messenger Platform: messages of
// people in, the page's answers out.
//
// Meta signs the body with the app's secret (HMAC-SHA256, sha256= hex) and states no
// time, so repetitions are told by the messages' ids (mid). It checks a URL with an
// unsigned GET that carries a token of the user's. One app may serve several pages,
// and one notification may hold events of several.
//
// A page's own messages come back as echoes and start nothing. Messages in standby
// are another app's, or a person's at the page's inbox, to answer. What a person
// presses counts as said by its title. Meta does not tell which people are machines,
// and nothing when the app is removed; that it blocked the page is recorded.
//
// Answers are plain text in messages of 2,000 characters, sent with the page in the
// path, so that a token of another page is refused. They may be sent for 24 hours
// after the person's last message; later ones are refused by Meta and not tried
// again. A spoken answer goes without text.
package messenger

import (
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/meta"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/profiles"
)

// pageID names the setting.
const pageID = "page_id"

// Entry describes Messenger to the catalog.
func Entry() channel.Entry {
	profile, _ := profiles.Find(taxonomy.ProfileMeta)
	return channel.Entry{
		ID: taxonomy.Messenger, Title: "Messenger", Methods: profile.Methods,
		Config: []channel.ConfigField{
			{Name: pageID, Title: "Page ID", Required: true, Valid: meta.Digits, Help: "The number of the Facebook Page, in its settings under Page transparency."},
		},
		Secrets:      meta.Secrets("Page access token", "A long-lived one of this page, with pages_messaging; of a system user it does not end."),
		VerifySecret: meta.AppSecret, SendSecret: meta.AccessToken,
		Handshake: profile.Handshake, HandshakeSecret: meta.VerifyToken,
		Identity: [][]string{{pageID}}, Anonymous: true,
		Tenant: func(c webhook.Config) (app, tenant string) { return "page", "G:" + c.Get(pageID) },
		Scheme: profile.Scheme, Adapter: Adapter{}, RetryHorizon: meta.RetryHorizon, Setup: setup,
		APIBase: meta.GraphBase, Hosts: []string{meta.GraphHost}, MediaHosts: meta.MediaHosts(),
		Shared: &channel.Shared{Locate: func(id channel.Identity) string {
			if id[pageID] == "" {
				return "" // of two pages at once
			}
			return "G:" + id[pageID]
		}, Consent: login().Consent()},
	}
}

// login is Meta's page, on which somebody connects one page to an app of the platform.
func login() meta.Login {
	return meta.Login{Events: "messages,messaging_postbacks,message_edits,messaging_policy_enforcement", Base: func(base string) string { return base },
		Tenant: func(page channel.Object) webhook.Config { return webhook.Config{pageID: {page.Str("id")}} }}
}

// Adapter is stateless.
type Adapter struct{}

func messaging() meta.Messaging {
	return meta.Messaging{Notifications: meta.Notifications{Object: "page", Op: "messenger.Parse", Title: "Messenger"},
		Channel: taxonomy.Messenger, Account: pageID}
}

// Parse reads a notification into its events, in its order.
func (Adapter) Parse(in webhook.Input) ([]channel.Inbound, error) { return messaging().Parse(in) }
