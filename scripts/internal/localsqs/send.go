package localsqs

import (
	"crypto/md5" // the checksum the protocol prescribes; it protects nothing
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"regexp"
	"sort"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/latchkey/latchkey/scripts/internal/awswire"
)

// Attribute is a message attribute value: a string or number, or bytes.
type Attribute struct {
	DataType    string  `json:"DataType"`
	StringValue *string `json:"StringValue,omitempty"`
	BinaryValue []byte  `json:"BinaryValue,omitempty"`
}

// Outgoing is a message to send. Group and Dedup are for FIFO queues; Delay nil
// means the queue's. Sender is the principal, shown as SenderId.
type Outgoing struct {
	Body       string
	Attributes map[string]Attribute
	Trace      string
	Group      string
	Dedup      string
	Delay      *time.Duration
	Sender     string
}

// Sent is the result of a send. SequenceNumber is empty for standard queues. A
// duplicate has the id and the number of the message it repeats.
type Sent struct {
	ID             string
	SequenceNumber string
}

var (
	fifoID        = regexp.MustCompile("^[A-Za-z0-9!\"#$%&'()*+,./:;<=>?@\\[\\\\\\]^_`{|}~-]{1,128}$")
	attributeName = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)
	dataType      = regexp.MustCompile(`^(String|Number|Binary)(\..{1,249})?$`)
)

// maxAttributes is the number of attributes a message may have.
const maxAttributes = 10

// Send puts a message on a queue by its name.
func (e *Engine) Send(queueName string, out Outgoing) (Sent, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	q, err := e.find(queueName)
	if err != nil {
		return Sent{}, err
	}
	if err := q.check(&out); err != nil {
		return Sent{}, err
	}
	return e.accept(q, out)
}

// check validates a message for this queue and fills in the deduplication id.
func (q *queue) check(out *Outgoing) error {
	if out.Body == "" {
		return missingParameter("MessageBody")
	}
	if !utf8.ValidString(out.Body) || strings.ContainsFunc(out.Body, forbidden) {
		return &awswire.Error{
			Code: "InvalidMessageContents", QueryCode: "InvalidMessageContents",
			Message: "the message holds a character outside of those SQS takes",
		}
	}
	if err := checkAttributes(out.Attributes); err != nil {
		return err
	}
	if size(*out) > q.settings.maxSize {
		return invalidParameter(fmt.Sprintf("the message must be shorter than %d bytes", q.settings.maxSize))
	}
	if out.Delay != nil && (*out.Delay < 0 || *out.Delay > maxDelay*time.Second) {
		return invalidParameter("DelaySeconds must lie between 0 and 900")
	}
	if !q.fifo {
		if out.Dedup != "" {
			return invalidParameter("MessageDeduplicationId is not valid for this queue type")
		}
		if out.Group != "" && !fifoID.MatchString(out.Group) {
			return invalidParameter("MessageGroupId can hold 1 to 128 letters, digits and punctuation")
		}
		return nil
	}
	return q.checkFIFO(out)
}

