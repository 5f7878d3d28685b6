package taxonomy

// Profile names a way of signing webhooks. A profile is no channel: that its
// requests can be verified does not mean that they can be received.
type Profile string

// Verification profiles, as the command-line tool spells them. Slack's is the
// channel's own name.
const (
	ProfileAssemblyAI       Profile = "assemblyai"
	ProfileDeepgram         Profile = "deepgram"
	ProfileDiscord          Profile = "discord"
	ProfileElevenLabs       Profile = "elevenlabs"
	ProfileFal              Profile = "fal"
	ProfileGitHub           Profile = "github"
	ProfileGoogleChat       Profile = "google_chat"
	ProfileHubSpot          Profile = "hubspot"
	ProfileIntercom         Profile = "intercom"
	ProfileLINE             Profile = "line"
	ProfileMailgun          Profile = "mailgun"
	ProfileMeta             Profile = "meta"
	ProfileOpenAI           Profile = "openai"
	ProfilePostmark         Profile = "postmark"
	ProfileReplicate        Profile = "replicate"
	ProfileShopify          Profile = "shopify"
	ProfileStandardWebhooks Profile = "standard_webhooks"
	ProfileStripe           Profile = "stripe"
	ProfileSvix             Profile = "svix"
	ProfileTeamsBot         Profile = "teams_bot"
	ProfileTeamsOutgoing    Profile = "teams_outgoing"
	ProfileTelegram         Profile = "telegram"
	ProfileTwilio           Profile = "twilio"
	ProfileZendesk          Profile = "zendesk"
)

// ParseProfile maps a profile or a channel that signs by another one's profile
// to the profile's name; any other word is returned as it is.
func ParseProfile(s string) Profile {
	switch s {
	case "whatsapp", "messenger", "instagram":
		return ProfileMeta
	}
	return Profile(s)
}
