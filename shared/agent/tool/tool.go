// Package tool is the HTTP tools that an organisation declares for its agents: the
// record and its rules ([Service]), the schema of the arguments ([ParseSchema]), and
// one call ([Caller]).
//
// Guarantees: a call goes only to the host that its tool names, over the guarded
// client it is given (public addresses, https, no redirects); arguments are checked
// against the tool's schema first, and what was checked is what is sent, percent
// encoded where it becomes part of the URL. Header values are secrets: they lie in
// the vault as one credential of class tool, sealed with the tool's origin, are
// opened for one call only, and are masked in what the tool answers, as a whole, without
// their scheme and in the usual encodings, before anything is cut. A change of the
// origin needs them again. Whatever goes wrong in a call is its result, in words
// of ours: a model can go on from there.
//
// Every call carries the Idempotency-Key it is given; calling twice with one key is
// the tool's to notice.
//
// Limits: [MaxPerOrg] tools, 16 KiB of schema, 20 seconds, 64 KiB of an answer.
package tool

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
)

// Provider is the vault's provider of tools' credentials, Field their only field.
const (
	Provider = "http_tool"
	Field    = "headers"
)

// DefaultAction is the platform action that a call is charged as.
const DefaultAction = "tool_call"

// Tool is one declared tool. Version counts its writes, from 1.
type Tool struct {
	Org         string
	Name        string
	Description string
	// Parameters is the schema of the arguments, as it was written.
	Parameters json.RawMessage
	Method     string
	// URL may hold {name} in its path and in values of its query.
	URL string
	// Headers are the names of the headers whose values lie in the vault under
	// Credential; both empty if there are none.
	Headers    []string
	Credential string
	Timeout    time.Duration
	// MaxBytes is how much of an answer the model is shown.
	MaxBytes int64
	// Integrity is the least that the message must have been verified by.
	Integrity channel.Integrity
	// Action is the platform action whose price a call has.
	Action string
	// Approval is how long a call waits for a person to approve it; 0 = a call needs
	// no approval.
	Approval  time.Duration
	CreatedAt time.Time
	Version   int64
}

// Ref names the tool's credential.
func (t Tool) Ref() vault.Ref {
	return vault.Ref{Org: t.Org, ID: t.Credential, Provider: Provider, Class: taxonomy.Tool}
}

// Allows reports whether a message verified so may bring the tool about.
func (t Tool) Allows(i channel.Integrity) bool {
	return t.Integrity == "" || i == channel.Signed
}

// Store keeps tools. Each write puts its audit row in the same transaction.
type Store interface {
	// Tool fails with not_found.
	Tool(ctx context.Context, org, name string) (Tool, error)
	// Tools lists all tools of an organisation by name.
	Tools(ctx context.Context, org string) ([]Tool, error)
	// CreateTool fails with conflict if the name exists.
	CreateTool(ctx context.Context, t Tool, row audit.Row) error
	// UpdateTool replaces old by next if old's version is still stored, else conflict.
	UpdateTool(ctx context.Context, old, next Tool, row audit.Row) error
	// DeleteTool fails with conflict if old's version is not stored any more.
	DeleteTool(ctx context.Context, old Tool, row audit.Row) error
}

// Vault stores header values and opens none; [vault.Vault] implements it.
type Vault interface {
	Create(ctx context.Context, c vault.NewCredential) (vault.Head, error)
	Revoke(ctx context.Context, ref vault.Ref, by audit.Op) (vault.Head, error)
}

// Service carries the rules for tools. CheckURL refuses destinations that the
// egress guard would.
type Service struct {
	Store    Store
	Vault    Vault
	CheckURL func(url string) (origin string, err error)
	NewID    func(now time.Time) string
}

// Limits.
const (
	MaxPerOrg      = 100
	maxDescription = 1024
	maxURL         = 2048
	maxHeaders     = 8
	maxHeaderValue = 4096
	defaultTimeout = 10 * time.Second
	// DefaultApproval is how long a call waits unless the tool says otherwise.
	DefaultApproval = 24 * time.Hour
	maxApproval     = 7 * 24 * time.Hour
	// MaxTimeout bounds one call.
	MaxTimeout      = 20 * time.Second
	defaultMaxBytes = 16 << 10
	maxMaxBytes     = 64 << 10
)

