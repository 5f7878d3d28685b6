package security

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/scripts/internal/mutate"
	"github.com/latchkey/latchkey/scripts/internal/stack"
	"github.com/latchkey/latchkey/shared/topology"
)

// world is a running stack with its vendors.
type world struct {
	*stack.Stack
	vendor *mockvendor.Server
	// vendorURL is where it answers.
	vendorURL string
	faults    *vendorFaults
	trap      trap
	operator  stack.Client
	// functions is where the binaries lie that the stack starts.
	functions string
	// offset is how far the stack's clock is ahead.
	offset   atomic.Int64
	moving   sync.Mutex
	patience time.Duration
	serial   atomic.Int64
	hooks    *tail
	turns    *tail
	// searched is how far each log was looked through.
	searched map[string]int
}

func root() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
}

// start brings a stack up with binaries of its own, which mutants may replace.
func start(t *testing.T) *world {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root(), "node_modules", "amplify-dynamodb-simulator")); err != nil {
		t.Fatal("the npm packages are not installed; run ./scripts/setup")
	}
	dir := t.TempDir()
	w := &world{vendor: mockvendor.New(), searched: map[string]int{}, functions: filepath.Join(dir, "functions"), patience: 90 * time.Second}
	w.faults = &vendorFaults{next: w.vendor, drop: map[string]bool{}, reject: map[string]bool{}}
	w.trap.files, w.trap.asked = map[string][]byte{}, map[string]int{}
	w.trap.Server = httptest.NewServer(&w.trap)
	t.Cleanup(w.trap.Close)
	must(t, os.Mkdir(w.functions, 0o700))
	must(t, mutate.Copy(t.Context(), root(), w.functions))
	l, err := mockvendor.Listen(w.faults)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	w.vendorURL = l.URL
	env := mockvendor.Environment(l.URL)
	maps.Copy(env, map[string]string{
		"LATCHKEY_PLATFORM_OPENROUTER_KEY": "sk-platform-matrix", "LATCHKEY_PLATFORM_OPENROUTER_BASE_URL": l.URL + "/v1",
		"LATCHKEY_PLATFORM_OPENAI_COMPATIBLE_KEY": "sk-platform-matrix", "LATCHKEY_PLATFORM_OPENAI_COMPATIBLE_BASE_URL": l.URL + "/v1",
		"LATCHKEY_ENDPOINT_ALLOW": strings.TrimPrefix(l.URL, "http://") + "," + mockvendor.FileHost(l.URL),
	})
	w.Stack, err = stack.Start(t.Context(), stack.Options{Root: root(), Data: dir, InMemory: true, Binaries: w.functions, SkipBuild: true, Env: env})
	must(t, err)
	t.Cleanup(func() { _ = w.Stop() })
	seeded, err := w.Seed(t.Context(), false)
	must(t, err)
	w.operator = stack.Client{Base: w.BaseURL, Key: seeded.OperatorKey}
	must(t, stack.Prices(t.Context(), w.operator, true))
	w.hooks, w.turns = newTail(w, topology.Webhook), newTail(w, topology.Turn)
	return w
}

// install puts a binary where the stack starts the function from.
func (w *world) install(function, from string) error {
	to := filepath.Join(w.functions, function)
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to+".new", b, 0o700)
	}
	if err == nil {
		err = os.Rename(to+".new", to)
	}
	return err
}

// restart ends every process of a function, so that the next call starts the
// binary that lies there now.
func (w *world) restart(t testing.TB, function string) {
	t.Helper()
	var pids []int
	w.until(func() bool {
		pids = w.processes(t, function, "")
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		return len(pids) == 0
	})
	if len(pids) > 0 {
		t.Fatalf("%s does not end", function)
	}
}

// processes lists a function's process ids in a state, "" for any.
func (w *world) processes(t testing.TB, function, state string) []int {
	t.Helper()
	pids, err := stack.Client{Base: w.BaseURL}.Processes(t.Context(), function, state)
	must(t, err)
	return pids
}

func (w *world) local(path string, in any) error {
	return stack.Client{Base: w.BaseURL}.Call(context.Background(), http.MethodPost, "/_local"+path, in, nil)
}

