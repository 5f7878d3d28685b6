package localsqs

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	journalName = "sqs.journal"
	// compactAt is the size beyond which the journal is rewritten, once it has
	// also doubled since the last time.
	compactAt = 32 << 20
)

// Operations of the journal.
const (
	opQueue   = "queue"
	opSend    = "send"
	opReceive = "receive"
	opDelete  = "delete"
	opMove    = "move"
	opPurge   = "purge"
	opDedup   = "dedup"
	opSeq     = "seq"
)

// record is one line of the journal. Visibility is not journalled on purpose:
// after a restart every message is visible.
type record struct {
	Op         string            `json:"op"`
	Queue      string            `json:"queue,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Message    *message          `json:"message,omitempty"`
	ID         string            `json:"id,omitempty"`
	To         string            `json:"to,omitempty"`
	Key        string            `json:"key,omitempty"`
	Seq        uint64            `json:"seq,omitempty"`
	Receives   int               `json:"receives,omitempty"`
	At         time.Time         `json:"at,omitzero"`
	Until      time.Time         `json:"until,omitzero"`
}

// journal is the append-only file. A nil *journal keeps nothing.
type journal struct {
	path   string
	file   *os.File
	size   int64
	atOpen int64
}

func (j *journal) append(r record) error {
	if j == nil {
		return nil
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	n, err := j.file.Write(append(line, '\n'))
	if err == nil {
		j.size += int64(n)
		return nil
	}
	// Half a line must not run into the next one.
	_, seekErr := j.file.Seek(j.size, io.SeekStart)
	return errors.Join(fmt.Errorf("localsqs: writing the journal: %w", err), j.file.Truncate(j.size), seekErr)
}

func (j *journal) close() error {
	if j == nil || j.file == nil {
		return nil
	}
	err := errors.Join(j.file.Sync(), j.file.Close())
	j.file = nil
	return err
}

// record journals a change before it is made, and rewrites the journal when it
// has grown; the caller holds the lock.
func (e *Engine) record(r record) error {
	if e.journal == nil {
		return nil
	}
	if e.journal.size > compactAt && e.journal.size > 2*e.journal.atOpen {
		if err := e.compact(); err != nil {
			return err
		}
	}
	return e.journal.append(r)
}

// openJournal replays the journal and begins a compact one.
func (e *Engine) openJournal() error {
	if e.cfg.Dir == "" {
		return nil
	}
	if err := os.MkdirAll(e.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("localsqs: making the directory: %w", err)
	}
	path := filepath.Join(e.cfg.Dir, journalName)
	f, err := os.Open(path)
	if err == nil {
		err = errors.Join(e.replay(f), f.Close())
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("localsqs: %s: %w", path, err)
	}
	e.journal = &journal{path: path}
	return e.compact()
}

// replay applies the lines of a journal. The last line may be torn: then it was
// never answered for, and is dropped.
func (e *Engine) replay(r io.Reader) error {
	reader := bufio.NewReaderSize(r, 1<<16)
	// Queues are named by later redrive policies, so a policy is understood only
	// when all queues are there.
	given := make(map[string]map[string]string)
	for number := 1; ; number++ {
		line, err := reader.ReadBytes('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		var rec record
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.DisallowUnknownFields()
		if dec.Decode(&rec) != nil || !e.redo(rec, given) {
			return fmt.Errorf("line %d is damaged; remove the file to begin with empty queues", number)
		}
	}
	for name, attributes := range given {
		s, err := e.parseAttributes(e.queues[name], attributes)
		if err != nil {
			return err
		}
		e.queues[name].settings = s
	}
	return nil
}

// redo applies one record; false when it does not fit.
func (e *Engine) redo(r record, given map[string]map[string]string) bool {
	if r.Op == opSeq {
		e.lastSeq = max(e.lastSeq, r.Seq)
		return true
	}
	q := e.queues[r.Queue]
	if q == nil && r.Op != opQueue {
		return false
	}
	switch r.Op {
	case opQueue:
		if q == nil {
			q = newQueue(r.Queue, r.Attributes[attrFifoQueue] == "true", r.At)
			e.queues[r.Queue] = q
		}
		q.modified, given[r.Queue] = r.At, r.Attributes
		q.settings.dedupPerGroup = r.Attributes[attrDedupScope] == "messageGroup"
	case opSend:
		return r.Message != nil && e.redoSend(q, r)
	case opDedup:
		e.remember(q, r.Key, accepted{id: r.ID, seq: r.Seq, at: r.At})
	case opReceive:
		if m := q.byID[r.ID]; m != nil {
			m.Receives, m.First = r.Receives, r.At
		}
	case opDelete:
		if m := q.byID[r.ID]; m != nil {
			q.remove(m)
		}
	case opMove:
		m, to := q.byID[r.ID], e.queues[r.To]
		if m == nil || to == nil {
			return false
		}
		q.remove(m)
		m.Source, m.Enqueued = e.ARN(q.name), r.At
		to.add(m)
	case opPurge:
		q.clear()
	default:
		return false
	}
	return true
}

func (e *Engine) redoSend(q *queue, r record) bool {
	m := r.Message
	if q.byID[m.ID] != nil {
		return false
	}
	now := e.cfg.Clock.Now()
	if rest := r.Until.Sub(now); rest > 0 {
		// The clock may have been shifted when this was written: no delay is
		// longer than the longest one.
		m.state, m.visibleAt = delayed, now.Add(min(rest, maxDelay*time.Second))
	}
	e.lastSeq = max(e.lastSeq, m.Seq)
	q.add(m)
	if q.fifo && m.Source == "" {
		e.remember(q, q.dedupKey(m.Group, m.Dedup), accepted{id: m.ID, seq: m.Seq, at: m.Sent})
	}
	return true
}

// remember restores a deduplication window. One that lies in the future, from a
// shifted clock of an earlier run, begins now.
func (e *Engine) remember(q *queue, key string, a accepted) {
	now := e.cfg.Clock.Now()
	if a.at.After(now) {
		a.at = now
	}
	if now.Sub(a.at) < dedupWindow {
		q.dedup[key] = a
	}
}

// compact writes the present state as a new journal and replaces the old one;
// the caller holds the lock or is New.
func (e *Engine) compact() error {
	tmp, err := os.CreateTemp(e.cfg.Dir, ".sqs-*")
	if err != nil {
		return fmt.Errorf("localsqs: rewriting the journal: %w", err)
	}
	fresh := &journal{path: e.journal.path, file: tmp}
	err = e.writeState(fresh)
	if err == nil {
		err = tmp.Sync()
	}
	if err == nil {
		err = os.Rename(tmp.Name(), fresh.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("localsqs: rewriting the journal: %w", err), tmp.Close(), os.Remove(tmp.Name()))
	}
	if e.journal.file != nil {
		// The old file is replaced; nothing in it matters any more.
		_ = e.journal.file.Close()
	}
	fresh.atOpen = fresh.size
	e.journal = fresh
	return nil
}

func (e *Engine) writeState(j *journal) error {
	// Sequence numbers go on rising when the messages that had them are gone.
	if err := j.append(record{Op: opSeq, Seq: e.lastSeq}); err != nil {
		return err
	}
	for _, name := range e.names() {
		q := e.queues[name]
		if err := j.append(record{Op: opQueue, Queue: name, Attributes: q.settings.given, At: q.created}); err != nil {
			return err
		}
	}
	for _, name := range e.names() {
		q := e.queues[name]
		for key, a := range q.dedup {
			if err := j.append(record{Op: opDedup, Queue: name, Key: key, ID: a.id, Seq: a.seq, At: a.at}); err != nil {
				return err
			}
		}
		for el := q.order.Front(); el != nil; el = el.Next() {
			m := el.Value.(*message)
			r := record{Op: opSend, Queue: name, Message: m, At: m.Sent}
			if m.state == delayed {
				r.Until = m.visibleAt
			}
			if err := j.append(r); err != nil {
				return err
			}
		}
	}
	return nil
}
