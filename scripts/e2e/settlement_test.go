package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/table"
)

// told is an event about an organisation.
type told struct {
	ID        string
	OrgID     string `json:"org_id"`
	Amount    int64
	Threshold string
}

// toldAbout lists what the bus took about an organisation, by detail type.
func (x *tenant) toldAbout(kind string) (out []told) {
	x.t.Helper()
	for _, e := range world.Events.Events() {
		var d told
		must(x.t, json.Unmarshal(e.Detail, &d))
		if e.DetailType == kind && d.OrgID == x.ID {
			out = append(out, d)
		}
	}
	return out
}

type usageRow struct {
	Key            map[string]string
	Requests, Cost int64
	InputTokens    int64 `json:"input_tokens"`
	OutputTokens   int64 `json:"output_tokens"`
}

func (x *tenant) usage(query string) []usageRow {
	x.t.Helper()
	var list struct{ Items []usageRow }
	x.call(http.MethodGet, "/usage?"+query, nil, &list)
	return list.Items
}

// spent is the number and cost of the calls that the usage rows know.
func (x *tenant) spent() (requests, cost int64) {
	for _, r := range x.usage("group_by=day") {
		requests += r.Requests
		cost += r.Cost
	}
	return requests, cost
}

// replayed is the same, replayed from the entries.
func (x *tenant) replayed() (requests, cost int64) {
	for _, e := range x.entries() {
		switch e.Kind {
		case "usage":
			requests++
			cost -= e.Amount
		case "fee":
			cost -= e.Amount
		}
	}
	return requests, cost
}

// projected waits until the usage rows equal the replay of the entries.
func (x *tenant) projected(want int64) {
	x.t.Helper()
	eventually(x.t, "usage of "+x.ID+" is projected", func() bool {
		n, cost := x.spent()
		m, charged := x.replayed()
		return n == want && m == want && cost == charged
	})
}

// journal reads the organisation's entries as the stream's records of their
// insertion.
func (x *tenant) journal() (records []map[string]any) {
	x.t.Helper()
	for b := range table.EntryBuckets {
		out, err := world.Dynamo.Query(x.t.Context(), &dynamodb.QueryInput{TableName: aws.String(world.Tables[table.Ledger]),
			KeyConditionExpression: aws.String("pk = :pk"), ExpressionAttributeValues: map[string]types.AttributeValue{
				":pk": &types.AttributeValueMemberS{Value: table.EntryPartition(x.ID, time.Now().UTC(), b)}}})
		must(x.t, err)
		for _, it := range out.Items {
			image := wire(it)
			records = append(records, map[string]any{"eventID": fmt.Sprint(serial.Add(1)), "eventName": "INSERT", "eventSource": "aws:dynamodb",
				"dynamodb": map[string]any{"ApproximateCreationDateTime": time.Now().Unix(), "Keys": map[string]any{"pk": image["pk"], "sk": image["sk"]},
					"NewImage": image, "SequenceNumber": fmt.Sprint(serial.Add(1)), "StreamViewType": "NEW_AND_OLD_IMAGES"}})
		}
	}
	return records
}

func wire(it map[string]types.AttributeValue) map[string]any {
	out := map[string]any{}
	for name, v := range it {
		out[name] = wireValue(v)
	}
	return out
}

func wireValue(v types.AttributeValue) any {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return map[string]any{"S": v.Value}
	case *types.AttributeValueMemberN:
		return map[string]any{"N": v.Value}
	case *types.AttributeValueMemberBOOL:
		return map[string]any{"BOOL": v.Value}
	case *types.AttributeValueMemberM:
		return map[string]any{"M": wire(v.Value)}
	case *types.AttributeValueMemberL:
		list := make([]any, len(v.Value))
		for i, e := range v.Value {
			list[i] = wireValue(e)
		}
		return map[string]any{"L": list}
	}
	panic("an attribute that entries do not have")
}

// deliver hands records to settle and returns the sequence numbers that it wants
// again.
func deliver(t *testing.T, records []map[string]any) []string {
	t.Helper()
	a := local(t, "/invoke/settle", map[string]any{"Records": records})
	var out struct {
		BatchItemFailures []struct{ ItemIdentifier string }
	}
	if a.Status != http.StatusOK {
		t.Fatalf("settle: %d %s", a.Status, a.Body)
	}
	must(t, json.Unmarshal(a.Body, &out))
	var again []string
	for _, f := range out.BatchItemFailures {
		again = append(again, f.ItemIdentifier)
	}
	return again
}

