package install_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/install/installtest"
	"github.com/latchkey/latchkey/shared/outbox"
	"github.com/latchkey/latchkey/shared/secret"
)

// teller notes the events that are written with a change.
type teller struct {
	*installtest.Memory
	events []outbox.Event
}

func (s *teller) UpdateInstallTelling(ctx context.Context, old, next install.Install, row audit.Row, ev outbox.Event) error {
	err := s.UpdateInstall(ctx, old, next, row)
	if err == nil {
		s.events = append(s.events, ev)
	}
	return err
}

// TestTokenRejections: three in a row suspend the install and tell its owner once;
// one that works in between, a rotation and a resume start anew.
func TestTokenRejections(t *testing.T) {
	e := newEnv(t)
	e.made("i1")
	told := &teller{Memory: e.store}
	e.s.Teller, e.s.Stage = told, "test"
	ctx := t.Context()
	want := func(state install.State, rejections int64, events int) {
		t.Helper()
		i, _, err := e.store.Install(ctx, "i1")
		if err != nil || i.State != state || i.Rejections != rejections || len(told.events) != events {
			t.Fatalf("%s %d %d %v, want %s %d %d", i.State, i.Rejections, len(told.events), err, state, rejections, events)
		}
	}
	reject := func() { t.Helper(); e.want(e.s.TokenRejected(ctx, e.op(), "o1", "i1"), "", "") }
	step := func(f func(context.Context, audit.Op, string, string) (install.Install, error)) {
		t.Helper()
		_, err := f(ctx, e.op(), "o1", "i1")
		e.want(err, "", "")
	}
	step(e.s.Activate)
	reject()
	reject()
	want(install.Active, 2, 0)
	e.want(e.s.TokenAccepted(ctx, e.op(), "o1", "i1"), "", "")
	want(install.Active, 0, 0)
	rows := len(e.store.Rows)
	e.want(e.s.TokenAccepted(ctx, e.op(), "o1", "i1"), "", "")
	if len(e.store.Rows) != rows {
		t.Fatal("a token that was never rejected is written about")
	}
	reject()
	reject()
	if _, err := e.s.Rotate(ctx, e.op(), "o1", "i1", "signing_secret", secret.FromString("another signing secret"), time.Time{}); err != nil {
		t.Fatal(err)
	}
	want(install.Active, 2, 0)
	if _, err := e.s.Rotate(ctx, e.op(), "o1", "i1", "bot_token", secret.FromString("xoxb-another"), time.Time{}); err != nil {
		t.Fatal(err)
	}
	want(install.Active, 0, 0)
	for range 4 {
		reject()
	}
	want(install.Suspended, 3, 1)
	ev := told.events[0]
	if ev.Type != "latchkey.install.suspended" || !strings.Contains(string(ev.Detail), `"install_id":"i1"`) || !strings.Contains(string(ev.Detail), `"reason":"install.token_rejected"`) || !strings.Contains(string(ev.Detail), `"stage":"test"`) {
		t.Fatalf("%+v %s", ev, ev.Detail)
	}
	if last := e.store.Rows[len(e.store.Rows)-1]; last.Action != "install.token_rejected" || last.Detail["state"] != "suspended" || last.Org != "o1" {
		t.Fatalf("%+v", last)
	}
	step(e.s.Resume)
	want(install.Active, 0, 1)
	e.want(e.s.TokenRejected(ctx, e.op(), "o2", "i1"), fault.NotFound, "")
	// A reply that was under way when the install was suspended changes nothing.
	reject()
	step(e.s.Suspend)
	rows = len(e.store.Rows)
	e.want(e.s.TokenAccepted(ctx, e.op(), "o1", "i1"), "", "")
	want(install.Suspended, 1, 1)
	if len(e.store.Rows) != rows {
		t.Fatalf("written: %+v", e.store.Rows[rows:])
	}
}

// busy is a store whose first writes meet others.
type busy struct {
	*installtest.Memory
	conflicts int
}

func (s *busy) UpdateInstall(ctx context.Context, old, next install.Install, row audit.Row) error {
	if s.conflicts--; s.conflicts >= 0 {
		return fault.New(fault.Conflict, "test", "changed")
	}
	return s.Memory.UpdateInstall(ctx, old, next, row)
}

// TestRejectionsMeetOtherChanges: a change at the same time is read again, not for
// ever.
func TestRejectionsMeetOtherChanges(t *testing.T) {
	for conflicts, want := range map[int]fault.Code{0: "", 2: "", 3: fault.Conflict} {
		e := newEnv(t)
		e.made("i1")
		e.s.Store = &busy{e.store, conflicts}
		e.want(e.s.TokenRejected(t.Context(), e.op(), "o1", "i1"), want, "")
		if i, _, _ := e.store.Install(t.Context(), "i1"); (i.Rejections == 1) != (want == "") {
			t.Fatalf("%d conflicts: %d", conflicts, i.Rejections)
		}
	}
}

// TestRetiredValues: what is over is opened for the record only, and only what is
// over.
func TestRetiredValues(t *testing.T) {
	e := newEnv(t)
	i := e.made("i1")
	retired := func() (out []string) {
		t.Helper()
		cred, err := e.opener.Verifier(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		vs, err := e.opener.Retired(t.Context(), cred, "signing_secret")
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range vs {
			_ = v.Use(func(b []byte) error { out = append(out, string(b)); return nil })
		}
		return out
	}
	for n := range 2 {
		if _, err := e.s.Rotate(t.Context(), e.op(), "o1", "i1", "signing_secret", secret.FromString(fmt.Sprintf("signing secret %d", n)), e.now.Add(time.Hour*time.Duration(n+1))); err != nil {
			t.Fatal(err)
		}
	}
	if got := retired(); len(got) != 0 {
		t.Errorf("%q verifies still", got)
	}
	e.now = e.now.Add(time.Hour)
	if got := retired(); !slices.Equal(got, []string{"signing-secret-of-i1"}) {
		t.Errorf("%q", got)
	}
	e.now = e.now.Add(time.Hour)
	if got := retired(); !slices.Equal(got, []string{"signing secret 0", "signing-secret-of-i1"}) {
		t.Errorf("%q", got)
	}
	i.Org = "o2"
	if _, err := e.opener.Verifier(t.Context(), i); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("%v", err)
	}
}
