package approval_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agent/approval"
	"github.com/latchkey/latchkey/shared/agent/approval/approvaltest"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org/orgtest"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/table"
)

func TestMemory(t *testing.T) { approvaltest.Run(t, &approvaltest.Memory{}) }

type queue struct {
	mu   sync.Mutex
	sent []session.Job
	ids  []string
	err  error
}

func (q *queue) Send(_ context.Context, group, id string, body []byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return q.err
	}
	j, err := session.DecodeJob(body)
	if err != nil || j.Key().Hash() != group {
		return errors.Join(err, errors.New("another group"))
	}
	q.sent, q.ids = append(q.sent, j), append(q.ids, id)
	return nil
}

func newService(t *testing.T) (*approval.Service, *approvaltest.Memory, *queue, *orgtest.Memory, approval.Approval) {
	t.Helper()
	rows := orgtest.NewMemory()
	m, q := &approvaltest.Memory{Rows: rows}, &queue{}
	a := approvaltest.Call("o1", "t-1", approvaltest.At())
	if err := m.Ask(t.Context(), a, audit.Op{Actor: "function:turn", ID: "ask", At: a.AskedAt}.Row("o1", "approval.ask", a.ID), a.Told("test")); err != nil {
		t.Fatal(err)
	}
	return &approval.Service{Store: m, Queue: q}, m, q, rows, a
}

func op(id string, at time.Time) audit.Op { return audit.Op{Actor: "key:k", ID: id, At: at} }

func actions(m *orgtest.Memory) (out []string) {
	for _, r := range m.Rows() {
		out = append(out, r.Action+" "+r.Actor)
	}
	return out
}

func TestDecide(t *testing.T) {
	for _, approve := range []bool{true, false} {
		s, _, q, rows, a := newService(t)
		at := a.AskedAt.Add(time.Hour)
		got, err := s.Decide(t.Context(), op("d1", at), "o1", a.ID, approve, "because")
		want, row, says := approval.Approved, "approval.approve key:k", "approved the call of refund"
		if !approve {
			want, row, says = approval.Refused, "approval.refuse key:k", "refused the call of refund"
		}
		if err != nil || got.State != want || got.DecidedBy != "key:k" || !got.DecidedAt.Equal(at) || got.Reason != "because" {
			t.Fatalf("%+v %v", got, err)
		}
		if all := actions(rows); !slices.Contains(all, row) || len(all) != 2 {
			t.Errorf("%q", all)
		}
		if len(q.sent) != 1 {
			t.Fatalf("%d jobs", len(q.sent))
		}
		j := q.sent[0]
		if j.Kind != session.JobApproval || j.Approval != a.ID || j.EventID != "approval-"+a.ID || j.Envelope.EventID != j.EventID || j.Envelope.Space != "C1" || q.ids[0] != session.QueueID("i1", j.EventID) ||
			!strings.Contains(j.Envelope.Text, says) || !strings.Contains(j.Envelope.Text, "because") {
			t.Errorf("%+v", j)
		}
		// Decided once, whatever is said next; nothing is left to do.
		if _, err := s.Decide(t.Context(), op("d2", at), "o1", a.ID, !approve, ""); fault.CodeOf(err) != fault.Conflict {
			t.Error(err)
		}
		if n, err := s.Finish(t.Context(), a.ExpiresAt.Add(time.Hour)); n != 0 || err != nil || len(q.sent) != 1 {
			t.Error(n, err, len(q.sent))
		}
	}
}

