package gateway_test

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/limit"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/org"
)

var (
	keySubject = limit.Subject{Org: "acme", Key: "k1"}
	orgSubject = limit.Subject{Org: "acme"}
)

// read lets the next call see what counts now, as its reads would.
func (r *rig) read() *rig {
	r.store.key.Counted, r.store.config.Counted = r.limits.State(keySubject), r.limits.State(orgSubject)
	return r
}

func wantRefusal(t *testing.T, err error, kind limit.Kind, subject limit.Subject) {
	t.Helper()
	var refused *limit.Refusal
	if fault.CodeOf(err) != fault.RateLimited || !errors.As(err, &refused) || refused.Kind != kind || refused.Subject != subject {
		t.Errorf("%v, want a refusal by %s of %v", err, kind, subject)
	}
}

func TestRequestLimits(t *testing.T) {
	for _, c := range []struct {
		subject  limit.Subject
		key, org limit.Limits
	}{{keySubject, limit.Limits{RequestsPerMinute: 1}, limit.Limits{RequestsPerMinute: 5}}, {orgSubject, limit.Limits{RequestsPerMinute: 5}, limit.Limits{RequestsPerMinute: 1}}} {
		r := newRig(t)
		r.store.key.Limits, r.store.config.Org.Limits = c.key, c.org
		a, err := r.complete(gateway.Query{}, ask("openrouter/m"))
		check(t, err)
		if left := a.Info().RequestsLeft; left == nil || left.Limit != 1 || left.Remaining != 0 || a.Info().TokensLeft != nil {
			t.Errorf("left %+v", left)
		}
		_, err = r.read().complete(gateway.Query{}, ask("openrouter/m"))
		wantRefusal(t, err, limit.Requests, c.subject)
		// What was read with the key refuses, without a write.
		r.wantLog("reserve 1 platform P7 hold=true", "call m key=platform-key", "used 1 completed")
		r.now = r.now.Add(time.Minute)
		_, err = r.read().complete(gateway.Query{}, ask("openrouter/m"))
		check(t, err)
	}
}

// TestLimitsOfIdempotentRequests: only the ledger knows whether it is a repeat.
func TestLimitsOfIdempotentRequests(t *testing.T) {
	r := newRig(t)
	r.store.key.Limits = limit.Limits{RequestsPerMinute: 1}
	q := gateway.Query{IdempotencyKey: "k", Route: "POST /x"}
	_, err := r.complete(q, ask("openrouter/m"))
	check(t, err)
	r.reserveErr = fault.New(fault.IdempotencyCompleted, "x", "finished")
	_, err = r.read().complete(q, ask("openrouter/m"))
	wantCode(t, err, fault.IdempotencyCompleted)
	r.reserveErr = nil
	_, err = r.read().complete(gateway.Query{IdempotencyKey: "l", Route: "POST /x"}, ask("openrouter/m"))
	wantRefusal(t, err, limit.Requests, keySubject)
}

func TestTokenLimit(t *testing.T) {
	r := newRig(t)
	r.store.key.Limits = limit.Limits{TokensPerMinute: 500}
	m := ask("openrouter/m")
	m.MaxOutputTokens = 400
	a, err := r.complete(gateway.Query{}, m)
	check(t, err)
	// The vendor reported 10 + 5.
	if got := r.limits.State(keySubject).Counters[fmt.Sprint("t", r.now.Unix()/60)]; got != 15 {
		t.Errorf("%d tokens are counted", got)
	}
	if left := a.Info().TokensLeft; left == nil || left.Remaining >= 100 || left.Remaining < 50 {
		t.Errorf("left %+v", left)
	}
	_, err = r.read().complete(gateway.Query{}, ask("openrouter/m")) // no output limit
	wantRefusal(t, err, limit.Tokens, keySubject)
	if fault.As(err).Retryable() {
		t.Error("a request that can never pass is to be retried")
	}
}

