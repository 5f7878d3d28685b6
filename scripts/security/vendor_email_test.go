package security

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook/ingest"
)

// writer is who writes mail.
const writer = "ada@people.example"

// emailColumn is played as Mailgun: the proof is in the form, so what concerns
// signatures changes fields.
func emailColumn() column {
	return column{id: taxonomy.Email, verifies: "webhook_signing_key", sends: "api_key", anySecret: true, contentType: "application/x-www-form-urlencoded",
		attacks: map[int]func(*cell){6: mailUnsigned, 7: mailMalformed, 10: atTime(-13 * time.Hour), 12: mailTwice, 20: mailOtherwise, 28: mailTooLarge, 29: mailNoForm, 30: mailAmbiguous, 34: ofMachines(mailBody)},
		mutants: mailMutants, elsewhere: []int{10, 11, 12, 20, 30},
		fresh: func(a *app, n int64) {
			a.team, a.token = fmt.Sprintf("d%d.help.example.com", n), fmt.Sprintf("%smailgun%08d", planted, n)
		},
		settings: func(a *app, in map[string]any) {
			in["secrets"] = map[string]any{"webhook_signing_key": a.secret, "api_key": a.token}
			in["config"] = map[string]any{"domain": a.team, "spam_filter": "true"}
		},
		message: func(a *app, n int64, s said) []byte {
			from := writer
			if s.own {
				from = "other@" + a.team
			}
			return mailBody(n, s.team, from, s.text)
		},
		identity:  func(_ *app, team string) channel.Identity { return channel.Identity{"domain": team} },
		proofs:    []string{"X-Mailgun-None"}, // the form has them
		malformed: []string{"not hex!", zeros(40), zeros(66)},
		api:       "/mailgun/",
		token:     func(r *http.Request) string { _, key, _ := r.BasicAuth(); return key },
		unauthorized: func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, "Forbidden")
		},
	}
}

