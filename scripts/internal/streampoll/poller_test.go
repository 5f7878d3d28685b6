package streampoll

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// settle lets the virtual time of the bubble run: every retry of a test is over.
func settle() {
	time.Sleep(10 * time.Minute)
	synctest.Wait()
}

func all(from, to int) []string {
	var out []string
	for n := from; n <= to; n++ {
		out = append(out, seq(n))
	}
	return out
}

func poison(bad ...string) func([]string) (string, string, error) {
	return func(batch []string) (string, string, error) {
		for _, s := range bad {
			if slices.Contains(batch, s) {
				return `{"errorMessage":"poison"}`, "Unhandled", nil
			}
		}
		return "", "", nil
	}
}

func TestBisectIsolatesThePoisonRecordInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, Mapping{BisectOnError: true, MaxRetries: 2}, recs(1, 11)...)
		h.fn.script = poison(seq(6))
		h.start()
		settle()
		h.stream.add(0, recs(12, 13)...)
		settle()
		h.stop()
		for _, s := range append(all(1, 5), all(7, 13)...) {
			require.Equal(t, 1, h.fn.succeeded()[s], "record %s", s)
		}
		alone := 0
		for _, b := range h.fn.seen() {
			if slices.Equal(b, []string{seq(6)}) {
				alone++
			}
		}
		require.Equal(t, 3, alone, "halving uses up no retries: the poison record alone gets one try and two retries")
		failures := h.failures()
		require.Len(t, failures, 1)
		require.Equal(t, []string{seq(6)}, failures[0].sequences(t))
		require.Equal(t, seq(13), h.mark("shard-1").Sequence)
		require.Equal(t, all(1, 11), h.fn.seen()[0])
	})
}

func TestFailureObjectIsWhatLambdaWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, Mapping{MaxRetries: NoRetries}, recs(1, 2)...)
		h.fn.script = poison(seq(2))
		h.start()
		settle()
		h.stop()
		failures := h.failures()
		require.Len(t, failures, 1)
		require.Regexp(t, `^aws/lambda/settle/shard-1/2000/01/01/2000-01-01T00\.00\.00-[0-9a-f-]{36}$`, failures[0].Key)
		var body failureBody
		dec := json.NewDecoder(strings.NewReader(string(failures[0].Body)))
		dec.DisallowUnknownFields()
		require.NoError(t, dec.Decode(&body))
		require.Equal(t, "RetryAttemptsExhausted", body.RequestContext.Condition)
		require.Equal(t, "arn:aws:lambda:us-east-1:000000000000:function:settle", body.RequestContext.FunctionARN)
		require.Equal(t, 1, body.RequestContext.Invokes)
		require.Equal(t, "Unhandled", body.ResponseContext.FunctionError)
		require.Equal(t, failureBatch{
			ShardID: "shard-1", StartSequence: seq(1), EndSequence: seq(2), BatchSize: 2, StreamARN: testARN,
			FirstArrival: "2000-01-01T00:00:00.000Z", LastArrival: "2000-01-01T00:00:00.000Z",
		}, body.Batch)
		require.Equal(t, all(1, 2), failures[0].sequences(t), "S3 objects carry the full records")
	})
}

func TestRetriesAreCountedAndTheRestProceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, Mapping{BatchSize: 4, MaxRetries: 3}, recs(1, 8)...)
		h.fn.script = poison(seq(2))
		h.start()
		settle()
		h.stop()
		var want [][]string
		for range 4 {
			want = append(want, all(1, 4))
		}
		require.Equal(t, append(want, all(5, 8)), h.fn.seen())
		require.Equal(t, all(1, 4), h.failures()[0].sequences(t))
	})
}

func TestInvocationErrorsCountAsFailedAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, Mapping{MaxRetries: 1}, recs(1, 1)...)
		h.fn.script = func([]string) (string, string, error) { return "", "", errors.New("connection refused") }
		h.start()
		settle()
		h.stop()
		require.Len(t, h.fn.seen(), 2)
		require.Len(t, h.failures(), 1)
	})
}

func TestThrottledInvocationsUseUpNoRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, Mapping{BisectOnError: true, MaxRetries: NoRetries}, recs(1, 3)...)
		calls := 0
		h.fn.script = func([]string) (string, string, error) {
			if calls++; calls <= 20 {
				return "", "", fmt.Errorf("invoke: %w", throttle{})
			}
			return "", "", nil
		}
		h.start()
		settle()
		h.stop()
		require.Len(t, h.fn.seen(), 21)
		for _, batch := range h.fn.seen() {
			require.Equal(t, all(1, 3), batch, "a throttled batch is repeated whole")
		}
		require.Empty(t, h.failures())
		require.Equal(t, seq(3), h.mark("shard-1").Sequence)
	})
}

func TestPartialFailureIsTheCheckpoint(t *testing.T) {
	cases := map[string]struct {
		payload string
		second  []string // the batch that follows
	}{
		"lowest of several":        {failure(seq(4), seq(3), seq(5)), all(3, 5)},
		"last record":              {failure(seq(5)), all(5, 5)},
		"empty list":               {`{"batchItemFailures":[]}`, nil},
		"null list":                {`{"batchItemFailures":null}`, nil},
		"empty object":             {`{}`, nil},
		"null":                     {`null`, nil},
		"nothing":                  {``, nil},
		"empty id":                 {failure(""), all(1, 5)},
		"unknown id":               {failure("99999"), all(1, 5)},
		"unknown id beside a good": {failure(seq(4), "99999"), all(1, 5)},
		"null id":                  {`{"batchItemFailures":[{"itemIdentifier":null}]}`, all(1, 5)},
		"wrong key":                {`{"batchItemFailures":[{"id":"00003"}]}`, all(1, 5)},
		"not an object":            {`"done"`, all(1, 5)},
		"not JSON":                 {`{`, all(1, 5)},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t, Mapping{ReportBatchItemFailures: true}, recs(1, 5)...)
				calls := 0
				var between shardMark
				h.fn.script = func([]string) (string, string, error) {
					if calls++; calls == 1 {
						return c.payload, "", nil
					}
					between = h.mark("shard-1")
					return "", "", nil
				}
				h.start()
				settle()
				h.stop()
				want := [][]string{all(1, 5)}
				if c.second != nil {
					want = append(want, c.second)
				}
				require.Equal(t, want, h.fn.seen())
				if n := 5 - len(c.second); c.second != nil && n > 0 {
					require.Equal(t, seq(n), between.Sequence, "what lies before the failure is done before the retry")
				}
				require.Equal(t, seq(5), h.mark("shard-1").Sequence)
			})
		})
	}
}

func TestResponseIsIgnoredWithoutReportBatchItemFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, Mapping{}, recs(1, 3)...)
		h.fn.script = func([]string) (string, string, error) { return failure(seq(2)), "", nil }
		h.start()
		settle()
		h.stop()
		require.Equal(t, [][]string{all(1, 3)}, h.fn.seen())
	})
}

func TestReportedPoisonUnderBisectEndsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, Mapping{BisectOnError: true, ReportBatchItemFailures: true, MaxRetries: 2}, recs(1, 9)...)
		h.fn.script = func(batch []string) (string, string, error) {
			if slices.Contains(batch, seq(4)) {
				return failure(seq(4)), "", nil
			}
			return "", "", nil
		}
		h.start()
		settle()
		h.stop()
		require.Len(t, h.failures(), 1)
		require.Equal(t, all(4, 4), h.failures()[0].sequences(t))
		for _, s := range append(all(1, 3), all(5, 9)...) {
			require.Equal(t, 1, h.fn.succeeded()[s], "record %s", s)
		}
	})
}

func TestRestartResumesWithoutLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, Mapping{BatchSize: 2}, recs(1, 10)...)
		h.fn.script = poison(seq(6)) // 1-4 pass, the third batch is stuck
		h.start()
		time.Sleep(time.Second)
		h.stop()
		require.Equal(t, seq(4), h.mark("shard-1").Sequence)
		h.fn.script = nil
		h.stream.add(0, recs(11, 12)...)
		h.start()
		settle()
		h.stop()
		require.Contains(t, h.stream.starts, "AFTER_SEQUENCE_NUMBER "+seq(4))
		for _, s := range all(1, 12) {
			require.Equal(t, 1, h.fn.succeeded()[s], "record %s", s)
		}
	})
}

