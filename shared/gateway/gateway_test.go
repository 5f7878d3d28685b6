package gateway_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/config"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/limit/limittest"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/speech"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/trace"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

// rig is a gateway over scripted fakes. Every step is appended to log, so that
// a test can assert the order of things.
type rig struct {
	t       *testing.T
	now     time.Time
	store   benchStore
	vault   *vault.Vault
	logging sync.Mutex
	log     []string
	script  []any // per vendor call: error, *model.Response or []any of events and errors
	calls   []model.Call
	used    []credit.Outcome
	reserveErr,
	usedErr error
	admit       func(credit.ReserveRequest) error                                      // nil = every reserve succeeds
	extend      func(context.Context, credit.Hold, billing.Micro) (credit.Hold, error) // nil = granted
	later       func(time.Duration, func()) func() bool
	reserved    []credit.ReserveRequest
	cancels     bool // closing a stream ends the vendor's bill
	callCtx     context.Context
	conns       map[string]connection.Connection
	key         string
	platform    map[taxonomy.Provider]config.PlatformCredential
	replays     map[string][]byte
	replayUntil time.Time
	lost        []string
	suspects    []string
	limits      limittest.Store
	counting    bool // the vendor counts tokens
	prices      []billing.Row
	offers      offers
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC), conns: map[string]connection.Connection{},
		platform: map[taxonomy.Provider]config.PlatformCredential{taxonomy.OpenRouter: {Key: secret.FromString("platform-key")}}}
	key, digest, err := org.Mint("acme", "k1", rand.Reader)
	check(t, err)
	check(t, key.Use(func(b []byte) error { r.key = string(b); return nil }))
	r.store = benchStore{key: org.Key{ID: "k1", Org: "acme", Scopes: []org.Scope{org.ScopeInvoke}, Hash: digest, CreatedAt: r.now},
		config: gateway.OrgConfig{Settings: org.DefaultSettings(),
			Org:    org.Org{ID: "acme", Tier: taxonomy.Enterprise, Status: org.Active},
			Agents: []gateway.Agent{{ID: "helper", Model: "openrouter/agent-model", Fallback: []string{"openrouter/second"}}}}}
	r.vault, err = vault.New(vault.Options{Store: vaulttest.NewStore(), KEK: vaulttest.NewKEK(), Fields: vaulttest.Fields(), Now: func() time.Time { return r.now }, App: "latchkey", Stage: "test"})
	check(t, err)
	r.store.vault = r.vault
	return r
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// connect adds a byok connection whose key may go to origin.
func (r *rig) connect(id, origin string, change func(*connection.Connection)) {
	r.t.Helper()
	_, err := r.vault.Create(r.t.Context(), vault.NewCredential{Op: vaulttest.Op(), Ref: vault.Ref{Org: "acme", ID: id, Provider: "openrouter", Class: taxonomy.AIKey},
		Label: id, Origin: origin, Fields: map[string]secret.Text{"api_key": secret.FromString("own-key-of-" + id + "-0123456789")}})
	check(r.t, err)
	c := connection.Connection{ID: id, Org: "acme", Provider: taxonomy.OpenRouter, Enabled: true, Status: connection.Active,
		BillingSource: taxonomy.BYOK, Class: taxonomy.AIKey, Version: 1, CreatedAt: r.now}
	if change != nil {
		change(&c)
	}
	r.conns[id] = c
	r.store.config.Connections = append(r.store.config.Connections, c)
}