// TestSlotsFollowTheCall: a slot is taken while the call runs, over all its
// candidates, and is free afterwards however it ended.
func TestSlotsFollowTheCall(t *testing.T) {
	slots := func(r *rig) int { return len(r.limits.State(keySubject).Slots) }
	limited := func() *rig {
		r := newRig(t)
		r.store.key.Limits = limit.Limits{Concurrent: 1, Budget: limit.Budget{Amount: 1_000_000, Period: limit.Day}}
		return r
	}
	for name, c := range map[string]struct {
		end   func(r *rig, s *gateway.ChatStream)
		steps []any
	}{
		"end":        {func(_ *rig, s *gateway.ChatStream) { drain(s) }, []any{text(8), model.Event{Kind: model.EventEnd}}},
		"cut":        {func(_ *rig, s *gateway.ChatStream) { drain(s) }, []any{text(8), vendorFault(fault.ProviderError)}},
		"closed":     {func(_ *rig, s *gateway.ChatStream) { _ = s.Close() }, []any{text(8), text(8)}},
		"unrecorded": {func(r *rig, s *gateway.ChatStream) { r.usedErr = vendorFault(fault.LedgerUnavailable); drain(s) }, []any{text(8), model.Event{Kind: model.EventEnd}}},
	} {
		r := limited()
		s := r.stream(c.steps...)
		if slots(r) != 1 {
			t.Errorf("%s: %d slots while it runs", name, slots(r))
		}
		_, err := r.read().complete(gateway.Query{}, ask("openrouter/m"))
		wantRefusal(t, err, limit.Concurrent, keySubject)
		c.end(r, s)
		if slots(r) != 0 {
			t.Errorf("%s: %d slots afterwards", name, slots(r))
		}
		if got, want := r.limits.State(keySubject).Counters["b"+r.now.Format("20060102")], int64(r.used[0].Amount); got != want || want == 0 {
			t.Errorf("%s: the budget counts %d, charged were %d", name, got, want)
		}
	}
	r := limited()
	r.connect("c1", "https://vendor.example", nil)
	r.connect("c2", "https://vendor.example", nil)
	r.script = []any{vendorFault(fault.ProviderError), vendorFault(fault.InvalidRequest)}
	_, err := r.complete(gateway.Query{}, ask("openrouter/m"))
	wantCode(t, err, fault.InvalidRequest)
	if slots(r) != 0 || r.limits.State(keySubject).Counters["c"] != 0 || len(r.calls) != 2 {
		t.Errorf("a request that nobody served: %+v", r.limits.State(keySubject))
	}
	// An answer whose recording is left to somebody else has ended, too.
	r = limited()
	g := r.gateway()
	a, err := g.Complete(t.Context(), r.caller(g), gateway.Query{}, ask("openrouter/m"))
	check(t, err)
	if slots(r) != 1 {
		t.Errorf("%d slots before the recording", slots(r))
	}
	a.Defer()
	if st := r.limits.State(keySubject); len(st.Slots) != 0 || st.Counters["b20261121"] != 20 {
		t.Errorf("deferred: %+v", st)
	}
}

func drain(s *gateway.ChatStream) {
	for {
		if _, err := s.Next(); err != nil {
			if !errors.Is(err, io.EOF) {
				_ = s.Close()
			}
			return
		}
	}
}

func TestBudgetIsThePlatforms(t *testing.T) {
	r := newRig(t)
	r.store.config.Org.Limits = limit.Limits{Budget: limit.Budget{Amount: 20, Period: limit.Month}}
	_, err := r.complete(gateway.Query{}, ask("openrouter/m")) // charged 20
	check(t, err)
	_, err = r.read().complete(gateway.Query{}, ask("openrouter/m"))
	wantRefusal(t, err, limit.Spending, orgSubject)
	if f := fault.As(err); f.RetryAfter != 9*24*time.Hour+12*time.Hour || !strings.Contains(f.Message, "2026-12-01T00:00:00Z") {
		t.Errorf("%v after %s", f, f.RetryAfter)
	}
	// An own key costs nothing here.
	r.connect("c1", "https://vendor.example", func(c *connection.Connection) { c.AllowPlatformFallback = true })
	r.store.config.Settings.AllowPlatformFallback = true
	_, err = r.read().complete(gateway.Query{}, ask("openrouter/m"))
	check(t, err)
	// When it fails, the platform is no way around the budget, and the vendor's
	// word stands.
	r.script = []any{vendorFault(fault.ProviderKeyInvalid)}
	_, err = r.read().complete(gateway.Query{}, ask("openrouter/m"))
	wantCode(t, err, fault.ProviderKeyInvalid)
	if last := r.calls[len(r.calls)-1]; len(r.calls) != 3 || last.Request.CacheKey != "" {
		t.Errorf("%d calls", len(r.calls))
	}
}

