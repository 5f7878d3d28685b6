package sessiontest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agent/handoff"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	events "github.com/latchkey/latchkey/shared/outbox"
	"github.com/latchkey/latchkey/shared/session"
)

// People is a [handoff.Store] beside a [session.Reader], and what turns need of it.
type People interface {
	Handed(ctx context.Context, org, after string, limit int) (page []session.Session, next string, err error)
	Hand(ctx context.Context, x session.Session, c handoff.Change) error
	Say(ctx context.Context, s handoff.Said, row audit.Row) (handoff.Said, error)
	Said(ctx context.Context, org, turn string) (handoff.Said, error)
	HandOver(ctx context.Context, t session.Turn, parts []session.Part, c handoff.Change, now time.Time) error
}

// told keeps what a change tells.
func (m *Memory) told(c handoff.Change) error {
	if m.Rows != nil {
		if err := m.Rows.PutAudit(context.Background(), c.Row); err != nil {
			return err
		}
	}
	if c.Event != nil {
		m.Events = append(m.Events, *c.Event)
	}
	return nil
}

func (m *Memory) hand(org, id string, c handoff.Change) error {
	if err := m.told(c); err != nil {
		return err
	}
	k := org + "#" + id
	m.add(session.Turn{Org: org, Session: id}, c.Message)
	x := m.sessions[k]
	x.Handoff = c.Next
	m.sessions[k] = x
	return nil
}

// Hand implements [handoff.Store].
func (m *Memory) Hand(ctx context.Context, x session.Session, c handoff.Change) error {
	unlock, err := m.lock(ctx, "Hand")
	if err != nil {
		return err
	}
	defer unlock()
	if m.sessions[x.Org+"#"+x.ID].Next != x.Next {
		return session.ErrChanged
	}
	return m.hand(x.Org, x.ID, c)
}

// HandOver implements [People].
func (m *Memory) HandOver(ctx context.Context, t session.Turn, parts []session.Part, c handoff.Change, now time.Time) error {
	unlock, err := m.lock(ctx, "HandOver")
	if err != nil {
		return err
	}
	defer unlock()
	if m.sessions[t.Org+"#"+t.Session].Handoff != nil {
		return session.ErrTakenOver
	}
	if stored := m.turns[t.Org+"#"+t.ID]; stored == nil || stored.Fence != t.Fence || stored.Planned {
		return session.ErrFenced
	}
	if err := m.hand(t.Org, t.Session, c); err != nil {
		return err
	}
	m.turns[t.Org+"#"+t.ID].plan(t, parts, now)
	return nil
}

// Handed implements [handoff.Store].
func (m *Memory) Handed(ctx context.Context, org, after string, limit int) ([]session.Session, string, error) {
	all, _, err := m.Sessions(ctx, org, after, len(m.sessions))
	all = slices.DeleteFunc(all, func(x session.Session) bool { return x.Handoff == nil })
	if len(all) > limit {
		return all[:limit], all[limit-1].ID, err
	}
	return all, "", err
}

// Say implements [handoff.Store].
func (m *Memory) Say(ctx context.Context, s handoff.Said, row audit.Row) (handoff.Said, error) {
	unlock, err := m.lock(ctx, "Say")
	if err != nil {
		return s, err
	}
	defer unlock()
	k := s.Org + "#" + s.Turn
	if first, ok := m.said[k]; ok {
		return first, nil
	}
	if err := m.told(handoff.Change{Row: row}); err != nil {
		return s, err
	}
	if m.said == nil {
		m.said = map[string]handoff.Said{}
	}
	m.said[k] = s
	return s, nil
}

// Said implements [handoff.Store].
func (m *Memory) Said(ctx context.Context, org, turn string) (handoff.Said, error) {
	unlock, err := m.lock(ctx, "Said")
	if err != nil {
		return handoff.Said{}, err
	}
	defer unlock()
	first, ok := m.said[org+"#"+turn]
	if !ok {
		return first, fault.New(fault.NotFound, "sessiontest.Said", "nothing was said under this turn")
	}
	return first, nil
}

