package localsqs

import (
	"container/list"
	"context"
	"crypto/rand"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/awswire"
)

// ReceiveOptions are the parameters of a receive. Max is 1 to 10. Nil Visibility
// and Wait mean the queue's.
type ReceiveOptions struct {
	Max        int
	Visibility *time.Duration
	Wait       *time.Duration
}

// Received is a message handed out. System holds every system attribute.
type Received struct {
	ID            string
	ReceiptHandle string
	Body          string
	System        map[string]string
	Attributes    map[string]Attribute
}

// Receive hands out messages of a queue and hides them. It waits in real time
// for the first one, as long as asked for; ctx or Close end the wait without an
// error.
func (e *Engine) Receive(ctx context.Context, queueName string, o ReceiveOptions) ([]Received, error) {
	if o.Max < 1 || o.Max > maxBatch {
		return nil, invalidParameter("MaxNumberOfMessages must lie between 1 and 10")
	}
	if o.Visibility != nil && (*o.Visibility < 0 || *o.Visibility > maxVisibility*time.Second) {
		return nil, invalidParameter("VisibilityTimeout must lie between 0 and 43200")
	}
	if o.Wait != nil && (*o.Wait < 0 || *o.Wait > maxWait*time.Second) {
		return nil, invalidParameter("WaitTimeSeconds must lie between 0 and 20")
	}
	var end <-chan time.Time
	for {
		out, wait, notify, err := e.receiveNow(queueName, o)
		if err != nil || len(out) > 0 || wait == 0 {
			return out, err
		}
		if end == nil {
			timer := time.NewTimer(wait)
			defer timer.Stop()
			end = timer.C
		}
		again := time.NewTimer(recheck)
		select {
		case <-notify:
		case <-again.C:
		case <-end:
			again.Stop()
			out, _, _, err := e.receiveNow(queueName, o)
			return out, err
		case <-ctx.Done():
			again.Stop()
			return nil, nil
		case <-e.done:
			again.Stop()
			return nil, nil
		}
		again.Stop()
	}
}

// receiveNow tries once, and returns the wait that applies and the channel that
// announces changes.
func (e *Engine) receiveNow(queueName string, o ReceiveOptions) ([]Received, time.Duration, <-chan struct{}, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	q, err := e.find(queueName)
	if err != nil {
		return nil, 0, nil, err
	}
	wait := q.settings.wait
	if o.Wait != nil {
		wait = *o.Wait
	}
	visibility := q.settings.visibility
	if o.Visibility != nil {
		visibility = *o.Visibility
	}
	out, err := e.take(q, o.Max, visibility)
	return out, wait, q.notify, err
}

// take hands out what is receivable now; the caller holds the lock.
func (e *Engine) take(q *queue, limit int, visibility time.Duration) ([]Received, error) {
	now := e.cfg.Clock.Now()
	if err := e.expire(q, now); err != nil {
		return nil, err
	}
	locked := make(map[string]bool)
	if q.fifo {
		for m := range q.hidden {
			locked[m.Group] = true
		}
	}
	var out []Received
	var next *list.Element
	for el := q.order.Front(); el != nil && len(out) < limit; el = next {
		next = el.Next()
		m := el.Value.(*message)
		// Messages of one group may share a batch: the lock set was taken before.
		if m.state != visible || locked[m.Group] {
			continue
		}
		if target := e.queues[q.settings.deadLetter]; target != nil && m.Receives >= q.settings.maxReceives {
			if err := e.redrive(q, target, m, now); err != nil {
				return out, err
			}
			continue
		}
		first := m.First
		if first.IsZero() {
			first = now
		}
		if err := e.record(record{Op: opReceive, Queue: q.name, ID: m.ID, Receives: m.Receives + 1, At: first}); err != nil {
			return out, err
		}
		m.Receives, m.First = m.Receives+1, first
		m.state, m.visibleAt, m.receipt = inFlight, now.Add(visibility), rand.Text()
		q.hidden[m] = struct{}{}
		out = append(out, e.received(q, m))
	}
	return out, nil
}

// expire applies time to a queue and journals what it drops; the caller holds
// the lock.
func (e *Engine) expire(q *queue, now time.Time) error {
	for _, m := range q.expire(now) {
		if err := e.record(record{Op: opDelete, Queue: q.name, ID: m.ID}); err != nil {
			return err
		}
	}
	return nil
}

