// Package limit bounds what an API key or an organisation may use: requests and
// tokens per minute, requests at a time, and a budget of micro-credits per
// period.
//
// A [Claim] is what one attempt of a request wants to count against one
// [Subject]. [Claim.Check] judges it by the state that was read with the
// subject, without another call; [Claim.Change] is the conditional write that
// makes it true, and belongs into the transaction that reserves the attempt, so
// that a refused or repeated request counts nowhere. When the request has ended,
// [Claim.Finish] corrects what was reserved to what was used.
//
// Guarantees, under any number of parallel callers whose writes are applied
// atomically: no more than RequestsPerMinute requests are admitted in a minute
// of the UTC clock; what was reserved of TokensPerMinute never exceeds it; no
// more than Concurrent slots are taken at once; a request is admitted while what
// was charged in the period, plus the holds of running requests, is below the
// budget, so that a budget is exceeded by less than one request's charge.
//
// Everything here is a pure function of its inputs. A window is part of a
// counter's name, so that a new window starts at zero without anybody resetting
// anything. A process that dies leaves its slot to expire and its reservation
// counted: nobody knows what it was charged, and a budget fails closed.
package limit

import (
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
)

// Period is a budget window in UTC.
type Period string

// Budget periods. A total has no end.
const (
	Day   Period = "day"
	Month Period = "month"
	Total Period = "total"
)

// Budget bounds the micro-credits charged per period. Calls on an organisation's
// own keys cost it nothing here and do not count.
type Budget struct {
	Amount int64
	Period Period
}

// Limits bound a key or an organisation; zero means unlimited.
type Limits struct {
	RequestsPerMinute int64
	TokensPerMinute   int64
	Concurrent        int64
	Budget            Budget // Amount 0 = none
}

// Any reports whether something is limited.
func (l Limits) Any() bool {
	return l.RequestsPerMinute > 0 || l.TokensPerMinute > 0 || l.Concurrent > 0 || l.Budget.Amount > 0
}

const (
	// maxLimit keeps limits far from overflow and exact in a JSON double.
	maxLimit = 1 << 52
	// MaxConcurrent bounds the slots, which lie in one item that is read with
	// every request. It is the default number of parallel executions of an AWS
	// account (Lambda quotas, read 2026-11).
	MaxConcurrent = 1000
)

// Check fails with invalid_request for negative or absurd limits.
func (l Limits) Check() error {
	for _, n := range []int64{l.RequestsPerMinute, l.TokensPerMinute, l.Concurrent, l.Budget.Amount} {
		if n < 0 || n > maxLimit {
			return invalid("limits are whole numbers from 0 (unlimited) to 2^52")
		}
	}
	if l.Concurrent > MaxConcurrent {
		return invalid("at most " + strconv.Itoa(MaxConcurrent) + " concurrent requests can be set; leave it out for no limit")
	}
	switch l.Budget.Period {
	case Day, Month, Total:
		if l.Budget.Amount == 0 {
			return invalid("a budget needs an amount above 0; leave it out for no budget")
		}
	case "":
		if l.Budget.Amount != 0 {
			return invalid("a budget needs a period: day, month or total")
		}
	default:
		return invalid("the period of a budget is day, month or total")
	}
	return nil
}

func invalid(message string) error {
	return fault.New(fault.InvalidRequest, "limit.Check", message).WithParam("limits")
}

// Subject is whose limits they are: a key, or the organisation if Key is empty.
type Subject struct{ Org, Key string }

// State is what counts against a subject, as it was read. The zero value is that
// of a subject nothing was counted for.
type State struct {
	// Counters holds the windows by name, see [Claim.Change].
	Counters map[string]int64
	// Slots holds the running requests and when their slots expire.
	Slots map[string]time.Time
}

// The first letter of a counter's name says what it counts; the window follows.
const (
	requestsIn = "r"
	tokensIn   = "t"
	budgetIn   = "b"
	running    = "c"
)

func minute(at time.Time) int64 { return at.Unix() / 60 }

func minuteName(kind string, at time.Time) string { return kind + strconv.FormatInt(minute(at), 10) }

func budgetName(p Period, at time.Time) string {
	switch at = at.UTC(); p {
	case Day:
		return budgetIn + at.Format("20060102")
	case Month:
		return budgetIn + at.Format("200601")
	}
	return budgetIn + "t"
}

// renewal is how long it takes until a period ends; zero for one that does not.
func renewal(p Period, now time.Time) time.Duration {
	now = now.UTC()
	switch p {
	case Day:
		return time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, time.UTC).Sub(now)
	case Month:
		return time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC).Sub(now)
	}
	return 0
}

// nextMinute is how long it takes until the next minute begins.
func nextMinute(now time.Time) time.Duration {
	return now.Truncate(time.Minute).Add(time.Minute).Sub(now)
}

// stale reports whether a counter belongs to a window that nobody counts in any
// more. The minute before the current one is kept for callers whose clock is
// behind.
func (c *Claim) stale(name string) bool {
	switch {
	case strings.HasPrefix(name, requestsIn), strings.HasPrefix(name, tokensIn):
		n, err := strconv.ParseInt(name[1:], 10, 64)
		return err != nil || n < minute(c.At)-1
	case strings.HasPrefix(name, budgetIn):
		return c.Limits.Budget.Amount > 0 && name != budgetName(c.Limits.Budget.Period, c.At)
	}
	return false
}
