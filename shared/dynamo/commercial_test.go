package dynamo_test

import (
	"testing"

	"github.com/latchkey/latchkey/shared/commercial/commercialtest"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/dynamo/dynamotest"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/org/orgtest"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

func TestCommercial(t *testing.T) {
	fx := dynamotest.Open(t)
	db, err := dynamo.New(fx.Client, fx.Tables)
	if err != nil {
		t.Fatal(err)
	}
	commercialtest.Run(t, db.Commercial())

	// Terms and features of tiers lie in one item and leave each other alone.
	ctx := t.Context()
	before, version, err := db.Commercial().Tiers(ctx)
	if err != nil || len(before) == 0 {
		t.Fatal(before, err)
	}
	features := org.Tiers{taxonomy.Pro: {BYOK: true}}
	if err := db.Orgs().PutTiers(ctx, features, version, orgtest.Op("x").Row(org.Operator, "tiers.update", "tiers")); err != nil {
		t.Fatal(err)
	}
	after, next, err := db.Commercial().Tiers(ctx)
	if err != nil || len(after) != len(before) || next != version+1 {
		t.Errorf("%v at %d, %v; was %v at %d", after, next, err, before, version)
	}
	if err := db.Commercial().PutTiers(ctx, nil, next, orgtest.Op("y").Row(org.Operator, "tiers.billing", "tiers")); err != nil {
		t.Fatal(err)
	}
	if got, _, err := db.Orgs().Tiers(ctx); err != nil || got[taxonomy.Pro] != features[taxonomy.Pro] {
		t.Errorf("%v %v", got, err)
	}
	// What a call reads.
	c, err := db.Gateway().CallConfig(ctx, "a", "", callTime, nil)
	if err != nil || len(c.Terms) != 0 || !c.Tiers.Has(taxonomy.Pro, org.FeatureBYOK) || c.FreeUsed != 0 {
		t.Errorf("%+v %v", c, err)
	}
}
