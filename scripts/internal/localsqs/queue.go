package localsqs

import (
	"container/list"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/awswire"
)

// Limits (SQS developer guide, "Quotas", read 2026-11; 1 MiB since 2025-08).
const (
	maxMessageBytes  = 1 << 20
	maxVisibility    = 43200
	maxDelay         = 900
	maxWait          = 20
	maxBatch         = 10
	maxReceives      = 1000
	dedupWindow      = 5 * time.Minute
	defaultRetention = 345600
)

// Attribute names.
const (
	attrFifoQueue    = "FifoQueue"
	attrRedrive      = "RedrivePolicy"
	attrVisibility   = "VisibilityTimeout"
	attrRetention    = "MessageRetentionPeriod"
	attrDelay        = "DelaySeconds"
	attrMaxSize      = "MaximumMessageSize"
	attrWait         = "ReceiveMessageWaitTimeSeconds"
	attrContentDedup = "ContentBasedDeduplication"
	attrDedupScope   = "DeduplicationScope"
	attrThroughput   = "FifoThroughputLimit"
)

// numbers are the integer attributes with bounds and default. Never written.
var numbers = map[string]struct{ low, high, normal int }{
	attrVisibility: {0, maxVisibility, 30},
	attrRetention:  {60, 1209600, defaultRetention},
	attrDelay:      {0, maxDelay, 0},
	attrMaxSize:    {1024, maxMessageBytes, maxMessageBytes},
	attrWait:       {0, maxWait, 0},
}

// choices are the enumerated attributes of FIFO queues with their default first.
// Never written.
var choices = map[string][]string{
	attrContentDedup: {"false", "true"},
	attrDedupScope:   {"queue", "messageGroup"},
	attrThroughput:   {"perQueue", "perMessageGroupId"},
}

// keptOnly are attributes that are stored and shown but change nothing here.
// Never written.
var keptOnly = map[string]bool{
	"Policy": true, "RedriveAllowPolicy": true, "KmsMasterKeyId": true,
	"KmsDataKeyReusePeriodSeconds": true, "SqsManagedSseEnabled": true,
}

// settings are a queue's attributes, as given and as understood.
type settings struct {
	given         map[string]string
	visibility    time.Duration
	retention     time.Duration
	delay         time.Duration
	wait          time.Duration
	maxSize       int
	contentDedup  bool
	dedupPerGroup bool
	deadLetter    string // name of the dead-letter queue, "" for none
	maxReceives   int
}

// state of a message.
type messageState int

const (
	visible messageState = iota
	delayed
	inFlight
)

// message is one message. The exported part is what the journal keeps.
type message struct {
	ID         string               `json:"id"`
	Body       string               `json:"body"`
	Attributes map[string]Attribute `json:"attributes,omitempty"`
	Trace      string               `json:"trace,omitempty"`
	Group      string               `json:"group,omitempty"`
	Dedup      string               `json:"dedup,omitempty"`
	Seq        uint64               `json:"seq"`
	Sender     string               `json:"sender,omitempty"`
	Sent       time.Time            `json:"sent"`
	Enqueued   time.Time            `json:"enqueued"`
	First      time.Time            `json:"first,omitzero"`
	Receives   int                  `json:"receives,omitempty"`
	Source     string               `json:"source,omitempty"` // ARN of the queue it failed in

	state     messageState
	visibleAt time.Time
	receipt   string
	place     *list.Element
}

// accepted is what the deduplication window remembers.
type accepted struct {
	id  string
	seq uint64
	at  time.Time
}

// queue is one queue. The engine's lock guards it.
type queue struct {
	name     string
	fifo     bool
	settings settings
	created  time.Time
	modified time.Time

	order  *list.List // of *message, in order of arrival
	byID   map[string]*message
	hidden map[*message]struct{} // delayed and in flight
	dedup  map[string]accepted
	notify chan struct{} // closed when something may have become receivable
}

func newQueue(name string, fifo bool, now time.Time) *queue {
	return &queue{
		name: name, fifo: fifo, created: now, modified: now,
		order: list.New(), byID: make(map[string]*message), hidden: make(map[*message]struct{}),
		dedup: make(map[string]accepted), notify: make(chan struct{}),
	}
}

func (q *queue) wake() {
	close(q.notify)
	q.notify = make(chan struct{})
}

func (q *queue) add(m *message) {
	m.place = q.order.PushBack(m)
	q.byID[m.ID] = m
	if m.state != visible {
		q.hidden[m] = struct{}{}
	}
	if !q.locked(m.Group) {
		q.wake()
	}
}

// locked reports whether a message of a group is in flight, so that no other of the
// group is receivable. A queue without order knows no groups.
func (q *queue) locked(group string) bool {
	if !q.fifo {
		return false
	}
	for m := range q.hidden {
		if m.Group == group {
			return true
		}
	}
	return false
}

func (q *queue) remove(m *message) {
	q.order.Remove(m.place)
	delete(q.byID, m.ID)
	delete(q.hidden, m)
	q.wake()
}

// show makes a hidden message visible.
func (q *queue) show(m *message) {
	m.state = visible
	delete(q.hidden, m)
	q.wake()
}

