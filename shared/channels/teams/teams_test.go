package teams

import (
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channel/channeltest"
	"github.com/latchkey/latchkey/shared/channels/internal/markdown"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
)

const (
	callback = "https://latchkey.example/webhooks/teams/i1"
	app      = "c9e8c047-2a74-40a2-b28a-b162d5f5327c"
	home     = "72f988bf-86f1-41af-91ab-2d7cd011db47"
	abroad   = "11111111-2222-3333-4444-555555555555"
	service  = "https://smba.trafficmanager.net/emea/" + home
	chat     = "a:17I0kl9EkpE1O9PH5TWrzrLNwnWWcfrU7QZjKR0WSfOpzbfcAg2IaydGElSo10tVr4C7Fc6GtieTJX663WuJCc1uA83n4CSrHSgGBj5XNYLcVlJAs2ZX8DbYBPck201w-"
	group    = "19:253b1f341670408fb6fe51050b6e5ceb@thread.v2"
	room     = "19:aebd0ad4d6ab42c8b9ed19c251c2fc37@thread.tacv2"
	team     = "19:7705841b240044b297123ad7f9c99217@thread.tacv2"
	root     = "1481567603816"
	asked    = "1485983408511"
	megan    = "29:1XJKJMvc5GBtc2JwZq0oj8tHZmzrQgFmB39ATiQWA85gQtHieVkKilBZ9XHoq9j7Zaqt7CZ-NJWi7me2kHTL3Bw"
	bot      = "28:" + app
	atUs     = `{"type":"mention","mentioned":{"id":"` + bot + `","name":"Helper"},"text":"<at>Helper</at>"}`
	atAda    = `{"type":"mention","mentioned":{"id":"29:ada","name":"Ada L"},"text":"<at>Ada L</at>"}`
	personal = `{"conversationType":"personal","tenantId":"` + home + `","id":"` + chat + `"}`
	meeting  = `{"conversationType":"groupChat","isGroup":true,"tenantId":"` + home + `","id":"` + group + `"}`
	threaded = `{"conversationType":"channel","isGroup":true,"tenantId":"` + home + `","id":"` + room + `;messageid=` + root + `"}`
)

func header(audience string) webhook.Header {
	claims, _ := json.Marshal(map[string]any{"aud": audience})
	return webhook.Header{"authorization": {"Bearer e30." + base64.RawURLEncoding.EncodeToString(claims) + ".e30"}}
}

func config(app, tenant string) webhook.Config {
	return webhook.Config{appID: {app}, tenantID: {tenant}}
}

// activity is what the connector sends; later members of more must be new.
func activity(kind, conversation, from, more string) string {
	data := `{"tenant":{"id":"` + home + `"}}`
	if conversation == threaded {
		data = `{"tenant":{"id":"` + home + `"},"team":{"id":"` + team + `"},"channel":{"id":"` + room + `"}}`
	}
	return `{"type":"` + kind + `","id":"` + asked + `","timestamp":"2026-03-04T05:06:07.437Z","localTimestamp":"2026-03-04T06:06:07.437+01:00","serviceUrl":"` + service + `/","channelId":"msteams",
		"from":{"id":"` + from + `","name":"Megan","aadObjectId":"7faf8ab2-3d56-4244-b585-20c8a42ed2b8"},"conversation":` + conversation + `,"recipient":{"id":"` + bot + `","name":"Helper"},
		"channelData":` + data + `,"locale":"en-US"` + more + `}`
}

func wrote(conversation, from, text string, mentions ...string) string {
	b, _ := json.Marshal(text)
	return activity("message", conversation, from, `,"textFormat":"plain","text":`+string(b)+`,"attachments":[{"contentType":"text/html","content":"<div>x</div>"}],
		"entities":[{"type":"clientInfo","locale":"en-US"}`+strings.Join(append([]string{""}, mentions...), ",")+`]`)
}

