package orgtest

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agency"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/limit"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Stores are the implementations under test, all over one set of tables.
type Stores struct {
	Orgs    org.Store
	Keys    org.KeyStore
	Config  org.ConfigStore
	Sharing org.SharingStore
	Audit   audit.Store
}

// Now is the time of the suite's operations.
func Now() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }

// Op makes an operation whose audit row has the id.
func Op(id string) audit.Op { return audit.Op{Actor: "key:k1", ID: id, At: Now()} }

// Run runs the suite; open gives empty stores.
func Run(t *testing.T, open func(t *testing.T) Stores) {
	for name, f := range map[string]func(*testing.T, context.Context, Stores){
		"Orgs": testOrgs, "OrgPages": testOrgPages, "Keys": testKeys, "Settings": testSettings, "Tiers": testTiers,
		"Sharing": testSharing, "Audit": testAudit, "AuditInTransaction": testAuditInTransaction,
	} {
		t.Run(name, func(t *testing.T) { f(t, t.Context(), open(t)) })
	}
}

func sample(id string) org.Org {
	return org.Org{ID: id, Name: "Übung " + id, Tier: taxonomy.Agency, Status: org.Active, LedgerMode: org.LedgerCredit, Version: 1,
		CreatedAt: Now(), Limits: org.Limits{RequestsPerMinute: 1, TokensPerMinute: 2, Concurrent: 3, Budget: limit.Budget{Amount: 4, Period: limit.Month}}}
}

func wantCode(t *testing.T, err error, code fault.Code) {
	t.Helper()
	if got := fault.CodeOf(err); got != code {
		t.Fatalf("got code %q (%v), want %q", got, err, code)
	}
}

func testOrgs(t *testing.T, ctx context.Context, s Stores) {
	o := sample("a1")
	wantCode(t, s.Orgs.CreateOrg(ctx, o, Op("r1").Row(o.ID, "org.create", o.ID)), "")
	wantCode(t, s.Orgs.CreateOrg(ctx, o, Op("r2").Row(o.ID, "org.create", o.ID)), fault.Conflict)
	got, err := s.Orgs.Org(ctx, o.ID)
	if err != nil || !reflect.DeepEqual(got, o) {
		t.Fatalf("read back %+v, %v; want %+v", got, err, o)
	}
	_, err = s.Orgs.Org(ctx, "nobody")
	wantCode(t, err, fault.NotFound)

	o.Name, o.Tier, o.Status, o.Limits, o.Version = "New", taxonomy.Free, org.Suspended, org.Limits{}, 2
	wantCode(t, s.Orgs.UpdateOrg(ctx, o, Op("r3").Row(o.ID, "org.update", o.ID)), "")
	wantCode(t, s.Orgs.UpdateOrg(ctx, o, Op("r4").Row(o.ID, "org.update", o.ID)), fault.Conflict)
	if got, _ = s.Orgs.Org(ctx, o.ID); !reflect.DeepEqual(got, o) {
		t.Fatalf("after update %+v, want %+v", got, o)
	}
	ghost := sample("ghost")
	ghost.Version = 2
	wantCode(t, s.Orgs.UpdateOrg(ctx, ghost, Op("r5").Row("ghost", "org.update", "ghost")), fault.Conflict)
}

