// Package session is a conversation: its routing key, its messages, the inbound
// deliveries that led to them and the turns that answered.
//
// A [Key] names one conversation of one agent and persona on one route; two
// agents in one channel have two keys and two transcripts. Its text is
// injective (every part is percent-encoded, an absent part is "-"), its hash is
// the session's id and the queue's message group.
//
// Guarantees kept by the stores: a delivery is enqueued at least once and
// becomes at most one turn; a turn's writes carry a fencing number, so that an
// invocation that lost its claim can change nothing; an answer is stored before
// anything acts on it; an outgoing part is sent at most once and one whose fate
// is unknown is never sent again.
package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
)

// keyVersion is the first part of every routing key.
const keyVersion = "v1"

// Key is a routing key. Agent and Persona come from the binding, never from the
// message; Tenant is the vendor's tenant that the install is bound to.
type Key struct {
	Org, Install, Agent, Persona string
	Provider, Tenant             string
	Space, Thread, Actor         string
}

// String is the text of the key.
func (k Key) String() string {
	parts := []string{k.Org, k.Install, k.Agent, k.Persona, k.Provider, k.Tenant, k.Space, k.Thread, k.Actor}
	var b strings.Builder
	b.WriteString(keyVersion)
	for _, p := range parts {
		b.WriteByte('|')
		escape(&b, p)
	}
	return b.String()
}

// Hash is hex SHA-256 of the text: 64 characters, valid as id and as message
// group.
func (k Key) Hash() string {
	sum := sha256.Sum256([]byte(k.String()))
	return hex.EncodeToString(sum[:])
}

// escape writes a part so that no two parts look alike: bytes other than
// unreserved ones are %XX, nothing is "-" and a lone "-" is "%2D".
func escape(b *strings.Builder, s string) {
	const digits = "0123456789ABCDEF"
	switch s {
	case "":
		b.WriteByte('-')
		return
	case "-":
		b.WriteString("%2D")
		return
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~", c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
}

// Session is one conversation.
type Session struct {
	Org       string
	ID        string // hash of the routing key
	Key       string
	Install   string
	AgentID   string
	PersonaID string
	Provider  string
	Space     string
	Thread    string
	CreatedAt time.Time
	UpdatedAt time.Time
	// Next is the sequence number of the next message.
	Next int64
	// Pin is what the last answer was served with, zero before the first.
	Pin Pin
	// Summary stands for the oldest messages.
	Summary Summary
	// Loop is what the guard against loops keeps, see session/loop.
	Loop string
	// Handoff says that a person answers; nil while the agent does. Every change of it
	// takes a sequence number, so whoever stores a message on the next one has seen it.
	Handoff *Handoff
	// Way is the job of the last message, without what it said: how to answer where
	// nobody is answered. Nil in sessions whose messages are all from before it was kept.
	Way []byte
}

// Handoff is a conversation in the hands of a person.
type Handoff struct {
	At time.Time
	// By is [ByAgent], or the actor of the key that took the conversation over.
	By     string
	Reason string
	// Turn is the one that handed over, empty where a person took it.
	Turn string
	// LastAt is when a person answered last, zero before the first time.
	LastAt time.Time
	// Resume is after how long without a person's answer the agent goes on; 0 = never
	// by itself.
	Resume time.Duration
}

// ByAgent is who handed over where the model did.
const ByAgent = "agent"

// Over reports whether the agent goes on by itself.
func (h *Handoff) Over(now time.Time) bool {
	last := h.At
	if h.LastAt.After(last) {
		last = h.LastAt
	}
	return h.Resume > 0 && !now.Before(last.Add(h.Resume))
}

// Summary is what was written down of the messages with a sequence number below
// Before. The messages themselves stay.
type Summary struct {
	Text   string
	Before int64
}

// Pin names a model and the connection it was reached over, so that a
// conversation stays where it is.
type Pin struct {
	Model      string // provider/model
	Connection string // empty = the platform's credential
}

// Role says who wrote a message.
type Role string

// Roles.
const (
	User      Role = "user"
	Assistant Role = "assistant"
	// Notice is what happened beside the talk, such as the decision about a call.
	Notice Role = "notice"
	// Human is a person who answers in the agent's place.
	Human Role = "human"
)

// Message is one message of a session.
type Message struct {
	Seq       int64     `json:"seq"`
	Role      Role      `json:"role"`
	Text      string    `json:"text"`
	AgentID   string    `json:"agent_id"`
	PersonaID string    `json:"persona_id,omitempty"`
	TurnID    string    `json:"turn_id"`
	EventID   string    `json:"event_id"`
	At        time.Time `json:"at"`
	// Pin of an answer that is stored becomes the session's. It is not read back.
	Pin Pin `json:"-"`
	// Loop of a user's message becomes the session's, unless it is empty. It is not
	// read back.
	Loop string `json:"-"`
	// Way of a user's message becomes the session's. It is not read back.
	Way []byte `json:"-"`
	// Shown is how whoever wrote it is shown it, stored with it; nil where a vendor
	// does that. It is not read back.
	Shown *Shown `json:"-"`
}

// Reader reads conversations for people.
type Reader interface {
	// Session fails with not_found.
	Session(ctx context.Context, org, id string) (Session, error)
	// Sessions lists an organisation's sessions by id, with who answers in them.
	Sessions(ctx context.Context, org, after string, limit int) (page []Session, next string, err error)
	// Messages lists a session's messages oldest first.
	Messages(ctx context.Context, org, id, after string, limit int) (page []Message, next string, err error)
	// Turn fails with not_found.
	Turn(ctx context.Context, org, id string) (Turn, []Part, error)
	// Deliveries lists an install's deliveries newest first.
	Deliveries(ctx context.Context, install, after string, limit int) (page []Delivery, next string, err error)
}
