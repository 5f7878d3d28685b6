package dynamo_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

// vaultWire answers every request with scripted bodies, the last one for ever,
// and keeps what was asked.
type vaultWire struct {
	mu      sync.Mutex
	answers []string
	calls   []vaultCall
}

type vaultCall struct {
	operation string
	body      string
	request   map[string]any
}

func (w *vaultWire) Do(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	call := vaultCall{operation: operation, body: string(body)}
	if err := json.Unmarshal(body, &call.request); err != nil {
		return nil, err
	}
	w.calls = append(w.calls, call)
	answer := "{}"
	if len(w.answers) > 0 {
		answer = w.answers[0]
		if len(w.answers) > 1 {
			w.answers = w.answers[1:]
		}
	}
	status := http.StatusOK
	if strings.Contains(answer, "__type") {
		status = http.StatusBadRequest
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}},
		Body: io.NopCloser(strings.NewReader(answer)), Request: r,
	}, nil
}

func (w *vaultWire) store(t *testing.T) dynamo.Vault {
	t.Helper()
	tables := dynamo.Tables{}
	for _, s := range table.Specs() {
		tables[s.Role] = string(s.Role)
	}
	db, err := dynamo.New(dynamodb.New(dynamodb.Options{
		Region: "us-east-1", BaseEndpoint: aws.String("http://127.0.0.1:1"), HTTPClient: w, RetryMaxAttempts: 1,
		DisableValidateResponseChecksum: true, Credentials: credentials.NewStaticCredentialsProvider("local", "local", ""),
	}), tables)
	if err != nil {
		t.Fatal(err)
	}
	return dynamo.NewVault(db)
}

func (w *vaultWire) only(t *testing.T, operation string) vaultCall {
	t.Helper()
	if len(w.calls) != 1 || w.calls[0].operation != operation {
		t.Fatalf("calls: %+v; want one %s", w.calls, operation)
	}
	return w.calls[0]
}

// Loading a class, and loading one credential, is one consistent query.
func TestVaultLoadsWithOneConsistentQuery(t *testing.T) {
	ctx := context.Background()
	for name, run := range map[string]func(dynamo.Vault) error{
		"ai_key#":    func(s dynamo.Vault) error { _, err := s.LoadClass(ctx, "o1", taxonomy.AIKey); return err },
		"ai_key#c1#": func(s dynamo.Vault) error { _, _ = s.Load(ctx, "o1", taxonomy.AIKey, "c1"); return nil },
	} {
		w := &vaultWire{answers: []string{`{"Items":[]}`}}
		if err := run(w.store(t)); err != nil {
			t.Fatal(err)
		}
		call := w.only(t, "Query")
		if call.request["ConsistentRead"] != true || call.request["TableName"] != "vault" ||
			!strings.Contains(call.body, `"S":"ORG#o1"`) || !strings.Contains(call.body, `"S":"`+name+`"`) {
			t.Errorf("%s: %s", name, call.body)
		}
	}
}

// Heads are read with a projection that leaves the ciphertext out, so that a
// role can be kept from it.
func TestVaultHeadReadsNameNoCiphertext(t *testing.T) {
	ctx := context.Background()
	for operation, run := range map[string]func(dynamo.Vault){
		"Query":   func(s dynamo.Vault) { _, _ = s.Heads(ctx, "o1") },
		"GetItem": func(s dynamo.Vault) { _, _ = s.Head(ctx, "o1", taxonomy.AIKey, "c1") },
	} {
		w := &vaultWire{answers: []string{`{}`}}
		run(w.store(t))
		call := w.only(t, operation)
		projection, _ := call.request["ProjectionExpression"].(string)
		names, _ := call.request["ExpressionAttributeNames"].(map[string]any)
		if projection == "" || call.request["ConsistentRead"] != true {
			t.Fatalf("%s: %s", operation, call.body)
		}
		for _, alias := range strings.Split(projection, ",") {
			switch name := names[alias]; name {
			case nil, "", "wdek", "fields", "ctx", "kek":
				t.Errorf("%s reads %v (%s)", operation, name, alias)
			}
		}
	}
}

func vaultWritableHead() *vault.Head {
	return &vault.Head{
		Ref:    vault.Ref{Org: "o1", ID: "c1", Provider: "vendor", Class: taxonomy.AIKey},
		Status: vault.Active, ActiveVersion: 2, Epoch: 2, Fields: []vault.Field{{Name: "api_key", Version: 2}},
	}
}

const (
	vaultLostAnswer = `{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","CancellationReasons":[{"Code":"None"},{"Code":"ConditionalCheckFailed"}]}`
	vaultBusyAnswer = `{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","CancellationReasons":[{"Code":"TransactionConflict"}]}`
	vaultSlowAnswer = `{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"slow"}`
)

