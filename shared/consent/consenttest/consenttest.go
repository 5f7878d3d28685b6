// Package consenttest holds the contract of the stores of package consent as a
// suite, and an in-memory implementation of it.
package consenttest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/consent"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Memory implements [consent.Store].
type Memory struct {
	mu     sync.Mutex
	states map[string]consent.State
	// Rows are the audit rows written.
	Rows []audit.Row
	// Fail, if set, is asked before every call with the method's name.
	Fail func(method string) error
}

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{states: map[string]consent.State{}} }

func (m *Memory) failing(method string) error {
	if m.Fail == nil {
		return nil
	}
	return m.Fail(method)
}

// PutConsent implements [consent.Store].
func (m *Memory) PutConsent(_ context.Context, st consent.State, row audit.Row) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.failing("PutConsent"); err != nil {
		return err
	}
	m.states[st.Hash], m.Rows = st, append(m.Rows, row)
	return nil
}

// Consent implements [consent.Store].
func (m *Memory) Consent(_ context.Context, hash string) (consent.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.failing("Consent"); err != nil {
		return consent.State{}, err
	}
	st, ok := m.states[hash]
	if !ok {
		return consent.State{}, fault.New(fault.NotFound, "consenttest", "nothing was begun with this state")
	}
	return st, nil
}

// UseConsent implements [consent.Store].
func (m *Memory) UseConsent(_ context.Context, st consent.State, row audit.Row) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.failing("UseConsent"); err != nil {
		return err
	}
	have, ok := m.states[st.Hash]
	if !ok || have.Used || have.Org != st.Org {
		return fault.New(fault.Conflict, "consenttest", "used")
	}
	have.Used = true
	m.states[st.Hash], m.Rows = have, append(m.Rows, row)
	return nil
}

// Run checks a store.
func Run(t *testing.T, s consent.Store) {
	t.Helper()
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	st := consent.State{Hash: "h1", Org: "o1", Provider: taxonomy.Slack, App: "app_1", Install: "i1", By: "key:k1", At: at, Expires: at.Add(consent.Lifetime)}
	row := func(n int) audit.Row {
		return audit.Op{Actor: "key:k1", ID: fmt.Sprintf("op%d", n), At: at}.Row("o1", "oauth.begin", "i1")
	}
	ctx := t.Context()
	if _, err := s.Consent(ctx, "h1"); fault.CodeOf(err) != fault.NotFound {
		t.Fatal(err)
	}
	if err := s.UseConsent(ctx, st, row(0)); fault.CodeOf(err) != fault.Conflict {
		t.Fatal("a state that was never begun:", err)
	}
	if err := s.PutConsent(ctx, st, row(1)); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Consent(ctx, "h1"); err != nil || got != st {
		t.Fatalf("%+v %v", got, err)
	}
	other := st
	other.Org = "o2"
	if err := s.UseConsent(ctx, other, row(2)); fault.CodeOf(err) != fault.Conflict {
		t.Fatal("another organisation's:", err)
	}
	const together = 8
	used := make(chan error, together)
	for n := range together {
		go func() { used <- s.UseConsent(ctx, st, row(10+n)) }()
	}
	won := 0
	for range together {
		switch err := <-used; {
		case err == nil:
			won++
		case fault.CodeOf(err) != fault.Conflict:
			t.Error(err)
		}
	}
	st.Used = true
	if got, err := s.Consent(ctx, "h1"); won != 1 || err != nil || got != st {
		t.Fatalf("used %d times, %+v %v", won, got, err)
	}
}
