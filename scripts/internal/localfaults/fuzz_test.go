package localfaults

import "testing"

// FuzzNeeds: whatever the body, a call needs at least one permission or is
// refused: nothing slips past the allow list.
func FuzzNeeds(f *testing.F) {
	f.Add("PutItem", []byte(`{"TableName":"ledger"}`))
	f.Add("TransactWriteItems", []byte(`{"TransactItems":[{"Put":{"TableName":"arn:aws:dynamodb:r:a:table/t"}}]}`))
	f.Add("BatchGetItem", []byte(`{"RequestItems":{"t":{}}}`))
	f.Add("ExecuteStatement", []byte(`{"Statement":"SELECT 1"}`))
	f.Add("GetItem", []byte(``))
	f.Fuzz(func(t *testing.T, operation string, body []byte) {
		for _, service := range []string{DynamoDB, Streams} {
			got, err := needs(service, operation, body)
			if err == nil && len(got) == 0 {
				t.Fatal("a call without a need")
			}
			for _, n := range got {
				if n.operation == "" && operation != "" {
					t.Fatal("a need without an operation")
				}
			}
		}
	})
}
