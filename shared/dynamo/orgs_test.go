package dynamo

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/connection/connectiontest"
	"github.com/latchkey/latchkey/shared/dynamo/dynamotest"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/org/orgtest"
	"github.com/latchkey/latchkey/shared/table"
)

func openConfig(t *testing.T) *DB {
	t.Helper()
	fx := dynamotest.Open(t, table.Config, table.Ledger)
	db, err := New(fx.Client, fx.Tables)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func TestOrgStores(t *testing.T) {
	orgtest.Run(t, func(t *testing.T) orgtest.Stores {
		fx := dynamotest.Open(t, table.Config, table.Ledger)
		db, err := New(fx.Client, fx.Tables)
		if err != nil {
			t.Fatal(err)
		}
		return orgtest.Stores{Orgs: db.Orgs(), Keys: db.Keys(), Config: db.Orgs(), Sharing: db.Orgs(), Audit: db.Audit()}
	})
}

func TestConnectionStore(t *testing.T) {
	connectiontest.Run(t, func(t *testing.T) connectiontest.Store { return openConfig(t).Connections() })
}

// TestConfigItemsThatCannotBeReadAreRefused damages stored items: a guess could
// send a key somewhere or let a key in.
func TestConfigItemsThatCannotBeReadAreRefused(t *testing.T) {
	db, ctx := openConfig(t), context.Background()
	damage := func(k table.Key, attributes item) {
		t.Helper()
		for name, v := range keyItem(k) {
			attributes[name] = v
		}
		if _, err := db.api.PutItem(ctx, &dynamodb.PutItemInput{TableName: db.name(table.Config), Item: attributes}); err != nil {
			t.Fatal(err)
		}
	}
	damage(table.Org("a1"), item{"name": num(1)})
	damage(table.Settings("a1"), item{"doc": str(`{"later":true}`), "v": num(1)})
	damage(table.APIKey("a1", "k1"), item{"hash": bin([]byte("short"))})
	damage(table.Connection("a1", "c1"), item{"prio": &types.AttributeValueMemberN{Value: "1.5"}})
	for name, read := range map[string]func() error{
		"org":        func() error { _, err := db.Orgs().Org(ctx, "a1"); return err },
		"settings":   func() error { _, _, err := db.Orgs().Settings(ctx, "a1"); return err },
		"key":        func() error { _, err := db.Keys().Key(ctx, "a1", "k1"); return err },
		"keys":       func() error { _, _, err := db.Keys().Keys(ctx, "a1", "", 5); return err },
		"connection": func() error { _, err := db.Connections().Connection(ctx, "a1", "c1"); return err },
	} {
		if err := read(); fault.CodeOf(err) != fault.Internal {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A store that does not answer must be a reason to try again, never "unknown
// key" or "no such organisation".
func TestStoreDownIsUnavailable(t *testing.T) {
	tables := Tables{}
	for _, s := range table.Specs() {
		tables[s.Role] = "t"
	}
	db, err := New(dynamodb.New(dynamodb.Options{Region: "us-east-1", BaseEndpoint: aws.String("http://127.0.0.1:1"),
		RetryMaxAttempts: 1, Credentials: aws.AnonymousCredentials{}}), tables)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	row := orgtest.Op("r").Row("a1", "x", "y")
	for name, call := range map[string]func() error{
		"org":        func() error { _, err := db.Orgs().Org(ctx, "a"); return err },
		"create":     func() error { return db.Orgs().CreateOrg(ctx, org.Org{ID: "a"}, row) },
		"key":        func() error { _, err := db.Keys().Key(ctx, "a", "k"); return err },
		"connection": func() error { _, err := db.Connections().Connection(ctx, "a", "c"); return err },
		"cooldown":   func() error { return db.Connections().SetCooldown(ctx, "a", "c", connection.Cooldown{}, 1) },
		"audit":      func() error { return db.Audit().PutAudit(ctx, row) },
		"tiers":      func() error { _, _, err := db.Orgs().Tiers(ctx); return err },
	} {
		if err := call(); fault.CodeOf(err) != fault.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
}
