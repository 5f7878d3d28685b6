// Package rotation runs the long jobs of the vault: moving every credential to
// another wrapping key or to new material of the same one, giving it a fresh
// data key, opening everything as a test, and removing what ended overlaps left
// behind.
//
// # Guarantees
//
//   - A job is one durable record. A process may die anywhere: the next one takes
//     the lease over when it has run out and goes on at the cursor, which is
//     written after the records before it. Repeating a record is harmless.
//   - A change of the key is one transaction: the ring names the new key, its
//     epoch rises, the job runs. From then on nothing new is stored under the old
//     key (package vault holds every writer to the epoch), and every record is
//     moved on condition that nobody changed it or the ring meanwhile.
//   - A job is done only after a whole pass over the table in which nothing was
//     left to do and nothing failed. With failures it ends as failed and lists
//     them; starting it again is safe.
//   - A record that opens under no key makes its credential needs_reentry. It is
//     never deleted.
//   - At most one job that rewrites records is open at a time.
//
// # Flow
//
// [Service] is what people ask for: start, roll back. [Runner] is what the
// rotate function does: take the lease, prepare (try the keys, switch the ring),
// walk the pages, finish. It stops when its context ends and leaves the rest to
// the next run. Serving traffic is left alone: a rate that starts at [Rate]
// records per second and halves whenever the key service is busy.
//
// # Limits
//
// Leases go by the clocks of the machines; a worker that lost its lease without
// noticing may still write, and the conditions on record and ring make that
// harmless. Counts are those of finished pages, a crash repeats the last one.
package rotation

import (
	"context"
	"errors"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
)

// Kind is what a job does.
type Kind string

// Kinds.
const (
	// KEK moves every record to the ring's key without opening it.
	KEK Kind = "kek"
	// Material wraps every record with the newest material of the ring's key.
	Material Kind = "material"
	// DEK gives every record a fresh data key; it opens every value.
	DEK Kind = "dek"
	// Verify opens every value that is in use and changes nothing.
	Verify Kind = "verify"
	// Prune removes values whose overlap has ended.
	Prune Kind = "prune"
	// Import brings the integrations of one organisation to where their storage
	// mode wants them and compares both copies.
	Import Kind = "import"
)

// slots: jobs that rewrite records exclude each other.
var slots = map[Kind]string{KEK: "rewrite", Material: "rewrite", DEK: "rewrite", Verify: "verify", Prune: "prune", Import: "import"}

// Slot names what only one open job may hold.
func (k Kind) Slot() string { return slots[k] }

// rewrites reports whether the job writes wrapped keys.
func (k Kind) rewrites() bool { return k.Slot() == slots[KEK] }

// State is where a job is.
type State string

// States. Verifying is every pass after the first.
const (
	Planned     State = "planned"
	Running     State = "running"
	Verifying   State = "verifying"
	RollingBack State = "rolling_back"
	Done        State = "done"
	Failed      State = "failed"
)

// Ended reports whether nothing more happens by itself.
func (s State) Ended() bool { return s == Done || s == Failed }

const (
	// Rate is how many records per second a job begins with.
	Rate = 50
	// maxRate bounds what may be asked for.
	maxRate = 1000
	// lease is how long a worker that is silent keeps its job.
	lease = 60 * time.Second
	// maxFailures bounds the list; the count goes on.
	maxFailures = 50
	// pruneID is the one record of all prune jobs, so that they do not pile up.
	pruneID = "prune"
)

// Job is the durable record.
type Job struct {
	ID   string
	Kind Kind
	// Org limits the job to one organisation; empty means all.
	Org string
	// From and To are key ARNs. They are exchanged by a rollback.
	From, To string
	// Material is what records must be wrapped with, for that kind.
	Material string
	// Epoch is the ring's epoch under which the job writes.
	Epoch    int64
	State    State
	Reversed bool
	// Pass counts the passes over the table from 1; 0 is a job that is not
	// prepared yet.
	Pass int
	// Cursor is where the pass goes on.
	Cursor string
	// Touched says that this pass has changed something or lost a race, so that
	// another one must follow.
	Touched bool
	// Rate is records per second; 0 means [Rate].
	Rate int
	// Done counts versions written, Skipped versions that needed nothing, Mended
	// heads that were repaired or quarantined.
	Done, Skipped, Mended int64
	// FailedCount is that of the present pass; Failures are the first of them.
	FailedCount int64
	Failures    []Failure
	// Reason says why a job failed as a whole or why the last run stopped early.
	Reason     string
	LeaseOwner string
	LeaseUntil time.Time
	Attempts   int
	CreatedBy  string
	CreatedAt  time.Time
	UpdatedAt  time.Time
	EndedAt    time.Time
	// Rev counts the writes of this record, from 1.
	Rev int64
}

// Failure is one record that a pass could not deal with.
type Failure struct {
	Org        string
	Class      taxonomy.CredentialClass
	Credential string
	Version    int    // 0 concerns the head
	Field      string // empty concerns the whole version
	Reason     vault.Reason
}

// Slotting is what a write does with the job's slot.
type Slotting int

// What a write does with the slot.
const (
	KeepSlot Slotting = iota
	TakeSlot
	FreeSlot
)

// Write is one transaction.
type Write struct {
	// Job is stored if the stored record has Rev-1; with Rev 1 there must be none.
	Job Job
	// Ring, if set, is stored over the ring of the epoch before.
	Ring *vault.Ring
	Slot Slotting
	// Over is a job that may be pushed out of the slot because its record is lost.
	Over string
	// Audit, if set, is written with it.
	Audit *audit.Row
}

// Store keeps jobs. It is safe for concurrent use. Errors other than those
// named leave the outcome unknown.
type Store interface {
	// Job reads one with strong consistency, or ErrAbsent.
	Job(ctx context.Context, id string) (Job, error)
	// Jobs lists the newest first; after is the opaque position of the page
	// before.
	Jobs(ctx context.Context, after string, limit int) (jobs []Job, next string, err error)
	// Open lists the taken slots with the ids of their jobs.
	Open(ctx context.Context) (map[string]string, error)
	// Write fails with ErrLost if the record was changed by another writer, with
	// ErrTaken if the slot is not free and with vault.ErrRing if the ring was
	// changed.
	Write(ctx context.Context, w Write) error
}

// Errors of a [Store].
var (
	ErrAbsent = errors.New("rotation: no such job")
	ErrLost   = errors.New("rotation: the job was changed by another writer")
	ErrTaken  = errors.New("rotation: another job is open")
)

// Pages lists credentials; the vault's store implements it.
type Pages interface {
	// Page reads credentials of one organisation or, with an empty one, of all,
	// whole and with strong consistency. limit bounds the stored items that are
	// read.
	Page(ctx context.Context, org, cursor string, limit int) (creds []vault.Credential, next string, err error)
}
