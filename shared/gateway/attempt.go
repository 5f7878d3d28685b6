package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/registry"
	"github.com/latchkey/latchkey/shared/route"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
)

// Query is what a request says besides its content.
type Query struct {
	// RequestID names the request; empty = a new id. With IdempotencyKey it is
	// derived from organisation, route and key instead.
	RequestID string
	// IdempotencyKey is the client's; Route is "METHOD /path"; Body is what its
	// fingerprint is taken over.
	IdempotencyKey string
	Route          string
	Body           []byte
	// Forced demands a billing source; it is denied, never substituted.
	Forced     taxonomy.BillingSource
	Connection string
	Agent      string
	// Strict refuses a candidate that would not be given every field.
	Strict bool
	// Intent chooses the row of the routing matrix, empty = general.
	Intent taxonomy.Intent
	// Pin is what served the session before, zero = nothing did.
	Pin route.Pin
}

const (
	maxAttempts = 4
	// The function needs time after the call to record what it cost.
	recordMargin = 5 * time.Second
	recordLimit  = 4 * time.Second
	// A hold outlives the function that took it, then sweep ends it.
	holdMargin  = time.Minute
	maxKeyChars = 255
	apiKeyField = "api_key"
)

// service is one kind of call.
type service[T any] struct {
	name  string // for spans: chat, transcribe, synthesize
	model string
	needs []taxonomy.Capability
	// modality chooses the column of the routing matrix; empty for speech, which
	// the matrix does not cover.
	modality taxonomy.Modality
	has      func(*providers.Entry) bool
	expect   billing.Expected
	// longer reports whether the input surely has more than limit tokens; nil =
	// that is not asked.
	longer func(limit int64) bool
	// whole says that the vendor answers only when it is done, so that waiting
	// for its headers is bounded by the function's time alone.
	whole bool
	// inParts says that the answer's output is counted as it arrives, so that the
	// hold may grow with it.
	inParts bool
	// dropped names the fields of the request that a candidate would not be given,
	// sorted; nil = it is given all.
	dropped func(*call) []string
	do      func(ctx context.Context, call call) (T, error)
}

// call is one attempt as the service makes it.
type call struct {
	entry  *providers.Entry
	model  string
	target model.Target
	// maxOutput is the output limit that the hold was sized for, 0 if none.
	maxOutput int64
	// platform says that the platform pays.
	platform bool
	org      string
	// dropped are the fields that the candidate is not given, whatever strict says.
	dropped []string
	strict  bool
	chat    model.Chat
}

// run tries the candidates of a request in order. It returns the first answer
// and the meter that its usage must be recorded with.
func run[T any](ctx context.Context, g *Gateway, c *Caller, q Query, s service[T]) (T, *Meter, error) {
	var none T
	if err := c.suspended(); err != nil {
		return none, nil, err
	}
	ag, err := c.agent(q.Agent)
	if err != nil {
		return none, nil, err
	}
	id, err := q.requestID(g, c)
	if err != nil {
		return none, nil, err
	}
	plan, err := g.plan(c, q, ag, asked{s.model, s.modality, s.needs})
	if err != nil {
		return none, nil, err
	}
	a := &attempts{g: g, c: c, q: q, agent: ag.ID, request: id, n: 1, plan: plan, owner: g.o.NewID(c.now())}
	a.limits = a.newTicket(ctx, s.expect)
	defer a.limits.close()
	for _, cand := range plan.Candidates {
		if a.made == maxAttempts {
			break
		}
		answer, meter, err := try(ctx, a, cand, s)
		if err == nil {
			a.limits.keep()
			return answer, meter, nil
		}
		if a.final {
			return none, nil, a.told(err)
		}
	}
	return none, nil, a.told(a.failure())
}

// attempts carries one request over its candidates.
type attempts struct {
	g       *Gateway
	c       *Caller
	q       Query
	agent   string
	request string
	owner   string
	plan    route.Result
	n       int // number of the next attempt
	made    int // vendor calls made
	final   bool
	tried   []string // candidate:reason, for the header
	last    error    // of the last vendor call
	denied  error    // of the first candidate that was not called
	limits  *ticket
	// current is what was decided about the candidate that is tried, lastInfo and
	// deniedInfo about those of last and denied.
	current, lastInfo, deniedInfo Info
}

