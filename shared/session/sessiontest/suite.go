package sessiontest

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/session"
)

// Store is everything a session store offers.
type Store struct {
	session.Dedupe
	session.Turns
	session.Transcript
	session.Reader
	session.Aliases
	session.Rooms
	session.ShownReader
	session.Signs
	People
}

// All makes a Store of one implementation.
func All[T interface {
	session.Dedupe
	session.Turns
	session.Transcript
	session.Reader
	session.Aliases
	session.Rooms
	session.ShownReader
	session.Signs
	People
}](s T) Store {
	return Store{s, s, s, s, s, s, s, s, s}
}

func start() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) }

// Run runs the suite. Every case uses an organisation of its own, so one store
// serves them all.
func Run(t *testing.T, s Store) {
	t.Run("dedupe", func(t *testing.T) { dedupe(t, s) })
	t.Run("parallel receive", func(t *testing.T) { parallel(t, s) })
	t.Run("deliveries", func(t *testing.T) { deliveries(t, s) })
	t.Run("claims", func(t *testing.T) { claims(t, s) })
	t.Run("fenced writes", func(t *testing.T) { fenced(t, s) })
	t.Run("transcript", func(t *testing.T) { transcript(t, s) })
	t.Run("outbox", func(t *testing.T) { outbox(t, s) })
	t.Run("summaries", func(t *testing.T) { summaries(t, s) })
	t.Run("spoken", func(t *testing.T) { spoken(t, s) })
	t.Run("sessions", func(t *testing.T) { sessions(t, s) })
	t.Run("aliases", func(t *testing.T) { aliasRows(t, s) })
	t.Run("rooms", func(t *testing.T) { rooms(t, s) })
	t.Run("people", func(t *testing.T) { people(t, s) })
	t.Run("shown", func(t *testing.T) { shown(t, s) })
	t.Run("handoffs", func(t *testing.T) { handoffs(t, s) })
}