func (r *rig) gateway() *gateway.Gateway {
	r.t.Helper()
	book, err := billing.NewBook("p1", r.now, append(r.prices,
		price("m", billing.InputText, 1_000_000), price("m", billing.OutputText, 2_000_000), price("vectors", billing.InputText, 1_000_000),
		price("second", billing.InputText, 1_000_000), price("second", billing.OutputText, 2_000_000),
		price("agent-model", billing.InputText, 1_000_000), price("agent-model", billing.OutputText, 2_000_000)))
	check(r.t, err)
	entry := providers.Entry{ID: taxonomy.OpenRouter, DefaultBaseURL: "https://vendor.example/v1", Hosts: []string{"vendor.example"},
		Capabilities: []taxonomy.Capability{taxonomy.CapText, taxonomy.CapTools}, KeyRequired: true, DefaultBilling: taxonomy.BYOK, CancelStopsBilling: r.cancels,
		NewChat: r.chat, NewEmbedder: func() model.Embedder { return embedRig{r} },
		NewSynthesizer: func() speech.Synthesizer { return voiceRig{r} }, NewTranscriber: func() speech.Transcriber { return voiceRig{r} }}
	// Without a clock of its own a test has none: a checkpoint by time is no part of it.
	later := r.later
	if later == nil {
		later = func(time.Duration, func()) func() bool { return func() bool { return true } }
	}
	ids := 0
	g, err := gateway.New(gateway.Options{Store: &r.store, Vault: r.vault, Ledger: r, Prices: benchPrices{book}, Replays: r, Limits: &r.limits, Cooldown: r, Offers: r.offers,
		Providers: []providers.Entry{entry, {ID: taxonomy.OpenAI, DefaultBaseURL: "https://vendor.example/v1", Capabilities: entry.Capabilities, NewChat: entry.NewChat}, {ID: taxonomy.OpenAICompatible, Capabilities: entry.Capabilities, NewChat: entry.NewChat}, {ID: taxonomy.Bedrock, DefaultBaseURL: "https://unserved.example"}}, Client: func(*providers.Entry) *http.Client { return http.DefaultClient }, Platform: r.platform,
		Classes: []taxonomy.CredentialClass{taxonomy.AIKey}, Timeout: time.Minute, Trace: trace.None(),
		NewID:        func(time.Time) string { ids++; return fmt.Sprintf("id%d", ids) },
		Later:        later,
		OnUnrecorded: func(_, request string, _ int, code fault.Code) { r.lost = append(r.lost, request+":"+string(code)) },
		OnRotationSuspect: func(_, _, connection string, code fault.Code) {
			r.suspects = append(r.suspects, connection+":"+string(code))
		}})
	check(r.t, err)
	return g
}

func price(name string, m billing.Meter, rate int64) billing.Row {
	return billing.Row{Provider: "openrouter", Model: name, Meter: m, RatePico: rate, Source: "test", SourceDate: "2026-11-21"}
}

// TestConnectOnlyProvider: a model of a provider without adapters is refused for
// that reason, before anything is reserved, whether it is connected or not.
func TestConnectOnlyProvider(t *testing.T) {
	for _, connected := range []bool{false, true} {
		r := newRig(t)
		if connected {
			r.connect("c1", "https://unserved.example", func(c *connection.Connection) {
				c.Provider, c.Models = taxonomy.Bedrock, []string{"some.model"}
			})
		}
		_, err := r.complete(gateway.Query{}, &model.Request{Model: "bedrock/some.model", Messages: []model.Message{{Role: model.RoleUser, Parts: []model.Part{model.Text("hi")}}}})
		f := fault.As(err)
		if f == nil || f.Code != fault.InvalidRequest || f.Param != "model" || !strings.Contains(f.Message, "can be connected and tested, but is not served yet") {
			t.Errorf("connected %v: %v", connected, err)
		}
		g := r.gateway()
		_, err = g.Synthesize(t.Context(), r.caller(g), gateway.Query{}, &speech.SynthesizeRequest{Model: "bedrock/some.voice", Input: "hi"})
		if f := fault.As(err); f == nil || f.Code != fault.InvalidRequest || !strings.Contains(f.Message, "not served yet") {
			t.Errorf("speech, connected %v: %v", connected, err)
		}
		models, err := g.Models(t.Context(), r.caller(g))
		if err != nil || slices.ContainsFunc(models, func(m gateway.Listed) bool { return strings.HasPrefix(m.Name, "bedrock/") }) {
			t.Errorf("listed %v, %v", models, err)
		}
		r.wantLog()
	}
}

// note is called from what is written beside a stream, too.
func (r *rig) note(format string, args ...any) {
	r.logging.Lock()
	defer r.logging.Unlock()
	r.log = append(r.log, fmt.Sprintf(format, args...))
}

// The ledger.
func (r *rig) Reserve(_ context.Context, q credit.ReserveRequest) (credit.Hold, error) {
	r.note("reserve %d %s %s hold=%v", q.Attempt, q.Source, q.Rule, q.Hold > 0)
	if r.reserveErr != nil {
		return credit.Hold{}, r.reserveErr
	}
	if r.admit != nil {
		if err := r.admit(q); err != nil {
			return credit.Hold{}, err
		}
	}
	if err := r.limits.Claim(q.Limits); err != nil {
		return credit.Hold{}, err
	}
	r.reserved = append(r.reserved, q)
	return credit.Hold{Org: q.Org, Request: q.Request, Attempt: q.Attempt, Owner: q.Owner, Amount: q.Hold, Created: q.Now, Expires: q.Expires}, nil
}

