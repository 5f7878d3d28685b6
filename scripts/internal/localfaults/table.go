// Package localfaults scripts failures of the local AWS endpoints and guards
// DynamoDB Local with a proxy.
//
// A [Table] holds faults in the order they were set. A call takes the first one
// that fits its service, operation and function; a fault with a count disappears
// after that many calls. The KMS and SQS endpoints wrap themselves with
// [Table.Wrap]; [Proxy] stands in front of DynamoDB Local, injects the same
// faults, counts calls per (principal, operation) and can enforce an allow list
// of (table, operation) pairs per principal, as IAM would.
//
// Guarantees: an injected error has the shape and the HTTP status that
// aws-sdk-go-v2 turns into the same typed error as the real service;
// timeout_after_commit runs the call completely before the connection is
// dropped, so the write is there and the client cannot know.
//
// Not imitated: AWS' probabilities (a scripted fault always happens), partial
// results (UnprocessedItems), IAM conditions on attributes and on the partition
// of a Query, PartiQL
// (refused while an allow list is set), the clock of DynamoDB Local itself
// (TTL and stream timestamps are the process's own), and permission checks of
// GetRecords by table: its iterator is opaque, so it is allowed to a principal
// that may read any stream.
package localfaults

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/latchkey/latchkey/scripts/internal/awswire"
)

// Services that faults can be set for.
const (
	KMS      = "kms"
	SQS      = "sqs"
	DynamoDB = "dynamodb"
	Streams  = "streams"
)

// Kinds of faults. An empty kind with a delay only slows the call down.
const (
	Throttle           = "throttle"
	Conflict           = "conflict"
	Unavailable        = "unavailable"
	TimeoutAfterCommit = "timeout_after_commit"
	AccessDenied       = "access_denied"
	Disabled           = "disabled"
	// Cancelled refuses a transaction with the fault's own reasons.
	Cancelled = "cancelled"
)

const (
	maxFaults    = 1000
	maxFaultBody = 1 << 20
	maxDelayMS   = 600_000
	maxReasons   = 100
)

// Fault is one scripted failure. Empty Operation or Function fit every one.
// Skip is the number of fitting calls that pass first, Count the number of calls
// it applies to after them; 0 means until it is deleted. Reasons are the codes
// that a cancelled transaction is told, part by part; parts beyond them are told
// None, codes beyond the parts are left out.
type Fault struct {
	Service   string   `json:"service"`
	Operation string   `json:"operation,omitempty"`
	Function  string   `json:"function,omitempty"`
	Error     string   `json:"error,omitempty"`
	Skip      int      `json:"skip,omitempty"`
	Count     int      `json:"count,omitempty"`
	DelayMS   int64    `json:"delay_ms,omitempty"`
	Reasons   []string `json:"reasons,omitempty"`

	// cleared ends the delay of a fault that was taken.
	cleared <-chan struct{}
}

// kindsOf lists which faults a service can have. Never written.
var kindsOf = map[string][]string{
	KMS:      {Throttle, Unavailable, TimeoutAfterCommit, AccessDenied, Disabled},
	SQS:      {Throttle, Unavailable, TimeoutAfterCommit, AccessDenied},
	DynamoDB: {Throttle, Conflict, Cancelled, Unavailable, TimeoutAfterCommit, AccessDenied},
	Streams:  {Throttle, Unavailable, TimeoutAfterCommit, AccessDenied},
}

func (f Fault) check() string {
	kinds, ok := kindsOf[f.Service]
	switch {
	case !ok:
		return "service must be one of kms, sqs, dynamodb, streams"
	case f.Count < 0 || f.Skip < 0:
		return "count and skip must not be negative"
	case (f.Error == Cancelled) != (len(f.Reasons) > 0) || f.Error == Cancelled && !transaction(f.Operation):
		return "cancelled needs reasons and one of the operations TransactWriteItems and TransactGetItems; nothing else has reasons"
	case len(f.Reasons) > maxReasons:
		return "a transaction has at most 100 reasons"
	case f.DelayMS < 0 || f.DelayMS > maxDelayMS:
		return "delay_ms must lie between 0 and 600000"
	case f.Error == "" && f.DelayMS == 0:
		return "error must be one of " + strings.Join(kinds, ", ") + " (or give delay_ms alone)"
	}
	if f.Error == "" {
		return ""
	}
	for _, k := range kinds {
		if k == f.Error {
			return ""
		}
	}
	return "error for " + f.Service + " must be one of " + strings.Join(kinds, ", ")
}

