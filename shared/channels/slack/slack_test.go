package slack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	vendor "github.com/slack-go/slack"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channel/channeltest"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/webhooktest"
)

func config(kv ...string) webhook.Config {
	c := webhook.Config{appID: {"A1"}, teamID: {"T1"}}
	for i := 0; i < len(kv); i += 2 {
		c[kv[i]] = []string{kv[i+1]}
	}
	return c
}

// callback wraps an event as Slack does.
func callback(event string) string {
	return `{"token":"old","team_id":"T1","api_app_id":"A1","type":"event_callback","event_id":"Ev1","event_time":1772600767,` +
		`"authorizations":[{"enterprise_id":null,"team_id":"T1","user_id":"UBOT","is_bot":true,"is_enterprise_install":false}],"event":` + event + `}`
}

func post(extra string) string {
	return callback(`{"type":"message","channel":"C1","channel_type":"channel","user":"U1","ts":"1772600767.000100","text":"hi"` + extra + `}`)
}

func TestScheme(t *testing.T) {
	webhooktest.Run(t, webhooktest.Harness{
		Scheme: Scheme(), Sign: Scheme(), Key: secret.FromString("8f742231b10e8888abcd99yyyzzz85a5"), Other: secret.FromString("another install"),
		Body: []byte(post("")), SignatureHeader: SignatureHeader, TimeHeader: TimeHeader, Tolerance: Tolerance,
	})
}

// TestPublishedVector: the example of docs.slack.dev, "Verifying requests from Slack"
// (read 2026-11 through copies in tests of public repositories).
func TestPublishedVector(t *testing.T) {
	const secretText, stamp = "8f742231b10e8888abcd99yyyzzz85a5", 1531420618
	in := webhook.Input{Method: "POST", Header: webhook.Header{}, Body: []byte("token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner" +
		"&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c")}
	in.Header.Add(TimeHeader, "1531420618")
	in.Header.Add(SignatureHeader, "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503")
	verdict := func() *webhook.Refusal {
		_, r := webhook.Verify(Scheme(), in, []secret.Text{secret.FromString(secretText)}, time.Unix(stamp, 0))
		return r
	}
	if r := verdict(); r != nil {
		t.Errorf("refused: %+v", r)
	}
	in.Body[0] ^= 1
	if verdict() == nil {
		t.Error("another body is accepted")
	}
}

// TestOracle: the vendor's own Go verifier and ours accept and refuse the same
// requests. Both bound both clock directions (slack-go v0.35.0 takes the
// absolute difference); it reads the wall clock, so the test signs around it.
func TestOracle(t *testing.T) {
	const key = "8f742231b10e8888abcd99yyyzzz85a5"
	now := time.Now()
	theirs := func(in webhook.Input, key string) bool {
		h := http.Header{}
		for k, vs := range in.Header {
			for _, v := range vs {
				h.Add(k, v)
			}
		}
		v, err := vendor.NewSecretsVerifier(h, key)
		if err != nil {
			return false
		}
		_, _ = v.Write(in.Body)
		return v.Ensure() == nil
	}
	ours := func(in webhook.Input, key string) bool {
		_, r := webhook.Verify(Scheme(), in, []secret.Text{secret.FromString(key)}, now)
		return r == nil
	}
	for name, c := range map[string]struct {
		at   time.Duration
		key  string
		edit func(*webhook.Input)
		want bool
	}{
		"fresh":         {0, key, nil, true},
		"four minutes":  {-4 * time.Minute, key, nil, true},
		"ahead":         {4 * time.Minute, key, nil, true},
		"stale":         {-6 * time.Minute, key, nil, false},
		"future":        {6 * time.Minute, key, nil, false},
		"other secret":  {0, "other", nil, false},
		"empty secret":  {0, "", nil, false},
		"tampered":      {0, key, func(in *webhook.Input) { in.Body[3] ^= 1 }, false},
		"not utf-8":     {0, key, func(in *webhook.Input) { in.Body = []byte{0xff, 0} }, false},
		"wrong version": {0, key, func(in *webhook.Input) { in.Header[strings.ToLower(SignatureHeader)][0] = "v1=00" }, false},
	} {
		in := webhook.Input{Method: "POST", Body: []byte(post(`,"x":"größer 😀"`))}
		if err := Scheme().Sign(&in, secret.FromString(key), now.Add(c.at)); err != nil {
			t.Fatal(err)
		}
		if c.edit != nil {
			c.edit(&in)
		}
		if a, b := ours(in, c.key), theirs(in, c.key); a != c.want || b != c.want {
			t.Errorf("%s: ours %v, slack-go %v, want %v", name, a, b, c.want)
		}
	}
}

