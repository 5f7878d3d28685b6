package dynamo

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// sent is a request as the HTTP client gets it.
type sent struct {
	url, body string
	header    http.Header
}

// answering gives the next status and body of a script, the last for ever.
type answering struct {
	script []string // "<status> <body>"
	crc    string
	sent   []sent
}

func (a *answering) Do(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	a.sent = append(a.sent, sent{r.URL.String(), string(body), r.Header.Clone()})
	next := a.script[0]
	if len(a.script) > 1 {
		a.script = a.script[1:]
	}
	status, text, _ := strings.Cut(next, " ")
	if status == "lost" {
		return nil, io.ErrUnexpectedEOF
	}
	code := map[string]int{"200": 200, "400": 400, "500": 500}[status]
	h := http.Header{"Content-Type": {"application/x-amz-json-1.0"}, "X-Amzn-Requestid": {"id"}}
	if a.crc != "" {
		h.Set("X-Amz-Crc32", a.crc)
	}
	return &http.Response{StatusCode: code, Header: h, Body: io.NopCloser(strings.NewReader(text)), ContentLength: int64(len(text)), Request: r}, nil
}

func (a *answering) client() *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{Region: "eu-west-1", HTTPClient: a, Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", "session"),
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) { o.MaxBackoff = time.Microsecond })})
}

// What is sent is what the SDK's client sends: the service cannot tell the two
// apart but by headers about the SDK itself.
func TestDirectSendsWhatTheClientSends(t *testing.T) {
	key := item{"pk": str("a"), "sk": str("b")}
	ctx := context.Background()
	get := &dynamodb.GetItemInput{TableName: aws.String("t"), Key: key, ConsistentRead: aws.Bool(true)}
	batch := &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{"t": {Keys: []item{key}, ConsistentRead: aws.Bool(true)}}}
	query := &dynamodb.QueryInput{TableName: aws.String("t"), KeyConditionExpression: aws.String("#pk = :pk"), Limit: aws.Int32(3),
		ExpressionAttributeNames: map[string]string{"#pk": "pk"}, ExpressionAttributeValues: item{":pk": bin([]byte("x")), ":l": list(num(1), boolean(true))}}
	transact := &dynamodb.TransactWriteItemsInput{ClientRequestToken: aws.String("token"), TransactItems: []types.TransactWriteItem{ledgerPut(aws.String("t"), key, ifAbsent)}}
	update := &dynamodb.UpdateItemInput{TableName: aws.String("t"), Key: key, UpdateExpression: aws.String("SET #a = :a")}
	put := &dynamodb.PutItemInput{TableName: aws.String("t"), Item: key, ConditionExpression: aws.String("attribute_not_exists(#a)"),
		ExpressionAttributeNames: map[string]string{"#a": "pk"}, ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld}
	about := regexp.MustCompile(`^(Amz-Sdk-.*|User-Agent|Authorization|X-Amz-Date|Content-Length)$`)
	for name, run := range map[string]struct {
		client func(*dynamodb.Client) error
		direct func(*direct) error
	}{
		"get": {func(c *dynamodb.Client) error { _, err := c.GetItem(ctx, get); return err },
			func(d *direct) error { return d.Insist(ctx, d.get, get, new(dynamodb.GetItemOutput)) }},
		"batch": {func(c *dynamodb.Client) error { _, err := c.BatchGetItem(ctx, batch); return err },
			func(d *direct) error { return d.Insist(ctx, d.batchGet, batch, new(dynamodb.BatchGetItemOutput)) }},
		"query": {func(c *dynamodb.Client) error { _, err := c.Query(ctx, query); return err },
			func(d *direct) error { return d.Insist(ctx, d.query, query, new(dynamodb.QueryOutput)) }},
		"transact": {func(c *dynamodb.Client) error { _, err := c.TransactWriteItems(ctx, transact); return err },
			func(d *direct) error {
				return d.Once(ctx, d.transact, transact, new(dynamodb.TransactWriteItemsOutput))
			}},
		"update": {func(c *dynamodb.Client) error { _, err := c.UpdateItem(ctx, update); return err },
			func(d *direct) error { return d.Once(ctx, d.update, update, new(dynamodb.UpdateItemOutput)) }},
		"put": {func(c *dynamodb.Client) error { _, err := c.PutItem(ctx, put); return err },
			func(d *direct) error { return d.Insist(ctx, d.put, put, new(dynamodb.PutItemOutput)) }},
	} {
		a := &answering{script: []string{"200 {}"}}
		c := a.client()
		if err := errors.Join(run.client(c), run.direct(newDirect(c))); err != nil || len(a.sent) != 2 {
			t.Fatalf("%s: %v, %d sent", name, err, len(a.sent))
		}
		want, got := a.sent[0], a.sent[1]
		scope := regexp.MustCompile(`Credential=AKID/\d{8}/eu-west-1/dynamodb/aws4_request, SignedHeaders=([^,]*host[^,]*x-amz-date;x-amz-security-token;x-amz-target[^,]*), Signature=[0-9a-f]{64}$`)
		if !scope.MatchString(got.header.Get("Authorization")) {
			t.Errorf("%s: %s", name, got.header.Get("Authorization"))
		}
		for _, h := range []http.Header{want.header, got.header} {
			for k := range h {
				if about.MatchString(k) {
					delete(h, k)
				}
			}
		}
		// The members of an item have no order.
		var gotBody, wantBody any
		if err := errors.Join(json.Unmarshal([]byte(got.body), &gotBody), json.Unmarshal([]byte(want.body), &wantBody)); err != nil {
			t.Fatal(err)
		}
		if got.url != want.url || !reflect.DeepEqual(got.header, want.header) || !reflect.DeepEqual(gotBody, wantBody) {
			t.Errorf("%s: sent %+v\nthe client sends %+v", name, got, want)
		}
	}
}