func TestAdapter(t *testing.T) {
	ev := func(e string, k channel.Kind, why webhook.Reason) channeltest.Event {
		return channeltest.Event{Body: e, Kind: k, Reason: why}
	}
	refused := func(status int, name, code string, token bool) channeltest.Answer {
		return channeltest.Answer{Status: status, Body: `{"error":{"code":"` + name + `","message":"x"}}`, Failure: channel.Failure{Certainty: channel.Refused, Code: code, TokenRejected: token}}
	}
	hello := wrote(threaded, megan, "<at>Helper</at> hi", atUs)
	swap := func(old, by string) string { return strings.Replace(hello, old, by, 1) }
	left := `,"membersRemoved":[{"id":"` + bot + `"}]`
	channeltest.Run(t, channeltest.Harness{
		Entry: Entry(), Config: config(app, home), Foreign: config(app, abroad), Header: header(app), To: address{service, room}.String(), Thread: root,
		Events: map[string]channeltest.Event{
			"mention":           ev(hello, channel.Message, ""),
			"personal":          ev(wrote(personal, megan, "hi"), channel.Message, ""),
			"group chat":        ev(wrote(meeting, megan, "<at>Helper</at> hi", atUs), channel.Message, ""),
			"own":               ev(wrote(personal, bot, "hi"), channel.Ignored, channel.SelfIgnored),
			"another bot":       ev(wrote(threaded, "28:0000", "<at>Helper</at> hi", atUs), channel.Ignored, channel.BotIgnored),
			"bot by role":       ev(strings.Replace(wrote(personal, "29:x", "hi"), `"name":"Megan"`, `"name":"M","role":"bot"`, 1), channel.Ignored, channel.BotIgnored),
			"mention alone":     ev(wrote(threaded, megan, "\r\n<at>Helper</at>\u00a0\r\n", atUs), channel.Ignored, channel.EventIgnored),
			"file alone":        ev(activity("message", personal, megan, `,"attachments":[{"contentType":"application/vnd.microsoft.teams.file.download.info","content":{"downloadUrl":"https://contoso.sharepoint.com/x"}}]`), channel.Ignored, channel.EventIgnored),
			"captioned":         ev(activity("message", personal, megan, `,"textFormat":"plain","text":"What is this?","attachments":[{"contentType":"image/*","contentUrl":"https://smba.trafficmanager.net/x"}]`), channel.Message, ""),
			"voice note":        ev(activity("message", threaded, megan, `,"text":null,"attachments":[{"contentType":"text/html","contentUrl":null,"content":"<div><span itemid=\"x\" itemtype=\"http://schema.skype.com/InputExtension\"></span></div>"}]`), channel.Ignored, channel.EventIgnored),
			"edited":            ev(strings.Replace(wrote(personal, megan, "more"), `"message"`, `"messageUpdate"`, 1), channel.Edited, channel.EditIgnored),
			"deleted":           ev(activity("messageDelete", personal, megan, ""), channel.Deleted, channel.EditIgnored),
			"reaction":          ev(activity("messageReaction", personal, megan, `,"reactionsAdded":[{"type":"like"}]`), channel.Ignored, channel.EventIgnored),
			"button":            ev(activity("invoke", personal, megan, `,"name":"adaptiveCard/action"`), channel.Ignored, channel.EventIgnored),
			"typing":            ev(activity("typing", personal, megan, ""), channel.Ignored, channel.EventIgnored),
			"not known":         ev(activity("newest", personal, megan, ""), channel.Ignored, channel.EventIgnored),
			"installed":         ev(activity("installationUpdate", personal, megan, `,"action":"add"`), channel.Ignored, channel.EventIgnored),
			"upgraded":          ev(activity("installationUpdate", personal, megan, `,"action":"remove-upgrade"`), channel.Ignored, channel.EventIgnored),
			"removed":           ev(activity("installationUpdate", personal, megan, `,"action":"remove"`), channel.Ignored, channel.RevokedByVendor),
			"removed from team": ev(activity("conversationUpdate", threaded, megan, left), channel.Ignored, channel.RevokedByVendor),
			"somebody left":     ev(activity("conversationUpdate", threaded, megan, `,"membersRemoved":[{"id":"29:x"}]`), channel.Ignored, channel.EventIgnored),
			"no conversation":   ev(`{"type":"event","channelId":"msteams","channelData":{"tenant":{"id":"`+home+`"}}}`, channel.Ignored, channel.EventIgnored),
		},
		Malformed: map[string]string{
			"no type": swap(`"type":"message"`, `"x":1`), "long type": swap(`"message"`, `"`+strings.Repeat("m", 65)+`"`), "long time": swap("2026-03-04T05:06:07.437Z", strings.Repeat("2", 65)),
			"another channel": swap(`"msteams"`, `"webchat"`), "no channel": swap(`"channelId":"msteams"`, `"x":1`), "no id": swap(`"id":"`+asked+`"`, `"x":1`), "odd id": swap(asked, "a/b"),
			"no conversation": swap(`"id":"`+room+`;messageid=`+root+`"`, `"x":1`), "odd conversation": swap(room, "19:a/../b"), "odd thread": swap(";messageid="+root, ";messageid=1x"),
			"empty thread": swap(";messageid="+root, ";messageid="), "odd team": swap(`"team":{"id":"`+team, `"team":{"id":"a b`), "no sender": swap(`"from":{"id":"`+megan+`"`, `"from":{"x":1`), "odd sender": swap(megan, "megan"),
			"no address": swap(`"serviceUrl"`, `"x"`), "another host": swap("smba.trafficmanager.net", "evil.example"), "without TLS": swap("https://smba", "http://smba"), "with a user": swap("https://smba", "https://a@smba"),
			"another port": swap("trafficmanager.net/", "trafficmanager.net:444/"), "query": swap(home+`/",`, home+`/?x=1",`), "fragment": swap(home+`/",`, home+`/#x",`), "up": swap("/emea/", "/../"), "deep": swap("/emea/", "/a/b/c/d/"),
		},
		Posted: `{"id":"1612345678901"}`, PostedID: "1612345678901",
		Answers: map[string]channeltest.Answer{
			"token":              {Status: 401, Body: `{"message":"Authorization has been denied for this request."}`, Failure: channel.Failure{Certainty: channel.Refused, Code: "http_401", TokenRejected: true}},
			"bot is gone":        refused(401, "BotNotRegistered", "bot_not_registered", true),
			"not a member":       refused(403, "BotNotInConversationRoster", "not_in_conversation", false),
			"blocked":            refused(403, "ConversationBlockedByUser", "blocked_by_user", false),
			"switched off":       refused(403, "BotDisabledByAdmin", "disabled_by_admin", false),
			"another cloud":      refused(403, "InvalidBotApiHost", "wrong_service_url", false),
			"gone":               refused(404, "ConversationNotFound", "conversation_not_found", false),
			"large":              refused(413, "MessageSizeTooBig", "message_too_large", false),
			"malformed":          refused(400, "Bad Argument", "http_400", false),
			"not known":          refused(403, "Newest words", "http_403", false),
			"blocked, old form":  {Status: 403, Body: `{"errorCode":209,"message":"{}"}`, Failure: channel.Failure{Certainty: channel.Refused, Code: "writes_blocked"}},
			"concurrent":         {Status: 412, Body: `{"error":{"code":"PreconditionFailed"}}`, Failure: channel.Failure{Certainty: channel.RateLimited, Code: "concurrent", RetryAfter: 2 * time.Second}},
			"502":                {Status: 502, Body: `{"error":{"code":"ServiceError"}}`, Failure: channel.Failure{Certainty: channel.Ambiguous, Code: "http_502"}},
			"504":                {Status: 504, Failure: channel.Failure{Certainty: channel.Ambiguous, Code: "http_504"}},
			"500 by name":        {Status: 500, Body: `{"error":{"code":"ConversationNotFound"}}`, Failure: channel.Failure{Certainty: channel.Ambiguous, Code: "http_500"}},
			"no id":              {Status: 201, Body: `{}`, Failure: channel.Failure{Certainty: channel.Ambiguous, Code: "answer_without_id"}},
			"created, no answer": {Status: 201, Failure: channel.Failure{Certainty: channel.Ambiguous, Code: "answer_malformed"}},
		},
		Seen: channel.Envelope{ReplyTo: address{service, room}.String(), Thread: root}, Sign: `{"type":"typing"}`, SignAnswer: `{"id":"1"}`,
		SignPath: "/emea/" + home + "/v3/conversations/" + room + ";messageid=" + root + "/activities",
	})
}

