package dynamo_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/dynamo/dynamotest"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/kmskey/kmskeytest"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

func vaultStore(t testing.TB) (dynamo.Vault, dynamotest.Fixture) {
	t.Helper()
	fx := dynamotest.Open(t, table.Vault, table.Config)
	db, err := dynamo.New(fx.Client, fx.Tables)
	if err != nil {
		t.Fatal(err)
	}
	return dynamo.NewVault(db), fx
}

func TestVaultConformance(t *testing.T) {
	vaultStore(t) // skips the test as a whole where there is no engine
	vaulttest.Run(t, func(t *testing.T) (vault.Store, vault.KEK) {
		store, fx := vaultStore(t)
		db, err := dynamo.New(fx.Client, fx.Tables)
		if err != nil {
			t.Fatal(err)
		}
		return auditedVault{store, db.Audit()}, kmskeytest.Open(t)
	})
}

// auditedVault shows the suite the rows that the store wrote.
type auditedVault struct {
	vault.Store
	rows dynamo.Audit
}

func (v auditedVault) AuditRows(ctx context.Context, org string) (out []audit.Row, err error) {
	err = v.rows.AuditMonth(ctx, org, vaulttest.NewClock().Now(), func(s audit.Stored) error {
		out = append(out, s.Row)
		return nil
	})
	slices.SortFunc(out, func(a, b audit.Row) int { return cmp.Compare(a.Seq, b.Seq) })
	return out, err
}

// vaultEnv is one stored credential that a test damages.
type vaultEnv struct {
	*testing.T
	dynamotest.Fixture
	v   *vault.Vault
	ref vault.Ref
}

const vaultCanary = "CNRY-5b1f0c9e7a33d214"

func newVaultEnv(t *testing.T) vaultEnv {
	t.Helper()
	store, fx := vaultStore(t)
	return newVaultEnvOn(t, store, fx)
}

func newVaultEnvOn(t *testing.T, store dynamo.Vault, fx dynamotest.Fixture) vaultEnv {
	t.Helper()
	clock := vaulttest.NewClock()
	v, err := vault.New(vault.Options{Store: store, KEK: vaulttest.NewKEK(), Fields: vaulttest.Fields(), Now: clock.Now, App: "latchkey", Stage: "test"})
	if err != nil {
		t.Fatal(err)
	}
	e := vaultEnv{t, fx, v, vault.Ref{Org: "o1", ID: "c1", Provider: "vendor", Class: taxonomy.AIKey}}
	if _, err := v.Create(context.Background(), vault.NewCredential{
		Op:  vaulttest.Op(),
		Ref: e.ref, Label: "first", Origin: "https://api.vendor.example",
		Fields: map[string]secret.Text{"api_key": secret.FromString(vaultCanary)},
	}); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e vaultEnv) headKey() table.Key {
	return table.CredentialHead(e.ref.Org, string(e.ref.Class), e.ref.ID)
}

func (e vaultEnv) versionKey() table.Key {
	return table.CredentialVersion(e.ref.Org, string(e.ref.Class), e.ref.ID, 1)
}

func (e vaultEnv) item(k table.Key) map[string]types.AttributeValue {
	e.Helper()
	out, err := e.Client.GetItem(context.Background(), &dynamodb.GetItemInput{
		TableName: aws.String(e.Tables[table.Vault]), ConsistentRead: aws.Bool(true),
		Key: map[string]types.AttributeValue{
			table.PK: &types.AttributeValueMemberS{Value: k.PK}, table.SK: &types.AttributeValueMemberS{Value: k.SK},
		},
	})
	if err != nil || out.Item == nil {
		e.Fatalf("item %v: %v", k, err)
	}
	return out.Item
}

func (e vaultEnv) put(it map[string]types.AttributeValue) {
	e.Helper()
	if _, err := e.Client.PutItem(context.Background(), &dynamodb.PutItemInput{
		TableName: aws.String(e.Tables[table.Vault]), Item: it,
	}); err != nil {
		e.Fatal(err)
	}
}

func (e vaultEnv) reveal() error {
	creds, err := e.v.LoadClass(context.Background(), e.ref.Org, e.ref.Class)
	if err != nil || len(creds) != 1 {
		e.Fatalf("LoadClass: %v, %d credentials", err, len(creds))
	}
	return e.v.Reveal(context.Background(), creds[0], vault.Use{Field: "api_key", Purpose: "test"}, func([]byte) error { return nil })
}

