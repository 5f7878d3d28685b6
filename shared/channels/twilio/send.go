package twilio

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/markdown"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
	"github.com/latchkey/latchkey/shared/webhook"
)

// maxText is the limit of a message's body in characters
// (www.twilio.com/docs/messaging/api/message-resource and error 21617, read 2026-11).
// The larger count is taken, UTF-16 units.
const maxText = 1600

// marks are WhatsApp's (faq.whatsapp.com/539178204879377, read 2026-11).
func marks() markdown.Marks {
	return markdown.Marks{Bold: "*", Italic: "_", Strike: "~", Code: "`", Fence: "```"}
}

// Split writes an answer as plain text, which SMS shows, and with WhatsApp's marks as
// the note beside it: only Send knows which of both it is for. Both fit.
func (Adapter) Split(text string) []channel.Piece {
	m := marks()
	var out []channel.Piece
	size := func(r []markdown.Run) int { return max(markdown.Units(markdown.Plain(r)), markdown.Units(m.Write(r))) }
	for _, p := range markdown.Split(markdown.Parse(text, markdown.Options{Bullet: "- ", PlainLinks: true}), maxText, size) {
		plain, marked := markdown.Plain(p), m.Write(p)
		piece := channel.Piece{Text: plain, Plain: plain}
		if marked != plain {
			piece.Format = marked
		}
		out = append(out, piece)
	}
	return out
}

// basic authenticates as the API key, or as the account with its token
// (www.twilio.com/docs/usage/requests-to-twilio, read 2026-11).
func basic(c webhook.Config) vendorapi.Token {
	user := c.Get(apiKeySID)
	if user == "" {
		user = c.Get(accountSID)
	}
	return func(r *http.Request, token string) bool {
		r.SetBasicAuth(user, token)
		return user != ""
	}
}

// Send posts one message, from the address that was written to.
func (Adapter) Send(ctx context.Context, c channel.Call, out channel.Outgoing) (string, *channel.Failure) {
	person, own, _ := strings.Cut(out.To, separator)
	if !addressForm.MatchString(person) {
		return "", &channel.Failure{Certainty: channel.Refused, Code: "recipient_malformed"}
	}
	account, service, configured := c.Config.Get(accountSID), c.Config.Get(serviceSID), c.Config.Get(ownAddress)
	if own == "" {
		own = configured
	}
	// An answer never leaves from an address that is not the install's.
	if !accountForm.MatchString(account) || configured != "" && own != configured || own == "" && service == "" || own != "" && !addressForm.MatchString(own) {
		return "", &channel.Failure{Certainty: channel.Refused, Code: "sender_malformed"}
	}
	form := url.Values{"To": {person}, "Body": {out.Text}}
	if out.Format != "" && strings.HasPrefix(person, whatsApp) {
		form.Set("Body", out.Format)
	}
	if own != "" {
		form.Set("From", own)
	}
	if service != "" { // in addition to From (www.twilio.com/docs/api/errors/21603, read 2026-11)
		form.Set("MessagingServiceSid", service)
	}
	r, f := vendorapi.PostForm(ctx, c, "/2010-04-01/Accounts/"+account+"/Messages.json", form, basic(c.Config))
	if f != nil {
		return "", f
	}
	return posted(r)
}

// limits are codes of refusals that pass, which come with other statuses than 429, too;
// words name refusals that people ask about (www.twilio.com/docs/api/errors, read
// 2026-11).
var (
	limits = map[int64]bool{14107: true, 20429: true, 21611: true, 63018: true}
	words  = map[int64]string{
		20003: tokenRefused, 20404: "account_not_found", 21211: "recipient_invalid", 21408: "region_not_permitted", 21603: "sender_malformed",
		21606: "sender_not_yours", 21610: "unsubscribed", 21612: "unreachable", 21614: "not_a_mobile_number", 21617: "too_long",
		21659: "sender_not_yours", 21660: "sender_not_yours", 21711: "sender_not_in_service", 63007: "sender_not_yours", 63016: "window_closed",
	}
)

const tokenRefused = "token_refused"

// posted reads the answer to a send: 201 and the message, or an error with a code.
func posted(r vendorapi.Reply) (string, *channel.Failure) {
	if r.Status == http.StatusCreated {
		r.Status = http.StatusOK
	}
	f := r.Failure()
	if f == nil {
		if id := r.Body.Str("sid"); messageForm.MatchString(id) {
			return id, nil
		}
		return "", &channel.Failure{Certainty: channel.Ambiguous, Code: "answer_without_id"}
	}
	n, _ := r.Body["code"].(json.Number)
	code, err := n.Int64()
	switch {
	case err != nil || f.Certainty != channel.Refused:
		return "", f
	case limits[code]:
		return "", r.RateLimited(0)
	}
	f.Code = "error_" + strconv.FormatInt(code, 10)
	if w, known := words[code]; known {
		f.Code = w
	}
	f.TokenRejected = f.TokenRejected || f.Code == tokenRefused
	return "", f
}
