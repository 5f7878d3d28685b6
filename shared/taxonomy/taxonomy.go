// Package taxonomy holds the frozen words of the product: provider and channel
// IDs, capabilities, billing sources, credential classes, tiers, grant kinds.
//
// It is the only package besides a vendor's own folder that spells a vendor's
// name. Parse functions accept the documented aliases on input; stored and
// served values are always the canonical ones.
package taxonomy

import (
	"slices"
	"strings"
)

// Provider names who serves a model or voice call.
type Provider string

// Providers with an adapter, then those that can only be connected and tested.
// Other IDs are frozen but not listed: what is not finished is refused, never
// half-enabled.
const (
	Anthropic        Provider = "anthropic"
	Gemini           Provider = "gemini"
	OpenRouter       Provider = "openrouter"
	OpenAI           Provider = "openai"
	Mistral          Provider = "mistral"
	Grok             Provider = "grok"
	Kimi             Provider = "kimi"
	Groq             Provider = "groq"
	DeepSeek         Provider = "deepseek"
	OpenAICompatible Provider = "openai_compatible"

	AssemblyAI    Provider = "assemblyai"
	AWSPolly      Provider = "aws_polly"
	AWSTranscribe Provider = "aws_transcribe"
	Bedrock       Provider = "bedrock"
	Cartesia      Provider = "cartesia"
	Deepgram      Provider = "deepgram"
	ElevenLabs    Provider = "elevenlabs"
	GoogleSpeech  Provider = "google_speech"
)

// knownProviders are all frozen provider IDs, implemented or not.
var knownProviders = map[Provider]bool{
	"openrouter": true, "openai": true, "anthropic": true, "gemini": true, "grok": true, "mistral": true,
	"kimi": true, "elevenlabs": true, "openai_compatible": true, "bedrock": true, "groq": true,
	"deepseek": true, "deepgram": true, "assemblyai": true, "cartesia": true, "azure": true,
	"aws_transcribe": true, "aws_polly": true, "google_speech": true,
}

var providerAliases = map[string]Provider{
	"google": "gemini", "google-ai-studio": "gemini", "xai": "grok", "moonshot": "kimi",
	"openai-compatible": "openai_compatible", "local": "openai_compatible",
	"ollama": "openai_compatible", "lm_studio": "openai_compatible", "lm-studio": "openai_compatible",
	"llama_cpp": "openai_compatible", "llama-cpp": "openai_compatible", "llamacpp": "openai_compatible",
}

// ParseProvider maps an ID or alias to the canonical ID. ok is false for a word
// that is neither.
func ParseProvider(s string) (p Provider, ok bool) {
	s = strings.ToLower(strings.TrimSpace(s))
	if a, found := providerAliases[s]; found {
		return a, true
	}
	return Provider(s), knownProviders[Provider(s)]
}

// SplitModel splits "provider/model" at the first slash, mapping aliases. ok is
// false when there is no slash or the part before it is no provider.
func SplitModel(s string) (p Provider, model string, ok bool) {
	head, tail, found := strings.Cut(s, "/")
	if !found || tail == "" {
		return "", "", false
	}
	p, ok = ParseProvider(head)
	return p, tail, ok
}

// Channel names a messaging medium.
type Channel string

// Channels that are implemented.
const (
	Discord    Channel = "discord"
	Email      Channel = "email"
	GoogleChat Channel = "google_chat"
	Instagram  Channel = "instagram"
	LINE       Channel = "line"
	Messenger  Channel = "messenger"
	Slack      Channel = "slack"
	Teams      Channel = "teams"
	Telegram   Channel = "telegram"
	Twilio     Channel = "twilio"
	Web        Channel = "web"
	WhatsApp   Channel = "whatsapp"
)

// API names the vendor's interface that a channel is reached by: several
// channels of one vendor may share it.
func (c Channel) API() string {
	switch c {
	case Instagram, Messenger, WhatsApp:
		return "meta"
	}
	return string(c)
}

// KeysAPI names where a channel's vendor publishes what its requests are verified
// with: by what is found there first, a key set or the metadata that names one.
func (c Channel) KeysAPI() string {
	if c == Teams {
		return "teams_openid"
	}
	return c.API() + "_jwks"
}

// Vendors of [Email], named like channels because their APIs are: they are none.
const (
	Mailgun  Channel = "mailgun"
	Postmark Channel = "postmark"
)

// Served lists what a channel's APIs are named by: the channel itself, or its vendors
// if it has several.
func (c Channel) Served() []Channel {
	if c == Email {
		return []Channel{Mailgun, Postmark}
	}
	return []Channel{c}
}

// Capability is something a provider or model can do.
type Capability string

// Capabilities.
const (
	CapText     Capability = "text"
	CapVision   Capability = "vision"
	CapAudioIn  Capability = "audio_in"
	CapAudioOut Capability = "audio_out"
	CapTools    Capability = "tools"
	CapJSON     Capability = "json"
)

// Intent is what a request is for; it chooses a row of the routing matrix.
type Intent string

// Intents. A request that names none is general.
const (
	General Intent = "general"
	Tooling Intent = "tooling" // needs tools and json
	Billing Intent = "billing"
	Support Intent = "support"
	Content Intent = "content"
)

