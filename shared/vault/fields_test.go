package vault_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

func TestValuesThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		value  string
		reason vault.Reason
	}{
		"empty":            {"", ""},
		"space before":     {" " + key1, ""},
		"space after":      {key1 + " ", ""},
		"line break":       {key1 + "\n", ""},
		"carriage return":  {"a\rb-0123456789", ""},
		"NUL":              {"a\x00b-0123456789", ""},
		"tab":              {"a\tb-0123456789", ""},
		"delete":           {"a\x7fb-0123456789", ""},
		"not ASCII":        {"schlüssel-0123456789", ""},
		"not UTF-8":        {"abc\xff-0123456789", ""},
		"too long":         {strings.Repeat("k", 16<<10+1), ""},
		"our mask":         {secret.Mask, vault.Masked},
		"stars":            {"****", vault.Masked},
		"stars and end":    {"vk-****wxyz", vault.Masked},
		"few stars":        {"***", vault.Masked},
		"bullets":          {"••••••••", vault.Masked},
		"bullets and end":  {"••••wxyz", vault.Masked},
		"circles":          {"●●●●", vault.Masked},
		"ellipsis":         {"…wxyz", vault.Masked},
		"dots before":      {"...wxyz", vault.Masked},
		"dots after":       {"vk-0123...", vault.Masked},
		"redacted":         {"[REDACTED]", vault.Masked},
		"redacted in text": {"Bearer <redacted>", vault.Masked},
		"crosses":          {"xxxxxxxx", vault.Masked},
	} {
		e := newEnv(t)
		_, err := e.v.Create(context.Background(), vault.NewCredential{Op: vaulttest.Op(), Ref: ref("c1"), Origin: origin, Fields: apiKey(c.value)})
		wantFault(t, name, err, fault.InvalidRequest, c.reason, "api_key")
		if err != nil && len(c.value) > 4 && strings.Contains(err.Error(), c.value) {
			t.Errorf("%s: the message quotes the value", name)
		}
		if n := e.kek.Calls("GenerateDataKey") + e.kek.Calls("MAC"); n != 0 {
			t.Errorf("%s: the key service was called", name)
		}
	}
}

