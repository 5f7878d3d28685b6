// Command democmd is ./scripts/demo: it starts the whole system on free ports
// with simulated vendors, plays the main job end to end and shows the ledger.
//
// It leaves nothing behind: state lives in a temporary folder, and every process
// ends with this one. Exit code 0 means that every step did what it says.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/scripts/internal/stack"
)

const (
	ownKey        = "sk-own-demo-key-0123456789"
	signingSecret = "demo-signing-secret-0123456789abcdef"
	botToken      = "xoxb-demo-bot-token-0123456789"
	limit         = 5 * time.Minute
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, limit)
	err := run(ctx)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo: FAILED:", err)
		os.Exit(1)
	}
}

// demo is the running system and what the steps share.
type demo struct {
	ctx    context.Context
	stack  *stack.Stack
	vendor *mockvendor.Server
	url    string // of the vendor
	seeded stack.Seeded
	org    stack.Client // the demo organisation's own access
	number int
}

func run(ctx context.Context) (err error) {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "latchkey-demo")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	vendor := mockvendor.New()
	l, err := mockvendor.Listen(vendor)
	if err != nil {
		return err
	}
	defer l.Close()
	fmt.Println("Building and starting the system (the first build takes a minute or two) ...")
	began := time.Now()
	s, err := stack.Start(ctx, stack.Options{Root: root, Data: dir, InMemory: true, Log: os.Stderr, Env: map[string]string{
		"LATCHKEY_PLATFORM_OPENROUTER_KEY":             "sk-platform-demo-key",
		"LATCHKEY_PLATFORM_OPENROUTER_BASE_URL":        l.URL + "/v1",
		"LATCHKEY_PLATFORM_OPENAI_COMPATIBLE_KEY":      "sk-platform-demo-key",
		"LATCHKEY_PLATFORM_OPENAI_COMPATIBLE_BASE_URL": l.URL + "/v1",
		"LATCHKEY_SLACK_API_URL":                       l.URL + "/api",
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	d := &demo{ctx: ctx, stack: s, vendor: vendor, url: l.URL}
	if d.seeded, err = s.Seed(ctx, true); err != nil {
		return err
	}
	d.org = stack.Client{Base: s.BaseURL, Key: d.seeded.APIKey}
	if err := stack.Prices(ctx, stack.Client{Base: s.BaseURL, Key: d.seeded.OperatorKey}, true); err != nil {
		return err
	}
	fmt.Printf("Ready after %.1f s at %s. The vendors are simulated.\n", time.Since(began).Seconds(), s.BaseURL)
	for _, step := range []func() error{d.slack, d.chat, d.voice, d.ledger} {
		if err := step(); err != nil {
			return err
		}
	}
	fmt.Println("\nEverything above happened through real function processes on this machine. Nothing is left running.")
	return nil
}

// step announces a part of the job.
func (d *demo) step(format string, args ...any) {
	d.number++
	fmt.Printf("\n%d. %s\n", d.number, fmt.Sprintf(format, args...))
}

func say(format string, args ...any) { fmt.Printf("   %s\n", fmt.Sprintf(format, args...)) }

// wait polls for what other processes bring about.
func (d *demo) wait(what string, ok func() (bool, error)) error {
	for {
		done, err := ok()
		if done || err != nil {
			return err
		}
		select {
		case <-d.ctx.Done():
			return fmt.Errorf("%s did not happen: %w", what, d.ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}