func (r *rig) Extend(ctx context.Context, h credit.Hold, delta billing.Micro, _ time.Time) (credit.Hold, error) {
	if r.extend == nil {
		h.Amount += delta
		return h, nil
	}
	return r.extend(ctx, h, delta)
}

func (r *rig) Checkpoint(_ context.Context, h credit.Hold, u billing.Usage, a billing.Micro) error {
	r.note("checkpoint %d out=%d", h.Attempt, u.OutputTokens)
	return nil
}

func (r *rig) Used(ctx context.Context, h credit.Hold, o credit.Outcome) error {
	if ctx.Err() != nil {
		r.t.Error("the usage was recorded on a context that is over")
	}
	r.note("used %d %s", h.Attempt, o.Kind)
	r.used = append(r.used, o)
	return r.usedErr
}

// The cooldown store.
func (r *rig) Connection(_ context.Context, _, id string) (connection.Connection, error) {
	return r.conns[id], nil
}

func (r *rig) SetCooldown(_ context.Context, _, id string, c connection.Cooldown, _ int64) error {
	r.note("cool %s %d %s", id, c.Failures, c.Until.Sub(r.now).Round(time.Second))
	return nil
}

// The vendor.
func (r *rig) next(c model.Call) any {
	r.calls = append(r.calls, c)
	key := ""
	_ = c.Key.Use(func(b []byte) error { key = string(b); return nil })
	r.note("call %s key=%s", c.Request.Model, key)
	if len(r.script) == 0 {
		return answered("hello")
	}
	s := r.script[0]
	r.script = r.script[1:]
	return s
}

func answered(text string) *model.Response {
	return &model.Response{Message: model.Message{Role: model.RoleAssistant, Parts: []model.Part{model.Text(text)}}, Finish: model.FinishStop,
		Usage: model.Usage{Input: 10, Output: 5, Source: model.UsageProvider}}
}

func (r *rig) Complete(ctx context.Context, c model.Call) (*model.Response, error) {
	r.callCtx = ctx
	switch s := r.next(c).(type) {
	case error:
		return nil, s
	case *model.Response:
		return s, nil
	}
	panic("bad script")
}

func (r *rig) Stream(ctx context.Context, c model.Call) (model.Stream, error) {
	r.callCtx = ctx
	switch s := r.next(c).(type) {
	case error:
		return nil, s
	case []any:
		return &scripted{steps: s, r: r}, nil
	}
	panic("bad script")
}

// until sends nothing, six seconds apart, until it is true.
type until func() bool

// scripted plays events, errors and pauses of the clock.
type scripted struct {
	steps []any
	r     *rig
}

func (s *scripted) Next() (model.Event, error) {
	for len(s.steps) > 0 {
		step := s.steps[0]
		s.steps = s.steps[1:]
		switch x := step.(type) {
		case time.Duration:
			s.r.now = s.r.now.Add(x)
		case error:
			return model.Event{}, x
		case model.Event:
			return x, nil
		case until:
			if !x() {
				s.steps = append([]any{step}, s.steps...)
				s.r.now = s.r.now.Add(6 * time.Second)
				runtime.Gosched()
				return text(0), nil
			}
		case func() error:
			if err := x(); err != nil {
				return model.Event{}, err
			}
		}
	}
	return model.Event{}, io.EOF
}

func (s *scripted) Close() error { s.r.note("closed"); return nil }

func vendorFault(code fault.Code) error { return fault.New(code, "vendor", "the vendor failed") }

func (r *rig) caller(g *gateway.Gateway) *gateway.Caller {
	r.t.Helper()
	c, err := g.Authenticate(r.t.Context(), r.key, org.ScopeInvoke, func() time.Time { return r.now })
	check(r.t, err)
	return c
}

func ask(name string) *model.Request {
	return &model.Request{Model: name, Messages: []model.Message{{Role: model.RoleUser, Parts: []model.Part{model.Text("hello there")}}}}
}

func (r *rig) complete(q gateway.Query, m *model.Request) (*gateway.Answer, error) {
	r.t.Helper()
	g := r.gateway()
	a, err := g.Complete(r.t.Context(), r.caller(g), q, m)
	if err == nil {
		check(r.t, a.Commit(r.t.Context()))
	}
	return a, err
}

func (r *rig) wantLog(want ...string) {
	r.t.Helper()
	if !slices.Equal(r.log, want) {
		r.t.Errorf("log:\n  %s\nwant:\n  %s", strings.Join(r.log, "\n  "), strings.Join(want, "\n  "))
	}
}

