package dynamo_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/dynamo/dynamotest"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/integration"
	"github.com/latchkey/latchkey/shared/integration/integrationtest"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/kmskey/kmskeytest"
)

func integrationStore(t testing.TB) (dynamo.Integrations, *dynamo.DB, dynamotest.Fixture) {
	t.Helper()
	fx := dynamotest.Open(t, table.Vault, table.Config)
	db, err := dynamo.New(fx.Client, fx.Tables)
	if err != nil {
		t.Fatal(err)
	}
	return db.Integrations(), db, fx
}

func openIntegrations(t *testing.T) (integration.Store, vault.KEK) {
	store, _, _ := integrationStore(t)
	return store, kmskeytest.Open(t)
}

func TestIntegrations(t *testing.T) {
	integrationStore(t) // skips the test as a whole where there is no engine
	integrationtest.Run(t, openIntegrations, integration.DualRead)
}

// The model runs a hundred times in memory (shared/integration/integrationtest);
// here it shows that the engine's conditions are the same.
func TestIntegrationSequences(t *testing.T) {
	checks := flag.Lookup("rapid.checks")
	was := checks.Value.String()
	t.Cleanup(func() { _ = checks.Value.Set(was) })
	if err := checks.Value.Set("5"); err != nil {
		t.Fatal(err)
	}
	integrationtest.Property(t, openIntegrations)
}

// An integration's items hold no plaintext but in the legacy copy, which lies in
// a partition of its own; what people change leaves a row in the same write.
func TestIntegrationItems(t *testing.T) {
	store, db, fx := integrationStore(t)
	w := integrationtest.NewWorld(t, store, kmskeytest.Open(t))
	ctx, canary := context.Background(), "CNRY-0a1b2c3d4e5f60718293"
	w.Import("a", integration.ShapePlaintext, integration.Values{integration.Payload: secret.FromString(canary)})
	w.Mode("a", integration.DualRead)
	w.Backfill()
	found := 0
	out, err := fx.Client.Scan(ctx, &dynamodb.ScanInput{TableName: aws.String(fx.Tables[table.Vault])})
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range out.Items {
		pk := it[table.PK].(*types.AttributeValueMemberS).Value
		if strings.Contains(dumpVaultAttributes(&types.AttributeValueMemberM{Value: it}), canary[5:13]) {
			found++
			if pk != table.LegacyCopy(integrationtest.Org, "").PK {
				t.Errorf("plaintext in %s", pk)
			}
		}
	}
	if found != 1 {
		t.Errorf("the canary is in %d items", found)
	}
	w.Clock.Advance(integration.Verified)
	w.Mode("a", integration.NewOnly)
	if _, err := w.Service.Purge(ctx, w.Op(), integrationtest.Org, "a"); err != nil {
		t.Fatal(err)
	}
	if err := w.Service.Delete(ctx, w.Op(), integrationtest.Org, "a"); err != nil {
		t.Fatal(err)
	}
	rows, _, err := db.Audit().Audit(ctx, integrationtest.Org, "", 50, w.Clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	var actions []string
	for _, r := range rows {
		actions = append(actions, r.Action+" "+r.Detail["mode"])
		if text := fmt.Sprint(r); strings.Contains(text, canary[5:13]) {
			t.Errorf("a row holds the value: %s", text)
		}
	}
	// Rows of one moment are listed by id, so only their number is certain there.
	for _, want := range []string{"integration.import ", "integration.mode dual_write", "integration.mode dual_read", "integration.mode new_only",
		"integration.purge ", "integration.delete "} {
		n := 0
		for _, a := range actions {
			if a == want {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d rows %q in %v", n, want, actions)
		}
	}
}

// A head that this version does not fully understand is not read, not changed
// and does not hide others.
func TestIntegrationDamage(t *testing.T) {
	store, _, fx := integrationStore(t)
	w := integrationtest.NewWorld(t, store, kmskeytest.Open(t))
	ctx := context.Background()
	want := integration.Values{integration.Payload: secret.FromString("v")}
	w.Import("a", integration.ShapePlaintext, want)
	w.Import("b", integration.ShapePlaintext, want)
	key := table.Integration(integrationtest.Org, "a")
	get := func() map[string]types.AttributeValue {
		out, err := fx.Client.GetItem(ctx, &dynamodb.GetItemInput{TableName: aws.String(fx.Tables[table.Vault]), Key: map[string]types.AttributeValue{
			table.PK: &types.AttributeValueMemberS{Value: key.PK}, table.SK: &types.AttributeValueMemberS{Value: key.SK}}})
		if err != nil || out.Item == nil {
			t.Fatal(err)
		}
		return out.Item
	}
	put := func(it map[string]types.AttributeValue) {
		if _, err := fx.Client.PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String(fx.Tables[table.Vault]), Item: it}); err != nil {
			t.Fatal(err)
		}
	}
	for name, change := range map[string]func(map[string]types.AttributeValue){
		"format":     func(it map[string]types.AttributeValue) { it["fmt"] = &types.AttributeValueMemberS{Value: "ih2"} },
		"mode":       func(it map[string]types.AttributeValue) { it["mode"] = &types.AttributeValueMemberS{Value: "both"} },
		"revision":   func(it map[string]types.AttributeValue) { delete(it, "rev") },
		"a type":     func(it map[string]types.AttributeValue) { it["legacy_rev"] = &types.AttributeValueMemberS{Value: "1"} },
		"credential": func(it map[string]types.AttributeValue) { delete(it, "cred") },
		"a shape": func(it map[string]types.AttributeValue) {
			it["shapes"] = &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{"payload": &types.AttributeValueMemberN{Value: "1"}}}
		},
	} {
		good := get()
		bad := get()
		change(bad)
		put(bad)
		if _, err := w.Opener(nil).Open(ctx, integrationtest.Org, "a"); integration.ReasonOf(err) != integration.Unreadable {
			t.Errorf("%s: %v", name, err)
		}
		if heads, _, err := w.Service.List(ctx, integrationtest.Org, "", 10); err != nil || len(heads) != 2 || heads[0].Quarantine.Reason != integration.Unreadable || heads[1].Mode != integration.LegacyOnly {
			t.Errorf("%s: %v %+v", name, err, heads)
		}
		if err := w.Service.Delete(ctx, w.Op(), integrationtest.Org, "a"); fault.CodeOf(err) != fault.Conflict {
			t.Errorf("%s: deleted: %v", name, err)
		}
		if _, err := w.Service.SetMode(ctx, w.Op(), integrationtest.Org, "a", integration.DualWrite); fault.CodeOf(err) != fault.Conflict {
			t.Errorf("%s: moved: %v", name, err)
		}
		before, _ := json.Marshal(bad)
		if after, _ := json.Marshal(get()); string(before) != string(after) {
			t.Errorf("%s: the record was written over", name)
		}
		put(good)
	}
	w.Opens("a", want)
}
