package dynamo_test

import (
	"testing"

	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/dynamo/dynamotest"
	"github.com/latchkey/latchkey/shared/session/sessiontest"
	"github.com/latchkey/latchkey/shared/table"
)

func TestSessionsContract(t *testing.T) {
	fx := dynamotest.Open(t, table.Sessions)
	db, err := dynamo.New(fx.Client, fx.Tables)
	if err != nil {
		t.Fatal(err)
	}
	sessiontest.Run(t, sessiontest.All(db.Sessions()))
}
