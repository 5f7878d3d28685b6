package googlechat

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channel/channeltest"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
)

const (
	callback = "https://latchkey.example/webhooks/google_chat/i1"
	space    = "spaces/AAAAAAAAAAA"
	asked    = space + "/messages/CCC.CCC"
	topic    = space + "/threads/TTT"
	ada      = "users/12345678901234567890"
	room     = `{"name":"` + space + `","type":"ROOM","spaceType":"SPACE","spaceThreadingState":"THREADED_MESSAGES","customer":"customers/C01"}`
	alone    = `{"name":"` + space + `","type":"DM","spaceType":"DIRECT_MESSAGE","singleUserBotDm":true,"spaceThreadingState":"UNTHREADED_MESSAGES"}`
	human    = `{"name":"` + ada + `","displayName":"Ada","type":"HUMAN","domainId":"d1"}`
	atUs     = `{"type":"USER_MENTION","startIndex":0,"length":7,"userMention":{"user":{"name":"users/99","type":"BOT"},"type":"MENTION"}}`
)

func header(audience string) webhook.Header {
	claims, _ := json.Marshal(map[string]any{"aud": audience})
	return webhook.Header{"authorization": {"Bearer e30." + base64.RawURLEncoding.EncodeToString(claims) + ".e30"}}
}

func config(audience, customer string) webhook.Config {
	c := webhook.Config{"audience": {audience}}
	if customer != "" {
		c["customer"] = []string{customer}
	}
	return c
}

func event(kind, space, more string) string {
	return `{"type":"` + kind + `","eventTime":"2026-03-04T05:06:07.123456Z","space":` + space + `,"user":` + human + more + `}`
}

func said(space, sender, more string) string {
	return event("MESSAGE", space, `,"message":{"name":"`+asked+`","sender":`+sender+`,"createTime":"2026-03-04T05:06:07.123456Z","thread":{"name":"`+topic+`"}`+more+`}`)
}

func upload(kind, id string) string {
	return `,"attachment":[{"name":"x","contentName":"note.m4a","contentType":"` + kind + `","source":"UPLOADED_CONTENT","attachmentDataRef":{"resourceName":"` + id + `"}}]`
}

func text(s string) string { b, _ := json.Marshal(s); return `,"text":` + string(b) }

