// Package channel is the contract between the product and a messaging vendor.
//
// An [Adapter] turns a verified request body into an [Inbound] and sends one
// message. It knows nothing of storage, money or retries: it is handed a
// revealed token for one call, and says afterwards in a [Failure] whether the
// vendor certainly did not post ([Refused], [RateLimited], [NotSent]) or might
// have ([Ambiguous]); only the caller decides what to do about it.
//
// What a vendor needs (secrets, settings, limits, set-up steps) is data in an
// [Entry]; all entries are listed in channels/catalog. Adapters are stateless
// and safe for concurrent use.
package channel

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Kind is what a verified request is.
type Kind string

// Kinds. Edits and deletions are kinds of their own and never start a turn.
const (
	Handshake Kind = "handshake"
	Message   Kind = "message"
	Edited    Kind = "edited"
	Deleted   Kind = "deleted"
	Ignored   Kind = "ignored"
	Revoked   Kind = "revoked"
	// Renamed is the vendor's news that a person has other ids.
	Renamed Kind = "renamed"
	// Pressed is the press of a [Button] under a message of ours.
	Pressed Kind = "pressed"
)

// Audit codes for verified requests that start no turn.
const (
	SelfIgnored     webhook.Reason = "turn.self_ignored"
	BotIgnored      webhook.Reason = "turn.bot_ignored"
	EventIgnored    webhook.Reason = "hook.event_ignored"
	EditIgnored     webhook.Reason = "hook.edit_ignored"
	RevokedByVendor webhook.Reason = "install.revoked_by_provider"
	PersonRenamed   webhook.Reason = "hook.person_renamed"
	// SenderUnproven is a message whose sender anybody may have written into it.
	SenderUnproven webhook.Reason = "hook.sender_unproven"
)

// Identity is what a request says about where it came from: setting name to
// value, compared with the install's settings of the same names.
type Identity map[string]string

// Inbound is one event of a parsed request.
type Inbound struct {
	Kind Kind
	// Reason is the audit code of an Ignored, Edited, Deleted or Revoked one.
	Reason webhook.Reason
	// Challenge is the text to answer to a Handshake, as text/plain.
	Challenge string
	// Identity is empty for a Handshake only, which is the request's only event.
	Identity Identity
	Envelope Envelope
	// Renaming is that of a Renamed one.
	Renaming Renaming
	// Ack replaces the entry's for this event; zero: the entry's.
	Ack Ack
	// Claim is a state that a person said, to claim the conversation for an
	// organisation of an app of the platform; see [Shared].Claim. It goes no further than
	// to who looks it up.
	Claim string
	// Denied replaces Ack for a press of somebody who may not decide; zero: Ack.
	Denied Ack
}

// Ack is the body of a 200: vendors whose requests want an answer of a form. It is
// made of the request alone, so that a repeat gets what the first delivery got.
type Ack struct{ ContentType, Body string }

// Integrity says what of a request its verification covered.
type Integrity string

// Integrities.
const (
	// Signed: a signature over the body.
	Signed Integrity = "signed"
	// ByChannel: the sender, by a shared secret over TLS, not the body.
	ByChannel Integrity = "channel"
)

// Renaming names a person's ids before and after: those that the vendor prefers,
// and those shown beside them. Ids that the news does not name are empty.
type Renaming struct{ Old, New, OldBeside, NewBeside string }

