package deliveries

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// twilioKind is a number that gets text messages. Twilio asks again where the URL asks
// for it (#rc=3), three times, and then gives up; what was answered does not come
// again.
func twilioKind() kind {
	return kind{provider: "twilio", filler: 180, tries: 4, contentType: "application/x-www-form-urlencoded",
		fresh: func(a *app, n int, in map[string]any) {
			a.id, a.tenant, a.token = fmt.Sprintf("+1501%07d", n), fmt.Sprintf("AC%032x", 0xd0000000+n), fmt.Sprintf("deliveriestwiliosecret%06d", n)
			in["secrets"] = map[string]any{"auth_token": a.secret, "api_key_secret": a.token}
			in["config"] = map[string]any{"account_sid": a.tenant, "to": a.id, "api_key_sid": "SK0123456789abcdef0123456789abcdef"}
			in["public_url"] = twilioURL(a)
		},
		talks: func(t *talk, _ bool) {
			t.from = "+" + t.from
			t.room = t.from
		},
		signedURL: twilioURL,
		tells: func(a *app, p post) []byte {
			sid := fmt.Sprintf("SM%032x", p.n)
			return []byte(url.Values{"AccountSid": {a.tenant}, "MessageSid": {sid}, "SmsSid": {sid}, "SmsMessageSid": {sid}, "SmsStatus": {"received"}, "NumMedia": {"0"}, "NumSegments": {"1"},
				"From": {p.from}, "To": {a.id}, "Body": {p.text}, "ApiVersion": {"2010-04-01"}}.Encode())
		},
		sends: func(path string, _ []byte) bool {
			return strings.HasPrefix(path, "/twilio/") && strings.HasSuffix(path, "/Messages.json")
		},
		refuse: func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"code":21610,"message":"Attempt to send to unsubscribed recipient","status":400}`)
		},
		// The number that it went out from stands in the place of a thread.
		inThread: func(a *app, p mockvendor.Post, _ string) bool { return p.ThreadTS == a.id },
	}
}

// twilioURL is what was typed at Twilio.
func twilioURL(a *app) string {
	return "https://hooks.example/sms/" + strings.TrimPrefix(a.id, "+")
}
