package admin

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/org"
)

// rowsOf lists what each route that changes something leaves in the audit log, of
// acme's or, after a slash, of another organisation. A changing route that is
// missing here fails TestEveryChangeLeavesItsRows. That the rows are written in
// the transaction of the change is tested with the real tables, in
// functions/console.
func rowsOf() map[string][]string {
	one := base + "/connections/{id}"
	inst := base + "/installs/{id}"
	return map[string][]string{
		"POST /api/orgs":                {"new/org.create"},
		"PATCH " + base:                 {"org.update"},
		"POST " + base + "/keys":        {"key.create"},
		"DELETE " + base + "/keys/{id}": {"key.revoke"},
		"PUT " + base + "/settings":     {"settings.update"},

		"POST " + base + "/routes/explain": nil, // reads

		"POST " + base + "/agents":        {"agent.create"},
		"PATCH " + base + "/agents/{id}":  {"agent.update"},
		"DELETE " + base + "/agents/{id}": {"agent.delete"},

		"POST " + base + "/tools":        {"credential.create", "tool.create"},
		"PATCH " + base + "/tools/{id}":  {"tool.update"},
		"DELETE " + base + "/tools/{id}": {"credential.revoke", "tool.delete"},

		"POST " + base + "/approvals/{id}": {"approval.approve"},

		"POST " + base + "/sessions/{id}/handoff":  {"session.handoff"},
		"POST " + base + "/sessions/{id}/messages": {"session.say"},
		"POST " + base + "/sessions/{id}/resume":   {"session.resume"},

		"POST " + base + "/connections": {"connection.create", "credential.create"},
		"PATCH " + one:                  {"connection.update", "credential.rotate"},
		"DELETE " + one:                 {"connection.delete", "connection.revoke", "credential.revoke"},
		"POST " + one + "/rotate":       {"connection.rotate", "credential.rotate"},
		"POST " + one + "/revoke":       {"connection.revoke", "credential.revoke"},

		"POST " + one + "/rotate/rollback": {"connection.rollback", "credential.rollback"},
		"POST " + one + "/test":            nil, // what it saw is nobody's decision

		"POST " + base + "/installs":         {"credential.create", "credential.create", "install.create"},
		"POST " + base + "/installs/consent": {"oauth.begin"},
		"POST " + base + "/installs/import":  {"binding.create", "install.create"},

		"PATCH " + inst:                     {"install.update"},
		"DELETE " + inst:                    {"credential.revoke", "credential.revoke", "install.revoke"},
		"POST " + inst + "/activate":        {"install.activate"},
		"POST " + inst + "/suspend":         {"install.suspend"},
		"POST " + inst + "/resume":          {"install.resume"},
		"POST " + inst + "/revoke":          {"credential.revoke", "credential.revoke", "install.revoke"},
		"POST " + inst + "/rotate":          {"credential.rotate", "install.rotate"},
		"POST " + inst + "/rotate/finish":   {"credential.finish", "install.rotate_finish"},
		"POST " + base + "/bindings":        {"binding.create"},
		"PATCH " + base + "/bindings/{id}":  {"binding.update"},
		"DELETE " + base + "/bindings/{id}": {"binding.delete"},

		"POST /api/operator/apps":                    {"operator/credential.create", "operator/install.create"},
		"PATCH /api/operator/apps/{id}":              {"operator/install.update"},
		"POST /api/operator/apps/{id}/activate":      {"operator/install.activate"},
		"POST /api/operator/apps/{id}/suspend":       {"operator/install.suspend"},
		"POST /api/operator/apps/{id}/resume":        {"operator/install.resume"},
		"POST /api/operator/apps/{id}/revoke":        {"operator/credential.revoke", "operator/install.revoke"},
		"POST /api/operator/apps/{id}/rotate":        {"operator/credential.rotate", "operator/install.rotate"},
		"POST /api/operator/apps/{id}/rotate/finish": {"operator/credential.finish", "operator/install.rotate_finish"},

		"POST " + base + "/integrations":        {"integration.create"},
		"POST " + base + "/integrations/import": {"integration.import", "integration.import"},
		// A dry run and the mode it has already; package integration counts the rows of steps.
		"POST " + base + "/integrations/migrate":    nil,
		"DELETE " + base + "/integrations/{id}":     {"integration.delete"},
		"POST " + base + "/integrations/{id}/mode":  nil,
		"POST " + base + "/integrations/{id}/purge": {"integration.purge"},
		"PUT /api/operator/legacy-key":              {"operator/legacy_key.put"},

		"PUT " + base + "/credits": {"credit_line.set"},
		// Package topup writes the row, in the transaction of the record.
		"POST " + base + "/billing/checkout": nil,
		"POST " + base + "/billing/portal":   nil, // opens a page of the vendor's
		"PUT " + base + "/billing/replenish": nil, // as checkout's: package topup, tested with its store

		"POST " + base + "/grants":      {"grant.create"},
		"POST " + base + "/adjustments": {"adjustment.create"},

		"PUT " + base + "/legacy-tokens":         {"legacy_tokens.terms"},
		"POST " + base + "/legacy-tokens/import": {"legacy_tokens.import"},

		"PUT " + base + "/alerts/settings": {"alerts.update"},

		"PUT /api/operator/payments":         {"operator/credential.create", "operator/credential.rotate"},
		"POST /api/operator/payments/finish": {"operator/credential.finish"},

		"PUT " + base + "/sharing":              {"sharing.update"},
		"POST " + base + "/sharing/renew":       {"new/sharing.client"},
		"PUT " + base + "/sharing/clients/{id}": {"new/sharing.client"},
		"PUT " + base + "/billing":              {"billing.update", "ledger_mode.set"},
		"PUT /api/operator/billing":             {"operator/tiers.billing"},

		"PUT /api/operator/tiers":                      {"operator/tiers.update"},
		"POST /api/operator/prices":                    {"operator/prices.import"},
		"POST /api/operator/prices/{version}/activate": {"operator/prices.activate"},
		"POST /api/operator/reconcile":                 nil, // compares, changes nothing
		"POST /api/operator/poison/retry":              nil, // brings forward what happens anyway
		"POST /api/operator/poison/dismiss":            nil, // package credit writes the row, in the transaction of the record
		"POST /api/operator/rebuild-usage":             nil, // package usage writes the row when it begins
		"POST /api/operator/rotations":                 {"operator/rotation.start"},
		"POST /api/rollout/{subject}/promote":          {"operator/rollout.promote"},
		"POST /api/rollout/{subject}/rollback":         {"operator/rollout.rollback"},
		"POST /api/rollout/{subject}/enforce":          nil, // install.suspend of each, see TestStageOfInstalls
		"POST /api/operator/rotations/{id}/rollback":   {"operator/rotation.rollback"},
	}
}

