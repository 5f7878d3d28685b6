package tool

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/shared/egress"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/redact"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
)

// Status says how a call ended, in a word of ours.
type Status string

// Statuses. Only after OK and HTTPError had the tool answered.
const (
	OK               Status = "ok"
	HTTPError        Status = "http_error"
	BadArguments     Status = "arguments_invalid"
	Unknown          Status = "unknown_tool"
	Refused          Status = "destination_refused"
	Unreachable      Status = "unreachable"
	TimedOut         Status = "timeout"
	NotText          Status = "answer_not_text"
	NoSecret         Status = "headers_unavailable"
	IntegrityRefused Status = "integrity_refused"
	NoPrice          Status = "price_missing"
	NoCredits        Status = "insufficient_credits"
	Denied           Status = "billing_denied"
	TooMany          Status = "too_many_calls"
	NotApproved      Status = "not_approved"
	TooManyWaiting   Status = "too_many_waiting"
)

// Result is what a model is told of a call.
type Result struct {
	Status Status
	Text   string
}

// Answered reports whether the tool answered, whatever it said.
func (r Result) Answered() bool {
	return r.Status == OK || r.Status == HTTPError || r.Status == NotText
}

// OpenVault opens header values; [vault.Vault] implements it.
type OpenVault interface {
	Load(ctx context.Context, org string, class taxonomy.CredentialClass, id string) (vault.Credential, error)
	Reveal(ctx context.Context, cred vault.Credential, use vault.Use, f func(plain []byte) error) error
}

// Caller calls tools. HTTP is the guarded client for endpoints that customers
// named. Safe for concurrent use.
type Caller struct {
	HTTP  *http.Client
	Vault OpenVault
}

