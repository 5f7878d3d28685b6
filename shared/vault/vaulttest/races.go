package vaulttest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/vault"
)

const racers = 8

func (e *env) concurrentRotate() {
	const f = "signing_secret"
	e.create(ref("c1"), f, "one")
	var read, done sync.WaitGroup
	read.Add(racers)
	var mu sync.Mutex
	won, firstRead := 0, racers
	v := e.vault(meeting{e.store, func() {
		mu.Lock()
		meet := firstRead > 0
		firstRead--
		mu.Unlock()
		if meet { // later reads look at the outcome and must not wait
			read.Done()
			read.Wait()
		}
	}}, "latchkey", "test")
	for i := range racers {
		done.Go(func() {
			_, err := v.Rotate(context.Background(), vault.Rotation{Op: Op(), Ref: ref("c1"), Fields: texts(f, fmt.Sprint("value-", i)), Overlap: time.Hour})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
			case fault.CodeOf(err) != fault.Conflict || vault.ReasonOf(err) != vault.LostRace:
				e.Errorf("loser %d: %v, reason %q", i, err, vault.ReasonOf(err))
			}
		})
	}
	done.Wait()
	c := e.load(ref("c1"))
	if won != 1 || c.Head.ActiveVersion != 2 || c.Head.Epoch != 2 || len(c.Versions) != 2 || len(e.all(c, f)) != 2 {
		e.Errorf("%d rotations won: %+v", won, c.Head)
	}
}

func (e *env) concurrentCreate() {
	var done sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range racers {
		done.Go(func() {
			_, err := e.v.Create(context.Background(), vault.NewCredential{Op: Op(), Ref: ref("c1"), Fields: texts("signing_secret", fmt.Sprint("value-", i))})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if fault.CodeOf(err) != fault.Conflict || vault.ReasonOf(err) != vault.LostRace {
				e.Errorf("loser %d: %v, reason %q", i, err, vault.ReasonOf(err))
			}
		})
	}
	done.Wait()
	if c := e.load(ref("c1")); won != 1 || len(c.Versions) != 1 || len(e.all(c, "signing_secret")) != 1 {
		e.Errorf("%d creates won: %+v", won, c)
	}
}

// staleWriters: a writer of one kind does not undo another that came first.
func (e *env) staleWriters() {
	const f = "signing_secret"
	ctx := context.Background()
	steps := map[string]func(*vault.Vault, vault.Ref) error{
		"rotate": func(v *vault.Vault, r vault.Ref) error {
			_, err := v.Rotate(ctx, vault.Rotation{Op: Op(), Ref: r, Fields: texts(f, "three"), Overlap: time.Hour})
			return err
		},
		"finish": func(v *vault.Vault, r vault.Ref) error { _, err := v.FinishRotation(ctx, r, "", Op()); return err },
		"revoke": func(v *vault.Vault, r vault.Ref) error { _, err := v.Revoke(ctx, r, Op()); return err },
	}
	for first, want := range map[string][]string{"rotate": {"+three", "two", "one"}, "finish": {"+two"}, "revoke": nil} {
		for second, run := range steps {
			r := ref(first + "-" + second)
			e.create(r, f, "one")
			e.rotate(r, time.Hour, f, "two")
			late := e.vault(stale{e.store, e.load(r).Head}, "latchkey", "test")
			if err := steps[first](e.v, r); err != nil {
				e.Fatal(err)
			}
			e.wantCode(second+" after "+first, run(late, r), fault.Conflict, vault.LostRace)
			e.wantState(r, f, want)
		}
	}
}

// crashes kills each step before and after its write: what is stored then is
// the old or the new state as a whole, it opens, and the step can be repeated.
func (e *env) crashes() {
	const f = "signing_secret"
	ctx := context.Background()
	for _, step := range []struct {
		name          string
		run           func(*vault.Vault, vault.Ref) error
		before, after []string
	}{
		{"rotate", func(v *vault.Vault, r vault.Ref) error {
			_, err := v.Rotate(ctx, vault.Rotation{Op: Op(), Ref: r, Fields: texts(f, "three"), Overlap: time.Hour})
			return err
		}, []string{"+two", "one"}, []string{"+three", "two", "one"}},
		{"finish", func(v *vault.Vault, r vault.Ref) error {
			_, err := v.FinishRotation(ctx, r, "", Op())
			return err
		}, []string{"+two", "one"}, []string{"+two"}},
		{"revoke", func(v *vault.Vault, r vault.Ref) error {
			_, err := v.Revoke(ctx, r, Op())
			return err
		}, []string{"+two", "one"}, nil},
	} {
		for _, after := range []bool{false, true} {
			r := ref(fmt.Sprintf("%s-%v", step.name, after))
			e.create(r, f, "one")
			e.rotate(r, time.Hour, f, "two")
			dying := e.vault(&crasher{Store: e.store, after: after}, "latchkey", "test")
			e.wantCode(step.name, step.run(dying, r), fault.VaultUnavailable, vault.StoreFailed)
			want := step.before
			if after {
				want = step.after
			}
			e.wantState(r, f, want)
			if err := step.run(e.v, r); err != nil && !(after && vault.ReasonOf(err) == vault.Duplicate) {
				e.Errorf("%s cannot be repeated: %v", step.name, err)
			}
			e.wantState(r, f, step.after)
		}
	}
	for _, after := range []bool{false, true} {
		r := ref(fmt.Sprintf("create-%v", after))
		dying := e.vault(&crasher{Store: e.store, after: after}, "latchkey", "test")
		_, err := dying.Create(ctx, vault.NewCredential{Op: Op(), Ref: r, Fields: texts(f, "one")})
		e.wantCode("create", err, fault.VaultUnavailable, vault.StoreFailed)
		if _, err = e.v.Load(ctx, r.Org, r.Class, r.ID); (err == nil) != after {
			e.Errorf("create, after=%v: load gives %v", after, err)
		}
		if after {
			e.wantState(r, f, []string{"+one"})
		}
	}
}

// wantState checks what opens; nothing means that the credential is revoked.
func (e *env) wantState(r vault.Ref, field string, want []string) {
	e.Helper()
	c := e.load(r)
	if want == nil {
		e.wantRefused("revoked", e.v, c, field, vault.IsRevoked)
		return
	}
	e.wantAll(c, field, want...)
}
