package localsqs_test

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/latchkey/latchkey/scripts/internal/clock"
	"github.com/latchkey/latchkey/scripts/internal/localsqs"
)

func journalPath(dir string) string { return filepath.Join(dir, "sqs.journal") }

func TestRestartKeepsUndeliveredMessages(t *testing.T) {
	dir := t.TempDir()
	f := start(t, localsqs.Config{Dir: dir})
	f.queue("dead.fifo", nil)
	q := f.queue("turns.fifo", map[string]string{
		"RedrivePolicy": `{"deadLetterTargetArn":"` + f.engine.ARN("dead.fifo") + `","maxReceiveCount":2}`,
	})
	for i := range 4 {
		f.send(q, "g"+strconv.Itoa(i), strconv.Itoa(i), strconv.Itoa(i))
	}
	got := f.receive(q, 2)
	require.Equal(t, "0 1", bodies(got))
	require.NoError(t, f.delete(q, got[0]))
	require.NoError(t, f.hide(q, got[1], 0))
	require.Equal(t, "1", bodies(f.receive(q, 1)))
	f.pass(31 * time.Second)
	require.Equal(t, "2 3", bodies(f.receive(q, 10)), "1 goes to the dead-letter queue")
	require.NoError(t, f.engine.Close())

	f2 := start(t, localsqs.Config{Dir: dir})
	q2 := aws.String(f2.engine.URL("http://x", "turns.fifo"))
	f2.send(q2, "g9", "3", "repeats 3")
	again := f2.receive(q2, 10)
	require.Equal(t, "2 3", bodies(again), "in flight at the end: visible again, in order, once")
	require.Equal(t, "2", again[0].Attributes["ApproximateReceiveCount"])
	dead := f2.receive(aws.String("http://x/0/dead.fifo"), 10)
	require.Equal(t, "1", bodies(dead))
	require.Equal(t, f2.engine.ARN("turns.fifo"), dead[0].Attributes["DeadLetterQueueSourceArn"])
	require.NoError(t, f2.delete(q2, got[1]), "1 is gone from this queue, and stays in the other")
	next := f2.send(q2, "g", "new", "new")
	require.Greater(t, *next.SequenceNumber, again[1].Attributes["SequenceNumber"])
	f2.pass(61 * time.Second)
	require.Equal(t, "new", bodies(f2.receive(q2, 10)), "the policy is in force again: 2 and 3 had their two receives")
	failed, err := f2.engine.Messages("dead.fifo", 0)
	require.NoError(t, err)
	require.Len(t, failed, 3)
}

func TestTornLastLineIsDropped(t *testing.T) {
	dir := t.TempDir()
	f := start(t, localsqs.Config{Dir: dir})
	q := f.queue("q", nil)
	f.send(q, "", "", "one")
	f.send(q, "", "", "two")
	require.NoError(t, f.engine.Close())
	whole, err := os.ReadFile(journalPath(dir))
	require.NoError(t, err)
	lastLine := strings.LastIndexByte(strings.TrimSuffix(string(whole), "\n"), '\n') + 1
	for cut := lastLine; cut < len(whole); cut += 7 {
		require.NoError(t, os.WriteFile(journalPath(dir), whole[:cut], 0o600))
		e, err := localsqs.New(localsqs.Config{Dir: dir})
		require.NoError(t, err, "cut at %d", cut)
		got, err := e.Messages("q", 0)
		require.NoError(t, err)
		require.Len(t, got, 1)
		require.NoError(t, e.Close())
	}
	damaged := strings.Replace(string(whole), `"op":"send"`, `"op":"sent"`, 1)
	require.NoError(t, os.WriteFile(journalPath(dir), []byte(damaged), 0o600))
	_, err = localsqs.New(localsqs.Config{Dir: dir})
	require.ErrorContains(t, err, "line 3 is damaged")
}

func TestShiftedClockDoesNotOutliveARestart(t *testing.T) {
	dir := t.TempDir()
	ahead := new(clock.Clock)
	ahead.SetOffset(240 * time.Hour)
	f := start(t, localsqs.Config{Dir: dir, Clock: ahead})
	q := f.queue("turns.fifo", map[string]string{"DelaySeconds": "60"})
	f.send(q, "g", "d", "x")
	require.NoError(t, f.engine.Close())

	f2 := start(t, localsqs.Config{Dir: dir})
	q2 := aws.String("http://x/0/turns.fifo")
	f2.pass(15*time.Minute + time.Second)
	require.Equal(t, "x", bodies(f2.receive(q2, 1)), "no delay is longer than 15 minutes")
	f2.send(q2, "h", "d", "y")
	f2.pass(61 * time.Second)
	require.Equal(t, "x y", bodies(f2.receive(q2, 10)), "the old window has ended")
}

func TestSequenceNumbersGoOnAfterARestart(t *testing.T) {
	dir := t.TempDir()
	f := start(t, localsqs.Config{Dir: dir})
	q := f.queue("turns.fifo", nil)
	for i := range 3 {
		f.send(q, "g", strconv.Itoa(i), "x")
	}
	for _, m := range f.receive(q, 10) {
		require.NoError(t, f.delete(q, m))
	}
	require.NoError(t, f.engine.Close())
	later := new(clock.Clock)
	later.SetOffset(time.Hour) // no message and no deduplication window is left to learn from
	require.NoError(t, start(t, localsqs.Config{Dir: dir, Clock: later}).engine.Close())
	f2 := start(t, localsqs.Config{Dir: dir, Clock: later})
	sent := f2.send(aws.String("http://x/0/turns.fifo"), "g", "3", "x")
	require.Equal(t, "00000000000000000004", *sent.SequenceNumber)
}

