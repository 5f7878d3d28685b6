package whatsapp

import (
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/meta"
)

// scopes are those of the system user's token.
func scopes() []string {
	return []string{"whatsapp_business_messaging", "whatsapp_business_management"}
}

func setup(in channel.SetupInput) channel.Setup {
	return channel.Setup{
		CallbackURLs: []string{in.CallbackURL},
		Scopes:       scopes(),
		Steps: []string{
			"Make a Meta app of type Business with the product WhatsApp, and a system user with access to the app and the WhatsApp Business Account.",
			"Save phone_number_id, waba_id, app_secret (App settings, Basic), access_token of the system user, and a verify_token of your own here; the install is then verifying.",
			"In WhatsApp, Configuration, save the callback URL with the same verify_token; Meta's check must pass. Subscribe to the field messages (and account_update).",
			"An app with several numbers sends all of them to one URL. Give each number its own with override_callback_uri, or Meta's requests for the others are refused here.",
			"POST /{waba_id}/subscribed_apps with the access token, so that the account's messages come to this app.",
			"Add a binding that names the agent, then activate the install. Write to the number, and read the delivery here.",
		},
		Checklist:    meta.Checklist(in, "Number and account are named", phoneNumberID, wabaID),
		IdentityNote: "phone_number_id and waba_id are compared with every verified notification.",
	}
}
