// Package stack runs the whole of Latchkey on this machine, from the same
// topology that is deployed and with the same function binaries.
//
// [Start] builds the functions, starts DynamoDB Local, the local key service,
// queues and event bus, the Lambda host with its HTTP front, and the pollers,
// and returns when a request can be served. Everything listens on 127.0.0.1.
// Functions see the stack through AWS endpoint variables only and run under an
// access key each, so that the key service, the queues and the tables enforce
// the topology's permissions. State lives below one data directory and survives
// a restart, except with Options.InMemory. [Stack.Stop] ends every process;
// nothing survives a crash of this process either.
//
// What the parts do not imitate is listed in their own packages. Besides: there
// is one account and region, log retention, aliases and canaries do not exist.
package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"golang.org/x/sync/errgroup"

	"github.com/latchkey/latchkey/scripts/internal/clock"
	"github.com/latchkey/latchkey/scripts/internal/ddblocal"
	"github.com/latchkey/latchkey/scripts/internal/lambdahost"
	"github.com/latchkey/latchkey/scripts/internal/localevents"
	"github.com/latchkey/latchkey/scripts/internal/localfaults"
	"github.com/latchkey/latchkey/scripts/internal/localkms"
	"github.com/latchkey/latchkey/scripts/internal/localsqs"
	"github.com/latchkey/latchkey/scripts/internal/schedule"
	"github.com/latchkey/latchkey/scripts/internal/streampoll"
	"github.com/latchkey/latchkey/shared/dynamo"
)

// Region, account and stage of the local stack.
const (
	region  = "us-east-1"
	account = "000000000000"
	stage   = "local"
	// AdminKey is the access key id that no policy binds.
	AdminKey = "LOCALADMIN"
)

// Options configure [Start].
type Options struct {
	Root     string // the repository
	Data     string // state and logs
	InMemory bool   // tables and messages are not kept
	Port     int    // of the front; 0 = any free one
	// Env is added to every function's environment (LATCHKEY_* variables).
	Env             map[string]string
	MaxEnvironments int // per function; 0 = 32
	// Binaries is where built functions are kept; empty = build/local.
	Binaries  string
	SkipBuild bool
	// Paused starts streams and schedules paused.
	Paused bool
	// Timeouts replaces the topology's time limit of single functions.
	Timeouts map[string]time.Duration
	// OnDelivery, if set, is told the raw event of every delivery of an event source
	// before it is made. It must be fast and safe for concurrent use.
	OnDelivery func(function string, event []byte)
	// OnAWSCall, if set, is told of every call of a function to the tables and the
	// key service. It must be fast and safe for concurrent use.
	OnAWSCall func(AWSCall)
	Log       io.Writer // progress and failures, for people
}

// AWSCall is one call of a function. Start and End are real times.
type AWSCall struct {
	Function, Service, Operation string
	Start, End                   time.Time
}

// Stack is a running stack.
type Stack struct {
	BaseURL      string
	FunctionURLs map[string]string
	DynamoDBURL  string
	// FunctionDynamoDBURL is where the functions reach DynamoDB: behind the proxy
	// that enforces their permissions.
	FunctionDynamoDBURL string
	KMSURL              string
	SQSURL              string
	LogDir              string
	Clock               *clock.Clock
	Host                *lambdahost.Host
	KMS                 *localkms.Server
	Queues              *localsqs.Engine
	Events              *localevents.Bus
	Faults              *localfaults.Table
	Proxy               *localfaults.Proxy
	DB                  *dynamo.DB
	// Dynamo is an unrestricted client of the tables.
	Dynamo *dynamodb.Client
	Tables dynamo.Tables

	opts      Options
	engine    *ddblocal.Server
	listener  net.Listener
	endpoints *endpoints
	streams   []*streampoll.Poller
	schedules []*schedule.Runner
	streamARN map[string]string
	log       *slog.Logger

	cancel   context.CancelFunc
	pollers  sync.WaitGroup
	stopOnce sync.Once
	stopErr  error
}

// Start brings the stack up. On failure everything that was started is stopped.
func Start(ctx context.Context, o Options) (*Stack, error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	if o.Binaries == "" {
		o.Binaries = filepath.Join(o.Root, "build", "local")
	}
	s := &Stack{opts: o, Clock: new(clock.Clock), LogDir: filepath.Join(o.Data, "logs"), FunctionURLs: map[string]string{}}
	for _, dir := range []string{o.Data, s.LogDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("stack: %w", err)
		}
	}
	s.log = slog.New(slog.NewTextHandler(o.Log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if err := s.start(ctx); err != nil {
		_ = s.Stop()
		return nil, err
	}
	return s, nil
}

func (s *Stack) start(ctx context.Context) error {
	// First, because a port that is taken should be said at once.
	if err := s.listenFront(); err != nil {
		return err
	}
	// Building and starting the engine take most of the time; neither needs the
	// other.
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.build(gctx) })
	group.Go(func() error { return s.startEngine(gctx) })
	if err := group.Wait(); err != nil {
		return err
	}
	if err := s.startEndpoints(); err != nil {
		return err
	}
	if err := s.createTables(ctx); err != nil {
		return err
	}
	if err := s.startFunctions(); err != nil {
		return err
	}
	if err := s.startFront(); err != nil {
		return err
	}
	return s.startPollers()
}

func (s *Stack) startEngine(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(s.LogDir, "dynamodb.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("stack: %w", err)
	}
	s.engine, err = ddblocal.Start(ctx, ddblocal.Options{
		Emulator: filepath.Join(s.opts.Root, "node_modules", "amplify-dynamodb-simulator", "emulator"),
		DataDir:  filepath.Join(s.opts.Data, "dynamodb"), InMemory: s.opts.InMemory,
		CacheDir: filepath.Join(s.opts.Root, "build", "ddblocal"), Log: log,
	})
	return err
}

// Stop ends pollers, functions and servers, in this order, and then the engine.
// Later calls return the first result.
func (s *Stack) Stop() error {
	s.stopOnce.Do(func() {
		if s.cancel != nil {
			s.cancel()
		}
		done := make(chan struct{})
		go func() { s.pollers.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			s.log.Warn("pollers did not stop in time")
		}
		if s.Host != nil {
			s.Host.Close()
		}
		if s.endpoints != nil {
			s.endpoints.close()
		}
		if s.listener != nil {
			_ = s.listener.Close()
		}
		var errs []error
		if s.Queues != nil {
			errs = append(errs, s.Queues.Close())
		}
		if s.Events != nil {
			errs = append(errs, s.Events.Close())
		}
		if s.Proxy != nil {
			s.Proxy.Close()
		}
		if s.engine != nil {
			errs = append(errs, s.engine.Stop())
		}
		s.stopErr = errors.Join(errs...)
	})
	return s.stopErr
}
