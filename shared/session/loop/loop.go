// Package loop keeps agents from talking to other machines for ever.
//
// Two bots that answer each other cost money, fill a room and get an app limited.
// What an adapter knows to be a bot is let in by the install's policy only; what is
// let in is counted here, per conversation, in a [State] that is stored with it.
// [State.Next] is pure: it takes one message and says whether it may be answered.
//
// Of bots, in a conversation: at most [InARow] turns with less than [Cooldown]
// between them, [PerMinute] messages a minute, and [PerDay] turns a day, which is
// what ends a loop that is slow. A message of a person ends all of it. What is not
// answered begins a pause, and only its beginning is worth a record. Where a vendor
// does not say who is a bot, a sender who repeats a text, or who writes as regularly
// as a clock, counts as one until it does something else.
//
// A bot may begin a conversation of its own (a thread) with every message. The same
// counts are kept of the room for messages that begin one; there a person ends it who
// begins one, too.
package loop

import (
	"encoding/json"
	"errors"
	"hash/fnv"
	"slices"
	"time"
)

// Limits.
const (
	// InARow is how many turns a bot gets before a person says something.
	InARow = 3
	// PerMinute bounds the messages of bots in any 60 seconds.
	PerMinute = 20
	// PerDay bounds the turns of bots in a day (UTC) without a person.
	PerDay = 30
	// Cooldown is how long nothing is answered, and the silence after which a bot's
	// turns are no longer in a row.
	Cooldown = 10 * time.Minute
	// Kept is how long what is kept of a room may matter: the day's budget.
	Kept = 2 * 24 * time.Hour
	// Same is how often a text may come again, Regular how often messages may follow
	// each other at the same distance, give or take a twentieth of it. Below
	// Distance that is what people's apps do who send several at once.
	Same     = 4
	Regular  = 6
	Distance = 2 * time.Second
)

const (
	minute = 60
	day    = 24 * 60 * 60
	// maxState bounds a stored state.
	maxState = 1024
)

// State is what is known of a conversation; the zero value is a new one. Times are
// seconds since 1970 where nothing else is said.
type State struct {
	Row   int   `json:"r,omitempty"`
	Last  int64 `json:"l,omitempty"` // of a bot's turn
	Day   int64 `json:"d,omitempty"`
	Today int   `json:"t,omitempty"`
	// Recent are the bots' messages of the last minute.
	Recent []int64 `json:"m,omitempty"`
	// Quiet is until when nothing of bots is answered.
	Quiet int64 `json:"q,omitempty"`
	// By is the bot's message that was decided last, and Why how: who looks at it
	// again, because a run died, is told the same, and it counts once.
	By  uint32 `json:"b,omitempty"`
	Why Reason `json:"y,omitempty"`
	// Of senders who may be a bot: when they wrote last, at which distance, what, and
	// how often it was the same. Here times are milliseconds.
	Wrote   int64  `json:"w,omitempty"`
	Gap     int64  `json:"g,omitempty"`
	Regular int    `json:"e,omitempty"`
	Text    uint32 `json:"x,omitempty"`
	Same    int    `json:"s,omitempty"`
}

// Event is one message.
type Event struct {
	// ID is the same whenever the message is looked at.
	ID string
	// Bot says that the vendor calls its author a bot; Unknown that this vendor never
	// says.
	Bot, Unknown bool
	Text         string
	// At is when it was received.
	At time.Time
}

// Reason says why a message is not answered.
type Reason string

// Reasons.
const (
	Answer  Reason = ""
	Row     Reason = "in_a_row"
	Minute  Reason = "per_minute"
	Day     Reason = "per_day"
	Suspect Reason = "automated"
	Pause   Reason = "pause" // one of the others began it
)

// Next takes a message. Unless why is [Answer] it is not to be answered; a [Pause] is
// no news. next is to be stored if it is not equal to s, before anything is answered.
func (s State) Next(e Event) (next State, why Reason) {
	if s.By == sum(e.ID) {
		return s, s.Why
	}
	at, suspect := e.At.Unix(), false
	if e.Unknown {
		s, suspect = s.notice(e.Text, e.At.UnixMilli())
	}
	if !e.Bot && !suspect {
		return State{Recent: s.Recent, Wrote: s.Wrote, Gap: s.Gap, Regular: s.Regular, Text: s.Text, Same: s.Same}, Answer
	}
	if at < s.Quiet {
		return s, Pause
	}
	if at-s.Last >= int64(Cooldown.Seconds()) {
		s.Row = 0
	}
	if s.Day != at/day {
		s.Day, s.Today = at/day, 0
	}
	s.Recent = append(slices.DeleteFunc(slices.Clone(s.Recent), func(t int64) bool { return at-t >= minute }), at)
	quiet := at + int64(Cooldown.Seconds())
	switch {
	case s.Today >= PerDay:
		why, quiet = Day, (at/day+1)*day
	case len(s.Recent) > PerMinute:
		why = Minute
	case s.Row >= InARow:
		if why = Row; suspect {
			why = Suspect
		}
	default:
		s.Row, s.Today, s.Last, s.Quiet, s.By, s.Why = s.Row+1, s.Today+1, at, 0, sum(e.ID), Answer
		return s, Answer
	}
	s.Recent, s.Quiet, s.Row, s.By, s.Why = nil, quiet, 0, sum(e.ID), why
	return s, why
}

// notice looks at a message whose author nobody calls a bot.
func (s State) notice(text string, at int64) (State, bool) {
	switch h := sum(text); {
	case text == "": // a voice note
		s.Text, s.Same = 0, 0
	case s.Text == h:
		s.Same++
	default:
		s.Text, s.Same = h, 0
	}
	gap := at - s.Wrote
	if s.Wrote > 0 && s.Gap >= Distance.Milliseconds() && abs(gap-s.Gap)*20 <= s.Gap {
		s.Regular++
	} else {
		s.Regular = 0
	}
	if s.Wrote > 0 {
		s.Gap = max(gap, 0)
	}
	s.Wrote = at
	return s, s.Same >= Same || s.Regular >= Regular
}

// sum is never 0, which stands for none.
func sum(text string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(text))
	return h.Sum32() | 1
}

func abs(n int64) int64 { return max(n, -n) }

// Equal reports whether two states are the same.
func (s State) Equal(o State) bool { return s.String() == o.String() }

// String is the stored form, never empty.
func (s State) String() string {
	b, _ := json.Marshal(s) // numbers
	return string(b)
}

// ErrState says that a stored state cannot be read.
var ErrState = errors.New("loop: malformed state")

// Parse reads a stored state; nothing stored is a new conversation.
func Parse(text string) (State, error) {
	var s State
	if text == "" {
		return s, nil
	}
	if len(text) > maxState || json.Unmarshal([]byte(text), &s) != nil || len(s.Recent) > PerMinute {
		return State{}, ErrState
	}
	return s, nil
}