// Envelope is one event reduced to what routing and a turn need. Every string
// is bounded by the adapter; ids are as the vendor gives them.
type Envelope struct {
	Provider taxonomy.Channel `json:"provider"`
	// EventID is the vendor's delivery id; ContentKey names the content, for
	// vendors that deliver one post as several events. It may be empty.
	EventID    string `json:"event_id"`
	ContentKey string `json:"content_key,omitempty"`
	// Account and Team are the vendor's outer and inner tenant, for bindings.
	Account string `json:"account,omitempty"`
	Team    string `json:"team,omitempty"`
	// Space is the channel, room or direct conversation; Direct says that it
	// is with one person. Thread is the thread to answer in, empty for none.
	Space  string `json:"space"`
	Direct bool   `json:"direct,omitempty"`
	Thread string `json:"thread,omitempty"`
	// ReplyTo is the address to answer to where that is not Space.
	ReplyTo string `json:"reply_to,omitempty"`
	// Message is the vendor's id of the message.
	Message string `json:"message,omitempty"`
	Actor   string `json:"actor,omitempty"`
	// Beside is another id of the person of a direct conversation; see
	// Entry.ManyIDs. It does not leave the webhook.
	Beside string `json:"-"`
	// Mention says that the agent's bot user was addressed.
	Mention bool `json:"mention,omitempty"`
	// Addressed are the names that the message is addressed to beside the bot
	// itself: a command, or the first word after the mention. See [Addressee].
	Addressed    []string `json:"addressed,omitempty"`
	IsBot        bool     `json:"is_bot,omitempty"`
	SelfAuthored bool     `json:"self_authored,omitempty"`
	// Integrity says what the verification covered; empty counts as
	// [ByChannel].
	Integrity Integrity `json:"integrity,omitempty"`
	Text      string    `json:"text"`
	// Pressed is the reference of the button of a [Pressed] event, as it came back;
	// Message is that which it stood under.
	Pressed string `json:"pressed,omitempty"`
	// Media are the recordings that came with the message; see [Envelope.Attach].
	Media  []Attachment `json:"media,omitempty"`
	SentAt time.Time    `json:"sent_at"`
}

// Call is what an adapter gets for one call to the vendor. HTTP is the guarded
// egress client without transport retries; BaseURL and DataURL, that of
// [Entry.DataBase], have no trailing slash. Media is the same for the vendor's
// [Entry.MediaHosts] only.
type Call struct {
	HTTP    *http.Client
	Media   *http.Client
	BaseURL string
	DataURL string
	Token   secret.Text
	// Config holds the install's settings.
	Config webhook.Config
}

// Piece is one message of an answer, as the vendor takes it.
type Piece struct {
	Text string
	// Plain is the text without any formatting, to be spoken.
	Plain string
	// Format is the adapter's own note on how Text is to be shown, at most
	// [MaxFormat] bytes; nobody else reads it. Empty means plain text.
	Format string
}

// MaxFormat bounds a [Piece]'s Format.
const MaxFormat = 32 << 10

// Outgoing is one message to post.
type Outgoing struct {
	// To is the envelope's ReplyTo, or its Space.
	To     string
	Thread string
	// Text and Format are a [Piece] of the same adapter.
	Text   string
	Format string
	// Buttons are shown under the text, for a [Chooser] only. An edit without any takes
	// those away that are there.
	Buttons []Button
	// Follows says that an earlier turn answered the same message already.
	Follows bool
	// TurnID and Part travel as invisible metadata where the vendor has it, so
	// that an operator can find an ambiguous message.
	TurnID string
	Part   int
	// Voice is Text spoken, in the form that the adapter asks for; nil for text
	// alone. It holds at most [MaxCaption] units then.
	Voice []byte
}

// Certainty says what is known after a failed send.
type Certainty string

// Certainties.
const (
	// Refused: the vendor answered that it will not post this; a retry of the
	// same message cannot succeed.
	Refused Certainty = "refused"
	// RateLimited: certainly not posted; may be retried after RetryAfter.
	RateLimited Certainty = "rate_limited"
	// NotSent: no byte reached the vendor; may be retried.
	NotSent Certainty = "not_sent"
	// Ambiguous: the message may have been posted. Never resend it.
	Ambiguous Certainty = "ambiguous"
)

// Failure is the outcome of a send that did not succeed. Code is our own word
// or a vendor's error code from a known list, never free vendor text.
type Failure struct {
	Certainty  Certainty
	Code       string
	RetryAfter time.Duration
	// TokenRejected says that the credential itself was refused.
	TokenRejected bool
}

// Adapter is one vendor's code.
type Adapter interface {
	// Parse reads a verified request into its events, at least one, in the order
	// of the vendor. An error has fault code invalid_request and means that the
	// body is not what the vendor documents.
	Parse(in webhook.Input) ([]Inbound, error)
	// Split brings an answer, in CommonMark, into the vendor's form and cuts it
	// into messages that the vendor takes whole.
	Split(text string) []Piece
	// Send posts one message, once, and returns the vendor's message id. A
	// nil *Failure means posted.
	Send(ctx context.Context, c Call, out Outgoing) (id string, failure *Failure)
}

