package turn_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agent/turn"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/session"
)

// bots lets an install take other bots' messages.
func (e *env) bots(b install.BotMessages) {
	e.Helper()
	i, _, err := e.installs.Install(e.Context(), "i1")
	if err != nil {
		e.Fatal(err)
	}
	next := i
	next.Policy.BotMessages, next.Version = b, i.Version+1
	if err := e.installs.UpdateInstall(e.Context(), i, next, audit.Row{}); err != nil {
		e.Fatal(err)
	}
}

// slow is the n-th message of a bot that answers every quarter of an hour.
func (e *env) slow(n int) session.Job {
	j := e.bot(n)
	j.ReceivedAt = start.Add(time.Duration(n) * 15 * time.Minute)
	return j
}

// rooted is a message of a bot, or of a person, that begins a conversation in a room.
func (e *env) rooted(n int, person bool) session.Job {
	j := e.bot(n)
	j.Envelope.IsBot, j.Envelope.Thread = !person, fmt.Sprintf("17.%d", n)
	return j
}

func (e *env) bot(n int) session.Job {
	j := e.message(fmt.Sprintf("EvB%d", n), fmt.Sprintf("message %d", n))
	j.Envelope.IsBot, j.Envelope.Actor, j.ReceivedAt = true, "B9", start.Add(time.Duration(n)*time.Second)
	return j
}

// TestBotsInARow: three turns, then one record and silence, and no model is asked; a
// person brings the conversation back. (matrix row 35)
func TestBotsInARow(t *testing.T) {
	e := newEnv(t)
	e.bots(install.BotsAll)
	for n := range 8 {
		if r := e.deliver(e.bot(n), 1); r.Retry {
			t.Fatalf("%d: %+v", n, r)
		}
	}
	records := slices.DeleteFunc(slices.Clone(e.audit.codes), func(c string) bool { return !strings.HasPrefix(c, "turn.loop") })
	if len(e.model.asked) != 3 || len(e.vendor.posts) != 3 || !slices.Equal(records, []string{"turn.loop_suppressed loop_in_a_row"}) {
		t.Errorf("asked %d, posted %d, %q", len(e.model.asked), len(e.vendor.posts), e.audit.codes)
	}
	for n, code := range map[int]string{2: "", 3: "loop_in_a_row", 4: "loop_pause", 7: "loop_pause"} {
		got, _ := e.state(fmt.Sprintf("EvB%d", n))
		if got.Code != code || got.State.Final() != true || (got.State == session.TurnDone) != (code == "") {
			t.Errorf("turn %d: %+v", n, got)
		}
	}
	if all := e.messages(); len(all) != 6 {
		t.Errorf("%d messages: what is not answered is not remembered", len(all))
	}
	person := e.message("EvP", "stop it")
	person.ReceivedAt = start.Add(10 * time.Second)
	e.deliver(person, 1)
	e.deliver(e.bot(12), 1)
	if len(e.model.asked) != 5 {
		t.Errorf("asked %d after a person", len(e.model.asked))
	}
}

// TestCountedOnce: a turn that is tried again counts once.
func TestCountedOnce(t *testing.T) {
	e := newEnv(t)
	e.bots(install.BotsAll)
	e.model.err = fmt.Errorf("down")
	for receive := range int64(6) {
		e.deliver(e.bot(0), receive+1)
	}
	e.model.err = nil
	if r := e.deliver(e.bot(0), 7); r.Retry || len(e.vendor.posts) != 1 {
		t.Errorf("%+v, %d posts, %q", r, len(e.vendor.posts), e.audit.codes)
	}
}

// TestPolicyIsReadAgain: a bot's message that was queued before the policy changed
// starts no turn.
func TestPolicyIsReadAgain(t *testing.T) {
	e := newEnv(t)
	if r := e.deliver(e.bot(0), 1); r.Retry || len(e.model.asked) != 0 {
		t.Errorf("%+v", r)
	}
	e.audited("turn.bot_ignored turn.bot_ignored")
	e.bots(install.BotsMentions)
	e.deliver(e.bot(1), 1)
	addressed := e.bot(2)
	addressed.Envelope.Mention = true
	if e.deliver(addressed, 1); len(e.model.asked) != 1 {
		t.Errorf("asked %d", len(e.model.asked))
	}
}

// TestGuardIsStoredOrTheTurnIsTriedAgain: a pause that could not be stored is no end.
func TestGuardIsStoredOrTheTurnIsTriedAgain(t *testing.T) {
	e := newEnv(t)
	e.bots(install.BotsAll)
	for n := range 3 {
		e.deliver(e.bot(n), 1)
	}
	e.store.Fail = func(op string) error {
		if op == "Quiet" {
			return fmt.Errorf("down")
		}
		return nil
	}
	if r := e.deliver(e.bot(3), 1); !r.Retry {
		t.Errorf("%+v", r)
	}
	e.store.Fail = nil
	if r := e.deliver(e.bot(3), 2); r.Retry || len(e.model.asked) != 3 {
		t.Errorf("%+v", r)
	}
	e.audited("turn.loop_suppressed loop_in_a_row")
}

// TestSlowLoop: bots that answer each other slowly get thirty turns a day.
func TestSlowLoop(t *testing.T) {
	e := newEnv(t)
	e.bots(install.BotsAll)
	for n := range 40 {
		e.deliver(e.slow(n), 1)
	}
	if len(e.model.asked) != 30 || len(e.vendor.posts) != 30 {
		t.Errorf("asked %d, posted %d", len(e.model.asked), len(e.vendor.posts))
	}
	if got, _ := e.state("EvB30"); got.Code != "loop_per_day" {
		t.Errorf("%+v", got)
	}
	person := e.message("EvP", "go on")
	person.ReceivedAt = start.Add(41 * 15 * time.Minute)
	e.deliver(person, 1)
	if e.deliver(e.slow(42), 1); len(e.model.asked) != 32 {
		t.Errorf("asked %d after a person", len(e.model.asked))
	}
}

