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

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/speech"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Entry is one vendor.
type Entry struct {
	ID    taxonomy.Provider
	Title string
	// DefaultBaseURL is used when a connection states none. It is empty for
	// tenant endpoints, which must state one.
	DefaultBaseURL string
	// Hosts are the exact host names the vendor's key may be sent to. Empty
	// means a tenant endpoint: any public host, checked by package egress.
	Hosts        []string
	Capabilities []taxonomy.Capability
	Key          KeyField
	// KeyRequired is false for endpoints that may run without a key.
	KeyRequired    bool
	DefaultBilling taxonomy.BillingSource
	// NewChat, NewEmbedder, NewTranscriber and NewSynthesizer are nil if the
	// vendor has no such service. The adapters are stateless: one instance serves a process.
	NewChat        func() model.Chat
	NewEmbedder    func() model.Embedder
	NewTranscriber func() speech.Transcriber
	NewSynthesizer func() speech.Synthesizer
	// ListModels lists what the key can use, at most 10,000 entries.
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
}

// Check fails with fault.InvalidRequest if the key cannot be a header value of
// this vendor: wrong length or bytes outside printable ASCII (0x21 to 0x7E).
// The HTTP client would send non-ASCII bytes as they are, so they are stopped
// here.
func (k KeyField) Check(key secret.Text) error {
	minLen, maxLen := k.MinLen, k.MaxLen
	if minLen == 0 {
		minLen = 8
	}
	if maxLen == 0 {
		maxLen = 4096
	}
	return key.Use(func(b []byte) error {
		if len(b) < minLen || len(b) > maxLen {
			return fault.New(fault.InvalidRequest, "providers.KeyField",
				"the API key has an impossible length, copy it again").WithParam("api_key")
		}
		for _, c := range b {
			if c < 0x21 || c > 0x7e {
				return fault.New(fault.InvalidRequest, "providers.KeyField",
					"the API key holds spaces or characters that no key has, copy it again").WithParam("api_key")
			}
		}
		return nil
	})
}

// Set puts the key into a request header. An empty key sets nothing.
func (k KeyField) Set(h http.Header, key secret.Text) error {
	if key.IsZero() {
		return nil
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
