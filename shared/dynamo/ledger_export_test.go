package dynamo

import (
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/agency"
	"github.com/latchkey/latchkey/shared/credit"
)

// EntryItem lets the suite forge an entry behind the ledger's back.
func EntryItem(e credit.Entry) item { return entryItem(e) }

// OfferWrite lets the suite write an offer without its organisation.
func OfferWrite(db *DB, o agency.Offer) types.TransactWriteItem { return db.offerWrite(o) }