// TestBotsThatOpenThreads: who begins a conversation with every message is counted in
// the room, and a person who begins one ends it; nothing is counted where bots are not
// let in.
func TestBotsThatOpenThreads(t *testing.T) {
	e := newEnv(t)
	e.bots(install.BotsAll)
	for n := range 6 {
		if r := e.deliver(e.rooted(n, false), 1); r.Retry {
			t.Fatalf("%d: %+v", n, r)
		}
	}
	loops := slices.DeleteFunc(slices.Clone(e.audit.codes), func(c string) bool { return !strings.HasPrefix(c, "turn.loop") })
	if len(e.model.asked) != 3 || !slices.Equal(loops, []string{"turn.loop_suppressed loop_in_a_row"}) {
		t.Errorf("asked %d, %q", len(e.model.asked), loops)
	}
	e.deliver(e.rooted(7, true), 1)
	e.deliver(e.rooted(8, false), 1)
	if len(e.model.asked) != 5 {
		t.Errorf("asked %d after a person", len(e.model.asked))
	}
	e.bots(install.BotsNone)
	e.store.Fail = func(op string) error {
		if op == "Room" || op == "KeepRoom" {
			t.Errorf("%s is called", op)
		}
		return nil
	}
	if e.deliver(e.rooted(9, true), 1); len(e.model.asked) != 6 {
		t.Errorf("asked %d", len(e.model.asked))
	}
}

// TestRoomIsCountedOnce: a turn that dies behind the count counts once, one that meets
// another writer reads again, and one that cannot count answers nothing.
func TestRoomIsCountedOnce(t *testing.T) {
	e := newEnv(t)
	e.bots(install.BotsAll)
	failing, times := "", 0
	e.store.Fail = func(op string) error {
		if op == failing && times > 0 {
			times--
			if op == "KeepRoom" {
				return session.ErrChanged
			}
			return fmt.Errorf("down")
		}
		return nil
	}
	for n := range 3 {
		failing, times = "Append", 3
		for receive := range int64(4) {
			e.deliver(e.rooted(n, false), receive+1)
		}
	}
	if len(e.model.asked) != 3 {
		t.Errorf("asked %d", len(e.model.asked))
	}
	e.deliver(e.rooted(3, true), 1)
	failing, times = "KeepRoom", 3
	if r := e.deliver(e.rooted(4, false), 1); r.Retry || len(e.model.asked) != 5 {
		t.Errorf("%+v, asked %d", r, len(e.model.asked))
	}
	failing, times = "KeepRoom", 1000
	if r := e.deliver(e.rooted(5, false), 1); !r.Retry || len(e.model.asked) != 5 {
		t.Errorf("%+v, asked %d", r, len(e.model.asked))
	}
	failing, times = "Room", 1000
	if r := e.deliver(e.rooted(5, false), 2); !r.Retry || len(e.model.asked) != 5 {
		t.Errorf("%+v, asked %d", r, len(e.model.asked))
	}
}

// TestVoicesOfAClock: recordings that nobody understands are counted, too.
func TestVoicesOfAClock(t *testing.T) {
	e := newVoiceEnv(t)
	entries := catalog.Entries()
	for k := range entries {
		entries[k].Anonymous = true
	}
	e.deps.Catalog = catalog.New(entries)
	e.run = turn.New(e.deps)
	e.talk.hearErr = fault.New(fault.ModelNotEnabled, "", "")
	for n := range 24 {
		j := e.note(fmt.Sprintf("EvV%d", n))
		j.ReceivedAt = start.Add(time.Duration(n) * 30 * time.Second)
		e.deliver(j, 1)
	}
	if n := len(e.via.texts); n < 3 || n > 13 {
		t.Errorf("told %d times", n)
	}
}

// TestSuspectStaysOne: where the vendor says nothing of bots, what a pause swallows is
// remembered of its author, so that a clock does not become a person in it.
func TestSuspectStaysOne(t *testing.T) {
	e := newEnv(t)
	entries := catalog.Entries()
	for k := range entries {
		entries[k].Anonymous = true
	}
	e.deps.Catalog = catalog.New(entries)
	e.run = turn.New(e.deps)
	for n := range 24 {
		j := e.message(fmt.Sprintf("EvC%d", n), fmt.Sprintf("tick %d", n))
		j.ReceivedAt = start.Add(time.Duration(n) * 30 * time.Second)
		e.deliver(j, 1)
	}
	// Seven until it is regular, three in a row, and after ten minutes three more.
	if len(e.model.asked) > 13 {
		t.Errorf("asked %d", len(e.model.asked))
	}
}

// TestAnonymousThreads: who says one thing again and again, each time in a new
// conversation, is counted in the room where the vendor says nothing of bots.
func TestAnonymousThreads(t *testing.T) {
	e := newEnv(t)
	entries := catalog.Entries()
	for k := range entries {
		entries[k].Anonymous = true
	}
	e.deps.Catalog = catalog.New(entries)
	e.run = turn.New(e.deps)
	for n := range 24 {
		j := e.rooted(n, true)
		j.Envelope.Text, j.ReceivedAt = "We have received your message.", start.Add(time.Duration(n*n)*time.Second)
		e.deliver(j, 1)
	}
	if n := len(e.model.asked); n < 3 || n > 10 {
		t.Errorf("asked %d", n)
	}
}
