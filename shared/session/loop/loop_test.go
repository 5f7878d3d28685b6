package loop_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/session/loop"
)

var start = time.Date(2026, 3, 4, 8, 0, 0, 0, time.UTC)

// talk is a conversation: each step is stored and read again.
type talk struct {
	*testing.T
	state string
	at    time.Time
	said  int
}

func (c *talk) say(after time.Duration, e loop.Event) loop.Reason {
	c.Helper()
	c.at = c.at.Add(after)
	c.said++
	e.At, e.ID = c.at, fmt.Sprint("turn ", c.said)
	s, err := loop.Parse(c.state)
	if err != nil {
		c.Fatal(err)
	}
	next, why := s.Next(e)
	if c.state = next.String(); len(c.state) > 512 {
		c.Errorf("a state of %d bytes", len(c.state))
	}
	if again, same := next.Next(e); e.Bot && (same != why && same != loop.Pause || !again.Equal(next)) {
		c.Errorf("looked at again: %q after %q", same, why)
	}
	return why
}

func (c *talk) bot(after time.Duration) loop.Reason {
	c.Helper()
	return c.say(after, loop.Event{Bot: true, Text: "x"})
}

func (c *talk) person(after time.Duration) { c.say(after, loop.Event{Text: "x"}) }

func newTalk(t *testing.T) *talk { return &talk{T: t, at: start} }

// TestRow: three turns, one record, a pause, three turns; a person ends it.
func TestRow(t *testing.T) {
	c := newTalk(t)
	want := []loop.Reason{"", "", "", loop.Row, loop.Pause, loop.Pause}
	for round := range 2 {
		for k, w := range want {
			if got := c.bot(time.Second); got != w {
				t.Errorf("round %d, message %d: %q, want %q", round, k, got, w)
			}
		}
		c.at = c.at.Add(loop.Cooldown)
	}
	c.bot(0)
	c.bot(0)
	c.bot(0)
	if got := c.bot(0); got != loop.Row {
		t.Errorf("%q", got)
	}
	c.person(time.Second)
	if got := c.bot(time.Second); got != "" {
		t.Errorf("after a person: %q", got)
	}
	// Turns that lie apart are not in a row.
	c = newTalk(t)
	for range 10 {
		if got := c.bot(loop.Cooldown); got != "" {
			t.Errorf("%q", got)
		}
	}
}

// TestMinute: people between the bots do not let twenty-one messages into a minute;
// the twenty-first of a sliding one is refused.
func TestMinute(t *testing.T) {
	c := newTalk(t)
	for k := range 20 {
		if got := c.bot(2 * time.Second); got != "" {
			t.Fatalf("%d: %q", k, got)
		}
		c.person(0)
	}
	if got := c.bot(2 * time.Second); got != loop.Minute {
		t.Errorf("%q", got)
	}
	if got := c.bot(time.Second); got != loop.Pause {
		t.Errorf("%q", got)
	}
	c = newTalk(t)
	for k := range 60 {
		if got := c.bot(3 * time.Second); got != "" {
			t.Fatalf("twenty a minute, %d: %q", k, got)
		}
		c.person(0)
	}
}

// TestSlowLoop: a bot that answers every quarter of an hour gets thirty turns a day.
func TestSlowLoop(t *testing.T) {
	c := newTalk(t)
	answered, records := 0, 0
	for c.at.Before(start.Add(15 * time.Hour)) {
		switch c.bot(15 * time.Minute) {
		case "":
			answered++
		case loop.Day:
			records++
		case loop.Pause:
		default:
			t.Error("another reason")
		}
	}
	if answered != loop.PerDay || records != 1 {
		t.Errorf("%d turns, %d records", answered, records)
	}
	c.at = start.Truncate(24 * time.Hour).Add(24 * time.Hour)
	if got := c.bot(0); got != "" {
		t.Errorf("the next day: %q", got)
	}
	c = newTalk(t)
	for range loop.PerDay {
		c.bot(15 * time.Minute)
	}
	c.person(time.Second)
	if got := c.bot(time.Second); got != "" {
		t.Errorf("after a person: %q", got)
	}
}