func wantCode(t *testing.T, err error, code fault.Code) {
	t.Helper()
	if fault.CodeOf(err) != code {
		t.Errorf("error %v, want %s", err, code)
	}
}

func TestAuthenticate(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	now := func() time.Time { return r.now }
	last := "0"
	if strings.HasSuffix(r.key, last) {
		last = "4"
	}
	for name, key := range map[string]string{"malformed": "lk_x", "unknown key": strings.Replace(r.key, "_k1_", "_k2_", 1), "wrong secret": r.key[:len(r.key)-1] + last} {
		_, err := g.Authenticate(t.Context(), key, org.ScopeInvoke, now)
		wantCode(t, err, fault.GatewayAuth)
		if err != nil && err.Error() != org.Unauthorized().Error() {
			t.Errorf("%s is told apart: %v", name, err)
		}
	}
	_, err := g.Authenticate(t.Context(), r.key, org.ScopeAudio, now)
	wantCode(t, err, fault.ScopeMissing)
}

func TestPlatformCall(t *testing.T) {
	r := newRig(t)
	a, err := r.complete(gateway.Query{}, ask("openrouter/m"))
	check(t, err)
	r.wantLog("reserve 1 platform P7 hold=true", "call m key=platform-key", "used 1 completed")
	if got := r.used[0]; got.Amount != 20 || got.Estimated || got.Usage.InputTokens != 10 {
		t.Errorf("outcome: %+v", got)
	}
	if sent := r.calls[0].Request.MaxOutputTokens; sent != billing.DefaultMaxOutput {
		t.Errorf("the hold's output limit was not sent: %d", sent)
	}
	if i := a.Info(); i.Source != taxonomy.Platform || i.Connection != "" || i.Model != "openrouter/m" {
		t.Errorf("info: %+v", i)
	}
}

func TestPlatformForwardsOnlyHarmlessFields(t *testing.T) {
	r := newRig(t)
	m := ask("openrouter/m")
	m.Extra = map[string]json.RawMessage{"models": json.RawMessage(`["dear/model"]`), "logit_bias": json.RawMessage(`{}`)}
	a, err := r.complete(gateway.Query{}, m)
	check(t, err)
	if _, ok := r.calls[0].Request.Extra["models"]; ok || r.calls[0].Request.Extra["logit_bias"] == nil {
		t.Errorf("extra: %v", r.calls[0].Request.Extra)
	}
	if got := a.Info().Dropped; !slices.Equal(got, []string{"models"}) {
		t.Errorf("dropped: %v", got)
	}
	if m.Extra["models"] == nil {
		t.Error("the client's request was changed")
	}
}

func TestOwnKeyIsUsedWithoutAHoldAndUnpriced(t *testing.T) {
	r := newRig(t)
	r.connect("c1", "https://vendor.example", nil)
	m := ask("openrouter/nobody-priced-this")
	m.Extra = map[string]json.RawMessage{"models": json.RawMessage(`[]`)}
	a, err := r.complete(gateway.Query{}, m)
	check(t, err)
	r.wantLog("reserve 1 byok P5 hold=false", "call nobody-priced-this key=own-key-of-c1-0123456789", "used 1 completed")
	if r.used[0].Amount != 0 || a.Info().Connection != "c1" || r.calls[0].Request.Extra["models"] == nil || r.calls[0].Request.MaxOutputTokens != 0 {
		t.Errorf("outcome %+v, info %+v", r.used[0], a.Info())
	}
}

func TestKeySavedForAnotherOriginIsNotOpened(t *testing.T) {
	r := newRig(t)
	r.connect("c1", "https://elsewhere.example", nil)
	_, err := r.complete(gateway.Query{}, ask("openrouter/m"))
	wantCode(t, err, fault.VaultUnavailable)
	if len(r.calls) != 0 {
		t.Error("the vendor was called")
	}
	// What was reserved is given back.
	r.wantLog("reserve 1 byok P5 hold=false", "used 1 refused")
}

