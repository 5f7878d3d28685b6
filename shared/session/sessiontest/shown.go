package sessiontest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/session"
)

// show adds what a person is shown. The caller holds the lock.
func (m *Memory) show(t session.Turn, x *session.Shown) {
	if x == nil {
		return
	}
	if m.shown == nil {
		m.shown = map[string]session.ShownPage{}
	}
	k := t.Org + "#" + t.Session
	p := m.shown[k]
	one := *x
	one.Seq, one.At = int64(len(p.Items)+1), x.At.UTC()
	p.Items, p.Typing = append(p.Items, one), time.Time{}
	m.shown[k] = p
}

// Shown implements [session.ShownReader].
func (m *Memory) Shown(ctx context.Context, org, id string, after int64, limit int) (session.ShownPage, error) {
	unlock, err := m.lock(ctx, "Shown")
	if err != nil {
		return session.ShownPage{}, err
	}
	defer unlock()
	all := m.shown[org+"#"+id]
	page := session.ShownPage{Typing: all.Typing}
	if after == 0 {
		after = int64(max(0, len(all.Items)-limit))
	}
	for _, x := range all.Items[min(int(after), len(all.Items)):] {
		if page.More = len(page.Items) == limit; page.More {
			break
		}
		page.Items = append(page.Items, x)
	}
	return page, nil
}

// Typing implements [session.Signs].
func (m *Memory) Typing(ctx context.Context, org, id string, until time.Time) error {
	unlock, err := m.lock(ctx, "Typing")
	if err != nil {
		return err
	}
	defer unlock()
	if m.shown == nil {
		m.shown = map[string]session.ShownPage{}
	}
	p := m.shown[org+"#"+id]
	p.Typing = until.UTC()
	m.shown[org+"#"+id] = p
	return nil
}

// shown: a person is shown a message in the write that stores it or makes it sent,
// once, in order, and nothing of another session.
func shown(t *testing.T, s Store) {
	ctx := t.Context()
	open(t, s, "o20")
	if p, err := s.Shown(ctx, "o20", "s", 0, 9); err != nil || len(p.Items) != 0 || p.More || !p.Typing.IsZero() {
		t.Fatalf("%+v %v", p, err)
	}
	turn, _ := take(t, s, claim("o20", "t1", "m1", 1, "w1", start()))
	said := session.Message{Role: session.User, Text: "hello", TurnID: turn.ID, EventID: "e", At: start(),
		Shown: &session.Shown{Role: session.User, Text: "hello", Message: "mine", Turn: turn.ID, At: start()}}
	for range 2 {
		if err := s.Append(ctx, turn, said); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Typing(ctx, "o20", "s", start().Add(5*time.Second)); err != nil {
		t.Fatal(err)
	}
	if p, err := s.Shown(ctx, "o20", "s", 1, 9); err != nil || len(p.Items) != 0 || !p.Typing.Equal(start().Add(5*time.Second)) {
		t.Fatalf("%+v %v", p, err)
	}
	if err := s.Plan(ctx, turn, []session.Part{{Part: 1, State: session.Planned, Text: "one"}, {Part: 2, State: session.Planned, Text: "two"}}, session.Message{Role: session.Assistant, Text: "one two", At: start()}, start()); err != nil {
		t.Fatal(err)
	}
	if p, _ := s.Shown(ctx, "o20", "s", 0, 9); len(p.Items) != 1 {
		t.Fatalf("shown before it was sent: %+v", p)
	}
	turn, parts := take(t, s, claim("o20", "t1", "m1", 2, "w2", start()))
	for k, p := range parts {
		sent := p
		sent.State, sent.Fence = session.Sent, turn.Fence
		sent.Shown = &session.Shown{Role: session.Assistant, Text: p.Text, By: "Ada", Turn: turn.ID, At: start().Add(time.Duration(k+1) * time.Second)}
		if err := s.Move(ctx, turn, p, sent); err != nil {
			t.Fatal(err)
		}
		if err := s.Move(ctx, turn, p, sent); !errors.Is(err, session.ErrFenced) {
			t.Fatalf("sent twice: %v", err)
		}
	}
	p, err := s.Shown(ctx, "o20", "s", 0, 9)
	text := ""
	for _, x := range p.Items {
		text += fmt.Sprintf("%d %s %s %s %s %s|", x.Seq, x.Role, x.Text, x.By, x.Message, x.Turn)
	}
	if err != nil || text != "1 user hello  mine t1|2 assistant one Ada  t1|3 assistant two Ada  t1|" || !p.Typing.IsZero() || !p.Items[1].At.Equal(start().Add(time.Second)) {
		t.Fatalf("%s %+v %v", text, p, err)
	}
	for _, c := range []struct {
		after int64
		limit int
		first int64
		n     int
		more  bool
	}{{0, 2, 2, 2, false}, {0, 3, 1, 3, false}, {1, 1, 2, 1, true}, {1, 2, 2, 2, false}, {2, 9, 3, 1, false}, {3, 9, 0, 0, false}, {77, 9, 0, 0, false}} {
		p, err := s.Shown(ctx, "o20", "s", c.after, c.limit)
		if err != nil || len(p.Items) != c.n || p.More != c.more || c.n > 0 && p.Items[0].Seq != c.first {
			t.Errorf("after %d limit %d: %+v %v", c.after, c.limit, p, err)
		}
	}
	for _, other := range [][2]string{{"o20", "s2"}, {"o21", "s"}} {
		if p, err := s.Shown(ctx, other[0], other[1], 0, 9); err != nil || len(p.Items) != 0 {
			t.Errorf("%v: %+v %v", other, p, err)
		}
	}
	replaced(t, s, said)
}

// replaced: a run that was replaced shows nothing.
func replaced(t *testing.T, s Store, said session.Message) {
	ctx := t.Context()
	late, _ := take(t, s, claim("o20", "t2", "m2", 1, "w3", start()))
	take(t, s, claim("o20", "t2", "m2", 2, "w4", start()))
	if err := s.Append(ctx, late, said); !errors.Is(err, session.ErrFenced) {
		t.Errorf("a run that was replaced: %v", err)
	}
	if p, _ := s.Shown(ctx, "o20", "s", 0, 9); len(p.Items) != 3 {
		t.Errorf("shown by a run that was replaced: %+v", p)
	}
}
