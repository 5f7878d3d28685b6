package email

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channel/channeltest"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

const delivery = "73e6d360-66eb-11e1-8e72-a8904824019b"

func withPostmark(name string) webhook.Config {
	return webhook.Config{vendor: {string(taxonomy.Postmark)}, domain: {name}}
}

// received is a mail as Postmark posts it (postmarkapp.com/developer/webhooks/inbound-webhook,
// read 2026-11); set replaces members, and an empty value of one leaves it out.
func received(hs headers, set ...string) string {
	heads := []any{map[string]string{"Name": "Message-ID", "Value": own}}
	for _, kv := range hs {
		heads = append(heads, map[string]string{"Name": kv[0], "Value": kv[1]})
	}
	m := map[string]any{"From": ada, "FromName": "Ada", "FromFull": map[string]any{"Email": ada, "Name": "Ada", "MailboxHash": ""}, "To": desk, "OriginalRecipient": desk, "Subject": "",
		"MessageID": delivery, "TextBody": "hi\r\n\r\n> older", "StrippedTextReply": "hi", "HtmlBody": "<p>hi", "Headers": heads, "Attachments": []any{}}
	for k := 0; k+1 < len(set); k += 2 {
		switch {
		case set[k] == "from":
			m["FromFull"] = map[string]any{"Email": set[k+1]}
		case set[k+1] == "":
			delete(m, set[k])
		default:
			m[set[k]] = json.RawMessage(set[k+1])
		}
	}
	b, _ := json.Marshal(m)
	return string(b)
}

func spf(result, from string) [2]string {
	return [2]string{"Received-SPF", result + " (sender SPF authorized) identity=mailfrom; client-ip=209.85.160.180; helo=mail.example; envelope-from=" + from + "; receiver=abc@inbound.postmarkapp.com"}
}

func TestPostmark(t *testing.T) {
	ok := headers{spf("Pass", ada)}
	ev := func(kind channel.Kind, why webhook.Reason, hs headers, set ...string) channeltest.Event {
		return channeltest.Event{Body: received(append(headers{spf("Pass", ada)}, hs...), set...), Kind: kind, Reason: why}
	}
	refused := func(status int, code, word string, rejected bool) channeltest.Answer {
		return channeltest.Answer{Status: status, Body: `{"ErrorCode":` + code + `,"Message":"x"}`, Failure: channel.Failure{Certainty: channel.Refused, Code: word, TokenRejected: rejected}}
	}
	unsure := func(body string) channeltest.Answer {
		return channeltest.Answer{Status: 200, Body: body, Failure: channel.Failure{Certainty: channel.Ambiguous, Code: "answer_without_id"}}
	}
	c := withPostmark(at)
	channeltest.Run(t, channeltest.Harness{
		Entry: Entry().For(c), Config: c, Foreign: withPostmark("other.example.com"), To: addressed(t, address{From: desk, To: ada}), NoEdits: true, NoRemovals: true,
		Events: map[string]channeltest.Event{
			"text":        ev(channel.Message, "", nil),
			"no stripped": ev(channel.Message, "", nil, "StrippedTextReply", ""),
			"subject":     ev(channel.Message, "", nil, "StrippedTextReply", "", "TextBody", "", "Subject", `"hi"`),
			"html only":   ev(channel.Ignored, channel.EventIgnored, nil, "StrippedTextReply", "", "TextBody", ""),
			"nobody":      ev(channel.Ignored, channel.EventIgnored, nil, "from", ""),
			"own":         ev(channel.Ignored, channel.SelfIgnored, nil, "from", "x@"+at),
			"machine":     ev(channel.Ignored, channel.BotIgnored, headers{{"Auto-Submitted", "auto-replied"}}),
			"daemon":      {Body: received(headers{spf("Pass", "mailer-daemon@people.example")}), Kind: channel.Ignored, Reason: channel.BotIgnored},
			"not proven":  {Body: received(nil), Kind: channel.Ignored, Reason: channel.SenderUnproven},
		},
		Malformed: map[string]string{
			"no id": received(ok, "MessageID", ""), "no recipient": received(ok, "OriginalRecipient", ""), "odd recipient": received(ok, "OriginalRecipient", `"desk"`),
			"no headers": received(ok, "Headers", ""), "headers no list": received(ok, "Headers", `{}`), "header without name": received(ok, "Headers", `[{"Value":"x"}]`),
			"header no object": received(ok, "Headers", `["x"]`), "too many": received(ok, "Headers", "["+strings.TrimSuffix(strings.Repeat(`{"Name":"a","Value":"b"},`, maxHeaders+1), ",")+"]"),
		},
		Posted: `{"To":"` + ada + `","SubmittedAt":"2026-11-22T17:00:00Z","MessageID":"0a129aee-e1cd-480d-b08d-4f48548ff48d","ErrorCode":0,"Message":"OK"}`, PostedID: "0a129aee-e1cd-480d-b08d-4f48548ff48d",
		Answers: map[string]channeltest.Answer{
			"token":     refused(401, "10", "http_401", true),
			"inactive":  refused(422, "406", "inactive_recipient", false),
			"signature": refused(422, "400", "sender_not_confirmed", false),
			"credits":   refused(422, "405", "not_allowed_to_send", false),
			"pending":   refused(422, "412", "account_not_approved", false),
			"malformed": refused(422, "300", "invalid_email_request", false),
			"other":     refused(422, "9999", "http_422", false),
			"no code":   unsure(`{"MessageID":"0a"}`), "a code": unsure(`{"MessageID":"0a","ErrorCode":406}`), "no message id": unsure(`{"ErrorCode":0}`),
			"500 with a word": {Status: 500, Body: `{"ErrorCode":406}`, Failure: channel.Failure{Certainty: channel.Ambiguous, Code: "http_500"}},
		},
	})
}

