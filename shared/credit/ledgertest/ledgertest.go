// Package ledgertest is the conformance and fault suite of the credit ledger.
//
// [Run] checks one store: first each promise of shared/credit by itself, then a
// seeded run of many callers, consumers and sweeps over a network that loses
// requests and answers and reports conflicts and throttles ([Faults], scripted
// or by dice), and at its end the invariants: posted is the sum of the entries,
// held that of the open holds, available = posted - held + line, the legs of an
// entry sum to 0, an attempt has one entry, one caller and the amount that was
// recorded first, nothing stays open, the usage rows are a replay of the
// entries.
//
// The suite sees a store only through its interface and the [Harness]; it knows
// no tables. It runs against a real engine, brings its own clock and dice, and
// names the seed of a failure. It is imported by tests only.
package ledgertest

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agency"
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Harness is one store under test with empty tables.
type Harness struct {
	// Store's calls pass through Faults, Clean's do not; both see the same tables.
	Store, Clean credit.Store
	Faults       *Faults
	// Changes returns the decoded stream records since the last call.
	Changes func(t testing.TB) []credit.Change
	// ForgeEntry writes an entry behind the ledger's back, SetHold overwrites the
	// hold of an attempt.
	ForgeEntry func(t testing.TB, e credit.Entry)
	SetHold    func(t testing.TB, key table.Key, hold credit.Micro)
	// SetOffer writes an agency's offer, Drawn reads what its clients drew in a day.
	SetOffer func(t testing.TB, o agency.Offer)
	Drawn    func(t testing.TB, id, day string, clients []string) (total int64, each map[string]int64, err error)
}

// Options choose the seeds of the random runs.
type Options struct {
	Seeds []uint64
	// Requests is the number of requests of one random run.
	Requests int
}

// Run checks a store. open makes a harness with empty tables.
func Run(t *testing.T, open func(t testing.TB) Harness, o Options) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, e *env)
	}{
		{"Lifecycle", lifecycle}, {"Insufficient", insufficient}, {"ExactlyAsManyAsFunded", exactFunds},
		{"Reinstatements", reinstatements},
		{"OneOwner", oneOwner}, {"Idempotency", idempotency}, {"LaterAttempts", laterAttempts},
		{"LostAnswers", lostAnswers}, {"RefusalAfterSilence", refusalAfterSilence}, {"Conflicts", conflicts},
		{"OwnKeyFee", ownKeyFee}, {"FreeAllowance", freeAllowance}, {"FeeBatches", feeBatches}, {"AllowanceOfMonth", allowanceOfMonth}, {"LateFee", lateFee},
		{"UsedOnce", usedOnce}, {"Refused", refused}, {"OwnKey", ownKey}, {"Extend", extend}, {"ExtendTwice", extendTwice}, {"ExtendRace", extendRace}, {"ExtendAcrossExpiry", extendAcrossExpiry},
		{"ExpiryAndLateUsage", lateUsage}, {"Checkpoint", checkpoint}, {"SweepConditions", sweepConditions}, {"SweepRace", sweepRace},
		{"SettleBatches", settleBatches}, {"SettleStaleImage", staleImage}, {"Poison", poison}, {"PoisonHeals", poisonHeals}, {"PoisonKinds", poisonKinds}, {"PoisonDismissed", poisonDismissed}, {"Unbilled", unbilled}, {"SettleUndecided", settleUndecided},
		{"Grants", grants}, {"Adjustments", adjustments}, {"Expiry", expiry}, {"ExpiryOfHeld", expiryOfHeld}, {"ExpiryRace", expiryRace}, {"Rollover", rollover}, {"RolloverOfHeld", rolloverOfHeld}, {"StaleEnd", staleEnd}, {"Refunds", refunds}, {"RefundRace", refundRace}, {"CreditLine", creditLine}, {"Charge", charge}, {"LateCharge", lateCharge}, {"Authorized", authorized}, {"Entries", entries}, {"Projection", projection}, {"Reconcile", reconcile},
		{"Drawn", drawn}, {"DrawCaps", drawCaps}, {"DrawOffer", drawOffer}, {"DrawShort", drawShort}, {"DrawEnds", drawEnds}, {"DrawExtend", drawExtend}, {"DrawStorm", drawStorm},
		{"ExactlyAsManyAsFundedSharded", exactFundsSharded}, {"Reviewed", reviewed}, {"Closing", closing}, {"ClosingRace", closingRace}, {"ClosingKilled", closingKilled}, {"ClosingPoison", closingPoison}, {"ClosingDrawn", closingDrawn}, {"Shards", shardLifecycle}, {"Reshape", reshape}, {"ShardedExpiry", shardedExpiry},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, newEnv(t, open(t))) })
	}
	for _, seed := range o.Seeds {
		t.Run("Chaos/"+strconv.FormatUint(seed, 10), func(t *testing.T) { chaos(t, newEnv(t, open(t)), seed, o.Requests) })
	}
}

// start is the time at which every run begins, in the middle of a month.
var start = time.Date(2026, 3, 15, 12, 0, 0, 0, time.UTC)

