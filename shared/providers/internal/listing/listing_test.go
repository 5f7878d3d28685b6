package listing

import (
	"fmt"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
	"github.com/latchkey/latchkey/shared/speech"
)

func TestPages(t *testing.T) {
	v := &wire.Vendor{ID: "test"}
	for name, tt := range map[string]struct {
		next  func(i int) string
		calls int
		ok    bool
	}{
		"one":       {func(int) string { return "" }, 1, true},
		"three":     {func(i int) string { return []string{"a", "b", ""}[i] }, 3, true},
		"endless":   {func(i int) string { return fmt.Sprint(i) }, maxPages, false},
		"repeated":  {func(int) string { return "a" }, 2, false},
		"long":      {func(int) string { return strings.Repeat("a", maxCursor+1) }, 1, false},
		"unprinted": {func(int) string { return "a\n" }, 1, false},
	} {
		calls := 0
		err := Pages(v, "test.Op", func(string) (string, error) { calls++; return tt.next(calls - 1), nil })
		if calls != tt.calls || tt.ok != (err == nil) || !tt.ok && fault.CodeOf(err) != fault.ProviderError {
			t.Errorf("%s: %d calls, %v", name, calls, err)
		}
	}
	broken := fault.New(fault.ProviderTimeout, "test.Op", "late")
	if err := Pages(v, "test.Op", func(string) (string, error) { return "a", broken }); err != broken {
		t.Error(err)
	}
}

func TestVoices(t *testing.T) {
	var v Voices
	v.Add("Joanna", "Jo \"hanna\"", "en-US")
	v.Add("bad id", "x", "en")
	v.Add("", "x", "en")
	v.Add("b", "line\nbreak", "<script>")
	want := []speech.Voice{{ID: "Joanna", Name: "Jo \"hanna\"", Language: "en-US"}, {ID: "b"}}
	if fmt.Sprint(v.List) != fmt.Sprint(want) {
		t.Errorf("%+v", v.List)
	}
	for i := range MaxEntries + 5 {
		v.Add(fmt.Sprint("v", i), "", "")
	}
	if len(v.List) != MaxEntries {
		t.Errorf("%d voices", len(v.List))
	}
}
