// Command local runs the whole of Latchkey on this machine; ./scripts/dev starts
// it. See package stack for what it consists of.
//
// It runs in the foreground until Ctrl-C and then stops everything it started.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/stack"
)

type flags struct {
	port            int
	data            string
	fresh           bool
	noSeed          bool
	readyFile       string
	env             envFlag
	maxEnvironments int
}

// envFlag collects repeated --env K=V.
type envFlag map[string]string

func (e envFlag) String() string { return fmt.Sprint(len(e), " variables") }

func (e envFlag) Set(s string) error {
	k, v, ok := strings.Cut(s, "=")
	if !ok || k == "" {
		return errors.New("want K=V")
	}
	e[k] = v
	return nil
}

const usage = `Usage: ./scripts/dev [flags]

Runs the whole of Latchkey on 127.0.0.1 until Ctrl-C: DynamoDB, keys, queues,
events, the functions and one HTTP front. State is kept in .local/.

Environment: LATCHKEY_PLATFORM_<PROVIDER>_KEY (and _BASE_URL) give the platform
its own model access, e.g. LATCHKEY_PLATFORM_OPENROUTER_KEY. Without any, a
simulated vendor is started. LATCHKEY_STRIPE_KEY and _WEBHOOK_SECRET are a test
account of the payment vendor, kept in the local vault; without, payments are
simulated.

Flags:
`

func main() {
	f := flags{env: envFlag{}}
	set := flag.NewFlagSet("dev", flag.ContinueOnError)
	set.SetOutput(os.Stderr)
	set.Usage = func() { fmt.Fprint(os.Stderr, usage); set.PrintDefaults() }
	set.IntVar(&f.port, "port", 8787, "port of the HTTP front; 0 = any free one")
	set.StringVar(&f.data, "data", ".local", "folder for state and logs")
	set.BoolVar(&f.fresh, "fresh", false, "delete the state first")
	set.BoolVar(&f.noSeed, "no-seed", false, "do not create the demo organisation")
	set.StringVar(&f.readyFile, "ready-file", "", "write URLs and keys to this file when ready")
	set.Var(f.env, "env", "K=V for the functions; may be repeated")
	set.IntVar(&f.maxEnvironments, "max-environments", 32, "processes per function")
	if err := set.Parse(os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		os.Exit(2)
	}
	if set.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "dev: unexpected argument %q; see --help\n", set.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, f, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "dev:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, f flags, out io.Writer) error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	data, err := filepath.Abs(f.data)
	if err != nil {
		return err
	}
	if f.fresh {
		if err := removeState(data); err != nil {
			return err
		}
	}
	env := functionEnv(os.Environ(), f.env)
	began := time.Now()
	fmt.Fprintln(out, "latchkey: building and starting (the first build takes a minute or two)")
	sim, err := simulate(env)
	if err != nil {
		return err
	}
	defer sim.close()
	pay, err := simulatePayments(env)
	if err != nil {
		return err
	}
	defer pay.close()
	s, err := stack.Start(ctx, stack.Options{Root: root, Data: data, Port: f.port, Env: env, MaxEnvironments: f.maxEnvironments, Log: os.Stderr})
	if err != nil {
		return err
	}
	defer func() {
		if err := s.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "dev: stopping:", err)
		}
	}()
	pay.deliver(s.BaseURL)
	seeded, err := s.Seed(ctx, !f.noSeed)
	if err != nil {
		return err
	}
	if sim.running() || !f.noSeed {
		if err := stack.Prices(ctx, stack.Client{Base: s.BaseURL, Key: seeded.OperatorKey}, sim.running()); err != nil {
			return err
		}
	}
	if err := writeReady(f.readyFile, s, seeded); err != nil {
		return err
	}
	banner(out, s, seeded, sim, pay, time.Since(began))
	<-ctx.Done()
	fmt.Fprintln(out, "\nlatchkey: stopping")
	return nil
}

// functionEnv is what the functions get: the developer's LATCHKEY_* variables
// and --env, which wins.
func functionEnv(environ []string, flags map[string]string) map[string]string {
	env := map[string]string{}
	for _, kv := range environ {
		if k, v, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(k, "LATCHKEY_") {
			env[k] = v
		}
	}
	for k, v := range flags {
		env[k] = v
	}
	return env
}

// removeState deletes only a folder that looks like ours: --data could be
// anything.
func removeState(data string) error {
	if _, err := os.Stat(data); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if _, err := os.Stat(filepath.Join(data, "logs")); err != nil {
		return fmt.Errorf("%s is not a state folder of this program; delete it yourself or choose another --data", data)
	}
	return os.RemoveAll(data)
}

type ready struct {
	BaseURL      string            `json:"base_url"`
	FunctionURLs map[string]string `json:"function_urls"`
	DynamoDBURL  string            `json:"dynamodb_url"`
	KMSURL       string            `json:"kms_url"`
	SQSURL       string            `json:"sqs_url"`
	OperatorKey  string            `json:"operator_key"`
	OrgID        string            `json:"org_id"`
	APIKey       string            `json:"api_key"`
	LogDir       string            `json:"log_dir"`
}

func writeReady(file string, s *stack.Stack, seeded stack.Seeded) error {
	if file == "" {
		return nil
	}
	b, err := json.MarshalIndent(ready{s.BaseURL, s.FunctionURLs, s.DynamoDBURL, s.KMSURL, s.SQSURL,
		seeded.OperatorKey, seeded.OrgID, seeded.APIKey, s.LogDir}, "", "  ")
	if err != nil {
		return err
	}
	return stack.WriteFile(file, append(b, '\n'))
}

func banner(out io.Writer, s *stack.Stack, seeded stack.Seeded, sim *simulated, pay *payments, took time.Duration) {
	fmt.Fprintf(out, "\nlatchkey is ready after %.1f s\n\n", took.Seconds())
	row := func(name, value string) { fmt.Fprintf(out, "  %-14s %s\n", name, value) }
	row("base URL", s.BaseURL+"  (OpenAI SDKs: "+s.BaseURL+"/v1)")
	row("admin API", s.BaseURL+"/api  (OpenAPI: /api/openapi.json)")
	row("operator key", seeded.OperatorKey)
	if seeded.APIKey != "" {
		row("organisation", seeded.OrgID+"  (tier enterprise)")
		row("API key", seeded.APIKey)
	}
	row("logs", s.LogDir)
	if sim.running() {
		fmt.Fprintf(out, "\nNo LATCHKEY_PLATFORM_* variable is set, so the platform's vendor is simulated.\nIts models: %s\n", strings.Join(simModels, ", "))
	}
	if pay.running() {
		fmt.Fprintln(out, "\nNo LATCHKEY_STRIPE_* variable is set, so payments are simulated: opening the URL of\n./scripts/lk billing checkout --amount 10cr pays, without money.")
	}
	if seeded.APIKey != "" {
		fmt.Fprintf(out, "\nTry:\n  curl -s %s/v1/chat/completions -H 'Authorization: Bearer %s' \\\n    -H 'Content-Type: application/json' -d '{\"model\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}'\n",
			s.BaseURL, seeded.APIKey, simModels[0])
	}
	fmt.Fprintln(out, "\nCtrl-C stops everything.")
}
