// Package awsinstant answers the AWS SDK at its HTTP client, at once and in the
// process: DynamoDB from a few items in memory, KMS from arithmetic. Set it as
// aws.Config.HTTPClient.
//
// ./scripts/bench measures the functions' own cost with it, so an answer is made
// once per distinct request and handed out again for every repeat: reading a
// request and looking it up is all that is left. While it records ([New]) the
// items of Put actions are kept; a store that was opened for serving ([Open])
// accepts writes and forgets them, so that it does not grow.
//
// It is no DynamoDB: conditions are not evaluated, updates change nothing, and a
// query knows the forms of key condition that shared/dynamo sends. What it does
// not know it refuses with a ValidationException, never guesses. Nothing of it is
// in a deployed function: the bench builds the handlers with another main file.
package awsinstant

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/latchkey/latchkey/shared/table"
)

// maxAnswers bounds the answers that are kept.
const maxAnswers = 4096

// Item is an item as it goes over the wire.
type Item map[string]json.RawMessage

// Store answers. Safe for concurrent use.
type Store struct {
	frozen bool

	mu      sync.Mutex
	tables  map[string][]Item // by deployed name, sorted by key
	answers map[string]*answer
	calls   map[string]int
	done    *answer // of every write
}

// New returns an empty store that records.
func New() *Store {
	return &Store{tables: map[string][]Item{}, answers: map[string]*answer{}, calls: map[string]int{}, done: render(http.StatusOK, "", []byte("{}"))}
}

// Open returns a store that serves what [Store.Save] wrote.
func Open(file string) (*Store, error) {
	s := New()
	s.frozen = true
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &s.tables)
	}
	if err != nil {
		return nil, fmt.Errorf("awsinstant: %w", err)
	}
	return s, nil
}

// Save writes the items to a file.
func (s *Store) Save(file string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := json.Marshal(s.tables)
	if err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o600)
}

// Calls returns how often each operation was called, as "DynamoDB.Query".
func (s *Store) Calls() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.calls)
}

// answer is shared by all who get it: the SDK changes neither header nor body.
type answer struct {
	status int
	body   []byte
	header http.Header
	name   string
}

// Do implements the HTTP client of the AWS SDK.
func (s *Store) Do(r *http.Request) (*http.Response, error) {
	var in bytes.Buffer
	if r.Body != nil {
		in.Grow(int(max(r.ContentLength, 0)) + bytes.MinRead)
		_, err := in.ReadFrom(r.Body)
		_ = r.Body.Close()
		if err != nil {
			return nil, err
		}
	}
	a := s.answer(r.Header.Get("X-Amz-Target"), in.Bytes())
	return &http.Response{Status: http.StatusText(a.status), StatusCode: a.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header, Body: io.NopCloser(bytes.NewReader(a.body)), ContentLength: int64(len(a.body)), Request: r}, nil
}

