package lkcli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/ingest"
	"github.com/latchkey/latchkey/shared/webhook/profiles"
)

// maxLine is above a body of the largest size, escaped, with its headers.
const maxLine = 8 << 20

// Verdicts of one request.
const (
	accept = "accept"
	reject = "reject"
)

// Reasons of lines that could not be judged. They are no audit codes: the
// product never writes them.
const (
	badInput        webhook.Reason = "bad_input"
	profileNotAvail webhook.Reason = "profile_not_available"
)

// verdict is one line of output.
type verdict struct {
	Verdict string         `json:"verdict"`
	Reason  webhook.Reason `json:"reason"`
}

// recorded is one line of input. Other members are ignored, so that a recording
// may carry its own notes.
type recorded struct {
	Provider   string          `json:"provider"`
	Secrets    []secret.Text   `json:"secrets"`
	Config     looseConfig     `json:"config"`
	Method     string          `json:"method"`
	URL        string          `json:"url"`
	Headers    [][]string      `json:"headers"`
	Body       *string         `json:"body"`
	BodyBase64 *string         `json:"body_base64"`
	NowUnix    *int64          `json:"now_unix"`
	EventV2    json.RawMessage `json:"event_v2"`
}

// looseConfig reads settings that are text, numbers or booleans, or lists of
// them.
type looseConfig webhook.Config

var errConfig = errors.New("lkcli: a setting is text, a number, a boolean or a list of them")

// UnmarshalJSON implements [json.Unmarshaler].
func (c *looseConfig) UnmarshalJSON(b []byte) error {
	n, err := parseNode(b)
	if err != nil || n.array {
		return errConfig
	}
	*c = looseConfig{}
	for _, f := range n.fields {
		values := []node{f.node}
		if f.array {
			values = f.items
		}
		list := make([]string, 0, len(values))
		for _, v := range values {
			if v.object || v.array {
				return errConfig
			}
			list = append(list, v.text)
		}
		(*c)[f.name] = list
	}
	return nil
}

// eventV2 is the part of an HTTP API event, payload format 2.0, that a
// verification sees.
type eventV2 struct {
	RawPath        string            `json:"rawPath"`
	RawQueryString string            `json:"rawQueryString"`
	Headers        map[string]string `json:"headers"`
	Body           string            `json:"body"`
	IsBase64       bool              `json:"isBase64Encoded"`
	Context        struct {
		HTTP struct {
			Method string `json:"method"`
		} `json:"http"`
		TimeEpoch int64 `json:"timeEpoch"`
	} `json:"requestContext"`
}

// profile is a way of signing by its own name or by its channel's: a channel
// with an adapter, otherwise a row of the table.
type profile struct {
	profiles.Profile
	path string // of the webhook's URL
}

func findProfile(name string) (profile, bool) {
	for _, e := range catalog.Entries() {
		// A visitor's token is no vendor's: lk widget makes them.
		if string(e.ID) == name && e.Browsers == nil {
			return profile{profiles.Profile{Scheme: e.Scheme, Methods: e.Methods, Handshake: e.Handshake}, name}, true
		}
	}
	p, ok := profiles.Find(taxonomy.ParseProfile(name))
	return profile{p, name}, ok
}

func profileNames() []string {
	var out []string
	for _, e := range catalog.Entries() {
		if e.Browsers == nil {
			out = append(out, e.Scheme.Name())
		}
	}
	for _, p := range profiles.All() {
		out = append(out, p.Scheme.Name())
	}
	slices.Sort(out)
	return slices.Compact(out)
}

var errInput = errors.New("lkcli: not a recorded request")

// judge gives the verdict on one line, as the webhook boundary would: method,
// size, then the signature on the raw bytes.
func judge(line []byte, now time.Time, keys webhook.KeySets) verdict {
	var r recorded
	if jsonwire.Check(line) != nil || json.Unmarshal(line, &r) != nil {
		return verdict{reject, badInput}
	}
	p, ok := findProfile(r.Provider)
	if !ok {
		return verdict{reject, profileNotAvail}
	}
	in, at, err := r.input(now)
	if err != nil || lossy(line, r.Body) {
		return verdict{reject, badInput}
	}
	in.Keys = keys
	switch {
	case in.Method != "" && !slices.Contains(p.Methods, in.Method):
		return verdict{reject, webhook.Method}
	case len(in.Body) > ingest.MaxBody:
		return verdict{reject, webhook.TooLarge}
	case in.Method == http.MethodGet && p.Handshake != nil:
		var tokens []secret.Text
		for _, t := range in.Config["verify_token"] {
			tokens = append(tokens, secret.FromString(t))
		}
		if _, refusal := p.Handshake(in, tokens); refusal != nil {
			return verdict{reject, refusal.Reason}
		}
		return verdict{accept, webhook.Handshake}
	}
	if _, refusal := webhook.Verify(p.Scheme, in, r.Secrets, at); refusal != nil {
		return verdict{reject, refusal.Reason}
	}
	return verdict{accept, webhook.Accepted}
}

// lossy says that the body's text holds half a UTF-16 character, which decodes
// to a replacement: the bytes that were signed are not in the line. Such a body
// has to be recorded as base64.
func lossy(line []byte, body *string) bool {
	return body != nil && strings.ContainsRune(*body, unicode.ReplacementChar) &&
		!bytes.ContainsRune(line, unicode.ReplacementChar) && !bytes.Contains(bytes.ToLower(line), []byte(`\ufffd`))
}

