package org_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/org/orgtest"
	"github.com/latchkey/latchkey/shared/secret"
)

func reveal(t *testing.T, s secret.Text) string {
	t.Helper()
	var out string
	if err := s.Use(func(b []byte) error { out = string(b); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

func mint(t *testing.T, orgID, kid string, random io.Reader) (string, org.Digest) {
	t.Helper()
	text, hash, err := org.Mint(orgID, kid, random)
	if err != nil {
		t.Fatal(err)
	}
	return reveal(t, text), hash
}

func TestMintedKeysParseAndAuthenticate(t *testing.T) {
	for _, random := range []io.Reader{rand.Reader, bytes.NewReader(make([]byte, 32)), bytes.NewReader(bytes.Repeat([]byte{0xff}, 32))} {
		text, hash := mint(t, "acme-1", "k-9", random)
		if !strings.HasPrefix(text, "lk_acme-1_k-9_") || len(text) != len("lk_acme-1_k-9_")+43 {
			t.Fatalf("shape of %d characters is wrong", len(text))
		}
		p, err := org.ParseKey(text)
		if err != nil || p.Org != "acme-1" || p.ID != "k-9" {
			t.Fatalf("parsed %q %q: %v", p.Org, p.ID, err)
		}
		rec := org.Key{Org: "acme-1", ID: "k-9", Hash: hash}
		if err := org.Authenticate(&rec, p, orgtest.Now()); err != nil {
			t.Fatalf("own key refused: %v", err)
		}
	}
	if _, _, err := org.Mint("a", "k", iotest.ErrReader(errors.New("no entropy"))); fault.CodeOf(err) != fault.Internal {
		t.Fatalf("a key without randomness: %v", err)
	}
	for _, ids := range [][2]string{{"a_b", "k"}, {"a", "k_1"}, {"", "k"}, {"a", ""}, {"a#", "k"}} {
		if _, _, err := org.Mint(ids[0], ids[1], rand.Reader); fault.CodeOf(err) != fault.Internal {
			t.Errorf("ids %q accepted: %v", ids, err)
		}
	}
}

func TestMalformedKeysAreRefusedBeforeAnyLookUp(t *testing.T) {
	good, _ := mint(t, "acme", "k1", bytes.NewReader(make([]byte, 32)))
	for name, s := range map[string]string{
		"empty": "", "prefix": "sk_" + good[3:], "upper prefix": "LK" + good[2:], "no secret": "lk_acme_k1_", "short": good[:len(good)-1],
		"long": good + "0", "four parts": strings.Replace(good, "acme", "ac_me", 1), "no org": strings.Replace(good, "acme", "", 1),
		"separator": strings.Replace(good, "acme", "a#me", 1), "not base62": good[:len(good)-1] + "-", "space": good + " ", "newline": good + "\n",
		"unicode": good[:len(good)-2] + "é", "huge": "lk_" + strings.Repeat("a", 1<<16),
	} {
		p, err := org.ParseKey(s)
		if p != (org.ParsedKey{}) || fmt.Sprintf("%#v", err) != fmt.Sprintf("%#v", org.Unauthorized()) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

// TestOneAnswerForEveryBadKey is the promise that nobody learns from the answer
// which part of a key was wrong.
func TestOneAnswerForEveryBadKey(t *testing.T) {
	now := orgtest.Now()
	text, hash := mint(t, "acme", "k1", rand.Reader)
	p, err := org.ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	live := org.Key{Org: "acme", ID: "k1", Hash: hash}
	with := func(f func(*org.Key)) *org.Key { k := live; f(&k); return &k }
	want := fmt.Sprintf("%#v", org.Unauthorized())
	for name, rec := range map[string]*org.Key{
		"unknown":     nil,
		"no hash":     with(func(k *org.Key) { k.Hash = org.Digest{} }),
		"other hash":  with(func(k *org.Key) { k.Hash[31] ^= 1 }),
		"revoked":     with(func(k *org.Key) { k.RevokedAt = now.Add(-time.Hour) }),
		"expired":     with(func(k *org.Key) { k.ExpiresAt = now.Add(-time.Second) }),
		"expires now": with(func(k *org.Key) { k.ExpiresAt = now }),
		"other org":   with(func(k *org.Key) { k.Org = "other" }),
		"other id":    with(func(k *org.Key) { k.ID = "k2" }),
	} {
		err := org.Authenticate(rec, p, now)
		if f := fault.As(err); f == nil || fmt.Sprintf("%#v", *f) != strings.Replace(want, "&", "", 1) {
			t.Errorf("%s: %#v", name, err)
		}
	}
	if err := org.Authenticate(with(func(k *org.Key) { k.ExpiresAt = now.Add(time.Second) }), p, now); err != nil {
		t.Errorf("a key that expires later was refused: %v", err)
	}
	if err := org.Authenticate(&org.Key{}, org.ParsedKey{}, now); fault.CodeOf(err) != fault.GatewayAuth {
		t.Error("two empty digests are equal")
	}
}

func TestCredentialFromHeaders(t *testing.T) {
	const auth, x, goog = "authorization", "x-api-key", "x-goog-api-key"
	for name, c := range map[string]struct {
		headers map[string][]string
		want    string
	}{
		"bearer":               {map[string][]string{auth: {"Bearer k"}}, "k"},
		"any case":             {map[string][]string{auth: {"bearer k"}}, "k"},
		"anthropic":            {map[string][]string{x: {"k"}}, "k"},
		"gemini":               {map[string][]string{goog: {"k"}}, "k"},
		"the same everywhere":  {map[string][]string{auth: {"Bearer k"}, x: {"k"}, goog: {"k", "k"}}, "k"},
		"none":                 {nil, ""},
		"two different":        {map[string][]string{auth: {"Bearer k"}, x: {"l"}}, ""},
		"two in one header":    {map[string][]string{x: {"k", "l"}}, ""},
		"two lengths":          {map[string][]string{x: {"k", "kk"}}, ""},
		"other scheme":         {map[string][]string{auth: {"Basic k"}}, ""},
		"other scheme and key": {map[string][]string{auth: {"Basic k"}, x: {"k"}}, ""},
		"no scheme":            {map[string][]string{auth: {"k"}}, ""},
		"empty bearer":         {map[string][]string{auth: {"Bearer "}}, ""},
		"empty beside a key":   {map[string][]string{auth: {"Bearer k"}, x: {""}}, ""},
	} {
		got, err := org.CredentialFromHeaders(func(n string) []string { return c.headers[n] })
		if got != c.want || (c.want == "") != (fault.CodeOf(err) == fault.GatewayAuth) {
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.want)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add("lk_acme_k1_0000000000000000000000000000000000000000000")
	f.Add("lk___")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := org.ParseKey(s)
		if err == nil && !strings.HasPrefix(s, "lk_"+p.Org+"_"+p.ID+"_") || err != nil && fault.CodeOf(err) != fault.GatewayAuth {
			t.Fatalf("%q: %+v, %v", s, p, err)
		}
	})
}
