package egress

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// TestObserve: the status is seen, refusals are not answers, and the client that
// was observed stays as it was.
func TestObserve(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	defer srv.Close()
	e, err := New(Options{Allow: []string{strings.TrimPrefix(srv.URL, "http://")}})
	if err != nil {
		t.Fatal(err)
	}
	var seen []int
	plain := e.Tenant()
	observed := Observe(plain, func(status int) { seen = append(seen, status) })
	for _, c := range []struct {
		client *http.Client
		url    string
		ok     bool
	}{{observed, srv.URL, true}, {plain, srv.URL, true}, {observed, "http://127.0.0.1:1/", false}} {
		resp, err := c.client.Get(c.url)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.url, err)
		}
		if err == nil {
			_ = resp.Body.Close()
		}
	}
	if !slices.Equal(seen, []int{http.StatusTeapot}) {
		t.Errorf("seen %v", seen)
	}
}
