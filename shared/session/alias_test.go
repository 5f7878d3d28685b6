package session_test

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/session/sessiontest"
)

// story is what a vendor sends of people: messages that show ids, and news.
type story struct {
	*testing.T
	store *sessiontest.Memory
	p     session.People
}

func newStory(t *testing.T) *story {
	m := sessiontest.NewMemory()
	return &story{t, m, session.People{Store: m}}
}

func (s *story) says(id, beside, want string) {
	s.Helper()
	if got, err := s.p.Space(s.Context(), "i", id, beside); err != nil || got != want {
		s.Errorf("%s with %q: %q, %v; want %q", id, beside, got, err, want)
	}
}

func (s *story) renamed(r session.Renaming) {
	s.Helper()
	for range 2 {
		if err := s.p.Rename(s.Context(), "i", r); err != nil {
			s.Fatal(err)
		}
	}
}

func TestPeople(t *testing.T) {
	for name, tell := range map[string]func(*story){
		"the preferred id is the space": func(s *story) { s.says("US.1", "49", "US.1"); s.says("US.1", "", "US.1"); s.says("49", "", "US.1") },
		"a conversation under the number continues": func(s *story) {
			s.says("49", "", "49")
			s.says("US.1", "49", "49")
			s.says("US.1", "", "49")
			s.says("49", "", "49")
		},
		"two conversations: the preferred id's goes on": func(s *story) {
			s.says("49", "", "49")
			s.says("US.1", "", "US.1")
			s.says("US.1", "49", "US.1")
			s.says("49", "", "US.1")
		},
		"a number of somebody else": func(s *story) {
			s.says("US.1", "49", "US.1")
			s.says("US.2", "49", "US.2")
			s.says("49", "", "US.2")
			s.says("US.1", "", "US.1")
			s.says("US.1", "50", "US.1")
			s.says("50", "", "US.1")
		},
		"a number's conversation is not the next owner's": func(s *story) {
			s.says("49", "", "49")
			s.says("US.1", "49", "49")
			s.says("US.2", "49", "US.2")
		},
		"a new id continues": func(s *story) {
			s.says("US.1", "49", "US.1")
			s.renamed(session.Renaming{Old: "US.1", New: "US.2", OldBeside: "49", NewBeside: "50"})
			s.says("US.2", "50", "US.1")
			s.says("US.1", "", "US.1")
			s.says("50", "", "US.1")
			s.says("49", "", "49~2") // whoever has the number now
			s.says("US.3", "49", "49~2")
		},
		"the news comes late: the new id's conversation goes on": func(s *story) {
			s.says("US.1", "49", "US.1")
			s.says("US.2", "50", "US.2")
			s.renamed(session.Renaming{Old: "US.1", New: "US.2", OldBeside: "49", NewBeside: "50"})
			s.says("US.1", "", "US.2")
			s.says("US.2", "50", "US.2")
		},
		"news of a stranger": func(s *story) {
			s.renamed(session.Renaming{Old: "US.1", New: "US.2"})
			s.says("US.2", "", "US.1") // under which a conversation may have begun before ids were kept
			s.says("US.1", "", "US.1")
		},
		"known by the number only, then renamed": func(s *story) {
			s.says("49", "", "49")
			s.renamed(session.Renaming{Old: "US.1", New: "US.2", OldBeside: "49", NewBeside: "50"})
			s.says("US.2", "50", "49")
			s.says("49", "", "49~2")
		},
		"there and back again": func(s *story) {
			s.says("US.1", "", "US.1")
			s.renamed(session.Renaming{Old: "US.1", New: "US.2"})
			s.renamed(session.Renaming{Old: "US.2", New: "US.3"})
			s.renamed(session.Renaming{Old: "US.3", New: "US.1"})
			for _, id := range []string{"US.1", "US.2", "US.3"} {
				s.says(id, "", "US.1")
			}
		},
		"a number only": func(s *story) {
			s.says("49", "", "49")
			s.renamed(session.Renaming{OldBeside: "49", NewBeside: "50"})
			s.says("50", "", "49")
			s.says("49", "", "49~2")
			s.renamed(session.Renaming{OldBeside: "49", NewBeside: "50"})
			s.says("49", "", "49~2")
			s.renamed(session.Renaming{OldBeside: "77", NewBeside: "50"})
			s.says("50", "", "49")
		},
		"another number of the same id": func(s *story) {
			s.says("US.1", "49", "US.1")
			s.renamed(session.Renaming{Old: "US.1", New: "US.1", OldBeside: "49", NewBeside: "50"})
			s.says("50", "", "US.1")
			s.says("49", "", "49~2")
		},
	} {
		t.Run(name, func(t *testing.T) { tell(newStory(t)) })
	}
}

