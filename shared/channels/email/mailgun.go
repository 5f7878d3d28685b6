package email

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Mailgun's API lies in two regions, each with its domains and keys
// (documentation.mailgun.com/docs/mailgun/api-reference, "Base URL", read 2026-11).
const (
	mailgunHost   = "api.mailgun.net"
	mailgunHostEU = "api.eu.mailgun.net"
	mailgunBase   = "https://" + mailgunHost
	mailgunBaseEU = "https://" + mailgunHostEU
)

// mailgunHorizon is above the eight hours of retries and the twelve for which a
// signature is accepted (documentation.mailgun.com/docs/mailgun/user-manual/receive-forward-store/receive-http,
// read 2026-11): as long as a token could come again it is remembered.
const mailgunHorizon = 24 * time.Hour

// maxParts bounds the fields of a form; attachments are parts, too.
const maxParts = 200

// mailgunEntry describes Mailgun's part.
func mailgunEntry() channel.Entry {
	e := shared(taxonomy.Mailgun, taxonomy.ProfileMailgun)
	e.Config = append(e.Config,
		channel.ConfigField{Name: region, Title: "Region of the Mailgun domain", Valid: oneOf("us", "eu"), Help: "us or eu; us unless stated."},
		channel.ConfigField{Name: spamFilter, Title: "The domain's spam filter marks mail", Valid: oneOf("true", "false"),
			Help: "true once the receiving domain's spam filter is set to mark spam with MIME headers: only then Mailgun tells what SPF and DKIM gave, and only then it is believed."})
	e.Secrets = []channel.SecretField{
		{Name: signingKey, Title: "HTTP webhook signing key", Class: taxonomy.ChannelVerify, Required: true, Form: credential.Token, Overlap: overlap},
		sending("Sending key of the domain, or API key"),
	}
	e.VerifySecret, e.Adapter, e.RetryHorizon, e.Setup = signingKey, mailgun{}, mailgunHorizon, mailgunSetup
	e.APIBase, e.Hosts = mailgunBase, []string{mailgunHost, mailgunHostEU}
	return e
}

// mailgun is the adapter of an install whose vendor it is.
type mailgun struct{ plainText }

func badMailgun(what string) error {
	return fault.New(fault.InvalidRequest, "email.mailgun", "the body is not a message of a Mailgun route: "+what)
}

// Parse reads one mail, as a route's forward() or store() posts it
// (documentation.mailgun.com/docs/mailgun/user-manual/receive-forward-store/receive-http
// and store-retreive, read 2026-11).
func (mailgun) Parse(in webhook.Input) ([]channel.Inbound, error) {
	form, err := mailgunForm(in)
	if err != nil {
		return nil, err
	}
	for _, v := range form {
		if !utf8.ValidString(v) { // Mailgun writes all fields so
			return nil, badMailgun("a field is not UTF-8")
		}
	}
	l := letter{delivery: form["token"], once: true, from: form["from"], subject: form["subject"], text: form["stripped-text"]}
	if l.delivery == "" || len(l.delivery) > maxID || !vendorapi.Printable(l.delivery) {
		return nil, badMailgun("no token")
	}
	// Of several addresses of one delivery the first is answered from.
	first, _, _ := strings.Cut(form["recipient"], ",")
	to, ok := bare(first)
	if !ok {
		return nil, badMailgun("no recipient")
	}
	l.to = to
	if l.headers, err = mailgunHeaders(form); err != nil {
		return nil, err
	}
	l.sender, _ = bare(strings.Trim(strings.TrimSpace(form["sender"]), "<>"))
	l.returned = l.sender == ""
	if strings.TrimSpace(l.text) == "" {
		l.text = form["body-plain"]
	}
	if at, err := strconv.ParseInt(form["timestamp"], 10, 64); err == nil && at > 0 && at < 1<<40 {
		l.at = time.Unix(at, 0).UTC()
	}
	l.proven = func(from string) bool {
		return in.Config.Get(spamFilter) == "true" && mailgunProves(l.headers, domainOf(l.sender), from)
	}
	return []channel.Inbound{l.read(in.Config)}, nil
}

