package vaulttest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
)

func (e *env) roundTrip() {
	long := strings.Repeat("k", 16<<10)
	c := e.create(ref("c1"), "signing_secret", "s3cret-one", "other_secret", long)
	e.wantValue(c, "signing_secret", "s3cret-one")
	e.wantValue(c, "other_secret", long)
	h := c.Head
	if h.Status != vault.Active || h.ActiveVersion != 1 || h.Epoch != 1 || h.Origin != testOrigin || h.CreatedBy != "test" ||
		!h.CreatedAt.Equal(e.clock.Now()) || h.Ref != ref("c1") || len(h.Fields) != 2 || len(h.Fields[0].Fingerprint) != 32 {
		e.Errorf("head: %+v", h)
	}
	ver := c.Versions[0]
	if ver.Format != "bv1" || ver.Alg != 1 || ver.Revision != 1 || ver.Key.KEK != e.kek.Keys()[0] || ver.Key.Material == "" {
		e.Errorf("version: %+v", ver)
	}
	if got := fmt.Sprint(ver.Context); got != "map[app:latchkey cls:channel_verify cred:c1 org:org1 provider:vendor stage:test]" {
		e.Errorf("context: %s", got)
	}
	_, err := e.v.Load(context.Background(), testOrg, taxonomy.ChannelVerify, "none")
	e.wantCode("absent", err, fault.NotFound, "")
	e.wantRefused("absent field", e.v, c, "nothing", vault.NoSuchField)
}

// scopes: loads and lists see exactly what they were asked for.
func (e *env) scopes() {
	ctx := context.Background()
	other := vault.Ref{Org: "org1-x", ID: "c1", Provider: testProvider, Class: taxonomy.ChannelVerify}
	send := vault.Ref{Org: testOrg, ID: "c1", Provider: testProvider, Class: taxonomy.ChannelSend}
	e.create(ref("c1"), "signing_secret", "one")
	e.create(ref("c1-x"), "signing_secret", "two")
	e.create(send, "bot_token", "three")
	e.create(other, "signing_secret", "four")
	e.rotate(ref("c1-x"), time.Hour, "signing_secret", "five")

	creds, err := e.v.LoadClass(ctx, testOrg, taxonomy.ChannelVerify)
	if err != nil || len(creds) != 2 || creds[0].Head.Ref != ref("c1") || creds[1].Head.Ref != ref("c1-x") ||
		len(creds[0].Versions) != 1 || len(creds[1].Versions) != 2 {
		e.Fatalf("LoadClass: %v, %+v", err, creds)
	}
	e.wantValue(creds[0], "signing_secret", "one")
	e.wantValue(creds[1], "signing_secret", "five")
	e.wantValue(e.load(send), "bot_token", "three")
	e.wantValue(e.load(other), "signing_secret", "four")

	heads, err := e.v.Heads(ctx, testOrg)
	if err != nil || len(heads) != 3 {
		e.Fatalf("Heads: %v, %+v", err, heads)
	}
	for _, want := range heads {
		got, err := e.v.Head(ctx, testOrg, want.Ref.Class, want.Ref.ID)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			e.Errorf("Head and Heads differ: %v\n%+v\n%+v", err, got, want)
		}
	}
	if creds, err := e.v.LoadClass(ctx, "nobody", taxonomy.AIKey); err != nil || len(creds) != 0 {
		e.Errorf("an unknown organisation has credentials: %v, %v", creds, err)
	}
}

func (e *env) ciphertextBits() {
	c := e.create(ref("c1"), "signing_secret", "s3cret-one")
	sealed := c.Versions[0].Fields["signing_secret"].Ciphertext
	for i := range len(sealed) * 8 {
		sealed[i/8] ^= 1 << (i % 8)
		e.wantRefused(fmt.Sprint("bit ", i), e.v, c, "signing_secret", vault.TagMismatch)
		sealed[i/8] ^= 1 << (i % 8)
	}
	e.wantValue(c, "signing_secret", "s3cret-one")
	for _, n := range []int{0, 1, 12, 28, len(sealed) - 1} {
		c.Versions[0].Fields["signing_secret"] = vault.Sealed{Ciphertext: sealed[:n], Binding: 1}
		e.wantRefused(fmt.Sprint("cut to ", n), e.v, c, "signing_secret", vault.TagMismatch, vault.MalformedRecord)
	}
	c.Versions[0].Fields["signing_secret"] = vault.Sealed{Ciphertext: append(slices.Clone(sealed), 0), Binding: 1}
	e.wantRefused("one byte more", e.v, c, "signing_secret", vault.TagMismatch)
}