// TestFallbackReplacesTheHold: the platform as fallback counts its hold, once.
func TestFallbackReplacesTheHold(t *testing.T) {
	r := newRig(t)
	r.store.key.Limits = limit.Limits{RequestsPerMinute: 1, Budget: limit.Budget{Amount: 1_000_000, Period: limit.Total}}
	r.script = []any{vendorFault(fault.ProviderError)}
	_, err := r.complete(gateway.Query{Agent: "helper"}, ask(""))
	check(t, err)
	if st := r.limits.State(keySubject); st.Counters["bt"] != 20 || st.Counters[fmt.Sprint("r", r.now.Unix()/60)] != 1 || len(r.calls) != 2 {
		t.Errorf("%+v, log %v", st, r.log)
	}
}

// TestLimitsOfTheOrganisationBindThePlatformsOwnCalls: an agent's turn has no key.
func TestLimitsOfTheOrganisationBindThePlatformsOwnCalls(t *testing.T) {
	r := newRig(t)
	r.store.key.Limits = limit.Limits{RequestsPerMinute: 1}
	r.store.config.Org.Limits = limit.Limits{RequestsPerMinute: 2}
	for i := range 3 {
		r.read()
		g := r.gateway()
		c, err := g.Internal(t.Context(), "acme", func() time.Time { return r.now })
		check(t, err)
		a, err := g.Complete(t.Context(), c, gateway.Query{}, ask("openrouter/m"))
		if i == 2 {
			wantRefusal(t, err, limit.Requests, orgSubject)
			return
		}
		check(t, err)
		a.Defer()
	}
}

func TestNothingIsCountedWithoutLimits(t *testing.T) {
	r := newRig(t)
	_, err := r.complete(gateway.Query{}, ask("openrouter/m"))
	check(t, err)
	if r.limits.Writes != 0 {
		t.Errorf("%d writes", r.limits.Writes)
	}
}

func TestMediaAreBounded(t *testing.T) {
	image := func(bytes int) model.Part {
		return model.Part{Kind: model.PartImage, Media: &model.Media{MIME: "image/png", Base64: strings.Repeat("A", bytes/3*4)}}
	}
	many := func(n int, p model.Part) *model.Request {
		m := ask("openrouter/m")
		for range n {
			m.Messages[0].Parts = append(m.Messages[0].Parts, p)
		}
		return m
	}
	nested := many(60, image(3))
	nested.Messages = append(nested.Messages, model.Message{Role: model.RoleTool, Parts: []model.Part{{Kind: model.PartToolResult,
		Result: &model.ToolResult{CallID: "c", Parts: many(41, image(3)).Messages[0].Parts}}}})
	for name, c := range map[string]struct {
		m    *model.Request
		code fault.Code
	}{
		"many":        {many(101, image(3)), fault.InvalidRequest},
		"in results":  {nested, fault.InvalidRequest},
		"large":       {many(5, image(900_000)), fault.TooLarge},
		"as many":     {many(100, image(3)), fault.UnsupportedMedia}, // the rig's vendor sees nothing
		"large texts": {ask("openrouter/m"), ""},
	} {
		r := newRig(t)
		_, err := r.complete(gateway.Query{}, c.m)
		if f := fault.As(err); fault.CodeOf(err) != c.code || f != nil && c.code != fault.UnsupportedMedia && f.Param != "messages" {
			t.Errorf("%s: %v", name, err)
		}
		g := r.gateway()
		c.m.Stream = true
		if c.code == "" {
			continue
		}
		if _, err := g.Stream(t.Context(), r.caller(g), gateway.Query{}, c.m); fault.CodeOf(err) != c.code {
			t.Errorf("%s, streamed: %v", name, err)
		}
	}
}

