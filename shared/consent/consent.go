// Package consent lets an organisation install an app of the platform on the
// vendor's own page (OAuth 2.0, authorisation code with PKCE where the vendor has
// it).
//
// Flow: [Service.Begin] keeps a state and gives the address of a page of ours,
// which names the organisation and, at the press of a button, puts the state into
// a cookie and leads to the vendor. The vendor leads back with state and code;
// [Service.Serve] uses the state up, asks the function conform to trade the code
// (the caller may not open the app's secret), compares whom the token is for, and
// creates and activates the install by the rules of package install.
//
// Where the vendor has no such page, a conversation is claimed in itself
// ([Service.Claim]): the API gives addresses at which the vendor's client says the
// state there, in a request that the app's secrets verify. No browser is known then:
// whoever has the state may claim any conversation that they can write in, so the
// conversation is told whose it becomes before the first message of it is dispatched.
//
// Guarantees: a state is 256 random bits, of which a hash is stored; it counts
// once, for ten minutes, for the organisation, vendor and app that it was begun
// for, and in the browser that saw our page: whoever is sent the vendor's address
// alone, or a page of ours by another site, is refused. It is used up by a
// conditional write before the code is traded, whatever the vendor's page
// answered. The verifier of PKCE is stored nowhere: it is a keyed hash of the state.
// Pages are constant but for the organisation's name, and hold nothing of a request;
// every refusal of a state has the same bytes. A crash after the state was used up
// leaves no install, or one that verifies and dispatches nothing: begin again.
//
// Limits: rows about refused states are written at most [maxRows] a minute and
// process, those that nobody began at most [maxStrange]; all are logged by the caller. Tokens that must be renewed are refused.
package consent

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Lifetime is how long a state counts.
const Lifetime = 10 * time.Minute

// Remembered is how long a state that counts no more can be told from one that
// never was.
const Remembered = 24 * time.Hour

// State is one installation that was begun.
type State struct {
	// Hash is of the text that travels; the text itself is stored nowhere.
	Hash     string
	Org      string
	Provider taxonomy.Channel
	// App is the platform's app, Install the id that the install will have.
	App, Install string
	// By began it; the install's audit rows name it.
	By      string
	At      time.Time
	Expires time.Time
	Used    bool
}

// Store keeps states. Writes put their audit row in the same transaction. Errors
// beside the named ones: unavailable.
type Store interface {
	PutConsent(ctx context.Context, st State, row audit.Row) error
	// Consent fails with not_found.
	Consent(ctx context.Context, hash string) (State, error)
	// UseConsent marks a state as used; conflict if it is used already.
	UseConsent(ctx context.Context, st State, row audit.Row) error
}

// Installs makes installs; [install.Service] implements it.
type Installs interface {
	Get(ctx context.Context, orgID, id string) (install.Install, []install.Binding, error)
	List(ctx context.Context, orgID, after string, limit int) ([]install.Install, string, error)
	Create(ctx context.Context, op audit.Op, o org.Org, tiers org.Tiers, n install.New) (install.Install, error)
	Activate(ctx context.Context, op audit.Op, orgID, id string) (install.Install, error)
	Admitted(ctx context.Context, provider taxonomy.Channel, orgID string) error
}

// Tenants finds the live install of a tenant of an app of the platform; not_found.
type Tenants interface {
	InstallOf(ctx context.Context, provider, app, tenant string) (install.Install, []install.Binding, error)
}

// Orgs finds organisations.
type Orgs interface {
	Org(ctx context.Context, id string) (org.Org, error)
}

// Trader trades a code for a token; [Remote] implements it.
type Trader interface {
	// Trade fails with unavailable if it is not known what became of the code.
	Trade(ctx context.Context, t Trade, now time.Time) (channel.Granted, channel.ConsentFailure, error)
}

// Rows writes audit rows that belong to no change.
type Rows interface {
	PutAudit(ctx context.Context, row audit.Row) error
}

// Hasher makes the keyed hash that verifiers are made of; [vault.Vault]
// implements it.
type Hasher interface {
	TokenHash(ctx context.Context, provider string, text secret.Text) (string, error)
}

// Service is safe for concurrent use. Claims need Store, Installs, Tenants, Orgs, Rows,
// Catalog and NewID only, and nothing else needs Tenants.
type Service struct {
	Tenants  Tenants
	Store    Store
	Installs Installs
	Orgs     Orgs
	Trader   Trader
	Rows     Rows
	Hasher   Hasher
	Catalog  install.Catalog
	// Base is the API of a channel's vendor.
	Base func(taxonomy.Channel) string
	// PublicURL is where browsers reach us.
	PublicURL string
	Random    io.Reader
	NewID     func(now time.Time) string
	// Mask keeps a value out of logs from now on; nil masks nothing.
	Mask func(b []byte)

	mu     sync.Mutex
	minute time.Time
	rows   int
	// strange are those of states that nobody began.
	strange int
}

// Request is what an organisation wants to install. An empty App means the only
// one of the provider.
type Request struct{ Provider, App string }

// Begun is an installation that waits for somebody to open URL in a browser, or, where
// conversations are claimed in themselves, either address in the vendor's client: URL
// for a conversation with one person, RoomURL for a room.
type Begun struct {
	URL      string
	RoomURL  string
	Provider taxonomy.Channel
	App      string
	// Install is the id that the install will have.
	Install string
	Expires time.Time
}

