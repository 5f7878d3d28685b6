package connection

import (
	"bytes"
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// KeyChecker shows a key that is not stored yet to the vendor of c, at c's base
// URL, with the cheapest call the vendor has and within 5 s.
type KeyChecker interface {
	CheckKey(ctx context.Context, c Connection, key secret.Text) Seen
}

// Prober probes a stored connection where its key may be opened, and records
// what it saw. It fails with invalid_request (for example when the vendor does
// not have the probe), not_found, conflict, vault_unavailable or unavailable; a
// vendor that refuses or fails is no error but what was seen.
type Prober interface {
	Probe(ctx context.Context, org, id string, p Probe, model string, now time.Time) (Seen, error)
}

// Limit is how often something may happen in a window of time that begins at a
// multiple of its length, UTC.
type Limit struct {
	Name   string // letters, digits, - and _
	Window time.Duration
	Max    int64
}

// Limiter counts. Counts of simultaneous calls are never lost.
type Limiter interface {
	// Take counts one use under each limit in turn. At the first that is used up
	// it fails with rate_limited and the time until its window ends; what was
	// counted before stays counted. It fails with unavailable when it cannot
	// count, which also means no.
	Take(ctx context.Context, org string, now time.Time, limits ...Limit) error
}

// validations limit what shows a key to its vendor before it is stored. Without
// them the form that saves keys would tell everybody which stolen keys work.
func validations() []Limit {
	return []Limit{{"validate-minute", time.Minute, 5}, {"validate-hour", time.Hour, 20}}
}

// tests limit the probes that people ask for.
func tests(id string) []Limit {
	return []Limit{{"probe-" + id, time.Minute, 10}, {"probe-minute", time.Minute, 60}, {"probe-hour", time.Hour, 300}}
}

// validate shows a key to its vendor before it is stored. A refused one is
// invalid_request, too many are rate_limited; every other answer is the health
// that the connection starts with.
func (s *Service) validate(ctx context.Context, op audit.Op, c Connection, key secret.Text) (Health, error) {
	if s.vendorsOwn(c.Origin) {
		if err := s.Limits.Take(ctx, c.Org, op.At, validations()...); err != nil {
			return Health{}, err
		}
	}
	seen := s.Keys.CheckKey(ctx, c, key)
	if seen.Verdict == Refused && seen.Reason == string(fault.ProviderKeyInvalid) {
		f := fault.New(fault.InvalidRequest, "connection.validate",
			"the provider refused this key; check that it is complete, active and of this provider, then send it again").WithParam("api_key")
		f.Provider = string(c.Provider)
		return Health{}, f
	}
	return Health{Status: Unverified, Since: seen.At}.After(seen), nil
}

// vendorsOwn reports whether an origin is a host of any vendor. It is asked of
// every connection: an endpoint that the organisation names may be a vendor's.
func (s *Service) vendorsOwn(origin string) bool {
	u, err := url.Parse(origin)
	if err != nil {
		return true
	}
	for _, p := range s.Providers {
		if slices.Contains(p.Hosts, strings.ToLower(u.Hostname())) {
			return true
		}
	}
	return false
}

// Warnings says what whoever just saved a key should know, in sentences.
func (s *Service) Warnings(c Connection, key secret.Text) []string {
	var out []string
	if p, err := s.provider(string(c.Provider)); err == nil && !key.IsZero() && p.Prefix != "" {
		usual := false
		_ = key.Use(func(b []byte) error { usual = bytes.HasPrefix(b, []byte(p.Prefix)); return nil })
		if !usual {
			out = append(out, "keys of this provider usually start with "+p.Prefix+"; check that this is the right one")
		}
	}
	switch c.Health.Status {
	case Unverified:
		out = append(out, "the provider could not be asked about this key ("+c.Health.Reason+
			"): it is stored, but not used until a check succeeds, which is repeated by itself")
	case Failed:
		out = append(out, "the provider takes this key but its quota is used up: it is stored, but not used until a check succeeds")
	}
	return out
}

// Test runs one probe of a connection. It fails with invalid_request when the
// vendor does not have the probe, conflict for a revoked connection,
// rate_limited, and as [Prober].
func (s *Service) Test(ctx context.Context, orgID, id string, probe Probe, model string, now time.Time) (Seen, error) {
	c, err := s.Store.Connection(ctx, orgID, id)
	if err != nil {
		return Seen{}, err
	}
	if c.Status != Active {
		return Seen{}, fault.New(fault.Conflict, "connection.Test", "this connection is revoked; create a new one")
	}
	p, err := s.provider(string(c.Provider))
	if err != nil {
		return Seen{}, err
	}
	if !slices.Contains(p.Probes, probe) {
		return Seen{}, NoSuchProbe(p.Probes)
	}
	if model != "" {
		if err := c.CheckModel(model); err != nil {
			return Seen{}, err
		}
	}
	if err := s.Limits.Take(ctx, orgID, now, tests(id)...); err != nil {
		return Seen{}, err
	}
	return s.Prober.Probe(ctx, orgID, id, probe, model, now)
}

// NoSuchProbe is the refusal of a probe that is not among those a vendor has.
func NoSuchProbe(has []Probe) error {
	names := make([]string, len(has))
	for i, p := range has {
		names[i] = string(p)
	}
	return invalid("probe", "this provider does not have that probe; it has "+strings.Join(names, ", "))
}

// CheckModel refuses a model that the connection cannot be asked for.
func (c Connection) CheckModel(model string) error {
	if len(model) > maxModelChars || !printable(model) {
		return invalid("model", "a model is 1 to 200 printable characters without spaces")
	}
	if !c.Serves(c.Unprefixed(model)) {
		return invalid("model", "this connection does not serve that model; its models list says which it does")
	}
	return nil
}

// Unprefixed is the vendor's own id of a model that may be written with our name
// of the provider in front.
func (c Connection) Unprefixed(model string) string {
	if p, name, ok := taxonomy.SplitModel(model); ok && p == c.Provider {
		return name
	}
	return model
}
