// Package profiles is the table of how vendors sign webhooks: one row each, with
// source and date.
//
// A row says nothing about what a vendor's events mean and enables no channel;
// installs are still refused for every channel without an adapter, which takes
// its row from here. Slack's row is in its own folder. All rows are data for the
// mechanisms of the package webhook, which has their guarantees.
//
// Limits: key sets are found by name ([webhook.KeySets]), never fetched here;
// requests that do not cover the body (Result.BodySigned false) and vendors that
// sign no time leave replay to the caller's dedupe.
package profiles

import (
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Profile is one way of signing.
type Profile struct {
	Scheme  webhook.Scheme
	Methods []string
	// Handshake answers the unsigned request with which a vendor checks a URL;
	// nil: there is none. It is asked for GET requests, before Scheme.
	Handshake func(in webhook.Input, tokens []secret.Text) (challenge string, refusal *webhook.Refusal)
	// Pong is the body that a verified request must be answered with; ok is
	// false for every request that is no such check. Nil: there is none.
	Pong func(body []byte) (answer string, ok bool)
}

// Windows. Where a vendor documents none, five minutes is ours.
const (
	fiveMinutes = 5 * time.Minute
	// elevenLabsWindow is that of the vendor's SDK (elevenlabs-js
	// src/wrapper/webhooks.ts, read 2026-11), which bounds the past only.
	elevenLabsWindow = 30 * time.Minute
	// mailgunRetries is above the eight hours of retries, which keep time and
	// token (documentation.mailgun.com, "Webhooks", read 2026-11).
	mailgunRetries = 12 * time.Hour
)

// All returns the rows, sorted by name.
func All() []Profile {
	rows := slices.Concat(hmacs(), lists(), others())
	slices.SortFunc(rows, func(a, b Profile) int {
		if a.Scheme.Name() < b.Scheme.Name() {
			return -1
		}
		return 1
	})
	return rows
}

// Find returns the row of a profile's name.
func Find(name taxonomy.Profile) (Profile, bool) {
	for _, p := range All() {
		if p.Scheme.Name() == string(name) {
			return p, true
		}
	}
	return Profile{}, false
}

func post(s webhook.Scheme) Profile { return Profile{Scheme: s, Methods: []string{http.MethodPost}} }

// body is the message of vendors that sign the body alone. They sign no time:
// replay is the dedupe's.
func body() []webhook.Part { return []webhook.Part{webhook.RawBody()} }

// hmacs are the rows with one MAC in one header.
func hmacs() []Profile {
	// docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries and
	// developers.facebook.com/docs/graph-api/webhooks/getting-started, read
	// 2026-11: the same form, the SHA-1 header beside it is not looked at.
	hub := func(p taxonomy.Profile) webhook.HMAC {
		return webhook.HMAC{Profile: string(p), Header: "X-Hub-Signature-256", Prefix: "sha256=", Message: body()}
	}
	meta := post(hub(taxonomy.ProfileMeta))
	meta.Methods, meta.Handshake = []string{http.MethodPost, http.MethodGet}, hubHandshake
	return []Profile{
		post(hub(taxonomy.ProfileGitHub)),
		meta,
		// developers.line.biz/en/docs/messaging-api/verify-webhook-signature/, read 2026-11.
		post(webhook.HMAC{Profile: string(taxonomy.ProfileLINE), Header: "X-Line-Signature", Encoding: webhook.Base64, Message: body()}),
		// shopify.dev/docs/apps/build/webhooks/subscribe/https, read 2026-11. The
		// time in X-Shopify-Triggered-At is not signed.
		post(webhook.HMAC{Profile: string(taxonomy.ProfileShopify), Header: "X-Shopify-Hmac-Sha256", Encoding: webhook.Base64, Message: body()}),
		// learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-outgoing-webhook,
		// read 2026-11: the token is base64 of the key.
		post(webhook.HMAC{Profile: string(taxonomy.ProfileTeamsOutgoing), Header: "Authorization", Prefix: "HMAC ", Encoding: webhook.Base64,
			Key: webhook.KeyBase64, Message: body()}),
		// developers.intercom.com/docs/webhooks/webhook-notifications, read 2026-11.
		post(webhook.HMAC{Profile: string(taxonomy.ProfileIntercom), Header: "X-Hub-Signature", Prefix: "sha1=", Digest: webhook.SHA1, Message: body()}),
		// developer.zendesk.com/documentation/webhooks/verifying/, read 2026-11: time
		// before body; an older page's worked value has them the other way round.
		post(webhook.HMAC{Profile: string(taxonomy.ProfileZendesk), Header: "X-Zendesk-Webhook-Signature", Encoding: webhook.Base64,
			Message:    []webhook.Part{webhook.TimeText(), webhook.RawBody()},
			TimeHeader: "X-Zendesk-Webhook-Signature-Timestamp", TimeFormat: webhook.ISO8601, Tolerance: fiveMinutes}),
		// developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation,
		// read 2026-11; v1 and v2, which come with it, hash the secret and are not looked at.
		post(webhook.HMAC{Profile: string(taxonomy.ProfileHubSpot), Header: "X-HubSpot-Signature-v3", Encoding: webhook.Base64,
			Message:    []webhook.Part{webhook.MethodText(), webhook.DecodedURL(), webhook.RawBody(), webhook.TimeText()},
			TimeHeader: "X-HubSpot-Request-Timestamp", TimeFormat: webhook.UnixMillis, Tolerance: fiveMinutes}),
	}
}

// lists are the rows with several MACs in one header.
func lists() []Profile {
	// github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md, read
	// 2026-11; the other three say that they follow it (platform.openai.com/docs/guides/webhooks,
	// replicate.com/docs/topics/webhooks/verify-webhook, docs.svix.com/receiving/verifying-payloads/how-manual).
	standard := func(p taxonomy.Profile, prefixes ...string) Profile {
		return post(webhook.Standard{Profile: string(p), Prefixes: prefixes, Tolerance: fiveMinutes})
	}
	const plain, svix = "webhook-", "svix-"
	return []Profile{
		standard(taxonomy.ProfileStandardWebhooks, plain),
		standard(taxonomy.ProfileOpenAI, plain),
		standard(taxonomy.ProfileReplicate, plain),
		standard(taxonomy.ProfileSvix, svix, plain),
		// docs.stripe.com/webhooks/signature, read 2026-11; the tag v0 is for test events.
		post(webhook.HMACList{Profile: string(taxonomy.ProfileStripe), Header: "Stripe-Signature", Version: "v1", Tolerance: fiveMinutes}),
		// elevenlabs.io/docs/eleven-api/guides/how-to/webhooks, read 2026-11.
		post(webhook.HMACList{Profile: string(taxonomy.ProfileElevenLabs), Header: "ElevenLabs-Signature", Version: "v0", Tolerance: elevenLabsWindow}),
	}
}

// others are the rows of the remaining mechanisms.
func others() []Profile {
	telegramToken := regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$`)
	discord := post(webhook.Ed25519{Profile: string(taxonomy.ProfileDiscord), Header: "X-Signature-Ed25519", TimeHeader: "X-Signature-Timestamp", Tolerance: fiveMinutes})
	discord.Pong = interactionPong
	basic := func(p taxonomy.Profile) Profile {
		return post(webhook.SharedValue{Profile: string(p), Header: "Authorization", Basic: true, MethodSetting: "auth"})
	}
	twilio := post(webhook.URLForm{Profile: string(taxonomy.ProfileTwilio), Header: "X-Twilio-Signature", HashParam: "bodySHA256"})
	// Incoming calls and messages may be configured as GET; the query is signed.
	twilio.Methods = append(twilio.Methods, http.MethodGet)
	return []Profile{
		// www.twilio.com/docs/usage/webhooks/webhooks-security, read 2026-11; values
		// of a repeated name are sorted and counted once, as in twilio-node,
		// twilio-python and twilio-php (twilio-go signs the first alone).
		twilio,
		// discord.com/developers/docs/interactions/overview, "Setting Up an
		// Endpoint", read 2026-11. The window is ours.
		discord,
		// docs.fal.ai/model-apis/model-endpoints/webhooks, read 2026-11.
		post(webhook.Ed25519{Profile: string(taxonomy.ProfileFal), Header: "X-Fal-Webhook-Signature", TimeHeader: "X-Fal-Webhook-Timestamp",
			Before: []string{"X-Fal-Webhook-Request-Id", "X-Fal-Webhook-User-Id"}, Separator: "\n", HashBody: true, Published: string(taxonomy.ProfileFal),
			IdentityHeader: "X-Fal-Webhook-User-Id", IdentitySetting: "expected_user_id", Tolerance: fiveMinutes}),
		// core.telegram.org/bots/api#setwebhook, secret_token, read 2026-11.
		post(webhook.SharedValue{Profile: string(taxonomy.ProfileTelegram), Header: "X-Telegram-Bot-Api-Secret-Token", Valid: telegramToken.MatchString}),
		// assemblyai.com/docs, webhook_auth_header_name and _value, read 2026-11.
		post(webhook.SharedValue{Profile: string(taxonomy.ProfileAssemblyAI), HeaderSettings: []string{"header", "auth_header"}}),
		// developers.deepgram.com/changelog/2026/10/27: dg-token is no longer
		// supported, Basic is. A secret in the metadata of the body is not taken.
		basic(taxonomy.ProfileDeepgram),
		// postmarkapp.com/developer/webhooks/webhooks-overview, "Protecting your
		// webhook", read 2026-11.
		basic(taxonomy.ProfilePostmark),
		// documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks,
		// read 2026-11. parent-signature, made with another account's key, is not looked at.
		post(webhook.BodyFields{Profile: string(taxonomy.ProfileMailgun), Object: "signature", Past: mailgunRetries, Future: fiveMinutes}),
		botToken(),
		chatToken(),
	}
}