func TestRotatableFailuresCoolAndMoveOn(t *testing.T) {
	for code, cooled := range map[fault.Code]string{fault.ProviderKeyInvalid: "cool c1 1 5m0s", fault.ProviderQuotaExhausted: "cool c1 1 5m0s",
		fault.ProviderRateLimited: "cool c1 0 30s", fault.ProviderError: "cool c1 1 -", fault.ProviderTimeout: "cool c1 1 -", fault.ProviderOverloaded: "cool c1 1 -"} {
		r := newRig(t)
		r.connect("c1", "https://vendor.example", func(c *connection.Connection) { c.Priority = 1 })
		r.connect("c2", "https://vendor.example", func(c *connection.Connection) { c.Priority = 2 })
		r.script = []any{vendorFault(code)}
		a, err := r.complete(gateway.Query{}, ask("openrouter/m"))
		check(t, err)
		if !strings.HasPrefix(r.log[3], strings.TrimSuffix(cooled, "-")) {
			t.Errorf("%s: %q", code, r.log[3])
		}
		r.log[3] = "cool"
		r.wantLog("reserve 1 byok P5 hold=false", "call m key=own-key-of-c1-0123456789", "used 1 refused", "cool",
			"reserve 2 byok P5 hold=false", "call m key=own-key-of-c2-0123456789", "used 2 completed")
		if got := a.Info().FallbackHeader(); got != "openrouter/m:"+string(code) {
			t.Errorf("fallback header %q", got)
		}
	}
}

func TestFinalFailuresStop(t *testing.T) {
	for _, code := range []fault.Code{fault.InvalidRequest, fault.ContextLengthExceeded, fault.ContentFiltered, fault.UnsupportedMedia, fault.TooLarge} {
		r := newRig(t)
		r.connect("c1", "https://vendor.example", nil)
		r.connect("c2", "https://vendor.example", nil)
		r.script = []any{vendorFault(code)}
		_, err := r.complete(gateway.Query{}, ask("openrouter/m"))
		wantCode(t, err, code)
		r.wantLog("reserve 1 byok P5 hold=false", "call m key=own-key-of-c1-0123456789", "used 1 refused")
	}
}

func TestPlatformIsNoFallbackUnlessBothAllowIt(t *testing.T) {
	for _, c := range []struct {
		conn, bound bool
		want        fault.Code
	}{{false, false, fault.ProviderKeyInvalid}, {true, false, fault.ProviderKeyInvalid}, {false, true, fault.ProviderKeyInvalid}, {true, true, ""}} {
		r := newRig(t)
		r.connect("c1", "https://vendor.example", func(x *connection.Connection) { x.AllowPlatformFallback = c.conn })
		r.store.config.Settings.AllowPlatformFallback = c.bound
		r.script = []any{vendorFault(fault.ProviderKeyInvalid)}
		_, err := r.complete(gateway.Query{}, ask("openrouter/m"))
		wantCode(t, err, c.want)
		if fell := slices.Contains(r.log, "reserve 2 platform P6 hold=true"); fell != (c.want == "") {
			t.Errorf("connection %v, bound %v: %v", c.conn, c.bound, r.log)
		}
	}
}

func TestDenials(t *testing.T) {
	r := newRig(t)
	r.connect("c1", "https://vendor.example", func(c *connection.Connection) { c.Enabled = false })
	_, err := r.complete(gateway.Query{}, ask("openrouter/m"))
	wantCode(t, err, fault.BYOKUnavailable)

	r = newRig(t)
	_, err = r.complete(gateway.Query{Forced: taxonomy.BYOK}, ask("openrouter/m"))
	wantCode(t, err, fault.BYOKUnavailable)

	r = newRig(t)
	r.store.config.Org.Tier = taxonomy.Free
	_, err = r.complete(gateway.Query{Forced: taxonomy.BYOK}, ask("openrouter/m"))
	wantCode(t, err, fault.BillingDenied)

	r = newRig(t)
	_, err = r.complete(gateway.Query{}, ask("openrouter/unpriced"))
	wantCode(t, err, fault.PriceMissing)

	r = newRig(t)
	r.platform = nil
	_, err = r.complete(gateway.Query{}, ask("openrouter/m"))
	wantCode(t, err, fault.ModelNotEnabled)

	r = newRig(t)
	_, err = r.complete(gateway.Query{}, ask("mistral/m"))
	wantCode(t, err, fault.ModelNotEnabled)

	r = newRig(t)
	r.store.config.Org.Status = org.Suspended
	_, err = r.complete(gateway.Query{}, ask("openrouter/m"))
	wantCode(t, err, fault.ScopeMissing)
	r.wantLog()
}

func TestLedgerThatCannotBeAskedEndsTheRequest(t *testing.T) {
	for _, code := range []fault.Code{fault.LedgerUnavailable, fault.IdempotencyInProgress, fault.IdempotencyConflict} {
		r := newRig(t)
		r.store.config.Settings.Fallback = []string{"openrouter/second"}
		r.reserveErr = fault.New(code, "x", "no")
		_, err := r.complete(gateway.Query{IdempotencyKey: "k", Route: "POST /x"}, ask("openrouter/m"))
		wantCode(t, err, code)
		r.wantLog("reserve 1 platform P7 hold=true")
	}
}

