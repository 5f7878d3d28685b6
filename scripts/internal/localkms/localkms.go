// Package localkms is the local stack's key service: an HTTP endpoint that
// speaks the JSON 1.1 protocol of AWS KMS to unmodified SDK clients.
//
// Guarantees: plaintext is sealed with AES-256-GCM under per-material keys, with
// the encryption context and the key's and material's ids authenticated; a blob
// names its key and material, so Decrypt works without a KeyId and after
// rotations; key states, limits and error types follow AWS; every caller (the
// access key id of the request) is held to its [Policy], so that the local stack
// refuses what IAM would refuse; denials and calls are counted.
//
// Flow of a request: count → scripted fault → decode → validate → resolve the
// key → authorize → key state → cryptography → log → answer. State changes are
// on disk before they are answered.
//
// Not imitated: SigV4 signatures are not verified (loopback only); key policies,
// grants and grant tokens (ignored), IAM conditions other than the encryption
// context, request quotas (use a fault), automatic rotation, imported, custom
// store, multi-Region, asymmetric and AWS-managed keys, HMAC specs other than
// HMAC_256, tags and descriptions (accepted, not kept), paging of lists, the
// creation delay of eventual consistency, AWS's private ciphertext format (a
// blob of AWS cannot be opened here nor the reverse), deletion of the key at the
// end of its waiting period (it stays unusable instead), and protection against
// the developer: the state file holds the keys in the clear, mode 0600.
package localkms

import (
	"net/http"
	"sync"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/awswire"
	"github.com/latchkey/latchkey/scripts/internal/clock"
	"github.com/latchkey/latchkey/scripts/internal/localfaults"
)

// Key specs that [Server.EnsureKey] and CreateKey know.
const (
	Symmetric = "SYMMETRIC_DEFAULT"
	HMAC256   = "HMAC_256"
)

const (
	maxBody       = 256 << 10
	maxDenials    = 1000
	defaultRegion = "us-east-1"
	// defaultAccount is twelve zeros so that nobody takes the ARNs for real ones.
	defaultAccount = "000000000000"
)

// Config configures [New].
type Config struct {
	// Path is the state file; "" keeps the state in memory.
	Path string
	// Clock dates keys, denials and deletions; nil is an unshifted one.
	Clock *clock.Clock
	// Region and Account appear in ARNs; the defaults are us-east-1 and zeros.
	Region, Account string
	// Admin is the access key id that may do everything; "" for none.
	Admin string
	// Faults may be nil.
	Faults *localfaults.Table
	// Log, if set, is told each request just before its answer, concurrently. It
	// must be fast.
	Log func(Access)
}

// Access is one line of the access log. Context is the encryption context, which
// AWS logs too; it holds no secrets. Code is "" for success.
type Access struct {
	At        time.Time
	Principal string
	Operation string
	KeyARN    string
	Context   map[string]string
	Code      string
}

// Denial is a request that the policy refused. Action is the missing permission,
// for example kms:ReEncryptFrom.
type Denial struct {
	At        time.Time         `json:"at"`
	Principal string            `json:"principal"`
	Action    string            `json:"action"`
	KeyARN    string            `json:"key_arn"`
	Context   map[string]string `json:"context,omitempty"`
}

// Server is the key service. Safe for concurrent use.
type Server struct {
	cfg     Config
	handler http.Handler
	calls   awswire.Counter

	mu      sync.RWMutex
	policy  Policy
	state   state
	denials []Denial
}

// New opens the state file, or begins an empty state when there is none. A file
// that cannot be read as a whole is an error: going on with new keys would make
// everything sealed under the old ones unreadable.
func New(cfg Config) (*Server, error) {
	if cfg.Region == "" {
		cfg.Region = defaultRegion
	}
	if cfg.Account == "" {
		cfg.Account = defaultAccount
	}
	if cfg.Clock == nil {
		cfg.Clock = new(clock.Clock)
	}
	s := &Server{cfg: cfg, state: state{Aliases: map[string]alias{}, Keys: map[string]*key{}}}
	if err := s.load(); err != nil {
		return nil, err
	}
	s.handler = cfg.Faults.Wrap(localfaults.KMS, awswire.JSON11, http.HandlerFunc(s.serve))
	return s, nil
}

