// Package providers describes a vendor to the rest of the system: what it can
// do, where it is, how its key is sent, and how to make its adapters.
//
// Each vendor's folder exports one function, Registration, that returns an
// [Entry]; package catalog lists them. An Entry is data plus constructors and
// is never changed after it was made. Adapters get a revealed key for one call
// and know nothing of storage or money.
package providers

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/speech"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Entry is one vendor. An entry without capabilities and adapters can be
// connected and tested, but serves nothing ([Entry.Served]).
type Entry struct {
	ID    taxonomy.Provider
	Title string
	// VoiceOnly says that the vendor has speech and nothing else: its keys have
	// class voice_key. It is stated, not derived, because an entry that serves
	// nothing yet has no capabilities to tell.
	VoiceOnly bool
	// DefaultBaseURL is used when a connection states none. It is empty for
	// tenant endpoints, which must state one.
	DefaultBaseURL string
	// Hosts are the exact host names the vendor's key may be sent to. Empty
	// means a tenant endpoint: any public host, checked by package egress.
	Hosts        []string
	Capabilities []taxonomy.Capability
	// Lacks lists capabilities of the vendor that a model is documented not to
	// have; nil = nothing is known of models.
	Lacks func(model string) []taxonomy.Capability
	// Key describes the one key of a vendor that has one; it becomes the field
	// api_key. Without a header the vendor has none.
	Key KeyField
	// Fields are further secrets and settings, or replace what [Entry.Manifest]
	// derives. Most vendors have none. A secret without a class gets the vendor's.
	Fields []credential.FieldSpec
	// KeyRequired is false for endpoints that may run without a key.
	KeyRequired    bool
	DefaultBilling taxonomy.BillingSource
	// CancelStopsBilling says that the vendor is documented to stop working, and
	// billing, when the connection of a streamed answer is closed. Where it is
	// false an answer whose client has left is read on for a while, because it is
	// billed anyway and its end says for how much. Vendors say little of this
	// themselves; a forwarder that pays them lists Bedrock, Groq, Google and Mistral
	// as billed to the end (openrouter.ai/docs/api-reference/streaming, read
	// 2026-11-22). A whole answer is billed everywhere.
	CancelStopsBilling bool
	// NewChat, NewEmbedder, NewTranscriber and NewSynthesizer are nil if the
	// vendor has no such service. The adapters are stateless: one instance serves a process.
	NewChat        func() model.Chat
	NewEmbedder    func() model.Embedder
	NewTranscriber func() speech.Transcriber
	NewSynthesizer func() speech.Synthesizer
	// ListModels lists what the key can use, at most 10,000 entries. It may be
	// nil for a vendor of speech only.
	ListModels func(ctx context.Context, t model.Target) ([]model.Listed, error)
	// CheckKey asks the vendor whether the key is good without spending
	// anything. It exists apart from ListModels because some vendors list
	// models to anybody.
	CheckKey func(ctx context.Context, t model.Target) error
	// ListVoices is nil if the vendor has no list.
	ListVoices func(ctx context.Context, t model.Target) ([]speech.Voice, error)
}

// Has reports whether the vendor has a capability.
func (e *Entry) Has(c taxonomy.Capability) bool { return slices.Contains(e.Capabilities, c) }

// Served reports whether calls can be made, and not only connections.
func (e *Entry) Served() bool { return len(e.Capabilities) > 0 }

// Tenant reports whether the vendor is an endpoint the org names itself.
func (e *Entry) Tenant() bool { return len(e.Hosts) == 0 }

// KeyField says how a vendor's key looks and how it is sent.
type KeyField struct {
	// Header and Scheme form the header: "Authorization" and "Bearer", or a
	// vendor's own header without a scheme.
	Header, Scheme string
	// Prefix is how keys of the vendor start, for a hint in the console. It is
	// not enforced: vendors change it.
	Prefix string
	// MinLen and MaxLen bound the key in bytes; zero means 8 and 4096.
	MinLen, MaxLen int
	// Match, if set, says whether a key has the form that Form names.
	Match func(key []byte) bool
	Form  string
	// Signed says that requests are signed with the key and the key itself is
	// never sent.
	Signed bool
}

// Set puts the key into a request header. An empty key sets nothing; a key that
// only signs is refused with fault.Internal.
func (k KeyField) Set(h http.Header, key secret.Text) error {
	if key.IsZero() {
		return nil
	}
	if k.Signed {
		return fault.New(fault.Internal, "providers.KeyField", "internal error, try again later")
	}
	return key.Use(func(b []byte) error {
		var v strings.Builder
		v.Grow(len(k.Scheme) + 1 + len(b))
		if k.Scheme != "" {
			v.WriteString(k.Scheme)
			v.WriteByte(' ')
		}
		v.Write(b)
		h[http.CanonicalHeaderKey(k.Header)] = []string{v.String()}
		return nil
	})
}
