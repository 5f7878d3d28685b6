package boot

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/smithy-go/logging"

	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

// slow is a key service that takes three milliseconds of the clock.
type slow struct {
	*vaulttest.KEK
	clock *vaulttest.Clock
}

func (s slow) Decrypt(ctx context.Context, key vault.WrappedKey, ectx map[string]string) ([]byte, error) {
	s.clock.Advance(3 * time.Millisecond)
	return s.KEK.Decrypt(ctx, key, ectx)
}

// TestEveryRevealIsLogged: miss, hit and refusals leave one line each with
// exactly these fields and never the value.
func TestEveryRevealIsLogged(t *testing.T) {
	const canary = "CNRY-0f2e9b7a64d1"
	var out bytes.Buffer
	env := &Env{Function: "invoke", Log: slog.New(slog.NewJSONHandler(&out, nil))}
	store, clock := vaulttest.NewStore(), vaulttest.NewClock()
	v, err := vault.New(vault.Options{Store: store, KEK: slow{vaulttest.NewKEK(), clock}, Fields: vaulttest.Fields(), Now: clock.Now, App: "latchkey", Stage: "test", OnUse: env.logUse})
	if err != nil {
		t.Fatal(err)
	}
	ctx := lambdacontext.NewContext(t.Context(), &lambdacontext.LambdaContext{AwsRequestID: "req-7"})
	ref := vault.Ref{Org: "acme", ID: "c1", Provider: "vendor", Class: taxonomy.AIKey}
	if _, err := v.Create(ctx, vault.NewCredential{Op: vaulttest.Op(), Ref: ref, Origin: "https://v.example",
		Fields: map[string]secret.Text{"api_key": secret.FromString(canary)}}); err != nil {
		t.Fatal(err)
	}
	cred, err := v.Load(ctx, ref.Org, ref.Class, ref.ID)
	if err != nil {
		t.Fatal(err)
	}
	reveal := func(ctx context.Context, c vault.Credential, field string) {
		_ = v.Reveal(ctx, c, vault.Use{Field: field, Purpose: "chat"}, func([]byte) error { return nil })
	}
	reveal(ctx, cred, "api_key")
	reveal(ctx, cred, "api_key")
	reveal(ctx, cred, "other")
	damaged := cred
	damaged.Versions = slices.Clone(cred.Versions)
	damaged.Versions[0].Fields = map[string]vault.Sealed{"api_key": {Ciphertext: bytes.Repeat([]byte{1}, 60), Binding: vault.BindingV1}}
	reveal(t.Context(), damaged, "api_key") // outside of an invocation
	_ = v.RevealAll(ctx, cred, vault.Use{Field: "api_key", Purpose: "verify"}, func(int, bool, []byte) error { return nil })

	common := map[string]any{"msg": "vault.use", "level": "INFO", "org": "acme", "credential": "c1", "class": "ai_key", "version": 1.0, "field": "api_key",
		"purpose": "chat", "function": "invoke", "request_id": "req-7", "cache": "hit", "outcome": "ok", "latency_us": 0.0}
	want := []map[string]any{
		{"cache": "miss", "latency_us": 3000.0}, {}, {"field": "other", "version": 0.0, "cache": "none", "outcome": "no_such_field"},
		{"request_id": "", "outcome": "tag_mismatch"}, {"purpose": "verify"},
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != len(want) || strings.Contains(out.String(), "CNRY") || strings.Contains(out.String(), "0f2e9b7a") {
		t.Fatalf("%d lines: %s", len(lines), out.String())
	}
	for i, line := range lines {
		var got map[string]any
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		delete(got, "time")
		w := maps.Clone(common)
		maps.Copy(w, want[i])
		if !maps.Equal(got, w) {
			t.Errorf("line %d: %v\nwant %v", i, got, w)
		}
	}
}

// TestSDKWarningsLoseTheirValues: only the SDK's own words reach the log.
func TestSDKWarningsLoseTheirValues(t *testing.T) {
	var out bytes.Buffer
	log := sdkLog(slog.New(slog.NewJSONHandler(&out, nil)))
	log.Logf(logging.Warn, "failed to close: %v", "CNRY-0f2e")
	log.Logf(logging.Debug, "request: %v", "CNRY-0f2e")
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line["msg"] != "aws sdk" || line["reason"] != "failed to close: %v" || len(line) != 4 {
		t.Errorf("%v: %s", err, out.String())
	}
}