func TestAdapter(t *testing.T) {
	event := func(body string, k channel.Kind, why webhook.Reason) channeltest.Event {
		return channeltest.Event{Body: body, Kind: k, Reason: why}
	}
	refused := func(code string, token bool) channeltest.Answer {
		return channeltest.Answer{Status: 200, Body: `{"ok":false,"error":"` + code + `"}`,
			Failure: channel.Failure{Certainty: channel.Refused, Code: code, TokenRejected: token}}
	}
	ambiguous := func(code string) channeltest.Answer {
		return channeltest.Answer{Status: 200, Body: `{"ok":false,"error":"` + code + `"}`,
			Failure: channel.Failure{Certainty: channel.Ambiguous, Code: code}}
	}
	channeltest.Run(t, channeltest.Harness{
		Entry: Entry(), Config: config(), Foreign: config(teamID, "T2"), To: "C1", Thread: "1.2",
		Seen: channel.Envelope{Space: "C1", Thread: "1.2", Message: "1.3"},
		Sign: `{"channel_id":"C1","status":"is thinking…","thread_ts":"1.2"}`, SignPath: "/assistant.threads.setStatus", SignAnswer: `{"ok":true}`,
		Events: map[string]channeltest.Event{
			"url_verification": event(`{"type":"url_verification","token":"t","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}`, channel.Handshake, ""),
			"message":          event(post(""), channel.Message, ""),
			"app_mention":      event(strings.Replace(post(""), `"type":"message"`, `"type":"app_mention"`, 1), channel.Message, ""),
			"direct":           event(callback(`{"type":"message","channel":"D1","channel_type":"im","user":"U1","ts":"1.2","text":"hi"}`), channel.Message, ""),
			"threaded":         event(post(`,"thread_ts":"1772600000.000001"`), channel.Message, ""),
			"with a file":      event(post(`,"subtype":"file_share"`), channel.Message, ""),
			"own by user":      event(strings.Replace(post(""), `"user":"U1"`, `"user":"UBOT"`, 1), channel.Ignored, channel.SelfIgnored),
			"own by app":       event(post(`,"bot_id":"B1","app_id":"A1"`), channel.Ignored, channel.SelfIgnored),
			"own by profile":   event(post(`,"bot_id":"B1","bot_profile":{"app_id":"A1"}`), channel.Ignored, channel.SelfIgnored),
			"other bot":        event(post(`,"bot_id":"B2","app_id":"A2"`), channel.Ignored, channel.BotIgnored),
			"bot_message":      event(post(`,"subtype":"bot_message"`), channel.Ignored, channel.BotIgnored),
			"join":             event(post(`,"subtype":"channel_join"`), channel.Ignored, channel.EventIgnored),
			"no text":          event(strings.Replace(post(""), `"text":"hi"`, `"text":""`, 1), channel.Ignored, channel.EventIgnored),
			"edited":           event(post(`,"subtype":"message_changed"`), channel.Edited, channel.EditIgnored),
			"deleted":          event(post(`,"subtype":"message_deleted"`), channel.Deleted, channel.EditIgnored),
			"reaction":         event(callback(`{"type":"reaction_added"}`), channel.Ignored, channel.EventIgnored),
			"uninstalled":      event(callback(`{"type":"app_uninstalled"}`), channel.Revoked, channel.RevokedByVendor),
			"bot revoked":      event(callback(`{"type":"tokens_revoked","tokens":{"bot":["UBOT"]}}`), channel.Revoked, channel.RevokedByVendor),
			"user revoked":     event(callback(`{"type":"tokens_revoked","tokens":{"oauth":["U1"],"bot":[]}}`), channel.Ignored, channel.EventIgnored),
			"rate limited":     event(`{"type":"app_rate_limited","team_id":"T1","api_app_id":"A1","minute_rate_limited":1}`, channel.Ignored, channel.EventIgnored),
			"command":          event(used(), channel.Message, ""),
			"bare command":     event(used(fText, "", fChannel, "D1"), channel.Message, ""),
			"certificate":      event("ssl_check=1&token=x", channel.Handshake, ""),
			"case folding":     event(strings.Replace(post(""), `"text":"hi"`, `"text":"hi","Text":"","BOT_ID":"B9"`, 1), channel.Message, ""),
		},
		Malformed: map[string]string{
			"no type":        `{}`,
			"no event":       `{"type":"event_callback","event_id":"Ev1"}`,
			"no event id":    strings.Replace(post(""), `"event_id":"Ev1",`, "", 1),
			"event id bytes": strings.Replace(post(""), "Ev1", "Ev 1\\n", 1),
			"long event id":  strings.Replace(post(""), "Ev1", strings.Repeat("E", 200), 1),
			"no ts":          strings.Replace(post(""), `"ts"`, `"xs"`, 1),
			"no channel":     strings.Replace(post(""), `"channel"`, `"chan"`, 1),
			"no challenge":   `{"type":"url_verification"}`,
			"html challenge": `{"type":"url_verification","challenge":"<b> x"}`,
			"long challenge": `{"type":"url_verification","challenge":"` + strings.Repeat("a", 2000) + `"}`,
		},
		Posted: `{"ok":true,"channel":"C1","ts":"1503435956.000247","message":{}}`, PostedID: "1503435956.000247",
		Answers: map[string]channeltest.Answer{
			"invalid_auth": refused("invalid_auth", true), "token_revoked": refused("token_revoked", true),
			"channel_not_found": refused("channel_not_found", false), "not_in_channel": refused("not_in_channel", false),
			"unlisted":    {Status: 200, Body: `{"ok":false,"error":"xoxb-secret in vendor text"}`, Failure: channel.Failure{Certainty: channel.Refused, Code: "refused"}},
			"fatal_error": ambiguous("fatal_error"), "internal_error": ambiguous("internal_error"),
			"ratelimited": {Status: 200, Header: map[string]string{"Retry-After": "3"}, Body: `{"ok":false,"error":"ratelimited"}`,
				Failure: channel.Failure{Certainty: channel.RateLimited, Code: "ratelimited", RetryAfter: 3 * time.Second}},
			"ok without ts": {Status: 200, Body: `{"ok":true}`, Failure: channel.Failure{Certainty: channel.Ambiguous, Code: "answer_without_ts"}},
			"no ok":         {Status: 200, Body: `{}`, Failure: channel.Failure{Certainty: channel.Ambiguous, Code: "answer_malformed"}},
			"401":           {Status: 401, Failure: channel.Failure{Certainty: channel.Refused, Code: "http_401", TokenRejected: true}},
			"404":           {Status: 404, Failure: channel.Failure{Certainty: channel.Refused, Code: "http_404"}},
		},
	})
}

