package streampoll

import (
	"context"
	"encoding/json"
	"time"
)

// maxEvent keeps an event below Lambda's 6 MB request limit.
const maxEvent = 6<<20 - 1<<12

// lane delivers the records of one parallelization slot in order.
type lane struct {
	p       *Poller
	shard   string
	tracker *tracker
	in      chan []record
	pending []record
	ended   bool // in is closed
}

func (l *lane) run(ctx context.Context) {
	for {
		batch := l.next(ctx)
		if batch == nil || !l.deliver(ctx, batch) {
			return
		}
	}
}

// next forms a batch; nil means there is no more or ctx ended.
func (l *lane) next(ctx context.Context) []record {
	for len(l.pending) == 0 && !l.ended {
		select {
		case more, ok := <-l.in:
			l.take(more, ok)
		case <-ctx.Done():
			return nil
		}
	}
	if len(l.pending) == 0 || ctx.Err() != nil {
		return nil
	}
	l.fill(ctx)
	n, size := 0, 0
	for n < len(l.pending) && n < l.p.mapping.BatchSize {
		size += len(l.pending[n].event) + 1
		if n > 0 && size > maxEvent {
			break
		}
		n++
	}
	batch := l.pending[:n:n]
	l.pending = l.pending[n:]
	return batch
}

// fill adds what is there already, and with a window what comes within it.
func (l *lane) fill(ctx context.Context) {
	var window <-chan time.Time
	if l.p.mapping.Window > 0 {
		timer := time.NewTimer(l.p.mapping.Window)
		defer timer.Stop()
		window = timer.C
	}
	for len(l.pending) < l.p.mapping.BatchSize && !l.ended {
		if window == nil {
			select {
			case more, ok := <-l.in:
				l.take(more, ok)
				continue
			default:
				return
			}
		}
		select {
		case more, ok := <-l.in:
			l.take(more, ok)
		case <-window:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (l *lane) take(more []record, ok bool) {
	l.pending = append(l.pending, more...)
	l.ended = l.ended || !ok
}

// segment is a part of a batch that is delivered by itself.
type segment struct {
	records  []record
	invokes  int // all invocations with these records
	failures int // those that count against MaxRetries
	waits    int // consecutive pauses, for the backoff
}

// deliver brings every record of the batch to an end: success or failure
// destination. false means ctx ended first.
func (l *lane) deliver(ctx context.Context, batch []record) bool {
	queue := []segment{{records: batch}}
	for len(queue) > 0 {
		rest, ok := l.step(ctx, queue[0])
		if !ok {
			return false
		}
		queue = append(rest, queue[1:]...)
	}
	return true
}

// outcome is what one invocation did to a segment.
type outcome struct {
	finished      int // leading records that need no more delivery
	throttled     bool
	functionError string
}

// attempt invokes once and finishes what succeeded, both before a pause can
// complete. false means ctx ended first or the stop cut the invocation short.
func (l *lane) attempt(ctx context.Context, records []record) (outcome, bool) {
	if !l.p.gate.enter(ctx) {
		return outcome{}, false
	}
	defer l.p.gate.leave()
	payload, functionError, err := l.p.options.Invoke(l.p.work, l.p.mapping.Function, eventOf(records))
	if l.p.work.Err() != nil && (err != nil || functionError != "") {
		return outcome{}, false
	}
	o := outcome{throttled: throttled(err), functionError: functionError}
	if err != nil && !o.throttled {
		l.p.options.Log.Warn("invocation failed", "function", l.p.mapping.Function, "error", err)
	}
	if err == nil && functionError == "" {
		o.finished = len(records)
		if l.p.mapping.ReportBatchItemFailures {
			o.finished = firstFailure(payload, records)
		}
	}
	l.finish(records[:o.finished])
	return o, true
}

// step invokes once and returns what is left of the segment, in order.
func (l *lane) step(ctx context.Context, s segment) ([]segment, bool) {
	s, ok := l.dropOld(ctx, s)
	if !ok || len(s.records) == 0 {
		return nil, ok
	}
	o, ok := l.attempt(ctx, s.records)
	if !ok {
		return nil, false
	}
	s.invokes++
	rest := s.records[o.finished:]
	switch {
	case len(rest) == 0:
		return nil, true
	case o.throttled:
		s.waits++
		return []segment{s}, l.p.backoff(ctx, s.waits)
	case o.finished > 0 && l.p.mapping.BisectOnError:
		return []segment{{records: rest, invokes: s.invokes}}, true
	case o.finished > 0:
		s = segment{records: rest, invokes: s.invokes, failures: 1}
	case l.p.mapping.BisectOnError && len(rest) > 1:
		half := len(rest) / 2
		return []segment{{records: rest[:half], invokes: s.invokes}, {records: rest[half:], invokes: s.invokes}}, true
	default:
		s.failures++
	}
	return l.retry(ctx, s, o.functionError)
}

// retry waits before the next attempt, or gives the segment up.
func (l *lane) retry(ctx context.Context, s segment, functionError string) ([]segment, bool) {
	if l.p.mapping.exhausted(s.failures) {
		return nil, l.discard(ctx, s.records, retriesExhausted, functionError, s.invokes)
	}
	s.waits++
	return []segment{s}, l.p.backoff(ctx, s.waits)
}

// dropOld gives up records beyond the maximum age; they are the first ones.
func (l *lane) dropOld(ctx context.Context, s segment) (segment, bool) {
	age := l.p.mapping.MaxRecordAge
	if age == 0 {
		return s, true
	}
	limit, n := l.p.options.Clock.Now().Add(-age), 0
	for n < len(s.records) && s.records[n].created.Before(limit) {
		n++
	}
	if n == 0 {
		return s, true
	}
	old := s.records[:n]
	s.records = s.records[n:]
	return s, l.discard(ctx, old, recordAgeExceeded, "", s.invokes)
}

// discard repeats the write until it succeeds: a record must not vanish because
// a disk is full.
func (l *lane) discard(ctx context.Context, records []record, condition, functionError string, invokes int) bool {
	for attempt := 1; ; attempt++ {
		err := l.p.writeFailure(l.shard, condition, functionError, invokes, records)
		if err == nil {
			break
		}
		l.p.options.Log.Error("discarded records could not be stored", "error", err)
		if !l.p.backoff(ctx, attempt) {
			return false
		}
	}
	l.p.options.Log.Error("records discarded", "function", l.p.mapping.Function, "condition", condition, "count", len(records),
		"first", records[0].sequence, "stored", l.p.mapping.FailureDestination != "")
	l.finish(records)
	return true
}

func (l *lane) finish(records []record) {
	positions := make([]int64, len(records))
	for i, r := range records {
		positions[i] = r.position
	}
	l.tracker.finish(positions...)
}

// firstFailure returns the index of the first record that was not processed;
// the number of records when all were.
func firstFailure(payload []byte, records []record) int {
	if len(payload) == 0 {
		return len(records)
	}
	var response struct {
		Failures []struct {
			ID *string `json:"itemIdentifier"`
		} `json:"batchItemFailures"`
	}
	if err := json.Unmarshal(payload, &response); err != nil {
		return 0
	}
	index := make(map[string]int, len(records))
	for i, r := range records {
		index[r.sequence] = i
	}
	first := len(records)
	for _, f := range response.Failures {
		if f.ID == nil {
			return 0
		}
		i, known := index[*f.ID]
		if !known {
			return 0
		}
		first = min(first, i)
	}
	return first
}
