package integrationtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/integration"
	"github.com/latchkey/latchkey/shared/integration/opener"
	"github.com/latchkey/latchkey/shared/secret"
)

// oneRefresh: of many callers with one value, one calls the vendor; the others
// get its result or are told to wait.
func oneRefresh(w *World) {
	ctx, vendor := context.Background(), NewVendor(w)
	w.Import("a", integration.ShapeCipher, vendor.Connect())
	w.Mode("a", integration.DualRead)
	w.Backfill()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			v, err := w.Opener(nil).Refresh(ctx, Org, "a", 1, vendor.Exchange)
			switch {
			case err == nil && vendor.Works(v.Values) && v.Rev == 2:
			case integration.ReasonOf(err) == integration.RefreshRunning && fault.As(err).RetryAfter > 0:
			case integration.ReasonOf(err) == integration.LostRace:
			default:
				w.Errorf("%v", err)
			}
		})
	}
	wg.Wait()
	if vendor.Calls() != 1 || vendor.Misuse() != 0 {
		w.Errorf("%d calls, %d misuses", vendor.Calls(), vendor.Misuse())
	}
	// A caller that saw the old value gets the new one without a call.
	if v, err := w.Opener(nil).Refresh(ctx, Org, "a", 1, vendor.Exchange); err != nil || v.Rev != 2 || vendor.Calls() != 1 {
		w.Errorf("%v", err)
	}
}

// failedRefresh: what may have consumed the token is never tried again with it.
func failedRefresh(w *World) {
	ctx, vendor := context.Background(), NewVendor(w)
	w.Import("a", integration.ShapePlaintext, vendor.Connect())
	o := w.Opener(nil)
	vendor.Refusal = 429
	if _, err := o.Refresh(ctx, Org, "a", 1, vendor.Exchange); !errors.Is(err, ErrRefused) {
		w.Fatal(err)
	}
	vendor.Refusal = 0
	if _, err := o.Refresh(ctx, Org, "a", 1, vendor.Exchange); err != nil {
		w.Fatalf("after a refusal that used nothing: %v", err)
	}
	lost := errors.New("connection reset")
	if _, err := o.Refresh(ctx, Org, "a", 2, func(ctx context.Context, v opener.Value) (integration.Values, error) {
		_, _ = vendor.Exchange(ctx, v)
		return nil, lost
	}); !errors.Is(err, lost) {
		w.Fatal(err)
	}
	_, err := o.Refresh(ctx, Org, "a", 2, vendor.Exchange)
	if integration.ReasonOf(err) != integration.RefreshRunning {
		w.Errorf("within the lease: %v", err)
	}
	w.Clock.Advance(opener.LeaseTime)
	_, err = o.Refresh(ctx, Org, "a", 2, vendor.Exchange)
	if integration.ReasonOf(err) != integration.RefreshUnfinished || fault.CodeOf(err) != fault.ProviderKeyInvalid {
		w.Errorf("after the lease: %v", err)
	}
	if _, err := o.Open(ctx, Org, "a"); err != nil {
		w.Errorf("reading needs no refresh: %v", err)
	}
	again := vendor.Connect()
	if _, err := o.Replace(ctx, Org, "a", one("x")); fault.CodeOf(err) != fault.InvalidRequest {
		w.Errorf("other fields: %v", err)
	}
	if _, err := o.Replace(ctx, Org, "a", again); err != nil {
		w.Fatal(err)
	}
	v, err := o.Refresh(ctx, Org, "a", 3, vendor.Exchange)
	if err != nil || !vendor.Works(v.Values) || vendor.Misuse() != 0 {
		w.Errorf("%v, %d misuses", err, vendor.Misuse())
	}
	for name, bad := range map[string]integration.Values{"an unknown field": one("x"), "nothing": {}, "an empty token": {Access: secret.Text{}}} {
		if _, err := o.Refresh(ctx, Org, "a", v.Rev, func(context.Context, opener.Value) (integration.Values, error) { return bad, nil }); fault.CodeOf(err) != fault.InvalidRequest {
			w.Errorf("%s: %v", name, err)
		}
		if v, err = o.Replace(ctx, Org, "a", vendor.Connect()); err != nil {
			w.Fatal(err)
		}
	}
	// A vendor that keeps the refresh token sends none.
	if v, err = o.Refresh(ctx, Org, "a", v.Rev, func(context.Context, opener.Value) (integration.Values, error) {
		return integration.Values{Access: secret.FromString("new")}, nil
	}); err != nil || v.Values[Refresh].IsZero() {
		w.Errorf("the refresh token was not kept: %v", err)
	}
	outages(w, v.Rev)
	reusable(w)
}

