// Package gateway is the one place where a metered call is put together.
//
// The flow of a request: [Gateway.Authenticate] reads, in one round of parallel
// reads, everything the request depends on and checks the virtual key; then
// [Gateway.Complete], [Gateway.Stream], [Gateway.Embed], [Gateway.Transcribe] or
// [Gateway.Synthesize] plan the candidates (package route) and, for each in turn
// until one answers: decide who pays (package billing), reserve credits (package
// credit), reveal the key for the one call (package vault), call, and record the
// usage. Settlement happens elsewhere, from the ledger's stream.
//
// Guarantees: the vendor is called only after the reservation of this attempt
// committed under our owner id; a candidate with another billing source gets its
// own decision and its own hold; nothing is retried or switched after the first
// byte of an answer; whatever was delivered is recorded, also when the client
// leaves, whose answer is read on for a while where the vendor bills it anyway; a
// stream is never handed on beyond what is held for it, and holding more does not
// delay it; a key is sent only to the origin it was saved for. With a warm data
// key and price book, two sequential rounds to AWS stand before the first byte:
// the reads and the reserve transaction.
//
// Not here: conversion of wire formats (packages dialect and providers), HTTP.
package gateway

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/agency"
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/commercial"
	"github.com/latchkey/latchkey/shared/config"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/limit"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/trace"
	"github.com/latchkey/latchkey/shared/vault"
)

// OrgConfig is what one query of an organisation's partition yields.
type OrgConfig struct {
	Org org.Org
	// Shards is how many balance shards its calls use.
	Shards int
	// Client is what it knows of its agency's offer.
	Client agency.Client
	// Counted is what counts against the organisation's limits.
	Counted limit.State
	// Terms are the organisation's own commercial terms, nil = its tier's.
	Terms           *commercial.Terms
	Settings        org.Settings
	SettingsVersion int64
	Connections     []connection.Connection
	Agents          []Agent
}

// Agent is what routing needs to know of an agent.
type Agent struct {
	ID       string
	Model    string
	Fallback []string
}

// CallConfig is what a call depends on outside of its organisation's partitions.
type CallConfig struct {
	// Key is nil if there is no such key, or none was asked for.
	Key   *org.Key
	Tiers org.Tiers
	// Terms are the operator's commercial terms of tiers.
	Terms  commercial.Tiers
	Prices billing.Index
	// FreeUsed is how many requests of the month the organisation's free allowance
	// took.
	FreeUsed int64
	// Platform are the platform's credentials that were asked for and exist.
	Platform []vault.Credential
}

// Store reads configuration. Each method is one call to AWS.
type Store interface {
	// OrgConfig fails with not_found.
	OrgConfig(ctx context.Context, org string) (OrgConfig, error)
	// CallConfig reads a key with what counts against its limits (none if keyID is
	// empty), the tiers, the price index, what the free allowance of the month of now
	// took, and credentials of the platform. It asks once more, of the credentials
	// alone, when one of them is new to the process.
	CallConfig(ctx context.Context, org, keyID string, now time.Time, platform []vault.Ref) (CallConfig, error)
	// Offer is what an agency offers its clients now, to explain; a request finds it
	// where it draws.
	Offer(ctx context.Context, agency string) (agency.Offer, error)
}

// Vault loads and opens credentials.
type Vault interface {
	LoadClass(ctx context.Context, org string, class taxonomy.CredentialClass) ([]vault.Credential, error)
	Reveal(ctx context.Context, cred vault.Credential, use vault.Use, f func(plain []byte) error) error
	// RevealPrevious opens the key that the live one replaced, while it is kept.
	RevealPrevious(ctx context.Context, cred vault.Credential, use vault.Use, f func(plain []byte) error) (ok bool, err error)
}

