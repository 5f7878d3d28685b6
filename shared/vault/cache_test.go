package vault

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// cacheEnv is a cache with a settable clock and a counted loader.
type cacheEnv struct {
	*testing.T
	c     *keyCache
	at    time.Time
	loads int
	err   error
}

func newCacheEnv(t *testing.T, random io.Reader) *cacheEnv {
	e := &cacheEnv{T: t, at: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	e.c = newKeyCache(func() time.Time { return e.at }, random)
	return e
}

func id(n int) [sha256.Size]byte { return sha256.Sum256(fmt.Append(nil, n)) }

func (e *cacheEnv) get(n int) (hit bool, err error) {
	e.Helper()
	key, hit, err := e.c.get(context.Background(), id(n), func(context.Context) ([]byte, error) {
		e.loads++
		if e.err != nil {
			return nil, e.err
		}
		return bytes.Repeat([]byte{byte(n) + 1}, KeySize), nil
	})
	if err == nil && !bytes.Equal(key, bytes.Repeat([]byte{byte(n) + 1}, KeySize)) {
		e.Fatalf("key %d: got %x", n, key)
	}
	clear(key)
	return hit, err
}

func (e *cacheEnv) want(n int, wantHit bool) {
	e.Helper()
	before := e.loads
	hit, err := e.get(n)
	if err != nil || hit != wantHit || (e.loads == before) != wantHit {
		e.Fatalf("key %d: hit %v, %d loads, %v; want hit %v", n, hit, e.loads-before, err, wantHit)
	}
}

func TestCacheLivesForItsTime(t *testing.T) {
	for name, c := range map[string]struct {
		random io.Reader
		ttl    time.Duration
	}{
		"shortest":      {bytes.NewReader(make([]byte, 4)), 270 * time.Second},
		"middle":        {bytes.NewReader([]byte{0x80, 0, 0, 0}), 300 * time.Second},
		"longest":       {bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff}), 330*time.Second - time.Millisecond},
		"no randomness": {strings.NewReader(""), 270 * time.Second},
	} {
		e := newCacheEnv(t, c.random)
		e.want(1, false)
		e.at = e.at.Add(c.ttl - time.Millisecond)
		e.want(1, true)
		e.at = e.at.Add(time.Millisecond)
		if hit, _ := e.get(1); hit {
			t.Errorf("%s: the key outlived %v", name, c.ttl)
		}
	}
}

func TestCacheTTLIsSpread(t *testing.T) {
	c := newKeyCache(time.Now, rand.Reader)
	seen := map[time.Duration]bool{}
	for range 1000 {
		j := c.jitter()
		if j < -cacheJitter || j > cacheJitter {
			t.Fatalf("jitter %v", j)
		}
		seen[j.Truncate(10*time.Second)] = true
	}
	if len(seen) < 5 {
		t.Errorf("jitter takes %d of 5 values", len(seen))
	}
}

// In a frozen environment the monotonic clock may stand still.
func TestCacheGoesByWallClock(t *testing.T) {
	c := newKeyCache(time.Now, rand.Reader)
	if s := c.wall().String(); strings.Contains(s, "m=") {
		t.Errorf("the reading is monotonic: %s", s)
	}
}

func TestCacheDropsWhenTheClockGoesBack(t *testing.T) {
	e := newCacheEnv(t, rand.Reader)
	e.want(1, false)
	e.at = e.at.Add(-time.Second)
	e.want(1, false)
}

func TestCacheCountsUses(t *testing.T) {
	e := newCacheEnv(t, rand.Reader)
	e.want(1, false)
	for range cacheUses - 1 {
		e.want(1, true)
	}
	e.want(1, false)
	e.want(1, true)
}

func TestCacheEvictsTheLeastRecentAndClearsIt(t *testing.T) {
	e := newCacheEnv(t, rand.Reader)
	for n := range cacheEntries {
		e.want(n, false)
	}
	e.want(0, true) // now 1 is the oldest
	old := e.c.entries[id(1)].Value.(*cacheEntry).key
	e.want(cacheEntries, false)
	if len(e.c.entries) != cacheEntries || e.c.recent.Len() != cacheEntries {
		t.Fatalf("%d entries, %d in order", len(e.c.entries), e.c.recent.Len())
	}
	if !bytes.Equal(old, make([]byte, KeySize)) {
		t.Error("the evicted key was not cleared")
	}
	e.want(0, true)
	e.want(1, false)
}

func TestCacheClearsExpiredKeys(t *testing.T) {
	e := newCacheEnv(t, rand.Reader)
	e.want(1, false)
	old := e.c.entries[id(1)].Value.(*cacheEntry).key
	e.at = e.at.Add(time.Hour)
	e.want(1, false)
	if !bytes.Equal(old, make([]byte, KeySize)) {
		t.Error("the expired key was not cleared")
	}
}

