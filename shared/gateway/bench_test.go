package gateway_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agency"
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/commercial"
	"github.com/latchkey/latchkey/shared/config"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/dialect/openaichat"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/limit/limittest"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/providers/openaicompatible"
	"github.com/latchkey/latchkey/shared/providers/openrouter"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/trace"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

// What a call costs in our own code: everything outside is answered in this
// process, at once. The baseline "adapter" is the vendor's adapter alone, with
// the same request, answer and HTTP client. ./scripts/bench runs these.

const (
	benchOrg    = "acme"
	benchOrigin = "https://vendor.example"
	benchBase   = benchOrigin + "/v1"
	benchDeltas = 50
)

// benchVendor answers every request with the same bytes.
type benchVendor struct {
	contentType string
	body        []byte
}

func (v benchVendor) RoundTrip(r *http.Request) (*http.Response, error) {
	_, _ = io.Copy(io.Discard, r.Body)
	_ = r.Body.Close()
	return &http.Response{StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {v.contentType}}, Body: io.NopCloser(bytes.NewReader(v.body)), ContentLength: -1}, nil
}

func benchPlain() benchVendor {
	return benchVendor{"application/json", []byte(`{"id":"chatcmpl-1","object":"chat.completion","created":1763700000,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"` +
		strings.Repeat("Measured words. ", 26) + `"},"finish_reason":"stop"}],"usage":{"prompt_tokens":40,"completion_tokens":90,"total_tokens":130}}`)}
}

func benchStream() benchVendor {
	var b bytes.Buffer
	frame := func(choices, more string) {
		fmt.Fprintf(&b, "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1763700000,\"model\":\"m\",\"choices\":[%s]%s}\n\n", choices, more)
	}
	for i := range benchDeltas {
		frame(fmt.Sprintf(`{"index":0,"delta":{"content":"word%d "},"finish_reason":null}`, i), "")
	}
	frame(`{"index":0,"delta":{},"finish_reason":"stop"}`, "")
	frame("", `,"usage":{"prompt_tokens":40,"completion_tokens":50,"total_tokens":90}`)
	b.WriteString("data: [DONE]\n\n")
	return benchVendor{"text/event-stream", b.Bytes()}
}

// benchStore holds one organisation.
type benchStore struct {
	config gateway.OrgConfig
	key    org.Key
	vault  *vault.Vault // of the platform's credentials
	offer  agency.Offer // of the organisation's agency
	// terms are those of tiers, freeUsed what the month's allowance took.
	terms    commercial.Tiers
	freeUsed int64
}

func (s *benchStore) OrgConfig(context.Context, string) (gateway.OrgConfig, error) {
	return s.config, nil
}

func (s *benchStore) Offer(context.Context, string) (agency.Offer, error) { return s.offer, nil }

func (s *benchStore) CallConfig(ctx context.Context, _, keyID string, _ time.Time, platform []vault.Ref) (c gateway.CallConfig, err error) {
	c.Terms, c.FreeUsed = s.terms, s.freeUsed
	if keyID != "" {
		c.Key = &s.key
	}
	for _, ref := range platform {
		cred, err := s.vault.Load(ctx, ref.Org, ref.Class, ref.ID)
		if fault.CodeOf(err) == fault.NotFound {
			continue
		}
		if err != nil {
			return c, err
		}
		c.Platform = append(c.Platform, cred)
	}
	return c, nil
}

// benchLedger grants everything and counts what is recorded.
type benchLedger struct{ used int }

func (l *benchLedger) Reserve(_ context.Context, r credit.ReserveRequest) (credit.Hold, error) {
	return credit.Hold{Org: r.Org, Request: r.Request, Attempt: r.Attempt, Owner: r.Owner, Amount: r.Hold, Created: r.Now, Expires: r.Expires}, nil
}
func (l *benchLedger) Extend(_ context.Context, h credit.Hold, delta billing.Micro, _ time.Time) (credit.Hold, error) {
	h.Amount += delta
	return h, nil
}
func (l *benchLedger) Checkpoint(context.Context, credit.Hold, billing.Usage, billing.Micro) error {
	return nil
}
func (l *benchLedger) Used(context.Context, credit.Hold, credit.Outcome) error {
	l.used++
	return nil
}

type benchPrices struct{ book *billing.Book }

