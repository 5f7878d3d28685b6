package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/scripts/internal/rig"
)

// costRow splits what one call of a peer costs. The split of the processor time
// is of a profile, the totals are of the rounds and of the runtime's own counts.
type costRow struct {
	Peer string `json:"peer"`
	Mode string `json:"mode"`
	// Allocs and Bytes are of one call, AWSCalls by operation.
	Allocs   float64            `json:"allocs_per_call"`
	Bytes    float64            `json:"bytes_per_call"`
	AWSCalls map[string]float64 `json:"aws_calls_per_call"`
	Samples  int64              `json:"cpu_samples"`
	Phases   []phaseRow         `json:"phases"`
}

// phaseRow is one phase's share of a call. The AWS SDK is counted apart.
type phaseRow struct {
	Phase  string  `json:"phase"`
	CPU    float64 `json:"cpu_us"`
	SDK    float64 `json:"cpu_sdk_us"`
	Allocs float64 `json:"allocs"`
	SDKed  float64 `json:"allocs_sdk"`

	share, sdkShare float64
}

// awsCalls is how many calls to AWS a call makes.
func (c costRow) awsCalls() float64 {
	sum := 0.0
	for _, n := range c.AWSCalls {
		sum += n
	}
	return sum
}

// awsShare is the part of the processor time that the AWS SDK and the stub that
// answers it have.
func (c costRow) awsShare() float64 {
	sum := 0.0
	for _, p := range c.Phases {
		if p.Phase == phaseStub {
			sum += p.share
		}
		sum += p.sdkShare
	}
	return sum
}

const (
	phaseStub  = "AWS stub of the bench"
	phaseRest  = "runtime API, event and other"
	phaseSpare = "collector and scheduler"
	// The runtime cuts deep stacks, and the SDK's are deep.
	phaseCut = "AWS SDK, caller not on the stack"
)

// phases names the parts of a call by functions of ours. The innermost one on a
// stack counts.
func phases() []struct{ name, mark string } {
	return []struct{ name, mark string }{
		{phaseStub, "scripts/awsinstant."},
		{"trace", "shared/trace."},
		{"trace", "aws-xray-sdk-go"},
		{"log", "log/slog."},
		{"log", "shared/boot.(*Env).logUse"},
		{"log", "shared/serve.(*Server).log"},
		{"redact", "shared/redact."},
		{"read round", "shared/gateway.(*Gateway).load"},
		{"read round", "shared/gateway.(*Gateway).Authenticate"},
		{"plan", "shared/gateway.(*Gateway).plan"},
		{"decide", "shared/gateway.(*attempts).inputs"},
		{"decide", "shared/billing.Decide"},
		{"decide", "shared/billing.Estimate"},
		{"reserve", "shared/gateway.(*attempts).reserve"},
		{"record", "shared/gateway.(*Meter).record"},
		{"call", "shared/egress."},
		{"call", "/chatcompletions."},
		{"reveal", "shared/vault.(*Vault).Reveal"},
		{"parse", "shared/dialect/openaichat.ParseRequest"},
		{"translate answer", "shared/dialect/"},
		{"gateway", "shared/gateway."},
		{"http face", "shared/serve."},
		{"http face", "shared/boot/lambdahttp."},
		{"connections", "net/http.(*persistConn)"},
	}
}

func phaseOf(stack []string) string {
	for _, frame := range stack {
		for _, p := range phases() {
			if strings.Contains(frame, p.mark) {
				return p.name
			}
		}
	}
	for _, frame := range stack {
		if strings.Contains(frame, "aws-lambda-go") || strings.Contains(frame, "net/http") || strings.HasPrefix(frame, "main.") {
			return phaseRest
		}
	}
	if inSDK(stack) {
		return phaseCut
	}
	return phaseSpare
}

// inSDK says whether a stack is inside the AWS SDK.
func inSDK(stack []string) bool {
	return slices.ContainsFunc(stack, func(frame string) bool {
		return strings.Contains(frame, "aws-sdk-go-v2") || strings.Contains(frame, "aws/smithy-go")
	}) && !slices.ContainsFunc(stack, func(frame string) bool { return strings.Contains(frame, "scripts/awsinstant.") })
}

