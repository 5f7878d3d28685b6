package slack

import (
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"

	vendor "github.com/slack-go/slack"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/webhook"
)

// documented is the example of docs.slack.dev/interactivity/implementing-slash-commands
// (read 2026-11) on one line.
const documented = "token=gIkuvaNzQIHg97ATvDxqgjtO&team_id=T0001&team_domain=example&enterprise_id=E0001&enterprise_name=Globular%20Construct%20Inc&channel_id=C2147483705&channel_name=test" +
	"&user_id=U2147483697&user_name=Steve&command=/weather&text=94070&response_url=https://hooks.slack.com/commands/1234/5678&trigger_id=13345224609.738474920.8088930838d88f008e0&api_app_id=A123456"

// used is the form of a command in the workspace of [config], with other fields; an
// empty value leaves one out.
func used(kv ...string) string {
	f := url.Values{"token": {"x"}, fTeam: {"T1"}, "team_domain": {"example"}, fChannel: {"C1"}, "channel_name": {"test"}, fUser: {"U1"}, "user_name": {"steve"}, fCommand: {"/ask"},
		fText: {"how much?"}, fApp: {"A1"}, fOrgWide: {"false"}, "response_url": {"https://hooks.slack.com/commands/T1/2/x"}, fTrigger: {"13345224609.738474920.8088930838d88f008e0"}}
	for i := 0; i < len(kv); i += 2 {
		if f.Set(kv[i], kv[i+1]); kv[i+1] == "" {
			f.Del(kv[i])
		}
	}
	return f.Encode()
}

