// Package install is the record of the channel apps that are known to us and of
// the bindings from their traffic to agents.
//
// An [Install] belongs to one organisation and one vendor app; its org is the
// only source of the organisation for everything that happens to its messages.
// An app of the platform is a record of the operator's (mode app) and one install
// of mode platform for each tenant, which is made only by whoever has the vendor's
// word that the tenant is the organisation's.
// Its secrets are in the vault under the install's id, as two credentials: what
// verifies and what sends. One live install may hold a given app and tenant, and
// one may hold a given sending token; a conflict never names the other side.
//
// States: draft (a required secret or setting is missing) → verifying (answers
// handshakes and verifies, dispatches nothing) → active ⇄ suspended; revoked is
// final and frees tenant and token. Only [Service] changes them. Whatever becomes
// active needs its channel's rollout stage ([Stages]); what is active already is not
// asked again.
//
// [Match] picks the binding of a message and is pure. Unbound traffic has no
// default agent: it is dropped and recorded.
//
// Order of the two stores: secrets are sealed before an install appears and are
// revoked after it is; a crash in between leaves a credential that no install
// names, or one that a second revoke removes.
package install

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/webhook"
)

// State is where an install is in its life.
type State string

// States.
const (
	Draft     State = "draft"
	Verifying State = "verifying"
	Active    State = "active"
	Suspended State = "suspended"
	Revoked   State = "revoked"
)

// Verifies reports whether webhooks of an install in this state are verified;
// all others answer like an unknown install.
func (s State) Verifies() bool { return s == Verifying || s == Active }

// Mode says who owns the vendor app.
type Mode string

// Modes. They are chosen at creation, never converted, and never fall back to each
// other.
const (
	// BYOA: the organisation owns the app.
	BYOA Mode = "byoa"
	// Platform: the platform's app serves the organisation. The install holds what
	// sends, unless that is the app's, too; requests arrive at the app's path and are
	// verified with its secrets.
	Platform Mode = "platform"
	// App is the record of an app of the platform itself. It belongs to the operator
	// and holds what verifies, and what sends where that is one secret for all its
	// tenants; it has no bindings, and only its installs of mode platform send.
	App Mode = "app"
)

// AppPrefix begins the ids of records of mode [App], and no others.
const AppPrefix = "app_"

// Secret describes one stored value of a secret. It holds no part of it.
type Secret struct {
	Name string
	// Fingerprint is a keyed hash, for people to compare; of a public key that is
	// being replaced, the key.
	Fingerprint string
	Hint        string
	// RetireAt is zero for the live value.
	RetireAt time.Time
}

// Why something was not saved, as the cause of a conflict.
var (
	ErrTokenInUse  = errors.New("install: another live install has this token")
	ErrTenantInUse = errors.New("install: another live install has this app and tenant")
	ErrAmbiguous   = errors.New("install: another binding has this selector")
	// ErrVersionKept is a fault of the caller: what is remembered of the install would
	// go on counting.
	ErrVersionKept = errors.New("install: the change does not raise the version")
)

// Claim is something that one live install may hold at a time.
type Claim struct {
	// Field is the setting or secret that a conflict is reported for.
	Field string
	// Token is the keyed hash of a sending token; empty for a tenant claim.
	Token string
	// App and Tenant are the vendor's ids; empty for a token claim.
	App, Tenant string
}

// Install is one channel app of an organisation.
type Install struct {
	ID       string
	Org      string
	Provider taxonomy.Channel
	Mode     Mode
	// App is the record of the app that an install of mode platform belongs to.
	App   string
	Label string
	State State
	// Before is the state that a suspended install resumes to.
	Before    State
	Config    webhook.Config
	PublicURL string
	Policy    Policy
	// Secrets are sorted by name, live first.
	Secrets []Secret
	Claims  []Claim
	// Rejections counts sends in a row for which the vendor rejected the token.
	Rejections int64
	CreatedAt  time.Time
	UpdatedAt  time.Time
	// Version is raised by every change, those of its bindings too.
	Version int64
}

