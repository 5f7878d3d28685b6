package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// bringToRest ends everything that was left, as production would: sweeps past
// every expiry, until nothing is held.
func (s *seed) bringToRest(ctx context.Context) error {
	clean := func() bool {
		r, err := s.w.sweep(ctx, time.Hour)
		if err != nil || r != (swept{}) {
			return false
		}
		for _, o := range s.orgs {
			c, err := o.credits(ctx)
			n, err2 := o.holds(ctx)
			if err != nil || err2 != nil || c.Held != 0 || n != 0 {
				return false
			}
		}
		return true
	}
	if s.w.until(ctx, clean) == nil {
		return nil
	}
	for _, o := range s.orgs {
		c, _ := o.credits(ctx)
		if n, _ := o.holds(ctx); n != 0 || c.Held != 0 {
			s.broken("I10", "%s never came to rest: %d holds, held %d", o.id, n, c.Held)
		}
	}
	return fmt.Errorf("seed %d never came to rest", s.n)
}

// state is an organisation at rest, as text: two of them are compared.
type state struct {
	Credits  credits
	Entries  []entry
	Usage    map[string][2]int64
	Requests map[string]request
}

// usage is the usage rows by source and model: number and cost.
func (o *org) usage(ctx context.Context) (map[string][2]int64, error) {
	var list struct {
		Items []struct {
			Key            map[string]string
			Requests, Cost int64
		}
	}
	from, to := time.Now().Add(-24*time.Hour).UTC().Format(time.DateOnly), time.Now().Add(48*time.Hour).UTC().Format(time.DateOnly)
	err := o.call(ctx, http.MethodGet, "/usage?group_by=source,model&from="+from+"&to="+to, nil, &list)
	out := map[string][2]int64{}
	for _, r := range list.Items {
		k := fmt.Sprint(r.Key)
		out[k] = [2]int64{out[k][0] + r.Requests, out[k][1] + r.Cost}
	}
	return out, err
}

// look reads an organisation.
func (s *seed) look(ctx context.Context, o *org) (st state, err error) {
	if st.Credits, err = o.credits(ctx); err != nil {
		return st, err
	}
	if st.Entries, err = o.entries(ctx); err != nil {
		return st, err
	}
	slices.SortFunc(st.Entries, func(a, b entry) int { return strings.Compare(a.ID, b.ID) })
	if st.Usage, err = o.usage(ctx); err != nil {
		return st, err
	}
	st.Requests = map[string]request{}
	for _, a := range s.asks {
		if a.org != o || a.id == "" {
			continue
		}
		r, found, err := o.request(ctx, a.id)
		if err != nil {
			return st, err
		}
		if found {
			st.Requests[a.id] = r
		}
	}
	return st, nil
}

// check verifies every invariant at rest, delivers everything again, and verifies
// that nothing changed.
func (s *seed) check(ctx context.Context) error {
	if err := s.bringToRest(ctx); err != nil {
		return err
	}
	if err := s.askAgain(ctx); err != nil {
		return err
	}
	if err := s.bringToRest(ctx); err != nil {
		return err
	}
	s.redrive(ctx)
	if err := s.projected(ctx); err != nil {
		return err
	}
	before := map[*org]state{}
	for _, o := range s.orgs {
		st, err := s.look(ctx, o)
		if err != nil {
			return err
		}
		before[o] = st
		s.checkOrg(ctx, o, st)
	}
	for _, a := range s.asks {
		s.checkAsk(a, before[a.org])
	}
	s.checkEvents(before)
	s.checkKeys()
	d := rand.New(rand.NewPCG(s.n, 7))
	all, _ := s.w.records(s.since)
	for chunk := range slices.Chunk(shuffled(d, all), 90) {
		s.deliver(ctx, d, chunk)
	}
	if _, err := s.w.sweep(ctx, 2*time.Hour); err != nil {
		return err
	}
	for _, o := range s.orgs {
		st, err := s.look(ctx, o)
		if err != nil {
			return err
		}
		if was, is := text(before[o]), text(st); was != is {
			s.broken("I11", "%s changed after rest:\n%s\n%s", o.id, was, is)
		}
	}
	s.checkFailures(ctx)
	return nil
}

