package model

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/fault"
)

func TestParseEmbedInput(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat(`"x",`, MaxEmbedInputs+1), ",")
	for raw, want := range map[string]struct {
		list    []string
		message string
	}{
		`"a\u00e9"`: {[]string{"aé"}, ""}, ` ["a", "b"] `: {[]string{"a", "b"}, ""}, `" "`: {[]string{" "}, ""},
		`[1,2]`: {nil, "token arrays"}, `[[1,2],[3]]`: {nil, "token arrays"}, `["a",1]`: {nil, "token arrays"}, `[-1]`: {nil, "token arrays"},
		`""`: {nil, "empty text"}, `["a",""]`: {nil, "empty text"}, `[]`: {nil, "is empty"}, `null`: {nil, "a text or an array"}, ``: {nil, "a text or an array"},
		`{"a":1}`: {nil, "a text or an array"}, `[{"a":1}]`: {nil, "a text or an array"}, `[null]`: {nil, "a text or an array"},
		`"a`: {nil, "not valid JSON"}, `["a"`: {nil, "not valid JSON"}, `[` + many + `]`: {nil, "more than 2048"},
	} {
		got, err := ParseEmbedInput(json.RawMessage(raw))
		if want.message == "" && (err != nil || !slices.Equal(got, want.list)) {
			t.Errorf("%.40q: %q, %v", raw, got, err)
		}
		if f := fault.As(err); want.message != "" && (f == nil || f.Code != fault.InvalidRequest || f.Param != "input" || !strings.Contains(f.Message, want.message)) {
			t.Errorf("%.40q: %v, want %q", raw, err, want.message)
		}
	}
}

// FuzzParseEmbedInput: what is accepted are non-empty texts, as many as the
// array has.
func FuzzParseEmbedInput(f *testing.F) {
	for _, s := range []string{`"a"`, `["a","b"]`, `[[1],[2]]`, `[1,"a"]`, `["\ud800"]`, ` [ "x" ] `, `[]`, `nul`, "\"0\"\f"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		list, err := ParseEmbedInput(raw)
		if err != nil {
			if fault.As(err).Param != "input" || list != nil {
				t.Fatalf("%q: %v with %q", raw, err, list)
			}
			return
		}
		if len(list) == 0 || len(list) > MaxEmbedInputs || slices.Contains(list, "") || !json.Valid(raw) {
			t.Fatalf("%q: %q", raw, list)
		}
		for _, s := range list {
			if !utf8.ValidString(s) {
				t.Fatalf("%q holds invalid UTF-8", s)
			}
		}
	})
}
