// Package telegram connects Telegram bots: updates in, sendMessage out.
//
// Telegram signs nothing. A request proves itself by the secret token that
// setWebhook was given (core.telegram.org/bots/api#setwebhook, read 2026-11), so
// the body is as good as TLS and that token, and nothing in an update names the
// bot: identity is the install's own address. Updates are repeated until they
// are acknowledged; update_id tells repetitions.
//
// The bot's token is part of every URL that is called, so URLs are never shown.
// Bots see other bots' messages in groups; these and the bot's own start no turn.
// A bot that is removed from a chat or blocked by a person stays installed, because
// Telegram tells of one chat only; the removal is recorded.
//
// An app of the platform is one bot for many organisations: each of its chats is a
// tenant, claimed by a state that somebody says there (/start and the state, as
// Telegram's own links do). Updates name the chat, so it is compared with every one of
// them. Removing the bot from a claimed chat, or blocking it, ends the claim; so does
// turning a group into a supergroup, which has another id and is claimed anew.
package telegram

import (
	"regexp"
	"strings"
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
	botID       = "bot_id"
	botUsername = "bot_username"
	secretToken = "secret_token"
	botToken    = "bot_token"
	// chatID names the tenant of an app of the platform.
	chatID = "chat_id"
)

// The Bot API (core.telegram.org/bots/api, "Making requests", read 2026-11).
const (
	apiHost = "api.telegram.org"
	apiBase = "https://" + apiHost
)

// retryHorizon is how long Telegram keeps updates (core.telegram.org/bots/api,
// "Getting updates", read 2026-11: 24 hours), and a margin.
const retryHorizon = 48 * time.Hour

// overlap is short: the old token is of no use from the next setWebhook on.
const overlap = time.Hour

// Forms of Telegram's values (core.telegram.org/bots/api#authorizing-your-bot and
// #setwebhook, read 2026-11).
var (
	botIDForm    = regexp.MustCompile(`^[1-9][0-9]{3,18}$`)
	usernameForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{3,31}$`)
)

// Entry describes Telegram to the catalog.
func Entry() channel.Entry {
	profile, _ := profiles.Find(taxonomy.ProfileTelegram)
	return channel.Entry{
		ID: taxonomy.Telegram, Title: "Telegram", Methods: profile.Methods,
		Config: []channel.ConfigField{
			{Name: botID, Title: "Bot ID", Required: true, Valid: botIDForm.MatchString, Help: "The digits before the colon of the bot token; filled in from it."},
			{Name: botUsername, Title: "Bot username", Valid: usernameForm.MatchString, Help: "Without @. Mentions in groups are recognised by it."},
		},
		Secrets: []channel.SecretField{
			{Name: secretToken, Title: "Secret token of the webhook", Class: taxonomy.ChannelVerify, Required: true, MaxBytes: 256,
				Form: credential.Token, Overlap: overlap, Help: "A random text of your own, at most 256 characters of A-Z, a-z, 0-9, _ and -; 48 are a good length."},
			{Name: botToken, Title: "Bot token", Class: taxonomy.ChannelSend, Required: true, Unique: true, Hint: credential.Last4, Form: credential.Token},
		},
		VerifySecret: secretToken, SendSecret: botToken,
		Told: told, Tenant: func(c webhook.Config) (app, tenant string) { return c.Get(botID), "B:" + c.Get(botID) },
		Scheme: profile.Scheme, Adapter: Adapter{}, RetryHorizon: retryHorizon, Setup: setup,
		APIBase: apiBase, Hosts: []string{apiHost}, MediaHosts: []string{apiHost},
		Shared: shared(),
	}
}

// told reads the bot's ID from its token.
func told(secrets map[string]secret.Text) webhook.Config {
	out := webhook.Config{}
	_ = secrets[botToken].Use(func(b []byte) error {
		if id, _, ok := strings.Cut(string(b), ":"); ok && botIDForm.MatchString(id) {
			out[botID] = []string{id}
		}
		return nil
	})
	return out
}

// Adapter is stateless.
type Adapter struct{}