// expire applies the passage of time: visibility and delay deadlines, and the
// retention of the oldest messages, which it returns after removing them.
func (q *queue) expire(now time.Time) []*message {
	for m := range q.hidden {
		if !now.Before(m.visibleAt) {
			q.show(m)
		}
	}
	var gone []*message
	for el := q.order.Front(); el != nil; el = q.order.Front() {
		m := el.Value.(*message)
		if now.Sub(m.Enqueued) <= q.settings.retention {
			break
		}
		q.remove(m)
		gone = append(gone, m)
	}
	return gone
}

// counts returns the numbers of visible, in-flight and delayed messages.
func (q *queue) counts() (visibleN, inFlightN, delayedN int) {
	for m := range q.hidden {
		if m.state == delayed {
			delayedN++
		} else {
			inFlightN++
		}
	}
	return q.order.Len() - len(q.hidden), inFlightN, delayedN
}

// parseAttributes understands a full set of attributes for a queue; the caller
// holds the lock.
func (e *Engine) parseAttributes(q *queue, given map[string]string) (settings, error) {
	s := settings{given: make(map[string]string, len(given))}
	n := make(map[string]int, len(numbers))
	for name, bound := range numbers {
		n[name] = bound.normal
	}
	for name, value := range given {
		if _, ok := numbers[name]; ok {
			v, err := strconv.Atoi(value)
			if err != nil || v < numbers[name].low || v > numbers[name].high {
				return s, badAttribute(name)
			}
			n[name] = v
		} else if err := checkOther(q.fifo, name, value); err != nil {
			return s, err
		}
		s.given[name] = value
	}
	s.visibility = time.Duration(n[attrVisibility]) * time.Second
	s.retention = time.Duration(n[attrRetention]) * time.Second
	s.delay = time.Duration(n[attrDelay]) * time.Second
	s.wait = time.Duration(n[attrWait]) * time.Second
	s.maxSize = n[attrMaxSize]
	s.contentDedup = given[attrContentDedup] == "true"
	s.dedupPerGroup = given[attrDedupScope] == "messageGroup"
	if given[attrThroughput] == "perMessageGroupId" && !s.dedupPerGroup {
		return s, badAttribute(attrThroughput)
	}
	return s, e.parseRedrive(q, &s)
}

// checkOther checks an attribute that is not a number.
func checkOther(fifo bool, name, value string) error {
	if allowed, ok := choices[name]; ok || name == attrFifoQueue {
		switch {
		case !fifo:
			return unknownAttribute(name)
		case name == attrFifoQueue && value == "true", ok && (value == allowed[0] || value == allowed[1]):
			return nil
		}
		return badAttribute(name)
	}
	if name == attrRedrive || keptOnly[name] {
		return nil
	}
	return unknownAttribute(name)
}

func (e *Engine) parseRedrive(q *queue, s *settings) error {
	raw := s.given[attrRedrive]
	if raw == "" {
		delete(s.given, attrRedrive)
		return nil
	}
	var policy struct {
		Target string      `json:"deadLetterTargetArn"`
		Max    json.Number `json:"maxReceiveCount"`
	}
	if json.Unmarshal([]byte(raw), &policy) != nil {
		return badAttribute(attrRedrive)
	}
	limit, err := strconv.Atoi(policy.Max.String())
	if err != nil || limit < 1 || limit > maxReceives {
		return invalidParameter("maxReceiveCount of the RedrivePolicy must lie between 1 and 1000")
	}
	name := policy.Target[strings.LastIndexByte(policy.Target, ':')+1:]
	target, ok := e.queues[name]
	if !ok || policy.Target != e.ARN(name) {
		return invalidParameter("the dead-letter target of the RedrivePolicy does not exist")
	}
	if target.fifo != q.fifo || name == q.name {
		return invalidParameter("the dead-letter target must be another queue of the same type")
	}
	s.deadLetter, s.maxReceives = name, limit
	return nil
}

func badAttribute(name string) error {
	return &awswire.Error{
		Code: "InvalidAttributeValue", QueryCode: "InvalidAttributeValue",
		Message: "invalid value for the attribute " + name,
	}
}

func unknownAttribute(name string) error {
	return &awswire.Error{
		Code: "InvalidAttributeName", QueryCode: "InvalidAttributeName",
		Message: "unknown attribute " + name,
	}
}

// attributesOf returns all attributes as GetQueueAttributes shows them.
func (e *Engine) attributesOf(q *queue) map[string]string {
	out := make(map[string]string)
	for name, bound := range numbers {
		out[name] = strconv.Itoa(bound.normal)
	}
	if q.fifo {
		for name, allowed := range choices {
			out[name] = allowed[0]
		}
	}
	for name, value := range q.settings.given {
		out[name] = value
	}
	visibleN, inFlightN, delayedN := q.counts()
	out["QueueArn"] = e.ARN(q.name)
	out["CreatedTimestamp"] = strconv.FormatInt(q.created.Unix(), 10)
	out["LastModifiedTimestamp"] = strconv.FormatInt(q.modified.Unix(), 10)
	out["ApproximateNumberOfMessages"] = strconv.Itoa(visibleN)
	out["ApproximateNumberOfMessagesNotVisible"] = strconv.Itoa(inFlightN)
	out["ApproximateNumberOfMessagesDelayed"] = strconv.Itoa(delayedN)
	return out
}
