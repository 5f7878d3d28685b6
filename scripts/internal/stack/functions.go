package stack

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/latchkey/latchkey/scripts/internal/lambdahost"
	"github.com/latchkey/latchkey/shared/config"
	"github.com/latchkey/latchkey/shared/payment"
	"github.com/latchkey/latchkey/shared/stripe"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/topology"
)

// build compiles the functions for this machine. The go tool does nothing when
// nothing changed.
func (s *Stack) build(ctx context.Context) error {
	if s.opts.SkipBuild {
		return nil
	}
	return Build(ctx, s.opts.Root, s.opts.Binaries)
}

// Build compiles every function into dir, one binary per function, named like
// it.
func Build(ctx context.Context, root, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("stack: %w", err)
	}
	// Not -trimpath: it would compile every dependency a second time beside the
	// tests' cache.
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-tags", "lambda.norpc", "-ldflags", "-s -w",
		"-o", dir+string(filepath.Separator), "./functions/...")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("stack: the functions do not build:\n%s", strings.TrimSpace(string(out)))
	}
	return nil
}

func (s *Stack) startFunctions() error {
	for _, f := range topology.Functions() {
		if limit := s.opts.Timeouts[f.Name]; limit > 0 {
			f.Timeout = limit
		}
		err := s.Host.Register(lambdahost.Spec{
			Name: f.Name, Binary: filepath.Join(s.opts.Binaries, f.Name), Env: s.environment(f),
			Timeout: f.Timeout, MemoryMB: f.MemoryMB, MaxEnvironments: s.opts.MaxEnvironments,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Environment is what a function sees, for a test that runs a changed build of it
// in a host of its own.
func (s *Stack) Environment(function string) map[string]string {
	for _, f := range topology.Functions() {
		if f.Name == function {
			return s.environment(f)
		}
	}
	return nil
}

// Binary is a function's executable, for a test that runs it in a host of its own.
func (s *Stack) Binary(function string) string { return filepath.Join(s.opts.Binaries, function) }

// environment is what a function sees: its own variables, the endpoints and its
// own access key. It mirrors what infra/ sets on AWS, endpoints apart.
func (s *Stack) environment(f topology.Function) map[string]string {
	e := s.endpoints
	env := map[string]string{
		config.Stage:                        stage,
		"AWS_ACCESS_KEY_ID":                 accessKey(f.Name),
		"AWS_SECRET_ACCESS_KEY":             "local",
		"AWS_REGION":                        region,
		"AWS_ENDPOINT_URL_DYNAMODB":         e.dynamodb,
		"AWS_ENDPOINT_URL_DYNAMODB_STREAMS": e.dynamodb,
		"AWS_ENDPOINT_URL_KMS":              e.kms,
		"AWS_ENDPOINT_URL_SQS":              e.sqs,
		"AWS_ENDPOINT_URL_LAMBDA":           e.lambda,
		"AWS_ENDPOINT_URL_EVENTBRIDGE":      e.events,
		"AWS_ENDPOINT_URL_STS":              "http://127.0.0.1:1",
		"AWS_EC2_METADATA_DISABLED":         "true",
	}
	want := f.Environment
	if want.Tables {
		for _, t := range table.Specs() {
			env[config.TableVar(t.Role)] = s.Tables[t.Role]
		}
	}
	if want.Vault {
		env[config.VaultKeyARN], env[config.MACKeyARN] = strings.Join(e.vaultKeys, ","), e.macKey
	}
	if want.TurnQueue {
		env[config.TurnQueueURL] = s.Queues.URL(e.sqs, queueName(topology.TurnQueue))
	}
	if want.PublicURL {
		env[config.PublicURL] = s.BaseURL
	}
	for _, name := range f.Invokes {
		env[config.FunctionVar(name)] = name
	}
	maps.Copy(env, s.opts.Env)
	// Their values are in the vault, see [Stack.Seed].
	delete(env, config.StripeKey)
	delete(env, config.StripeWebhookSecret)
	if want.Payments {
		env[config.StripeWebhookSecret] = payment.Reference(stripe.ID)
	}
	return env
}