func TestRefusals(t *testing.T) {
	s, _, q, rows, a := newService(t)
	for name, c := range map[string]struct {
		org, id, reason string
		at              time.Time
		code            fault.Code
	}{
		"unknown":      {"o1", "ap-x", "", a.AskedAt, fault.NotFound},
		"of another":   {"o2", a.ID, "", a.AskedAt, fault.NotFound},
		"long reason":  {"o1", a.ID, strings.Repeat("x", 501), a.AskedAt, fault.InvalidRequest},
		"two lines":    {"o1", a.ID, "a\nb", a.AskedAt, fault.InvalidRequest},
		"not text":     {"o1", a.ID, "\xff", a.AskedAt, fault.InvalidRequest},
		"at its end":   {"o1", a.ID, "", a.ExpiresAt, fault.Conflict},
		"after it all": {"o1", a.ID, "", a.ExpiresAt.Add(time.Hour), fault.Conflict},
	} {
		if _, err := s.Decide(t.Context(), op("x", c.at), c.org, c.id, true, c.reason); fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, _ := s.Get(t.Context(), "o1", a.ID); got.State != approval.Pending || len(q.sent) != 0 || len(rows.Rows()) != 1 {
		t.Errorf("%+v", got)
	}
	if _, err := s.Decide(t.Context(), op("y", a.ExpiresAt.Add(-time.Millisecond)), "o1", a.ID, true, strings.Repeat("x", 500)); err != nil {
		t.Error(err)
	}
}

// TestTwoDecide: of many at once one wins, and there is one job.
func TestTwoDecide(t *testing.T) {
	s, _, q, _, a := newService(t)
	results := make(chan error, 8)
	for i := range 8 {
		go func() {
			_, err := s.Decide(context.Background(), op("r"+string(rune('0'+i)), a.AskedAt), "o1", a.ID, i%2 == 0, "")
			results <- err
		}()
	}
	won := 0
	for range 8 {
		if err := <-results; err == nil {
			won++
		} else if fault.CodeOf(err) != fault.Conflict {
			t.Error(err)
		}
	}
	if won != 1 || len(q.sent) != 1 {
		t.Errorf("%d won, %d jobs", won, len(q.sent))
	}
}

// TestFinish: nobody deciding is a refusal; a decision whose job was not sent is sent
// by the next run, with the same event.
func TestFinish(t *testing.T) {
	s, _, q, rows, a := newService(t)
	if n, err := s.Finish(t.Context(), a.ExpiresAt.Add(-time.Second)); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := s.Finish(t.Context(), a.ExpiresAt); n != 1 || err != nil || len(q.sent) != 1 || !strings.Contains(q.sent[0].Envelope.Text, "Nobody approved") {
		t.Fatal(n, err, q.sent)
	}
	if got, _ := s.Get(t.Context(), "o1", a.ID); got.State != approval.Expired || got.DecidedBy != "function:sweep" || !slices.Contains(actions(rows), "approval.expire function:sweep") {
		t.Fatalf("%+v %q", got, actions(rows))
	}
	for name, arm := range map[string]func(*approvaltest.Memory, *queue){
		"the queue is down":   func(_ *approvaltest.Memory, q *queue) { q.err = fault.New(fault.Unavailable, "", "") },
		"the mark is missing": func(m *approvaltest.Memory, _ *queue) { m.Fail = failing("Sent") },
	} {
		s, m, q, _, a := newService(t)
		arm(m, q)
		if _, err := s.Decide(t.Context(), op("d", a.AskedAt), "o1", a.ID, true, ""); err != nil {
			t.Fatal(name, err)
		}
		if n, err := s.Finish(t.Context(), a.AskedAt); n != 0 || err == nil {
			t.Error(name, n, err)
		}
		q.err, m.Fail = nil, nil
		if n, err := s.Finish(t.Context(), a.AskedAt.Add(time.Minute)); n != 1 || err != nil || len(q.sent) < 1 || q.sent[0].EventID != approval.EventID(a.ID) {
			t.Error(name, n, err, q.sent)
		}
		if n, err := s.Finish(t.Context(), a.ExpiresAt); n != 0 || err != nil {
			t.Error(name, n, err)
		}
		for _, id := range q.ids {
			if id != q.ids[0] {
				t.Errorf("%s: another id in the queue", name)
			}
		}
	}
}

func failing(method string) func(string) error {
	return func(m string) error {
		if m == method {
			return fault.New(fault.Unavailable, "", "")
		}
		return nil
	}
}

// TestNewID: the same call has the same id, a later turn's sorts before, and ids are
// ids.
func TestNewID(t *testing.T) {
	at := approvaltest.At()
	if a := approval.NewID("t-1", at, 2); a != approval.NewID("t-1", at, 2) || a == approval.NewID("t-1", at, 3) || a == approval.NewID("t-2", at, 2) || a <= approval.NewID("t-3", at.Add(time.Second), 0) || !table.ValidID(a) {
		t.Error(a)
	}
	if id := approval.NewID("t", time.UnixMilli(99_999_999_999_999), 0); !strings.HasPrefix(id, "ap-0000000000000-") {
		t.Error(id)
	}
}