// Ledger takes holds and records usage.
type Ledger interface {
	Reserve(ctx context.Context, r credit.ReserveRequest) (credit.Hold, error)
	Extend(ctx context.Context, h credit.Hold, delta billing.Micro, now time.Time) (credit.Hold, error)
	Checkpoint(ctx context.Context, h credit.Hold, u billing.Usage, amount billing.Micro) error
	Used(ctx context.Context, h credit.Hold, o credit.Outcome) error
}

// Prices returns the price book that an index names for a time.
type Prices interface {
	At(ctx context.Context, index billing.Index, now time.Time) (*billing.Book, error)
}

// Options are the dependencies of a [Gateway]. All but OnUnrecorded,
// OnRotationSuspect and Later are required; Platform may be empty.
type Options struct {
	Store    Store
	Vault    Vault
	Ledger   Ledger
	Prices   Prices
	Replays  ReplayStore
	Limits   LimitStore
	Cooldown connection.CooldownStore
	// Offers is what vendors listed; nil = nothing is known of that.
	Offers    OfferStore
	Providers []providers.Entry
	// Client returns the HTTP client that may reach a provider.
	Client func(e *providers.Entry) *http.Client
	// Platform is the platform's own access, by provider.
	Platform map[taxonomy.Provider]config.PlatformCredential
	// Classes are the credential classes this function may open.
	Classes []taxonomy.CredentialClass
	// Timeout is the function's: a hold outlives it by a minute.
	Timeout time.Duration
	NewID   func(now time.Time) string
	Trace   trace.Tracer
	// OnUnrecorded is told of usage that could not be written; sweep ends the
	// attempt at its last checkpoint. nil = nobody is told.
	OnUnrecorded func(org, request string, attempt int, code fault.Code)
	// OnRotationSuspect is told when a vendor refused a connection's new key while
	// the old one is kept; code is what the call with the old one came to, empty
	// if it worked. nil = nobody is told.
	OnRotationSuspect func(org, request, connection string, code fault.Code)
	// Later runs f in a goroutine of its own after d, unless stop was called before,
	// which then returns true; nil = a timer.
	Later func(d time.Duration, f func()) (stop func() bool)
}

// Gateway makes metered calls. Safe for concurrent use.
type Gateway struct {
	o       Options
	entries map[taxonomy.Provider]*providers.Entry
	// platform are the platform's own keys that are in the vault.
	platform []vault.Ref
}

// New returns a Gateway. It fails if a dependency is missing.
func New(o Options) (*Gateway, error) {
	if o.Store == nil || o.Vault == nil || o.Ledger == nil || o.Prices == nil || o.Replays == nil || o.Limits == nil || o.Cooldown == nil || o.Client == nil ||
		o.NewID == nil || o.Trace == nil || o.Timeout <= 0 || len(o.Classes) == 0 || len(o.Providers) == 0 {
		return nil, errors.New("gateway: a dependency is missing")
	}
	if o.OnUnrecorded == nil {
		o.OnUnrecorded = func(string, string, int, fault.Code) {}
	}
	if o.OnRotationSuspect == nil {
		o.OnRotationSuspect = func(string, string, string, fault.Code) {}
	}
	if o.Later == nil {
		o.Later = func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
	}
	g := &Gateway{o: o, entries: make(map[taxonomy.Provider]*providers.Entry, len(o.Providers))}
	for i := range o.Providers {
		g.entries[o.Providers[i].ID] = &o.Providers[i]
	}
	for _, p := range o.Platform {
		owner, id, ok := strings.Cut(p.VaultRef, "/")
		if ref := (vault.Ref{Org: owner, ID: id, Class: taxonomy.AIKey}); ok && !slices.Contains(g.platform, ref) {
			g.platform = append(g.platform, ref)
		}
	}
	return g, nil
}

// capabilities is the view of the catalog that package route plans with.
func (g *Gateway) capabilities(p taxonomy.Provider) ([]taxonomy.Capability, bool) {
	e, ok := g.entries[p]
	if !ok {
		return nil, false
	}
	return e.Capabilities, true
}