// as makes the rig's caller a key of another organisation.
func (r *rig) as(orgID string) *rig {
	key, digest, err := org.Mint(orgID, "k1", rand.Reader)
	check(r.t, err)
	check(r.t, key.Use(func(b []byte) error { r.key = string(b); return nil }))
	r.store.key.Org, r.store.key.Hash, r.store.config.Org.ID = orgID, digest, orgID
	return r
}

// TestPromptCachesAreApart: two organisations never send the platform's vendor
// the same first words or the same names, one organisation always does.
func TestPromptCachesAreApart(t *testing.T) {
	requests := map[string]func() *model.Request{
		"text": func() *model.Request { return ask("openrouter/m") },
		"system": func() *model.Request {
			m := ask("openrouter/m")
			m.Messages = append([]model.Message{{Role: model.RoleSystem, Parts: []model.Part{model.Text("You are kind."), model.Text("And brief.")}}}, m.Messages...)
			return m
		},
		"tools and names": func() *model.Request {
			m := ask("openrouter/m")
			m.Tools = []model.Tool{{Name: "a", Schema: json.RawMessage(`{"type":"object"}`)}, {Name: "b", Description: "does b"}}
			m.User = "u1"
			m.Extra = map[string]json.RawMessage{"prompt_cache_key": json.RawMessage(`"mine"`), "safety_identifier": json.RawMessage(`"s"`)}
			return m
		},
	}
	for name, request := range requests {
		sent := map[string][]*model.Request{}
		for _, id := range []string{"acme", "other", "acme"} {
			r := newRig(t).as(id)
			client := request()
			_, err := r.complete(gateway.Query{}, client)
			check(t, err)
			if !reflect.DeepEqual(client, request()) {
				t.Errorf("%s: the client's request was changed: %+v", name, client)
			}
			sent[id] = append(sent[id], r.calls[0].Request)
		}
		a, b := sent["acme"][0], sent["other"][0]
		if !reflect.DeepEqual(a, sent["acme"][1]) {
			t.Errorf("%s: one organisation sends different requests", name)
		}
		first := func(m *model.Request) string { return m.Messages[0].Parts[0].Text }
		if m := a.Messages[0]; m.Role != model.RoleSystem || first(a)[:18] == first(b)[:18] || first(a)[0] != '[' || first(a)[17] != ']' {
			t.Errorf("%s: begins with %q and %q", name, first(a), first(b))
		}
		if a.CacheKey == "" || a.CacheKey == b.CacheKey || strings.Contains(first(a), a.CacheKey) {
			t.Errorf("%s: cache keys %q and %q", name, a.CacheKey, b.CacheKey)
		}
		for i := range a.Tools {
			if differ := a.Tools[i].Description != b.Tools[i].Description; differ != (i == 0) {
				t.Errorf("%s: tool %d: %q and %q", name, i, a.Tools[i].Description, b.Tools[i].Description)
			}
		}
		for field := range a.Extra {
			if string(a.Extra[field]) == string(b.Extra[field]) || strings.Contains(string(a.Extra[field]), "mine") {
				t.Errorf("%s: %s is %s in both", name, field, a.Extra[field])
			}
		}
		if request().User != "" && (a.User == b.User || a.User == request().User || a.User == "") {
			t.Errorf("%s: users %q and %q", name, a.User, b.User)
		}
		if got, want := a.Messages[len(a.Messages)-1], request().Messages[len(request().Messages)-1]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the client's words were changed: %+v", name, got)
		}
	}
}

// TestOwnKeysAreNotSalted: nothing is shared on an organisation's own account.
func TestOwnKeysAreNotSalted(t *testing.T) {
	r := newRig(t)
	r.connect("c1", "https://vendor.example", nil)
	m := ask("openrouter/m")
	m.User, m.Extra = "u1", map[string]json.RawMessage{"prompt_cache_key": json.RawMessage(`"mine"`)}
	_, err := r.complete(gateway.Query{}, m)
	check(t, err)
	if got := r.calls[0].Request; !reflect.DeepEqual(got.Messages, m.Messages) || got.CacheKey != "" || got.User != "u1" || !maps.EqualFunc(got.Extra, m.Extra, func(a, b json.RawMessage) bool { return string(a) == string(b) }) {
		t.Errorf("sent %+v", got)
	}
}
