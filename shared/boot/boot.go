// Package boot builds a function's dependencies from its environment.
//
// It is the only package that reads the environment, the clock and the random
// source of the process; everything below gets them passed in. AWS clients are
// built once per execution environment. A configuration that is incomplete ends
// the process at start with one line that names every missing variable.
package boot

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go/logging"

	"github.com/latchkey/latchkey/shared/config"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/redact"
	"github.com/latchkey/latchkey/shared/trace"
)

// Env is what every function starts from.
type Env struct {
	Config config.Config
	AWS    aws.Config
	Log    *slog.Logger
	Trace  trace.Tracer
	Clock  *Clock

	// Function is the name in the topology.
	Function string

	// Secrets are those in use; log lines, error texts and annotations pass
	// through it. [Start] and [StartHTTP] empty it after each invocation.
	Secrets *redact.Set
}

// Load reads the configuration and prepares AWS access, logging and tracing.
func Load(ctx context.Context, needs config.Needs) (*Env, error) {
	cfg, err := config.Load(os.LookupEnv, needs)
	if err != nil {
		return nil, err
	}
	tuneCollector(os.LookupEnv)
	secrets := new(redact.Set)
	for _, p := range cfg.Platform {
		_ = p.Key.Use(func(b []byte) error { secrets.Keep(b); return nil })
	}
	captureStandardLog(os.Stderr, secrets)
	log := newLogger(os.Stdout, secrets, os.LookupEnv)
	awsCfg, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithLogger(sdkLog(log)),
		awsconfig.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(tune)))
	if err != nil {
		return nil, fmt.Errorf("boot: loading the AWS configuration failed: %w", err)
	}
	tracer, err := trace.XRay()
	if err != nil {
		return nil, err
	}
	return &Env{Config: cfg, AWS: awsCfg, Log: log, Trace: trace.Masked(tracer, secrets.String), Clock: new(Clock), Secrets: secrets}, nil
}

// sdkLog takes the warnings of the AWS SDK into the log, which would otherwise
// be free text on standard error. Only their constant part is written: what the
// SDK puts into it may come from a request.
func sdkLog(log *slog.Logger) logging.LoggerFunc {
	return func(class logging.Classification, format string, _ ...any) {
		if class == logging.Warn {
			log.Warn("aws sdk", "reason", format)
		}
	}
}

// tune keeps enough idle connections for the parallel reads of one request.
func tune(t *http.Transport) {
	t.MaxIdleConnsPerHost = 32
	t.IdleConnTimeout = 5 * time.Minute
}

// DB opens the tables.
func (e *Env) DB() (*dynamo.DB, error) {
	return dynamo.New(dynamodb.NewFromConfig(e.AWS), dynamo.Tables(e.Config.Tables))
}

// Exit prints why the function cannot start and ends the process.
func Exit(err error) {
	fmt.Fprintln(os.Stderr, "latchkey: cannot start:", err)
	os.Exit(1)
}

// Rand is the source of ids and secrets.
func Rand() io.Reader { return rand.Reader }

var ids = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// NewID returns 26 lower-case characters that sort by now: 48 bits of
// milliseconds and 80 random bits. It panics if the system has no randomness,
// because no safe id can be made then.
func NewID(now time.Time) string {
	var b [16]byte
	ms := uint64(now.UnixMilli())
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	if _, err := rand.Read(b[6:]); err != nil {
		panic("boot: no randomness")
	}
	return strings.ToLower(ids.EncodeToString(b[:]))
}
