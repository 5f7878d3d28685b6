package credential_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	channels "github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/fault"
	providers "github.com/latchkey/latchkey/shared/providers/catalog"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/stripe"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/topology"
)

// builtIn is the registry that the functions use.
func builtIn(t testing.TB) *credential.Registry {
	t.Helper()
	r, err := credential.New(append(append(providers.Manifests(), channels.Manifests()...), credential.Integrations(), stripe.Manifest())...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestWhoMayOpen is the table of the design against the deployed permissions.
// The functions conform and rotate are compared once they are deployed.
func TestWhoMayOpen(t *testing.T) {
	deployed := map[string]bool{}
	for _, f := range topology.Functions() {
		deployed[f.Name] = true
	}
	for class, want := range map[taxonomy.CredentialClass][]string{
		taxonomy.AIKey:         {"conform", "invoke", "rotate", "stt", "tts", "turn"},
		taxonomy.VoiceKey:      {"conform", "rotate", "stt", "tts", "turn"},
		taxonomy.ChannelVerify: {"rotate", "webhook"},
		taxonomy.ChannelSend:   {"rotate", "turn"},
		taxonomy.ChannelApp:    {"conform", "rotate"},
		taxonomy.Integration:   {"rotate"},
		taxonomy.Payment:       {"billing", "rotate"},
		taxonomy.Tool:          {"rotate", "turn"},
	} {
		want = slices.DeleteFunc(want, func(f string) bool { return !deployed[f] })
		if got := credential.Decryptors(class); !slices.Equal(got, want) {
			t.Errorf("%s is opened by %v, the design says %v", class, got, want)
		}
	}
	if got := credential.Decryptors("nothing"); len(got) != 0 {
		t.Errorf("an unknown class is opened by %v", got)
	}
}

// TestEveryManifestIsCovered: each vendor and channel of the catalogs has its
// fields in the registry, each secret names a class of its kind.
func TestEveryManifestIsCovered(t *testing.T) {
	r := builtIn(t)
	for _, e := range providers.Entries() {
		m, ok := r.Find(credential.Provider, string(e.ID))
		if !ok || m.Title != e.Title || len(m.Classes()) == 0 || !slices.Equal(m.Classes(), []taxonomy.CredentialClass{e.Class()}) {
			t.Errorf("%s: %+v", e.ID, m)
			continue
		}
		if f, ok := m.Field("base_url"); !ok || f.Required != e.Tenant() || !f.ShowsValue() {
			t.Errorf("%s: base_url %+v", e.ID, f)
		}
		for _, f := range m.Fields {
			if f.Field == "api_key" && e.Key.Header != "" && (f.Required != e.KeyRequired || !f.HeaderBound()) {
				t.Errorf("%s: %+v", e.ID, f)
			}
		}
	}
	for _, e := range channels.Entries() {
		m, ok := r.Find(credential.Channel, string(e.ID))
		secrets := slices.Clone(e.Secrets)
		if e.Shared != nil && e.Shared.Consent != nil {
			secrets = append(secrets, e.Shared.Consent.Secret)
		}
		if !ok || len(m.Fields) != len(secrets)+len(e.Config) {
			t.Errorf("%s: %+v", e.ID, m)
		}
		for _, f := range secrets {
			if spec, ok := r.Secret(f.Class, string(e.ID), f.Name); !ok || spec.Required != f.Required || spec.Label != f.Title {
				t.Errorf("%s %s: %+v", e.ID, f.Name, spec)
			}
		}
	}
}

func TestLookups(t *testing.T) {
	r := builtIn(t)
	ch, openrouter := string(taxonomy.Slack), string(taxonomy.OpenRouter)
	for _, c := range []struct {
		class           taxonomy.CredentialClass
		provider, field string
		want            bool
	}{
		{taxonomy.AIKey, openrouter, "api_key", true},
		{taxonomy.VoiceKey, openrouter, "api_key", false},
		{taxonomy.Integration, openrouter, "api_key", true}, // an integration of the same name
		{taxonomy.AIKey, openrouter, "base_url", false},
		{taxonomy.AIKey, openrouter, "bot_token", false},
		{taxonomy.AIKey, "nobody", "api_key", false},
		{taxonomy.AIKey, ch, "bot_token", false},
		{taxonomy.ChannelSend, ch, "bot_token", true},
		{taxonomy.ChannelVerify, ch, "bot_token", false},
		{taxonomy.ChannelVerify, ch, "signing_secret", true},
		{taxonomy.ChannelVerify, ch, "team_id", false},
		{taxonomy.Integration, "hubspot", "refresh_token", true},
		{taxonomy.Integration, "hubspot", "anything", false},
		{"root", openrouter, "api_key", false},
		{"", openrouter, "api_key", false},
	} {
		f, ok := r.Secret(c.class, c.provider, c.field)
		if ok != c.want || ok && (f.Field != c.field || f.Class != c.class) || !ok && f.Field != "" {
			t.Errorf("%v: %v, %+v", c, ok, f)
		}
	}
	if !r.Declares(taxonomy.Integration, "hubspot") || r.Declares(taxonomy.AIKey, "hubspot") || r.Declares("root", openrouter) {
		t.Error("Declares")
	}
}

func TestContradictionsAreRefused(t *testing.T) {
	good := credential.FieldSpec{Field: "api_key", Class: taxonomy.AIKey, Hint: credential.Last4}
	manifest := func(fs ...credential.FieldSpec) credential.Manifest {
		return credential.Manifest{Kind: credential.Provider, ID: "v", Title: "V", Fields: fs}
	}
	if _, err := credential.New(manifest(good)); err != nil {
		t.Fatal(err)
	}
	for want, ms := range map[string][]credential.Manifest{
		"declares api_key twice":      {manifest(good, good)},
		`provider "v" is declared`:    {manifest(good), manifest()},
		`provider "" is declared`:     {{Kind: credential.Provider, Title: "V"}},
		"no id or title":              {{Kind: credential.Provider, ID: "v"}},
		"class of its kind":           {manifest(credential.FieldSpec{Field: "x"})},
		"needs a credential class":    {manifest(credential.FieldSpec{Field: "x", Class: taxonomy.ChannelSend})},
		"only a secret has a class":   {manifest(credential.FieldSpec{Field: "x", Class: taxonomy.AIKey, Sensitivity: credential.Public})},
		"a hint or an overlap":        {manifest(credential.FieldSpec{Field: "x", Hint: credential.Last4, Sensitivity: credential.Internal})},
		"unknown sensitivity":         {manifest(credential.FieldSpec{Field: "x", Class: taxonomy.AIKey, Sensitivity: "loud"})},
		"a field name is a word":      {manifest(credential.FieldSpec{Field: "A b", Class: taxonomy.AIKey})},
		"unknown form":                {manifest(credential.FieldSpec{Field: "x", Class: taxonomy.AIKey, Form: "shape"})},
		"a token, a line":             {manifest(credential.FieldSpec{Field: "x", Class: taxonomy.AIKey, Form: credential.Text})},
		"impossible length":           {manifest(credential.FieldSpec{Field: "x", Class: taxonomy.AIKey, MinBytes: 9, MaxBytes: 8})},
		"length limits":               {manifest(credential.FieldSpec{Field: "x", Class: taxonomy.AIKey, MaxBytes: credential.MaxBytes + 1})},
		"negative overlap":            {manifest(credential.FieldSpec{Field: "x", Class: taxonomy.AIKey, Overlap: -time.Hour})},
		"unknown hint rule":           {manifest(credential.FieldSpec{Field: "x", Class: taxonomy.AIKey, Hint: "all"})},
		`"client_secret": its end`:    {manifest(credential.FieldSpec{Field: "client_secret", Class: taxonomy.AIKey, Hint: credential.Last4})},
		`"refresh_token": its end`:    {manifest(credential.FieldSpec{Field: "refresh_token", Class: taxonomy.AIKey, Hint: credential.Last4})},
		`"private_key": its end`:      {manifest(credential.FieldSpec{Field: "private_key", Class: taxonomy.AIKey, Hint: credential.Last4})},
		`"password": its end`:         {manifest(credential.FieldSpec{Field: "password", Class: taxonomy.AIKey, Hint: credential.Last4})},
		`"signing_key": its end`:      {manifest(credential.FieldSpec{Field: "signing_key", Class: taxonomy.AIKey, Hint: credential.Last4})},
		`"file": its end must not be`: {manifest(credential.FieldSpec{Field: "file", Class: taxonomy.AIKey, Hint: credential.Last4, Form: credential.Document})},
		`channel c, field "token"`: {{Kind: credential.Channel, ID: "c", Title: "C", Fields: []credential.FieldSpec{
			{Field: "token", Class: taxonomy.ChannelVerify, Hint: credential.Last4}}}},
		`integration i, field "token"`: {{Kind: credential.Integration, ID: "i", Title: "I", Fields: []credential.FieldSpec{
			{Field: "token", Class: taxonomy.Integration, Hint: credential.Last4}}}},
	} {
		if r, err := credential.New(ms...); err == nil || r != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// TestAVendorsOwnManifestComesFirst: a named integration is not replaced by the
// one for any.
func TestAVendorsOwnManifestComesFirst(t *testing.T) {
	r, err := credential.New(credential.Integrations(), credential.Manifest{Kind: credential.Integration, ID: "crm", Title: "CRM",
		Fields: []credential.FieldSpec{{Field: "ticket", Class: taxonomy.Integration}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := r.Secret(taxonomy.Integration, "crm", "ticket"); !ok {
		t.Error("ticket is missing")
	}
	if _, ok := r.Secret(taxonomy.Integration, "crm", "payload"); ok {
		t.Error("the manifest for any was asked")
	}
}

func TestZeroValuesAreStrict(t *testing.T) {
	r, err := credential.New(credential.Manifest{Kind: credential.Provider, ID: "v", Title: "V", Fields: []credential.FieldSpec{{Field: "x", Class: taxonomy.AIKey}}})
	if err != nil {
		t.Fatal(err)
	}
	f, ok := r.Secret(taxonomy.AIKey, "v", "x")
	if !ok || f.Sensitivity != credential.Secret || f.ShowsValue() || f.ShowsHint() || f.Form != credential.Token || f.MaxBytes != 4096 || f.Label != "x" || f.Provider != "v" {
		t.Errorf("%+v", f)
	}
	if (credential.FieldSpec{}).ShowsValue() || (credential.FieldSpec{}).ShowsHint() || (credential.FieldSpec{}).HintOf(secret.FromString(strings.Repeat("x", 99))) != "" {
		t.Error("an undeclared field shows something")
	}
}

func TestCheck(t *testing.T) {
	odd := func(b []byte) bool { return len(b)%2 == 1 }
	for _, c := range []struct {
		spec  credential.FieldSpec
		value string
		want  string // in the message, empty = accepted
	}{
		{credential.FieldSpec{}, "abc", ""},
		{credential.FieldSpec{}, "", "empty"},
		{credential.FieldSpec{}, "a b", "holds spaces"},
		{credential.FieldSpec{}, "ab\n", "line breaks"},
		{credential.FieldSpec{}, "abé", "cannot have"},
		{credential.FieldSpec{}, strings.Repeat("a", 4097), "longer than 4096"},
		{credential.FieldSpec{MinBytes: 4}, "abc", "shorter than 4"},
		{credential.FieldSpec{Form: credential.Line}, "a b", ""},
		{credential.FieldSpec{Form: credential.Line}, " ab", "spaces around"},
		{credential.FieldSpec{Form: credential.Line}, "ab ", "spaces around"},
		{credential.FieldSpec{Form: credential.Line}, "a\tb", "printable"},
		{credential.FieldSpec{Form: credential.Document}, "\x00 \n ü", ""},
		{credential.FieldSpec{Form: credential.Document}, strings.Repeat("a", credential.MaxBytes), ""},
		{credential.FieldSpec{Sensitivity: credential.Public}, "Ümlaut und Raum", ""},
		{credential.FieldSpec{Sensitivity: credential.Public}, "a\x7f", "control"},
		{credential.FieldSpec{Sensitivity: credential.Public}, "a\xff", "control"},
		{credential.FieldSpec{Sensitivity: credential.Public}, strings.Repeat("a", 513), "longer than 512"},
		{credential.FieldSpec{Validate: odd}, "abc", ""},
		{credential.FieldSpec{Validate: odd, Label: "Team ID"}, "ab", "not a valid Team ID"},
	} {
		c.spec.Field = "field"
		err := c.spec.Check([]byte(c.value))
		if c.want == "" {
			if err != nil {
				t.Errorf("%.20q: %v", c.value, err)
			}
			continue
		}
		f := fault.As(err)
		if err == nil || f.Code != fault.InvalidRequest || f.Param != "field" || !strings.Contains(f.Message, c.want) || len(c.value) > 2 && strings.Contains(f.Message, c.value) {
			t.Errorf("%.20q: %v", c.value, err)
		}
		if fault.CodeOf(c.spec.CheckSecret(secret.FromString(c.value))) != fault.InvalidRequest {
			t.Errorf("%.20q: CheckSecret differs", c.value)
		}
	}
}

func TestHintOf(t *testing.T) {
	hinted := credential.FieldSpec{Sensitivity: credential.Secret, Hint: credential.Last4}
	if got := hinted.HintOf(secret.FromString("0123456789abcdefwxyz")); got != "wxyz" {
		t.Errorf("20 characters: %q", got)
	}
	if got := hinted.HintOf(secret.FromString("0123456789abcdefxyz")); got != "" {
		t.Errorf("19 characters: %q", got)
	}
	if got := hinted.HintOf(secret.Text{}); got != "" {
		t.Errorf("nothing: %q", got)
	}
}

// FuzzCheck: no value makes a check panic or its message quote it; what passes
// as a token or line can be a header value.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{"", "abc", " a", "a\x00b", "é", "\xff", strings.Repeat("k", 5000)} {
		f.Add(s, uint8(0))
		f.Add(s, uint8(3))
	}
	forms := []credential.Form{credential.Token, credential.Line, credential.Document, credential.Text}
	f.Fuzz(func(t *testing.T, value string, form uint8) {
		spec := credential.FieldSpec{Field: "f", Form: forms[int(form)%len(forms)]}
		err := spec.Check([]byte(value))
		if err != nil {
			if fault.CodeOf(err) != fault.InvalidRequest || len(value) > 40 && strings.Contains(err.Error(), value) {
				t.Fatalf("%q: %v", value, err)
			}
			return
		}
		if spec.HeaderBound() && (strings.TrimSpace(value) != value || strings.ContainsFunc(value, func(r rune) bool { return r < 0x20 || r > 0x7e })) {
			t.Fatalf("%q could be a header", value)
		}
	})
}
