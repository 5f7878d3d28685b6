package meta

import (
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Checklist says what can be told from our own records; the rest is Manual. names are
// the settings that say whose messages come, in the words of title.
func Checklist(in channel.SetupInput, title string, names ...string) []channel.Check {
	named := true
	for _, n := range names {
		named = named && in.Config.Get(n) != ""
	}
	return []channel.Check{
		{ID: "inventory", Title: "The old callback URL is written down for rollback", Result: channel.Manual},
		{ID: "secrets", Title: "App secret, verify token and access token are stored", Result: in.Stored(AppSecret, VerifyToken, AccessToken)},
		{ID: "identity", Title: title, Result: channel.Told(named)},
		{ID: "scopes", Title: "The token has the requested permissions", Result: channel.Manual},
		{ID: "handshake", Title: "Meta's check of the URL was answered", Result: in.Saw(webhook.Handshake)},
		{ID: "tampered", Title: "A tampered request was refused", Result: in.Saw(webhook.SigMismatch)},
		{ID: "tenant", Title: "No notification named another tenant", Result: in.OneTenant()},
		{ID: "binding", Title: "At least one binding names an agent", Result: channel.Told(in.Bindings > 0)},
		{ID: "active", Title: "The install is active", Result: channel.Told(in.State == "active")},
		{ID: "event", Title: "A signed message was accepted and queued", Result: in.Saw(webhook.Accepted)},
		{ID: "canary", Title: "It ran for 24 hours or 50 turns without errors or duplicates", Result: channel.Manual},
		{ID: "rotation", Title: "A reset of the app secret was rehearsed", Result: channel.Manual},
		{ID: "sign_off", Title: "The owner signed off", Result: channel.Manual},
	}
}
