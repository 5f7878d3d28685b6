// Package line connects LINE Official Accounts over the Messaging API: events in,
// messages out.
//
// LINE signs the body with the channel's secret (HMAC-SHA256, base64) and states no
// time of signing, so repetitions are told by the events' ids; it sends an event
// again only where that is switched on. One request holds the events of one bot,
// which destination names. A request without events is the console's check of the
// URL.
//
// An answer uses the event's reply token, which works once, for about a minute, and
// costs the account nothing; the later messages of an answer, and one that comes too
// late, are pushed, which counts towards the account's monthly messages. A push
// carries a retry key, so that LINE itself takes no message twice.
//
// LINE tells of no edits, and not who is a machine. One that is blocked by a person or
// removed from a group stays installed, because LINE tells of one chat only; that is
// recorded. LINE takes spoken answers only as addresses of files, so answers are
// text.
package line

import (
	"regexp"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/profiles"
)

// Names of settings and secrets.
const (
	destination   = "destination"
	channelSecret = "channel_secret"
	accessToken   = "channel_access_token"
)

// The Messaging API (developers.line.biz/en/reference/messaging-api, "Domain name",
// read 2026-11): what people send lies at a host of its own.
const (
	apiHost  = "api.line.me"
	apiBase  = "https://" + apiHost
	dataHost = "api-data.line.me"
	dataBase = "https://" + dataHost
)

// retryHorizon is above the time for which LINE may send an event again, which it
// does not state (developers.line.biz/en/docs/messaging-api/receiving-messages,
// "Redeliver a webhook that failed to be received", read 2026-11).
const retryHorizon = 8 * 24 * time.Hour

// overlap is short: the console's new secret signs at once.
const overlap = time.Hour

// Forms of LINE's ids (github.com/line/line-openapi, webhook.yml, read 2026-11): of
// bots and people, groups, and rooms.
var (
	botForm   = regexp.MustCompile(`^U[0-9a-f]{32}$`)
	spaceForm = regexp.MustCompile(`^[UCR][0-9a-f]{32}$`)
)

// Entry describes LINE to the catalog.
func Entry() channel.Entry {
	profile, _ := profiles.Find(taxonomy.ProfileLINE)
	return channel.Entry{
		ID: taxonomy.LINE, Title: "LINE", Methods: profile.Methods,
		Config: []channel.ConfigField{
			{Name: destination, Title: "The bot's user ID", Required: true, Valid: botForm.MatchString,
				Help: "U and 32 characters: GET /v2/bot/info with the channel access token names it as userId. Not \"Your user ID\" of the console, which is a developer's."},
		},
		Secrets: []channel.SecretField{
			{Name: channelSecret, Title: "Channel secret", Class: taxonomy.ChannelVerify, Required: true, Form: credential.Token, Overlap: overlap},
			{Name: accessToken, Title: "Channel access token (long-lived)", Class: taxonomy.ChannelSend, Required: true, Unique: true, Hint: credential.Last4,
				Form: credential.Token, MaxBytes: 1024},
		},
		VerifySecret: channelSecret, SendSecret: accessToken,
		Identity: [][]string{{destination}}, Anonymous: true,
		Tenant: func(c webhook.Config) (app, tenant string) { return "line", "D:" + c.Get(destination) },
		Scheme: profile.Scheme, Adapter: Adapter{}, RetryHorizon: retryHorizon, Setup: setup,
		APIBase: apiBase, Hosts: []string{apiHost}, DataBase: dataBase, MediaHosts: []string{dataHost},
	}
}

// Adapter is stateless.
type Adapter struct{}
