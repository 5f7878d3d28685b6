package dynamo_test

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/dynamo/dynamotest"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

func (w *vaultWire) gateway(t *testing.T) *dynamo.Gateway {
	t.Helper()
	tables := dynamo.Tables{"config": "config", "vault": "vault", "sessions": "s", "ledger": "l", "usage": "u"}
	db, err := dynamo.New(dynamodb.New(dynamodb.Options{Region: "us-east-1", BaseEndpoint: aws.String("http://127.0.0.1:1"), HTTPClient: w,
		RetryMaxAttempts: 1, DisableValidateResponseChecksum: true, Credentials: credentials.NewStaticCredentialsProvider("local", "local", "")}), tables)
	if err != nil {
		t.Fatal(err)
	}
	return db.Gateway()
}

var callTime = time.Date(2026, 11, 30, 23, 59, 59, 0, time.UTC)

var platformKey = vault.Ref{Org: "ours", ID: "p1", Class: taxonomy.AIKey}

const (
	headItem = `{"pk":{"S":"ORG#ours"},"sk":{"S":"ai_key#p1#HEAD"},"vh":{"S":"vh1"},"status":{"S":"active"},"active_version":{"N":"1"},"epoch":{"N":"1"},` +
		`"provider":{"S":"x"},"cls":{"S":"ai_key"},"field_heads":{"L":[{"M":{"n":{"S":"api_key"},"v":{"N":"1"}}}]}}`
	versionItem = `{"pk":{"S":"ORG#ours"},"sk":{"S":"ai_key#p1#V#000001"}}`
)

// What a call needs is one consistent batch; a credential of the platform that
// the process has not seen costs one more read, once.
func TestCallConfigIsOneConsistentBatch(t *testing.T) {
	w := &vaultWire{answers: []string{
		`{"Responses":{"vault":[` + headItem + `]}}`,
		`{"Items":[` + headItem + `,` + versionItem + `]}`,
		`{"Responses":{"vault":[` + versionItem + `,` + headItem + `]}}`,
	}}
	g := w.gateway(t)
	for range 3 {
		c, err := g.CallConfig(t.Context(), "acme", "k1", callTime, []vault.Ref{platformKey})
		if err != nil || len(c.Platform) != 1 || len(c.Platform[0].Versions) != 1 || c.Key != nil || len(c.Prices.Books) != 0 {
			t.Fatalf("%+v, %v", c, err)
		}
	}
	var asked []string
	for _, call := range w.calls {
		asked = append(asked, call.operation)
		if strings.Count(call.body, `"ConsistentRead":true`) == 0 || call.operation == "BatchGetItem" && strings.Count(call.body, `"ConsistentRead":true`) != 3 {
			t.Errorf("not consistent: %s", call.body)
		}
	}
	if got := strings.Join(asked, " "); got != "BatchGetItem Query BatchGetItem BatchGetItem" {
		t.Errorf("asked %s", got)
	}
	if first, later := w.calls[0].body, w.calls[2].body; strings.Contains(first, "V#000001") || !strings.Contains(later, "V#000001") ||
		!strings.Contains(first, `"KEY#k1"`) || !strings.Contains(first, `"KEY#k1#COUNTS"`) || !strings.Contains(first, `"F#acme"`) || !strings.Contains(first, `"M#202611"`) {
		t.Errorf("%s\n%s", first, later)
	}
}

// A batch that DynamoDB leaves unfinished is asked for again, and refused when
// it stays so: half a configuration is none.
func TestCallConfigIsWholeOrFails(t *testing.T) {
	left := `{"UnprocessedKeys":{"config":{"ConsistentRead":true,"Keys":[{"pk":{"S":"KEYS#acme"},"sk":{"S":"KEY#k1"}}]}}}`
	w := &vaultWire{answers: []string{left, `{"Responses":{"config":[{"pk":{"S":"KEYS#acme"},"sk":{"S":"KEY#k1"},"id":{"S":"k1"}}]}}`}}
	_, err := w.gateway(t).CallConfig(t.Context(), "acme", "k1", callTime, nil)
	if len(w.calls) != 2 || fault.CodeOf(err) != fault.Internal { // this key has no hash
		t.Errorf("%d calls, %v", len(w.calls), err)
	}
	if second := w.calls[1].body; strings.Contains(second, "TIERS") || !strings.Contains(second, `"KEY#k1"`) {
		t.Errorf("asked again for %s", second)
	}
	w = &vaultWire{answers: []string{left}}
	if _, err := w.gateway(t).CallConfig(t.Context(), "acme", "k1", callTime, nil); fault.CodeOf(err) != fault.Unavailable || len(w.calls) != 5 {
		t.Errorf("%d calls, %v", len(w.calls), err)
	}
}

// Every change is seen by the next read of the same store, which remembers what
// to ask for but nothing of what was answered.
func TestCallConfigSeesChanges(t *testing.T) {
	fx := dynamotest.Open(t)
	db, err := dynamo.New(fx.Client, fx.Tables)
	if err != nil {
		t.Fatal(err)
	}
	ctx, now := t.Context(), time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	v, err := vault.New(vault.Options{Store: dynamo.NewVault(db), KEK: vaulttest.NewKEK(), Fields: vaulttest.Fields(), Now: time.Now, App: "latchkey", Stage: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ref := vault.Ref{Org: "ours", ID: "p1", Provider: "openrouter", Class: taxonomy.AIKey}
	value := func(n string) map[string]secret.Text {
		return map[string]secret.Text{"api_key": secret.FromString("platform-key-number-" + n)}
	}
	g := db.Gateway()
	opened := func() string {
		t.Helper()
		c, err := g.CallConfig(ctx, "acme", "k1", callTime, []vault.Ref{platformKey})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, cred := range c.Platform {
			_ = v.Reveal(ctx, cred, vault.Use{Field: "api_key", Purpose: "test"}, func(b []byte) error { got = string(b); return nil })
		}
		if c.Key != nil {
			got += " " + c.Key.ID
			if !c.Key.RevokedAt.IsZero() {
				got += " revoked"
			}
		}
		return got
	}
	row := func(id string) audit.Row {
		return audit.Row{ID: id, Org: "acme", At: now, Actor: "a", Action: "key.create", Target: "k1", Outcome: audit.Done}
	}
	_, digest, err := org.Mint("acme", "k1", rand.Reader)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(err)
	for _, step := range []struct {
		do   func() error
		want string
	}{
		{func() error { return nil }, ""},
		{func() error {
			_, err := v.Create(ctx, vault.NewCredential{Op: vaulttest.Op(), Ref: ref, Label: "p", Origin: "https://vendor.example", Fields: value("1")})
			return err
		}, "platform-key-number-1"},
		{func() error {
			return db.Keys().CreateKey(ctx, org.Key{ID: "k1", Org: "acme", Name: "n", Hash: digest, CreatedAt: now}, row("r1"))
		}, "platform-key-number-1 k1"},
		{func() error {
			_, err := v.Rotate(ctx, vault.Rotation{Op: vaulttest.Op(), Ref: ref, Fields: value("2"), Overlap: time.Hour})
			return err
		}, "platform-key-number-2 k1"},
		{func() error { return db.Keys().RevokeKey(ctx, "acme", "k1", row("r2")) }, "platform-key-number-2 k1 revoked"},
		{func() error { _, err := v.Revoke(ctx, ref, vaulttest.Op()); return err }, " k1 revoked"},
	} {
		must(step.do())
		for range 2 {
			if got := opened(); got != step.want {
				t.Fatalf("%q, want %q", got, step.want)
			}
		}
	}
}