func (q *queue) checkFIFO(out *Outgoing) error {
	if out.Group == "" {
		return missingParameter("MessageGroupId")
	}
	if out.Delay != nil && *out.Delay > 0 {
		return invalidParameter("DelaySeconds of a message is not valid for this queue type")
	}
	if out.Dedup == "" {
		if !q.settings.contentDedup {
			return invalidParameter("the queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
		}
		sum := sha256.Sum256([]byte(out.Body))
		out.Dedup = hex.EncodeToString(sum[:])
	}
	if !fifoID.MatchString(out.Group) || !fifoID.MatchString(out.Dedup) {
		return invalidParameter("MessageGroupId and MessageDeduplicationId can hold 1 to 128 letters, digits and punctuation")
	}
	return nil
}

// forbidden: SQS takes #x9 | #xA | #xD | #x20-#xD7FF | #xE000-#xFFFD | #x10000-#x10FFFF.
func forbidden(r rune) bool {
	return r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF
}

func checkAttributes(attributes map[string]Attribute) error {
	if len(attributes) > maxAttributes {
		return invalidParameter("a message can have 10 attributes")
	}
	for name, a := range attributes {
		lower := strings.ToLower(name)
		if len(name) > 256 || !attributeName.MatchString(name) ||
			strings.HasPrefix(lower, "aws.") || strings.HasPrefix(lower, "amazon.") {
			return invalidParameter("the message attribute name is not valid")
		}
		if !dataType.MatchString(a.DataType) {
			return invalidParameter("the type of the message attribute " + name + " must begin with String, Number or Binary")
		}
		binary := strings.HasPrefix(a.DataType, "Binary")
		if binary && len(a.BinaryValue) == 0 || !binary && (a.StringValue == nil || *a.StringValue == "") {
			return invalidParameter("the message attribute " + name + " must contain a non-empty value of its type")
		}
	}
	return nil
}

// size is what counts towards the limit: the body and the attributes' names,
// types and values.
func size(out Outgoing) int {
	n := len(out.Body)
	for name, a := range out.Attributes {
		n += len(name) + len(a.DataType) + len(a.BinaryValue)
		if a.StringValue != nil {
			n += len(*a.StringValue)
		}
	}
	return n
}

// accept stores a checked message, unless it repeats one; the caller holds the
// lock.
func (e *Engine) accept(q *queue, out Outgoing) (Sent, error) {
	now := e.cfg.Clock.Now()
	window := ""
	if q.fifo {
		window = q.dedupKey(out.Group, out.Dedup)
		if first, ok := q.dedup[window]; ok && now.Sub(first.at) < dedupWindow {
			return Sent{ID: first.id, SequenceNumber: sequence(first.seq)}, nil
		}
		q.forgetDuplicates(now)
	}
	delay := q.settings.delay
	if out.Delay != nil {
		delay = *out.Delay
	}
	m := &message{
		ID: awswire.NewID(), Body: out.Body, Attributes: out.Attributes, Trace: out.Trace,
		Group: out.Group, Dedup: out.Dedup, Seq: e.lastSeq + 1, Sender: out.Sender,
		Sent: now, Enqueued: now, visibleAt: now.Add(delay),
	}
	if delay > 0 {
		m.state = delayed
	}
	rec := record{Op: opSend, Queue: q.name, Message: m, At: now}
	if delay > 0 {
		rec.Until = m.visibleAt
	}
	if err := e.record(rec); err != nil {
		return Sent{}, err
	}
	e.lastSeq = m.Seq
	q.add(m)
	if !q.fifo {
		return Sent{ID: m.ID}, nil
	}
	q.dedup[window] = accepted{id: m.ID, seq: m.Seq, at: now}
	return Sent{ID: m.ID, SequenceNumber: sequence(m.Seq)}, nil
}

func (q *queue) dedupKey(group, dedup string) string {
	if q.settings.dedupPerGroup {
		return group + "\x00" + dedup
	}
	return dedup
}

// forgetDuplicates drops ended windows once there are many, so that the cost is
// spread over the sends.
func (q *queue) forgetDuplicates(now time.Time) {
	if len(q.dedup)%1024 != 1023 {
		return
	}
	for k, a := range q.dedup {
		if now.Sub(a.at) >= dedupWindow {
			delete(q.dedup, k)
		}
	}
}

// sequence has a fixed width, so that it orders as text too.
func sequence(n uint64) string { return fmt.Sprintf("%020d", n) }

func md5Hex(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

// md5Attributes is the digest of message attributes: names in order, and for
// each the length-prefixed name, type and value, with a byte before the value
// that says string (1) or binary (2) (SQS developer guide, "Calculating the MD5
// message digest for message attributes", read 2026-11). "" without attributes.
func md5Attributes(attributes map[string]Attribute) string {
	if len(attributes) == 0 {
		return ""
	}
	names := make([]string, 0, len(attributes))
	for name := range attributes {
		names = append(names, name)
	}
	sort.Strings(names)
	var buf []byte
	add := func(s []byte) {
		buf = binary.BigEndian.AppendUint32(buf, uint32(len(s)))
		buf = append(buf, s...)
	}
	for _, name := range names {
		a := attributes[name]
		add([]byte(name))
		add([]byte(a.DataType))
		if strings.HasPrefix(a.DataType, "Binary") {
			buf = append(buf, 2)
			add(a.BinaryValue)
		} else if a.StringValue != nil {
			buf = append(buf, 1)
			add([]byte(*a.StringValue))
		}
	}
	sum := md5.Sum(buf)
	return hex.EncodeToString(sum[:])
}
