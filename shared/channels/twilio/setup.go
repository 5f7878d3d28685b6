package twilio

import (
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/webhook"
)

func setup(in channel.SetupInput) channel.Setup {
	return channel.Setup{
		CallbackURLs: []string{in.CallbackURL},
		Scopes:       []string{},
		Steps: []string{
			"In the Twilio console make an API key (Account, API keys) for this install. Save auth_token (the primary one), api_key_secret, account_sid, api_key_sid and to (the number, whatsapp:+… for a WhatsApp sender) or messaging_service_sid here.",
			"Save public_url, the webhook URL exactly as you will type it at Twilio but without its fragment: Twilio signs it, so a slash, a port or a query more is a signature that does not match. The install is then verifying.",
			"Write down the webhook URL that is set now for rollback. Then set, for the number, the WhatsApp sender or the Messaging Service, A message comes in to Webhook, HTTP POST, and the callback URL followed by #rc=3&rp=5xx,ct,rt: without it Twilio does not repeat a request that we could not take.",
			"Switch on HTTP authentication for media (Messaging, Settings, General): recordings are fetched from there only. Leave the status callback URL empty, or name this one; it starts no turn.",
			"Add a binding that names the agent, then activate the install. Write to the number, and read the delivery here.",
		},
		Checklist:    checklist(in),
		IdentityNote: "account_sid, and to or messaging_service_sid (both where both are set), are compared with every verified request.",
	}
}

// checklist says what can be told from our own records; the rest is Manual.
func checklist(in channel.SetupInput) []channel.Check {
	url, hint := in.SignedURL()
	title := "Requests are signed for public_url"
	if hint != "" {
		title += ": the URL at Twilio differs (" + hint + ")"
	}
	named := in.Config.Get(accountSID) != "" && in.Config.Get(ownAddress)+in.Config.Get(serviceSID) != ""
	return []channel.Check{
		{ID: "inventory", Title: "The old webhook URL is written down for rollback", Result: channel.Manual},
		{ID: "secrets", Title: "Auth token and API key secret are stored", Result: in.Stored(authToken, apiKeySecret)},
		{ID: "identity", Title: "The account and its number or service are named", Result: channel.Told(named)},
		{ID: "api_key", Title: "An API key sends, not the account's auth token", Result: channel.Told(in.Config.Get(apiKeySID) != "")},
		{ID: "url", Title: title, Result: url},
		{ID: "tampered", Title: "A tampered request was refused", Result: in.Saw(webhook.SigMismatch)},
		{ID: "tenant", Title: "No request named another account or number", Result: in.OneTenant()},
		{ID: "binding", Title: "At least one binding names an agent", Result: channel.Told(in.Bindings > 0)},
		{ID: "active", Title: "The install is active", Result: channel.Told(in.State == "active")},
		{ID: "event", Title: "A signed message was accepted and queued", Result: in.Saw(webhook.Accepted)},
		{ID: "retries", Title: "The URL at Twilio ends with #rc=3&rp=5xx,ct,rt", Result: channel.Manual},
		{ID: "media_auth", Title: "HTTP authentication for media is on", Result: channel.Manual},
		{ID: "canary", Title: "The number ran for 24 hours or 50 turns without errors or duplicates", Result: channel.Manual},
		{ID: "rotation", Title: "A change of the auth token, by the secondary one, was rehearsed", Result: channel.Manual},
		{ID: "sign_off", Title: "The owner signed off", Result: channel.Manual},
	}
}
