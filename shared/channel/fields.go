package channel

import (
	"time"

	"github.com/latchkey/latchkey/shared/credential"
)

// DefaultOverlap is how long a rotated secret is still accepted if its field
// and the caller say nothing else.
const DefaultOverlap = 24 * time.Hour

// Spec describes the secret.
func (f SecretField) Spec() credential.FieldSpec {
	s := credential.FieldSpec{Field: f.Name, Class: f.Class, Sensitivity: credential.Secret, Hint: f.Hint, Form: f.Form, MinBytes: f.MinBytes,
		MaxBytes: f.MaxBytes, Overlap: f.Overlap, Required: f.Required, Label: f.Title, Help: f.Help, Validate: f.Valid}
	if s.Form == "" {
		s.Form = credential.Line // people choose some of these, with spaces
	}
	if s.Overlap == 0 {
		s.Overlap = DefaultOverlap
	}
	return s
}

// Spec describes the setting.
func (f ConfigField) Spec() credential.FieldSpec {
	s := credential.FieldSpec{Field: f.Name, Sensitivity: f.Sensitivity, Required: f.Required, List: f.List, Label: f.Title, Help: f.Help}
	if s.Sensitivity == "" {
		s.Sensitivity = credential.Public
	}
	if f.Valid != nil {
		s.Validate = func(b []byte) bool { return f.Valid(string(b)) }
	}
	return s
}

// Manifest lists everything an install of the channel stores per channel.
func (e Entry) Manifest() credential.Manifest {
	m := credential.Manifest{Kind: credential.Channel, ID: string(e.ID), Title: e.Title, NeedsPublicURL: e.NeedsPublicURL,
		BaseURL: credential.BaseURL{Default: e.APIBase, Hosts: e.Hosts}}
	for _, f := range e.Secrets {
		m.Fields = append(m.Fields, f.Spec())
	}
	for _, f := range e.Config {
		m.Fields = append(m.Fields, f.Spec())
	}
	if e.Shared != nil && e.Shared.Consent != nil {
		m.Fields = append(m.Fields, e.Shared.Consent.Secret.Spec())
	}
	return m
}
