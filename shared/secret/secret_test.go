package secret_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/latchkey/latchkey/shared/secret"
)

func TestUseGivesACopyThatIsCleared(t *testing.T) {
	src := []byte("plain-value")
	s := secret.New(src)
	clear(src)
	var kept []byte
	err := s.Use(func(b []byte) error {
		if string(b) != "plain-value" {
			t.Errorf("got %q", b)
		}
		kept = b
		b[0] = 'X'
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(kept, make([]byte, len("plain-value"))) {
		t.Errorf("the lent copy was not cleared: %q", kept)
	}
	_ = s.Use(func(b []byte) error {
		if string(b) != "plain-value" {
			t.Errorf("a user changed the secret: %q", b)
		}
		return nil
	})
}

func TestUseReturnsTheCallersError(t *testing.T) {
	want := errors.New("mine")
	for name, s := range map[string]secret.Text{"empty": {}, "full": secret.FromString("v")} {
		if err := s.Use(func([]byte) error { return want }); err != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPanicIsReplacedAndTheCopyCleared(t *testing.T) {
	var kept []byte
	for name, f := range map[string]func(b []byte){
		"string": func(b []byte) { panic("boom " + string(b)) },
		"error":  func(b []byte) { panic(errors.New(string(b))) },
		"nil":    func([]byte) { panic(nil) },
		"bounds": func(b []byte) { _ = b[len(b)+len(b)] },
	} {
		err := secret.FromString("plain-value").Use(func(b []byte) error { kept = b; f(b); return nil })
		if err != secret.ErrPanic {
			t.Errorf("%s: got %v, want ErrPanic", name, err)
		}
		if !bytes.Equal(kept, make([]byte, len(kept))) || len(kept) == 0 {
			t.Errorf("%s: not cleared: %q", name, kept)
		}
	}
	if err := (secret.Text{}).Use(func([]byte) error { panic("x") }); err != secret.ErrPanic {
		t.Errorf("empty: got %v", err)
	}
}

func TestLendClearsItsArgument(t *testing.T) {
	for name, f := range map[string]func([]byte) error{
		"ok":    func([]byte) error { return nil },
		"error": func([]byte) error { return errors.New("e") },
		"panic": func([]byte) error { panic("p") },
	} {
		b := []byte("plain-value")
		_ = secret.Lend(b, f)
		if !bytes.Equal(b, make([]byte, len(b))) {
			t.Errorf("%s: not cleared", name)
		}
	}
}

func TestEqual(t *testing.T) {
	a, b := secret.FromString("abc"), secret.New([]byte("abc"))
	for name, c := range map[string]struct {
		x, y secret.Text
		want bool
	}{
		"same":        {a, b, true},
		"other":       {a, secret.FromString("abd"), false},
		"prefix":      {a, secret.FromString("ab"), false},
		"both empty":  {secret.Text{}, secret.Text{}, false},
		"empty right": {a, secret.FromString(""), false},
		"empty left":  {secret.New(nil), a, false},
	} {
		if c.x.Equal(c.y) != c.want {
			t.Errorf("%s: want %v", name, c.want)
		}
	}
}

func TestLen(t *testing.T) {
	if n := secret.FromString("four").Len(); n != 4 {
		t.Errorf("Len = %d", n)
	}
	for name, s := range map[string]secret.Text{"zero": {}, "New nil": secret.New(nil), "empty string": secret.FromString("")} {
		if !s.IsZero() || s.Len() != 0 {
			t.Errorf("%s is not zero", name)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	s := secret.FromString("plain-value")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				_ = s.Use(func(b []byte) error {
					if string(b) != "plain-value" {
						t.Error("torn read")
					}
					clear(b)
					return nil
				})
			}
		})
	}
	wg.Wait()
}

func TestUnmarshalJSON(t *testing.T) {
	type body struct {
		Key secret.Text `json:"key"`
	}
	var b body
	if err := json.Unmarshal([]byte(`{"key":"pl\u0061in"}`), &b); err != nil || !b.Key.Equal(secret.FromString("plain")) {
		t.Errorf("string refused: %v", err)
	}
	if err := json.Unmarshal([]byte(`{"key":null}`), &b); err != nil || !b.Key.IsZero() {
		t.Errorf("null must empty the secret: %v", err)
	}
	for _, in := range []string{`{"key":{"plain-value":1}}`, `{"key":["plain-value"]}`, `{"key":12345678}`, `{"key":true}`} {
		err := json.Unmarshal([]byte(in), &b)
		if !errors.Is(err, secret.ErrUnmarshal) {
			t.Errorf("%s: got %v, want ErrUnmarshal", in, err)
		}
		if err != nil && strings.Contains(err.Error(), "plain-value") {
			t.Errorf("error quotes the input: %v", err)
		}
	}
}

func TestMarshalersFail(t *testing.T) {
	s := secret.FromString("plain-value")
	for name, f := range map[string]func() ([]byte, error){
		"json": s.MarshalJSON, "text": s.MarshalText, "binary": s.MarshalBinary, "gob": s.GobEncode,
	} {
		if b, err := f(); b != nil || !errors.Is(err, secret.ErrMarshal) {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

func BenchmarkUse(b *testing.B) {
	s := secret.FromString(strings.Repeat("k", 164))
	n := 0
	for b.Loop() {
		_ = s.Use(func(p []byte) error { n += len(p); return nil })
	}
}
