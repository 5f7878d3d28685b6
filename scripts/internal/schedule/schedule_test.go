package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/stretchr/testify/require"

	"github.com/latchkey/latchkey/scripts/internal/clock"
)

const rule = "arn:aws:events:us-east-1:000000000000:rule/sweep"

type calls struct {
	mu     sync.Mutex
	events []string
	take   time.Duration
	err    error
}

func (c *calls) invoke(_ context.Context, function string, event []byte) ([]byte, string, error) {
	c.mu.Lock()
	c.events = append(c.events, function+" "+string(event))
	take, err := c.take, c.err
	c.mu.Unlock()
	time.Sleep(take)
	return nil, "", err
}

func (c *calls) seen() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.events...)
}

func start(t *testing.T, c *calls, clk *clock.Clock, every time.Duration) (*Runner, func()) {
	r, err := New(Options{RuleARN: rule, Function: "sweep", Every: every, Invoke: c.invoke, Clock: clk})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.Run(ctx)
	}()
	return r, func() { cancel(); <-ended }
}

func TestEventIsTheScheduledEventOnTheShiftedClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, clk := &calls{}, &clock.Clock{}
		clk.SetOffset(48*time.Hour + 500*time.Millisecond)
		_, stop := start(t, c, clk, 0)
		time.Sleep(61 * time.Second)
		stop()
		require.Len(t, c.seen(), 1, "the default rate is one minute")
		function, text, _ := strings.Cut(c.seen()[0], " ")
		require.Equal(t, "sweep", function)
		var e events.EventBridgeEvent
		dec := json.NewDecoder(strings.NewReader(text))
		dec.DisallowUnknownFields()
		require.NoError(t, dec.Decode(&e))
		require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, e.ID)
		require.Equal(t, "0", e.Version)
		require.Equal(t, "Scheduled Event", e.DetailType)
		require.Equal(t, "aws.events", e.Source)
		require.Equal(t, "000000000000", e.AccountID)
		require.Equal(t, "us-east-1", e.Region)
		require.Equal(t, []string{rule}, e.Resources)
		require.Equal(t, "{}", string(e.Detail))
		require.Contains(t, text, `"time":"2000-01-03T00:01:00Z"`)
	})
}

func TestPauseAndResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &calls{take: 5 * time.Second}
		r, stop := start(t, c, &clock.Clock{}, 10*time.Second)
		time.Sleep(12 * time.Second)
		require.NoError(t, r.Pause(context.Background()))
		require.Equal(t, time.Date(2000, 1, 1, 0, 0, 15, 0, time.UTC), time.Now().UTC(), "pausing waits for the running invocation")
		time.Sleep(time.Minute)
		require.Len(t, c.seen(), 1)
		require.NoError(t, r.Resume(context.Background()))
		time.Sleep(10 * time.Second)
		stop()
		require.Len(t, c.seen(), 2)
	})
}

func TestFailuresAndSlowRunsDoNotEndTheSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &calls{take: 25 * time.Second, err: errors.New("down")}
		_, stop := start(t, c, &clock.Clock{}, 10*time.Second)
		time.Sleep(101 * time.Second)
		stop()
		require.Len(t, c.seen(), 4, "runs at 10, 35, 60, 85: ticks within a run collapse into one")
	})
}

func TestBadOptionsAreRefused(t *testing.T) {
	good := Options{RuleARN: rule, Function: "sweep", Invoke: (&calls{}).invoke, Clock: &clock.Clock{}}
	for want, change := range map[string]func(*Options){
		"not a rule ARN": func(o *Options) { o.RuleARN = "arn:aws:sqs:a:b:c" },
		"Options need":   func(o *Options) { o.Clock = nil },
		"negative":       func(o *Options) { o.Every = -1 },
	} {
		o := good
		change(&o)
		_, err := New(o)
		require.ErrorContains(t, err, want)
	}
}
