package security

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/scripts/internal/stack"
	"github.com/latchkey/latchkey/shared/rollout"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// bare is a cell in a world without a stack, whose functions have written the lines.
func bare(t *testing.T, want rollout.Cell, lines ...string) (*cell, *app) {
	t.Helper()
	dir := t.TempDir()
	w := &world{Stack: &stack.Stack{LogDir: dir}, patience: 20 * time.Millisecond}
	w.hooks, w.turns = newTail(w, "webhook"), newTail(w, "turn")
	for _, name := range []string{"webhook", "turn"} {
		must(t, os.WriteFile(filepath.Join(dir, name+".log"), []byte(strings.Join(lines, "\n")+"\n"), 0o600))
	}
	c := &cell{world: w, t: t, ctx: t.Context(), col: slackColumn(), org: &tenant{id: "o1"}, want: want}
	return c, &app{tenant: c.org, c: c, col: c.col, install: "i1"}
}

func auditLine(process int, code string, at time.Time) string {
	return fmt.Sprintf(`[%d] {"message":"audit","code":%q,"install":"i1","at":%q}`, process, code, at.Format(time.RFC3339Nano))
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// TestARecordIsTakenOnce: what was seen before is no proof of what happened since.
func TestARecordIsTakenOnce(t *testing.T) {
	c, a := bare(t, rollout.Cell{Audit: "reply.unknown"}, auditLine(7, "reply.unknown", noon))
	if c.turned(a, 0, "reply.unknown"); len(c.problems) > 0 {
		t.Fatalf("%q", c.problems)
	}
	if c.turned(a, 0, "reply.unknown"); len(c.problems) != 1 || !strings.Contains(c.problems[0], "no new record") {
		t.Errorf("the same record again: %q", c.problems)
	}
}

// TestARefusalHasItsOwnRow: a row that was there before does not count for a later
// refusal, and neither do two.
func TestARefusalHasItsOwnRow(t *testing.T) {
	const code = "binding.ambiguous"
	for name, tc := range map[string]struct {
		adds []string
		good bool
	}{
		"its own":     {[]string{code}, true},
		"none":        {nil, false},
		"another one": {[]string{"binding.create"}, false},
		"two":         {[]string{code, code}, false},
	} {
		t.Run(name, func(t *testing.T) {
			rows := []string{`{"id":"1","action":"binding.ambiguous"}`}
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					fmt.Fprintf(w, `{"items":[%s]}`, strings.Join(rows, ","))
					return
				}
				for _, action := range tc.adds {
					rows = append([]string{fmt.Sprintf(`{"id":"%d","action":%q}`, len(rows)+1, action)}, rows...)
				}
				w.WriteHeader(http.StatusConflict)
				fmt.Fprint(w, `{"error":{"code":"conflict","message":"no"}}`)
			}))
			defer s.Close()
			c, a := bare(t, rollout.Cell{Status: 409, Audit: code})
			a.admin = stack.Client{Base: s.URL}
			c.refused(a.tenant, code, func() int { return stack.Status(a.call(c, http.MethodPost, "/bindings", map[string]any{}, nil)) })
			if good := len(c.problems) == 0; good != tc.good {
				t.Errorf("%q", c.problems)
			}
		})
	}
}

// TestAFloodIsRecordedOnce: per process and minute.
func TestAFloodIsRecordedOnce(t *testing.T) {
	const code = "hook.flood"
	for name, tc := range map[string]struct {
		lines []string
		good  bool
	}{
		"once":                   {[]string{auditLine(7, code, noon), auditLine(7, "hook.accepted", noon.Add(time.Second))}, true},
		"by each of two":         {[]string{auditLine(7, code, noon), auditLine(8, code, noon.Add(time.Second))}, true},
		"again a minute later":   {[]string{auditLine(7, code, noon), auditLine(7, code, noon.Add(time.Minute))}, true},
		"twice":                  {[]string{auditLine(7, code, noon), auditLine(7, code, noon.Add(time.Second))}, false},
		"twice, another between": {[]string{auditLine(7, code, noon), auditLine(8, code, noon), auditLine(7, code, noon.Add(59*time.Second))}, false},
	} {
		c, a := bare(t, rollout.Cell{}, tc.lines...)
		if c.once(a, code, time.Minute); (len(c.problems) == 0) != tc.good {
			t.Errorf("%s: %q", name, c.problems)
		}
	}
}