func TestAdapter(t *testing.T) {
	ev := func(e string, k channel.Kind, why webhook.Reason) channeltest.Event {
		return channeltest.Event{Body: e, Kind: k, Reason: why}
	}
	refused := func(status int, name, code string, token bool) channeltest.Answer {
		return channeltest.Answer{Status: status, Body: `{"error":{"code":1,"message":"x","status":"` + name + `"}}`, Failure: channel.Failure{Certainty: channel.Refused, Code: code, TokenRejected: token}}
	}
	hello := said(room, human, text("@Helper hi")+`,"argumentText":" hi","annotations":[`+atUs+`]`)
	channeltest.Run(t, channeltest.Harness{
		Entry: Entry(), Config: config(callback, ""), Foreign: config("https://latchkey.example/webhooks/google_chat/i2", ""), Header: header(callback), To: space, Thread: topic, NoEdits: true,
		Events: map[string]channeltest.Event{
			"mention":        ev(hello, channel.Message, ""),
			"direct":         ev(said(alone, human, text("hi")), channel.Message, ""),
			"added by name":  ev(strings.Replace(hello, `"MESSAGE"`, `"ADDED_TO_SPACE"`, 1), channel.Message, ""),
			"command":        ev(said(room, human, text("/sales price")+`,"slashCommand":{"commandId":"1"}`), channel.Message, ""),
			"newer command":  ev(strings.Replace(hello, `"MESSAGE"`, `"APP_COMMAND"`, 1), channel.Message, ""),
			"own":            ev(said(room, `{"name":"users/app","type":"BOT"}`, text("hi")), channel.Ignored, channel.SelfIgnored),
			"another bot":    ev(said(room, `{"name":"users/77","type":"BOT"}`, text("hi")), channel.Ignored, channel.BotIgnored),
			"recording":      ev(said(alone, human, upload("audio/mp4", "media-1=")), channel.Message, ""),
			"in Drive":       ev(said(alone, human, `,"attachment":[{"contentType":"audio/mp4","driveDataRef":{"driveFileId":"x"}}]`), channel.Ignored, channel.EventIgnored),
			"odd recording":  ev(said(alone, human, upload("audio/mp4", "a/../b")), channel.Ignored, channel.EventIgnored),
			"picture":        ev(said(alone, human, `,"attachment":[{"contentType":"image/png"}]`), channel.Ignored, channel.EventIgnored),
			"captioned":      ev(said(alone, human, text("What is this?")+`,"attachment":[{"contentType":"image/png"}]`), channel.Message, ""),
			"mention alone":  ev(said(room, human, text("@Helper")+`,"argumentText":"","annotations":[`+atUs+`]`), channel.Ignored, channel.EventIgnored),
			"added":          ev(event("ADDED_TO_SPACE", room, ""), channel.Ignored, channel.EventIgnored),
			"removed":        ev(event("REMOVED_FROM_SPACE", room, ""), channel.Ignored, channel.RevokedByVendor),
			"click":          ev(strings.Replace(hello, `"MESSAGE"`, `"CARD_CLICKED"`, 1), channel.Ignored, channel.EventIgnored),
			"quick command":  ev(event("APP_COMMAND", room, `,"appCommandMetadata":{"appCommandId":1}`), channel.Ignored, channel.EventIgnored),
			"not known":      ev(event("NEWEST", room, ""), channel.Ignored, channel.EventIgnored),
			"without spaces": ev(`{"type":"WIDGET_UPDATED"}`, channel.Ignored, channel.EventIgnored),
		},
		Malformed: map[string]string{
			"no type": `{}`, "add-on": `{"commonEventObject":{},"chat":{"messagePayload":{"message":{"name":"` + asked + `"}}}}`, "no message": event("MESSAGE", room, ""),
			"odd space": event("MESSAGE", `{"name":"rooms/A"}`, ""), "odd customer": event("ADDED_TO_SPACE", `{"name":"`+space+`","customer":"C01"}`, ""),
			"no name": strings.Replace(hello, asked, "", 1), "another space": strings.Replace(hello, asked, "spaces/B/messages/C", 1), "thread elsewhere": strings.Replace(hello, topic, "spaces/B/threads/T", 1),
			"no sender": strings.Replace(said(room, `{"type":"HUMAN"}`, text("x")), `"user"`, `"x"`, 1), "odd sender": said(room, `{"name":"ada"}`, text("x")), "no space": said(`{}`, human, text("x")),
		},
		Posted: `{"name":"` + space + `/messages/DDD.DDD","thread":{"name":"` + topic + `"}}`, PostedID: space + "/messages/DDD.DDD",
		Answers: map[string]channeltest.Answer{
			"token":         refused(401, "UNAUTHENTICATED", "unauthenticated", true),
			"not a member":  refused(403, "PERMISSION_DENIED", "permission_denied", false),
			"space is gone": refused(404, "NOT_FOUND", "not_found", false),
			"malformed":     refused(400, "INVALID_ARGUMENT", "invalid_argument", false),
			"not known":     refused(400, "NEWEST", "http_400", false),
			"aborted":       refused(409, "ABORTED", "http_409", false),
			"no name":       {Status: 200, Body: `{}`, Failure: channel.Failure{Certainty: channel.Ambiguous, Code: "answer_without_name"}},
			"500 by name":   {Status: 500, Body: `{"error":{"status":"NOT_FOUND"}}`, Failure: channel.Failure{Certainty: channel.Ambiguous, Code: "http_500"}},
		},
	})
}

