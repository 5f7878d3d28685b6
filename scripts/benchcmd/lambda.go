package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/rig"
	"github.com/latchkey/latchkey/shared/topology"
)

// lambdaReport is what one call costs in the function's own process, AWS answered
// at once. CPU is in milliseconds per 1000 calls, times are in milliseconds.
type lambdaReport struct {
	Rows   []lambdaRow   `json:"rows"`
	Bars   []barRow      `json:"bars"`
	Memory lambdaMemory  `json:"memory"`
	Costs  []costRow     `json:"costs"`
	Rounds []lambdaRound `json:"rounds"`
}

// lambdaRow is one peer in one mode over all rounds.
type lambdaRow struct {
	Mode  string     `json:"mode"`
	Peer  string     `json:"peer"`
	CPU   rig.Spread `json:"cpu_ms_per_1000"`
	XBase rig.Spread `json:"x_base"`
	// Own is XBase less the share of the AWS SDK and of what answers it.
	Own   float64    `json:"x_base_without_sdk,omitempty"`
	Added rig.Spread `json:"added_p50_ms"`
	P99   rig.Spread `json:"added_p99_ms"`
	// Singly is the share of streams in which every delta came in a read of its
	// own.
	Singly float64 `json:"deltas_singly,omitempty"`
}

// lambdaRound is one slice of one peer, raw.
type lambdaRound struct {
	Round  int     `json:"round"`
	Mode   string  `json:"mode"`
	Peer   string  `json:"peer"`
	Calls  int     `json:"calls"`
	CPU    float64 `json:"cpu_ms"`
	P50    float64 `json:"p50_ms"`
	P99    float64 `json:"p99_ms"`
	Singly int     `json:"deltas_singly,omitempty"`
}

type lambdaMemory struct {
	Calls int     `json:"calls"` // of each half
	Start float64 `json:"rss_start_mb"`
	Half  float64 `json:"rss_half_mb"`
	End   float64 `json:"rss_end_mb"`
}

type barRow struct {
	Figure  string  `json:"figure"`
	Got     float64 `json:"got"`
	Bar     float64 `json:"bar"`
	Unit    string  `json:"unit"`
	Reached bool    `json:"reached"`
}

const (
	lambdaPlain  = "plain"
	lambdaStream = "stream of 10 deltas"
	lambdaDeltas = 10
	peerDirect   = "direct"
	peerBase     = "forwarding function (base)"
	peerPlatform = "platform credits"
	peerOwn      = "own key"
	// A trace header of a sampled and of an unsampled request: Lambda samples the
	// first of each second and 5 % of the rest.
	traceSampled   = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
	traceUnsampled = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0"
)

// lambdaBench are the processes of one measurement.
type lambdaBench struct {
	p         plan
	dir       string
	key       string
	upstream  string
	env       []string
	binary    string
	functions map[string]*rig.Function
	r         *lambdaReport
	root      string
	profiles  string // folder
}

func (b *lambdaBench) event(peer string, stream bool) ([]byte, error) {
	name := map[string]string{peerBase: modelVendor, peerPlatform: modelPlatform, peerOwn: modelOwn}[peer]
	return functionURLEvent(b.key, chatPath, nil, chatBody(name, stream))
}

// lambdaCosts measures what a call costs in the function's process, against the
// least function that forwards to the same vendor, both behind the same Runtime
// API. The two take turns: the speed of a machine drifts, a ratio within a round
// does not.
func lambdaCosts(ctx context.Context, o options, p plan, r *report) (err error) {
	b, err := openLambda(ctx, o, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	r.Lambda = b.r
	var a address
	upstream, err := rig.Spawn(ctx, os.Stderr, &a, "role", roleUpstream)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, upstream.Stop()) }()
	sink, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer sink.Close()
	state := filepath.Join(b.dir, "state.json")
	if b.key, err = seed(ctx, a.URL, state); err != nil {
		return err
	}
	b.upstream, b.env = a.URL, lambdaEnv(topology.Function{Name: functionName, MemoryMB: 512}, a.URL, state, b.dir, sink.LocalAddr().String())
	others := b.watch(upstream.PID())
	if err := b.rounds(ctx, others); err != nil {
		return err
	}
	r.Machine.ForeignCores = others.cores
	if err := b.memory(ctx); err != nil {
		return err
	}
	if err := b.costs(ctx); err != nil {
		return err
	}
	b.r.summarise(p)
	return nil
}