func TestStopWaitsForARunningInvocationAndKeepsItsResult(t *testing.T) {
	for name, c := range map[string]struct {
		takes time.Duration
		want  string
	}{"within the grace": {3 * time.Second, seq(1)}, "cut off": {time.Hour, ""}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t, Mapping{MaxRetries: NoRetries}, recs(1, 1)...)
				p, err := New(h.mapping, Options{Client: h.stream, Clock: h.clock, StateDir: h.state,
					Invoke: func(ctx context.Context, _ string, _ []byte) ([]byte, string, error) {
						if !sleep(ctx, c.takes) {
							return nil, "Unhandled", nil
						}
						return nil, "", nil
					}})
				require.NoError(t, err)
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				began := time.Now()
				require.NoError(t, p.Run(ctx))
				require.LessOrEqual(t, time.Since(began), 6*time.Second, "one second and the grace")
				require.Equal(t, c.want, h.mark("shard-1").Sequence)
				require.Empty(t, h.failures(), "a stop is no failure of the records")
			})
		})
	}
}

func TestParentsEndBeforeChildrenStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, Mapping{BatchSize: 3, MaxRetries: 2})
		h.stream.shards = []fakeShard{
			{id: "child-a", parent: "parent", records: recs(7, 8)},
			{id: "parent", parent: "trimmed-long-ago", records: recs(1, 6), closed: true},
			{id: "child-b", parent: "parent", records: recs(9, 10)},
		}
		h.fn.script = poison(seq(5))
		h.start()
		settle()
		h.stop()
		seen := h.fn.seen()
		require.Equal(t, [][]string{all(1, 3), all(4, 6), all(4, 6), all(4, 6)}, seen[:4])
		require.ElementsMatch(t, [][]string{all(7, 8), all(9, 10)}, seen[4:])
		require.True(t, h.mark("parent").Done)
		before := len(seen)
		h.start()
		settle()
		h.stop()
		require.Len(t, h.fn.seen(), before, "a delivered parent is not read again")
	})
}

func TestFilteredRecordsAdvanceTheCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, Mapping{Filters: []string{`{"eventName":["MODIFY"],"dynamodb":{"NewImage":{"st":{"S":["USED"]}}}}`}},
			rec(1, "a", "HELD"), rec(2, "a", "USED"), rec(3, "a", "SETTLED"), rec(4, "b", "HELD"))
		h.start()
		settle()
		h.stop()
		require.Equal(t, [][]string{{seq(2)}}, h.fn.seen())
		require.Equal(t, seq(4), h.mark("shard-1").Sequence)
	})
}

func TestFilteredRecordsDoNotPassAnUnfinishedOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, Mapping{MaxRetries: Unlimited, Filters: []string{`{"dynamodb":{"NewImage":{"st":{"S":["USED"]}}}}`}},
			rec(1, "a", "HELD"), rec(2, "a", "USED"), rec(3, "a", "HELD"))
		h.fn.script = poison(seq(2))
		h.start()
		settle()
		h.stop()
		require.Equal(t, seq(1), h.mark("shard-1").Sequence)
	})
}

func TestParallelLanesKeepOrderAndDoNotBlockEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, Mapping{Parallelization: 4, BatchSize: 1, MaxRetries: 4}, recs(1, 30)...)
		h.fn.script = poison(seq(3)) // key k0
		h.start()
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		require.Contains(t, h.fn.succeeded(), seq(29), "another key goes on during the retries")
		require.NotContains(t, h.fn.succeeded(), seq(6), "the poison record's key waits")
		require.Equal(t, seq(2), h.mark("shard-1").Sequence, "the checkpoint stays before the poison record")
		settle()
		h.stop()
		require.Equal(t, seq(30), h.mark("shard-1").Sequence)
		require.Len(t, h.failures(), 1)
		last := map[int]string{}
		for _, batch := range h.fn.seen() {
			var n int
			fmt.Sscanf(batch[0], "%05d", &n)
			require.LessOrEqual(t, last[n%3], batch[0], "order per key")
			last[n%3] = batch[0]
		}
	})
}

func TestOldRecordsGoToTheFailureDestination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := recs(1, 2)
		time.Sleep(2 * time.Hour)
		h := newHarness(t, Mapping{MaxRecordAge: time.Hour}, append(old, recs(3, 4)...)...)
		h.start()
		settle()
		h.stop()
		require.Equal(t, [][]string{all(3, 4)}, h.fn.seen())
		require.Equal(t, all(1, 2), h.failures()[0].sequences(t))
		require.Contains(t, string(h.failures()[0].Body), `"condition":"RecordAgeExceeded"`)
	})
}

func TestShiftedClockAgesRecordsThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, Mapping{MaxRecordAge: time.Hour}, recs(1, 1)...)
		h.fn.script = func([]string) (string, string, error) { return "", "", throttle{} }
		h.start()
		time.Sleep(time.Second)
		h.clock.SetOffset(2 * time.Hour)
		settle()
		h.stop()
		require.Len(t, h.failures(), 1)
	})
}

func TestRecordTimesFollowTheShiftedClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, Mapping{}, recs(1, 1)...)
		h.clock.SetOffset(time.Hour)
		var event string
		p, err := New(h.mapping, Options{Client: h.stream, Clock: h.clock, StateDir: h.state, Invoke: func(_ context.Context, _ string, e []byte) ([]byte, string, error) {
			event = string(e)
			return nil, "", nil
		}})
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		require.NoError(t, p.Run(ctx))
		require.Contains(t, event, fmt.Sprintf(`"ApproximateCreationDateTime":%d,`, time.Date(2000, 1, 1, 1, 0, 0, 0, time.UTC).Unix()))
	})
}

func TestPauseHoldsEverythingAndResumeGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, Mapping{BatchSize: 1}, recs(1, 3)...)
		h.fn.script = func([]string) (string, string, error) {
			time.Sleep(time.Second)
			return "", "", nil
		}
		h.start()
		time.Sleep(100 * time.Millisecond)
		require.NoError(t, h.poller.Pause(context.Background()))
		require.Equal(t, seq(1), h.mark("shard-1").Sequence, "pausing waits for the running invocation")
		h.stream.add(0, recs(4, 4)...)
		settle()
		require.Len(t, h.fn.seen(), 1)
		require.True(t, h.poller.Status().Paused)
		h.poller.Resume()
		settle()
		require.Len(t, h.fn.seen(), 4)
		require.NoError(t, h.poller.Pause(context.Background()))
		h.stop()
	})
}

func TestNothingIsReadWhilePaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, Mapping{}, recs(1, 1)...)
		h.start()
		settle()
		require.NoError(t, h.poller.Pause(context.Background()))
		settle() // a read that was under way ends
		reads := h.stream.readCount()
		h.stream.add(0, recs(2, 2)...)
		settle()
		require.Equal(t, reads, h.stream.readCount())
		h.poller.Resume()
		settle()
		h.stop()
		require.Equal(t, [][]string{all(1, 1), all(2, 2)}, h.fn.seen())
	})
}

func TestStreamErrorsAreSurvived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, Mapping{}, recs(1, 2)...)
		h.stream.errs = []error{&types.LimitExceededException{}, &types.ExpiredIteratorException{}, errors.New("EOF")}
		h.start()
		settle()
		h.stream.mu.Lock()
		h.stream.errs = []error{&types.TrimmedDataAccessException{}}
		h.stream.shards[0].records = nil // all trimmed; the marker's record does not exist any more
		h.stream.mu.Unlock()
		settle()
		h.stream.add(0, recs(50, 51)...)
		settle()
		h.stop()
		require.Equal(t, [][]string{all(1, 2), all(50, 51)}, h.fn.seen())
		require.Equal(t, "TRIM_HORIZON ", h.stream.starts[len(h.stream.starts)-1])
	})
}

func TestUnwritableFailureDestinationHoldsTheCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blocked := filepath.Join(t.TempDir(), "bucket")
		require.NoError(t, os.WriteFile(blocked, nil, 0o600))
		h := newHarness(t, Mapping{MaxRetries: NoRetries, FailureDestination: blocked}, recs(1, 2)...)
		h.fn.script = poison(seq(1))
		h.start()
		settle()
		require.Equal(t, "", h.mark("shard-1").Sequence)
		require.NoError(t, os.Remove(blocked))
		settle()
		h.stop()
		require.Len(t, h.failures(), 1)
		require.Equal(t, seq(2), h.mark("shard-1").Sequence)
	})
}

func TestWindowCollectsABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, Mapping{Window: 2 * time.Second, BatchSize: 5}, recs(1, 2)...)
		h.start()
		time.Sleep(time.Second)
		h.stream.add(0, recs(3, 4)...)
		settle()
		h.stream.add(0, recs(5, 11)...)
		settle()
		h.stop()
		require.Equal(t, [][]string{all(1, 4), all(5, 9), all(10, 11)}, h.fn.seen())
	})
}

