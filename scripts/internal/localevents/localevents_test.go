package localevents_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/latchkey/latchkey/scripts/internal/clock"
	"github.com/latchkey/latchkey/scripts/internal/localevents"
)

func start(t *testing.T, cfg localevents.Config) (*localevents.Bus, func(...types.PutEventsRequestEntry) (*eventbridge.PutEventsOutput, error)) {
	t.Helper()
	bus, err := localevents.New(cfg)
	require.NoError(t, err)
	ts := httptest.NewServer(bus)
	t.Cleanup(func() {
		ts.Close()
		_ = bus.Close()
	})
	c := eventbridge.New(eventbridge.Options{
		BaseEndpoint: &ts.URL, Region: "us-east-1", Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
	})
	return bus, func(entries ...types.PutEventsRequestEntry) (*eventbridge.PutEventsOutput, error) {
		return c.PutEvents(context.Background(), &eventbridge.PutEventsInput{Entries: entries})
	}
}

func entry(detail string) types.PutEventsRequestEntry {
	return types.PutEventsRequestEntry{Source: aws.String("latchkey.settle"), DetailType: aws.String("low_balance"), Detail: &detail}
}

func TestEntriesStandAlone(t *testing.T) {
	clk := new(clock.Clock)
	clk.SetOffset(time.Hour)
	bus, put := start(t, localevents.Config{Clock: clk})
	noSource := entry(`{}`)
	noSource.Source = nil
	dated := entry(`{"org":"acme"}`)
	dated.Time = aws.Time(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	out, err := put(entry(`{"org": "acme"}`), noSource, entry(`[1]`), entry(`{"org"`), dated)
	require.NoError(t, err)
	require.EqualValues(t, 3, out.FailedEntryCount)
	require.NotEmpty(t, *out.Entries[0].EventId)
	require.Equal(t, "InvalidArgument", *out.Entries[1].ErrorCode)
	require.Nil(t, out.Entries[1].EventId)
	require.Equal(t, "MalformedDetail", *out.Entries[2].ErrorCode)
	require.Equal(t, "MalformedDetail", *out.Entries[3].ErrorCode)

	rec := httptest.NewRecorder()
	bus.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/_local/events", nil))
	var view struct{ Items []map[string]any }
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &view))
	require.Len(t, view.Items, 2)
	require.Equal(t, *out.Entries[0].EventId, view.Items[0]["id"])
	require.Equal(t, "latchkey.settle", view.Items[0]["source"])
	require.Equal(t, "low_balance", view.Items[0]["detail_type"])
	require.Equal(t, map[string]any{"org": "acme"}, view.Items[0]["detail"])
	require.Equal(t, "2026-01-02T03:04:05Z", view.Items[1]["at"])
	at, err := time.Parse(time.RFC3339, view.Items[0]["at"].(string))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(time.Hour), at, time.Minute)
}

func TestRequestLimits(t *testing.T) {
	bus, put := start(t, localevents.Config{})
	check := func(err error) {
		t.Helper()
		var api smithy.APIError
		require.ErrorAs(t, err, &api)
		require.Equal(t, "ValidationException", api.ErrorCode())
	}
	_, err := put(make([]types.PutEventsRequestEntry, 11)...)
	check(err)
	_, err = put([]types.PutEventsRequestEntry{}...)
	check(err)
	half := `{"x":"` + strings.Repeat("x", 130<<10) + `"}`
	_, err = put(entry(half), entry(half))
	check(err)
	_, err = put(entry(half))
	require.NoError(t, err)
	require.Len(t, bus.Events(), 1, "a refused request keeps nothing")
}

func TestLatestEventsSurviveARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	bus, put := start(t, localevents.Config{Path: path, Keep: 5})
	for i := range 23 {
		_, err := put(entry(`{"n":` + strconv.Itoa(i) + `}`))
		require.NoError(t, err)
	}
	want := bus.Events()
	require.Len(t, want, 5)
	require.Equal(t, `{"n":22}`, string(want[4].Detail))
	require.NoError(t, bus.Close())
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.LessOrEqual(t, strings.Count(string(data), "\n"), 10, "the file is bounded")

	require.NoError(t, os.WriteFile(path, append(data, `{"id":"torn`...), 0o600))
	again, _ := start(t, localevents.Config{Path: path, Keep: 5})
	require.Equal(t, want, again.Events())
	require.NoError(t, os.WriteFile(path, append([]byte("damage\n"), data...), 0o600))
	_, err = localevents.New(localevents.Config{Path: path})
	require.ErrorContains(t, err, "line 1 is damaged")
}
