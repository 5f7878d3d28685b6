// Package slack connects Slack apps: events and slash commands in, chat.postMessage out.
//
// Verification is one row of the webhook table (https://docs.slack.dev/authentication/verifying-requests-from-slack/,
// read 2026-11): HMAC-SHA256 over "v0:" timestamp ":" body with the signing
// secret as text, hex, tag "v0=", five minutes in both clock directions. Slack
// signs everything including url_verification, and regenerating the secret gives
// no overlap, so old and new are kept here while a rotation runs.
//
// Slack delivers one post as several events (message and app_mention), so every
// message carries a content key made of channel and timestamp. Presses of buttons and
// slash commands come to the same address as forms, signed in the same way. A command
// addresses the app and names itself, as a word behind a mention does; its answer is
// posted to the channel. Retry headers are not signed and are ignored. An app's own posts and other bots' posts start no
// turn; edits and deletions are kinds of their own.
//
// Sending is one attempt without retries. Slack documents that fatal_error and
// internal_error may have had an effect, so they count as ambiguous.
package slack

import (
	"regexp"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Names of settings and secrets.
const (
	appID         = "app_id"
	teamID        = "team_id"
	enterpriseID  = "enterprise_id"
	botUserID     = "bot_user_id"
	signingSecret = "signing_secret"
	botToken      = "bot_token"
)

// orgWide in an identity says that the app is installed for the organisation.
const orgWide = "is_enterprise_install"

// Tolerance is Slack's documented replay window, both clock directions.
const Tolerance = 5 * time.Minute

// SignatureHeader and TimeHeader carry the signature.
const (
	SignatureHeader = "X-Slack-Signature"
	TimeHeader      = "X-Slack-Request-Timestamp"
)

// retryHorizon is above the three retries within about six minutes and the
// delayed redelivery of up to a day (Events API, read 2026-11).
const retryHorizon = 24 * time.Hour

var slackID = regexp.MustCompile(`^[A-Z0-9]{2,32}$`)

// Scheme is Slack's row of the verification table.
func Scheme() webhook.HMAC {
	return webhook.HMAC{
		Profile: string(taxonomy.Slack), Header: SignatureHeader, Prefix: "v0=",
		Message:    []webhook.Part{webhook.Literal("v0:"), webhook.TimeText(), webhook.Literal(":"), webhook.RawBody()},
		TimeHeader: TimeHeader, TimeFormat: webhook.UnixSeconds, Tolerance: Tolerance,
	}
}

// Entry describes Slack to the catalog.
func Entry() channel.Entry {
	valid := slackID.MatchString
	return channel.Entry{
		ID: taxonomy.Slack, Title: "Slack", Methods: []string{"POST"},
		Config: []channel.ConfigField{
			{Name: appID, Title: "App ID", Required: true, Valid: valid},
			{Name: teamID, Title: "Workspace (team) ID", Valid: valid},
			{Name: enterpriseID, Title: "Enterprise organisation ID, for organisation-wide installs", Valid: valid},
			{Name: botUserID, Title: "Bot user ID", Valid: valid},
		},
		Secrets: []channel.SecretField{
			{Name: signingSecret, Title: "Signing secret", Class: taxonomy.ChannelVerify, Required: true},
			{Name: botToken, Title: "Bot user OAuth token", Class: taxonomy.ChannelSend, Required: true, Unique: true, Hint: credential.Last4},
		},
		VerifySecret: signingSecret, SendSecret: botToken,
		Identity: [][]string{{appID}, {teamID, enterpriseID}},
		Tenant:   tenant,
		Scheme:   Scheme(), Adapter: Adapter{}, RetryHorizon: retryHorizon, Setup: setup,
		APIBase: apiBase, Hosts: []string{apiHost}, MediaHosts: []string{filesHost},
		Shared: &channel.Shared{Settings: []string{appID}, Locate: locate, Consent: consent()},
	}
}

// The Web API (docs.slack.dev, "Using the Slack Web API", read 2026-11).
const (
	apiHost = "slack.com"
	apiBase = "https://" + apiHost + "/api"
	// filesHost is where files lie and go (the same, "Working with files").
	filesHost = "files.slack.com"
)

// tenant is the workspace, or the enterprise organisation for an install that
// names no workspace.
func tenant(c webhook.Config) (app, tenant string) {
	if t := c.Get(teamID); t != "" {
		return c.Get(appID), "T:" + t
	}
	return c.Get(appID), "E:" + c.Get(enterpriseID)
}

// locate is the installation that an event was delivered for: the organisation's
// for an organisation-wide install, else the workspace's.
func locate(id channel.Identity) string {
	switch {
	case id[orgWide] == "" && id[teamID] != "":
		return "T:" + id[teamID]
	case id[orgWide] != "" && id[enterpriseID] != "":
		return "E:" + id[enterpriseID]
	}
	return ""
}

// Adapter is stateless.
type Adapter struct{}
