package connection

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
)

// Probe is a question to a vendor about a connection.
type Probe string

// Probes.
const (
	TestAuth   Probe = "test_auth"   // is the key good; costs nothing
	ListModels Probe = "list_models" // how many models are there
	TestText   Probe = "test_text"   // the smallest chat completion
	TestVoice  Probe = "test_voice"  // how many voices are there, or one word spoken
)

// Verdict is what a probe says about the key.
type Verdict string

// Verdicts.
const (
	Accepted  Verdict = "accepted"  // the vendor took the key
	Refused   Verdict = "refused"   // it refused the key, or the key's quota is used up
	Listed    Verdict = "listed"    // it answered, but perhaps it would have answered anybody
	NoCheck   Verdict = "no_check"  // the endpoint has nothing to check a key with
	Undecided Verdict = "undecided" // it could not be asked, or failed for a reason that says nothing
)

// Seen is what one probe saw. It holds no word of the vendor.
type Seen struct {
	Probe      Probe
	Verdict    Verdict
	Reason     string // fault code, empty for Accepted and Listed
	HTTPStatus int    // of the vendor's last answer, 0 if there was none
	At         time.Time
	LatencyMS  int64
	ModelCount int64
	VoiceCount int64
}

// Status is the verdict in terms of health.
func (s Seen) Status() HealthStatus {
	switch s.Verdict {
	case Accepted, Listed:
		return Healthy
	case Refused:
		return Failed
	}
	return Unknown
}

// Health is what the probe saw, taken by itself.
func (s Seen) Health() Health {
	return Health{Status: s.Status(), Reason: s.Reason, Probe: s.Probe, HTTPStatus: s.HTTPStatus, CheckedAt: s.At, Since: s.At,
		LatencyMS: s.LatencyMS, ModelCount: s.ModelCount, VoiceCount: s.VoiceCount}
}

// After is the health after a probe. A key that was refused stays so until the
// vendor takes it; one that could never be asked about is used once the vendor
// took it, or turned out to have nothing to ask. Otherwise a probe that decides
// nothing leaves the connection usable: whether a vendor is up at this moment is
// the cooldown's business. Counts are kept until they are counted again.
func (h Health) After(s Seen) Health {
	next := s.Health()
	decided := s.Verdict == Accepted || s.Verdict == Refused
	switch {
	case decided:
	case h.Status == Failed:
		next.Status, next.Reason = h.Status, h.Reason
	case h.Status == Unverified && s.Verdict != NoCheck:
		next.Status = h.Status
		if next.Reason == "" {
			next.Reason = h.Reason
		}
	}
	if next.Status == h.Status && !h.Since.IsZero() {
		next.Since = h.Since
	}
	if next.ModelCount == 0 && s.Probe != ListModels {
		next.ModelCount = h.ModelCount
	}
	if next.VoiceCount == 0 && s.Probe != TestVoice {
		next.VoiceCount = h.VoiceCount
	}
	return next
}

// How long until the next probe, by health.
const (
	probeEvery      = 24 * time.Hour
	probeFailed     = 15 * time.Minute
	probeUnverified = 30 * time.Second // sweep runs every minute
	// patience is how long an unverified connection is probed that often; one
	// that is still not verified then is probed like a failed one.
	patience = time.Hour
)

// Name names a connection among those of all organisations.
type Name struct{ Org, ID string }

// NextProbe is when sweep probes the connection again; ok is false if never.
func (c Connection) NextProbe() (at time.Time, ok bool) {
	h := c.Health
	switch {
	case c.Status != Active || !c.Enabled:
		return time.Time{}, false
	case h.CheckedAt.IsZero():
		return c.CreatedAt, true
	case h.Status == Unverified && h.CheckedAt.Sub(h.Since) < patience:
		return h.CheckedAt.Add(probeUnverified), true
	case h.Status == Unverified, h.Status == Failed:
		return h.CheckedAt.Add(probeFailed), true
	}
	return h.CheckedAt.Add(probeEvery), true
}

// HealthStore is what a prober needs.
type HealthStore interface {
	// Connection reads one connection consistently; not_found if absent.
	Connection(ctx context.Context, org, id string) (Connection, error)
	// SetHealth writes the health with one conditional update if the stored
	// connection is active and still has seen's key, endpoint and time of the
	// last probe, else it fails with conflict. It touches nothing else and raises
	// the version, so that a change that was read before does not undo it.
	SetHealth(ctx context.Context, seen Connection, h Health) error
}

// Record stores what a probe of the connection saw, unless a newer probe was
// recorded meanwhile, or the connection has another key or endpoint by now or is
// gone.
func Record(ctx context.Context, store HealthStore, probed Connection, s Seen) error {
	s.At = s.At.UTC().Truncate(time.Millisecond)
	for c, try := probed, 1; ; try++ {
		if c.Status != Active || c.Fingerprint != probed.Fingerprint || c.BaseURL != probed.BaseURL || !c.Health.CheckedAt.Before(s.At) {
			return nil
		}
		err := store.SetHealth(ctx, c, c.Health.After(s))
		if fault.CodeOf(err) != fault.Conflict || try == maxTries {
			return err
		}
		if c, err = store.Connection(ctx, probed.Org, probed.ID); err != nil {
			if fault.CodeOf(err) == fault.NotFound {
				return nil
			}
			return err
		}
	}
}
