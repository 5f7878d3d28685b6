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
	lists := strings.TrimSuffix(strings.Repeat(`[1],`, MaxEmbedInputs+1), ",")
	long := strings.TrimSuffix(strings.Repeat(`1,`, MaxEmbedTokens+1), ",")
	for raw, want := range map[string]struct {
		texts   []string
		tokens  [][]int64
		message string
	}{
		`"a\u00e9"`: {texts: []string{"aé"}}, ` ["a", "b"] `: {texts: []string{"a", "b"}}, `" "`: {texts: []string{" "}},
		`[1,2]`: {tokens: [][]int64{{1, 2}}}, ` [ [ 1, 2 ] , [3] ]`: {tokens: [][]int64{{1, 2}, {3}}}, `[0]`: {tokens: [][]int64{{0}}},
		`["a",1]`: {message: "token numbers throughout"}, `["a",[1]]`: {message: "token numbers throughout"}, `[null]`: {message: "token numbers throughout"},
		`[{"a":1}]`: {message: "token numbers throughout"}, `[-1]`: {message: "token numbers throughout"},
		`[1,"a"]`: {message: "whole numbers"}, `[1,[2]]`: {message: "whole numbers"}, `[[1],"a"]`: {message: "whole numbers"}, `[[1],2]`: {message: "whole numbers"},
		`[1,-1]`: {message: "whole numbers"}, `[1.5]`: {message: "whole numbers"}, `[[2147483648]]`: {message: "whole numbers"}, `[[1e99]]`: {message: "whole numbers"},
		`[[1],[]]`: {message: "empty text"}, `""`: {message: "empty text"}, `["a",""]`: {message: "empty text"}, `[]`: {message: "is empty"},
		`null`: {message: "a text or an array"}, ``: {message: "a text or an array"}, `{"a":1}`: {message: "a text or an array"},
		`"a`: {message: "not valid JSON"}, `["a"`: {message: "not valid JSON"}, `[` + many + `]`: {message: "more than 2048"}, `[` + lists + `]`: {message: "more than 2048"},
		`[` + long + `]`: {message: "more than 300000"},
	} {
		texts, tokens, err := ParseEmbedInput(json.RawMessage(raw))
		if want.message == "" && (err != nil || !slices.Equal(texts, want.texts) || !slices.EqualFunc(tokens, want.tokens, slices.Equal)) {
			t.Errorf("%.40q: %q, %v, %v", raw, texts, tokens, err)
		}
		if f := fault.As(err); want.message != "" && (f == nil || f.Code != fault.InvalidRequest || f.Param != "input" || !strings.Contains(f.Message, want.message)) {
			t.Errorf("%.40q: %v, want %q", raw, err, want.message)
		}
	}
}

// FuzzParseEmbedInput: what is accepted is either non-empty texts or non-empty
// lists of token numbers, within the bounds.
func FuzzParseEmbedInput(f *testing.F) {
	for _, s := range []string{`"a"`, `["a","b"]`, `[[1],[2]]`, `[1,2]`, `[1,"a"]`, `[[1],"a"]`, `["\ud800"]`, ` [ "x" ] `, `[]`, `nul`, "\"0\"\f"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		texts, tokens, err := ParseEmbedInput(raw)
		if err != nil {
			if fault.As(err).Param != "input" || texts != nil || tokens != nil {
				t.Fatalf("%q: %v with %q, %v", raw, err, texts, tokens)
			}
			return
		}
		n := len(texts) + len(tokens)
		if n == 0 || n > MaxEmbedInputs || len(texts) > 0 && len(tokens) > 0 || slices.Contains(texts, "") || !json.Valid(raw) {
			t.Fatalf("%q: %q, %v", raw, texts, tokens)
		}
		for _, s := range texts {
			if !utf8.ValidString(s) {
				t.Fatalf("%q holds invalid UTF-8", s)
			}
		}
		for _, list := range tokens {
			if len(list) == 0 || len(list) > MaxEmbedTokens || slices.Min(list) < 0 {
				t.Fatalf("%q: %v", raw, tokens)
			}
		}
	})
}