// TestEnvelopes: where a message came from, whom it names, and how it is answered.
func TestEnvelopes(t *testing.T) {
	base := channel.Envelope{Provider: "google_chat", Account: callback, EventID: asked, Space: space, Actor: ada, Message: asked,
		SentAt: time.Date(2026, 3, 4, 5, 6, 7, 123456000, time.UTC)}
	among := base
	among.Team, among.Thread = "customers/C01", topic
	direct := base
	direct.Direct = true
	named, slash, someone, plainly, unthreaded := among, among, among, direct, among
	named.Text, named.Mention, named.Addressed = "sales how much?", true, []string{"sales"}
	slash.Text, slash.Mention, slash.Addressed = "/sales price", true, []string{"sales"}
	someone.Text = "@Grace hi"
	plainly.Text, plainly.Addressed = "sales: hi", []string{"sales"}
	unthreaded.Text, unthreaded.Mention, unthreaded.Thread, unthreaded.Addressed = "hi", true, "", []string{"hi"}
	command := `{"type":"SLASH_COMMAND","startIndex":0,"length":6,"slashCommand":{"bot":{"name":"users/99","type":"BOT"},"type":"INVOKE","commandName":"/Sales","commandId":"1"}}`
	for name, c := range map[string]struct {
		body string
		want channel.Envelope
	}{
		"named":      {said(room, human, text("@Helper sales how much?")+`,"argumentText":" sales how much? ","annotations":[`+atUs+`]`), named},
		"slash":      {said(room, human, text("/sales price")+`,"argumentText":" price","annotations":[`+command+`],"slashCommand":{"commandId":"1"}`), slash},
		"somebody":   {said(room, human, text("@Grace hi")+`,"annotations":[{"type":"USER_MENTION","userMention":{"user":{"name":"users/5","type":"HUMAN"}}}]`), someone},
		"direct":     {said(alone, human, text("sales: hi")), plainly},
		"group chat": {said(strings.Replace(room, `"SPACE"`, `"GROUP_CHAT"`, 1), human, text("@Helper hi")+`,"argumentText":" hi","annotations":[`+atUs+`]`), unthreaded},
		"no threads": {said(strings.Replace(room, `"THREADED_MESSAGES"`, `"UNTHREADED_MESSAGES"`, 1), human, text("@Helper hi")+`,"argumentText":" hi","annotations":[`+atUs+`]`), unthreaded},
	} {
		all, err := Adapter{}.Parse(webhook.Input{Config: config(callback, ""), Header: header(callback), Body: []byte(c.body)})
		if err != nil || len(all) != 1 || !reflect.DeepEqual(all[0].Envelope, c.want) {
			t.Errorf("%s: %v\n%+v, want\n%+v", name, err, all, c.want)
		}
	}
}

func TestMedia(t *testing.T) {
	channeltest.RunMedia(t, channeltest.Media{Entry: Entry(), Config: config(callback, ""), Where: "/media/media-1=",
		Attachment: channel.Attachment{ID: "media-1=", Kind: channel.AudioFile, MIME: "audio/ogg"}})
	all, err := Adapter{}.Parse(webhook.Input{Config: config(callback, ""), Header: header(callback), Body: []byte(said(alone, human, upload("audio/mp4", "media-1=")))})
	want := []channel.Attachment{{ID: "media-1=", Kind: channel.AudioFile, MIME: "audio/mp4", Name: "note.m4a"}}
	if err != nil || !reflect.DeepEqual(all[0].Envelope.Media, want) {
		t.Errorf("%v %+v", err, all)
	}
	for _, bad := range []string{"", "a?alt=x", "a#b", "../x", "a//b", "a%2e", "a b"} {
		if f := channeltest.FetchOnce(t, channeltest.Media{Entry: Entry(), Attachment: channel.Attachment{ID: bad}}); f == nil || f.Code != channel.MediaRefused {
			t.Errorf("%q: %+v", bad, f)
		}
	}
}

