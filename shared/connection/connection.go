// Package connection is an organisation's own access to a model or voice
// vendor: which endpoint, which models, whose bill, and whether it is usable
// right now. The key itself is in the vault under the same id; a connection
// holds only its hint and fingerprint.
//
// [ForModel] puts the connections that can serve a model in the order they are
// tried; [Usable] says whether one may be tried at this moment and if not why. A
// connection that exists but is unusable is never replaced by the platform's
// key here: that is the gateway's decision, and by default it is no.
//
// A failing connection cools: see [Cooldown.After]. A new key ends the cooldown
// at once. [Service] carries the rules for changes; the key may only go to the
// origin it was saved for, so a new base URL needs the key again.
//
// A key is shown to its vendor before it is stored, with the cheapest call there
// is: what the vendor refuses is not stored at all, what could not be asked about
// is stored as [Unverified] and not used until a probe succeeds. Health is what
// probes saw, see [Health.After]; sweep repeats them ([Connection.NextProbe]).
//
// A rotation keeps the replaced key for its overlap: the gateway tries it once
// when the vendor refuses the new one, and [Service.Rollback] brings it back.
//
// Order of the two stores: a new key is sealed before the connection appears,
// and a connection stops being selected before its key is revoked. A crash in
// between leaves a key that nothing refers to, or a connection whose key is
// newer than its hint; neither widens what is used, and the next create or
// rotate puts it right.
package connection

import (
	"cmp"
	"slices"
	"time"

	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Status is whether a connection still has its key.
type Status string

// Statuses.
const (
	Active  Status = "active"
	Revoked Status = "revoked"
)

// HealthStatus is the result of the last probe.
type HealthStatus string

// Health statuses. [Failed] and [Unverified] keep a connection from being used.
const (
	Unknown HealthStatus = "unknown" // never probed, or the vendor has nothing to ask
	Healthy HealthStatus = "ok"
	Failed  HealthStatus = "failed" // the vendor refuses the key, or its quota is used up
	// Unverified is a key that was saved while its vendor could not be asked.
	Unverified HealthStatus = "unverified"
)

// Health is what the last probe saw.
type Health struct {
	Status HealthStatus
	Reason string // fault code, empty if all is well
	Probe  Probe  // which one
	// HTTPStatus is the vendor's last answer, 0 if there was none.
	HTTPStatus int
	CheckedAt  time.Time // when the probe began
	Since      time.Time // since when the status is this one
	LatencyMS  int64
	ModelCount int64
	VoiceCount int64
}

// Connection is one connection. Its vault credential has the same id.
type Connection struct {
	ID       string
	Org      string
	Provider taxonomy.Provider
	Label    string
	// BaseURL is empty for the vendor's own. Origin is scheme://host[:port] of
	// the one in use, the only place the key may be sent to.
	BaseURL       string
	Origin        string
	Models        []string // empty = any model of the provider
	Priority      int64    // lower is tried first
	Enabled       bool
	BillingSource taxonomy.BillingSource // byok or private
	// AllowPlatformFallback lets a request of this connection continue on the
	// platform's key, within the organisation's own bound.
	AllowPlatformFallback bool
	DefaultVoiceID        string
	Capabilities          []taxonomy.Capability
	Health                Health
	Cooldown              Cooldown
	Status                Status
	Class                 taxonomy.CredentialClass // of the vault credential
	Keyless               bool                     // there is no vault credential
	Hint                  string
	Fingerprint           string
	// PreviousUntil is how long the replaced key is kept; zero = there is none.
	PreviousUntil time.Time
	CreatedAt     time.Time
	Version       int64
}

// Reason says why a connection may not be tried.
type Reason string

// Reasons, in the order they are checked.
const (
	IsUsable     Reason = ""
	IsRevoked    Reason = "revoked"
	IsOff        Reason = "disabled"
	IsFailed     Reason = "unhealthy"
	IsUnverified Reason = "unverified"
	IsCooling    Reason = "cooldown"
)

// Usable returns why a connection may not be tried now, [IsUsable] if it may.
func Usable(c Connection, now time.Time) Reason {
	switch {
	case c.Status != Active:
		return IsRevoked
	case !c.Enabled:
		return IsOff
	case c.Health.Status == Failed:
		return IsFailed
	case c.Health.Status == Unverified:
		return IsUnverified
	case now.Before(c.Cooldown.Until):
		return IsCooling
	}
	return IsUsable
}

// Serves reports whether the connection's model list admits a model of its
// provider. Entries may be written with or without the provider in front.
func (c Connection) Serves(model string) bool {
	return len(c.Models) == 0 || slices.Contains(c.Models, model) || slices.Contains(c.Models, string(c.Provider)+"/"+model)
}

// ForModel returns the connections for a provider's model by priority, then
// creation, then id, usable or not: whether one exists decides between "not
// configured" and "configured but unusable". model empty means any.
func ForModel(conns []Connection, provider taxonomy.Provider, model string) []Connection {
	var out []Connection
	for _, c := range conns {
		if c.Provider == provider && (model == "" || c.Serves(model)) {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, order)
	return out
}

// InOrder returns all connections in the order of [ForModel].
func InOrder(conns []Connection) []Connection { return slices.SortedFunc(slices.Values(conns), order) }

func order(a, b Connection) int {
	return cmp.Or(cmp.Compare(a.Priority, b.Priority), a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
}
