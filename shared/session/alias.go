package session

import (
	"context"
	"errors"
	"strconv"

	"github.com/latchkey/latchkey/shared/fault"
)

// Alias is what is known of one id of a person at one install. A vendor may give
// a person several ids, and show now one of them, now another, now both.
type Alias struct {
	ID string
	// Next is the id that stands for the person instead of this one, else empty.
	Next string
	// Space is the person's conversation where there is no Next: the space of
	// their routing keys. It is the first id that they were known by, so that a
	// conversation outlives its ids.
	Space string
	// Beside is the last other id that came together with this one.
	Beside string
	// Version is zero if nothing is known.
	Version int64
}

// Aliases keeps the ids of people by install.
type Aliases interface {
	// Alias reads one id, consistently. Nothing known is no error.
	Alias(ctx context.Context, install, id string) (Alias, error)
	// PutAliases writes all rows or none. Each is the successor of the one that
	// was read: a row whose stored version is not one less fails with [ErrMoved].
	PutAliases(ctx context.Context, install string, rows ...Alias) error
}

// ErrMoved says that an alias was changed at the same time.
var ErrMoved = errors.New("session: an alias was changed at the same time")

// People finds the conversation of a person who has several ids.
//
// Guarantees: whatever ids a message shows, and however many are handled at once,
// messages of one person find one space from the moment on at which the vendor
// has told that the ids are one person's; a conversation that began under one id
// is continued under the other. Where both had a conversation before, the
// preferred id's goes on and the other is left as it was. A number that passes to
// somebody else never takes the conversation with it.
//
// A known person costs one read, a new one a read and a write more.
type People struct{ Store Aliases }

// Bounds of a change that meets others, and of a chain of replaced ids.
const (
	aliasTries = 8
	aliasHops  = 16
)

// Space returns the space of the person with the id, which the vendor prefers,
// and another one shown beside it, empty for none. Errors: those of the store;
// unavailable if the row is changed all the time.
func (p People) Space(ctx context.Context, install, id, beside string) (string, error) {
	for range aliasTries {
		space, err := p.space(ctx, install, id, beside)
		if !errors.Is(err, ErrMoved) {
			return space, err
		}
	}
	return "", busy()
}

func busy() error {
	return fault.New(fault.Unavailable, "session.People", "the person's ids are being changed, try again")
}

func (p People) space(ctx context.Context, install, id, beside string) (string, error) {
	a, err := p.Store.Alias(ctx, install, id)
	if err != nil {
		return "", err
	}
	if a.Version > 0 && (beside == "" || a.Beside == beside) {
		return p.root(ctx, install, a)
	}
	rows := []Alias{}
	if beside != "" {
		o, err := p.Store.Alias(ctx, install, beside)
		if err != nil {
			return "", err
		}
		if a.Version == 0 {
			a.Space = o.Space // began under the other id; none if that is somebody else's
		}
		rows = append(rows, Alias{ID: beside, Next: id, Version: o.Version + 1})
		a.Beside = beside
	}
	if a.Version == 0 && a.Space == "" {
		a.Space = id
	}
	a.ID, a.Version = id, a.Version+1
	if err := p.Store.PutAliases(ctx, install, append(rows, a)...); err != nil {
		return "", err
	}
	return p.root(ctx, install, a)
}

// root follows replaced ids.
func (p People) root(ctx context.Context, install string, a Alias) (string, error) {
	for range aliasHops {
		if a.Next == "" {
			return a.Space, nil
		}
		var err error
		if a, err = p.Store.Alias(ctx, install, a.Next); err != nil {
			return "", err
		}
		if a.Version == 0 {
			break
		}
	}
	return "", fault.New(fault.Internal, "session.People", "internal error, try again later")
}

// Renaming is a vendor's news that a person has other ids. Preferred ids and the
// ones beside them may be missing, but not all of a side.
type Renaming struct {
	Old, New             string
	OldBeside, NewBeside string
}

// Rename takes the person's conversation to the new ids. It is promoted only when
// that is safe: if the new id has a conversation of its own already, that one
// goes on and the old one is left. The old id beside is freed: whoever shows it
// next begins a conversation. Repeating it changes nothing. Errors as [People.Space].
func (p People) Rename(ctx context.Context, install string, r Renaming) error {
	for range aliasTries {
		if err := p.rename(ctx, install, r); !errors.Is(err, ErrMoved) {
			return err
		}
	}
	return busy()
}

func (p People) rename(ctx context.Context, install string, r Renaming) error {
	if r.Old == "" || r.New == "" || r.Old == r.New {
		return p.renumber(ctx, install, r)
	}
	old, err := p.Store.Alias(ctx, install, r.Old)
	if err != nil {
		return err
	}
	next, err := p.Store.Alias(ctx, install, r.New)
	if err != nil || old.Next == r.New {
		return err
	}
	if one, err := p.reaches(ctx, install, next, r.Old); err != nil || one {
		return err
	}
	beside := Alias{}
	if r.OldBeside != "" && r.OldBeside != r.NewBeside {
		if beside, err = p.Store.Alias(ctx, install, r.OldBeside); err != nil {
			return err
		}
	}
	rows := []Alias{{ID: r.Old, Next: r.New, Version: old.Version + 1}}
	numbered := old.Version == 0 && beside.Version > 0 && beside.Next == "" // known by the other id only
	if next.Version == 0 {
		space := r.Old
		switch {
		case numbered:
			space = beside.Space
		case old.Version > 0:
			if space, err = p.root(ctx, install, old); err != nil {
				return err
			}
		}
		rows = append(rows, Alias{ID: r.New, Space: space, Version: 1})
	}
	if numbered || beside.Version > 0 && beside.Next == r.Old {
		rows = append(rows, freed(r.OldBeside, beside.Version, r.NewBeside))
	}
	return p.Store.PutAliases(ctx, install, rows...)
}

// reaches reports whether a's chain of replacements leads to id.
func (p People) reaches(ctx context.Context, install string, a Alias, id string) (bool, error) {
	for range aliasHops {
		if a.Next == "" || a.Next == id {
			return a.Next == id, nil
		}
		var err error
		if a, err = p.Store.Alias(ctx, install, a.Next); err != nil {
			return false, err
		}
	}
	return true, nil // longer than any chain that is followed: not made longer
}

// renumber is the news that only the id beside the preferred one has changed, or
// of a vendor that shows no other.
func (p People) renumber(ctx context.Context, install string, r Renaming) error {
	if r.OldBeside == "" || r.NewBeside == "" || r.OldBeside == r.NewBeside {
		return nil
	}
	old, err := p.Store.Alias(ctx, install, r.OldBeside)
	if err != nil || old.Version == 0 || old.Next == "" && old.Beside == r.NewBeside {
		return err // nobody's, or done
	}
	next, err := p.Store.Alias(ctx, install, r.NewBeside)
	if err != nil {
		return err
	}
	rows := []Alias{freed(r.OldBeside, old.Version, r.NewBeside)}
	if next.Version == 0 {
		rows = append(rows, Alias{ID: r.NewBeside, Next: old.Next, Space: old.Space, Version: 1})
	}
	return p.Store.PutAliases(ctx, install, rows...)
}

// freed is an id of nobody known, since its person went on to another: its next
// conversation has a name that no earlier one had.
func freed(id string, version int64, to string) Alias {
	return Alias{ID: id, Space: id + "~" + strconv.FormatInt(version+1, 10), Beside: to, Version: version + 1}
}
