package dynamo_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agent"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/dynamo/dynamotest"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install/installtest"
	"github.com/latchkey/latchkey/shared/table"
)

func configDB(t *testing.T) *dynamo.DB {
	t.Helper()
	fx := dynamotest.Open(t, table.Config)
	db, err := dynamo.New(fx.Client, fx.Tables)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func TestInstallsContract(t *testing.T) { installtest.Run(t, configDB(t).Installs()) }

func TestAgents(t *testing.T) {
	s, ctx := configDB(t).Agents(), t.Context()
	n := 0
	row := func() audit.Row {
		n++
		return audit.Op{Actor: "key:k", ID: "op", At: time.Unix(1772600767, 0).Add(time.Duration(n) * time.Second)}.Row("o1", "agent.test", "x")
	}
	want := func(err error, code fault.Code) {
		t.Helper()
		if fault.CodeOf(err) != code {
			t.Fatalf("%v, want %q", err, code)
		}
	}
	a := agent.Agent{ID: "a1", Org: "o1", Name: "N", Instructions: "I", Model: "m", Fallback: []string{"f"}, Tools: []string{"t"}, Voice: "v",
		Personas: []agent.Persona{{ID: "p1", Name: "P", Instructions: "PI", Voice: "pv"}}, CreatedAt: time.Unix(1772600767, 0).UTC(), Version: 1}
	want(s.CreateAgent(ctx, a, row()), "")
	want(s.CreateAgent(ctx, a, row()), fault.Conflict)
	if got, err := s.Agent(ctx, "o1", "a1"); err != nil || !reflect.DeepEqual(got, a) {
		t.Fatalf("%+v %v", got, err)
	}
	_, err := s.Agent(ctx, "o2", "a1")
	want(err, fault.NotFound)
	_, err = s.Agent(ctx, "o1", "a#1")
	want(err, fault.NotFound)
	next := a
	next.Name, next.Version = "N2", 2
	next.Handoff = agent.Handoff{Enabled: true, Note: "one moment", ResumeAfter: 90 * time.Minute}
	want(s.UpdateAgent(ctx, a, next, row()), "")
	want(s.UpdateAgent(ctx, a, next, row()), fault.Conflict)
	if all, err := s.Agents(ctx, "o1"); err != nil || len(all) != 1 || all[0].Name != "N2" || all[0].Handoff != next.Handoff {
		t.Fatalf("%+v %v", all, err)
	}
	want(s.DeleteAgent(ctx, a, row()), fault.Conflict)
	want(s.DeleteAgent(ctx, next, row()), "")
	_, err = s.Agent(ctx, "o1", "a1")
	want(err, fault.NotFound)
}
