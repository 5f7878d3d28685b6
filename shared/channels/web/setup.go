package web

import (
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/webhook"
)

// setup describes what the organisation's own server and pages have to do.
func setup(in channel.SetupInput) channel.Setup {
	return channel.Setup{
		CallbackURLs: []string{in.CallbackURL},
		Scopes:       []string{},
		Steps: []string{
			"Save a widget_secret of your own (48 random characters) here, and in your server's configuration; list the origins of your pages in allowed_origins. The install is then verifying.",
			"Let your server make a token for whoever is signed in: a JWT with HS256 over the widget_secret, sub = your id of the person, aud = " + in.InstallID + ", iat = now, exp = at most 24 hours later. lk widget token makes one to compare with.",
			"Add a binding that names the agent, then activate the install.",
			"Put the chat on your pages: <script src=\"…/widget.js\" data-install=\"" + in.InstallID + "\" data-token-url=\"…\"></script>, where data-token-url is the address of yours that answers {\"token\":\"…\"}.",
			"If your pages have a Content-Security-Policy, allow the script's origin in script-src and connect-src.",
			"Say something in the chat, and read the delivery here.",
		},
		Checklist:    checklist(in),
		IdentityNote: "Every token names the install that it is for; a token for another one is refused. It proves the visitor and does not cover what is said.",
	}
}

// checklist says what can be told from our own records; the rest is Manual.
func checklist(in channel.SetupInput) []channel.Check {
	return []channel.Check{
		{ID: "secrets", Title: "The widget secret is stored", Result: in.Stored(widgetSecret)},
		{ID: "origins", Title: "At least one page is allowed", Result: channel.Told(len(in.Config[allowedOrigins]) > 0)},
		{ID: "tampered", Title: "A token with a wrong signature was refused", Result: in.Saw(webhook.SigMismatch)},
		{ID: "foreign_page", Title: "A page that is not allowed was refused", Result: in.Saw(webhook.OriginRefused)},
		{ID: "binding", Title: "At least one binding names an agent", Result: channel.Told(in.Bindings > 0)},
		{ID: "active", Title: "The install is active", Result: channel.Told(in.State == "active")},
		{ID: "event", Title: "A message was accepted and queued", Result: in.Saw(webhook.Accepted)},
		{ID: "signed_out", Title: "Your server makes tokens for people who are signed in only, and your pages drop them at sign-out", Result: channel.Manual},
		{ID: "canary", Title: "One page ran for 24 hours or 50 turns without errors", Result: channel.Manual},
		{ID: "rotation", Title: "A rotation of the widget secret was rehearsed (rotate here, change your server, rotate/finish)", Result: channel.Manual},
		{ID: "sign_off", Title: "The owner signed off", Result: channel.Manual},
	}
}