// TestEnvelopes: where a message came from, whom it names, and where its answer goes.
func TestEnvelopes(t *testing.T) {
	base := channel.Envelope{Provider: "teams", Account: home, Actor: megan, Message: asked, SentAt: time.Date(2026, 3, 4, 5, 6, 7, 437e6, time.UTC)}
	in := func(space string) channel.Envelope {
		e := base
		e.Space, e.ReplyTo, e.EventID = space, service+" "+space, "message "+space+" "+asked
		return e
	}
	direct, among, among2, crowd := in(chat), in(room), in(room), in(group)
	direct.Direct, direct.Text, direct.Addressed = true, "sales: hi", []string{"sales"}
	among.Team, among.Thread, among.Text, among.Mention, among.Addressed = team, root, "sales how much for @Ada L?", true, []string{"sales"}
	among2.Team, among2.Thread, among2.Text = team, root, "@Ada L hi"
	crowd.Text, crowd.Mention, crowd.Addressed = "hi there", true, []string{"hi"}
	for name, c := range map[string]struct {
		body string
		want channel.Envelope
	}{
		"personal":               {wrote(personal, megan, " sales: hi\n"), direct},
		"channel":                {wrote(threaded, megan, "\r\n<at>Helper</at>\u00a0sales how much for <at>Ada L</at>?\r\n", atUs, atAda), among},
		"somebody else":          {wrote(threaded, megan, "<at>Ada L</at> hi", atAda), among2},
		"a name that is written": {wrote(threaded, megan, "@Ada L hi"), among2},
		"group chat":             {wrote(meeting, megan, "<at>Helper</at> hi there", strings.Replace(atUs, `,"text":"<at>Helper</at>"`, "", 1)), crowd},
	} {
		all, err := Adapter{}.Parse(webhook.Input{Config: config(app, home), Header: header(app), Body: []byte(c.body)})
		if err != nil || len(all) != 1 || !reflect.DeepEqual(all[0].Envelope, c.want) {
			t.Errorf("%s: %v\n%+v, want\n%+v", name, err, all, c.want)
		}
	}
	// Two edits of one message are two events, and neither is the message.
	ids := map[string]bool{}
	for _, body := range []string{wrote(personal, megan, "x"), activity("messageUpdate", personal, megan, ""), strings.Replace(activity("messageUpdate", personal, megan, ""), ".437Z", ".438Z", 1), activity("messageDelete", personal, megan, "")} {
		all, err := Adapter{}.Parse(webhook.Input{Config: config(app, home), Header: header(app), Body: []byte(body)})
		if err != nil || ids[all[0].Envelope.EventID] {
			t.Errorf("%v %+v", err, all)
		}
		ids[all[0].Envelope.EventID] = true
	}
}

