// Package vaulttest holds what tests of the vault and of its users need: an
// in-memory [Store], an in-memory [KEK], and [Run], the suite that every pair of
// a store and a key service has to pass.
//
// It is imported by _test files and by no function. The KEK is real
// cryptography with keys that exist only in this process, so a test that passes
// with a wrong context or a changed ciphertext fails here as it does on AWS.
package vaulttest

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
)

// ErrInjected is the cause of every failure that a test asked for.
var ErrInjected = errors.New("vaulttest: injected failure")

var errRowExists = errors.New("vaulttest: there is an audit row with this id")

// Store is a [vault.Store] in memory. It is safe for concurrent use.
type Store struct {
	mu    sync.Mutex
	creds map[address]vault.Credential
	// FailWrite, if set, is asked before each write; see [WriteFault].
	failWrite func() WriteFault
	reads     int
	ring      vault.Ring
	rows      []audit.Row
}

type address struct {
	org   string
	class taxonomy.CredentialClass
	id    string
}

// WriteFault is what happens to one write.
type WriteFault int

// Write faults: none, lost before the commit, lost after the commit.
const (
	WriteOK WriteFault = iota
	FailBefore
	FailAfter
)

// NewStore returns an empty store.
func NewStore() *Store { return &Store{creds: map[address]vault.Credential{}} }

// FailWrites makes f decide the fate of every write; nil ends that.
func (s *Store) FailWrites(f func() WriteFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failWrite = f
}

// AuditRows returns the audit rows of an organisation in the order of writing.
func (s *Store) AuditRows(_ context.Context, org string) ([]audit.Row, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.rows), func(r audit.Row) bool { return r.Org != org }), nil
}

// Reads is the number of reads so far.
func (s *Store) Reads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads
}

// LoadClass implements [vault.Store].
func (s *Store) LoadClass(_ context.Context, org string, class taxonomy.CredentialClass) ([]vault.Credential, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	var out []vault.Credential
	for a, c := range s.creds {
		if a.org == org && a.class == class {
			out = append(out, copyCredential(c))
		}
	}
	slices.SortFunc(out, func(a, b vault.Credential) int { return cmp.Compare(a.Head.Ref.ID, b.Head.Ref.ID) })
	return out, nil
}

// Load implements [vault.Store].
func (s *Store) Load(_ context.Context, org string, class taxonomy.CredentialClass, id string) (vault.Credential, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	c, ok := s.creds[address{org, class, id}]
	if !ok {
		return vault.Credential{}, vault.ErrAbsent
	}
	return copyCredential(c), nil
}

// Head implements [vault.Store].
func (s *Store) Head(ctx context.Context, org string, class taxonomy.CredentialClass, id string) (vault.Head, error) {
	c, err := s.Load(ctx, org, class, id)
	return c.Head, err
}

// Heads implements [vault.Store].
func (s *Store) Heads(_ context.Context, org string) ([]vault.Head, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	var out []vault.Head
	for a, c := range s.creds {
		if a.org == org {
			out = append(out, copyCredential(c).Head)
		}
	}
	slices.SortFunc(out, func(a, b vault.Head) int {
		return cmp.Or(cmp.Compare(a.Ref.Class, b.Ref.Class), cmp.Compare(a.Ref.ID, b.Ref.ID))
	})
	return out, nil
}

// Ring implements [vault.Store].
func (s *Store) Ring(context.Context) (vault.Ring, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ring, nil
}

// SetRing stores a ring over the one before it; it fails with vault.ErrRing if
// the stored epoch is not the one before the new one's.
func (s *Store) SetRing(r vault.Ring) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ring.Epoch != r.Epoch-1 {
		return vault.ErrRing
	}
	s.ring = r
	return nil
}

