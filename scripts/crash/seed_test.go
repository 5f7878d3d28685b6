package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/scripts/internal/stack"
)

// The models of the harness. Its orgs' own connections serve the second provider.
const (
	platformModel = "openrouter/crash"
	ownModel      = "openai_compatible/crash"
)

// limits are how large a seed is.
type limits struct {
	trials int // per kill point; 0 = none
	storm  int // requests of the storm
	equal  int // calls at once with one key; 0 = none
	// crowd is how many calls share funds for ten, on each of these numbers of
	// balance shards.
	crowd  int
	shards []int
}

// seed is one run.
type seed struct {
	w    *world
	n    uint64
	name string // part of every prompt and key
	size limits
	dice *rand.Rand // of the plan, used by one goroutine

	rich, poor, own, spare, quiet *org
	orgs                          []*org
	since                         int // first batch of this seed

	// danger counts what may cost an answer its record: kills of the callers and
	// outages, each counted when it begins and when it ends.
	danger atomic.Int64
	// hurt counts what may make the stream give a batch up: kills of settle and
	// faults of its tables.
	hurt atomic.Int64

	mu         sync.Mutex
	asks       []*ask
	serial     int
	violations []string
	counts     map[string]int
	early      map[string]string // entries that were seen while it ran, as text
}

// broken notes that an invariant does not hold.
func (s *seed) broken(invariant, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.violations = append(s.violations, invariant+": "+fmt.Sprintf(format, args...))
}

func (s *seed) count(what string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[what] += n
}

// org is an organisation of a seed.
type org struct {
	s       *seed
	id, key string
	admin   stack.Client
	// strict organisations have no usage above a hold; lowest is the least that was
	// seen available. It belongs to the watcher until that has ended.
	strict bool
	lowest int64
	ownKey string // of its connection
	conn   string
}

func (o *org) call(ctx context.Context, method, path string, in, out any) error {
	return o.admin.Call(ctx, method, "/api/orgs/"+o.id+path, in, out)
}

func (s *seed) newOrg(ctx context.Context, tier string, credits int64) (*org, error) {
	var made struct{ ID string }
	if err := s.w.operator.Call(ctx, http.MethodPost, "/api/orgs", map[string]any{"name": "Crash " + s.name, "tier": tier}, &made); err != nil {
		return nil, err
	}
	var k struct{ Key string }
	if err := s.w.operator.Call(ctx, http.MethodPost, "/api/orgs/"+made.ID+"/keys",
		map[string]any{"name": "all", "scopes": []string{"invoke", "admin", "billing", "read"}}, &k); err != nil {
		return nil, err
	}
	o := &org{s: s, id: made.ID, key: k.Key, admin: stack.Client{Base: s.w.BaseURL, Key: k.Key}}
	s.orgs = append(s.orgs, o)
	return o, o.grant(ctx, credits, "start")
}

func (o *org) grant(ctx context.Context, amount int64, key string) error {
	return o.s.w.operator.Call(ctx, http.MethodPost, "/api/orgs/"+o.id+"/grants", map[string]any{"kind": "gifted", "amount": amount, "idempotency_key": key}, nil)
}

// connect gives the organisation a key of its own.
func (o *org) connect(ctx context.Context) error {
	o.s.mu.Lock()
	o.s.serial++
	o.ownKey = fmt.Sprintf("sk-own-%s-%d-000000", o.s.name, o.s.serial)
	o.s.mu.Unlock()
	var made struct{ ID string }
	err := o.call(ctx, http.MethodPost, "/connections", map[string]any{"provider": "openai_compatible", "label": "own", "api_key": o.ownKey,
		"base_url": o.s.w.vendorURL + "/v1", "billing_source": "byok"}, &made)
	o.conn = made.ID
	return err
}

// newSeed makes the organisations of a seed.
func newSeed(ctx context.Context, w *world, n uint64, size limits) (*seed, error) {
	s := &seed{w: w, n: n, name: fmt.Sprintf("s%d", n), size: size, dice: rand.New(rand.NewPCG(n, 1)), counts: map[string]int{}, early: map[string]string{}}
	_, s.since = w.records(0)
	for _, x := range []struct {
		to      **org
		tier    string
		credits int64
	}{{&s.rich, "free", 100_000_000}, {&s.poor, "free", 9_000}, {&s.own, "enterprise", 1_000_000}, {&s.spare, "free", 50_000_000}, {&s.quiet, "free", 50_000_000}} {
		o, err := s.newOrg(ctx, x.tier, x.credits)
		if err != nil {
			return nil, err
		}
		*x.to = o
	}
	s.poor.strict = true
	if err := s.own.connect(ctx); err != nil {
		return nil, err
	}
	return s, s.spare.call(ctx, http.MethodPut, "/settings", map[string]any{"fallback": []string{ownModel}}, nil)
}