func TestValuesThatAreAccepted(t *testing.T) {
	pem := "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"
	for name, c := range map[string]struct {
		class taxonomy.CredentialClass
		field string
		value string
	}{
		"short verify token":  {taxonomy.ChannelVerify, "verify_token", "v1"},
		"space inside":        {taxonomy.ChannelVerify, "auth_value", "Basic dXNlcg=="},
		"all printable":       {taxonomy.AIKey, "api_key", "!\"#$%&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~"},
		"longest":             {taxonomy.AIKey, "api_key", strings.Repeat("k", 16<<10)},
		"service account":     {taxonomy.ChannelSend, "service_account_json", "{\n \"type\": \"service_account\"\n}\n"},
		"private key":         {taxonomy.ChannelSend, "private_key", pem},
		"opaque integration":  {taxonomy.Integration, "payload", "\x00\x01 \r\n ü"},
		"integration":         {taxonomy.Integration, "refresh_token", "tökén\n"},
		"with three asterisk": {taxonomy.AIKey, "api_key", "abc***def-0123456789"},
	} {
		e := newEnv(t)
		r := vault.Ref{Org: "org1", ID: "c1", Provider: "vendor", Class: c.class}
		if _, err := e.v.Create(context.Background(), vault.NewCredential{Op: vaulttest.Op(), Ref: r, Origin: origin, Fields: map[string]secret.Text{c.field: secret.FromString(c.value)}}); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		cred, err := e.v.Load(context.Background(), "org1", c.class, "c1")
		if err != nil {
			t.Fatal(err)
		}
		err = e.v.Reveal(context.Background(), cred, vault.Use{Field: c.field, Purpose: "t"}, func(b []byte) error {
			if string(b) != c.value {
				t.Errorf("%s: came back changed", name)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHints(t *testing.T) {
	long := "0123456789abcdefwxyz" // 20 characters
	for _, c := range []struct {
		class taxonomy.CredentialClass
		field string
		value string
		want  string
	}{
		{taxonomy.AIKey, "api_key", long, "wxyz"},
		{taxonomy.AIKey, "api_key", long[1:], ""},
		{taxonomy.VoiceKey, "voice_key", long, "wxyz"},
		{taxonomy.AIKey, "second", long, ""},
		{taxonomy.ChannelSend, "bot_token", long, "wxyz"},
		{taxonomy.ChannelSend, "access_token", long, "wxyz"},
		{taxonomy.ChannelSend, "refresh_token", long, ""},
		{taxonomy.ChannelSend, "client_secret", long, ""},
		{taxonomy.ChannelSend, "private_key", long, ""},
		{taxonomy.ChannelSend, "service_account_json", long, ""},
		{taxonomy.ChannelVerify, "signing_secret", long, ""},
		{taxonomy.ChannelVerify, "secret_token", long, ""},
		{taxonomy.ChannelVerify, "auth_token", long, ""},
		{taxonomy.ChannelVerify, "hmac_token", long, ""},
		{taxonomy.Integration, "api_key", long, ""},
	} {
		e := newEnv(t)
		h, err := e.v.Create(context.Background(), vault.NewCredential{
			Op:     vaulttest.Op(),
			Ref:    vault.Ref{Org: "org1", ID: "c1", Provider: "vendor", Class: c.class},
			Origin: origin, Fields: map[string]secret.Text{c.field: secret.FromString(c.value)},
		})
		if err != nil || h.Hint() != c.want {
			t.Errorf("%s %s of %d characters: hint %q, want %q (%v)", c.class, c.field, len(c.value), h.Hint(), c.want, err)
		}
	}
}

func TestMainField(t *testing.T) {
	e := newEnv(t)
	h, err := e.v.Create(context.Background(), vault.NewCredential{Op: vaulttest.Op(), Ref: ref("c1"), Origin: origin, Fields: map[string]secret.Text{
		"aaa": secret.FromString("first-0123456789-0000"), "api_key": secret.FromString(key1),
	}})
	if err != nil || h.Hint() != "wxyz" || h.Fingerprint() != h.Fields[1].Fingerprint || fmt.Sprint(h.FieldNames()) != "[aaa api_key]" {
		t.Errorf("%v, %+v", err, h)
	}
	if (vault.Head{}).Hint() != "" || (vault.Head{}).Fingerprint() != "" {
		t.Error("an empty head has a main field")
	}
}

func TestInputsThatAreRefused(t *testing.T) {
	good := vault.NewCredential{Op: vaulttest.Op(), Ref: ref("c1"), Label: "main", Origin: origin, Fields: apiKey(key1)}
	many := map[string]secret.Text{}
	for i := range 17 {
		many[fmt.Sprint("f", i)] = secret.FromString("v")
	}
	large := map[string]secret.Text{}
	for i := range 5 {
		large[fmt.Sprint("f", i)] = secret.FromString(strings.Repeat("v", 16<<10))
	}
	for name, c := range map[string]struct {
		change func(*vault.NewCredential)
		param  string
	}{
		"no org":            {func(c *vault.NewCredential) { c.Ref.Org = "" }, "org"},
		"org with #":        {func(c *vault.NewCredential) { c.Ref.Org = "a#b" }, "org"},
		"no id":             {func(c *vault.NewCredential) { c.Ref.ID = "" }, "id"},
		"id with slash":     {func(c *vault.NewCredential) { c.Ref.ID = "a/b" }, "id"},
		"no provider":       {func(c *vault.NewCredential) { c.Ref.Provider = "" }, "provider"},
		"provider in caps":  {func(c *vault.NewCredential) { c.Ref.Provider = "Vendor" }, "provider"},
		"unknown class":     {func(c *vault.NewCredential) { c.Ref.Class = "root" }, "class"},
		"long label":        {func(c *vault.NewCredential) { c.Label = strings.Repeat("l", 129) }, "label"},
		"label with escape": {func(c *vault.NewCredential) { c.Label = "a\x1b[31m" }, "label"},
		"long actor":        {func(c *vault.NewCredential) { c.Op.Actor = strings.Repeat("l", 129) }, "actor"},
		"no origin":         {func(c *vault.NewCredential) { c.Origin = "" }, "origin"},
		"origin with path":  {func(c *vault.NewCredential) { c.Origin = origin + "/v1" }, "origin"},
		"origin in caps":    {func(c *vault.NewCredential) { c.Origin = "https://API.vendor.example" }, "origin"},
		"no fields":         {func(c *vault.NewCredential) { c.Fields = nil }, "fields"},
		"many fields":       {func(c *vault.NewCredential) { c.Fields = many }, "fields"},
		"large":             {func(c *vault.NewCredential) { c.Fields = large }, "fields"},
		"odd field name":    {func(c *vault.NewCredential) { c.Fields = map[string]secret.Text{"a b": secret.FromString("v")} }, "fields"},
	} {
		e := newEnv(t)
		in := good
		c.change(&in)
		_, err := e.v.Create(context.Background(), in)
		wantFault(t, name, err, fault.InvalidRequest, "", c.param)
	}
	e := newEnv(t)
	ctx := context.Background()
	_, err := e.v.LoadClass(ctx, "a#b", taxonomy.AIKey)
	wantFault(t, "LoadClass", err, fault.InvalidRequest, "", "org")
	_, err = e.v.Load(ctx, "org1", taxonomy.AIKey, "a#b")
	wantFault(t, "Load", err, fault.InvalidRequest, "", "id")
	_, err = e.v.Head(ctx, "org1", "", "a")
	wantFault(t, "Head", err, fault.InvalidRequest, "", "class")
	_, err = e.v.Heads(ctx, "")
	wantFault(t, "Heads", err, fault.InvalidRequest, "", "org")
}

func TestRotationsThatAreRefused(t *testing.T) {
	e := newEnv(t)
	e.create("c1", key1)
	ctx := context.Background()
	for name, c := range map[string]struct {
		r      vault.Rotation
		code   fault.Code
		reason vault.Reason
		param  string
	}{
		"negative overlap": {vault.Rotation{Op: vaulttest.Op(), Ref: ref("c1"), Fields: apiKey("new-value"), Overlap: -1}, fault.InvalidRequest, "", "overlap"},
		"long overlap":     {vault.Rotation{Op: vaulttest.Op(), Ref: ref("c1"), Fields: apiKey("new-value"), Overlap: 31 * 24 * time.Hour}, fault.InvalidRequest, "", "overlap"},
		"no fields":        {vault.Rotation{Op: vaulttest.Op(), Ref: ref("c1")}, fault.InvalidRequest, "", "fields"},
		"the hint":         {vault.Rotation{Op: vaulttest.Op(), Ref: ref("c1"), Fields: apiKey("wxyz")}, fault.InvalidRequest, vault.Masked, "api_key"},
		"the same":         {vault.Rotation{Op: vaulttest.Op(), Ref: ref("c1"), Fields: apiKey(key1)}, fault.Conflict, vault.Duplicate, "api_key"},
		"absent":           {vault.Rotation{Op: vaulttest.Op(), Ref: ref("none"), Fields: apiKey("new-value")}, fault.NotFound, "", ""},
		"other provider": {vault.Rotation{Op: vaulttest.Op(), Ref: vault.Ref{Org: "org1", ID: "c1", Provider: "vendor2", Class: taxonomy.AIKey}, Fields: apiKey("new-value")},
			fault.NotFound, vault.ContextMismatch, ""},
		"bad origin": {vault.Rotation{Op: vaulttest.Op(), Ref: ref("c1"), Fields: apiKey("new-value"), Origin: "https://x/y"}, fault.InvalidRequest, "", "origin"},
		"new origin with overlap": {vault.Rotation{Op: vaulttest.Op(), Ref: ref("c1"), Fields: apiKey("new-value"), Origin: "https://x.example", Overlap: time.Hour},
			fault.InvalidRequest, "", "overlap"},
		"new origin, not all fields": {vault.Rotation{Op: vaulttest.Op(), Ref: ref("c1"), Fields: map[string]secret.Text{"second": secret.FromString("v2")}, Origin: "https://x.example"},
			fault.InvalidRequest, "", "origin"},
	} {
		_, err := e.v.Rotate(ctx, c.r)
		wantFault(t, name, err, c.code, c.reason, c.param)
	}
	if h := e.load("c1").Head; h.Epoch != 1 {
		t.Errorf("a refused rotation wrote: %+v", h)
	}
	for i := range 8 {
		if _, err := e.v.Rotate(ctx, vault.Rotation{Op: vaulttest.Op(), Ref: ref("c1"), Fields: apiKey(fmt.Sprint("value-", i)), Overlap: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := e.v.Rotate(ctx, vault.Rotation{Op: vaulttest.Op(), Ref: ref("c1"), Fields: apiKey("value-9"), Overlap: time.Hour})
	wantFault(t, "too many drains", err, fault.Conflict, vault.TooManyDrains, "")
}

// A key is never sent to a new place without being entered again, and its old
// value never goes there.
func TestChangingTheOrigin(t *testing.T) {
	e := newEnv(t)
	e.create("c1", key1)
	ctx := context.Background()
	if _, err := e.v.Rotate(ctx, vault.Rotation{Op: vaulttest.Op(), Ref: ref("c1"), Fields: apiKey("value-2"), Overlap: time.Hour}); err != nil {
		t.Fatal(err)
	}
	h, err := e.v.Rotate(ctx, vault.Rotation{Op: vaulttest.Op(), Ref: ref("c1"), Fields: apiKey("value-3"), Origin: "https://x.example"})
	if err != nil || h.AllowsOrigin(origin) || !h.AllowsOrigin("https://x.example") || len(h.Drains) != 0 {
		t.Errorf("%v, %+v", err, h)
	}
	if c := e.load("c1"); len(c.Versions) != 1 {
		t.Errorf("old values are still stored: %+v", c.Versions)
	}
	// The same key at a new address is entered again, not refused as unchanged.
	if h, err = e.v.Rotate(ctx, vault.Rotation{Op: vaulttest.Op(), Ref: ref("c1"), Fields: apiKey("value-3"), Origin: "https://y.example"}); err != nil || h.Origin != "https://y.example" {
		t.Errorf("%v, %+v", err, h)
	}
	_, err = e.v.Rotate(ctx, vault.Rotation{Op: vaulttest.Op(), Ref: ref("c1"), Fields: apiKey("value-3"), Origin: "https://y.example"})
	wantFault(t, "nothing changes", err, fault.Conflict, vault.Duplicate, "api_key")
}

func TestAllowsOrigin(t *testing.T) {
	h := vault.Head{Origin: "https://api.vendor.example:8443"}
	for origin, want := range map[string]bool{
		"https://api.vendor.example:8443":              true,
		"https://api.vendor.example":                   false,
		"https://api.vendor.example:8443/":             false,
		"http://api.vendor.example:8443":               false,
		"https://api.vendor.example:84433":             false,
		"https://API.vendor.example:8443":              false,
		"https://api.vendor.example:8443.evil.example": false,
		"https://evil.example":                         false,
		"":                                             false,
	} {
		if h.AllowsOrigin(origin) != want {
			t.Errorf("%q: want %v", origin, want)
		}
	}
	if (vault.Head{}).AllowsOrigin("") {
		t.Error("an empty origin allows the empty origin")
	}
}

func TestOriginOf(t *testing.T) {
	for in, want := range map[string]string{
		"https://api.vendor.example/v1/chat?x=1": "https://api.vendor.example",
		"HTTPS://API.Vendor.example:443":         "https://api.vendor.example",
		"http://127.0.0.1:11434/":                "http://127.0.0.1:11434",
		"http://host:80":                         "http://host",
		"https://host:80":                        "https://host:80",
		"http://[::1]:8080/x":                    "http://[::1]:8080",
		"https://[2001:DB8::1]":                  "https://[2001:db8::1]",
	} {
		if got, err := vault.OriginOf(in); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "api.vendor.example", "//api.vendor.example", "ftp://host", "https://", "https:///x", "https://user:pass-word@host", "https://user@host",
		"https://host:", "https://host:0", "https://host:65536", "https://host:08443", "https://ho st", "https://host\\@evil", "https://höst",
		"https://host.", "https:opaque", "javascript:alert(1)", "https://host:pass-word", "https://[::1%25eth0]", "https://a,b", "https://" + strings.Repeat("a", 5000),
	} {
		got, err := vault.OriginOf(in)
		wantFault(t, in, err, fault.InvalidRequest, "", "origin")
		if got != "" || err != nil && strings.Contains(err.Error(), "pass-word") {
			t.Errorf("%q gives %q, %v", in, got, err)
		}
	}
}

func FuzzOriginOf(f *testing.F) {
	for _, s := range []string{"https://api.vendor.example/v1", "http://[::1]:8080", "https://user@host", "HTTP://H:80?#", "https://a\x00b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, err := vault.OriginOf(in)
		if err != nil {
			if fault.CodeOf(err) != fault.InvalidRequest || got != "" {
				t.Fatalf("%q: %q, %v", in, got, err)
			}
			return
		}
		if again, err := vault.OriginOf(got); err != nil || again != got {
			t.Fatalf("%q gives %q, which gives %q, %v", in, got, again, err)
		}
		if strings.ContainsAny(got, "@?#\\ \r\n") || strings.Count(got, "/") != 2 {
			t.Fatalf("%q gives %q", in, got)
		}
	})
}

// A field that nobody declared has no rules, so it is neither stored nor opened.
func TestUndeclaredFields(t *testing.T) {
	e := newEnv(t)
	e.create("c1", key1)
	ctx := context.Background()
	text := secret.FromString("a-value-0123456789")
	for name, c := range map[string]struct {
		ref   vault.Ref
		field string
		param string
	}{
		"field of nobody":         {ref("c2"), "bearer", "bearer"},
		"setting":                 {ref("c2"), "base_url", "base_url"},
		"field of another class":  {ref("c2"), "voice_key", "voice_key"},
		"field of another kind":   {ref("c2"), "bot_token", "bot_token"},
		"provider of nobody":      {vault.Ref{Org: "org1", ID: "c2", Provider: "nobody", Class: taxonomy.AIKey}, "api_key", "provider"},
		"provider without a kind": {vault.Ref{Org: "org1", ID: "c2", Provider: "openrouter", Class: taxonomy.ChannelSend}, "bot_token", "provider"},
		"integration's field":     {vault.Ref{Org: "org1", ID: "c2", Provider: "crm", Class: taxonomy.Integration}, "bot_token", "bot_token"},
	} {
		_, err := e.v.Create(ctx, vault.NewCredential{Op: vaulttest.Op(), Ref: c.ref, Origin: origin, Fields: map[string]secret.Text{c.field: text}})
		wantFault(t, name, err, fault.InvalidRequest, vault.UnknownField, c.param)
	}
	_, err := e.v.Rotate(ctx, vault.Rotation{Op: vaulttest.Op(), Ref: ref("c1"), Fields: map[string]secret.Text{"bearer": text}})
	wantFault(t, "rotation", err, fault.InvalidRequest, vault.UnknownField, "bearer")
	if n := e.kek.Calls("GenerateDataKey"); n != 1 {
		t.Errorf("%d data keys were made", n)
	}
}

// A credential whose declaration is gone is not opened, and can still be ended.
func TestADeclarationThatIsGone(t *testing.T) {
	e := newEnv(t)
	c := e.create("c1", key1)
	if got, err := e.reveal(c); err != nil || got != key1 {
		t.Fatal(err)
	}
	fewer, err := credential.New(credential.Manifest{Kind: credential.Provider, ID: "vendor", Title: "Vendor", Fields: []credential.FieldSpec{
		{Field: "api_key", Sensitivity: credential.Public}}})
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.New(vault.Options{Store: e.store, KEK: e.kek, Fields: fewer, Now: e.clock.Now, App: "latchkey", Stage: "test"})
	if err != nil {
		t.Fatal(err)
	}
	err = v.Reveal(context.Background(), c, use, func([]byte) error { t.Error("opened"); return nil })
	if vault.ReasonOf(err) != vault.UnknownField {
		t.Errorf("%v, reason %q", err, vault.ReasonOf(err))
	}
	if h, err := v.Revoke(context.Background(), ref("c1"), vaulttest.Op()); err != nil || h.Status != vault.Revoked {
		t.Errorf("%v, %+v", err, h)
	}
}
