package sessiontest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/latchkey/latchkey/shared/session"
)

// Alias implements [session.Aliases].
func (m *Memory) Alias(ctx context.Context, install, id string) (session.Alias, error) {
	unlock, err := m.lock(ctx, "Alias")
	if err != nil {
		return session.Alias{}, err
	}
	defer unlock()
	a := m.aliases[install+"#"+id]
	a.ID = id
	return a, nil
}

// PutAliases implements [session.Aliases].
func (m *Memory) PutAliases(ctx context.Context, install string, rows ...session.Alias) error {
	unlock, err := m.lock(ctx, "PutAliases")
	if err != nil {
		return err
	}
	defer unlock()
	for _, a := range rows {
		if m.aliases[install+"#"+a.ID].Version != a.Version-1 {
			return session.ErrMoved
		}
	}
	for _, a := range rows {
		m.aliases[install+"#"+a.ID] = a
	}
	return nil
}

func aliasRows(t *testing.T, s Store) {
	ctx := t.Context()
	read := func(install, id string, want session.Alias) {
		t.Helper()
		if got, err := s.Alias(ctx, install, id); err != nil || got != want {
			t.Fatalf("%+v %v, want %+v", got, err, want)
		}
	}
	read("a1", "49|15", session.Alias{ID: "49|15"})
	one, two := session.Alias{ID: "49|15", Next: "US.1", Version: 1}, session.Alias{ID: "US.1", Space: "US.1", Beside: "49|15", Version: 1}
	if err := s.PutAliases(ctx, "a1", one, two); err != nil {
		t.Fatal(err)
	}
	read("a1", "49|15", one)
	read("a1", "US.1", two)
	read("a2", "US.1", session.Alias{ID: "US.1"})
	third := session.Alias{ID: "US.3", Space: "x", Version: 1}
	for name, stale := range map[string]session.Alias{"exists": two, "two ahead": {ID: "US.1", Space: "x", Version: 3}, "absent": {ID: "US.4", Space: "x", Version: 2}} {
		if err := s.PutAliases(ctx, "a1", third, stale); !errors.Is(err, session.ErrMoved) {
			t.Fatalf("%s: %v", name, err)
		}
	}
	read("a1", "US.3", session.Alias{ID: "US.3"})
	two.Space, two.Version = "other", 2
	if err := s.PutAliases(ctx, "a1", two); err != nil {
		t.Fatal(err)
	}
	read("a1", "US.1", two)
}

// people: whatever is written at once, one person's messages find one space.
func people(t *testing.T, s Store) {
	ctx := t.Context()
	p := session.People{Store: s}
	for round := range 12 {
		install := fmt.Sprintf("p%d", round)
		kinds := [][2]string{{"49", ""}, {"US.1", "49"}, {"US.1", "49"}, {"49", ""}}
		spaces := make([]string, len(kinds))
		var group sync.WaitGroup
		for i, k := range kinds {
			group.Go(func() {
				var err error
				if spaces[i], err = p.Space(ctx, install, k[0], k[1]); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		for i, space := range spaces {
			if space != spaces[0] || space != "49" && space != "US.1" {
				t.Fatalf("round %d: message %d finds %q, the first %q", round, i, space, spaces[0])
			}
		}
		// Twice the same news at once, and messages under either id meanwhile.
		for range 3 {
			group.Go(func() {
				if err := p.Rename(ctx, install, session.Renaming{Old: "US.1", New: "US.2", OldBeside: "49", NewBeside: "50"}); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		for _, k := range [][2]string{{"US.1", ""}, {"US.2", ""}, {"US.2", "50"}, {"50", ""}} {
			if space, err := p.Space(ctx, install, k[0], k[1]); err != nil || space != spaces[0] {
				t.Fatalf("round %d: %v finds %q, %v; want %q", round, k, space, err, spaces[0])
			}
		}
	}
}