// TestIdentity: the token's audience and the activity's tenant, which is one.
func TestIdentity(t *testing.T) {
	tenants := func(data, conversation string) string {
		s := strings.Replace(wrote(personal, megan, "hi"), `"tenant":{"id":"`+home+`"}`, `"tenant":{"id":"`+data+`"}`, 1)
		return strings.Replace(s, `"tenantId":"`+home+`"`, `"tenantId":"`+conversation+`"`, 1)
	}
	for name, c := range map[string]struct {
		body, audience string
		same           bool
	}{
		"both": {tenants(home, home), app, true}, "data": {tenants(home, ""), app, true}, "conversation": {tenants("", home), app, true}, "in capitals": {tenants(strings.ToUpper(home), home), app, true},
		"another": {tenants(abroad, abroad), app, false}, "another by the data": {tenants(abroad, home), app, false}, "another by the conversation": {tenants(home, abroad), app, false},
		"none": {tenants("", ""), app, false}, "odd": {tenants("common", ""), app, false}, "another app": {tenants(home, home), abroad, false}, "no token": {tenants(home, home), "", false},
	} {
		all, err := Adapter{}.Parse(webhook.Input{Config: config(app, home), Header: header(c.audience), Body: []byte(c.body)})
		if err != nil || Entry().SameTenant(config(app, home), all[0].Identity) != c.same {
			t.Errorf("%s: %v %+v", name, err, all)
		}
		if at := all[0].Envelope.Account; at != "" && !guid.MatchString(at) {
			t.Errorf("%s: account %q", name, at)
		}
	}
	if a, of := Entry().Tenant(config(app, home)); a != app || of != "T:"+home {
		t.Error(a, of)
	}
	for value, ok := range map[string]bool{app: true, strings.ToUpper(app): false, "": false, "common": false, app + "\n": false, "/../x": false} {
		for _, f := range Entry().Config {
			if f.Valid(value) != ok {
				t.Errorf("%s %q", f.Name, value)
			}
		}
	}
}