func TestAgents(t *testing.T) {
	r := newRig(t)
	r.script = []any{vendorFault(fault.ProviderError)}
	_, err := r.complete(gateway.Query{Agent: "helper"}, ask(""))
	check(t, err)
	r.wantLog("reserve 1 platform P7 hold=true", "call agent-model key=platform-key", "used 1 refused",
		"reserve 2 platform P7 hold=true", "call second key=platform-key", "used 2 completed")
	_, err = r.complete(gateway.Query{Agent: "nobody"}, ask("openrouter/m"))
	wantCode(t, err, fault.InvalidRequest)
	r.store.key.AgentID = "helper"
	_, err = r.complete(gateway.Query{Agent: "other"}, ask("openrouter/m"))
	wantCode(t, err, fault.ScopeMissing)
}

func TestAttemptsAreBounded(t *testing.T) {
	r := newRig(t)
	for i := range 6 {
		r.connect(fmt.Sprintf("c%d", i), "https://vendor.example", nil)
		r.script = append(r.script, vendorFault(fault.ProviderError))
	}
	_, err := r.complete(gateway.Query{}, ask("openrouter/m"))
	wantCode(t, err, fault.ProviderError)
	if len(r.calls) != 4 || r.log[len(r.log)-3] != "call m key=own-key-of-c3-0123456789" {
		t.Errorf("%d calls, %v", len(r.calls), r.log)
	}
}

func text(n int) model.Event { return model.Event{Kind: model.EventText, Text: strings.Repeat("x", n)} }

func (r *rig) stream(steps ...any) *gateway.ChatStream {
	r.t.Helper()
	r.script = []any{steps}
	g := r.gateway()
	m := ask("openrouter/m")
	m.Stream = true
	s, err := g.Stream(r.t.Context(), r.caller(g), gateway.Query{}, m)
	check(r.t, err)
	return s
}

func TestStreamIsRecordedBeforeItsEnd(t *testing.T) {
	r := newRig(t)
	s := r.stream(model.Event{Kind: model.EventStart}, text(40), model.Event{Kind: model.EventUsage, Usage: &model.Usage{Input: 3, Output: 7, Source: model.UsageProvider}},
		model.Event{Kind: model.EventFinish, Finish: model.FinishStop}, model.Event{Kind: model.EventEnd})
	for {
		ev, err := s.Next()
		check(t, err)
		if ev.Kind == model.EventEnd {
			break
		}
		if len(r.used) > 0 {
			t.Error("recorded too early")
		}
	}
	if len(r.used) != 1 || r.used[0].Kind != credit.Completed || r.used[0].Amount != 3+2*7 {
		t.Errorf("used: %+v", r.used)
	}
	check(t, s.Close())
	if len(r.used) != 1 {
		t.Error("recorded twice")
	}
}

func TestStreamWithoutUsageIsEstimated(t *testing.T) {
	r := newRig(t)
	s := r.stream(text(40), model.Event{Kind: model.EventEnd})
	var kinds []string
	for {
		ev, err := s.Next()
		check(t, err)
		kinds = append(kinds, ev.Kind.String())
		if ev.Kind == model.EventUsage && (ev.Usage.Source != model.UsageEstimated || ev.Usage.Output != 10) {
			t.Errorf("reported usage %+v", ev.Usage)
		}
		if ev.Kind == model.EventEnd {
			break
		}
	}
	if !slices.Equal(kinds, []string{"text", "usage", "end"}) {
		t.Errorf("events %v", kinds)
	}
	if u := r.used[0]; !u.Estimated || u.Usage.OutputTokens != 10 || u.Usage.Source != billing.Estimated || u.Amount == 0 {
		t.Errorf("used: %+v", u)
	}
}

func TestCutAndAbandonedStreamsArePartial(t *testing.T) {
	r := newRig(t)
	s := r.stream(text(400), vendorFault(fault.ProviderError))
	_, _ = s.Next()
	_, err := s.Next()
	wantCode(t, err, fault.ProviderError)
	if u := r.used[0]; u.Kind != credit.Partial || u.Usage.OutputTokens != 100 || u.Reason != "provider_error" {
		t.Errorf("cut: %+v", u)
	}
	r = newRig(t)
	s = r.stream(text(400), text(400))
	_, _ = s.Next()
	check(t, s.Close())
	if u := r.used[0]; u.Kind != credit.Partial || u.Usage.OutputTokens != 100 || u.Reason != "client_closed" {
		t.Errorf("abandoned: %+v", u)
	}
	if r.log[len(r.log)-1] != "closed" {
		t.Error("the vendor's stream stayed open")
	}
}

