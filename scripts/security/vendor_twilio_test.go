package security

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Who writes to a number of Twilio's, and how each of its requests is acknowledged.
const (
	twilioPerson = "+4915112345678"
	twilioAck    = `<?xml version="1.0" encoding="UTF-8"?><Response/>`
)

func twilioColumn() column {
	acks := map[string]string{}
	for _, code := range []string{"hook.accepted", "hook.duplicate", "hook.event_ignored", "turn.self_ignored", "install.revoked_by_provider"} {
		acks[code] = twilioAck
	}
	return column{id: taxonomy.Twilio, verifies: "auth_token", sends: "api_key_secret", anySecret: true, leaves: true, acks: acks,
		attacks: map[int]func(*cell){27: twilioMethods, 28: twilioTooLarge, 30: twilioRepeated, 32: twilioURLs, 48: twilioMediaElsewhere},
		mutants: twilioMutants, elsewhere: []int{8, 20, 28, 30},
		fresh: func(a *app, n int64) {
			a.application, a.team, a.token = fmt.Sprintf("AC%032x", 0xa0000000+n), fmt.Sprintf("+1501%07d", n), fmt.Sprintf("%stwilio%08d", planted, n)
		},
		settings: func(a *app, in map[string]any) {
			in["secrets"] = map[string]any{"auth_token": a.secret, "api_key_secret": a.token}
			in["config"] = map[string]any{"account_sid": a.application, "to": a.team, "api_key_sid": "SK0123456789abcdef0123456789abcdef"}
			in["public_url"] = a.typed().String()
		},
		message: func(a *app, n int64, s said) []byte {
			from := twilioPerson
			if s.own {
				from = a.team
			}
			return twilioForm(a, n, from, s.team, s.text)
		},
		note: func(a *app, n int64, f file) []byte {
			at := f.name
			if !strings.Contains(at, "://") {
				at = mockvendor.TwilioMedia(a.application, f.name)
			}
			return twilioForm(a, n, twilioPerson, a.team, "", "NumMedia", "1", "MediaContentType0", "audio/ogg", "MediaUrl0", at)
		},
		removed: func(a *app, n int64) []byte { return twilioForm(a, n, twilioPerson, a.team, "STOP") },
		identity: func(a *app, team string) channel.Identity {
			return channel.Identity{"account_sid": a.application, "to": team}
		},
		contentType: "application/x-www-form-urlencoded", proofs: []string{"X-Twilio-Signature"},
		sign: func(a *app, r *http.Request, secret string, at time.Time, body []byte) {
			r.URL = a.typed()
			mockvendor.SignRequest(r, "twilio", mockvendor.Proof{Secret: secret, At: at}, body)
		},
		malformed: []string{"not base64!", base64.StdEncoding.EncodeToString(make([]byte, 19)), zeros(40)}, cut: 2,
		retried: func(h http.Header, n int) { h.Set("I-Twilio-Idempotency-Token", fmt.Sprintf("%032d", n)) },
		api:     "/twilio/", unauthorized: func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"code":20003,"message":"Authenticate","more_info":"https://www.twilio.com/docs/errors/20003","status":401}`)
		},
		token: func(r *http.Request) string { _, secret, _ := r.BasicAuth(); return secret },
	}
}

// typed is the URL as it stands at Twilio, with a query of its own.
func (a *app) typed() *url.URL {
	return &url.URL{Scheme: "https", Host: "hooks.example.com", Path: "/sms/" + a.team[1:], RawQuery: "from=twilio&v=2"}
}

// twilioForm is a message; the name that comes last is one that nobody reads.
func twilioForm(a *app, n int64, from, to, text string, more ...string) []byte {
	sid := fmt.Sprintf("SM%032x", n)
	f := url.Values{"AccountSid": {a.application}, "MessageSid": {sid}, "SmsMessageSid": {sid}, "SmsStatus": {"received"}, "NumMedia": {"0"},
		"From": {from}, "To": {to}, "Body": {text}, "ApiVersion": {"2010-04-01"}, "ToZip": {"94105"}}
	for i := 0; i+1 < len(more); i += 2 {
		f.Set(more[i], more[i+1])
	}
	return []byte(f.Encode())
}

// twilioMethods: Twilio can be told to use GET, with the message in the query.
func twilioMethods(c *cell) {
	wrongMethod(c)
	a := c.app()
	h := a.signed(a.message(said{}))
	h.method = http.MethodGet
	c.hit(a, h)
}

// twilioTooLarge: forms arrive in base64, which is not decoded above the limit, so the
// record has the hash of nothing.
func twilioTooLarge(c *cell) {
	a := c.app()
	nothing := sha256.Sum256(nil)
	for _, body := range [][]byte{append(a.message(said{}), strings.Repeat(" ", 1<<20)...), a.message(said{text: spoken + strings.Repeat("x", 1<<20)})} {
		got := c.do(a.signed(body))
		r, _ := c.hooks.next(func(r record) bool {
			return r.Code == "hook.too_large" && r.Provider == string(c.col.id) && r.BodySHA256 == hex.EncodeToString(nothing[:])
		})
		if got.body != bodies()[http.StatusRequestEntityTooLarge] {
			c.bad("body %.200s", got.body)
		}
		c.saw(got.status, r.Code)
	}
	c.accepted(a, a.signed(append(a.message(said{}), strings.Repeat(" ", 1<<19)...)))
	c.answered(a)
}

// twilioRepeated: of two values of a name nobody signs which comes first.
func twilioRepeated(c *cell) {
	a := c.app()
	for _, more := range []string{"&Body=" + spoken + "second", "&From=%2B15550000000", "&MessageSid=SM" + zeros(32), "&To=" + url.QueryEscape(a.team)} {
		c.hit(a, a.signed(append(a.message(said{}), more...)))
	}
	c.accepted(a, a.signed(append(a.message(said{}), "&ToZip=1&ToZip=2"...)))
	c.answered(a)
}

// twilioURLs signs for URLs that are not the stored one: other spellings of it, that
// at which the request arrives, and one with a query that was not configured.
func twilioURLs(c *cell) {
	a := c.app()
	for _, other := range []struct {
		hint string
		edit func(u *url.URL)
	}{
		{"slash", func(u *url.URL) { u.Path += "/" }}, {"port", func(u *url.URL) { u.Host += ":443" }}, {"scheme", func(u *url.URL) { u.Scheme = "http" }},
		{"query", func(u *url.URL) { u.RawQuery = "" }}, {"", func(u *url.URL) { u.RawQuery = "v=2&from=twilio" }}, {"", func(u *url.URL) { u.RawQuery += "&x=1" }},
		{"", func(u *url.URL) { u.Host = "evil.example.net" }},
		{"request", func(u *url.URL) {
			u.Host, u.Path, u.RawQuery = strings.TrimPrefix(c.BaseURL, "http://"), "/webhooks/twilio/"+a.install, ""
		}},
	} {
		h := a.signed(a.message(said{}))
		u := a.typed()
		other.edit(u)
		r := &http.Request{Header: h.header, URL: u}
		mockvendor.SignRequest(r, "twilio", mockvendor.Proof{Secret: a.secret, At: c.now()}, h.body)
		h.header.Set("X-Forwarded-Host", u.Host)
		if r := c.hit(a, h); !strings.Contains(r.raw, `"url_hint":"`+other.hint+`"`) {
			c.bad("signed for %s: %s", u, r.raw)
		}
	}
	var log struct {
		Items []struct {
			URLHint string `json:"url_hint"`
		}
	}
	c.need(a.call(c, http.MethodGet, "/deliveries?install="+a.install, nil, &log))
	hints := map[string]bool{}
	for _, d := range log.Items {
		hints[d.URLHint] = true
	}
	if len(hints) != 6 {
		c.bad("the deliveries hint at %v", hints)
	}
	h := a.signed(a.message(said{}))
	h.query = a.typed().RawQuery + "&x=1" // added on the way, so nobody signed it
	c.hit(a, h)
	h = a.signed(a.message(said{}))
	h.query = a.typed().RawQuery
	c.accepted(a, h)
	c.answered(a)
}

// twilioMediaElsewhere: the message itself names an address that is not the account's
// media, and then the API redirects to one.
func twilioMediaElsewhere(c *cell) {
	a := c.listener()
	for _, at := range []string{c.trap.URL + "/", "http://169.254.169.254/", "https://api.twilio.com.example.com/", "https://api.twilio.com/2010-04-01/Accounts/AC" + zeros(32) + "/Messages/MM" + zeros(32) + "/Media/ME" + zeros(22)} {
		f := c.recording()
		name := f.name
		c.trap.put(name, f.bytes)
		f.name = at + name
		if !c.unheard(a, f, mockvendor.File{Type: "audio/ogg"}) {
			return
		}
		if n := c.trap.hits(name); n > 0 {
			c.bad("the private address was asked %d times", n)
		}
	}
	mediaElsewhere(c)
}

func twilioMutants() []mutant {
	const form, parse = "shared/webhook/urlform.go", "shared/channels/twilio/parse.go"
	return []mutant{
		hook(8, "a signature of URL and form has a length only", form, "if hmac.Equal(want, got) && match < 0 {", "if len(want) == len(got) && match < 0 {").saying(passed),
		hook(20, "an unsigned token makes it new", peopleFile, "session.DedupeKey(e.EventID, e.ContentKey)",
			`session.DedupeKey(e.EventID+fmt.Sprint(c.r.Input.Header.Values("I-Twilio-Idempotency-Token")), "")`, "\t\"context\"\n", "\t\"context\"\n\t\"fmt\"\n").saying(passed),
		hook(28, "no limit before the form is decoded", ingestFile, "if r.TooLarge || len(r.Input.Body) > MaxBody {", "if len(r.Input.Body) > 8*MaxBody {").saying(`401 "", want 413`),
		hook(30, "the first of two values counts", parse, "f.repeated = f.repeated || len(vs) > 1", "f.repeated = false").saying(passed),
		hook(32, "the URL is that of the request", ingestFile, "in.PublicURL, in.Config, in.Keys = c.inst.PublicURL,",
			`in.PublicURL, in.Config, in.Keys = "https://"+strings.Join(in.Header.Values("host"), "")+in.Path,`).saying(passed),
		hook(47, "opt-outs are not told", parse, "in.Reason = channel.RevokedByVendor", "in.Reason = channel.EventIgnored").saying(`200 "hook.event_ignored"`),
	}
}