// vendor answers with one answer and keeps the requests.
type vendor struct {
	mu     sync.Mutex
	status int
	answer string
	got    []string
	heads  []http.Header
}

func (v *vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.got, v.heads = append(v.got, r.Method+" "+r.URL.String()+" "+string(b)), append(v.heads, r.Header)
	w.WriteHeader(v.status)
	_, _ = io.WriteString(w, v.answer)
}

func (v *vendor) call(t *testing.T) channel.Call {
	t.Helper()
	s := httptest.NewServer(v)
	t.Cleanup(s.Close)
	return channel.Call{HTTP: s.Client(), BaseURL: s.URL, Token: secret.FromString("token-1"), Config: config(app, home)}
}

func TestSend(t *testing.T) {
	v := &vendor{status: 201, answer: `{"id":"1612345678901"}`}
	out := channel.Outgoing{To: address{service, room}.String(), Thread: root, Text: "<strong>a</strong>", Format: marked, TurnID: "t1", Part: 1}
	if id, f := (Adapter{}).Send(t.Context(), v.call(t), out); f != nil || id != "1612345678901" {
		t.Fatalf("%q %+v", id, f)
	}
	const path = "/emea/" + home + "/v3/conversations/19:aebd0ad4d6ab42c8b9ed19c251c2fc37@thread.tacv2%3Bmessageid=" + root + "/activities"
	if want := `POST ` + path + ` {"text":"\u003cstrong\u003ea\u003c/strong\u003e","textFormat":"xml","type":"message"}`; v.got[0] != want || v.heads[0].Get("Authorization") != "Bearer token-1" {
		t.Errorf("%s\nwant\n%s", v.got[0], want)
	}
	// What is not of Split is shown as it is.
	out.To, out.Thread, out.Format, out.Text = address{"https://smba.trafficmanager.net/teams", chat}.String(), "", "", "a <at>b</at>\n&"
	_, _ = Adapter{}.Send(t.Context(), v.call(t), out)
	if want := `POST /teams/v3/conversations/` + chat + `/activities {"text":"a \u0026lt;at\u0026gt;b\u0026lt;/at\u0026gt;\u003cbr/\u003e\u0026amp;","textFormat":"xml","type":"message"}`; v.got[1] != want {
		t.Errorf("%s\nwant\n%s", v.got[1], want)
	}
	before := len(v.got)
	for _, bad := range []channel.Outgoing{{To: chat}, {To: ""}, {To: service + " "}, {To: service + " a/b"}, {To: "https://evil.example/ " + chat}, {To: "http://smba.trafficmanager.net/x " + chat},
		{To: service + " " + room, Thread: "1/../2"}, {To: "https://smba.trafficmanager.net.evil.example/ " + chat}, {To: "https://smba.trafficmanager.net%2f@evil.example/ " + chat}} {
		if _, f := (Adapter{}).Send(t.Context(), v.call(t), bad); f == nil || f.Certainty != channel.Refused || f.Code != "address_malformed" || len(v.got) != before {
			t.Errorf("%+v: %+v", bad, f)
		}
		if _, ok := (Adapter{}).Typing(t.Context(), v.call(t), channel.Envelope{ReplyTo: bad.To, Thread: bad.Thread}); ok || len(v.got) != before {
			t.Errorf("%+v: a sign", bad)
		}
	}
}