func openLambda(ctx context.Context, o options, p plan) (*lambdaBench, error) {
	dir, err := os.MkdirTemp("", "latchkey-bench-lambda")
	if err != nil {
		return nil, err
	}
	b := &lambdaBench{p: p, dir: dir, root: o.root, profiles: dir, r: &lambdaReport{}}
	if o.profiles != "" {
		b.profiles = o.profiles
	}
	say("building the model function over an AWS that answers at once")
	b.binary, err = lambdaBuild(ctx, o.root, dir)
	if err == nil {
		err = goBuild(ctx, o.root, runtime.GOARCH, filepath.Join(dir, "forward"), forwardPackage)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return b, nil
}

// start starts the base, and one process of the function per peer.
func (b *lambdaBench) start(ctx context.Context) (stop func(), err error) {
	b.functions = map[string]*rig.Function{}
	stop = func() {
		for _, f := range b.functions {
			f.Stop()
		}
	}
	base := append(functionEnv(topology.Function{Name: baseFunction}), "UPSTREAM="+b.upstream)
	if b.functions[peerBase], err = rig.StartFunction(ctx, filepath.Join(b.dir, "forward"), base); err != nil {
		delete(b.functions, peerBase)
		return stop, err
	}
	for _, peer := range []string{peerPlatform, peerOwn} {
		f, err := rig.StartFunction(ctx, b.binary, b.env)
		if err != nil {
			return stop, err
		}
		b.functions[peer] = f
	}
	return stop, nil
}

// lambdaPeers in the order in which they take turns.
func lambdaPeers() []string { return []string{peerDirect, peerBase, peerPlatform, peerOwn} }

// foreign measures what other programs use of the machine.
type foreign struct {
	own   func() time.Duration
	cores float64
}

// watch counts this process, the vendor and the functions as ours.
func (b *lambdaBench) watch(vendor int) *foreign {
	return &foreign{own: func() time.Duration {
		sum := rig.CPU(os.Getpid()) + rig.CPU(vendor)
		for _, f := range b.functions {
			sum += rig.CPU(f.PID())
		}
		return sum
	}}
}

// begin returns what ends the measurement.
func (f *foreign) begin() func() {
	busy, own, at := rig.Busy(), f.own(), time.Now()
	return func() { f.cores = max(0, float64(rig.Busy()-busy-(f.own()-own))/float64(time.Since(at))) }
}

func (b *lambdaBench) rounds(ctx context.Context, others *foreign) error {
	stop, err := b.start(ctx)
	defer stop()
	if err != nil {
		return err
	}
	defer others.begin()()
	for round := -1; round < b.p.lambdaRounds; round++ {
		for _, stream := range []bool{false, true} {
			for _, peer := range lambdaPeers() {
				one, err := b.slice(ctx, peer, stream, round)
				if err != nil {
					return fmt.Errorf("%s: %w", peer, err)
				}
				if round >= 0 { // the first only warms up
					b.r.Rounds = append(b.r.Rounds, one)
				}
			}
		}
	}
	return nil
}

// slice makes some calls one after the other.
func (b *lambdaBench) slice(ctx context.Context, peer string, stream bool, round int) (lambdaRound, error) {
	one := lambdaRound{Round: round, Mode: lambdaPlain, Peer: peer, Calls: b.p.lambdaPlain}
	if stream {
		one.Mode, one.Calls = lambdaStream, b.p.lambdaStreams
	}
	call, pid, err := b.caller(peer, stream)
	if err != nil {
		return one, err
	}
	defer call.close()
	times := make([]time.Duration, 0, one.Calls)
	before := cpuOf(pid)
	for range one.Calls {
		took, singly, err := call.do(ctx)
		if err != nil {
			return one, err
		}
		times = append(times, took)
		if singly {
			one.Singly++
		}
	}
	one.CPU = milliseconds(cpuOf(pid) - before)
	one.P50, one.P99 = finite(rig.Quantile(times, 0.5)), finite(rig.Quantile(times, 0.99))
	return one, nil
}

func cpuOf(pid int) time.Duration {
	if pid == 0 {
		return 0
	}
	return rig.CPU(pid)
}

// lambdaCall makes one call after another.
type lambdaCall struct {
	do    func(context.Context) (took time.Duration, singly bool, err error)
	close func()
}

func (b *lambdaBench) caller(peer string, stream bool) (lambdaCall, int, error) {
	var seen deltas
	check := func(reply rig.Reply, body []byte, err error) (time.Duration, bool, error) {
		switch {
		case err != nil:
			return 0, false, err
		case reply.Status != 200 || !reply.Ended || stream && !reply.Done:
			return 0, false, fmt.Errorf("status %d: %.300s", reply.Status, body)
		case stream && peer != peerDirect && bytes.Count(body, deltaMark) != lambdaDeltas:
			return 0, false, fmt.Errorf("%d of %d deltas arrived", bytes.Count(body, deltaMark), lambdaDeltas)
		case stream:
			return reply.First, seen.singly(), nil
		}
		return reply.Total, false, nil
	}
	if peer == peerDirect {
		c := rig.NewCaller(host(b.upstream), callTimeout)
		request := rig.Request(host(b.upstream), chatPath, "", []byte(chatBody(modelVendor, stream)))
		return lambdaCall{close: c.Close, do: func(context.Context) (time.Duration, bool, error) {
			seen = deltas{}
			reply, err := c.Do(request, seen.read)
			return check(reply, nil, err)
		}}, 0, nil
	}
	event, err := b.event(peer, stream)
	if err != nil {
		return lambdaCall{}, 0, err
	}
	f, n := b.functions[peer], 0
	return lambdaCall{close: func() {}, do: func(ctx context.Context) (time.Duration, bool, error) {
		seen = deltas{}
		n++
		stamp(event, time.Now())
		return check(f.Invoke(ctx, event, traceOf(n), seen.read))
	}}, f.PID(), nil
}

// traceOf samples as Lambda does once its first request of the second is over:
// one of twenty.
func traceOf(n int) string {
	if n%20 == 1 {
		return traceSampled
	}
	return traceUnsampled
}

// deltas tells whether every delta came in a read of its own.
type deltas struct{ reads, most int }

// deltaMark stands in each delta of the measured vendor, once.
var deltaMark = []byte(`"word`)

func (d *deltas) read(piece []byte) {
	if n := bytes.Count(piece, deltaMark); n > 0 {
		d.reads++
		d.most = max(d.most, n)
	}
}

func (d *deltas) singly() bool { return d.reads == lambdaDeltas && d.most == 1 }

// memory makes many calls and looks at what the process holds.
func (b *lambdaBench) memory(ctx context.Context) error {
	f, err := rig.StartFunction(ctx, b.binary, b.env)
	if err != nil {
		return err
	}
	defer f.Stop()
	m := &b.r.Memory
	m.Calls, m.Start = b.p.lambdaMemory, round2(megabytes(rig.RSS(f.PID())))
	for _, at := range []*float64{&m.Half, &m.End} {
		if err := b.calls(ctx, f, b.p.lambdaMemory); err != nil {
			return err
		}
		*at = round2(megabytes(rig.RSS(f.PID())))
	}
	return nil
}

// calls makes n plain calls, on platform credits and the own key in turn.
func (b *lambdaBench) calls(ctx context.Context, f *rig.Function, n int) error {
	var all [][]byte
	for _, peer := range []string{peerPlatform, peerOwn} {
		event, err := b.event(peer, false)
		if err != nil {
			return err
		}
		all = append(all, event)
	}
	for i := range n {
		event := all[i%len(all)]
		stamp(event, time.Now())
		reply, body, err := f.Invoke(ctx, event, traceOf(i/len(all)+1), nil)
		if err == nil && reply.Status != 200 {
			err = fmt.Errorf("status %d: %.300s", reply.Status, body)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// stats is what the measured function tells of itself.
type stats struct {
	Mallocs, Bytes, Heap uint64
	Calls                map[string]int
}

// ask makes a call of the bench's own to the measured function.
func (b *lambdaBench) ask(ctx context.Context, f *rig.Function, what, file string) (stats, error) {
	var s stats
	event, err := functionURLEvent(b.key, "/_bench/"+what, map[string]string{"file": url.QueryEscape(file)}, "")
	if err != nil {
		return s, err
	}
	reply, body, err := f.Invoke(ctx, event, traceUnsampled, nil)
	if err == nil && reply.Status != 200 {
		err = fmt.Errorf("%s: status %d: %.300s", what, reply.Status, body)
	}
	if err == nil && what == "stats" {
		err = json.Unmarshal(body, &s)
	}
	return s, err
}