func (p benchPrices) At(context.Context, billing.Index, time.Time) (*billing.Book, error) {
	return p.book, nil
}

// benchCooldown is never asked: no call fails.
type benchCooldown struct{}

func (benchCooldown) Connection(context.Context, string, string) (connection.Connection, error) {
	return connection.Connection{}, nil
}
func (benchCooldown) SetCooldown(context.Context, string, string, connection.Cooldown, int64) error {
	return nil
}

// benchRig is a gateway over fakes and everything a request needs.
type noReplays struct{}

func (noReplays) PutReplay(context.Context, string, string, []byte, time.Time) error { return nil }

func (noReplays) Replay(context.Context, string, string, time.Time) ([]byte, error) { return nil, nil }

type benchRig struct {
	g       *gateway.Gateway
	ledger  *benchLedger
	key     string
	body    []byte
	entries map[taxonomy.Provider]providers.Entry
	client  *http.Client
}

func newBenchRig(b *testing.B, v benchVendor, provider taxonomy.Provider, stream bool) *benchRig {
	b.Helper()
	now := time.Now().UTC()
	or, own := openrouter.Registration(), openaicompatible.Registration()
	r := &benchRig{ledger: &benchLedger{}, client: &http.Client{Transport: v},
		entries: map[taxonomy.Provider]providers.Entry{or.ID: or, own.ID: own}}
	r.body = fmt.Appendf(nil, `{"model":"%s/m","stream":%t,"max_tokens":256,"messages":[{"role":"system","content":"You answer briefly."},{"role":"user","content":"%s"}]}`,
		provider, stream, strings.Repeat("word ", 30))
	key, digest, err := org.Mint(benchOrg, "k1", rand.Reader)
	benchMust(b, err)
	benchMust(b, key.Use(func(plain []byte) error { r.key = string(plain); return nil }))
	store := &benchStore{key: org.Key{ID: "k1", Org: benchOrg, Scopes: org.Scopes(), Hash: digest, CreatedAt: now},
		config: gateway.OrgConfig{Settings: org.DefaultSettings(),
			Org: org.Org{ID: benchOrg, Name: "A", Tier: taxonomy.Enterprise, Status: org.Active, LedgerMode: org.LedgerCredit, Version: 1, CreatedAt: now}}}
	credentials := vaulttest.NewStore()
	if provider == taxonomy.OpenAICompatible {
		store.config.Connections = []connection.Connection{{ID: "c1", Org: benchOrg, Provider: provider, Label: "own", BaseURL: benchBase, Origin: benchOrigin,
			Enabled: true, BillingSource: taxonomy.BYOK, Capabilities: own.Capabilities, Status: connection.Active, Class: taxonomy.AIKey, CreatedAt: now, Version: 1}}
	}
	v2, err := vault.New(vault.Options{Store: credentials, KEK: vaulttest.NewKEK(), Fields: vaulttest.Fields(), Now: time.Now, App: "latchkey", Stage: "test"})
	benchMust(b, err)
	_, err = v2.Create(context.Background(), vault.NewCredential{Op: vaulttest.Op(), Ref: vault.Ref{Org: benchOrg, ID: "c1", Provider: string(own.ID), Class: taxonomy.AIKey},
		Label: "own", Origin: benchOrigin, Fields: map[string]secret.Text{"api_key": secret.FromString("sk-bench-0123456789")}})
	benchMust(b, err)
	book, err := billing.NewBook("v1", now.Add(-time.Hour), []billing.Row{
		{Provider: string(or.ID), Model: "m", Meter: billing.InputText, RatePico: 1_000_000, Source: "bench", SourceDate: "2026-11-21"},
		{Provider: string(or.ID), Model: "m", Meter: billing.OutputText, RatePico: 2_000_000, Source: "bench", SourceDate: "2026-11-21"}})
	benchMust(b, err)
	serial := 0
	r.g, err = gateway.New(gateway.Options{Store: store, Vault: v2, Ledger: r.ledger, Prices: benchPrices{book}, Replays: noReplays{}, Limits: &limittest.Store{}, Cooldown: benchCooldown{},
		Providers: []providers.Entry{or, own}, Client: func(*providers.Entry) *http.Client { return r.client },
		Platform: map[taxonomy.Provider]config.PlatformCredential{or.ID: {Key: secret.FromString("sk-bench-platform"), BaseURL: benchBase}},
		Classes:  []taxonomy.CredentialClass{taxonomy.AIKey}, Timeout: time.Minute, Trace: trace.None(),
		NewID: func(time.Time) string { serial++; return fmt.Sprintf("r%d", serial) }})
	benchMust(b, err)
	return r
}

