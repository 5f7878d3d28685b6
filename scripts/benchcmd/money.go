package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	settleWait = 60 * time.Second
	settlePoll = 200 * time.Millisecond
	// sweepAhead is beyond the life of any hold.
	sweepAhead = 30 * time.Minute
	moneyPage  = "200"
)

// checkMoney looks at every organisation through the admin API. It waits for
// settlement; what is still open then is brought to its end by the sweep, as
// after a crash, and reported.
func (w *world) checkMoney(ctx context.Context, r *report) error {
	r.Money = moneyRow{Orgs: len(w.tenants)}
	err := w.allSettled(ctx)
	if err != nil && ctx.Err() == nil {
		r.warn("some holds did not settle by themselves within %s and were ended by the sweep: %v", settleWait, err)
		if err := w.sweep(ctx); err != nil {
			return err
		}
		err = w.allSettled(ctx)
	}
	if err != nil {
		return err
	}
	sums := make([]moneyRow, len(w.tenants))
	errs := make([]error, len(w.tenants))
	group := new(errgroup.Group)
	group.SetLimit(4)
	for i, t := range w.tenants {
		group.Go(func() error {
			sums[i], errs[i] = t.check(ctx)
			return nil
		})
	}
	_ = group.Wait()
	for i := range sums {
		r.Money.Calls += sums[i].Calls
		r.Money.Entries += sums[i].Entries
		r.Money.Charged += sums[i].Charged
	}
	err = errors.Join(errs...)
	r.Money.OK = err == nil
	return err
}

type credits struct{ Posted, Held, Available int64 }

func (t *tenant) credits(ctx context.Context) (c credits, err error) {
	err = t.admin.Call(ctx, http.MethodGet, "/api/orgs/"+t.id+"/credits", nil, &c)
	return c, err
}

// allSettled waits until no organisation has anything held.
func (w *world) allSettled(ctx context.Context) error {
	deadline := time.Now().Add(settleWait)
	for _, t := range w.tenants {
		for {
			c, err := t.credits(ctx)
			if err != nil {
				return err
			}
			if c.Held == 0 {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%s still holds %d micro-credits", t.id, c.Held)
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(settlePoll):
			}
		}
	}
	return nil
}

func (w *world) sweep(ctx context.Context) error {
	at := time.Now().Add(sweepAhead).UTC().Format(time.RFC3339)
	return w.operator.Call(ctx, http.MethodPost, "/_local/invoke/sweep",
		map[string]any{"time": at, "source": "aws.events", "detail-type": "Scheduled Event", "detail": map[string]any{}}, nil)
}

type entry struct {
	ID, Kind  string
	Amount    int64
	RequestID string `json:"request_id"`
	Legs      []struct{ Amount int64 }
}

func (t *tenant) entries(ctx context.Context) ([]entry, error) {
	var all []entry
	cursor := ""
	for {
		var page struct {
			Items      []entry
			NextCursor string `json:"next_cursor"`
		}
		path := "/api/orgs/" + t.id + "/entries?limit=" + moneyPage
		if cursor != "" {
			path += "&cursor=" + url.QueryEscape(cursor)
		}
		if err := t.admin.Call(ctx, http.MethodGet, path, nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if cursor = page.NextCursor; cursor == "" {
			return all, nil
		}
	}
}

// check compares balance, entries and served calls. Calls on an own key hold
// nothing, so their entries are waited for here.
func (t *tenant) check(ctx context.Context) (moneyRow, error) {
	for deadline := time.Now().Add(settleWait); ; {
		row, err := t.compare(ctx)
		if err == nil || time.Now().After(deadline) || ctx.Err() != nil {
			return row, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(settlePoll):
		}
	}
}

func (t *tenant) compare(ctx context.Context) (row moneyRow, err error) {
	entries, err := t.entries(ctx)
	if err != nil {
		return row, err
	}
	c, err := t.credits(ctx)
	if err != nil {
		return row, err
	}
	var sum, granted int64
	usages := map[string]bool{}
	var wrong []error
	for _, e := range entries {
		sum += e.Amount
		var legs int64
		for _, l := range e.Legs {
			legs += l.Amount
		}
		if legs != 0 {
			wrong = append(wrong, fmt.Errorf("org %s: the legs of entry %s sum to %d", t.id, e.ID, legs))
		}
		if e.Kind != "usage" {
			granted += e.Amount
			continue
		}
		if usages[e.RequestID] {
			wrong = append(wrong, fmt.Errorf("org %s: request %s was charged twice", t.id, e.RequestID))
		}
		usages[e.RequestID] = true
	}
	if c.Held != 0 || c.Posted != sum || c.Available != c.Posted || granted != t.granted {
		wrong = append(wrong, fmt.Errorf("org %s: posted %d, sum of entries %d, held %d, available %d, granted %d of %d",
			t.id, c.Posted, sum, c.Held, c.Available, granted, t.granted))
	}
	if len(usages) < t.served {
		wrong = append(wrong, fmt.Errorf("org %s: %d calls were served, %d have an entry", t.id, t.served, len(usages)))
	}
	return moneyRow{Calls: t.served, Entries: len(entries), Charged: granted - sum}, errors.Join(wrong...)
}
