package email

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/secret"
)

func addressed(t testing.TB, a address) string {
	t.Helper()
	b, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestMailgunSend: one mail, to the writer alone, in the thread, that no other machine
// answers; the same part has the same id for good.
func TestMailgunSend(t *testing.T) {
	var got url.Values
	var path, user, key string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, _ = url.ParseQuery(string(b))
		path = r.URL.Path
		user, key, _ = r.BasicAuth()
		_, _ = io.WriteString(w, `{"id":"<1@help.example.com>","message":"Queued. Thank you."}`)
	}))
	defer s.Close()
	to := addressed(t, address{From: desk, To: ada, Subject: "Re: grün", ID: own, Refs: []string{"<r@x.example>", own}})
	c := channel.Call{HTTP: s.Client(), BaseURL: s.URL, Token: secret.FromString("key-1"), Config: config(at)}
	if id, f := (mailgun{}).Send(t.Context(), c, channel.Outgoing{To: to, Text: "hello\nthere", TurnID: "t1", Part: 1}); f != nil || id != "<1@help.example.com>" {
		t.Fatalf("%s %+v", id, f)
	}
	first := got.Get("h:Message-Id")
	want := url.Values{"from": {desk}, "to": {ada}, "subject": {"Re: grün"}, "text": {"hello\nthere"}, "o:tracking": {"no"}, "h:Message-Id": {first},
		"h:Auto-Submitted": {"auto-replied"}, "h:X-Auto-Response-Suppress": {"All"}, "h:In-Reply-To": {own}, "h:References": {"<r@x.example> " + own}}
	if got.Encode() != want.Encode() || path != "/v3/"+at+"/messages" || user != "api" || key != "key-1" || !oneID(first) || domainOf(first) != at+">" {
		t.Errorf("%s as %s %s: %v", path, user, key, got)
	}
	_, _ = (mailgun{}).Send(t.Context(), c, channel.Outgoing{To: to, Text: "hello", TurnID: "t1", Part: 1})
	if got.Get("h:Message-Id") != first {
		t.Errorf("another id for the same part: %s", got.Get("h:Message-Id"))
	}
	_, _ = (mailgun{}).Send(t.Context(), c, channel.Outgoing{To: to, Text: "hello", TurnID: "t1", Part: 2})
	if got.Get("h:Message-Id") == first {
		t.Error("two parts have one id")
	}
}

// TestAnAnswerNamesItsThread: whoever answers a mail of ours, and writes In-Reply-To
// alone or shortened References, goes on in its thread; somebody else who names it has a
// conversation of his own, and an id that is not one of ours is what it says.
func TestAnAnswerNamesItsThread(t *testing.T) {
	first := parsed(t, posted(append(proof(), [2]string{"References", "<root@x.example> <mid@x.example>"})), config(at)).Envelope
	m, f := compose(config(at), channel.Outgoing{To: first.ReplyTo, Text: "x", TurnID: "t1", Part: 1})
	if f != nil || first.Thread != "root@x.example" {
		t.Fatalf("%+v %+v", first, f)
	}
	ours := m.headers[0][1]
	if !oneID(ours) {
		t.Fatalf("%q", ours)
	}
	for name, hs := range map[string]headers{
		"In-Reply-To alone": {{"In-Reply-To", ours}}, "References alone": {{"References", ours}}, "shortened": {{"References", "<mid@x.example> " + ours}, {"In-Reply-To", ours}},
		"the domain in capitals": {{"In-Reply-To", strings.Replace(ours, at, strings.ToUpper(at), 1)}},
	} {
		env := parsed(t, posted(append(proof(), hs...)), config(at)).Envelope
		var a address
		if err := json.Unmarshal([]byte(env.ReplyTo), &a); err != nil || env.Space != first.Space || env.Thread != first.Thread || a.Refs[0] != "<root@x.example>" || a.Refs[len(a.Refs)-1] != own {
			t.Errorf("%s: %+v, %v", name, env, a)
		}
	}
	eve := parsed(t, posted(append(headers{{"X-Mailgun-Spf", "Pass"}}, [2]string{"In-Reply-To", ours}), "from", "eve@people.example", "sender", "eve@people.example"), config(at)).Envelope
	if eve.Space != "eve@people.example" || eve.Space == first.Space {
		t.Errorf("%+v", eve)
	}
	sum, enc := strings.Repeat("a", 40), base64.RawURLEncoding.EncodeToString
	for name, id := range map[string]string{
		"another domain": strings.Replace(ours, at, "elsewhere.example", 1), "no root": "<" + sum + "@" + at + ">", "no hash": "<x." + enc([]byte("r@x")) + "@" + at + ">", "no base64": "<" + sum + ".!!@" + at + ">",
		"two ids": "<" + sum + "." + enc([]byte("a@b> <c@d")) + "@" + at + ">", "a line break": "<" + sum + "." + enc([]byte("a@b\r\nBcc: c")) + "@" + at + ">",
		"an empty root": "<" + sum + "." + "@" + at + ">", "another person's": "<" + sum + "." + enc([]byte("<a@b>")) + "@" + at + ">",
	} {
		env := parsed(t, posted(append(proof(), [2]string{"In-Reply-To", id})), config(at)).Envelope
		if env.Thread != strings.Trim(id, "<>") {
			t.Errorf("%s: %s", name, env.Thread)
		}
	}
	// What does not fit is left out.
	for n := range maxID {
		root := "<" + strings.Repeat("r", n+1) + ">"
		id := messageID(channel.Outgoing{TurnID: "t", Part: 1}, []string{root}, at)
		if got, ok := rootOf(id, at); !oneID(id) || ok && got != root || !ok && n < 120 {
			t.Fatalf("%d: %s", n, id)
		}
	}
}

