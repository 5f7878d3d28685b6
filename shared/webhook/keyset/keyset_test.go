package keyset_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/webhook/keyset"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func newKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func jwks(k *rsa.PrivateKey, ids ...string) string {
	var keys []any
	for _, id := range ids {
		keys = append(keys, map[string]string{"kty": "RSA", "kid": id, "n": base64.RawURLEncoding.EncodeToString(k.N.Bytes()), "e": "AQAB"})
	}
	b, _ := json.Marshal(map[string]any{"keys": keys})
	return string(b)
}

// vendor publishes what it is told, and counts.
type vendor struct {
	*httptest.Server
	mu     sync.Mutex
	body   map[string]string
	status int
	asked  atomic.Int32
	hold   chan struct{}
}

func newVendor(t *testing.T) *vendor {
	t.Helper()
	v := &vendor{body: map[string]string{}, status: http.StatusOK}
	v.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.asked.Add(1)
		if v.hold != nil {
			select {
			case <-v.hold:
			case <-r.Context().Done():
			}
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		w.WriteHeader(v.status)
		_, _ = w.Write([]byte(v.body[r.URL.Path]))
	}))
	t.Cleanup(v.Close)
	return v
}

func (v *vendor) says(status int, path, body string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.status, v.body[path] = status, body
}

// RoundTrip answers without a connection: a fetch has a second and a half, which a
// connection can take on a busy machine.
func (v *vendor) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	v.Config.Handler.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func (v *vendor) sets(metadata bool) *keyset.Sets {
	return keyset.New(&http.Client{Transport: v}, keyset.Source{Name: "a", Base: v.URL, Path: "/keys", Metadata: metadata})
}

func TestWhenASetIsFetched(t *testing.T) {
	v, k := newVendor(t), newKey(t)
	v.says(http.StatusOK, "/keys", jwks(k, "one"))
	s := v.sets(false)
	at := now
	step := func(what string, after time.Duration, kid string, held int, fetches int32) {
		t.Helper()
		at = at.Add(after)
		before := v.asked.Load()
		keys, ok := s.For(t.Context(), at).KeySet("a", kid)
		if len(keys) != held || ok != (held > 0) || v.asked.Load()-before != fetches {
			t.Errorf("%s: %d keys after %d fetches, want %d after %d", what, len(keys), v.asked.Load()-before, held, fetches)
		}
	}
	if v.asked.Load() != 0 {
		t.Error("fetched before anybody asked")
	}
	if _, ok := s.For(t.Context(), at).KeySet("b", "one"); ok || v.asked.Load() != 0 {
		t.Error("a set of no source")
	}
	step("first", 0, "one", 1, 1)
	step("known", time.Hour, "one", 1, 0)
	step("no key id", 0, "", 1, 0)
	v.says(http.StatusOK, "/keys", jwks(k, "one", "two"))
	step("unknown", 0, "two", 2, 1)
	step("another unknown", time.Minute, "three", 2, 0)
	step("another after an hour", 59*time.Minute, "three", 2, 1)
	step("a day old", 24*time.Hour, "one", 2, 1)
	v.says(http.StatusInternalServerError, "/keys", "")
	step("stale", 24*time.Hour, "one", 2, 1)
	step("soon after a failure", 59*time.Second, "one", 2, 0)
	step("again", time.Second, "one", 2, 1)
	step("unknown soon after a failure", time.Second, "nine", 2, 0)
	v.says(http.StatusOK, "/keys", jwks(k, "three"))
	step("back", time.Minute, "three", 1, 1)
	v.says(http.StatusInternalServerError, "/keys", "")
	step("unknown while it is down", time.Hour, "four", 1, 1)
	step("soon after that", 59*time.Second, "four", 1, 0)
	v.says(http.StatusOK, "/keys", jwks(k, "three", "four"))
	step("back within the hour", time.Second, "four", 2, 1)
	step("a clock that went back", -48*time.Hour, "three", 2, 1)
}