// errNotServed refuses a model of a provider that has no adapter.
func errNotServed() error {
	return fault.New(fault.InvalidRequest, "gateway.run", "this provider can be connected and tested, but is not served yet; choose a model of another one").WithParam("model")
}

// deny notes why a candidate was not called.
func (a *attempts) deny(cand route.Candidate, err error) error {
	if a.denied == nil {
		a.denied, a.deniedInfo = err, a.current
	}
	a.tried = append(a.tried, cand.Name()+":"+string(fault.CodeOf(err)))
	return err
}

// fail notes a failed vendor call and whether another candidate may be tried.
func (a *attempts) fail(ctx context.Context, cand route.Candidate, err error) error {
	f := fault.As(err)
	if f.Provider == "" {
		named := *f
		named.Provider = string(cand.Provider)
		f = &named
	}
	a.last, a.lastInfo = f, a.current
	a.tried = append(a.tried, cand.Name()+":"+string(f.Code))
	status, rotatable := rotatable(f.Code)
	a.final = !rotatable || ctx.Err() != nil
	if rotatable && cand.Connection != nil {
		// A cooldown that cannot be written must not hide the vendor's answer.
		cctx, cancel := detached(ctx)
		defer cancel()
		_ = connection.Cool(cctx, a.g.o.Cooldown, a.c.Org, cand.Connection.ID, status, f.RetryAfter, a.c.now())
	}
	return f
}

// rotatable maps failures that another key, model or vendor may not have to the
// HTTP status that the cooldown arithmetic knows; 0 stands for no answer.
func rotatable(code fault.Code) (status int, ok bool) {
	switch code {
	case fault.ProviderKeyInvalid:
		return http.StatusUnauthorized, true
	case fault.ProviderQuotaExhausted:
		return http.StatusPaymentRequired, true
	case fault.ProviderRateLimited:
		return http.StatusTooManyRequests, true
	case fault.ProviderOverloaded:
		return http.StatusServiceUnavailable, true
	case fault.ProviderError:
		return http.StatusBadGateway, true
	case fault.ProviderTimeout:
		return 0, true
	}
	return 0, false
}

// requestID derives the ledger's key of the request.
func (q Query) requestID(g *Gateway, c *Caller) (string, error) {
	if q.IdempotencyKey == "" {
		if q.RequestID != "" {
			return q.RequestID, nil
		}
		return g.o.NewID(c.now()), nil
	}
	if len(q.IdempotencyKey) > maxKeyChars {
		return "", fault.New(fault.InvalidRequest, "gateway.requestID", "an Idempotency-Key has at most 255 characters").WithParam("Idempotency-Key")
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{c.Org, q.Route, q.IdempotencyKey}, "\x00")))
	return "ik" + hex.EncodeToString(sum[:20]), nil
}

// try makes one attempt: decide, reserve, reveal, call.
func try[T any](ctx context.Context, a *attempts, cand route.Candidate, s service[T]) (T, *Meter, error) {
	var none T
	entry := a.g.entries[cand.Provider]
	inputs, access, decision, err := a.weigh(cand, s.has)
	if err != nil {
		return none, nil, a.deny(cand, err)
	}
	cl := call{entry: entry, model: cand.Model, platform: cand.Connection == nil, org: a.c.Org, strict: a.q.Strict}
	if err := s.admit(&cl); err != nil {
		return none, nil, a.deny(cand, err)
	}
	row, _ := registry.Lookup(cand.Provider, cand.Model)
	expect, err := s.within(row)
	if err != nil {
		return none, nil, a.deny(cand, err)
	}
	size, err := s.estimate(a.c.book, cand, row, decision, expect)
	if err != nil {
		return none, nil, a.deny(cand, err)
	}
	cl.maxOutput = size.maxOutput
	meter, err := a.hold(ctx, cand, inputs, decision, size)
	if err != nil {
		// A request that exists already is the client's answer, not a reason to
		// try elsewhere; so is a ledger that cannot be asked.
		a.final = fault.CodeOf(err) != fault.InsufficientCredits && !overBudget(err)
		return none, nil, a.deny(cand, err)
	}
	meter.dropped = cl.dropped
	a.made++
	var answer T
	meter.cancelStops = entry.CancelStopsBilling && s.seen(row)
	callCtx, cancel := a.callContext(ctx, s.whole || !meter.cancelStops)
	spanCtx, span := a.g.o.Trace.Start(callCtx, string(cand.Provider)+"."+s.name)
	cl.target = model.Target{BaseURL: access.baseURL, HTTP: a.g.o.Client(entry), RequestID: a.request, Now: a.c.now()}
	if s.whole {
		cl.target.HeaderTimeout = a.g.o.Timeout
	}
	upstream := a.c.now()
	err = a.withKey(spanCtx, access, cand, s.name, func(key secret.Text) error {
		cl.target.Key = key
		var err error
		answer, err = s.do(spanCtx, cl)
		return err
	})
	meter.upstream = a.c.now().Sub(upstream)
	if err != nil {
		cancel()
		span.Fail(fault.CodeOf(err))
		span.End()
		meter.refuse(ctx, err)
		return none, nil, a.fail(ctx, cand, err)
	}
	span.End()
	meter.cancel = cancel
	return answer, meter, nil
}

