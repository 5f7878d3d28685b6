package channel_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/channel"
)

// byTokens reads the same language with the standard library's reader of tokens.
func byTokens(b []byte) (channel.Object, bool) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	v, ok := token(d, 1)
	o, object := v.(channel.Object)
	_, err := d.Token()
	return o, ok && object && errors.Is(err, io.EOF) && utf8.Valid(b)
}

func token(d *json.Decoder, depth int) (any, bool) {
	t, err := d.Token()
	delim, container := t.(json.Delim)
	if err != nil || container && depth > channel.MaxDepth {
		return nil, false
	}
	switch {
	case !container:
		return t, true
	case delim == '{':
		out := channel.Object{}
		for d.More() {
			name, err := d.Token()
			s, ok := name.(string)
			if _, seen := out[s]; err != nil || !ok || seen {
				return nil, false
			}
			if out[s], ok = token(d, depth+1); !ok {
				return nil, false
			}
		}
		_, err := d.Token()
		return out, err == nil
	case delim == '[':
		out := []any{}
		for d.More() {
			v, ok := token(d, depth+1)
			if !ok {
				return nil, false
			}
			out = append(out, v)
		}
		_, err := d.Token()
		return out, err == nil
	}
	return nil, false
}

// FuzzStrictJSON: what is read and what is refused is what the standard library's
// tokens say.
func FuzzStrictJSON(f *testing.F) {
	deep := func(n int) string { return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}` }
	for _, s := range []string{
		`{}`, ` {"a" : [ 1 , -0.5e+3 , true,false , null,"x\"\\", "\ud83d\ude00\ud800", {"":[]} ] , "b":"ö"} `, `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"o":{"a":1,"a":1}}`,
		deep(63), deep(64), deep(65), `{"a":01}`, `{"a":1,}`, `{,}`, `{"a"}`, `{"a":}`, `[]`, `1`, `null`, ``, ` `, `{"a":1} {}`, `{"a":1}x`, "{\"a\":\"\xff\"}", "{\"a\":\"\n\"}", "\ufeff{}",
		`{"a":"\x"}`, `{"a":nul}`, `{"a":1e}`, `{"a":-}`, `{"a":"`, `{"a":[1 2]}`, `{"a":1 "b":2}`, `{a:1}`, `{"a":"\u00zz"}`, "{\"\\u2028\":\t1\r\n}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := channel.StrictJSON(b)
		want, ok := byTokens(b)
		if ok != (err == nil) || err != nil && !errors.Is(err, channel.ErrJSON) || ok && !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %v %v, tokens say %v %v", b, got, err, want, ok)
		}
	})
}
