package vaulttest

import (
	"fmt"

	channels "github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/credential"
	providers "github.com/latchkey/latchkey/shared/providers/catalog"
	"github.com/latchkey/latchkey/shared/stripe"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Fields declares what the built-in vendors declare, and for tests the vendors
// "vendor" and "vendor2" with fields of every kind.
func Fields() *credential.Registry {
	all := append(providers.Manifests(), channels.Manifests()...)
	all = append(all, credential.Integrations(), stripe.Manifest(), credential.HTTPTools())
	for _, id := range []string{"vendor", "vendor2"} {
		all = append(all, testProviderFields(id), testChannelFields(id))
	}
	r, err := credential.New(all...)
	if err != nil {
		panic(err)
	}
	return r
}

func testProviderFields(id string) credential.Manifest {
	m := credential.Manifest{Kind: credential.Provider, ID: id, Title: id}
	add := func(f credential.FieldSpec) { f.Class = taxonomy.AIKey; m.Fields = append(m.Fields, f) }
	add(credential.FieldSpec{Field: "api_key", Hint: credential.Last4, MaxBytes: credential.MaxBytes})
	for _, name := range []string{"aaa", "second", "signing_secret"} {
		add(credential.FieldSpec{Field: name})
	}
	for i := range 20 {
		add(credential.FieldSpec{Field: fmt.Sprint("f", i), MaxBytes: credential.MaxBytes})
	}
	m.Fields = append(m.Fields, credential.FieldSpec{Field: "voice_key", Class: taxonomy.VoiceKey, Hint: credential.Last4},
		credential.FieldSpec{Field: "base_url", Sensitivity: credential.Public})
	return m
}

func testChannelFields(id string) credential.Manifest {
	m := credential.Manifest{Kind: credential.Channel, ID: id, Title: id}
	add := func(class taxonomy.CredentialClass, form credential.Form, hint credential.HintRule, names ...string) {
		for _, name := range names {
			m.Fields = append(m.Fields, credential.FieldSpec{Field: name, Class: class, Form: form, Hint: hint, MaxBytes: credential.MaxBytes})
		}
	}
	add(taxonomy.ChannelVerify, credential.Line, credential.NoHint, "signing_secret", "other_secret", "secret_token", "auth_token", "hmac_token", "verify_token", "auth_value", "app_secret", "other")
	add(taxonomy.ChannelSend, credential.Line, credential.Last4, "bot_token", "access_token")
	add(taxonomy.ChannelSend, credential.Line, credential.NoHint, "refresh_token", "client_secret", "field0", "field1", "field2", "field3")
	add(taxonomy.ChannelSend, credential.Document, credential.NoHint, "private_key", "service_account_json")
	return m
}
