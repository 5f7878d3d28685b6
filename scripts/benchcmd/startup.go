package main

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/rig"
	"github.com/latchkey/latchkey/shared/config"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/topology"
)

// baseFunction is the least function there is, the baseline of starts and sizes.
const (
	baseFunction = "base"
	basePackage  = "./scripts/internal/rig/testdata/base"
	// forwardPackage is the least function that forwards, the baseline of calls.
	forwardPackage = "./scripts/internal/rig/testdata/forward"
)

// buildFlags are the deployed functions' (scripts/build), without -trimpath:
// that would compile every dependency a second time and saves nothing in a
// stripped binary.
func buildFlags(out string) []string {
	return []string{"build", "-buildvcs=false", "-tags", "lambda.norpc", "-ldflags", "-s -w", "-o", out}
}

func goBuild(ctx context.Context, root, arch, out string, pkgs ...string) error {
	return goBuildWith(ctx, root, arch, nil, out, pkgs...)
}

// goBuildWith is goBuild with further flags.
func goBuildWith(ctx context.Context, root, arch string, flags []string, out string, pkgs ...string) error {
	msg, err := goTool(ctx, root, []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + arch}, append(append(buildFlags(out), flags...), pkgs...)...)
	if err != nil {
		return fmt.Errorf("go build %s: %s", strings.Join(pkgs, " "), strings.TrimSpace(msg))
	}
	return nil
}

// goTool runs the go command and returns what it printed. Compilers and tests
// that it started end with it.
func goTool(ctx context.Context, root string, env []string, args ...string) (string, error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = root, &out, &out
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	return out.String(), err
}

// startup measures how long each function takes from exec to its first request
// for an event. The functions take turns, the base among them.
func startup(ctx context.Context, p plan, w *world, r *report) error {
	functions := topology.Functions()
	type figures struct{ wall, cpu, rss []float64 }
	all := map[string]*figures{baseFunction: {}}
	for _, f := range functions {
		all[f.Name] = &figures{}
	}
	one := func(name, binary string, env []string) error {
		poll, err := rig.FirstPoll(ctx, binary, env)
		if err != nil {
			return err
		}
		f := all[name]
		f.wall, f.cpu = append(f.wall, milliseconds(poll.Wall)), append(f.cpu, milliseconds(poll.CPU))
		f.rss = append(f.rss, megabytes(poll.RSS))
		return nil
	}
	for range p.starts {
		if err := one(baseFunction, w.base, functionEnv(topology.Function{Name: baseFunction})); err != nil {
			return err
		}
		for _, f := range functions {
			if err := one(f.Name, filepath.Join(w.binaries, f.Name), functionEnv(f)); err != nil {
				return err
			}
		}
	}
	base := rig.SpreadOf(all[baseFunction].wall).Median
	row := func(name string) {
		f := all[name]
		s := startRow{Function: name, Wall: rig.SpreadOf(f.wall), CPU: rig.SpreadOf(f.cpu), RSS: rig.SpreadOf(f.rss)}
		if base > 0 {
			s.OfBase = round2(s.Wall.Median / base)
		}
		r.Startup = append(r.Startup, s)
	}
	row(baseFunction)
	for _, f := range functions {
		row(f.Name)
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// functionEnv is enough environment for a function to start. Nothing is called
// before the first event, so the endpoints lead nowhere.
func functionEnv(f topology.Function) []string {
	const nowhere = "http://127.0.0.1:1"
	vars := []string{
		"_HANDLER=bootstrap", "AWS_LAMBDA_FUNCTION_NAME=" + f.Name, "AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		fmt.Sprintf("AWS_LAMBDA_FUNCTION_MEMORY_SIZE=%d", f.MemoryMB), "AWS_LAMBDA_LOG_FORMAT=JSON",
		"AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=bench", "AWS_SECRET_ACCESS_KEY=bench",
		"AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull, "AWS_EC2_METADATA_DISABLED=true",
		config.Stage + "=" + config.Local, config.PublicURL + "=" + nowhere, config.TurnQueueURL + "=" + nowhere + "/q",
		config.VaultKeyARN + "=arn:aws:kms:us-east-1:000000000000:key/bench", config.MACKeyARN + "=arn:aws:kms:us-east-1:000000000000:key/benchmac",
	}
	for _, service := range []string{"DYNAMODB", "DYNAMODB_STREAMS", "KMS", "SQS", "LAMBDA", "EVENTBRIDGE", "STS"} {
		vars = append(vars, "AWS_ENDPOINT_URL_"+service+"="+nowhere)
	}
	for _, t := range table.Specs() {
		vars = append(vars, config.TableVar(t.Role)+"=bench-"+string(t.Role))
	}
	return vars
}

// sizes weighs binaries and the archives that are deployed. A quick run leaves
// out the other architecture, which may have to be compiled for minutes.
func sizes(ctx context.Context, o options, w *world, r *report) error {
	if err := weighAll(r, runtime.GOARCH, w.binaries, w.base); err != nil || o.quick {
		return err
	}
	other := "arm64"
	if runtime.GOARCH == other {
		other = "amd64"
	}
	out := filepath.Join(w.data, other)
	if err := os.MkdirAll(out, 0o700); err != nil {
		return err
	}
	say("building for %s (the first time takes some minutes)", other)
	if err := goBuild(ctx, o.root, other, out+string(filepath.Separator), "./functions/...", basePackage); err != nil {
		return err
	}
	return weighAll(r, other, out, filepath.Join(out, baseFunction))
}

func weighAll(r *report, arch, dir, base string) error {
	files := map[string]string{baseFunction: base}
	names := []string{baseFunction}
	for _, f := range topology.Functions() {
		files[f.Name], names = filepath.Join(dir, f.Name), append(names, f.Name)
	}
	for _, name := range names {
		binary, archive, err := weigh(files[name])
		if err != nil {
			return err
		}
		r.Sizes = append(r.Sizes, sizeRow{Function: name, Arch: arch, Binary: round2(megabytes(binary)), Zip: round2(megabytes(archive))})
	}
	return nil
}

// weigh returns the size of a binary and of the archive that would be uploaded.
func weigh(file string) (binary, archive int64, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, 0, err
	}
	var n counter
	z := zip.NewWriter(&n)
	f, err := z.Create("bootstrap")
	if err != nil {
		return 0, 0, err
	}
	if _, err := io.Copy(f, bytes.NewReader(b)); err != nil {
		return 0, 0, err
	}
	if err := z.Close(); err != nil {
		return 0, 0, err
	}
	return int64(len(b)), int64(n), nil
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