// redrive moves a message to the dead-letter queue. Its age counts on in a
// standard queue and begins anew in a FIFO queue (SQS developer guide, "Setting
// up dead-letter queue retention", read 2026-11).
func (e *Engine) redrive(q, target *queue, m *message, now time.Time) error {
	enqueued := m.Enqueued
	if q.fifo {
		enqueued = now
	}
	if err := e.record(record{Op: opMove, Queue: q.name, To: target.name, ID: m.ID, At: enqueued}); err != nil {
		return err
	}
	q.remove(m)
	m.Enqueued, m.Source = enqueued, e.ARN(q.name)
	m.state, m.receipt = visible, ""
	target.add(m)
	return nil
}

// received is the outside view of a message just taken.
func (e *Engine) received(q *queue, m *message) Received {
	return Received{
		ID: m.ID, Body: m.Body, System: m.system(q.fifo), Attributes: m.Attributes,
		ReceiptHandle: base64.StdEncoding.EncodeToString([]byte(m.ID + "/" + m.receipt)),
	}
}

func (m *message) system(fifo bool) map[string]string {
	out := map[string]string{
		"SenderId":                m.Sender,
		"SentTimestamp":           millis(m.Sent),
		"ApproximateReceiveCount": strconv.Itoa(m.Receives),
	}
	if !m.First.IsZero() {
		out["ApproximateFirstReceiveTimestamp"] = millis(m.First)
	}
	if fifo {
		out["MessageDeduplicationId"] = m.Dedup
		out["SequenceNumber"] = sequence(m.Seq)
	}
	if m.Group != "" {
		out["MessageGroupId"] = m.Group
	}
	if m.Trace != "" {
		out["AWSTraceHeader"] = m.Trace
	}
	if m.Source != "" {
		out["DeadLetterQueueSourceArn"] = m.Source
	}
	return out
}

func millis(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

// held finds the message of a receipt handle; nil when it is gone. fresh reports
// whether the handle is of its latest receive.
func (q *queue) held(handle string) (m *message, fresh bool, err error) {
	raw, decodeErr := base64.StdEncoding.DecodeString(handle)
	id, receipt, ok := strings.Cut(string(raw), "/")
	if decodeErr != nil || !ok || len(id) != 36 || receipt == "" {
		return nil, false, &awswire.Error{
			Code: "ReceiptHandleIsInvalid", QueryCode: "ReceiptHandleIsInvalid",
			Status: 404, Message: "the receipt handle is not one of this service",
		}
	}
	m = q.byID[id]
	return m, m != nil && m.receipt == receipt, nil
}

func expiredHandle() error {
	return invalidParameter("the parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.")
}

// Delete removes a received message. Deleting one that is gone succeeds. A
// handle whose message was received again or became visible again is refused in
// FIFO queues; in standard queues an outdated handle deletes nothing, without an
// error, and a visible message can still be deleted.
func (e *Engine) Delete(queueName, handle string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	q, err := e.find(queueName)
	if err != nil {
		return err
	}
	if err := e.expire(q, e.cfg.Clock.Now()); err != nil {
		return err
	}
	m, fresh, err := q.held(handle)
	switch {
	case err != nil || m == nil:
		return err
	case q.fifo && (!fresh || m.state != inFlight):
		return expiredHandle()
	case !fresh:
		return nil
	}
	if err := e.record(record{Op: opDelete, Queue: q.name, ID: m.ID}); err != nil {
		return err
	}
	q.remove(m)
	return nil
}

// ChangeVisibility sets the deadline of a message in flight to d from now; 0
// makes it visible at once.
func (e *Engine) ChangeVisibility(queueName, handle string, d time.Duration) error {
	if d < 0 || d > maxVisibility*time.Second {
		return invalidParameter("VisibilityTimeout must lie between 0 and 43200")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	q, err := e.find(queueName)
	if err != nil {
		return err
	}
	now := e.cfg.Clock.Now()
	if err := e.expire(q, now); err != nil {
		return err
	}
	m, fresh, err := q.held(handle)
	switch {
	case err != nil:
		return err
	case m == nil:
		return invalidParameter("the message does not exist or is not available for a visibility timeout change")
	case q.fifo && (!fresh || m.state != inFlight), !fresh:
		return expiredHandle()
	case m.state != inFlight:
		return &awswire.Error{
			Code: "MessageNotInflight", QueryCode: "AWS.SimpleQueueService.MessageNotInflight",
			Message: "the message is not in flight",
		}
	}
	m.visibleAt = now.Add(d)
	if d == 0 {
		q.show(m)
	}
	return nil
}

// Purge removes every message of a queue.
func (e *Engine) Purge(queueName string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	q, err := e.find(queueName)
	if err != nil {
		return err
	}
	if err := e.record(record{Op: opPurge, Queue: q.name}); err != nil {
		return err
	}
	q.clear()
	return nil
}

func (q *queue) clear() {
	q.order.Init()
	q.byID = make(map[string]*message)
	q.hidden = make(map[*message]struct{})
	q.wake()
}
