package sessiontest

import (
	"errors"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/session"
)

// loops: what the guard against loops keeps goes with a message, stays when a message
// says nothing, and can be stored by itself.
func loops(t *testing.T, s Store) {
	t.Helper()
	ctx := t.Context()
	x := open(t, s, "o8")
	say := func(id, loop string) {
		t.Helper()
		turn, _ := take(t, s, claim("o8", id, "m-"+id, 1, "w", start()))
		if err := s.Append(ctx, turn, session.Message{Role: session.User, Text: "u", TurnID: turn.ID, At: start(), Loop: loop}); err != nil {
			t.Fatal(err)
		}
		if err := s.Plan(ctx, turn, nil, session.Message{Role: session.Assistant, Text: "a", TurnID: turn.ID, At: start()}, start()); err != nil {
			t.Fatal(err)
		}
	}
	want := func(loop string) {
		t.Helper()
		if got := open(t, s, "o8").Loop; got != loop {
			t.Errorf("the guard keeps %q, want %q", got, loop)
		}
	}
	want("")
	say("t1", `{"r":1}`)
	want(`{"r":1}`)
	say("t2", "")
	want(`{"r":1}`)
	if err := s.Quiet(ctx, "o8", x.ID, `{"q":5}`); err != nil {
		t.Fatal(err)
	}
	want(`{"q":5}`)
	if err := s.Quiet(ctx, "o8", "nobody", "{}"); err == nil {
		t.Error("a session that is not there was made")
	}
}

// rooms: what is kept of a room is replaced by whoever read it last.
func rooms(t *testing.T, s Store) {
	ctx := t.Context()
	want := func(id, kept string) {
		t.Helper()
		if got, err := s.Room(ctx, "o9", id); err != nil || got != kept {
			t.Errorf("%q, %v, want %q", got, err, kept)
		}
	}
	want("r", "")
	keep := func(was, next string, want error) {
		t.Helper()
		if err := s.KeepRoom(ctx, "o9", "r", was, next, start().Add(time.Hour)); !errors.Is(err, want) {
			t.Errorf("%q after %q: %v", next, was, err)
		}
	}
	keep("x", "y", session.ErrChanged)
	keep("", "a", nil)
	keep("", "b", session.ErrChanged)
	keep("a", "b", nil)
	keep("a", "c", session.ErrChanged)
	want("r", "b")
	want("other", "")
}
