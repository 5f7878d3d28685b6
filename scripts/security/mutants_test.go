package security

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mutate"
	"github.com/latchkey/latchkey/shared/rollout"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// mutant is a build that lacks the guard of a row, for all channels of the row or
// for some.
type mutant struct {
	row  int
	only []taxonomy.Channel
	mutate.Change
}

// soak reports whether the long runs are made.
func soak() bool { return os.Getenv("LATCHKEY_SOAK") == "1" }

// TestMutantsFitTheSource: every mutant can still be made, and every row that is
// played has one for each channel.
func TestMutantsFitTheSource(t *testing.T) {
	for _, m := range mutants() {
		if _, err := m.Text(root()); err != nil {
			t.Error(err)
		}
	}
	for _, r := range rollout.Rows() {
		for p, c := range r.Cells {
			played := c.NotApplicable == "" && c.Pending == ""
			has := slices.ContainsFunc(mutants(), func(m mutant) bool { return m.row == r.N && m.covers(p) })
			if _, attack := attacks()[r.N]; played != has || played && !attack {
				t.Errorf("row %d, %s: played %v, attack %v, mutant %v", r.N, p, played, attack, has)
			}
		}
	}
}

func (m mutant) covers(p taxonomy.Channel) bool {
	for _, r := range rollout.Rows() {
		if c := r.Cells[p]; r.N == m.row && (c.NotApplicable != "" || c.Pending != "") {
			return false
		}
	}
	return len(m.only) == 0 || slices.Contains(m.only, p)
}

// TestMutantsTurnRowsRed plays each row against the build without its guard, on
// one stack: only the function's binary changes, and its processes.
func TestMutantsTurnRowsRed(t *testing.T) {
	if !soak() {
		t.Skip("set LATCHKEY_SOAK=1; TestMutantsFitTheSource says whether they can be made")
	}
	w := start(t)
	orgs := map[taxonomy.Channel]*tenant{}
	for _, p := range rollout.Columns() {
		orgs[p] = w.tenant(&cell{world: w, t: t, ctx: t.Context()})
	}
	w.patience = 8 * time.Second
	red := 0
	for _, m := range mutants() {
		t.Run(m.Name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, m.Build(t.Context(), root(), dir))
			for _, f := range m.Functions {
				w.swap(t, f, filepath.Join(dir, f))
				defer w.swap(t, f, filepath.Join(root(), "build", "local", f))
			}
			row := rollout.Rows()[m.row-1]
			for _, p := range rollout.Columns() {
				if !m.covers(p) {
					continue
				}
				c := w.play(t, row, p, orgs[p])
				w.settle(c)
				if c.seen.Result == rollout.Pass {
					t.Errorf("row %d, %s, is green without its guard", m.row, p)
					continue
				}
				red++
				t.Logf("row %d, %s: %s", m.row, p, c.problems[0])
			}
		})
	}
	t.Logf("%d mutants, %d cells red", len(mutants()), red)
}

// swap makes the stack start another binary from now on.
func (w *world) swap(t *testing.T, function, from string) {
	t.Helper()
	must(t, w.install(function, from))
	w.restart(t, function)
}

// settle judges what only shows when the turns have run: a reply too many.
func (w *world) settle(c *cell) {
	w.until(func() bool { return w.queued() == 0 })
	for _, a := range c.apps {
		if got := a.posts(); got != a.replies {
			c.bad("%d replies, want %d", got, a.replies)
			c.seen.Result = rollout.Fail
		}
	}
}

func mutants() []mutant {
	return append(append(doorMutants(), bodyMutants()...), turnMutants()...)
}

// The files that hold the guards.
const (
	ingestFile  = "shared/webhook/ingest/ingest.go"
	recordFile  = "shared/webhook/ingest/record.go"
	webhookFile = "shared/webhook/webhook.go"
	hmacFile    = "shared/webhook/hmac.go"
)

func build(row int, name, file string, functions []string, edits ...string) mutant {
	m := mutant{row: row, Change: mutate.Change{Name: name, Functions: functions, File: file}}
	for i := 0; i+1 < len(edits); i += 2 {
		m.Edits = append(m.Edits, [2]string{edits[i], edits[i+1]})
	}
	return m
}

// hook changes the webhook function.
func hook(row int, name, file string, edits ...string) mutant {
	return build(row, name, file, []string{"webhook"}, edits...)
}

func (m mutant) of(p ...taxonomy.Channel) mutant { m.only = p; return m }

