package telegram

import (
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/webhook"
)

// updates are the kinds asked for; the rest would only cost requests
// (core.telegram.org/bots/api#setwebhook, allowed_updates, read 2026-11).
func updates() []string {
	return []string{"message", "edited_message", "callback_query", "my_chat_member"}
}

// setup describes the bot to make. The manifest is the body of setWebhook; the
// secret token is added by who has it.
func setup(in channel.SetupInput) channel.Setup {
	return channel.Setup{
		Manifest: map[string]any{"url": in.CallbackURL, "allowed_updates": updates(), "max_connections": 40,
			"secret_token": "the secret_token saved here"},
		CallbackURLs: []string{in.CallbackURL},
		Scopes:       []string{},
		Steps: []string{
			"Make a bot with BotFather (/newbot) and copy its token. For rooms, decide about /setprivacy: with privacy on, a bot sees commands, mentions and replies only.",
			"Save bot_token, bot_username and a secret_token of your own (48 random characters of A-Z, a-z, 0-9, _ and -) here; the install is then verifying.",
			"Call getWebhookInfo with the bot's token. If it names another URL, another system uses this bot: write that URL down for rollback.",
			"Add a binding that names the agent, then activate the install.",
			"Call setWebhook with the values of the manifest and the same secret_token; for a first start add drop_pending_updates.",
			"For buttons under calls that wait for approval: allowed_updates must hold callback_query, as the manifest does (a webhook that was set earlier is set again), and policy.approvers must name people by their numeric user IDs.",
			"Call getWebhookInfo again: it must name the callback URL and no error. Send the bot a message, and read the delivery here.",
		},
		Checklist:    checklist(in),
		IdentityNote: "Telegram's updates do not name the bot: nothing is compared after verification. The callback URL and the secret token are the install's alone, and the body is not signed.",
	}
}

// checklist says what can be told from our own records; the rest is Manual.
func checklist(in channel.SetupInput) []channel.Check {
	return []channel.Check{
		{ID: "inventory", Title: "The old webhook URL (getWebhookInfo) is written down for rollback", Result: channel.Manual},
		{ID: "secrets", Title: "Secret token and bot token are stored", Result: in.Stored(secretToken, botToken)},
		{ID: "identity", Title: "The bot is named", Result: channel.Told(in.Config.Get(botID) != "")},
		{ID: "username", Title: "The bot's username is known, so mentions in groups are seen", Result: channel.Told(in.Config.Get(botUsername) != "")},
		{ID: "tampered", Title: "A request with a wrong secret token was refused", Result: in.Saw(webhook.SigMismatch)},
		{ID: "binding", Title: "At least one binding names an agent", Result: channel.Told(in.Bindings > 0)},
		{ID: "active", Title: "The install is active", Result: channel.Told(in.State == "active")},
		{ID: "event", Title: "An update was accepted and queued", Result: in.Saw(webhook.Accepted)},
		{ID: "webhook_info", Title: "getWebhookInfo names the callback URL and no error", Result: channel.Manual},
		{ID: "canary", Title: "One chat ran for 24 hours or 50 turns without errors or duplicates", Result: channel.Manual},
		{ID: "rotation", Title: "A rotation of the secret token was rehearsed (rotate here, setWebhook, rotate/finish)", Result: channel.Manual},
		{ID: "sign_off", Title: "The owner signed off", Result: channel.Manual},
	}
}