func TestBatchStaysBelowThePayloadLimit(t *testing.T) {
	l := &lane{p: &Poller{mapping: Mapping{BatchSize: 100}}, ended: true}
	for range 40 {
		l.pending = append(l.pending, record{event: make(json.RawMessage, 400<<10)})
	}
	batch := l.next(t.Context())
	require.Len(t, batch, 15)
	require.Less(t, len(eventOf(batch)), 6<<20)
}

func TestBadMappingsAndCheckpointsAreRefused(t *testing.T) {
	good := Mapping{StreamARN: testARN, Function: "settle"}
	options := Options{Client: &fakeStream{}, Invoke: (&function{}).invoke, Clock: newHarness(t, good).clock, StateDir: t.TempDir()}
	cases := map[string]func(*Mapping){
		"needs a stream ARN":     func(m *Mapping) { m.StreamARN = "" },
		"not a stream ARN":       func(m *Mapping) { m.StreamARN = "ledger" },
		"batch size":             func(m *Mapping) { m.BatchSize = 10_001 },
		"parallelization":        func(m *Mapping) { m.Parallelization = 11 },
		"window":                 func(m *Mapping) { m.Window = time.Hour },
		"retries":                func(m *Mapping) { m.MaxRetries = -3 },
		"age":                    func(m *Mapping) { m.MaxRecordAge = -1 },
		"filter 1 is not JSON":   func(m *Mapping) { m.Filters = []string{"{"} },
		"filter 1 is not a JSON": func(m *Mapping) { m.Filters = []string{"[]"} },
	}
	for want, change := range cases {
		m := good
		change(&m)
		_, err := New(m, options)
		require.ErrorContains(t, err, want)
	}
	_, err := New(good, Options{})
	require.ErrorContains(t, err, "Options need")
	p, err := New(good, options)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(p.marks.path, []byte("{"), 0o600))
	_, err = New(good, options)
	require.ErrorContains(t, err, "remove the file")
}

// TestEveryRecordEndsExactlyOnce drives random outcomes and checks the promise:
// each record succeeds or lies in the failure destination, and order holds per
// key among first successes.
func TestEveryRecordEndsExactlyOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			n := rapid.IntRange(1, 25).Draw(rt, "records")
			h := newHarness(t, Mapping{
				BatchSize: rapid.IntRange(1, 10).Draw(rt, "batch"), MaxRetries: rapid.SampledFrom([]int{NoRetries, 1, 3}).Draw(rt, "retries"),
				BisectOnError: rapid.Bool().Draw(rt, "bisect"), ReportBatchItemFailures: true,
				Parallelization: rapid.IntRange(1, 3).Draw(rt, "lanes"),
			}, recs(1, n)...)
			plan := rapid.SliceOfN(rapid.IntRange(0, 9), 60, 60).Draw(rt, "plan")
			calls := 0
			h.fn.script = func(batch []string) (string, string, error) {
				outcome := 9
				if calls < len(plan) {
					outcome = plan[calls]
				}
				calls++
				switch outcome {
				case 0:
					return "", "Unhandled", nil
				case 1:
					return "", "", throttle{}
				case 2:
					return failure(batch[len(batch)/2]), "", nil
				case 3:
					return "", "", errors.New("down")
				}
				return "", "", nil
			}
			h.start()
			time.Sleep(time.Duration(rapid.IntRange(0, 3000).Draw(rt, "stop")) * time.Millisecond)
			h.stop() // once in the middle
			h.start()
			settle()
			h.stop()
			ended := h.fn.succeeded()
			if ended == nil {
				ended = map[string]int{}
			}
			for _, f := range h.failures() {
				for _, s := range f.sequences(t) {
					ended[s]++
				}
			}
			for _, s := range all(1, n) {
				if ended[s] == 0 {
					rt.Fatalf("record %s is lost", s)
				}
				if ended[s] > 1 && h.mapping.Parallelization == 1 {
					rt.Fatalf("record %s ended %d times", s, ended[s])
				}
			}
			if got := h.mark("shard-1").Sequence; got != seq(n) {
				rt.Fatalf("checkpoint %s after %d records", got, n)
			}
		})
	})
}
