package providers

import (
	"slices"
	"testing"

	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

func names(m credential.Manifest) []string {
	var out []string
	for _, f := range m.Fields {
		out = append(out, f.Field+" "+string(f.Class))
	}
	return out
}

// TestManifest: what is derived, what is added, what is replaced.
func TestManifest(t *testing.T) {
	key := KeyField{Header: "Authorization", Scheme: "Bearer", Prefix: "vk-", MinLen: 12}
	text, speaks := []taxonomy.Capability{taxonomy.CapText}, []taxonomy.Capability{taxonomy.CapAudioOut}
	public := credential.Public
	for name, c := range map[string]struct {
		entry Entry
		want  []string
	}{
		"one key":    {Entry{Key: key, Capabilities: text}, []string{"api_key ai_key", "base_url "}},
		"voice only": {Entry{Key: key, VoiceOnly: true, Capabilities: speaks}, []string{"api_key voice_key", "base_url ", "default_voice_id "}},
		"key and a setting": {Entry{Key: key, Capabilities: text, Fields: []credential.FieldSpec{{Field: "region", Sensitivity: public}}},
			[]string{"api_key ai_key", "region ", "base_url "}},
		"own secrets": {Entry{Capabilities: text, Fields: []credential.FieldSpec{{Field: "access_key_id", Sensitivity: public}, {Field: "secret_access_key"}}},
			[]string{"access_key_id ", "secret_access_key ai_key", "base_url "}},
		"replaced": {Entry{Key: key, VoiceOnly: true, Capabilities: speaks, Fields: []credential.FieldSpec{
			{Field: "api_key", Form: credential.Document}, {Field: "base_url", Sensitivity: public}, {Field: "default_voice_id", Sensitivity: public}}},
			[]string{"api_key voice_key", "base_url ", "default_voice_id "}},
	} {
		c.entry.ID, c.entry.Title = "v", "V"
		m := c.entry.Manifest()
		if got := names(m); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if _, err := credential.New(m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(c.entry.Fields) > 1 && c.entry.Fields[1].Class != "" {
			t.Errorf("%s: the entry itself was changed", name)
		}
	}
	e := Entry{ID: "v", Title: "V", Key: key, KeyRequired: true, Capabilities: text}
	m := e.Manifest()
	if f, _ := m.Field("api_key"); !f.Required || !f.ShowsHint() || f.MinBytes != 12 || f.MaxBytes != 4096 || f.Form != credential.Token || f.Help != "Usually starts with vk-" {
		t.Errorf("%+v", f)
	}
	if f, _ := m.Field("base_url"); !f.Required || !f.ShowsValue() {
		t.Errorf("%+v", f)
	}
	e.DefaultBaseURL = "https://v.example"
	if f, _ := e.Manifest().Field("base_url"); f.Required {
		t.Errorf("%+v", f)
	}
}
