package billing

import (
	"context"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
)

// shelf is a BookStore in memory that counts reads.
type shelf struct {
	BookStore
	index Index
	book  *Book
	books int
}

func (s *shelf) Index(context.Context) (Index, error) { return s.index, nil }

func (s *shelf) Book(_ context.Context, version string) (*Book, error) {
	s.books++
	if s.book == nil || version != s.book.Version {
		return nil, fault.New(fault.NotFound, "test", "no")
	}
	return s.book, nil
}

func TestPrices(t *testing.T) {
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	s := &shelf{}
	p := NewPrices(s)
	b, err := p.At(t.Context(), s.index, now)
	if err != nil || b.Priced("p", "m") {
		t.Fatalf("empty: %v", err)
	}
	s.book = testBook(t, row("m", InputText, 1))
	s.index.Activations = []Activation{{Version: "v1", From: now}}
	// An activation applies to the very next request; the book is read once.
	for range 3 {
		if b, err = p.At(t.Context(), s.index, now); err != nil || b.Version != "v1" {
			t.Fatalf("book: %v", err)
		}
	}
	if s.books != 1 {
		t.Fatalf("%d book reads", s.books)
	}
	// A scheduled version applies from its instant, with both books in the cache.
	begins := now.Add(time.Hour)
	first, second := s.book, *s.book
	second.Version = "v2"
	s.book = &second
	if _, err := p.Version(t.Context(), "v2"); err != nil {
		t.Fatal(err)
	}
	s.index.Activations = append(s.index.Activations, Activation{Version: "v2", From: begins})
	for at, want := range map[time.Time]string{begins.Add(-time.Nanosecond): first.Version, begins: "v2", begins.Add(time.Nanosecond): "v2"} {
		if b, err = p.At(t.Context(), s.index, at); err != nil || b.Version != want {
			t.Errorf("at %s: %s %v, want %s", at, b.Version, err, want)
		}
	}
	if s.books != 2 {
		t.Errorf("%d book reads", s.books)
	}
	if _, err := p.Version(t.Context(), "nope"); fault.CodeOf(err) != fault.NotFound {
		t.Fatalf("unknown version: %v", err)
	}
}