// Reads are repeated for what the SDK repeats, writes never.
func TestDirectRepeatsOnlyReads(t *testing.T) {
	throttled := `400 {"__type":"x#ThrottlingException","message":"slow"}`
	refused := `400 {"__type":"x#ValidationException","message":"no"}`
	for name, c := range map[string]struct {
		script      []string
		crc         string
		reads, once int
		code        string // of the read's error
	}{
		"fine":         {[]string{"200 {}"}, "", 1, 1, ""},
		"server":       {[]string{"500 {}", "200 {}"}, "", 2, 1, ""},
		"throttled":    {[]string{throttled, throttled, "200 {}"}, "", 3, 1, ""},
		"lost":         {[]string{"lost", "200 {}"}, "", 2, 1, ""},
		"for ever":     {[]string{throttled}, "", 3, 1, "ThrottlingException"},
		"refused":      {[]string{refused}, "", 1, 1, "ValidationException"},
		"damaged":      {[]string{"200 {}"}, "1", 3, 1, "lost"},
		"checked":      {[]string{"200 {}"}, "2745614147", 1, 1, ""},
		"no such type": {[]string{`400 {"__type":"x#Brandnew","message":"?"}`}, "", 1, 1, "Brandnew"},
	} {
		a := &answering{script: c.script, crc: c.crc}
		d := newDirect(a.client())
		err := d.Insist(t.Context(), d.get, &dynamodb.GetItemInput{}, new(dynamodb.GetItemOutput))
		var api smithy.APIError
		var lost *smithyhttp.RequestSendError
		switch {
		case c.code == "" && err != nil, c.code == "lost" && !errors.As(err, &lost),
			c.code != "" && c.code != "lost" && (!errors.As(err, &api) || api.ErrorCode() != c.code):
			t.Errorf("%s: %v", name, err)
		}
		if len(a.sent) != c.reads {
			t.Errorf("%s: read %d times", name, len(a.sent))
		}
		a = &answering{script: c.script, crc: c.crc}
		d = newDirect(a.client())
		_ = d.Once(t.Context(), d.update, &dynamodb.UpdateItemInput{}, new(dynamodb.UpdateItemOutput))
		if len(a.sent) != c.once {
			t.Errorf("%s: written %d times", name, len(a.sent))
		}
	}
	a := &answering{script: []string{throttled}}
	d := newDirect(a.client())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Insist(ctx, d.get, &dynamodb.GetItemInput{}, new(dynamodb.GetItemOutput)); err == nil || len(a.sent) > 1 {
		t.Errorf("a cancelled read was repeated: %v, %d", err, len(a.sent))
	}
}

// The typed errors carry what the ledger decides by.
func TestDirectKeepsTypedErrors(t *testing.T) {
	a := &answering{script: []string{`400 {"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","Message":"m",` +
		`"CancellationReasons":[{"Code":"None"},{"Code":"ConditionalCheckFailed","Item":{"avail":{"N":"7"}}}]}`}}
	d := newDirect(a.client())
	err := d.Once(t.Context(), d.transact, &dynamodb.TransactWriteItemsInput{}, new(dynamodb.TransactWriteItemsOutput))
	reasons := cancellation(err)
	if len(reasons) != 2 || !failedCondition(reasons, 1) || read(reasons[1].Item).num("avail") != 7 {
		t.Errorf("%+v, %v", reasons, err)
	}
	a.script = []string{`400 {"__type":"x#ConditionalCheckFailedException","message":"m","Item":{"own":{"S":"me"}}}`}
	err = d.Once(t.Context(), d.update, &dynamodb.UpdateItemInput{}, new(dynamodb.UpdateItemOutput))
	if old, lost := conditionFailed(err); !lost || read(old).str("own") != "me" {
		t.Errorf("%v, %v", old, err)
	}
}