// TestPostmarkProof: the server's own line counts, for the domain of From, if there is
// no other.
func TestPostmarkProof(t *testing.T) {
	tests := func(v string) [2]string { return [2]string{"X-Spam-Tests", v} }
	for name, c := range map[string]struct {
		headers headers
		ok      bool
	}{
		"spf": {headers{spf("Pass", ada)}, true}, "bounce domain": {headers{spf("Pass", "b@pm.people.example")}, true},
		"somebody else": {headers{spf("Pass", "eve@evil.example")}, false}, "softfail": {headers{spf("SoftFail", ada)}, false}, "fail": {headers{spf("Fail", ada)}, false},
		"two lines": {headers{spf("Pass", ada), spf("Pass", ada)}, false}, "no address": {headers{{"Received-SPF", "Pass (x) identity=mailfrom"}}, false},
		"helo only":   {headers{{"Received-SPF", "Pass (x) identity=helo; envelope-from=" + ada + ";"}}, false},
		"own dkim":    {headers{tests("HTML_MESSAGE,DKIM_SIGNED,DKIM_VALID,DKIM_VALID_AU")}, true},
		"other dkim":  {headers{tests("DKIM_SIGNED,DKIM_VALID")}, false},
		"tests twice": {headers{tests("DKIM_VALID_AU"), tests("DKIM_VALID_AU")}, false},
		"none":        {nil, false},
		// What stands before the @ may be quoted, and holds anything then.
		"quoted":        {headers{spf("Pass", `"ada@people.example;"@evil.example`)}, false},
		"quoted part":   {headers{spf("Pass", `"x envelope-from=ada@people.example"@evil.example`)}, false},
		"named twice":   {headers{{"Received-SPF", "Pass (x) identity=mailfrom; envelope-from=eve@evil.example; helo=a envelope-from=" + ada}}, false},
		"foreign dkim":  {headers{tests("DKIM_VALID_AU"), {"DKIM-Signature", "v=1; d=evil.example; s=a"}}, false},
		"own dkim, too": {headers{tests("DKIM_VALID_AU"), {"DKIM-Signature", "v=1; d=people.example; s=a"}, {"DKIM-Signature", "v=1; d=evil.example; s=a"}}, false},
		"its own only":  {headers{tests("DKIM_VALID_AU"), {"DKIM-Signature", "v=1; d=people.example; s=a"}}, true},
		"two domains":   {headers{tests("DKIM_VALID_AU"), {"DKIM-Signature", "v=1; d=evil.example; d=people.example; s=a"}}, false},
		"two writers":   {headers{spf("Pass", ada), {"From", "Ada <" + ada + ">, Eve <eve@evil.example>"}}, false},
		"two heads":     {headers{spf("Pass", ada), {"From", ada}, {"From", ada}}, false},
		"another head":  {headers{spf("Pass", ada), {"From", "eve@evil.example"}}, false},
		"its head":      {headers{spf("Pass", ada), {"From", "Ada <" + ada + ">"}}, true},
	} {
		if in := parsed(t, received(c.headers), withPostmark(at)); (in.Kind == channel.Message) != c.ok {
			t.Errorf("%s: %+v", name, in)
		}
	}
	if in := parsed(t, received(headers{spf("Pass", ada)}, "From", `"`+ada+`, eve@evil.example"`), withPostmark(at)); in.Kind == channel.Message {
		t.Errorf("two writers: %+v", in)
	}
	e := parsed(t, received(headers{spf("Pass", ada)}), withPostmark(at)).Envelope
	if e.EventID != delivery || e.ContentKey != "" || e.Space != ada || e.Thread != "CAF1@people.example" || e.Team != desk {
		t.Errorf("%+v", e)
	}
}