// accepts is a verifier that lets a reason pass.
func accepts(row int, name, reason string) mutant {
	return hook(row, name, webhookFile, "\treturn s.Check(in, secrets, now)\n",
		"\tr, refusal := s.Check(in, secrets, now)\n\tif refusal != nil && refusal.Reason == "+reason+" {\n\t\treturn r, nil\n\t}\n\treturn r, refusal\n")
}

const decoyValues = "vault.Accepted{Values: []secret.Text{secret.FromString(decoy)}, Complete: true}, \"\"\n"

func doorMutants() []mutant {
	notFound, down := "\t\treturn got, webhook.NoSecret\n", "\t\treturn got, webhook.SecretUnavailable\n"
	return []mutant{
		hook(1, "unknown installs are told", recordFile, "\tcase webhook.Method:\n\t\treturn http.StatusMethodNotAllowed\n",
			"\tcase webhook.InstallUnknown:\n\t\treturn http.StatusNotFound\n\tcase webhook.Method:\n\t\treturn http.StatusMethodNotAllowed\n"),
		hook(2, "any provider's path", ingestFile, "case inst.Provider != c.entry.ID:", `case inst.Provider == "":`),
		hook(3, "inactive installs verify", ingestFile, "case !inst.State.Verifies():", "case inst.State == install.Draft:"),
		hook(4, "a default secret", ingestFile, notFound, "\t\treturn "+decoyValues),
		hook(5, "a default secret while keys are down", ingestFile, down, "\t\treturn "+decoyValues),
		accepts(6, "no signature passes", "SigMissing"),
		accepts(7, "damaged signatures pass", "SigFormat"),
		hook(8, "signatures have a length only", hmacFile, "if hmac.Equal(mac, got) && match < 0 {", "if len(mac) == len(got) && match < 0 {"),
		accepts(9, "another secret passes", "SigMismatch"),
		hook(10, "old requests pass", hmacFile, "case age > h.Tolerance:", "case age > 1000*h.Tolerance:"),
		hook(11, "future requests pass", hmacFile, "case age < -h.Tolerance:", "case age < -1000*h.Tolerance:"),
		hook(12, "repeated headers are read", webhookFile, `case len(vs) > 1 || strings.Contains(vs[0], ","):`, "case len(vs) > 1:"),
		hook(13, "any algorithm's tag", hmacFile, "\t\t\treturn nil, AlgRefused\n\t\t}\n\t\treturn nil, SigFormat\n", "\t\t\trest = text[i+1:]\n\t\t} else {\n\t\t\treturn nil, SigFormat\n\t\t}\n"),
	}
}

func bodyMutants() []mutant {
	key := "session.DedupeKey(e.EventID, e.ContentKey)"
	hub := hook(25, "any verify token", "shared/webhook/profiles/handshake.go", "if !ok || q.Get(", "if !ok && false || q.Get(")
	hub24 := hub
	hub24.row, hub24.Name = 24, "no verify token"
	return []mutant{
		hook(19, "every delivery is new", "shared/dynamo/sessions.go", `aws.String("attribute_not_exists(#pk) OR #exp <= :now"),`, `aws.String("attribute_not_exists(#pk) OR #exp <= :now OR #exp > :now"),`),
		hook(20, "an unsigned header makes it new", ingestFile, key, `session.DedupeKey(e.EventID+fmt.Sprint(c.r.Input.Header.Values("X-Slack-Retry-Num")), "")`, "\t\"context\"\n", "\t\"context\"\n\t\"fmt\"\n"),
		hook(21, "any tenant", ingestFile, "if !c.entry.SameTenant(c.inst.Config, c.in.Identity) {", "if c.in.Identity == nil {"),
		hook(24, "unsigned handshakes pass", ingestFile, "\t\treturn webhook.HandshakeRefused\n", "\t\treturn \"\"\n").of(taxonomy.Slack),
		hub24.of(taxonomy.WhatsApp), hub,
		hook(26, "drafts verify", ingestFile, "case !inst.State.Verifies():", "case inst.State == install.Suspended || inst.State == install.Revoked:"),
		hook(27, "any method", ingestFile, "if known && !slices.Contains(c.entry.Methods, r.Input.Method) {", `if known && r.Input.Method == "" {`),
		hook(28, "no limit", ingestFile, "if r.TooLarge || len(r.Input.Body) > MaxBody {", "if r.TooLarge && len(r.Input.Body) == 0 {"),
		hook(29, "what cannot be read is ignored", ingestFile, "\tif err != nil || len(all) == 0 {\n\t\treturn c.end(ctx, webhook.BadPayload, session.Refused)\n",
			"\tif err != nil || len(all) == 0 {\n\t\treturn c.end(ctx, channel.EventIgnored, session.Ignored)\n"),
		hook(30, "the last of two names counts", "shared/channel/json.go", "if _, seen := out[name]; seen {", "if _, seen := out[name]; seen && name == \"\" {"),
		hook(31, "forwarding headers are believed", "functions/webhook/handler.go", "\tpath := e.RawPath\n", "\tpath := e.RawPath\n\tif h := e.Headers[\"x-forwarded-host\"]; h != \"\" {\n\t\tpath = \"/\" + h + path\n\t}\n"),
		hook(36, "posts are told by their events", ingestFile, key, `session.DedupeKey(e.EventID, "")`),
		hook(39, "200 before it is queued", ingestFile, "return c.end(ctx, webhook.EnqueueFailed, session.Failed)", "return c.end(ctx, webhook.Accepted, session.Enqueued)"),
		hook(40, "no dedupe is no duplicate", ingestFile, "\tcase err != nil:\n\t\treturn c.end(ctx, webhook.DedupeUnavailable, session.Failed)\n", "\tcase err != nil:\n\t\treceipt.EventID = e.EventID\n"),
		hook(45, "retired secrets verify", "shared/install/opener.go", "return vault.Accepting(ctx, o.Vault, cred, vault.Use{Field: name, Purpose: o.Purpose}, now)",
			"got, err := vault.Accepting(ctx, o.Vault, cred, vault.Use{Field: name, Purpose: o.Purpose}, now)\n"+
				"\t_ = o.Vault.RevealRetired(ctx, cred, vault.Use{Field: name, Purpose: o.Purpose}, func(_ int, b []byte) error { got.Values = append(got.Values, secret.New(b)); return nil })\n\treturn got, err"),
		hook(50, "no end of bad signatures", "shared/webhook/ingest/flood.go", "return verdict{limited: true, record: record, suppressed: n}", "return verdict{record: record, suppressed: n}"),
	}
}