// ask is one request with its repeats: everything that carries one idempotency
// key, or a single call without one.
type ask struct {
	org    *org
	point  string // kill point, or what kind of request the storm made
	key    string
	prompt string
	model  string
	stream bool
	max    int
	leave  int
	script mockvendor.Script
	wait   time.Duration // at the script's barrier, in a storm

	// expect is what must have come of it at rest; nil = only what always holds.
	expect *expectation

	seen atomic.Int64 // events that clients read

	mu      sync.Mutex
	id      string
	lossy   bool // its record may have been lost: a kill or an outage met it
	replies []reply
}

// expectation is exact.
type expectation struct {
	calls     int
	charged   bool
	estimated bool
	states    string // allowed final states, space-separated
}

func (s *seed) newAsk(o *org, point string) *ask {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serial++
	a := &ask{org: o, point: point, key: fmt.Sprintf("%s-%d", s.name, s.serial), model: platformModel, max: 200}
	if o == s.own {
		a.model = ownModel
	}
	a.prompt = fmt.Sprintf("%s:%d: %s", s.name, s.serial, point)
	s.asks = append(s.asks, a)
	return a
}

// direct gives the vendor the script of a request.
func (a *ask) direct() { a.org.s.w.vendor.Direct(a.prompt, a.script) }

func (a *ask) body(prompt string) map[string]any {
	return map[string]any{"model": a.model, "stream": a.stream, "max_tokens": a.max, "messages": []any{map[string]any{"role": "user", "content": prompt}}}
}

// send makes the call and keeps what came of it.
func (a *ask) send(ctx context.Context) reply {
	s := a.org.s
	before := s.danger.Load()
	r := s.w.post(ctx, a.org.key, a.key, a.body(a.prompt), a.leave, &a.seen)
	a.mu.Lock()
	defer a.mu.Unlock()
	if before != s.danger.Load() || before%2 != 0 {
		a.lossy = true
	}
	if r.id != "" && a.id == "" {
		a.id = r.id
	}
	a.replies = append(a.replies, r)
	return r
}

// calls is what the vendor saw of a request.
func (a *ask) calls() []mockvendor.Call { return a.org.s.w.vendor.Asked(a.prompt) }

// answered counts the calls that the vendor did not refuse.
func answered(calls []mockvendor.Call) (n int) {
	for _, c := range calls {
		if c.Status == http.StatusOK {
			n++
		}
	}
	return n
}

// credits is what the API says of a balance.
type credits struct {
	Posted, Held, Available int64
	Grants                  []struct{ Amount, Remaining int64 }
}

func (o *org) credits(ctx context.Context) (c credits, err error) {
	return c, o.call(ctx, http.MethodGet, "/credits", nil, &c)
}

// entry is one row of the journal.
type entry struct {
	ID, At, Kind  string
	Amount        int64
	RequestID     string `json:"request_id"`
	Attempt       int
	PriceVersion  string `json:"price_version"`
	BillingSource string `json:"billing_source"`
	Provider      string
	Model         string
	Estimated     bool
	Late          bool
	Usage         *struct {
		Input  int64 `json:"input_tokens"`
		Output int64 `json:"output_tokens"`
		Source string
	}
	Legs []struct {
		Account string
		Amount  int64
	}
}

func (o *org) entries(ctx context.Context) ([]entry, error) {
	var all []entry
	for cursor := ""; ; {
		var page struct {
			Items      []entry
			NextCursor string `json:"next_cursor"`
		}
		if err := o.call(ctx, http.MethodGet, "/entries?limit=200&cursor="+url.QueryEscape(cursor), nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if cursor = page.NextCursor; cursor == "" {
			return all, nil
		}
	}
}

// holds counts open holds.
func (o *org) holds(ctx context.Context) (int, error) {
	var page struct{ Items []struct{ State string } }
	err := o.call(ctx, http.MethodGet, "/holds?limit=200", nil, &page)
	return len(page.Items), err
}

// request is what the API says of one request.
type request struct {
	ID, State string
	Cost      int64
	Usage     struct {
		Input  int64 `json:"input_tokens"`
		Output int64 `json:"output_tokens"`
		Source string
	}
	Attempts []struct {
		N             int
		State         string
		Provider      string
		BillingSource string `json:"billing_source"`
		PriceVersion  string `json:"price_version"`
		DecisionHash  string `json:"decision_hash"`
		Hold, Cost    int64
		Estimated     bool
		Reason        string
	}
	Replays bool
}

func (o *org) request(ctx context.Context, id string) (r request, found bool, err error) {
	err = o.call(ctx, http.MethodGet, "/requests/"+id, nil, &r)
	if stack.Status(err) == http.StatusNotFound {
		return r, false, nil
	}
	return r, err == nil, err
}

func final(state string) bool {
	return strings.Contains(" SETTLED SETTLED_LATE RELEASED EXPIRED ", " "+state+" ")
}