// TestPeopleStayTogether: whatever is shown in whatever order, once ids were shown
// together the person has one space, and never a stranger's.
func TestPeopleStayTogether(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := sessiontest.NewMemory()
		p := session.People{Store: m}
		people := map[string][2]string{"a": {"US.1", "49"}, "b": {"US.2", "50"}}
		owner := map[string]string{}
		together := map[string]string{}
		for range rapid.IntRange(1, 12).Draw(r, "messages") {
			who := rapid.SampledFrom([]string{"a", "b"}).Draw(r, "who")
			ids := people[who]
			id, beside := ids[0], ids[1]
			switch rapid.IntRange(0, 2).Draw(r, "shown") {
			case 0:
				id, beside = ids[1], ""
			case 1:
				beside = ""
			}
			space, err := p.Space(t.Context(), "i", id, beside)
			if err != nil {
				r.Fatal(err)
			}
			if o := owner[space]; o != "" && o != who {
				r.Fatalf("%s finds the conversation of %s", who, o)
			}
			owner[space] = who
			if was := together[who]; was != "" && was != space {
				r.Fatalf("%s finds %s after %s", who, space, was)
			}
			if beside != "" {
				together[who] = space
			}
		}
	})
}

// TestKnownPeopleCostOneRead: the request path has no more.
func TestKnownPeopleCostOneRead(t *testing.T) {
	s := newStory(t)
	s.says("US.1", "49", "US.1")
	calls := map[string]int{}
	s.store.Fail = func(method string) error { calls[method]++; return nil }
	s.says("US.1", "49", "US.1")
	s.says("US.1", "", "US.1")
	if calls["Alias"] != 2 || calls["PutAliases"] != 0 {
		t.Errorf("%v", calls)
	}
}

func TestPeopleErrors(t *testing.T) {
	s := newStory(t)
	down := fault.New(fault.Unavailable, "test", "x")
	s.store.Fail = func(string) error { return down }
	if _, err := s.p.Space(t.Context(), "i", "US.1", ""); !errors.Is(err, down) {
		t.Error(err)
	}
	if err := s.p.Rename(t.Context(), "i", session.Renaming{Old: "US.1", New: "US.2"}); !errors.Is(err, down) {
		t.Error(err)
	}
	s.store.Fail = func(m string) error {
		if m == "PutAliases" {
			return session.ErrMoved
		}
		return nil
	}
	if _, err := s.p.Space(t.Context(), "i", "US.1", ""); fault.CodeOf(err) != fault.Unavailable {
		t.Error(err)
	}
	if err := s.p.Rename(t.Context(), "i", session.Renaming{Old: "US.1", New: "US.2"}); fault.CodeOf(err) != fault.Unavailable {
		t.Error(err)
	}
	s.store.Fail = nil
	must := s.store.PutAliases(t.Context(), "i", session.Alias{ID: "x", Next: "y", Version: 1}, session.Alias{ID: "y", Next: "x", Version: 1})
	if _, err := s.p.Space(t.Context(), "i", "x", ""); must != nil || fault.CodeOf(err) != fault.Internal {
		t.Error(must, err)
	}
}