// Page lists credentials like the store of package dynamo. The position is the
// last address of the page before.
func (s *Store) Page(_ context.Context, org, cursor string, limit int) ([]vault.Credential, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	var names []string
	byName := map[string]vault.Credential{}
	for a, c := range s.creds {
		name := a.org + "|" + string(a.class) + "#" + a.id
		if (org == "" || a.org == org) && name > cursor {
			names = append(names, name)
			byName[name] = c
		}
	}
	slices.Sort(names)
	next := ""
	if len(names) > limit {
		names = names[:limit]
		next = names[limit-1]
	}
	out := make([]vault.Credential, len(names))
	for i, n := range names {
		out[i] = copyCredential(byName[n])
	}
	return out, next, nil
}

// Edit changes a stored credential past every rule, as damage does.
func (s *Store) Edit(ref vault.Ref, f func(*vault.Credential)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := address{ref.Org, ref.Class, ref.ID}
	c := copyCredential(s.creds[a])
	f(&c)
	s.creds[a] = c
}

// Write implements [vault.Store].
func (s *Store) Write(_ context.Context, c vault.Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	fate := WriteOK
	if s.failWrite != nil {
		fate = s.failWrite()
	}
	if fate == FailBefore {
		return ErrInjected
	}
	if err := s.apply(c); err != nil {
		return err
	}
	if fate == FailAfter {
		return ErrInjected
	}
	return nil
}

// apply checks the record's conditions before the ring's, which is only told of
// if it alone does not hold.
func (s *Store) apply(c vault.Change) error {
	commit, err := s.prepare(c)
	if err != nil {
		return err
	}
	if c.Ring != nil && c.Ring.Epoch != s.ring.Epoch {
		return vault.ErrRing
	}
	commit()
	return nil
}

func (s *Store) prepare(c vault.Change) (commit func(), err error) {
	if r := c.Rewrap; r != nil {
		return s.rewrap(*r)
	}
	a := address{c.Head.Ref.Org, c.Head.Ref.Class, c.Head.Ref.ID}
	old, exists := s.creds[a]
	if exists != (c.Head.Epoch > 1) || exists && old.Head.Epoch != c.Head.Epoch-1 {
		return nil, vault.ErrLost
	}
	next := copyCredential(vault.Credential{Head: *c.Head, Versions: old.Versions})
	if c.Put != nil {
		if slices.ContainsFunc(old.Versions, func(v vault.Version) bool { return v.Number == c.Put.Number }) {
			return nil, vault.ErrLost
		}
		next.Versions = append(next.Versions, copyVersion(*c.Put))
	}
	next.Versions = slices.DeleteFunc(next.Versions, func(v vault.Version) bool { return slices.Contains(c.Delete, v.Number) })
	if c.Row != nil && slices.ContainsFunc(s.rows, func(r audit.Row) bool { return r.Org == c.Row.Org && r.ID == c.Row.ID && r.At.Equal(c.Row.At) }) {
		return nil, errRowExists
	}
	return func() {
		s.creds[a] = next
		if c.Row != nil {
			s.rows = append(s.rows, *c.Row)
		}
	}, nil
}

func (s *Store) rewrap(r vault.Rewrap) (commit func(), err error) {
	c := s.creds[address{r.Ref.Org, r.Ref.Class, r.Ref.ID}]
	for i, v := range c.Versions {
		if v.Number == r.Version.Number && v.Revision == r.FromRevision && v.Key.KEK == r.FromKey {
			return func() { c.Versions[i] = copyVersion(r.Version) }, nil
		}
	}
	return nil, vault.ErrLost
}

func copyCredential(c vault.Credential) vault.Credential {
	c.Head.Fields, c.Head.Drains = slices.Clone(c.Head.Fields), slices.Clone(c.Head.Drains)
	versions := make([]vault.Version, len(c.Versions))
	for i, v := range c.Versions {
		versions[i] = copyVersion(v)
	}
	c.Versions = versions
	return c
}

func copyVersion(v vault.Version) vault.Version {
	v.Key.Blob = slices.Clone(v.Key.Blob)
	v.Context = maps.Clone(v.Context)
	fields := make(map[string]vault.Sealed, len(v.Fields))
	for name, f := range v.Fields {
		f.Ciphertext = slices.Clone(f.Ciphertext)
		fields[name] = f
	}
	v.Fields = fields
	return v
}
