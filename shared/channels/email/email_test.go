package email

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channel/channeltest"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

const (
	at    = "help.example.com"
	desk  = "desk@" + at
	ada   = "ada@people.example"
	own   = "<CAF1@people.example>"
	token = "50charactersoftoken0123456789"
)

func config(name string, more ...string) webhook.Config {
	c := webhook.Config{vendor: {string(taxonomy.Mailgun)}, domain: {name}, spamFilter: {"true"}}
	for k := 0; k+1 < len(more); k += 2 {
		c[more[k]] = []string{more[k+1]}
	}
	return c
}

// proof is what Mailgun's spam filter adds.
func proof() headers { return headers{{"X-Mailgun-Spf", "Pass"}} }

// posted is a mail as Mailgun posts it; set replaces fields, and an empty value of one
// leaves it out.
func posted(hs headers, set ...string) string {
	from := "Ada Lovelace <" + ada + ">"
	v := url.Values{"recipient": {desk}, "sender": {ada}, "from": {from}, "subject": {""}, "body-plain": {"hi\r\n\r\n> older"}, "stripped-text": {"hi"},
		"timestamp": {"1772600767"}, "token": {token}, "signature": {"x"}}
	for k := 0; k+1 < len(set); k += 2 {
		if v.Set(set[k], set[k+1]); set[k+1] == "" {
			v.Del(set[k])
		}
	}
	if _, given := v["message-headers"]; !given {
		all := append(headers{{"From", v.Get("from")}, {"Message-Id", own}}, hs...)
		b, _ := json.Marshal(all)
		v.Set("message-headers", string(b))
	}
	return v.Encode()
}

func mailgunNow() channel.Entry { return Entry().For(config(at)) }

func TestMailgun(t *testing.T) {
	ev := func(kind channel.Kind, why webhook.Reason, hs headers, set ...string) channeltest.Event {
		return channeltest.Event{Body: posted(append(proof(), hs...), set...), Kind: kind, Reason: why}
	}
	machine := func(name, value string) channeltest.Event {
		return ev(channel.Ignored, channel.BotIgnored, headers{{name, value}})
	}
	refused := func(status int, body, code string, rejected bool) channeltest.Answer {
		return channeltest.Answer{Status: status, Body: body, Failure: channel.Failure{Certainty: channel.Refused, Code: code, TokenRejected: rejected}}
	}
	to, _ := json.Marshal(address{From: desk, To: ada, Subject: "Re: x", ID: own, Refs: []string{own}})
	channeltest.Run(t, channeltest.Harness{
		Entry: mailgunNow(), Config: config(at), Foreign: config("other.example.com"), To: string(to), NoEdits: true, NoRemovals: true,
		Events: map[string]channeltest.Event{
			"text":          ev(channel.Message, "", nil),
			"no stripped":   ev(channel.Message, "", nil, "stripped-text", ""),
			"subject only":  ev(channel.Message, "", nil, "stripped-text", "", "body-plain", "", "subject", "hi"),
			"nothing":       ev(channel.Ignored, channel.EventIgnored, nil, "stripped-text", " ", "body-plain", ""),
			"by hand":       ev(channel.Message, "", headers{{"Auto-Submitted", "no"}}),
			"suppress none": ev(channel.Message, "", headers{{"X-Auto-Response-Suppress", "None"}}),
			"own address":   ev(channel.Ignored, channel.SelfIgnored, nil, "from", desk),
			"own domain":    ev(channel.Ignored, channel.SelfIgnored, nil, "from", "Robot <other@"+at+">"),
			"no sender":     ev(channel.Ignored, channel.BotIgnored, nil, "sender", ""),
			"empty sender":  ev(channel.Ignored, channel.BotIgnored, nil, "sender", "<>"),
			"daemon":        ev(channel.Ignored, channel.BotIgnored, nil, "from", "MAILER-DAEMON@people.example"),
			"daemon sends":  ev(channel.Ignored, channel.BotIgnored, nil, "sender", "mailer-daemon@people.example"),
			"no reply":      ev(channel.Ignored, channel.BotIgnored, nil, "from", "no-reply@people.example"),
			"auto":          machine("auto-submitted", "auto-replied"),
			"generated":     machine("Auto-Submitted", "auto-generated; owner-email=\"x\""),
			"bulk":          machine("Precedence", "bulk"),
			"junk":          machine("precedence", "JUNK"),
			"list":          machine("Precedence", "list"),
			"list id":       machine("List-Id", "<l.example>"),
			"newsletter":    machine("List-Unsubscribe", "<mailto:x@y.example>"),
			"suppress":      machine("X-Auto-Response-Suppress", "All"),
			"out of office": machine("X-Autoreply", "yes"),
			"return path":   machine("Return-Path", "<>"),
			"bounce":        machine("Content-Type", "multipart/report; report-type=delivery-status"),
			"nobody":        ev(channel.Ignored, channel.EventIgnored, nil, "from", "somebody"),
			"two writers":   ev(channel.Ignored, channel.EventIgnored, nil, "from", "a@x.example, b@x.example"),
			"not proven":    {Body: posted(nil), Kind: channel.Ignored, Reason: channel.SenderUnproven},
		},
		Malformed: map[string]string{
			"no token": posted(nil, "token", ""), "no recipient": posted(nil, "recipient", ""), "odd recipient": posted(nil, "recipient", "desk"),
			"no headers": posted(nil, "message-headers", "x"), "headers no list": posted(nil, "message-headers", `{"a":1}`), "odd header": posted(nil, "message-headers", `[["a"]]`),
			"more behind": posted(nil, "message-headers", `[] []`), "not utf-8": posted(nil, "stripped-text", "\xff"), "twice": posted(nil) + "&recipient=" + desk, "escape": "recipient=%zz",
			"too many": posted(nil, "message-headers", "["+strings.TrimSuffix(strings.Repeat(`["a","b"],`, maxHeaders+1), ",")+"]"),
		},
		Posted: `{"id":"<20260922.1@help.example.com>","message":"Queued. Thank you."}`, PostedID: "<20260922.1@help.example.com>",
		Answers: map[string]channeltest.Answer{
			"key":        refused(401, "Forbidden", "http_401", true),
			"domain off": refused(403, `{"message":"Domain is disabled"}`, "http_403", false),
			"no domain":  refused(404, `{"message":"Domain not found"}`, "http_404", false),
			"malformed":  refused(400, `{"message":"to parameter is not a valid address"}`, "http_400", false),
			"moved":      refused(302, "", "http_302", false),
			"no id":      {Status: 200, Body: `{"message":"Queued. Thank you."}`, Failure: channel.Failure{Certainty: channel.Ambiguous, Code: "answer_without_id"}},
			"odd id":     {Status: 200, Body: `{"id":"a b"}`, Failure: channel.Failure{Certainty: channel.Ambiguous, Code: "answer_without_id"}},
		},
	})
}