// testSharing: an offer is written with its organisation or not at all, and what a
// client carries is replaced by who has seen it.
func testSharing(t *testing.T, ctx context.Context, s Stores) {
	o := sample("a1")
	wantCode(t, s.Orgs.CreateOrg(ctx, o, Op("r1").Row(o.ID, "org.create", o.ID)), "")
	if got, err := s.Sharing.Offer(ctx, "a1"); err != nil || got.Version != 0 || got.Active {
		t.Fatalf("an offer that nobody made: %+v %v", got, err)
	}
	o.Version, o.Sharing = 2, org.Sharing{Policy: agency.Policy{Mode: agency.WhenEmpty, ClientPerDay: 5, TotalPerDay: 50}, Version: 1, Shards: 4}
	wantCode(t, s.Orgs.UpdateOrg(ctx, o, Op("r2").Row("a1", "sharing.update", "a1")), "")
	if got, err := s.Orgs.Org(ctx, "a1"); err != nil || !reflect.DeepEqual(got, o) {
		t.Fatalf("read back %+v, %v", got, err)
	}
	want := agency.Offer{Agency: "a1", Version: 1, Active: true, Tier: taxonomy.Agency, Policy: o.Sharing.Policy, Shards: 4}
	lost := o
	lost.Sharing.Version, lost.Sharing.Policy.Mode = 9, agency.Always
	wantCode(t, s.Orgs.UpdateOrg(ctx, lost, Op("r3").Row("a1", "sharing.update", "a1")), fault.Conflict)
	if got, err := s.Sharing.Offer(ctx, "a1"); err != nil || got != want {
		t.Fatalf("offer %+v, %v", got, err)
	}
	o.Version, o.Status, o.Tier, o.Sharing.Version = 3, org.Suspended, taxonomy.Pro, 2
	wantCode(t, s.Orgs.UpdateOrg(ctx, o, Op("r4").Row("a1", "org.update", "a1")), "")
	want.Version, want.Active, want.Tier = 2, false, taxonomy.Pro
	if got, err := s.Sharing.Offer(ctx, "a1"); err != nil || got != want {
		t.Fatalf("offer of a suspended agency %+v, %v", got, err)
	}

	if c, v, err := s.Sharing.Client(ctx, "c1"); err != nil || v != 0 || c.Offer.Version != 0 {
		t.Fatalf("%+v %d %v", c, v, err)
	}
	c := agency.Client{Offer: want, Override: agency.Override{Mode: agency.Always, PerDay: 7}}
	wantCode(t, s.Sharing.PutClient(ctx, "c1", c, 0, Op("r5").Row("c1", "sharing.client", "a1")), "")
	wantCode(t, s.Sharing.PutClient(ctx, "c1", agency.Client{}, 0, Op("r6").Row("c1", "sharing.client", "a1")), fault.Conflict)
	if got, v, err := s.Sharing.Client(ctx, "c1"); err != nil || v != 1 || got != c {
		t.Fatalf("%+v %d %v", got, v, err)
	}
	c.Override = agency.Override{}
	wantCode(t, s.Sharing.PutClient(ctx, "c1", c, 1, Op("r7").Row("c1", "sharing.client", "a1")), "")
	wantCode(t, s.Sharing.PutClient(ctx, "c1", c, 1, Op("r8").Row("c1", "sharing.client", "a1")), fault.Conflict)
	if got, v, err := s.Sharing.Client(ctx, "c1"); err != nil || v != 2 || got != c {
		t.Fatalf("%+v %d %v", got, v, err)
	}
	rows, _, err := s.Audit.Audit(ctx, "c1", "", 10, Now())
	if err != nil || len(rows) != 2 {
		t.Fatalf("%+v %v", rows, err)
	}
	if total, each, err := s.Sharing.Drawn(ctx, "a1", "20261121", []string{"c1"}); err != nil || total != 0 || each["c1"] != 0 {
		t.Fatalf("%d %v %v", total, each, err)
	}
	if n, err := s.Sharing.ShardsInUse(ctx, "a1"); err != nil || n != 0 {
		t.Fatalf("%d %v", n, err)
	}
}

func testOrgPages(t *testing.T, ctx context.Context, s Stores) {
	for i, id := range []string{"c", "a", "e", "b", "d"} {
		o := sample(id)
		if id > "b" {
			o.ParentID = "a"
		}
		wantCode(t, s.Orgs.CreateOrg(ctx, o, Op(fmt.Sprint("r", i)).Row(id, "org.create", id)), "")
	}
	for parent, want := range map[string]string{"": "abcde", "a": "cde", "b": ""} {
		got, after := "", ""
		for pages := 0; ; pages++ {
			page, next, err := s.Orgs.Orgs(ctx, parent, after, 2)
			if err != nil || len(page) > 2 || pages > 5 {
				t.Fatalf("page %v after %q: %v", page, after, err)
			}
			for _, o := range page {
				got += o.ID
			}
			if after = next; after == "" {
				break
			}
		}
		if got != want {
			t.Errorf("clients of %q: %q, want %q", parent, got, want)
		}
	}
}

