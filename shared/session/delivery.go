package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Outcome is what became of one inbound request.
type Outcome string

// Outcomes.
const (
	Enqueued   Outcome = "enqueued"
	Duplicated Outcome = "duplicate"
	Ignored    Outcome = "ignored"
	Unbound    Outcome = "unbound"
	Refused    Outcome = "refused"
	Answered   Outcome = "handshake"
	Failed     Outcome = "failed"
)

// Delivery is one row of an install's log of inbound requests. Requests that
// differ in nothing but time share a row per minute, so that a flood of bad
// requests stays small; Count says how many there were.
type Delivery struct {
	Install string    `json:"-"`
	EventID string    `json:"event_id"`
	Outcome Outcome   `json:"outcome"`
	Code    string    `json:"audit_code"`
	At      time.Time `json:"at"`
	Count   int64     `json:"count"`
	// TurnID is set for enqueued ones.
	TurnID string `json:"turn_id,omitempty"`
	// URLHint says of a signature that does not match in what the signed URL differs
	// from the install's public_url.
	URLHint string `json:"url_hint,omitempty"`
}

// DeliveryTTL is how long the log keeps a row.
const DeliveryTTL = 14 * 24 * time.Hour

// Receipt is the dedupe row of one event.
type Receipt struct {
	// EventID is the event that was received first under this key. Vendors
	// deliver one post as several events; whoever enqueues it does so under
	// this id, so that all of them are one turn.
	EventID string
	// At is when it was received first, Until when it is forgotten.
	At, Until time.Time
	// Enqueued says that the event is durably queued. A row without it
	// swallows nothing: the first receiver may have died.
	Enqueued bool
}

// Dedupe keeps inbound events apart from their repeats and logs deliveries. An
// event is in one of three states:
//
//   - unknown: no receipt;
//   - received: a receipt and no more. It may be queued, if its receiver died
//     after that; whoever delivers it again queues it again, under the same id;
//   - queued: the log has a row of it that [Dedupe.Queued] wrote. Repeats end here.
type Dedupe interface {
	// Receive writes a receipt for key if there is none that expires after now,
	// and returns the stored one; fresh says that it was written by this call.
	Receive(ctx context.Context, install, key, eventID string, now time.Time, ttl time.Duration) (r Receipt, fresh bool, err error)
	// Queued records a delivery whose event is in the queue: row of the log and
	// mark of the receipt r of key are one. Repeating it replaces the row.
	Queued(ctx context.Context, key string, r Receipt, d Delivery) error
	// Log records any other delivery.
	Log(ctx context.Context, d Delivery) error
}

// hashed is hex SHA-256 over length-prefixed parts.
func hashed(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		n := len(p)
		h.Write([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// DedupeKey is the key of an event: its content if the vendor may deliver that
// as several events, else its id. It is hashed, because vendor ids may hold
// anything.
func DedupeKey(eventID, contentKey string) string {
	if contentKey != "" {
		return "c-" + hashed(contentKey)[:40]
	}
	return "e-" + hashed(eventID)[:40]
}

// TurnID is the turn of an event of an install. Every repeat of the event has
// the same one.
func TurnID(install, eventID string) string { return "t-" + hashed("turn", install, eventID)[:40] }

// QueueID is the queue's deduplication id of an event of an install.
func QueueID(install, eventID string) string { return hashed("queue", install, eventID) }

// RequestKey is the idempotency key of one model call of a turn.
func RequestKey(install, eventID, agent, step string) string {
	return hashed("request", install, eventID, agent, step)
}
