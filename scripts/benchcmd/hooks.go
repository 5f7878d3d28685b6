package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/scripts/internal/localsqs"
	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/scripts/internal/rig"
	"github.com/latchkey/latchkey/scripts/internal/stack"
	"github.com/latchkey/latchkey/shared/table"
)

const (
	partHooks = "webhook"
	// hookBar is how many bare conditional writes a signed request may cost one
	// client.
	hookBar = 4
	// manyClients is a burst.
	manyClients = 32
)

// hookReport is what a signed request of a channel costs.
type hookReport struct {
	Verify []goRow   `json:"verify"`
	Path   []hookRow `json:"path"`
	// Calls are the function's calls to tables and key service per first delivery,
	// Millis how long one takes, Rounds how many do not overlap, Queued the messages
	// that reached the queue.
	Calls  map[string]float64 `json:"aws_calls_per_request"`
	Millis map[string]float64 `json:"aws_call_ms"`
	Rounds float64            `json:"aws_rounds_per_request"`
	Queued float64            `json:"queued_per_request"`
	// OfPut is the time of a request over that of a bare conditional write, one
	// client, by rounds.
	OfPut   rig.Spread `json:"x_bare_put"`
	Reached bool       `json:"reached"`
}

type hookRow struct {
	Name    string     `json:"name"`
	Clients int        `json:"clients"`
	Rate    rig.Spread `json:"requests_per_second"`
	P50     float64    `json:"p50_ms"`
	P99     float64    `json:"p99_ms,omitempty"`
	Count   int        `json:"count"`
}

func hookSuite() goSuite {
	return goSuite{"./shared/webhook", "^BenchmarkSignature$", map[string]string{
		"Signature/verify_1KiB": "Signature/hmac_1KiB", "Signature/verify_16KiB": "Signature/hmac_16KiB"}}
}

// hooks measures verification alone, and whole requests against one conditional
// write over the same connection to the tables. The turns behind the requests are
// kept from running: all messages are of one conversation, whose first turn waits.
func hooks(ctx context.Context, o options, p plan, w *world, r *report) (err error) {
	r.Hooks = new(hookReport)
	if r.Hooks.Verify, err = hookSuite().run(ctx, o, p); err != nil {
		return err
	}
	h, err := newHook(ctx, w)
	if err != nil {
		return err
	}
	local := stack.Client{Base: w.ready.BaseURL}
	if err := local.Call(ctx, http.MethodPost, "/_local/faults", map[string]any{"service": "dynamodb", "function": "turn", "delay_ms": 600_000}, nil); err != nil {
		return err
	}
	defer func() {
		_ = local.Call(context.WithoutCancel(ctx), http.MethodDelete, "/_local/faults", nil, nil)
	}()
	return h.rounds(ctx, p, r)
}

// rounds takes the bare write and the requests in turn.
func (h *hook) rounds(ctx context.Context, p plan, r *report) error {
	all := []*hookSeries{
		{name: "one conditional PutItem", clients: 1, do: h.put},
		{name: "refused before any call to AWS", clients: 1, do: h.floor},
		{name: "signed request, first delivery", clients: 1, do: h.first, queues: 1},
		{name: "signed request, repeat", clients: 1, do: h.again},
		{name: "signed request, first delivery", clients: manyClients, do: h.first, queues: 1},
	}
	put, first := all[0], all[2]
	for _, s := range all {
		if _, err := h.measured(ctx, s, p.warm); err != nil {
			return err
		}
	}
	var of []float64
	var calls callsSeen
	queued := 0
	for range p.rounds {
		medians := map[*hookSeries]float64{}
		for _, s := range all {
			took, err := h.measured(ctx, s, p.slice)
			if err != nil {
				return err
			}
			s.add(took)
			medians[s] = rig.Quantile(took.each, 0.5)
			if s == first {
				calls.sum(took.calls)
				queued += took.queued
			}
		}
		of = append(of, medians[first]/medians[put])
	}
	r.Hooks.say(calls, queued, len(first.each))
	for _, s := range all {
		r.Hooks.Path = append(r.Hooks.Path, s.row())
	}
	r.Hooks.OfPut = rig.SpreadOf(of)
	r.Hooks.Reached = r.Hooks.OfPut.Median > 0 && r.Hooks.OfPut.Median <= hookBar
	return nil
}

// measured takes a slice and holds what the queue got against what was answered.
func (h *hook) measured(ctx context.Context, s *hookSeries, length time.Duration) (took hookSlice, err error) {
	before, err := h.w.hookSeen(ctx)
	if err != nil {
		return took, err
	}
	if took, err = s.slice(ctx, length); err != nil {
		return took, err
	}
	after, err := h.w.hookSeen(ctx)
	if err != nil {
		return took, err
	}
	took.queued = after.queued - before.queued
	if took.queued != s.queues*len(took.each) {
		return took, fmt.Errorf("%s, %d clients: %d requests were answered as they should be, but %d messages reached the queue", s.name, s.clients, len(took.each), took.queued)
	}
	took.calls = after.calls.since(before.calls)
	return took, nil
}

