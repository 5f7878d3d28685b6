package lambdahost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/clock"
)

// Limits of the platform (Lambda quotas page, read 2026; the response limit is
// the figure of the service's own error message).
const (
	MaxRequestBytes  = 6 * 1024 * 1024
	MaxResponseBytes = 6*1024*1024 + 100
	MaxStreamBytes   = 200 * 1024 * 1024
	maxPreludeBytes  = 128 * 1024
	maxTimeout       = 15 * time.Minute
	initTimeout      = 30 * time.Second // Lambda: 10 s; a machine that runs everything is slower
)

const (
	defaultQueueWait       = time.Minute // many processes that start at once are no refusal
	defaultMaxEnvironments = 32
	defaultMemoryMB        = 128
	// LocalAccountID is the account in every ARN of the local stack.
	LocalAccountID = "000000000000"
	defaultRegion  = "us-east-1"
)

var functionName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Options configure a Host.
type Options struct {
	Clock *clock.Clock // time in trace ids; nil = unshifted
	// LogDir gets one <function>.log per function, appended to. Created if absent.
	LogDir    string
	QueueWait time.Duration // how long a call waits for an environment; 0 = a minute
	Stderr    io.Writer     // gets start failures and crashes; nil = discarded
	Region    string        // AWS_REGION and ARNs; "" = us-east-1
}

// Spec describes one function.
type Spec struct {
	Name   string            // [A-Za-z0-9_-]{1,64}
	Binary string            // executable of this machine's architecture
	Env    map[string]string // added to, and preferred over, what Lambda sets
	// Timeout ends an invocation; at most 15 minutes.
	Timeout  time.Duration
	MemoryMB int // only reported to the function; 0 = 128
	// MaxEnvironments bounds simultaneous processes; 0 = 32.
	MaxEnvironments int
}

// Environment is one process of a function. State is starting, idle or busy.
type Environment struct {
	PID       int    `json:"pid"`
	State     string `json:"state"`
	RequestID string `json:"request_id,omitempty"`
}

// FunctionStatus is a function and its processes, oldest first.
type FunctionStatus struct {
	Name         string        `json:"name"`
	Environments []Environment `json:"environments"`
}

// Host runs functions. Create it with New and end it with Close.
type Host struct {
	opts    Options
	spawner *spawner
	after   func(time.Duration, func()) // time.AfterFunc, but for tests

	mu     sync.Mutex
	pools  map[string]*pool
	closed bool

	stderrMu sync.Mutex
}

// New creates a host without functions.
func New(opts Options) (*Host, error) {
	if opts.LogDir == "" {
		return nil, errors.New("lambdahost: LogDir is required")
	}
	if err := os.MkdirAll(opts.LogDir, 0o700); err != nil {
		return nil, fmt.Errorf("lambdahost: log directory: %w", err)
	}
	if opts.Clock == nil {
		opts.Clock = new(clock.Clock)
	}
	if opts.QueueWait == 0 {
		opts.QueueWait = defaultQueueWait
	}
	if opts.Stderr == nil {
		opts.Stderr = io.Discard
	}
	if opts.Region == "" {
		opts.Region = defaultRegion
	}
	after := func(d time.Duration, f func()) { time.AfterFunc(d, f) }
	return &Host{opts: opts, spawner: newSpawner(), after: after, pools: map[string]*pool{}}, nil
}

// Register adds a function. Nothing is started before the first call.
func (h *Host) Register(spec Spec) error {
	spec, err := checkSpec(spec)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return ErrClosed
	}
	if _, dup := h.pools[spec.Name]; dup {
		return fmt.Errorf("lambdahost: function %q is registered twice", spec.Name)
	}
	log, err := openLog(filepath.Join(h.opts.LogDir, spec.Name+".log"))
	if err != nil {
		return err
	}
	h.pools[spec.Name] = newPool(h, spec, log)
	return nil
}