// allRows are the rows of every store of the world.
func (w *world) allRows() []audit.Row {
	out := append(append(w.rows.Rows(), w.installs.Rows...), w.integrations.Rows()...)
	out = append(out, w.jobs.Rows()...)
	for _, id := range []string{"acme", "other", org.Operator} {
		rows, err := w.sealed.AuditRows(w.Context(), id)
		if err != nil {
			w.Fatal(err)
		}
		out = append(out, rows...)
	}
	return out
}

// TestEveryChangeLeavesItsRows: each changing route leaves exactly its rows, and
// reading leaves none.
func TestEveryChangeLeavesItsRows(t *testing.T) {
	expected := rowsOf()
	each(t, func(w *world, r route, e example) {
		want, known := expected[r.name()]
		if known == (r.method == http.MethodGet) {
			w.Fatal("what does this route leave in the audit log?")
		}
		if strings.HasSuffix(r.name(), "s/{id}/rotate/finish") {
			w.must("POST", strings.TrimSuffix(e.path, "/finish"), operatorKey, `{"name":"signing_secret","value":"`+w.canary()+`"}`, 200)
		}
		before := w.allRows()
		if resp := w.do(r.method, e.path, operatorKey, e.body); resp.Status != r.status {
			w.Fatalf("%d %s", resp.Status, resp.Body)
		}
		var got []string
		ids := map[string]bool{}
		for _, row := range w.allRows() {
			if slices.ContainsFunc(before, func(b audit.Row) bool { return b.Org == row.Org && b.ID == row.ID && b.At.Equal(row.At) }) {
				continue
			}
			name := row.Action
			switch {
			case row.Org == org.Operator:
				name = "operator/" + name
			case row.Org != "acme":
				name = "new/" + name
			}
			got = append(got, name)
			op := audit.Op{Actor: row.Actor, ID: row.ID, At: row.At}
			if !op.Valid() || ids[row.Org+row.ID] || !strings.HasPrefix(row.Actor, "operator:") || row.Target == "" || row.Outcome != audit.Done || !row.At.Equal(w.now) {
				w.Errorf("%+v", row)
			}
			ids[row.Org+row.ID] = true
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			w.Errorf("rows %v, want %v", got, want)
		}
	})
	for name := range expected {
		if !slices.ContainsFunc(routes(), func(r route) bool { return r.name() == name }) {
			t.Errorf("%s is no route", name)
		}
	}
}

// TestVerifyAnswersWhatIsWrong: the report of a chain that was tampered with, of
// the organisation and of the operator.
func TestVerifyAnswersWhatIsWrong(t *testing.T) {
	w := newWorld(t)
	w.populate()
	for _, path := range []string{"/api/orgs/acme/audit/verify", "/api/operator/audit/verify?months=1"} {
		if got := w.must("GET", path, operatorKey, "", 200); got["ok"] != true || got["first_seq"] != 1.0 || got["checked"] != got["last_seq"] ||
			got["checked"] == 0.0 || len(got["head_hash"].(string)) != 64 {
			t.Errorf("%s: %v", path, got)
		}
	}
	for _, months := range []string{"0", "14", "x", "-1"} {
		w.refused(w.do("GET", "/api/orgs/acme/audit/verify?months="+months, adminKey, ""), 400, "invalid_request", "months")
	}
	w.api.s.Audit = tampered{w.rows}
	got := w.must("GET", "/api/orgs/acme/audit/verify", adminKey, "", 200)
	broken := got["broken"].([]any)
	if got["ok"] != false || got["broken_count"] != 1.0 || len(broken) != 1 || broken[0].(map[string]any)["reason"] != "altered" || broken[0].(map[string]any)["seq"] != 2.0 {
		t.Errorf("%v", got)
	}
}

// tampered changes the second row of every chain.
type tampered struct{ audit.Store }

func (s tampered) AuditMonth(ctx context.Context, id string, month time.Time, f func(audit.Stored) error) error {
	return s.Store.AuditMonth(ctx, id, month, func(r audit.Stored) error {
		if r.Seq == 2 {
			r.Actor = "nobody"
		}
		return f(r)
	})
}
