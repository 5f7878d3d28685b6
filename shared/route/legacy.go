package route

import (
	"slices"
	"time"

	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// legacyOrder gives the connections of an organisation with an openrouter_v1
// record the order that the record says: a connection whose label is a profile's
// id takes over whether the profile is enabled, its priority and its cooldown.
// Other connections stay as they are; the caller's are not changed.
func legacyOrder(l *org.Legacy, conns []connection.Connection, now time.Time) []connection.Connection {
	if l == nil {
		return conns
	}
	out := slices.Clone(conns)
	for i := range out {
		c := &out[i]
		p, known := l.Best(c.Label, now)
		if c.Provider != taxonomy.OpenRouter || !known {
			continue
		}
		c.Priority, c.Enabled = p.Priority, c.Enabled && p.Enabled
		// A key that was saved or tried after the failure has a rest of its own. A
		// resting profile was never a last resort.
		fresh := !p.FailedAt.IsZero() && (c.CreatedAt.After(p.FailedAt) || c.Health.CheckedAt.After(p.FailedAt))
		if !fresh && p.CooldownUntil.After(c.Cooldown.Until) {
			c.Cooldown.Until, c.Cooldown.Refused = p.CooldownUntil, true
		}
	}
	return out
}
