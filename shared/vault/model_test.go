package vault_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

// model is what a credential must open as, said in the simplest way.
type model struct {
	live    map[string]string
	drains  []modelDrain
	revoked bool
}

type modelDrain struct {
	field, value string
	until        time.Time
}

func (m *model) expect(field string, now time.Time) []string {
	out := []string{"+" + m.live[field]}
	for i := len(m.drains) - 1; i >= 0; i-- {
		if d := m.drains[i]; d.field == field && now.Before(d.until) {
			out = append(out, d.value)
		}
	}
	return out
}

// Any sequence of writes, lost writes, rewraps, key rotations and passing time
// leaves exactly what the model says, and no version that nothing needs.
func TestAnyHistory(t *testing.T) {
	names := []string{"app_secret", "verify_token", "other"}
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		store, kek, clock := vaulttest.NewStore(), vaulttest.NewKEK(), vaulttest.NewClock()
		v, err := vault.New(vault.Options{Store: store, KEK: kek, Fields: vaulttest.Fields(), Now: clock.Now, App: "latchkey", Stage: "test"})
		if err != nil {
			t.Fatal(err)
		}
		r := vault.Ref{Org: "o", ID: "c", Provider: "vendor", Class: taxonomy.ChannelVerify}
		n := 0
		value := func() string { n++; return fmt.Sprint("value-", n) }
		m := model{live: map[string]string{}}
		fields := map[string]secret.Text{}
		for _, name := range names {
			m.live[name] = value()
			fields[name] = secret.FromString(m.live[name])
		}
		if _, err := v.Create(ctx, vault.NewCredential{Op: vaulttest.Op(), Ref: r, Fields: fields}); err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			lost := rapid.SampledFrom([]vaulttest.WriteFault{vaulttest.WriteOK, vaulttest.WriteOK, vaulttest.FailAfter, vaulttest.FailBefore}).Draw(t, "fate")
			store.FailWrites(func() vaulttest.WriteFault { return lost })
			refused := m.revoked || lost == vaulttest.FailBefore
			switch rapid.SampledFrom([]string{"rotate", "rotate", "finish", "prune", "time", "rewrap", "kek", "revoke"}).Draw(t, "step") {
			case "rotate":
				picked := rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, 3, rapid.ID).Draw(t, "fields")
				overlap := time.Duration(rapid.IntRange(0, 3).Draw(t, "overlap")) * time.Hour
				fields, values := map[string]secret.Text{}, map[string]string{}
				for _, name := range picked {
					values[name] = value()
					fields[name] = secret.FromString(values[name])
				}
				if _, err := v.Rotate(ctx, vault.Rotation{Op: vaulttest.Op(), Ref: r, Fields: fields, Overlap: overlap}); err != nil {
					if !refused && vault.ReasonOf(err) != vault.TooManyDrains {
						t.Fatalf("rotate: %v", err)
					}
					continue
				}
				if refused {
					t.Fatal("a rotation succeeded that must not")
				}
				for _, name := range names {
					if _, ok := values[name]; ok {
						m.drains = append(m.drains, modelDrain{name, m.live[name], clock.Now().Add(overlap)})
						m.live[name] = values[name]
					}
				}
			case "finish":
				name := rapid.SampledFrom(append([]string{""}, names...)).Draw(t, "field")
				if _, err := v.FinishRotation(ctx, r, name, vaulttest.Op()); err == nil && !m.revoked {
					m.drains = slices.DeleteFunc(m.drains, func(d modelDrain) bool { return name == "" || d.field == name })
				}
			case "prune":
				_, _ = v.Prune(ctx, r, "")
			case "time":
				clock.Advance(time.Duration(rapid.IntRange(1, 120).Draw(t, "minutes")) * time.Minute)
			case "rewrap":
				c, err := v.Load(ctx, r.Org, r.Class, r.ID)
				if err != nil {
					t.Fatal(err)
				}
				for _, ver := range c.Versions {
					if rapid.Bool().Draw(t, "reseal") {
						_, _ = v.Reseal(ctx, c, ver.Number, vault.Ring{Current: kek.Keys()[0]}, clock.Now())
					} else {
						_, _, _ = v.Rewrap(ctx, c, ver.Number, vault.Ring{Current: kek.Keys()[0]})
					}
				}
			case "kek":
				kek.Rotate()
			case "revoke":
				if rapid.IntRange(0, 4).Draw(t, "really") == 0 {
					if _, err := v.Revoke(ctx, r, vaulttest.Op()); err == nil {
						m.revoked = true
					}
				}
			}
			check(t, v, r, names, m, clock.Now())
		}
	})
}

func check(t *rapid.T, v *vault.Vault, r vault.Ref, names []string, m model, now time.Time) {
	ctx := context.Background()
	c, err := v.Load(ctx, r.Org, r.Class, r.ID)
	if err != nil {
		t.Fatal(err)
	}
	needed := map[int]bool{}
	for _, f := range c.Head.Fields {
		needed[f.Version] = !m.revoked
	}
	for _, d := range c.Head.Drains {
		needed[d.Version] = true
	}
	for _, ver := range c.Versions {
		if !needed[ver.Number] {
			t.Fatalf("version %d is stored without need", ver.Number)
		}
	}
	for _, name := range names {
		var got []string
		err := v.RevealAll(ctx, c, vault.Use{Field: name, Purpose: "t"}, func(_ int, live bool, b []byte) error {
			mark := map[bool]string{true: "+"}[live]
			got = append(got, mark+string(b))
			return nil
		})
		if m.revoked {
			if vault.ReasonOf(err) != vault.IsRevoked || got != nil {
				t.Fatalf("revoked: %v, %v", got, err)
			}
			continue
		}
		if want := m.expect(name, now); err != nil || !slices.Equal(got, want) {
			t.Fatalf("%s opens as %v (%v, %q), want %v", name, got, err, vault.ReasonOf(err), want)
		}
	}
}