// say writes down what a first delivery calls.
func (r *hookReport) say(c callsSeen, queued, requests int) {
	n := float64(max(requests, 1))
	r.Calls, r.Millis = map[string]float64{}, map[string]float64{}
	for name, count := range c.Count {
		r.Calls[name], r.Millis[name] = round2(float64(count)/n), round2(c.Millis[name]/float64(max(count, 1)))
	}
	r.Rounds, r.Queued = round2(float64(c.Rounds)/n), round2(float64(queued)/n)
}

// hook is a channel app of an organisation.
type hook struct {
	w              *world
	url, secret    string
	team, app      string
	table          string
	db             *dynamodb.Client
	serial, latest atomic.Int64
}

// newHook makes an app with an agent, and a client with the function's rights.
func newHook(ctx context.Context, w *world) (*hook, error) {
	if err := w.enrol(ctx, 1); err != nil {
		return nil, err
	}
	t := w.tenants[0]
	h := &hook{w: w, secret: "bench-signing-secret-00000000000", team: "TBENCH", app: "ABENCH", table: w.ready.SessionsTable}
	call := func(path string, in, out any) error {
		return t.admin.Call(ctx, http.MethodPost, "/api/orgs/"+t.id+path, in, out)
	}
	var agent, install struct{ ID string }
	err := call("/agents", map[string]any{"name": "Bench", "instructions": "Be brief.", "model": modelPlatform}, &agent)
	if err == nil {
		err = call("/installs", map[string]any{"provider": "slack", "mode": "byoa",
			"secrets": map[string]any{"signing_secret": h.secret, "bot_token": "xoxb-bench-token"},
			"config":  map[string]any{"app_id": h.app, "team_id": h.team, "bot_user_id": "UBENCHBOT"}}, &install)
	}
	if err == nil {
		err = call("/bindings", map[string]any{"install_id": install.ID, "selector": map[string]any{}, "agent_id": agent.ID}, nil)
	}
	if err == nil {
		err = stack.Admit(ctx, w.operator, "slack", t.id)
	}
	if err == nil {
		err = call("/installs/"+install.ID+"/activate", map[string]any{}, nil)
	}
	h.url = w.ready.BaseURL + "/webhooks/slack/" + install.ID
	h.db = dynamodb.New(dynamodb.Options{Region: "us-east-1", BaseEndpoint: aws.String(w.ready.HookDynamoDBURL),
		Credentials: credentials.NewStaticCredentialsProvider(w.ready.HookAccessKey, "local", "")})
	return h, err
}

// put is the least that keeps a request from being taken twice.
func (h *hook) put(ctx context.Context, _ *http.Client) error {
	_, err := h.db.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String(h.table), ConditionExpression: aws.String("attribute_not_exists(#pk)"),
		ExpressionAttributeNames: map[string]string{"#pk": table.PK},
		Item: map[string]types.AttributeValue{table.PK: &types.AttributeValueMemberS{Value: fmt.Sprintf("BENCH#%d", h.serial.Add(1))},
			table.SK: &types.AttributeValueMemberS{Value: "X"}, "ev": &types.AttributeValueMemberS{Value: "Ev0000000001"}}})
	return err
}

// first delivers a message that is new, again one that was taken.
func (h *hook) first(ctx context.Context, c *http.Client) error {
	n := h.serial.Add(1)
	err := h.deliver(ctx, c, n)
	h.latest.Store(n)
	return err
}

func (h *hook) again(ctx context.Context, c *http.Client) error {
	return h.deliver(ctx, c, h.latest.Load())
}

func (h *hook) deliver(ctx context.Context, c *http.Client, n int64) error {
	return h.send(ctx, c, h.url, n, http.StatusOK)
}

// floor is a request to an install that cannot exist, of a sender that is limited:
// front, Runtime API and a verification, and no call to AWS but for one in two
// seconds that the limit lets be recorded.
func (h *hook) floor(ctx context.Context, c *http.Client) error {
	return h.send(ctx, c, h.w.ready.BaseURL+"/webhooks/slack/none~", h.serial.Add(1), http.StatusTooManyRequests, http.StatusUnauthorized)
}

// send sends a signed message and wants one of the statuses.
func (h *hook) send(ctx context.Context, c *http.Client, url string, n int64, want ...int) error {
	now := time.Now()
	body := mockvendor.SlackCallback(fmt.Sprintf("EvBENCH%d", n), h.team, h.app, "", now,
		map[string]any{"type": "message", "channel": "DBENCH", "channel_type": "im", "user": "UBENCH", "text": "hello", "ts": fmt.Sprintf("1772600767.%06d", n)})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	mockvendor.SignRequest(req, "slack", mockvendor.Proof{Secret: h.secret, At: now}, body)
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16)); err != nil {
		return err
	}
	if !slices.Contains(want, resp.StatusCode) {
		return fmt.Errorf("a signed request was answered %d", resp.StatusCode)
	}
	return nil
}