// TestCommand: the documented body, of which the vendor's own reader and ours say the
// same.
func TestCommand(t *testing.T) {
	got, err := parse(webhook.Input{Config: config(), Body: []byte(documented)})
	want := channel.Inbound{Kind: channel.Message, Identity: channel.Identity{appID: "A123456", teamID: "T0001", enterpriseID: "E0001"},
		Envelope: channel.Envelope{Provider: "slack", EventID: "13345224609.738474920.8088930838d88f008e0", Account: "E0001", Team: "T0001", Space: "C2147483705", Actor: "U2147483697",
			Mention: true, Addressed: []string{"weather", "94070"}, Text: "94070"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("\n%+v\n%+v %v", got, want, err)
	}
	r := httptest.NewRequest("POST", "/", strings.NewReader(documented))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	theirs, err := vendor.SlashCommandParse(r)
	if e := got.Envelope; err != nil || theirs.TriggerID != e.EventID || theirs.TeamID != e.Team || theirs.EnterpriseID != e.Account || theirs.ChannelID != e.Space || theirs.UserID != e.Actor ||
		theirs.Text != e.Text || theirs.Command != "/"+e.Addressed[0] || theirs.APIAppID != got.Identity[appID] {
		t.Errorf("%+v %v", theirs, err)
	}
}

// TestCommandEnvelope: what a command says, to whom, and where.
func TestCommandEnvelope(t *testing.T) {
	type want struct {
		text   string
		names  []string
		direct bool
	}
	for name, c := range map[string]struct {
		body string
		want want
	}{
		"plain":             {used(), want{"how much?", []string{"ask", "how"}, false}},
		"nothing behind it": {used(fText, ""), want{"/ask", []string{"ask"}, false}},
		"blanks behind it":  {used(fText, " \n"), want{"/ask", []string{"ask"}, false}},
		"capitals":          {used(fCommand, "/Ask-Sales"), want{"how much?", []string{"ask-sales", "how"}, false}},
		"a name behind it":  {used(fText, "sales: how much?"), want{"sales: how much?", []string{"ask", "sales"}, false}},
		"not Latin":         {used(fCommand, "/質問"), want{"how much?", []string{"how"}, false}},
		"escapes":           {used(fText, "<@UBOT|helper> ¿a &lt;b&gt; &amp;amp; 😀 + &="), want{"¿a <b> &amp; 😀 + &=", []string{"ask"}, false}},
		"direct":            {used(fChannel, "D1", "channel_name", "directmessage"), want{"how much?", []string{"ask", "how"}, true}},
		"new fields":        {used("something_new", "x"), want{"how much?", []string{"ask", "how"}, false}},
	} {
		in, err := parse(webhook.Input{Config: config(botUserID, "UBOT"), Body: []byte(c.body)})
		e := in.Envelope
		if err != nil || in.Kind != channel.Message || !e.Mention || e.Thread != "" || e.ReplyTo != "" || !reflect.DeepEqual(want{e.Text, e.Addressed, e.Direct}, c.want) {
			t.Errorf("%s: %+v %v", name, in, err)
		}
	}
	if in, err := parse(webhook.Input{Config: config(botUserID, "U1"), Body: []byte(used())}); err != nil || in.Kind != channel.Ignored || in.Reason != channel.SelfIgnored {
		t.Errorf("the app's own user: %+v %v", in, err)
	}
}

// TestCommandIdentity: a command is of the installation that it names, as an event is.
func TestCommandIdentity(t *testing.T) {
	for name, c := range map[string]struct {
		body   string
		cfg    webhook.Config
		want   bool
		tenant string
	}{
		"own":                       {used(), config(), true, "T:T1"},
		"another app":               {used(fApp, "A2"), config(), false, "T:T1"},
		"another workspace":         {used(fTeam, "T2"), config(), false, "T:T2"},
		"no app":                    {used(fApp, ""), config(), false, "T:T1"},
		"no workspace":              {used(fTeam, ""), config(), false, ""},
		"workspace of a grid":       {used(fEnterprise, "E1"), config(), true, "T:T1"},
		"organisation":              {used(fEnterprise, "E1", fOrgWide, "true"), webhook.Config{appID: {"A1"}, enterpriseID: {"E1"}}, true, "E:E1"},
		"another organisation":      {used(fEnterprise, "E2", fOrgWide, "true"), webhook.Config{appID: {"A1"}, enterpriseID: {"E1"}}, false, "E:E2"},
		"organisation without name": {used(fOrgWide, "true"), webhook.Config{appID: {"A1"}, enterpriseID: {"E1"}}, false, ""},
	} {
		in, err := parse(webhook.Input{Config: c.cfg, Body: []byte(c.body)})
		if err != nil || Entry().SameTenant(c.cfg, in.Identity) != c.want || locate(in.Identity) != c.tenant {
			t.Errorf("%s: %v %q %v", name, in.Identity, locate(in.Identity), err)
		}
	}
}

// TestCertificateCheck: it is answered with nothing and starts nothing.
func TestCertificateCheck(t *testing.T) {
	if in, err := parse(webhook.Input{Config: config(), Body: []byte("ssl_check=1&token=x")}); err != nil || !reflect.DeepEqual(in, channel.Inbound{Kind: channel.Handshake}) {
		t.Errorf("%+v %v", in, err)
	}
}

// malformedForms are bodies that no command, press or check has.
func malformedForms() map[string]string {
	out := map[string]string{
		"check and command":  used() + "&ssl_check=1",
		"check and payload":  "ssl_check=1&" + form(pressPayload),
		"another check":      "ssl_check=2&token=x",
		"command, payload":   used() + "&" + form(pressPayload),
		"no command":         used(fCommand, ""),
		"a new field twice":  used() + "&something_new=1&something_new=2",
		"too many fields":    used() + strings.Repeat("&", maxFields),
		"a semicolon":        used() + "&a;b=1",
		"bad escape":         used() + "&a=%zz",
		"text that is none":  used(fText, "\xff"),
		"a name that is not": used() + "&%ff=1",
		"NUL":                used(fText, "a\x00b"),
		"without a slash":    used(fCommand, "ask"),
		"slash alone":        used(fCommand, "/"),
		"two words":          used(fCommand, "/ask me"),
		"line in a command":  used(fCommand, "/ask\nme"),
		"long command":       used(fCommand, "/"+strings.Repeat("a", maxID+1)),
		"org-wide perhaps":   used(fOrgWide, "1"),
		"long enterprise":    used(fEnterprise, strings.Repeat("E", maxID+1)),
		"line in a team":     used(fTeam, "T1\n"),
		"long app":           used(fApp, strings.Repeat("A", maxID+1)),
	}
	for _, name := range []string{fTrigger, fChannel, fUser} {
		out["no "+name] = used(name, "")
		out["long "+name] = used(name, strings.Repeat("C", maxID+1))
		out["line in "+name] = used(name, "C1\nx")
		out[name+" twice"] = used() + "&" + name + "=C1"
	}
	for _, name := range []string{fTeam, fText, fCommand, fApp} {
		out[name+" twice"] = used() + "&" + name + "=T1"
	}
	return out
}

func TestMalformedForms(t *testing.T) {
	for name, body := range malformedForms() {
		if in, err := parse(webhook.Input{Config: config(), Body: []byte(body)}); fault.CodeOf(err) != fault.InvalidRequest {
			t.Errorf("%s: %+v %v", name, in, err)
		}
	}
}
