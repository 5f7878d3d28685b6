package dynamo

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

var ledgerTime = time.Date(2026, 1, 2, 3, 4, 5, 6_000_000, time.UTC)

func fullUsage() billing.Usage {
	return billing.Usage{InputTokens: 123456, CachedInputTokens: 2, CacheWriteTokens: 3, OutputTokens: 123456, ReasoningTokens: 5,
		InputAudioTokens: 6, OutputAudioTokens: 7, AudioMillis: 123456, Characters: 9, Requests: 1, CacheWrite1hTokens: 2, InputImageTokens: 8,
		OutputImageTokens: 9, AudioOutMillis: 10, Images: 11, Source: billing.FromProvider}
}

// itemSize is the size DynamoDB bills: names, values, three bytes per container.
func itemSize(it item) int {
	n := 0
	for name, v := range it {
		n += len(name) + valueSize(v)
	}
	return n
}

func valueSize(v types.AttributeValue) int {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return len(v.Value)
	case *types.AttributeValueMemberN:
		return len(v.Value)/2 + 2
	case *types.AttributeValueMemberB:
		return len(v.Value)
	case *types.AttributeValueMemberM:
		return 3 + itemSize(v.Value) + len(v.Value)
	}
	return 1
}

// TestRequestItemUnderOneKB: with ids at their usual length and everything else
// at its bound, an attempt is billed as one unit per write.
func TestRequestItemUnderOneKB(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	it := requestItem(credit.ReserveRequest{Org: x(32), Request: x(43), Attempt: 12, Owner: x(32), Hold: billing.MaxAmount, Now: ledgerTime,
		Expires: ledgerTime, Provider: x(20), Model: x(128), Connection: x(32), Agent: x(32), Key: x(32), Source: taxonomy.Platform,
		PriceVersion: x(20), Idempotent: true}, credit.MaxShards-1)
	// What the caller's last write adds.
	it[aAmount], it[aUsedAt], it[aOutcome], it[aUsage] = num(int64(billing.MaxAmount)), millis(ledgerTime), str("completed"), mapping(usageItem(fullUsage()))
	it[aEstimated], it[aVendorID], it[aStatus], it[aReason], it[aLast] = boolean(true), str(x(64)), num(200), str(x(64)), num(12)
	if n := itemSize(it); n > 1024 {
		t.Errorf("a request item has %d bytes", n)
	}
	if d := decisionItem(credit.ReserveRequest{Org: x(64), Request: x(64), Attempt: 1, Rule: "P7", DecisionHash: x(64), Decision: make([]byte, 700)}); itemSize(d) > 1024 {
		t.Errorf("a decision item has %d bytes", itemSize(d))
	}
}

func usedItem() item {
	it := requestItem(credit.ReserveRequest{Org: "org", Request: "req", Attempt: 3, Owner: "me", Hold: 50, Now: ledgerTime, Expires: ledgerTime,
		Provider: "p", Model: "m", Connection: "c", Agent: "a", Key: "k", Source: taxonomy.Platform, PriceVersion: "v"}, 0)
	it[aState], it[aAmount], it[aUsedAt] = str(string(credit.UsedState)), num(7), millis(ledgerTime)
	it[aOutcome], it[aUsage], it[aEstimated] = str("partial"), mapping(usageItem(fullUsage())), boolean(true)
	return it
}

