// Package localsqs is the local stack's queue service: an engine with FIFO and
// standard queues, and an HTTP endpoint that speaks the JSON 1.0 protocol of
// Amazon SQS to unmodified SDK clients.
//
// Guarantees: in a FIFO queue the messages of a group are handed out in the
// order they were accepted, and while one of them is in flight no other of its
// group is; a repeated deduplication id within five minutes is accepted and
// dropped; a message received maxReceiveCount times goes to the dead-letter
// queue at the next receive and its group goes on; every deadline follows the
// shifted clock; the MD5 digests are those the SDKs check. With a directory the
// messages survive a restart of the process: a journal is written at once but
// not flushed to the disk one by one, and a torn last line is dropped at start.
//
// Flow of a request: count → scripted fault → decode → find the queue →
// authorize → engine (one lock) → journal → answer.
//
// Not imitated: SigV4 signatures are not verified (loopback only); the query
// protocol; queue policies (use [Config].Allow), tags, server-side encryption
// (attributes are kept, nothing is done), ReceiveRequestAttemptId, fair queues,
// in-flight and throughput quotas, the 60 s wait between purges, DeleteQueue
// (remove the directory), message move tasks, paging of ListQueues, the 12 h total limit
// of visibility extensions, lost and duplicated deliveries of standard queues
// (delivery is exact and in order here). After a restart every message is
// visible again, because its consumers were children of the stack that is gone,
// and old receipt handles are expired. Messages past their retention leave a
// queue from its front only.
package localsqs

import (
	"net/http"
	"regexp"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/awswire"
	"github.com/latchkey/latchkey/scripts/internal/clock"
	"github.com/latchkey/latchkey/scripts/internal/localfaults"
)

const (
	defaultRegion = "us-east-1"
	// defaultAccount is twelve zeros so that nobody takes the ARNs for real ones.
	defaultAccount = "000000000000"
	// recheck is how often a waiting receive looks again without being told: a
	// visibility deadline or a shift of the clock announces itself to nobody.
	recheck = 100 * time.Millisecond
)

// Config configures [New].
type Config struct {
	// Dir is where the journal is kept; "" keeps messages in memory.
	Dir string
	// Clock decides timestamps, visibility, delays, retention and deduplication;
	// nil is an unshifted one.
	Clock *clock.Clock
	// Region and Account appear in ARNs and URLs; the defaults are us-east-1 and
	// zeros.
	Region, Account string
	// Allow is the permission table with queue names as resources and the actions
	// of IAM without prefix (SendMessage covers its batch); nil enforces nothing.
	Allow awswire.Allow
	// Admin is the access key id that Allow does not bind; "" for none.
	Admin string
	// Faults may be nil.
	Faults *localfaults.Table
}

// Engine holds the queues and serves the protocol. Safe for concurrent use.
type Engine struct {
	cfg     Config
	handler http.Handler
	calls   awswire.Counter
	done    chan struct{}
	closing sync.Once

	mu      sync.Mutex
	queues  map[string]*queue
	lastSeq uint64
	journal *journal
}

// New opens the journal in cfg.Dir, or begins empty. A damaged journal (other
// than a torn last line) is an error that names the line.
func New(cfg Config) (*Engine, error) {
	if cfg.Clock == nil {
		cfg.Clock = new(clock.Clock)
	}
	if cfg.Region == "" {
		cfg.Region = defaultRegion
	}
	if cfg.Account == "" {
		cfg.Account = defaultAccount
	}
	e := &Engine{cfg: cfg, done: make(chan struct{}), queues: make(map[string]*queue)}
	if err := e.openJournal(); err != nil {
		return nil, err
	}
	e.handler = cfg.Faults.Wrap(localfaults.SQS, awswire.JSON10, http.HandlerFunc(e.serve))
	return e, nil
}

// Close ends waiting receives and closes the journal. Calls after it fail.
func (e *Engine) Close() error {
	e.closing.Do(func() { close(e.done) })
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.journal.close()
}

