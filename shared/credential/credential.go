// Package credential says what the fields of credentials and settings are: who
// owns one, how sensitive it is, what it may hold, who may open it.
//
// A [FieldSpec] is declared once, beside the vendor it belongs to (providers and
// channels derive theirs from their entries); a [Registry] gathers all of them
// and refuses declarations that contradict each other. The vault writes and
// opens declared fields only, the admin API shows what the spec lets out, the
// catalog drives forms, and the table in SECURITY.md is made from it.
//
// Who may open a class is not stated here: [Decryptors] reads it from the
// topology, the same data that IAM policies are rendered from.
//
// Specs and registries are data: they are never changed after [New] and safe for
// concurrent use. The package holds no secrets; [FieldSpec.Check] and
// [FieldSpec.HintOf] look at one only while they run.
package credential

import (
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Kind says what kind of thing a field belongs to.
type Kind string

// Kinds.
const (
	Provider    Kind = "provider"    // a connection to a model or voice vendor
	Channel     Kind = "channel"     // an install of a channel app
	Integration Kind = "integration" // anything else an organisation connects
	Payment     Kind = "payment"     // the platform's payment vendor; no organisation connects one
	Tool        Kind = "tool"        // an organisation's own HTTP tools
)

// KindOf is the kind that credentials of a class belong to, empty for a word
// that is no class.
func KindOf(class taxonomy.CredentialClass) Kind {
	switch class {
	case taxonomy.AIKey, taxonomy.VoiceKey:
		return Provider
	case taxonomy.ChannelVerify, taxonomy.ChannelSend, taxonomy.ChannelApp:
		return Channel
	case taxonomy.Integration:
		return Integration
	case taxonomy.Payment:
		return Payment
	case taxonomy.Tool:
		return Tool
	}
	return ""
}

// Sensitivity says who may see a field's value.
type Sensitivity string

// Sensitivities. The zero value counts as Secret: what nobody thought about is
// sealed.
const (
	// Secret: sealed in the vault, goes in only.
	Secret Sensitivity = "secret"
	// Internal: stored in the clear for our own use, never shown.
	Internal Sensitivity = "internal"
	// Public: shown to the organisation that entered it.
	Public Sensitivity = "public"
)

// HintRule says what is shown of a stored secret.
type HintRule string

// Hint rules. The zero value counts as NoHint.
const (
	NoHint HintRule = "none"
	// Last4 shows the last four characters of a value of at least [MinHinted].
	Last4 HintRule = "last4"
)

// MinHinted is the length in bytes from which a value is hinted at: four
// characters of a shorter one would be too much of it.
const MinHinted = 20

const hintLength = 4

// Form is what a value is made of.
type Form string

// Forms. The zero value counts as Token for a secret and as Text otherwise.
const (
	// Token is visible ASCII without spaces; it can be a header value.
	Token Form = "token"
	// Line is printable ASCII with spaces inside; it can be a header value.
	Line Form = "line"
	// Document is a whole file or another opaque value. Code parses it; it never
	// becomes a header value as it is.
	Document Form = "document"
	// Text is UTF-8 without control characters.
	Text Form = "text"
)

// Limits of one value in bytes, for fields that state none.
const (
	defaultMaxToken = 4096
	defaultMaxText  = 512
	// MaxBytes bounds every field. A service account file is about 3 KB.
	MaxBytes = 16 << 10
)

// FieldSpec describes one field of a provider, a channel or an integration.
type FieldSpec struct {
	// Provider is filled in by the registry.
	Provider string
	Field    string
	// Class is the credential class of a secret, empty for other fields.
	Class       taxonomy.CredentialClass
	Sensitivity Sensitivity
	Hint        HintRule
	Form        Form
	// MinBytes and MaxBytes bound the value; zero takes 1 and the form's default.
	MinBytes, MaxBytes int
	// Overlap is how long a replaced value is still accepted if the caller of a
	// rotation does not say; zero ends it at once.
	Overlap  time.Duration
	Required bool
	List     bool
	// Label and Help are shown in forms. An empty label is the field's name.
	Label, Help string
	// Validate refuses values that have the form but cannot be right; nil accepts
	// all. It must be pure and must not keep the bytes.
	Validate func(value []byte) bool
}

// HeaderBound reports whether the value may become a header value.
func (s FieldSpec) HeaderBound() bool { return s.Form == Token || s.Form == Line }

// ShowsValue reports whether the value may be shown to the organisation.
func (s FieldSpec) ShowsValue() bool { return s.Sensitivity == Public }

// ShowsHint reports whether a stored hint may be shown.
func (s FieldSpec) ShowsHint() bool { return s.Sensitivity == Secret && s.Hint == Last4 }

// HintOf is what may be shown of a value, often nothing.
func (s FieldSpec) HintOf(value secret.Text) string {
	if !s.ShowsHint() || value.Len() < MinHinted {
		return ""
	}
	hint := ""
	_ = value.Use(func(b []byte) error { hint = string(b[len(b)-hintLength:]); return nil })
	return hint
}

// withDefaults fills in what the zero values stand for.
func (s FieldSpec) withDefaults() FieldSpec {
	if s.Sensitivity == "" {
		s.Sensitivity = Secret
	}
	if s.Hint == "" {
		s.Hint = NoHint
	}
	if s.Form == "" {
		if s.Form = Text; s.Sensitivity == Secret {
			s.Form = Token
		}
	}
	if s.MinBytes == 0 {
		s.MinBytes = 1
	}
	if s.MaxBytes == 0 {
		switch s.Form {
		case Document:
			s.MaxBytes = MaxBytes
		case Text:
			s.MaxBytes = defaultMaxText
		default:
			s.MaxBytes = defaultMaxToken
		}
	}
	if s.Label == "" {
		s.Label = s.Field
	}
	return s
}

// Check fails with invalid_request and the field's name as param if the value
// cannot be one of this field. The message never quotes it.
func (s FieldSpec) Check(value []byte) error {
	s = s.withDefaults()
	switch {
	case len(value) == 0:
		return s.refuse("the value is empty; enter it")
	case len(value) < s.MinBytes:
		return s.refuse("the value is shorter than " + strconv.Itoa(s.MinBytes) + " bytes; copy it again in full")
	case len(value) > s.MaxBytes:
		return s.refuse("the value is longer than " + strconv.Itoa(s.MaxBytes) + " bytes; check that it is this field's value alone")
	case s.Form == Token && !within(value, 0x21):
		return s.refuse("the value holds spaces, line breaks or characters that it cannot have; copy it again without them")
	case s.Form == Line && (!within(value, 0x20) || value[0] == ' ' || value[len(value)-1] == ' '):
		return s.refuse("the value must be printable ASCII without line breaks or spaces around it; copy it again without them")
	case s.Form == Text && !plainText(value):
		return s.refuse("the value must be text without control characters")
	case s.Validate != nil && !s.Validate(value):
		return s.refuse("the value is not a valid " + s.Label)
	}
	return nil
}

// ErrMasked is wrapped by the refusal of a value that is the picture of a secret.
var ErrMasked = errors.New("credential: the value is a mask")

// CheckSecret is [FieldSpec.Check] for a secret. A mask is looked for first, and
// [ErrMasked] wrapped: its form is mostly wrong too, but that it is a mask is
// what a person can act on.
func (s FieldSpec) CheckSecret(value secret.Text) error {
	if value.IsZero() {
		return s.Check(nil)
	}
	return value.Use(func(b []byte) error {
		if masked(b) {
			return fault.Wrap(fault.InvalidRequest, "credential.Check", "the value is a masked display of a secret, not the secret; enter it again in full",
				ErrMasked).WithParam(s.Field)
		}
		return s.Check(b)
	})
}

// masked recognises values that a form or a log shows in place of a
// secret, our own included.
func masked(value []byte) bool {
	s := strings.TrimSpace(string(value))
	if len(s) > 256 {
		return false
	}
	lower := strings.ToLower(s)
	for _, mark := range []string{"****", "\u2022", "\u25cf", "\u2026", secret.Mask, "[redacted]", "<redacted>", "[masked]", "[hidden]"} {
		if strings.Contains(lower, mark) {
			return true
		}
	}
	return strings.HasPrefix(s, "...") || strings.HasSuffix(s, "...") || strings.Trim(s, "*") == "" || strings.Trim(lower, "x") == "" && len(s) >= 4
}

func (s FieldSpec) refuse(message string) error {
	return fault.New(fault.InvalidRequest, "credential.Check", message).WithParam(s.Field)
}

// within reports whether all bytes are ASCII from lowest to "~". Other bytes
// would be refused, or sent as they are, by an HTTP client later.
func within(value []byte, lowest byte) bool {
	for _, c := range value {
		if c < lowest || c > 0x7e {
			return false
		}
	}
	return true
}

func plainText(value []byte) bool {
	for _, c := range value {
		if c < 0x20 || c == 0x7f {
			return false
		}
	}
	return utf8.Valid(value)
}
