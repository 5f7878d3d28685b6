package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/rig"
	"github.com/latchkey/latchkey/scripts/internal/stack"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/topology"
)

// address is what a server role announces.
type address struct {
	URL string `json:"url"`
}

// stackReady is what the stack announces.
type stackReady struct {
	BaseURL     string `json:"base_url"`
	InvokeURL   string `json:"invoke_url"`
	OperatorKey string `json:"operator_key"`
	// KeyCallsURL answers how often the model function called the key service, and
	// the webhook function each operation.
	KeyCallsURL string `json:"key_calls_url"`
	// What the webhook function reaches the tables with.
	HookDynamoDBURL string `json:"hook_dynamodb_url"`
	HookAccessKey   string `json:"hook_access_key"`
	SessionsTable   string `json:"sessions_table"`
}

const (
	roleUpstream = "upstream"
	roleFloor    = "floor"
	roleSpin     = "spin"
	roleStack    = "stack"
)

// role runs this process as one of the parts. Interrupts are the parent's to
// handle.
func role(name string, args []string) error {
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	switch name {
	case roleUpstream:
		f := flag.NewFlagSet(name, flag.ContinueOnError)
		deltas, pause := f.Int("deltas", 10, ""), f.Duration("pause", 2*time.Millisecond, "")
		if err := f.Parse(args); err != nil {
			return err
		}
		return serve(rig.NewUpstream(*deltas, *pause))
	case roleFloor:
		if len(args) != 1 {
			return fmt.Errorf("the floor needs the URL of the vendor")
		}
		h, err := rig.Floor(args[0])
		if err != nil {
			return err
		}
		return serve(h)
	case roleSpin:
		return spin()
	case roleStack:
		return runStack(args)
	}
	return fmt.Errorf("unknown role")
}

func serve(h http.Handler) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()
	return rig.Announce(address{"http://" + l.Addr().String()})
}

// spin keeps every core busy until the parent ends it.
func spin() error {
	stop := make(chan struct{})
	defer close(stop)
	for range runtime.NumCPU() {
		go func() {
			for turns := 0; ; turns++ {
				select {
				case <-stop:
					return
				default:
					turns++
				}
			}
		}()
	}
	return rig.Announce(struct{}{})
}

// benchKey is the platform's key for the measured vendor, which takes any.
const benchKey = "sk-bench-platform"

// runStack runs the whole product. Its functions reach the vendor both as the
// platform's provider and as an organisation's own endpoint.
func runStack(args []string) error {
	f := flag.NewFlagSet(roleStack, flag.ContinueOnError)
	root, data, vendor, binaries := f.String("root", "", ""), f.String("data", "", ""), f.String("vendor", "", ""), f.String("binaries", "", "")
	if err := f.Parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	var keyCalls atomic.Int64
	var hookCalls callCounter
	counts, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"calls": keyCalls.Load(), "webhook": hookCalls.seen()})
	})}
	go func() { _ = srv.Serve(counts) }()
	defer srv.Close()
	s, err := stack.Start(ctx, stack.Options{
		Root: *root, Data: *data, InMemory: true, Log: os.Stderr, Binaries: *binaries, SkipBuild: *binaries != "",
		OnAWSCall: func(c stack.AWSCall) {
			if c.Function == functionName && c.Service == "kms" {
				keyCalls.Add(1)
			}
			if c.Function == topology.Webhook {
				hookCalls.add(c)
			}
		},
		Env: map[string]string{
			"LATCHKEY_PLATFORM_OPENROUTER_KEY":      benchKey,
			"LATCHKEY_PLATFORM_OPENROUTER_BASE_URL": *vendor + "/v1",
			"LATCHKEY_ENDPOINT_ALLOW":               strings.TrimPrefix(*vendor, "http://"),
		},
	})
	if err != nil {
		return err
	}
	defer func() {
		// The parent may be gone and cannot remove the data then.
		if err := errors.Join(s.Stop(), os.RemoveAll(*data)); err != nil {
			fmt.Fprintln(os.Stderr, "bench stack:", err)
		}
	}()
	seeded, err := s.Seed(ctx, false)
	if err != nil {
		return err
	}
	if err := stack.Prices(ctx, stack.Client{Base: s.BaseURL, Key: seeded.OperatorKey}, true); err != nil {
		return err
	}
	env := s.Environment(topology.Webhook)
	return rig.Announce(stackReady{BaseURL: s.BaseURL, InvokeURL: s.FunctionURLs[functionName], OperatorKey: seeded.OperatorKey,
		KeyCallsURL: "http://" + counts.Addr().String(), HookDynamoDBURL: env["AWS_ENDPOINT_URL_DYNAMODB"], HookAccessKey: env["AWS_ACCESS_KEY_ID"],
		SessionsTable: s.Tables[table.Sessions]})
}

// callsSeen are the calls of a function until now. A round is a run of calls that
// overlap in time, which means something for one request after the other only.
type callsSeen struct {
	Count  map[string]int64   `json:"count"`
	Millis map[string]float64 `json:"ms"`
	Rounds int64              `json:"rounds"`
}

// callCounter counts calls by name. It is safe for concurrent use.
type callCounter struct {
	mu  sync.Mutex
	n   callsSeen
	end time.Time
}

func (c *callCounter) add(call stack.AWSCall) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n.Count == nil {
		c.n.Count, c.n.Millis = map[string]int64{}, map[string]float64{}
	}
	name := call.Service + " " + call.Operation
	c.n.Count[name]++
	c.n.Millis[name] += float64(call.End.Sub(call.Start)) / float64(time.Millisecond)
	if !call.Start.Before(c.end) {
		c.n.Rounds++
	}
	if call.End.After(c.end) {
		c.end = call.End
	}
}

func (c *callCounter) seen() callsSeen {
	c.mu.Lock()
	defer c.mu.Unlock()
	return callsSeen{maps.Clone(c.n.Count), maps.Clone(c.n.Millis), c.n.Rounds}
}