// SetPolicy replaces the policy. Without one only the admin is allowed anything.
// It takes key ARNs, so it is set after [Server.EnsureKey].
func (s *Server) SetPolicy(p Policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policy = p
}

// Calls returns the number of requests per (principal, operation), failed and
// faulted ones included.
func (s *Server) Calls() map[awswire.Call]int { return s.calls.Snapshot() }

// ResetCalls forgets the counts.
func (s *Server) ResetCalls() { s.calls.Reset() }

// Denials returns the latest refusals by the policy, oldest first, at most 1,000.
func (s *Server) Denials() []Denial {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return append([]Denial(nil), s.denials...)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	service, operation := awswire.Target(r)
	if service != "TrentService" {
		awswire.WriteError(w, awswire.JSON11, awswire.NewError("UnknownOperationException", "the target is not a KMS operation"))
		return
	}
	s.calls.Add(awswire.Principal(r), operation)
	s.handler.ServeHTTP(w, r)
}

// request is one decoded call on its way through an operation.
type request struct {
	principal string
	operation string
	body      []byte
	// keyARN and context are filled in by authorize, for the access log.
	keyARN  string
	context map[string]string
}

// operations maps the operation to its method. Never written.
var operations = map[string]func(*Server, *request) (any, error){
	"CreateKey":                       (*Server).createKey,
	"DescribeKey":                     (*Server).describeKey,
	"ListKeys":                        (*Server).listKeys,
	"CreateAlias":                     (*Server).createAlias,
	"ListAliases":                     (*Server).listAliases,
	"EnableKey":                       (*Server).enableKey,
	"DisableKey":                      (*Server).disableKey,
	"ScheduleKeyDeletion":             (*Server).scheduleKeyDeletion,
	"CancelKeyDeletion":               (*Server).cancelKeyDeletion,
	"RotateKeyOnDemand":               (*Server).rotateKeyOnDemand,
	"Encrypt":                         (*Server).encrypt,
	"Decrypt":                         (*Server).decrypt,
	"ReEncrypt":                       (*Server).reEncrypt,
	"GenerateDataKey":                 (*Server).generateDataKey,
	"GenerateDataKeyWithoutPlaintext": (*Server).generateDataKeyWithoutPlaintext,
	"GenerateRandom":                  (*Server).generateRandom,
	"GenerateMac":                     (*Server).generateMac,
	"VerifyMac":                       (*Server).verifyMac,
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	_, operation := awswire.Target(r)
	req := &request{principal: awswire.Principal(r), operation: operation}
	out, err := s.run(req, r)
	code := ""
	if err != nil {
		code = awswire.AsError(err).Code
	}
	// Before the answer, so that who has the answer finds the line.
	if s.cfg.Log != nil {
		s.cfg.Log(Access{
			At: s.cfg.Clock.Now(), Principal: req.principal, Operation: operation,
			KeyARN: req.keyARN, Context: req.context, Code: code,
		})
	}
	if err != nil {
		awswire.WriteError(w, awswire.JSON11, awswire.AsError(err))
		return
	}
	awswire.WriteJSON(w, awswire.JSON11, out)
}

func (s *Server) run(req *request, r *http.Request) (any, error) {
	op, ok := operations[req.operation]
	if !ok {
		return nil, awswire.NewError("UnknownOperationException", "the local key service has no operation "+req.operation)
	}
	body, err := awswire.ReadBody(r, maxBody)
	if err != nil {
		return nil, err
	}
	req.body = body
	return op(s, req)
}

func invalid(message string) error { return awswire.NewError("ValidationException", message) }