type seen func(*http.Request)

var errUnsent = errors.New("not sent")

func (s seen) RoundTrip(r *http.Request) (*http.Response, error) { s(r); return nil, errUnsent }

// TestHosts: on a stack that is not moved the answer goes to the address' own host.
func TestHosts(t *testing.T) {
	for from, want := range map[string]string{
		service + "/": service + "/v3/conversations/", "https://smba.infra.gcc.teams.microsoft.com/gcc": "https://smba.infra.gcc.teams.microsoft.com/gcc/v3/conversations/",
		"https://SMBA.trafficmanager.net/": "https://smba.trafficmanager.net/v3/conversations/",
	} {
		var got string
		c := channel.Call{HTTP: &http.Client{Transport: seen(func(r *http.Request) { got = r.URL.String() })}, BaseURL: Entry().APIBase, Token: secret.FromString("token-1")}
		at, ok := serviceOf(from)
		_, _ = Adapter{}.Send(t.Context(), c, channel.Outgoing{To: address{at, chat}.String(), Text: "x"})
		if !ok || got != want+chat+"/activities" {
			t.Errorf("%s: %s", from, got)
		}
	}
	for _, h := range Entry().Hosts {
		if _, ok := serviceOf("https://" + h + "/"); !ok {
			t.Errorf("%s is not among the addresses", h)
		}
	}
}

func TestEdit(t *testing.T) {
	out := channel.Outgoing{To: address{service, chat}.String(), Text: "more", Format: marked}
	v := &vendor{status: 200, answer: `{"id":"1612"}`}
	if f := (Adapter{}).Edit(t.Context(), v.call(t), out, "1612"); f != nil {
		t.Fatalf("%+v", f)
	}
	if want := `PUT /emea/` + home + `/v3/conversations/` + chat + `/activities/1612 {"text":"more","textFormat":"xml","type":"message"}`; v.got[0] != want {
		t.Errorf("%s", v.got[0])
	}
	for status, want := range map[int]channel.Failure{404: {Certainty: channel.Refused, Code: channel.MessageGone}, 403: {Certainty: channel.Refused, Code: "http_403"},
		401: {Certainty: channel.Refused, Code: "http_401", TokenRejected: true}, 412: {Certainty: channel.RateLimited, Code: "concurrent", RetryAfter: 2 * time.Second}, 502: {Certainty: channel.Ambiguous, Code: "http_502"}} {
		v.status, v.answer = status, "{}"
		if f := (Adapter{}).Edit(t.Context(), v.call(t), out, "1612"); f == nil || *f != want {
			t.Errorf("%d: %+v", status, f)
		}
	}
	before := len(v.got)
	for to, id := range map[string]string{out.To: "../1", chat: "1612"} {
		if f := (Adapter{}).Edit(t.Context(), v.call(t), channel.Outgoing{To: to, Text: "x"}, id); f == nil || f.Code != "address_malformed" || len(v.got) != before {
			t.Errorf("%s %s: %+v", to, id, f)
		}
	}
}

