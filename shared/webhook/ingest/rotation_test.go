package ingest_test

import (
	"crypto/ed25519"
	"encoding/hex"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/ingest"
	"github.com/latchkey/latchkey/shared/webhook/profiles"
)

// signedBy is a PING that the owner of a seed made.
func (e *env) signedBy(seed string) ingest.Request {
	profile, _ := profiles.Find(taxonomy.ProfileDiscord)
	in := webhook.Input{Method: "POST", Path: "/webhooks/discord/d1", Body: []byte(`{"type":1}`)}
	if err := profile.Scheme.(webhook.Signer).Sign(&in, secret.FromString(seed), now); err != nil {
		e.Fatal(err)
	}
	return ingest.Request{Provider: "discord", Install: "d1", Input: in, Now: now, RequestID: "r1"}
}

// TestPublicKeysAreReplaced: a key that is being replaced verifies until its time is
// over, and is then told apart from one that never was one; nothing secret is read.
func TestPublicKeysAreReplaced(t *testing.T) {
	e := newEnv(t)
	seeds := []string{hex.EncodeToString(make([]byte, 32)), hex.EncodeToString([]byte("another seed of thirty-two bytes")), hex.EncodeToString([]byte("a third seed of thirty-two bytes"))}
	public := func(seed string) string {
		b, _ := hex.DecodeString(seed)
		return hex.EncodeToString(ed25519.NewKeyFromSeed(b).Public().(ed25519.PublicKey))
	}
	old, live := public(seeds[0]), public(seeds[1])
	i := install.Install{ID: "d1", Org: "o1", Provider: taxonomy.Discord, Mode: install.BYOA, State: install.Verifying, Version: 1,
		Config:  webhook.Config{"application_id": {"1"}, "guild_id": {"2"}, webhook.KeysSetting: {live, old}},
		Secrets: []install.Secret{{Name: webhook.KeysSetting, Fingerprint: old, RetireAt: now.Add(time.Second)}}}
	if err := e.installs.CreateInstall(t.Context(), i, audit.Row{}); err != nil {
		t.Fatal(err)
	}
	last := func() ingest.Event { return e.audit.events[len(e.audit.events)-1] }
	if resp := e.want(e.signedBy(seeds[1]), 200, webhook.Handshake); resp.Body != `{"type":1}` || last().RetiringSecret {
		t.Errorf("%+v %+v", resp, last())
	}
	if e.want(e.signedBy(seeds[0]), 200, webhook.Handshake); !last().RetiringSecret {
		t.Errorf("%+v", last())
	}
	ended := i
	ended.Version, ended.Secrets = 2, []install.Secret{{Name: webhook.KeysSetting, Fingerprint: old, RetireAt: now}}
	if err := e.installs.UpdateInstall(t.Context(), i, ended, audit.Row{}); err != nil {
		t.Fatal(err)
	}
	if e.want(e.signedBy(seeds[0]), 401, webhook.SigMismatch); !last().RetiredSecret {
		t.Errorf("%+v", last())
	}
	if e.want(e.signedBy(seeds[2]), 401, webhook.SigMismatch); last().RetiredSecret {
		t.Errorf("%+v", last())
	}
	e.want(e.signedBy(seeds[1]), 200, webhook.Handshake)
	if n := e.secrets.asked.Load(); n != 0 {
		t.Errorf("%d secrets were read", n)
	}
}
