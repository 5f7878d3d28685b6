package ledgertest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// given is how often a stream delivers a record before it gives up.
const given = 8

// reviewed: entries that the stream gave up are told, put into the rows and marked
// by the next review, once; what was projected is not touched, and nothing is
// projected that could not be told.
func reviewed(t *testing.T, e *env) {
	var told []string
	var untold error
	ledger := credit.New(e.Clean, credit.Options{Wait: func(context.Context, time.Duration) error { return nil },
		Tell: func(_ context.Context, entries []credit.Entry, _ time.Time) error {
			if untold != nil {
				return untold
			}
			for _, x := range entries {
				told = append(told, x.ID)
			}
			return nil
		}})
	reviews := func(caught, failed int) {
		t.Helper()
		told = nil
		r, err := ledger.CloseMonths(e.ctx, e.now())
		must(t, err)
		if r.Caught != caught || r.Failed != failed || len(told) != caught || len(r.Mismatches) != 0 {
			t.Fatalf("review: %+v, told %d, want %d, %d failed", r, len(told), caught, failed)
		}
	}
	e.fund("org", 10_000)
	for i := range 7 {
		e.used("org", 20, credit.Micro(i+1))
	}
	e.clean.Settle(e.ctx, e.drain(), e.now())
	list := e.entries("org")
	if rep := e.clean.Project(e.ctx, list[:4], e.now()); rep.Undecided != 0 {
		t.Fatalf("%+v", rep)
	}
	// The rest is not projected as often as it is delivered, and then given up.
	for range given {
		e.Faults.Script(Rule{Op: "TransactWriteItems", Kind: Throttle, Count: 100}, Rule{Op: "UpdateItem", Kind: Throttle, Count: 100})
		if rep := e.ledger.Project(e.ctx, list[4:], e.now()); rep.Undecided != len(list)-4 {
			t.Fatalf("%+v", rep)
		}
	}
	e.Faults.Script()
	must(t, e.ledger.ReviewSoon(e.ctx, "org", e.now()))
	must(t, e.ledger.ReviewSoon(e.ctx, "org", e.now().Add(time.Hour))) // not later
	must(t, e.ledger.ReviewSoon(e.ctx, "nobody", e.now()))
	reviews(0, 0)
	// It is looked at in time, and left to the stream for a quarter of an hour.
	e.pass(14 * time.Minute)
	if r, err := ledger.CloseMonths(e.ctx, e.now()); err != nil || r.Reviewed != 1 || r.Caught != 0 {
		t.Fatalf("soon: %+v %v", r, err)
	}
	e.pass(24 * time.Hour)
	untold = fault.New(fault.LedgerUnavailable, "test", "down")
	reviews(0, 1)
	e.pass(time.Hour)
	if unseen, err := e.Clean.Unseen(e.ctx, list); err != nil || len(unseen) != len(list)-4 {
		t.Fatalf("%d are not marked, %v", len(unseen), err)
	}
	untold = nil
	want := len(list) - 4 // seven of usage and a grant
	reviews(want, 0)
	for _, x := range list[4:] {
		if !slices.Contains(told, x.ID) {
			t.Fatalf("%s was not told", x.ID)
		}
	}
	e.wantUsage("org", list)
	reviews(0, 0)
	e.pass(24 * time.Hour)
	reviews(0, 0)
	e.wantUsage("org", list)
	reviewedDaily(t, e)
}

// reviewedDaily: what differs is found within a day, said each day and not
// written over; a month is closed in time between two reviews.
func reviewedDaily(t *testing.T, e *env) {
	e.fund("wrong", 100)
	_, err := e.clean.Grant(e.ctx, credit.GrantRequest{Org: "wrong", Kind: taxonomy.Gifted, Amount: 5, IdempotencyKey: "x", Now: e.now()})
	must(t, err)
	h, err := e.clean.Reserve(e.ctx, e.request("wrong", 10))
	must(t, err)
	must(t, e.clean.Used(e.ctx, h, e.outcome(3)))
	e.SetHold(t, table.Request("wrong", h.Request, 1), 4)
	for day := range 2 {
		e.pass(24 * time.Hour)
		r, err := e.clean.CloseMonths(e.ctx, e.now())
		must(t, err)
		if len(r.Mismatches) != 1 || r.Mismatches[0] != (credit.Mismatch{Org: "wrong", What: "held", Want: 4, Got: 10}) || r.Reviewed == 0 {
			t.Fatalf("day %d: %+v", day, r)
		}
		if r, err = e.clean.CloseMonths(e.ctx, e.now().Add(time.Minute)); err != nil || r.Reviewed != 0 {
			t.Fatalf("again within the day: %+v %v", r, err)
		}
	}
	e.SetHold(t, table.Request("wrong", h.Request, 1), 10)
	e.clean.Settle(e.ctx, e.drain(), e.now())
	e.wantBalance("wrong", 102, 0)
	e.at(april.Add(time.Hour))
	e.closes(0, 2)
	e.pass(closeRest)
	e.closes(2, 0)
}
