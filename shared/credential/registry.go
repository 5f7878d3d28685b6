package credential

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/topology"
)

// Manifest is one provider, channel or integration with all its fields.
type Manifest struct {
	Kind         Kind
	ID           string
	Title        string
	Capabilities []taxonomy.Capability
	BaseURL      BaseURL
	// NeedsPublicURL says that an install must name the URL typed at the vendor.
	NeedsPublicURL bool
	Fields         []FieldSpec
}

// BaseURL says where the key of a provider may go.
type BaseURL struct {
	// Default is used when a connection names none; empty if it must.
	Default string
	// Hosts are the only host names allowed; empty means any public one.
	Hosts []string
}

// Field finds a field of the manifest.
func (m Manifest) Field(name string) (FieldSpec, bool) {
	for _, f := range m.Fields {
		if f.Field == name {
			return f, true
		}
	}
	return FieldSpec{}, false
}

// Classes lists the credential classes of the manifest's secrets, sorted.
func (m Manifest) Classes() []taxonomy.CredentialClass {
	var out []taxonomy.CredentialClass
	for _, f := range m.Fields {
		if f.Sensitivity == Secret {
			out = append(out, f.Class)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// AnyProvider is the id of the manifest that stands for every integration
// without one of its own: organisations bring credentials of vendors that no
// catalog lists, and the vault keeps those as opaque values.
const AnyProvider = "any"

// Integrations declares what a credential of class integration may hold,
// whatever its provider. The values are opaque: an imported one must come back
// byte for byte, so nothing about its form is checked, and none is hinted at.
func Integrations() Manifest {
	m := Manifest{Kind: Integration, ID: AnyProvider, Title: "Any other integration"}
	for _, f := range []FieldSpec{
		{Field: "access_token", Label: "Access token"},
		{Field: "api_key", Label: "API key"},
		{Field: "client_secret", Label: "OAuth client secret"},
		{Field: "password", Label: "Password"},
		{Field: "payload", Label: "Stored payload", Help: "A whole record as another system stored it"},
		{Field: "private_key", Label: "Private key"},
		{Field: "refresh_token", Label: "OAuth refresh token"},
	} {
		f.Class, f.Form = taxonomy.Integration, Document
		m.Fields = append(m.Fields, f)
	}
	return m
}

// HTTPTools declares what an organisation's own tools are called with: header
// names and values, as one document that code parses.
func HTTPTools() Manifest {
	return Manifest{Kind: Tool, ID: "http_tool", Title: "HTTP tool", Fields: []FieldSpec{
		{Field: "headers", Label: "Headers", Class: taxonomy.Tool, Form: Document}}}
}

// Registry is all declared fields.
type Registry struct {
	manifests []Manifest
	byID      map[string]int
}

// New gathers manifests, filling in the defaults of their fields. It fails,
// naming every contradiction, if a manifest or a field is declared twice, a
// secret has no class of its kind, another field has one, or a hint is asked for
// where none may be shown: of what verifies, of integrations, of documents, and
// of anything called a secret, password, private key or refresh token.
func New(manifests ...Manifest) (*Registry, error) {
	r := &Registry{byID: map[string]int{}}
	var wrong []error
	for _, m := range manifests {
		m.Fields = slices.Clone(m.Fields)
		seen := map[string]bool{}
		for i, f := range m.Fields {
			f.Provider = m.ID
			f = f.withDefaults()
			m.Fields[i] = f
			if seen[f.Field] {
				wrong = append(wrong, fmt.Errorf("credential: %s %s declares %s twice", m.Kind, m.ID, f.Field))
			}
			seen[f.Field] = true
			if why := f.contradiction(m.Kind); why != "" {
				wrong = append(wrong, fmt.Errorf("credential: %s %s, field %q: %s", m.Kind, m.ID, f.Field, why))
			}
		}
		r.manifests = append(r.manifests, m)
	}
	slices.SortFunc(r.manifests, func(a, b Manifest) int {
		return cmp.Or(strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.ID, b.ID))
	})
	for i, m := range r.manifests {
		if _, twice := r.byID[key(m.Kind, m.ID)]; twice || m.ID == "" || m.Title == "" {
			wrong = append(wrong, fmt.Errorf("credential: %s %q is declared twice or has no id or title", m.Kind, m.ID))
		}
		r.byID[key(m.Kind, m.ID)] = i
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	return r, nil
}

// key cannot collide: a kind is one of a few words without a slash.
func key(kind Kind, id string) string { return string(kind) + "/" + id }

// unhinted are words in the names of fields whose end is never shown: values
// that sign, that open other accounts, or that people choose and reuse.
var unhinted = []string{"secret", "private", "refresh", "sign", "verify", "hmac", "password", "service_account", "basic_auth", "payload"}

// contradiction says what is wrong with a declaration, "" if nothing is.
func (s FieldSpec) contradiction(kind Kind) string {
	switch s.Sensitivity {
	case Secret:
		if KindOf(s.Class) != kind {
			return "a secret needs a credential class of its kind"
		}
	case Internal, Public:
		if s.Class != "" || s.Hint != NoHint || s.Overlap != 0 {
			return "only a secret has a class, a hint or an overlap"
		}
	default:
		return "unknown sensitivity"
	}
	switch {
	case !word(s.Field):
		return "a field name is a word of a-z, 0-9 and _"
	case s.Form != Token && s.Form != Line && s.Form != Document && s.Form != Text:
		return "unknown form"
	case s.Sensitivity == Secret && s.Form == Text:
		return "a secret is a token, a line or a document"
	case s.MinBytes < 1 || s.MaxBytes < s.MinBytes || s.MaxBytes > MaxBytes:
		return "impossible length limits"
	case s.Overlap < 0:
		return "a negative overlap"
	case s.Hint != NoHint && s.Hint != Last4:
		return "unknown hint rule"
	case s.Hint == Last4 && !s.hintable():
		return "its end must not be shown"
	}
	return ""
}

func (s FieldSpec) hintable() bool {
	if s.Class == taxonomy.ChannelVerify || s.Class == taxonomy.Integration || s.Form == Document {
		return false
	}
	return !slices.ContainsFunc(unhinted, func(w string) bool { return strings.Contains(s.Field, w) })
}

func word(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_')
	})
}

// Manifests lists everything, by kind and id. The result must not be changed.
func (r *Registry) Manifests() []Manifest { return r.manifests }

// Find finds a manifest.
func (r *Registry) Find(kind Kind, id string) (Manifest, bool) {
	i, ok := r.byID[key(kind, id)]
	if !ok {
		return Manifest{}, false
	}
	return r.manifests[i], true
}

// Declares reports whether credentials of the class and provider exist at all.
func (r *Registry) Declares(class taxonomy.CredentialClass, provider string) bool {
	_, ok := r.manifest(class, provider)
	return ok
}

func (r *Registry) manifest(class taxonomy.CredentialClass, provider string) (Manifest, bool) {
	kind := KindOf(class)
	if m, ok := r.Find(kind, provider); ok || kind != Integration {
		return m, ok
	}
	return r.Find(Integration, AnyProvider)
}

// Secret finds the spec of a secret field of a credential; a field that is
// declared with another class or as no secret is not found.
func (r *Registry) Secret(class taxonomy.CredentialClass, provider, field string) (FieldSpec, bool) {
	m, _ := r.manifest(class, provider)
	f, ok := m.Field(field)
	if !ok || f.Sensitivity != Secret || f.Class != class {
		return FieldSpec{}, false
	}
	return f, true
}

// Decryptors names the functions that may open credentials of a class, sorted.
// It reads the permissions that are deployed.
func Decryptors(class taxonomy.CredentialClass) []string {
	out := []string{}
	for _, f := range topology.Functions() {
		for _, k := range f.KMS {
			if slices.Contains(k.Actions, "Decrypt") && slices.Contains(k.Classes, class) {
				out = append(out, f.Name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