func (s *Store) answer(target string, in []byte) *answer {
	service, operation, _ := strings.Cut(target, ".")
	name := "DynamoDB." + operation
	if strings.HasPrefix(service, "Trent") {
		name = "KMS." + operation
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[name]++
	if operation == "UpdateItem" || s.frozen && strings.HasSuffix(operation, "WriteItems") {
		return s.done
	}
	if a := s.answers[string(in)]; a != nil && a.name == name {
		return a
	}
	out, err := s.run(name, in)
	if err != nil {
		return render(http.StatusBadRequest, name, []byte(`{"__type":"com.amazonaws#ValidationException","message":`+strconv.Quote(err.Error())+`}`))
	}
	a := render(http.StatusOK, name, out)
	if s.frozen && len(s.answers) < maxAnswers {
		s.answers[string(in)] = a
	}
	return a
}

func render(status int, name string, body []byte) *answer {
	return &answer{status: status, name: name, body: body, header: http.Header{
		"Content-Type": {"application/x-amz-json-1.0"}, "X-Amzn-Requestid": {"BENCH0000000000000000000000000000000000000000000000A"},
		"X-Amz-Crc32": {strconv.FormatUint(uint64(crc32.ChecksumIEEE(body)), 10)},
	}}
}

// input is what is read of any request.
type input struct {
	TableName                 string
	Key                       Item
	Item                      Item
	KeyConditionExpression    string
	IndexName                 string
	FilterExpression          string
	ExpressionAttributeNames  map[string]string
	ExpressionAttributeValues map[string]struct{ S string }
	TransactItems             []struct {
		Put *struct {
			TableName string
			Item      Item
		}
	}
	RequestItems map[string]json.RawMessage
	KeyID        string `json:"KeyId"`
	Limit        int
}

func (s *Store) run(name string, body []byte) ([]byte, error) {
	var in input
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	switch name {
	case "DynamoDB.GetItem":
		if it := s.get(in.TableName, in.Key); it != nil {
			return json.Marshal(map[string]any{"Item": it})
		}
		return []byte("{}"), nil
	case "DynamoDB.Query":
		return s.query(in)
	case "DynamoDB.BatchGetItem":
		return s.batchGet(in)
	case "DynamoDB.PutItem":
		s.put(in.TableName, in.Item)
	case "DynamoDB.TransactWriteItems":
		for _, t := range in.TransactItems {
			if t.Put != nil {
				s.put(t.Put.TableName, t.Put.Item)
			}
		}
	case "DynamoDB.BatchWriteItem":
		return []byte(`{"UnprocessedItems":{}}`), s.batchWrite(in)
	default:
		return keyService(name, in)
	}
	return []byte("{}"), nil
}

func text(v json.RawMessage) string {
	var s struct{ S string }
	_ = json.Unmarshal(v, &s)
	return s.S
}

func compare(a, b Item) int {
	if c := strings.Compare(text(a[table.PK]), text(b[table.PK])); c != 0 {
		return c
	}
	return strings.Compare(text(a[table.SK]), text(b[table.SK]))
}

func (s *Store) get(name string, key Item) Item {
	if at, ok := slices.BinarySearchFunc(s.tables[name], key, compare); ok {
		return s.tables[name][at]
	}
	return nil
}

func (s *Store) put(name string, it Item) {
	at, ok := slices.BinarySearchFunc(s.tables[name], it, compare)
	if ok {
		s.tables[name][at] = it
		return
	}
	s.tables[name] = slices.Insert(s.tables[name], at, it)
}

// query knows: the whole partition, a prefix of the sort key, a range of it.
func (s *Store) query(in input) ([]byte, error) {
	value := func(alias string) string { return in.ExpressionAttributeValues[alias].S }
	cond, rest, _ := strings.Cut(in.KeyConditionExpression, " AND ")
	if cond != "#pk = :pk" || in.IndexName != "" || in.FilterExpression != "" || in.Limit != 0 {
		return nil, fmt.Errorf("awsinstant: a query with %q is not known", in.KeyConditionExpression)
	}
	low, high := "", "\xff"
	var a, b string
	switch n, _ := fmt.Sscanf(rest, "#sk BETWEEN %s AND %s", &a, &b); {
	case rest == "":
	case strings.HasPrefix(rest, "begins_with(#sk, "):
		low = value(strings.TrimSuffix(strings.TrimPrefix(rest, "begins_with(#sk, "), ")"))
		high = low + "\xff"
	case n == 2:
		low, high = value(a), value(b)
	default:
		return nil, fmt.Errorf("awsinstant: a query with %q is not known", rest)
	}
	items := []Item{}
	for _, it := range s.tables[in.TableName] {
		if sk := text(it[table.SK]); text(it[table.PK]) == value(":pk") && sk >= low && sk <= high {
			items = append(items, it)
		}
	}
	return json.Marshal(map[string]any{"Count": len(items), "ScannedCount": len(items), "Items": items})
}

func (s *Store) batchGet(in input) ([]byte, error) {
	out := map[string][]Item{}
	for name, raw := range in.RequestItems {
		var keys struct{ Keys []Item }
		if err := json.Unmarshal(raw, &keys); err != nil {
			return nil, err
		}
		out[name] = []Item{}
		for _, k := range keys.Keys {
			if it := s.get(name, k); it != nil {
				out[name] = append(out[name], it)
			}
		}
	}
	return json.Marshal(map[string]any{"Responses": out, "UnprocessedKeys": map[string]any{}})
}

func (s *Store) batchWrite(in input) error {
	for name, raw := range in.RequestItems {
		var puts []struct{ PutRequest struct{ Item Item } }
		if err := json.Unmarshal(raw, &puts); err != nil {
			return err
		}
		for _, p := range puts {
			s.put(name, p.PutRequest.Item)
		}
	}
	return nil
}

// dataKey is every data key there is; a wrapped one is the text before it.
const dataKey = "0123456789abcdef0123456789abcdef"

func keyService(name string, in input) ([]byte, error) {
	plain := base64.StdEncoding.EncodeToString([]byte(dataKey))
	blob := base64.StdEncoding.EncodeToString([]byte("wrapped"))
	switch name {
	case "KMS.GenerateDataKey":
		return fmt.Appendf(nil, `{"KeyId":%q,"Plaintext":%q,"CiphertextBlob":%q}`, in.KeyID, plain, blob), nil
	case "KMS.Decrypt":
		return fmt.Appendf(nil, `{"KeyId":%q,"Plaintext":%q}`, in.KeyID, plain), nil
	case "KMS.GenerateMac":
		return fmt.Appendf(nil, `{"KeyId":%q,"Mac":%q,"MacAlgorithm":"HMAC_SHA_256"}`, in.KeyID, plain), nil
	}
	return nil, fmt.Errorf("awsinstant: %s is not known", name)
}