// Calls returns the number of requests per (principal, operation) over HTTP,
// failed and faulted ones included.
func (e *Engine) Calls() map[awswire.Call]int { return e.calls.Snapshot() }

// ResetCalls forgets the counts.
func (e *Engine) ResetCalls() { e.calls.Reset() }

// ARN returns the ARN of a queue name, whether or not the queue exists.
func (e *Engine) ARN(name string) string {
	return "arn:aws:sqs:" + e.cfg.Region + ":" + e.cfg.Account + ":" + name
}

// URL returns the queue's URL below the endpoint's base URL. The engine accepts
// any URL whose last path element is the queue's name, so a URL stored by an
// earlier run on another port still works.
func (e *Engine) URL(base, name string) string {
	return strings.TrimSuffix(base, "/") + "/" + e.cfg.Account + "/" + name
}

// EnsureQueue creates the queue or sets the given attributes of the existing
// one, and returns its ARN.
func (e *Engine) EnsureQueue(name string, attributes map[string]string) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if q, ok := e.queues[name]; ok {
		changed := make(map[string]string, len(attributes))
		for k, v := range attributes {
			if k != attrFifoQueue {
				changed[k] = v
			}
		}
		return e.ARN(name), e.setAttributes(q, changed)
	}
	_, err := e.createQueue(name, attributes)
	return e.ARN(name), err
}

var queueName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

// createQueue makes a queue; the caller holds the lock.
func (e *Engine) createQueue(name string, attributes map[string]string) (*queue, error) {
	base, fifo := strings.CutSuffix(name, ".fifo")
	if !queueName.MatchString(base) || len(name) > 80 || fifo != (attributes[attrFifoQueue] == "true") {
		return nil, invalidParameter("a queue name has 1 to 80 letters, digits, dashes and underscores; it ends in .fifo exactly when FifoQueue is true")
	}
	now := e.cfg.Clock.Now()
	q := newQueue(name, fifo, now)
	settings, err := e.parseAttributes(q, attributes)
	if err != nil {
		return nil, err
	}
	q.settings = settings
	if err := e.journal.append(record{Op: opQueue, Queue: name, Attributes: q.settings.given, At: now}); err != nil {
		return nil, err
	}
	e.queues[name] = q
	return q, nil
}

// setAttributes merges changes into a queue; the caller holds the lock.
func (e *Engine) setAttributes(q *queue, changes map[string]string) error {
	merged := make(map[string]string, len(q.settings.given)+len(changes))
	for k, v := range q.settings.given {
		merged[k] = v
	}
	for k, v := range changes {
		merged[k] = v
	}
	settings, err := e.parseAttributes(q, merged)
	if err != nil {
		return err
	}
	now := e.cfg.Clock.Now()
	if err := e.journal.append(record{Op: opQueue, Queue: q.name, Attributes: settings.given, At: now}); err != nil {
		return err
	}
	q.settings, q.modified = settings, now
	q.wake()
	return nil
}

// find returns the queue; the caller holds the lock.
func (e *Engine) find(name string) (*queue, error) {
	q, ok := e.queues[name]
	if !ok {
		return nil, &awswire.Error{
			Code: "QueueDoesNotExist", QueryCode: "AWS.SimpleQueueService.NonExistentQueue",
			Message: "the queue does not exist",
		}
	}
	return q, nil
}

func (e *Engine) names() []string {
	out := make([]string, 0, len(e.queues))
	for name := range e.queues {
		out = append(out, name)
	}
	sort.Strings(out)
	return out
}

func invalidParameter(message string) error {
	return &awswire.Error{Code: "InvalidParameterValueException", QueryCode: "InvalidParameterValue", Message: message}
}

func missingParameter(name string) error {
	return &awswire.Error{
		Code: "MissingRequiredParameterException", QueryCode: "MissingParameter",
		Message: "the request must contain the parameter " + name,
	}
}
