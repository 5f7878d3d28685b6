package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/model/jsonwire"
	"github.com/latchkey/latchkey/shared/secret"
)

// BodyFields is the scheme of a vendor that puts time, token and MAC into the
// body: SHA-256 in hex over time and token, which covers nothing else of it. The
// token is meant for one use; whoever accepts such a request must remember it
// for as long as Past allows the same request again.
type BodyFields struct {
	Profile string // verification profile's name
	// Object is the JSON member that holds the three fields; in a form they
	// stand alone.
	Object string
	// Past and Future bound the timestamp, inclusive. Past is above the vendor's
	// retries, which repeat the signature.
	Past, Future time.Duration
}

const (
	fieldTime, fieldToken, fieldMAC = "timestamp", "token", "signature"
	// maxField bounds the three fields.
	maxField = 256
	// maxParts bounds the parts of a form that are looked at.
	maxParts = 200
)

// Name is the profile's name.
func (f BodyFields) Name() string { return f.Profile }

// NeedsSecret is true.
func (f BodyFields) NeedsSecret() bool { return true }

// Check compares under every secret before it looks at the clock.
func (f BodyFields) Check(in Input, secrets []secret.Text, now time.Time) (Result, *Refusal) {
	fields, why := f.read(in)
	if why != "" {
		return Result{}, &Refusal{why}
	}
	stamp, token := fields[fieldTime], fields[fieldToken]
	got, err := hex.DecodeString(fields[fieldMAC])
	at, ok := parseTime(UnixSeconds, stamp)
	// A token that begins with a digit could lend it to the time; the vendor's
	// time has ten digits until the year 2286.
	if err != nil || len(got) != sha256.Size || !ok || len(stamp) != 10 || token == "" {
		return Result{}, &Refusal{SigFormat}
	}
	match := -1
	for i, k := range secrets {
		want, err := f.mac(stamp, token, k)
		if err != nil {
			return Result{}, &Refusal{NoSecret}
		}
		if hmac.Equal(want, got) && match < 0 {
			match = i
		}
	}
	if match < 0 {
		return Result{}, &Refusal{SigMismatch}
	}
	if why := outside(at, now, f.Past, f.Future); why != "" {
		return Result{}, &Refusal{why}
	}
	return Result{SecretIndex: match, SignedAt: at}, nil
}

// read finds the three fields in the body.
func (f BodyFields) read(in Input) (map[string]string, Reason) {
	kind, params := "", map[string]string(nil)
	if vs := in.Header.Values("content-type"); len(vs) == 1 {
		kind, params, _ = mime.ParseMediaType(vs[0])
	}
	var out map[string]string
	why := SigFormat
	switch trimmed := bytes.TrimLeft(in.Body, " \t\r\n"); {
	case len(trimmed) == 0:
		return nil, SigMissing
	case kind == "multipart/form-data":
		out, why = multipartFields(in.Body, params["boundary"])
	case kind == "application/x-www-form-urlencoded" || trimmed[0] != '{':
		out, why = formFields(in.Body)
	default:
		out, why = f.jsonFields(in.Body)
	}
	if why != "" {
		return nil, why
	}
	for _, name := range []string{fieldTime, fieldToken, fieldMAC} {
		switch v := out[name]; {
		case v == "":
			return nil, SigMissing
		case len(v) > maxField:
			return nil, SigFormat
		}
	}
	return out, ""
}

func wanted(name string) bool { return name == fieldTime || name == fieldToken || name == fieldMAC }

func (f BodyFields) jsonFields(body []byte) (map[string]string, Reason) {
	var outer map[string]json.RawMessage
	if jsonwire.Check(body) != nil || json.Unmarshal(body, &outer) != nil {
		return nil, SigFormat
	}
	raw, ok := outer[f.Object]
	if !ok {
		return nil, SigMissing
	}
	var inner map[string]json.RawMessage
	if json.Unmarshal(raw, &inner) != nil {
		return nil, SigFormat
	}
	out := map[string]string{}
	for name, v := range inner {
		if !wanted(name) {
			continue
		}
		var text string
		var number json.Number
		switch {
		case json.Unmarshal(v, &text) == nil:
		case json.Unmarshal(v, &number) == nil:
			text = number.String()
		default:
			return nil, SigFormat
		}
		out[name] = text
	}
	return out, ""
}

func formFields(body []byte) (map[string]string, Reason) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, SigFormat
	}
	out := map[string]string{}
	for name, values := range form {
		if !wanted(name) {
			continue
		}
		if len(values) > 1 {
			return nil, HeaderDuplicate
		}
		out[name] = values[0]
	}
	return out, ""
}

func multipartFields(body []byte, boundary string) (map[string]string, Reason) {
	if boundary == "" {
		return nil, SigFormat
	}
	out := map[string]string{}
	r := multipart.NewReader(bytes.NewReader(body), boundary)
	for range maxParts {
		p, err := r.NextRawPart()
		if err == io.EOF {
			return out, ""
		}
		if err != nil {
			return nil, SigFormat
		}
		name := p.FormName()
		if !wanted(name) || p.FileName() != "" {
			continue
		}
		if _, twice := out[name]; twice {
			return nil, HeaderDuplicate
		}
		v, err := io.ReadAll(io.LimitReader(p, maxField+1))
		if err != nil {
			return nil, SigFormat
		}
		out[name] = string(v)
	}
	return nil, SigFormat
}

// Sign writes the fields into the body, a JSON object, in front of its members.
func (f BodyFields) Sign(in *Input, key secret.Text, now time.Time) error {
	if key.IsZero() {
		return ErrEmptySecret
	}
	var members map[string]json.RawMessage
	body := bytes.TrimSpace(in.Body)
	if len(body) == 0 {
		body = []byte("{}")
	}
	if jsonwire.Check(body) != nil || json.Unmarshal(body, &members) != nil || members[f.Object] != nil {
		return errUnsignable
	}
	stamp := formatTime(UnixSeconds, now)
	token := hex.EncodeToString([]byte(strings.Repeat("t", 15) + stamp))
	mac, err := f.mac(stamp, token, key)
	if err != nil {
		return err
	}
	o := jsonwire.Begin(nil)
	o.Name(f.Object)
	inner := jsonwire.Begin(o.B)
	inner.String(fieldTime, stamp)
	inner.String(fieldToken, token)
	inner.String(fieldMAC, hex.EncodeToString(mac))
	out := inner.End()
	if len(members) > 0 {
		out = append(out, ',')
	}
	in.Body = append(out, body[1:]...)
	return nil
}

func (f BodyFields) mac(stamp, token string, k secret.Text) (sum []byte, err error) {
	err = k.Use(func(key []byte) error {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(stamp + token))
		sum = m.Sum(nil)
		return nil
	})
	return sum, err
}