func TestVaultRefusesDamagedItems(t *testing.T) {
	e := newVaultEnv(t)
	if err := e.reveal(); err != nil {
		t.Fatal(err)
	}
	s := func(v string) types.AttributeValue { return &types.AttributeValueMemberS{Value: v} }
	n := func(v string) types.AttributeValue { return &types.AttributeValueMemberN{Value: v} }
	type attributes = map[string]types.AttributeValue
	for name, c := range map[string]struct {
		key    table.Key
		change func(attributes)
		want   vault.Reason
	}{
		"unknown version format":    {e.versionKey(), func(a attributes) { a["fmt"] = s("bv2") }, vault.UnknownFormat},
		"format of another type":    {e.versionKey(), func(a attributes) { a["fmt"] = n("1") }, vault.UnknownFormat},
		"unknown attribute":         {e.versionKey(), func(a attributes) { a["more"] = n("1") }, vault.UnknownFormat},
		"unknown algorithm":         {e.versionKey(), func(a attributes) { a["alg"] = n("2") }, vault.UnknownAlg},
		"fractional algorithm":      {e.versionKey(), func(a attributes) { a["alg"] = n("1.5") }, vault.UnknownFormat},
		"no wrapped key":            {e.versionKey(), func(a attributes) { delete(a, "wdek") }, vault.KeyInvalidCiphertext},
		"no context":                {e.versionKey(), func(a attributes) { delete(a, "ctx") }, vault.ContextMismatch},
		"context of another type":   {e.versionKey(), func(a attributes) { a["ctx"] = s("x") }, vault.UnknownFormat},
		"no fields":                 {e.versionKey(), func(a attributes) { delete(a, "fields") }, vault.VersionMissing},
		"field of another type":     {e.versionKey(), func(a attributes) { a["fields"] = &types.AttributeValueMemberM{Value: attributes{"api_key": s("x")}} }, vault.UnknownFormat},
		"field that the head lacks": {e.versionKey(), func(a attributes) { f := a["fields"].(*types.AttributeValueMemberM); f.Value["b"] = f.Value["api_key"] }, vault.UnknownField},
		"head of another class":     {e.headKey(), func(a attributes) { a["cls"] = s("voice_key") }, vault.MalformedRecord},
		"head of another layout":    {e.headKey(), func(a attributes) { a["vh"] = s("vh2") }, vault.MalformedRecord},
		"head of another status":    {e.headKey(), func(a attributes) { a["status"] = s("paused") }, vault.MalformedRecord},
		"head without fields":       {e.headKey(), func(a attributes) { delete(a, "field_heads") }, vault.MalformedRecord},
		"head with a wrong element": {e.headKey(), func(a attributes) { a["drains"] = &types.AttributeValueMemberL{Value: []types.AttributeValue{s("x")}} }, vault.MalformedRecord},
		"head of another provider":  {e.headKey(), func(a attributes) { a["provider"] = s("vendor2") }, vault.ContextMismatch},
		"head that is revoked":      {e.headKey(), func(a attributes) { a["status"] = s("revoked") }, vault.IsRevoked},
	} {
		good, bad := e.item(c.key), e.item(c.key)
		c.change(bad)
		e.put(bad)
		if err := e.reveal(); vault.ReasonOf(err) != c.want {
			t.Errorf("%s: reason %q, want %q", name, vault.ReasonOf(err), c.want)
		}
		e.put(good)
	}
	if err := e.reveal(); err != nil {
		t.Errorf("after all repairs: %v", err)
	}
}

// An unreadable head is not overwritten by a writer that does not know it.
func TestVaultDoesNotWriteOverAnUnreadableHead(t *testing.T) {
	e := newVaultEnv(t)
	it := e.item(e.headKey())
	it["vh"] = &types.AttributeValueMemberS{Value: "vh2"}
	e.put(it)
	_, err := e.v.Rotate(context.Background(), vault.Rotation{Op: vaulttest.Op(), Ref: e.ref, Fields: map[string]secret.Text{"api_key": secret.FromString("another")}})
	if fault.CodeOf(err) != fault.VaultUnavailable || vault.ReasonOf(err) != vault.MalformedRecord {
		t.Errorf("rotate: %v, %q", err, vault.ReasonOf(err))
	}
	heads, err := e.v.Heads(context.Background(), e.ref.Org)
	if err != nil || len(heads) != 1 || heads[0].Status != vault.Unreadable {
		t.Errorf("Heads: %v, %+v", err, heads)
	}
}

// One damaged credential does not take the others of its class along.
func TestVaultDamageStaysLocal(t *testing.T) {
	e := newVaultEnv(t)
	other := e.ref
	other.ID = "c2"
	if _, err := e.v.Create(context.Background(), vault.NewCredential{
		Op:  vaulttest.Op(),
		Ref: other, Origin: "https://api.vendor.example", Fields: map[string]secret.Text{"api_key": secret.FromString("healthy-value")},
	}); err != nil {
		t.Fatal(err)
	}
	it := e.item(e.headKey())
	delete(it, "epoch")
	e.put(it)
	creds, err := e.v.LoadClass(context.Background(), e.ref.Org, e.ref.Class)
	if err != nil || len(creds) != 2 {
		t.Fatalf("LoadClass: %v, %d", err, len(creds))
	}
	for i, want := range []vault.Reason{vault.MalformedRecord, ""} {
		err := e.v.Reveal(context.Background(), creds[i], vault.Use{Field: "api_key", Purpose: "test"}, func([]byte) error { return nil })
		if vault.ReasonOf(err) != want || want == "" && err != nil {
			t.Errorf("%s: %v, reason %q, want %q", creds[i].Head.Ref.ID, err, vault.ReasonOf(err), want)
		}
	}
}

