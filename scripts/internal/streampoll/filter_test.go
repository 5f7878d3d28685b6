package streampoll

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

const filterEvent = `{"eventID":"1","eventName":"MODIFY","eventSource":"aws:dynamodb","dynamodb":{
	"ApproximateCreationDateTime":1700000000,"SizeBytes":59,"SequenceNumber":"222",
	"Keys":{"pk":{"S":"ORG#a"},"sk":{"S":"REQ#1"}},
	"NewImage":{"st":{"S":"USED"},"n":{"N":"12"},"flag":{"BOOL":true},"none":{"NULL":true},"tags":{"SS":["red","blue"]},
		"list":{"L":[{"S":"x"},{"N":"7"}]},"empty":{"S":""}},
	"OldImage":{"st":{"S":"DISPATCHED"}}}}`

func TestFilterTable(t *testing.T) {
	cases := []struct {
		pattern string
		want    bool
	}{
		{`{"eventName":["MODIFY"],"dynamodb":{"NewImage":{"st":{"S":["USED"]}}}}`, true},
		{`{"eventName":["MODIFY"],"dynamodb":{"NewImage":{"st":{"S":["SETTLED"]}}}}`, false},
		{`{"eventName":["INSERT"],"dynamodb":{"NewImage":{"st":{"S":["USED"]}}}}`, false},
		{`{"eventName":["INSERT","MODIFY"]}`, true},
		{`{"eventName":["modify"]}`, false},
		{`{"eventName":[{"equals-ignore-case":"modify"}]}`, true},
		{`{"dynamodb":{"Keys":{"sk":{"S":[{"prefix":"REQ#"}]}}}}`, true},
		{`{"dynamodb":{"Keys":{"sk":{"S":[{"prefix":"E#"}]}}}}`, false},
		{`{"dynamodb":{"Keys":{"sk":{"S":[{"prefix":"E#"},"REQ#1"]}}}}`, true},
		{`{"dynamodb":{"Keys":{"sk":{"S":[{"suffix":"#1"}]}}}}`, true},
		{`{"dynamodb":{"SizeBytes":[{"prefix":"5"}]}}`, false},
		{`{"dynamodb":{"SizeBytes":[{"numeric":["=",59]}]}}`, true},
		{`{"dynamodb":{"SizeBytes":[{"numeric":[">",10,"<=",59]}]}}`, true},
		{`{"dynamodb":{"SizeBytes":[{"numeric":[">",10,"<",59]}]}}`, false},
		{`{"dynamodb":{"SizeBytes":[{"numeric":["<",59]}]}}`, false},
		{`{"dynamodb":{"SizeBytes":[{"numeric":[">=",59]}]}}`, true},
		{`{"dynamodb":{"SizeBytes":[{"numeric":[">",59]}]}}`, false},
		{`{"dynamodb":{"SizeBytes":[59]}}`, true},
		{`{"dynamodb":{"SizeBytes":[59.0]}}`, true},
		{`{"dynamodb":{"SizeBytes":["59"]}}`, false},
		{`{"dynamodb":{"NewImage":{"n":{"N":["12"]}}}}`, true},
		{`{"dynamodb":{"NewImage":{"n":{"N":[12]}}}}`, false},
		{`{"dynamodb":{"NewImage":{"n":{"N":[{"numeric":[">",1]}]}}}}`, false},
		{`{"dynamodb":{"NewImage":{"flag":{"BOOL":[true]}}}}`, true},
		{`{"dynamodb":{"NewImage":{"flag":{"BOOL":[false]}}}}`, false},
		{`{"dynamodb":{"NewImage":{"empty":{"S":[""]}}}}`, true},
		{`{"dynamodb":{"NewImage":{"st":{"S":[null]}}}}`, false},
		{`{"dynamodb":{"NewImage":{"st":{"S":[{"exists":true}]}}}}`, true},
		{`{"dynamodb":{"NewImage":{"st":{"S":[{"exists":false}]}}}}`, false},
		{`{"dynamodb":{"NewImage":{"gone":{"S":[{"exists":false}]}}}}`, true},
		{`{"dynamodb":{"NewImage":{"gone":{"S":[{"exists":true}]}}}}`, false},
		{`{"userIdentity":{"type":[{"exists":false}]}}`, true},
		{`{"dynamodb":{"OldImage":[{"exists":true}]}}`, false}, // an object is no leaf
		{`{"dynamodb":{"NewImage":{"st":{"S":[{"anything-but":["SETTLED","EXPIRED"]}]}}}}`, true},
		{`{"dynamodb":{"NewImage":{"st":{"S":[{"anything-but":["USED"]}]}}}}`, false},
		{`{"dynamodb":{"NewImage":{"st":{"S":[{"anything-but":"USED"}]}}}}`, false},
		{`{"dynamodb":{"NewImage":{"st":{"S":[{"anything-but":{"prefix":"US"}}]}}}}`, false},
		{`{"dynamodb":{"NewImage":{"st":{"S":[{"anything-but":{"suffix":"X"}}]}}}}`, true},
		{`{"dynamodb":{"NewImage":{"gone":{"S":[{"anything-but":"USED"}]}}}}`, false},
		{`{"dynamodb":{"SizeBytes":[{"anything-but":[59]}]}}`, false},
		{`{"dynamodb":{"NewImage":{"tags":{"SS":["blue"]}}}}`, true},
		{`{"dynamodb":{"NewImage":{"tags":{"SS":["green"]}}}}`, false},
		{`{"dynamodb":{"NewImage":{"list":{"L":{"S":["x"]}}}}}`, true},
		{`{"dynamodb":{"NewImage":{"list":{"L":{"N":["8"]}}}}}`, false},
		{`{"$or":[{"eventName":["INSERT"]},{"dynamodb":{"NewImage":{"st":{"S":["USED"]}}}}]}`, true},
		{`{"eventName":["INSERT"],"$or":[{"eventName":["MODIFY"]}]}`, false},
		{`{"dynamodb":{"$or":[{"SizeBytes":[1]},{"SequenceNumber":["222"]}]}}`, true},
		{`{"eventName":{"S":["MODIFY"]}}`, false},
	}
	for _, c := range cases {
		filters, err := compileFilters([]string{c.pattern})
		require.NoError(t, err, c.pattern)
		got, err := wanted(filters, json.RawMessage(filterEvent))
		require.NoError(t, err)
		require.Equal(t, c.want, got, c.pattern)
	}
}

