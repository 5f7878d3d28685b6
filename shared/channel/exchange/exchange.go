// Package exchange trades what an install sends with for the token that its vendor's
// API takes, where the two differ, and keeps the token in memory while it works.
//
// A token belongs to one version of one install: whatever changes the install or its
// secrets raises that version, and the next message trades anew. It is kept until a
// minute before its life is over, an hour at most, and no longer than the vendor
// takes it. At most 256 are kept; they are lost with the process, which costs one
// call. Messages of one install that need a token at once wait for the same trade.
// Every token that is handed out is masked in what the invocation writes.
//
// The secret is opened by the caller for each message as if it were the token, so
// that an install whose credential is gone sends nothing, whatever is kept here.
// Nothing is stored, and nothing is tried twice: the caller knows whether there is
// time. Safe for concurrent use.
package exchange

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/secret"
)

const (
	// early is how long before its end a token is used no more.
	early = time.Minute
	// longest bounds what a vendor may say of a token's life.
	longest = time.Hour
	maxKept = 256
	// tradeTime bounds one trade.
	tradeTime = 5 * time.Second
)

// Options are what [Tokens] need; all are required.
type Options struct {
	// HTTP reaches the hosts of the entries' exchanges.
	HTTP *http.Client
	// Base is where an entry's tokens are handed out.
	Base func(e channel.Entry) string
	Now  func() time.Time
	// Mask takes a value that must not appear in what is written.
	Mask func(b []byte)
}

// Tokens trades and keeps tokens.
type Tokens struct {
	o    Options
	mu   sync.Mutex
	kept map[string]*kept
}

// kept is the token of an install, if traded.
type kept struct {
	mu      sync.Mutex
	version int64
	token   secret.Text
	until   time.Time
}

// New returns Tokens without any.
func New(o Options) *Tokens { return &Tokens{o: o, kept: map[string]*kept{}} }

// Token returns what sends for an install, given its opened secret: that itself
// where the vendor takes it. A *channel.Failure means that there is no token and
// nothing was posted; it is never Ambiguous.
func (t *Tokens) Token(ctx context.Context, e channel.Entry, i install.Install, from secret.Text) (secret.Text, *channel.Failure) {
	if e.Exchange == nil {
		return from, nil
	}
	k := t.of(i)
	// Held while trading: the others want the same token.
	k.mu.Lock()
	defer k.mu.Unlock()
	asked := t.o.Now()
	if !k.works(i.Version, asked) {
		ctx, cancel := context.WithTimeout(ctx, tradeTime)
		defer cancel()
		got, f := e.Exchange.Trade(ctx, channel.Call{HTTP: t.o.HTTP, BaseURL: t.o.Base(e), Token: from, Config: i.Config}, asked)
		if f != nil {
			if f.Certainty == channel.Ambiguous { // of the trade, not of a message
				f = &channel.Failure{Certainty: channel.NotSent, Code: f.Code, RetryAfter: f.RetryAfter}
			}
			return secret.Text{}, f
		}
		k.version, k.token, k.until = i.Version, got.Token, asked.Add(min(got.Life, longest)-early)
	}
	_ = k.token.Use(func(b []byte) error { t.o.Mask(b); return nil })
	return k.token, nil
}

// works reports whether the token may still be used. A clock that went back leaves
// its age unknown.
func (k *kept) works(version int64, now time.Time) bool {
	return !k.token.IsZero() && k.version == version && now.Before(k.until) && k.until.Sub(now) <= longest
}

// Forget drops the token of an install, whose vendor did not take it.
func (t *Tokens) Forget(installID string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.kept, installID)
}

// of is the place of an install's token.
func (t *Tokens) of(i install.Install) *kept {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.kept[i.ID]
	if k == nil {
		for id := range t.kept {
			if len(t.kept) < maxKept {
				break
			}
			delete(t.kept, id)
		}
		k = &kept{}
		t.kept[i.ID] = k
	}
	return k
}
