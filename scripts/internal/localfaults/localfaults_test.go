package localfaults_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/latchkey/latchkey/scripts/internal/awswire"
	"github.com/latchkey/latchkey/scripts/internal/localfaults"
)

// upstream stands for DynamoDB Local: it answers everything with {} and the
// checksum header, and remembers what came.
type upstream struct {
	mu     sync.Mutex
	bodies []string
	auth   string
	host   string
	accept string
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	u.mu.Lock()
	u.bodies = append(u.bodies, string(body))
	u.auth, u.host, u.accept = r.Header.Get("Authorization"), r.Host, r.Header.Get("Accept-Encoding")
	u.mu.Unlock()
	answer := []byte(`{"Attributes":{"pk":{"S":"x"}}}`)
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.Header().Set("X-Amz-Crc32", fmt.Sprint(crc32.ChecksumIEEE(answer)))
	_, _ = w.Write(answer)
}

func (u *upstream) seen() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.bodies)
}

type fixture struct {
	up     *upstream
	faults *localfaults.Table
	proxy  *localfaults.Proxy
	url    string
}

func start(t *testing.T, cfg localfaults.ProxyConfig) *fixture {
	t.Helper()
	f := &fixture{up: &upstream{}}
	back := httptest.NewServer(f.up)
	t.Cleanup(back.Close)
	f.faults = localfaults.NewTable(map[string]string{"AKIDINVOKE": "invoke", "AKIDSETTLE": "settle"})
	cfg.Upstream, cfg.Faults = back.URL, f.faults
	proxy, err := localfaults.NewProxy(cfg)
	require.NoError(t, err)
	f.proxy = proxy
	front := httptest.NewServer(proxy)
	t.Cleanup(func() {
		front.Close()
		proxy.Close()
	})
	f.url = front.URL
	return f
}

func creds(key string) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(key, "secret", "")
}

func (f *fixture) dynamo(key string) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{BaseEndpoint: &f.url, Region: "us-east-1", Credentials: creds(key), Retryer: aws.NopRetryer{}})
}

func code(err error) string {
	if err == nil {
		return "ok"
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return "not an API error: " + err.Error()
}

func item() map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"pk": &types.AttributeValueMemberS{Value: "x"}}
}

func put(c *dynamodb.Client) error {
	_, err := c.PutItem(context.Background(), &dynamodb.PutItemInput{TableName: aws.String("ledger"), Item: item()})
	return err
}

func transact(c *dynamodb.Client) error {
	_, err := c.TransactWriteItems(context.Background(), &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
		{Put: &types.Put{TableName: aws.String("ledger"), Item: item()}},
		{Update: &types.Update{TableName: aws.String("ledger"), Key: item(), UpdateExpression: aws.String("SET a = b")}},
		{ConditionCheck: &types.ConditionCheck{TableName: aws.String("config"), Key: item(), ConditionExpression: aws.String("attribute_exists(pk)")}},
	}})
	return err
}

func TestProxyPassesCallsUntouched(t *testing.T) {
	f := start(t, localfaults.ProxyConfig{})
	// A wrong checksum header would fail the call inside the SDK.
	require.NoError(t, put(f.dynamo("AKIDINVOKE")))
	require.NoError(t, put(f.dynamo("AKIDINVOKE")))
	require.NoError(t, transact(f.dynamo("AKIDSETTLE")))
	require.Contains(t, f.up.auth, "Credential=AKIDSETTLE/")
	require.Equal(t, strings.TrimPrefix(f.url, "http://"), f.up.host, "the signed host is kept")
	require.Equal(t, map[awswire.Call]int{
		{Principal: "AKIDINVOKE", Operation: "PutItem"}:            2,
		{Principal: "AKIDSETTLE", Operation: "TransactWriteItems"}: 1,
	}, f.proxy.Calls())
	plain := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	res, err := plain.Post(f.url, "application/x-amz-json-1.0", strings.NewReader("{}"))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Empty(t, f.up.accept, "no compression is asked for that the client did not ask for")
	f.proxy.ResetCalls()
	require.Empty(t, f.proxy.Calls())
}

