package install_test

import (
	"slices"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
)

// number is an install of a vendor whose verifying secret sends, too, unless it has a
// key of its own.
func number(id, last, key string, kv ...string) install.New {
	c := webhook.Config{"account_sid": {"AC0123456789abcdef0123456789abcdef"}, "to": {"+1501712266" + last}}
	if key != "" {
		c["api_key_sid"] = []string{key}
	}
	return install.New{ID: id, Provider: "twilio", PublicURL: "https://hooks.example/webhooks/twilio/" + id, Config: c, Secrets: values(kv...)}
}

const keySID = "SK0123456789abcdef0123456789abcdef"

// TestStands: a secret that is not given is what stands in for it, and is rotated
// with it.
func TestStands(t *testing.T) {
	e := newEnv(t)
	sends := func(i install.Install) string {
		t.Helper()
		v, err := e.opener.Sending(t.Context(), i, "api_key_secret")
		if err != nil {
			t.Fatal(err)
		}
		out := ""
		_ = v.Use(func(b []byte) error { out = string(b); return nil })
		return out
	}
	i, err := e.create(number("n1", "1", "", "auth_token", "first-token"))
	if err != nil || i.State != install.Verifying || sends(i) != "first-token" {
		t.Fatalf("%+v %v", i, err)
	}
	if i, err = e.s.Rotate(t.Context(), e.op(), "o1", "n1", "auth_token", secret.FromString("second-token"), time.Time{}); err != nil || sends(i) != "second-token" || len(i.Claims) != 2 {
		t.Fatalf("%+v %v", i.Claims, err)
	}
	if got := e.store.Rows[len(e.store.Rows)-1].Action; got != "install.rotate" {
		t.Error(got)
	}
	if view := e.s.View(i, e.now).Secrets; len(view["auth_token"]) != 2 || view["api_key_secret"][0].State != "live" {
		t.Errorf("%+v", view)
	}
	// A token sends for one install only, so the second needs a key.
	_, err = e.create(number("n2", "2", "", "auth_token", "second-token"))
	e.want(err, fault.Conflict, "secrets.api_key_secret")
	j, err := e.create(number("n3", "2", keySID, "auth_token", "second-token"))
	if err != nil || j.State != install.Draft || !slices.Equal(e.s.View(j, e.now).Missing, []string{"secrets.api_key_secret"}) {
		t.Fatalf("%+v %v", j, err)
	}
	if j, err = e.s.Update(t.Context(), e.op(), "o1", "n3", install.Patch{Secrets: values("api_key_secret", "own-secret")}); err != nil || j.State != install.Verifying || sends(j) != "own-secret" {
		t.Fatalf("%+v %v", j, err)
	}
	if j, err = e.s.Rotate(t.Context(), e.op(), "o1", "n3", "auth_token", secret.FromString("third-token"), time.Time{}); err != nil || sends(j) != "own-secret" {
		t.Fatalf("a key was replaced by the token: %v", err)
	}
	// What sends comes first: where it cannot be replaced, what verifies is not.
	_, err = e.s.Rotate(t.Context(), e.op(), "o1", "n1", "auth_token", secret.FromString("own-secret"), time.Time{})
	if i, _, _ = e.s.Get(t.Context(), "o1", "n1"); fault.CodeOf(err) != fault.Conflict || sends(i) != "second-token" || len(e.s.View(i, e.now).Secrets["auth_token"]) != 2 {
		t.Fatalf("%v", err)
	}
}
