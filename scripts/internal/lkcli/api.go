package lkcli

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/model/jsonwire"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/table"
)

// callAPI runs a command that is one operation of the API.
func (in *invocation) callAPI(ctx context.Context) error {
	c, err := in.connect()
	if err != nil {
		return err
	}
	op, err := in.operation(c)
	if err != nil {
		return err
	}
	if in.cmd.list {
		return in.showList(ctx, c, op)
	}
	raw, err := c.do(ctx, op)
	if err != nil {
		return err
	}
	return in.showOne(raw)
}

// operation builds the request from arguments and flags.
func (in *invocation) operation(c *client) (operation, error) {
	op := operation{method: in.cmd.method, query: url.Values{}, header: map[string]string{}}
	var err error
	if op.path, err = in.path(c); err != nil {
		return op, err
	}
	for _, a := range in.cmd.args {
		if a.query != "" {
			op.query.Set(a.query, in.args[a.name])
		}
	}
	body, takesBody, err := in.baseBody()
	if err != nil {
		return op, err
	}
	for field, value := range in.cmd.sets {
		setField(body, field, value)
		takesBody = true
	}
	fields := len(body)
	for i := range in.cmd.flags {
		o := &in.cmd.flags[i]
		v, given := in.flags[o.name]
		if o.field != "" {
			takesBody = true
		}
		if !given {
			continue
		}
		switch {
		case o.query != "":
			op.query.Set(o.query, v.given[0])
		case o.header != "":
			if strings.ContainsFunc(v.given[0], func(r rune) bool { return r < ' ' || r > '~' }) {
				return op, wrongCall("--%s may hold printable ASCII only", o.name)
			}
			op.header[o.header] = v.given[0]
		case o.field != "":
			x, err := in.jsonOf(o, v.given)
			if err != nil {
				return op, err
			}
			setField(body, o.field, x)
			fields++
		}
	}
	if in.cmd.truth != "" && in.org != "" && !strings.Contains(in.cmd.path, orgPath) {
		setField(body, "org_id", in.org)
	}
	if in.cmd.method == http.MethodPatch && fields == 0 {
		return op, wrongCall("nothing to change: give at least one flag")
	}
	if takesBody {
		op.body = encode(body)
	}
	return op, nil
}

// path fills the operation's path. What is no id is refused here: it could lead
// to another operation.
func (in *invocation) path(c *client) (string, error) {
	p := in.cmd.path
	if strings.Contains(p, "{org}") {
		named, given := in.args["org"]
		if given && in.org != "" && in.org != named {
			return "", wrongCall("two different organisations are named")
		}
		if given {
			in.org = named
		}
		id, err := in.orgOf(c.key)
		if err != nil {
			return "", err
		}
		if !table.ValidID(id) {
			return "", wrongCall("that is not the id of an organisation")
		}
		p = strings.Replace(p, "{org}", id, 1)
	}
	for _, a := range in.cmd.args {
		hole := "{" + a.name + "}"
		if a.query == "" && !strings.Contains(p, hole) {
			continue
		}
		if !table.ValidID(in.args[a.name]) {
			return "", wrongCall("%s is not an id: letters, digits, - and _, at most 64", strings.ToUpper(a.name))
		}
		p = strings.Replace(p, hole, in.args[a.name], 1)
	}
	return p, nil
}

// baseBody is the body that a file argument brings, else an empty one.
func (in *invocation) baseBody() (body map[string]any, given bool, err error) {
	body = map[string]any{}
	for _, a := range in.cmd.args {
		if !a.file {
			continue
		}
		raw, err := in.file(in.args[a.name], strings.ToUpper(a.name), maxInput)
		if err != nil {
			return nil, false, err
		}
		if err := jsonwire.Check(raw); err != nil {
			return nil, false, failed("file", "the file is refused: "+err.Error())
		}
		raw = compact(raw)
		if in.cmd.wrap != "" && raw[0] == '[' {
			return map[string]any{in.cmd.wrap: json.RawMessage(raw)}, true, nil
		}
		var fields map[string]json.RawMessage
		if json.Unmarshal(raw, &fields) != nil || raw[0] != '{' {
			return nil, false, failed("file", "the file must hold a JSON object")
		}
		for name, v := range fields {
			body[name] = v
		}
		return body, true, nil
	}
	return body, in.cmd.method == http.MethodPost && in.cmd.truth != "", nil
}

// setField sets a nested field, making the objects above it.
func setField(body map[string]any, path string, v any) {
	for {
		head, rest, nested := strings.Cut(path, ".")
		if !nested {
			body[head] = v
			return
		}
		inner, ok := body[head].(map[string]any)
		if !ok {
			inner = map[string]any{}
			body[head] = inner
		}
		body, path = inner, rest
	}
}

// outgoing is a secret on its way into a request body.
type outgoing struct{ secret.Text }

// outgoing reads a secret for a body. JSON is text: bytes that are not would
// arrive changed.
func (in *invocation) outgoing(flag, given string) (outgoing, error) {
	t, err := in.secretText(flag, given)
	if err != nil {
		return outgoing{}, err
	}
	return outgoing{t}, t.Use(func(b []byte) error {
		if !utf8.Valid(b) {
			return wrongCall("--%s is not UTF-8 text", flag)
		}
		return nil
	})
}

