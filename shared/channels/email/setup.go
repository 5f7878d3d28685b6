package email

import (
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/webhook"
)

func mailgunSetup(in channel.SetupInput) channel.Setup {
	return channel.Setup{
		CallbackURLs: []string{in.CallbackURL},
		Scopes:       []string{},
		Steps: []string{
			"Add a domain at Mailgun that is used for nothing else, such as help.example.com, in the region of your choice, with its DNS records for sending (SPF, DKIM) and receiving (MX).",
			"Set the domain's spam filter to mark spam with MIME headers: only then Mailgun tells what SPF and DKIM gave. Then set spam_filter to true here. Without it every writer is unproven, and nobody is answered unless allow_unauthenticated is true.",
			"Save domain, webhook_signing_key (HTTP webhook signing key) and api_key (a sending key of this domain, or an API key), and region if it is eu; the install is then verifying.",
			"Make one route: expression match_recipient(\".*@help.example.com\") with your domain, action store(notify=\"" + in.CallbackURL + "\"). forward() to the same address works, too, but brings attachments along: mail above 1 MB is then refused (413), and Mailgun tries it for eight hours.",
			"Bind addresses to agents: the selector's team is the address without its plus-part, its mention the plus-part. Then activate the install, write a mail, and read the delivery here. What is refused is answered 4xx, never 406: Mailgun tries it again for eight hours.",
		},
		Checklist:    checklist(in, "The spam filter marks mail, so that writers can be proven", in.Config.Get(spamFilter) == "true"),
		IdentityNote: "The domain of the address that a mail was delivered to is compared with domain. Mailgun signs a time and a token, not the mail: it counts as verified by its channel only.",
	}
}

// checklist says what can be told from our own records; the rest is Manual.
func checklist(in channel.SetupInput, proof string, proven bool) []channel.Check {
	return []channel.Check{
		{ID: "inventory", Title: "The old routes and MX records are written down for rollback", Result: channel.Manual},
		{ID: "secrets", Title: "What verifies and the sending key are stored", Result: channel.Told(in.Config.Get(vendor) != "" && in.Stored(apiKey) == channel.Passed)},
		{ID: "identity", Title: "The domain is named", Result: channel.Told(in.Config.Get(domain) != "")},
		{ID: "senders", Title: proof, Result: channel.Told(proven)},
		{ID: "tampered", Title: "A tampered request was refused", Result: in.Saw(webhook.SigMismatch)},
		{ID: "tenant", Title: "No request named another domain", Result: in.OneTenant()},
		{ID: "binding", Title: "At least one binding names an agent", Result: channel.Told(in.Bindings > 0)},
		{ID: "active", Title: "The install is active", Result: channel.Told(in.State == "active")},
		{ID: "event", Title: "A mail was accepted and queued", Result: in.Saw(webhook.Accepted)},
		{ID: "canary", Title: "The domain ran for 24 hours or 50 turns without errors or duplicates", Result: channel.Manual},
		{ID: "rotation", Title: "A change of the secret that verifies was rehearsed", Result: channel.Manual},
		{ID: "sign_off", Title: "The owner signed off", Result: channel.Manual},
	}
}

func postmarkSetup(in channel.SetupInput) channel.Setup {
	return channel.Setup{
		CallbackURLs: []string{in.CallbackURL},
		Scopes:       []string{},
		Steps: []string{
			"Make a server at Postmark, and a sender domain with DKIM and Return-Path for the domain of the addresses.",
			"Give the server's inbound stream an inbound domain that is used for nothing else, such as help.example.com, with its MX record. Addresses at inbound.postmarkapp.com cannot be answered from.",
			"Save domain, basic_auth (user:password, chosen by you, without : or @ in the user) and api_key (the server API token) here; the install is then verifying.",
			"Set the inbound webhook to the callback URL with user and password in front of the host: https://user:password@… Do not include the raw email content. Mail above 1 MB with its attachments is refused (413), and Postmark tries it ten times.",
			"Bind addresses to agents: the selector's team is the address without its plus-part, its mention the plus-part. Then activate the install, write a mail, and read the delivery here.",
		},
		Checklist:    checklist(in, "Postmark tells what SPF and DKIM gave, which is believed", true),
		IdentityNote: "The domain of OriginalRecipient is compared with domain. Postmark proves itself by the password of the URL and signs nothing: a mail counts as verified by its channel only.",
	}
}
