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

// Health statuses. Only [Failed] keeps a connection from being used.
const (
	Unknown HealthStatus = "unknown" // never probed
	Healthy HealthStatus = "ok"
	Failed  HealthStatus = "failed"
)

// Health is what the last probe saw.
type Health struct {
	Status     HealthStatus
	Reason     string // fault code of a failed probe
	CheckedAt  time.Time
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
	CreatedAt             time.Time
	Version               int64
}

// Reason says why a connection may not be tried.
type Reason string

// Reasons, in the order they are checked.
const (
	IsUsable  Reason = ""
	IsRevoked Reason = "revoked"
	IsOff     Reason = "disabled"
	IsFailed  Reason = "unhealthy"
	IsCooling Reason = "cooldown"
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
	slices.SortFunc(out, func(a, b Connection) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return out
}
