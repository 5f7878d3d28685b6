package twilio

import (
	"bytes"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Limits of a form: Twilio sends some thirty names and adds new ones.
const (
	maxFields = 300
	maxName   = 200
)

// separator stands between the person's address and the one that was written to.
const separator = ","

// Names that are read (www.twilio.com/docs/messaging/guides/webhook-request and
// .../outbound-message-status-in-status-callbacks, read 2026-11).
const (
	fAccount   = "AccountSid"
	fMessage   = "MessageSid"
	fService   = "MessagingServiceSid"
	fFrom      = "From"
	fTo        = "To"
	fBody      = "Body"
	fStatus    = "MessageStatus" // of status callbacks only
	fOptOut    = "OptOutType"    // of services with Advanced Opt-Out
	fMedia     = "NumMedia"
	fMediaURL  = "MediaUrl"
	fMediaType = "MediaContentType"
)

func bad(what string) error {
	return fault.New(fault.InvalidRequest, "twilio.Parse", "the body is not a webhook of Twilio's messaging: "+what)
}

// fields reads a form. A name of which there are several values has no order that is
// signed, so it reads as malformed where it is one of ours.
type fields struct {
	values   url.Values
	repeated bool
}

func readForm(body []byte) (*fields, error) {
	// Counted before anything is made of it.
	if bytes.Count(body, []byte("&")) >= maxFields {
		return nil, bad("more names than Twilio sends")
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, bad("not a form")
	}
	for name, vs := range values {
		if name == "" || len(name) > maxName || !utf8.ValidString(name) {
			return nil, bad("a name is malformed")
		}
		for _, v := range vs {
			if !utf8.ValidString(v) || strings.ContainsRune(v, 0) {
				return nil, bad("a value is not text")
			}
		}
	}
	return &fields{values: values}, nil
}

func (f *fields) get(name string) string {
	vs := f.values[name]
	f.repeated = f.repeated || len(vs) > 1
	if len(vs) == 0 {
		return ""
	}
	return vs[0]
}

// Parse reads a request into its one event.
func (Adapter) Parse(in webhook.Input) ([]channel.Inbound, error) {
	f, err := readForm(in.Body)
	if err != nil {
		return nil, err
	}
	account, message, service := f.get(fAccount), f.get(fMessage), f.get(fService)
	from, to, status := f.get(fFrom), f.get(fTo), f.get(fStatus)
	if !accountForm.MatchString(account) || !messageForm.MatchString(message) || service != "" && !serviceForm.MatchString(service) {
		return nil, bad("AccountSid, MessageSid or MessagingServiceSid")
	}
	one := channel.Inbound{Kind: channel.Ignored, Reason: channel.EventIgnored, Identity: channel.Identity{accountSID: account, serviceSID: service, ownAddress: to},
		Envelope: channel.Envelope{Provider: taxonomy.Twilio, EventID: message, Message: message, Account: account}}
	if status != "" {
		// It tells of a message of ours, which goes the other way. One that failed before a
		// sender was chosen names none.
		if one.Identity[ownAddress] = from; from == "" {
			one.Identity[ownAddress] = in.Config.Get(ownAddress)
		}
	} else if one, err = f.message(one, from, to); err != nil {
		return nil, err
	}
	if f.repeated {
		return nil, bad("a name is repeated")
	}
	return []channel.Inbound{one}, nil
}

// message fills the envelope of a message. Other channels (RCS, Messenger) and
// senders that are names have addresses of other forms.
func (f *fields) message(in channel.Inbound, from, to string) (channel.Inbound, error) {
	body, optOut := f.get(fBody), f.get(fOptOut)
	media, err := f.count()
	if err != nil || from == "" || to == "" {
		return in, bad("From, To or NumMedia")
	}
	if !addressForm.MatchString(from) || !addressForm.MatchString(to) {
		return in, nil
	}
	env := &in.Envelope
	env.Space, env.Actor, env.Direct, env.Team = from, from, true, to
	env.ReplyTo = from + separator + to
	env.SelfAuthored = from == to
	env.Text = strings.TrimSpace(body)
	if name := channel.Addressee(env.Text); name != "" {
		env.Addressed = []string{name}
	}
	for n := range media {
		k := strconv.Itoa(n)
		if at, kind := f.get(fMediaURL+k), f.get(fMediaType+k); strings.HasPrefix(kind, "audio/") {
			env.Attach(channel.Attachment{ID: at, Kind: channel.VoiceNote, MIME: kind})
		}
	}
	switch {
	case env.SelfAuthored:
		in.Reason = channel.SelfIgnored
	case optOut == "STOP" || optOut == "" && stops(from, env.Text):
		in.Reason = channel.RevokedByVendor
	case optOut != "": // Twilio has answered
	case !env.Empty():
		in.Kind, in.Reason = channel.Message, ""
	}
	return in, nil
}

// count is how many files came with the message.
func (f *fields) count() (int, error) {
	stated := f.get(fMedia)
	if stated == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(stated)
	if err != nil || n < 0 || n > maxFields {
		return 0, bad("NumMedia")
	}
	return min(n, channel.MaxAttachments), nil
}

// stops reports a text that Twilio takes for an opt-out by default, which it does for
// text messages (www.twilio.com/docs/messaging/tutorials/advanced-opt-out, read
// 2026-11). WhatsApp has opt-outs with Advanced Opt-Out only, which says so.
func stops(from, text string) bool {
	if strings.HasPrefix(from, whatsApp) {
		return false
	}
	switch strings.ToUpper(text) {
	case "STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT":
		return true
	}
	return false
}
