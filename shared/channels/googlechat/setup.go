package googlechat

import (
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/webhook"
)

func setup(in channel.SetupInput) channel.Setup {
	return channel.Setup{
		CallbackURLs: []string{in.CallbackURL},
		Scopes:       []string{scope},
		Steps: []string{
			"In a Google Cloud project of its own switch on the Google Chat API. Write down the project's number.",
			"Make a service account in the project, without any role, and a JSON key for it; save the file here as service_account_json.",
			"Save audience here: the project's number (audience_mode project_number, preferred: only this project's app gets such tokens), or the callback URL (url: every Chat app that somebody sets to that URL is heard, so save customer, too). The install is then verifying.",
			"On the Chat API's configuration page clear \"Build this Chat app as a Google Workspace add-on\", name the app, switch on interactive features for 1:1 messages and spaces, and write down the endpoint URL that is set now for rollback.",
			"Set HTTP endpoint URL to the callback URL and Authentication Audience to what you saved; choose who may use the app.",
			"Add a binding that names the agent, then activate the install. Write to the app in Google Chat, and read the delivery here.",
		},
		Checklist:    checklist(in),
		IdentityNote: "audience is compared with the token of every request, customer, if set, with the owner of the space. The token does not cover the body; with the callback URL as audience it does not prove which app was called.",
	}
}

// checklist says what can be told from our own records; the rest is Manual.
func checklist(in channel.SetupInput) []channel.Check {
	return []channel.Check{
		{ID: "inventory", Title: "The old endpoint URL is written down for rollback", Result: channel.Manual},
		{ID: "secrets", Title: "The service account's key is stored", Result: in.Stored(accountJSON)},
		{ID: "identity", Title: "The audience is named", Result: channel.Told(in.Config.Get(audience) != "")},
		{ID: "tampered", Title: "A token for somebody else was refused", Result: in.Saw(webhook.ClaimRefused)},
		{ID: "tenant", Title: "No request named another customer", Result: in.OneTenant()},
		{ID: "binding", Title: "At least one binding names an agent", Result: channel.Told(in.Bindings > 0)},
		{ID: "active", Title: "The install is active", Result: channel.Told(in.State == "active")},
		{ID: "event", Title: "A message was accepted and queued", Result: in.Saw(webhook.Accepted)},
		{ID: "canary", Title: "One space ran for 24 hours or 50 turns without errors or duplicates", Result: channel.Manual},
		{ID: "rotation", Title: "A change of the service account's key was rehearsed", Result: channel.Manual},
		{ID: "sign_off", Title: "The owner signed off", Result: channel.Manual},
	}
}
