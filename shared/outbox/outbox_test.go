package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
)

// fakeBus takes what refuse leaves over, or nothing while it is down.
type fakeBus struct {
	taken  []string
	calls  int
	down   bool
	refuse func(call int, id string) bool
}

func (b *fakeBus) Put(_ context.Context, events []Event) (refused []int, err error) {
	b.calls++
	size := 0
	for _, e := range events {
		size += len(e.Detail)
	}
	if len(events) < 1 || len(events) > BatchEvents || size > BatchBytes {
		return nil, errors.New("too much for one request")
	}
	if b.down {
		return nil, errors.New("down")
	}
	for i, e := range events {
		if b.refuse != nil && b.refuse(b.calls, e.ID) {
			refused = append(refused, i)
		} else {
			b.taken = append(b.taken, e.ID)
		}
	}
	return refused, nil
}

type fakeStore struct {
	kept map[string]Event
	err  error
}

func (s *fakeStore) Keep(_ context.Context, events []Event) error {
	for _, e := range events {
		s.kept[e.ID] = e
	}
	return s.err
}

func (s *fakeStore) Kept(_ context.Context, after string, limit int) (out []Event, err error) {
	for _, e := range s.kept {
		if e.ID > after {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b Event) int { return strings.Compare(a.ID, b.ID) })
	return out[:min(limit, len(out))], s.err
}

func (s *fakeStore) Drop(_ context.Context, ids []string) error {
	for _, id := range ids {
		delete(s.kept, id)
	}
	return s.err
}

func events(n, size int) (out []Event) {
	for i := range n {
		out = append(out, Event{ID: fmt.Sprintf("e%03d", i), Detail: make([]byte, size)})
	}
	return out
}

func box(b *fakeBus) (*Outbox, *fakeStore) {
	s := &fakeStore{kept: map[string]Event{}}
	return &Outbox{Bus: b, Store: s, Wait: func(context.Context, time.Duration) error { return nil }}, s
}