func TestPostmarkSend(t *testing.T) {
	var got struct {
		From, To, Subject, TextBody, TrackLinks string
		Headers                                 []struct{ Name, Value string }
	}
	var path, key string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, key = r.URL.Path, r.Header.Get("X-Postmark-Server-Token")
		_ = json.NewDecoder(r.Body).Decode(&got)
		_, _ = io.WriteString(w, `{"MessageID":"1","ErrorCode":0}`)
	}))
	defer s.Close()
	to := addressed(t, address{From: desk, To: ada, Subject: "Re: x", ID: own, Refs: []string{own}})
	c := channel.Call{HTTP: s.Client(), BaseURL: s.URL, Token: secret.FromString("tok"), Config: withPostmark(at)}
	if id, f := (postmark{}).Send(t.Context(), c, channel.Outgoing{To: to, Text: "hello", TurnID: "t1", Part: 1}); f != nil || id != "1" {
		t.Fatalf("%s %+v", id, f)
	}
	heads := map[string]string{}
	for _, h := range got.Headers {
		heads[h.Name] = h.Value
	}
	if path != "/email" || key != "tok" || got.From != desk || got.To != ada || got.Subject != "Re: x" || got.TextBody != "hello" || got.TrackLinks != "None" ||
		heads["X-PM-KeepID"] != "true" || heads["In-Reply-To"] != own || heads["References"] != own || heads["Auto-Submitted"] != "auto-replied" || !oneID(heads["Message-Id"]) || len(heads) != len(got.Headers) {
		t.Errorf("%s %+v", path, got)
	}
}

// FuzzPostmark: whatever comes, it is refused or gives one bounded event.
func FuzzPostmark(f *testing.F) {
	for _, b := range []string{received(headers{spf("Pass", ada)}), received(nil, "Subject", `"a\r\nBcc: x"`), received(headers{{"References", "<a@b> <c@d>"}}), `{}`} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := withPostmark(at)
		c[allow] = []string{"true"}
		all, err := postmark{}.Parse(webhook.Input{Body: b, Config: c})
		if err == nil && len(all) != 1 {
			t.Fatalf("%d events", len(all))
		}
		for _, in := range all {
			bounded(t, in, c)
		}
	})
}