// sum is what a profile counts by phase, of own code and of the SDK.
type sum struct {
	own, sdk map[string]int64
	all      int64
}

// profile reads a profile with the go tool. index is the sample's column.
func profile(ctx context.Context, root, file, index string) (sum, error) {
	out, err := goTool(ctx, root, nil, "tool", "pprof", "-raw", "-symbolize=none", file)
	if err != nil {
		return sum{}, fmt.Errorf("pprof: %w: %.300s", err, out)
	}
	return parseProfile(out, index)
}

// parseProfile reads what pprof -raw prints.
func parseProfile(out, index string) (sum, error) {
	s := sum{own: map[string]int64{}, sdk: map[string]int64{}}
	_, rest, ok := strings.Cut(out, "\nSamples:\n")
	samples, locations, found := strings.Cut(rest, "\nLocations\n")
	if !ok || !found {
		return s, fmt.Errorf("the profile cannot be read")
	}
	names := locationNames(locations)
	header, samples, _ := strings.Cut(samples, "\n")
	column := slices.IndexFunc(strings.Fields(header), func(f string) bool { return strings.HasPrefix(f, index) })
	if column < 0 {
		return s, fmt.Errorf("the profile does not count %s", index)
	}
	for line := range strings.Lines(samples) {
		values, ids, ok := strings.Cut(line, ":")
		fields := strings.Fields(values)
		if !ok || column >= len(fields) {
			continue // a label of the sample before
		}
		n, err := strconv.ParseInt(fields[column], 10, 64)
		if err != nil {
			continue
		}
		var stack []string
		for _, id := range strings.Fields(ids) {
			stack = append(stack, names[id]...)
		}
		s.all += n
		if inSDK(stack) {
			s.sdk[phaseOf(stack)] += n
		} else {
			s.own[phaseOf(stack)] += n
		}
	}
	return s, nil
}

// locationNames maps the id of a location to its functions, innermost first.
func locationNames(text string) map[string][]string {
	names := map[string][]string{}
	id := ""
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "Mappings") {
			break
		}
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if n, isID := strings.CutSuffix(fields[0], ":"); isID && len(fields) > 2 {
			id, fields = n, fields[1:]
			for len(fields) > 0 && (strings.HasPrefix(fields[0], "0x") || strings.HasPrefix(fields[0], "M=")) {
				fields = fields[1:]
			}
		}
		if len(fields) > 0 && id != "" {
			names[id] = append(names[id], fields[0])
		}
	}
	return names
}

// costs measures where the cost of a plain call goes, for either peer, and of a
// stream.
func (b *lambdaBench) costs(ctx context.Context) error {
	for _, c := range []struct {
		peer   string
		stream bool
	}{{peerPlatform, false}, {peerOwn, false}, {peerPlatform, true}} {
		row, err := b.cost(ctx, c.peer, c.stream)
		if err != nil {
			return err
		}
		b.r.Costs = append(b.r.Costs, row)
	}
	return nil
}

func (b *lambdaBench) cost(ctx context.Context, peer string, stream bool) (costRow, error) {
	row := costRow{Peer: peer, Mode: lambdaPlain, AWSCalls: map[string]float64{}}
	calls := b.p.lambdaProfile
	if stream {
		row.Mode, calls = lambdaStream, max(20, calls/30)
	}
	file := b.profileFile(row, "cpu")
	err := b.with(ctx, peer, nil, func(f *rig.Function) error {
		if err := b.repeat(ctx, peer, stream, max(20, calls/20)); err != nil {
			return err
		}
		before, err := b.ask(ctx, f, "stats", "")
		if err == nil {
			err = b.repeat(ctx, peer, stream, calls)
		}
		if err != nil {
			return err
		}
		after, err := b.ask(ctx, f, "stats", "")
		if err != nil {
			return err
		}
		per := func(n uint64) float64 { return round2(float64(n) / float64(calls)) }
		row.Allocs, row.Bytes = per(after.Mallocs-before.Mallocs), per(after.Bytes-before.Bytes)
		for name, n := range after.Calls {
			if n -= before.Calls[name]; n > 0 {
				row.AWSCalls[name] = per(uint64(n))
			}
		}
		if _, err := b.ask(ctx, f, "cpu/start", file); err != nil {
			return err
		}
		if err := b.repeat(ctx, peer, stream, calls); err != nil {
			return err
		}
		_, err = b.ask(ctx, f, "cpu/stop", "")
		return err
	})
	if err != nil {
		return row, err
	}
	cpu, err := profile(ctx, b.root, file, "samples/")
	if err != nil {
		return row, err
	}
	allocs, n, err := b.allocations(ctx, row, stream)
	row.Samples = cpu.all
	row.Phases = split(cpu, allocs, float64(n))
	return row, err
}

