// Package localevents is the local stack's event bus: it takes PutEvents of
// Amazon EventBridge (JSON 1.1) from unmodified SDK clients and keeps the latest
// events to look at.
//
// Guarantees: each entry is accepted or refused on its own, in order; the latest
// N events are kept, in memory and, with a path, in a file that survives a
// restart (one JSON line each; a torn last line is dropped).
//
// Flow: decode → check the request's limits → per entry: check, keep, answer.
//
// Not imitated: SigV4 signatures are not verified (loopback only); every other
// operation; rules, targets, archives, buses other than "default" (their name is
// not looked up), and the nesting bound of details. The size bound
// of a request is the long-standing 256 KB.
package localevents

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/awswire"
	"github.com/latchkey/latchkey/scripts/internal/clock"
)

const (
	defaultKeep = 1000
	maxBody     = 4 << 20
	// maxEntries and maxBytes bound one request (EventBridge user guide, "Sending
	// events with PutEvents" and "Calculating event entry size", read 2026-11).
	maxEntries = 10
	maxBytes   = 256 << 10
	maxType    = 128
	maxSource  = 256
)

// Event is one accepted event, in the form of GET /_local/events.
type Event struct {
	ID         string          `json:"id"`
	Source     string          `json:"source"`
	DetailType string          `json:"detail_type"`
	Detail     json.RawMessage `json:"detail"`
	At         time.Time       `json:"at"`
}

// Config configures [New].
type Config struct {
	// Path is the file; "" keeps events in memory only.
	Path string
	// Keep is how many events are kept; 0 means 1,000.
	Keep int
	// Clock dates events; nil is an unshifted one.
	Clock *clock.Clock
	// Allow is who may put events on which bus; nil permits everyone.
	Allow awswire.Allow
	// OnEvent, if set, is told each accepted event, in order. It must be fast and
	// must not call the bus.
	OnEvent func(Event)
}

// Bus is the event bus. Safe for concurrent use.
type Bus struct {
	cfg   Config
	calls awswire.Counter

	mu     sync.Mutex
	events []Event
	lines  int // in the file
	file   *os.File
}

// New opens the file, or begins empty. A damaged line other than a torn last one
// is an error.
func New(cfg Config) (*Bus, error) {
	if cfg.Clock == nil {
		cfg.Clock = new(clock.Clock)
	}
	if cfg.Keep <= 0 {
		cfg.Keep = defaultKeep
	}
	b := &Bus{cfg: cfg}
	if cfg.Path == "" {
		return b, nil
	}
	data, err := os.ReadFile(cfg.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("localevents: reading the events: %w", err)
	}
	reader := bufio.NewReader(bytes.NewReader(data))
	for number := 1; ; number++ {
		line, err := reader.ReadBytes('\n')
		if err != nil {
			break // the end, or a torn last line
		}
		var ev Event
		if err := json.Unmarshal(line, &ev); err != nil {
			return nil, fmt.Errorf("localevents: %s: line %d is damaged; remove the file", cfg.Path, number)
		}
		b.events = append(b.events, ev)
	}
	b.trim()
	return b, b.rewrite()
}

// Close closes the file.
func (b *Bus) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file == nil {
		return nil
	}
	err := b.file.Close()
	b.file = nil
	return err
}

// Events returns the kept events, oldest first.
func (b *Bus) Events() []Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Event{}, b.events...)
}

// Calls returns the number of requests per (principal, operation).
func (b *Bus) Calls() map[awswire.Call]int { return b.calls.Snapshot() }

// Handler serves GET /_local/events: {items: [Event…]}, oldest first.
func (b *Bus) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", "GET")
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		body, err := json.Marshal(map[string]any{"items": b.Events()})
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(append(body, '\n')) // a failed write means the client has gone
	})
}

// entry is one event of a request.
type entry struct {
	Source     string
	DetailType string
	Detail     string
	Resources  []string
	Time       *float64
}

// result is the answer to one entry.
type result struct {
	EventID      string `json:"EventId,omitempty"`
	ErrorCode    string `json:",omitempty"`
	ErrorMessage string `json:",omitempty"`
}

// ServeHTTP implements http.Handler.
func (b *Bus) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	service, operation := awswire.Target(r)
	if service != "AWSEvents" || operation != "PutEvents" {
		awswire.WriteError(w, awswire.JSON11, awswire.NewError("UnknownOperationException", "the local event bus has PutEvents only"))
		return
	}
	b.calls.Add(awswire.Principal(r), operation)
	if !b.cfg.Allow.Permits(awswire.Principal(r), "default", operation) {
		awswire.WriteError(w, awswire.JSON11, awswire.NewError("AccessDeniedException", "the function may not put events on the bus"))
		return
	}
	out, err := b.put(r)
	if err != nil {
		awswire.WriteError(w, awswire.JSON11, awswire.AsError(err))
		return
	}
	awswire.WriteJSON(w, awswire.JSON11, out)
}