func parsed(t *testing.T, body string, c webhook.Config) channel.Inbound {
	t.Helper()
	all, err := Entry().For(c).Adapter.Parse(webhook.Input{Body: []byte(body), Config: c})
	if err != nil || len(all) != 1 {
		t.Fatalf("%d %v", len(all), err)
	}
	return all[0]
}

// TestEnvelope: whose conversation a mail is in, to which address it went, and how it
// is answered.
func TestEnvelope(t *testing.T) {
	first := parsed(t, posted(proof(), "subject", "Price\r\n of\ttea", "recipient", "Desk+Sales@HELP.example.com", "from", "\"Ada\" <ADA+x@People.example>"), config(at)).Envelope
	if first.Provider != taxonomy.Email || first.Account != at || first.Team != desk || first.Space != "ada+x@people.example" || first.Actor != first.Space || !first.Direct ||
		first.Text != "Price of tea\n\nhi" || first.Message != own || first.Thread != "CAF1@people.example" || len(first.Addressed) != 1 || first.Addressed[0] != "sales" ||
		!first.SentAt.Equal(time.Unix(1772600767, 0)) || first.ContentKey != "token:"+token {
		t.Errorf("%+v", first)
	}
	var a address
	if err := json.Unmarshal([]byte(first.ReplyTo), &a); err != nil || a.From != "desk+sales@"+at || a.To != "ada+x@people.example" || a.Subject != "Re: Price of tea" || a.ID != own || strings.Join(a.Refs, " ") != own {
		t.Errorf("%+v %v", a, err)
	}
	later := parsed(t, posted(append(proof(), headers{{"In-Reply-To", "<r1@help.example.com>"}, {"References", "<root@x.example> <r1@help.example.com>"}}...), "subject", "RE: Price"), config(at)).Envelope
	if later.Thread != "root@x.example" || later.Text != "hi" {
		t.Errorf("%+v", later)
	}
	if err := json.Unmarshal([]byte(later.ReplyTo), &a); err != nil || a.Subject != "RE: Price" || strings.Join(a.Refs, " ") != "<root@x.example> <r1@help.example.com> "+own {
		t.Errorf("%+v %v", a, err)
	}
	only := parsed(t, posted(append(proof(), [2]string{"In-Reply-To", "<r1@help.example.com>"})), config(at)).Envelope
	if only.Thread != "r1@help.example.com" {
		t.Errorf("%+v", only)
	}
	long := parsed(t, posted(proof(), "stripped-text", strings.Repeat("ö", maxText)), config(at)).Envelope
	if len(long.Text) > maxText || len(long.Text) < maxText-4 || strings.ContainsRune(long.Text, '\uFFFD') {
		t.Errorf("%d bytes of text", len(long.Text))
	}
}

