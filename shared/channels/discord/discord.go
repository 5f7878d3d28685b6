// Package discord connects Discord apps over interactions: slash commands in by
// HTTP, answers out. There is no connection to the gateway, so an app hears its
// commands and nothing else that is said in a channel.
//
// Discord signs time and body with the app's Ed25519 key, whose public half is a
// setting, and asks for a body in the answer: a message that is queued is answered
// with "thinking", one of which nothing comes with a note that only who asked
// sees. It sends wrong signatures on purpose and takes an endpoint away that does
// not answer them with 401.
//
// The text of a message is the command's option of type string: the one called
// text, else the first. Every other option follows as a line "name: value"; people,
// roles and channels are named, a recording is heard. A command with sub-commands
// begins with them, as in "/ticket close"; one without options is its own name. A
// binding's mention selects the command by its name, or by the names of command and
// sub-commands with a dash between, which goes first.
//
// An answer replaces the "thinking" by the interaction's token, which works for
// fifteen minutes without any other credential; later messages of it follow the
// same way. When the token is over, the bot posts into the channel, if it may. The
// token travels in the envelope's ReplyTo only and is in no result. Nobody is
// mentioned by what a model writes, and no link of it is opened for a preview. Speech is
// an MP3 file beside its text.
//
// One install is one app in one server (guild): a command in a direct message or
// in another server is another tenant's. An app of the platform is in many servers
// with one bot, whose token the app holds; each server is added on Discord's page.
// Threads are channels. Not here: menus and forms, and buttons of somebody else's
// making (taken and ignored), commands on a person or a message,
// autocompletion, notices that the app was removed, which Discord
// sends to another address and without the server's name.
package discord

import (
	"crypto/ed25519"
	"encoding/hex"
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
	applicationID = "application_id"
	guildID       = "guild_id"
	botToken      = "bot_token"
)

// The API and where files lie (discord.com/developers/docs/reference, "API Versioning"
// and "CDN Endpoints"; docs.discord.com, read 2026-11).
const (
	apiHost   = "discord.com"
	apiBase   = "https://" + apiHost + "/api/v10"
	filesHost = "cdn.discordapp.com"
	proxyHost = "media.discordapp.net"
)

// retryHorizon is above the five minutes for which a signature is taken: Discord
// does not send an interaction again.
const retryHorizon = 24 * time.Hour

// snowflake is the form of Discord's ids (the reference, "Snowflakes", read 2026-11).
var snowflake = regexp.MustCompile(`^[1-9][0-9]{0,19}$`)

// publicKey reports whether a text is a public key.
func publicKey(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == ed25519.PublicKeySize
}

// What Discord reads in an answer (interactions/receiving-and-responding, "Interaction
// Callback Type", read 2026-11). Flag 64 shows a message to who asked only.
const (
	pong     = `{"type":1}`
	thinking = `{"type":5}`
	notHere  = `{"type":4,"data":{"content":"I can't answer that here. Ask whoever runs this app to set it up for this channel.","flags":64,"allowed_mentions":{"parse":[]}}}`
	unmoved  = `{"type":6}`
	denied   = `{"type":4,"data":{"content":"Only those who were named to approve can decide this.","flags":64,"allowed_mentions":{"parse":[]}}}`
	noChoice = `{"type":8,"data":{"choices":[]}}`
)

func answer(body string) channel.Ack { return channel.Ack{ContentType: "application/json", Body: body} }

// Entry describes Discord to the catalog.
func Entry() channel.Entry {
	profile, _ := profiles.Find(taxonomy.ProfileDiscord)
	return channel.Entry{
		ID: taxonomy.Discord, Title: "Discord", Methods: profile.Methods,
		Config: []channel.ConfigField{
			{Name: applicationID, Title: "Application ID", Required: true, Valid: snowflake.MatchString},
			{Name: guildID, Title: "Server (guild) ID", Required: true, Valid: snowflake.MatchString,
				Help: "Switch on developer mode in Discord's settings, then copy the server's ID."},
			{Name: webhook.KeysSetting, Title: "Public keys", Required: true, List: true, Rotates: true, Valid: publicKey,
				Help: "The application's public key, 64 characters of 0-9 and a-f; a second one while it is being replaced."},
		},
		Secrets: []channel.SecretField{
			{Name: botToken, Title: "Bot token", Class: taxonomy.ChannelSend, Required: true, Unique: true, Hint: credential.Last4, Form: credential.Token},
		},
		SendSecret: botToken,
		Identity:   [][]string{{applicationID}, {guildID}},
		Tenant:     func(c webhook.Config) (app, tenant string) { return c.Get(applicationID), "G:" + c.Get(guildID) },
		Scheme:     profile.Scheme, Adapter: Adapter{}, RetryHorizon: retryHorizon, Setup: setup,
		Ack: answer(notHere), Queued: answer(thinking), Only401: true,
		APIBase: apiBase, Hosts: []string{apiHost}, MediaHosts: []string{filesHost, proxyHost},
		Shared: shared(),
	}
}

// Adapter is stateless.
type Adapter struct{}