func (b *Bus) put(r *http.Request) (any, error) {
	body, err := awswire.ReadBody(r, maxBody)
	if err != nil {
		return nil, err
	}
	var in struct{ Entries []entry }
	if err := awswire.Decode(body, &in); err != nil {
		return nil, err
	}
	if len(in.Entries) < 1 || len(in.Entries) > maxEntries {
		return nil, awswire.NewError("ValidationException", "Entries must have 1 to 10 members")
	}
	total := 0
	for _, e := range in.Entries {
		total += e.size()
	}
	if total >= maxBytes {
		return nil, awswire.NewError("ValidationException", "the entries together must be smaller than 262144 bytes")
	}
	results := make([]result, 0, len(in.Entries))
	failed := 0
	for _, e := range in.Entries {
		res, err := b.accept(e)
		if err != nil {
			return nil, err
		}
		if res.ErrorCode != "" {
			failed++
		}
		results = append(results, res)
	}
	return map[string]any{"FailedEntryCount": failed, "Entries": results}, nil
}

// size follows the user guide: 14 bytes for a time, and the texts' bytes.
func (e entry) size() int {
	n := len(e.Source) + len(e.DetailType) + len(e.Detail)
	if e.Time != nil {
		n += 14
	}
	for _, r := range e.Resources {
		n += len(r)
	}
	return n
}

func (e entry) check() result {
	argument := func(name, reason string) result {
		return result{ErrorCode: "InvalidArgument", ErrorMessage: "Parameter " + name + " is not valid. Reason: " + reason}
	}
	switch {
	case e.Source == "":
		return argument("Source", "Source is a required argument.")
	case len(e.Source) > maxSource:
		return argument("Source", "Source is longer than 256 bytes.")
	case e.DetailType == "":
		return argument("DetailType", "DetailType is a required argument.")
	case len(e.DetailType) > maxType:
		return argument("DetailType", "DetailType is longer than 128 bytes.")
	case e.Detail == "":
		return argument("Detail", "Detail is a required argument.")
	case e.Time != nil && (*e.Time < 0 || *e.Time > math.MaxInt32*4):
		return argument("Time", "Time is out of range.")
	}
	var object map[string]json.RawMessage
	if json.Unmarshal([]byte(e.Detail), &object) != nil || object == nil {
		return result{ErrorCode: "MalformedDetail", ErrorMessage: "Detail is malformed: it must be a JSON object."}
	}
	return result{}
}

// accept checks and keeps one entry. The error is one of the file, not of the
// entry.
func (b *Bus) accept(e entry) (result, error) {
	if res := e.check(); res.ErrorCode != "" {
		return res, nil
	}
	var detail bytes.Buffer
	if err := json.Compact(&detail, []byte(e.Detail)); err != nil {
		return result{}, err
	}
	ev := Event{ID: awswire.NewID(), Source: e.Source, DetailType: e.DetailType, Detail: detail.Bytes(), At: b.cfg.Clock.Now()}
	if e.Time != nil {
		ev.At = time.UnixMilli(int64(*e.Time * 1000)).UTC()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, ev)
	b.trim()
	if err := b.write(ev); err != nil {
		return result{}, err
	}
	if b.cfg.OnEvent != nil {
		b.cfg.OnEvent(ev)
	}
	return result{EventID: ev.ID}, nil
}

// trim drops the oldest events above the bound; the caller holds the lock.
func (b *Bus) trim() {
	if extra := len(b.events) - b.cfg.Keep; extra > 0 {
		b.events = append(b.events[:0:0], b.events[extra:]...)
	}
}

// write appends an event to the file, which is rewritten when it holds twice as
// many as are kept; the caller holds the lock.
func (b *Bus) write(ev Event) error {
	if b.cfg.Path == "" {
		return nil
	}
	if b.lines >= 2*b.cfg.Keep || b.file == nil {
		return b.rewrite()
	}
	line, err := json.Marshal(ev)
	if err != nil {
		return err
	}
	b.lines++
	_, err = b.file.Write(append(line, '\n'))
	return err
}

// rewrite replaces the file by one with the kept events and leaves it open.
func (b *Bus) rewrite() error {
	if b.file != nil {
		_ = b.file.Close() // replaced below
		b.file = nil
	}
	f, err := os.CreateTemp(filepath.Dir(b.cfg.Path), ".events-*")
	if err != nil {
		return fmt.Errorf("localevents: rewriting the events: %w", err)
	}
	enc := json.NewEncoder(f)
	enc.SetEscapeHTML(false)
	for _, ev := range b.events {
		if err = enc.Encode(ev); err != nil {
			break
		}
	}
	if err == nil {
		err = os.Rename(f.Name(), b.cfg.Path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("localevents: rewriting the events: %w", err), f.Close(), os.Remove(f.Name()))
	}
	b.file, b.lines = f, len(b.events)
	return nil
}