func TestNothingToGoOnWith(t *testing.T) {
	v, k := newVendor(t), newKey(t)
	v.says(http.StatusServiceUnavailable, "/keys", jwks(k, "one"))
	s := v.sets(false)
	for _, after := range []time.Duration{0, 4 * time.Second} {
		if keys, ok := s.For(t.Context(), now.Add(after)).KeySet("a", "one"); ok || keys != nil {
			t.Errorf("%v", keys)
		}
	}
	if v.asked.Load() != 1 {
		t.Errorf("%d fetches within five seconds", v.asked.Load())
	}
	v.says(http.StatusOK, "/keys", jwks(k, "one"))
	if _, ok := s.For(t.Context(), now.Add(5*time.Second)).KeySet("a", "one"); !ok {
		t.Error("not tried again")
	}
}

func TestAnswers(t *testing.T) {
	k := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	certificate, _ := json.Marshal(map[string]string{"one": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))})
	for name, c := range map[string]struct {
		body string
		ok   bool
	}{
		"certificates": {string(certificate), true}, "keys": {jwks(k, "one"), true},
		"page": {"<html>", false}, "nothing": {"", false}, "no keys": {`{"keys":[]}`, false}, "too large": {jwks(k, "one") + strings.Repeat(" ", 256<<10), false},
		"no certificate": {`{"one":"x"}`, false}, "twice": {`{"one":"x","one":"x"}`, false},
	} {
		v := newVendor(t)
		v.says(http.StatusOK, "/keys", c.body)
		keys, ok := v.sets(false).For(t.Context(), now).KeySet("a", "one")
		if ok != c.ok || c.ok && (keys[0].ID != "one" || keys[0].RSA.N.Cmp(k.N) != 0) {
			t.Errorf("%s: %v %v", name, keys, ok)
		}
	}
}

func TestMetadataNamesTheSameHost(t *testing.T) {
	k, other := newKey(t), newVendor(t)
	other.says(http.StatusOK, "/set", jwks(k, "one"))
	for name, c := range map[string]struct {
		uri string
		ok  bool
	}{"same": {"%s/set", true}, "another": {other.URL + "/set", false}, "none": {"", false}, "a user": {"http://a@%h/set", false}, "another scheme": {"ftp://%h/set", false}} {
		v := newVendor(t)
		uri := strings.NewReplacer("%s", v.URL, "%h", strings.TrimPrefix(v.URL, "http://")).Replace(c.uri)
		v.says(http.StatusOK, "/keys", `{"jwks_uri":"`+uri+`"}`)
		v.says(http.StatusOK, "/set", jwks(k, "one"))
		if _, ok := v.sets(true).For(t.Context(), now).KeySet("a", "one"); ok != c.ok {
			t.Errorf("%s: %v", name, ok)
		}
	}
	if other.asked.Load() != 0 {
		t.Error("a foreign host was asked")
	}
}

// TestOneFlight: requests that need a set at once make one fetch.
func TestOneFlight(t *testing.T) {
	v, k := newVendor(t), newKey(t)
	v.hold = make(chan struct{})
	v.says(http.StatusOK, "/keys", jwks(k, "one"))
	s := v.sets(false)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if _, ok := s.For(t.Context(), now).KeySet("a", "one"); !ok {
				t.Error("no set")
			}
		})
	}
	close(v.hold)
	group.Wait()
	if v.asked.Load() != 1 {
		t.Errorf("%d fetches", v.asked.Load())
	}
}

// TestNobodyWaitsLonger: a vendor that does not answer holds nobody up for more than
// the time of a fetch, and an ended request not at all.
func TestNobodyWaitsLonger(t *testing.T) {
	v := newVendor(t)
	v.hold = make(chan struct{})
	defer close(v.hold)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, ok := v.sets(false).For(ended, now).KeySet("a", "one"); ok {
		t.Error("a set out of nothing")
	}
	if _, ok := v.sets(false).For(t.Context(), now).KeySet("a", "one"); ok {
		t.Error("a set out of nothing")
	}
}
