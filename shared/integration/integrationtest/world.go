package integrationtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/integration"
	"github.com/latchkey/latchkey/shared/integration/legacycipher"
	"github.com/latchkey/latchkey/shared/integration/opener"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

// Org is the organisation of every test.
const Org = "o1"

// KeyText is the legacy cipher's key of every test, as the origin holds it.
const KeyText = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// World is one store with everything around it.
type World struct {
	testing.TB
	Store   integration.Store
	KEK     vault.KEK
	Clock   *vaulttest.Clock
	Service *integration.Service
	Vault   *vault.Vault

	mu     sync.Mutex
	ids    int
	events []opener.Event
}

// NewWorld builds a world over a store and a key service, with the legacy key
// stored.
func NewWorld(t testing.TB, store integration.Store, kek vault.KEK) *World {
	w := &World{TB: t, Store: store, KEK: kek, Clock: vaulttest.NewClock()}
	var err error
	if w.Vault, err = w.Seal(store.Paired(integration.Change{})); err != nil {
		t.Fatal(err)
	}
	w.Service = &integration.Service{Store: store, Seal: w.Seal, Hash: w.Vault, NewID: w.NewID}
	if err := w.Service.PutLegacyKey(context.Background(), w.Op(), secret.FromString(KeyText)); err != nil {
		t.Fatal(err)
	}
	return w
}

// Seal is an [integration.Sealer].
func (w *World) Seal(s vault.Store) (*vault.Vault, error) {
	return vault.New(vault.Options{Store: s, KEK: w.KEK, Fields: vaulttest.Fields(), Now: w.Clock.Now, App: "latchkey", Stage: "test"})
}

// NewID makes ids that are unique in the world.
func (w *World) NewID(time.Time) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ids++
	return fmt.Sprintf("id%06d", w.ids)
}

// Op is a new operation of a person.
func (w *World) Op() audit.Op {
	return audit.Op{Actor: "key:test", ID: w.NewID(time.Time{}), At: w.Clock.Now()}
}

// Opener returns a new process over store, the world's own for nil.
func (w *World) Opener(store integration.Store) *opener.Opener {
	w.Helper()
	if store == nil {
		store = w.Store
	}
	v, err := w.Seal(store.Paired(integration.Change{}))
	if err != nil {
		w.Fatal(err)
	}
	o, err := opener.New(opener.Options{Store: store, Vault: v, Seal: w.Seal, LegacyKey: opener.KeyFromVault(v), Now: w.Clock.Now,
		NewID: w.NewID, Random: rand.Reader, Actor: "function:test", OnEvent: func(e opener.Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, e)
		}})
	if err != nil {
		w.Fatal(err)
	}
	return o
}

// Events returns what happened since the last call.
func (w *World) Events() []opener.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.events
	w.events = nil
	return out
}

// Saw reports whether the events hold one.
func Saw(events []opener.Event, what opener.What, reason integration.Reason) bool {
	return slices.ContainsFunc(events, func(e opener.Event) bool { return e.What == what && e.Reason == reason })
}

// Legacy makes a field as the old store holds it.
func (w *World) Legacy(name string, shape integration.Shape, value secret.Text) integration.LegacyField {
	w.Helper()
	f := integration.LegacyField{Name: name, Shape: shape, Stored: value}
	if shape != integration.ShapeCipher {
		return f
	}
	key, err := legacycipher.ParseKey([]byte(KeyText))
	if err == nil {
		err = value.Use(func(plain []byte) error {
			stored, err := legacycipher.Seal(rand.Reader, key, plain)
			f.Stored = secret.New(stored)
			return err
		})
	}
	if err != nil {
		w.Fatal(err)
	}
	return f
}

// Import imports one row of values in one shape.
func (w *World) Import(id string, shape integration.Shape, values integration.Values) {
	w.Helper()
	row := integration.Row{ID: id, Provider: "hubspot", Label: "CRM"}
	for _, name := range values.Names() {
		row.Fields = append(row.Fields, w.Legacy(name, shape, values[name]))
	}
	out, err := w.Service.Import(context.Background(), w.Op(), Org, []integration.Row{row})
	if err != nil || out[0].Outcome != integration.Imported && out[0].Outcome != integration.Replaced {
		w.Fatal(err, out)
	}
}

// Mode takes steps until the mode is reached; it fails the test if a step is
// refused.
func (w *World) Mode(id string, to integration.Mode) integration.Integration {
	w.Helper()
	for {
		i, err := w.Service.Get(context.Background(), Org, id)
		if err != nil {
			w.Fatal(err)
		}
		if i.Mode == to {
			return i
		}
		if _, err := w.Service.SetMode(context.Background(), w.Op(), Org, id, i.Mode.Toward(to)); err != nil {
			w.Fatalf("%s to %s: %v", i.Mode, to, err)
		}
	}
}

// Backfill runs one whole backfill.
func (w *World) Backfill() opener.Counts {
	w.Helper()
	c, next, err := w.Opener(nil).Backfill(context.Background(), Org, "", 100)
	if err != nil || next != "" {
		w.Fatal(err, next)
	}
	return c
}

// Opens fails the test unless id opens to want.
func (w *World) Opens(id string, want integration.Values) opener.Value {
	w.Helper()
	v, err := w.Opener(nil).Open(context.Background(), Org, id)
	if err != nil {
		w.Fatalf("%s: %v (%s)", id, err, integration.ReasonOf(err))
	}
	if !v.Values.Equal(want) {
		w.Fatalf("%s: another value came out", id)
	}
	return v
}

// ErrCrash is what every call of a dead process gets.
var ErrCrash = errors.New("integrationtest: this process is dead")

// use is how tests open the new copy past the opener.
func use() vault.Use { return vault.Use{Field: integration.Payload, Purpose: "test"} }