// outages: the store fails for a moment, the caller gives up in the middle.
func outages(w *World, rev int64) {
	ctx, vendor := context.Background(), NewVendor(w)
	v, err := w.Opener(nil).Replace(ctx, Org, "a", vendor.Connect())
	if err != nil || v.Rev != rev+1 {
		w.Fatal(err, v.Rev)
	}
	// The lease was written, but nobody could find out: the token was not used.
	if _, err := w.Opener(&Crashing{Store: w.Store, At: 3, After: true, For: 2}).Refresh(ctx, Org, "a", v.Rev, vendor.Exchange); fault.CodeOf(err) != fault.Unavailable ||
		vendor.Calls() != 0 {
		w.Fatal(err)
	}
	if v, err = w.Opener(nil).Refresh(ctx, Org, "a", v.Rev, vendor.Exchange); err != nil {
		w.Fatalf("a lease that nobody knows of stands: %v", err)
	}
	// The answer is written although the store failed at first.
	for _, after := range []bool{false, true} {
		s := &Crashing{Store: w.Store, At: 4, After: after, For: 3}
		if v, err = w.Opener(s).Refresh(ctx, Org, "a", v.Rev, vendor.Exchange); err != nil || !vendor.Works(v.Values) {
			w.Fatalf("after %v: %v", after, err)
		}
	}
	given, cancel := context.WithCancel(ctx)
	if v, err = w.Opener(nil).Refresh(given, Org, "a", v.Rev, func(ctx context.Context, v opener.Value) (integration.Values, error) {
		out, err := vendor.Exchange(ctx, v)
		cancel()
		return out, err
	}); err != nil || !vendor.Works(v.Values) {
		w.Fatalf("the answer was lost with the caller's patience: %v", err)
	}
	w.Opens("a", v.Values)
	if vendor.Misuse() != 0 {
		w.Error("a consumed refresh token was used")
	}
}

// reusable: a token that survives its use may be tried again after the lease.
func reusable(w *World) {
	ctx, n := context.Background(), 0
	row := integration.Row{ID: "b", Provider: "calendar", ReusableRefresh: true,
		Fields: []integration.LegacyField{w.Legacy(integration.Payload, integration.ShapeCipher, secret.FromString("v"))}}
	if _, err := w.Service.Import(ctx, w.Op(), Org, []integration.Row{row}); err != nil {
		w.Fatal(err)
	}
	o := w.Opener(nil)
	dies := func(context.Context, opener.Value) (integration.Values, error) { n++; return nil, ErrRefused }
	works := func(context.Context, opener.Value) (integration.Values, error) { n++; return one("w"), nil }
	if _, err := o.Refresh(ctx, Org, "b", 1, dies); !errors.Is(err, ErrRefused) {
		w.Fatal(err)
	}
	// The first owner comes back after its lease was taken over: its answer is
	// dropped, not written over the later one.
	v, err := o.Refresh(ctx, Org, "b", 1, func(context.Context, opener.Value) (integration.Values, error) {
		w.Clock.Advance(opener.LeaseTime)
		if _, err := w.Opener(nil).Refresh(ctx, Org, "b", 1, works); err != nil {
			return nil, err
		}
		return one("late"), nil
	})
	if err != nil || !v.Values.Equal(one("w")) || v.Rev != 2 || n != 2 {
		w.Errorf("%v, %d, rev %d", err, n, v.Rev)
	}
	w.Opens("b", one("w"))
}

// crashes kills a process at every store call of every operation, before and
// after the call had its effect, and looks at what a new process finds.
func crashes(t *testing.T, open Open, modes []integration.Mode) {
	shapes := []integration.Shape{integration.ShapeCipher}
	if len(modes) == 0 {
		modes, shapes = integration.Modes()[:4], append(shapes, integration.ShapePlaintext)
	}
	for _, mode := range modes {
		for _, shape := range shapes {
			t.Run(fmt.Sprintf("%s %s", mode, shape), func(t *testing.T) {
				store, kek := open(t)
				w := NewWorld(t, store, kek)
				crashRefresh(w, mode, shape)
				crashBackfill(w, mode, shape)
				crashMigration(w, mode, shape)
			})
		}
	}
}