// input is the request as the boundary sees it and the time of its arrival.
func (r *recorded) input(now time.Time) (webhook.Input, time.Time, error) {
	in := webhook.Input{Method: r.Method, Header: webhook.Header{}, Config: webhook.Config(r.Config)}
	in.PublicURL = in.Config.Get("public_url")
	for _, h := range r.Headers {
		if len(h) != 2 {
			return in, now, errInput
		}
		in.Header.Add(h[0], h[1])
	}
	if r.NowUnix != nil {
		now = time.Unix(*r.NowUnix, 0)
	}
	u, err := url.Parse(r.URL)
	if err != nil {
		return in, now, errInput
	}
	in.Path, in.RawQuery = u.EscapedPath(), u.RawQuery
	switch {
	case r.Body != nil && r.BodyBase64 != nil:
		return in, now, errInput
	case r.Body != nil:
		in.Body = []byte(*r.Body)
	case r.BodyBase64 != nil:
		if in.Body, err = base64.StdEncoding.DecodeString(*r.BodyBase64); err != nil {
			return in, now, errInput
		}
	}
	return r.asEvent(in, now)
}

// asEvent applies event_v2: true joins repeated headers with a comma as an HTTP
// API does, an event replaces the request.
func (r *recorded) asEvent(in webhook.Input, now time.Time) (webhook.Input, time.Time, error) {
	switch string(r.EventV2) {
	case "", "null", "false":
		return in, now, nil
	case "true":
		for name, values := range in.Header {
			in.Header[name] = []string{strings.Join(values, ",")}
		}
		return in, now, nil
	}
	var e eventV2
	if json.Unmarshal(r.EventV2, &e) != nil {
		return in, now, errInput
	}
	in.Method, in.Path, in.RawQuery = e.Context.HTTP.Method, e.RawPath, e.RawQueryString
	in.Header, in.Body = webhook.FromSingle(e.Headers), []byte(e.Body)
	if e.IsBase64 {
		var err error
		if in.Body, err = base64.StdEncoding.DecodeString(e.Body); err != nil {
			return in, now, errInput
		}
	}
	if r.NowUnix == nil && e.Context.TimeEpoch > 0 {
		now = time.UnixMilli(e.Context.TimeEpoch)
	}
	return in, now, nil
}

// verifyWebhooks is lk webhook verify.
func verifyWebhooks(_ context.Context, in *invocation) error {
	var source io.Reader
	if name := in.text("request"); name == "-" {
		var err error
		if source, err = in.claimStdin("recorded requests"); err != nil {
			return err
		}
	} else {
		f, err := os.Open(name)
		if err != nil {
			return inputError("the file of recorded requests", err)
		}
		defer func() { _ = f.Close() }()
		source = f
	}
	var keys webhook.KeySets
	if in.has("jwks") {
		b, err := in.file(in.text("jwks"), "--jwks", maxKeyFile)
		if err != nil {
			return err
		}
		if keys, err = readKeyFile(b); err != nil {
			return wrongCall("--jwks: %s", err.Error())
		}
	}
	var t tally
	lines := bufio.NewReaderSize(source, 64<<10)
	for {
		line, tooLong, err := nextLine(lines)
		if err != nil && !errors.Is(err, io.EOF) {
			return inputError("the file of recorded requests", err)
		}
		if tooLong || len(bytes.TrimSpace(line)) > 0 {
			v := verdict{reject, badInput}
			if !tooLong {
				v = judge(line, in.Now(), keys)
			}
			t.add(v)
			if _, err := in.Stdout.Write(encode(v)); err != nil {
				return failed("output", "the output could not be written")
			}
		}
		if err != nil {
			return t.end(in)
		}
	}
}

// nextLine reads a line of at most maxLine bytes; a longer one is skipped.
func nextLine(r *bufio.Reader) (line []byte, tooLong bool, err error) {
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > maxLine {
			line, tooLong = nil, true
		}
		if !tooLong {
			line = append(line, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, tooLong, err
		}
	}
}

// tally counts verdicts.
type tally struct{ accepted, rejected, malformed, unavailable int }

func (t *tally) add(v verdict) {
	switch {
	case v.Reason == badInput:
		t.malformed++
	case v.Reason == profileNotAvail:
		t.unavailable++
	case v.Verdict == accept:
		t.accepted++
	default:
		t.rejected++
	}
}

// end says what the lines mean for the exit code. A line that could not be
// judged is never a success: a caller who looks at the code alone must not take
// it for a checked request.
func (t *tally) end(in *invocation) error {
	var f *failure
	switch {
	case t.malformed+t.unavailable > 0:
		f = failed("not_judged", fmt.Sprintf("%d lines are not judged: %d malformed, %d of a profile that this build does not have (it has %s)",
			t.malformed+t.unavailable, t.malformed, t.unavailable, strings.Join(profileNames(), ", ")))
	case t.rejected > 0 && in.has("fail-on-reject") && in.text("fail-on-reject") != "false":
		f = failed("rejected", fmt.Sprintf("%d of %d requests are rejected", t.rejected, t.accepted+t.rejected))
	default:
		return nil
	}
	f.answered = true
	return f
}