func TestCheckpoints(t *testing.T) {
	r := newRig(t)
	s := r.stream(text(4), 6*time.Second, text(4), text(4), text(9000), text(4), model.Event{Kind: model.EventEnd})
	for {
		if ev, err := s.Next(); err != nil || ev.Kind == model.EventEnd {
			break
		}
	}
	var got []string
	for _, l := range r.log {
		if strings.HasPrefix(l, "checkpoint") {
			got = append(got, l)
		}
	}
	// One after six seconds, one after 2,000 tokens; none in between.
	if !slices.Equal(got, []string{"checkpoint 1 out=2", "checkpoint 1 out=2253"}) {
		t.Errorf("checkpoints: %v", got)
	}
}

func TestUsageThatCannotBeWrittenIsReported(t *testing.T) {
	r := newRig(t)
	r.usedErr = fault.New(fault.LedgerUnavailable, "x", "no")
	g := r.gateway()
	a, err := g.Complete(t.Context(), r.caller(g), gateway.Query{RequestID: "req1"}, ask("openrouter/m"))
	check(t, err)
	wantCode(t, a.Commit(t.Context()), fault.LedgerUnavailable)
	if !slices.Equal(r.lost, []string{"req1:ledger_unavailable"}) {
		t.Errorf("reported: %v", r.lost)
	}
}

func TestUsageIsRecordedAfterTheClientLeft(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	ctx, leave := context.WithCancel(t.Context())
	a, err := g.Complete(ctx, r.caller(g), gateway.Query{}, ask("openrouter/m"))
	check(t, err)
	leave()
	check(t, a.Commit(ctx)) // Used fails the test if its context is over.
	if len(r.used) != 1 {
		t.Errorf("used: %v", r.used)
	}
}

func TestDeferredAnswerSurvivesStorage(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	a, err := g.Complete(t.Context(), r.caller(g), gateway.Query{RequestID: "turn1"}, ask("openrouter/m"))
	check(t, err)
	b, err := json.Marshal(a.Defer())
	check(t, err)
	check(t, a.Commit(t.Context()))
	if len(r.used) != 0 {
		t.Fatal("a deferred answer was recorded by its first holder")
	}
	var p gateway.Pending
	check(t, json.Unmarshal(b, &p))
	check(t, g.Commit(t.Context(), p))
	if len(r.used) != 1 || r.used[0].Amount != 20 || p.Hold.Request != "turn1" || p.Hold.Owner == "" {
		t.Errorf("pending: %+v", p)
	}
}

func TestIdempotencyKeyNamesTheRequest(t *testing.T) {
	r := newRig(t)
	first, err := r.complete(gateway.Query{IdempotencyKey: "a", Route: "POST /v1/x"}, ask("openrouter/m"))
	check(t, err)
	same, err := r.complete(gateway.Query{IdempotencyKey: "a", Route: "POST /v1/x"}, ask("openrouter/m"))
	check(t, err)
	other, err := r.complete(gateway.Query{IdempotencyKey: "a", Route: "POST /v1/y"}, ask("openrouter/m"))
	check(t, err)
	if first.Info().RequestID != same.Info().RequestID || first.Info().RequestID == other.Info().RequestID {
		t.Errorf("%s %s %s", first.Info().RequestID, same.Info().RequestID, other.Info().RequestID)
	}
	_, err = r.complete(gateway.Query{IdempotencyKey: strings.Repeat("x", 256), Route: "r"}, ask("openrouter/m"))
	wantCode(t, err, fault.InvalidRequest)
}

func TestOneConnectionThatForbidsTheFallbackSpeaksForAll(t *testing.T) {
	r := newRig(t)
	r.connect("c1", "https://vendor.example", func(c *connection.Connection) { c.AllowPlatformFallback = true })
	r.connect("c2", "https://vendor.example", func(c *connection.Connection) { c.Priority = 1 })
	r.store.config.Settings.AllowPlatformFallback = true
	r.script = []any{vendorFault(fault.ProviderKeyInvalid), vendorFault(fault.ProviderKeyInvalid)}
	_, err := r.complete(gateway.Query{}, ask("openrouter/m"))
	wantCode(t, err, fault.ProviderKeyInvalid)
	for _, l := range r.log {
		if strings.Contains(l, "platform") {
			t.Errorf("the platform was used: %v", r.log)
		}
	}
}

