// Package googlechat connects Google Chat apps over HTTP: interaction events in,
// messages out.
//
// Google sends a token with every request, which proves Google Chat, but not the body.
// It is signed by Google's account for Chat with the app's project number as audience,
// which proves the app as well; or by Google's accounts with the callback URL as
// audience: then its e-mail address tells Chat from everybody else, and any app may
// have been set to that URL. The
// audience is compared with the install's during verification and again afterwards,
// as is the customer that owns the space, where the install names one. Repetitions
// are told by the names of messages.
//
// An app is told of what is said to it: messages in direct conversations, messages
// that mention it, and slash commands. Answers go to the message's thread where the
// space has threads. The service account's key is traded for a token that sends.
// Every message has a name made of turn and part, so that Google itself takes none
// twice; an answer may grow by edits.
//
// Events in the form of Google Workspace add-ons are refused: their tokens are
// another account's. Clicks on cards, commands without a message and link previews
// start nothing. Google tells of no edits and deletions, and not of an app's own
// messages; there is no sign that an answer is being made. An app that is removed
// from a space stays installed; that is recorded. Recordings that people upload are
// heard, those in Drive are not; answers are text.
package googlechat

import (
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/keyset"
	"github.com/latchkey/latchkey/shared/webhook/profiles"
)

// Names of settings and secrets.
const (
	audience     = "audience"
	audienceMode = "audience_mode"
	customer     = "customer"
	accountJSON  = "service_account_json"
)

// Kinds of audience.
const (
	modeURL     = "url"
	modeProject = "project_number"
)

// Google's interfaces: messages (developers.google.com/workspace/chat/api/reference/rest),
// tokens (developers.google.com/identity/protocols/oauth2/service-account, "HTTP/REST")
// and keys (developers.google.com/workspace/chat/verify-requests-from-chat; those of
// accounts are the jwks_uri of accounts.google.com/.well-known/openid-configuration);
// all read 2026-11.
const (
	apiHost   = "chat.googleapis.com"
	apiBase   = "https://" + apiHost + "/v1"
	tokenHost = "oauth2.googleapis.com"
	keysHost  = "www.googleapis.com"
	keysOfURL = "/oauth2/v3/certs"
	keysOfApp = "/service_accounts/v1/metadata/x509/chat@system.gserviceaccount.com"
)

// retryHorizon is ours: Google states no repetition of events sent over HTTP.
const retryHorizon = 24 * time.Hour

// Forms of Google's names (developers.google.com/workspace/chat/api/reference/rest/v1/spaces.messages
// and User, read 2026-11).
var (
	spaceForm    = regexp.MustCompile(`^spaces/[A-Za-z0-9_-]{1,128}$`)
	messageForm  = regexp.MustCompile(`^spaces/[A-Za-z0-9_-]{1,128}/messages/[A-Za-z0-9._=-]{1,256}$`)
	threadForm   = regexp.MustCompile(`^spaces/[A-Za-z0-9_-]{1,128}/threads/[A-Za-z0-9._=-]{1,256}$`)
	userForm     = regexp.MustCompile(`^users/[A-Za-z0-9._@=-]{1,200}$`)
	customerForm = regexp.MustCompile(`^customers/[A-Za-z0-9_-]{1,64}$`)
)

// Entry describes Google Chat to the catalog.
func Entry() channel.Entry {
	profile, _ := profiles.Find(taxonomy.ProfileGoogleChat)
	return channel.Entry{
		ID: taxonomy.GoogleChat, Title: "Google Chat", Methods: profile.Methods,
		Config: []channel.ConfigField{
			{Name: audience, Title: "Authentication audience", Required: true, Valid: validAudience,
				Help: "The callback URL, as it is set at Google, or the project's number: what the Chat API's configuration page says under Authentication Audience."},
			{Name: audienceMode, Title: "Kind of audience", Valid: func(s string) bool { return s == modeURL || s == modeProject },
				Help: "url (HTTP endpoint URL) or project_number. Without it a number is a project's."},
			{Name: customer, Title: "Customer", Valid: customerForm.MatchString,
				Help: "customers/ and the id of your Workspace account (Admin SDK, customers.get). With it only spaces of that customer are answered. Google names no customer for direct messages: they are not answered then."},
		},
		Secrets: []channel.SecretField{
			{Name: accountJSON, Title: "Service account key (JSON)", Class: taxonomy.ChannelSend, Required: true, Unique: true,
				Form: credential.Document, MaxBytes: maxAccount, Valid: func(b []byte) bool { _, ok := readAccount(b); return ok }},
		},
		SendSecret: accountJSON,
		Identity:   [][]string{{audience, customer}},
		Tenant:     tenant,
		Scheme:     profile.Scheme, Adapter: Adapter{}, RetryHorizon: retryHorizon, Setup: setup,
		Keys: &channel.PublishedKeys{Base: "https://" + keysHost, Hosts: []string{keysHost},
			Sets: []keyset.Source{
				{Name: string(taxonomy.ProfileGoogleChat) + "_" + modeURL, Path: keysOfURL},
				{Name: string(taxonomy.ProfileGoogleChat) + "_" + modeProject, Path: keysOfApp},
			},
			Decoy: webhook.Config{audience: {"https://install.invalid/"}, audienceMode: {modeURL}}},
		Exchange: &channel.Exchange{Base: "https://" + tokenHost, Hosts: []string{tokenHost}, Trade: trade},
		APIBase:  apiBase, Hosts: []string{apiHost}, MediaHosts: []string{apiHost},
		// An empty object posts nothing (developers.google.com/workspace/chat/receive-respond-interactions,
		// read 2026-11).
		Ack: channel.Ack{ContentType: "application/json", Body: "{}"},
	}
}

// tenant is the audience with the customer, if one is named: an app may serve several.
func tenant(c webhook.Config) (app, tenant string) {
	if of := c.Get(customer); of != "" {
		return "google_chat", "C:" + of + "|A:" + c.Get(audience)
	}
	return "google_chat", "A:" + c.Get(audience)
}

// maxAudience leaves room for the customer in what an install claims.
const maxAudience = 170

// validAudience accepts a project's number or a web address without a fragment.
func validAudience(s string) bool {
	if s != "" && len(s) <= 20 && strings.Trim(s, "0123456789") == "" {
		return true
	}
	u, err := url.Parse(s)
	return err == nil && len(s) <= maxAudience && u.Scheme == "https" && u.Host != "" && u.User == nil && !strings.ContainsAny(s, "# ")
}

// Adapter is stateless.
type Adapter struct{}
