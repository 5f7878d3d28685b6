package body

import (
	"encoding/base64"
	"testing"

	"github.com/latchkey/latchkey/shared/model"
)

// FuzzMedia: media that is taken can be decoded.
func FuzzMedia(f *testing.F) {
	f.Add("data:image/png;base64,aGk=")
	f.Add("data:;base64,")
	f.Add("https://a/b?c")
	f.Add("aGk=\n")
	f.Fuzz(func(t *testing.T, s string) {
		if IsBase64(s) {
			if _, err := base64.StdEncoding.DecodeString(s); err != nil {
				t.Fatalf("%q: %v", s, err)
			}
		}
		var m model.Media
		if DataURL(s, &m) {
			if _, err := m.Bytes(); err != nil || m.MIME != "" && !IsMIME(m.MIME) || m.URL != "" {
				t.Fatalf("%q: %+v, %v", s, m, err)
			}
		}
		if WebURL(s) && DataURL(s, &m) {
			t.Fatalf("%q is both", s)
		}
	})
}

// FuzzParse: every member of an object can be taken once, as one kind.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"a":"x","b":1.5,"c":true,"d":null,"e":[{"f":{}}]}`))
	f.Add([]byte(` {"a":1e400} `))
	f.Add([]byte(`{"a":1,"a":2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := Parse("op", text)
		if err != nil {
			return
		}
		for _, name := range []string{"a", "b", "c", "d"} {
			_, _ = o.String(name)
			_, _ = o.Bool(name)
			_, _ = o.Int(name, 0, 10)
			_, _ = o.Float(name, 0, 1)
			if o.Take(name) != nil {
				t.Fatalf("%q: %s was left", text, name)
			}
		}
		_, _ = o.Rest()
	})
}
