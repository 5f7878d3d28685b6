package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

func TestInsufficientCreditsStopsBeforeTheVendor(t *testing.T) {
	x := newTenant(t, "free", 100)
	before := len(vendor.Calls())
	a := post(t, world.BaseURL+"/v1/chat/completions", x.Key, chatBody(simChat, "too dear", false))
	if a.Status != http.StatusPaymentRequired || a.code() != "insufficient_credits" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if len(vendor.Calls()) != before {
		t.Error("the vendor was called")
	}
	x.consistent()
}

func TestUnpricedModelIsRefused(t *testing.T) {
	x := newTenant(t, "free", 1_000_000)
	a := post(t, world.BaseURL+"/v1/chat/completions", x.Key, chatBody("openrouter/nobody-priced-this", "x", false))
	if a.Status != http.StatusServiceUnavailable || a.code() != "price_missing" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

func TestIdempotencyKey(t *testing.T) {
	x := newTenant(t, "free", 10_000_000)
	url := world.BaseURL + "/v1/chat/completions"
	barrier := vendor.Hold(mockvendor.BeforeHeaders)
	defer barrier.Release()
	var ok, progress atomic.Int64
	var group sync.WaitGroup
	for range 16 {
		group.Add(1)
		go func() {
			defer group.Done()
			a, err := tryPost(context.Background(), url, x.Key, chatBody(simChat, "same key", false), "Idempotency-Key", "one")
			switch {
			case err != nil:
				t.Error(err)
			case a.Status == http.StatusOK:
				ok.Add(1)
			case a.Status == http.StatusConflict && a.code() == "idempotency_in_progress" && a.Header.Get("x-should-retry") == "true" && a.Header.Get("retry-after") == "1":
				progress.Add(1)
			default:
				t.Errorf("%d %s", a.Status, a.Body)
			}
		}()
	}
	<-barrier.Reached()
	eventually(t, "the others are refused", func() bool { return progress.Load() == 15 })
	barrier.Release()
	group.Wait()
	if ok.Load() != 1 {
		t.Errorf("%d succeeded", ok.Load())
	}
	conflict := post(t, url, x.Key, chatBody(simChat, "other body", false), "Idempotency-Key", "one")
	if conflict.Status != http.StatusConflict || conflict.code() != "idempotency_conflict" || conflict.Header.Get("x-should-retry") != "false" {
		t.Errorf("conflict: %d %s %v", conflict.Status, conflict.Body, conflict.Header)
	}
	finished := post(t, url, x.Key, chatBody(simChat, "same key", false), "Idempotency-Key", "one")
	if finished.Status != http.StatusOK || !strings.Contains(string(finished.Body), "You said: same key") || finished.Header.Get("x-latchkey-replayed") != "true" ||
		finished.Header.Get("x-latchkey-billing-source") != "platform" {
		t.Errorf("finished: %d %s %v", finished.Status, finished.Body, finished.Header)
	}
	// A stream is not kept: its repeat names the request that finished.
	streamed := post(t, url, x.Key, chatBody(simChat, "a stream", true), "Idempotency-Key", "two")
	again := post(t, url, x.Key, chatBody(simChat, "a stream", true), "Idempotency-Key", "two")
	if streamed.Status != http.StatusOK || again.Status != http.StatusConflict || again.code() != "idempotency_completed" ||
		!strings.Contains(string(again.Body), streamed.Header.Get("x-request-id")) {
		t.Errorf("stream: %d, then %d %s", streamed.Status, again.Status, again.Body)
	}
	calls := 0
	for _, c := range vendor.Calls() {
		if c.Prompt == "same key" {
			calls++
		}
	}
	if calls != 1 {
		t.Errorf("%d vendor calls", calls)
	}
	x.consistent()
}

// TestParallelClients: no overspend, no lost hold, on one organisation and on
// many.
func TestParallelClients(t *testing.T) {
	for _, c := range []struct {
		name             string
		tenants, clients int
	}{{"one organisation", 1, 32}, {"many organisations", 16, 32}} {
		t.Run(c.name, func(t *testing.T) {
			var tenants []*tenant
			for range c.tenants {
				tenants = append(tenants, newTenant(t, "free", 10_000_000))
			}
			var group sync.WaitGroup
			var good atomic.Int64
			for i := range c.clients {
				group.Add(1)
				go func() {
					defer group.Done()
					x := tenants[i%len(tenants)]
					for j := range 4 {
						a, err := tryPost(context.Background(), world.BaseURL+"/v1/chat/completions", x.Key, chatBody(simChat, fmt.Sprintf("parallel %d %d", i, j), j%2 == 0))
						if err != nil || a.Status != http.StatusOK {
							t.Errorf("%v %d %s", err, a.Status, a.Body)
							continue
						}
						good.Add(1)
					}
				}()
			}
			group.Wait()
			entries := 0
			for _, x := range tenants {
				x.consistent()
				for _, e := range x.entries() {
					if e.Kind == "usage" {
						entries++
					}
				}
			}
			if int64(entries) != good.Load() {
				t.Errorf("%d entries for %d answers", entries, good.Load())
			}
		})
	}
}

// TestFundsForTen: 100 parallel requests on funds for 10 holds.
func TestFundsForTen(t *testing.T) {
	// A hold is 1.1 x input + 200 output tokens at 2 micro-credits; the vendor
	// stands still, so no hold ends early.
	barrier := vendor.Hold(mockvendor.BeforeHeaders)
	defer barrier.Release()
	probe := newTenant(t, "free", 1_000_000)
	go func() {
		_, _ = tryPost(context.Background(), world.BaseURL+"/v1/chat/completions", probe.Key, chatBody(simChat, "funds", false))
	}()
	<-barrier.Reached()
	hold := probe.credits().Held
	if hold == 0 {
		t.Fatal("no hold while the vendor is asked")
	}
	x := newTenant(t, "free", 10*hold)
	var granted, refused atomic.Int64
	var group sync.WaitGroup
	for range 100 {
		group.Add(1)
		go func() {
			defer group.Done()
			a, err := tryPost(context.Background(), world.BaseURL+"/v1/chat/completions", x.Key, chatBody(simChat, "funds", false))
			switch {
			case err == nil && a.Status == http.StatusOK:
				granted.Add(1)
			case err == nil && a.code() == "insufficient_credits":
				refused.Add(1)
			default:
				t.Errorf("%v %d %s", err, a.Status, a.Body)
			}
		}()
	}
	eventually(t, "90 are refused", func() bool { return refused.Load() == 90 })
	barrier.Release()
	group.Wait()
	if granted.Load() != 10 || refused.Load() != 90 {
		t.Errorf("%d granted, %d refused", granted.Load(), refused.Load())
	}
	x.consistent()
}

// TestClientThatLeavesIsSettled: what was delivered is charged.
func TestClientThatLeavesIsSettled(t *testing.T) {
	x := newTenant(t, "free", 1_000_000)
	barrier := vendor.Hold(mockvendor.AfterChunk)
	defer barrier.Release()
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		_, _ = tryPost(ctx, world.FunctionURLs["invoke"]+"/v1/chat/completions", x.Key, chatBody(simChat, "I leave early", true))
	}()
	<-barrier.Reached()
	leave()
	barrier.Release()
	eventually(t, "the call is settled", func() bool { return x.credits().Held == 0 && x.credits().Posted < 1_000_000 })
	x.consistent()
}

