package line

import (
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/webhook"
)

func setup(in channel.SetupInput) channel.Setup {
	return channel.Setup{
		CallbackURLs: []string{in.CallbackURL},
		Scopes:       []string{},
		Steps: []string{
			"Make an Official Account and switch on the Messaging API for it; open its channel in the LINE Developers console.",
			"Save channel_secret (Basic settings), a long-lived channel_access_token (Messaging API) and destination (userId of GET /v2/bot/info with that token; not \"Your user ID\" of the console, which is a developer's) here; the install is then verifying.",
			"Write down the webhook URL that is set now for rollback, then set the callback URL, press Verify, and switch on Use webhook and Webhook redelivery.",
			"In the Official Account Manager switch off auto-reply and greeting messages, or people get two answers. To use the bot in groups, allow it to join them.",
			"Add a binding that names the agent, then activate the install. Write to the account, and read the delivery here.",
		},
		Checklist:    checklist(in),
		IdentityNote: "destination, the bot's user ID, is compared with every verified event; the console's Verify names it and is answered whatever it names.",
	}
}

// checklist says what can be told from our own records; the rest is Manual.
func checklist(in channel.SetupInput) []channel.Check {
	return []channel.Check{
		{ID: "inventory", Title: "The old webhook URL is written down for rollback", Result: channel.Manual},
		{ID: "secrets", Title: "Channel secret and channel access token are stored", Result: in.Stored(channelSecret, accessToken)},
		{ID: "identity", Title: "The bot is named", Result: channel.Told(in.Config.Get(destination) != "")},
		{ID: "verify", Title: "The console's Verify was answered", Result: in.Saw(webhook.Handshake)},
		{ID: "tampered", Title: "A tampered request was refused", Result: in.Saw(webhook.SigMismatch)},
		{ID: "tenant", Title: "No request named another bot", Result: in.OneTenant()},
		{ID: "binding", Title: "At least one binding names an agent", Result: channel.Told(in.Bindings > 0)},
		{ID: "active", Title: "The install is active", Result: channel.Told(in.State == "active")},
		{ID: "event", Title: "A signed message was accepted and queued", Result: in.Saw(webhook.Accepted)},
		{ID: "auto_reply", Title: "Auto-reply and greeting messages are off", Result: channel.Manual},
		{ID: "canary", Title: "The account ran for 24 hours or 50 turns without errors or duplicates", Result: channel.Manual},
		{ID: "rotation", Title: "A reissue of the channel secret was rehearsed", Result: channel.Manual},
		{ID: "sign_off", Title: "The owner signed off", Result: channel.Manual},
	}
}