// TestSend: everything is taken or kept, whatever the bus does; only what was
// refused is offered again.
func TestSend(t *testing.T) {
	for name, c := range map[string]struct {
		bus         fakeBus
		n, size     int
		calls, kept int
	}{
		"all at once":         {fakeBus{}, 23, 10, 3, 0},
		"large ones":          {fakeBus{}, 20, MaxDetail, 3, 0}, // seven fit
		"one refused once":    {fakeBus{refuse: func(call int, id string) bool { return call == 1 && id == "e004" }}, 10, 10, 2, 0},
		"one refused always":  {fakeBus{refuse: func(_ int, id string) bool { return id == "e004" }}, 25, 10, 5, 1},
		"down":                {fakeBus{down: true}, 95, 10, 3, 95}, // the first batch only
		"whole batch refused": {fakeBus{refuse: func(_ int, id string) bool { return id < "e010" }}, 25, 10, 3, 25},
		"nothing":             {fakeBus{}, 0, 0, 0, 0},
	} {
		o, s := box(&c.bus)
		if err := o.Send(t.Context(), events(c.n, c.size)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if c.bus.calls != c.calls || len(s.kept) != c.kept || len(c.bus.taken)+len(s.kept) != c.n {
			t.Errorf("%s: %d calls, %d taken, %d kept", name, c.bus.calls, len(c.bus.taken), len(s.kept))
		}
		seen := map[string]bool{}
		for _, id := range c.bus.taken {
			if seen[id] {
				t.Errorf("%s: %s was taken twice", name, id)
			}
			seen[id] = true
		}
	}
	o, s := box(&fakeBus{down: true})
	s.err = errors.New("down, too")
	if err := o.Send(t.Context(), events(1, 1)); fault.CodeOf(err) != fault.LedgerUnavailable {
		t.Errorf("neither sent nor kept: %v", err)
	}
}

// TestFlush: kept events leave the store only when they were taken.
func TestFlush(t *testing.T) {
	b := &fakeBus{down: true}
	o, s := box(b)
	if err := o.Send(t.Context(), events(250, 10)); err != nil || len(s.kept) != 250 {
		t.Fatalf("%d kept: %v", len(s.kept), err)
	}
	if sent, left, err := o.Flush(t.Context(), 1000); sent != 0 || !left || err != nil || len(s.kept) != 250 {
		t.Errorf("while down: %d %v %v", sent, left, err)
	}
	b.down = false
	if sent, left, err := o.Flush(t.Context(), 120); sent != 120 || !left || err != nil || len(s.kept) != 130 {
		t.Errorf("within a budget: %d %v %v", sent, left, err)
	}
	if sent, left, err := o.Flush(t.Context(), 1000); sent != 130 || left || err != nil || len(s.kept) != 0 || len(b.taken) != 250 {
		t.Errorf("the rest: %d %v %v", sent, left, err)
	}
	// An alert is kept before it is sent.
	if err := o.Store.Keep(t.Context(), events(2, 1)); err != nil {
		t.Fatal(err)
	}
	b.refuse = func(_ int, id string) bool { return id == "e001" }
	o.SendKept(t.Context(), events(2, 1))
	if _, there := s.kept["e001"]; len(s.kept) != 1 || !there {
		t.Errorf("kept %v", s.kept)
	}
}

// TestEvents: what consumers read, exactly.
func TestEvents(t *testing.T) {
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	usage := credit.Entry{ID: "e_1", Org: "acme", Kind: credit.UsageEntry, At: at, Amount: -4, Request: "r1", Attempt: 1, Source: "platform",
		Provider: "vendor", Model: "m", Agent: "a", Key: "k", PriceVersion: "p1", Usage: billing.Usage{InputTokens: 3, OutputTokens: 1, Source: billing.FromProvider}}
	grant := credit.Entry{ID: "e_2", Org: "acme", Kind: credit.GrantEntry, At: at, Amount: 9, Request: "g_1"}
	low := Balance{ID: "al_1", Org: "acme", At: at, Threshold: "20%", Limit: 20, Left: 19, Level: 100, Since: at.Add(-time.Hour)}
	long := usage
	long.Model = strings.Repeat("m", MaxDetail)
	for _, c := range []struct {
		e          Event
		kind, want string
	}{
		{EntryEvent("prod", usage), TypeEntry, `{"id":"e_1","stage":"prod","org_id":"acme","at":"2026-11-21T12:00:00Z","kind":"usage","amount":-4,"request_id":"r1","attempt":1,` +
			`"billing_source":"platform","price_version":"p1","provider":"vendor","model":"m","agent_id":"a","key_id":"k","usage":{"input_tokens":3,"cached_input_tokens":0,` +
			`"cache_write_tokens":0,"cache_write_1h_tokens":0,"output_tokens":1,"reasoning_tokens":0,"input_audio_tokens":0,"output_audio_tokens":0,"input_image_tokens":0,` +
			`"output_image_tokens":0,"audio_ms":0,"audio_out_ms":0,"characters":0,"images":0,"source":"provider"},"estimated":false,"late":false}`},
		{EntryEvent("prod", grant), TypeEntry, `{"id":"e_2","stage":"prod","org_id":"acme","at":"2026-11-21T12:00:00Z","kind":"grant","amount":9,"posting_id":"g_1","estimated":false,"late":false}`},
		{BalanceEvent("prod", low, false), TypeLow, `{"id":"al_1","stage":"prod","org_id":"acme","at":"2026-11-21T12:00:00Z","threshold":"20%","limit":20,"left":19,"level":100,"since":"2026-11-21T11:00:00Z"}`},
		{BalanceEvent("prod", Balance{ID: "al_2", Org: "acme", At: at, Threshold: "exhausted"}, true), TypeExhausted,
			`{"id":"al_2","stage":"prod","org_id":"acme","at":"2026-11-21T12:00:00Z","threshold":"exhausted","limit":0,"left":0,"level":0}`},
		{HandoffEvent("prod", Handoff{Org: "acme", Install: "i1", Session: "s1", Agent: "a1", Reason: "a \"refund\"", By: "agent", At: at, Once: "t-1"}), TypeHandoff,
			`{"id":"ho_0v9jrsbVN3oH__I_wTNI","stage":"prod","org_id":"acme","at":"2026-11-21T12:00:00Z","install_id":"i1","session_id":"s1","agent_id":"a1","by":"agent","reason":"a \"refund\""}`},
		{ApprovalEvent("prod", Approval{Org: "acme", ID: "ap-1", Tool: "refund", Agent: "a1", Install: "i1", Session: "s1", At: at, ExpiresAt: at.Add(time.Hour)}), TypeApproval,
			`{"id":"aw_7x5lKRIYVBXEoLoIPnDk","stage":"prod","org_id":"acme","at":"2026-11-21T12:00:00Z","approval_id":"ap-1","tool":"refund","agent_id":"a1","install_id":"i1","session_id":"s1","expires_at":"2026-11-21T13:00:00Z"}`},
		{EntryEvent("prod", long), TypeEntry, `{"id":"e_1","stage":"prod","org_id":"acme","at":"2026-11-21T12:00:00Z","cut":true}`},
	} {
		if c.e.Type != c.kind || string(c.e.Detail) != c.want || !c.e.At.Equal(at) {
			t.Errorf("%s\n got %s\nwant %s", c.e.Type, c.e.Detail, c.want)
		}
	}
	p := credit.Poison{PK: strings.Repeat("p", 600), SK: "REQ", Reason: "unreadable", At: at}
	first, again := AnomalyEvent("prod", p), AnomalyEvent("prod", p)
	p.Reason = "entry_exists"
	var d map[string]any
	if err := json.Unmarshal(first.Detail, &d); err != nil || d["id"] != first.ID || len(d["pk"].(string)) != 512 || d["reason"] != "unreadable" {
		t.Errorf("%s %v", first.Detail, err)
	}
	if first.ID != again.ID || first.ID == AnomalyEvent("prod", p).ID || first.Type != TypeAnomaly {
		t.Errorf("ids %s %s", first.ID, again.ID)
	}
}