// detached outlives the client but not the function.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), recordLimit)
}

// access is how a candidate is reached.
type access struct {
	platform bool
	known    bool // a platform credential is configured
	baseURL  string
	key      secret.Text
	cred     *vault.Credential // nil = key holds it, or there is none
}

// inputs collects what the decision depends on, and how the vendor is reached.
func (a *attempts) inputs(cand route.Candidate) (billing.Inputs, access, error) {
	c := a.c
	in := billing.Inputs{
		Org: c.Org, RequestSource: taxonomy.LLM, Candidate: cand.Source, Forced: a.q.Forced,
		OrgActive: c.config.Org.Status == org.Active, Tier: c.config.Org.Tier,
		TierBYOK:                 c.tiers.Has(c.config.Org.Tier, org.FeatureBYOK),
		Preference:               billing.Preference(c.config.Settings.BillingPreference),
		OrgAllowPlatformFallback: c.config.Settings.AllowPlatformFallback,
		Provider:                 string(cand.Provider), Model: cand.Model, Agent: a.agent,
		SettingsVersion: c.config.SettingsVersion, PriceVersion: c.book.Version, PolicyVersion: billing.PolicyVersion,
		Sharing: c.sharing(),
	}
	entry := a.g.entries[cand.Provider]
	if cand.Connection != nil {
		cred, ok := c.credentialFor(cand.Connection)
		in.Connection = connectionInput(cand.Connection, ok, cred)
		in.Fees, in.FreeUsed = c.fees(in.TierBYOK)
		acc := access{baseURL: cmpOr(cand.Connection.BaseURL, entry.DefaultBaseURL)}
		if ok && !cand.Connection.Keyless {
			acc.cred = &cred
		}
		return in, acc, nil
	}
	own := connection.ForModel(c.config.Connections, cand.Provider, cand.Model)
	if len(own) > 0 {
		// The first connection that forbids the fallback speaks for all: a key of
		// the organisation is never silently replaced by the platform's.
		pick := own[0]
		for _, o := range own {
			if !o.AllowPlatformFallback {
				pick = o
				break
			}
		}
		cred, ok := c.credentialFor(&pick)
		in.Connection = connectionInput(&pick, ok && connection.Usable(pick, c.now()) == connection.IsUsable, cred)
	}
	p, known := a.g.o.Platform[cand.Provider]
	acc := access{platform: true, known: known, baseURL: cmpOr(p.BaseURL, entry.DefaultBaseURL), key: p.Key}
	if p.VaultRef != "" {
		_, id, _ := strings.Cut(p.VaultRef, "/")
		cred, ok := c.platform[id]
		if !ok || cred.Head.Status != vault.Active {
			return in, acc, fault.New(fault.VaultUnavailable, "gateway.inputs", "the platform's own key is not available, contact the operator")
		}
		acc.cred = &cred
	}
	return in, acc, nil
}

