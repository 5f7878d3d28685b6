package messenger

import (
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/meta"
)

func setup(in channel.SetupInput) channel.Setup {
	return channel.Setup{
		CallbackURLs: []string{in.CallbackURL},
		Scopes:       []string{"pages_messaging", "pages_manage_metadata"},
		Steps: []string{
			"Make a Meta app of type Business with the product Messenger, and connect the page to it (Messenger, Settings).",
			"Save page_id, app_secret (App settings, Basic), access_token of the page, and a verify_token of your own here; the install is then verifying.",
			"In the app's webhook settings choose the object Page and save the callback URL with the same verify_token; Meta's check must pass.",
			"Subscribe to the fields messages and messaging_postbacks, and to message_edits and messaging_policy_enforcement; leave message_echoes off.",
			"POST /{page_id}/subscribed_apps with the access token and the same fields, so that the page's messages come to this app.",
			"An app with several pages sends all of them to one URL: make it a platform app here, or its other pages are refused.",
			"Where people answer at the page's inbox, too, set the conversation routing of the page so that this app answers first; what comes in standby is not answered.",
			"Add a binding that names the agent, then activate the install. Write to the page, and read the delivery here.",
		},
		Checklist:    meta.Checklist(in, "The page is named", pageID),
		IdentityNote: "page_id is compared with every event of a verified notification, both with the entry it is in and with its recipient.",
	}
}