// Call calls a tool once. The context bounds it beside the tool's own timeout; key
// is the Idempotency-Key.
func (c Caller) Call(ctx context.Context, t Tool, arguments, key string) Result {
	link, body, bad := t.prepare(arguments)
	if bad != "" {
		return Result{BadArguments, bad}
	}
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, t.Method, link, bytes.NewReader(body))
	if err != nil {
		return Result{BadArguments, "The tool was not called: its address cannot be used."}
	}
	if !t.hasBody() {
		req.Body, req.GetBody, req.ContentLength = http.NoBody, nil, 0
	} else {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json, text/plain;q=0.9, text/*;q=0.5")
	req.Header.Set("User-Agent", "latchkey-tool/1")
	// In this spelling: with the usual one net/http sends a request again by itself
	// when a kept connection breaks (net/http Request.isReplayable, Go 1.26).
	req.Header["idempotency-key"] = []string{key}
	values, err := c.sign(ctx, t, req)
	if err != nil {
		return Result{NoSecret, "The tool was not called: its stored headers cannot be opened at the moment."}
	}
	resp, err := egress.Do(c.HTTP, req)
	if err != nil {
		return failed(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	return t.read(ctx, resp, values)
}

// Accepts reports whether the tool can be called with these arguments, else the result
// that such a call has.
func (t Tool) Accepts(arguments string) (Result, bool) {
	_, _, bad := t.prepare(arguments)
	return Result{BadArguments, bad}, bad == ""
}

// prepare makes the request's address and body; bad says why there is none.
func (t Tool) prepare(arguments string) (link string, body []byte, bad string) {
	schema, err := ParseSchema(t.Parameters)
	if err != nil {
		return "", nil, "The tool's declaration cannot be read."
	}
	args, wrong := schema.Check(arguments)
	if wrong != "" {
		return "", nil, "The tool was not called: " + wrong + "."
	}
	link, body, ok := t.request(args)
	if !ok {
		return "", nil, "The tool was not called: an argument cannot be part of its address."
	}
	return link, body, ""
}

// sign adds the stored headers and returns their values, to be masked.
func (c Caller) sign(ctx context.Context, t Tool, req *http.Request) (values []string, err error) {
	if t.Credential == "" {
		return nil, nil
	}
	cred, err := c.Vault.Load(ctx, t.Org, taxonomy.Tool, t.Credential)
	if err != nil {
		return nil, err
	}
	origin, err := vault.OriginOf(req.URL.Scheme + "://" + req.URL.Host)
	if err != nil || !cred.Head.AllowsOrigin(origin) {
		return nil, fault.New(fault.VaultUnavailable, "tool.sign", "the headers were stored for another host")
	}
	err = c.Vault.Reveal(ctx, cred, vault.Use{Field: Field, Purpose: "tool_call"}, func(plain []byte) error {
		headers := map[string]string{}
		if err := json.Unmarshal(plain, &headers); err != nil {
			return errors.New("tool: the stored headers are no document")
		}
		for name, value := range headers {
			req.Header.Set(name, value)
			values = append(values, value)
		}
		return nil
	})
	return values, err
}

// failed is the result of a call that got no answer. Nothing of the error but its
// kind is told.
func failed(ctx context.Context, err error) Result {
	var e *egress.Error
	switch {
	case errors.Is(err, egress.ErrRefused):
		return Result{Refused, "The tool was not called: its address may not be reached from here."}
	case ctx.Err() != nil, errors.As(err, &e) && e.Timeout():
		return Result{TimedOut, "The tool did not answer in time. It may have done what it was asked."}
	}
	return Result{Unreachable, "The tool could not be reached, or its answer broke off. It may have done what it was asked."}
}

// read turns an answer into a result.
func (t Tool) read(ctx context.Context, resp *http.Response, values []string) Result {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if kind != "" && !strings.HasPrefix(kind, "text/") && kind != "application/json" && !strings.HasSuffix(kind, "+json") && kind != "application/xml" && !strings.HasSuffix(kind, "+xml") {
		return Result{NotText, "The tool answered with status " + strconv.Itoa(resp.StatusCode) + " and something that is not text."}
	}
	shown, more, err := masked(resp.Body, t.MaxBytes, values)
	if err != nil {
		return failed(ctx, err)
	}
	text := strings.ToValidUTF8(string(shown), "\uFFFD")
	if more {
		text += "\n[The answer is longer than " + strconv.FormatInt(t.MaxBytes, 10) + " bytes; the rest was cut off.]"
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return Result{HTTPError, "The tool answered with status " + strconv.Itoa(resp.StatusCode) + ":\n" + text}
	}
	return Result{OK, text}
}

// longestForm is how many bytes a byte of a value becomes at most where it is echoed:
// a < in JSON that is itself a string of JSON.
const longestForm = 7

// masked reads up to limit bytes in which none of the values stands, in any form that
// [redact.Set] knows. It masks before it cuts, so that no value keeps its beginning:
// one that the end of what is read cuts is shorter than its longest form, and as much
// is left out. A mask is never longer than what it stands for.
func masked(r io.Reader, limit int64, values []string) (shown []byte, more bool, err error) {
	var set redact.Set
	defer set.Clear()
	longest := 0
	for _, v := range values {
		longest = max(longest, longestForm*len(v))
		for _, part := range parts(v) {
			set.Add(part)
		}
	}
	// One byte more tells whether there is more.
	b, err := io.ReadAll(io.LimitReader(r, limit+int64(longest)+1))
	if err != nil {
		return nil, false, err
	}
	shown = set.Bytes(b)
	if more = int64(len(b)) > limit+int64(longest); more {
		shown = shown[:max(len(shown)-longest-1, 0)]
	}
	if more = more || int64(len(shown)) > limit; more {
		shown = shown[:min(int64(len(shown)), limit)]
	}
	return shown, more, nil
}

// parts are a header's value and what of it is the secret where it has a scheme
// (Bearer x), is a pair (session=x), or is a name and a password in base64.
func parts(value string) [][]byte {
	out := [][]byte{[]byte(value)}
	add := func(v, separator string) {
		if k := strings.LastIndex(strings.TrimRight(v, "="), separator); k >= 0 {
			out = append(out, []byte(v[k+1:]))
		}
	}
	add(value, " ")
	add(value, "=")
	if plain, err := base64.StdEncoding.DecodeString(value[strings.LastIndex(value, " ")+1:]); err == nil {
		out = append(out, plain)
		add(string(plain), ":")
	}
	return out
}