func TestInjectedErrorsAreTyped(t *testing.T) {
	f := start(t, localfaults.ProxyConfig{})
	c := f.dynamo("AKIDINVOKE")
	set := func(fault localfaults.Fault) {
		t.Helper()
		fault.Service, fault.Count = "dynamodb", 1
		require.NoError(t, f.faults.Add(fault))
	}
	set(localfaults.Fault{Error: localfaults.Throttle})
	var throughput *types.ProvisionedThroughputExceededException
	require.ErrorAs(t, put(c), &throughput)

	set(localfaults.Fault{Error: localfaults.Throttle})
	_, err := c.ListTables(context.Background(), &dynamodb.ListTablesInput{})
	require.Equal(t, "ThrottlingException", code(err))

	set(localfaults.Fault{Error: localfaults.Conflict})
	var single *types.TransactionConflictException
	require.ErrorAs(t, put(c), &single)

	set(localfaults.Fault{Error: localfaults.Conflict})
	var cancelled *types.TransactionCanceledException
	require.ErrorAs(t, transact(c), &cancelled)
	require.Len(t, cancelled.CancellationReasons, 3)
	require.Equal(t, "TransactionConflict", *cancelled.CancellationReasons[0].Code)
	require.Equal(t, "None", *cancelled.CancellationReasons[2].Code)
	require.Contains(t, cancelled.ErrorMessage(), "[TransactionConflict, None, None]")

	set(localfaults.Fault{Error: localfaults.Unavailable})
	err = put(c)
	require.Equal(t, "ServiceUnavailable", code(err))
	var status interface{ HTTPStatusCode() int }
	require.ErrorAs(t, err, &status)
	require.Equal(t, 503, status.HTTPStatusCode())

	set(localfaults.Fault{Error: localfaults.AccessDenied})
	require.Equal(t, "AccessDeniedException", code(put(c)))
	require.Zero(t, f.up.seen(), "no refused call reached the engine")
}

func TestTimeoutAfterCommit(t *testing.T) {
	f := start(t, localfaults.ProxyConfig{})
	require.NoError(t, f.faults.Add(localfaults.Fault{Service: "dynamodb", Operation: "TransactWriteItems", Error: localfaults.TimeoutAfterCommit, Count: 1}))
	err := transact(f.dynamo("AKIDINVOKE"))
	require.Error(t, err)
	require.Contains(t, code(err), "not an API error", "the client cannot know the outcome")
	require.Equal(t, 1, f.up.seen(), "the write was made")

	// With the SDK's own retries the same call succeeds, with the same token.
	require.NoError(t, f.faults.Add(localfaults.Fault{Service: "dynamodb", Error: localfaults.TimeoutAfterCommit, Count: 1}))
	retrying := dynamodb.New(dynamodb.Options{BaseEndpoint: &f.url, Region: "us-east-1", Credentials: creds("AKIDINVOKE")})
	require.NoError(t, transact(retrying))
	require.Equal(t, 3, f.up.seen())
	require.Equal(t, f.up.bodies[1], f.up.bodies[2])
	require.Contains(t, f.up.bodies[1], "ClientRequestToken")
}

func TestFaultMatchingAndCounts(t *testing.T) {
	f := start(t, localfaults.ProxyConfig{})
	invoke, settle := f.dynamo("AKIDINVOKE"), f.dynamo("AKIDSETTLE")
	require.NoError(t, f.faults.Add(localfaults.Fault{Service: "dynamodb", Operation: "PutItem", Function: "settle", Error: localfaults.Throttle, Count: 2}))
	require.NoError(t, f.faults.Add(localfaults.Fault{Service: "dynamodb", Operation: "TransactWriteItems", Error: localfaults.AccessDenied}))
	require.NoError(t, put(invoke))
	require.Equal(t, "ProvisionedThroughputExceededException", code(put(settle)))
	require.Equal(t, 1, f.faults.List()[0].Count, "what is left")
	require.Equal(t, "ProvisionedThroughputExceededException", code(put(settle)))
	require.NoError(t, put(settle))
	for range 3 {
		require.Equal(t, "AccessDeniedException", code(transact(invoke)), "without a count it stays")
	}
	f.faults.Clear()
	require.NoError(t, transact(invoke))
}