// Editor is an adapter whose vendor lets a posted message be replaced.
type Editor interface {
	// Edit replaces a message that Send posted, once. It may be repeated: a message
	// that reads so already is replaced. Refused with [MessageGone] means that
	// somebody deleted it.
	Edit(ctx context.Context, c Call, out Outgoing, id string) *Failure
}

// MessageGone is the code of an edit of a message that is there no more.
const MessageGone = "message_gone"

// SecretField is one secret of an install.
type SecretField struct {
	Name  string
	Title string
	Class taxonomy.CredentialClass // channel_verify or channel_send
	// Unique means that one live install may hold a given value.
	Unique   bool
	Required bool
	// Hint may be [credential.Last4] for a token that sends; what verifies and
	// what people choose is never hinted at.
	Hint credential.HintRule
	// Form is a line unless stated; MinBytes and MaxBytes bound it, zero takes the
	// defaults of [credential.FieldSpec].
	Form               credential.Form
	MinBytes, MaxBytes int
	// Overlap replaces [DefaultOverlap].
	Overlap time.Duration
	// Valid refuses values that cannot work; nil accepts what Form does.
	Valid func([]byte) bool
	Help  string
}

// ConfigField is one setting of an install, public unless stated.
type ConfigField struct {
	Name     string
	Title    string
	Required bool
	List     bool
	// Rotates says that the values verify requests, any of them: one is replaced as a
	// secret is, with an overlap. There are at most [webhook.MaxKeys].
	Rotates bool
	// Valid refuses malformed values; nil accepts any text up to 512 bytes.
	Valid       func(string) bool
	Sensitivity credential.Sensitivity
	Help        string
}

// Entry is everything the product knows about one vendor.
type Entry struct {
	ID      taxonomy.Channel
	Title   string
	Methods []string // HTTP methods that the vendor uses
	Config  []ConfigField
	Secrets []SecretField
	// VerifySecret and SendSecret name the secrets that Scheme and Adapter use.
	VerifySecret string
	SendSecret   string
	// Handshake answers the unsigned GET request with which a vendor checks the
	// URL, given the values of HandshakeSecret; nil: there is none.
	Handshake       func(in webhook.Input, tokens []secret.Text) (challenge string, refusal *webhook.Refusal)
	HandshakeSecret string
	// Identity lists the settings compared after verification. Of each group
	// at least one must be configured, and all configured ones must be equal. A
	// vendor whose requests name no tenant has none, and its set-up says so.
	Identity [][]string
	// Told reads settings out of secrets that hold them; nil: there are none. A
	// stated setting that differs is refused.
	Told func(secrets map[string]secret.Text) webhook.Config
	// Stands gives, of secrets that are stored, those that stand in for others which
	// are not given, by the names of the others; nil: none do. A rotated one is
	// rotated there, too.
	Stands func(c webhook.Config, given map[string]secret.Text) map[string]secret.Text
	// ManyIDs: the vendor shows people under several ids, of which it prefers one;
	// the space of a direct conversation is such an id.
	ManyIDs bool
	// Tenant gives the app and tenant that one live install may claim; nil: whatever a
	// request is about is the install's own, whose id its proof names.
	Tenant  func(webhook.Config) (app, tenant string)
	Scheme  webhook.Scheme
	Adapter Adapter
	// Keys are the key sets that Scheme verifies with; nil where secrets do.
	Keys *PublishedKeys
	// Exchange trades the value of SendSecret for the token that the vendor's API
	// takes; nil where that value is the token.
	Exchange *Exchange
	// APIBase is the vendor's API without a trailing slash, Hosts the exact host
	// names that a token may be sent to.
	APIBase string
	Hosts   []string
	// DataBase is where its files are asked for, if that is not the API.
	DataBase string
	// MediaHosts are the exact host names that its files lie at, and that the token
	// may be sent to for them.
	MediaHosts []string
	// Anonymous says that the vendor never tells which authors are bots.
	Anonymous bool
	// Ack acknowledges the vendor's requests; zero: an empty text. Queued does so for
	// a message that waits for its turn, and for its repeats; zero: Ack.
	Ack, Queued Ack
	// Only401 says that the vendor gives an endpoint up that answers a bad signature
	// with anything but 401, so that no flood of them is limited.
	Only401 bool
	// Identity403 says that a good token in another's name is forbidden (403) and not
	// unproven (401), as the reference has it for this vendor (matrix row 17).
	Identity403 bool
	// RetryHorizon is how long the vendor may redeliver an event.
	RetryHorizon   time.Duration
	NeedsPublicURL bool
	// Setup describes how to connect an app; it calls nobody.
	Setup func(SetupInput) Setup
	// Vendors are the entries of a channel that several vendors serve, by the value of
	// VendorSetting; nil: one serves it. Until an install's settings name one, the
	// entry around them counts: it verifies nothing of an install that has none, because
	// such an install is a draft.
	Vendors       map[taxonomy.Channel]Entry
	VendorSetting string
	// Vendor names the one of an entry in Vendors.
	Vendor taxonomy.Channel
	// Kept says that there is no vendor to send answers to: each is delivered by the write
	// that makes its part sent, and whoever wrote reads it, see [session.Shown]. Such an
	// entry has no SendSecret, and its adapter's Send refuses.
	Kept bool
	// Browsers says how people's browsers, which no vendor stands before, ask for
	// themselves; nil: they do not.
	Browsers *Browsers
	// Shared says how one app of the platform serves many tenants; nil: the vendor's
	// apps serve one, or it is not known how.
	Shared *Shared
}

