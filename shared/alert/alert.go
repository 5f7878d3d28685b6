// Package alert tells an organisation once that its credits run low.
//
// What is left is measured against the level, the balance after the last top-up:
// at 50, 20 and 5 percent of it, at an amount that the organisation may set, and
// when nothing is left. Each of these is told once between two top-ups. Of
// several that are reached at once only the lowest is told, and above one that
// was told none is: a balance that moves around a limit, or falls through all of
// them, is one message.
//
// Flow: the settle function passes new entries to [Watch.Check], which reads
// balance and level and writes alert, level and the event to send in one
// transaction; nobody can tell it twice, and a crash behind it loses nothing.
//
// Limits: what running calls hold counts as left, because most of it comes back;
// the level is the balance when the top-up is seen, so what is spent in the
// moments between is not part of it.
package alert

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/outbox"
)

// Level is what balances are measured against.
type Level struct {
	Org    string
	At     time.Time    // of the last top-up, zero if none was seen
	Amount credit.Micro // the balance after it
	// Absolute is the organisation's own limit, 0 for none.
	Absolute credit.Micro
	// Told says that some limit was told since At; Lowest is the lowest of them.
	Told   bool
	Lowest credit.Micro
}

// Alert is one message.
type Alert struct {
	ID, Org   string
	Threshold string
	Limit     credit.Micro
	Left      credit.Micro
	Level     credit.Micro
	Since, At time.Time
}

// Store keeps levels and alerts.
type Store interface {
	// Level reads the level of an organisation, consistently; the zero level if
	// there is none.
	Level(ctx context.Context, org string) (Level, error)
	// Raise stores the level of a top-up, unless that of a later one is stored,
	// and forgets what was told.
	Raise(ctx context.Context, org string, at time.Time, amount credit.Micro) error
	// Tell stores alert and event and the limit as told, if the level is still
	// the one that was read; fresh is false if it is not, or if this alert exists.
	Tell(ctx context.Context, l Level, a Alert, ev outbox.Event) (fresh bool, err error)
}

// Settings are what people see and change.
type Settings interface {
	Level(ctx context.Context, org string) (Level, error)
	// SetAbsolute stores the organisation's own limit, 0 for none, with its row.
	SetAbsolute(ctx context.Context, org string, amount credit.Micro, row audit.Row) error
	// Alerts lists alerts, newest period first; after is the place behind which
	// to go on, next that of the following page, "" at the end.
	Alerts(ctx context.Context, org, after string, limit int) (list []Alert, next string, err error)
}

// Accounts reads balances.
type Accounts interface {
	Account(ctx context.Context, org string) (credit.Account, error)
}

// Watch finds and tells. Safe for concurrent use.
type Watch struct {
	Store    Store
	Accounts Accounts
	Stage    string
}

// Check looks at the organisations whose balance the entries moved and returns
// the events of new alerts, which the store keeps until they are sent, and the
// organisations that could not be looked at.
func (w *Watch) Check(ctx context.Context, entries []credit.Entry, now time.Time) (fresh []outbox.Event, failed map[string]error) {
	topUps := map[string]time.Time{}
	var orgs []string
	for _, e := range entries {
		if e.Amount == 0 {
			continue
		}
		if !slices.Contains(orgs, e.Org) {
			orgs = append(orgs, e.Org)
		}
		if e.Amount > 0 && e.Kind != credit.UsageEntry && e.At.After(topUps[e.Org]) {
			topUps[e.Org] = e.At
		}
	}
	for _, org := range orgs {
		ev, err := w.check(ctx, org, topUps[org], now)
		if err != nil {
			if failed == nil {
				failed = map[string]error{}
			}
			failed[org] = err
		}
		if ev != nil {
			fresh = append(fresh, *ev)
		}
	}
	return fresh, failed
}

func (w *Watch) check(ctx context.Context, org string, topUp, now time.Time) (*outbox.Event, error) {
	acc, err := w.Accounts.Account(ctx, org)
	if fault.CodeOf(err) == fault.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !topUp.IsZero() {
		if err := w.Store.Raise(ctx, org, topUp, acc.Posted); err != nil {
			return nil, err
		}
	}
	level, err := w.Store.Level(ctx, org)
	if err != nil {
		return nil, err
	}
	threshold, limit, reached := level.reached(acc.Posted, acc.CreditLine)
	if !reached || level.Told && limit >= level.Lowest {
		return nil, nil
	}
	a := Alert{Org: org, Threshold: threshold, Limit: limit, Left: acc.Posted, Level: level.Amount, Since: level.At, At: now.UTC()}
	a.ID = a.id()
	ev := outbox.BalanceEvent(w.Stage, outbox.Balance{ID: a.ID, Org: org, At: a.At, Threshold: threshold, Limit: limit, Left: a.Left,
		Level: a.Level, Since: a.Since}, threshold == Exhausted)
	told, err := w.Store.Tell(ctx, level, a, ev)
	if err != nil || !told {
		return nil, err
	}
	return &ev, nil
}

// Names of the limits that are not a share of the level.
const (
	Absolute  = "absolute"
	Exhausted = "exhausted"
)

// shares are the percentages of the level.
var shares = [...]int64{5, 20, 50}

// reached is the lowest limit that left is at or below.
func (l Level) reached(left, line credit.Micro) (threshold string, limit credit.Micro, ok bool) {
	if left+line <= 0 {
		return Exhausted, -line, true
	}
	consider := func(name string, at credit.Micro) {
		if at > 0 && left <= at && (!ok || at < limit) {
			threshold, limit, ok = name, at, true
		}
	}
	for _, share := range shares {
		// In two parts: a balance times 50 may not fit into 64 bits.
		whole, rest := int64(l.Amount)/100, int64(l.Amount)%100
		consider(strconv.FormatInt(share, 10)+"%", credit.Micro(whole*share+rest*share/100))
	}
	consider(Absolute, l.Absolute)
	return threshold, limit, ok
}

// id is unique per organisation, period and limit.
func (a Alert) id() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s|%d|%s|%d", a.Org, a.Since.UnixMilli(), a.Threshold, a.Limit))
	return "al_" + base64.RawURLEncoding.EncodeToString(sum[:15])
}

// CheckAbsolute refuses amounts that no balance can have.
func CheckAbsolute(amount credit.Micro) error {
	if amount < 0 || amount > billing.MaxAmount {
		return fault.New(fault.InvalidRequest, "alert.CheckAbsolute", "low_balance must be between 0 (none) and 1,000,000,000,000,000 micro-credits").WithParam("low_balance")
	}
	return nil
}
