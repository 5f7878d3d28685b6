package e2e

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// TestXMonthCloses stands behind all other tests that charge: it closes the month of
// every organisation of the stack. A call that hangs over the boundary is charged in
// the month in which it settles; a sweep that dies while it closes is made up for.
func TestXMonthCloses(t *testing.T) {
	x := newTenant(t, "free", 10_000_000)
	call := func() {
		t.Helper()
		if a := post(t, world.FunctionURLs["invoke"]+"/v1/chat/completions", x.Key, chatBody(simChat, "before the boundary", false)); a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	call()
	call()
	x.settled()
	barrier := vendor.Hold(mockvendor.BeforeHeaders)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = tryPost(context.Background(), world.FunctionURLs["invoke"]+"/v1/chat/completions", x.Key, chatBody(simChat, "over the boundary", false))
	}()
	<-barrier.Reached()
	now := time.Now().UTC()
	boundary := time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC)
	after := boundary.Add(26 * time.Hour).Sub(now)
	sweep(t, after) // gives the hold back and shuts the month
	wait := commitAndHang(t, "sweep", "PutItem")
	dead := make(chan struct{})
	go func() {
		defer close(dead)
		_, _ = tryPost(context.Background(), world.BaseURL+"/_local/invoke/sweep", "", map[string]any{"time": now.Add(after + 6*time.Minute).Format(time.RFC3339),
			"source": "aws.events", "detail-type": "Scheduled Event", "detail": map[string]any{}})
	}()
	wait() // one opening is written
	killBusy(t, "sweep")
	clearFaults(t)
	<-dead
	sweep(t, after+7*time.Minute)
	barrier.Release()
	<-done
	late := func() (n int) {
		for _, e := range x.entries() {
			if e.Kind == "usage" && !e.At.Before(boundary) && e.UsedAt != nil && e.UsedAt.Before(boundary) && e.Late {
				n++
			}
		}
		return n
	}
	eventually(t, "the late call is charged in the new month", func() bool { return late() == 1 })
	x.consistent()
	for deep, checked := range map[bool]int{false: 1, true: 4} {
		var rep struct {
			OK      bool
			Checked int
		}
		must(t, operator().Call(t.Context(), http.MethodPost, "/api/operator/reconcile", map[string]any{"org_id": x.ID, "deep": deep}, &rep))
		if !rep.OK || rep.Checked != checked {
			t.Errorf("deep %v: %+v, want %d checked", deep, rep, checked)
		}
	}
}
