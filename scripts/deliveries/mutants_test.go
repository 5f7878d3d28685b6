package deliveries

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/scripts/internal/mutate"
)

// mutant is a build with one guard of the channel path taken out, the run that
// must refuse it, and what a violation of that run must say.
type mutant struct {
	mutate.Change
	want string
	kind string // of the run, see plays
}

func mutants() []mutant {
	return slices.Concat(lineMutants(), discordMutants(), []mutant{
		{mutate.Change{Name: "dedupe swallows what was not enqueued", Functions: []string{"webhook"}, File: "shared/webhook/ingest/people.go", Edits: [][2]string{
			{"receipt, _, err = c.d.Dedupe.Receive(", "var fresh bool\n\treceipt, fresh, err = c.d.Dedupe.Receive("},
			{"\treturn receipt, err\n}", "\treceipt.Enqueued = receipt.Enqueued || err == nil && !fresh\n\treturn receipt, err\n}"}}}, "accepted true, stored false", "plain"},
		{mutate.Change{Name: "a part is claimed without fence and state", Functions: []string{"turn"}, File: "shared/dynamo/turns.go", Edits: [][2]string{
			{`ConditionExpression: aws.String("#fc = :fc"), ExpressionAttributeNames: names, ExpressionAttributeValues: values}},` + "\n\t\t\t{Update: update},",
				`ConditionExpression: aws.String("#fc = :fc OR #fc <> :fc"), ExpressionAttributeNames: names, ExpressionAttributeValues: values}},` + "\n\t\t\t{Update: update},"},
			{`aws.String("#st = :was AND #fc = :wasfc")`, `aws.String("(#st = :was AND #fc = :wasfc) OR #st <> :was OR #fc <> :wasfc")`}}}, "2 replies were seen", "plain"},
		{mutate.Change{Name: "nothing is sent and its outcome unknown", Functions: []string{"turn"}, File: "shared/agent/turn/send.go", Edits: [][2]string{
			{"id, failure := x.post(sending, ", "id, failure := func(context.Context, channel.Call, session.Part, channel.Outgoing) (string, *channel.Failure) {\n" +
				"\t\treturn \"\", &channel.Failure{Certainty: channel.Ambiguous}\n\t}(sending, "}}}, "the outbox says unknown", "plain"},
		{mutate.Change{Name: "what a vendor failed to answer is sent again", Functions: []string{"turn"}, File: "shared/channels/internal/vendorapi/vendorapi.go", Edits: [][2]string{
			{"\tcase r.Status != http.StatusOK:\n\t\treturn &channel.Failure{Certainty: channel.Ambiguous, Code: code}\n", "\tcase r.Status != http.StatusOK:\n\t\treturn r.RateLimited(1)\n"}}}, "2 replies were seen", "plain"},
		{mutate.Change{Name: "parts are sent from the last to the first", Functions: []string{"turn"}, File: "shared/agent/turn/send.go", Edits: [][2]string{
			{"\tfor k := range x.parts {\n\t\tswitch p := x.parts[k]; p.State {", "\tfor k := len(x.parts) - 1; k >= 0; k-- {\n\t\tswitch p := x.parts[k]; p.State {"}}}, "the second part was seen before the first, which is sent", "plain"},
		{mutate.Change{Name: "every message has a group of its own", Functions: []string{"webhook"}, File: "shared/webhook/ingest/ingest.go", Edits: [][2]string{
			{"c.d.Queue.Send(ctx, job.Key().Hash(), ", "c.d.Queue.Send(ctx, session.QueueID(c.inst.ID, receipt.EventID), "}}}, " groups", "plain"},
		{mutate.Change{Name: "all messages have one group", Functions: []string{"webhook"}, File: "shared/webhook/ingest/ingest.go", Edits: [][2]string{
			{"c.d.Queue.Send(ctx, job.Key().Hash(), ", `c.d.Queue.Send(ctx, "group", `}}}, "share group", "plain"},
		{mutate.Change{Name: "personas share a conversation", Functions: []string{"webhook", "turn"}, File: "shared/session/session.go", Edits: [][2]string{
			{"parts := []string{k.Org, k.Install, k.Agent, k.Persona, ", "parts := []string{k.Org, k.Install, k.Agent, "}}}, "a prompt for q", "rooms"},
		{mutate.Change{Name: "apps and agents share a conversation", Functions: []string{"webhook", "turn"}, File: "shared/session/session.go", Edits: [][2]string{
			{"parts := []string{k.Org, k.Install, k.Agent, k.Persona, ", "parts := []string{k.Org, k.Persona, "}}}, "a prompt for q", "rooms"},
	})
}

// plays are the runs of mutants: what each finds wrong.
var plays = map[string]func(context.Context, *world, uint64) ([]string, error){"plain": playPlain, "rooms": playRooms}

func playPlain(ctx context.Context, w *world, seed uint64) ([]string, error) {
	r, err := deliver(ctx, w, seed, plain, func(string, ...any) {})
	if r == nil {
		return nil, err
	}
	return r.broken, err
}

func playRooms(ctx context.Context, w *world, seed uint64) ([]string, error) {
	r, err := rooms(ctx, w, seed, 60)
	if r == nil {
		return nil, err
	}
	return r.violations, err
}

// seeds are how many runs a mutant may pass.
const seeds = 3

// TestMutants: the harness refuses every build that lacks a guard, for the reason
// that the guard is for, and finds nothing wrong with the source by the same seed.
// It is part of the long run.
func TestMutants(t *testing.T) {
	if !soak() {
		t.Skip("only with LATCHKEY_SOAK=1")
	}
	green := map[string]bool{} // kind and seed
	for _, m := range mutants() {
		t.Run(m.Name, func(t *testing.T) { m.refused(t, green) })
	}
}

// refused plays seeds until one finds the mutant.
func (m mutant) refused(t *testing.T, green map[string]bool) {
	dir := t.TempDir()
	if err := m.Build(t.Context(), root(), dir); err != nil {
		t.Fatal(err)
	}
	for seed := uint64(1); seed <= seeds; seed++ {
		if run := fmt.Sprint(m.kind, seed); !green[run] {
			if broken := m.broken(t, "", seed); len(broken) > 0 {
				t.Fatalf("seed %d refuses the source: %q", seed, broken)
			}
			green[run] = true
		}
		broken := m.broken(t, dir, seed)
		t.Logf("seed %d: %d violations", seed, len(broken))
		for _, b := range broken[:min(len(broken), 6)] {
			t.Log(b)
		}
		if i := slices.IndexFunc(broken, func(b string) bool { return strings.Contains(b, m.want) }); i >= 0 {
			t.Logf("refused by seed %d: %s", seed, broken[i])
			return
		}
	}
	t.Errorf("%d seeds found nothing that says %q", seeds, m.want)
}

// broken is what a run of a seed finds wrong with the functions in a folder.
func (m mutant) broken(t *testing.T, functions string, seed uint64) []string {
	w, err := start(t.Context(), functions)
	if err != nil {
		t.Fatal(err)
	}
	defer w.stop()
	broken, err := plays[m.kind](t.Context(), w, seed)
	if err != nil {
		t.Fatal(err)
	}
	return broken
}

// TestMutantsFitTheSource: every mutant can still be made.
func TestMutantsFitTheSource(t *testing.T) {
	for _, m := range mutants() {
		if _, err := m.Text(root()); err != nil {
			t.Error(err)
		}
	}
}