func (x *tenant) chats(n int) {
	x.t.Helper()
	for i := range n {
		if a := post(x.t, world.BaseURL+"/v1/chat/completions", x.Key, chatBody(simChat, fmt.Sprint("settle ", i), i%2 == 0)); a.Status != http.StatusOK {
			x.t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
}

// TestReplayedRecords: repeated, overlapping and shuffled records change neither
// usage nor alerts; every entry is on the bus, under its own id.
func TestReplayedRecords(t *testing.T) {
	x := newTenant(t, "free", 10_000_000)
	x.chats(7)
	x.settled()
	x.projected(7)
	records := x.journal()
	if len(records) != 8 {
		t.Fatalf("%d entries", len(records))
	}
	for range 4 {
		batch := append(slices.Clone(records), records[:3]...)
		rand.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
		if again := deliver(t, batch); len(again) != 0 {
			t.Fatalf("again: %v", again)
		}
	}
	broken := map[string]any{"eventID": "p", "eventName": "INSERT", "dynamodb": map[string]any{"SequenceNumber": "1",
		"Keys":     map[string]any{"pk": map[string]any{"S": "J#" + x.ID + "#broken"}, "sk": map[string]any{"S": "E#x"}},
		"NewImage": map[string]any{"a": map[string]any{"S": "not a number"}}}}
	for _, at := range []int{0, len(records) / 2, len(records)} {
		if again := deliver(t, slices.Insert(slices.Clone(records), at, broken)); len(again) != 0 {
			t.Errorf("poison at %d: again %v", at, again)
		}
	}
	x.projected(7)
	// The rows are made anew while calls go on.
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 6 {
			_, _ = tryPost(context.Background(), world.BaseURL+"/v1/chat/completions", x.Key, chatBody(simChat, fmt.Sprint("meanwhile ", i), false))
		}
	}()
	var rebuilt struct {
		OK, Complete         bool
		Checked              int
		Mismatches, Repaired []any
	}
	must(t, operator().Call(t.Context(), http.MethodPost, "/api/operator/rebuild-usage", map[string]any{"org_id": x.ID}, &rebuilt))
	if !rebuilt.OK || !rebuilt.Complete || rebuilt.Checked < 7 || len(rebuilt.Mismatches) != 0 {
		t.Errorf("rebuilt: %+v", rebuilt)
	}
	<-done
	x.projected(13)
	deliver(t, x.journal())
	x.projected(13)
	x.consistent()
	eventually(t, "every entry is told", func() bool {
		ids := map[string]bool{}
		for _, e := range x.toldAbout("latchkey.ledger.entry") {
			ids[e.ID] = true
		}
		return len(ids) == 14
	})
	ids := map[string]int{}
	for _, e := range x.toldAbout("latchkey.ledger.entry") {
		ids[e.ID]++
	}
	for _, e := range x.entries() {
		if ids[e.ID] == 0 {
			t.Errorf("%s was never told", e.ID)
		}
		delete(ids, e.ID)
	}
	if len(ids) != 0 {
		t.Errorf("told of entries that do not exist: %v", slices.Collect(maps.Keys(ids)))
	}
	anomalies := map[string]int{}
	for _, e := range world.Events.Events() {
		if strings.Contains(string(e.Detail), x.ID+"#broken") {
			var d told
			must(t, json.Unmarshal(e.Detail, &d))
			anomalies[e.DetailType+" "+d.ID]++
		}
	}
	if len(anomalies) != 1 || !strings.HasPrefix(slices.Collect(maps.Keys(anomalies))[0], "latchkey.ledger.anomaly an_") {
		t.Errorf("anomalies %v", anomalies)
	}
}

// TestAlertsOnce: falling through limits is one message each, whatever is
// delivered again, and a top-up begins anew.
func TestAlertsOnce(t *testing.T) {
	x := newTenant(t, "free", 1000)
	x.call(http.MethodPut, "/alerts/settings", map[string]any{"low_balance": 300}, nil)
	var want []string
	move := func(amount int64, expect string) {
		t.Helper()
		kind, path := "gifted", "/adjustments"
		if amount > 0 {
			path = "/grants"
		}
		x.operatorCall(http.MethodPost, path, map[string]any{"kind": kind, "amount": amount, "idempotency_key": fmt.Sprint("move ", serial.Add(1))}, nil)
		entries := len(x.entries())
		eventually(t, "the entry is told", func() bool {
			ids := map[string]bool{}
			for _, e := range x.toldAbout("latchkey.ledger.entry") {
				ids[e.ID] = true
			}
			return len(ids) == entries
		})
		if expect != "" {
			want = append(want, expect)
		}
		var got []string
		for _, kind := range []string{"latchkey.credits.low", "latchkey.credits.exhausted"} {
			for _, e := range x.toldAbout(kind) {
				got = append(got, e.Threshold)
			}
		}
		sorted := slices.Sorted(slices.Values(want))
		if slices.Sort(got); !slices.Equal(got, sorted) {
			t.Fatalf("told %v, want %v", got, sorted)
		}
	}
	eventually(t, "the level is known", func() bool {
		var s struct{ Level int64 }
		x.call(http.MethodGet, "/alerts/settings", nil, &s)
		return s.Level == 1000
	})
	move(-400, "")
	move(-100, "50%")
	move(-1, "")
	move(-250, "absolute") // 249
	move(-220, "5%")       // 29: past 20 % at once
	move(-29, "exhausted")
	move(-10, "")
	for range 3 {
		deliver(t, x.journal())
	}
	move(2010, "") // 2,000
	move(-1650, "20%")
	var list struct {
		Items []struct {
			ID, Threshold      string
			Limit, Left, Level int64
		}
	}
	x.call(http.MethodGet, "/alerts", nil, &list)
	if len(list.Items) != 5 || list.Items[0].Threshold != "20%" || list.Items[0].Limit != 400 || list.Items[0].Left != 350 || list.Items[0].Level != 2000 {
		t.Errorf("alerts %+v", list.Items)
	}
	x.consistent()
}