// handoffs: who answers changes with everything that belongs to it or not at all, over
// what was read of the session only.
func handoffs(t *testing.T, s Store) {
	ctx := t.Context()
	x := open(t, s, "o18")
	row := func(id string) audit.Row {
		return audit.Op{Actor: "key:k", ID: id, At: start()}.Row("o18", "session.handoff", "s")
	}
	ev := events.HandoffEvent("test", events.Handoff{Org: "o18", Session: "s", Once: "1", At: start()})
	h := session.Handoff{At: start(), By: "key:k", Reason: "why", Resume: 5 * time.Minute}
	take := handoff.Change{Next: &h, Row: row("a1"), Event: &ev, Message: session.Message{Role: session.Notice, Text: "taken", At: start()}}
	stale := x
	stale.Next = 7
	if err := s.Hand(ctx, stale, take); !errors.Is(err, session.ErrChanged) {
		t.Fatalf("over another session than the stored one: %v", err)
	}
	handed(t, s, "o18")
	if err := s.Hand(ctx, x, take); err != nil {
		t.Fatal(err)
	}
	if err := s.Hand(ctx, x, take); !errors.Is(err, session.ErrChanged) {
		t.Fatalf("twice: %v", err)
	}
	handed(t, s, "o18", "s")
	if x = open(t, s, "o18"); x.Next != 1 || !reflect.DeepEqual(x.Handoff, &h) {
		t.Fatalf("%+v", x)
	}
	// What the agent says has no place any more, what people say has.
	turn, _ := takeTurn(t, s, "o18", "t1")
	heard := session.Message{Role: session.User, Text: "u", TurnID: turn.ID, At: start(), Way: []byte("way")}
	if err := s.Append(ctx, turn, heard); err != nil {
		t.Fatal(err)
	}
	said := session.Message{Role: session.Assistant, Text: "a", TurnID: turn.ID, At: start()}
	if err := s.Plan(ctx, turn, nil, said, start()); !errors.Is(err, session.ErrTakenOver) {
		t.Fatalf("the agent answered: %v", err)
	}
	if err := s.HandOver(ctx, turn, nil, handoff.Change{Next: &h, Row: row("a2"), Message: said}, start()); !errors.Is(err, session.ErrTakenOver) {
		t.Fatalf("handed over twice: %v", err)
	}
	if err := s.Plan(ctx, turn, nil, session.Message{}, start()); err != nil {
		t.Fatal(err)
	}
	human, _ := takeTurn(t, s, "o18", "t2")
	later := start().Add(time.Minute)
	if err := s.Plan(ctx, human, nil, session.Message{Role: session.Human, Text: "h", TurnID: human.ID, At: later}, later); err != nil {
		t.Fatal(err)
	}
	h.LastAt = later
	if x = open(t, s, "o18"); x.Next != 3 || string(x.Way) != "way" || !reflect.DeepEqual(x.Handoff, &h) {
		t.Fatalf("%+v %+v", x, x.Handoff)
	}
	if page, _, err := s.Handed(ctx, "o18", "", 9); err != nil || len(page) != 1 || !page[0].Handoff.LastAt.Equal(later) || page[0].AgentID != "a" {
		t.Fatalf("%+v %v", page, err)
	}
	if err := s.Hand(ctx, x, handoff.Change{Row: row("a3"), Message: session.Message{Role: session.Notice, Text: "back", At: start()}}); err != nil {
		t.Fatal(err)
	}
	if x = open(t, s, "o18"); x.Handoff != nil || x.Next != 4 || string(x.Way) != "way" {
		t.Fatalf("%+v", x)
	}
	handed(t, s, "o18")
	overAndSaid(t, s, row)
}