func (e *env) wrappedKeyBits() {
	c := e.create(ref("c1"), "signing_secret", "s3cret-one")
	blob := c.Versions[0].Key.Blob
	for i := range len(blob) * 8 {
		blob[i/8] ^= 1 << (i % 8)
		e.wantRefused(fmt.Sprint("bit ", i), e.v, c, "signing_secret", vault.KeyInvalidCiphertext, vault.KeyIncorrect)
		blob[i/8] ^= 1 << (i % 8)
	}
	e.wantValue(c, "signing_secret", "s3cret-one")
	c.Versions[0].Key.KEK = strings.Replace(c.Versions[0].Key.KEK, "key/", "key/0", 1)
	e.wantRefused("foreign key", e.v, c, "signing_secret", vault.KeyIncorrect)
}

// contextParts changes each part once where the record keeps its own context,
// which the vault notices, and once in the record too, which only the key
// service can notice.
func (e *env) contextParts() {
	c := e.create(ref("c1"), "signing_secret", "s3cret-one")
	e.wantValue(c, "signing_secret", "s3cret-one")
	for part, change := range map[string]func(*vault.Ref) string{
		"org":      func(r *vault.Ref) string { r.Org = "org2"; return r.Org },
		"cred":     func(r *vault.Ref) string { r.ID = "c2"; return r.ID },
		"provider": func(r *vault.Ref) string { r.Provider = "vendor2"; return r.Provider },
		"cls":      func(r *vault.Ref) string { r.Class = taxonomy.AIKey; return string(r.Class) },
	} {
		moved := copyCredential(c)
		value := change(&moved.Head.Ref)
		e.wantRefused(part, e.v, moved, "signing_secret", vault.ContextMismatch)
		moved.Versions[0].Context[part] = value
		e.wantRefused(part+" in the record too", e.v, moved, "signing_secret", vault.KeyInvalidCiphertext)
	}
	for part, v := range map[string]*vault.Vault{
		"app": e.vault(e.store, "other", "test"), "stage": e.vault(e.store, "latchkey", "prod"),
	} {
		moved := copyCredential(c)
		e.wantRefused(part, v, moved, "signing_secret", vault.ContextMismatch)
		moved.Versions[0].Context[part] = map[string]string{"app": "other", "stage": "prod"}[part]
		e.wantRefused(part+" in the record too", v, moved, "signing_secret", vault.KeyInvalidCiphertext)
	}
	for what, change := range map[string]func(map[string]string){
		"more": func(m map[string]string) { m["more"] = "x" },
		"less": func(m map[string]string) { delete(m, "stage") },
		"case": func(m map[string]string) { delete(m, "org"); m["Org"] = testOrg },
		"all":  func(m map[string]string) { clear(m) },
	} {
		changed := copyCredential(c)
		change(changed.Versions[0].Context)
		e.wantRefused("context with "+what, e.v, changed, "signing_secret", vault.ContextMismatch)
	}
}

// swaps moves ciphertexts and whole records to places they were not made for.
func (e *env) swaps() {
	const f = "signing_secret"
	e.create(ref("a"), f, "value-a", "other_secret", "value-o")
	e.rotate(ref("a"), time.Hour, f, "value-a2")
	a := e.load(ref("a"))
	b := e.create(ref("b"), f, "value-b")
	foreign := e.create(vault.Ref{Org: "org2", ID: "a", Provider: testProvider, Class: taxonomy.ChannelVerify}, f, "value-f")

	fields := copyCredential(a)
	v1 := fields.Versions[0].Fields
	v1[f], v1["other_secret"] = v1["other_secret"], v1[f]
	e.wantRefused("fields", e.v, fields, "other_secret", vault.TagMismatch)

	versions := copyCredential(a)
	versions.Versions[1].Fields[f] = a.Versions[0].Fields[f]
	e.wantRefused("ciphertext of another version", e.v, versions, f, vault.TagMismatch)
	versions = copyCredential(a)
	versions.Versions[0].Number, versions.Versions[1].Number = 2, 1
	e.wantRefused("renumbered versions", e.v, versions, f, vault.TagMismatch)

	creds := copyCredential(a)
	creds.Versions[1].Fields[f] = b.Versions[0].Fields[f]
	e.wantRefused("ciphertext of another credential", e.v, creds, f, vault.TagMismatch)
	for what, from := range map[string]vault.Credential{"another credential": b, "another organisation": foreign} {
		moved := copyCredential(a)
		ver := copyVersion(from.Versions[0])
		ver.Number = 2
		moved.Versions[1] = ver
		e.wantRefused("record of "+what, e.v, moved, f, vault.ContextMismatch)
		ver.Context = maps.Clone(a.Versions[1].Context)
		moved.Versions[1] = ver
		e.wantRefused("record of "+what+" with our context", e.v, moved, f, vault.KeyInvalidCiphertext)
	}
}

