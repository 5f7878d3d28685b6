// Package keyset fetches and keeps the key sets that vendors publish for
// verifying their requests.
//
// A set is fetched when the first request needs it, from the address that its
// channel's entry states and nowhere else, and kept in memory for a day. A request
// whose token names a key that is not in the set has it fetched again, at most once
// an hour: whoever sends made-up names gets no more than that. When fetching fails,
// the set that is there serves on; without one the requests that need it are
// refused as unavailable. After a failure nothing is fetched for a while, so that a
// vendor that is down does not hold up every request for the time of a fetch.
//
// A fetch takes at most a second and a half and its answer at most 256 KB; several
// requests that need one wait for the same. The sets are those of the entries, so
// memory is bounded. The clock is the request's. Safe for concurrent use.
//
// Not done: what an answer's caching headers say is not looked at. A key that its
// vendor takes back verifies until the set is a day old.
package keyset

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/latchkey/latchkey/shared/model/jsonwire"
	"github.com/latchkey/latchkey/shared/webhook"
)

const (
	// fresh is how long a set serves without being fetched again.
	fresh = 24 * time.Hour
	// perUnknown is the least time between two fetches for a key that is not there.
	perUnknown = time.Hour
	// afterFailure is the pause after a fetch that failed: with a set to go on with,
	// and without one.
	afterFailure, whileEmpty = time.Minute, 5 * time.Second
	fetchTime                = 1500 * time.Millisecond
	maxAnswer                = 256 << 10
)

// Source is where a set is published.
type Source struct {
	// Name is the set's name for [webhook.KeySets].
	Name string
	// Base is the address of the vendor's interface without a trailing slash, Path
	// what lies below it.
	Base, Path string
	// Metadata says that the path answers OpenID metadata, whose jwks_uri names the
	// set's address, which must lie at Base as well.
	Metadata bool
}

// Sets are the sets of some sources.
type Sets struct {
	client *http.Client
	held   map[string]*set
}

// set is one source with what it published last.
type set struct {
	Source
	mu   sync.Mutex
	keys []webhook.Key
	// at is when keys were fetched, tried when that was tried last, failed or not,
	// unknown when it was tried for a key that was not there.
	at, tried, unknown time.Time
	failed             bool
}

// New returns sets of which none is fetched yet. client must reach nothing but the
// sources' hosts.
func New(client *http.Client, sources ...Source) *Sets {
	s := &Sets{client: client, held: map[string]*set{}}
	for _, src := range sources {
		s.held[src.Name] = &set{Source: src}
	}
	return s
}

// For returns the sets for one request, whose time now is.
func (s *Sets) For(ctx context.Context, now time.Time) webhook.KeySets { return request{s, ctx, now} }

type request struct {
	sets *Sets
	ctx  context.Context //nolint:containedctx // it lives as long as the request
	now  time.Time
}

// KeySet implements [webhook.KeySets].
func (r request) KeySet(name, kid string) ([]webhook.Key, bool) {
	s := r.sets.held[name]
	if s == nil {
		return nil, false
	}
	// Held while fetching: the others need the same answer.
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.due(kid, r.now) {
		s.fetch(r.ctx, r.sets.client, r.now)
	}
	return s.keys, len(s.keys) > 0
}

// due reports whether the set is to be fetched, and notes that an unknown key was
// the reason. A clock that went back leaves an age unknown.
func (s *set) due(kid string, now time.Time) bool {
	since := func(t time.Time) time.Duration {
		if d := now.Sub(t); d >= 0 {
			return d
		}
		return fresh
	}
	if len(s.keys) == 0 {
		return s.tried.IsZero() || since(s.tried) >= whileEmpty
	}
	if s.failed && since(s.tried) < afterFailure {
		return false
	}
	if since(s.at) >= fresh {
		return true
	}
	for _, k := range s.keys {
		if k.ID == kid {
			return false
		}
	}
	if kid == "" || !s.unknown.IsZero() && since(s.unknown) < perUnknown {
		return false
	}
	s.unknown = now
	return true
}

func (s *set) fetch(ctx context.Context, client *http.Client, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	keys, err := s.ask(ctx, client)
	s.tried, s.failed = now, err != nil
	if err != nil {
		s.unknown = time.Time{} // the pause after a failure is what bounds the next
		return
	}
	s.keys, s.at = keys, now
}

var errAnswer = errors.New("keyset: no set at its address")

func (s *set) ask(ctx context.Context, client *http.Client) ([]webhook.Key, error) {
	address := s.Base + s.Path
	if s.Metadata {
		b, err := get(ctx, client, address)
		if err != nil {
			return nil, err
		}
		if address = s.named(b); address == "" {
			return nil, errAnswer
		}
	}
	b, err := get(ctx, client, address)
	if err != nil {
		return nil, err
	}
	if keys, err := webhook.ParseKeySet(b); err == nil {
		return keys, nil
	}
	return webhook.ParseCertificates(b)
}

// named is the address that metadata names, "" if it names none of the source.
func (s *set) named(metadata []byte) string {
	var m struct {
		URI string `json:"jwks_uri"`
	}
	if jsonwire.Check(metadata) != nil || json.Unmarshal(metadata, &m) != nil {
		return ""
	}
	base, err1 := url.Parse(s.Base)
	u, err2 := url.Parse(m.URI)
	if err1 != nil || err2 != nil || u.User != nil || u.Scheme != base.Scheme || !strings.EqualFold(u.Host, base.Host) {
		return ""
	}
	return m.URI
}

func get(ctx context.Context, client *http.Client, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, errAnswer
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, errAnswer // what it says holds the address
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil || resp.StatusCode != http.StatusOK || len(b) > maxAnswer {
		return nil, errAnswer
	}
	return b, nil
}