// TestSkipAndReasons: a fault lets the first calls through, or leaves them to the
// ones behind it, and a cancelled transaction is told what the fault says.
func TestSkipAndReasons(t *testing.T) {
	f := start(t, localfaults.ProxyConfig{})
	c := f.dynamo("AKIDSETTLE")
	require.NoError(t, f.faults.Add(localfaults.Fault{Service: "dynamodb", Operation: "TransactWriteItems", Error: localfaults.Cancelled, Skip: 2, Count: 1,
		Reasons: []string{"None", "TransactionConflict", "ThrottlingError", "None"}}))
	require.NoError(t, f.faults.Add(localfaults.Fault{Service: "dynamodb", Operation: "TransactWriteItems", Error: localfaults.Throttle, Count: 1}))
	require.Equal(t, "ProvisionedThroughputExceededException", code(transact(c)))
	require.NoError(t, transact(c))
	var cancelled *types.TransactionCanceledException
	require.ErrorAs(t, transact(c), &cancelled)
	var got []string
	for _, r := range cancelled.CancellationReasons {
		got = append(got, aws.ToString(r.Code))
	}
	require.Equal(t, []string{"None", "TransactionConflict", "ThrottlingError"}, got)
	require.NoError(t, transact(c))
	require.Empty(t, f.faults.List())
}

func TestDelayEndsWithTheClient(t *testing.T) {
	calls := make(chan localfaults.ProxyCall, 1)
	f := start(t, localfaults.ProxyConfig{OnCall: func(c localfaults.ProxyCall) { calls <- c }})
	require.NoError(t, f.faults.Add(localfaults.Fault{Service: "dynamodb", DelayMS: 600_000, Count: 1}))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	failed := make(chan error, 1)
	go func() {
		_, err := f.dynamo("AKIDINVOKE").PutItem(ctx, &dynamodb.PutItemInput{TableName: aws.String("ledger"), Item: item()})
		failed <- err
	}()
	require.Eventually(t, func() bool { return len(f.faults.List()) == 0 }, time.Minute, time.Millisecond, "the call is held")
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
	done := <-calls // the proxy stopped waiting too
	require.Equal(t, "PutItem", done.Operation)
	require.Zero(t, done.Status)
	require.Zero(t, f.up.seen())
}

// TestClearEndsDelays: a call that was held goes on when the faults are deleted.
func TestClearEndsDelays(t *testing.T) {
	f := start(t, localfaults.ProxyConfig{})
	require.NoError(t, f.faults.Add(localfaults.Fault{Service: "dynamodb", DelayMS: 600_000, Count: 1}))
	done := make(chan error, 1)
	go func() { done <- put(f.dynamo("AKIDINVOKE")) }()
	require.Eventually(t, func() bool { return len(f.faults.List()) == 0 }, time.Minute, time.Millisecond)
	require.Zero(t, f.up.seen())
	f.faults.Clear()
	require.NoError(t, <-done)
	require.Equal(t, 1, f.up.seen())
}

func TestDelayAloneLetsTheCallThrough(t *testing.T) {
	calls := make(chan localfaults.ProxyCall, 1)
	f := start(t, localfaults.ProxyConfig{OnCall: func(c localfaults.ProxyCall) { calls <- c }})
	require.NoError(t, f.faults.Add(localfaults.Fault{Service: "dynamodb", DelayMS: 20, Count: 1}))
	require.NoError(t, put(f.dynamo("AKIDINVOKE")))
	done := <-calls
	require.GreaterOrEqual(t, done.Elapsed, 20*time.Millisecond)
	require.Equal(t, 200, done.Status)
}

