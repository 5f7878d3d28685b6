package security

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mutate"
	"github.com/latchkey/latchkey/shared/rollout"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// mutant is a build that lacks the guard of a row, for all channels of the row or
// for some.
type mutant struct {
	row int
	// only are the columns that it is for; all if nil.
	only func(column) bool
	// own says that it is one of a vendor's.
	own bool
	// says is a part of what must be wrong with the cell.
	says string
	// leaks says that the cell may be green: what must be found is what the build
	// writes where it must not stand.
	leaks bool
	mutate.Change
}

// soak reports whether the long runs are made.
func soak() bool { return os.Getenv("LATCHKEY_SOAK") != "" }

// TestMutantsFitTheSource: every mutant can still be made, and every row that is
// played has one for each channel.
func TestMutantsFitTheSource(t *testing.T) {
	for _, m := range mutants() {
		if _, err := m.Text(root()); err != nil || m.says == "" {
			t.Errorf("%s: %v, says %q", m.Name, err, m.says)
		}
	}
	for _, r := range rollout.Rows() {
		for p, c := range r.Cells {
			played := c.NotApplicable == "" && c.Pending == ""
			has := slices.ContainsFunc(mutants(), func(m mutant) bool { return m.row == r.N && m.covers(p) })
			if attack := columnOf(p).attack(r.N) != nil; played != has || played && !attack {
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
	c := columnOf(p)
	if !m.own && slices.Contains(c.elsewhere, m.row) {
		return false
	}
	return m.only == nil || m.only(c)
}

// TestMutantsTurnRowsRed plays each row against the build without its guard, on
// one stack: only the function's binary changes, and its processes. Before that the
// same cells must be green there, and then red for the stated reason. One row's
// mutants are chosen with -run 'TestMutantsTurnRowsRed/row_22', or with -rows and
// -columns.
func TestMutantsTurnRowsRed(t *testing.T) {
	if !soak() {
		t.Skip("set LATCHKEY_SOAK=1; TestMutantsFitTheSource says whether they can be made")
	}
	chosen := choose(t)
	w := start(t)
	orgs := map[taxonomy.Channel]*tenant{}
	for _, p := range chosen.columns {
		orgs[p] = w.tenant(&cell{world: w, t: t, ctx: t.Context()})
	}
	made, red, whole := 0, 0, map[string]bool{}
	for _, m := range mutants() {
		columns := slices.DeleteFunc(slices.Clone(chosen.columns), func(p taxonomy.Channel) bool { return !m.covers(p) })
		if !chosen.row(m.row) || len(columns) == 0 {
			continue
		}
		made++
		t.Run(fmt.Sprintf("row %d %s", m.row, m.Name), func(t *testing.T) {
			row := rollout.Rows()[m.row-1]
			fresh := slices.DeleteFunc(slices.Clone(columns), func(p taxonomy.Channel) bool { return whole[fmt.Sprint(m.row, p)] })
			w.patience = 20 * time.Second
			w.whole(t, row, fresh, orgs)
			for _, p := range fresh {
				whole[fmt.Sprint(m.row, p)] = true
			}
			dir := t.TempDir()
			must(t, m.Build(t.Context(), root(), dir))
			for _, f := range m.Functions {
				w.swap(t, f, filepath.Join(dir, f))
				defer w.swap(t, f, filepath.Join(root(), "build", "local", f))
			}
			w.patience = 8 * time.Second
			for _, c := range w.without(t, m, row, columns, orgs) {
				if m.judge(t, c) {
					red++
				}
			}
		})
	}
	t.Logf("%d mutants, %d cells red", made, red)
}

// cells plays a row for some columns, at once where the matrix does so, and judges
// what only shows when the turns have run: a reply too many.
func (w *world) cells(t *testing.T, row rollout.Row, columns []taxonomy.Channel, orgs map[taxonomy.Channel]*tenant) []*cell {
	t.Helper()
	var meet *rendezvous
	if outage(row.N) {
		meet = newRendezvous(len(columns))
	}
	out := make([]*cell, len(columns))
	var group sync.WaitGroup
	for k, p := range columns {
		play := func() {
			if meet != nil {
				defer meet.leave()
			}
			out[k] = w.play(t, row, p, orgs[p], meet)
		}
		if apart(row.N) {
			play()
		} else {
			group.Go(play)
		}
	}
	group.Wait()
	rests := w.quiet(t)
	for _, c := range out {
		if !rests {
			c.bad("the queues do not come to rest")
		}
		for _, a := range c.apps {
			if got := a.posts(); got != a.replies {
				c.bad("%d replies, want %d", got, a.replies)
				c.seen.Result = rollout.Fail
			}
		}
	}
	return out
}

// without plays a row on a mutant's build. What such a build writes is looked for after
// each column, because it is found once.
func (w *world) without(t *testing.T, m mutant, row rollout.Row, columns []taxonomy.Channel, orgs map[taxonomy.Channel]*tenant) (out []*cell) {
	if !m.leaks {
		return w.cells(t, row, columns, orgs)
	}
	for _, p := range columns {
		c := w.cells(t, row, []taxonomy.Channel{p}, orgs)[0]
		c.problems, _ = w.leaked(t)
		out = append(out, c)
	}
	return out
}

// whole plays cells with every guard in place, without which a red one of a mutant
// would prove nothing.
func (w *world) whole(t *testing.T, row rollout.Row, columns []taxonomy.Channel, orgs map[taxonomy.Channel]*tenant) {
	t.Helper()
	for _, c := range w.cells(t, row, columns, orgs) {
		if c.seen.Result != rollout.Pass {
			t.Fatalf("row %d, %s, is red with its guard: %q", row.N, c.col.id, c.problems)
		}
	}
	if where, _ := w.leaked(t); len(where) > 0 {
		t.Fatalf("at rest with every guard: %q", where)
	}
}

// judge reports whether the mutant was found out, for the reason that it states.
func (m mutant) judge(t testing.TB, c *cell) bool {
	t.Helper()
	switch {
	case len(c.problems) == 0:
		t.Errorf("row %d, %s, is green without its guard", m.row, c.col.id)
	case m.says == "" || !slices.ContainsFunc(c.problems, func(p string) bool { return strings.Contains(p, m.says) }):
		t.Errorf("row %d, %s: not %q, but %q", m.row, c.col.id, m.says, c.problems)
	default:
		t.Logf("row %d, %s: %q", m.row, c.col.id, c.problems)
		return true
	}
	return false
}

// swap makes the stack start another binary from now on.
func (w *world) swap(t *testing.T, function, from string) {
	t.Helper()
	must(t, w.install(function, from))
	w.restart(t, function)
}

func mutants() []mutant {
	return slices.Concat(doorMutants(), bodyMutants(), turnMutants(), tenantMutants(), mediaMutants(), vendorMutants(), leakMutants())
}

// unsignedChecks lets handshakes pass that the vendor signs.
func unsignedChecks() []mutant {
	return []mutant{hook(24, "unsigned handshakes pass", ingestFile, "\t\treturn webhook.HandshakeRefused\n", "\t\treturn \"\"\n").saying(`200 "hook.handshake"`)}
}

// vendorMutants are those of the columns' own files.
func vendorMutants() (out []mutant) {
	for _, c := range list() {
		if c.mutants == nil {
			continue
		}
		for _, m := range c.mutants() {
			m.own = true
			out = append(out, m.of(func(o column) bool { return o.id == c.id }))
		}
	}
	return out
}

// The files that hold the guards.
const (
	ingestFile  = "shared/webhook/ingest/ingest.go"
	peopleFile  = "shared/webhook/ingest/people.go"
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

func (m mutant) of(only func(column) bool) mutant { m.only = only; return m }

func hasTenants(c column) bool { return c.apps != nil }

func hasPage(c column) bool { return c.page != nil }

func (m mutant) saying(part string) mutant { m.says = part; return m }

// with changes a second file, where the guard stands twice.
func (m mutant) with(file, old, changed string) mutant {
	m.More = map[string][][2]string{file: {{old, changed}}}
	return m
}

// accepts is a verifier that lets a reason pass.
func accepts(row int, name, reason string) mutant {
	return hook(row, name, webhookFile, "\treturn s.Check(in, secrets, now)\n",
		"\tr, refusal := s.Check(in, secrets, now)\n\tif refusal != nil && refusal.Reason == "+reason+" {\n\t\treturn r, nil\n\t}\n\treturn r, refusal\n")
}

// passed is what a cell says of a request that was taken.
const passed = `200 "hook.accepted"`

const decoyValues = "vault.Accepted{Values: []secret.Text{secret.FromString(decoy)}, Complete: true}, \"\"\n"

func doorMutants() []mutant {
	notFound, down := "\t\treturn got, webhook.NoSecret\n", "\t\treturn got, webhook.SecretUnavailable\n"
	return []mutant{
		hook(1, "unknown installs are told", recordFile, "\tcase webhook.Method:\n\t\treturn http.StatusMethodNotAllowed\n",
			"\tcase webhook.InstallUnknown:\n\t\treturn http.StatusNotFound\n\tcase webhook.Method:\n\t\treturn http.StatusMethodNotAllowed\n").saying(`200 "hook.install_unknown"`),
		hook(2, "any provider's path", ingestFile, "case inst.Provider != c.entry.ID:", `case inst.Provider == "":`).saying(`401 "hook.no_secret"`),
		hook(3, "inactive installs verify", ingestFile, "case !inst.State.Verifies():", "case inst.State == install.Draft:").saying(`200 "hook.install_verifying"`),
		hook(4, "a default secret", ingestFile, notFound, "\t\treturn "+decoyValues).saying(`401 "hook.sig_mismatch"`),
		hook(5, "a default secret while keys are down", ingestFile, down, "\t\treturn "+decoyValues).saying(`401 "hook.sig_mismatch"`),
		accepts(6, "no signature passes", "SigMissing").saying(passed),
		accepts(7, "damaged signatures pass", "SigFormat").saying(passed),
		hook(8, "signatures have a length only", hmacFile, "if hmac.Equal(mac, got) && match < 0 {", "if len(mac) == len(got) && match < 0 {").saying(passed),
		accepts(9, "another secret passes", "SigMismatch").saying(passed),
		hook(10, "old requests pass", hmacFile, "case age > h.Tolerance:", "case age > 1000*h.Tolerance:").saying(passed),
		hook(11, "future requests pass", hmacFile, "case age < -h.Tolerance:", "case age < -1000*h.Tolerance:").saying(passed),
		hook(12, "repeated headers are read", webhookFile, `case len(vs) > 1 || strings.Contains(vs[0], ","):`, "case len(vs) > 1:").saying(`401 "hook.sig_`),
		hook(13, "any algorithm's tag", hmacFile, "\t\t\treturn nil, AlgRefused\n\t\t}\n\t\treturn nil, SigFormat\n", "\t\t\trest = text[i+1:]\n\t\t} else {\n\t\t\treturn nil, SigFormat\n\t\t}\n").saying(passed),
	}
}

func bodyMutants() []mutant {
	key := "session.DedupeKey(e.EventID, e.ContentKey)"
	return []mutant{
		hook(19, "every delivery is new", "shared/dynamo/sessions.go", `aws.String("attribute_not_exists(#pk) OR #exp <= :now"),`, `aws.String("attribute_not_exists(#pk) OR #exp <= :now OR #exp > :now"),`).saying(passed),
		hook(20, "an unsigned header makes it new", peopleFile, key, `session.DedupeKey(e.EventID+fmt.Sprint(c.r.Input.Header.Values("X-Slack-Retry-Num")), "")`, "\t\"context\"\n", "\t\"context\"\n\t\"fmt\"\n").saying(passed),
		hook(21, "any tenant", ingestFile, "if !c.entry.SameTenant(c.inst.Config, c.in.Identity) {", "if c.in.Identity == nil {").saying(passed),
		hook(26, "drafts verify", ingestFile, "case !inst.State.Verifies():", "case inst.State == install.Suspended || inst.State == install.Revoked:").saying(`200 "hook.install_verifying"`),
		hook(27, "any method", ingestFile, "if known && !slices.Contains(c.entry.Methods, r.Input.Method) {", `if known && r.Input.Method == "" {`).saying(passed),
		hook(28, "no limit", ingestFile, "if r.TooLarge || len(r.Input.Body) > MaxBody {", "if r.TooLarge && len(r.Input.Body) == 0 {").saying(passed),
		hook(29, "what cannot be read is ignored", ingestFile, "\tif err != nil || len(all) == 0 {\n\t\treturn c.end(ctx, webhook.BadPayload, session.Refused)\n",
			"\tif err != nil || len(all) == 0 {\n\t\treturn c.end(ctx, channel.EventIgnored, session.Ignored)\n",
			"\tif why := c.verify(ctx); why != \"\" {\n", "\tif why := c.verify(ctx); why == webhook.BadPayload {\n\t\treturn c.end(ctx, channel.EventIgnored, session.Ignored)\n\t} else if why != \"\" {\n").saying(`200 "hook.event_ignored"`),
		hook(30, "the last of two names counts", "shared/channel/json.go", "if _, seen := out[name]; seen {", "if _, seen := out[name]; seen && name == \"\" {").saying(passed).
			with("shared/webhook/profiles/tokens.go", "if jsonwire.Check(in.Body) != nil || json.Unmarshal(in.Body, &activity) != nil {", "_ = jsonwire.Check\n\tif json.Unmarshal(in.Body, &activity) != nil {"),
		hook(31, "forwarding headers are believed", "functions/webhook/handler.go", "\tpath := e.RawPath\n", "\tpath := e.RawPath\n\tif h := e.Headers[\"x-forwarded-host\"]; h != \"\" {\n\t\tpath = \"/\" + h + path\n\t}\n").saying(`401 "hook.install_unknown"`),
		hook(36, "posts are told by their events", peopleFile, key, `session.DedupeKey(e.EventID, "")`).saying(passed),
		hook(39, "200 before it is queued", ingestFile, "return c.end(ctx, webhook.EnqueueFailed, session.Failed)", "return c.end(ctx, webhook.Accepted, session.Enqueued)").saying(passed),
		hook(40, "no dedupe is no duplicate", ingestFile, "\tcase err != nil:\n\t\treturn c.end(ctx, webhook.DedupeUnavailable, session.Failed)\n", "\tcase err != nil:\n\t\treceipt.EventID = e.EventID\n",
			"Queued(ctx, key, receipt, d); err != nil {", "Queued(ctx, key, receipt, d); err != nil && key == \"\" {").saying(passed),
		hook(45, "retired secrets verify", "shared/install/opener.go", "return vault.Accepting(ctx, o.Vault, cred, vault.Use{Field: name, Purpose: o.Purpose}, now)",
			"got, err := vault.Accepting(ctx, o.Vault, cred, vault.Use{Field: name, Purpose: o.Purpose}, now)\n"+
				"\t_ = o.Vault.RevealRetired(ctx, cred, vault.Use{Field: name, Purpose: o.Purpose}, func(_ int, b []byte) error { got.Values = append(got.Values, secret.New(b)); return nil })\n\treturn got, err").saying(passed),
		hook(50, "each of a flood is recorded", "shared/webhook/ingest/flood.go", "return verdict{limited: true, record: record, suppressed: n}", "return verdict{limited: true, record: record || n == 0, suppressed: n}").saying("a second record of hook.flood"),
		hook(50, "no end of bad signatures", "shared/webhook/ingest/flood.go", "return verdict{limited: true, record: record, suppressed: n}", "return verdict{record: record, suppressed: n}").saying(`401 "hook.sig_mismatch"`),
	}
}

func turnMutants() []mutant {
	const visits = "shared/consent/visit.go"
	console, turn := []string{"console"}, []string{"turn"}
	kind := func(reason string) []string {
		return []string{"\tswitch kind {\n", "\tif c.in.Reason == channel." + reason + " {\n\t\tkind = channel.Message\n\t}\n\tswitch kind {\n"}
	}
	return []mutant{
		hook(33, "own messages are answered", ingestFile, kind("SelfIgnored")...).saying(passed),
		hook(34, "bots are answered", ingestFile, kind("BotIgnored")...).saying(passed),
		build(35, "bots have no budget", "shared/session/loop/loop.go", turn, "\tcase s.Row >= InARow:\n", "\tcase s.Row >= 1000*InARow:\n").saying(`no new record "turn.loop_suppressed"`),
		build(35, "each of a pause is recorded", "shared/agent/turn/bots.go", turn, "quiet: why == loop.Pause}", "quiet: why == loop.Answer}").saying("3 records of turn.loop_suppressed"),
		build(35, "a person ends no pause", "shared/session/loop/loop.go", turn, "\tif !e.Bot && !suspect {\n\t\treturn State{", "\tif !e.Bot && !suspect && at < s.Quiet {\n\t\treturn s, Pause\n\t}\n\tif !e.Bot && !suspect {\n\t\treturn State{").saying("replies, want"),
		build(37, "a selector for each agent", "shared/install/bindings.go", console, "b := Binding{ID: BindingID(i.ID, n.Selector),", "b := Binding{ID: BindingID(i.ID, Selector{Channel: n.Selector.Channel, Peer: n.AgentID}),").saying("0 new rows of binding.ambiguous"),
		build(38, "tokens are not claimed", "shared/install/service.go", console, "\tif !f.Unique {\n\t\treturn i, nil\n", "\tif f.Unique {\n\t\treturn i, nil\n").saying("0 new rows of install.token_in_use"),
		build(41, "a turn for each try", "shared/agent/turn/run.go", turn, "session.TurnID(j.Install, j.EventID), Install:", "session.TurnID(j.Install, j.EventID+x.del.Owner), Install:").saying("the turn: retried"),
		build(42, "what may have been sent is sent again", "shared/agent/turn/send.go", turn,
			"\tif err := x.move(ctx, k, session.Unknown, \"\", f.Code, fence); err != nil {\n\t\treturn again(err)\n\t}\n\tx.record(ctx, ReplyUnknown, f.Code)\n\treturn nil\n",
			"\tif err := x.move(ctx, k, session.Planned, \"\", f.Code, fence); err != nil {\n\t\treturn again(err)\n\t}\n\treturn &end{retry: true, code: Retry, detail: f.Code}\n").saying(`no new record "reply.unknown"`),
		build(43, "jobs are believed", "shared/agent/turn/run.go", turn,
			"if !ok || i.Org != x.job.Org || i.Provider != x.job.Envelope.Provider || !entry.SameTenant(i.Config, x.job.Identity) {", "if !ok {").saying(`no new record "reply.tenant_guard"`),
		build(44, "rejected tokens go on", "shared/install/rejected.go", turn, "i.Rejections >= MaxRejections", "i.Rejections >= 1000*MaxRejections").saying("the install is active"),
		build(46, "a state counts in any browser", visits, console, "if reason == \"\" && !v.same() {", "if reason == \"\" && !v.same() && v.text == \"\" {").saying(`200 "", want 400`).of(hasPage),
		build(46, "a state counts twice", visits, console, "\tcase st.Used:\n", "\tcase st.Used && v.text == \"\":\n", "\tcase fault.CodeOf(err) == fault.Conflict:\n\t\treturn v.refuse(ctx, \"used\")\n\tcase err != nil:\n",
			"\tcase err != nil && fault.CodeOf(err) != fault.Conflict:\n").saying(`0 new rows of oauth.state_refused`).of(hasPage),
		build(46, "a state counts for ever", visits, console, "\tcase !v.Now.Before(st.Expires):\n", "\tcase v.Now.IsZero():\n").saying("0 new rows of oauth.state_refused").of(hasPage),
		build(46, "a state counts for any vendor", visits, console, "\tcase st.Provider != v.provider:\n", "\tcase st.Provider == \"\":\n", "\tcase !v.paged():\n", "\tcase !v.paged() && v.text == \"\":\n").saying("new rows of oauth.state_refused"),
		build(46, "refused states are not told", visits, console, "\tif v.room() {\n", "\tif !v.room() {\n").saying(`0 new rows of oauth.state_refused`),
		build(47, "removed apps go on", "shared/agent/turn/run.go", turn, "if err := x.d.Revoker.RevokedByVendor(ctx, op, i); err != nil {", "if !op.Valid() {").saying("the install is active").of(func(c column) bool { return !c.leaves }),
	}
}

func tenantMutants() []mutant {
	const apps = "shared/webhook/ingest/apps.go"
	const found = "\tinst, binds, err := h.inst, h.binds, h.lookup\n\tswitch {\n"
	bound := found + "\tcase fault.CodeOf(err) == fault.NotFound:\n\t\treturn c.end(ctx, webhook.Unbound, session.Unbound)\n"
	passes := func(mode string) []string {
		return []string{"\tif refusal == nil {\n\t\tc.result = result\n", "\tif refusal == nil || refusal.Reason == webhook.SigMismatch && c.inst.Mode == install." + mode + " {\n\t\tc.result = result\n"}
	}
	return []mutant{
		hook(22, "unbound workspaces are refused", apps, bound, strings.Replace(bound, "webhook.Unbound, session.Unbound", "webhook.TenantMismatch, session.Refused", 1)).saying(`403 "hook.tenant_mismatch"`),
		hook(22, "an own app's workspace is the platform app's, too", apps, bound, found+"\tcase fault.CodeOf(err) == fault.NotFound:\n"+
			"\t\tvendors := c.in.Identity[\"app_id\"] + c.in.Identity[\"application_id\"]\n\t\tif vendors == \"\" {\n\t\t\tvendors = map[string]string{\"whatsapp\": \"waba\", \"messenger\": \"page\", \"instagram\": \"account\"}[string(c.entry.ID)]\n\t\t}\n"+
			"\t\tif inst, binds, err = c.d.Installs.InstallOf(ctx, string(c.entry.ID), vendors, tenant); err != nil {\n\t\t\treturn c.end(ctx, webhook.Unbound, session.Unbound)\n\t\t}\n").saying(passed).of(func(c column) bool { return hasTenants(c) && c.apps.tenant == nil }),
		hook(23, "any signature at the platform app's path", ingestFile, passes("App")...).saying(passed).of(hasTenants),
		hook(23, "any signature at an own app's path", ingestFile, passes("BYOA")...).saying(passed).of(hasTenants),
		hook(23, "which apps there are is told", ingestFile, "\tcase fault.CodeOf(err) == fault.NotFound:\n\t\treturn webhook.InstallUnknown\n",
			"\tcase fault.CodeOf(err) == fault.NotFound && !strings.HasPrefix(c.r.Install, install.AppPrefix):\n\t\treturn webhook.InstallUnknown\n").saying(`503 "hook.install_unavailable"`).of(func(c column) bool { return !hasTenants(c) }),
	}
}

func mediaMutants() []mutant {
	const media = "shared/channels/internal/vendorapi/media.go"
	turn := []string{"turn"}
	return []mutant{
		build(48, "files are fetched from anywhere", media, turn, "\tresp, err := egress.Do(client, req)\n\tif err != nil {\n\t\treturn nil, unfetched(err)\n",
			"\tresp, err := http.DefaultClient.Do(req)\n\tif err != nil {\n\t\treturn nil, unfetched(err)\n").saying("transcribed 1 times"),
		build(49, "a page is a recording", media, turn, "\tif !ok {\n\t\treturn channel.File{}, failed(channel.NotMedia)\n\t}\n",
			"\tif !ok {\n\t\tkind, first, n = \"audio/ogg\", append([]byte(\"OggS\"), first[:n]...), n+4\n\t}\n").saying("charged: ").of(func(c column) bool { return !c.digests }),
	}
}

// leakMutants write what nobody may find at rest. They stand last: what they write stays
// there. Any cell in which a message is answered shows it.
func leakMutants() []mutant {
	out := []mutant{
		hook(31, "bodies are logged", "functions/webhook/handler.go", "\tprovider, install := target(e)\n", "\tprovider, install := target(e)\n\tfmt.Fprintln(os.Stderr, e.Body)\n", "\t\"net/netip\"\n", "\t\"net/netip\"\n\t\"os\"\n").saying("webhook.log: message"),
		build(31, "what was said is audited", "shared/agent/turn/run.go", []string{"turn"}, "\t\tx.record(ctx, Done, \"\")\n", "\t\tx.record(ctx, Done, x.said())\n").saying("turn.log: message"),
		hook(31, "deliveries keep what was said", ingestFile, "\t\td.TurnID = session.TurnID(c.inst.ID, job.EventID)\n", "\t\td.TurnID = c.in.Envelope.Text\n").saying("table sessions, attribute turn").of(func(c column) bool { return c.id == taxonomy.Slack }), // it stays in the table
	}
	for i := range out {
		out[i].leaks = true
	}
	return out
}