func turnMutants() []mutant {
	console, turn := []string{"console"}, []string{"turn"}
	kind := func(reason string) []string {
		return []string{"\tswitch c.in.Kind {\n", "\tif c.in.Reason == channel." + reason + " {\n\t\tc.in.Kind = channel.Message\n\t}\n\tswitch c.in.Kind {\n"}
	}
	return []mutant{
		hook(33, "own messages are answered", ingestFile, kind("SelfIgnored")...),
		hook(34, "bots are answered", ingestFile, kind("BotIgnored")...),
		build(37, "a selector for each agent", "shared/install/bindings.go", console, "b := Binding{ID: BindingID(i.ID, n.Selector),", "b := Binding{ID: BindingID(i.ID, Selector{Channel: n.Selector.Channel, Peer: n.AgentID}),"),
		build(38, "tokens are not claimed", "shared/install/service.go", console, "\tif !f.Unique {\n\t\treturn i, nil\n", "\tif f.Unique {\n\t\treturn i, nil\n"),
		build(41, "a turn for each try", "shared/agent/turn/run.go", turn, "session.TurnID(j.Install, j.EventID), Install:", "session.TurnID(j.Install, j.EventID+x.del.Owner), Install:"),
		build(42, "what may have been sent is sent again", "shared/agent/turn/send.go", turn,
			"\tif err := x.move(ctx, k, session.Unknown, \"\", f.Code, fence); err != nil {\n\t\treturn again(err)\n\t}\n\tx.record(ctx, ReplyUnknown, f.Code)\n\treturn nil\n",
			"\tif err := x.move(ctx, k, session.Planned, \"\", f.Code, fence); err != nil {\n\t\treturn again(err)\n\t}\n\treturn &end{retry: true, code: Retry, detail: f.Code}\n"),
		build(43, "jobs are believed", "shared/agent/turn/run.go", turn,
			"if !ok || i.Org != x.job.Org || i.Provider != x.job.Envelope.Provider || !entry.SameTenant(i.Config, x.job.Identity) {", "if !ok {"),
		build(44, "rejected tokens go on", "shared/install/rejected.go", turn, "i.Rejections >= MaxRejections", "i.Rejections >= 1000*MaxRejections"),
		build(47, "removed apps go on", "shared/agent/turn/run.go", turn, "if err := x.d.Revoker.RevokedByVendor(ctx, op, i); err != nil {", "if !op.Valid() {").of(taxonomy.Slack, taxonomy.WhatsApp),
		hook(47, "removals are not told", "shared/channels/telegram/parse.go", "out.Reason = channel.RevokedByVendor", "out.Reason = channel.EventIgnored").of(taxonomy.Telegram),
	}
}
