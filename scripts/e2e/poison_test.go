package e2e

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/table"
)

// setHold overwrites the hold of a request behind the ledger's back.
func (x *tenant) setHold(request string, hold int64) {
	x.t.Helper()
	key := table.Request(x.ID, request, 1)
	_, err := world.Dynamo.UpdateItem(x.t.Context(), &dynamodb.UpdateItemInput{TableName: aws.String(world.Tables[table.Ledger]),
		Key:              map[string]types.AttributeValue{table.PK: &types.AttributeValueMemberS{Value: key.PK}, table.SK: &types.AttributeValueMemberS{Value: key.SK}},
		UpdateExpression: aws.String("SET #h = :h"), ExpressionAttributeNames: map[string]string{"#h": "hold"},
		ExpressionAttributeValues: map[string]types.AttributeValue{":h": &types.AttributeValueMemberN{Value: strconv.FormatInt(hold, 10)}}})
	must(x.t, err)
}

type poisonRow struct {
	ID, Reason string
	OrgID      string `json:"org_id"`
	Tries      int
}

// poison lists what settlement cannot process of the organisation.
func (x *tenant) poison() (out []poisonRow) {
	x.t.Helper()
	var list struct{ Items []poisonRow }
	must(x.t, operator().Call(x.t.Context(), http.MethodGet, "/api/operator/poison", nil, &list))
	for _, p := range list.Items {
		if p.OrgID == x.ID {
			out = append(out, p)
		}
	}
	return out
}

type holdRow struct {
	RequestID string `json:"request_id"`
	Amount    int64
	State     string
	Poison    string
}

func (x *tenant) holds() []holdRow {
	x.t.Helper()
	var list struct{ Items []holdRow }
	x.call(http.MethodGet, "/holds", nil, &list)
	return list.Items
}

// TestPoison: an attempt that cannot be settled, first, in the middle and last of
// what the stream delivers, keeps its hold where everybody sees it and holds up
// nobody; repaired, it is settled when an operator asks for it.
func TestPoison(t *testing.T) {
	for at := range 3 {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			x := newTenant(t, "free", 10_000_000)
			local(t, "/streams/pause", nil)
			defer local(t, "/streams/resume", nil)
			var ids []string
			for i := range 3 {
				a := post(t, world.FunctionURLs["invoke"]+"/v1/chat/completions", x.Key, chatBody(simChat, fmt.Sprintf("poison %d", i), false))
				if a.Status != http.StatusOK {
					t.Fatalf("%d %s", a.Status, a.Body)
				}
				ids = append(ids, a.Header.Get("x-request-id"))
			}
			var hold int64
			for _, h := range x.holds() {
				if h.RequestID == ids[at] {
					hold = h.Amount
				}
			}
			x.setHold(ids[at], -5)
			local(t, "/streams/resume", nil)
			eventually(t, "the others are settled and the bad one is known", func() bool { return len(x.entries()) == 3 && len(x.poison()) == 1 })
			if h := x.holds(); len(h) != 1 || h[0].RequestID != ids[at] || h[0].State != "USED" || h[0].Poison != "unreadable" {
				t.Errorf("holds: %+v", h)
			}
			if c := x.credits(); c.Held != hold || hold <= 0 {
				t.Errorf("held %d, want %d", c.Held, hold)
			}
			if at == 0 {
				eventually(t, "it is told", func() bool {
					for _, e := range world.Events.Events() {
						if e.DetailType == "latchkey.ledger.anomaly" {
							return true
						}
					}
					return false
				})
			}
			sweep(t, 2*time.Minute)
			if p := x.poison(); len(p) != 1 || p[0].Tries != 1 {
				t.Errorf("it was not left alone: %+v", p)
			}
			x.setHold(ids[at], hold)
			must(t, operator().Call(t.Context(), http.MethodPost, "/api/operator/poison/retry", map[string]any{"id": x.poison()[0].ID}, nil))
			sweep(t, 2*time.Minute)
			if p := x.poison(); len(p) != 0 {
				t.Errorf("left: %+v", p)
			}
			x.consistent()
			if n := len(x.entries()); n != 4 {
				t.Errorf("%d entries", n)
			}
		})
	}
}

// TestUnbilledIsCounted: a call whose function dies is counted until its hold is
// known to have been unbilled.
func TestUnbilledIsCounted(t *testing.T) {
	x := newTenant(t, "free", 10_000_000)
	killInvokeOnce(t, x, killPoints[1])
	var r struct {
		Requests int
		AtMost   int64 `json:"at_most"`
		Items    []struct {
			OrgID string `json:"org_id"`
			Hold  int64
		}
	}
	must(t, operator().Call(t.Context(), http.MethodGet, "/api/operator/unbilled?month="+time.Now().Add(time.Hour).UTC().Format("2006-01"), nil, &r))
	found := 0
	for _, i := range r.Items {
		if i.OrgID == x.ID && i.Hold > 0 {
			found++
		}
	}
	if found != 1 || r.Requests < 1 || r.AtMost <= 0 {
		t.Errorf("%+v", r)
	}
	x.consistent()
}
