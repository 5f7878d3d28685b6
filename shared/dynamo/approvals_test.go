package dynamo_test

import (
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agent/approval"
	"github.com/latchkey/latchkey/shared/agent/approval/approvaltest"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/dynamo/dynamotest"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/outbox"
	"github.com/latchkey/latchkey/shared/table"
)

func TestApprovals(t *testing.T) {
	fx := dynamotest.Open(t, table.Sessions, table.Config, table.Usage)
	db, err := dynamo.New(fx.Client, fx.Tables)
	if err != nil {
		t.Fatal(err)
	}
	approvaltest.Run(t, db.Approvals())
	// Two calls were asked about, one of them twice.
	kept, err := db.Outbox().Kept(t.Context(), "", 10)
	if err != nil || len(kept) != 2 || kept[0].Type != outbox.TypeApproval || kept[1].Type != outbox.TypeApproval || kept[0].ID == kept[1].ID {
		t.Fatalf("%+v %v", kept, err)
	}
}

// TestApprovalRace: of many decisions at once one is written, with one audit row.
func TestApprovalRace(t *testing.T) {
	fx := dynamotest.Open(t, table.Sessions, table.Config, table.Usage)
	db, err := dynamo.New(fx.Client, fx.Tables)
	if err != nil {
		t.Fatal(err)
	}
	s, a := db.Approvals(), approvaltest.Call("o1", "t-1", approvaltest.At())
	row := func(id string) audit.Row {
		return audit.Op{Actor: "key:k", ID: id, At: a.AskedAt}.Row("o1", "approval.test", a.ID)
	}
	if err := s.Ask(t.Context(), a, row("ask"), a.Told("test")); err != nil {
		t.Fatal(err)
	}
	results := make(chan error, 6)
	for i := range 6 {
		go func() {
			next := a
			next.State, next.DecidedAt = approval.Approved, a.AskedAt.Add(time.Duration(i)*time.Second)
			results <- s.Decide(t.Context(), a, next, row("d"+string(rune('0'+i))))
		}()
	}
	won := 0
	for range 6 {
		if err := <-results; err == nil {
			won++
		} else if fault.CodeOf(err) != fault.Conflict {
			t.Error(err)
		}
	}
	rows, _, err := db.Audit().Audit(t.Context(), "o1", "", 20, a.AskedAt)
	if err != nil || won != 1 || len(rows) != 2 {
		t.Errorf("%d won, %d rows, %v", won, len(rows), err)
	}
	if due, err := s.Due(t.Context(), a.ExpiresAt, 10); err != nil || len(due) != 1 {
		t.Errorf("%+v %v", due, err)
	}
}
