// Package instagram connects Instagram professional accounts: direct messages in,
// the account's answers out.
//
// Meta signs the body with the secret of the app that the account is connected to
// (HMAC-SHA256, sha256= hex) and states no time, so repetitions are told by the
// messages' ids (mid). It checks a URL with an unsigned GET that carries a token of
// the user's. One app may serve several accounts, and one notification may hold events
// of several.
//
// An account is connected in one of two ways. Over Instagram Login the account has a
// token of its own and messages go to Instagram's host. Over Facebook Login it
// belongs to a page, whose token it is and which page_id names; messages go to the
// Graph API then. Notifications are the same, but the secrets differ: those of the
// Instagram product and of the app itself.
//
// The account's own messages come back as echoes and start nothing; messages in
// standby are somebody else's to answer; what is taken back is told. Meta does not
// tell which people are machines, and nothing when the app is removed.
//
// Answers are plain text in messages of 1,000 bytes, for 24 hours after the person's
// last message. A page's account takes speech, which is uploaded first; another one
// takes it by public address only, so its answers are text.
package instagram

import (
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/meta"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/profiles"
)

// Names of settings.
const (
	accountID = "ig_account_id"
	pageID    = "page_id"
)

// The API with Instagram Login
// (developers.facebook.com/docs/instagram-platform/instagram-api-with-instagram-login/messaging-api,
// read 2026-11).
const (
	apiHost = "graph.instagram.com"
	apiBase = "https://" + apiHost + meta.Version
)

// Entry describes Instagram to the catalog.
func Entry() channel.Entry {
	profile, _ := profiles.Find(taxonomy.ProfileMeta)
	return channel.Entry{
		ID: taxonomy.Instagram, Title: "Instagram", Methods: profile.Methods,
		Config: []channel.ConfigField{
			{Name: accountID, Title: "Instagram account ID", Required: true, Valid: meta.Digits,
				Help: "Of the professional account, as notifications name it: user_id (not id) of GET /me with the access token."},
			{Name: pageID, Title: "Page ID, over Facebook Login", Valid: meta.Digits,
				Help: "The Facebook Page that the account is linked to, where the access token is the page's. Leave it out over Instagram Login."},
		},
		Secrets:      meta.Secrets("Access token", "Of the Instagram account, or, with page_id, of the page. That of an account ends after 60 days: rotate it before."),
		VerifySecret: meta.AppSecret, SendSecret: meta.AccessToken,
		Handshake: profile.Handshake, HandshakeSecret: meta.VerifyToken,
		Identity: [][]string{{accountID}}, Anonymous: true,
		Tenant: func(c webhook.Config) (app, tenant string) { return "account", "A:" + c.Get(accountID) },
		Scheme: profile.Scheme, Adapter: Adapter{}, RetryHorizon: meta.RetryHorizon, Setup: setup,
		APIBase: apiBase, Hosts: []string{apiHost, meta.GraphHost}, MediaHosts: meta.MediaHosts(),
		Shared: &channel.Shared{Locate: func(id channel.Identity) string {
			if id[accountID] == "" {
				return "" // of two accounts at once
			}
			return "A:" + id[accountID]
		}, Consent: login().Consent()},
	}
}

// login is Meta's page, on which somebody connects an account over its page to an app of
// the platform. Instagram Login has a page of its own, whose tokens end after 60 days
// (developers.facebook.com/documentation/instagram-platform/instagram-api-with-instagram-login/business-login
// of 2026-03-13, read 2026-11-22); nothing renews them here.
func login() meta.Login {
	return meta.Login{Fields: "instagram_business_account{id}", Events: "messages", Base: graph,
		Tenant: func(page channel.Object) webhook.Config {
			if account := page.Obj("instagram_business_account").Str("id"); account != "" {
				return webhook.Config{pageID: {page.Str("id")}, accountID: {account}}
			}
			return nil
		}}
}

// Adapter is stateless.
type Adapter struct{}

func messaging() meta.Messaging {
	const name = string(taxonomy.Instagram)
	return meta.Messaging{Notifications: meta.Notifications{Object: name, Op: name + ".Parse", Title: "Instagram"},
		Channel: taxonomy.Instagram, Account: accountID}
}

// Parse reads a notification into its events, in its order.
func (Adapter) Parse(in webhook.Input) ([]channel.Inbound, error) { return messaging().Parse(in) }
