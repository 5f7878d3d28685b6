// Package clock is the shiftable clock of the local stack.
//
// Every time the stack hands out (timeEpoch of HTTP events, the time of
// schedules, SQS and stream timestamps, visibility deadlines) is read from one
// [Clock], so that a test can move the whole system forward without waiting.
// Real timers (sleeping, polling) are not shifted.
package clock

import (
	"sync/atomic"
	"time"
)

// Clock is the wall clock plus an offset. The zero value has no offset. Safe
// for concurrent use.
type Clock struct{ offset atomic.Int64 }

// Now returns the shifted time in UTC.
func (c *Clock) Now() time.Time { return time.Now().UTC().Add(time.Duration(c.offset.Load())) }

// SetOffset replaces the offset.
func (c *Clock) SetOffset(d time.Duration) { c.offset.Store(int64(d)) }

// Offset returns the present offset.
func (c *Clock) Offset() time.Duration { return time.Duration(c.offset.Load()) }
