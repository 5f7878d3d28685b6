package org_test

import (
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
)

// FuzzCredentialFromHeaders: one key or none, never a part of a header that holds two.
func FuzzCredentialFromHeaders(f *testing.F) {
	f.Add("Bearer lk_o_k_s", "", "")
	f.Add("bearer  x ", "x", "y")
	f.Add("Basic eDp5", "", "x")
	f.Add("Bearer", " ", "\u00a0")
	f.Fuzz(func(t *testing.T, auth, key, google string) {
		headers := map[string]string{"authorization": auth, "x-api-key": key, "x-goog-api-key": google}
		got, err := org.CredentialFromHeaders(func(name string) []string {
			if headers[name] == "" {
				return nil
			}
			return []string{headers[name]}
		})
		if err != nil {
			if fault.CodeOf(err) != fault.GatewayAuth || got != "" {
				t.Fatalf("%q, %v", got, err)
			}
			return
		}
		for _, v := range headers {
			if v != "" && !strings.HasSuffix(strings.TrimSpace(v), got) {
				t.Fatalf("%q from %q", got, headers)
			}
		}
		if got == "" || got != strings.TrimSpace(got) {
			t.Fatalf("%q", got)
		}
	})
}
