package billing

import (
	"context"
	"sync"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
)

// Activation says from when a version applies.
type Activation struct {
	Version string
	From    time.Time
}

// Listing describes a stored version.
type Listing struct {
	Version       string
	Seq           int64
	EffectiveFrom time.Time
	Created       time.Time
	Rows          int
}

// Index is the list of stored versions and of activations, both in the order in
// which they were made.
type Index struct {
	Books       []Listing
	Activations []Activation
}

// At returns the version that applies at t, "" if none: the latest start that is
// not after t, the later activation where two start together.
func (ix Index) At(t time.Time) string {
	var best Activation
	for _, a := range ix.Activations {
		if !a.From.After(t) && !a.From.Before(best.From) {
			best = a
		}
	}
	return best.Version
}

// Scheduled returns the first activation after t of a version other than the one
// that applies at t; ok is false if nothing is to come.
func (ix Index) Scheduled(t time.Time) (next Activation, ok bool) {
	now := ix.At(t)
	for _, a := range ix.Activations {
		if a.From.After(t) && ix.At(a.From) == a.Version && a.Version != now && (!ok || a.From.Before(next.From)) {
			next, ok = a, true
		}
	}
	return next, ok
}

// BookStore keeps price books.
type BookStore interface {
	// Index returns all versions and activations.
	Index(ctx context.Context) (Index, error)
	// Book returns one version; not_found if there is none.
	Book(ctx context.Context, version string) (*Book, error)
	// Import lays rows over the book that applies at effectiveFrom, or at now if
	// that is later, and stores the result as a new version, activated from its
	// effective time if activate is set. A zero effectiveFrom is now. What is
	// scheduled for later is not changed by it; see [Index.Scheduled]. A version
	// that changed meanwhile is conflict.
	// The audit row that row makes for the version is written with the index: a
	// version is listed together with its row or not at all.
	Import(ctx context.Context, rows []Row, effectiveFrom, now time.Time, activate bool, row func(version string) audit.Row) (*Book, error)
	// Activate makes a stored version apply from its effective time, or from now
	// if that has passed, and writes row with it.
	Activate(ctx context.Context, version string, now time.Time, row audit.Row) error
}

// Prices keeps books in front of a [BookStore]. The index is read with each
// request, so that an activated price applies to the next one; a book is
// immutable and kept. Safe for concurrent use.
type Prices struct {
	store BookStore

	mu    sync.Mutex
	books map[string]*Book
}

// NewPrices returns an empty cache.
func NewPrices(store BookStore) *Prices { return &Prices{store: store, books: map[string]*Book{}} }

// At returns the book that the index names for now. A book without rows is
// returned when nothing is active, so that every model is price_missing. Errors
// are those of the store.
func (p *Prices) At(ctx context.Context, index Index, now time.Time) (*Book, error) {
	version := index.At(now)
	if version == "" {
		return NewBook("", time.Time{}, nil)
	}
	return p.Version(ctx, version)
}

// maxCached bounds the versions kept; more are not needed at a time.
const maxCached = 16

// Version returns one version, from the cache if it was read before.
func (p *Prices) Version(ctx context.Context, version string) (*Book, error) {
	p.mu.Lock()
	b := p.books[version]
	p.mu.Unlock()
	if b != nil {
		return b, nil
	}
	b, err := p.store.Book(ctx, version)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	if len(p.books) >= maxCached {
		clear(p.books)
	}
	p.books[version] = b
	p.mu.Unlock()
	return b, nil
}
