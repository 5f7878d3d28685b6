package localfaults

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/awswire"
)

// maxRequest bounds a DynamoDB request: the service takes 16 MB.
const maxRequest = 16 << 20

// ProxyConfig configures [NewProxy].
type ProxyConfig struct {
	// Upstream is DynamoDB Local's base URL, for example http://127.0.0.1:8000.
	Upstream string
	// Faults may be nil.
	Faults *Table
	// Allow is the permission table with DynamoDB table names as resources; nil
	// enforces nothing. A transaction needs the operation of each part (PutItem,
	// UpdateItem, DeleteItem, ConditionCheckItem, GetItem), a batch its own name,
	// on every table it touches, as IAM evaluates them.
	Allow awswire.Allow
	// Rules narrow Allow to partitions; nil narrows nothing.
	Rules Rules
	// Admin is the access key id that Allow and Rules do not bind; "" for none.
	Admin string
	// OnCall, if set, is told each call after its answer. It must be fast.
	OnCall func(ProxyCall)
}

// ProxyCall is one call through the proxy. Elapsed is real time including
// injected delays; Status 0 means that the connection was dropped.
type ProxyCall struct {
	Principal, Service, Operation string
	Status                        int
	Elapsed                       time.Duration
}

// Proxy forwards DynamoDB and DynamoDB Streams calls to DynamoDB Local. Safe for
// concurrent use.
type Proxy struct {
	cfg       ProxyConfig
	upstream  *url.URL
	transport *http.Transport
	calls     awswire.Counter
	denied    awswire.Counter
}

// NewProxy returns a proxy. The error says what is wrong with the upstream URL.
func NewProxy(cfg ProxyConfig) (*Proxy, error) {
	u, err := url.Parse(cfg.Upstream)
	if err != nil || u.Host == "" || u.Scheme != "http" {
		return nil, awswire.NewError("ValidationException", "the upstream must be an http URL")
	}
	return &Proxy{cfg: cfg, upstream: u, transport: &http.Transport{
		// No environment proxy: a developer's HTTP_PROXY must not see local data.
		Proxy:               nil,
		MaxIdleConns:        256,
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     90 * time.Second,
		// The body passes as it is, so that X-Amz-Crc32 stays true.
		DisableCompression: true,
	}}, nil
}

// Calls returns the number of calls per (principal, operation), faults and
// denials included.
func (p *Proxy) Calls() map[awswire.Call]int { return p.calls.Snapshot() }

// Denials returns the number of calls refused by the allow list.
func (p *Proxy) Denials() map[awswire.Call]int { return p.denied.Snapshot() }

// ResetCalls forgets the counts of calls and denials.
func (p *Proxy) ResetCalls() {
	p.calls.Reset()
	p.denied.Reset()
}

// Close closes idle connections to DynamoDB Local.
func (p *Proxy) Close() { p.transport.CloseIdleConnections() }

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	prefix, operation := awswire.Target(r)
	service := DynamoDB
	if strings.HasPrefix(prefix, "DynamoDBStreams_") {
		service = Streams
	}
	call := ProxyCall{Principal: awswire.Principal(r), Service: service, Operation: operation}
	p.calls.Add(call.Principal, operation)
	if p.cfg.OnCall != nil {
		start := time.Now()
		// Deferred, because a dropped connection leaves by panic.
		defer func() {
			call.Elapsed = time.Since(start)
			p.cfg.OnCall(call)
		}()
	}
	body, err := awswire.ReadBody(r, maxRequest)
	if err == nil {
		err = p.authorize(call, body)
	}
	if err != nil {
		e := awswire.AsError(err)
		call.Status = e.HTTPStatus()
		awswire.WriteError(w, awswire.JSON10, e)
		return
	}
	ctx, drop := r.Context(), false
	if fault, ok := p.cfg.Faults.Take(service, operation, call.Principal); ok {
		parts := 0
		if fault.Error == Conflict || fault.Error == Cancelled {
			parts = transactParts(body)
		}
		rec := &statusRecorder{ResponseWriter: w}
		switch apply(rec, r, fault, operation, awswire.JSON10, parts) {
		case refused:
			call.Status = rec.status
			return
		case commit:
			// The write must happen even if the client stops waiting meanwhile.
			ctx, drop = context.WithoutCancel(ctx), true
		case proceed:
		}
	}
	call.Status = p.forward(ctx, w, r, body, drop)
}