// overAndSaid: a turn hands over in the write that plans it; what is said under a turn
// is remembered once.
func overAndSaid(t *testing.T, s Store, row func(string) audit.Row) {
	t.Helper()
	ctx := t.Context()
	h := session.Handoff{At: start(), By: session.ByAgent, Turn: "t3"}
	old, _ := takeTurn(t, s, "o18", "t3")
	turn, _ := take(t, s, claim("o18", "t3", "m-t3", 2, "w2", start()))
	over := func(id string) handoff.Change {
		return handoff.Change{Next: &h, Row: row(id), Message: session.Message{Role: session.Assistant, Text: "note", TurnID: "t3", At: start()}}
	}
	parts := []session.Part{{Part: 1, State: session.Planned, Text: "note"}}
	if err := s.HandOver(ctx, old, parts, over("a4"), start()); !errors.Is(err, session.ErrFenced) {
		t.Fatalf("by a claim that was lost: %v", err)
	}
	handed(t, s, "o18")
	turn.Notice, turn.Receipt = "handed_over", []byte("receipt")
	if err := s.HandOver(ctx, turn, parts, over("a5"), start()); err != nil {
		t.Fatal(err)
	}
	handed(t, s, "o18", "s")
	got, stored := take(t, s, claim("o18", "t3", "m-t3", 3, "w3", start()))
	if !got.Planned || got.Notice != "handed_over" || string(got.Receipt) != "receipt" || len(stored) != 1 || stored[0].Text != "note" {
		t.Fatalf("%+v %+v", got, stored)
	}
	if x := open(t, s, "o18"); !reflect.DeepEqual(x.Handoff, &h) || x.Next != 5 {
		t.Fatalf("%+v", x)
	}
	if all, _, err := s.Messages(ctx, "o18", "s", "", 9); err != nil || len(all) != 5 || all[0].Role != session.Notice || all[2].Role != session.Human || all[4].Text != "note" {
		t.Fatalf("%+v %v", all, err)
	}
	if page, _, err := s.Sessions(ctx, "o18", "", 9); err != nil || len(page) != 1 || page[0].Handoff == nil {
		t.Fatalf("%+v %v", page, err)
	}
	for n, sum := range []string{"one", "one", "two"} {
		first, err := s.Say(ctx, handoff.Said{Org: "o18", Turn: "t-said", Sum: []byte(sum), At: start()}, row(fmt.Sprintf("say%d", n)))
		if err != nil || !bytes.Equal(first.Sum, []byte("one")) || first.Turn != "t-said" {
			t.Fatalf("%+v %v", first, err)
		}
	}
	if first, err := s.Said(ctx, "o18", "t-said"); err != nil || string(first.Sum) != "one" || first.Turn != "t-said" || first.Org != "o18" || !first.At.Equal(start()) {
		t.Fatalf("%+v %v", first, err)
	}
	for _, other := range [][2]string{{"o19", "t-said"}, {"o18", "t-none"}} {
		if _, err := s.Said(ctx, other[0], other[1]); fault.CodeOf(err) != fault.NotFound {
			t.Fatalf("%v: %v", other, err)
		}
	}
	if _, _, err := s.Turn(ctx, "o18", "t-said"); fault.CodeOf(err) != fault.NotFound {
		t.Fatal(err)
	}
}

func takeTurn(t *testing.T, s Store, org, id string) (session.Turn, []session.Part) {
	t.Helper()
	return take(t, s, claim(org, id, "m-"+id, 1, "w", start()))
}

// handed checks in which sessions of an organisation people answer.
func handed(t *testing.T, s Store, org string, want ...string) {
	t.Helper()
	page, next, err := s.Handed(t.Context(), org, "", 9)
	var got []string
	for _, x := range page {
		got = append(got, x.ID)
	}
	if err != nil || next != "" || strings.Join(got, " ") != strings.Join(want, " ") {
		t.Fatalf("people answer in %q, %q, %v, want %q", got, next, err, want)
	}
}
