package connection

import (
	"context"
	"net/http"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
)

// Cooldown is how long a connection rests and how often it failed in a row.
type Cooldown struct {
	Failures int64
	Until    time.Time // zero = not resting
	// Refused says that the rest is for 401, 402 or 403: another call cannot end
	// differently before somebody replaces the key or pays.
	Refused bool
}

const (
	rateLimitRest = 30 * time.Second
	firstRest     = 5 * time.Minute
	longestRest   = time.Hour
)

// After returns the cooldown after a vendor answered with status; 0 stands for
// no answer (timeout, broken connection). 429 rests for retryAfter, 30 s when
// absent. 401, 402 and 403 rest 5 min, doubling with each failure in a row up to
// 60 min. A first 5xx or missing answer rests not at all, repeated ones as
// above. Any other status changes nothing. A running cooldown is never
// shortened.
func (c Cooldown) After(status int, retryAfter time.Duration, now time.Time) Cooldown {
	var rest time.Duration
	refused := status == http.StatusUnauthorized || status == http.StatusPaymentRequired || status == http.StatusForbidden
	switch {
	case status == http.StatusTooManyRequests:
		rest = rateLimitRest
		if retryAfter > 0 {
			rest = min(retryAfter, longestRest)
		}
	case refused:
		rest = doubled(c.Failures)
		c.Failures++
	case status == 0, status >= 500 && status <= 599:
		if c.Failures > 0 {
			rest = doubled(c.Failures - 1)
		}
		c.Failures++
	default:
		return c
	}
	if until := now.Add(rest).UTC().Truncate(time.Millisecond); rest > 0 && until.After(c.Until) {
		c.Until, c.Refused = until, refused
	}
	c.Refused = c.Refused || refused
	return c
}

func doubled(times int64) time.Duration {
	rest := firstRest
	for range min(max(times, 0), 10) {
		rest = min(2*rest, longestRest)
	}
	return rest
}

// CooldownStore is what a caller of vendors needs: one read, one conditional
// update, and no audit row, because nobody decided anything.
type CooldownStore interface {
	// Connection reads one connection consistently; not_found if absent.
	Connection(ctx context.Context, org, id string) (Connection, error)
	// SetCooldown writes the cooldown if the stored version is seen, else it
	// fails with conflict. It raises the version.
	SetCooldown(ctx context.Context, org, id string, c Cooldown, seen int64) error
}

// maxTries bounds the repeats after a lost race.
const maxTries = 5

// Cool records a failed call. It reads the connection first, so that failures of
// parallel calls all count. A connection that is gone is no error.
func Cool(ctx context.Context, store CooldownStore, org, id string, status int, retryAfter time.Duration, now time.Time) error {
	return change(ctx, store, org, id, func(c Cooldown) Cooldown { return c.After(status, retryAfter, now) })
}

// Recover forgets the failures after a call that worked. It does nothing, and
// reads nothing, when c knows of none.
func Recover(ctx context.Context, store CooldownStore, c Connection) error {
	if c.Cooldown == (Cooldown{}) {
		return nil
	}
	return change(ctx, store, c.Org, c.ID, func(Cooldown) Cooldown { return Cooldown{} })
}

func change(ctx context.Context, store CooldownStore, org, id string, f func(Cooldown) Cooldown) error {
	for try := 1; ; try++ {
		c, err := store.Connection(ctx, org, id)
		if fault.CodeOf(err) == fault.NotFound {
			return nil
		}
		if err != nil {
			return err
		}
		next := f(c.Cooldown)
		if next.Failures == c.Cooldown.Failures && next.Refused == c.Cooldown.Refused && next.Until.Equal(c.Cooldown.Until) {
			return nil
		}
		err = store.SetCooldown(ctx, org, id, next, c.Version)
		if fault.CodeOf(err) != fault.Conflict || try == maxTries {
			return err
		}
	}
}