// Patch changes a tool; nil means unchanged. Headers replaces all of them.
type Patch struct {
	Description *string
	Parameters  json.RawMessage
	Method      *string
	URL         *string
	Headers     map[string]secret.Text
	NoHeaders   bool
	Timeout     *time.Duration
	MaxBytes    *int64
	Integrity   *string
	Action      *string
	// Approval is 0 for none.
	Approval *time.Duration
}

// Create makes a tool. Errors: invalid_request, conflict, vault_unavailable.
func (s *Service) Create(ctx context.Context, op audit.Op, org, name string, p Patch) (Tool, error) {
	all, err := s.Store.Tools(ctx, org)
	if err != nil {
		return Tool{}, err
	}
	if len(all) >= MaxPerOrg {
		return Tool{}, fault.New(fault.Conflict, "tool.Create", "an organisation can have at most 100 tools; delete one first")
	}
	t := Tool{Org: org, Name: name, Method: http.MethodPost, Timeout: defaultTimeout, MaxBytes: defaultMaxBytes, Action: DefaultAction,
		CreatedAt: op.At.UTC().Truncate(time.Millisecond), Version: 1}
	if slices.ContainsFunc(all, func(x Tool) bool { return x.Name == name }) {
		return Tool{}, fault.New(fault.Conflict, "tool.Create", "a tool with this name exists already; change that one or choose another name").WithParam("name")
	}
	if t, err = s.apply(ctx, op, t, "", p); err != nil {
		return Tool{}, err
	}
	if err := s.Store.CreateTool(ctx, t, op.Row(org, "tool.create", name)); err != nil {
		s.discard(ctx, op, t)
		return Tool{}, err
	}
	return t, nil
}

// Get returns one tool; not_found.
func (s *Service) Get(ctx context.Context, org, name string) (Tool, error) {
	return s.Store.Tool(ctx, org, name)
}

// List returns all tools of an organisation.
func (s *Service) List(ctx context.Context, org string) ([]Tool, error) {
	return s.Store.Tools(ctx, org)
}

// Update changes a tool. Errors: invalid_request, not_found, conflict,
// vault_unavailable.
func (s *Service) Update(ctx context.Context, op audit.Op, org, name string, p Patch) (Tool, error) {
	old, err := s.Store.Tool(ctx, org, name)
	if err != nil {
		return Tool{}, err
	}
	origin, _ := s.CheckURL(plainURL(old.URL))
	next, err := s.apply(ctx, op, old, origin, p)
	if err != nil {
		return Tool{}, err
	}
	next.Version = old.Version + 1
	if err := s.Store.UpdateTool(ctx, old, next, op.Row(org, "tool.update", name)); err != nil {
		if next.Credential != old.Credential {
			s.discard(ctx, op, next)
		}
		return Tool{}, err
	}
	if next.Credential != old.Credential {
		s.discard(ctx, op.Part("old"), old)
	}
	return next, nil
}

// Delete removes a tool and revokes its header values.
func (s *Service) Delete(ctx context.Context, op audit.Op, org, name string) error {
	old, err := s.Store.Tool(ctx, org, name)
	if err != nil {
		return err
	}
	if err := s.Store.DeleteTool(ctx, old, op.Row(org, "tool.delete", name)); err != nil {
		return err
	}
	s.discard(ctx, op, old)
	return nil
}

// discard revokes header values that no tool names; what fails stays sealed.
func (s *Service) discard(ctx context.Context, op audit.Op, t Tool) {
	if t.Credential != "" {
		_, _ = s.Vault.Revoke(ctx, t.Ref(), op.Part("credential"))
	}
}

// apply makes the changed tool and stores new header values, under a credential of
// their own: the tool's record says which ones count.
func (s *Service) apply(ctx context.Context, op audit.Op, t Tool, oldOrigin string, p Patch) (Tool, error) {
	set(&t.Description, p.Description)
	set(&t.Method, p.Method)
	set(&t.URL, p.URL)
	set(&t.Timeout, p.Timeout)
	set(&t.MaxBytes, p.MaxBytes)
	set(&t.Action, p.Action)
	set(&t.Approval, p.Approval)
	if p.Integrity != nil {
		t.Integrity = channel.Integrity(*p.Integrity)
	}
	if p.Parameters != nil {
		t.Parameters = p.Parameters
	}
	if err := t.check(); err != nil {
		return t, err
	}
	origin, err := s.CheckURL(plainURL(t.URL))
	if err != nil {
		return t, fault.New(fault.InvalidRequest, "tool.Check", fault.As(err).Message).WithParam("url")
	}
	switch {
	case p.NoHeaders:
		t.Headers, t.Credential = nil, ""
	case len(p.Headers) > 0:
		return s.seal(ctx, op, t, origin, p.Headers)
	case t.Credential != "" && origin != oldOrigin:
		return t, invalid("headers", "the URL names another host; enter the headers again, they were given for the old one")
	}
	return t, nil
}

