package install_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// TestVendors: a channel that several vendors serve asks for the secrets of the one
// that its settings or its secrets name, and keeps to it: what the one is proven by
// or gave does not reach the other.
func TestVendors(t *testing.T) {
	e := newEnv(t)
	mail := func(id string, c webhook.Config, kv ...string) install.New {
		c["domain"] = []string{id + ".example.com"}
		return install.New{ID: id, Provider: "email", Config: c, Secrets: values(kv...)}
	}
	i, err := e.create(mail("m1", webhook.Config{}, "webhook_signing_key", "signing-key-1", "api_key", "api-key-1"))
	if err != nil || i.State != install.Verifying || i.Config.Get("vendor") != string(taxonomy.Mailgun) {
		t.Fatalf("%+v %v", i, err)
	}
	p, err := e.create(mail("m2", webhook.Config{}, "basic_auth", "user:password-1234", "api_key", "api-key-2"))
	if err != nil || p.State != install.Verifying || p.Config.Get("vendor") != string(taxonomy.Postmark) {
		t.Fatalf("%+v %v", p, err)
	}
	// Nothing tells the vendor yet.
	d, err := e.create(mail("m3", webhook.Config{}, "api_key", "api-key-3"))
	if missing := e.s.View(d, e.now).Missing; err != nil || d.State != install.Draft || !slices.Contains(missing, "config.vendor") {
		t.Fatalf("%+v %v %v", d, missing, err)
	}
	named, err := e.create(mail("m4", webhook.Config{"vendor": {"postmark"}}, "api_key", "api-key-4"))
	if missing := e.s.View(named, e.now).Missing; err != nil || !slices.Equal(missing, []string{"secrets.basic_auth"}) {
		t.Fatalf("%v %v", missing, err)
	}
	_, err = e.s.Update(t.Context(), e.op(), "o1", "m4", install.Patch{Secrets: values("webhook_signing_key", "signing-key-4")})
	e.want(err, fault.InvalidRequest, "config.vendor")
	if d, err = e.s.Update(t.Context(), e.op(), "o1", "m3", install.Patch{Secrets: values("basic_auth", "user:password-1234")}); err != nil || d.State != install.Verifying {
		t.Fatalf("%+v %v", d, err)
	}

	for _, v := range []string{"postmark", ""} {
		_, err = e.s.Update(t.Context(), e.op(), "o1", "m1", install.Patch{Config: webhook.Config{"vendor": {v}}, Secrets: values()})
		e.want(err, fault.Conflict, "")
	}
	_, err = e.s.Update(t.Context(), e.op(), "o1", "m1", install.Patch{Config: webhook.Config{"vendor": {"postmark"}}, Secrets: values("basic_auth", "user:password-1234")})
	e.want(err, fault.Conflict, "")
	_, err = e.create(mail("m5", webhook.Config{}, "webhook_signing_key", "signing-key-5", "basic_auth", "user:password-1234", "api_key", "k5"))
	e.want(err, fault.InvalidRequest, "secrets.basic_auth")
	_, err = e.create(mail("m6", webhook.Config{"vendor": {"somebody"}}, "api_key", "k6"))
	e.want(err, fault.InvalidRequest, "config.vendor")
	_, err = e.create(mail("m7", webhook.Config{"vendor": {"postmark"}, "region": {"eu"}}, "api_key", "k7"))
	e.want(err, fault.InvalidRequest, "config.region")

	if i, err = e.s.Rotate(t.Context(), e.op(), "o1", "m1", "webhook_signing_key", secret.FromString("signing-key-2"), time.Time{}); err != nil || i.Config.Get("vendor") != string(taxonomy.Mailgun) {
		t.Fatalf("%+v %v", i, err)
	}
	for id, word := range map[string]string{"m1": "Mailgun", "m2": "Postmark"} {
		if s, err := e.s.Setup(t.Context(), "o1", id, nil); err != nil || !strings.Contains(strings.Join(s.Steps, " "), word) {
			t.Errorf("%s: %+v %v", id, s.Steps, err)
		}
	}
}
