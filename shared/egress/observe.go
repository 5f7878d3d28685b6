package egress

import "net/http"

// Observe returns a copy of a client that reports the status of each answer
// before it is read. seen is called by the goroutine that makes the request.
func Observe(c *http.Client, seen func(status int)) *http.Client {
	observed := *c
	observed.Transport = observer{c.Transport, seen}
	return &observed
}

type observer struct {
	next http.RoundTripper
	seen func(status int)
}

// RoundTrip implements [http.RoundTripper].
func (o observer) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := o.next.RoundTrip(req)
	if err == nil {
		o.seen(resp.StatusCode)
	}
	return resp, err
}
