package dynamo_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agent/tool"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/dynamo/dynamotest"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
)

// TestTools: every field comes back, writes are conditional, lists are of one
// organisation.
func TestTools(t *testing.T) {
	fx := dynamotest.Open(t, table.Config)
	db, err := dynamo.New(fx.Client, fx.Tables)
	if err != nil {
		t.Fatal(err)
	}
	s, at := db.Tools(), time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	row := func(id string) audit.Row {
		return audit.Op{Actor: "key:k", ID: id, At: at}.Row("o1", "tool.test", "look")
	}
	one := tool.Tool{Org: "o1", Name: "look", Description: "Looks", Parameters: json.RawMessage(`{"type":"object"}`), Method: "GET", URL: "https://x.example/{a}",
		Headers: []string{"X-A"}, Credential: "c1", Timeout: 5 * time.Second, MaxBytes: 300, Integrity: channel.Signed, Action: "tool_x", Approval: 2 * time.Hour, CreatedAt: at, Version: 1}
	if err := s.CreateTool(t.Context(), one, row("op1")); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateTool(t.Context(), one, row("op2")); fault.CodeOf(err) != fault.Conflict {
		t.Fatal(err)
	}
	if got, err := s.Tool(t.Context(), "o1", "look"); err != nil || !reflect.DeepEqual(got, one) {
		t.Fatalf("%+v %v", got, err)
	}
	if _, err := s.Tool(t.Context(), "o2", "look"); fault.CodeOf(err) != fault.NotFound {
		t.Fatal(err)
	}
	two := one
	two.Version, two.Description = 2, "Looks again"
	if err := s.UpdateTool(t.Context(), one, two, row("op3")); err != nil {
		t.Fatal(err)
	}
	if err := s.UpdateTool(t.Context(), one, two, row("op4")); fault.CodeOf(err) != fault.Conflict {
		t.Fatal(err)
	}
	if all, err := s.Tools(t.Context(), "o1"); err != nil || len(all) != 1 || all[0].Description != "Looks again" {
		t.Fatalf("%+v %v", all, err)
	}
	if err := s.DeleteTool(t.Context(), one, row("op5")); fault.CodeOf(err) != fault.Conflict {
		t.Fatal(err)
	}
	if err := s.DeleteTool(t.Context(), two, row("op6")); err != nil {
		t.Fatal(err)
	}
	if all, err := s.Tools(t.Context(), "o1"); err != nil || len(all) != 0 {
		t.Fatalf("%+v %v", all, err)
	}
}