// forward sends the call on and copies the answer; with drop it reads the answer
// and closes the client's connection instead.
func (p *Proxy) forward(ctx context.Context, w http.ResponseWriter, r *http.Request, body []byte, drop bool) int {
	target := *p.upstream
	target.Path = r.URL.Path
	out := (&http.Request{
		Method: r.Method, URL: &target, Host: r.Host, Header: r.Header.Clone(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
		// Lets the transport repeat a request whose pooled connection had just
		// been closed by the server, before a byte was answered.
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	}).WithContext(ctx)
	out.Header.Del("Connection")
	res, err := p.transport.RoundTrip(out)
	if err != nil {
		if ctx.Err() != nil {
			panic(http.ErrAbortHandler)
		}
		awswire.WriteError(w, awswire.JSON10, &awswire.Error{
			Status: http.StatusServiceUnavailable, Code: "ServiceUnavailable",
			Message: "DynamoDB Local does not answer; is it running?",
		})
		return http.StatusServiceUnavailable
	}
	defer func() { _ = res.Body.Close() }() // read to its end below
	if drop {
		_, _ = io.Copy(io.Discard, res.Body)
		panic(http.ErrAbortHandler)
	}
	for k, v := range res.Header {
		w.Header()[k] = v
	}
	w.WriteHeader(res.StatusCode)
	if _, err := io.Copy(w, res.Body); err != nil {
		panic(http.ErrAbortHandler) // a cut answer must not look complete
	}
	return res.StatusCode
}

// authorize checks the allow list.
func (p *Proxy) authorize(call ProxyCall, body []byte) error {
	if p.cfg.Allow == nil || p.cfg.Admin != "" && call.Principal == p.cfg.Admin {
		return nil
	}
	needed, err := needs(call.Service, call.Operation, body)
	if err != nil {
		return err
	}
	for _, n := range needed {
		ok := p.cfg.Allow.Permits(call.Principal, n.table, n.operation)
		if n.table == anyTable {
			ok = p.cfg.Allow.PermitsAnywhere(call.Principal, n.operation)
		}
		ok = ok && p.cfg.Rules.permits(call.Principal, n)
		if !ok {
			p.denied.Add(call.Principal, call.Operation)
			return awswire.NewError("AccessDeniedException",
				"principal "+call.Principal+" is not authorized to perform dynamodb:"+n.operation+" on table "+n.table)
		}
	}
	return nil
}

// statusRecorder remembers the status of an answer.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (s *statusRecorder) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// need is one permission a call requires, on partitions of a table as far as the
// call names them.
type need struct {
	table, operation string
	partitions       []string
}

// anyTable marks a call whose table is hidden in an opaque token.
const anyTable = "?"

// partOperation maps the member of a transaction part to the permission it
// needs. Never written.
var partOperation = map[string]string{
	"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem",
	"ConditionCheck": "ConditionCheckItem", "Get": "GetItem",
}

// needs lists the permissions of a call. A body that cannot be read that way is
// refused: an unchecked call would be an allowed one.
func needs(service, operation string, body []byte) ([]need, error) {
	var in struct {
		target
		StreamArn, ResourceArn         string
		RequestItems                   map[string]json.RawMessage
		TransactItems                  []map[string]target
		Statement                      json.RawMessage
		Statements, TransactStatements json.RawMessage
	}
	if err := awswire.Decode(body, &in); err != nil {
		return nil, err
	}
	if in.Statement != nil || in.Statements != nil || in.TransactStatements != nil {
		return nil, awswire.NewError("AccessDeniedException", "PartiQL is not allowed while an allow list is in force")
	}
	var out []need
	for table, raw := range in.RequestItems {
		out = append(out, need{tableName(table), operation, batchPartitions(raw)})
	}
	for _, item := range in.TransactItems {
		for member, part := range item {
			op, ok := partOperation[member]
			if !ok || part.TableName == "" {
				return nil, awswire.NewError("ValidationException", "a transaction part must be Put, Update, Delete, ConditionCheck or Get with a table")
			}
			out = append(out, need{tableName(part.TableName), op, part.partitions()})
		}
	}
	switch {
	case in.TableName != "":
		out = append(out, need{tableName(in.TableName), operation, in.partitions()})
	case in.StreamArn != "":
		out = append(out, need{table: tableName(in.StreamArn), operation: operation})
	case in.ResourceArn != "":
		out = append(out, need{table: tableName(in.ResourceArn), operation: operation})
	case len(out) == 0 && service == Streams && operation == "GetRecords":
		out = append(out, need{table: anyTable, operation: operation})
	case len(out) == 0:
		out = append(out, need{table: "*", operation: operation})
	}
	return out, nil
}

// tableName takes a table's name out of a name, a table ARN or a stream ARN.
func tableName(s string) string {
	if !strings.HasPrefix(s, "arn:") {
		return s
	}
	_, rest, _ := strings.Cut(s, ":table/")
	name, _, _ := strings.Cut(rest, "/")
	return name
}