func testKeys(t *testing.T, ctx context.Context, s Stores) {
	k := org.Key{ID: "k1", Org: "a1", Name: "CI", Scopes: []org.Scope{org.ScopeInvoke, org.ScopeAdmin}, AgentID: "ag", CreatedAt: Now(),
		ExpiresAt: Now().Add(time.Hour), Hash: org.Digest{1, 2, 3}, Limits: org.Limits{Concurrent: 2}}
	wantCode(t, s.Keys.CreateKey(ctx, k, Op("r1").Row("a1", "key.create", "k1")), "")
	wantCode(t, s.Keys.CreateKey(ctx, k, Op("r2").Row("a1", "key.create", "k1")), fault.Conflict)
	got, err := s.Keys.Key(ctx, "a1", "k1")
	if err != nil || got == nil || !reflect.DeepEqual(*got, k) {
		t.Fatalf("read back %+v, %v", got, err)
	}
	for _, at := range [][2]string{{"a1", "k2"}, {"a2", "k1"}} {
		if got, err := s.Keys.Key(ctx, at[0], at[1]); got != nil || err != nil {
			t.Fatalf("key %v: %+v, %v; want nothing", at, got, err)
		}
	}
	wantCode(t, s.Keys.RevokeKey(ctx, "a1", "k1", Op("r3").Row("a1", "key.revoke", "k1")), "")
	later := audit.Op{ID: "r4", At: Now().Add(time.Minute)}
	wantCode(t, s.Keys.RevokeKey(ctx, "a1", "k1", later.Row("a1", "key.revoke", "k1")), "")
	if got, _ = s.Keys.Key(ctx, "a1", "k1"); !got.RevokedAt.Equal(Now()) {
		t.Fatalf("revoked at %v, want the first time", got.RevokedAt)
	}
	wantCode(t, s.Keys.RevokeKey(ctx, "a1", "k9", Op("r5").Row("a1", "key.revoke", "k9")), fault.NotFound)
	k.ID, k.ExpiresAt = "k0", time.Time{}
	wantCode(t, s.Keys.CreateKey(ctx, k, Op("r6").Row("a1", "key.create", "k0")), "")
	first, next, err := s.Keys.Keys(ctx, "a1", "", 1)
	if err != nil || len(first) != 1 || first[0].ID != "k0" || !first[0].ExpiresAt.IsZero() || next == "" {
		t.Fatalf("first page %+v, next %q, %v", first, next, err)
	}
	second, next, err := s.Keys.Keys(ctx, "a1", next, 1)
	if err != nil || len(second) != 1 || second[0].ID != "k1" || next != "" {
		t.Fatalf("second page %+v, next %q, %v", second, next, err)
	}
}

func testSettings(t *testing.T, ctx context.Context, s Stores) {
	wantCode(t, s.Orgs.CreateOrg(ctx, sample("a1"), Op("r0").Row("a1", "org.create", "a1")), "")
	got, version, err := s.Config.Settings(ctx, "a1")
	if err != nil || version != 0 || !reflect.DeepEqual(got, org.DefaultSettings()) {
		t.Fatalf("defaults: %+v, %d, %v", got, version, err)
	}
	want, err := org.Settings{DefaultModel: "openrouter/a/b", Aliases: map[string]string{"fast": "openrouter/c"},
		Routing: org.Routing{"general": {"text": {"openrouter/d"}}}}.Normalise()
	wantCode(t, err, "")
	wantCode(t, s.Config.PutSettings(ctx, "a1", want, 0, Op("r1").Row("a1", "settings.update", "a1")), "")
	wantCode(t, s.Config.PutSettings(ctx, "a1", want, 0, Op("r2").Row("a1", "settings.update", "a1")), fault.Conflict)
	wantCode(t, s.Config.PutSettings(ctx, "ghost", want, 0, Op("r3").Row("ghost", "settings.update", "ghost")), fault.Conflict)
	got, version, err = s.Config.Settings(ctx, "a1")
	if err != nil || version != 1 || !reflect.DeepEqual(got, want) {
		t.Fatalf("read back %+v, %d, %v", got, version, err)
	}
	o, _ := s.Orgs.Org(ctx, "a1")
	if o.SettingsVersion != 1 {
		t.Fatalf("the organisation has settings version %d", o.SettingsVersion)
	}
	o.Version++
	o.SettingsVersion = 0 // as read before the settings changed
	wantCode(t, s.Orgs.UpdateOrg(ctx, o, Op("r4").Row("a1", "org.update", "a1")), "")
	if o, _ = s.Orgs.Org(ctx, "a1"); o.SettingsVersion != 1 {
		t.Fatal("an update of the organisation took the settings version back")
	}
}

