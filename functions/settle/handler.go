package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
)

// Settler is what the handler needs of the ledger.
type Settler interface {
	Settle(ctx context.Context, used []credit.Used, now time.Time) credit.SettleReport
	Project(ctx context.Context, entries []credit.Entry, now time.Time) credit.SettleReport
	Poison(ctx context.Context, p credit.Poison) error
	Reshape(ctx context.Context, b credit.Busy, now time.Time) (load credit.Load, changed bool, err error)
	ReviewSoon(ctx context.Context, org string, now time.Time) error
}

// Handler turns stream records into settlement and usage rows.
type Handler struct {
	Ledger Settler
	// Decode reads one record; shared/dynamo.DecodeChange.
	Decode func(*events.DynamoDBEventRecord) (credit.Change, error)
	Feed   *Feed
	// Now is the clock for a batch whose records carry no time.
	Now func() time.Time
	Log *slog.Logger

	load credit.LoadWatch
}

// batch is what one event asks for; the indexes lead back to the records.
type batch struct {
	used      []credit.Used
	usedAt    []int
	entries   []credit.Entry
	entriesAt []int
	poison    []credit.Poison
	poisonAt  []int
	undecided int // index of the first record without a verdict, -1 if none
	failed    map[int]bool
}

// Handle settles the USED requests of the event and projects its new entries. It
// answers the first record that has no verdict yet, alone: the mapping delivers
// that one and all later ones again, and everything here may be repeated. What
// cannot be processed is recorded as poison and never delivered again.
func (h *Handler) Handle(ctx context.Context, ev events.DynamoDBEvent) (events.DynamoDBEventResponse, error) {
	now := h.now(ev)
	b := h.read(ctx, ev, now)
	if len(b.used) > 0 {
		r := h.Ledger.Settle(ctx, b.used, now)
		h.Log.InfoContext(ctx, "settled", "amount", charged(b.used, r.Verdicts), "settled", r.Settled, "late", r.Late, "released", r.Released, "done", r.Done, "undecided", r.Undecided)
		b.collect(r.Verdicts, b.usedAt, func(i int, reason string) {
			u := b.used[i]
			h.Log.ErrorContext(ctx, "settle_poison", "reason", reason)
			b.refuse(b.usedAt[i], table.Request(u.Org, u.Request, u.Attempt), reason, now)
		})
	}
	// What is projected is marked, so it comes after all else that an entry asks for:
	// the sweep looks for entries without a mark when the stream has given up.
	if told, at := h.Feed.tell(ctx, &b, now); len(told) > 0 {
		r := h.Ledger.Project(ctx, told, now)
		b.collect(r.Verdicts, at, func(i int, reason string) {
			h.Log.ErrorContext(ctx, "projection_poison", "reason", reason)
			b.refuse(at[i], told[i].Place(), reason, now)
		})
	}
	h.Feed.anomalies(ctx, &b)
	h.review(ctx, &b, now)
	h.fit(ctx, &b, now)
	if b.undecided < 0 {
		return events.DynamoDBEventResponse{BatchItemFailures: []events.DynamoDBBatchItemFailure{}}, nil
	}
	sequence := ev.Records[b.undecided].Change.SequenceNumber
	h.Log.WarnContext(ctx, "batch undecided", "record", b.undecided, "of", len(ev.Records))
	return events.DynamoDBEventResponse{
		BatchItemFailures: []events.DynamoDBBatchItemFailure{{ItemIdentifier: sequence}},
	}, nil
}

// charged sums what was charged, in micro-credits, for the metric of it.
func charged(used []credit.Used, verdicts []credit.Verdict) (sum int64) {
	for i, v := range verdicts {
		if v.Result == credit.Applied {
			sum += int64(used[i].Amount)
		}
	}
	return sum
}

// review has the organisations looked at soon whose entries failed: this may have
// been the last delivery. A failure is made up for by their next daily review.
func (h *Handler) review(ctx context.Context, b *batch, now time.Time) {
	seen := map[string]bool{}
	for i, e := range b.entries {
		if !b.failed[b.entriesAt[i]] || seen[e.Org] {
			continue
		}
		seen[e.Org] = true
		if err := h.Ledger.ReviewSoon(ctx, e.Org, now); err != nil {
			h.Log.WarnContext(ctx, "review not brought forward", "code", string(fault.CodeOf(err)), "op", fault.As(err).Op)
		}
	}
}

// fit has the load of busy organisations measured, so that a load that grows
// within seconds gets the balance shards it needs. Last, because nothing waits for
// it; a failure is the next batch's.
func (h *Handler) fit(ctx context.Context, b *batch, now time.Time) {
	for _, busy := range h.load.Saw(b.used, now) {
		load, changed, err := h.Ledger.Reshape(ctx, busy, now)
		h.load.Measured(busy.Org, load)
		switch {
		case err != nil:
			h.Log.WarnContext(ctx, "balance shards not fitted", "code", string(fault.CodeOf(err)), "op", fault.As(err).Op)
		case changed:
			h.Log.InfoContext(ctx, "balance shards changed")
		}
	}
}

func (h *Handler) read(ctx context.Context, ev events.DynamoDBEvent, now time.Time) batch {
	b := batch{undecided: -1}
	for i := range ev.Records {
		c, err := h.Decode(&ev.Records[i])
		if err != nil {
			h.Log.ErrorContext(ctx, "stream_poison", "event", ev.Records[i].EventID, "reason", "unreadable")
			p := credit.Poison{PK: orUnknown(c.PK), SK: orUnknown(c.SK), Reason: "unreadable", At: now}
			if err := h.Ledger.Poison(ctx, p); err != nil {
				h.Log.ErrorContext(ctx, "poison not recorded", "code", string(fault.CodeOf(err)))
				b.fail(i)
			}
			b.poison, b.poisonAt = append(b.poison, p), append(b.poisonAt, i)
			continue
		}
		switch c.Kind {
		case credit.ChangeUsed:
			b.used, b.usedAt = append(b.used, c.Used), append(b.usedAt, i)
		case credit.ChangeEntry:
			b.entries, b.entriesAt = append(b.entries, c.Entry), append(b.entriesAt, i)
		}
	}
	return b
}

// refuse notes what cannot be processed, to be told.
func (b *batch) refuse(record int, k table.Key, reason string, now time.Time) {
	b.poison = append(b.poison, credit.Poison{PK: k.PK, SK: k.SK, Reason: reason, At: now})
	b.poisonAt = append(b.poisonAt, record)
}

// collect notes undecided records and reports poison.
func (b *batch) collect(verdicts []credit.Verdict, at []int, poisoned func(i int, reason string)) {
	for i, v := range verdicts {
		switch v.Result {
		case credit.Undecided:
			b.fail(at[i])
		case credit.Poisoned:
			poisoned(i, v.Reason)
		}
	}
}

func (b *batch) fail(records ...int) {
	for _, record := range records {
		if b.failed == nil {
			b.failed = map[int]bool{}
		}
		b.failed[record] = true
		if b.undecided < 0 || record < b.undecided {
			b.undecided = record
		}
	}
}

// now is the time of the newest record: the stack's clock, not the machine's.
func (h *Handler) now(ev events.DynamoDBEvent) time.Time {
	var newest time.Time
	for i := range ev.Records {
		if t := ev.Records[i].Change.ApproximateCreationDateTime.Time; t.After(newest) {
			newest = t
		}
	}
	if newest.Unix() <= 0 {
		return h.Now()
	}
	return newest.UTC()
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