func TestStreams(t *testing.T) {
	const arn = "arn:aws:dynamodb:ddblocal:000000000000:table/ledger/stream/2026-11-21T00:00:00.000"
	f := start(t, localfaults.ProxyConfig{Allow: awswire.Allow{"AKIDSETTLE": {"ledger": {"DescribeStream", "GetShardIterator", "GetRecords"}}}})
	streams := func(key string) *dynamodbstreams.Client {
		return dynamodbstreams.New(dynamodbstreams.Options{BaseEndpoint: &f.url, Region: "us-east-1", Credentials: creds(key), Retryer: aws.NopRetryer{}})
	}
	ctx := context.Background()
	_, err := streams("AKIDSETTLE").DescribeStream(ctx, &dynamodbstreams.DescribeStreamInput{StreamArn: aws.String(arn)})
	require.NoError(t, err)
	_, err = streams("AKIDINVOKE").DescribeStream(ctx, &dynamodbstreams.DescribeStreamInput{StreamArn: aws.String(arn)})
	require.Equal(t, "AccessDeniedException", code(err))
	_, err = streams("AKIDSETTLE").GetRecords(ctx, &dynamodbstreams.GetRecordsInput{ShardIterator: aws.String("opaque")})
	require.NoError(t, err)
	_, err = streams("AKIDINVOKE").GetRecords(ctx, &dynamodbstreams.GetRecordsInput{ShardIterator: aws.String("opaque")})
	require.Equal(t, "AccessDeniedException", code(err))
	require.NoError(t, f.faults.Add(localfaults.Fault{Service: "streams", Operation: "GetRecords", Error: localfaults.Throttle, Count: 1}))
	require.NoError(t, f.faults.Add(localfaults.Fault{Service: "dynamodb", Operation: "GetRecords", Error: localfaults.AccessDenied}))
	_, err = streams("AKIDSETTLE").GetRecords(ctx, &dynamodbstreams.GetRecordsInput{ShardIterator: aws.String("opaque")})
	require.Equal(t, "ThrottlingException", code(err))
}

func TestAllowListByTable(t *testing.T) {
	f := start(t, localfaults.ProxyConfig{Admin: "AKIDADMIN", Allow: awswire.Allow{
		"AKIDINVOKE": {
			"ledger": {"PutItem", "UpdateItem", "Query", "BatchGetItem"},
			"config": {"ConditionCheckItem", "GetItem", "BatchGetItem"},
		},
		"AKIDSETTLE": {"ledger": {"PutItem", "UpdateItem", "TransactWriteItems"}},
	}})
	ctx := context.Background()
	invoke := f.dynamo("AKIDINVOKE")
	get := func(table string) error {
		_, err := invoke.GetItem(ctx, &dynamodb.GetItemInput{TableName: &table, Key: item()})
		return err
	}
	batch := func(tables ...string) error {
		in := &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{}}
		for _, table := range tables {
			in.RequestItems[table] = types.KeysAndAttributes{Keys: []map[string]types.AttributeValue{item()}}
		}
		_, err := invoke.BatchGetItem(ctx, in)
		return err
	}
	require.NoError(t, get("config"))
	require.NoError(t, get("arn:aws:dynamodb:us-east-1:000000000000:table/config"))
	require.Equal(t, "AccessDeniedException", code(get("vault")))
	require.Equal(t, "AccessDeniedException", code(get("ledger")), "another operation of an allowed table")
	require.NoError(t, transact(invoke))
	require.Equal(t, "AccessDeniedException", code(transact(f.dynamo("AKIDSETTLE"))), "the condition check on config is not allowed")
	require.NoError(t, batch("ledger", "config"))
	require.Equal(t, "AccessDeniedException", code(batch("ledger", "vault")))
	_, err := invoke.TransactGetItems(ctx, &dynamodb.TransactGetItemsInput{TransactItems: []types.TransactGetItem{{Get: &types.Get{TableName: aws.String("config"), Key: item()}}}})
	require.NoError(t, err)
	_, err = invoke.ListTables(ctx, &dynamodb.ListTablesInput{})
	require.Equal(t, "AccessDeniedException", code(err))
	_, err = invoke.ExecuteStatement(ctx, &dynamodb.ExecuteStatementInput{Statement: aws.String(`SELECT * FROM "vault"`)})
	require.Equal(t, "AccessDeniedException", code(err))
	require.Equal(t, "AccessDeniedException", code(put(f.dynamo("AKIDNOBODY"))))
	require.NoError(t, put(f.dynamo("AKIDADMIN")))
	require.Equal(t, 2, f.proxy.Denials()[awswire.Call{Principal: "AKIDINVOKE", Operation: "GetItem"}])
}

func TestProxyBounds(t *testing.T) {
	f := start(t, localfaults.ProxyConfig{})
	res, err := http.Post(f.url, "application/x-amz-json-1.0", strings.NewReader(strings.Repeat("x", 16<<20+1)))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, 413, res.StatusCode)
	require.Zero(t, f.up.seen())
}