// has reports whether a live value of the secret is stored.
func (i Install) has(name string) bool {
	for _, s := range i.Secrets {
		if s.Name == name && s.RetireAt.IsZero() {
			return true
		}
	}
	return false
}

// SecretsSet names the secrets with a live value.
func (i Install) SecretsSet() []string {
	var out []string
	for _, s := range i.Secrets {
		if s.RetireAt.IsZero() {
			out = append(out, s.Name)
		}
	}
	return out
}

// Ref names the install's credential of a class.
func (i Install) Ref(class taxonomy.CredentialClass) vault.Ref {
	return vault.Ref{Org: i.Org, ID: i.ID, Provider: string(i.Provider), Class: class}
}

// Store keeps installs and bindings. Each write puts its audit row in the same
// transaction. Reads are consistent.
type Store interface {
	// Install reads an install with its bindings, in one call; not_found.
	Install(ctx context.Context, id string) (Install, []Binding, error)
	// InstallOf reads the live install that holds a tenant of a platform app, with
	// its bindings; not_found.
	InstallOf(ctx context.Context, provider, app, tenant string) (Install, []Binding, error)
	// Installs lists an organisation's installs by id.
	Installs(ctx context.Context, org, after string, limit int) (page []Install, next string, err error)
	// CreateInstall fails with conflict and the claim's field as param if a
	// claim is held.
	CreateInstall(ctx context.Context, i Install, row audit.Row) error
	// UpdateInstall replaces old by next if old's version is still stored, else
	// conflict; claims that only next has are taken, those only old has freed.
	UpdateInstall(ctx context.Context, old, next Install, row audit.Row) error
}

// BindingStore keeps bindings.
type BindingStore interface {
	// CreateBinding fails with conflict if the id, which is made from the
	// selector, exists.
	CreateBinding(ctx context.Context, b Binding, row audit.Row) error
	// UpdateBinding replaces agent and persona; not_found if absent.
	UpdateBinding(ctx context.Context, b Binding, row audit.Row) error
	// DeleteBinding fails with not_found if absent.
	DeleteBinding(ctx context.Context, b Binding, row audit.Row) error
}

// Vault keeps the secrets; [vault.Vault] implements it.
type Vault interface {
	Create(ctx context.Context, c vault.NewCredential) (vault.Head, error)
	Rotate(ctx context.Context, r vault.Rotation) (vault.Head, error)
	FinishRotation(ctx context.Context, ref vault.Ref, field string, by audit.Op) (vault.Head, error)
	Revoke(ctx context.Context, ref vault.Ref, by audit.Op) (vault.Head, error)
}

// VaultIndex says what is stored without opening it; [vault.Vault] implements
// it.
type VaultIndex interface {
	Head(ctx context.Context, org string, class taxonomy.CredentialClass, id string) (vault.Head, error)
	// TokenHash is a keyed hash that ignores the organisation.
	TokenHash(ctx context.Context, provider string, text secret.Text) (string, error)
}

// Stages says for which organisations a channel is rolled out; package rollout
// implements it.
type Stages interface {
	// Admit fails with conflict if subject, a channel, is not for the organisation.
	Admit(ctx context.Context, subject, org string) error
}

// Catalog finds the description of a channel.
type Catalog interface {
	Find(id taxonomy.Channel) (channel.Entry, bool)
}

// CallbackURL is where the vendor must send the install's events.
func CallbackURL(publicURL string, i Install) string {
	id := i.ID
	if i.Mode == Platform {
		id = i.App
	}
	return strings.TrimSuffix(publicURL, "/") + "/webhooks/" + string(i.Provider) + "/" + id
}

// Declared is the part of a channel's declaration that an install of its mode and
// vendor holds.
func Declared(i Install, e channel.Entry) channel.Entry {
	e = e.For(i.Config)
	switch i.Mode {
	case Platform:
		return e.OfTenant(i.App)
	case App:
		return e.OfApp()
	}
	return e
}