// TestIdentity: the token's audience and the space's customer; a conversation of no
// customer is another tenant for nobody, but not answered where one is named.
func TestIdentity(t *testing.T) {
	for name, c := range map[string]struct {
		space, customer, audience string
		same                      bool
		kind                      channel.Kind
	}{
		"space, no customer set":      {room, "", callback, true, channel.Message},
		"space of the customer":       {room, "customers/C01", callback, true, channel.Message},
		"space of another":            {room, "customers/C02", callback, false, channel.Message},
		"direct, no customer set":     {alone, "", callback, true, channel.Message},
		"direct where one is set":     {alone, "customers/C01", callback, true, channel.Ignored},
		"a token for another project": {room, "", "123", false, channel.Message},
		"no token":                    {room, "", "", false, channel.Message},
	} {
		all, err := Adapter{}.Parse(webhook.Input{Config: config(callback, c.customer), Header: header(c.audience), Body: []byte(said(c.space, human, text("hi")))})
		if err != nil || all[0].Kind != c.kind || Entry().SameTenant(config(callback, c.customer), all[0].Identity) != c.same {
			t.Errorf("%s: %v %+v", name, err, all)
		}
	}
	a, b := tenantOf(config("1", "")), tenantOf(config("1", "customers/C01"))
	if a == b || a == tenantOf(config("2", "")) {
		t.Error("tenants that are one")
	}
}

// TestTenantsCanBeClaimed: what an install claims is an id as the store takes it.
func TestTenantsCanBeClaimed(t *testing.T) {
	longest := "customers/" + strings.Repeat("C", 64)
	for _, c := range []webhook.Config{config("1", ""), config("https://a.example/"+strings.Repeat("x", 152), longest)} {
		if _, of := Entry().Tenant(c); len(of) > 256 || strings.ContainsAny(of, " #") {
			t.Errorf("%d bytes: %s", len(of), of)
		}
	}
}

func tenantOf(c webhook.Config) string { app, of := Entry().Tenant(c); return app + "\x00" + of }

func TestSettings(t *testing.T) {
	for value, ok := range map[string]bool{callback: true, "123456789012": true, "": false, "http://a.example/": false, "https:///x": false, "https://a@b.example/": false,
		"https://a.example/#x": false, "https://a.example/" + strings.Repeat("x", 152): true, "https://a.example/" + strings.Repeat("x", 153): false, "https://a.example/a b": false, "123456789012345678901": false, "chat": false} {
		if validAudience(value) != ok {
			t.Errorf("%q: %v", value, !ok)
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

func (v *vendor) call(t *testing.T) channel.Call {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		v.mu.Lock()
		defer v.mu.Unlock()
		v.got, v.heads = append(v.got, r.Method+" "+r.URL.String()+" "+string(b)), append(v.heads, r.Header)
		w.WriteHeader(v.status)
		_, _ = io.WriteString(w, v.answer)
	}))
	t.Cleanup(s.Close)
	return channel.Call{HTTP: s.Client(), BaseURL: s.URL, Token: secret.FromString("token-1")}
}