func TestEnvelope(t *testing.T) {
	in, err := parse(webhook.Input{Config: config(), Body: []byte(strings.Replace(post(`,"thread_ts":"1.5"`), `"text":"hi"`, `"text":"<@UBOT> a &lt;b&gt; &amp;amp; <@U2>"`, 1))})
	if err != nil {
		t.Fatal(err)
	}
	want := channel.Envelope{Provider: "slack", EventID: "Ev1", ContentKey: "C1:1772600767.000100", Team: "T1", Space: "C1", Thread: "1.5",
		Message: "1772600767.000100", Actor: "U1", Mention: true, Addressed: []string{"a"}, Text: "a <b> &amp; <@U2>", SentAt: time.Unix(1772600767, 0).UTC()}
	if !reflect.DeepEqual(in.Envelope, want) {
		t.Fatalf("\n%+v\n%+v", in.Envelope, want)
	}
	room, _ := parse(webhook.Input{Config: config(), Body: []byte(post(""))})
	direct, _ := parse(webhook.Input{Config: config(), Body: []byte(strings.Replace(post(""), `"channel_type":"channel"`, `"channel_type":"im"`, 1))})
	if room.Envelope.Thread != room.Envelope.Message || direct.Envelope.Thread != "" || !direct.Envelope.Direct || room.Envelope.Mention {
		t.Fatalf("%+v %+v", room.Envelope, direct.Envelope)
	}
	if room.Envelope.ContentKey != "C1:1772600767.000100" {
		t.Fatal("message and app_mention of one post must share a content key")
	}
}

