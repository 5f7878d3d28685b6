package localevents_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/latchkey/latchkey/scripts/internal/localevents"
)

func with(change func(*types.PutEventsRequestEntry)) []types.PutEventsRequestEntry {
	e := entry(`{"org":"acme"}`)
	change(&e)
	return []types.PutEventsRequestEntry{e}
}

func many(n int, detail string) []types.PutEventsRequestEntry {
	out := make([]types.PutEventsRequestEntry, n)
	for i := range out {
		out[i] = entry(detail)
	}
	return out
}

// contract is the behaviour both services are held to. want follows the AWS
// documentation; moto, when set, is what moto 5.2.1 does instead, and why says
// what that means.
var contract = []struct {
	name    string
	entries []types.PutEventsRequestEntry
	want    string
	moto    string
	why     string
}{
	{name: "one", entries: many(1, `{"org":"acme"}`), want: "id"},
	{name: "ten", entries: many(10, `{}`), want: strings.TrimSpace(strings.Repeat("id ", 10))},
	{name: "eleven", entries: many(11, `{}`), want: "ValidationException"},
	{name: "none", entries: []types.PutEventsRequestEntry{}, want: "ValidationException", moto: "empty", why: "moto accepts no entries"},
	{name: "with a time", entries: with(func(e *types.PutEventsRequestEntry) { e.Time = aws.Time(time.Unix(1_760_000_000, 0)) }), want: "id"},
	{name: "with resources", entries: with(func(e *types.PutEventsRequestEntry) { e.Resources = []string{"arn:aws:x:::y"} }), want: "id"},
	{name: "the default bus by name", entries: with(func(e *types.PutEventsRequestEntry) { e.EventBusName = aws.String("default") }), want: "id"},
	{name: "no source", entries: with(func(e *types.PutEventsRequestEntry) { e.Source = nil }), want: "InvalidArgument"},
	{name: "no detail type", entries: with(func(e *types.PutEventsRequestEntry) { e.DetailType = nil }), want: "InvalidArgument"},
	{name: "no detail", entries: with(func(e *types.PutEventsRequestEntry) { e.Detail = nil }), want: "InvalidArgument"},
	{name: "detail is no JSON", entries: many(1, `{"org"`), want: "MalformedDetail"},
	{name: "detail is an array", entries: many(1, `[1]`), want: "MalformedDetail", moto: "id", why: "moto takes any JSON"},
	{name: "detail is a text", entries: many(1, `"x"`), want: "MalformedDetail", moto: "id", why: "moto takes any JSON"},
	{name: "good and bad", entries: append(many(2, `{}`), many(1, `[`)...), want: "id id MalformedDetail"},
	{name: "256 KB together", entries: many(2, `{"x":"`+strings.Repeat("x", 130<<10)+`"}`), want: "ValidationException", moto: "id id", why: "moto bounds no request"},
}

func outcome(c *eventbridge.Client, entries []types.PutEventsRequestEntry) string {
	out, err := c.PutEvents(context.Background(), &eventbridge.PutEventsInput{Entries: entries})
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	if err != nil {
		return err.Error()
	}
	var words []string
	failed := int32(0)
	for _, e := range out.Entries {
		switch {
		case e.ErrorCode != nil:
			failed++
			words = append(words, *e.ErrorCode)
		case e.EventId != nil && len(*e.EventId) == 36:
			words = append(words, "id")
		default:
			words = append(words, "nothing")
		}
	}
	if len(words) == 0 {
		return "empty"
	}
	if failed != out.FailedEntryCount {
		words = append(words, "wrong count")
	}
	return strings.Join(words, " ")
}

func runContract(t *testing.T, url string, moto bool) {
	c := eventbridge.New(eventbridge.Options{BaseEndpoint: &url, Region: "us-east-1",
		Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", "")})
	for _, tc := range contract {
		t.Run(tc.name, func(t *testing.T) {
			want := tc.want
			if moto && tc.moto != "" {
				want = tc.moto
			}
			require.Equal(t, want, outcome(c, tc.entries), tc.why)
		})
	}
}

func TestContractHere(t *testing.T) {
	bus, err := localevents.New(localevents.Config{})
	require.NoError(t, err)
	ts := httptest.NewServer(bus)
	defer ts.Close()
	runContract(t, ts.URL, false)
}

// TestContractMoto runs the same cases against moto, an implementation by other
// people. Where it differs on purpose of the table, the difference is data.
func TestContractMoto(t *testing.T) {
	url := os.Getenv("LATCHKEY_TEST_MOTO_URL")
	if url == "" {
		t.Skip("LATCHKEY_TEST_MOTO_URL is not set; ./scripts/test starts moto and sets it")
	}
	runContract(t, url, true)
}