// profileFile names a profile after what it shows.
func (b *lambdaBench) profileFile(row costRow, kind string) string {
	name := strings.ReplaceAll(row.Peer+" "+row.Mode+" "+kind, " ", "-")
	return filepath.Join(b.profiles, name+".pprof")
}

// with runs f on a process of its own.
func (b *lambdaBench) with(ctx context.Context, peer string, more []string, f func(*rig.Function) error) error {
	fn, err := rig.StartFunction(ctx, b.binary, append(slices.Clip(b.env), more...))
	if err != nil {
		return err
	}
	defer fn.Stop()
	b.functions[peer] = fn
	return f(fn)
}

func (b *lambdaBench) repeat(ctx context.Context, peer string, stream bool, n int) error {
	call, _, err := b.caller(peer, stream)
	if err != nil {
		return err
	}
	defer call.close()
	for range n {
		if _, _, err := call.do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// allocations counts every allocation of some calls, by phase.
func (b *lambdaBench) allocations(ctx context.Context, row costRow, stream bool) (sum, int, error) {
	const calls = 100
	var looks []sum
	err := b.with(ctx, row.Peer, []string{"LATCHKEY_BENCH_ALLOCS=1"}, func(f *rig.Function) error {
		for i := range 2 {
			if err := b.repeat(ctx, row.Peer, stream, calls); err != nil {
				return err
			}
			file := b.profileFile(row, fmt.Sprintf("allocs%d", i))
			if _, err := b.ask(ctx, f, "allocs", file); err != nil {
				return err
			}
			one, err := profile(ctx, b.root, file, "alloc_objects/")
			if err != nil {
				return err
			}
			looks = append(looks, one)
		}
		return nil
	})
	if err != nil {
		return sum{}, 0, err
	}
	for name, n := range looks[0].own {
		looks[1].own[name] -= n
	}
	for name, n := range looks[0].sdk {
		looks[1].sdk[name] -= n
	}
	return looks[1], calls, nil
}

// split makes rows of two profiles, dearest first.
func split(cpu, allocs sum, calls float64) []phaseRow {
	var names []string
	rows := map[string]*phaseRow{}
	at := func(name string) *phaseRow {
		if rows[name] == nil {
			rows[name] = &phaseRow{Phase: name}
			names = append(names, name)
		}
		return rows[name]
	}
	for name, n := range cpu.own {
		at(name).share = float64(n) / float64(max(cpu.all, 1))
	}
	for name, n := range cpu.sdk {
		at(name).sdkShare = float64(n) / float64(max(cpu.all, 1))
	}
	for name, n := range allocs.own {
		at(name).Allocs = round2(float64(n) / calls)
	}
	for name, n := range allocs.sdk {
		at(name).SDKed = round2(float64(n) / calls)
	}
	out := make([]phaseRow, 0, len(names))
	for _, name := range names {
		out = append(out, *rows[name])
	}
	slices.SortFunc(out, func(x, y phaseRow) int {
		if x.share+x.sdkShare != y.share+y.sdkShare {
			if x.share+x.sdkShare > y.share+y.sdkShare {
				return -1
			}
			return 1
		}
		return strings.Compare(x.Phase, y.Phase)
	})
	return out
}