func TestVendorFailures(t *testing.T) {
	for _, c := range []struct {
		failure mockvendor.Failure
		status  int
		code    string
	}{
		{mockvendor.Failure{Status: 429, Body: `{"error":{"message":"slow down"}}`, RetryAfter: "7"}, 429, "provider_rate_limited"},
		{mockvendor.Failure{Status: 500, Body: `oops`}, 502, "provider_error"},
		{mockvendor.Failure{Status: 503, Body: `{"error":{"message":"overloaded"}}`}, 503, "provider_overloaded"},
		{mockvendor.Failure{Status: 401, Body: `{"error":{"message":"bad key ` + platformKey + `"}}`}, 424, "provider_key_invalid"},
		{mockvendor.Failure{Status: 402, Body: `{"error":{"message":"quota"}}`}, 402, "provider_quota_exhausted"},
	} {
		for _, stream := range []bool{false, true} {
			x := newTenant(t, "free", 1_000_000)
			vendor.Fail(&c.failure)
			a := post(t, world.BaseURL+"/v1/chat/completions", x.Key, chatBody(simChat, "fails", stream))
			vendor.Fail(nil)
			if a.Status != c.status || a.code() != c.code {
				t.Errorf("vendor %d (stream %v): %d %s", c.failure.Status, stream, a.Status, a.Body)
			}
			if c.failure.RetryAfter != "" && a.Header.Get("retry-after") != c.failure.RetryAfter {
				t.Errorf("retry-after %q", a.Header.Get("retry-after"))
			}
			if got := x.settled(); got.Posted != 1_000_000 {
				t.Errorf("a refused call was charged: %+v", got)
			}
		}
	}
}

// TestSequentialCalls counts the rounds to AWS that stand before the vendor is
// called: parallel reads, then one transaction.
func TestSequentialCalls(t *testing.T) {
	x := newTenant(t, "free", 1_000_000)
	chat := func() { // warm
		if a := post(t, world.BaseURL+"/v1/chat/completions", x.Key, chatBody(simChat, "count", false)); a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	chat()
	chat()
	rounds := watchRounds(t, chat)
	t.Logf("rounds before the vendor: %v", rounds)
	if len(rounds) > 2 {
		t.Errorf("%d sequential rounds before the first upstream byte: %v", len(rounds), rounds)
	}
}