func TestTrade(t *testing.T) {
	v := &vendor{status: 200, answer: `{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"eyJ0.x"}`}
	c := v.call(t)
	c.Token = secret.FromString("abc8Q~secret")
	got, f := trade(t.Context(), c, time.Unix(0, 0))
	if f != nil || !got.Token.Equal(secret.FromString("eyJ0.x")) || got.Life != 3599*time.Second || len(v.got) != 1 {
		t.Fatalf("%+v %+v", got, f)
	}
	form, ok := strings.CutPrefix(v.got[0], "POST /"+home+"/oauth2/v2.0/token ")
	q, err := url.ParseQuery(form)
	want := url.Values{"grant_type": {"client_credentials"}, "client_id": {app}, "client_secret": {"abc8Q~secret"}, "scope": {"https://api.botframework.com/.default"}}
	if !ok || err != nil || !reflect.DeepEqual(q, want) || v.heads[0].Get("Authorization") != "" {
		t.Errorf("%s %v", v.got[0], v.heads[0])
	}
	for name, a := range map[string]struct {
		status int
		body   string
		want   channel.Failure
	}{
		"secret has ended": {401, `{"error":"invalid_client","error_codes":[7000222]}`, channel.Failure{Certainty: channel.Refused, Code: "invalid_client", TokenRejected: true}},
		"no such app":      {400, `{"error":"unauthorized_client","error_codes":[700016]}`, channel.Failure{Certainty: channel.Refused, Code: "unauthorized_client", TokenRejected: true}},
		"no such tenant":   {400, `{"error":"invalid_request","error_codes":[90002]}`, channel.Failure{Certainty: channel.NotSent, Code: "http_400"}},
		"busy":             {429, ``, channel.Failure{Certainty: channel.RateLimited, Code: "ratelimited", RetryAfter: 30 * time.Second}},
		"no token":         {200, `{"expires_in":3599}`, channel.Failure{Certainty: channel.NotSent, Code: "answer_malformed"}},
	} {
		v.status, v.answer = a.status, a.body
		if got, f := trade(t.Context(), c, time.Unix(0, 0)); f == nil || *f != a.want || !got.Token.IsZero() {
			t.Errorf("%s: %+v", name, f)
		}
	}
	before := len(v.got)
	c.Token = secret.FromString("a b")
	if _, f := trade(t.Context(), c, time.Unix(0, 0)); f == nil || *f != (channel.Failure{Certainty: channel.Refused, Code: "token_malformed", TokenRejected: true}) {
		t.Errorf("%+v", f)
	}
	c.Config = config(app, "common/../"+home)
	if _, f := trade(t.Context(), c, time.Unix(0, 0)); f == nil || f.Code != "identity_malformed" || len(v.got) != before {
		t.Errorf("%+v", f)
	}
}

// TestMarks: what a model writes in Teams' tags, and nothing of it a tag of its own.
func TestMarks(t *testing.T) {
	for source, want := range map[string]string{
		"**bold** and *italic* and ~~gone~~":            "<strong>bold</strong> and <em>italic</em> and <strike>gone</strike>",
		"***both***":                                    "<strong><em>both</em></strong>",
		"# Title\n\n- one\n- two":                       "<strong>Title</strong><br/><br/>• one<br/>• two",
		"`a < b` and\n```go\nx := 1 < 2\n\ny\n```\nend": "<code>a &lt; b</code> and<br/><pre>x := 1 &lt; 2\n\ny</pre><br/>end",
		"one\n\n> two\n> three\n\nfour":                 "one<br/><blockquote>two<br/>three</blockquote><br/>four",
		"```\na\n```\n```\nb\n```":                      "<pre>a</pre><pre>b</pre>",
		"<at>Everybody</at> & \"you\"":                  "&lt;at&gt;Everybody&lt;/at&gt; &amp; &quot;you&quot;",
		"[here](https://a.example/x?a=1&b=\"2)":         `<a href="https://a.example/x?a=1&amp;b=%222">here</a>`,
		"**[here](https://a.example/x)**":               `<strong><a href="https://a.example/x">here</a></strong>`,
		"https://a.example/x":                           `<a href="https://a.example/x">https://a.example/x</a>`,
	} {
		if got := (Adapter{}).Split(source); len(got) != 1 || got[0].Text != want || got[0].Format != marked {
			t.Errorf("%q:\n%q, want\n%q", source, got, want)
		}
	}
}

// TestPiecesAreBounded: tags and what stands for one character count.
func TestPiecesAreBounded(t *testing.T) {
	for _, unit := range []string{"**a** <b> ", "> a\n", "[a](https://a.example/?b&c) ", "`<`\n", "```\n<<<<\n```\n"} {
		source := strings.Repeat(unit, 6_000)
		pieces := Adapter{}.Split(source)
		if len(pieces) < 2 {
			t.Errorf("%q: %d pieces", unit, len(pieces))
		}
		for _, p := range pieces {
			if n := markdown.Units(p.Text); n > maxText {
				t.Fatalf("%q: a piece of %d units", unit, n)
			}
		}
	}
}

