// Package topology is the deployment as plain data: functions, triggers,
// routes, queues, permissions, limits.
//
// infra/ renders it to CloudFormation, scripts/local runs it, and a test
// compares the synthesised template with it, so that the local stack and the
// deployed one are the same by construction. What is not here does not exist in
// either. Permissions are the smallest set a function's code uses: the local
// stack enforces them too.
package topology

import (
	"slices"
	"time"

	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Function is one Lambda function.
type Function struct {
	Name     string
	MemoryMB int
	Timeout  time.Duration
	// Routes are HTTP API routes ("POST /a/{b}"), served buffered.
	Routes []string
	// Paths are the paths that the shared front sends to the function's URL;
	// empty means the function has no URL. Function URLs stream.
	Paths []string
	// Schedule invokes the function every so often; zero means never.
	Schedule time.Duration
	Stream   *Stream
	Queue    *Queue
	// Sends names the queues the function may send to.
	Sends []string
	// Invokes names the functions it may invoke.
	Invokes []string
	// Events says that it may put events on the default event bus.
	Events bool
	// Tables lists the exact DynamoDB actions per table.
	Tables []TableAccess
	// KMS lists the exact key permissions.
	KMS []KeyAccess
	// Environment says which variables the function gets.
	Environment Environment
}

// Environment mirrors config.Needs without importing it.
type Environment struct {
	Tables, Vault, TurnQueue, PublicURL, Providers, Channels, Payments bool
}

// Stream maps a table's stream to a function.
type Stream struct {
	Table      table.Role
	BatchSize  int
	MaxRetries int
	MaxAge     time.Duration
	Bisect     bool
	// Filters are event patterns, any of which selects a record.
	Filters []string
}

// Queue maps a FIFO queue to a function.
type Queue struct {
	Name           string
	BatchSize      int
	MaxConcurrency int
	Visibility     time.Duration
	MaxReceive     int
}

// TableAccess grants actions ("GetItem") on a table; Index includes its
// indexes. Keys limits the partitions to patterns such as "R#*"; empty means
// every partition.
type TableAccess struct {
	Table   table.Role
	Actions []string
	Index   bool
	Keys    []string
}

// Denied lists what the function's role is refused whatever [Function.Tables]
// grants it. Audit rows are written once: whoever may write the table they lie
// in may neither change nor delete them. A put is left, because writing a row is
// one; that it finds no row there is the store's condition.
func (f Function) Denied() []TableAccess {
	for _, t := range f.Tables {
		writes := slices.ContainsFunc(t.Actions, func(a string) bool { return a == "PutItem" || slices.Contains(changingActions, a) })
		if t.Table == table.Config && writes {
			return []TableAccess{{Table: table.Config, Actions: changingActions, Keys: []string{table.AuditRows}}}
		}
	}
	return nil
}

// changingActions write to items that exist.
var changingActions = []string{"BatchWriteItem", "DeleteItem", "UpdateItem"}

// KeyAccess grants actions ("Decrypt") on every vault key for the credential
// classes, or on the MAC key when Classes is empty.
type KeyAccess struct {
	Actions []string
	Classes []taxonomy.CredentialClass
}

// Queue and function names.
const (
	TurnQueue = "turn"

	Webhook = "webhook"
	Turn    = "turn"
	Invoke  = "invoke"
	STT     = "stt"
	TTS     = "tts"
	Settle  = "settle"
	Console = "console"
	Rotate  = "rotate"
	Sweep   = "sweep"
	Conform = "conform"
	Billing = "billing"
)

// Invoked reports whether some function invokes the named one.
func Invoked(name string) bool {
	for _, f := range Functions() {
		if slices.Contains(f.Invokes, name) {
			return true
		}
	}
	return false
}

// App names the product in resource names and in the encryption context.
const App = "latchkey"

// ContextKeys are all keys of an encryption context; a call with others is
// refused.
func ContextKeys() []string { return []string{"app", "stage", "org", "provider", "cred", "cls"} }