// For is the entry that an install with these settings has: that of the vendor which
// they name, for a channel that several serve.
func (e Entry) For(c webhook.Config) Entry {
	if v, named := e.Vendors[taxonomy.Channel(c.Get(e.VendorSetting))]; named {
		return v
	}
	return e
}

// Reached names whose API the entry's adapter calls: the vendor's, if the channel has
// several, else the channel's.
func (e Entry) Reached() taxonomy.Channel { return cmp.Or(e.Vendor, e.ID) }

// SecretNames lists the secrets of a class.
func (e Entry) SecretNames(class taxonomy.CredentialClass) []string {
	var out []string
	for _, s := range e.Secrets {
		if s.Class == class {
			out = append(out, s.Name)
		}
	}
	return out
}

// SameTenant compares a request's identity with an install's settings. A
// setting that is configured but absent from the request is a mismatch.
func (e Entry) SameTenant(c webhook.Config, got Identity) bool {
	for _, group := range e.Identity {
		compared := false
		for _, name := range group {
			want := c.Get(name)
			if want == "" {
				continue
			}
			if got[name] != want {
				return false
			}
			compared = true
		}
		if !compared {
			return false
		}
	}
	return true
}

// SetupInput is what set-up instructions depend on.
type SetupInput struct {
	InstallID   string
	CallbackURL string
	State       string
	Config      webhook.Config
	// SecretsSet names the secrets that are stored.
	SecretsSet []string
	// AppName is shown to the vendor's users.
	AppName string
	// Bindings is how many bindings the install has.
	Bindings int
	// DeliveryCodes are audit codes seen on the install, the newest first, a hint of
	// [webhook.HintCodes] behind its own.
	DeliveryCodes []string
}

// Setup tells a person what to do and what is already done.
type Setup struct {
	// Manifest is the vendor's app manifest, nil if the vendor has none.
	Manifest     map[string]any `json:"manifest,omitempty"`
	CallbackURLs []string       `json:"callback_urls"`
	Scopes       []string       `json:"scopes"`
	Steps        []string       `json:"steps"`
	Checklist    []Check        `json:"checklist"`
	// IdentityNote says what is compared after verification.
	IdentityNote string `json:"identity_note"`
}

// CheckResult is the state of one cutover item.
type CheckResult string

// Check results.
const (
	Passed  CheckResult = "passed"
	Failed  CheckResult = "failed"
	Pending CheckResult = "pending" // cannot be told yet
	Manual  CheckResult = "manual"  // a person has to do or confirm it
)

// Check is one item of the cutover checklist.
type Check struct {
	ID     string      `json:"id"`
	Title  string      `json:"title"`
	Result CheckResult `json:"result"`
}
