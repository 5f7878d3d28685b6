package deliveries

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/scripts/internal/mutate"
	"github.com/latchkey/latchkey/scripts/internal/stack"
)

func TestMain(m *testing.M) {
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = 64
	os.Exit(m.Run())
}

func soak() bool { return os.Getenv("LATCHKEY_SOAK") != "" }

const (
	platformKey = "sk-platform-deliveries"
	simChat     = "openrouter/sim-chat"
	// patience bounds every wait in which nothing moves. It expects no speed.
	patience = 3 * time.Minute
)

// words are what messages carry: one per message, with the conversation's number.
var words = regexp.MustCompile(`\bq([0-9]+)x([0-9]+)\b`)

// world is a running stack with its vendors.
type world struct {
	*stack.Stack
	vendor   *vendor
	operator stack.Client
	stop     func()
	// received counts what the queue delivered to turn.
	received atomic.Int64
	serial   int

	mu     sync.Mutex
	queued map[string]*queued
	groups map[string]string // conversation of a message group
	mixed  []string
}

// queued is what the queue delivered of one message.
type queued struct {
	sequence string // of its first place in the queue
	groups   map[string]bool
	receives int // the highest count
}

func root() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
}

// start brings a stack up with the functions in a folder, or those of the source.
func start(ctx context.Context, functions string) (*world, error) {
	if _, err := os.Stat(filepath.Join(root(), "node_modules", "amplify-dynamodb-simulator")); err != nil {
		return nil, fmt.Errorf("the npm packages are not installed; run ./scripts/setup")
	}
	dir, err := os.MkdirTemp("", "latchkey-deliveries")
	if err != nil {
		return nil, err
	}
	w := &world{queued: map[string]*queued{}, groups: map[string]string{}}
	if functions == "" {
		functions = filepath.Join(dir, "functions")
		if err = os.Mkdir(functions, 0o700); err == nil {
			err = mutate.Copy(ctx, root(), functions)
		}
		if err != nil {
			_ = os.RemoveAll(dir)
			return nil, err
		}
	}
	w.vendor = newVendor(w)
	l, err := mockvendor.Listen(w.vendor)
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	w.stop = func() {
		if w.Stack != nil {
			_ = w.Stack.Stop()
		}
		l.Close()
		_ = os.RemoveAll(dir)
	}
	env := mockvendor.Environment(l.URL)
	maps.Copy(env, map[string]string{
		"LATCHKEY_PLATFORM_OPENROUTER_KEY": platformKey, "LATCHKEY_PLATFORM_OPENROUTER_BASE_URL": l.URL + "/v1",
		"LATCHKEY_ENDPOINT_ALLOW": strings.TrimPrefix(l.URL, "http://"),
	})
	w.Stack, err = stack.Start(ctx, stack.Options{Root: root(), Data: dir, InMemory: true, Binaries: functions, SkipBuild: true,
		OnDelivery: w.delivered, Env: env})
	if err == nil {
		var seeded stack.Seeded
		seeded, err = w.Seed(ctx, false)
		w.operator = stack.Client{Base: w.BaseURL, Key: seeded.OperatorKey}
	}
	if err == nil {
		err = stack.Prices(ctx, w.operator, true)
	}
	if err == nil {
		// Sweeps are made by the harness.
		err = w.local(ctx, "/schedule/pause", nil)
	}
	if err != nil {
		w.stop()
		return nil, err
	}
	return w, nil
}

// delivered notes what the queue hands to turn.
func (w *world) delivered(function string, event []byte) {
	if function != "turn" {
		return
	}
	w.received.Add(1)
	var e struct {
		Records []struct {
			Body       string
			Attributes map[string]string
		}
	}
	if json.Unmarshal(event, &e) != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range e.Records {
		m := words.FindStringSubmatch(r.Body)
		if m == nil {
			continue
		}
		q := w.queued[m[0]]
		if q == nil {
			q = &queued{groups: map[string]bool{}}
			w.queued[m[0]] = q
		}
		group, sequence := r.Attributes["MessageGroupId"], r.Attributes["SequenceNumber"]
		q.groups[group] = true
		if q.sequence == "" || sequence < q.sequence {
			q.sequence = sequence
		}
		n, _ := strconv.Atoi(r.Attributes["ApproximateReceiveCount"])
		q.receives = max(q.receives, n)
		if was, known := w.groups[group]; known && was != m[1] {
			w.mixed = append(w.mixed, fmt.Sprintf("conversations %s and %s share group %q", was, m[1], group))
		}
		w.groups[group] = m[1]
	}
}

// receives is how often the message of a word was received, at most under one
// queue message.
func (w *world) receives(word string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if q := w.queued[word]; q != nil {
		return q.receives
	}
	return 0
}

