package profiles_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// TestMailgunForms: events come as JSON, stored messages and routes as forms.
func TestMailgunForms(t *testing.T) {
	var signed webhook.Input
	for _, s := range senders(t) {
		if s.name == taxonomy.ProfileMailgun {
			signed = s.signed(t, s.keys[0], clock())
		}
	}
	var j struct {
		Signature struct{ Timestamp, Token, Signature string } `json:"signature"`
	}
	if err := json.Unmarshal(signed.Body, &j); err != nil {
		t.Fatal(err)
	}
	ts, token, sig := j.Signature.Timestamp, j.Signature.Token, j.Signature.Signature
	part := func(name, v string) string {
		return "--b\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + v + "\r\n"
	}
	form := url.Values{"timestamp": {ts}, "token": {token}, "signature": {sig}, "subject": {"x"}}.Encode()
	multi := part("subject", "x") + part("timestamp", ts) + part("token", token) + part("signature", sig)
	const formType, multiType = "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"
	object := func(ts, token, sig string) string {
		return `{"signature":{"timestamp":` + ts + `,"token":"` + token + `","signature":"` + sig + `"},"event-data":{}}`
	}
	for _, c := range []struct {
		name, kind, body string
		want             webhook.Reason
	}{
		{"form", formType, form, ""},
		{"form without type", "", form, ""},
		{"multipart", multiType, multi + "--b--", ""},
		{"JSON", "application/json", object(`"`+ts+`"`, token, sig), ""},
		{"JSON, time as a number", "application/json", object(ts, token, sig), ""},
		{"another time", "", object(`"`+ts[:9]+`0"`, token, sig), webhook.SigMismatch},
		{"digit moved from token to time", "", object(`"`+ts+token[:1]+`"`, token[1:], sig), webhook.SigFormat},
		{"digit moved from time to token", "", object(`"`+ts[:9]+`"`, ts[9:]+token, sig), webhook.SigFormat},
		{"no token", "", object(`"`+ts+`"`, "", sig), webhook.SigMissing},
		{"no MAC", "", `{"signature":{"timestamp":"1","token":"x"}}`, webhook.SigMissing},
		{"no object", "", `{}`, webhook.SigMissing},
		{"same member twice", "", `{"signature":{},` + object(`"`+ts+`"`, token, sig)[1:], webhook.SigFormat},
		{"long token", "", object(`"`+ts+`"`, strings.Repeat("a", 257), sig), webhook.SigFormat},
		{"form, token twice", formType, form + "&token=x", webhook.HeaderDuplicate},
		{"multipart, token twice", multiType, multi + part("token", token) + "--b--", webhook.HeaderDuplicate},
		{"multipart, cut off", multiType, multi, webhook.SigFormat},
		{"multipart without boundary", "multipart/form-data", multi + "--b--", webhook.SigFormat},
		{"multipart of too many parts", multiType, strings.Repeat(part("x", "y"), 250) + multi + "--b--", webhook.SigFormat},
	} {
		in := input("", c.body)
		if c.kind != "" {
			in.Header.Add("Content-Type", c.kind)
		}
		if got := reason(scheme(t, taxonomy.ProfileMailgun), in, clock(), text("first secret")); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestLists: what stands in a list beside, before and after the MAC that counts.
func TestLists(t *testing.T) {
	var s sender
	for _, x := range senders(t) {
		if x.name == taxonomy.ProfileStripe {
			s = x
		}
	}
	in := s.signed(t, s.keys[0], clock())
	good := in.Header["stripe-signature"][0]
	at, mac, _ := strings.Cut(good, ",")
	zero := "v1=" + strings.Repeat("0", 64)
	for _, c := range []struct {
		name, header string
		want         webhook.Reason
	}{
		{"while the secret is rolled", at + "," + zero + "," + mac, ""},
		{"other way round", at + "," + mac + "," + zero, ""},
		{"test event's tag beside", at + ",v0=" + mac[3:] + "," + mac, ""},
		{"test event's tag alone", at + ",v0=" + mac[3:], webhook.AlgRefused},
		{"two times", at + ",t=1," + mac, webhook.HeaderDuplicate},
		{"joined by a gateway", good + "," + good, webhook.HeaderDuplicate},
		{"no time", mac, webhook.SigFormat},
		{"no MAC", at, webhook.SigMissing},
		{"first characters only", at + "," + mac[:20], webhook.SigFormat},
		{"others only", at + "," + zero, webhook.SigMismatch},
	} {
		in.Header["stripe-signature"] = []string{c.header}
		if got := reason(scheme(t, taxonomy.ProfileStripe), in, clock(), text(s.keys[0])); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestDecodedURL: HubSpot signs the URL with reserved characters decoded.
func TestDecodedURL(t *testing.T) {
	s := scheme(t, taxonomy.ProfileHubSpot).(webhook.HMAC)
	in := input("https://hooks.example/in?to=https%3A%2F%2Fa%3Fb&x=%20", "b")
	in.RawQuery = ""
	plain := s
	plain.Message = []webhook.Part{webhook.MethodText(), webhook.Literal("https://hooks.example/in?to=https://a?b&x=%20"), webhook.RawBody(), webhook.TimeText()}
	if err := plain.Sign(&in, text("k"), clock()); err != nil {
		t.Fatal(err)
	}
	if got := reason(s, in, clock(), text("k")); got != "" {
		t.Errorf("%q", got)
	}
	in.Method = "PUT"
	if got := reason(s, in, clock(), text("k")); got != webhook.SigMismatch {
		t.Errorf("another method: %q", got)
	}
}

// TestSharedValues: alphabets, schemes and methods of shared values.
func TestSharedValues(t *testing.T) {
	deepgram, telegram, assembly := scheme(t, taxonomy.ProfileDeepgram), scheme(t, taxonomy.ProfileTelegram), scheme(t, taxonomy.ProfileAssemblyAI)
	basic := "Basic dTpw" // u:p
	in := func(header, v string, config ...string) webhook.Input {
		in := input("", "x", header, v)
		for i := 0; i < len(config); i += 2 {
			in.Config[config[i]] = []string{config[i+1]}
		}
		return in
	}
	for _, c := range []struct {
		name   string
		s      webhook.Scheme
		in     webhook.Input
		secret string
		want   webhook.Reason
	}{
		{"basic", deepgram, in("Authorization", basic), "u:p", ""},
		{"basic, said", deepgram, in("Authorization", basic, "auth", "basic"), "u:p", ""},
		{"method that is no longer supported", deepgram, in("dg-token", "u:p", "auth", "dg_token"), "u:p", webhook.AlgRefused},
		{"header that is no longer supported", deepgram, in("dg-token", "u:p"), "u:p", webhook.SigMissing},
		{"bearer", deepgram, in("Authorization", "Bearer dTpw"), "u:p", webhook.SigFormat},
		{"beginning of the secret", deepgram, in("Authorization", basic), "u:p2", webhook.SigMismatch},
		{"more than the secret", deepgram, in("Authorization", "Basic dTpwMg=="), "u:p", webhook.SigMismatch},
		{"no base64", deepgram, in("Authorization", "Basic u:p"), "u:p", webhook.SigFormat},
		{"other alphabet", telegram, in("X-Telegram-Bot-Api-Secret-Token", "a b"), "a b", webhook.SigFormat},
		{"long", telegram, in("X-Telegram-Bot-Api-Secret-Token", strings.Repeat("a", 257)), strings.Repeat("a", 257), webhook.SigFormat},
		{"longest", telegram, in("X-Telegram-Bot-Api-Secret-Token", strings.Repeat("a", 256)), strings.Repeat("a", 256), ""},
		{"install's name of the header", assembly, in("X-Hook", "v", "auth_header", "x-hook"), "v", ""},
		{"no header configured", assembly, in("X-Hook", "v"), "v", webhook.NoSecret},
		{"another header", assembly, in("X-Hook", "v", "header", "X-Other"), "v", webhook.SigMissing},
	} {
		if got := reason(c.s, c.in, clock(), text(c.secret)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestIDCannotLendToTheTime: the same signed bytes, cut at another full stop.
func TestIDCannotLendToTheTime(t *testing.T) {
	s := scheme(t, taxonomy.ProfileStandardWebhooks)
	for _, x := range senders(t) {
		if x.name != taxonomy.ProfileStandardWebhooks {
			continue
		}
		in := x.signed(t, x.keys[0], clock().Add(-24*time.Hour))
		id, old := in.Header["webhook-id"][0], in.Header["webhook-timestamp"][0]
		fresh := strconv.FormatInt(clock().Unix(), 10)
		mac := x.signedLike(t, id, old, fresh+".x")
		in = input("", "x", "webhook-id", id+"."+old, "webhook-timestamp", fresh, "webhook-signature", mac)
		if got := reason(s, in, clock(), text(x.keys[0])); got != webhook.SigFormat {
			t.Errorf("%q", got)
		}
	}
}

// signedLike is the value that the sender makes for an id, a time and a body.
func (s sender) signedLike(t *testing.T, id, stamp, body string) string {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s.keys[0], "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	m := hmac.New(sha256.New, key)
	m.Write([]byte(id + "." + stamp + "." + body))
	return "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil))
}