// now is the stack's time.
func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.offset.Load())) }

// advance moves every clock of the stack, and then what cells take for its time: of two
// at once the later one must not be set back, nor anything be signed ahead of the stack.
func (w *world) advance(by time.Duration) error {
	w.moving.Lock()
	defer w.moving.Unlock()
	off := time.Duration(w.offset.Load()) + by
	if err := w.local("/clock", map[string]any{"offset_seconds": int(off.Seconds())}); err != nil {
		return err
	}
	w.offset.Store(int64(off))
	return nil
}

func (w *world) until(ok func() bool) bool {
	for deadline := time.Now().Add(w.patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return ok()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// vendorFaults stands before the simulated vendors.
type vendorFaults struct {
	next http.Handler
	mu   sync.Mutex
	// drop takes the message and loses the connection before the answer; reject
	// refuses the token.
	drop, reject map[string]bool
}

func (f *vendorFaults) set(m map[string]bool, token string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m[token] = true
}

func (f *vendorFaults) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	col, known := answering(r.URL.Path)
	if !known {
		f.next.ServeHTTP(w, r)
		return
	}
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if col.token != nil {
		token = col.token(r)
	}
	f.mu.Lock()
	drop, reject := f.drop[token], f.reject[token]
	f.mu.Unlock()
	switch {
	case drop:
		f.next.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case reject:
		col.unauthorized(w)
	default:
		f.next.ServeHTTP(w, r)
	}
}

// answering is the first column whose vendor answers at a path; several channels of a
// vendor may share one.
func answering(path string) (column, bool) {
	all := list()
	i := slices.IndexFunc(all, func(c column) bool { return c.api != "" && strings.HasPrefix(path, c.api) })
	if i < 0 {
		return column{}, false
	}
	return all[i], true
}

// record is one audit line of a function.
type record struct {
	Message, Code, Detail, Org, Install, Provider, Source, Turn string
	At                                                          time.Time
	EventID                                                     string `json:"event_id"`
	RequestID                                                   string `json:"request_id"`
	BodySHA256                                                  string `json:"body_sha256"`
	SecretVersions                                              []int  `json:"secret_versions"`
	RetiredSecret                                               bool   `json:"retired_secret"`
	Suppressed                                                  int64
	raw                                                         string
	// process is the number of the one that wrote it.
	process string
}

// tail reads the audit lines that a function writes.
type tail struct {
	w    *world
	path string
	mu   sync.Mutex
	read int64
	rest []byte
	all  []record
	used map[int]bool
}

func newTail(w *world, function string) *tail {
	return &tail{w: w, path: filepath.Join(w.LogDir, function+".log"), used: map[int]bool{}}
}

// load reads what was added. The caller holds mu.
func (l *tail) load() {
	f, err := os.Open(l.path)
	if err != nil {
		return
	}
	defer f.Close()
	if _, err := f.Seek(l.read, io.SeekStart); err != nil {
		return
	}
	b, _ := io.ReadAll(f)
	l.read += int64(len(b))
	l.rest = append(l.rest, b...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			return
		}
		l.rest = rest
		process, text, _ := strings.Cut(strings.TrimPrefix(string(line), "["), "] ")
		r := record{raw: text, process: process}
		if json.Unmarshal([]byte(text), &r) == nil && r.Message == "audit" {
			l.all = append(l.all, r)
		}
	}
}

// next waits for a record that matches and that nobody has taken, and takes it.
func (l *tail) next(match func(record) bool) (record, bool) {
	var found record
	ok := l.w.until(func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.load()
		for i, r := range l.all {
			if !l.used[i] && match(r) {
				l.used[i], found = true, r
				return true
			}
		}
		return false
	})
	return found, ok
}

// having lists the records that match, whether anybody has taken them or not.
func (l *tail) having(match func(record) bool) []record {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.load()
	var out []record
	for _, r := range l.all {
		if match(r) {
			out = append(out, r)
		}
	}
	return out
}

// last is the newest record of an install.
func (l *tail) last(install string) record {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.all) - 1; i >= 0; i-- {
		if l.all[i].Install == install {
			return l.all[i]
		}
	}
	return record{}
}