func dedupe(t *testing.T, s Store) {
	ctx := t.Context()
	must := func(install, key, event string, now time.Time) (session.Receipt, bool) {
		t.Helper()
		r, fresh, err := s.Receive(ctx, install, key, event, now, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return r, fresh
	}
	first, fresh := must("i1", "k", "e1", start())
	if !fresh || first.Enqueued || first.EventID != "e1" || !first.At.Equal(start()) || !first.Until.Equal(start().Add(time.Hour)) {
		t.Fatalf("first: %+v %v", first, fresh)
	}
	if r, fresh := must("i1", "k", "e2", start().Add(time.Second)); fresh || r != first {
		t.Fatalf("a row that is not enqueued keeps its first event and swallows nothing: %+v %v", r, fresh)
	}
	// Everything else that is logged of the event is no mark.
	queued := session.Delivery{Install: "i1", EventID: "e2", Outcome: session.Enqueued, Code: "hook.accepted", At: start().Add(2 * time.Minute), TurnID: "t1"}
	if err := s.Log(ctx, session.Delivery{Install: "i1", EventID: "e1", Outcome: session.Failed, Code: "hook.enqueue_failed", At: start()}); err != nil {
		t.Fatal(err)
	}
	if r, _ := must("i1", "k", "e1", start().Add(time.Second)); r.Enqueued {
		t.Fatal("a failure was taken for a mark")
	}
	for range 2 {
		if err := s.Queued(ctx, "k", first, queued); err != nil {
			t.Fatal(err)
		}
	}
	if r, fresh := must("i1", "k", "e1", start().Add(59*time.Minute)); fresh || !r.Enqueued || r.EventID != "e1" {
		t.Fatalf("repeat: %+v %v", r, fresh)
	}
	page, _, err := s.Deliveries(ctx, "i1", "", 10)
	if err != nil || len(page) != 2 || page[0].Count != 1 || page[0].EventID != "e2" || page[0].TurnID != "t1" || page[0].Code != "hook.accepted" || !page[0].At.Equal(queued.At) {
		t.Fatalf("the mark is the row of the log: %+v %v", page, err)
	}
	if r, fresh := must("i2", "k", "e1", start()); !fresh || r.Enqueued {
		t.Fatalf("another install shares the row: %+v %v", r, fresh)
	}
	if r, fresh := must("i1", "other", "e1", start()); !fresh || r.Enqueued {
		t.Fatalf("another key shares the mark: %+v %v", r, fresh)
	}
	// Time to live is enforced by comparison, because deletion lags.
	if r, fresh := must("i1", "k", "e3", start().Add(61*time.Minute)); !fresh || r.Enqueued || r.EventID != "e3" {
		t.Fatalf("expired: %+v %v", r, fresh)
	}
}

func parallel(t *testing.T, s Store) {
	var wg sync.WaitGroup
	fresh := make([]bool, 8)
	for i := range fresh {
		wg.Go(func() {
			_, f, err := s.Receive(t.Context(), "i3", "k", "e", start(), time.Hour)
			if err != nil {
				t.Error(err)
			}
			fresh[i] = f
		})
	}
	wg.Wait()
	n := 0
	for _, f := range fresh {
		if f {
			n++
		}
	}
	if n != 1 {
		t.Fatalf("%d of 8 wrote the row", n)
	}
}

func deliveries(t *testing.T, s Store) {
	ctx := t.Context()
	log := func(event, code string, at time.Time) {
		t.Helper()
		if err := s.Log(ctx, session.Delivery{Install: "i4", EventID: event, Outcome: session.Refused, Code: code, At: at, TurnID: "t"}); err != nil {
			t.Fatal(err)
		}
	}
	log("", "hook.sig_mismatch", start())
	log("", "hook.sig_mismatch", start().Add(time.Second))
	log("e1", "hook.accepted", start().Add(time.Minute))
	log("e2", "hook.accepted", start().Add(2*time.Minute))
	page, next, err := s.Deliveries(ctx, "i4", "", 2)
	if err != nil || len(page) != 2 || page[0].EventID != "e2" || page[1].EventID != "e1" || next == "" || page[0].TurnID != "t" {
		t.Fatalf("%+v %q %v", page, next, err)
	}
	page, next, err = s.Deliveries(ctx, "i4", next, 2)
	if err != nil || len(page) != 1 || page[0].Count != 2 || page[0].Code != "hook.sig_mismatch" || !page[0].At.Equal(start()) || page[0].Outcome != session.Refused || next != "" {
		t.Fatalf("a flood of equal refusals is one row: %+v %q %v", page, next, err)
	}
	for range 2 {
		if err := s.Log(ctx, session.Delivery{Install: "i4", Outcome: session.Refused, Code: "hook.sig_mismatch", At: start().Add(time.Second), URLHint: "slash"}); err != nil {
			t.Fatal(err)
		}
	}
	if page, _, err = s.Deliveries(ctx, "i4", "", 10); err != nil || len(page) != 4 || page[2].URLHint+page[3].URLHint != "slash" || page[2].Count != 2 || page[3].Count != 2 {
		t.Fatalf("a hint is a row of its own: %+v %v", page, err)
	}
	if page, _, _ := s.Deliveries(ctx, "i5", "", 10); len(page) != 0 {
		t.Fatalf("another install's rows: %+v", page)
	}
}

func newTurn(org, id string) session.Turn {
	return session.Turn{Org: org, ID: id, Install: "i", EventID: "e", Session: "s", AgentID: "a", PersonaID: "p"}
}

func claim(org, id, delivery string, receive int64, owner string, now time.Time) session.Claim {
	return session.Claim{Turn: newTurn(org, id), Delivery: delivery, Receive: receive, Owner: owner, Now: now, Lease: time.Minute}
}

func take(t *testing.T, s Store, c session.Claim) (session.Turn, []session.Part) {
	t.Helper()
	turn, parts, held, err := s.Claim(t.Context(), c)
	if err != nil || held > 0 {
		t.Fatalf("claim: held %v, %v", held, err)
	}
	return turn, parts
}

func claims(t *testing.T, s Store) {
	ctx := t.Context()
	first, _ := take(t, s, claim("o1", "t1", "m1", 1, "w1", start()))
	if first.Attempts != 1 || first.Fence != 1 || first.State != session.TurnRunning || first.AgentID != "a" || first.EventID != "e" || first.PersonaID != "p" {
		t.Fatalf("%+v", first)
	}
	held := func(c session.Claim, want bool) {
		t.Helper()
		_, _, d, err := s.Claim(ctx, c)
		if err != nil || (d > 0) != want || d > time.Minute {
			t.Fatalf("held %v, %v", d, err)
		}
	}
	held(claim("o1", "t1", "m2", 1, "w2", start()), true)  // another message, lease runs
	held(claim("o1", "t1", "m1", 1, "w2", start()), true)  // same reception, another invocation
	held(claim("o1", "t1", "m1", 1, "w1", start()), false) // the same claim again: its answer was lost
	held(claim("o1", "t1", "m1", 2, "w3", start()), false) // a later reception proves that the earlier is gone
	held(claim("o1", "t1", "m1", 1, "w4", start()), true)  // and not the other way round
	last, _ := take(t, s, claim("o1", "t1", "m2", 1, "w5", start().Add(61*time.Second)))
	if last.Fence < 3 {
		t.Fatalf("fence %d", last.Fence)
	}
	last.State, last.Code = session.TurnWaiting, "provider_overloaded"
	if err := s.Note(ctx, last, start()); err != nil {
		t.Fatal(err)
	}
	again, _ := take(t, s, claim("o1", "t1", "m3", 1, "w6", start().Add(62*time.Second))) // waiting holds nothing
	again.State, again.Code = session.TurnDone, ""
	if err := s.Note(ctx, again, start()); err != nil {
		t.Fatal(err)
	}
	done, _ := take(t, s, claim("o1", "t1", "m4", 9, "w7", start().Add(time.Hour)))
	if done.State != session.TurnDone || done.Fence != again.Fence || done.Attempts != again.Attempts {
		t.Fatalf("a final turn is never claimed: %+v", done)
	}
	if _, _, err := s.Turn(ctx, "o1", "none"); fault.CodeOf(err) != fault.NotFound {
		t.Fatal(err)
	}
}

func fenced(t *testing.T, s Store) {
	ctx := t.Context()
	old, _ := take(t, s, claim("o2", "t1", "m1", 1, "w1", start()))
	open(t, s, "o2")
	mine, _ := take(t, s, claim("o2", "t1", "m1", 2, "w2", start()))
	part := session.Part{Part: 1, State: session.Planned, Text: "x"}
	for name, f := range map[string]func(session.Turn) error{
		"note":   func(t session.Turn) error { t.State = session.TurnEnded; return s.Note(ctx, t, start()) },
		"append": func(t session.Turn) error { return s.Append(ctx, t, session.Message{Role: session.User, Text: "x"}) },
		"plan": func(t session.Turn) error {
			return s.Plan(ctx, t, []session.Part{part}, session.Message{Role: session.Assistant, Text: "x"}, start())
		},
	} {
		if err := f(old); !errors.Is(err, session.ErrFenced) {
			t.Errorf("%s under an old fence: %v", name, err)
		}
	}
	if err := s.Plan(ctx, mine, []session.Part{part}, session.Message{Role: session.Assistant, Text: "x"}, start()); err != nil {
		t.Fatal(err)
	}
	if err := s.Plan(ctx, mine, []session.Part{part}, session.Message{Role: session.Assistant, Text: "y"}, start()); !errors.Is(err, session.ErrFenced) {
		t.Fatalf("a second plan: %v", err)
	}
	claimed := part
	claimed.State, claimed.Fence = session.Claimed, old.Fence
	if err := s.Move(ctx, old, part, claimed); !errors.Is(err, session.ErrFenced) {
		t.Fatalf("claiming a part under an old fence: %v", err)
	}
}

func open(t *testing.T, s Store, org string) session.Session {
	t.Helper()
	x, err := s.Open(t.Context(), session.Session{Org: org, ID: "s", Key: "v1|k", Install: "i", AgentID: "a", Provider: "x", Space: "C", Thread: "1"}, start())
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func transcript(t *testing.T, s Store) {
	ctx := t.Context()
	open(t, s, "o3")
	for i := range 3 {
		turn, _ := take(t, s, claim("o3", fmt.Sprintf("t%d", i), "m", 1, "w", start()))
		for range 2 {
			if err := s.Append(ctx, turn, session.Message{Role: session.User, Text: fmt.Sprintf("u%d", i), TurnID: turn.ID, EventID: "e", AgentID: "a", At: start()}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Plan(ctx, turn, nil, session.Message{Role: session.Assistant, Text: fmt.Sprintf("a%d", i), TurnID: turn.ID, At: start(),
			Pin: session.Pin{Model: fmt.Sprintf("p/m%d", i), Connection: "c1"}}, start()); err != nil {
			t.Fatal(err)
		}
		if x := open(t, s, "o3"); x.Pin != (session.Pin{Model: fmt.Sprintf("p/m%d", i), Connection: "c1"}) {
			t.Fatalf("the session is pinned to %+v", x.Pin)
		}
	}
	// What has no pin keeps the session's; the platform's credential has no id.
	turn, _ := take(t, s, claim("o3", "t9", "m", 1, "w", start()))
	if err := s.Append(ctx, turn, session.Message{Role: session.User, Text: "u9", TurnID: turn.ID, At: start()}); err != nil || open(t, s, "o3").Pin.Model != "p/m2" {
		t.Fatal(err, open(t, s, "o3").Pin)
	}
	if err := s.Plan(ctx, turn, nil, session.Message{Role: session.Assistant, Text: "a9", TurnID: turn.ID, At: start(), Pin: session.Pin{Model: "p/m9"}}, start()); err != nil ||
		open(t, s, "o3").Pin != (session.Pin{Model: "p/m9"}) {
		t.Fatal(err, open(t, s, "o3").Pin)
	}
	loops(t, s)
	recent, err := s.Recent(ctx, "o3", "s", 0, 3)
	if err != nil || len(recent) != 3 || recent[0].Text != "a2" || recent[2].Text != "a9" || recent[1].Text != "u9" || recent[1].Role != session.User {
		t.Fatalf("%+v %v", recent, err)
	}
	page, next, err := s.Messages(ctx, "o3", "s", "", 4)
	if err != nil || len(page) != 4 || page[0].Text != "u0" || page[0].EventID != "e" || page[0].AgentID != "a" || next == "" {
		t.Fatalf("%+v %q %v", page, next, err)
	}
	page, next, err = s.Messages(ctx, "o3", "s", next, 4)
	if err != nil || len(page) != 4 || page[1].Text != "a2" || page[1].Seq != 5 || next != "" {
		t.Fatalf("%+v %q %v", page, next, err)
	}
	if x := open(t, s, "o3"); x.Next != 8 || x.Key != "v1|k" {
		t.Fatalf("%+v", x)
	}
}

// summaries: a summary is stored with its step or not at all, by the live claim
// only, over the summary that it was made from; messages stay.
func summaries(t *testing.T, s Store) {
	ctx := t.Context()
	open(t, s, "o7")
	turn, _ := take(t, s, claim("o7", "t1", "m1", 1, "w1", start()))
	if err := s.Append(ctx, turn, session.Message{Role: session.User, Text: "u0", TurnID: turn.ID, At: start()}); err != nil {
		t.Fatal(err)
	}
	step := session.Step{N: 1, Kind: session.StepSummary, RequestID: "r1", Receipt: []byte("receipt")}
	next := session.Summary{Text: "notes", Before: 1}
	if err := s.Fold(ctx, turn, step, session.Summary{Before: 5}, next); !errors.Is(err, session.ErrFenced) {
		t.Fatalf("over another summary: %v", err)
	}
	if err := s.Fold(ctx, turn, step, session.Summary{}, next); err != nil {
		t.Fatal(err)
	}
	if x := open(t, s, "o7"); x.Summary != next || x.Next != 1 {
		t.Fatalf("%+v", x)
	}
	if err := s.Fold(ctx, turn, step, next, session.Summary{Text: "x", Before: 1}); !errors.Is(err, session.ErrFenced) {
		t.Fatalf("a step twice: %v", err)
	}
	if err := s.Fold(ctx, turn, session.Step{N: 2, Kind: session.StepSummary}, session.Summary{}, session.Summary{Text: "x", Before: 1}); !errors.Is(err, session.ErrFenced) {
		t.Fatalf("over a summary that was replaced: %v", err)
	}
	if got, err := s.Recent(ctx, "o7", "s", 1, 9); err != nil || len(got) != 0 {
		t.Fatalf("%+v %v", got, err)
	}
	if got, err := s.Recent(ctx, "o7", "s", 0, 9); err != nil || len(got) != 1 {
		t.Fatalf("%+v %v", got, err)
	}
	later, parts := take(t, s, claim("o7", "t1", "m1", 2, "w2", start()))
	if len(parts) != 0 || len(later.Steps) != 1 || later.Steps[0].Kind != session.StepSummary || later.Steps[0].RequestID != "r1" || string(later.Steps[0].Receipt) != "receipt" || later.Steps[0].N != 1 {
		t.Fatalf("%+v %+v", later, parts)
	}
	result := session.Step{N: 2, Kind: session.StepResult, Receipt: []byte("r2"), Data: []byte("data"), Call: session.ToolCall{ID: "c1", Tool: "look_up", Status: "ok", At: start(), DurationMS: 7}}
	if err := s.Step(ctx, turn, result); !errors.Is(err, session.ErrFenced) {
		t.Fatalf("a step of a claim that was lost: %v", err)
	}
	for n := range 2 {
		if err := s.Step(ctx, later, result); (n == 0) != (err == nil) || n > 0 && !errors.Is(err, session.ErrFenced) {
			t.Fatalf("step, time %d: %v", n+1, err)
		}
	}
	if stored, _, err := s.Turn(ctx, "o7", "t1"); err != nil || len(stored.Steps) != 2 || !reflect.DeepEqual(stored.Steps[1], result) || session.View(stored, nil).ToolCalls[0] != result.Call {
		t.Fatalf("%+v %v", stored, err)
	}
	if err := s.Fold(ctx, turn, session.Step{N: 3, Kind: session.StepSummary}, next, session.Summary{Text: "x", Before: 1}); !errors.Is(err, session.ErrFenced) {
		t.Fatalf("by a claim that was lost: %v", err)
	}
	// The next message and the pin of an answer leave the summary as it is.
	if err := s.Plan(ctx, later, nil, session.Message{Role: session.Assistant, Text: "a1", TurnID: turn.ID, At: start()}, start()); err != nil {
		t.Fatal(err)
	}
	if x := open(t, s, "o7"); x.Summary != next || x.Next != 2 {
		t.Fatalf("%+v", x)
	}
	if got, err := s.Recent(ctx, "o7", "s", 1, 9); err != nil || len(got) != 1 || got[0].Text != "a1" {
		t.Fatalf("%+v %v", got, err)
	}
}

func outbox(t *testing.T, s Store) {
	ctx := t.Context()
	open(t, s, "o4")
	turn, _ := take(t, s, claim("o4", "t1", "m1", 1, "w1", start()))
	turn.Receipt, turn.RequestIDs, turn.Notice = []byte("receipt"), []string{"r1"}, "why"
	if err := s.Plan(ctx, turn, []session.Part{{Part: 1, State: session.Planned, Text: "one"}, {Part: 2, State: session.Planned, Text: "two", Format: "[2]", Ask: "ap-1:n"}}, session.Message{}, start()); err != nil {
		t.Fatal(err)
	}
	got, parts := take(t, s, claim("o4", "t1", "m1", 2, "w2", start()))
	if got.State != session.TurnAnswered || !got.Planned || string(got.Receipt) != "receipt" || got.Notice != "why" || got.RequestIDs[0] != "r1" || got.Committed ||
		len(parts) != 2 || parts[0].Text != "one" || parts[0].Format != "" || parts[1].Part != 2 || parts[1].Format != "[2]" || parts[0].Ask != "" || parts[1].Ask != "ap-1:n" {
		t.Fatalf("%+v %+v", got, parts)
	}
	if recent, _ := s.Recent(ctx, "o4", "s", 0, 9); len(recent) != 0 {
		t.Fatalf("an empty message was written: %+v", recent)
	}
	claimed := parts[0]
	claimed.State, claimed.Fence = session.Claimed, got.Fence
	if err := s.Move(ctx, got, parts[0], claimed); err != nil {
		t.Fatal(err)
	}
	if err := s.Move(ctx, got, parts[0], claimed); !errors.Is(err, session.ErrFenced) {
		t.Fatalf("claimed twice: %v", err)
	}
	replaced, _ := take(t, s, claim("o4", "t1", "m1", 3, "w3", start()))
	later, parts := take(t, s, claim("o4", "t1", "m1", 4, "w4", start()))
	unknown := parts[0]
	unknown.State, unknown.Code = session.Unknown, "interrupted"
	if err := s.Move(ctx, replaced, parts[0], unknown); !errors.Is(err, session.ErrFenced) {
		t.Fatalf("a run that was replaced ended another one's part: %v", err)
	}
	if err := s.Move(ctx, later, parts[0], unknown); err != nil {
		t.Fatal(err)
	}
	sent := claimed
	sent.State, sent.ProviderMessageID = session.Sent, "9"
	if err := s.Move(ctx, got, claimed, sent); !errors.Is(err, session.ErrFenced) {
		t.Fatalf("an old claim changed an unknown part: %v", err)
	}
	later.State, later.Committed = session.TurnDone, true
	if err := s.Note(ctx, later, start().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	read, parts, err := s.Turn(ctx, "o4", "t1")
	if err != nil || read.State != session.TurnDone || !read.Committed || parts[0].State != session.Unknown || parts[0].Code != "interrupted" || parts[0].Text != "one" || parts[1].State != session.Planned {
		t.Fatalf("%+v %+v %v", read, parts, err)
	}
}

// spoken: what a turn heard is stored with the user's message, once, and a part
// keeps its voice and the receipt of its speech.
func spoken(t *testing.T, s Store) {
	ctx := t.Context()
	open(t, s, "o17")
	turn, _ := take(t, s, claim("o17", "t1", "m1", 1, "w1", start()))
	turn.Heard, turn.HeardReceipt, turn.RequestIDs = "what was said", []byte("heard1"), []string{"r1"}
	said := session.Message{Role: session.User, Text: "what was said", TurnID: turn.ID, At: start()}
	if err := s.Append(ctx, turn, said); err != nil {
		t.Fatal(err)
	}
	again := turn
	again.Heard, again.HeardReceipt = "something else", []byte("heard2")
	if err := s.Append(ctx, again, said); err != nil {
		t.Fatal(err)
	}
	turn, _ = take(t, s, claim("o17", "t1", "m1", 2, "w2", start()))
	if turn.Heard != "what was said" || string(turn.HeardReceipt) != "heard1" || !turn.Appended || len(turn.RequestIDs) != 1 {
		t.Fatalf("%+v", turn)
	}
	if err := s.Plan(ctx, turn, []session.Part{{Part: 1, State: session.Planned, Text: "one", Voice: "alloy", Spoken: "say one"}}, session.Message{}, start()); err != nil {
		t.Fatal(err)
	}
	turn, parts := take(t, s, claim("o17", "t1", "m1", 3, "w3", start()))
	if len(parts) != 1 || parts[0].Voice != "alloy" || len(parts[0].Receipt) != 0 {
		t.Fatalf("%+v", parts)
	}
	claimed := parts[0]
	claimed.State, claimed.Fence, claimed.Receipt = session.Claimed, turn.Fence, []byte("spoken1")
	back := claimed
	back.State, back.Receipt, back.Code = session.Planned, nil, "ratelimited"
	for _, step := range [][2]session.Part{{parts[0], claimed}, {claimed, back}} {
		if err := s.Move(ctx, turn, step[0], step[1]); err != nil {
			t.Fatal(err)
		}
	}
	_, parts = take(t, s, claim("o17", "t1", "m1", 4, "w4", start()))
	if p := parts[0]; p.State != session.Planned || p.Voice != "alloy" || p.Spoken != "say one" || string(p.Receipt) != "spoken1" || p.Text != "one" {
		t.Fatalf("%+v", p)
	}
}

func sessions(t *testing.T, s Store) {
	ctx := t.Context()
	for _, id := range []string{"b", "a", "c"} {
		if _, err := s.Open(ctx, session.Session{Org: "o5", ID: id, Key: "k" + id, Install: "i", AgentID: "ag", PersonaID: "pe", Provider: "x", Space: "C", Thread: "1"}, start()); err != nil {
			t.Fatal(err)
		}
	}
	page, next, err := s.Sessions(ctx, "o5", "", 2)
	if err != nil || len(page) != 2 || page[0].ID != "a" || page[1].ID != "b" || next == "" || page[0].AgentID != "ag" || page[0].Space != "C" {
		t.Fatalf("%+v %q %v", page, next, err)
	}
	if page, next, err = s.Sessions(ctx, "o5", next, 2); err != nil || len(page) != 1 || page[0].ID != "c" || next != "" {
		t.Fatalf("%+v %q %v", page, next, err)
	}
	if _, err := s.Session(ctx, "o6", "a"); fault.CodeOf(err) != fault.NotFound {
		t.Fatalf("another organisation's session: %v", err)
	}
	if x, err := s.Session(ctx, "o5", "a"); err != nil || x.PersonaID != "pe" || !x.CreatedAt.Equal(start()) {
		t.Fatalf("%+v %v", x, err)
	}
}
