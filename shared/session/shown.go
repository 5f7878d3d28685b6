package session

import (
	"context"
	"time"
)

// Shown is one message of a conversation as the person in it is shown it, on a channel
// without a vendor: nobody posts it, the person's page reads it. There are no
// instructions, calls of tools or summaries among them.
type Shown struct {
	// Seq orders the messages of a session, from 1, without gaps.
	Seq int64
	// Role is [User], [Assistant], [Human], or [Notice] for what the product says itself.
	Role Role
	Text string
	// By is the name of the persona that answered, empty for none.
	By string
	// Message is the person's own id of a message, empty for an answer.
	Message string
	Turn    string
	At      time.Time
}

// ShownPage is some of what a person is shown.
type ShownPage struct {
	// Items are oldest first.
	Items []Shown
	// More says that there are newer ones than these.
	More bool
	// Typing is until when an answer is being made, zero for never.
	Typing time.Time
}

// ShownReader reads what people are shown.
type ShownReader interface {
	// Shown returns the messages behind a sequence number, the oldest of them, or the
	// newest ones of all where after is 0. A session that is unknown has none.
	Shown(ctx context.Context, org, session string, after int64, limit int) (ShownPage, error)
}

// Signs tell people that an answer is being made.
type Signs interface {
	// Typing says so until a time. It lasts no longer than until the next message.
	Typing(ctx context.Context, org, session string, until time.Time) error
}
