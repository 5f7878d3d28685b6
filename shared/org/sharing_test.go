package org_test

import (
	"fmt"
	"testing"

	"github.com/latchkey/latchkey/shared/agency"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/org/orgtest"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// TestSharing: the offer follows policy, status and tier at once; clients are told
// in pages, each once, what is theirs stays, and new ones are told when they come.
func TestSharing(t *testing.T) {
	s, m, _ := service()
	ctx, n := t.Context(), 0
	op := func() string { n++; return fmt.Sprint("op", n) }
	boss, err := s.Create(ctx, orgtest.Op(op()), org.Draft{ID: "boss", Name: "Boss", Tier: taxonomy.Agency})
	want(t, err, "", "")
	for i := range 103 {
		_, err := s.Create(ctx, orgtest.Op(op()), org.Draft{ID: fmt.Sprintf("c%03d", i), Name: "Client", Tier: taxonomy.Free, ParentID: "boss"})
		want(t, err, "", "")
	}
	if r, err := s.RenewClients(ctx, orgtest.Op(op()), "boss", ""); err != nil || r != (org.Renewed{}) {
		t.Fatalf("nothing to tell: %+v %v", r, err)
	}
	_, err = s.ShareWith(ctx, orgtest.Op(op()), boss, "c001", agency.Override{Mode: agency.Off})
	want(t, err, fault.Conflict, "")
	policy := agency.Policy{Mode: agency.WhenEmpty, ClientPerDay: 5, TotalPerDay: 50}
	boss, err = s.Share(ctx, orgtest.Op(op()), boss, policy)
	want(t, err, "", "")
	offer := agency.Offer{Agency: "boss", Version: 1, Active: true, Tier: taxonomy.Agency, Policy: policy}
	if got, _ := m.Offer(ctx, "boss"); got != offer {
		t.Fatalf("%+v", got)
	}
	first, err := s.RenewClients(ctx, orgtest.Op(op()), "boss", "")
	if err != nil || first.Count != 100 || first.Next == "" {
		t.Fatalf("%+v %v", first, err)
	}
	if rest, err := s.RenewClients(ctx, orgtest.Op(op()), "boss", first.Next); err != nil || rest != (org.Renewed{Count: 3}) {
		t.Fatalf("%+v %v", rest, err)
	}
	if again, err := s.RenewClients(ctx, orgtest.Op(op()), "boss", ""); err != nil || again.Count != 0 {
		t.Fatalf("told twice: %+v %v", again, err)
	}
	late, err := s.Create(ctx, orgtest.Op(op()), org.Draft{ID: "late", Name: "Late", Tier: taxonomy.Free, ParentID: "boss"})
	want(t, err, "", "")
	if c, _, _ := m.Client(ctx, late.ID); c.Offer != offer {
		t.Fatalf("a new client carries %+v", c)
	}
	own := agency.Override{Mode: agency.Always, PerDay: 2}
	if c, err := s.ShareWith(ctx, orgtest.Op(op()), boss, "late", own); err != nil || c.Override != own || c.Offer != offer {
		t.Fatalf("%+v %v", c, err)
	}
	_, err = s.ShareWith(ctx, orgtest.Op(op()), boss, "boss", own)
	want(t, err, fault.NotFound, "")
	_, err = s.ShareWith(ctx, orgtest.Op(op()), boss, "nobody", own)
	want(t, err, fault.NotFound, "")

	// What an operator changes is part of the offer, whoever was told.
	name, tier, suspended := "New", taxonomy.Pro, org.Suspended
	for i, p := range []org.Patch{{Name: &name}, {Tier: &tier}, {Status: &suspended}} {
		_, err := s.Update(ctx, orgtest.Op(op()), "boss", p)
		want(t, err, "", "")
		got, _ := m.Offer(ctx, "boss")
		if got.Version != int64(1+i) || (got.Tier == taxonomy.Pro) != (i >= 1) || got.Active != (i < 2) {
			t.Fatalf("after %d: %+v", i, got)
		}
	}
	if _, err := s.RenewClients(ctx, orgtest.Op(op()), "boss", "k"); err != nil {
		t.Fatal(err)
	}
	if c, _, _ := m.Client(ctx, "late"); c.Override != own || c.Offer.Version != 3 || c.Offer.Active {
		t.Fatalf("%+v", c)
	}
	all, err := s.Standings(ctx, "boss", []org.Org{late}, orgtest.Now())
	if err != nil || all[0].Terms.Mode != agency.Off || !all[0].Current || all[0].Override != own {
		t.Fatalf("%+v %v", all, err)
	}

	// Who cannot share.
	stored, _ := m.Org(ctx, "boss")
	_, err = s.Share(ctx, orgtest.Op(op()), stored, policy)
	want(t, err, fault.BillingDenied, "")
	_, err = s.Share(ctx, orgtest.Op(op()), late, policy)
	want(t, err, fault.BillingDenied, "")
	_, err = s.Share(ctx, orgtest.Op(op()), stored, agency.Policy{Mode: agency.Always})
	want(t, err, fault.InvalidRequest, "client_per_day")
	off, err := s.Share(ctx, orgtest.Op(op()), stored, agency.Policy{Mode: agency.Off})
	if err != nil || off.Sharing.Version != 4 {
		t.Fatalf("a tier without clients cannot end sharing: %+v %v", off, err)
	}
}