func TestIdentity(t *testing.T) {
	e := Entry()
	for name, c := range map[string]struct {
		body string
		cfg  webhook.Config
		want bool
	}{
		"own":                          {post(""), config(), true},
		"other app":                    {strings.Replace(post(""), `"A1"`, `"A2"`, 1), config(), false},
		"other team":                   {strings.ReplaceAll(post(""), `"T1"`, `"T2"`), config(), false},
		"authorization decides":        {strings.Replace(post(""), `"team_id":"T1"`, `"team_id":"T2"`, 1), config(), true},
		"authorization is other":       {strings.Replace(post(""), `null,"team_id":"T1"`, `null,"team_id":"T2"`, 1), config(), false},
		"authorization without a team": {strings.Replace(post(""), `null,"team_id":"T1"`, `null`, 1), config(), false},
		"enterprise install names the team outside": {strings.Replace(post(""), `null,"team_id":"T1","user_id":"UBOT","is_bot":true,"is_enterprise_install":false`, `"E1","user_id":"UBOT","is_bot":true,"is_enterprise_install":true`, 1), config(), true},
		"no team at all":          {strings.ReplaceAll(post(""), `"team_id"`, `"x"`), config(), false},
		"enterprise":              {strings.Replace(post(""), `"enterprise_id":null`, `"enterprise_id":"E1"`, 1), webhook.Config{appID: {"A1"}, enterpriseID: {"E1"}}, true},
		"other enterprise":        {strings.Replace(post(""), `"enterprise_id":null`, `"enterprise_id":"E2"`, 1), webhook.Config{appID: {"A1"}, enterpriseID: {"E1"}}, false},
		"install names no tenant": {post(""), webhook.Config{appID: {"A1"}}, false},
	} {
		in, err := parse(webhook.Input{Config: c.cfg, Body: []byte(c.body)})
		if err != nil || e.SameTenant(c.cfg, in.Identity) != c.want {
			t.Errorf("%s: %v %v, want %v", name, in.Identity, err, c.want)
		}
	}
}

func TestWireRequest(t *testing.T) {
	var got struct {
		path, auth, kind string
		body             map[string]any
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got.path, got.auth, got.kind = r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("Content-Type")
		_ = json.Unmarshal(b, &got.body)
		_, _ = io.WriteString(w, `{"ok":true,"ts":"1.2","team_id":"T1","user_id":"UBOT"}`)
	}))
	defer s.Close()
	c := channel.Call{HTTP: s.Client(), BaseURL: s.URL + "/api", Token: secret.FromString("xoxb-1")}
	if _, f := (Adapter{}).Send(t.Context(), c, channel.Outgoing{To: "C1", Thread: "1.0", Text: "<!channel> & <@U1>", TurnID: "t9", Part: 2}); f != nil {
		t.Fatal(f)
	}
	meta := fmt.Sprint(got.body["metadata"])
	if got.path != "/api/chat.postMessage" || got.auth != "Bearer xoxb-1" || !strings.HasPrefix(got.kind, "application/json") ||
		got.body["text"] != "&lt;!channel&gt; &amp; &lt;@U1&gt;" || got.body["thread_ts"] != "1.0" || got.body["channel"] != "C1" ||
		got.body["mrkdwn"] != false || got.body["link_names"] != false || got.body["unfurl_links"] != false || got.body["unfurl_media"] != false || !strings.Contains(meta, "t9") {
		t.Fatalf("%+v", got)
	}
	// Only what Split made goes out as it is.
	if _, f := (Adapter{}).Send(t.Context(), c, channel.Outgoing{To: "C1", Text: "*a* <https://x.example>", Format: mrkdwn}); f != nil ||
		got.body["text"] != "*a* <https://x.example>" || got.body["mrkdwn"] != true {
		t.Fatalf("%+v %+v", f, got)
	}
}

// allowed is everything that may follow an angle bracket or an ampersand: an
// address of the web, or the end of one, a quotation, one of three escapes.
var allowed = regexp.MustCompile(`<https?://[!-;=?-{}~]+(\|[^<>]*)?>|&(amp|lt|gt);|(?m:^)> `)

func checkPiece(t *testing.T, p channel.Piece) {
	t.Helper()
	if n := len(utf16.Encode([]rune(p.Text))); n > 4000 || p.Text == "" || p.Format != mrkdwn {
		t.Errorf("a piece of %d units, %q", n, p.Format)
	}
	if rest := allowed.ReplaceAllString(p.Text, ""); strings.ContainsAny(rest, "<>&") {
		t.Errorf("%q is left of %q", rest, p.Text)
	}
	if strings.Count(p.Text, "```")%2 != 0 {
		t.Errorf("open code in %q", p.Text)
	}
}

