package legacycipher

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

type known struct {
	KeyBase64 string `json:"key_base64"`
	Vectors   []struct {
		Name        string `json:"name"`
		PlainBase64 string `json:"plain_base64"`
		Nonce       string `json:"nonce"`
		Stored      string `json:"stored"`
	} `json:"vectors"`
}

func load(t testing.TB) (known, []byte) {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var k known
	if err := json.Unmarshal(b, &k); err != nil || len(k.Vectors) < 10 {
		t.Fatal(err, len(k.Vectors))
	}
	key, err := ParseKey([]byte(k.KeyBase64))
	if err != nil {
		t.Fatal(err)
	}
	return k, key
}

func TestKnownAnswers(t *testing.T) {
	k, key := load(t)
	for _, v := range k.Vectors {
		want, _ := base64.StdEncoding.DecodeString(v.PlainBase64)
		for _, stored := range []string{v.Stored, strings.ToUpper(v.Stored)} {
			if got, err := Open(key, []byte(stored)); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: %v, %q", v.Name, err, got)
			}
		}
		nonce, _ := hex.DecodeString(v.Nonce)
		if got, err := Seal(bytes.NewReader(nonce), key, want); err != nil || string(got) != v.Stored {
			t.Errorf("%s: sealed %s, %v", v.Name, got, err)
		}
	}
}

// The committed answers are what Node's crypto gives.
func TestKnownAnswersAreNodes(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("LATCHKEY_TEST_NODE_MODULES") != "" {
			t.Fatal("node is missing, although ./scripts/setup asks for it")
		}
		t.Skip("node is not installed; the committed answers were made by it")
	}
	got, err := exec.Command(node, "testdata/vectors.mjs").Output()
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/vectors.json")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("testdata/vectors.json differs from what vectors.mjs makes (%v)", err)
	}
}

// Every changed bit is refused: nonce, tag and ciphertext are all covered.
func TestEveryBitCounts(t *testing.T) {
	k, key := load(t)
	stored, _ := hex.DecodeString(k.Vectors[1].Stored)
	for i := range stored {
		for bit := range 8 {
			stored[i] ^= 1 << bit
			if _, err := Open(key, []byte(hex.EncodeToString(stored))); !errors.Is(err, ErrOpen) {
				t.Fatalf("byte %d bit %d: %v", i, bit, err)
			}
			stored[i] ^= 1 << bit
		}
	}
	other := bytes.Clone(key)
	other[0] ^= 1
	if _, err := Open(other, []byte(k.Vectors[1].Stored)); !errors.Is(err, ErrOpen) {
		t.Errorf("another key: %v", err)
	}
}

func TestLayout(t *testing.T) {
	_, key := load(t)
	for name, stored := range map[string]string{
		"empty": "", "a token": "ya29.token", "57 digits": strings.Repeat("a", 57), "56 digits": strings.Repeat("a", 56),
		"odd": strings.Repeat("a", 59), "no digit": strings.Repeat("a", 57) + "g", "a prefix": "enc:" + strings.Repeat("a", 58),
		"a newline": strings.Repeat("a", 59) + "\n", "base64": base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, 60)),
	} {
		if _, err := Open(key, []byte(stored)); !errors.Is(err, ErrLayout) || !errors.Is(Layout([]byte(stored)), ErrLayout) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(key[:16], []byte(strings.Repeat("a", 58))); !errors.Is(err, ErrKey) {
		t.Errorf("a short key: %v", err)
	}
	if _, err := Seal(rand.Reader, key, nil); !errors.Is(err, ErrEmpty) {
		t.Errorf("empty: %v", err)
	}
	if _, err := Seal(bytes.NewReader(nil), key, []byte("x")); err == nil {
		t.Error("sealed without randomness")
	}
}

func TestParseKey(t *testing.T) {
	raw := bytes.Repeat([]byte{0xfb, 0xff}, 16)
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if got, err := ParseKey([]byte(enc.EncodeToString(raw))); err != nil || !bytes.Equal(got, raw) {
			t.Errorf("%v, %x", err, got)
		}
	}
	std := base64.StdEncoding.EncodeToString(raw)
	for name, text := range map[string]string{"empty": "", "31 bytes": base64.StdEncoding.EncodeToString(raw[:31]), "33 bytes": base64.StdEncoding.EncodeToString(append(raw, 1)),
		"hexadecimal": hex.EncodeToString(raw), "newline": std + "\n", "newline inside": std[:8] + "\n" + std[8:], "two signs": std + "=", "mixed": "-" + std[1:], "space": " " + std} {
		if _, err := ParseKey([]byte(text)); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSealedOpens(t *testing.T) {
	_, key := load(t)
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.SliceOfN(rapid.Byte(), 1, 200).Draw(t, "plain")
		stored, err := Seal(rand.Reader, key, plain)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Open(key, stored); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%v", err)
		}
	})
}

func FuzzOpen(f *testing.F) {
	k, key := load(f)
	for _, v := range k.Vectors[:4] {
		f.Add([]byte(v.Stored))
	}
	f.Add([]byte("not hexadecimal"))
	f.Fuzz(func(t *testing.T, stored []byte) {
		plain, err := Open(key, stored)
		if (err == nil) == (plain == nil) {
			t.Fatalf("%v with %d bytes", err, len(plain))
		}
		if errors.Is(err, ErrLayout) != (Layout(stored) != nil) {
			t.Fatal("Open and Layout disagree")
		}
	})
}
