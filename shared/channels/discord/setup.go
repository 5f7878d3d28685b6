package discord

import (
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/webhook"
)

// setup describes the app to make. The manifest is the list of commands that is put
// at applications/{application_id}/guilds/{guild_id}/commands.
func setup(in channel.SetupInput) channel.Setup {
	option := func(kind int, name, description string, required bool) map[string]any {
		return map[string]any{"type": kind, "name": name, "description": description, "required": required}
	}
	return channel.Setup{
		Manifest: map[string]any{"commands": []any{map[string]any{"type": slashCommand, "name": "ask", "description": "Ask the assistant",
			"options": []any{option(textOption, mainOption, "What you want to say", false), option(fileOption, "recording", "A recording in place of text", false)}}}},
		CallbackURLs: []string{in.CallbackURL},
		Scopes:       []string{"applications.commands", "bot"},
		Steps: []string{
			"Make an application in Discord's developer portal; under Installation allow guild install only, with the scopes applications.commands and bot and the permissions Send Messages, Send Messages in Threads and, for spoken answers, Attach Files.",
			"Save application_id and public_keys (General Information), guild_id (the server's ID) and bot_token (Bot) here; the install is then verifying.",
			"Write down the Interactions Endpoint URL that is set now for rollback, then set the callback URL. Discord saves it only if a PING is answered and a wrong signature refused.",
			"Add the app to the server. Register the commands for this server only: PUT https://discord.com/api/v10/applications/{application_id}/guilds/{guild_id}/commands with the header Authorization: Bot and the manifest's list as body. Commands that are registered for all servers are refused here in direct messages and in other servers.",
			"Add a binding that names the agent; with mention it answers one command, \"ask\", or one sub-command, \"agent-sales\". Then activate the install, use the command, and read the delivery here.",
			"The app hears its commands only, not what else is said in a channel: that would need Discord's gateway, which is not used.",
		},
		Checklist:    checklist(in),
		IdentityNote: "application_id and guild_id, the server, are compared with every verified command.",
	}
}

// checklist says what can be told from our own records; the rest is Manual.
func checklist(in channel.SetupInput) []channel.Check {
	return []channel.Check{
		{ID: "inventory", Title: "The old Interactions Endpoint URL is written down for rollback", Result: channel.Manual},
		{ID: "secrets", Title: "The bot token is stored", Result: in.Stored(botToken)},
		{ID: "keys", Title: "The application's public key is stored", Result: channel.Told(len(in.Config[webhook.KeysSetting]) > 0)},
		{ID: "identity", Title: "Application and server are named", Result: channel.Told(in.Config.Get(applicationID) != "" && in.Config.Get(guildID) != "")},
		{ID: "ping", Title: "Discord's PING was answered", Result: in.Saw(webhook.Handshake)},
		{ID: "tampered", Title: "A wrong signature was refused", Result: in.Saw(webhook.SigMismatch)},
		{ID: "commands", Title: "The commands are registered for this server", Result: channel.Manual},
		{ID: "tenant", Title: "No request named another application or server", Result: in.OneTenant()},
		{ID: "binding", Title: "At least one binding names an agent", Result: channel.Told(in.Bindings > 0)},
		{ID: "active", Title: "The install is active", Result: channel.Told(in.State == "active")},
		{ID: "event", Title: "A signed command was accepted and queued", Result: in.Saw(webhook.Accepted)},
		{ID: "canary", Title: "One channel ran for 24 hours or 50 turns without errors or duplicates", Result: channel.Manual},
		{ID: "sign_off", Title: "The owner signed off", Result: channel.Manual},
	}
}
