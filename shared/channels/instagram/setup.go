package instagram

import (
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/meta"
)

func setup(in channel.SetupInput) channel.Setup {
	scopes := []string{"instagram_business_basic", "instagram_business_manage_messages"}
	connect := "Make a Meta app of type Business with the product Instagram, connect the professional account over Instagram Login, and generate its access token (or use Facebook Login and save page_id, too)."
	secret := "Save ig_account_id (user_id of GET /me), app_secret (the Instagram app secret, Instagram, API setup), access_token, and a verify_token of your own here; the install is then verifying."
	subscribe := "POST /{ig_account_id}/subscribed_apps at graph.instagram.com with the access token and subscribed_fields=messages,messaging_postbacks."
	if in.Config.Get(pageID) != "" {
		scopes = []string{"instagram_basic", "instagram_manage_messages", "pages_manage_metadata", "pages_messaging"}
		connect = "Make a Meta app of type Business with the product Messenger, link the professional account to the page, and connect both over Facebook Login."
		secret = "Save ig_account_id, page_id, app_secret (App settings, Basic), access_token of the page, and a verify_token of your own here; the install is then verifying."
		subscribe = "POST /{page_id}/subscribed_apps with the page's access token and any field of the page, so that the account's messages come to this app."
	}
	return channel.Setup{
		CallbackURLs: []string{in.CallbackURL},
		Scopes:       scopes,
		Steps: []string{
			connect,
			secret,
			"In the app's webhook settings of the object Instagram save the callback URL with the same verify_token; Meta's check must pass. Subscribe to the fields messages and messaging_postbacks.",
			subscribe,
			"In the account's settings allow access to messages for connected tools (Messages and story replies, Message controls).",
			"An app with several accounts sends all of them to one URL: make it a platform app here, or its other accounts are refused.",
			"Add a binding that names the agent, then activate the install. Write to the account, and read the delivery here.",
		},
		Checklist:    meta.Checklist(in, "The account is named", accountID),
		IdentityNote: "ig_account_id is compared with every event of a verified notification, both with the entry it is in and with its recipient.",
	}
}
