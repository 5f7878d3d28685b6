package vault

import (
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"sync"
	"time"
)

// Limits of the data key cache. Entries live 300 s ± 10 % of wall clock time,
// so that the copies of many environments do not expire together.
const (
	cacheTTL     = 300 * time.Second
	cacheJitter  = 30 * time.Second
	cacheUses    = 1000
	cacheEntries = 256
	// refusalTTL keeps a denied or disabled key from being asked for in a storm.
	refusalTTL = 5 * time.Second
)

// keyCache holds unwrapped data keys, never secrets. A data key is overwritten
// when it leaves the cache; callers get copies that they clear.
type keyCache struct {
	now  func() time.Time
	rand io.Reader

	mu      sync.Mutex
	entries map[[sha256.Size]byte]*list.Element
	recent  *list.List // front = most recently used
	flights map[[sha256.Size]byte]*flight
}

type cacheEntry struct {
	id      [sha256.Size]byte
	key     []byte
	refused error // set instead of key
	loaded  time.Time
	expires time.Time
	uses    int
}

// flight is one unwrapping that others wait for.
type flight struct {
	done chan struct{}
	err  error
	// abandoned: the leader's own context ended, which says nothing about the key.
	abandoned bool
}

func newKeyCache(now func() time.Time, rand io.Reader) *keyCache {
	return &keyCache{
		now: now, rand: rand, recent: list.New(),
		entries: map[[sha256.Size]byte]*list.Element{}, flights: map[[sha256.Size]byte]*flight{},
	}
}

// cacheID is the full hash over the wrapped key, who wrapped it and the
// context: two keys never share an entry, and a key is not found under another
// context.
func cacheID(key WrappedKey, ectx map[string]string) [sha256.Size]byte {
	return sha256.Sum256(lengthPrefixed(string(key.Blob), key.KEK, string(canonicalContext(ectx))))
}

// get returns a copy of the data key, from the cache or from load. Concurrent
// callers of one id share one load. Errors are those of load or of ctx.
func (c *keyCache) get(ctx context.Context, id [sha256.Size]byte, load func(context.Context) ([]byte, error)) (key []byte, hit bool, err error) {
	for {
		c.mu.Lock()
		if e := c.lookup(id); e != nil {
			key, err = c.take(e)
			c.mu.Unlock()
			return key, true, err
		}
		f, running := c.flights[id]
		if !running {
			f = &flight{done: make(chan struct{})}
			c.flights[id] = f
			c.mu.Unlock()
			key, err = c.lead(ctx, id, f, load)
			return key, false, err
		}
		c.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, false, &KeyError{Reason: KeyTimeout, Err: ctx.Err()}
		case <-f.done:
			if f.err != nil && !f.abandoned {
				return nil, false, f.err
			}
		}
	}
}

// lead unwraps the key for everybody who waits for f.
func (c *keyCache) lead(ctx context.Context, id [sha256.Size]byte, f *flight, load func(context.Context) ([]byte, error)) (key []byte, err error) {
	finished := false
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.flights, id)
		f.err, f.abandoned = err, ctx.Err() != nil || !finished
		close(f.done)
	}()
	loaded, err := load(ctx)
	finished = true
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		if r := ReasonOf(err); r == KeyAccessDenied || r == KeyDisabled {
			c.put(&cacheEntry{id: id, refused: err}, refusalTTL)
		}
		return nil, err
	}
	// The entry owns loaded from here on and clears it; the caller gets a copy.
	e := &cacheEntry{id: id, key: loaded}
	c.put(e, cacheTTL+c.jitter())
	return c.take(e)
}

// lookup returns the fresh entry, or nil after dropping a stale one. A wall
// clock that went back makes an entry stale: its age is unknown.
func (c *keyCache) lookup(id [sha256.Size]byte) *cacheEntry {
	el, ok := c.entries[id]
	if !ok {
		return nil
	}
	e := el.Value.(*cacheEntry)
	now := c.wall()
	if now.Before(e.loaded) || !now.Before(e.expires) {
		c.drop(el)
		return nil
	}
	c.recent.MoveToFront(el)
	return e
}

// take counts a use and copies the key; the last use drops the entry.
func (c *keyCache) take(e *cacheEntry) ([]byte, error) {
	if e.refused != nil {
		return nil, e.refused
	}
	out := make([]byte, len(e.key))
	copy(out, e.key)
	if e.uses++; e.uses >= cacheUses {
		if el, ok := c.entries[e.id]; ok {
			c.drop(el)
		}
	}
	return out, nil
}

func (c *keyCache) put(e *cacheEntry, ttl time.Duration) {
	if el, ok := c.entries[e.id]; ok {
		c.drop(el)
	}
	e.loaded = c.wall()
	e.expires = e.loaded.Add(ttl)
	c.entries[e.id] = c.recent.PushFront(e)
	if c.recent.Len() > cacheEntries {
		c.drop(c.recent.Back())
	}
}

func (c *keyCache) drop(el *list.Element) {
	e := c.recent.Remove(el).(*cacheEntry)
	delete(c.entries, e.id)
	clear(e.key)
}

// wall strips the monotonic reading: in a frozen environment it may stand
// still, and a key must not outlive its time there.
func (c *keyCache) wall() time.Time { return c.now().Round(0) }

// jitter is spread over ± cacheJitter. Without randomness it shortens the
// entry's life, the safe side.
func (c *keyCache) jitter() time.Duration {
	var b [4]byte
	if _, err := io.ReadFull(c.rand, b[:]); err != nil {
		return -cacheJitter
	}
	const width = 2 * cacheJitter / time.Millisecond // nanoseconds would overflow
	return time.Duration(binary.BigEndian.Uint32(b[:]))*width>>32*time.Millisecond - cacheJitter
}