// TestPlantedTextsAreFound: a secret anywhere, a message anywhere but where messages
// are kept.
func TestPlantedTextsAreFound(t *testing.T) {
	str := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	for name, tc := range map[string]struct {
		role      table.Role
		attribute string
		value     types.AttributeValue
		bad       bool
		kept      int
	}{
		"a message in its place":        {table.Sessions, "text", str("You said: " + spoken + " hello 7"), false, 1},
		"a message in another place":    {table.Sessions, "code", str(spoken + " hello 7"), true, 0},
		"a message in another table":    {table.Config, "text", str(spoken), true, 0},
		"a secret where messages are":   {table.Sessions, "text", str("xoxb-" + planted + "-7"), true, 0},
		"a secret, sealed in form only": {table.Vault, "ct", &types.AttributeValueMemberB{Value: []byte(planted)}, true, 0},
		"a sum of something else":       {table.Sessions, "sum", str(spoken), true, 0},
		"nothing":                       {table.Config, "name", str("Matrix"), false, 0},
	} {
		found, kept := heldIn(tc.role, map[string]types.AttributeValue{table.SK: str("x"), tc.attribute: tc.value})
		if len(found) > 0 != tc.bad || kept != tc.kept {
			t.Errorf("%s: %q, %d kept", name, found, kept)
		}
	}
	if found, kept := heldIn(table.Sessions, map[string]types.AttributeValue{table.SK: str(table.Session("", "").SK), "sum": str(spoken)}); len(found) > 0 || kept != 1 {
		t.Errorf("a summary in its place: %q, %d kept", found, kept)
	}
}

// TestAMutantIsFoundOutForItsReason: red for another reason is not found out.
func TestAMutantIsFoundOutForItsReason(t *testing.T) {
	m := mutant{row: 1, says: `404 "hook.install_unknown"`}
	for name, tc := range map[string]struct {
		problems []string
		found    bool
	}{
		"its own":       {[]string{"no audit record", `404 "hook.install_unknown", want 401 "hook.install_unknown"`}, true},
		"another":       {[]string{"no audit record"}, false},
		"green":         {nil, false},
		"not connected": {[]string{"dial tcp: connection refused"}, false},
	} {
		quiet := &judged{TB: t}
		if got := m.judge(quiet, &cell{col: slackColumn(), problems: tc.problems}); got != tc.found || quiet.failed == tc.found {
			t.Errorf("%s: found %v, failed %v", name, got, quiet.failed)
		}
	}
	if m.says = ""; m.judge(&judged{TB: t}, &cell{problems: []string{"x"}}) {
		t.Error("a mutant that states no reason is found out by anything")
	}
}

// judged is a test that notes that it failed.
type judged struct {
	testing.TB
	failed bool
}

func (j *judged) Helper()               {}
func (j *judged) Logf(string, ...any)   {}
func (j *judged) Errorf(string, ...any) { j.failed = true }

// TestTheTableShowsChannels: a channel that several vendors serve is one column of the
// page, green only if all of theirs are, and says where they differ.
func TestTheTableShowsChannels(t *testing.T) {
	pass := func(status int) rollout.Seen {
		return rollout.Seen{Status: status, Audit: "hook.stale", Result: rollout.Pass}
	}
	column := func(p taxonomy.Channel, verdict string, rows map[string]rollout.Seen) rollout.Column {
		return rollout.Column{Provider: p, Verdict: verdict, Rows: rows}
	}
	f := rollout.File{Columns: []rollout.Column{
		column(taxonomy.Slack, rollout.Green, map[string]rollout.Seen{"1": pass(401), "10": pass(401)}),
		column(taxonomy.Email, rollout.Green, map[string]rollout.Seen{"1": pass(401), "10": pass(401)}),
		column(taxonomy.Postmark, rollout.Red, map[string]rollout.Seen{"1": pass(401), "10": {Result: rollout.Excluded, Reason: "x"}}),
	}}
	table := pageTable(f)
	for _, line := range []string{"| # | attack or fault | slack | email | audit code |\n|---|---|---|---|---|\n", "| 1 | unknown install in the path | 401 | 401 | `hook.stale` |\n",
		"| 10 | old timestamp | 401 | 401 / – | `hook.stale` |\n", "|   | verdict | **green** | **red** |   |\n"} {
		if !strings.Contains(table, line) {
			t.Errorf("no %q in\n%s", line, table)
		}
	}
	f.Columns[1].Verdict, f.Columns[2].Verdict = rollout.Red, rollout.Green
	if !strings.Contains(pageTable(f), "| **green** | **red** |") {
		t.Error("the first vendor is red and the channel is not")
	}
}
