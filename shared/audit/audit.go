// Package audit is the append-only record of what people and machines changed.
//
// A [Row] says who did what to which thing, when, and how it ended. A store
// writes the row in the same transaction as the change it describes, so there is
// no change without a row and no row without a change; a row is put only if its
// key is absent and nothing updates or deletes one. Rows hold no free text: the
// detail is a small map whose names come from an allow-list and whose values are
// short printable words, so that neither a secret nor a vendor's text can get in.
//
// An [Op] is one authenticated operation; it makes the rows. Rows are listed
// newest first, at most [Months] back.
//
// The rows of an organisation form a chain: each has the next number and the
// hash of the row before it, and the [Head] names the last. [Verify] recomputes
// the chain and reports rows that were altered, removed, inserted or moved.
//
// Limits: the hashes have no key. Whoever can write rows and head alike can make
// a new chain that verifies; only a head hash that was noted elsewhere, as
// [Report] gives it, tells. Rows from before the chain existed are listed and
// counted, not covered. Order in the chain is the order of writing, which may
// differ from the order of times by the length of a request.
package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/table"
)

// Months is how many calendar months a listing goes back.
const Months = 13

// Outcome says how the operation ended.
type Outcome string

// Outcomes.
const (
	Done    Outcome = "done"
	Refused Outcome = "refused"
)

// Op is one operation on behalf of an actor.
type Op struct {
	Actor string    // "key:<kid>", "operator:<kid>", "function:<name>" or "<channel>:<person>"
	ID    string    // unique for the operation, a valid id
	At    time.Time // when it happened, UTC
}

// Valid reports whether the operation names an actor, a valid id and a time, so
// that its rows can be written.
func (op Op) Valid() bool { return op.Actor != "" && table.ValidID(op.ID) && !op.At.IsZero() }

// Part is the operation under an id of its own, for one of several rows; parts
// say which. Equal operations and parts give equal ids.
func (op Op) Part(parts ...string) Op {
	sum := sha256.Sum256(lengthPrefixed(append([]string{op.ID}, parts...)...))
	op.ID = op.ID[:min(len(op.ID), maxPartOf)] + "-" + hex.EncodeToString(sum[:6])
	return op
}

// maxPartOf leaves room for a part's suffix in an id of 64 characters.
const maxPartOf = 51

// Row is one audit row.
type Row struct {
	ID      string
	Org     string
	At      time.Time
	Actor   string
	Action  string // "<resource>.<verb>"
	Target  string // id of what was changed
	Outcome Outcome
	Code    string // fault code of a refusal, empty when done
	Detail  map[string]string

	// Seq, Prev and Hash are the row's place in the chain, set by the store that
	// writes it. Seq counts from 1; it is 0 in rows older than the chain.
	Seq  int64
	Prev Hash // of the row before, zero for the first
	Hash Hash
}

// Store keeps rows. A row whose chain moved on meanwhile is linked again and
// tried again, a bounded number of times; then the write fails with unavailable
// and has not happened.
type Store interface {
	// PutAudit writes the row if its key is absent; an existing row is left as
	// it is and is no error, so that a repeat after a crash succeeds.
	PutAudit(ctx context.Context, row Row) error
	// Audit lists an organisation's rows newest first. after is the opaque
	// position of the previous page, empty for the first; next is empty at the
	// end. now bounds the listing to the last [Months].
	Audit(ctx context.Context, org, after string, limit int, now time.Time) (rows []Row, next string, err error)
	Chain
}

// detailNames are the only names a detail may have.
var detailNames = []string{
	"agent_id", "amount", "base_url", "billing_source", "changed", "class", "enabled", "expires_at", "fields", "fingerprint", "install_id",
	"key_id", "kind", "label", "mode", "monthly_cap", "org_ids", "parent_org_id", "provider", "reason", "scopes", "state", "status", "threshold", "tier", "version",
}

const maxDetail = 256

// Row makes the row of a finished change. detail is name, value pairs; a pair
// whose name is not on the allow-list is dropped, a long or unprintable value is
// cut, because a row must never fail the change it describes.
func (op Op) Row(org, action, target string, detail ...string) Row {
	r := Row{ID: op.ID, Org: org, At: op.At.UTC(), Actor: op.Actor, Action: action, Target: target, Outcome: Done}
	for i := 0; i+1 < len(detail); i += 2 {
		name, value := detail[i], clean(detail[i+1])
		if value == "" || !slices.Contains(detailNames, name) {
			continue
		}
		if r.Detail == nil {
			r.Detail = map[string]string{}
		}
		r.Detail[name] = value
	}
	return r
}

// Refusal makes the row of an operation that was refused with a fault code.
func (op Op) Refusal(org, action, target, code string) Row {
	r := op.Row(org, action, target)
	r.Outcome, r.Code = Refused, code
	return r
}

func clean(s string) string {
	s = strings.Map(func(c rune) rune {
		if c < 0x20 || c > 0x7e {
			return -1
		}
		return c
	}, s)
	return s[:min(len(s), maxDetail)]
}