func text(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// askAgain repeats requests with an idempotency key that the vendor saw and whose
// name in the ledger no answer told: the repetition tells it, and does not reach
// the vendor.
func (s *seed) askAgain(ctx context.Context) error {
	for _, a := range s.asks {
		calls := len(a.calls())
		if a.key == "" || a.id != "" && calls == 0 {
			continue
		}
		if a.id != "" {
			_, found, err := a.org.request(ctx, a.id)
			if err != nil {
				return err
			}
			if found {
				continue
			}
		}
		a.id, a.leave, a.script = "", 0, mockvendor.Script{}
		a.direct()
		a.send(ctx)
		s.count("asked again", 1)
	}
	return nil
}

// redrive delivers again what the stream gave up, as an operator does from the
// failure destination: settle can be killed more often in a row than the mapping
// repeats.
func (s *seed) redrive(ctx context.Context) {
	failed, err := s.w.Failures()
	if err != nil || len(failed) == s.w.failed {
		return
	}
	s.givenUp(len(failed) - s.w.failed)
	s.w.failed = len(failed)
	all, _ := s.w.records(s.since)
	for chunk := range slices.Chunk(all, 90) {
		s.deliver(ctx, rand.New(rand.NewPCG(s.n, 8)), chunk)
	}
}

// givenUp is about n batches that the stream gave up: a seed that neither killed
// settle nor broke its tables has none.
func (s *seed) givenUp(n int) {
	if s.hurt.Load() == 0 {
		s.broken("F22", "%d batches were given up although nothing happened to settle", n)
	}
	s.count("batches given up, delivered by hand", n)
}

// projected waits until the usage rows are the replay of the entries (I13).
func (s *seed) projected(ctx context.Context) error {
	for _, o := range s.orgs {
		var rows, replay map[string][2]int64
		err := s.w.until(ctx, func() bool {
			list, err := o.entries(ctx)
			if err != nil {
				return false
			}
			replay = map[string][2]int64{}
			for _, e := range list {
				if e.Kind == "usage" {
					k := fmt.Sprint(map[string]string{"source": e.BillingSource, "model": e.Model})
					replay[k] = [2]int64{replay[k][0] + 1, replay[k][1] - e.Amount}
				}
			}
			rows, err = o.usage(ctx)
			return err == nil && maps.Equal(rows, replay)
		})
		if err != nil {
			s.broken("I13", "%s: usage rows %v, entries %v", o.id, rows, replay)
			return err
		}
	}
	return nil
}

// checkOrg verifies what holds for an organisation at rest.
func (s *seed) checkOrg(ctx context.Context, o *org, st state) {
	c := st.Credits
	var sum, late int64
	per := map[string]int{}
	for _, e := range st.Entries {
		sum += e.Amount
		var legs int64
		for _, l := range e.Legs {
			legs += l.Amount
		}
		if legs != 0 {
			s.broken("I1", "legs of %s sum to %d", e.ID, legs)
		}
		if e.Kind != "usage" {
			continue
		}
		s.count("entries", 1)
		per[fmt.Sprint(e.RequestID, "/", e.Attempt)]++
		if e.Late {
			late -= e.Amount
			s.count("late entries", 1)
		}
		s.checkCharge(o, e)
	}
	for k, n := range per {
		if n > 1 {
			s.broken("I7", "%s of %s has %d entries", k, o.id, n)
		}
	}
	if sum != c.Posted {
		s.broken("I2", "%s: posted %d, entries sum to %d", o.id, c.Posted, sum)
	}
	if c.Held != 0 {
		s.broken("I3", "%s: held %d at rest", o.id, c.Held)
	}
	if c.Available != c.Posted-c.Held {
		s.broken("I4", "%s: available %d of %d less %d", o.id, c.Available, c.Posted, c.Held)
	}
	if o.strict && o.lowest < -late {
		s.broken("I5", "%s: available was %d, late charges %d", o.id, o.lowest, late)
	}
	var left int64
	for _, g := range c.Grants {
		left += g.Remaining
	}
	if left != max(c.Posted, 0) {
		s.broken("I14", "%s: %d remain of the grants, posted %d", o.id, left, c.Posted)
	}
	s.remember(st.Entries)
	var rep struct {
		OK         bool
		Mismatches []any
	}
	if err := s.w.operator.Call(ctx, http.MethodPost, "/api/operator/reconcile", map[string]any{"org_id": o.id}, &rep); err != nil || !rep.OK {
		s.broken("I23", "%s: %v %v", o.id, rep.Mismatches, err)
	}
}

// checkCharge computes a charge again.
func (s *seed) checkCharge(o *org, e entry) {
	if e.BillingSource != "platform" {
		if e.Amount != 0 {
			s.broken("I18", "%s: %s moved %d credits", e.ID, e.BillingSource, e.Amount)
		}
		return
	}
	if e.Usage == nil {
		s.broken("I9", "%s has no usage", e.ID)
		return
	}
	want, known := s.w.cost(e.PriceVersion, e.Usage.Input, e.Usage.Output)
	switch {
	case !known:
		s.broken("I9", "%s has price version %q", e.ID, e.PriceVersion)
	case -e.Amount == want:
	case e.Estimated && -e.Amount < want: // an estimate stops at its hold
	default:
		s.broken("I9", "%s of %s: charged %d, %d+%d tokens by %s cost %d", e.ID, o.id, -e.Amount, e.Usage.Input, e.Usage.Output, e.PriceVersion, want)
	}
}

// checkEvents: every entry was told, and nothing but poison made on purpose is
// reported.
func (s *seed) checkEvents(before map[*org]state) {
	missing := func() (out []string) {
		told := map[string]bool{}
		for _, e := range s.w.Events.Events() {
			if e.DetailType == "latchkey.ledger.entry" {
				var d struct{ ID string }
				_ = json.Unmarshal(e.Detail, &d)
				told[d.ID] = true
			}
		}
		for _, st := range before {
			for _, e := range st.Entries {
				if !told[e.ID] {
					out = append(out, e.ID)
				}
			}
		}
		return out
	}
	if s.w.until(context.Background(), func() bool { return len(missing()) == 0 }) != nil {
		s.broken("I24", "never told: %v", missing())
	}
}

func (s *seed) checkFailures(ctx context.Context) {
	for _, e := range s.w.Events.Events() {
		if e.DetailType == "latchkey.ledger.anomaly" && !strings.Contains(string(e.Detail), poisonMark) {
			s.broken("poison", "%s", e.Detail)
		}
	}
	failed, err := s.w.Failures()
	if err != nil || len(failed) != s.w.failed {
		s.broken("F22", "%d batches were given up at rest (%v)", len(failed)-s.w.failed, err)
	}
}

// checkKeys: no key was used for another organisation's requests.
func (s *seed) checkKeys() {
	own := s.own.id
	for _, a := range s.asks {
		for _, c := range a.calls() {
			platform := s.w.platformHash(c.KeyHash)
			if platform == (a.org.id == own) {
				s.broken("key", "%s was called with key %s", a.prompt, c.KeyHash)
			}
		}
	}
}