func benchMust(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (r *benchRig) caller(b *testing.B) *gateway.Caller {
	c, err := r.g.Authenticate(context.Background(), r.key, org.ScopeInvoke, time.Now)
	benchMust(b, err)
	return c
}

// plain is a whole call as the function makes it: parse, authenticate, complete,
// record, encode.
func (r *benchRig) plain(b *testing.B, dst []byte) []byte {
	ctx := context.Background()
	request, meta, err := openaichat.ParseRequest(r.body)
	benchMust(b, err)
	answer, err := r.g.Complete(ctx, r.caller(b), gateway.Query{Route: "POST /v1/chat/completions", Body: r.body}, request)
	benchMust(b, err)
	benchMust(b, answer.Commit(ctx))
	info := answer.Info()
	return openaichat.EncodeResponse(dst[:0], answer.Response, openaichat.Shape{Model: info.Model, IncludeUsage: meta.IncludeUsage, BillingSource: string(info.Source)})
}

// stream is the same for a streamed call; it returns the bytes of all frames.
func (r *benchRig) stream(b *testing.B, dst []byte) []byte {
	request, meta, err := openaichat.ParseRequest(r.body)
	benchMust(b, err)
	s, err := r.g.Stream(context.Background(), r.caller(b), gateway.Query{Route: "POST /v1/chat/completions", Body: r.body}, request)
	benchMust(b, err)
	defer s.Close()
	info := s.Info()
	encoder := openaichat.NewStreamEncoder(openaichat.Shape{Model: info.Model, IncludeUsage: meta.IncludeUsage, BillingSource: string(info.Source)})
	dst = dst[:0]
	for {
		ev, err := s.Next()
		if err == io.EOF {
			return dst
		}
		benchMust(b, err)
		dst = encoder.Append(dst, ev)
	}
}

// adapter makes the vendor's call alone.
func (r *benchRig) adapter(b *testing.B, provider taxonomy.Provider, stream bool) {
	request, _, err := openaichat.ParseRequest(r.body)
	benchMust(b, err)
	request.Model = "m"
	entry := r.entries[provider]
	call := model.Call{Target: model.Target{BaseURL: benchBase, Key: secret.FromString("sk-bench-platform"), HTTP: r.client, RequestID: "r"}, Request: request}
	b.ReportAllocs()
	for b.Loop() {
		if !stream {
			_, err := entry.NewChat().Complete(context.Background(), call)
			benchMust(b, err)
			continue
		}
		s, err := entry.NewChat().Stream(context.Background(), call)
		benchMust(b, err)
		for err = error(nil); err == nil; {
			_, err = s.Next()
		}
		if err != io.EOF {
			b.Fatal(err)
		}
		benchMust(b, s.Close())
	}
}

func benchCalls(b *testing.B, v benchVendor, stream bool) {
	b.Run("adapter", func(b *testing.B) {
		newBenchRig(b, v, taxonomy.OpenRouter, stream).adapter(b, taxonomy.OpenRouter, stream)
	})
	for _, who := range []struct {
		name     string
		provider taxonomy.Provider
	}{{"platform", taxonomy.OpenRouter}, {"own_key", taxonomy.OpenAICompatible}} {
		b.Run(who.name, func(b *testing.B) {
			r := newBenchRig(b, v, who.provider, stream)
			buf := make([]byte, 0, 32<<10)
			calls := 0
			b.ReportAllocs()
			for b.Loop() {
				calls++
				if stream {
					buf = r.stream(b, buf)
				} else {
					buf = r.plain(b, buf)
				}
			}
			if r.ledger.used != calls || len(buf) == 0 {
				b.Fatalf("%d calls, %d recorded, %d bytes", calls, r.ledger.used, len(buf))
			}
		})
	}
}

// BenchmarkPlain is a call that is answered whole.
func BenchmarkPlain(b *testing.B) { benchCalls(b, benchPlain(), false) }

// BenchmarkStream50 is a stream of 50 deltas.
func BenchmarkStream50(b *testing.B) { benchCalls(b, benchStream(), true) }
