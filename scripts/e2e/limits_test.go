package e2e

import (
	"bytes"
	"context"
	"fmt"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// limited issues a key with limits.
func (x *tenant) limited(limits map[string]any) string {
	x.t.Helper()
	var k struct{ Key string }
	x.operatorCall(http.MethodPost, "/keys", map[string]any{"name": "limited", "scopes": []string{"invoke", "audio"}, "limits": limits}, &k)
	return k.Key
}

// atMinute sets the clock to just after the beginning of a minute, some minutes
// ahead, so that what follows falls into one.
func atMinute(t *testing.T, ahead int) {
	t.Helper()
	now := time.Now()
	begin := now.Truncate(time.Minute).Add(time.Duration(ahead)*time.Minute + 2*time.Second)
	shiftClock(t, begin.Sub(now))
}

// shiftClock moves every clock of the stack until the test ends.
func shiftClock(t *testing.T, by time.Duration) {
	t.Helper()
	shift(t, by)
	t.Cleanup(func() {
		// The test's own context has ended.
		if _, err := tryPost(context.Background(), world.BaseURL+"/_local/clock", "", map[string]any{"offset_seconds": 0}); err != nil {
			t.Error(err)
		}
	})
}

// refused checks a 429 of a limit and returns its retry-after in seconds, -1
// without one.
func refused(t *testing.T, a answer, limit string, retry bool) int {
	t.Helper()
	if a.Status != http.StatusTooManyRequests || a.Header.Get("x-latchkey-limit") != limit || a.Header.Get("x-should-retry") != strconv.FormatBool(retry) ||
		!strings.Contains(string(a.Body), "rate_limit") && !strings.Contains(string(a.Body), "RESOURCE_EXHAUSTED") {
		t.Fatalf("%d %s %v, want a refusal by %s", a.Status, a.Body, a.Header, limit)
	}
	v := a.Header.Get("retry-after")
	if v == "" {
		return -1
	}
	n, err := strconv.Atoi(v)
	must(t, err)
	return n
}

// TestLimitOfRequests: of 100 parallel requests ten pass, in every dialect the
// rest is told when to come back, and then they may.
func TestLimitOfRequests(t *testing.T) {
	atMinute(t, 1)
	x := newTenant(t, "free", 100_000_000)
	key := x.limited(map[string]any{"requests_per_minute": 10})
	var passed, over atomic.Int64
	var group sync.WaitGroup
	for i := range 100 {
		group.Go(func() {
			a, err := tryPost(context.Background(), world.BaseURL+"/v1/chat/completions", key, chatBody(simChat, fmt.Sprint("limit ", i), i%2 == 0))
			switch {
			case err == nil && a.Status == http.StatusOK && a.Header.Get("x-ratelimit-limit-requests") == "10":
				passed.Add(1)
			case err == nil && a.code() == "rate_limited" && a.Header.Get("x-ratelimit-remaining-requests") == "0":
				over.Add(1)
			default:
				t.Errorf("%v %d %s", err, a.Status, a.Body)
			}
		})
	}
	group.Wait()
	if passed.Load() != 10 || over.Load() != 90 {
		t.Errorf("%d passed, %d were over the limit", passed.Load(), over.Load())
	}
	calls := len(vendor.Calls())
	messages := map[string]any{"model": simChat, "max_tokens": 10, "messages": []any{map[string]any{"role": "user", "content": "x"}}}
	for path, body := range map[string]any{
		"/v1/chat/completions": messages, "/v1/messages": messages, "/v1/responses": map[string]any{"model": simChat, "input": "x", "store": false},
		"/v1beta/models/" + simChat + ":generateContent": map[string]any{"contents": []any{map[string]any{"role": "user", "parts": []any{map[string]any{"text": "x"}}}}},
		"/v1/audio/speech": map[string]any{"model": "openai_compatible/sim-voice", "input": "x", "voice": "v"},
		"/v1/embeddings":   map[string]any{"model": simEmbed, "input": "x"},
	} {
		if wait := refused(t, post(t, world.BaseURL+path, key, body), "key:requests_per_minute", true); wait < 1 || wait > 60 {
			t.Errorf("%s: retry-after %d", path, wait)
		}
	}
	refused(t, transcribe(t, key), "key:requests_per_minute", true)
	if len(vendor.Calls()) != calls {
		t.Error("the vendor was called over the limit")
	}
	// The organisation's other keys are not concerned.
	if a := post(t, world.BaseURL+"/v1/chat/completions", x.Key, chatBody(simChat, "other key", false)); a.Status != http.StatusOK {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	atMinute(t, 2)
	if a := post(t, world.BaseURL+"/v1/chat/completions", key, chatBody(simChat, "next minute", false)); a.Status != http.StatusOK || a.Header.Get("x-ratelimit-remaining-requests") != "9" {
		t.Errorf("%d %s %v", a.Status, a.Body, a.Header)
	}
	x.consistent()
}

func transcribe(t *testing.T, key string) answer {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	must(t, w.WriteField("model", "openai_compatible/sim-voice"))
	part, err := w.CreateFormFile("file", "a.mp3")
	must(t, err)
	_, err = part.Write([]byte("ID3 no real sound"))
	must(t, err)
	must(t, w.Close())
	return post(t, world.BaseURL+"/v1/audio/transcriptions", key, b.Bytes(), "Content-Type", w.FormDataContentType())
}

// TestLimitOfConcurrentRequests: never more than two at the vendor, also after
// the function died with them.
func TestLimitOfConcurrentRequests(t *testing.T) {
	x := newTenant(t, "free", 100_000_000)
	key := x.limited(map[string]any{"concurrent": 2})
	url := world.FunctionURLs["invoke"] + "/v1/chat/completions"
	for _, kill := range []bool{false, true} {
		barrier := vendor.Hold(mockvendor.BeforeHeaders)
		var group sync.WaitGroup
		for range 2 {
			group.Go(func() {
				if a, err := tryPost(context.Background(), url, key, chatBody(simChat, "slow", false)); !kill && (err != nil || a.Status != http.StatusOK) {
					t.Errorf("%v %d %s", err, a.Status, a.Body)
				}
			})
		}
		for range 2 {
			select {
			case <-barrier.Reached():
			case <-time.After(30 * time.Second):
				barrier.Release()
				group.Wait()
				t.Fatal("two calls are allowed, and one did not reach the vendor")
			}
		}
		if wait := refused(t, post(t, url, key, chatBody(simChat, "third", false)), "key:concurrent", true); wait != 1 {
			t.Errorf("retry-after %d", wait)
		}
		if kill {
			killBusy(t, "invoke")
		}
		barrier.Release()
		group.Wait()
		if kill {
			refused(t, post(t, url, key, chatBody(simChat, "still taken", false)), "key:concurrent", true)
			shiftClock(t, 10*time.Minute)
		}
		if a := post(t, url, key, chatBody(simChat, "free again", false)); a.Status != http.StatusOK {
			t.Errorf("killed %v: %d %s", kill, a.Status, a.Body)
		}
	}
	sweep(t, time.Hour)
	x.consistent()
}

// TestBudgets: what was charged counts, up to the end of the day, and own keys
// do not.
func TestBudgets(t *testing.T) {
	x := newTenant(t, "enterprise", 100_000_000)
	url := world.BaseURL + "/v1/chat/completions"
	call := func() answer { return post(t, url, x.Key, chatBody(simChat, "budget", false)) }
	must(t, operator().Call(t.Context(), http.MethodPatch, "/api/orgs/"+x.ID, map[string]any{"limits": map[string]any{"budget": map[string]any{"amount": 50, "period": "day"}}}, nil))
	a, n := call(), 0
	for ; a.Status == http.StatusOK; a = call() {
		if n++; n > 50 {
			t.Fatal("the budget has no end")
		}
	}
	wait := refused(t, a, "organisation:budget", true)
	midnight := time.Now().UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
	if left := time.Until(midnight); n == 0 || time.Duration(wait)*time.Second > left+2*time.Minute || time.Duration(wait)*time.Second < left-10*time.Second {
		t.Errorf("after %d calls: retry-after %d, the day has %s", n, wait, left)
	}
	// Less than one charge above the budget.
	if spent := 100_000_000 - x.settled().Posted; spent < 50 || spent >= 100 {
		t.Errorf("%d were spent of a budget of 50", spent)
	}
	x.connect(byokKey+"L", map[string]any{"billing_source": "byok"})
	if own := post(t, url, x.Key, chatBody("openai_compatible/own", "own key", false)); own.Status != http.StatusOK {
		t.Errorf("own key: %d %s", own.Status, own.Body)
	}
	shiftClock(t, time.Until(midnight)+time.Minute)
	if a := call(); a.Status != http.StatusOK {
		t.Errorf("the next day: %d %s", a.Status, a.Body)
	}
	must(t, operator().Call(t.Context(), http.MethodPatch, "/api/orgs/"+x.ID, map[string]any{"limits": map[string]any{"budget": map[string]any{"amount": 1, "period": "total"}}}, nil))
	if a := call(); a.Status != http.StatusOK {
		t.Errorf("a new budget: %d %s", a.Status, a.Body)
	}
	if wait := refused(t, call(), "organisation:budget", false); wait != -1 {
		t.Errorf("retry-after %d of a budget without an end", wait)
	}
	must(t, operator().Call(t.Context(), http.MethodPatch, "/api/orgs/"+x.ID, map[string]any{"limits": map[string]any{}}, nil))
	if a := call(); a.Status != http.StatusOK {
		t.Errorf("without a budget: %d %s", a.Status, a.Body)
	}
	x.consistent()
}

// TestSequentialCallsWithLimits: limits add no round before the vendor.
func TestSequentialCallsWithLimits(t *testing.T) {
	x := newTenant(t, "free", 1_000_000)
	limits := map[string]any{"requests_per_minute": 1000, "tokens_per_minute": 1_000_000, "concurrent": 50, "budget": map[string]any{"amount": 1_000_000, "period": "month"}}
	key := x.limited(limits)
	must(t, operator().Call(t.Context(), http.MethodPatch, "/api/orgs/"+x.ID, map[string]any{"limits": limits}, nil))
	chat := func() {
		if a := post(t, world.BaseURL+"/v1/chat/completions", key, chatBody(simChat, "count", false)); a.Status != http.StatusOK {
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

// TestMediaCaps: too many pieces are 400, too many bytes 413, in every dialect's
// own words, before anything is reserved.
func TestMediaCaps(t *testing.T) {
	x := newTenant(t, "free", 1_000_000)
	dialects := map[string]struct {
		image func(data string) any
		wrap  func(images []any) any
		large string
	}{
		"/v1/chat/completions": {func(d string) any {
			return map[string]any{"type": "image_url", "image_url": map[string]any{"url": "data:image/png;base64," + d}}
		}, func(images []any) any {
			return map[string]any{"model": simChat, "messages": []any{map[string]any{"role": "user", "content": images}}}
		}, `"code":"too_large"`},
		"/v1/responses": {func(d string) any {
			return map[string]any{"type": "input_image", "image_url": "data:image/png;base64," + d}
		}, func(images []any) any {
			return map[string]any{"model": simChat, "store": false, "input": []any{map[string]any{"role": "user", "content": images}}}
		}, `"code":"too_large"`},
		"/v1/messages": {func(d string) any {
			return map[string]any{"type": "image", "source": map[string]any{"type": "base64", "media_type": "image/png", "data": d}}
		}, func(images []any) any {
			return map[string]any{"model": simChat, "max_tokens": 10, "messages": []any{map[string]any{"role": "user", "content": images}}}
		}, `"type":"request_too_large"`},
		"/v1beta/models/" + simChat + ":generateContent": {func(d string) any {
			return map[string]any{"inlineData": map[string]any{"mimeType": "image/png", "data": d}}
		}, func(images []any) any {
			return map[string]any{"contents": []any{map[string]any{"role": "user", "parts": images}}}
		}, `"type":"too_large"`},
	}
	calls := len(vendor.Calls())
	for path, d := range dialects {
		var many []any
		for range 101 {
			many = append(many, d.image("AAAA"))
		}
		if a := post(t, world.BaseURL+path, x.Key, d.wrap(many)); a.Status != http.StatusBadRequest || !strings.Contains(string(a.Body), "100 images") {
			t.Errorf("%s: %d %.300s", path, a.Status, a.Body)
		}
		if a := post(t, world.BaseURL+path, x.Key, d.wrap([]any{d.image(strings.Repeat("A", 5_600_000))})); a.Status != http.StatusRequestEntityTooLarge ||
			!strings.Contains(string(a.Body), d.large) || a.Header.Get("x-should-retry") != "false" {
			t.Errorf("%s: %d %.300s", path, a.Status, a.Body)
		}
	}
	if c := x.credits(); c.Held != 0 || len(vendor.Calls()) != calls {
		t.Errorf("held %d, the vendor saw %d more calls", c.Held, len(vendor.Calls())-calls)
	}
}
