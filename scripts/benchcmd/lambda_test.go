package main

import (
	"encoding/json"
	"math"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/latchkey/latchkey/scripts/awsinstant"
	"github.com/latchkey/latchkey/scripts/internal/rig"
	"github.com/latchkey/latchkey/shared/boot"
	"github.com/latchkey/latchkey/shared/dialect/openaichat"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/topology"
)

// A warm call makes at most five calls to AWS, whoever pays, on the wiring of the
// deployed function; and the count is what the bench prints.
func TestAWSCallsPerRequest(t *testing.T) {
	up := httptest.NewServer(rig.NewUpstream(3, 0))
	defer up.Close()
	state := filepath.Join(t.TempDir(), "state.json")
	key, err := seed(t.Context(), up.URL, state)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range lambdaEnv(topology.Function{Name: topology.Invoke}, up.URL, state, "", "127.0.0.1:1") {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	env, f, err := boot.Open(t.Context(), topology.Invoke)
	if err != nil {
		t.Fatal(err)
	}
	store, err := awsinstant.Open(state)
	if err != nil {
		t.Fatal(err)
	}
	env.AWS.HTTPClient = store
	server, err := env.ModelAPI(f, taxonomy.AIKey)
	if err != nil {
		t.Fatal(err)
	}
	call := func(model string) {
		t.Helper()
		request, _, err := openaichat.ParseRequest([]byte(chatBody(model, false)))
		if err != nil {
			t.Fatal(err)
		}
		c, err := server.Gateway.Authenticate(t.Context(), key, org.ScopeInvoke, server.Now)
		if err != nil {
			t.Fatal(err)
		}
		a, err := server.Gateway.Complete(t.Context(), c, gateway.Query{Route: "POST " + chatPath, Body: []byte("x")}, request)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for model, opened := range map[string]string{modelPlatform: seedShared, modelOwn: seedOwn} {
		call(model) // reads the price book and the data key
		before := store.Calls()
		call(model)
		sum := 0
		for name, n := range store.Calls() {
			if n -= before[name]; n > 0 {
				t.Logf("%s (%s): %s %d", model, opened, name, n)
				sum += n
			}
		}
		if sum > barAWSCalls {
			t.Errorf("%s: %d calls to AWS, at most %v", model, sum, barAWSCalls)
		}
	}
}

func TestParseProfile(t *testing.T) {
	const out = `PeriodType: cpu nanoseconds
Samples:
samples/count cpu/nanoseconds
          3   30000000: 1 2 4
          2   20000000: 2 4
                bytes:[64]
          1   10000000: 3
          5   50000000: 5 1 2 4
Locations
     1: 0x41 M=1 github.com/aws/smithy-go/middleware.x /a.go:1 s=0
     2: 0x42 M=1 inlined /b.go:2 s=0
             github.com/latchkey/latchkey/shared/gateway.(*Gateway).load /b.go:3 s=0
     3: 0x43 M=1 runtime.gcBgMarkWorker /c.go:1 s=0
     4: 0x44 M=1 github.com/latchkey/latchkey/shared/serve.(*Server).open /d.go:1 s=0
     5: 0x45 M=1 github.com/latchkey/latchkey/scripts/awsinstant.(*Store).Do /e.go:1 s=0
Mappings
1: 0x0/0x0/0x0
`
	s, err := parseProfile(out, "samples/")
	if err != nil || s.all != 11 || s.sdk["read round"] != 3 || s.own["read round"] != 2 || s.own[phaseSpare] != 1 || s.own[phaseStub] != 5 {
		t.Fatalf("%+v, %v", s, err)
	}
	rows := split(s, sum{own: map[string]int64{"plan": 50}}, 10)
	if rows[0].Phase != phaseStub && rows[0].Phase != "read round" || len(rows) != 4 {
		t.Errorf("%+v", rows)
	}
	c := costRow{Phases: rows}
	if got := c.awsShare(); math.Abs(got-8.0/11) > 1e-9 {
		t.Errorf("%v of the time is the SDK's and the stub's", got)
	}
	if _, err := parseProfile("nothing", "samples/"); err == nil {
		t.Error("no profile was taken for one")
	}
}

// The time of an event moves on without the event being built again.
func TestStamp(t *testing.T) {
	event, err := functionURLEvent("k", "/p", nil, "body")
	if err != nil {
		t.Fatal(err)
	}
	before := len(event)
	stamp(event, time.UnixMilli(1_800_000_000_123))
	var e events.LambdaFunctionURLRequest
	if err := json.Unmarshal(event, &e); err != nil || len(event) != before || e.RequestContext.TimeEpoch != 1_800_000_000_123 || e.Body != "body" {
		t.Errorf("%+v, %v", e.RequestContext, err)
	}
}

// Deltas count only if each came in a read of its own.
func TestDeltas(t *testing.T) {
	one := func(pieces ...string) bool {
		var d deltas
		for _, p := range pieces {
			d.read([]byte(p))
		}
		return d.singly()
	}
	all := strings.Split(strings.TrimSuffix(strings.Repeat(`{"content":"word1 "}|`, lambdaDeltas), "|"), "|")
	if !one(append(all, "data: [DONE]")...) {
		t.Error("single deltas were not counted")
	}
	if one(append([]string{all[0] + all[1]}, all[2:]...)...) || one(all[1:]...) {
		t.Error("joined or missing deltas were counted as single")
	}
}

// Ratios and differences are taken within a round.
func TestLambdaRows(t *testing.T) {
	l := &lambdaReport{}
	for round, slow := range []float64{1, 3} {
		for _, mode := range []string{lambdaPlain, lambdaStream} {
			for i, peer := range lambdaPeers() {
				l.Rounds = append(l.Rounds, lambdaRound{Round: round, Mode: mode, Peer: peer, Calls: 10, CPU: slow * float64(i) * 2,
					P50: slow*0.5 + float64(i)/10, P99: 1, Singly: 10})
			}
		}
	}
	l.Costs = []costRow{{Peer: peerOwn, Mode: lambdaPlain, AWSCalls: map[string]float64{"a": 3, "b": 2},
		Phases: []phaseRow{{Phase: "plan", share: 0.5}, {Phase: phaseStub, share: 0.1}, {Phase: "reserve", sdkShare: 0.4}}}}
	l.Memory = lambdaMemory{Half: 46, End: 45}
	l.summarise(plan{lambdaMemory: 10})
	row := l.find(lambdaPlain, peerOwn)
	if math.Abs(row.XBase.Median-3) > 1e-9 || row.Own != 1.5 || math.Abs(row.Added.Median-0.3) > 1e-9 || row.CPU.Median != 1200 {
		t.Errorf("%+v", row)
	}
	if got := l.Costs[0].Phases; got[0].CPU != 600 || got[2].SDK != 480 {
		t.Errorf("%+v", got)
	}
	reached := map[string]bool{}
	for _, b := range l.Bars {
		reached[b.Figure] = b.Reached
	}
	for figure, want := range map[string]bool{peerOwn + ", plain: CPU": true, peerOwn + ", plain: added p50": false,
		peerOwn + ", stream: CPU": false, peerOwn + ", plain: AWS calls": true, "RSS after 10 calls": false,
		"RSS growth over the next 10": true, peerOwn + ", stream: streams with every delta singly": true} {
		if got, ok := reached[figure]; !ok || got != want {
			t.Errorf("%s: %t %t", figure, got, ok)
		}
	}
}