func TestSetup(t *testing.T) {
	in := channel.SetupInput{CallbackURL: callback, Config: config(app, home), SecretsSet: []string{clientSecret}, DeliveryCodes: []string{string(webhook.TenantMismatch)}, AppName: strings.Repeat("ö", 120)}
	s := setup(in)
	if s.CallbackURLs[0] != callback || s.IdentityNote == "" || len(s.Steps) == 0 {
		t.Errorf("%+v", s)
	}
	for _, c := range s.Checklist {
		if want := map[string]channel.CheckResult{"secrets": channel.Passed, "identity": channel.Passed, "tenant": channel.Failed, "event": channel.Pending}[c.ID]; want != "" && c.Result != want {
			t.Errorf("%+v", c)
		}
	}
	names, _ := s.Manifest["name"].(map[string]any)
	short, _ := names["short"].(string)
	full, _ := names["full"].(string)
	if bots, _ := json.Marshal(s.Manifest["bots"]); !strings.Contains(string(bots), `"botId":"`+app+`"`) || s.Manifest["id"] != app || len([]rune(short)) != maxShort || len([]rune(full)) != maxFull || short == full {
		t.Errorf("%+v", s.Manifest)
	}
}

// FuzzParse: whatever comes, it is refused or gives one bounded event, and an address
// that is one of Microsoft's.
func FuzzParse(f *testing.F) {
	for _, b := range []string{wrote(personal, megan, "hi"), wrote(threaded, megan, "<at>Helper</at> sales: hi <at>Ada L</at>", atUs, atAda), wrote(meeting, bot, "x"),
		activity("installationUpdate", personal, megan, `,"action":"remove"`), activity("conversationUpdate", threaded, megan, `,"membersRemoved":[{"id":"`+bot+`"}]`), activity("messageDelete", personal, megan, "")} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := Adapter{}.Parse(webhook.Input{Body: b, Header: header(app), Config: config(app, home)})
		if err != nil {
			if fault.CodeOf(err) != fault.InvalidRequest {
				t.Fatal(err)
			}
			return
		}
		if len(all) != 1 {
			t.Fatalf("%d events", len(all))
		}
		e := all[0]
		if len(e.Envelope.EventID) > 640 || e.Kind == channel.Message && (e.Envelope.Space == "" || e.Envelope.Actor == "" || e.Envelope.Empty() || e.Envelope.IsBot) {
			t.Fatalf("%+v", e)
		}
		if a, ok := addressOf(e.Envelope.ReplyTo); e.Kind == channel.Message && (!ok || a.space != e.Envelope.Space || !strings.HasPrefix(a.service, "https://smba.")) {
			t.Fatalf("%+v", e)
		}
	})
}

// FuzzSplit: whatever a model writes, a piece is within the limit, well formed, and
// says what was written with no tag but ours.
func FuzzSplit(f *testing.F) {
	f.Add("# a\n**b** `c`\n```\nd <at>all</at>")
	f.Add("> a\n\n```\nb\n```\n> c\n\n[d](https://a.example/\"x)")
	known := map[string]bool{"x": true, "br": true, "a": true, "pre": true, "blockquote": true, "code": true, "strike": true, "em": true, "strong": true}
	f.Fuzz(func(t *testing.T, s string) {
		for _, p := range (Adapter{}).Split(s) {
			if len(p.Text) == 0 || markdown.Units(p.Text) > maxText {
				t.Errorf("%d units: %q", markdown.Units(p.Text), p.Text)
			}
			d, said := xml.NewDecoder(strings.NewReader("<x>"+p.Text+"</x>")), ""
			for {
				tok, err := d.Token()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					if strings.Contains(err.Error(), "illegal character code") {
						return // not XML's, shown as it is
					}
					t.Fatalf("%v: %q", err, p.Text)
				}
				switch v := tok.(type) {
				case xml.StartElement:
					if !known[v.Name.Local] {
						t.Errorf("<%s> in %q", v.Name.Local, p.Text)
					}
				case xml.CharData:
					said += string(v)
				}
			}
			if flat(said) != flat(p.Plain) {
				t.Errorf("%q says %q, not %q", p.Text, said, p.Plain)
			}
		}
	})
}

func flat(s string) string { return strings.Join(strings.Fields(s), "") }
