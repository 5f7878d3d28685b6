package session_test

import (
	"regexp"
	"testing"

	"pgregory.net/rapid"

	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/table"
)

// hostile draws parts made of everything the key's grammar gives meaning to.
func hostile(t *rapid.T, name string) string {
	return rapid.StringOfN(rapid.SampledFrom([]rune("a|-%2D~.é\x00 ")), 0, 6, -1).Draw(t, name)
}

func key(t *rapid.T, n string) session.Key {
	return session.Key{Org: hostile(t, "org"+n), Install: hostile(t, "install"+n), Agent: hostile(t, "agent"+n), Persona: hostile(t, "persona"+n),
		Provider: hostile(t, "provider"+n), Tenant: hostile(t, "tenant"+n), Space: hostile(t, "space"+n), Thread: hostile(t, "thread"+n), Actor: hostile(t, "actor"+n)}
}

func TestKeyIsInjective(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := key(t, "1"), key(t, "2")
		if rapid.Bool().Draw(t, "near") {
			// Keys that share all but two neighbouring parts collide most easily.
			b = a
			b.Space, b.Thread = hostile(t, "space3"), hostile(t, "thread3")
		}
		if (a == b) != (a.String() == b.String()) || (a == b) != (a.Hash() == b.Hash()) {
			t.Fatalf("%q %q", a.String(), b.String())
		}
	})
}

func TestKeyText(t *testing.T) {
	k := session.Key{Org: "o1", Install: "i1", Agent: "a1", Provider: "slack", Tenant: "T:T1", Space: "C1", Thread: "1772600767.000100"}
	if got, want := k.String(), "v1|o1|i1|a1|-|slack|T%3AT1|C1|1772600767.000100|-"; got != want {
		t.Fatalf("%q, want %q", got, want)
	}
	k.Persona, k.Actor = "-", "a|b%"
	if got, want := k.String(), "v1|o1|i1|a1|%2D|slack|T%3AT1|C1|1772600767.000100|a%7Cb%25"; got != want {
		t.Fatalf("%q, want %q", got, want)
	}
	if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(k.Hash()) {
		t.Fatal(k.Hash())
	}
}

func TestDerivedIDs(t *testing.T) {
	first, again := session.TurnID("i1", "e1"), session.TurnID("i1", "e1")
	if first == session.TurnID("i", "1e1") || first != again {
		t.Fatal("turn ids mix install and event")
	}
	if session.QueueID("i1", "e") == session.QueueID("i2", "e") {
		t.Fatal("two installs share a queue id")
	}
	if session.DedupeKey("e1", "c") != session.DedupeKey("e2", "c") || session.DedupeKey("c", "") == session.DedupeKey("", "c") {
		t.Fatal("dedupe keys")
	}
	for _, id := range []string{session.TurnID("i", "e"), session.DedupeKey("e", ""), session.DedupeKey("e", "c"), session.QueueID("i", "e"), session.RequestKey("i", "e", "a", "1")} {
		if !table.ValidID(id) {
			t.Errorf("%q is no id", id)
		}
	}
}
