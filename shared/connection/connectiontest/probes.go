package connectiontest

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
)

// SetHealth implements [connection.HealthStore].
func (m *Memory) SetHealth(_ context.Context, seen connection.Connection, h connection.Health) error {
	if err := m.before("health"); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	stored, ok := m.conns[seen.Org+"/"+seen.ID]
	if !ok || stored.Status != connection.Active || stored.Enabled != seen.Enabled || stored.Fingerprint != seen.Fingerprint ||
		stored.BaseURL != seen.BaseURL || !stored.Health.CheckedAt.Equal(seen.Health.CheckedAt) {
		return lost()
	}
	stored.Health = h
	stored.Version++
	m.conns[seen.Org+"/"+seen.ID] = stored
	return nil
}

// DueProbes lists what package probe's queue does.
func (m *Memory) DueProbes(_ context.Context, now time.Time, limit int) ([]connection.Name, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var due []connection.Connection
	for _, c := range m.conns {
		if at, ok := c.NextProbe(); ok && !at.After(now) {
			due = append(due, c)
		}
	}
	slices.SortFunc(due, func(a, b connection.Connection) int {
		at, _ := a.NextProbe()
		bt, _ := b.NextProbe()
		return cmp.Or(at.Compare(bt), cmp.Compare(a.ID, b.ID))
	})
	var out []connection.Name
	for _, c := range due[:min(limit, len(due))] {
		out = append(out, connection.Name{Org: c.Org, ID: c.ID})
	}
	return out, nil
}

// Take implements [connection.Limiter].
func (m *Memory) Take(_ context.Context, org string, now time.Time, limits ...connection.Limit) error {
	if err := m.before("take"); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.counts == nil {
		m.counts = map[string]int64{}
	}
	for _, l := range limits {
		start := now.UTC().Truncate(l.Window)
		key := org + "/" + l.Name + "/" + strconv.FormatInt(start.Unix(), 10)
		if m.counts[key] >= l.Max {
			f := fault.New(fault.RateLimited, "connectiontest", "too many")
			f.RetryAfter = start.Add(l.Window).Sub(now)
			return f
		}
		m.counts[key]++
	}
	return nil
}

// Vendor is a scripted [connection.KeyChecker] and [connection.Prober]. The zero
// Vendor accepts every key.
type Vendor struct {
	// Says is what it answers, nil = accepted.
	Says func(c connection.Connection, key string) connection.Seen
	Now  func() time.Time
	// Asked are the keys it was shown, Probed the probes it was asked for.
	Asked  []string
	Probed []connection.Probe
}

// CheckKey implements [connection.KeyChecker].
func (v *Vendor) CheckKey(_ context.Context, c connection.Connection, key secret.Text) connection.Seen {
	text := ""
	_ = key.Use(func(b []byte) error { text = string(b); return nil })
	v.Asked = append(v.Asked, text)
	seen := connection.Seen{Verdict: connection.Accepted}
	if v.Says != nil {
		seen = v.Says(c, text)
	}
	seen.Probe = connection.TestAuth
	if v.Now != nil {
		seen.At = v.Now()
	}
	return seen
}

// Probe implements [connection.Prober].
func (v *Vendor) Probe(_ context.Context, _, _ string, p connection.Probe, _ string, now time.Time) (connection.Seen, error) {
	v.Probed = append(v.Probed, p)
	return connection.Seen{Probe: p, Verdict: connection.Accepted, At: now, HTTPStatus: 200, LatencyMS: 7, ModelCount: 2}, nil
}