func checkSpec(spec Spec) (Spec, error) {
	if !functionName.MatchString(spec.Name) {
		return spec, fmt.Errorf("lambdahost: function name %q: use 1 to 64 letters, digits, - and _", spec.Name)
	}
	if spec.Timeout <= 0 || spec.Timeout > maxTimeout {
		return spec, fmt.Errorf("lambdahost: function %s: timeout %v is not within 0 to 15 minutes", spec.Name, spec.Timeout)
	}
	binary, err := filepath.Abs(spec.Binary)
	if err != nil {
		return spec, fmt.Errorf("lambdahost: function %s: %w", spec.Name, err)
	}
	if info, err := os.Stat(binary); err != nil {
		return spec, fmt.Errorf("lambdahost: function %s: binary: %w", spec.Name, err)
	} else if !info.Mode().IsRegular() {
		return spec, fmt.Errorf("lambdahost: function %s: %s is not a file", spec.Name, binary)
	}
	spec.Binary = binary
	for name := range spec.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(spec.Env[name], "\x00") {
			return spec, fmt.Errorf("lambdahost: function %s: invalid environment variable %q", spec.Name, name)
		}
		if name == runtimeAPIVariable {
			return spec, fmt.Errorf("lambdahost: function %s: %s belongs to the host", spec.Name, name)
		}
	}
	if spec.MemoryMB == 0 {
		spec.MemoryMB = defaultMemoryMB
	}
	if spec.MaxEnvironments == 0 {
		spec.MaxEnvironments = defaultMaxEnvironments
	}
	if spec.MaxEnvironments < 0 || spec.MemoryMB < 0 {
		return spec, fmt.Errorf("lambdahost: function %s: MaxEnvironments and MemoryMB cannot be negative", spec.Name)
	}
	return spec, nil
}

// Functions lists the functions by name.
func (h *Host) Functions() []FunctionStatus {
	h.mu.Lock()
	pools := make([]*pool, 0, len(h.pools))
	for _, p := range h.pools {
		pools = append(pools, p)
	}
	h.mu.Unlock()
	sort.Slice(pools, func(i, j int) bool { return pools[i].spec.Name < pools[j].spec.Name })
	out := make([]FunctionStatus, len(pools))
	for i, p := range pools {
		out[i] = p.status()
	}
	return out
}

// Close kills every process, waits until it is gone and fails the calls that
// are under way with ErrClosed or ErrCrashed. It may be called twice.
func (h *Host) Close() {
	h.mu.Lock()
	already := h.closed
	h.closed = true
	pools := make([]*pool, 0, len(h.pools))
	for _, p := range h.pools {
		pools = append(pools, p)
	}
	h.mu.Unlock()
	var wg sync.WaitGroup
	for _, p := range pools {
		wg.Go(p.close)
	}
	wg.Wait()
	if !already {
		h.spawner.stop()
	}
}

func (h *Host) pool(name string) (*pool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.pools[name]
	switch {
	case h.closed:
		return nil, &Error{Reason: ErrClosed, Function: name, Type: "Local.Closed", Message: "the local stack is shutting down"}
	case p == nil:
		return nil, &Error{Reason: ErrUnknownFunction, Function: name, Type: "ResourceNotFoundException",
			Message: "Function not found: " + functionARN(h.opts.Region, name)}
	}
	return p, nil
}

// report writes one message to Options.Stderr.
func (h *Host) report(format string, args ...any) {
	h.stderrMu.Lock()
	defer h.stderrMu.Unlock()
	fmt.Fprintf(h.opts.Stderr, format+"\n", args...)
}

func functionARN(region, name string) string {
	return "arn:aws:lambda:" + region + ":" + LocalAccountID + ":function:" + name
}

type traceKey struct{}

// WithTraceID makes calls with the returned context carry this X-Ray trace
// header, so that the event's x-amzn-trace-id and the function's agree.
func WithTraceID(ctx context.Context, header string) context.Context {
	return context.WithValue(ctx, traceKey{}, header)
}