// env is a harness with a clock and an organisation.
type env struct {
	Harness
	t      testing.TB
	ctx    context.Context
	ledger *credit.Ledger // over Store
	clean  *credit.Ledger // over Clean
	millis atomic.Int64   // since start
	serial atomic.Int64
}

func newEnv(t testing.TB, h Harness) *env {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	noWait := credit.Options{Wait: func(context.Context, time.Duration) error { return nil }}
	return &env{Harness: h, t: t, ctx: ctx, ledger: credit.New(h.Store, noWait), clean: credit.New(h.Clean, noWait)}
}

func (e *env) now() time.Time { return start.Add(time.Duration(e.millis.Load()) * time.Millisecond) }

func (e *env) pass(d time.Duration) { e.millis.Add(d.Milliseconds()) }

// fund opens an account with credits.
func (e *env) fund(org string, amount credit.Micro) {
	e.t.Helper()
	must(e.t, e.clean.OpenAccount(e.ctx, org, e.now()))
	if amount > 0 {
		_, err := e.clean.Grant(e.ctx, credit.GrantRequest{Org: org, Kind: taxonomy.Purchased, Amount: amount, IdempotencyKey: "fund", Now: e.now()})
		must(e.t, err)
	}
}

// request is a reserve of a fresh request.
func (e *env) request(org string, hold credit.Micro) credit.ReserveRequest {
	n := strconv.FormatInt(e.serial.Add(1), 10)
	return credit.ReserveRequest{Org: org, Request: "req" + n, Attempt: 1, Owner: "owner" + n, Hold: hold,
		Fingerprint: [32]byte{1}, Now: e.now(), Expires: e.now().Add(time.Minute), Provider: "prov", Model: "vendor/model",
		Agent: "agent1", Key: "key1", Source: taxonomy.Platform, Rule: billing.RulePlatform, DecisionHash: "hash", PriceVersion: "p1",
		Decision: []byte(`{"v":1}`), Idempotent: true}
}

// reserve asks until the ledger knows, as callers do: on a machine that is busy
// enough any try may stay without an answer. The same request is reserved once.
func (e *env) reserve(r credit.ReserveRequest) (credit.Hold, error) {
	for {
		h, err := e.ledger.Reserve(e.ctx, r)
		if fault.CodeOf(err) != fault.LedgerUnavailable || e.ctx.Err() != nil {
			return h, err
		}
	}
}

func (e *env) outcome(amount credit.Micro) credit.Outcome {
	return credit.Outcome{Usage: billing.Usage{InputTokens: 10, OutputTokens: int64(amount), Source: billing.FromProvider},
		Amount: amount, Kind: credit.Completed, Status: 200, At: e.now()}
}

// used reserves and reports one request.
func (e *env) used(org string, hold, amount credit.Micro) credit.Hold {
	e.t.Helper()
	h, err := e.clean.Reserve(e.ctx, e.request(org, hold))
	must(e.t, err)
	must(e.t, e.clean.Used(e.ctx, h, e.outcome(amount)))
	return h
}

// drain takes the USED attempts from the stream.
func (e *env) drain() []credit.Used {
	e.t.Helper()
	var out []credit.Used
	for _, c := range e.Changes(e.t) {
		if c.Kind == credit.ChangeUsed {
			out = append(out, c.Used)
		}
	}
	return out
}

func (e *env) wantBalance(org string, posted, held credit.Micro) {
	e.t.Helper()
	b, err := e.clean.Balance(e.ctx, org)
	must(e.t, err)
	if b.Posted != posted || b.Held != held || b.Available != posted-held {
		e.t.Fatalf("balance of %s: posted %d held %d available %d, want %d %d %d", org, b.Posted, b.Held, b.Available, posted, held, posted-held)
	}
	var kinds credit.Micro
	for _, v := range b.ByKind {
		kinds += v
	}
	if kinds != b.Posted {
		e.t.Fatalf("kinds of %s sum to %d, posted is %d", org, kinds, b.Posted)
	}
}

func (e *env) wantState(h credit.Hold, want credit.State) credit.RequestView {
	e.t.Helper()
	v, err := e.clean.Request(e.ctx, h.Org, h.Request)
	must(e.t, err)
	if v.State != want {
		e.t.Fatalf("request %s is %s, want %s", h.Request, v.State, want)
	}
	return v
}

func (e *env) entries(org string) []credit.Entry {
	e.t.Helper()
	var all []credit.Entry
	cursor := ""
	for {
		page, next, err := e.clean.Entries(e.ctx, org, cursor, 7, e.now())
		must(e.t, err)
		all = append(all, page...)
		if cursor = next; cursor == "" {
			return all
		}
	}
}

// usageEntries counts the usage entries of an organisation.
func (e *env) usageEntries(org string) (n int) {
	e.t.Helper()
	for _, x := range e.entries(org) {
		if x.Kind == credit.UsageEntry {
			n++
		}
	}
	return n
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v (cause %v)", err, fault.As(err).Unwrap())
	}
}

func wantCode(t testing.TB, err error, want fault.Code) {
	t.Helper()
	if got := fault.CodeOf(err); got != want {
		t.Fatalf("code %q, want %q (%v)", got, want, err)
	}
}
