package connection

import (
	"bytes"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
)

const (
	maxModels     = 200
	maxModelChars = 200
	maxVoiceChars = 128
	maxURLChars   = 512
	maxPriority   = 1_000_000
)

// apply returns c with the patch applied and checked; the key is not part of a
// connection and is left to the caller.
func (p Patch) apply(c Connection, provider Provider) (Connection, error) {
	if p.Label != nil {
		if err := org.CheckName("label", *p.Label); err != nil {
			return c, err
		}
		c.Label = *p.Label
	}
	if p.BaseURL != nil {
		base, err := baseURL(*p.BaseURL, provider)
		if err != nil {
			return c, err
		}
		c.BaseURL = base
	}
	if p.Priority != nil {
		if *p.Priority < 0 || *p.Priority > maxPriority {
			return c, invalid("priority", "priority is a whole number from 0 (first) to 1000000")
		}
		c.Priority = *p.Priority
	}
	if p.Enabled != nil {
		c.Enabled = *p.Enabled
	}
	if p.Models != nil {
		if err := checkModels(*p.Models); err != nil {
			return c, err
		}
		c.Models = slices.Clone(*p.Models)
	}
	if p.BillingSource != nil {
		b := taxonomy.BillingSource(*p.BillingSource)
		if b != taxonomy.BYOK && b != taxonomy.Private {
			return c, invalid("billing_source", "billing_source of a connection is byok or private")
		}
		c.BillingSource = b
	}
	if p.AllowPlatformFallback != nil {
		c.AllowPlatformFallback = *p.AllowPlatformFallback
	}
	if p.DefaultVoiceID != nil {
		if len(*p.DefaultVoiceID) > maxVoiceChars || !printable(*p.DefaultVoiceID) {
			return c, invalid("default_voice_id", "default_voice_id is at most 128 printable characters without spaces")
		}
		c.DefaultVoiceID = *p.DefaultVoiceID
	}
	return c.withOrigin(provider)
}

// withOrigin states where the key may be sent.
func (c Connection) withOrigin(p Provider) (Connection, error) {
	base := c.BaseURL
	if base == "" {
		base = p.DefaultBaseURL
	}
	if base == "" {
		return c, invalid("base_url", "this provider needs the base_url of your endpoint")
	}
	origin, err := vault.OriginOf(base)
	if err != nil {
		return c, invalid("base_url", "base_url must be an absolute http(s) URL with a host name")
	}
	c.Origin = origin
	return c, nil
}

// names lists the changed fields for the audit row.
func (p Patch) names() string {
	var out []string
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"label", p.Label != nil}, {"base_url", p.BaseURL != nil}, {"api_key", !p.Key.IsZero()},
		{"priority", p.Priority != nil}, {"enabled", p.Enabled != nil}, {"models", p.Models != nil},
		{"billing_source", p.BillingSource != nil}, {"allow_platform_fallback", p.AllowPlatformFallback != nil},
		{"default_voice_id", p.DefaultVoiceID != nil},
	} {
		if f.set {
			out = append(out, f.name)
		}
	}
	return strings.Join(out, " ")
}

func checkModels(models []string) error {
	if len(models) > maxModels {
		return invalid("models", "at most 200 models are allowed; an empty list means any")
	}
	for i, m := range models {
		if m == "" || len(m) > maxModelChars || !printable(m) || slices.Contains(models[:i], m) {
			return invalid("models", "a model is 1 to 200 printable characters without spaces and listed once")
		}
	}
	return nil
}

// baseURL checks the shape here and the destination with the provider's check.
// The error never repeats the value: it could hold a password.
func baseURL(raw string, p Provider) (string, error) {
	if raw == "" {
		return "", nil
	}
	u, err := url.Parse(raw)
	if err != nil || len(raw) > maxURLChars || !printable(raw) || u.Host == "" || u.Opaque != "" ||
		u.Scheme != "https" && u.Scheme != "http" {
		return "", invalid("base_url", "base_url must be an absolute http(s) URL of at most 512 characters")
	}
	if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(raw, "#") {
		return "", invalid("base_url", "base_url must not hold a user, a query or a fragment")
	}
	if err := p.CheckURL(raw); err != nil {
		return "", err
	}
	return strings.TrimRight(raw, "/"), nil
}

// masks are how consoles print a hidden key, beyond those that the vault knows.
// Saving one back would replace a good key by its picture; no vendor is shown one.
var masks = []string{secret.Mask, "...", "***", "•", "…"}

func checkKey(p Provider, key secret.Text, hint string) error {
	if key.IsZero() {
		return nil
	}
	masked := errors.Is(credential.FieldSpec{Field: KeyField}.CheckSecret(key), credential.ErrMasked)
	err := key.Use(func(b []byte) error {
		for _, m := range masks {
			masked = masked || bytes.Contains(b, []byte(m))
		}
		masked = masked || hint != "" && string(b) == hint
		return nil
	})
	if err != nil {
		return err
	}
	if masked {
		return invalid("api_key", "this is the masked picture of a key; send the key itself, or leave api_key out to keep it")
	}
	return p.CheckKey(key)
}

func printable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}