func TestVaultWriteOutcomes(t *testing.T) {
	for name, c := range map[string]struct {
		answers []string
		lost    bool
		failed  bool
		calls   int
	}{
		"written":                {[]string{`{}`}, false, false, 1},
		"condition":              {[]string{vaultLostAnswer}, true, true, 1},
		"conflict, then written": {[]string{vaultBusyAnswer, `{}`}, false, false, 2},
		"conflict, then lost":    {[]string{vaultBusyAnswer, vaultLostAnswer}, true, true, 2},
		"conflict for ever":      {[]string{vaultBusyAnswer}, false, true, 8},
		"throttled":              {[]string{vaultSlowAnswer}, false, true, 1},
	} {
		w := &vaultWire{answers: c.answers}
		err := w.store(t).Write(context.Background(), vault.Change{Head: vaultWritableHead()})
		if (err != nil) != c.failed || (err == vault.ErrLost) != c.lost || len(w.calls) != c.calls {
			t.Errorf("%s: %v after %d calls", name, err, len(w.calls))
		}
	}
	if err := new(vaultWire).store(t).Write(context.Background(), vault.Change{}); err == nil {
		t.Error("an empty change was accepted")
	}
}

// A rotation is one transaction with the conditions that make it safe, and no
// secret is on the wire.
func TestVaultRotationIsOneConditionalTransaction(t *testing.T) {
	memory, kek := vaulttest.NewStore(), vaulttest.NewKEK()
	recorder := &vaultRecorder{Store: memory}
	v, err := vault.New(vault.Options{Store: recorder, KEK: kek, Fields: vaulttest.Fields(), Now: vaulttest.NewClock().Now, App: "latchkey", Stage: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ref := vault.Ref{Org: "o1", ID: "c1", Provider: "vendor", Class: taxonomy.ChannelVerify}
	fields := func(s string) map[string]secret.Text {
		return map[string]secret.Text{"signing_secret": secret.FromString(s)}
	}
	if _, err := v.Create(context.Background(), vault.NewCredential{Op: vaulttest.Op(), Ref: ref, Fields: fields("CNRY-first-value")}); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Rotate(context.Background(), vault.Rotation{Op: vaulttest.Op(), Ref: ref, Fields: fields("CNRY-second-value")}); err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]string{
		{"attribute_not_exists(#pk)", "attribute_not_exists(#pk)", "ConditionCheck", "credential.create", "AUDITHEAD#o1"},
		{"#epoch = :epoch", "attribute_not_exists(#pk)", "Delete", "ConditionCheck", "credential.rotate", "AUDITHEAD#o1"},
	} {
		w := &vaultWire{}
		if err := w.store(t).Write(context.Background(), recorder.changes[i]); err != nil {
			t.Fatal(err)
		}
		if len(w.calls) != 2 || w.calls[0].operation != "GetItem" || w.calls[1].operation != "TransactWriteItems" {
			t.Fatalf("write %d: %+v; want the chain's head and one transaction", i, w.calls)
		}
		call := w.calls[1]
		actions, _ := call.request["TransactItems"].([]any)
		if len(actions) != len(want) || call.request["ClientRequestToken"] == "" || strings.Contains(call.body, "CNRY") {
			t.Fatalf("write %d: %s", i, call.body)
		}
		for j, action := range actions {
			text, err := json.Marshal(action)
			if err != nil || !strings.Contains(string(text), want[j]) {
				t.Errorf("write %d, action %d lacks %q: %s", i, j, want[j], text)
			}
		}
	}
}

// The ring's condition is told apart from the record's, which comes first.
func TestVaultTellsWhichConditionWasLost(t *testing.T) {
	for answer, want := range map[string]error{
		`{"__type":"x#TransactionCanceledException","CancellationReasons":[{"Code":"None"},{"Code":"ConditionalCheckFailed"}]}`:                   vault.ErrRing,
		`{"__type":"x#TransactionCanceledException","CancellationReasons":[{"Code":"ConditionalCheckFailed"},{"Code":"None"}]}`:                   vault.ErrLost,
		`{"__type":"x#TransactionCanceledException","CancellationReasons":[{"Code":"ConditionalCheckFailed"},{"Code":"ConditionalCheckFailed"}]}`: vault.ErrLost,
	} {
		for _, ring := range []vault.Ring{{Current: "k"}, {Current: "k", Epoch: 3}} {
			w := &vaultWire{answers: []string{answer}}
			if err := w.store(t).Write(context.Background(), vault.Change{Head: vaultWritableHead(), Ring: &ring}); err != want {
				t.Errorf("%s: %v, want %v", answer, err, want)
			}
			condition := "attribute_not_exists(#pk)"
			if ring.Epoch > 0 {
				condition = `":epoch":{"N":"3"}`
			}
			if body := w.only(t, "TransactWriteItems").body; !strings.Contains(body, "ConditionCheck") || !strings.Contains(body, condition) || !strings.Contains(body, `"S":"RING"`) {
				t.Errorf("epoch %d: %s", ring.Epoch, body)
			}
		}
	}
}

type vaultRecorder struct {
	vault.Store
	changes []vault.Change
}

func (r *vaultRecorder) Write(ctx context.Context, c vault.Change) error {
	r.changes = append(r.changes, c)
	return r.Store.Write(ctx, c)
}
