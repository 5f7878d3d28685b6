// Package approvaltest is the contract of a store of calls that wait for a person as a
// suite, and an implementation in memory. The memory loses nothing, answers at once and
// keeps no time to live.
package approvaltest

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agent/approval"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/outbox"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Store is an [approval.Store] that can be asked, as turns do.
type Store interface {
	approval.Store
	Ask(ctx context.Context, a approval.Approval, row audit.Row, told outbox.Event) error
}

// Memory is a Store.
type Memory struct {
	// Rows takes the audit rows, nil for nobody.
	Rows audit.Store
	// Told are the events of calls that wait.
	Told []outbox.Event
	// Fail, if set, is asked before every call with the method's name.
	Fail func(method string) error

	mu    sync.Mutex
	calls map[string]approval.Approval
	due   map[string]approval.Approval
}

func (m *Memory) lock(method string) (func(), error) {
	if m.Fail != nil {
		if err := m.Fail(method); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	if m.calls == nil {
		m.calls, m.due = map[string]approval.Approval{}, map[string]approval.Approval{}
	}
	return m.mu.Unlock, nil
}

func dueKey(a approval.Approval) string { return a.DueAt().UTC().String() + a.Org + "/" + a.ID }

func (m *Memory) put(ctx context.Context, a approval.Approval, row audit.Row) error {
	if m.Rows != nil {
		if err := m.Rows.PutAudit(ctx, row); err != nil {
			return err
		}
	}
	m.calls[a.Org+"/"+a.ID], m.due[dueKey(a)] = a, a
	return nil
}

// Ask implements [Store].
func (m *Memory) Ask(ctx context.Context, a approval.Approval, row audit.Row, told outbox.Event) error {
	unlock, err := m.lock("Ask")
	if err != nil {
		return err
	}
	defer unlock()
	if _, ok := m.calls[a.Org+"/"+a.ID]; ok {
		return nil
	}
	if err := m.put(ctx, a, row); err != nil {
		return err
	}
	m.Told = append(m.Told, told)
	return nil
}

// Approval implements [approval.Store].
func (m *Memory) Approval(_ context.Context, org, id string) (approval.Approval, error) {
	unlock, err := m.lock("Approval")
	if err != nil {
		return approval.Approval{}, err
	}
	defer unlock()
	a, ok := m.calls[org+"/"+id]
	if !ok {
		return a, fault.New(fault.NotFound, "approvaltest", "there is no such call that waits for approval")
	}
	return a, nil
}

// Approvals implements [approval.Store].
func (m *Memory) Approvals(_ context.Context, org, after string, limit int) (out []approval.Approval, next string, err error) {
	unlock, err := m.lock("Approvals")
	if err != nil {
		return nil, "", err
	}
	defer unlock()
	for _, a := range m.calls {
		if a.Org == org && a.ID > after {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b approval.Approval) int { return strings.Compare(a.ID, b.ID) })
	if len(out) > limit {
		return out[:limit], out[limit-1].ID, nil
	}
	return out, "", nil
}

// Decide implements [approval.Store].
func (m *Memory) Decide(ctx context.Context, old, next approval.Approval, row audit.Row) error {
	unlock, err := m.lock("Decide")
	if err != nil {
		return err
	}
	defer unlock()
	if m.calls[old.Org+"/"+old.ID].State != approval.Pending {
		return fault.New(fault.Conflict, "approvaltest", "this call was decided at the same time; read it again")
	}
	if err := m.put(ctx, next, row); err != nil {
		return err
	}
	if dueKey(old) != dueKey(next) {
		delete(m.due, dueKey(old))
	}
	return nil
}

// Sent implements [approval.Store].
func (m *Memory) Sent(_ context.Context, a approval.Approval) error {
	unlock, err := m.lock("Sent")
	if err != nil {
		return err
	}
	defer unlock()
	delete(m.due, dueKey(a))
	return nil
}

// Due implements [approval.Store].
func (m *Memory) Due(_ context.Context, now time.Time, limit int) (out []approval.Approval, _ error) {
	unlock, err := m.lock("Due")
	if err != nil {
		return nil, err
	}
	defer unlock()
	for _, a := range m.due {
		if !a.DueAt().After(now) && len(out) < limit {
			out = append(out, m.calls[a.Org+"/"+a.ID])
		}
	}
	return out, nil
}

// At is when the suite's calls are asked about.
func At() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

// Call is a call of organisation org that waits for a day.
func Call(org, turn string, created time.Time) approval.Approval {
	return approval.Approval{Org: org, ID: approval.NewID(turn, created, 2), State: approval.Pending, Tool: "refund", Version: 3, Arguments: `{"amount":5}`, Session: "s1", Agent: "ag1", Persona: "p1",
		Asker: "U1", Integrity: channel.Signed, Turns: []string{"t-0", turn}, Call: 2, Nonce: "n0nce", AskedAt: created, ExpiresAt: created.Add(24 * time.Hour),
		Continuing: session.Job{Kind: session.JobMessage, Org: org, Install: "i1", EventID: "Ev1", AgentID: "ag1", PersonaID: "p1", Tenant: "T:T1", Identity: channel.Identity{"app_id": "A1"}, ReceivedAt: created,
			Envelope: channel.Envelope{Provider: taxonomy.Slack, EventID: "Ev1", Space: "C1", Thread: "1.0", Actor: "U1", SentAt: created}}}
}

// Run runs the suite on an empty store.
func Run(t *testing.T, s Store) {
	ctx, at := t.Context(), At()
	row := func(id string) audit.Row {
		return audit.Op{Actor: "function:test", ID: id, At: at}.Row("o1", "approval.test", "x")
	}
	a, b := Call("o1", "t-1", at), Call("o1", "t-2", at.Add(time.Hour))
	for i, x := range []approval.Approval{a, b, a} {
		if err := s.Ask(ctx, x, row("ask"+string(rune('0'+i))), x.Told("test")); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.Approval(ctx, "o1", a.ID); err != nil || !reflect.DeepEqual(got, a) {
		t.Fatalf("%+v\n%+v %v", got, a, err)
	}
	for _, id := range []string{"nothing", "a#b", ""} {
		if _, err := s.Approval(ctx, "o1", id); fault.CodeOf(err) != fault.NotFound {
			t.Errorf("%q: %v", id, err)
		}
	}
	if _, err := s.Approval(ctx, "o2", a.ID); fault.CodeOf(err) != fault.NotFound {
		t.Error(err)
	}
	page, next, err := s.Approvals(ctx, "o1", "", 1)
	if err != nil || len(page) != 1 || page[0].ID != b.ID || next != b.ID {
		t.Fatalf("%+v %q %v", page, next, err)
	}
	if page, next, err = s.Approvals(ctx, "o1", next, 1); err != nil || len(page) != 1 || page[0].ID != a.ID || next != "" {
		t.Fatalf("%+v %q %v", page, next, err)
	}
	due := func(now time.Time, want ...approval.Approval) {
		t.Helper()
		got, err := s.Due(ctx, now, 10)
		if err != nil || len(got) != len(want) {
			t.Fatalf("due at %v: %+v %v", now, got, err)
		}
		for i := range want {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Fatalf("due at %v: %+v", now, got)
			}
		}
	}
	due(a.ExpiresAt.Add(-time.Millisecond))
	due(a.ExpiresAt, a)
	done := a
	done.State, done.Reason, done.DecidedBy, done.DecidedAt = approval.Approved, "fine", "key:k", at.Add(time.Minute)
	if err := s.Decide(ctx, a, done, row("decide")); err != nil {
		t.Fatal(err)
	}
	refused := done
	refused.State = approval.Refused
	for _, old := range []approval.Approval{a, Call("o1", "t-9", at)} {
		next := refused
		next.ID = old.ID
		if err := s.Decide(ctx, old, next, row("late-"+old.ID)); fault.CodeOf(err) != fault.Conflict {
			t.Fatal(err)
		}
	}
	if got, err := s.Approval(ctx, "o1", a.ID); err != nil || !reflect.DeepEqual(got, done) {
		t.Fatalf("%+v %v", got, err)
	}
	due(at)
	due(done.DecidedAt, done)
	if err := s.Sent(ctx, done); err != nil {
		t.Fatal(err)
	}
	due(a.ExpiresAt)
	due(b.ExpiresAt, b)
}
