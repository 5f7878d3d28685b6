package history_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/latchkey/latchkey/shared/agent/history"
	"github.com/latchkey/latchkey/shared/session"
)

func TestBudget(t *testing.T) {
	for name, c := range map[string]struct {
		stated int64
		model  string
		want   int64
	}{
		"nothing known":         {0, "", 16_000},
		"an alias":              {0, "fast", 16_000},
		"unknown model":         {0, "openai/none-such", 16_000},
		"a large window":        {0, "openai/gpt-4.1", 16_000},
		"stated":                {9_000, "openai/gpt-4.1", 9_000},
		"stated, no model":      {200_000, "", 200_000},
		"stated above a window": {200_000, "openai/gpt-4o-mini", 96_000},
		"a small window":        {0, "openai/gpt-4", 2_048},
	} {
		if got := history.Budget(c.stated, c.model); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func message(i, bytes int) session.Message {
	return session.Message{Seq: int64(i), Role: session.User, Text: strings.Repeat("x", bytes)}
}

// TestFold: what is folded leaves at most half of the budget behind, is at most a
// budget itself, and nothing is folded while everything fits.
func TestFold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		budget := int64(rapid.IntRange(history.MinTokens, 20_000).Draw(t, "budget"))
		var past []session.Message
		total := int64(0)
		for i := range rapid.IntRange(0, history.Read).Draw(t, "n") {
			m := message(i, rapid.IntRange(0, 6_000).Draw(t, "bytes"))
			past, total = append(past, m), total+history.Tokens(m.Text)
		}
		summary := strings.Repeat("s", rapid.IntRange(0, int(history.SummaryTokens(budget))).Draw(t, "summary"))
		text := strings.Repeat("t", rapid.IntRange(0, 4_000).Draw(t, "text"))
		n := history.Fold(past, summary, text, budget)
		if summary != "" {
			total += history.Tokens(history.Note(summary))
		}
		total += min(history.Tokens(text), budget/2)
		if fits := total <= budget && len(past) <= history.MaxMessages; fits != (n == 0) {
			t.Fatalf("%d of %d messages with %d tokens folded, budget %d", n, len(past), total, budget)
		}
		folded, rest := int64(0), int64(0)
		for i, m := range past {
			if i < n {
				folded += history.Tokens(m.Text)
			} else {
				rest += history.Tokens(m.Text)
			}
		}
		if n > 1 && folded > budget {
			t.Fatalf("%d tokens folded at once, budget %d", folded, budget)
		}
		if more := n > 0 && (rest > budget/2 || len(past)-n > history.MaxMessages/2); more && folded+history.Tokens(past[n].Text) <= budget {
			t.Fatalf("%d tokens left beside a budget of %d", rest, budget)
		}
		if shown := history.Newest(past, budget); len(shown) > 0 && shown[len(shown)-1].Seq != past[len(past)-1].Seq {
			t.Fatal("the newest message is not among the newest")
		}
	})
}

func TestTranscript(t *testing.T) {
	got := history.Transcript("old notes", []session.Message{{Role: session.User, Text: "hello"}, {Role: session.Assistant, Text: "hi"}}, 500)
	if got != "Notes so far:\nold notes\n\nMessages:\nPerson: hello\nAssistant: hi\n" {
		t.Fatalf("%q", got)
	}
	long := strings.Repeat("é", 5_000) + "END"
	got = history.Transcript("", []session.Message{{Role: session.User, Text: long}}, 500)
	if len(got) > 2_100 || !utf8.ValidString(got) || !strings.Contains(got, "END") || strings.Contains(got, "Notes so far") {
		t.Fatalf("%d bytes: %.80q", len(got), got)
	}
	if b := history.Bounded(long, 500); len(b) > 4*125+8 || !utf8.ValidString(b) {
		t.Fatalf("%d bytes", len(b))
	}
	if i := history.Instructions(16_000); !strings.Contains(i, "at most 500 words") {
		t.Fatal(i)
	}
	if fmt.Sprint(history.SummaryTokens(500), history.SummaryTokens(8_000), history.SummaryTokens(100)) != "125 1000 100" {
		t.Fatal("bounds of a summary")
	}
}