// seal stores header values as one document.
func (s *Service) seal(ctx context.Context, op audit.Op, t Tool, origin string, headers map[string]secret.Text) (Tool, error) {
	if len(headers) > maxHeaders {
		return t, invalid("headers", "a tool has at most 8 headers")
	}
	t.Headers = nil
	plain := map[string]string{}
	for name, value := range headers {
		canonical := http.CanonicalHeaderKey(name)
		if !headerName(name) || slices.Contains(t.Headers, canonical) {
			return t, invalid("headers", "a header's name is a word such as Authorization or X-Api-Key, each once; Host, Content-Type, Idempotency-Key and connection headers are set by the platform")
		}
		var ok bool
		_ = value.Use(func(b []byte) error { plain[canonical], ok = string(b), headerValue(b); return nil })
		if !ok {
			return t, invalid("headers", "a header's value is 8 to 4096 printable ASCII characters without spaces around it")
		}
		t.Headers = append(t.Headers, canonical)
	}
	slices.Sort(t.Headers)
	document, err := json.Marshal(plain)
	if err != nil {
		return t, fault.Wrap(fault.Internal, "tool.seal", "internal error, try again later", err)
	}
	t.Credential = s.NewID(op.At)
	_, err = s.Vault.Create(ctx, vault.NewCredential{Ref: t.Ref(), Label: t.Name, Origin: origin, Fields: map[string]secret.Text{Field: secret.New(document)}, Op: op.Part("headers")})
	return t, err
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

func invalid(param, message string) error {
	return fault.New(fault.InvalidRequest, "tool.Check", message).WithParam(param)
}

func (t Tool) check() error {
	schema, err := ParseSchema(t.Parameters)
	switch {
	case !table.ValidID(t.Name):
		return invalid("name", "a tool's name is 1 to 64 of a-z, A-Z, 0-9, _ and -")
	case strings.TrimSpace(t.Description) == "" || len(t.Description) > maxDescription || !utf8.ValidString(t.Description):
		return invalid("description", "the description is 1 to 1024 bytes of text: it tells models when to call the tool")
	case err != nil:
		return err
	case !slices.Contains(methods(), t.Method):
		return invalid("method", "the method is GET, POST, PUT, PATCH or DELETE")
	case t.Timeout < time.Second || t.Timeout > MaxTimeout:
		return invalid("timeout_seconds", "timeout_seconds is 1 to 20")
	case t.MaxBytes < 256 || t.MaxBytes > maxMaxBytes:
		return invalid("max_bytes", "max_bytes is 256 to 65536")
	case t.Integrity != "" && t.Integrity != channel.Signed:
		return invalid("integrity", "integrity is signed, or empty for any verified message")
	case t.Approval != 0 && (t.Approval < time.Hour || t.Approval > maxApproval):
		return invalid("approval_hours", "a call waits 1 to 168 hours for its approval")
	case !strings.HasPrefix(t.Action, "tool_") || !table.ValidID(t.Action):
		return invalid("action", "the action is the name of a priced platform action that begins with tool_")
	}
	return checkTemplate(t.URL, schema)
}

func methods() []string {
	return []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
}

// hasBody reports whether the arguments go into a body.
func (t Tool) hasBody() bool { return t.Method != http.MethodGet && t.Method != http.MethodDelete }

// headerName refuses what the platform sets and what changes how a request is
// framed.
func headerName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, c := range []byte(s) {
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	name := strings.ToLower(s)
	return !slices.Contains([]string{"host", "connection", "content-length", "content-type", "content-encoding", "transfer-encoding", "te", "trailer", "upgrade",
		"keep-alive", "expect", "idempotency-key", "accept-encoding", "x-amzn-trace-id"}, name) && !strings.HasPrefix(name, "proxy-") && !strings.HasPrefix(name, "x-latchkey-")
}

func headerValue(b []byte) bool {
	if len(b) < 8 || len(b) > maxHeaderValue || b[0] == ' ' || b[len(b)-1] == ' ' {
		return false
	}
	return !slices.ContainsFunc(b, func(c byte) bool { return c < ' ' || c > '~' })
}
