package consent

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/topology"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Trade is a code to be traded with the secret of an app of the platform.
type Trade struct {
	Provider taxonomy.Channel
	App      string
	Config   webhook.Config
	Grant    channel.Grant
}

// maxEvent bounds an event and an answer, in bytes.
const maxEvent = 64 << 10

// tradeTime is how long the vendor may take: the browser waits, and API Gateway
// with it for 30 s.
const tradeTime = 15 * time.Second

// Event is what the function conform takes; it is told from others by its one
// member.
type Event struct {
	Consent *asked `json:"consent"`
}

type asked struct {
	Provider taxonomy.Channel `json:"provider"`
	App      string           `json:"app"`
	Config   webhook.Config   `json:"config"`
	Code     string           `json:"code"`
	Verifier string           `json:"verifier"`
	Redirect string           `json:"redirect_uri"`
	At       time.Time        `json:"at"`
}

// Answer is what conform answers: a token, or why there is none.
type Answer struct {
	Granted channel.Granted
	Failure channel.ConsentFailure
}

// answered is an [Answer] as it is read.
type answered struct {
	Token   secret.Text            `json:"token"`
	Config  webhook.Config         `json:"config"`
	Scopes  []string               `json:"scopes"`
	Failure channel.ConsentFailure `json:"failure"`
}

// MarshalJSON writes the token, too: the invocation's answer is the one way to
// whoever may store it.
func (a Answer) MarshalJSON() ([]byte, error) {
	if a.Failure != "" {
		return json.Marshal(map[string]any{"failure": a.Failure})
	}
	var out []byte
	err := a.Granted.Token.Use(func(b []byte) (err error) {
		out, err = json.Marshal(map[string]any{"token": string(b), "config": a.Granted.Config, "scopes": a.Granted.Scopes})
		return err
	})
	return out, err
}

// Mine reports whether an event of conform is one of this package.
func Mine(raw []byte) bool {
	var e struct {
		Consent json.RawMessage `json:"consent"`
	}
	return len(raw) <= maxEvent && json.Unmarshal(raw, &e) == nil && e.Consent != nil
}

// ParseEvent decodes an event. It fails with invalid_request and never repeats
// what it was given.
func ParseEvent(raw []byte) (t Trade, at time.Time, err error) {
	var e Event
	if len(raw) > maxEvent || !strict(raw, &e) || e.Consent == nil {
		return Trade{}, at, fault.New(fault.InvalidRequest, "consent.ParseEvent", "this is not an event of conform")
	}
	a := e.Consent
	if !table.ValidID(a.App) || a.Code == "" || len(a.Code) > maxCode || a.Verifier == "" || a.Redirect == "" || a.At.Unix() <= 0 {
		return Trade{}, at, fault.New(fault.InvalidRequest, "consent.ParseEvent", "the event must name an app, a code with what it was asked for, and a time")
	}
	return Trade{Provider: a.Provider, App: a.App, Config: a.Config, Grant: channel.Grant{Code: secret.FromString(a.Code),
		Verifier: secret.FromString(a.Verifier), RedirectURI: a.Redirect}}, a.At, nil
}

func strict(raw []byte, into any) bool {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if d.Decode(into) != nil {
		return false
	}
	_, err := d.Token()
	return err == io.EOF
}

// Invoker calls a function of the topology and waits for its answer.
type Invoker interface {
	Invoke(ctx context.Context, function string, payload []byte) ([]byte, error)
}

// Remote implements [Trader] by asking the function conform, which may open the
// secrets of apps.
type Remote struct {
	Invoker Invoker
	// Mask keeps a value out of logs from now on.
	Mask func(b []byte)
}

// Trade implements [Trader].
func (r Remote) Trade(ctx context.Context, t Trade, now time.Time) (channel.Granted, channel.ConsentFailure, error) {
	const op = "consent.Remote"
	a := &asked{Provider: t.Provider, App: t.App, Config: t.Config, Redirect: t.Grant.RedirectURI, At: now}
	_ = t.Grant.Code.Use(func(b []byte) error { a.Code = string(b); return nil })
	_ = t.Grant.Verifier.Use(func(b []byte) error { a.Verifier = string(b); return nil })
	payload, err := json.Marshal(Event{a})
	if err != nil {
		return channel.Granted{}, "", fault.Wrap(fault.Internal, op, "internal error, try again later", err)
	}
	raw, err := r.Invoker.Invoke(ctx, topology.Conform, payload)
	if err != nil {
		return channel.Granted{}, "", err
	}
	var out answered
	// A tenant or a failure; whoever stores it knows whether there must be a token.
	if len(raw) > maxEvent || !strict(raw, &out) || (len(out.Config) > 0) == (out.Failure != "") || out.Failure != "" && !out.Token.IsZero() {
		return channel.Granted{}, "", fault.New(fault.Unavailable, op, "the code was not traded, begin again")
	}
	_ = out.Token.Use(func(b []byte) error { r.Mask(b); return nil })
	return channel.Granted{Token: out.Token, Config: out.Config, Scopes: out.Scopes}, out.Failure, nil
}

// OpenVault opens the secrets of apps; [vault.Vault] implements it.
type OpenVault interface {
	Load(ctx context.Context, org string, class taxonomy.CredentialClass, id string) (vault.Credential, error)
	Reveal(ctx context.Context, cred vault.Credential, use vault.Use, f func(plain []byte) error) error
}

// Counter trades codes where secrets may be opened. Safe for concurrent use.
type Counter struct {
	Vault   OpenVault
	Catalog install.Catalog
	HTTP    *http.Client
	Base    func(taxonomy.Channel) string
	// Mask keeps a value out of logs from now on.
	Mask func(b []byte)
}

// Trade asks the vendor, once. What cannot be opened is the caller's error; what
// the vendor says is the answer's failure.
func (c *Counter) Trade(ctx context.Context, t Trade) (Answer, error) {
	entry, ok := c.Catalog.Find(t.Provider)
	if !ok || entry.Shared == nil || entry.Shared.Consent == nil {
		return Answer{Failure: channel.NotSetUp}, nil
	}
	page := entry.Shared.Consent
	cred, err := c.Vault.Load(ctx, org.Operator, taxonomy.ChannelApp, t.App)
	// The secret of one vendor's app is not for another vendor.
	if fault.CodeOf(err) == fault.NotFound || err == nil && cred.Head.Ref.Provider != string(t.Provider) {
		return Answer{Failure: channel.NotSetUp}, nil
	}
	if err != nil {
		return Answer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, tradeTime)
	defer cancel()
	_ = t.Grant.Code.Use(func(b []byte) error { c.Mask(b); return nil })
	_ = t.Grant.Verifier.Use(func(b []byte) error { c.Mask(b); return nil })
	out := Answer{Failure: channel.NotSetUp}
	err = c.Vault.Reveal(ctx, cred, vault.Use{Field: page.Secret.Name, Purpose: "consent"}, func(plain []byte) error {
		got, failure := page.Exchange(ctx, channel.Call{HTTP: c.HTTP, BaseURL: c.Base(t.Provider), Token: secret.New(plain), Config: t.Config}, t.Grant)
		out = Answer{got, failure}
		return got.Token.Use(func(b []byte) error { c.Mask(b); return nil })
	})
	if fault.CodeOf(err) == fault.NotFound {
		return Answer{Failure: channel.NotSetUp}, nil
	}
	return out, err
}