func TestCacheRemembersRefusalsOnly(t *testing.T) {
	for reason, cached := range map[Reason]bool{
		KeyAccessDenied: true, KeyDisabled: true,
		KeyThrottled: false, KeyUnavailable: false, KeyTimeout: false, KeyInvalidCiphertext: false,
		KeyPendingDeletion: false, KeyNotFound: false, KeyIncorrect: false, KeyUnexpected: false,
	} {
		e := newCacheEnv(t, rand.Reader)
		e.err = &KeyError{Reason: reason}
		for range 3 {
			if _, err := e.get(1); ReasonOf(err) != reason {
				t.Errorf("%s: %v", reason, err)
			}
		}
		if want := map[bool]int{true: 1, false: 3}[cached]; e.loads != want {
			t.Errorf("%s: %d calls, want %d", reason, e.loads, want)
		}
		e.err, e.loads = nil, 0
		e.at = e.at.Add(refusalTTL)
		if _, err := e.get(1); err != nil || e.loads != 1 {
			t.Errorf("%s: after 5 s: %v, %d calls", reason, err, e.loads)
		}
	}
}

// Two contexts, two keys or two wrapping keys never share an entry, whatever
// prefix they have in common.
func TestCacheIDCoversEverything(t *testing.T) {
	ectx := map[string]string{"org": "a", "cred": "bc"}
	base := WrappedKey{Blob: bytes.Repeat([]byte{7}, 184), KEK: "k", Material: "m"}
	blob := bytes.Clone(base.Blob)
	blob[183]++
	seen := map[[sha256.Size]byte]string{cacheID(base, ectx): "base"}
	for name, got := range map[string][sha256.Size]byte{
		"last byte":     cacheID(WrappedKey{Blob: blob, KEK: "k"}, ectx),
		"kek":           cacheID(WrappedKey{Blob: base.Blob, KEK: "l"}, ectx),
		"context value": cacheID(base, map[string]string{"org": "ab", "cred": "c"}),
		"context name":  cacheID(base, map[string]string{"Org": "a", "cred": "bc"}),
		"context less":  cacheID(base, map[string]string{"org": "a"}),
	} {
		if other, ok := seen[got]; ok {
			t.Errorf("%s has the id of %s", name, other)
		}
		seen[got] = name
	}
	if cacheID(base, map[string]string{"cred": "bc", "org": "a"}) != cacheID(base, ectx) {
		t.Error("the order of a context must not matter")
	}
}

func TestCacheLoadsOnceForManyCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newKeyCache(time.Now, rand.Reader)
		loads := 0
		release := make(chan struct{})
		load := func(context.Context) ([]byte, error) {
			loads++ // only one runs; the race detector would tell
			<-release
			return make([]byte, KeySize), nil
		}
		for range 20 {
			go func() {
				if key, _, err := c.get(context.Background(), id(1), load); err != nil || len(key) != KeySize {
					t.Errorf("%x, %v", key, err)
				}
			}()
		}
		synctest.Wait()
		close(release)
		synctest.Wait()
		if loads != 1 {
			t.Errorf("%d loads", loads)
		}
	})
}

// A caller that gives up does not take those down that wait for its load.
func TestCacheSurvivesAnAbandonedLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newKeyCache(time.Now, rand.Reader)
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			_, _, err := c.get(ctx, id(1), func(ctx context.Context) ([]byte, error) {
				<-ctx.Done()
				return nil, &KeyError{Reason: KeyTimeout, Err: ctx.Err()}
			})
			if ReasonOf(err) != KeyTimeout {
				t.Errorf("leader: %v", err)
			}
		}()
		synctest.Wait()
		go func() {
			key, _, err := c.get(context.Background(), id(1), func(context.Context) ([]byte, error) { return make([]byte, KeySize), nil })
			if err != nil || len(key) != KeySize {
				t.Errorf("follower: %v", err)
			}
		}()
		synctest.Wait()
		cancel()
		synctest.Wait()
	})
}

func TestCacheFollowersShareAnOutage(t *testing.T) {
	c := newKeyCache(time.Now, rand.Reader)
	f := &flight{done: make(chan struct{}), err: &KeyError{Reason: KeyThrottled}}
	c.flights[id(1)] = f
	close(f.done)
	_, _, err := c.get(context.Background(), id(1), func(context.Context) ([]byte, error) {
		t.Error("a follower called the service again")
		return nil, nil
	})
	if ReasonOf(err) != KeyThrottled {
		t.Errorf("%v", err)
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	c.flights[id(2)] = &flight{done: make(chan struct{})}
	if _, _, err := c.get(gone, id(2), nil); ReasonOf(err) != KeyTimeout || !errors.Is(err, context.Canceled) {
		t.Errorf("a follower that gave up: %v", err)
	}
}

func TestCacheRecoversFromAPanickingLoad(t *testing.T) {
	e := newCacheEnv(t, rand.Reader)
	func() {
		defer func() { _ = recover() }()
		_, _, _ = e.c.get(context.Background(), id(1), func(context.Context) ([]byte, error) { panic("x") })
	}()
	e.want(1, false)
}