func invalid(param, message string) error {
	return fault.New(fault.InvalidRequest, "consent.Begin", message).WithParam(param)
}

// Begin keeps a new state for the organisation. Errors: invalid_request,
// unavailable.
func (s *Service) Begin(ctx context.Context, op audit.Op, orgID string, r Request) (Begun, error) {
	entry, ok := s.Catalog.Find(taxonomy.Channel(r.Provider))
	if !ok || entry.Shared == nil || entry.Shared.Consent == nil && entry.Shared.Claim == nil {
		return Begun{}, invalid("provider", "this provider has no authorisation page here; ask the operator to add the install, or bring an app of your own")
	}
	app, err := s.choose(ctx, entry, r.App)
	if err != nil {
		return Begun{}, err
	}
	if err := s.Installs.Admitted(ctx, entry.ID, orgID); err != nil {
		return Begun{}, err
	}
	raw := make([]byte, sha256.Size)
	if _, err := io.ReadFull(s.Random, raw); err != nil {
		return Begun{}, fault.Wrap(fault.Internal, "consent.Begin", "internal error, try again later", err)
	}
	text := base64.RawURLEncoding.EncodeToString(raw)
	s.mask(text)
	st := State{Hash: HashOf(text), Org: orgID, Provider: entry.ID, App: app.ID, Install: s.NewID(op.At), By: op.Actor,
		At: op.At.UTC().Truncate(time.Millisecond)}
	st.Expires = st.At.Add(Lifetime)
	if err := s.Store.PutConsent(ctx, st, op.Row(orgID, "oauth.begin", st.Install, "provider", string(entry.ID), "expires_at", st.Expires.Format(time.RFC3339))); err != nil {
		return Begun{}, err
	}
	b := Begun{Provider: entry.ID, App: app.ID, Install: st.Install, Expires: st.Expires}
	if entry.Shared.Claim != nil {
		b.URL, b.RoomURL = entry.Shared.Claim.Links(app.Config, text)
		return b, nil
	}
	b.URL = s.address(entry.ID, "begin") + "?" + url.Values{ticket: {text}}.Encode()
	return b, nil
}

// page finds a channel whose vendor has an authorisation page.
func (s *Service) page(id taxonomy.Channel) (channel.Entry, bool) {
	entry, ok := s.Catalog.Find(id)
	return entry, ok && entry.Shared != nil && entry.Shared.Consent != nil
}

func (s *Service) address(provider taxonomy.Channel, step string) string {
	return strings.TrimSuffix(s.PublicURL, "/") + "/oauth/" + string(provider) + "/" + step
}

// ready reports whether an install is an app of the platform that can be
// authorised.
func ready(i install.Install, entry channel.Entry) bool {
	if i.Mode != install.App || i.Org != org.Operator || i.Provider != entry.ID || i.State != install.Active || entry.Shared == nil {
		return false
	}
	if page := entry.Shared.Consent; page != nil {
		return slices.Contains(i.SecretsSet(), page.Secret.Name) && page.Ready(i.Config)
	}
	return entry.Shared.Claim != nil && entry.Shared.Claim.Ready(i.Config)
}

// mostApps bounds how many of the operator's apps are looked at to find the one.
const mostApps = 100

func (s *Service) choose(ctx context.Context, entry channel.Entry, id string) (install.Install, error) {
	if id != "" {
		app, _, err := s.Installs.Get(ctx, org.Operator, id)
		if err != nil && fault.CodeOf(err) != fault.NotFound {
			return install.Install{}, err
		}
		if err != nil || !ready(app, entry) {
			return install.Install{}, invalid("app", "there is no such app of the platform that can be authorised; leave app out, or ask the operator")
		}
		return app, nil
	}
	apps, next, err := s.Installs.List(ctx, org.Operator, "", mostApps)
	if err != nil {
		return install.Install{}, err
	}
	apps = slices.DeleteFunc(apps, func(i install.Install) bool { return !ready(i, entry) })
	switch {
	case len(apps) > 1 || next != "":
		return install.Install{}, invalid("app", "the platform has more than one app of this provider; name one, the operator knows which")
	case len(apps) == 0:
		return install.Install{}, invalid("provider", "the platform has no app of this provider that can be authorised; ask the operator to add one with all that its authorisation needs, and to activate it, or bring an app of your own")
	}
	return apps[0], nil
}

// verifier is a keyed hash of the state's text (RFC 7636 section 4.1: 43 to 128
// characters), challenge its S256.
func (s *Service) verifier(ctx context.Context, text string) (verifier secret.Text, challenge string, err error) {
	mac, err := s.Hasher.TokenHash(ctx, "consent", secret.FromString(text))
	if err != nil {
		return secret.Text{}, "", err
	}
	sum := sha256.Sum256([]byte("verifier/1 " + mac))
	v := base64.RawURLEncoding.EncodeToString(sum[:])
	s.mask(v)
	sum = sha256.Sum256([]byte(v))
	return secret.FromString(v), base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

func (s *Service) mask(text string) {
	if s.Mask != nil {
		s.Mask([]byte(text))
	}
}

// HashOf is under what a state is kept.
func HashOf(text string) string {
	sum := sha256.Sum256([]byte("state/1 " + text))
	return hex.EncodeToString(sum[:])
}