// Versions whose head is gone belong to nobody, least of all to the credential
// that sorts before them.
func TestVaultIgnoresOrphans(t *testing.T) {
	e := newVaultEnv(t)
	for _, k := range []table.Key{
		table.CredentialVersion(e.ref.Org, string(e.ref.Class), "c0", 1), table.CredentialVersion(e.ref.Org, string(e.ref.Class), "c2", 2),
		{PK: e.headKey().PK, SK: string(e.ref.Class) + "#c1#V#1"}, {PK: e.headKey().PK, SK: string(e.ref.Class) + "#odd"},
	} {
		it := e.item(e.versionKey())
		it[table.PK], it[table.SK] = &types.AttributeValueMemberS{Value: k.PK}, &types.AttributeValueMemberS{Value: k.SK}
		e.put(it)
	}
	creds, err := e.v.LoadClass(context.Background(), e.ref.Org, e.ref.Class)
	if err != nil || len(creds) != 1 || len(creds[0].Versions) != 1 {
		t.Errorf("LoadClass: %v, %+v", err, creds)
	}
	if heads, err := e.v.Heads(context.Background(), e.ref.Org); err != nil || len(heads) != 1 {
		t.Errorf("Heads: %v, %+v", err, heads)
	}
	if _, err := e.v.Load(context.Background(), e.ref.Org, e.ref.Class, "c2"); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("an orphan loads as a credential: %v", err)
	}
}

// The stored items hold no plaintext, and the head holds no ciphertext.
func TestVaultItemsHoldNoPlaintext(t *testing.T) {
	e := newVaultEnv(t)
	for name, k := range map[string]table.Key{"head": e.headKey(), "version": e.versionKey()} {
		it := e.item(k)
		dump := dumpVaultAttributes(&types.AttributeValueMemberM{Value: it})
		if !strings.Contains(dump, "first") && name == "head" {
			t.Fatalf("the dump does not show the label: %s", dump)
		}
		for i := 0; i+8 <= len(vaultCanary); i++ {
			if strings.Contains(dump, vaultCanary[i:i+8]) {
				t.Errorf("%s holds plaintext", name)
			}
		}
		for _, secretAttribute := range []string{"wdek", "fields", "ct"} {
			if _, ok := it[secretAttribute]; ok && name == "head" {
				t.Errorf("the head holds %s", secretAttribute)
			}
		}
	}
}

func dumpVaultAttributes(av types.AttributeValue) string {
	switch v := av.(type) {
	case *types.AttributeValueMemberM:
		out := ""
		for name, e := range v.Value {
			out += name + "=" + dumpVaultAttributes(e) + ";"
		}
		return out
	case *types.AttributeValueMemberL:
		out := ""
		for _, e := range v.Value {
			out += dumpVaultAttributes(e) + ","
		}
		return out
	case *types.AttributeValueMemberB:
		return string(v.Value)
	case *types.AttributeValueMemberS:
		return v.Value
	case *types.AttributeValueMemberN:
		return v.Value
	}
	return fmt.Sprintf("%T", av)
}

// A partition larger than one page (1 MB) is read completely.
func TestVaultFollowsPages(t *testing.T) {
	e := newVaultEnv(t)
	const count = 20
	for i := range count {
		ref := vault.Ref{Org: "big", ID: fmt.Sprintf("c%02d", i), Provider: "vendor", Class: taxonomy.ChannelSend}
		fields := map[string]secret.Text{}
		for f := range 4 {
			fields[fmt.Sprint("field", f)] = secret.FromString(strings.Repeat("v", 16<<10))
		}
		if _, err := e.v.Create(context.Background(), vault.NewCredential{Op: vaulttest.Op(), Ref: ref, Fields: fields}); err != nil {
			t.Fatal(err)
		}
	}
	creds, err := e.v.LoadClass(context.Background(), "big", taxonomy.ChannelSend)
	if err != nil || len(creds) != count {
		t.Fatalf("LoadClass: %v, %d", err, len(creds))
	}
	for _, c := range creds {
		if len(c.Versions) != 1 || len(c.Versions[0].Fields) != 4 {
			t.Errorf("%s is incomplete", c.Head.Ref.ID)
		}
	}
	if heads, err := e.v.Heads(context.Background(), "big"); err != nil || len(heads) != count {
		t.Errorf("Heads: %v, %d", err, len(heads))
	}
}

// Times survive to the millisecond, so that an overlap ends when it was said to.
func TestVaultKeepsTimes(t *testing.T) {
	e := newVaultEnv(t)
	h, err := e.v.Rotate(context.Background(), vault.Rotation{
		Op:  vaulttest.Op(),
		Ref: e.ref, Fields: map[string]secret.Text{"api_key": secret.FromString("another")}, Overlap: 90 * time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	stored, err := e.v.Head(context.Background(), e.ref.Org, e.ref.Class, e.ref.ID)
	if err != nil || fmt.Sprint(stored) != fmt.Sprint(h) {
		t.Errorf("stored and returned heads differ: %v\n%+v\n%+v", err, stored, h)
	}
}
