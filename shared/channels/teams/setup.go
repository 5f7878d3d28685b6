package teams

import (
	"cmp"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Lengths of names in a manifest (msteams-docs, resources/schema/manifest-schema.md,
// read 2026-11).
const (
	maxDeveloper = 32
	maxShort     = 30
	maxFull      = 100
)

// manifest is the app's for Teams, version 1.21 (the same page, and
// developer.microsoft.com/json-schemas/teams/v1.21/MicrosoftTeams.schema.json as quoted in
// techcommunity.microsoft.com/discussions/teamsdeveloper/maximum--of-scopes-in-manifest-1-21/4420240,
// read 2026-11). Addresses and pictures are the organisation's; the two names must differ.
func manifest(in channel.SetupInput) map[string]any {
	app, name := cmp.Or(in.Config.Get(appID), "APPLICATION_ID"), []rune(cmp.Or(in.AppName, "Assistant"))
	cut := func(n int) string { return string(name[:min(n, len(name))]) }
	const full = " for Microsoft Teams"
	return map[string]any{
		"$schema": "https://developer.microsoft.com/json-schemas/teams/v1.21/MicrosoftTeams.schema.json", "manifestVersion": "1.21", "version": "1.0.0", "id": app,
		"developer": map[string]any{"name": cut(maxDeveloper), "websiteUrl": "https://YOUR-SITE", "privacyUrl": "https://YOUR-SITE/privacy", "termsOfUseUrl": "https://YOUR-SITE/terms"},
		"name":      map[string]any{"short": cut(maxShort), "full": cut(maxFull-len(full)) + full},
		"description": map[string]any{"short": "Ask the assistant",
			"full": "An assistant that answers in a chat of your own, and in group chats and channels where it is mentioned."},
		"icons": map[string]any{"color": "color.png", "outline": "outline.png"}, "accentColor": "#4464EE",
		"bots": []any{map[string]any{"botId": app, "scopes": []any{"personal", "team", "groupChat"}, "supportsFiles": false, "isNotificationOnly": false}},
	}
}

func setup(in channel.SetupInput) channel.Setup {
	return channel.Setup{
		Manifest:     manifest(in),
		CallbackURLs: []string{in.CallbackURL},
		Scopes:       []string{scope},
		Steps: []string{
			"In Microsoft Entra register an app for accounts in this directory only (single tenant). Write down its application (client) ID and the directory (tenant) ID; under Certificates & secrets make a client secret and note its value and the day it ends.",
			"Save app_id, tenant_id and client_secret here; the install is then verifying.",
			"In Azure make an Azure Bot of type Single Tenant with this existing app. If there is a bot already, write down its messaging endpoint for rollback.",
			"Under Configuration set the messaging endpoint to the callback URL; under Channels add Microsoft Teams (commercial or GCC) and no other channel.",
			"Fill in your own addresses in the manifest, put it as manifest.json into a zip file with color.png (192 by 192) and outline.png (32 by 32), and upload it in Teams (Apps, Manage your apps) or in the Teams admin center, where an admin allows it.",
			"Add a binding that names the agent, then activate the install. Write to the app in a chat of your own or mention it in a channel, and read the delivery here.",
			"In group chats and channels the app hears what mentions it only. Before the client secret ends make a second one and rotate it here.",
		},
		Checklist:    checklist(in),
		IdentityNote: "app_id is compared with the token of every request, tenant_id with the tenant that the activity names. The token does not cover the body.",
	}
}

// checklist says what can be told from our own records; the rest is Manual.
func checklist(in channel.SetupInput) []channel.Check {
	return []channel.Check{
		{ID: "inventory", Title: "The old messaging endpoint is written down for rollback", Result: channel.Manual},
		{ID: "secrets", Title: "The client secret is stored", Result: in.Stored(clientSecret)},
		{ID: "identity", Title: "App and tenant are named", Result: channel.Told(in.Config.Get(appID) != "" && in.Config.Get(tenantID) != "")},
		{ID: "channels", Title: "The bot is open to Microsoft Teams only", Result: channel.Manual},
		{ID: "tampered", Title: "A token for somebody else was refused", Result: in.Saw(webhook.ClaimRefused)},
		{ID: "tenant", Title: "No request named another tenant", Result: in.OneTenant()},
		{ID: "binding", Title: "At least one binding names an agent", Result: channel.Told(in.Bindings > 0)},
		{ID: "active", Title: "The install is active", Result: channel.Told(in.State == "active")},
		{ID: "event", Title: "A message was accepted and queued", Result: in.Saw(webhook.Accepted)},
		{ID: "canary", Title: "One chat ran for 24 hours or 50 turns without errors or duplicates", Result: channel.Manual},
		{ID: "rotation", Title: "A change of the client secret was rehearsed", Result: channel.Manual},
		{ID: "sign_off", Title: "The owner signed off", Result: channel.Manual},
	}
}
