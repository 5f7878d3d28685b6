package admin

import (
	"context"
	"reflect"
	"testing"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/legacytokens"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// fakeLegacy keeps one counter.
type fakeLegacy struct {
	c    legacytokens.Counter
	rows audit.Store
}

func (w *world) legacyTokens() *legacytokens.Service {
	f := &fakeLegacy{c: legacytokens.Counter{Mode: org.LedgerCredit}, rows: w.rows}
	return &legacytokens.Service{Store: f, Balances: f, Usage: f}
}

func (f *fakeLegacy) Balance(context.Context, string) (credit.BalanceView, error) {
	return credit.BalanceView{}, nil
}

func (f *fakeLegacy) Usage(_ context.Context, id, from, _ string) ([]credit.UsageRow, error) {
	return []credit.UsageRow{{Org: id, Day: from, Provider: "prov", Model: "m", Source: taxonomy.Platform, Legacy: true, Requests: 2, Shadow: 7}}, nil
}

func (f *fakeLegacy) Counter(_ context.Context, id string) (legacytokens.Counter, error) {
	c := f.c
	c.Org = id
	return c, nil
}

func (f *fakeLegacy) SetTerms(ctx context.Context, _ string, t legacytokens.Terms, _ int64, row audit.Row) error {
	f.c.Terms = t
	return f.rows.PutAudit(ctx, row)
}

func (f *fakeLegacy) Change(ctx context.Context, ch legacytokens.Change) error {
	f.c = ch.Next
	return f.rows.PutAudit(ctx, ch.Row)
}

func (f *fakeLegacy) Import(ctx context.Context, id string, rows []legacytokens.Row, op audit.Op) (int, error) {
	return len(rows), f.rows.PutAudit(ctx, op.Row(id, "legacy_tokens.import", id))
}

func (f *fakeLegacy) Days(_ context.Context, _, from, _ string) ([]legacytokens.Day, error) {
	return []legacytokens.Day{{Day: from, Model: "prov/m", Requests: 3, Money: 9, Diff: map[legacytokens.Class]credit.Micro{legacytokens.Rounding: 2}}}, nil
}

// TestLegacyTokens: what can be done next is said with its reasons, parity names what
// differs, a row that cannot be read is named, and only the operator decides.
func TestLegacyTokens(t *testing.T) {
	w := newWorld(t)
	const path = "/api/orgs/acme/legacy-tokens"
	w.must("PUT", "/api/orgs/acme/billing", operatorKey, `{"ledger_mode":"legacy"}`, 200)
	w.must("PUT", path, operatorKey, `{"limit_tokens":10,"rate_pico":1,"rounding":1}`, 200)
	terms := w.must("PUT", "/api/orgs/acme/billing", operatorKey, `{"model":"optional_surcharge","surcharge_bps":500}`, 200)["policy"]
	// The mode alone leaves the terms as they are.
	b := w.must("PUT", "/api/orgs/acme/billing", operatorKey, `{"ledger_mode":"shadow"}`, 200)
	if b["ledger_mode"] != "shadow" || !reflect.DeepEqual(b["policy"], terms) {
		t.Errorf("%v", b)
	}
	v := w.must("GET", path, billingKey, "", 200)
	if v["ledger_mode"] != "shadow" || v["epoch"] != 1.0 || v["left_tokens"] != 10.0 || v["shadow_until"] == nil {
		t.Errorf("%v", v)
	}
	draining := v["next"].([]any)[1].(map[string]any)
	if draining["to"] != "draining" || draining["allowed"] != false || draining["reasons"].([]any)[0] != "seven whole days in shadow are needed" {
		t.Errorf("%v", draining)
	}
	if e := w.must("PUT", "/api/orgs/acme/billing", operatorKey, `{"ledger_mode":"draining"}`, 409)["error"].(map[string]any); e["code"] != "conflict" {
		t.Errorf("%v", e)
	}
	// Where the mode is refused, the terms stay, and the other way round.
	w.must("PUT", "/api/orgs/acme/billing", operatorKey, `{"ledger_mode":"draining","inherit":true}`, 409)
	w.must("PUT", "/api/orgs/acme/billing", operatorKey, `{"ledger_mode":"legacy","inherit":true,"flat_fee":1}`, 400)
	if v := w.must("GET", path, billingKey, "", 200); v["ledger_mode"] != "shadow" {
		t.Errorf("%v", v)
	}
	if b := w.must("GET", "/api/orgs/acme/billing", billingKey, "", 200); !reflect.DeepEqual(b["policy"], terms) {
		t.Errorf("%v", b)
	}
	w.must("PUT", "/api/orgs/acme/billing", operatorKey, `{"ledger_mode":"tokens"}`, 400)
	w.must("PUT", "/api/orgs/acme/billing", adminKey, `{"ledger_mode":"legacy"}`, 403)
	p := w.must("GET", path+"/parity", billingKey, "", 200)
	row := p["rows"].([]any)[0].(map[string]any)
	if p["ok"] != false || row["difference"] != 2.0 || row["classes"].(map[string]any)["rounding"] != 2.0 || row["reasons"].([]any)[0] != "requests" {
		t.Errorf("%v", p)
	}
	e := w.must("POST", path+"/import", operatorKey, `{"rows":[{"periodStart":1,"periodEnd":1,"requestCount":1,"inputTokens":1,"outputTokens":1,"totalTokens":3,"costInCents":1,"requestType":"chat","provider":"p","model":"m","success":true}]}`, 400)["error"].(map[string]any)
	if e["param"] != "rows[0].totalTokens" {
		t.Errorf("%v", e)
	}
}