func (e *env) unknownLayouts() {
	const f = "signing_secret"
	c := e.create(ref("c1"), f, "s3cret-one")
	for want, change := range map[vault.Reason]func(*vault.Credential){
		vault.UnknownFormat: func(c *vault.Credential) { c.Versions[0].Format = "bv2" },
		vault.UnknownAlg:    func(c *vault.Credential) { c.Versions[0].Alg = 2 },
		vault.UnknownBinding: func(c *vault.Credential) {
			c.Versions[0].Fields[f] = vault.Sealed{Ciphertext: make([]byte, 40), Binding: 2}
		},
		vault.UnknownField:    func(c *vault.Credential) { c.Versions[0].Fields["extra"] = c.Versions[0].Fields[f] },
		vault.VersionMissing:  func(c *vault.Credential) { c.Versions = nil },
		vault.MalformedRecord: func(c *vault.Credential) { c.Head.Status = vault.Unreadable },
		vault.IsRevoked:       func(c *vault.Credential) { c.Head.Status = vault.Revoked },
	} {
		changed := copyCredential(c)
		change(&changed)
		e.wantRefused(string(want), e.v, changed, f, want)
	}
	gone := copyCredential(c)
	delete(gone.Versions[0].Fields, f)
	e.wantRefused("field gone", e.v, gone, f, vault.VersionMissing)
}

func (e *env) rotation() {
	const f = "signing_secret"
	e.create(ref("c1"), f, "one")
	e.rotate(ref("c1"), time.Hour, f, "two")
	c := e.load(ref("c1"))
	e.wantValue(c, f, "two")
	e.wantAll(c, f, "+two", "one")
	e.clock.Advance(30 * time.Minute)
	e.rotate(ref("c1"), time.Hour, f, "three")
	e.wantAll(e.load(ref("c1")), f, "+three", "two", "one")
	e.clock.Advance(30*time.Minute - time.Millisecond)
	e.wantAll(e.load(ref("c1")), f, "+three", "two", "one")
	e.clock.Advance(time.Millisecond)
	e.wantAll(e.load(ref("c1")), f, "+three", "two")

	h, err := e.v.Prune(context.Background(), ref("c1"), "test")
	if err != nil || len(h.Drains) != 1 || len(e.load(ref("c1")).Versions) != 2 {
		e.Fatalf("Prune: %v, %+v", err, h)
	}
	if h, err = e.v.FinishRotation(context.Background(), ref("c1"), "", Op()); err != nil || len(h.Drains) != 0 {
		e.Fatalf("FinishRotation: %v, %+v", err, h)
	}
	c = e.load(ref("c1"))
	e.wantAll(c, f, "+three")
	if len(c.Versions) != 1 || c.Head.ActiveVersion != 3 {
		e.Errorf("after finishing: %+v", c)
	}
	again, err := e.v.FinishRotation(context.Background(), ref("c1"), "", Op())
	if err != nil || again.Epoch != h.Epoch {
		e.Errorf("finishing twice must change nothing: %v, %+v", err, again)
	}
	e.rotate(ref("c1"), 0, f, "four")
	c = e.load(ref("c1"))
	e.wantAll(c, f, "+four")
	if len(c.Versions) != 1 {
		e.Errorf("without an overlap the old version must go: %+v", c.Versions)
	}
}

func (e *env) wantAll(c vault.Credential, field string, want ...string) {
	e.Helper()
	if got := e.all(c, field); !slices.Equal(got, want) {
		e.Fatalf("%s opens as %q, want %q", field, got, want)
	}
}

