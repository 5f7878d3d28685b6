package providers

import (
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
)

func TestKeyField(t *testing.T) {
	k := KeyField{Header: "x-api-key", MinLen: 4, MaxLen: 10}
	for key, ok := range map[string]bool{"abcd": true, "abc": false, "abcdefghijk": false, "ab cd": false, "abcd\n": false,
		"abcd\x00": false, "abcdé": false, "": false, "~!#$%": true} {
		err := k.Check(secret.FromString(key))
		f := fault.As(err)
		if ok && err != nil || !ok && (f == nil || f.Code != fault.InvalidRequest || f.Param != "api_key" || key != "" && strings.Contains(f.Error(), key)) {
			t.Errorf("%q: %v", key, err)
		}
	}
	h := http.Header{}
	if err := k.Set(h, secret.FromString("abcd")); err != nil || h.Get("X-Api-Key") != "abcd" {
		t.Errorf("%v, %v", h, err)
	}
	bearer := KeyField{Header: "Authorization", Scheme: "Bearer"}
	if err := bearer.Set(h, secret.FromString("abcd")); err != nil || h.Get("Authorization") != "Bearer abcd" {
		t.Errorf("%v, %v", h, err)
	}
	h = http.Header{}
	if err := bearer.Set(h, secret.Text{}); err != nil || len(h) != 0 {
		t.Errorf("an empty key set %v, %v", h, err)
	}
}

func TestSigningKey(t *testing.T) {
	k := KeyField{Header: "Authorization", MinLen: 1, Signed: true, Form: "A:B", Match: func(b []byte) bool { return string(b) == "a:b" }}
	if err := k.Check(secret.FromString("a:b")); err != nil {
		t.Error(err)
	}
	f := fault.As(k.Check(secret.FromString("a:c")))
	if f == nil || f.Code != fault.InvalidRequest || f.Param != "api_key" || !strings.Contains(f.Message, "A:B") || strings.Contains(f.Error(), "a:c") {
		t.Errorf("%v", f)
	}
	h := http.Header{}
	if err := k.Set(h, secret.FromString("a:b")); fault.CodeOf(err) != fault.Internal || len(h) != 0 {
		t.Errorf("a key that signs was set: %v, %v", h, err)
	}
}