func TestEngineAway(t *testing.T) {
	back := httptest.NewServer(http.NotFoundHandler())
	proxy, err := localfaults.NewProxy(localfaults.ProxyConfig{Upstream: back.URL})
	require.NoError(t, err)
	back.Close()
	front := httptest.NewServer(proxy)
	defer front.Close()
	c := dynamodb.New(dynamodb.Options{BaseEndpoint: &front.URL, Region: "us-east-1", Credentials: creds("A"), Retryer: aws.NopRetryer{}})
	require.Equal(t, "ServiceUnavailable", code(put(c)))
}

func TestFaultsEndpoint(t *testing.T) {
	table := localfaults.NewTable(nil)
	do := func(method, body string) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		table.Handler().ServeHTTP(rec, httptest.NewRequest(method, "/_local/faults", strings.NewReader(body)))
		return rec
	}
	for body, want := range map[string]string{
		`{"service":"s3","error":"throttle"}`:                                                           "service must be one of",
		`{"service":"kms","error":"conflict"}`:                                                          "error for kms must be one of",
		`{"service":"kms"}`:                                                                             "error must be one of",
		`{"service":"kms","error":"throttle","count":-1}`:                                               "count",
		`{"service":"kms","error":"throttle","skip":-1}`:                                                "skip",
		`{"service":"dynamodb","operation":"TransactWriteItems","error":"cancelled"}`:                   "reasons",
		`{"service":"dynamodb","operation":"PutItem","error":"cancelled","reasons":["None"]}`:           "TransactWriteItems",
		`{"service":"dynamodb","operation":"TransactWriteItems","error":"throttle","reasons":["None"]}`: "reasons",
		`{"service":"kms","error":"throttle","delay_ms":9999999}`:                                       "delay_ms",
		`{"service":"kms","error":"throttle","operatoin":"x"}`:                                          "one JSON object",
		`nonsense`: "one JSON object",
	} {
		rec := do("POST", body)
		require.Equal(t, 400, rec.Code, body)
		require.Contains(t, rec.Body.String(), want, body)
	}
	require.Equal(t, 201, do("POST", `{"service":"kms","operation":"Decrypt","error":"throttle","count":3}`).Code)
	require.Equal(t, 201, do("POST", `{"service":"dynamodb","delay_ms":5}`).Code)
	require.JSONEq(t, `{"items":[{"service":"kms","operation":"Decrypt","error":"throttle","count":3},{"service":"dynamodb","delay_ms":5}]}`, do("GET", "").Body.String())
	require.Equal(t, 204, do("DELETE", "").Code)
	require.JSONEq(t, `{"items":[]}`, do("GET", "").Body.String())
	require.Equal(t, 405, do("PUT", "").Code)
}

func TestConcurrentCallsUseUpACountExactly(t *testing.T) {
	f := start(t, localfaults.ProxyConfig{})
	require.NoError(t, f.faults.Add(localfaults.Fault{Service: "dynamodb", Error: localfaults.Throttle, Count: 25}))
	var refused atomic.Int32
	var group sync.WaitGroup
	c := f.dynamo("AKIDINVOKE")
	for range 100 {
		group.Go(func() {
			if put(c) != nil {
				refused.Add(1)
			}
		})
	}
	group.Wait()
	require.EqualValues(t, 25, refused.Load())
	require.EqualValues(t, 75, f.up.seen())
}

func BenchmarkProxy(b *testing.B) {
	back := httptest.NewServer(&upstream{})
	defer back.Close()
	proxy, err := localfaults.NewProxy(localfaults.ProxyConfig{Upstream: back.URL, Faults: localfaults.NewTable(nil)})
	if err != nil {
		b.Fatal(err)
	}
	front := httptest.NewServer(proxy)
	defer front.Close()
	for name, url := range map[string]string{"direct": back.URL, "proxied": front.URL} {
		b.Run(name, func(b *testing.B) {
			c := dynamodb.New(dynamodb.Options{BaseEndpoint: &url, Region: "us-east-1", Credentials: creds("A")})
			for b.Loop() {
				if err := put(c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