// TestSuspects: who repeats a text or writes like a clock is a bot until it does
// something else, where the vendor does not say; people never are.
func TestSuspects(t *testing.T) {
	run := func(gaps func(k int) time.Duration, text func(k int) string, unknown bool) (first int, why loop.Reason) {
		c := newTalk(t)
		for k := range 60 {
			if why := c.say(gaps(k), loop.Event{Unknown: unknown, Text: text(k)}); why != "" {
				return k + 1, why
			}
		}
		return 0, ""
	}
	fixed := func(d time.Duration) func(int) time.Duration { return func(int) time.Duration { return d } }
	same := func(int) string { return "Thank you for your message." }
	other := func(k int) string { return fmt.Sprint("text ", k) }
	uneven := func(k int) time.Duration { return time.Duration(20+(k*k*37)%90) * time.Second }
	for name, c := range map[string]struct {
		gaps    func(int) time.Duration
		text    func(int) string
		unknown bool
		first   int
		why     loop.Reason
	}{
		"repeats":            {uneven, same, true, loop.Same + 1 + loop.InARow, loop.Suspect},
		"like a clock":       {fixed(30 * time.Second), other, true, loop.Regular + 2 + loop.InARow, loop.Suspect},
		"slowly repeats":     {func(k int) time.Duration { return time.Hour + uneven(k)*9 }, same, true, 0, ""},
		"voice notes":        {uneven, func(int) string { return "" }, true, 0, ""},
		"a person":           {uneven, other, true, 0, ""},
		"where vendors tell": {fixed(30 * time.Second), same, false, 0, ""},
	} {
		if first, why := run(c.gaps, c.text, c.unknown); first != c.first || why != c.why {
			t.Errorf("%s: message %d, %q, want %d, %q", name, first, why, c.first, c.why)
		}
	}
	// A slow one meets the budget of the day.
	c := newTalk(t)
	answered := 0
	for range 60 {
		if c.say(15*time.Minute, loop.Event{Unknown: true, Text: "Thank you."}) == "" {
			answered++
		}
	}
	if answered < loop.PerDay || answered > loop.PerDay+loop.Same+3 {
		t.Errorf("%d answers", answered)
	}
	// Something else ends the suspicion.
	c = newTalk(t)
	for range 9 {
		c.say(time.Second, loop.Event{Unknown: true, Text: "Thank you."})
	}
	if why := c.say(77*time.Second, loop.Event{Unknown: true, Text: "I am a person"}); why != "" {
		t.Errorf("%q", why)
	}
}

// TestLookedAtAgain: a run that died in between is told the same, and it counts once.
func TestLookedAtAgain(t *testing.T) {
	s, at := loop.State{}, start
	for n, want := range []loop.Reason{"", "", "", loop.Row} {
		e := loop.Event{ID: fmt.Sprint(n), Bot: true, Text: "x", At: at.Add(time.Duration(n) * time.Second)}
		for range 3 {
			next, why := s.Next(e)
			if why != want {
				t.Errorf("message %d: %q, want %q", n, why, want)
			}
			s = next
		}
	}
	if _, why := s.Next(loop.Event{ID: "4", Bot: true, At: at.Add(5 * time.Second)}); why != loop.Pause {
		t.Errorf("%q", why)
	}
}

// TestLikeAClockInAPause: who writes like a clock is still a bot after a message that
// was not answered.
func TestLikeAClockInAPause(t *testing.T) {
	c := newTalk(t)
	answered := 0
	for k := range 30 {
		if c.say(25*time.Second, loop.Event{Unknown: true, Text: fmt.Sprint("text ", k)}) == "" {
			answered++
		}
	}
	if answered > loop.Regular+1+2*loop.InARow {
		t.Errorf("%d answers", answered)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`{"r":2,"l":5,"m":[1,2],"q":9}`)
	f.Add(`{"m":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21]}`)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := loop.Parse(text)
		if err != nil {
			return
		}
		again, err := loop.Parse(s.String())
		if err != nil || again.String() != s.String() {
			t.Fatalf("%q, %v", s, err)
		}
		next, _ := s.Next(loop.Event{ID: "e", Bot: true, At: start})
		if _, err := loop.Parse(next.String()); err != nil && len(next.String()) <= 1024 {
			t.Fatalf("%q: %v", next, err)
		}
	})
}
