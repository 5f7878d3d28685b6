package install_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
)

const keysOf = "public_keys"

// key is a well-formed public key.
func key(n int) string { return fmt.Sprintf("%064x", n) }

// keyed creates an install whose requests a public key verifies.
func (e *env) keyed(id string, keys ...string) install.Install {
	e.Helper()
	i, err := e.create(install.New{ID: id, Provider: "discord", Config: webhook.Config{"application_id": {"1" + id[1:]}, "guild_id": {"22"}, keysOf: keys}, Secrets: values("bot_token", "token.of."+id)})
	if err != nil || i.State != install.Verifying {
		e.Fatalf("%+v %v", i, err)
	}
	return i
}

// keysAt are the keys that a stored install verifies with at an age.
func (e *env) keysAt(id string, age time.Duration) string {
	i, _, err := e.store.Install(e.Context(), id)
	if err != nil {
		e.Fatal(err)
	}
	return strings.Join(i.Verifying(start.Add(age))[keysOf], " ")
}

// TestKeysAreReplacedLikeSecrets: the new key stands first, the old one verifies until
// the time that was stated, or a day, or until the rotation is finished.
func TestKeysAreReplacedLikeSecrets(t *testing.T) {
	e := newEnv(t)
	e.keyed("i1", key(1))
	rotate := func(value string, until time.Time) install.Install {
		t.Helper()
		i, err := e.s.Rotate(t.Context(), e.op(), "o1", "i1", keysOf, secret.FromString(value), until)
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	first := rotate(key(2), time.Time{})
	if got := e.keysAt("i1", 0); got != key(2)+" "+key(1) {
		t.Error(got)
	}
	if got := e.keysAt("i1", channel.DefaultOverlap-1); got != key(2)+" "+key(1) {
		t.Error(got)
	}
	if got := e.keysAt("i1", channel.DefaultOverlap); got != key(2) {
		t.Error(got)
	}
	if old := first.Retired(start.Add(channel.DefaultOverlap)); len(old) != 1 || !slices.Equal(old[keysOf], []string{key(1)}) || first.Retired(start) != nil {
		t.Errorf("%v %v", old, first.Retired(start))
	}
	v := e.s.View(first, e.now)
	if shown := v.Secrets[keysOf]; len(shown) != 1 || shown[0].State != "retiring" || shown[0].Fingerprint != key(1) || !shown[0].RetireAt.Equal(start.Add(channel.DefaultOverlap)) || fmt.Sprint(v.Config[keysOf]) != "["+key(2)+" "+key(1)+"]" {
		t.Errorf("%+v", v)
	}
	if v := e.s.View(first, start.Add(channel.DefaultOverlap)); len(v.Secrets[keysOf]) != 0 || fmt.Sprint(v.Config[keysOf]) != "["+key(2)+"]" {
		t.Errorf("%+v", v)
	}
	// The same again changes nothing; a third one keeps what still verifies.
	if again := rotate(key(2), time.Time{}); again.Version != first.Version {
		t.Errorf("version %d after %d", again.Version, first.Version)
	}
	rotate(key(3), start.Add(time.Hour))
	if got := e.keysAt("i1", 0); got != key(3)+" "+key(1)+" "+key(2) {
		t.Error(got)
	}
	if got := e.keysAt("i1", time.Hour); got != key(3)+" "+key(1) {
		t.Error(got)
	}
	// One that is on its way out becomes live again.
	rotate(key(1), start)
	if got := e.keysAt("i1", 0); got != key(1)+" "+key(2) {
		t.Error(got)
	}
	i, err := e.s.RotateFinish(t.Context(), e.op(), "o1", "i1", keysOf)
	if err != nil || e.keysAt("i1", 0) != key(1) || len(i.Config[keysOf]) != 1 || len(e.s.View(i, e.now).Secrets[keysOf]) != 0 || i.Config.Get("guild_id") != "22" {
		t.Errorf("%+v %v", i, err)
	}
	if again, err := e.s.RotateFinish(t.Context(), e.op(), "o1", "i1", keysOf); err != nil || again.Version != i.Version {
		t.Errorf("%+v %v", again, err)
	}
	if !i.State.Verifies() || len(i.Secrets) != 1 || i.Secrets[0].Name != "bot_token" {
		t.Errorf("%+v", i)
	}
}

// TestStatedKeysAreLive: an update names all keys, and ends what was being replaced.
func TestStatedKeysAreLive(t *testing.T) {
	e := newEnv(t)
	e.keyed("i1", key(1))
	if _, err := e.s.Rotate(t.Context(), e.op(), "o1", "i1", keysOf, secret.FromString(key(2)), start.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := e.s.Update(t.Context(), e.op(), "o1", "i1", install.Patch{Config: webhook.Config{keysOf: {key(1), key(2)}}}); err != nil {
		t.Fatal(err)
	}
	if got := e.keysAt("i1", 2*time.Hour); got != key(1)+" "+key(2) {
		t.Error(got)
	}
	if _, err := e.s.Update(t.Context(), e.op(), "o1", "i1", install.Patch{Config: webhook.Config{keysOf: {}}}); fault.CodeOf(err) != fault.InvalidRequest {
		t.Errorf("no keys at all: %v", err)
	}
}

// TestUpdatesOfOtherThings: they neither bring a key back nor keep one.
func TestUpdatesOfOtherThings(t *testing.T) {
	e := newEnv(t)
	e.keyed("i1", key(1))
	if _, err := e.s.Rotate(t.Context(), e.op(), "o1", "i1", keysOf, secret.FromString(key(2)), start.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	url := "https://hooks.example/webhooks/discord/i1"
	for _, at := range []time.Duration{0, 2 * time.Hour} {
		e.now = start.Add(at)
		if _, err := e.s.Update(t.Context(), e.op(), "o1", "i1", install.Patch{PublicURL: &url}); err != nil {
			t.Fatal(err)
		}
		if during, after := e.keysAt("i1", 0), e.keysAt("i1", 2*time.Hour); during != key(2)+" "+key(1) || after != key(2) {
			t.Errorf("an update after %v: %s, afterwards %s", at, during, after)
		}
	}
}

// TestKeysThatAreRefused: at the save and at the rotation.
func TestKeysThatAreRefused(t *testing.T) {
	e := newEnv(t)
	e.keyed("i1", key(1))
	for name, value := range map[string]string{"short": key(1)[1:], "long": key(1) + "00", "no hex": strings.Repeat("g", 64), "with a line break": key(1) + "\n"} {
		if _, err := e.s.Rotate(t.Context(), e.op(), "o1", "i1", keysOf, secret.FromString(value), time.Time{}); fault.CodeOf(err) != fault.InvalidRequest || fault.As(err).Param != "value" {
			t.Errorf("%s: %v", name, err)
		}
		n := install.New{ID: "i2", Provider: "discord", Config: webhook.Config{"application_id": {"2"}, "guild_id": {"22"}, keysOf: {value}}}
		if _, err := e.create(n); fault.CodeOf(err) != fault.InvalidRequest || fault.As(err).Param != "config."+keysOf {
			t.Errorf("%s: %v", name, err)
		}
	}
	many := []string{}
	for n := range webhook.MaxKeys + 1 {
		many = append(many, key(n))
	}
	if _, err := e.create(install.New{ID: "i2", Provider: "discord", Config: webhook.Config{keysOf: many}}); fault.CodeOf(err) != fault.InvalidRequest {
		t.Errorf("too many: %v", err)
	}
	e.keyed("i3", many[1:]...)
	if _, err := e.s.Rotate(t.Context(), e.op(), "o1", "i3", keysOf, secret.FromString(key(99)), time.Time{}); fault.CodeOf(err) != fault.Conflict {
		t.Errorf("one more: %v", err)
	}
	if _, err := e.s.Rotate(t.Context(), e.op(), "o1", "i3", keysOf, secret.FromString(key(99)), start); err != nil || e.keysAt("i3", 0) != key(99) {
		t.Errorf("at once: %v %s", err, e.keysAt("i3", 0))
	}
	if _, err := e.s.Rotate(t.Context(), e.op(), "o1", "i1", "guild_id", secret.FromString("23"), time.Time{}); fault.CodeOf(err) != fault.InvalidRequest {
		t.Errorf("another setting: %v", err)
	}
	if _, err := e.s.Rotate(t.Context(), e.op(), "o2", "i1", keysOf, secret.FromString(key(5)), time.Time{}); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("another organisation's: %v", err)
	}
	if _, err := e.s.Revoke(t.Context(), e.op(), "o1", "i1"); err != nil {
		t.Fatal(err)
	}
	for _, f := range []func() (install.Install, error){
		func() (install.Install, error) {
			return e.s.Rotate(t.Context(), e.op(), "o1", "i1", keysOf, secret.FromString(key(5)), time.Time{})
		},
		func() (install.Install, error) { return e.s.RotateFinish(t.Context(), e.op(), "o1", "i1", keysOf) },
	} {
		if _, err := f(); fault.CodeOf(err) != fault.Conflict {
			t.Errorf("of a revoked install: %v", err)
		}
	}
}

// TestTheFirstNameDecides: of two bindings for names of one message, that of the name
// which it is addressed to first, whatever their order.
func TestTheFirstNameDecides(t *testing.T) {
	all := []install.Binding{{AgentID: "whole", Selector: install.Selector{Mention: "agent"}}, {AgentID: "part", Selector: install.Selector{Mention: "agent-sales"}}}
	for range 2 {
		slices.Reverse(all)
		for said, want := range map[string]string{"agent-sales agent": "part", "agent": "whole", "agent-other agent": "whole"} {
			if b, ok := install.Match(all, channel.Envelope{Mention: true, Addressed: strings.Fields(said)}); !ok || b.AgentID != want {
				t.Errorf("%s: %+v", said, b)
			}
		}
	}
}