// Intents lists the intents.
func Intents() []Intent { return []Intent{General, Tooling, Billing, Support, Content} }

// ParseIntent accepts exactly the five intents.
func ParseIntent(s string) (Intent, bool) {
	return Intent(s), slices.Contains(Intents(), Intent(s))
}

// Modality is what a request holds besides text; it chooses a column of the
// routing matrix.
type Modality string

// Modalities.
const (
	ModalText    Modality = "text"
	ModalVision  Modality = "vision"
	ModalAudioIn Modality = "audio_in"
)

// Modalities lists the modalities.
func Modalities() []Modality { return []Modality{ModalText, ModalVision, ModalAudioIn} }

// ParseModality accepts exactly the three modalities.
func ParseModality(s string) (Modality, bool) {
	return Modality(s), slices.Contains(Modalities(), Modality(s))
}

// Capabilities lists the capabilities.
func Capabilities() []Capability {
	return []Capability{CapText, CapVision, CapAudioIn, CapAudioOut, CapTools, CapJSON}
}

// ParseCapability accepts exactly the six capabilities.
func ParseCapability(s string) (Capability, bool) {
	return Capability(s), slices.Contains(Capabilities(), Capability(s))
}

// BillingSource says who pays the vendor for one request.
type BillingSource string

// Billing sources.
const (
	Platform BillingSource = "platform"
	BYOK     BillingSource = "byok"
	Private  BillingSource = "private"
)

// ParseBillingSource accepts exactly the three values.
func ParseBillingSource(s string) (BillingSource, bool) {
	switch b := BillingSource(s); b {
	case Platform, BYOK, Private:
		return b, true
	}
	return "", false
}

// RequestSource says what kind of work is metered.
type RequestSource string

// Request sources.
const (
	LLM            RequestSource = "llm"
	PlatformAction RequestSource = "platform_action"
)

// CredentialSource says where a provider key came from.
type CredentialSource string

// Credential sources.
const (
	PlatformEnv           CredentialSource = "platform_env"
	PlatformVault         CredentialSource = "platform_vault"
	OrganizationSetting   CredentialSource = "organization_setting"
	OrganizationProfile   CredentialSource = "organization_auth_profile"
	IntegrationConnection CredentialSource = "integration_connection"
)

// CredentialClass decides which functions may open a credential.
type CredentialClass string

// Credential classes.
const (
	AIKey         CredentialClass = "ai_key"
	VoiceKey      CredentialClass = "voice_key"
	ChannelVerify CredentialClass = "channel_verify"
	ChannelSend   CredentialClass = "channel_send"
	Integration   CredentialClass = "integration"
	// ChannelApp is what an app of the platform proves itself with to its vendor
	// when a tenant has authorised it.
	ChannelApp CredentialClass = "channel_app"
	// Payment is the platform's own access to its payment vendor.
	Payment CredentialClass = "payment"
	// Tool is what an organisation's own HTTP tools are called with.
	Tool CredentialClass = "tool"
)

// CredentialClasses lists all classes.
func CredentialClasses() []CredentialClass {
	return []CredentialClass{AIKey, VoiceKey, ChannelVerify, ChannelSend, ChannelApp, Integration, Payment, Tool}
}

// GrantKind is where credits came from.
type GrantKind string

// Grant kinds in their default spending order.
const (
	Gifted    GrantKind = "gifted"
	Daily     GrantKind = "daily"
	Monthly   GrantKind = "monthly"
	Purchased GrantKind = "purchased"
)

// GrantKinds lists the kinds in spending order.
func GrantKinds() []GrantKind { return []GrantKind{Gifted, Daily, Monthly, Purchased} }

// ParseGrantKind accepts exactly the four kinds.
func ParseGrantKind(s string) (GrantKind, bool) {
	for _, k := range GrantKinds() {
		if string(k) == s {
			return k, true
		}
	}
	return "", false
}

// Tier is an organisation's plan.
type Tier string

// Tiers.
const (
	Free       Tier = "free"
	Pro        Tier = "pro"
	Agency     Tier = "agency"
	Enterprise Tier = "enterprise"
)

// ParseTier accepts exactly the four tiers.
func ParseTier(s string) (Tier, bool) {
	switch t := Tier(s); t {
	case Free, Pro, Agency, Enterprise:
		return t, true
	}
	return "", false
}

// Features are what a tier may use.
type Features struct {
	BYOK   bool `json:"byok"`
	BYOA   bool `json:"byoa"`
	Agency bool `json:"agency"`
}

// DefaultFeatures are the shipped features of a tier; an operator may override
// them. An unknown tier has none.
func DefaultFeatures(t Tier) Features {
	switch t {
	case Agency:
		return Features{BYOK: true, BYOA: true, Agency: true}
	case Enterprise:
		return Features{BYOK: true, BYOA: true}
	}
	return Features{}
}

// RolloutStage is how far a subject is rolled out.
type RolloutStage string

// Rollout stages.
const (
	RolloutOff    RolloutStage = "off"
	RolloutCanary RolloutStage = "canary"
	RolloutOn     RolloutStage = "on"
)