func connectionInput(c *connection.Connection, usable bool, cred vault.Credential) billing.Connection {
	return billing.Connection{Exists: true, Usable: usable, AllowPlatformFallback: c.AllowPlatformFallback,
		ID: c.ID, Version: c.Version, CredentialVersion: int64(cred.Head.LiveVersion(apiKeyField))}
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// check refuses a candidate that cannot be called at all.
func (x access) check(e *providers.Entry, serves bool) error {
	const op = "gateway.access"
	switch {
	case !serves:
		return fault.New(fault.InvalidRequest, op, "this provider does not offer this kind of call").WithParam("model")
	case x.platform && !x.known:
		return fault.New(fault.ModelNotEnabled, op, "the platform does not offer this provider; add a connection with your own key").WithParam("model")
	case x.baseURL == "":
		return fault.New(fault.BYOKUnavailable, op, "the connection has no base URL; set one and send its key again")
	case x.cred == nil && x.key.IsZero() && e.KeyRequired:
		return fault.New(fault.BYOKUnavailable, op, "the connection has no key; rotate it")
	}
	return nil
}

// reveal hands the key to f for the one call. A key whose credential was saved
// for another origin is not opened.
func (x access) reveal(ctx context.Context, v Vault, purpose string, f func(secret.Text) error) error {
	if x.cred == nil {
		return f(x.key)
	}
	if !x.cred.Head.AllowsOrigin(originOf(x.baseURL)) {
		return fault.New(fault.VaultUnavailable, "gateway.reveal", "this key was saved for another endpoint; send it again with the connection's base URL")
	}
	return v.Reveal(ctx, *x.cred, vault.Use{Field: apiKeyField, Purpose: purpose}, func(plain []byte) error {
		return f(secret.New(plain))
	})
}

// withKey makes the call with the candidate's key. When the vendor refuses a key
// that replaced another, and the other is still kept, the call is made once more
// with that one. It is part of the same attempt: a vendor that refused the key did
// nothing that costs, so one hold and one outcome are right.
func (a *attempts) withKey(ctx context.Context, x access, cand route.Candidate, purpose string, f func(secret.Text) error) error {
	err := x.reveal(ctx, a.g.o.Vault, purpose, f)
	if x.cred == nil || cand.Connection == nil || fault.CodeOf(err) != fault.ProviderKeyInvalid || ctx.Err() != nil {
		return err
	}
	called := false
	kept, again := a.g.o.Vault.RevealPrevious(ctx, *x.cred, vault.Use{Field: apiKeyField, Purpose: purpose}, func(plain []byte) error {
		called = true
		return f(secret.New(plain))
	})
	if kept {
		a.g.o.OnRotationSuspect(a.c.Org, a.request, cand.Connection.ID, fault.CodeOf(again))
	}
	if !called {
		// What the vendor said stands.
		return err
	}
	return again
}

func originOf(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// reserve takes the hold of one attempt and marks it dispatched.
func (a *attempts) reserve(ctx context.Context, cand route.Candidate, in billing.Inputs, d billing.Decision, z sized) (*Meter, error) {
	now := a.c.now()
	connID := ""
	if cand.Connection != nil {
		connID = cand.Connection.ID
	}
	draw, shards := a.c.draw(d)
	r := credit.ReserveRequest{
		Draw: draw, Org: a.c.Org, Request: a.request, Attempt: a.n, Owner: a.owner, Hold: z.hold,
		Fingerprint: sha256.Sum256(a.q.Body), Now: now, Expires: now.Add(a.g.o.Timeout + holdMargin),
		Provider: string(cand.Provider), Model: cand.Model, Connection: connID, Agent: a.agent,
		Source: d.Source, Fee: d.Fee, Rule: d.Rule, DecisionHash: billing.Hash(in), Decision: billing.Canonical(in),
		PriceVersion: a.c.book.Version, Idempotent: a.q.IdempotencyKey != "", Shards: shards,
		Stamp: a.c.stamp(),
	}
	if a.c.Key != nil {
		r.Key = a.c.Key.ID
	}
	// A budget counts what the call may cost, however little is held at first.
	claims, err := a.limits.claims(z.ceiling)
	if err != nil {
		return nil, err
	}
	r.Limits = claims
	spanCtx, span := a.g.o.Trace.Start(ctx, "ledger.reserve")
	h, err := a.g.o.Ledger.Reserve(spanCtx, r)
	if err != nil {
		span.Fail(fault.CodeOf(err))
		span.End()
		return nil, err
	}
	span.End()
	a.n++
	a.limits.took(claims)
	return &Meter{a: a, cand: cand, hold: h, decision: d, reservedAt: now, attempt: r.Attempt,
		grow: growth{on: z.hold < z.ceiling, maxOutput: z.maxOutput}}, nil
}
