package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/latchkey/latchkey/scripts/internal/operator"
	"github.com/latchkey/latchkey/shared/config"
	"github.com/latchkey/latchkey/shared/stripe"
)

// Seeded are the credentials of the demo organisation. They are for a local
// stack only; the file that keeps them is readable by its owner alone.
type Seeded struct {
	OperatorKey string `json:"operator_key"`
	OrgID       string `json:"org_id"`
	APIKey      string `json:"api_key"`
}

const (
	seedFile = "seed.json"
	// demoCredits are given to the demo organisation: 100 credits.
	demoCredits = 100_000_000
)

// Seed creates an operator key, stores the payment vendor's keys that
// [Options.Env] names in the vault and, with withOrg, creates a demo organisation
// of the tier enterprise with an API key and credits. What an earlier start of the
// same data directory created is used again.
func (s *Stack) Seed(ctx context.Context, withOrg bool) (Seeded, error) {
	file := filepath.Join(s.opts.Data, seedFile)
	var seeded Seeded
	if b, err := os.ReadFile(file); err == nil && !s.opts.InMemory {
		if err := json.Unmarshal(b, &seeded); err != nil {
			return seeded, fmt.Errorf("stack: %s is damaged; start with --fresh", seedFile)
		}
	}
	if seeded.OperatorKey == "" {
		key, err := operator.CreateKey(ctx, s.DB, "local operator", "local-stack")
		if err != nil {
			return seeded, err
		}
		seeded.OperatorKey = key
		if err := s.saveSeed(file, seeded); err != nil {
			return seeded, err
		}
	}
	if err := s.seedPayments(ctx, seeded.OperatorKey); err != nil {
		return seeded, err
	}
	if withOrg && seeded.APIKey == "" {
		if err := s.seedOrg(ctx, &seeded); err != nil {
			return seeded, err
		}
		if err := s.saveSeed(file, seeded); err != nil {
			return seeded, err
		}
	}
	return seeded, nil
}

// seedPayments stores what functions on AWS find in the vault.
func (s *Stack) seedPayments(ctx context.Context, operatorKey string) error {
	body := map[string]string{}
	for field, variable := range map[string]string{stripe.APIKey: config.StripeKey, stripe.WebhookSecret: config.StripeWebhookSecret} {
		if v := s.opts.Env[variable]; v != "" {
			body[field] = v
		}
	}
	if len(body) == 0 {
		return nil
	}
	return Client{Base: s.BaseURL, Key: operatorKey}.Call(ctx, http.MethodPut, "/api/operator/payments", body, nil)
}

func (s *Stack) saveSeed(file string, seeded Seeded) error {
	b, err := json.Marshal(seeded)
	if err != nil {
		return err
	}
	return WriteFile(file, b)
}

// WriteFile writes a private file so that a reader sees all of it or nothing.
func WriteFile(path string, b []byte) error {
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func (s *Stack) seedOrg(ctx context.Context, seeded *Seeded) error {
	c := Client{Base: s.BaseURL, Key: seeded.OperatorKey}
	var created struct{ ID string }
	if err := c.Call(ctx, http.MethodPost, "/api/orgs", map[string]any{"name": "Demo", "tier": "enterprise"}, &created); err != nil {
		return err
	}
	seeded.OrgID = created.ID
	base := "/api/orgs/" + created.ID
	var key struct{ Key string }
	if err := c.Call(ctx, http.MethodPost, base+"/keys", map[string]any{"name": "demo", "scopes": []string{"invoke", "audio", "admin", "billing", "read"}}, &key); err != nil {
		return err
	}
	err := c.Call(ctx, http.MethodPost, base+"/grants", map[string]any{"kind": "gifted", "amount": demoCredits, "idempotency_key": "local-seed"}, nil)
	if err != nil {
		return err
	}
	seeded.APIKey = key.Key
	return nil
}

// Client calls the admin API.
type Client struct{ Base, Key string }

// Call sends body as JSON and decodes the answer into out; either may be nil.
// An answer above 299 is an error with its status and text.
func (c Client) Call(ctx context.Context, method, path string, body, out any) error {
	var payload io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		payload = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.Base+path, payload)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.Key)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode > 299 {
		return &StatusError{Method: method, Path: path, Status: resp.StatusCode, Body: strings.TrimSpace(string(b))}
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(b, out)
}

// StatusError is an answer that reports a failure.
type StatusError struct {
	Method, Path string
	Status       int
	Body         string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s %s: %d %s", e.Method, e.Path, e.Status, e.Body)
}

// Status returns the HTTP status of err, 0 if it has none.
func Status(err error) int {
	var s *StatusError
	if errors.As(err, &s) {
		return s.Status
	}
	return 0
}
