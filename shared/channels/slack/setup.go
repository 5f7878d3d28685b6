package slack

import (
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/webhook"
)

// scopes is the least that a mention-and-direct-message agent needs. Reading a
// whole room needs channels:history or groups:history, which a person adds. The files'
// scopes are for voice notes and spoken answers. The scope commands is there before any
// command is, because a scope that comes later needs a consent of everybody once more.
func scopes() []string {
	return []string{"app_mentions:read", "chat:write", "commands", "files:read", "files:write", "im:history", "im:read", "im:write", "users:read"}
}

func botEvents() []string {
	return []string{"app_mention", "message.im", "app_uninstalled", "tokens_revoked"}
}

// setup describes the app to create. The manifest follows Slack's app manifest
// reference (docs.slack.dev, read 2026-11).
func setup(in channel.SetupInput) channel.Setup {
	return channel.Setup{
		Manifest:     manifest(in),
		CallbackURLs: []string{in.CallbackURL},
		Scopes:       scopes(),
		Steps: []string{
			"Create a Slack app from the manifest; Slack cannot check the request URL yet, so skip that check.",
			"Copy the app ID and the signing secret from Basic Information, install the app to the workspace, copy the bot token.",
			"Save app_id, team_id (or enterprise_id), signing_secret and bot_token here; the install is then verifying.",
			"In Event Subscriptions press Retry beside the request URL; Slack's signed check must pass.",
			"Add a binding that names the agent, then activate the install.",
			"For buttons under calls that wait for approval: Interactivity & Shortcuts must be on with the same request URL (the manifest says so), and policy.approvers must name members by their IDs (profile, Copy member ID).",
			"For slash commands: add each in Slash Commands with its name and the same request URL, reinstall the app, and bind it to its agent by its name (mention: \"ask\" is /ask). The answer is posted to the channel, so the bot must be in it.",
			"Invite the bot to one channel, mention it, and read the delivery here.",
		},
		Checklist:    checklist(in),
		IdentityNote: "app_id and team_id (or enterprise_id) are compared with every verified event.",
	}
}

func manifest(in channel.SetupInput) map[string]any {
	return map[string]any{
		"display_information": map[string]any{"name": in.AppName},
		"features": map[string]any{
			"bot_user": map[string]any{"display_name": in.AppName, "always_online": true},
			"app_home": map[string]any{"home_tab_enabled": false, "messages_tab_enabled": true, "messages_tab_read_only_enabled": false},
		},
		"oauth_config": map[string]any{"scopes": map[string]any{"bot": scopes()}},
		"settings": map[string]any{
			"event_subscriptions":    map[string]any{"request_url": in.CallbackURL, "bot_events": botEvents()},
			"interactivity":          map[string]any{"is_enabled": true, "request_url": in.CallbackURL},
			"org_deploy_enabled":     false,
			"socket_mode_enabled":    false,
			"token_rotation_enabled": false,
		},
	}
}

// checklist says what can be told from our own records; the rest is Manual.
func checklist(in channel.SetupInput) []channel.Check {
	known := in.Config.Get(appID) != "" && (in.Config.Get(teamID) != "" || in.Config.Get(enterpriseID) != "")
	return []channel.Check{
		{ID: "inventory", Title: "The old integration and its URL are written down for rollback", Result: channel.Manual},
		{ID: "secrets", Title: "Signing secret and bot token are stored", Result: in.Stored(signingSecret, botToken)},
		{ID: "identity", Title: "App and workspace (or organisation) are named", Result: channel.Told(known)},
		{ID: "scopes", Title: "The granted scopes are the requested ones", Result: channel.Manual},
		{ID: "handshake", Title: "Slack's signed URL check was answered", Result: in.Saw(webhook.Handshake)},
		{ID: "tampered", Title: "A tampered request was refused", Result: in.Saw(webhook.SigMismatch)},
		{ID: "tenant", Title: "No event named another workspace", Result: in.OneTenant()},
		{ID: "bot_user", Title: "The bot's own user is known, so it never answers itself", Result: channel.Told(in.Config.Get(botUserID) != "")},
		{ID: "binding", Title: "At least one binding names an agent", Result: channel.Told(in.Bindings > 0)},
		{ID: "active", Title: "The install is active", Result: channel.Told(in.State == "active")},
		{ID: "event", Title: "A signed event was accepted and queued", Result: in.Saw(webhook.Accepted)},
		{ID: "canary", Title: "One channel ran for 24 hours or 50 turns without errors or duplicates", Result: channel.Manual},
		{ID: "rotation", Title: "A rotation of the signing secret was rehearsed", Result: channel.Manual},
		{ID: "sign_off", Title: "The owner signed off", Result: channel.Manual},
	}
}