// TestRegion: a key of the one region is not sent to the other.
func TestRegion(t *testing.T) {
	to := addressed(t, address{From: desk, To: ada})
	for name, c := range map[string]struct{ base, region, host string }{
		"us": {mailgunBase, "", mailgunHost}, "named": {mailgunBase, "us", mailgunHost}, "eu": {mailgunBase, "eu", mailgunHostEU}, "moved": {"https://127.0.0.1:9", "eu", "127.0.0.1:9"},
	} {
		host := ""
		client := &http.Client{Transport: roundTrip(func(r *http.Request) { host = r.URL.Host })}
		conf := config(at, region, c.region)
		_, _ = (mailgun{}).Send(t.Context(), channel.Call{HTTP: client, BaseURL: c.base, Token: secret.FromString("k"), Config: conf}, channel.Outgoing{To: to, Text: "x"})
		if host != c.host {
			t.Errorf("%s: %s", name, host)
		}
	}
}

type roundTrip func(*http.Request)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { f(r); return nil, io.EOF }

// TestNothingIsInjected: what could begin a line of its own, or send to others, is
// refused before anybody is called.
func TestNothingIsInjected(t *testing.T) {
	whole := address{From: desk, To: ada, Subject: "Re: x", ID: own, Refs: []string{own}}
	for name, c := range map[string]struct {
		edit func(*address)
		code string
	}{
		"subject":          {func(a *address) { a.Subject = "x\r\nBcc: eve@evil.example" }, "header_malformed"},
		"bare line feed":   {func(a *address) { a.Subject = "x\nBcc: eve@evil.example" }, "header_malformed"},
		"line separator":   {func(a *address) { a.Subject = "x\u2028y" }, "header_malformed"},
		"endless subject":  {func(a *address) { a.Subject = string(make([]byte, 400)) }, "header_malformed"},
		"id":               {func(a *address) { a.ID = "<a@b>\r\nBcc: eve@evil.example" }, "header_malformed"},
		"no id":            {func(a *address) { a.ID = "a@b" }, "header_malformed"},
		"two ids":          {func(a *address) { a.ID = "<a@b><c@d>" }, "header_malformed"},
		"reference":        {func(a *address) { a.Refs = append(a.Refs, "<a@b>\n") }, "header_malformed"},
		"references":       {func(a *address) { a.Refs = make([]string, maxRefs+3) }, "header_malformed"},
		"two recipients":   {func(a *address) { a.To = ada + ",eve@evil.example" }, "address_malformed"},
		"named recipient":  {func(a *address) { a.To = "Ada <" + ada + ">" }, "address_malformed"},
		"recipient's line": {func(a *address) { a.To = ada + "\r\nBcc: eve@evil.example" }, "address_malformed"},
		"sender's line":    {func(a *address) { a.From = desk + "\r\nBcc: eve@evil.example" }, "address_malformed"},
		"foreign sender":   {func(a *address) { a.From = "ceo@people.example" }, "address_foreign"},
		"to ourselves":     {func(a *address) { a.To = "sales@" + at }, "address_foreign"},
		"nobody":           {func(a *address) { a.To = "" }, "address_malformed"},
	} {
		a := whole
		c.edit(&a)
		client := &http.Client{Transport: roundTrip(func(*http.Request) { t.Errorf("%s: somebody was called", name) })}
		_, f := (mailgun{}).Send(t.Context(), channel.Call{HTTP: client, BaseURL: mailgunBase, Token: secret.FromString("k"), Config: config(at)}, channel.Outgoing{To: addressed(t, a), Text: "x"})
		if f == nil || *f != (channel.Failure{Certainty: channel.Refused, Code: c.code}) {
			t.Errorf("%s: %+v", name, f)
		}
	}
	if _, f := compose(config(at), channel.Outgoing{To: ada}); f == nil || f.Code != "address_malformed" {
		t.Errorf("an address alone: %+v", f)
	}
}

// FuzzCompose: whatever an answer is addressed to, the head holds our lines only.
func FuzzCompose(f *testing.F) {
	f.Add(desk, ada, "Re: x", own, own)
	f.Add(desk, ada, "x\r\nBcc: y", "<a@b>", "")
	f.Fuzz(func(t *testing.T, from, to, subject, id, ref string) {
		m, failure := compose(config(at), channel.Outgoing{To: addressed(t, address{From: from, To: to, Subject: subject, ID: id, Refs: []string{ref}}), Text: "x"})
		if failure == nil {
			safe(t, m)
		}
	})
}
