package exchange_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channel/exchange"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
)

// bench is a vendor that numbers its tokens.
type bench struct {
	*exchange.Tokens
	entry  channel.Entry
	now    time.Time
	trades atomic.Int32
	life   time.Duration
	fail   *channel.Failure
	got    channel.Call
	masked []string
}

func newBench() *bench {
	b := &bench{now: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), life: time.Hour}
	b.entry.Exchange = &channel.Exchange{Trade: func(_ context.Context, c channel.Call, now time.Time) (channel.Traded, *channel.Failure) {
		b.got = c
		n := b.trades.Add(1)
		if b.fail != nil || !now.Equal(b.now) {
			return channel.Traded{}, b.fail
		}
		return channel.Traded{Token: secret.FromString("token" + strconv.Itoa(int(n))), Life: b.life}, nil
	}}
	b.Tokens = exchange.New(exchange.Options{HTTP: http.DefaultClient, Now: func() time.Time { return b.now },
		Base: func(channel.Entry) string { return "https://there" }, Mask: func(s []byte) { b.masked = append(b.masked, string(s)) }})
	return b
}

func of(id string, version int64) install.Install {
	return install.Install{ID: id, Version: version, Config: webhook.Config{"a": {id}}}
}

func (b *bench) want(t *testing.T, i install.Install, token string) {
	t.Helper()
	got, f := b.Token(t.Context(), b.entry, i, secret.FromString("key"))
	if f != nil || !got.Equal(secret.FromString(token)) {
		t.Errorf("another token than %s after %d trades: %+v", token, b.trades.Load(), f)
	}
}

func TestATokenBelongsToAVersion(t *testing.T) {
	b := newBench()
	b.want(t, of("a", 1), "token1")
	b.want(t, of("a", 1), "token1")
	if !b.got.Token.Equal(secret.FromString("key")) || b.got.BaseURL != "https://there" || b.got.HTTP != http.DefaultClient || b.got.Config.Get("a") != "a" {
		t.Errorf("%+v", b.got)
	}
	b.want(t, of("b", 1), "token2")
	b.want(t, of("a", 2), "token3")
	b.want(t, of("a", 2), "token3")
	b.Forget("a")
	b.want(t, of("a", 2), "token4")
	if fmt.Sprint(b.masked) != "[token1 token1 token2 token3 token3 token4]" {
		t.Errorf("masked: %v", b.masked)
	}
	b.entry.Exchange = nil
	b.want(t, of("a", 2), "key")
}

func TestATokenEnds(t *testing.T) {
	for _, life := range []time.Duration{time.Hour, 24 * time.Hour} {
		b := newBench()
		b.life = life
		b.want(t, of("a", 1), "token1")
		b.now = b.now.Add(59*time.Minute - time.Nanosecond)
		b.want(t, of("a", 1), "token1")
		b.now = b.now.Add(time.Nanosecond)
		b.want(t, of("a", 1), "token2")
		b.now = b.now.Add(-24 * time.Hour)
		b.want(t, of("a", 1), "token3")
	}
	b := newBench()
	b.life = time.Minute
	b.want(t, of("a", 1), "token1")
	b.want(t, of("a", 1), "token2")
}

// TestNoTokenIsNoMessage: whatever the trade came to, nothing was posted.
func TestNoTokenIsNoMessage(t *testing.T) {
	refused := channel.Failure{Certainty: channel.Refused, Code: "invalid_grant", TokenRejected: true}
	later := channel.Failure{Certainty: channel.RateLimited, Code: "ratelimited", RetryAfter: time.Second}
	for _, c := range []struct{ fail, want channel.Failure }{{refused, refused}, {later, later},
		{channel.Failure{Certainty: channel.Ambiguous, Code: "http_500"}, channel.Failure{Certainty: channel.NotSent, Code: "http_500"}}} {
		b := newBench()
		b.fail = &c.fail
		if got, f := b.Token(t.Context(), b.entry, of("a", 1), secret.FromString("key")); f == nil || *f != c.want || !got.IsZero() {
			t.Errorf("%+v: %+v", c.fail, f)
		}
		b.fail = nil
		b.want(t, of("a", 1), "token2")
	}
}

func TestOneTradeForManyAndBounded(t *testing.T) {
	b := newBench()
	var group sync.WaitGroup
	b.Tokens = exchange.New(exchange.Options{Now: func() time.Time { return b.now }, Base: func(channel.Entry) string { return "" }, Mask: func([]byte) {}})
	for range 8 {
		group.Go(func() { b.want(t, of("a", 1), "token1") })
	}
	group.Wait()
	for n := range 1000 {
		_, _ = b.Token(t.Context(), b.entry, of(strconv.Itoa(n), 1), secret.FromString("key"))
	}
	before := b.trades.Load()
	for n := range 1000 {
		_, _ = b.Token(t.Context(), b.entry, of(strconv.Itoa(n), 1), secret.FromString("key"))
	}
	if again := b.trades.Load() - before; again < 1000-256 {
		t.Errorf("%d of 1000 tokens were kept", 1000-again)
	}
}