func testTiers(t *testing.T, ctx context.Context, s Stores) {
	got, version, err := s.Config.Tiers(ctx)
	if err != nil || version != 0 || len(got) != 0 {
		t.Fatalf("empty: %+v, %d, %v", got, version, err)
	}
	for seen := range int64(2) {
		want := org.Tiers{taxonomy.Pro: {BYOK: true, Agency: seen == 1}, taxonomy.Agency: {}}
		wantCode(t, s.Config.PutTiers(ctx, want, seen, Op(fmt.Sprint("r", seen)).Row(org.Operator, "tiers.update", "tiers")), "")
		wantCode(t, s.Config.PutTiers(ctx, want, seen, Op(fmt.Sprint("x", seen)).Row(org.Operator, "tiers.update", "tiers")), fault.Conflict)
		if got, version, err = s.Config.Tiers(ctx); err != nil || version != seen+1 || !reflect.DeepEqual(got, want) {
			t.Fatalf("read back %+v, %d, %v", got, version, err)
		}
	}
}

func testAudit(t *testing.T, ctx context.Context, s Stores) {
	at := Now()
	for i, months := range []int{0, 0, -1, -3, -12, -40} {
		op := audit.Op{Actor: "operator:o1", ID: fmt.Sprint("r", i), At: at.AddDate(0, months, 0).Add(time.Duration(i) * time.Second)}
		row := op.Row("a1", "x.y", "t", "tier", "pro")
		if i == 3 {
			row = op.Refusal("a1", "x.y", "t", "not_found")
		}
		wantCode(t, s.Audit.PutAudit(ctx, row), "")
	}
	again := audit.Op{Actor: "someone else", ID: "r0", At: at}
	wantCode(t, s.Audit.PutAudit(ctx, again.Row("a1", "x.y", "t")), "")
	wantCode(t, s.Audit.PutAudit(ctx, again.Row("a2", "x.y", "t")), "")
	var got []audit.Row
	for after, pages := "", 0; ; pages++ {
		page, next, err := s.Audit.Audit(ctx, "a1", after, 2, at)
		if err != nil || pages > 5 {
			t.Fatalf("page after %q: %v", after, err)
		}
		got = append(got, page...)
		if after = next; after == "" {
			break
		}
	}
	ids := ""
	for _, r := range got {
		ids += r.ID + " "
	}
	if len(got) < 5 || ids[:15] != "r1 r0 r2 r3 r4 " {
		t.Fatalf("rows %q, want newest first, at least 13 months back", ids)
	}
	if got[1].Actor != "operator:o1" || got[1].Detail["tier"] != "pro" || got[3].Outcome != audit.Refused || got[3].Code != "not_found" {
		t.Fatalf("rows changed on the way: %+v", got)
	}
}

// testAuditInTransaction checks that a lost change leaves no row.
func testAuditInTransaction(t *testing.T, ctx context.Context, s Stores) {
	o := sample("a1")
	wantCode(t, s.Orgs.CreateOrg(ctx, o, Op("first").Row("a1", "org.create", "a1")), "")
	wantCode(t, s.Orgs.CreateOrg(ctx, o, Op("second").Row("a1", "org.create", "a1")), fault.Conflict)
	rows, _, err := s.Audit.Audit(ctx, "a1", "", 10, Now())
	if err != nil || len(rows) != 1 || rows[0].ID != "first" || rows[0].Actor != "key:k1" || rows[0].Action != "org.create" {
		t.Fatalf("rows %+v, %v; want exactly the one of the change that happened", rows, err)
	}
}
