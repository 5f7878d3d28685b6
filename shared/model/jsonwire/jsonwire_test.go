package jsonwire

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCheck(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	var many, twice strings.Builder
	for i := range 100 {
		many.WriteString(`"k` + strconv.Itoa(i) + `":1,`)
	}
	twice.WriteString("{" + many.String() + `"k50":2}`)
	tests := map[string]error{
		`{}`: nil, ` {"a":[1,-0.5e+3,true,false,null,"x\u00e9\"",{}]} `: nil, `"x"`: nil, `0`: nil,
		`{"a":{"b":1},"b":{"a":1}}`: nil, deep(64): nil, "{" + many.String() + `"z":2}`: nil,
		deep(65): ErrDepth, `{"a":1,"a":2}`: ErrDuplicate, `{"a":1,"\u0061":2}`: ErrDuplicate, twice.String(): ErrDuplicate,
		`{"a":{"b":1,"b":2}}`: ErrDuplicate, `[{"a":1},{"a":1,"a":1}]`: ErrDuplicate,
		`{} {}`: ErrTrailing, `{}x`: ErrTrailing, `1 2`: ErrTrailing,
		``: ErrSyntax, `{`: ErrSyntax, `{"a"}`: ErrSyntax, `{a:1}`: ErrSyntax, `[1,]`: ErrSyntax, `{"a":1,}`: ErrSyntax,
		`01`: ErrTrailing, `.5`: ErrSyntax, `1.`: ErrSyntax, `+1`: ErrSyntax, `NaN`: ErrSyntax, `'a'`: ErrSyntax,
		"\"a\nb\"": ErrSyntax, `"\x"`: ErrSyntax, `"a`: ErrSyntax, "\"\xff\"": ErrUTF8, "\xef\xbb\xbf{}": ErrSyntax,
	}
	for in, want := range tests {
		if got := Check([]byte(in)); !errors.Is(got, want) {
			t.Errorf("%.60q: got %v, want %v", in, got, want)
		}
	}
}

// FuzzCheck: what Check accepts, encoding/json accepts, and what encoding/json
// refuses, Check refuses.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{`{"a":[1,"\ud83d\ude00"]}`, `[[[]]]`, `-1.5e-7`, `{"a":1,"a":2}`, `"\ud800"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		err := Check(b)
		valid := json.Valid(b)
		if err == nil && !valid {
			t.Fatalf("%q: accepted", b)
		}
		if valid && (errors.Is(err, ErrSyntax) || errors.Is(err, ErrTrailing)) {
			t.Fatalf("%q: %v", b, err)
		}
	})
}

func FuzzAppendString(f *testing.F) {
	f.Add("a\"\\\n\x00\u2028é😀<&>")
	f.Add("\xff\xfea")
	f.Fuzz(func(t *testing.T, s string) {
		out := AppendString(nil, s)
		var back string
		if err := json.Unmarshal(out, &back); err != nil {
			t.Fatalf("%q gives %q: %v", s, out, err)
		}
		if want := strings.ToValidUTF8(s, "\ufffd"); utf8.ValidString(s) && back != want {
			t.Fatalf("%q came back as %q", s, back)
		}
		if !utf8.Valid(out) {
			t.Fatalf("%q gives invalid UTF-8", s)
		}
	})
}

func TestObject(t *testing.T) {
	o := Begin([]byte("x"))
	o.String("a", "b\"c")
	o.StringIf("no", "")
	o.Int("n", -3)
	o.Bool("t", true)
	o.Raw("r", []byte(`[1]`))
	o.Name("f")
	o.B = AppendFloat(o.B, 0.1)
	if got := string(o.End()); got != `x{"a":"b\"c","n":-3,"t":true,"r":[1],"f":0.1}` {
		t.Fatal(got)
	}
}

// FuzzWalk: what the cursor reads of a valid object, encoding/json reads too.
func FuzzWalk(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":[{"c":"d\n"}], "e" : null}`))
	f.Add([]byte(`{"a":"x"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if !utf8.Valid(b) {
			return
		}
		w, ok := Walk(b)
		if !ok {
			return
		}
		got := map[string]string{}
		for {
			k, v, more, ok := w.Next()
			if !ok {
				return
			}
			if !more {
				break
			}
			got[string(k)] = string(v)
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		for k, v := range want {
			if got[k] != string(v) {
				t.Fatalf("%q: %s is %q, want %q", b, k, got[k], v)
			}
		}
	})
}
