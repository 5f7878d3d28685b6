package awssign

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
	"github.com/latchkey/latchkey/shared/secret"
)

const (
	keyID  = "AKIDEXAMPLEEXAMPLE12"
	hidden = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	good   = keyID + ":" + hidden + ":eu-west-1"
)

func TestParse(t *testing.T) {
	for s, want := range map[string]bool{good: true, keyID + ":" + hidden: false, good + ":x": false, keyID + ":" + hidden + ":mars-1": false,
		"akid:" + hidden + ":eu-west-1": false, "akidexampleexample12:" + hidden + ":eu-west-1": false, keyID + ":short:eu-west-1": false,
		keyID + ":" + hidden + "!:eu-west-1": false, "::": false, "": false, keyID + ":" + hidden + ":": false} {
		if _, ok := parse(s); ok != want {
			t.Errorf("%q: %v", s, ok)
		}
		if err := Key().Check(secret.FromString(s)); (err == nil) != want || err != nil && s != "" && strings.Contains(err.Error(), s) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func target(now time.Time) model.Target { return model.Target{Now: now} }

func signed(t *testing.T, url, body, key string, now time.Time) (*http.Request, error) {
	t.Helper()
	var rd io.Reader
	if body != "" {
		rd = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, rd)
	if err != nil {
		t.Fatal(err)
	}
	return req, Sign(&wire.Vendor{ID: "test"}, "test.Op", "polly", target(now))(req, secret.FromString(key))
}

// TestSign: the signature is that of the key, the body, the region and the time,
// and the secret is in nothing that is sent.
func TestSign(t *testing.T) {
	now := time.Date(2026, 11, 22, 1, 2, 3, 0, time.FixedZone("x", 3600))
	req, err := signed(t, "https://polly.eu-west-1.amazonaws.com/v1/voices?b=2&a=1", "{}", good, now)
	if err != nil {
		t.Fatal(err)
	}
	auth := req.Header.Get("Authorization")
	if !strings.HasPrefix(auth, "AWS4-HMAC-SHA256 Credential="+keyID+"/20261122/eu-west-1/polly/aws4_request, SignedHeaders=") || req.Header.Get("X-Amz-Date") != "20261122T000203Z" {
		t.Errorf("%v", req.Header)
	}
	var sent strings.Builder
	_ = req.Write(&sent)
	if strings.Contains(sent.String(), hidden) || !strings.HasSuffix(sent.String(), "{}") && !strings.Contains(sent.String(), "{}") {
		t.Errorf("%s", sent.String())
	}
	for name, other := range map[string][3]string{"body": {"https://polly.eu-west-1.amazonaws.com/v1/voices?b=2&a=1", "{ }", good},
		"query":  {"https://polly.eu-west-1.amazonaws.com/v1/voices?b=2&a=2", "{}", good},
		"secret": {"https://polly.eu-west-1.amazonaws.com/v1/voices?b=2&a=1", "{}", strings.Replace(good, "wJ", "wK", 1)}} {
		if req, err := signed(t, other[0], other[1], other[2], now); err != nil || req.Header.Get("Authorization") == auth {
			t.Errorf("another %s has the same signature (%v)", name, err)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for name, tt := range map[string]struct {
		url, key string
		now      time.Time
		code     fault.Code
		param    string
	}{
		"no time":        {"https://polly.eu-west-1.amazonaws.com/", good, time.Time{}, fault.Internal, ""},
		"not of form":    {"https://polly.eu-west-1.amazonaws.com/", "sk-something", now, fault.ProviderKeyInvalid, "api_key"},
		"other region":   {"https://polly.us-east-1.amazonaws.com/", good, now, fault.InvalidRequest, "base_url"},
		"other service":  {"https://s3.eu-west-1.amazonaws.com/", good, now, fault.InvalidRequest, "base_url"},
		"local endpoint": {"http://127.0.0.1:1/", good, now, "", ""},
	} {
		_, err := signed(t, tt.url, "", tt.key, tt.now)
		var f *fault.Error
		if fault.CodeOf(err) != tt.code || errors.As(err, &f) && f.Param != tt.param || err != nil && strings.Contains(err.Error(), hidden) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
