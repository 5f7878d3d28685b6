package vendorapi

import (
	"net/http"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
)

// TestUndecided: only a status whose meaning is that nothing was done is a refusal.
func TestUndecided(t *testing.T) {
	for status, want := range map[int]channel.Certainty{
		300: channel.Ambiguous, 301: channel.Refused, 302: channel.Refused, 303: channel.Ambiguous, 304: channel.Ambiguous, 307: channel.Refused, 308: channel.Refused,
		400: channel.Refused, 401: channel.Refused, 403: channel.Refused, 404: channel.Refused, 408: channel.Ambiguous, 409: channel.Refused, 413: channel.Refused,
		421: channel.Refused, 425: channel.Refused, 429: channel.RateLimited, 431: channel.Refused, 498: channel.Refused, 499: channel.Ambiguous,
		202: channel.Ambiguous, 500: channel.Ambiguous, 502: channel.Ambiguous, 503: channel.Ambiguous, 504: channel.Ambiguous,
	} {
		if f := (Reply{Status: status, Header: http.Header{}, Body: channel.Object{}}).Failure(); f == nil || f.Certainty != want || f.TokenRejected != (status == 401) {
			t.Errorf("%d: %+v, want %s", status, f, want)
		}
	}
}

// TestRetryAfter: seconds and all three forms of dates, within the same bounds. What
// cannot be read, or is over, is as if nothing was said.
func TestRetryAfter(t *testing.T) {
	const date = "Wed, 04 Mar 2026 05:06:07 GMT"
	for name, c := range map[string]struct {
		said, date string
		want       time.Duration
	}{
		"seconds":            {"7", date, 7 * time.Second},
		"many seconds":       {"99999999999", date, MaxRetry},
		"more than a number": {"99999999999999999999", date, DefaultRetry},
		"none":               {"", date, DefaultRetry},
		"zero":               {"0", date, DefaultRetry},
		"below":              {"-5", date, DefaultRetry},
		"date":               {"Wed, 04 Mar 2026 05:08:07 GMT", date, 2 * time.Minute},
		"date of RFC 850":    {"Wednesday, 04-Mar-26 05:08:07 GMT", date, 2 * time.Minute},
		"date of asctime":    {"Wed Mar  4 05:08:07 2026", date, 2 * time.Minute},
		"far date":           {"Fri, 31 Dec 9999 23:59:59 GMT", date, MaxRetry},
		"date that is over":  {"Wed, 04 Mar 2026 05:06:00 GMT", date, DefaultRetry},
		"date, no Date":      {"Wed, 04 Mar 2026 05:08:07 GMT", "", DefaultRetry},
		"date, odd Date":     {"Wed, 04 Mar 2026 05:08:07 GMT", "now", DefaultRetry},
		"neither":            {"soon", date, DefaultRetry},
	} {
		r := Reply{Status: 429, Header: http.Header{"Retry-After": {c.said}, "Date": {c.date}}}
		if f := r.RateLimited(0); f.RetryAfter != c.want || f.Certainty != channel.RateLimited {
			t.Errorf("%s: %+v, want %s", name, f, c.want)
		}
		if f := r.RateLimited(3); f.RetryAfter != 3*time.Second {
			t.Errorf("%s: what the body says counts first: %+v", name, f)
		}
	}
}