// mailgunProves reads what Mailgun's spam filter adds
// (documentation.mailgun.com/docs/mailgun/user-manual/receive-forward-store/spam-filter,
// read 2026-11): SPF is the delivery's sender's; DKIM does not say whose signature
// passed, so all of them must be of the writer's domain.
func mailgunProves(h headers, sender, from string) bool {
	// Two writers in one head could be one for the check and one for us.
	if one, ok := author(h.only("From")); !ok || domainOf(one) != from {
		return false
	}
	if h.only("X-Mailgun-Spf") == "pass" && within(sender, from) {
		return true
	}
	signers := h.signers()
	for _, d := range signers {
		if !within(d, from) {
			return false
		}
	}
	return len(signers) > 0 && h.only("X-Mailgun-Dkim-Check-Result") == "pass"
}

// mailgunField reports a field that is read.
func mailgunField(name string) bool {
	switch name {
	case "token", "timestamp", "recipient", "sender", "from", "subject", "stripped-text", "body-plain", "message-headers":
		return true
	}
	return false
}

// mailgunForm reads the fields of a form. One that is there twice is refused: two
// readers could take another of them.
func mailgunForm(in webhook.Input) (map[string]string, error) {
	kind, params := "", map[string]string(nil)
	if vs := in.Header.Values("content-type"); len(vs) == 1 {
		kind, params, _ = mime.ParseMediaType(vs[0])
	}
	if kind == "multipart/form-data" {
		return mailgunParts(in.Body, params["boundary"])
	}
	values, err := url.ParseQuery(string(in.Body))
	if err != nil {
		return nil, badMailgun("not a form")
	}
	out := map[string]string{}
	for name, vs := range values {
		if mailgunField(name) {
			if len(vs) > 1 {
				return nil, badMailgun("a field is there twice")
			}
			out[name] = vs[0]
		}
	}
	return out, nil
}

func mailgunParts(body []byte, boundary string) (map[string]string, error) {
	out := map[string]string{}
	if boundary == "" {
		return nil, badMailgun("no boundary")
	}
	r := multipart.NewReader(bytes.NewReader(body), boundary)
	for range maxParts {
		p, err := r.NextRawPart()
		if err == io.EOF { //nolint:errorlint // the reader returns it bare
			return out, nil
		}
		if err != nil {
			return nil, badMailgun("its parts are damaged")
		}
		name := p.FormName()
		if !mailgunField(name) || p.FileName() != "" {
			continue
		}
		if _, twice := out[name]; twice {
			return nil, badMailgun("a field is there twice")
		}
		v, err := io.ReadAll(p) // of a body whose size is bounded
		if err != nil {
			return nil, badMailgun("its parts are damaged")
		}
		out[name] = string(v)
	}
	return nil, badMailgun("more fields than a mail has")
}

// mailgunHeaders reads the list of headers, which keeps their order and repetitions.
func mailgunHeaders(form map[string]string) (headers, error) {
	var list [][]string
	d := json.NewDecoder(strings.NewReader(form["message-headers"]))
	if d.Decode(&list) != nil || d.More() || len(list) > maxHeaders {
		return nil, badMailgun("message-headers is not a list of headers")
	}
	out := make(headers, 0, len(list))
	for _, kv := range list {
		if len(kv) != 2 {
			return nil, badMailgun("message-headers is not a list of headers")
		}
		out = append(out, [2]string{kv[0], kv[1]})
	}
	return out, nil
}

// Send posts one mail
// (documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages/post-v3--domain-name--messages,
// read 2026-11). An answer with an id means that it is queued, which is all that a
// vendor of mail can say.
func (mailgun) Send(ctx context.Context, c channel.Call, out channel.Outgoing) (string, *channel.Failure) {
	m, f := compose(c.Config, out)
	if f != nil {
		return "", f
	}
	if c.BaseURL == mailgunBase && c.Config.Get(region) == "eu" {
		c.BaseURL = mailgunBaseEU
	}
	form := url.Values{"from": {m.from}, "to": {m.to}, "subject": {m.subject}, "text": {m.text}, "o:tracking": {"no"}}
	for _, kv := range m.headers {
		form.Set("h:"+kv[0], kv[1])
	}
	r, f := vendorapi.PostForm(ctx, c, "/v3/"+url.PathEscape(c.Config.Get(domain))+"/messages", form, func(r *http.Request, token string) bool {
		r.SetBasicAuth("api", token)
		return true
	})
	if f != nil {
		return "", f
	}
	if f := r.Failure(); f != nil {
		return "", f
	}
	id := r.Body.Str("id")
	if id == "" || len(id) > maxID || !vendorapi.Printable(id) {
		return "", &channel.Failure{Certainty: channel.Ambiguous, Code: "answer_without_id"}
	}
	return id, nil
}
