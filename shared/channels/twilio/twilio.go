// Package twilio connects numbers of Twilio's Programmable Messaging: SMS, MMS and
// WhatsApp over Twilio in, text out. Voice calls are no part of it.
//
// Twilio posts a form and signs the webhook's URL as it is configured there,
// followed by the form's names and values, sorted (HMAC-SHA1 with the account's auth
// token). It states no time of signing, so repetitions are told by the message's SID.
// Names and values are signed without anything between them: what is read here has a
// form of its own, so that no character can move from a value to a name.
//
// An address is a number, or "whatsapp:" and a number, and stays as it is: an SMS and a
// WhatsApp message of one person are two conversations. An answer leaves from the
// address that was written to. Messages that opt out (STOP) start no turn: Twilio
// answers them itself and takes no message for that person any more.
//
// Twilio accepts a message first and delivers later; it offers no key that would
// make it take a message once only, so a send without an answer stays unknown. What
// becomes of an accepted message (status callbacks) is not read. A file is asked for
// at Twilio's API, which gets the token, and fetched where that redirects to, which
// does not. Spoken answers would have to lie at a public address: answers are text.
package twilio

import (
	"net/http"
	"regexp"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/profiles"
)

// Names of settings and secrets.
const (
	accountSID   = "account_sid"
	ownAddress   = "to"
	serviceSID   = "messaging_service_sid"
	apiKeySID    = "api_key_sid"
	authToken    = "auth_token"
	apiKeySecret = "api_key_secret"
)

// The API (www.twilio.com/docs/usage/api, read 2026-11) and where it redirects to for
// files (help.twilio.com/articles/223183748, "Protect Media Access", and
// github.com/openclaw/openclaw/pull/144098, read 2026-11). Files of accounts that
// have not switched on HTTP authentication for media lie at a host that all customers
// of Amazon S3 share; it is not listed.
const (
	apiHost  = "api.twilio.com"
	apiBase  = "https://" + apiHost
	fileHost = "mms.twiliocdn.com"
	oldHost  = "media.twiliocdn.com"
)

// retryHorizon is above the time for which Twilio may send a message again: within the
// 15 seconds of a webhook (www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides,
// read 2026-11). It is also for how long a recorded request would be told as a repeat.
const retryHorizon = 8 * 24 * time.Hour

// Forms of SIDs: two letters and 32 characters (www.twilio.com/docs/glossary/what-is-a-sid, read
// 2026-11). An address has a phone number or a short code.
var (
	accountForm = regexp.MustCompile(`^AC[0-9A-Za-z]{32}$`)
	serviceForm = regexp.MustCompile(`^MG[0-9A-Za-z]{32}$`)
	keyForm     = regexp.MustCompile(`^SK[0-9A-Za-z]{32}$`)
	messageForm = regexp.MustCompile(`^(SM|MM)[0-9A-Za-z]{32}$`)
	addressForm = regexp.MustCompile(`^(whatsapp:)?\+?[0-9]{3,15}$`)
)

// whatsApp begins an address of WhatsApp's (www.twilio.com/docs/whatsapp/api, read 2026-11).
const whatsApp = "whatsapp:"

// Entry describes Twilio to the catalog.
func Entry() channel.Entry {
	profile, _ := profiles.Find(taxonomy.ProfileTwilio)
	return channel.Entry{
		ID: taxonomy.Twilio, Title: "Twilio (SMS, WhatsApp)",
		// Messages could be configured as GET, too, which would put them into access logs.
		Methods: []string{http.MethodPost},
		Config: []channel.ConfigField{
			{Name: accountSID, Title: "Account SID", Required: true, Valid: accountForm.MatchString, Help: "AC and 32 characters, of the account or subaccount that owns the number."},
			{Name: ownAddress, Title: "Own address", Valid: addressForm.MatchString,
				Help: "The number in E.164, +15017122661, or whatsapp:+15017122661; for several numbers give messaging_service_sid instead."},
			{Name: serviceSID, Title: "Messaging Service SID", Valid: serviceForm.MatchString, Help: "MG and 32 characters; required unless to is given. Where both are given, both are compared."},
			{Name: apiKeySID, Title: "API key SID", Valid: keyForm.MatchString, Help: "SK and 32 characters, of the key whose secret is api_key_secret; without it the auth token sends. To change it later: suspend, set it, rotate api_key_secret, resume."},
		},
		Secrets: []channel.SecretField{
			{Name: authToken, Title: "Auth token", Class: taxonomy.ChannelVerify, Required: true, Form: credential.Token},
			{Name: apiKeySecret, Title: "API key secret", Class: taxonomy.ChannelSend, Required: true, Unique: true, Form: credential.Token, MaxBytes: 1024,
				Help: "The secret of an API key made for this install. Without api_key_sid the auth token takes its place."},
		},
		VerifySecret: authToken, SendSecret: apiKeySecret, Stands: stands,
		Identity: [][]string{{accountSID}, {ownAddress, serviceSID}}, Anonymous: true, Tenant: tenant,
		Scheme: profile.Scheme, Adapter: Adapter{}, RetryHorizon: retryHorizon, NeedsPublicURL: true, Setup: setup,
		// Anything else than TwiML is an error at Twilio (12300); an empty one answers nothing
		// (www.twilio.com/docs/messaging/twiml, read 2026-11).
		Ack:     channel.Ack{ContentType: "text/xml", Body: `<?xml version="1.0" encoding="UTF-8"?><Response/>`},
		APIBase: apiBase, Hosts: []string{apiHost}, MediaHosts: []string{fileHost, oldHost},
	}
}

// tenant is the address; a service without one has several.
func tenant(c webhook.Config) (app, tenant string) {
	if own := c.Get(ownAddress); own != "" {
		return c.Get(accountSID), "N:" + own
	}
	return c.Get(accountSID), "S:" + c.Get(serviceSID)
}

// stands: without an API key the account's auth token is what sends.
func stands(c webhook.Config, given map[string]secret.Text) map[string]secret.Text {
	token, ok := given[authToken]
	if !ok || c.Get(apiKeySID) != "" {
		return nil
	}
	return map[string]secret.Text{apiKeySecret: token}
}

// Adapter is stateless.
type Adapter struct{}