// hookSeen is what was called and queued until now.
type hookSeen struct {
	calls  callsSeen
	queued int
}

func (w *world) hookSeen(ctx context.Context) (hookSeen, error) {
	var out struct{ Webhook callsSeen }
	if err := (stack.Client{Base: w.ready.KeyCallsURL}).Call(ctx, http.MethodGet, "/", nil, &out); err != nil {
		return hookSeen{}, err
	}
	var queues []localsqs.QueueView
	if err := (stack.Client{Base: w.ready.BaseURL}).Call(ctx, http.MethodGet, "/_local/queues", nil, &queues); err != nil {
		return hookSeen{}, err
	}
	seen := hookSeen{calls: out.Webhook}
	for _, q := range queues {
		// Also those that were tried too often: nothing leaves while turns wait.
		seen.queued += q.Visible + q.InFlight + q.Delayed
	}
	return seen, nil
}

// since is what came after b, sum adds o.
func (c callsSeen) since(b callsSeen) callsSeen {
	out := callsSeen{map[string]int64{}, map[string]float64{}, c.Rounds - b.Rounds}
	for name, n := range c.Count {
		out.Count[name], out.Millis[name] = n-b.Count[name], c.Millis[name]-b.Millis[name]
	}
	return out
}

func (c *callsSeen) sum(o callsSeen) {
	if c.Count == nil {
		c.Count, c.Millis = map[string]int64{}, map[string]float64{}
	}
	for name, n := range o.Count {
		c.Count[name] += n
		c.Millis[name] += o.Millis[name]
	}
	c.Rounds += o.Rounds
}

// hookSeries is one figure over the rounds.
type hookSeries struct {
	name    string
	clients int
	do      func(context.Context, *http.Client) error
	queues  int // messages that each request adds
	rates   []float64
	each    []time.Duration
}

type hookSlice struct {
	each   []time.Duration
	over   time.Duration
	calls  callsSeen
	queued int
}

// slice calls for a while; one failure ends it.
func (s *hookSeries) slice(ctx context.Context, length time.Duration) (hookSlice, error) {
	began := time.Now()
	parts := make([][]time.Duration, s.clients)
	errs := make([]error, s.clients)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: s.clients}, Timeout: callTimeout}
	defer client.CloseIdleConnections()
	var group sync.WaitGroup
	for i := range parts {
		group.Go(func() {
			for time.Since(began) < length && ctx.Err() == nil {
				at := time.Now()
				if errs[i] = s.do(ctx, client); errs[i] != nil {
					return
				}
				parts[i] = append(parts[i], time.Since(at))
			}
		})
	}
	group.Wait()
	return hookSlice{each: slices.Concat(parts...), over: time.Since(began)}, errors.Join(append(errs, ctx.Err())...)
}

func (s *hookSeries) add(x hookSlice) {
	s.each = append(s.each, x.each...)
	s.rates = append(s.rates, float64(len(x.each))/x.over.Seconds())
}

func (s *hookSeries) row() hookRow {
	row := hookRow{Name: s.name, Clients: s.clients, Rate: rig.SpreadOf(s.rates), P50: finite(rig.Quantile(s.each, 0.5)), Count: len(s.each)}
	if len(s.each) >= p99Samples {
		row.P99 = finite(rig.Quantile(s.each, 0.99))
	}
	return row
}

func (r *report) printHooks(out io.Writer) {
	h := r.Hooks
	if h == nil {
		return
	}
	rows := [][]string{{"", "ns/op", "signatures/s per core", "x raw HMAC", "allocs"}}
	for _, v := range h.Verify {
		rows = append(rows, []string{v.Name, number(v.Nanoseconds.Median), number(1e9 / max(v.Nanoseconds.Median, 1)), ratio(v.OfBase), number(v.Allocs)})
	}
	grid(out, "webhook signatures, verification alone", rows)
	rows = [][]string{{"", "clients", "req/s", "p50 ms", "p99 ms"}}
	for _, x := range h.Path {
		rows = append(rows, []string{x.Name, strconv.Itoa(x.Clients), number(x.Rate.Median), number(x.P50), ratio(x.P99)})
	}
	verdict := "missed"
	if h.Reached {
		verdict = "reached"
	}
	grid(out, fmt.Sprintf("webhook, from the signed request to the acknowledged message (bar: one client, p50 <= %d x a conditional write: %s, %s x)", hookBar, verdict, spread(h.OfPut)), rows)
	var calls []string
	for _, name := range slices.Sorted(maps.Keys(h.Calls)) {
		if n := h.Calls[name]; n >= 0.005 {
			calls = append(calls, fmt.Sprintf("%s %s (%s ms)", number(n), name, number(h.Millis[name])))
		}
	}
	fmt.Fprintf(out, "  a first delivery: %s, in %s rounds; and %s messages in the queue\n", strings.Join(calls, ", "), number(h.Rounds), number(h.Queued))
}