func TestParseUsed(t *testing.T) {
	got, err := parseUsed(usedItem())
	want := credit.Used{Org: "org", Request: "req", Attempt: 3, Hold: 50, Amount: 7, Kind: credit.Partial, Usage: fullUsage(), Estimated: true,
		At: ledgerTime, Source: taxonomy.Platform, PriceVersion: "v", Provider: "p", Model: "m", Connection: "c", Agent: "a", Key: "k"}
	if err != nil || got != want {
		t.Fatalf("got %+v %v", got, err)
	}
	for name, spoil := range map[string]func(item){
		"no amount":      func(it item) { delete(it, aAmount) },
		"no hold":        func(it item) { delete(it, aHold) },
		"no time":        func(it item) { delete(it, aUsedAt) },
		"negative":       func(it item) { it[aAmount] = num(-1) },
		"too much":       func(it item) { it[aAmount] = num(int64(billing.MaxAmount) + 1) },
		"a fraction":     func(it item) { it[aAmount] = &types.AttributeValueMemberN{Value: "1.5"} },
		"text amount":    func(it item) { it[aAmount] = str("7") },
		"outcome":        func(it item) { it[aOutcome] = str("other") },
		"refused costs":  func(it item) { it[aOutcome] = str("refused") },
		"key":            func(it item) { it[table.PK] = str("R#org") },
		"attempt":        func(it item) { it[table.SK] = str("REQ#1") },
		"usage":          func(it item) { it[aUsage] = str("x") },
		"negative usage": func(it item) { it[aUsage] = mapping(item{"it": num(-4)}) },
	} {
		it := usedItem()
		spoil(it)
		if _, err := parseUsed(it); !errors.Is(err, errItem) && err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestEntryRoundTrip(t *testing.T) {
	u, _ := parseUsed(usedItem())
	u.Expired = true
	e, _ := u.Entry()
	got, err := parseEntry(entryItem(e))
	if err != nil || !reflect.DeepEqual(got, e) {
		t.Fatalf("got %+v %v\nwant %+v", got, err, e)
	}
}

// image turns an item into the JSON form of a stream record's image.
func image(it item) string {
	var wire func(v types.AttributeValue) any
	wire = func(v types.AttributeValue) any {
		switch v := v.(type) {
		case *types.AttributeValueMemberS:
			return map[string]any{"S": v.Value}
		case *types.AttributeValueMemberN:
			return map[string]any{"N": v.Value}
		case *types.AttributeValueMemberB:
			return map[string]any{"B": v.Value}
		case *types.AttributeValueMemberBOOL:
			return map[string]any{"BOOL": v.Value}
		case *types.AttributeValueMemberM:
			m := map[string]any{}
			for k, e := range v.Value {
				m[k] = wire(e)
			}
			return map[string]any{"M": m}
		case *types.AttributeValueMemberL:
			l := make([]any, len(v.Value))
			for i, e := range v.Value {
				l[i] = wire(e)
			}
			return map[string]any{"L": l}
		}
		return nil
	}
	m := map[string]any{}
	for k, v := range it {
		m[k] = wire(v)
	}
	raw, _ := json.Marshal(m)
	return string(raw)
}

func streamRecord(t testing.TB, name string, before, after item) *events.DynamoDBEventRecord {
	t.Helper()
	key := image(item{table.PK: after[table.PK], table.SK: after[table.SK]})
	raw := `{"eventName":"` + name + `","eventID":"e","dynamodb":{"Keys":` + key + `,"OldImage":` + image(before) + `,"NewImage":` + image(after) + `,"SequenceNumber":"1"}}`
	var r events.DynamoDBEventRecord
	if err := json.Unmarshal([]byte(raw), &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

func TestDecodeChange(t *testing.T) {
	running := usedItem()
	running[aState] = str(string(credit.Dispatched))
	settled := usedItem()
	settled[aState] = str(string(credit.Settled))
	u, _ := parseUsed(usedItem())
	e, _ := u.Entry()
	for name, c := range map[string]struct {
		event         string
		before, after item
		want          credit.ChangeKind
	}{
		"used":              {"MODIFY", running, usedItem(), credit.ChangeUsed},
		"parent of attempt": {"MODIFY", usedItem(), usedItem(), credit.ChangeOther},
		"settled":           {"MODIFY", usedItem(), settled, credit.ChangeOther},
		"reserved":          {"INSERT", nil, running, credit.ChangeOther},
		"entry":             {"INSERT", nil, entryItem(e), credit.ChangeEntry},
		"entry changed":     {"MODIFY", entryItem(e), entryItem(e), credit.ChangeOther},
		"decision":          {"INSERT", nil, decisionItem(credit.ReserveRequest{Org: "o", Request: "r", Attempt: 1}), credit.ChangeOther},
	} {
		got, err := DecodeChange(streamRecord(t, c.event, c.before, c.after))
		if err != nil || got.Kind != c.want {
			t.Errorf("%s: %+v %v", name, got, err)
		}
		if c.want == credit.ChangeUsed && got.Used != u || c.want == credit.ChangeEntry && !reflect.DeepEqual(got.Entry, e) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	bad := usedItem()
	delete(bad, aAmount)
	if c, err := DecodeChange(streamRecord(t, "MODIFY", running, bad)); !errors.Is(err, errItem) || c.PK != "R#org#req" || c.SK != "REQ#3" {
		t.Errorf("bad image: %+v %v", c, err)
	}
	if _, err := DecodeChange(&events.DynamoDBEventRecord{EventName: "MODIFY"}); !errors.Is(err, errItem) {
		t.Errorf("no key: %v", err)
	}
}

func FuzzDecodeChange(f *testing.F) {
	u, _ := parseUsed(usedItem())
	e, _ := u.Entry()
	for _, it := range []item{usedItem(), entryItem(e)} {
		raw, _ := json.Marshal(streamRecord(f, "MODIFY", nil, it))
		f.Add(raw)
	}
	f.Add([]byte(`{"eventName":"INSERT","dynamodb":{"Keys":{"pk":{"S":"J#"},"sk":{"NULL":true}},"NewImage":{"legs":{"L":[{"L":[{"N":"1"}]}]}}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var r events.DynamoDBEventRecord
		if !parseRecord(raw, &r) {
			return
		}
		c, err := DecodeChange(&r)
		if err == nil && c.Kind == credit.ChangeUsed && (c.Used.Amount < 0 || !table.ValidID(c.Used.Org)) {
			t.Fatalf("accepted %+v", c)
		}
	})
}

// parseRecord keeps the panics of the event library's own parser out: the
// runtime parses before the handler runs.
func parseRecord(raw []byte, r *events.DynamoDBEventRecord) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	return json.Unmarshal(raw, r) == nil
}