// MarshalJSON implements [json.Marshaler].
func (o outgoing) MarshalJSON() (out []byte, err error) {
	err = o.Use(func(b []byte) error {
		out = jsonwire.AppendString(nil, string(b))
		return nil
	})
	return out, err
}

// jsonOf turns a flag's texts into a JSON value.
func (in *invocation) jsonOf(o *option, given []string) (any, error) {
	s := given[0]
	switch o.kind {
	case integer:
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return nil, wrongCall("--%s must be a whole number", o.name)
		}
		return n, nil
	case amount:
		n, ok := parseAmount(s)
		if !ok {
			return nil, wrongCall("--%s is micro-credits (5000000) or credits (5cr, 0.25cr)", o.name)
		}
		return n, nil
	case boolean:
		b, err := strconv.ParseBool(s)
		if err != nil {
			return nil, wrongCall("--%s is true or false; write --%s or --%s=false", o.name, o.name, o.name)
		}
		return b, nil
	case words:
		return splitWords(given), nil
	case hidden:
		return in.outgoing(o.name, s)
	case pairs, secrets:
		return in.named(o, given)
	case document, anyJSON:
		b, err := in.textOf("--"+o.name, s, maxInput)
		if err != nil || o.kind == document {
			return string(b), err
		}
		if err := jsonwire.Check(b); err != nil {
			return nil, wrongCall("--%s is not usable JSON: %v", o.name, err)
		}
		return json.RawMessage(b), nil
	}
	return s, nil
}

// splitWords reads lists separated by commas; an empty text is an empty list.
func splitWords(given []string) []string {
	out := []string{}
	for _, s := range given {
		for w := range strings.SplitSeq(s, ",") {
			if w = strings.TrimSpace(w); w != "" {
				out = append(out, w)
			}
		}
	}
	return out
}

// named reads NAME=VALUE flags.
func (in *invocation) named(o *option, given []string) (any, error) {
	out := map[string]any{}
	for _, s := range given {
		name, v, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return nil, wrongCall("--%s is NAME=VALUE", o.name)
		}
		old, twice := out[name]
		if o.kind == secrets {
			if twice {
				return nil, wrongCall("--%s names one secret twice", o.name)
			}
			x, err := in.outgoing(o.name, v)
			if err != nil {
				return nil, err
			}
			out[name] = x
			continue
		}
		switch list := old.(type) {
		case nil:
			out[name] = v
		case string:
			out[name] = []string{list, v}
		case []string:
			out[name] = append(list, v)
		}
	}
	return out, nil
}

// showList prints a list answer.
func (in *invocation) showList(ctx context.Context, c *client, op operation) error {
	limit := 0
	if in.has("limit") {
		n, err := strconv.Atoi(in.text("limit"))
		if err != nil || n < 1 {
			return wrongCall("--limit is a whole number from 1")
		}
		limit = n
	}
	var items []json.RawMessage
	more := false
	if in.cmd.field != "" {
		raw, err := c.do(ctx, op)
		if err != nil {
			return err
		}
		var fields map[string]json.RawMessage
		if json.Unmarshal(raw, &fields) != nil || json.Unmarshal(fields[in.cmd.field], &items) != nil {
			return failed("bad_answer", "the server did not answer as its API says")
		}
	} else {
		var err error
		if items, more, err = c.collect(ctx, op, in.cmd.paged, limit); err != nil {
			return err
		}
	}
	if in.json {
		if items == nil {
			items = []json.RawMessage{}
		}
		in.out.Write(encode(map[string]any{"items": items}))
		return nil
	}
	if more {
		_, _ = io.WriteString(in.Stderr, "lk: there are more; raise --limit or leave it out\n")
	}
	return in.renderList(items)
}

// showOne prints an answer that is one object.
func (in *invocation) showOne(raw json.RawMessage) error {
	var err error
	switch {
	case raw == nil && in.json:
		in.out.WriteString("{}\n")
	case raw == nil:
		in.out.WriteString("done\n")
	case in.json:
		in.out.Write(append(raw, '\n'))
	default:
		err = in.renderOne(raw)
	}
	if err != nil {
		return err
	}
	if in.cmd.notice != "" && !in.json {
		_, _ = io.WriteString(in.Stderr, "lk: "+in.cmd.notice+"\n")
	}
	if in.cmd.health {
		return in.explain(raw)
	}
	if in.cmd.truth != "" {
		var fields map[string]json.RawMessage
		if json.Unmarshal(raw, &fields) != nil || string(fields[in.cmd.truth]) != "true" {
			f := failed("not_balanced", "balances and entries do not agree; the mismatches are listed")
			f.answered = true
			return f
		}
	}
	return nil
}

// explain tells people what the result of a probe means.
func (in *invocation) explain(raw json.RawMessage) error {
	var h struct{ Status, Reason string }
	if json.Unmarshal(raw, &h) != nil {
		return unreadable()
	}
	text := "nothing that says whether the key is good; the provider may not offer this, or not now"
	switch h.Status {
	case "ok":
		text = "the provider answered as it should"
	case "failed":
		f := failed("failed", "the provider does not serve this key ("+h.Reason+"); the connection is not used until a probe succeeds")
		f.answered = true
		return f
	}
	if !in.json {
		_, _ = io.WriteString(in.Stderr, "lk: "+text+"\n")
	}
	return nil
}
