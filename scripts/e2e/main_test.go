package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/scripts/internal/stack"
)

// The canaries are secrets that must never be seen outside the one place they
// are meant for; TestNoSecretLeaks looks for them everywhere.
const (
	platformKey = "sk-platform-CNRYa41f09c2PLATFORMKEY"
)

var (
	world  *stack.Stack
	vendor = mockvendor.New()
	seeded stack.Seeded
	serial atomic.Int64
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	root, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	if _, err := os.Stat(filepath.Join(root, "node_modules", "amplify-dynamodb-simulator")); err != nil {
		fmt.Fprintln(os.Stderr, "the npm packages are not installed; run ./scripts/setup")
		return 1
	}
	dir, err := os.MkdirTemp("", "latchkey-e2e")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	l, err := mockvendor.Listen(withEcho(vendor))
	if err != nil {
		panic(err)
	}
	defer l.Close()
	payments := httptest.NewServer(till)
	defer payments.Close()
	till.SetURL(payments.URL, "")
	daemon, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer daemon.Close()
	go collectTraces(daemon)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	env := mockvendor.Environment(l.URL)
	maps.Copy(env, map[string]string{
		"LATCHKEY_PLATFORM_OPENROUTER_KEY":             platformKey,
		"LATCHKEY_PLATFORM_OPENROUTER_BASE_URL":        l.URL + "/v1",
		"LATCHKEY_PLATFORM_OPENAI_COMPATIBLE_KEY":      platformKey,
		"LATCHKEY_PLATFORM_OPENAI_COMPATIBLE_BASE_URL": l.URL + "/v1",
		"AWS_XRAY_DAEMON_ADDRESS":                      daemon.LocalAddr().String(),
		"LATCHKEY_STRIPE_KEY":                          stripeKey,
		"LATCHKEY_STRIPE_WEBHOOK_SECRET":               stripeOldSecret,
		"LATCHKEY_STRIPE_API_URL":                      payments.URL,
		"LATCHKEY_ENDPOINT_ALLOW":                      strings.TrimPrefix(l.URL, "http://") + "," + mockvendor.FileHost(l.URL),
	})
	world, err = stack.Start(ctx, stack.Options{Root: root, Data: dir, InMemory: true, Log: os.Stderr, OnAWSCall: observe, Env: env})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = world.Stop() }()
	vendorURL = l.URL
	if seeded, err = world.Seed(ctx, true); err == nil {
		err = stack.Prices(ctx, operator(), true)
	}
	if err == nil {
		// The other secret goes on verifying.
		err = operator().Call(ctx, http.MethodPut, "/api/operator/payments", map[string]any{"webhook_secret": stripeSecret}, nil)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

var vendorURL string

// traces is everything the functions sent to the trace daemon.
var (
	tracesMu sync.Mutex
	traces   []byte
)

func collectTraces(daemon net.PacketConn) {
	buf := make([]byte, 1<<16)
	for {
		n, _, err := daemon.ReadFrom(buf)
		if err != nil {
			return
		}
		tracesMu.Lock()
		traces = append(append(traces, buf[:n]...), '\n')
		tracesMu.Unlock()
	}
}

func operator() stack.Client { return stack.Client{Base: world.BaseURL, Key: seeded.OperatorKey} }

// tenant is a fresh organisation.
type tenant struct {
	t     testing.TB
	ID    string
	Key   string
	admin stack.Client
	// charges is how many usage entries are known.
	charges int
}

// newTenant creates an organisation with a key of all scopes and, if above 0,
// credits.
func newTenant(t testing.TB, tier string, credits int64) *tenant {
	t.Helper()
	var o struct{ ID string }
	must(t, operator().Call(t.Context(), http.MethodPost, "/api/orgs", map[string]any{"name": fmt.Sprintf("Test %d", serial.Add(1)), "tier": tier}, &o))
	var k struct{ Key string }
	must(t, operator().Call(t.Context(), http.MethodPost, "/api/orgs/"+o.ID+"/keys",
		map[string]any{"name": "all", "scopes": []string{"invoke", "audio", "admin", "billing", "read"}}, &k))
	x := &tenant{t: t, ID: o.ID, Key: k.Key, admin: stack.Client{Base: world.BaseURL, Key: k.Key}}
	if credits > 0 {
		x.operatorCall(http.MethodPost, "/grants", map[string]any{"kind": "gifted", "amount": credits, "idempotency_key": "start"}, nil)
	}
	return x
}

func (x *tenant) call(method, path string, body, out any) {
	x.t.Helper()
	must(x.t, x.admin.Call(x.t.Context(), method, "/api/orgs/"+x.ID+path, body, out))
}

func (x *tenant) operatorCall(method, path string, body, out any) {
	x.t.Helper()
	must(x.t, operator().Call(x.t.Context(), method, "/api/orgs/"+x.ID+path, body, out))
}

type credits struct {
	Posted, Held, Available int64
}

func (x *tenant) credits() credits {
	x.t.Helper()
	var c credits
	x.call(http.MethodGet, "/credits", nil, &c)
	return c
}

type entry struct {
	ID            string
	Kind          string
	Amount        int64
	RequestID     string `json:"request_id"`
	BillingSource string `json:"billing_source"`
	Estimated     bool
	Late          bool
	At            time.Time
	UsedAt        *time.Time `json:"used_at"`
	Legs          []struct {
		Account string
		Amount  int64
	}
	PaidBy string `json:"paid_by"`
	Tokens int64
	Usage  struct {
		Input  int64 `json:"input_tokens"`
		Output int64 `json:"output_tokens"`
	}
}

func (x *tenant) entries() []entry {
	x.t.Helper()
	var all []entry
	cursor := ""
	for {
		var page struct {
			Items      []entry
			NextCursor string `json:"next_cursor"`
		}
		x.call(http.MethodGet, "/entries?limit=100&cursor="+cursor, nil, &page)
		all = append(all, page.Items...)
		if cursor = page.NextCursor; cursor == "" {
			return all
		}
	}
}

// settled waits until nothing is held and returns the credits.
func (x *tenant) settled() credits {
	x.t.Helper()
	var c credits
	eventually(x.t, "holds of "+x.ID+" settle", func() bool { c = x.credits(); return c.Held == 0 })
	return c
}

// consistent checks what must hold for an organisation at rest.
func (x *tenant) consistent() {
	x.t.Helper()
	c := x.settled()
	var sum int64
	perRequest := map[string]int{}
	for _, e := range x.entries() {
		sum += e.Amount
		var legs int64
		for _, l := range e.Legs {
			legs += l.Amount
		}
		if legs != 0 {
			x.t.Errorf("legs of %s sum to %d", e.ID, legs)
		}
		if e.Kind == "usage" {
			perRequest[e.RequestID]++
		}
	}
	if sum != c.Posted || c.Available != c.Posted-c.Held {
		x.t.Errorf("posted %d, sum of entries %d, held %d, available %d", c.Posted, sum, c.Held, c.Available)
	}
	for id, n := range perRequest {
		if n > 1 {
			x.t.Errorf("request %s has %d usage entries", id, n)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually polls a condition that other processes bring about. The bound is
// generous, because the machine may be busy; it is no expectation of speed.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}

// answer is a whole HTTP answer.
type answer struct {
	Status int
	Header http.Header
	Body   []byte
}

func (a answer) code() string {
	var e struct{ Error struct{ Code string } }
	_ = json.Unmarshal(a.Body, &e)
	return e.Error.Code
}

// sampledTrace makes the functions emit their traces.
const sampledTrace = "Root=1-6739f0aa-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=1"

// post sends JSON with a key and further headers (name, value pairs).
func post(t testing.TB, url, key string, body any, headers ...string) answer {
	t.Helper()
	a, err := tryPost(t.Context(), url, key, body, headers...)
	must(t, err)
	return a
}

func tryPost(ctx context.Context, url, key string, body any, headers ...string) (answer, error) {
	b, ok := body.([]byte)
	if !ok {
		var err error
		if b, err = json.Marshal(body); err != nil {
			return answer{}, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(b))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Amzn-Trace-Id", sampledTrace)
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	noteAnswer(url, resp.Header, got)
	return answer{resp.StatusCode, resp.Header, got}, err
}

// answersWithLeaks collects where a canary was seen in an answer, for
// TestZNoSecretLeaks.
var (
	answersMu        sync.Mutex
	answersWithLeaks []string
	answersSeen      int
)

func noteAnswer(url string, h http.Header, body []byte) {
	text := append([]byte(fmt.Sprint(h)), body...)
	found := leaks(text)
	answersMu.Lock()
	defer answersMu.Unlock()
	answersSeen++
	for _, f := range found {
		answersWithLeaks = append(answersWithLeaks, url+": "+f)
	}
}

// chatBody is a chat request.
func chatBody(model, text string, stream bool) map[string]any {
	return map[string]any{"model": model, "stream": stream, "max_tokens": 200, "messages": []any{map[string]any{"role": "user", "content": text}}}
}

func local(t testing.TB, path string, body any) answer {
	t.Helper()
	return post(t, world.BaseURL+"/_local"+path, "", body)
}

// sweep runs the sweeper at the shifted time.
func sweep(t testing.TB, offset time.Duration) {
	t.Helper()
	now := time.Now().Add(offset).UTC().Format(time.RFC3339)
	a := local(t, "/invoke/sweep", map[string]any{"time": now, "source": "aws.events", "detail-type": "Scheduled Event", "detail": map[string]any{}})
	if a.Status != http.StatusOK {
		t.Fatalf("sweep: %d %s", a.Status, a.Body)
	}
}
