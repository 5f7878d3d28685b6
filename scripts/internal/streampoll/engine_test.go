package streampoll

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/stretchr/testify/require"

	"github.com/latchkey/latchkey/scripts/internal/clock"
	"github.com/latchkey/latchkey/scripts/internal/ddblocal"
)

// engine is DynamoDB Local with a ledger table, or a skip that says what is
// missing.
type engine struct {
	server *ddblocal.Server
	db     *dynamodb.Client
	stream *dynamodbstreams.Client
	arn    string
}

func startEngine(t *testing.T, o ddblocal.Options) *engine {
	t.Helper()
	o.Emulator = os.Getenv("LATCHKEY_TEST_EMULATOR")
	if o.Emulator == "" {
		o.Emulator = filepath.Join("..", "..", "..", "node_modules", "amplify-dynamodb-simulator", "emulator")
	}
	server, err := ddblocal.Start(t.Context(), o)
	if errors.Is(err, ddblocal.ErrNotInstalled) || errors.Is(err, ddblocal.ErrJava) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop()) })
	creds := credentials.NewStaticCredentialsProvider("local", "local", "")
	e := &engine{
		server: server,
		db:     dynamodb.New(dynamodb.Options{BaseEndpoint: &server.URL, Region: "us-east-1", Credentials: creds}),
		stream: dynamodbstreams.New(dynamodbstreams.Options{BaseEndpoint: &server.URL, Region: "us-east-1", Credentials: creds}),
	}
	arns, err := ddblocal.EnsureTables(t.Context(), e.db, []ddblocal.TableSpec{{Name: "ledger", PK: "pk", SK: "sk", Stream: true}})
	require.NoError(t, err)
	e.arn = arns["ledger"]
	return e
}

func (e *engine) put(t *testing.T, pk string, n int, extra map[string]ddbtypes.AttributeValue) {
	t.Helper()
	item := map[string]ddbtypes.AttributeValue{
		"pk": &ddbtypes.AttributeValueMemberS{Value: pk}, "sk": &ddbtypes.AttributeValueMemberS{Value: "R"},
		"v": &ddbtypes.AttributeValueMemberN{Value: fmt.Sprint(n)},
	}
	for name, value := range extra {
		item[name] = value
	}
	_, err := e.db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String("ledger"), Item: item})
	require.NoError(t, err)
}

// sink is a function that collects versions per item and can be told to fail.
type sink struct {
	mu     sync.Mutex
	events []events.DynamoDBEventRecord
	poison string
	more   chan struct{}
}

func newSink() *sink { return &sink{more: make(chan struct{}, 1000)} }

func (s *sink) invoke(t *testing.T) Invoke {
	return func(_ context.Context, _ string, event []byte) ([]byte, string, error) {
		e := strictDecode(t, event)
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, r := range e.Records {
			if s.poison != "" && r.Change.Keys["pk"].String() == s.poison {
				return nil, "Unhandled", nil
			}
		}
		s.events = append(s.events, e.Records...)
		s.more <- struct{}{}
		return nil, "", nil
	}
}

// versions returns the delivered versions of an item, in order.
func (s *sink) versions(pk string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, r := range s.events {
		if r.Change.Keys["pk"].String() == pk {
			out = append(out, r.Change.NewImage["v"].Number())
		}
	}
	return out
}

func (s *sink) await(t *testing.T, cond func() bool) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	for !cond() {
		select {
		case <-s.more:
		case <-deadline:
			t.Fatal("records did not arrive")
		}
	}
}

func run(t *testing.T, e *engine, m Mapping, state string, s *sink) (stop func()) {
	t.Helper()
	m.StreamARN, m.Function = e.arn, "settle"
	p, err := New(m, Options{
		Client: e.stream, Invoke: s.invoke(t), Clock: &clock.Clock{}, StateDir: state, Region: "us-east-1", Account: "000000000000",
		PollInterval: 10 * time.Millisecond, BackoffBase: time.Millisecond, BackoffMax: 2 * time.Millisecond,
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.Run(ctx)
	}()
	return func() { cancel(); <-ended }
}

func TestEngineDeliversEveryKindBisectsAndResumesAfterARestart(t *testing.T) {
	data, state, bucket := t.TempDir(), t.TempDir(), t.TempDir()
	e := startEngine(t, ddblocal.Options{DataDir: data})
	s := newSink()
	m := Mapping{BisectOnError: true, MaxRetries: 2, FailureDestination: bucket, BatchSize: 50}
	s.poison = "bad"
	for n := range 40 {
		e.put(t, "a", n, nil)
		if n == 20 {
			e.put(t, "bad", 0, nil)
		}
		e.put(t, "b", n, nil)
	}
	stop := run(t, e, m, state, s)
	s.await(t, func() bool { return len(s.versions("a")) == 40 && len(s.versions("b")) == 40 })
	for _, pk := range []string{"a", "b"} {
		for i, v := range s.versions(pk) {
			require.Equal(t, fmt.Sprint(i), v, "order of %s", pk)
		}
	}
	failures, err := Failures(bucket)
	require.NoError(t, err)
	require.Len(t, failures, 1)
	require.Len(t, failures[0].sequences(t), 1)

	kinds := map[string]ddbtypes.AttributeValue{}
	for name, value := range everyKind() {
		kinds[name] = toDynamo(value)
	}
	e.put(t, "kinds", 1, kinds)
	s.await(t, func() bool { return len(s.versions("kinds")) == 1 })
	s.mu.Lock()
	i := slices.IndexFunc(s.events, func(r events.DynamoDBEventRecord) bool { return r.Change.Keys["pk"].String() == "kinds" })
	last := s.events[i]
	s.mu.Unlock()
	checkEveryKind(t, last)
	require.Equal(t, "INSERT", last.EventName)
	require.WithinDuration(t, time.Now(), last.Change.ApproximateCreationDateTime.Time, time.Minute)

	stop()
	e.put(t, "while-down", 1, nil)
	require.NoError(t, e.server.Stop())
	again := startEngine(t, ddblocal.Options{DataDir: data})
	require.Equal(t, e.arn, again.arn)
	again.put(t, "after", 1, nil)
	before := len(s.events)
	stop = run(t, again, m, state, s)
	s.await(t, func() bool { return len(s.versions("after")) == 1 })
	stop()
	require.Equal(t, []string{"1"}, s.versions("while-down"), "records written while nobody polled survive the restart")
	require.Len(t, s.events, before+2, "nothing is repeated after a clean stop")
}

func TestEngineFiltersOnNewState(t *testing.T) {
	e := startEngine(t, ddblocal.Options{InMemory: true})
	s := newSink()
	stop := run(t, e, Mapping{Filters: []string{`{"eventName":["MODIFY"],"dynamodb":{"NewImage":{"st":{"S":["USED"]}}}}`}}, t.TempDir(), s)
	defer stop()
	for n, st := range []string{"HELD", "DISPATCHED", "USED", "SETTLED"} {
		e.put(t, "r", n, map[string]ddbtypes.AttributeValue{"st": &ddbtypes.AttributeValueMemberS{Value: st}})
	}
	e.put(t, "z", 0, map[string]ddbtypes.AttributeValue{"st": &ddbtypes.AttributeValueMemberS{Value: "HELD"}})
	e.put(t, "z", 1, map[string]ddbtypes.AttributeValue{"st": &ddbtypes.AttributeValueMemberS{Value: "USED"}})
	s.await(t, func() bool { return len(s.versions("z")) == 1 })
	require.Equal(t, []string{"2"}, s.versions("r"))
	require.Equal(t, []string{"1"}, s.versions("z"))
}