// Table is the list of scripted faults. A nil *Table has none. Safe for
// concurrent use.
type Table struct {
	functions map[string]string

	mu     sync.Mutex
	faults []*Fault
	// cleared is closed when the faults are deleted, so that delayed calls go on.
	cleared chan struct{}
}

// NewTable returns an empty table. functions maps access key ids to the function
// names that faults are set with; it is not copied and must not change.
func NewTable(functions map[string]string) *Table {
	return &Table{functions: functions, cleared: make(chan struct{})}
}

// Add appends a fault. The error text says what is wrong with it.
func (t *Table) Add(f Fault) error {
	if problem := f.check(); problem != "" {
		return awswire.NewError("ValidationException", problem)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.faults) >= maxFaults {
		return awswire.NewError("LimitExceededException", "there are "+strconv.Itoa(maxFaults)+" faults already; delete them first")
	}
	t.faults = append(t.faults, &f)
	return nil
}

// Clear removes every fault; calls that a delay holds go on at once.
func (t *Table) Clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults = nil
	close(t.cleared)
	t.cleared = make(chan struct{})
}

// List returns the faults still in force; Count is what is left of it.
func (t *Table) List() []Fault {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]Fault, 0, len(t.faults))
	for _, f := range t.faults {
		out = append(out, *f)
	}
	return out
}

// Take returns the fault for one call and uses it up by one. principal is the
// caller's access key id.
func (t *Table) Take(service, operation, principal string) (Fault, bool) {
	if t == nil {
		return Fault{}, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, f := range t.faults {
		if f.Service != service || f.Operation != "" && f.Operation != operation ||
			f.Function != "" && f.Function != t.functions[principal] {
			continue
		}
		if f.Skip > 0 {
			// Faults behind this one may still fit the call.
			f.Skip--
			continue
		}
		taken := *f
		taken.cleared = t.cleared
		if f.Count > 0 {
			f.Count--
			if f.Count == 0 {
				t.faults = append(t.faults[:i:i], t.faults[i+1:]...)
			}
		}
		return taken, true
	}
	return Fault{}, false
}

// Handler serves /_local/faults: POST sets one fault (201 with it), GET lists,
// DELETE removes all and ends running delays (204).
func (t *Table) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodGet:
			answer(w, http.StatusOK, map[string]any{"items": t.List()})
		case http.MethodDelete:
			t.Clear()
			w.WriteHeader(http.StatusNoContent)
		case http.MethodPost:
			t.post(w, r)
		default:
			w.Header().Set("Allow", "GET, POST, DELETE")
			refuse(w, http.StatusMethodNotAllowed, "use GET, POST or DELETE")
		}
	})
}

func (t *Table) post(w http.ResponseWriter, r *http.Request) {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxFaultBody))
	// A misspelt member would silently widen the fault to every operation.
	dec.DisallowUnknownFields()
	var f Fault
	if err := dec.Decode(&f); err != nil {
		refuse(w, http.StatusBadRequest, "the body must be one JSON object with service, operation, function, error, skip, count, delay_ms, reasons")
		return
	}
	if err := t.Add(f); err != nil {
		refuse(w, http.StatusBadRequest, awswire.AsError(err).Message)
		return
	}
	answer(w, http.StatusCreated, f)
}

func refuse(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]any{"error": map[string]string{"code": "invalid_request", "message": message}})
}

func answer(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a failed write means the client has gone
}
