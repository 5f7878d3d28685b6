package profiles_test

import (
	"bytes"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"math/big"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/profiles"
)

// frozen is a request whose signature was made by testdata/vectors.mjs, and is kept as
// bytes: a recipe that is wrong here and again in the test beside it does not make them.
type frozen struct {
	Profile taxonomy.Profile  `json:"profile"`
	At      int64             `json:"at"` // Unix seconds
	Key     string            `json:"key"`
	Config  webhook.Config    `json:"config"`
	URL     string            `json:"url"`
	Body    string            `json:"body"`
	Headers map[string]string `json:"headers"`
	Covered bool              `json:"covered"` // the signature covers the body
	Keys    struct {          // published by the vendor
		Set          string   `json:"set"`
		Ed25519      string   `json:"ed25519"` // hex
		N            string   `json:"n"`       // an RSA key's modulus; its exponent is 65537
		Endorsements []string `json:"endorsements"`
	} `json:"keys"`
}

func (f frozen) input(t *testing.T) (webhook.Input, []secret.Text) {
	t.Helper()
	in := input(f.URL, f.Body)
	for name, v := range f.Headers {
		in.Header.Add(name, v)
	}
	if f.Config != nil {
		in.Config = f.Config
	}
	switch {
	case f.Keys.Ed25519 != "":
		b, err := hex.DecodeString(f.Keys.Ed25519)
		if err != nil {
			t.Fatal(err)
		}
		in.Keys = sets{f.Keys.Set: {{Ed25519: b}}}
	case f.Keys.N != "":
		b, err := base64.RawURLEncoding.DecodeString(f.Keys.N)
		if err != nil {
			t.Fatal(err)
		}
		in.Keys = sets{f.Keys.Set: {{ID: "k1", RSA: &rsa.PublicKey{N: new(big.Int).SetBytes(b), E: 65537}, Endorsements: f.Keys.Endorsements}}}
	}
	if f.Key == "" {
		return in, nil
	}
	return in, []secret.Text{secret.FromString(f.Key)}
}

// damaged is the request with one late character of one header changed.
func (f frozen) damaged(name string) frozen {
	v := f.Headers[name]
	i := strings.LastIndexAny(v, "0123456789abcdef") // in the alphabet of each of them
	by := "1"
	if v[i] == '1' {
		by = "2"
	}
	f.Headers = maps.Clone(f.Headers)
	f.Headers[name] = v[:i] + by + v[i+1:]
	return f
}

func (f frozen) verdict(t *testing.T) webhook.Reason {
	t.Helper()
	in, secrets := f.input(t)
	return reason(scheme(t, f.Profile), in, time.Unix(f.At, 0), secrets...)
}

// TestFrozenVectors: every vendor that publishes no vector has one that was made once,
// elsewhere; each header of it counts, and the body where it is covered.
func TestFrozenVectors(t *testing.T) {
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []frozen
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	// Those of TestPublishedVectors.
	seen := map[string]bool{"github": true, "twilio": true, "standard_webhooks": true, "svix": true, "openai": true, "replicate": true}
	for _, f := range all {
		seen[string(f.Profile)] = true
		if got := f.verdict(t); got != "" {
			t.Errorf("%s: %s", f.Profile, got)
		}
		for name := range f.Headers {
			if f.damaged(name).verdict(t) == "" {
				t.Errorf("%s: a changed %s is accepted", f.Profile, name)
			}
		}
		other := f
		other.Body += " "
		if got := other.verdict(t); f.Covered && got != webhook.SigMismatch || !f.Covered && got != "" {
			t.Errorf("%s: another body: %q", f.Profile, got)
		}
	}
	for _, p := range profiles.All() {
		if !seen[p.Scheme.Name()] {
			t.Errorf("%s has no vector", p.Scheme.Name())
		}
	}
}

// TestFrozenVectorsAreNodes: the committed bytes are what Node's crypto gives.
func TestFrozenVectorsAreNodes(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		missing(t, "Node")
		t.Skip("the committed vectors were made by it")
	}
	got, err := exec.CommandContext(t.Context(), node, "testdata/vectors.mjs").Output()
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/vectors.json")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("testdata/vectors.json differs from what vectors.mjs makes (%v)", err)
	}
}