// TestRepetitions: the token that was signed is used once whatever else is changed;
// one mail that comes under two tokens is one event, but nobody else's.
func TestRepetitions(t *testing.T) {
	read := func(set ...string) channel.Envelope { return parsed(t, posted(proof(), set...), config(at)).Envelope }
	a, b := read(), read("stripped-text", "other", "from", "eve@people.example")
	if a.ContentKey == "" || a.ContentKey != b.ContentKey || a.EventID == b.EventID {
		t.Errorf("%+v\n%+v", a, b)
	}
	if again := read("token", "another"); again.EventID != a.EventID || again.ContentKey == a.ContentKey {
		t.Errorf("%+v", again)
	}
	if elsewhere := read("recipient", "sales@"+at); elsewhere.EventID == a.EventID {
		t.Errorf("%+v", elsewhere)
	}
	none := `[["From","` + ada + `"],["X-Mailgun-Spf","Pass"]]`
	x, y := read("message-headers", none), read("message-headers", none, "token", "another")
	if x.EventID == "" || x.EventID == y.EventID || x.Thread != "" {
		t.Errorf("%+v\n%+v", x, y)
	}
}

// TestMachinesHaveNoText: no policy can have them answered.
func TestMachinesHaveNoText(t *testing.T) {
	for _, in := range []channel.Inbound{parsed(t, posted(append(proof(), [2]string{"Auto-Submitted", "auto-replied"})), config(at)), parsed(t, posted(proof(), "from", desk), config(at))} {
		if e := in.Envelope; e.Text != "" || e.ReplyTo != "" || !e.IsBot && !e.SelfAuthored {
			t.Errorf("%+v", e)
		}
	}
}

// TestProof: a writer is who the vendor checked, for the domain of From, told once.
func TestProof(t *testing.T) {
	spf, dkim := func(v string) [2]string { return [2]string{"X-Mailgun-Spf", v} }, [2]string{"X-Mailgun-Dkim-Check-Result", "Pass"}
	sig := func(d string) [2]string {
		return [2]string{"Dkim-Signature", "v=1; a=rsa-sha256; d=" + d + "; s=k; bh=x"}
	}
	mark := func(c webhook.Config, value string) webhook.Config {
		delete(c, spamFilter)
		if value != "" {
			c[spamFilter] = []string{value}
		}
		return c
	}
	for name, c := range map[string]struct {
		headers headers
		set     []string
		config  webhook.Config
		ok      bool
	}{
		"spf":                     {headers{spf("Pass")}, nil, config(at), true},
		"spf of a bounce domain":  {headers{spf("Pass")}, []string{"sender", "b@bounce.people.example"}, config(at), true},
		"spf of somebody else":    {headers{spf("Pass")}, []string{"sender", "eve@evil.example"}, config(at), false},
		"spf of a like name":      {headers{spf("Pass")}, []string{"sender", "eve@evilpeople.example"}, config(at), false},
		"spf of the parent":       {headers{spf("Pass")}, []string{"sender", "eve@example.example", "from", "a@x.example.example"}, config(at), false},
		"spf twice":               {headers{spf("Pass"), spf("Pass")}, nil, config(at), false},
		"spf fails beside a pass": {headers{spf("Pass"), spf("Fail")}, nil, config(at), false},
		"spf neutral":             {headers{spf("Neutral")}, nil, config(at), false},
		"dkim":                    {headers{dkim, sig("people.example"), spf("Fail")}, nil, config(at), true},
		"dkim of a subdomain":     {headers{dkim, sig("mail.people.example")}, nil, config(at), true},
		"dkim of somebody else":   {headers{dkim, sig("evil.example")}, nil, config(at), false},
		"one of two signatures":   {headers{dkim, sig("people.example"), sig("evil.example")}, nil, config(at), false},
		"dkim without signature":  {headers{dkim}, nil, config(at), false},
		"dkim twice":              {headers{dkim, dkim, sig("people.example")}, nil, config(at), false},
		"dkim failed":             {headers{{"X-Mailgun-Dkim-Check-Result", "Fail"}, sig("people.example")}, nil, config(at), false},
		"a second From":           {headers{spf("Pass"), {"From", "eve@evil.example"}}, nil, config(at), false},
		"no filter":               {headers{spf("Pass")}, nil, mark(config(at), ""), false},
		"filter off":              {headers{spf("Pass")}, nil, mark(config(at), "false"), false},
		"nobody checked":          {nil, nil, config(at), false},
		"anybody may write":       {nil, nil, config(at, allow, "true"), true},
		"anybody, machine":        {headers{{"Precedence", "bulk"}}, nil, config(at, allow, "true"), false},
	} {
		in := parsed(t, posted(c.headers, c.set...), c.config)
		if (in.Kind == channel.Message) != c.ok || !c.ok && in.Envelope.Text != "" {
			t.Errorf("%s: %+v", name, in)
		}
	}
}

