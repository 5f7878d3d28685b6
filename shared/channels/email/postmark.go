package email

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Postmark's API (postmarkapp.com/developer/api/overview, read 2026-11).
const (
	postmarkHost = "api.postmarkapp.com"
	postmarkBase = "https://" + postmarkHost
)

// postmarkHorizon is above the time of its ten retries, the last of them six hours
// after the one before (postmarkapp.com/developer/user-guide/inbound/parse-an-email,
// read 2026-11).
const postmarkHorizon = 24 * time.Hour

// postmarkEntry describes Postmark's part.
func postmarkEntry() channel.Entry {
	e := shared(taxonomy.Postmark, taxonomy.ProfilePostmark)
	e.Secrets = []channel.SecretField{
		{Name: basicAuth, Title: "User and password of the webhook's URL", Class: taxonomy.ChannelVerify, Required: true, MinBytes: 16, Overlap: overlap,
			Help: "user:password, chosen by you: the webhook's URL at Postmark carries them, as https://user:password@…"},
		sending("Server API token"),
	}
	e.VerifySecret, e.Adapter, e.RetryHorizon, e.Setup = basicAuth, postmark{}, postmarkHorizon, postmarkSetup
	e.APIBase, e.Hosts = postmarkBase, []string{postmarkHost}
	return e
}

// postmark is the adapter of an install whose vendor it is.
type postmark struct{ plainText }

func badPostmark(what string) error {
	return fault.New(fault.InvalidRequest, "email.postmark", "the body is not an inbound message of Postmark: "+what)
}

// Parse reads one mail (postmarkapp.com/developer/webhooks/inbound-webhook, read
// 2026-11).
func (postmark) Parse(in webhook.Input) ([]channel.Inbound, error) {
	o, err := channel.StrictJSON(in.Body)
	if err != nil {
		return nil, badPostmark("not one plain JSON object")
	}
	l := letter{delivery: o.Str("MessageID"), from: o.Obj("FromFull").Str("Email"), subject: o.Str("Subject"), text: o.Str("StrippedTextReply")}
	if l.delivery == "" || len(l.delivery) > maxID || !vendorapi.Printable(l.delivery) {
		return nil, badPostmark("no MessageID")
	}
	ok := false
	if l.to, ok = bare(o.Str("OriginalRecipient")); !ok {
		return nil, badPostmark("no OriginalRecipient")
	}
	list, listed := o["Headers"].([]any)
	if !listed || len(list) > maxHeaders {
		return nil, badPostmark("no list of Headers")
	}
	for _, one := range list {
		kv, _ := one.(channel.Object)
		if kv.Str("Name") == "" {
			return nil, badPostmark("a header has no name")
		}
		l.headers = append(l.headers, [2]string{kv.Str("Name"), kv.Str("Value")})
	}
	if strings.TrimSpace(l.text) == "" {
		l.text = o.Str("TextBody")
	}
	result, sender := postmarkSPF(l.headers)
	l.sender = sender
	l.proven = func(from string) bool {
		return oneWriter(o.Str("From"), l.from, l.headers) && (result && within(domainOf(sender), from) || postmarkSigned(l.headers, from))
	}
	return []channel.Inbound{l.read(in.Config)}, nil
}

// oneWriter reports that nobody else than the writer stands in From. Two writers in one
// head could be one for the check and one for us.
func oneWriter(stated, writer string, h headers) bool {
	for _, v := range append(h.all("From"), stated) {
		if one, ok := author(v); !ok || one != strings.ToLower(strings.TrimSpace(writer)) {
			return false
		}
	}
	return len(h.all("From")) <= 1
}

// postmarkSPF reads the result that Postmark's server wrote, as its example of an
// inbound message has it (the same page): "Pass (…) identity=mailfrom; …;
// envelope-from=a@b; …". Another server's beside it makes it none.
func postmarkSPF(h headers) (pass bool, sender string) {
	v := h.only("Received-SPF")
	// A quoted address could bring parts of its own into the line.
	if strings.ContainsAny(v, "\"\\") || strings.Count(v, "envelope-from=") != 1 || strings.Count(v, "identity=") != 1 {
		return false, ""
	}
	mailfrom := false
	for part := range strings.FieldsFuncSeq(v, func(r rune) bool { return r == ';' || r == ' ' }) {
		switch name, value, _ := strings.Cut(part, "="); name {
		case "identity":
			mailfrom = value == "mailfrom"
		case "envelope-from":
			sender = strings.Trim(value, "<>")
		}
	}
	if _, ok := bare(sender); !ok {
		return false, ""
	}
	return mailfrom && strings.HasPrefix(v, "pass "), sender
}

// postmarkSigned reads the tests of SpamAssassin, which Postmark runs on all mail:
// DKIM_VALID_AU is a valid signature of the writer's own domain
// (spamassassin.apache.org, Mail::SpamAssassin::Plugin::DKIM, read 2026-11). It does not
// say which, so all of those that are listed must be.
func postmarkSigned(h headers, from string) bool {
	for _, d := range h.signers() {
		if !within(d, from) {
			return false
		}
	}
	for test := range strings.SplitSeq(h.only("X-Spam-Tests"), ",") {
		if strings.TrimSpace(test) == "dkim_valid_au" {
			return true
		}
	}
	return false
}

// postmarkWords are the error codes that mean more than the status
// (postmarkapp.com/developer/api/overview#error-codes, read 2026-11).
func postmarkWord(code string) string {
	switch code {
	case "300":
		return "invalid_email_request"
	case "400", "401":
		return "sender_not_confirmed"
	case "405":
		return "not_allowed_to_send"
	case "406":
		return "inactive_recipient"
	case "412", "413":
		return "account_not_approved"
	}
	return ""
}

// Send posts one mail (postmarkapp.com/developer/api/email-api, read 2026-11).
// Postmark keeps our message id only with X-PM-KeepID.
func (postmark) Send(ctx context.Context, c channel.Call, out channel.Outgoing) (string, *channel.Failure) {
	m, f := compose(c.Config, out)
	if f != nil {
		return "", f
	}
	heads := []any{map[string]string{"Name": "X-PM-KeepID", "Value": "true"}}
	for _, kv := range m.headers {
		heads = append(heads, map[string]string{"Name": kv[0], "Value": kv[1]})
	}
	body := map[string]any{"From": m.from, "To": m.to, "Subject": m.subject, "TextBody": m.text, "Headers": heads, "TrackOpens": false, "TrackLinks": "None"}
	r, f := vendorapi.Post(ctx, c, "/email", body, func(r *http.Request, token string) bool {
		r.Header.Set("X-Postmark-Server-Token", token)
		r.Header.Set("Accept", "application/json")
		return true
	})
	if f != nil {
		return "", f
	}
	code, _ := r.Body["ErrorCode"].(json.Number)
	if f := r.Failure(); f != nil {
		if word := postmarkWord(code.String()); word != "" && f.Certainty == channel.Refused && !f.TokenRejected {
			f.Code = word
		}
		return "", f
	}
	id := r.Body.Str("MessageID")
	if code != "0" || id == "" || len(id) > maxID || !vendorapi.Printable(id) {
		return "", &channel.Failure{Certainty: channel.Ambiguous, Code: "answer_without_id"}
	}
	return id, nil
}
