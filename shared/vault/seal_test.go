package vault

import (
	"bytes"
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/topology"
)

// nothing satisfies the dependencies of a vault that is not asked for them.
type nothing struct {
	Store
	KEK
}

// declared has the fields f and field of vendor.
func declared() *credential.Registry {
	r, err := credential.New(credential.Manifest{Kind: credential.Provider, ID: "vendor", Title: "Vendor", Fields: []credential.FieldSpec{
		{Field: "f", Class: taxonomy.AIKey}, {Field: "field", Class: taxonomy.AIKey}}})
	if err != nil {
		panic(err)
	}
	return r
}

func bare(t testing.TB, app, stage string) *Vault {
	t.Helper()
	v, err := New(Options{Store: nothing{}, KEK: nothing{}, Fields: declared(), Now: time.Now, App: app, Stage: stage})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

var sealRef = Ref{Org: "org", ID: "cred", Provider: "vendor", Class: taxonomy.AIKey}

// Each part of the binding alone must matter, with the right data key at hand:
// the key service would notice some of the changes too, but is not asked here.
func TestEveryBindingPart(t *testing.T) {
	v := bare(t, "app", "stage")
	key := make([]byte, KeySize)
	_, _ = rand.Read(key)
	sealed, err := v.sealFields(key, sealRef, 3, map[string]secret.Text{"field": secret.FromString("value")})
	if err != nil {
		t.Fatal(err)
	}
	s := sealed["field"]
	if got, err := v.openField(key, sealRef, 3, "field", s); err != nil || string(got) != "value" {
		t.Fatalf("%q, %v", got, err)
	}
	change := func(f func(*Ref)) Ref { r := sealRef; f(&r); return r }
	for name, open := range map[string]func() ([]byte, error){
		"app":   func() ([]byte, error) { return bare(t, "app2", "stage").openField(key, sealRef, 3, "field", s) },
		"stage": func() ([]byte, error) { return bare(t, "app", "stage2").openField(key, sealRef, 3, "field", s) },
		"org": func() ([]byte, error) {
			return v.openField(key, change(func(r *Ref) { r.Org = "org2" }), 3, "field", s)
		},
		"id": func() ([]byte, error) {
			return v.openField(key, change(func(r *Ref) { r.ID = "cred2" }), 3, "field", s)
		},
		"provider": func() ([]byte, error) {
			return v.openField(key, change(func(r *Ref) { r.Provider = "v2" }), 3, "field", s)
		},
		"class": func() ([]byte, error) {
			return v.openField(key, change(func(r *Ref) { r.Class = taxonomy.VoiceKey }), 3, "field", s)
		},
		"version": func() ([]byte, error) { return v.openField(key, sealRef, 4, "field", s) },
		"field":   func() ([]byte, error) { return v.openField(key, sealRef, 3, "field2", s) },
		"shifted": func() ([]byte, error) {
			return v.openField(key, change(func(r *Ref) { r.Org, r.Provider = "orgv", "endor" }), 3, "field", s)
		},
		"key": func() ([]byte, error) {
			other := bytes.Clone(key)
			other[31] ^= 1
			return v.openField(other, sealRef, 3, "field", s)
		},
	} {
		if got, err := open(); err != TagMismatch || got != nil {
			t.Errorf("another %s: %q, %v", name, got, err)
		}
	}
	if _, err := v.openField(key[:16], sealRef, 3, "field", s); err != MalformedRecord {
		t.Errorf("short key: %v", err)
	}
}

// The algorithm, the format and the label are constants; the list is pinned so
// that none of them is dropped.
func TestBindingIsPinned(t *testing.T) {
	want := "\x00\x00\x00\x14latchkey/vault/aad/1\x00\x00\x00\x03app\x00\x00\x00\x05stage\x00\x00\x00\x03org\x00\x00\x00\x06vendor" +
		"\x00\x00\x00\x04cred\x00\x00\x00\x06ai_key\x00\x00\x00\x05field\x00\x00\x00\x013\x00\x00\x00\x011\x00\x00\x00\x03bv1"
	if got := bare(t, "app", "stage").binding(sealRef, 3, "field"); string(got) != want {
		t.Errorf("binding changed; stored credentials would not open:\n%q\n%q", got, want)
	}
}

func TestContextIsPinned(t *testing.T) {
	got := bare(t, "app", "stage").encryptionContext(sealRef)
	want := map[string]string{"app": "app", "stage": "stage", "org": "org", "provider": "vendor", "cred": "cred", "cls": "ai_key"}
	if !maps.Equal(got, want) {
		t.Errorf("context changed; IAM policies and stored credentials depend on it: %v", got)
	}
	if allowed := topology.ContextKeys(); len(allowed) != len(got) || slices.ContainsFunc(allowed, func(k string) bool { return got[k] == "" }) {
		t.Errorf("the policies admit the keys %v, the context has %v", allowed, got)
	}
}

// A stored empty value must not come out as an empty secret.
func TestEmptyValueDoesNotOpen(t *testing.T) {
	v := bare(t, "app", "stage")
	key := make([]byte, KeySize)
	aead, err := newAEAD(key)
	if err != nil {
		t.Fatal(err)
	}
	empty := Sealed{Ciphertext: aead.Seal(nil, nil, nil, v.binding(sealRef, 1, "field")), Binding: BindingV1}
	if got, err := v.openField(key, sealRef, 1, "field", empty); err != MalformedRecord || got != nil {
		t.Errorf("%q, %v", got, err)
	}
	long := Sealed{Ciphertext: make([]byte, maxField+overhead+1), Binding: BindingV1}
	if _, err := v.openField(key, sealRef, 1, "field", long); err != MalformedRecord {
		t.Errorf("too long: %v", err)
	}
}

func TestNonceIsFresh(t *testing.T) {
	v := bare(t, "app", "stage")
	key := make([]byte, KeySize)
	seen := map[string]bool{}
	for range 100 {
		s, err := v.sealFields(key, sealRef, 1, map[string]secret.Text{"a": secret.FromString("v"), "b": secret.FromString("v")})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range s {
			seen[string(f.Ciphertext[:12])] = true
		}
	}
	if len(seen) != 200 {
		t.Errorf("%d nonces in 200 messages", len(seen))
	}
}

func TestNewRefusesMissingOptions(t *testing.T) {
	ok := Options{Store: nothing{}, KEK: nothing{}, Fields: declared(), Now: time.Now, App: "app", Stage: "stage"}
	for name, change := range map[string]func(*Options){
		"store": func(o *Options) { o.Store = nil },
		"kek":   func(o *Options) { o.KEK = nil },
		"specs": func(o *Options) { o.Fields = nil },
		"now":   func(o *Options) { o.Now = nil },
		"app":   func(o *Options) { o.App = "" },
		"stage": func(o *Options) { o.Stage = "PROD stage" },
	} {
		o := ok
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("missing %s was accepted", name)
		}
	}
	if _, err := New(ok); err != nil {
		t.Error(err)
	}
}

// A store that returns a foreign head must not make it usable or writable.
type foreignStore struct{ Store }

func (foreignStore) Head(context.Context, string, taxonomy.CredentialClass, string) (Head, error) {
	return Head{Ref: Ref{Org: "org2", ID: "cred", Provider: "vendor", Class: taxonomy.AIKey}, Status: Active, Epoch: 1, ActiveVersion: 1}, nil
}

func TestForeignHeadIsNotWritten(t *testing.T) {
	v, err := New(Options{Store: foreignStore{}, KEK: nothing{}, Fields: declared(), Now: time.Now, App: "app", Stage: "stage"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = v.Rotate(context.Background(), Rotation{Ref: sealRef, Op: audit.Op{Actor: "a", ID: "op1", At: time.Unix(1, 0)}, Fields: map[string]secret.Text{"f": secret.FromString("v")}})
	if ReasonOf(err) != ContextMismatch {
		t.Errorf("%v, reason %q", err, ReasonOf(err))
	}
}
