package deliveries

import (
	"context"
	"testing"

	"github.com/latchkey/latchkey/scripts/internal/mutate"
)

// mutant is a build with one guard of the channel path taken out, and the run that
// must refuse it.
type mutant struct {
	mutate.Change
	play func(context.Context, *world, uint64) ([]string, error)
}

func mutants() []mutant {
	return []mutant{
		{mutate.Change{Name: "dedupe swallows what was not enqueued", Functions: []string{"webhook"}, File: "shared/webhook/ingest/people.go", Edits: [][2]string{
			{"receipt, _, dedupe = c.d.Dedupe.Receive(", "var fresh bool\n\treceipt, fresh, dedupe = c.d.Dedupe.Receive("},
			{"return receipt, dedupe, person", "receipt.Enqueued = receipt.Enqueued || dedupe == nil && !fresh\n\treturn receipt, dedupe, person"}}}, playPlain},
		{mutate.Change{Name: "a part is claimed without fence and state", Functions: []string{"turn"}, File: "shared/dynamo/turns.go", Edits: [][2]string{
			{`ConditionExpression: aws.String("#fc = :fc"), ExpressionAttributeNames: names, ExpressionAttributeValues: values}},` + "\n\t\t\t{Update: update},",
				`ConditionExpression: aws.String("#fc = :fc OR #fc <> :fc"), ExpressionAttributeNames: names, ExpressionAttributeValues: values}},` + "\n\t\t\t{Update: update},"},
			{`aws.String("#st = :was AND #fc = :wasfc")`, `aws.String("(#st = :was AND #fc = :wasfc) OR #st <> :was OR #fc <> :wasfc")`}}}, playPlain},
		{mutate.Change{Name: "every message has a group of its own", Functions: []string{"webhook"}, File: "shared/webhook/ingest/ingest.go", Edits: [][2]string{
			{"c.d.Queue.Send(ctx, job.Key().Hash(), ", "c.d.Queue.Send(ctx, session.QueueID(c.inst.ID, receipt.EventID), "}}}, playPlain},
		{mutate.Change{Name: "all messages have one group", Functions: []string{"webhook"}, File: "shared/webhook/ingest/ingest.go", Edits: [][2]string{
			{"c.d.Queue.Send(ctx, job.Key().Hash(), ", `c.d.Queue.Send(ctx, "group", `}}}, playPlain},
		{mutate.Change{Name: "personas share a conversation", Functions: []string{"webhook", "turn"}, File: "shared/session/session.go", Edits: [][2]string{
			{"parts := []string{k.Org, k.Install, k.Agent, k.Persona, ", "parts := []string{k.Org, k.Install, k.Agent, "}}}, playRooms},
		{mutate.Change{Name: "apps and agents share a conversation", Functions: []string{"webhook", "turn"}, File: "shared/session/session.go", Edits: [][2]string{
			{"parts := []string{k.Org, k.Install, k.Agent, k.Persona, ", "parts := []string{k.Org, k.Persona, "}}}, playRooms},
	}
}

func playPlain(ctx context.Context, w *world, seed uint64) ([]string, error) {
	r, err := deliver(ctx, w, seed, plain)
	if r == nil {
		return nil, err
	}
	return r.broken, err
}

func playRooms(ctx context.Context, w *world, _ uint64) ([]string, error) {
	r, err := rooms(ctx, w, 60)
	if r == nil {
		return nil, err
	}
	return r.violations, err
}

// TestMutants: the harness refuses every build that lacks a guard. It is part of
// the long run.
func TestMutants(t *testing.T) {
	if !soak() {
		t.Skip("only with LATCHKEY_SOAK=1")
	}
	for _, m := range mutants() {
		t.Run(m.Name, m.refused)
	}
}

// refused plays seeds until one finds the mutant.
func (m mutant) refused(t *testing.T) {
	dir := t.TempDir()
	if err := m.Build(t.Context(), root(), dir); err != nil {
		t.Fatal(err)
	}
	for seed := uint64(1); seed <= 3; seed++ {
		w, err := start(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		broken, err := m.play(t.Context(), w, seed)
		w.stop()
		if err != nil {
			t.Fatal(err)
		}
		if len(broken) > 0 {
			t.Logf("refused by seed %d, %d violations:", seed, len(broken))
			for _, b := range broken[:min(len(broken), 6)] {
				t.Log(b)
			}
			return
		}
	}
	t.Error("three seeds found nothing wrong with it")
}

// TestMutantsFitTheSource: every mutant can still be made.
func TestMutantsFitTheSource(t *testing.T) {
	for _, m := range mutants() {
		if _, err := m.Text(root()); err != nil {
			t.Error(err)
		}
	}
}