// dying runs f with a process that dies at call n, until f gets through.
func dying(w *World, f func(n int, o *opener.Opener) error) {
	w.Helper()
	for n := 1; n < 60; n++ {
		for _, after := range []bool{false, true} {
			s := &Crashing{Store: w.Store, At: n, After: after}
			err := f(n, w.Opener(s))
			if s.Calls() < n && err == nil && !after {
				return // nothing died any more
			}
		}
	}
	w.Fatal("this never gets through")
}

func (w *World) at(id string, mode integration.Mode) {
	w.Helper()
	if mode == integration.NewOnly {
		w.Mode(id, integration.DualRead)
		w.Backfill()
	}
	w.Mode(id, mode)
}

func crashRefresh(w *World, mode integration.Mode, shape integration.Shape) {
	ctx, vendor, rounds := context.Background(), NewVendor(w), 0
	w.Import("crash", shape, vendor.Connect())
	w.at("crash", mode)
	dying(w, func(n int, o *opener.Opener) error {
		rounds++
		before, err := w.Opener(nil).Open(ctx, Org, "crash")
		if err != nil {
			w.Fatal(err)
		}
		var answered integration.Values
		got, failed := o.Refresh(ctx, Org, "crash", before.Rev, func(ctx context.Context, v opener.Value) (integration.Values, error) {
			out, err := vendor.Exchange(ctx, v)
			answered = out
			return out, err
		})
		after, err := w.Opener(nil).Open(ctx, Org, "crash")
		switch {
		case err != nil:
			w.Fatalf("call %d: the value is gone: %v (%s)", n, err, integration.ReasonOf(err))
		case failed == nil && !got.Values.Equal(after.Values):
			w.Fatalf("call %d: the result was returned and not stored", n)
		case !after.Values.Equal(before.Values) && (answered == nil || !after.Values[Access].Equal(answered[Access])):
			w.Fatalf("call %d: a value came from nowhere", n)
		}
		w.Clock.Advance(opener.LeaseTime)
		v, err := w.Opener(nil).Refresh(ctx, Org, "crash", after.Rev, vendor.Exchange)
		if integration.ReasonOf(err) == integration.RefreshUnfinished {
			v, err = w.Opener(nil).Replace(ctx, Org, "crash", vendor.Connect())
		}
		if err != nil || !vendor.Works(v.Values) {
			w.Fatalf("call %d: no way on: %v (%s)", n, err, integration.ReasonOf(err))
		}
		w.Opens("crash", v.Values)
		return failed
	})
	if vendor.Misuse() != 0 || rounds < 8 {
		w.Errorf("%d misuses in %d rounds", vendor.Misuse(), rounds)
	}
}

func crashBackfill(w *World, mode integration.Mode, shape integration.Shape) {
	want, round := one("value"), 0
	dying(w, func(_ int, o *opener.Opener) error {
		round++
		id := fmt.Sprintf("fill%03d", round)
		w.Import(id, shape, want)
		w.at(id, mode)
		_, _, failed := o.Backfill(context.Background(), Org, fmt.Sprintf("fill%03d", round-1), 1)
		w.Opens(id, want)
		i, err := w.Service.Get(context.Background(), Org, id)
		c, _, err2 := w.Opener(nil).Backfill(context.Background(), Org, "fill", 1000)
		if err != nil || err2 != nil || len(c.Failed) > 0 || mode != integration.LegacyOnly && c.Verified != round {
			w.Fatalf("%v %v %+v %+v", err, err2, c, i)
		}
		return failed
	})
}

func crashMigration(w *World, mode integration.Mode, shape integration.Shape) {
	want, round := one("value"), 0
	dying(w, func(_ int, o *opener.Opener) error {
		round++
		id := fmt.Sprint("lazy", round)
		w.Import(id, shape, want)
		w.at(id, mode)
		v, failed := o.Open(context.Background(), Org, id)
		if failed == nil && !v.Values.Equal(want) {
			w.Fatal("another value came out")
		}
		w.Opens(id, want)
		w.Opens(id, want)
		return failed
	})
}
