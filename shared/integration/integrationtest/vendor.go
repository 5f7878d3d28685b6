package integrationtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/latchkey/latchkey/shared/integration"
	"github.com/latchkey/latchkey/shared/integration/opener"
	"github.com/latchkey/latchkey/shared/secret"
)

// Vendor is an OAuth server on a loopback port whose refresh tokens work once.
// It is safe for concurrent use.
type Vendor struct {
	url    string
	client *http.Client

	mu       sync.Mutex
	n        int
	live     map[string]bool // refresh tokens that were not used
	access   string
	Consumed int // uses of a consumed or unknown refresh token
	Refusal  int // HTTP status of the next answers, zero for none
	calls    int
}

// NewVendor starts a vendor that stops when the test ends.
func NewVendor(t testing.TB) *Vendor {
	v := &Vendor{live: map[string]bool{}}
	srv := httptest.NewServer(v)
	t.Cleanup(srv.Close)
	v.url, v.client = srv.URL, srv.Client()
	return v
}

// Names of the fields, as the origin has them.
const (
	Access  = "accessToken"
	Refresh = "refreshToken"
)

// Connect is what a person gets who connects the account (again). All earlier
// tokens end.
func (v *Vendor) Connect() integration.Values {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.live)
	access, refresh := v.issue()
	return integration.Values{Access: secret.FromString(access), Refresh: secret.FromString(refresh)}
}

func (v *Vendor) issue() (access, refresh string) {
	v.n++
	// A newline at the end and both forms of a letter: values are bytes.
	v.access, refresh = fmt.Sprintf("access-%d-u\u0308\u00fc\n", v.n), fmt.Sprintf("refresh-%d", v.n)
	v.live[refresh] = true
	return v.access, refresh
}

// Calls is how often the token endpoint was called.
func (v *Vendor) Calls() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.calls
}

// Misuse is how often a refresh token was used that was not live.
func (v *Vendor) Misuse() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.Consumed
}

// Works reports whether an access token is the current one.
func (v *Vendor) Works(values integration.Values) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return values[Access].Equal(secret.FromString(v.access))
}

// ServeHTTP is the token endpoint (RFC 6749, section 6).
func (v *Vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls++
	if v.Refusal != 0 {
		w.WriteHeader(v.Refusal)
		return
	}
	token := r.PostFormValue("refresh_token")
	if !v.live[token] {
		v.Consumed++
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
		return
	}
	delete(v.live, token)
	access, refresh := v.issue()
	_ = json.NewEncoder(w).Encode(map[string]string{"access_token": access, "refresh_token": refresh})
}

// ErrRefused is the vendor's no.
var ErrRefused = errors.New("integrationtest: the vendor refused")

// Exchange is an [opener.Exchange] with the vendor.
func (v *Vendor) Exchange(ctx context.Context, current opener.Value) (integration.Values, error) {
	form := url.Values{"grant_type": {"refresh_token"}}
	_ = current.Values[Refresh].Use(func(b []byte) error { form.Set("refresh_token", string(b)); return nil })
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, v.url, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := v.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusTooManyRequests {
		return nil, fmt.Errorf("%w: %w", ErrRefused, opener.ErrNotUsed)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, ErrRefused
	}
	var out map[string]string
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return nil, err
	}
	return integration.Values{Access: secret.FromString(out["access_token"]), Refresh: secret.FromString(out["refresh_token"])}, nil
}