// TestModel: random operations with restarts in between against a simple model
// of a FIFO queue: per group an ordered list; nothing is lost, nothing is handed
// out twice at the same time, and order holds.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "sqs-model")
		require.NoError(t, err)
		defer func() { _ = os.RemoveAll(dir) }()
		open := func() *localsqs.Engine {
			e, err := localsqs.New(localsqs.Config{Dir: dir})
			require.NoError(t, err)
			return e
		}
		e := open()
		_, err = e.EnsureQueue("q.fifo", map[string]string{"FifoQueue": "true"})
		require.NoError(t, err)
		waiting := map[string][]string{}  // group → bodies not deleted
		inFlight := map[string][]string{} // group → bodies handed out
		handles := map[string]string{}
		groups := rapid.SampledFrom([]string{"a", "b", "c"})
		n := 0
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0:
				g := groups.Draw(t, "group")
				n++
				body := strconv.Itoa(n)
				_, err := e.Send("q.fifo", localsqs.Outgoing{Body: body, Group: g, Dedup: body})
				require.NoError(t, err)
				waiting[g] = append(waiting[g], body)
			case 1:
				got, err := e.Receive(t.Context(), "q.fifo", localsqs.ReceiveOptions{Max: rapid.IntRange(1, 3).Draw(t, "max")})
				require.NoError(t, err)
				batch := map[string][]string{}
				for _, m := range got {
					g := m.System["MessageGroupId"]
					batch[g] = append(batch[g], m.Body)
					handles[m.Body] = m.ReceiptHandle
				}
				for g, b := range batch {
					require.Empty(t, inFlight[g], "group %s was locked", g)
					require.Equal(t, waiting[g][:len(b)], b, "group %s is in order", g)
					inFlight[g] = b
				}
			case 2, 3:
				g := groups.Draw(t, "group")
				if len(inFlight[g]) == 0 {
					continue
				}
				body := inFlight[g][0]
				require.NoError(t, e.Delete("q.fifo", handles[body]))
				inFlight[g], waiting[g] = inFlight[g][1:], waiting[g][1:]
			case 4:
				require.NoError(t, e.Close())
				e = open()
				inFlight = map[string][]string{}
			}
		}
		require.NoError(t, e.Close())
		e = open()
		left := map[string][]string{}
		all, err := e.Messages("q.fifo", 0)
		require.NoError(t, err)
		for _, m := range all {
			g := m.System["MessageGroupId"]
			left[g] = append(left[g], m.Body)
		}
		for _, g := range []string{"a", "b", "c"} {
			require.Equal(t, append([]string{}, waiting[g]...), append([]string{}, left[g]...))
		}
		require.NoError(t, e.Close())
	})
}

func TestViews(t *testing.T) {
	f := start(t, localsqs.Config{})
	f.queue("dead.fifo", nil)
	q := f.queue("turns.fifo", map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"` + f.engine.ARN("dead.fifo") + `","maxReceiveCount":1}`})
	f.send(q, "g", "1", "secret-free body")
	f.pass(90 * time.Second)
	rec := httptest.NewRecorder()
	f.engine.QueuesHandler().ServeHTTP(rec, httptest.NewRequest("GET", "/_local/queues", nil))
	var views []map[string]any
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &views))
	require.Equal(t, []map[string]any{
		{"name": "dead.fifo", "fifo": true, "visible": 0.0, "in_flight": 0.0, "delayed": 0.0, "oldest_age_seconds": 0.0, "dlq_for": "turns.fifo"},
		{"name": "turns.fifo", "fifo": true, "visible": 1.0, "in_flight": 0.0, "delayed": 0.0, "oldest_age_seconds": 90.0},
	}, views)
	require.Len(t, f.receive(q, 1), 1)
	f.pass(31 * time.Second)
	require.Empty(t, f.receive(q, 1))
	failed, err := f.engine.Messages("dead.fifo", 10)
	require.NoError(t, err)
	require.Equal(t, "secret-free body", failed[0].Body)
	require.Equal(t, "visible", failed[0].State)
	require.Equal(t, 1, failed[0].Receives)
	require.NoError(t, f.engine.Purge("dead.fifo"))
	failed, err = f.engine.Messages("dead.fifo", 10)
	require.NoError(t, err)
	require.Empty(t, failed)
	rec = httptest.NewRecorder()
	f.engine.QueuesHandler().ServeHTTP(rec, httptest.NewRequest("POST", "/_local/queues", nil))
	require.Equal(t, 405, rec.Code)
}

func TestRetentionFollowsTheShiftedClock(t *testing.T) {
	f := start(t, localsqs.Config{})
	q := f.queue("q", map[string]string{"MessageRetentionPeriod": "3600"})
	f.send(q, "", "", "old")
	f.pass(time.Hour)
	f.send(q, "", "", "new")
	f.pass(time.Second)
	require.Equal(t, "new", bodies(f.receive(q, 10)))
}