// partialRotation: a field that is not named keeps its value, although nobody
// decrypts while writing.
func (e *env) partialRotation() {
	e.create(ref("c1"), "app_secret", "app-1", "verify_token", "verify-1")
	e.rotate(ref("c1"), time.Hour, "app_secret", "app-2")
	c := e.load(ref("c1"))
	e.wantAll(c, "app_secret", "+app-2", "app-1")
	e.wantAll(c, "verify_token", "+verify-1")
	if _, err := e.v.FinishRotation(context.Background(), ref("c1"), "verify_token", Op()); err != nil {
		e.Fatal(err)
	}
	e.wantAll(e.load(ref("c1")), "app_secret", "+app-2", "app-1")
	if _, err := e.v.FinishRotation(context.Background(), ref("c1"), "app_secret", Op()); err != nil {
		e.Fatal(err)
	}
	c = e.load(ref("c1"))
	e.wantAll(c, "app_secret", "+app-2")
	e.wantAll(c, "verify_token", "+verify-1")
	e.rotate(ref("c1"), 0, "verify_token", "verify-2")
	c = e.load(ref("c1"))
	e.wantAll(c, "app_secret", "+app-2")
	e.wantAll(c, "verify_token", "+verify-2")
	if len(c.Versions) != 2 {
		e.Errorf("versions: %+v", c.Versions)
	}
}

func (e *env) revoke() {
	ctx := context.Background()
	e.create(ref("c1"), "signing_secret", "one")
	e.rotate(ref("c1"), time.Hour, "signing_secret", "two")
	h, err := e.v.Revoke(ctx, ref("c1"), Op())
	if err != nil || h.Status != vault.Revoked {
		e.Fatalf("Revoke: %v, %+v", err, h)
	}
	c := e.load(ref("c1"))
	e.wantRefused("revoked", e.v, c, "signing_secret", vault.IsRevoked)
	if len(c.Versions) != 0 {
		e.Errorf("revoked versions are still stored: %+v", c.Versions)
	}
	if h, err = e.v.Revoke(ctx, ref("c1"), Op()); err != nil || h.Status != vault.Revoked {
		e.Errorf("revoking twice: %v", err)
	}
	_, err = e.v.Rotate(ctx, vault.Rotation{Op: Op(), Ref: ref("c1"), Fields: texts("signing_secret", "three")})
	e.wantCode("rotate after revoke", err, fault.NotFound, vault.IsRevoked)
	_, err = e.v.Create(ctx, vault.NewCredential{Op: Op(), Ref: ref("c1"), Fields: texts("signing_secret", "three")})
	e.wantCode("create over a revoked one", err, fault.Conflict, vault.LostRace)
	_, err = e.v.Revoke(ctx, ref("none"), Op())
	e.wantCode("revoke nothing", err, fault.NotFound, "")
}

func (e *env) duplicates() {
	ctx := context.Background()
	key := func(org, id string) vault.Ref {
		return vault.Ref{Org: org, ID: id, Provider: testProvider, Class: taxonomy.AIKey}
	}
	const value = "vk-0123456789abcdefghij-wxyz"
	c := e.create(key(testOrg, "k1"), "api_key", value)
	if c.Head.Hint() != "wxyz" || len(c.Head.Fingerprint()) != 32 {
		e.Errorf("hint %q, fingerprint %q", c.Head.Hint(), c.Head.Fingerprint())
	}
	_, err := e.v.Create(ctx, vault.NewCredential{Op: Op(), Ref: key(testOrg, "k2"), Origin: testOrigin, Fields: texts("api_key", value)})
	e.wantCode("duplicate", err, fault.Conflict, vault.Duplicate)
	e.create(key(testOrg, "k3"), "api_key", value+"-other")
	_, err = e.v.Rotate(ctx, vault.Rotation{Op: Op(), Ref: key(testOrg, "k3"), Fields: texts("api_key", value)})
	e.wantCode("rotation to a duplicate", err, fault.Conflict, vault.Duplicate)
	_, err = e.v.Rotate(ctx, vault.Rotation{Op: Op(), Ref: key(testOrg, "k1"), Fields: texts("api_key", value)})
	e.wantCode("rotation to itself", err, fault.Conflict, vault.Duplicate)
	if other := e.create(key("org2", "k1"), "api_key", value); other.Head.Fingerprint() == c.Head.Fingerprint() {
		e.Error("the fingerprint must differ between organisations")
	}
	if _, err := e.v.Revoke(ctx, key(testOrg, "k1"), Op()); err != nil {
		e.Fatal(err)
	}
	e.create(key(testOrg, "k2"), "api_key", value)
	// One app's secret verifies several installs.
	e.create(ref("i1"), "signing_secret", value)
	e.create(ref("i2"), "signing_secret", value)
}