// TestSplit: what a model writes in Slack's form; nothing of it mentions anybody.
func TestSplit(t *testing.T) {
	source := "# Head\n\n**b** _i_ ~~s~~ `c<d>`\n\n- one\n- [docs](https://x.example/?a=1&b=2)\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n" +
		"```go\nif a < b && c {}\n```\n\n> said\n\n<!channel> <@U012> <!subteam^S1|x> <mailto:x@y.example|<!here>> <https://x.example|@here>\n\n<script>&lt;!everyone&gt;</script>"
	want := "*Head*\n\n*b* _i_ ~s~ `c&lt;d&gt;`\n\n• one\n• <https://x.example/?a=1&amp;b=2|docs>\n\n```\na | b\n--|--\n1 | 2\n```\n\n" +
		"```\nif a &lt; b &amp;&amp; c {}\n```\n\n> said\n\n&lt;!channel&gt; &lt;@U012&gt; &lt;!subteam^S1|x&gt; "
	got := Adapter{}.Split(source)
	if len(got) != 1 || !strings.HasPrefix(got[0].Text, want) || strings.Contains(got[0].Text, "<!") || strings.Contains(got[0].Text, "<@") {
		t.Fatalf("%q\nwant %q", got, want)
	}
	if plain := got[0].Plain; !strings.HasPrefix(plain, "Head\n\nb i s c<d>\n\n• one\n• docs") || !strings.Contains(plain, "<!channel> <@U012>") {
		t.Errorf("%q", plain)
	}
	checkPiece(t, got[0])
	total := 0
	for _, p := range (Adapter{}).Split(strings.Repeat("a&b<c>😀 ", 20_000) + "\n\n```\n" + strings.Repeat("x <y>\n", 2000) + "```") {
		checkPiece(t, p)
		total += len(p.Text)
	}
	if total < 400_000 {
		t.Errorf("%d bytes", total)
	}
}

// FuzzSplit: whatever a model writes, a piece is within the limit, and nothing in
// it is a mention or a command of Slack's.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{"<!channel>", "<@U1|x>", "[<!here>](https://x.example/|<@U1>)", "&lt;!here&gt;", "<https://a.example|<!here>>", "```\n<!here>\n", "> <!here>", "`<!here>`", "![<@U1>](https://x.example/<!here>)", "| <!here> |\n|---|", "![<@U1>](Https://x.example/<!here>)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, p := range (Adapter{}).Split(s) {
			checkPiece(t, p)
		}
	})
}

func TestSetup(t *testing.T) {
	e := Entry()
	in := channel.SetupInput{InstallID: "i1", CallbackURL: "https://x.example/webhooks/slack/i1", State: "verifying", AppName: "Support",
		Config: config(), SecretsSet: []string{signingSecret, botToken}, Bindings: 1, DeliveryCodes: []string{"hook.handshake", "hook.sig_mismatch"}}
	s := e.Setup(in)
	b, err := json.Marshal(s)
	if err != nil || bytes.Count(b, []byte(in.CallbackURL)) != 3 {
		t.Fatalf("%s %v", b, err)
	}
	if !slices.Contains(s.Scopes, "commands") || !bytes.Contains(b, []byte("/ask")) {
		t.Errorf("nothing of slash commands: %s", b)
	}
	results := map[string]channel.CheckResult{}
	for _, c := range s.Checklist {
		results[c.ID] = c.Result
	}
	for id, want := range map[string]channel.CheckResult{"secrets": channel.Passed, "identity": channel.Passed, "handshake": channel.Passed,
		"tampered": channel.Passed, "tenant": channel.Passed, "binding": channel.Passed, "active": channel.Pending, "event": channel.Pending,
		"bot_user": channel.Pending, "sign_off": channel.Manual} {
		if results[id] != want {
			t.Errorf("%s: %q, want %q", id, results[id], want)
		}
	}
	in.DeliveryCodes = append(in.DeliveryCodes, "hook.tenant_mismatch")
	if i := slices.IndexFunc(e.Setup(in).Checklist, func(c channel.Check) bool { return c.ID == "tenant" && c.Result == channel.Failed }); i < 0 {
		t.Error("a tenant mismatch must fail the item")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{post(""), post(`,"subtype":"message_changed"`), callback(`{"type":"app_uninstalled"}`), `{"type":"url_verification","challenge":"x"}`, `{}`,
		strings.Replace(post(""), `"text":"hi"`, `"text":"<@UBOT|n> &amp;lt;"`, 1),
		post(`,"subtype":"file_share","files":[{"id":"F1","subtype":"slack_audio","mimetype":"video/mp4","name":"audio_message.m4a","size":9,"duration_ms":3100}]`), form(pressPayload),
		documented, used(fText, ""), "ssl_check=1&token=x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := parse(webhook.Input{Body: b, Config: config()})
		if e := in.Envelope; err == nil && (in.Kind == channel.Pressed) != (e.Pressed != "") || e.Pressed != "" && (len(e.Pressed) > channel.MaxRef || e.EventID == "" || e.Space == "" || e.Actor == "") {
			t.Fatalf("%+v", in)
		}
		if err == nil && in.Kind == channel.Message && (in.Envelope.EventID == "" || in.Envelope.Space == "" || in.Envelope.Actor == "" || in.Envelope.IsBot || in.Envelope.Empty() || !channeltest.Bounded(in.Envelope)) {
			t.Fatalf("%+v", in)
		}
	})
}
