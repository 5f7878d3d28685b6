package dynamo_test

import (
	"testing"

	"github.com/latchkey/latchkey/shared/consent/consenttest"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/dynamo/dynamotest"
	"github.com/latchkey/latchkey/shared/table"
)

// TestConsents: a state is used once, and only for the organisation that it is of.
func TestConsents(t *testing.T) {
	fx := dynamotest.Open(t, table.Config)
	db, err := dynamo.New(fx.Client, fx.Tables)
	if err != nil {
		t.Fatal(err)
	}
	consenttest.Run(t, db.Consents())
}
