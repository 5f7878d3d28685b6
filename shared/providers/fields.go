package providers

import (
	"slices"

	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// APIKeyField is the name of the key that [KeyField] describes.
const APIKeyField = "api_key"

// A key has 8 to 4096 bytes unless its vendor says otherwise.
const (
	minKey = 8
	maxKey = 4096
)

// Class is the credential class of the vendor's secrets: vendors that only hear
// or speak have one of their own, so that fewer functions may open it.
func (e *Entry) Class() taxonomy.CredentialClass {
	if e.VoiceOnly {
		return taxonomy.VoiceKey
	}
	return taxonomy.AIKey
}

// spec describes the key as a field.
func (k KeyField) spec() credential.FieldSpec {
	s := credential.FieldSpec{Field: APIKeyField, Sensitivity: credential.Secret, Hint: credential.Last4, Form: credential.Token,
		MinBytes: k.MinLen, MaxBytes: k.MaxLen, Label: "API key"}
	if s.MinBytes == 0 {
		s.MinBytes = minKey
	}
	if s.MaxBytes == 0 {
		s.MaxBytes = maxKey
	}
	if k.Prefix != "" {
		s.Help = "Usually starts with " + k.Prefix
	}
	return s
}

// Check fails with fault.InvalidRequest if the key cannot be one of this vendor's:
// wrong length, bytes outside visible ASCII (0x21 to 0x7E), or not of its form.
// The HTTP client would send non-ASCII bytes as they are, so they are stopped
// here.
func (k KeyField) Check(key secret.Text) error {
	if err := k.spec().CheckSecret(key); err != nil || k.Match == nil {
		return err
	}
	return key.Use(func(b []byte) error {
		if !k.Match(b) {
			return fault.New(fault.InvalidRequest, "providers.KeyField", "the API key must be written "+k.Form).WithParam(APIKeyField)
		}
		return nil
	})
}

// Manifest lists everything a connection to the vendor stores per vendor:
// [Entry.Fields], and what follows from the rest of the entry unless Fields
// names it: api_key if Key has a header, base_url, and default_voice_id if the
// vendor speaks.
func (e *Entry) Manifest() credential.Manifest {
	m := credential.Manifest{Kind: credential.Provider, ID: string(e.ID), Title: e.Title, Capabilities: e.Capabilities,
		BaseURL: credential.BaseURL{Default: e.DefaultBaseURL, Hosts: e.Hosts}}
	declared := func(name string) bool {
		return slices.ContainsFunc(e.Fields, func(f credential.FieldSpec) bool { return f.Field == name })
	}
	if e.Key.Header != "" && !declared(APIKeyField) {
		key := e.Key.spec()
		key.Required = e.KeyRequired
		m.Fields = append(m.Fields, key)
	}
	m.Fields = append(m.Fields, e.Fields...)
	if !declared("base_url") {
		m.Fields = append(m.Fields, credential.FieldSpec{Field: "base_url", Sensitivity: credential.Public, Required: e.DefaultBaseURL == "",
			Label: "Base URL", Help: "The key is sent to this address only; a new address needs the key again"})
	}
	if e.Has(taxonomy.CapAudioOut) && !declared("default_voice_id") {
		m.Fields = append(m.Fields, credential.FieldSpec{Field: "default_voice_id", Sensitivity: credential.Public, MaxBytes: 128, Label: "Default voice"})
	}
	for i, f := range m.Fields {
		if f.Class == "" && (f.Sensitivity == "" || f.Sensitivity == credential.Secret) {
			m.Fields[i].Class = e.Class()
		}
	}
	return m
}