// receivedAgain counts the messages that were received more than once.
func (w *world) receivedAgain() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, q := range w.queued {
		if q.receives > 1 {
			n++
		}
	}
	return n
}

// local calls one of the stack's own endpoints.
func (w *world) local(ctx context.Context, path string, in any) error {
	if in == nil {
		in = map[string]any{}
	}
	return stack.Client{Base: w.BaseURL}.Call(ctx, http.MethodPost, "/_local"+path, in, nil)
}

// shift moves every clock of the stack forward.
func (w *world) shift(ctx context.Context, by time.Duration) error {
	return w.local(ctx, "/clock", map[string]any{"offset_seconds": int((w.Clock.Offset() + by).Seconds())})
}

// signal sends a signal to processes of the stack.
func signal(pids []int, s syscall.Signal) int {
	n := 0
	for _, pid := range pids {
		if syscall.Kill(pid, s) == nil {
			n++
		}
	}
	return n
}

// backlog is what the turn queue holds.
func (w *world) backlog() (visible, inFlight int) {
	for _, q := range w.Queues.Queues() {
		if q.FIFO && q.DLQFor == "" {
			visible, inFlight = visible+q.Visible+q.Delayed, inFlight+q.InFlight
		}
	}
	return visible, inFlight
}

// until polls a condition that other processes bring about. It gives up when the
// queue has delivered nothing for as long as patience lasts, so that a larger run
// has more time.
func (w *world) until(ctx context.Context, what string, ok func() bool) error {
	since, before := time.Now(), w.received.Load()
	for ctx.Err() == nil {
		if ok() {
			return nil
		}
		if n := w.received.Load(); n != before {
			since, before = time.Now(), n
		}
		if time.Since(since) > patience {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("never happened: %s", what)
}

// org is an organisation of the run.
type org struct {
	id    string
	admin stack.Client
}

func (w *world) newOrg(ctx context.Context, name string) (*org, error) {
	var made struct{ ID string }
	if err := w.operator.Call(ctx, http.MethodPost, "/api/orgs", map[string]any{"name": name, "tier": "enterprise"}, &made); err != nil {
		return nil, err
	}
	var k struct{ Key string }
	if err := w.operator.Call(ctx, http.MethodPost, "/api/orgs/"+made.ID+"/keys",
		map[string]any{"name": "all", "scopes": []string{"invoke", "admin", "billing", "read"}}, &k); err != nil {
		return nil, err
	}
	o := &org{id: made.ID, admin: stack.Client{Base: w.BaseURL, Key: k.Key}}
	return o, w.operator.Call(ctx, http.MethodPost, "/api/orgs/"+o.id+"/grants",
		map[string]any{"kind": "gifted", "amount": 1_000_000_000, "idempotency_key": "start"}, nil)
}

func (o *org) call(ctx context.Context, method, path string, in, out any) error {
	return o.admin.Call(ctx, method, "/api/orgs/"+o.id+path, in, out)
}

// pages reads a whole list.
func pages[T any](ctx context.Context, o *org, path string) ([]T, error) {
	var all []T
	for cursor := ""; ; {
		var page struct {
			Items      []T
			NextCursor string `json:"next_cursor"`
		}
		if err := o.call(ctx, http.MethodGet, path+"?limit=200&cursor="+url.QueryEscape(cursor), nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if cursor = page.NextCursor; cursor == "" {
			return all, nil
		}
	}
}

// agent makes an agent with personas, whose instructions hold their marks.
func (o *org) agent(ctx context.Context, mark string, personas ...string) (string, error) {
	var list []map[string]any
	for _, p := range personas {
		list = append(list, map[string]any{"id": p, "name": p, "instructions": "Your persona is " + p + "."})
	}
	var a struct{ ID string }
	err := o.call(ctx, http.MethodPost, "/agents", map[string]any{"name": mark, "instructions": "You are " + mark + ".", "model": simChat, "personas": list}, &a)
	return a.ID, err
}

// sessionView, messageView and turnView are what the admin API says.
type sessionView struct {
	ID        string
	InstallID string `json:"install_id"`
	AgentID   string `json:"agent_id"`
	PersonaID string `json:"persona_id"`
	Channel   string
	Thread    string
}

type messageView struct {
	Role, Text string
	AgentID    string `json:"agent_id"`
	PersonaID  string `json:"persona_id"`
	TurnID     string `json:"turn_id"`
	EventID    string `json:"event_id"`
}

type turnView struct {
	ID, State, Code string
	SessionID       string   `json:"session_id"`
	EventID         string   `json:"event_id"`
	RequestIDs      []string `json:"request_ids"`
	Outbox          []struct {
		Part              int
		State             string
		ProviderMessageID string `json:"provider_message_id"`
	}
}