// TestPlatformKeyFromTheVault: on AWS the platform's own keys are credentials of
// an organisation of the operator's.
func TestPlatformKeyFromTheVault(t *testing.T) {
	r := newRig(t)
	_, err := r.vault.Create(t.Context(), vault.NewCredential{Op: vaulttest.Op(), Ref: vault.Ref{Org: "ours", ID: "p1", Provider: "openrouter", Class: taxonomy.AIKey},
		Label: "platform", Origin: "https://vendor.example", Fields: map[string]secret.Text{"api_key": secret.FromString("sealed-platform-key-01")}})
	check(t, err)
	r.platform = map[taxonomy.Provider]config.PlatformCredential{taxonomy.OpenRouter: {VaultRef: "ours/p1"}}
	_, err = r.complete(gateway.Query{}, ask("openrouter/m"))
	check(t, err)
	r.wantLog("reserve 1 platform P7 hold=true", "call m key=sealed-platform-key-01", "used 1 completed")
	r.platform = map[taxonomy.Provider]config.PlatformCredential{taxonomy.OpenRouter: {VaultRef: "ours/missing"}}
	_, err = r.complete(gateway.Query{}, ask("openrouter/m"))
	wantCode(t, err, fault.VaultUnavailable)
}

// The answers of idempotent requests.
func (r *rig) PutReplay(_ context.Context, org, request string, sealed []byte, expires time.Time) error {
	r.replays = map[string][]byte{org + "/" + request: sealed}
	r.replayUntil = expires
	return nil
}

func (r *rig) Replay(_ context.Context, org, request string, now time.Time) ([]byte, error) {
	if !now.Before(r.replayUntil) {
		return nil, nil
	}
	return r.replays[org+"/"+request], nil
}

// TestReplay: an answer comes back for the same key, route and organisation
// only, and lies in the table unreadable.
func TestReplay(t *testing.T) {
	r := newRig(t)
	g := r.gateway()
	c, err := g.Internal(t.Context(), "org1", func() time.Time { return r.now })
	check(t, err)
	q := gateway.Query{IdempotencyKey: "key-1", Route: "POST /v1/x"}
	answer := gateway.Replayable{Headers: map[string]string{"Content-Type": "application/json"}, Body: []byte("the private answer")}
	check(t, g.Remember(t.Context(), c, q, "ik1", answer))
	for _, sealed := range r.replays {
		if bytes.Contains(sealed, []byte("private")) {
			t.Error("the answer lies in the table in clear")
		}
	}
	done := *fault.New(fault.IdempotencyCompleted, "x", "finished")
	done.RequestID = "ik1"
	got, err := g.Recall(t.Context(), c, q, &done)
	if err != nil || string(got.Body) != "the private answer" || got.Headers["Content-Type"] != "application/json" {
		t.Errorf("%+v, %v", got, err)
	}
	running := done
	running.Code = fault.IdempotencyInProgress
	for name, try := range map[string]struct {
		q     gateway.Query
		cause *fault.Error
	}{
		"another key":   {gateway.Query{IdempotencyKey: "key-2", Route: q.Route}, &done},
		"another route": {gateway.Query{IdempotencyKey: "key-1", Route: "POST /v1/y"}, &done},
		"still running": {q, &running},
	} {
		if got, err := g.Recall(t.Context(), c, try.q, try.cause); fault.CodeOf(err) != try.cause.Code || got.Body != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for i, sealed := range r.replays {
		for bit := range len(sealed) * 8 {
			altered := bytes.Clone(sealed)
			altered[bit/8] ^= 1 << (bit % 8)
			r.replays[i] = altered
			if _, err := g.Recall(t.Context(), c, q, &done); fault.CodeOf(err) != fault.IdempotencyCompleted {
				t.Fatalf("bit %d altered: %v", bit, err)
			}
		}
		r.replays[i] = sealed
	}
	r.now = r.now.Add(24 * time.Hour)
	if _, err := g.Recall(t.Context(), c, q, &done); fault.CodeOf(err) != fault.IdempotencyCompleted {
		t.Errorf("after a day: %v", err)
	}
	r.replays = nil
	answer.Body = make([]byte, gateway.MaxReplay+1)
	check(t, g.Remember(t.Context(), c, q, "ik1", answer))
	if r.replays != nil {
		t.Error("an answer above the limit was kept")
	}
}
