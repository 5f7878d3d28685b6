package whatsapp

import (
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/webhook"
)

// scopes are those of the system user's token.
func scopes() []string {
	return []string{"whatsapp_business_messaging", "whatsapp_business_management"}
}

func setup(in channel.SetupInput) channel.Setup {
	return channel.Setup{
		CallbackURLs: []string{in.CallbackURL},
		Scopes:       scopes(),
		Steps: []string{
			"Make a Meta app of type Business with the product WhatsApp, and a system user with access to the app and the WhatsApp Business Account.",
			"Save phone_number_id, waba_id, app_secret (App settings, Basic), access_token of the system user, and a verify_token of your own here; the install is then verifying.",
			"In WhatsApp, Configuration, save the callback URL with the same verify_token; Meta's check must pass. Subscribe to the field messages (and account_update).",
			"An app with several numbers sends all of them to one URL. Give each number its own with override_callback_uri, or Meta's requests for the others are refused here.",
			"POST /{waba_id}/subscribed_apps with the access token, so that the account's messages come to this app.",
			"Add a binding that names the agent, then activate the install. Write to the number, and read the delivery here.",
		},
		Checklist:    checklist(in),
		IdentityNote: "phone_number_id and waba_id are compared with every verified notification.",
	}
}

// checklist says what can be told from our own records; the rest is Manual.
func checklist(in channel.SetupInput) []channel.Check {
	return []channel.Check{
		{ID: "inventory", Title: "The old callback URL is written down for rollback", Result: channel.Manual},
		{ID: "secrets", Title: "App secret, verify token and access token are stored", Result: in.Stored(appSecret, verifyToken, accessToken)},
		{ID: "identity", Title: "Number and account are named", Result: channel.Told(in.Config.Get(phoneNumberID) != "" && in.Config.Get(wabaID) != "")},
		{ID: "scopes", Title: "The token has the requested permissions", Result: channel.Manual},
		{ID: "handshake", Title: "Meta's check of the URL was answered", Result: in.Saw(webhook.Handshake)},
		{ID: "tampered", Title: "A tampered request was refused", Result: in.Saw(webhook.SigMismatch)},
		{ID: "tenant", Title: "No notification named another number or account", Result: in.OneTenant()},
		{ID: "binding", Title: "At least one binding names an agent", Result: channel.Told(in.Bindings > 0)},
		{ID: "active", Title: "The install is active", Result: channel.Told(in.State == "active")},
		{ID: "event", Title: "A signed message was accepted and queued", Result: in.Saw(webhook.Accepted)},
		{ID: "canary", Title: "One number ran for 24 hours or 50 turns without errors or duplicates", Result: channel.Manual},
		{ID: "rotation", Title: "A reset of the app secret was rehearsed", Result: channel.Manual},
		{ID: "sign_off", Title: "The owner signed off", Result: channel.Manual},
	}
}