// TestVendors: the vendor is told by what verifies, and an entry asks for its secrets.
func TestVendors(t *testing.T) {
	e := Entry()
	if got := e.Told(map[string]secret.Text{basicAuth: secret.FromString("k")}); got.Get(vendor) != string(taxonomy.Postmark) {
		t.Errorf("%v", got)
	}
	if got := e.Told(map[string]secret.Text{signingKey: secret.FromString("k")}); got.Get(vendor) != string(taxonomy.Mailgun) || e.Told(nil) != nil {
		t.Errorf("%v", got)
	}
	required := func(e channel.Entry) (out string) {
		for _, f := range e.Secrets {
			if f.Required {
				out += f.Name + " "
			}
		}
		return out
	}
	if got := required(e); got != apiKey+" " {
		t.Errorf("of any: %s", got)
	}
	if m := e.For(config(at)); required(m) != signingKey+" "+apiKey+" " || m.Vendor != taxonomy.Mailgun || m.Reached() != taxonomy.Mailgun || e.Reached() != taxonomy.Email {
		t.Errorf("%s %s", required(m), m.Vendor)
	}
	if m := e.For(webhook.Config{vendor: {string(taxonomy.Postmark)}}); required(m) != basicAuth+" "+apiKey+" " || m.Reached() != taxonomy.Postmark || m.VerifySecret != basicAuth {
		t.Errorf("%s %s", required(m), m.Vendor)
	}
	if none := e.For(webhook.Config{vendor: {"somebody"}}); none.Vendor != "" {
		t.Errorf("%s", none.Vendor)
	}
}

// FuzzParse: whatever comes, it is refused or gives one bounded event, and no answer
// of it can begin a line of its own.
func FuzzParse(f *testing.F) {
	for _, b := range []string{posted(proof()), posted(proof(), "subject", "a\r\nBcc: b@c.example"), posted(append(proof(), [2]string{"References", "<a@b> <c@d>"})),
		posted(nil, "from", "=?x?q?a?= <a@b.example>"), "token=a&recipient=a@b.example&message-headers=[]", "a", ""} {
		f.Add([]byte(b), "")
	}
	f.Add([]byte("--x\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\na\r\n--x--\r\n"), "multipart/form-data; boundary=x")
	f.Fuzz(func(t *testing.T, b []byte, kind string) {
		h := webhook.Header{}
		if kind != "" {
			h.Add("content-type", kind)
		}
		c := config(at, allow, "true")
		all, err := mailgun{}.Parse(webhook.Input{Body: b, Header: h, Config: c})
		if err == nil && len(all) != 1 {
			t.Fatalf("%d events", len(all))
		}
		for _, in := range all {
			bounded(t, in, c)
		}
	})
}

// safe holds that a mail's head has no other lines than we wrote.
func safe(t *testing.T, m outgoing) {
	t.Helper()
	for _, kv := range append(headers{{"From", m.from}, {"To", m.to}, {"Subject", m.subject}}, m.headers...) {
		for _, r := range kv[0] + kv[1] {
			if r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 {
				t.Fatalf("%s: %q", kv[0], kv[1])
			}
		}
	}
	if strings.ContainsAny(m.from+m.to, " ,;<>()\"") || strings.Count(m.to, "@") != 1 {
		t.Fatalf("%q to %q", m.from, m.to)
	}
}

// bounded holds that an event is whole and bounded, and can be answered safely.
func bounded(t *testing.T, in channel.Inbound, c webhook.Config) {
	t.Helper()
	e := in.Envelope
	if e.EventID == "" || in.Identity[domain] == "" || len(e.Text) > maxText || len(e.Thread) > maxID || len(e.Message) > maxID || len(e.ReplyTo) > 64<<10 {
		t.Fatalf("%+v", in)
	}
	if in.Kind != channel.Message {
		return
	}
	if e.Space == "" || e.Actor == "" || e.Empty() || !channeltest.Bounded(e) || e.Text != strings.ToValidUTF8(e.Text, "") {
		t.Fatalf("%+v", in)
	}
	c[domain] = []string{e.Account}
	m, failure := compose(c, channel.Outgoing{To: e.ReplyTo, Text: "x", TurnID: "t", Part: 1})
	if failure != nil && !strings.HasSuffix(e.Space, "@"+e.Account) {
		t.Fatalf("%+v cannot be answered: %+v", e, failure)
	}
	if failure == nil {
		safe(t, m)
	}
}