func TestSend(t *testing.T) {
	v := &vendor{status: 200, answer: `{"name":"` + space + `/messages/D"}`}
	out := channel.Outgoing{To: space, Thread: topic, Text: "*a* <" + "users/all>", Format: marked, TurnID: "t1", Part: 1}
	first := "client-" + hash("t1/1")
	if id, f := (Adapter{}).Send(t.Context(), v.call(t), out); f != nil || id != space+"/messages/D" {
		t.Fatalf("%q %+v", id, f)
	}
	want := `POST /` + space + `/messages?messageId=` + first + `&messageReplyOption=REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD {"markupSyntax":"MARKUP_SYNTAX_CHAT","text":"*a* \u003cusers/all\u003e","thread":{"name":"` + topic + `"}}`
	if v.got[0] != want || v.heads[0].Get("Authorization") != "Bearer token-1" {
		t.Errorf("%s\nwant\n%s", v.got[0], want)
	}
	// What is not of Split mentions nobody; another part has another name.
	out.Thread, out.Format, out.Part = "", "", 2
	_, _ = Adapter{}.Send(t.Context(), v.call(t), out)
	if want := `POST /` + space + `/messages?messageId=client-` + hash("t1/2") + ` {"markupSyntax":"MARKUP_SYNTAX_CHAT","text":"*a* \u003c` + guard + `users/all\u003e"}`; v.got[1] != want {
		t.Errorf("%s\nwant\n%s", v.got[1], want)
	}
	// A message of that name is there: it is ours.
	v.status, v.answer = 409, `{"error":{"code":409,"status":"ALREADY_EXISTS"}}`
	if id, f := (Adapter{}).Send(t.Context(), v.call(t), out); f != nil || id != space+"/messages/client-"+hash("t1/2") || len(id) > len(space)+len("/messages/")+63 {
		t.Errorf("%q %+v", id, f)
	}
	before := len(v.got)
	for _, bad := range []channel.Outgoing{{To: "rooms/A"}, {To: space + "/messages"}, {To: "spaces/../x"}, {To: space, Thread: "spaces/B/threads/T"}, {To: space, Thread: "T"}} {
		if _, f := (Adapter{}).Send(t.Context(), v.call(t), bad); f == nil || f.Certainty != channel.Refused || f.Code != "space_malformed" || len(v.got) != before {
			t.Errorf("%+v: %+v", bad, f)
		}
	}
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	const digits = "0123456789abcdef"
	var b strings.Builder
	for _, c := range sum[:16] {
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}

func TestEdit(t *testing.T) {
	id := space + "/messages/client-1"
	out := channel.Outgoing{To: space, Text: "more", Format: marked}
	v := &vendor{status: 200, answer: `{"name":"` + id + `"}`}
	if f := (Adapter{}).Edit(t.Context(), v.call(t), out, id); f != nil {
		t.Fatalf("%+v", f)
	}
	if want := `PATCH /` + id + `?updateMask=text {"markupSyntax":"MARKUP_SYNTAX_CHAT","text":"more"}`; v.got[0] != want {
		t.Errorf("%s", v.got[0])
	}
	for status, code := range map[int]string{404: channel.MessageGone, 403: "http_403", 401: "http_401"} {
		v.status, v.answer = status, "{}"
		if f := (Adapter{}).Edit(t.Context(), v.call(t), out, id); f == nil || f.Certainty != channel.Refused || f.Code != code {
			t.Errorf("%d: %+v", status, f)
		}
	}
	before := len(v.got)
	if f := (Adapter{}).Edit(t.Context(), v.call(t), out, "spaces/B/messages/C"); f == nil || f.Code != "message_malformed" || len(v.got) != before {
		t.Errorf("%+v", f)
	}
}

// keyFile is a service account's file, as Google makes it.
func keyFile(t testing.TB, k any, change map[string]any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	file := map[string]any{"type": "service_account", "project_id": "p", "private_key_id": "k1", "private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"client_email": "bot@p.iam.gserviceaccount.com", "token_uri": "https://evil.example/token"}
	maps.Copy(file, change)
	b, _ := json.MarshalIndent(file, "", "  ")
	return b
}

func TestTrade(t *testing.T) {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	v := &vendor{status: 200, answer: `{"access_token":"ya29.x","expires_in":3599,"token_type":"Bearer"}`}
	c := v.call(t)
	c.Token = secret.New(keyFile(t, k, nil))
	got, f := trade(t.Context(), c, now)
	if f != nil || !got.Token.Equal(secret.FromString("ya29.x")) || got.Life != 3599*time.Second || len(v.got) != 1 {
		t.Fatalf("%+v %+v", got, f)
	}
	form, ok := strings.CutPrefix(v.got[0], "POST /token ")
	q, err := url.ParseQuery(form)
	if !ok || err != nil || q.Get("grant_type") != grantType || v.heads[0].Get("Authorization") != "" || v.heads[0].Get("Content-Type") != "application/x-www-form-urlencoded" {
		t.Fatalf("%s %v", v.got[0], v.heads[0])
	}
	parts := strings.Split(q.Get("assertion"), ".")
	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err != nil || rsa.VerifyPKCS1v15(&k.PublicKey, crypto.SHA256, sum[:], sig) != nil {
		t.Error("the claim is not signed with the key")
	}
	var head, claims map[string]any
	for i, into := range []*map[string]any{&head, &claims} {
		b, _ := base64.RawURLEncoding.DecodeString(parts[i])
		if json.Unmarshal(b, into) != nil {
			t.Fatalf("%s", b)
		}
	}
	if !reflect.DeepEqual(head, map[string]any{"alg": "RS256", "typ": "JWT", "kid": "k1"}) ||
		!reflect.DeepEqual(claims, map[string]any{"iss": "bot@p.iam.gserviceaccount.com", "scope": "https://www.googleapis.com/auth/chat.bot", "aud": "https://oauth2.googleapis.com/token",
			"iat": float64(now.Unix()), "exp": float64(now.Add(time.Hour).Unix())}) {
		t.Errorf("%v %v", head, claims)
	}
	for name, a := range map[string]struct {
		status int
		body   string
		want   channel.Failure
	}{
		"key is gone": {400, `{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`, channel.Failure{Certainty: channel.Refused, Code: "invalid_grant", TokenRejected: true}},
		"client":      {401, `{"error":"invalid_client"}`, channel.Failure{Certainty: channel.Refused, Code: "invalid_client", TokenRejected: true}},
		"ours":        {400, `{"error":"invalid_scope"}`, channel.Failure{Certainty: channel.NotSent, Code: "http_400"}},
		"free words":  {400, `{"error":"Hello there"}`, channel.Failure{Certainty: channel.NotSent, Code: "http_400"}},
		"no words":    {401, `{}`, channel.Failure{Certainty: channel.NotSent, Code: "http_401"}},
		"forbidden":   {403, `x`, channel.Failure{Certainty: channel.NotSent, Code: "http_403"}},
		"moved":       {302, ``, channel.Failure{Certainty: channel.NotSent, Code: "http_302"}},
		"busy":        {429, ``, channel.Failure{Certainty: channel.RateLimited, Code: "ratelimited", RetryAfter: 30 * time.Second}},
		"broken":      {500, ``, channel.Failure{Certainty: channel.Ambiguous, Code: "http_500"}},
		"no token":    {200, `{"expires_in":3599}`, channel.Failure{Certainty: channel.NotSent, Code: "answer_malformed"}},
		"no life":     {200, `{"access_token":"x"}`, channel.Failure{Certainty: channel.NotSent, Code: "answer_malformed"}},
		"odd token":   {200, `{"access_token":"x\r\nA: b","expires_in":1}`, channel.Failure{Certainty: channel.NotSent, Code: "answer_malformed"}},
		"dead token":  {200, `{"access_token":"x","expires_in":0}`, channel.Failure{Certainty: channel.NotSent, Code: "answer_malformed"}},
	} {
		v.status, v.answer = a.status, a.body
		if got, f := trade(t.Context(), c, now); f == nil || *f != a.want || !got.Token.IsZero() {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// TestKeyFiles: what cannot sign is refused when it is saved, and asks nobody.
func TestKeyFiles(t *testing.T) {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	valid := Entry().Secrets[slices.IndexFunc(Entry().Secrets, func(f channel.SecretField) bool { return f.Name == accountJSON })].Valid
	if !valid(keyFile(t, k, nil)) {
		t.Fatal("a good file is refused")
	}
	v := &vendor{status: 200}
	for name, b := range map[string][]byte{"nothing": nil, "a token": []byte("ya29.x"), "a user's": keyFile(t, k, map[string]any{"type": "authorized_user"}), "no key": keyFile(t, k, map[string]any{"private_key": ""}),
		"no PEM": keyFile(t, k, map[string]any{"private_key": "x"}), "a short key": keyFile(t, small, nil), "no address": keyFile(t, k, map[string]any{"client_email": "x"}),
		"an odd id": keyFile(t, k, map[string]any{"private_key_id": "a b"}), "large": keyFile(t, k, map[string]any{"x": strings.Repeat("x", maxAccount)}),
		"twice": []byte(strings.Replace(string(keyFile(t, k, nil)), `"type"`, `"type":"service_account","type"`, 1))} {
		c := v.call(t)
		c.Token = secret.New(b)
		if _, f := trade(t.Context(), c, time.Unix(0, 0)); valid(b) || f == nil || *f != (channel.Failure{Certainty: channel.Refused, Code: "service_account_malformed", TokenRejected: true}) || len(v.got) != 0 {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// TestMarks: what a model writes in Chat's form, and nothing of it a mention or a
// link with another's label.
func TestMarks(t *testing.T) {
	for source, want := range map[string]string{
		"**bold** and *italic* and ~~gone~~": "*bold* and _italic_ and ~gone~",
		"# Title\n\n- one\n- two":            "*Title*\n\n• one\n• two",
		"`code` and\n```go\nx := 1 < 2\n```": "`code` and\n\n```\nx := 1 <" + guard + " 2\n```",
		"<users/all> hi":                     "<" + guard + "users/all> hi",
		"[here](https://a.example/x)":        "<https://a.example/x|here>",
		"[a|b>c](https://a.example/x)":       "<https://a.example/x|a¦b›c>",
		"https://a.example/x":                "<https://a.example/x>",
	} {
		if got := (Adapter{}).Split(source); len(got) != 1 || got[0].Text != want || got[0].Format != marked {
			t.Errorf("%q: %q, want %q", source, got, want)
		}
	}
}

func TestSetup(t *testing.T) {
	in := channel.SetupInput{CallbackURL: callback, Config: config(callback, ""), SecretsSet: []string{accountJSON}, DeliveryCodes: []string{string(webhook.TenantMismatch)}}
	s := setup(in)
	if s.CallbackURLs[0] != callback || s.IdentityNote == "" || len(s.Steps) == 0 {
		t.Errorf("%+v", s)
	}
	for _, c := range s.Checklist {
		if want := map[string]channel.CheckResult{"secrets": channel.Passed, "identity": channel.Passed, "tenant": channel.Failed, "event": channel.Pending}[c.ID]; want != "" && c.Result != want {
			t.Errorf("%+v", c)
		}
	}
}

// FuzzParse: whatever comes, it is refused or gives one bounded event.
func FuzzParse(f *testing.F) {
	for _, b := range []string{said(room, human, text("hi")), said(alone, human, text("sales: hi")), event("REMOVED_FROM_SPACE", room, ""), `{"type":"WIDGET_UPDATED"}`,
		said(room, human, text("/a b")+`,"annotations":[`+atUs+`,{"type":"SLASH_COMMAND","slashCommand":{"commandName":"/a"}}]`)} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := Adapter{}.Parse(webhook.Input{Body: b, Header: header(callback), Config: config(callback, "customers/C01")})
		if err != nil {
			if fault.CodeOf(err) != fault.InvalidRequest {
				t.Fatal(err)
			}
			return
		}
		if len(all) != 1 {
			t.Fatalf("%d events", len(all))
		}
		if e := all[0]; len(e.Envelope.EventID) > 512 || e.Kind == channel.Message && (e.Envelope.Space == "" || e.Envelope.Actor == "" || e.Envelope.Empty() || e.Envelope.IsBot || !channeltest.Bounded(e.Envelope)) {
			t.Fatalf("%+v", e)
		}
	})
}

// FuzzSplit: whatever a model writes, a piece is within the limit and mentions nobody.
func FuzzSplit(f *testing.F) {
	f.Add("# a\n**b** `c`\n```\nd <users/all>")
	f.Fuzz(func(t *testing.T, s string) {
		for _, p := range (Adapter{}).Split(s) {
			if len(p.Text) == 0 || len(p.Text) > maxText || strings.Contains(p.Text, "<users/") {
				t.Errorf("%d bytes: %q", len(p.Text), p.Text)
			}
		}
	})
}

// FuzzAccount: whatever is saved as a key, it is refused or signs.
func FuzzAccount(f *testing.F) {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(keyFile(f, k, nil))
	f.Add([]byte(`{"type":"service_account","client_email":"a@b","private_key":"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, ok := readAccount(b); ok && (a.key == nil || a.email == "") {
			t.Fatalf("%s signs with nothing", a.email)
		}
	})
}