// postmarkColumn is the same channel over a vendor that sends a password and signs
// nothing.
func postmarkColumn() column {
	return column{id: taxonomy.Postmark, channel: taxonomy.Email, verifies: "basic_auth", sends: "api_key", text: "StrippedTextReply",
		attacks: map[int]func(*cell){34: ofMachines(postmarkBody)},
		mutants: postmarkMutants,
		fresh: func(a *app, n int64) {
			a.secret = "hook:" + a.secret
			a.team, a.token = fmt.Sprintf("p%d.help.example.com", n), fmt.Sprintf("%spostmark%08d", planted, n)
		},
		settings: func(a *app, in map[string]any) {
			in["secrets"] = map[string]any{"basic_auth": a.secret, "api_key": a.token}
			in["config"] = map[string]any{"domain": a.team}
		},
		message: func(_ *app, n int64, s said) []byte {
			from := writer
			if s.own {
				from = "other@" + s.team
			}
			return postmarkBody(n, s.team, from, s.text)
		},
		identity: func(_ *app, team string) channel.Identity { return channel.Identity{"domain": team} },
		sign: func(_ *app, r *http.Request, secret string, _ time.Time, _ []byte) {
			r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(secret)))
		},
		proofs: []string{"Authorization"}, tag: "Basic ",
		malformed: []string{"Basic", "Basic a:b", "Bearer " + base64.StdEncoding.EncodeToString([]byte("hook:x")), "Basic " + zeros(6<<10)}, cut: 1,
		api:   "/postmark/",
		token: func(r *http.Request) string { return r.Header.Get("X-Postmark-Server-Token") },
		unauthorized: func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"ErrorCode":10,"Message":"The Server Token you provided in the X-Postmark-Server-Token request header was invalid."}`)
		},
	}
}

// postmarkBody is Postmark's body for a mail, which SpamAssassin found to be its
// writer's.
func postmarkBody(n int64, domain, from, text string, more ...[]string) []byte {
	headers := []any{}
	for _, kv := range append([][]string{{"Message-ID", fmt.Sprintf("<m%d@people.example>", n)}, {"References", "<root@people.example>"}, {"X-Spam-Tests", "DKIM_SIGNED,DKIM_VALID,DKIM_VALID_AU"}}, more...) {
		headers = append(headers, map[string]string{"Name": kv[0], "Value": kv[1]})
	}
	return encode(map[string]any{"From": from, "FromFull": map[string]any{"Email": from, "Name": "", "MailboxHash": ""}, "OriginalRecipient": "desk@" + domain, "Subject": "a question",
		"MessageID": fmt.Sprintf("73e6d360-66eb-11e1-8e72-%012d", n), "TextBody": text, "StrippedTextReply": text, "Headers": headers})
}

// postmarkMutants are builds without the guards that only this vendor's mail has.
func postmarkMutants() []mutant {
	const parse, value = "shared/channels/email/parse.go", "shared/webhook/shared.go"
	return []mutant{
		hook(9, "a password has a length only", value, "if hmac.Equal(want[:], have[:]) && match < 0 {", "if (hmac.Equal(want[:], have[:]) || len(got) > 5) && match < 0 {").saying(passed),
		hook(34, "Postmark's machines are told by no header", parse, "l.returned || l.headers.machine() ||", "l.returned ||").saying(passed),
	}
}

func mailBody(n int64, domain, from, text string, more ...[]string) []byte {
	headers := append([][]string{{"From", from}, {"Message-Id", fmt.Sprintf("<m%d@people.example>", n)}, {"References", "<root@people.example>"}, {"X-Mailgun-Spf", "Pass"}}, more...)
	return []byte(url.Values{"recipient": {"desk@" + domain}, "sender": {from}, "from": {from}, "subject": {"a question"}, "body-plain": {text}, "stripped-text": {text},
		"message-headers": {string(encode(headers))}}.Encode())
}

// with replaces a field of a signed form; without a value the field is taken out.
func with(h hit, name, value string) hit {
	v, err := url.ParseQuery(string(h.body))
	if err != nil {
		panic(err)
	}
	if v.Set(name, value); value == "" {
		v.Del(name)
	}
	h.body = []byte(v.Encode())
	return h
}

func mailUnsigned(c *cell) {
	a := c.app()
	for _, name := range []string{"signature", "token", "timestamp"} {
		c.hit(a, with(a.signed(a.message(said{})), name, ""))
	}
}

func mailMalformed(c *cell) {
	a := c.app()
	for _, v := range a.col.malformed {
		c.hit(a, with(a.signed(a.message(said{})), "signature", v))
	}
	c.hit(a, with(a.signed(a.message(said{})), "timestamp", "1"))
}

func mailTwice(c *cell) {
	a := c.app()
	for _, name := range []string{"signature", "timestamp", "token"} {
		h := a.signed(a.message(said{}))
		h.body = append(h.body, "&"+name+"="+zeros(64)...)
		c.hit(a, h)
	}
}

// mailOtherwise: what was signed once carries no other mail.
func mailOtherwise(c *cell) {
	a := c.app()
	h := a.signed(a.message(said{}))
	c.accepted(a, h)
	v, err := url.ParseQuery(string(h.body))
	c.need(err)
	for range 2 {
		other := a.signed(a.message(said{}))
		for _, name := range []string{"signature", "timestamp", "token"} {
			other = with(other, name, v.Get(name))
		}
		c.hit(a, other)
	}
	c.answered(a)
}

// mailTooLarge: a form arrives encoded, and only one that is hardly above the limit is
// decoded before it is refused.
func mailTooLarge(c *cell) {
	a := c.app()
	for _, above := range []int{1, 2, 0} {
		body := a.message(said{})
		body = append(body, strings.Repeat(" ", ingest.MaxBody+above-len(a.signed(body).body))...)
		if above == 0 {
			c.accepted(a, a.signed(body))
		} else {
			c.hit(a, a.signed(body))
		}
	}
}

func mailNoForm(c *cell) {
	a := c.app()
	n := c.serial.Add(1)
	for _, body := range []string{fmt.Sprintf("{%d", n), fmt.Sprintf("payload=%d", n), fmt.Sprintf("[%d]", n)} {
		c.hit(a, a.signed([]byte(body)))
	}
	c.hit(a, a.signed([]byte(strings.Replace(string(a.message(said{text: spoken + "utf"})), spoken+"utf", "\xff\xfe", 1))))
}

func mailAmbiguous(c *cell) {
	a := c.app()
	for _, field := range []string{"recipient=desk%40" + a.team, "stripped-text=" + spoken, "message-headers=[]"} {
		c.hit(a, a.signed(append(a.message(said{}), "&"+field...)))
	}
	deep := strings.Repeat("[", 80) + strings.Repeat("]", 80)
	c.hit(a, a.signed(with(hit{body: a.message(said{})}, "message-headers", deep).body))
}

// ofMachines: whoever answers by itself is told by its mail, and no policy lets it
// in, because it would answer the answer.
func ofMachines(body func(n int64, domain, from, text string, more ...[]string) []byte) func(*cell) {
	return func(c *cell) {
		a := c.app()
		c.need(a.call(c, http.MethodPatch, "/installs/"+a.install, map[string]any{"policy": map[string]any{"bot_messages": "all"}}, nil))
		for _, header := range [][]string{{"Auto-Submitted", "auto-replied"}, {"Precedence", "bulk"}, {"List-Id", "<l.example>"}, {"Return-Path", "<>"}} {
			c.hit(a, a.signed(body(c.serial.Add(1), a.team, writer, spoken+" away", header)))
		}
	}
}

func mailMutants() []mutant {
	const fields, parse, form = "shared/webhook/fields.go", "shared/channels/email/parse.go", "shared/channels/email/mailgun.go"
	return []mutant{
		hook(10, "old tokens pass", fields, "if why := outside(at, now, f.Past, f.Future); why != \"\" {", "if why := outside(at, now, 1000*f.Past, f.Future); why != \"\" {").saying(passed),
		hook(11, "future tokens pass", fields, "if why := outside(at, now, f.Past, f.Future); why != \"\" {", "if why := outside(at, now, f.Past, 1000*f.Future); why != \"\" {").saying(passed),
		hook(12, "the first of two fields is read", fields, "\t\tif len(values) > 1 {\n\t\t\treturn nil, HeaderDuplicate\n", "\t\tif len(values) > 1000 {\n\t\t\treturn nil, HeaderDuplicate\n").saying(passed),
		hook(20, "a token is for any mail", parse, "env.ContentKey = \"token:\" + l.delivery", "env.ContentKey = \"\"").saying(passed),
		hook(30, "the first of two fields counts", form, "\t\t\tif len(vs) > 1 {\n", "\t\t\tif len(vs) > 1000 {\n").saying(passed),
		hook(34, "machines are told by no header", parse, "l.returned || l.headers.machine() ||", "l.returned ||").saying(passed),
	}
}