func TestSeveralFiltersAreORed(t *testing.T) {
	filters, err := compileFilters([]string{`{"eventName":["REMOVE"]}`, `{"eventName":["MODIFY"]}`})
	require.NoError(t, err)
	got, err := wanted(filters, json.RawMessage(filterEvent))
	require.NoError(t, err)
	require.True(t, got)
	got, err = wanted(filters[:1], json.RawMessage(filterEvent))
	require.NoError(t, err)
	require.False(t, got)
}

func TestBadPatternsAreRefused(t *testing.T) {
	cases := map[string]string{
		`{}`:                                       "empty",
		`{"a":{}}`:                                 "empty",
		`{"a":[]}`:                                 "empty",
		`{"a":"x"}`:                                "object or a list",
		`{"a":[["x"]]}`:                            "may not hold a list",
		`{"a":[{"cidr":"10.0.0.0/8"}]}`:            `"cidr" is not supported`,
		`{"a":[{"prefix":"x","suffix":"y"}]}`:      "exactly one",
		`{"a":[{"prefix":1}]}`:                     "needs a string",
		`{"a":[{"exists":"yes"}]}`:                 "true or false",
		`{"a":[{"numeric":[">"]}]}`:                "numeric needs",
		`{"a":[{"numeric":["~",1]}]}`:              "numeric needs",
		`{"a":[{"numeric":[">","1"]}]}`:            "numeric needs",
		`{"a":[{"anything-but":[]}]}`:              "anything-but is empty",
		`{"a":[{"anything-but":{"numeric":[1]}}]}`: "not supported",
		`{"$or":[]}`:                               "$or is empty",
		`{"$or":["x"]}`:                            "$or must list objects",
		`{"a":["x"]} {}`:                           "text after",
	}
	for pattern, want := range cases {
		_, err := compileFilters([]string{pattern})
		require.ErrorContains(t, err, want, pattern)
	}
	_, err := compileFilters([]string{`{"a":["` + string(make([]byte, maxPattern)) + `"]}`})
	require.ErrorContains(t, err, "longer than")
}

func FuzzFilter(f *testing.F) {
	f.Add(`{"eventName":["MODIFY"]}`, filterEvent)
	f.Add(`{"a":[{"anything-but":[{"b":1}]}]}`, `{"a":{"b":1}}`)
	f.Add(`{"$or":[{"a":[{"numeric":["<",1]}]}]}`, `[{"a":0}]`)
	f.Fuzz(func(t *testing.T, pattern, event string) {
		filters, err := compileFilters([]string{pattern})
		if err != nil {
			return
		}
		wanted(filters, json.RawMessage(event))
	})
}

func FuzzResponse(f *testing.F) {
	f.Add([]byte(`{"batchItemFailures":[{"itemIdentifier":"2"}]}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`{"batchItemFailures":[{}]}`))
	records := []record{{sequence: "1"}, {sequence: "2"}, {sequence: "3"}}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if n := firstFailure(payload, records); n < 0 || n > len(records) {
			t.Fatalf("index %d", n)
		}
	})
}
