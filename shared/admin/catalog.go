package admin

import (
	"slices"

	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// catalogJSON is one provider, channel or integration with everything that a
// form needs.
type catalogJSON struct {
	Kind  credential.Kind `json:"kind"`
	ID    string          `json:"id"`
	Title string          `json:"title"`
	// Classes are the credential classes of its secrets.
	Classes []taxonomy.CredentialClass `json:"classes"`
	// Capabilities is absent for what serves no models or voices.
	Capabilities *capabilitiesJSON `json:"capabilities,omitempty"`
	BaseURL      *baseURLJSON      `json:"base_url,omitempty"`
	// PublicURLRequired says that an install must name the URL typed at the vendor.
	PublicURLRequired bool        `json:"public_url_required"`
	Fields            []fieldJSON `json:"fields"`
}

// baseURLJSON says where a connection's key may go: to the listed hosts, or
// without any to the public address that the connection names.
type baseURLJSON struct {
	Default  string   `json:"default,omitempty"`
	Required bool     `json:"required"`
	Hosts    []string `json:"hosts"`
}

type fieldJSON struct {
	Name        string                   `json:"name"`
	Label       string                   `json:"label"`
	Class       taxonomy.CredentialClass `json:"class,omitempty"`
	Sensitivity credential.Sensitivity   `json:"sensitivity"`
	Required    bool                     `json:"required"`
	List        bool                     `json:"list"`
	Form        credential.Form          `json:"form"`
	Hint        credential.HintRule      `json:"hint"`
	MinBytes    int                      `json:"min_bytes"`
	MaxBytes    int                      `json:"max_bytes"`
	Help        string                   `json:"help,omitempty"`
}

// listCatalog lists what can be connected. Internal fields are not told: nobody
// enters or sees them. The payment vendor and apps of channels that serve many
// organisations are the platform's.
func listCatalog(c *call) (any, error) {
	p, err := c.page()
	if err != nil {
		return nil, err
	}
	offered := slices.DeleteFunc(slices.Clone(c.Fields.Manifests()), func(m credential.Manifest) bool { return m.Kind == credential.Payment || m.Kind == credential.Tool })
	items, next := slicePage(offered, p, func(m credential.Manifest) string { return string(m.Kind) + "/" + m.ID })
	return answer(items, next, catalogOut), nil
}

func catalogOut(m credential.Manifest) catalogJSON {
	out := catalogJSON{Kind: m.Kind, ID: m.ID, Title: m.Title, Classes: slices.DeleteFunc(append([]taxonomy.CredentialClass{}, m.Classes()...), func(c taxonomy.CredentialClass) bool { return c == taxonomy.ChannelApp }),
		PublicURLRequired: m.NeedsPublicURL, Fields: []fieldJSON{}}
	if m.Kind == credential.Provider {
		caps := capabilitiesOut(m.Capabilities)
		out.Capabilities = &caps
		out.BaseURL = &baseURLJSON{Default: m.BaseURL.Default, Required: m.BaseURL.Default == "", Hosts: append([]string{}, m.BaseURL.Hosts...)}
	}
	for _, f := range m.Fields {
		if f.Sensitivity == credential.Internal || f.Class == taxonomy.ChannelApp {
			continue
		}
		out.Fields = append(out.Fields, fieldJSON{Name: f.Field, Label: f.Label, Class: f.Class, Sensitivity: f.Sensitivity, Required: f.Required,
			List: f.List, Form: f.Form, Hint: f.Hint, MinBytes: f.MinBytes, MaxBytes: f.MaxBytes, Help: f.Help})
	}
	return out
}

// shown takes out of a connection what the declarations of its provider do not
// let out; without a declaration nothing is shown.
func (c *call) shown(x connection.Connection) connection.Connection {
	if spec, _ := c.Fields.Secret(x.Class, string(x.Provider), connection.KeyField); !spec.ShowsHint() {
		x.Hint = ""
	}
	m, _ := c.Fields.Find(credential.Provider, string(x.Provider))
	if spec, _ := m.Field("base_url"); !spec.ShowsValue() {
		x.BaseURL = ""
	}
	if spec, _ := m.Field("default_voice_id"); !spec.ShowsValue() {
		x.DefaultVoiceID = ""
	}
	return x
}
