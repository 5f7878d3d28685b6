package boot

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/latchkey/latchkey/shared/boot/lambdahttp"
)

// Clock is the time of a function: the platform's, as events state it, carried
// forward by the process. The local stack can shift the platform's time, and
// with it everything that reads this clock. Safe for concurrent use.
type Clock struct{ offset atomic.Int64 }

// Now returns the time in UTC.
func (c *Clock) Now() time.Time {
	return time.Now().UTC().Add(time.Duration(c.offset.Load()))
}

// Exact sets the clock to the time of an event that is being delivered now, as
// HTTP and scheduled events are.
func (c *Clock) Exact(at time.Time) { c.offset.Store(int64(time.Until(at))) }

// AtLeast moves the clock to the time of a queued or streamed event if that is
// later than the process's own. Such an event may be hours old, so it never sets
// the clock back.
func (c *Clock) AtLeast(at time.Time) { c.offset.Store(int64(max(time.Until(at), 0))) }

// Request sets the clock to the time of a function URL request.
func (c *Clock) Request(r *http.Request) {
	if at, ok := lambdahttp.TimeOf(r.Context()); ok {
		c.Exact(at)
	}
}
