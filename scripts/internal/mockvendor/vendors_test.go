package mockvendor

import (
	"encoding/json"
	"net/http"
	"reflect"
	"testing"
	"time"
)

// TestSignRequest: Slack's numbers are those of its documentation ("Verifying
// requests from Slack", read 2026-11-22), LINE's and Meta's were made with openssl,
// Discord's with Node.
func TestSignRequest(t *testing.T) {
	body := []byte("token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c")
	for provider, want := range map[string]http.Header{
		"slack": {"X-Slack-Request-Timestamp": {"1531420618"},
			"X-Slack-Signature": {"v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"}},
		"discord": {"X-Signature-Timestamp": {"1531420618"},
			"X-Signature-Ed25519": {"9f666c17bd09d15fbdf8303e69c7107f4c5d96e4a72af21c45e88d1a705ae3e6d42383915d4e946ddce442f530add058b46df7dd387be634efbb6343234bee08"}},
		"line":      {"X-Line-Signature": {"YG4jk0GIdRhRRJRa9YJBREHT6zkgK7M/aQmm/w9KJ0c="}},
		"telegram":  {"X-Telegram-Bot-Api-Secret-Token": {"8f742231b10e8888abcd99yyyzzz85a5"}},
		"messenger": {"X-Hub-Signature-256": {"sha256=606e2393418875185144945af582414441d3eb39202bb33f6909a6ff0f4a2747"}},
		"instagram": {"X-Hub-Signature-256": {"sha256=606e2393418875185144945af582414441d3eb39202bb33f6909a6ff0f4a2747"}},
		"whatsapp":  {"X-Hub-Signature-256": {"sha256=606e2393418875185144945af582414441d3eb39202bb33f6909a6ff0f4a2747"}},
	} {
		r := &http.Request{Header: http.Header{}}
		SignRequest(r, provider, Proof{Secret: "8f742231b10e8888abcd99yyyzzz85a5", At: time.Unix(1531420618, 0)}, body)
		if !reflect.DeepEqual(r.Header, want) {
			t.Errorf("%s: %v", provider, r.Header)
		}
	}
	if got := DiscordPublicKey("8f742231b10e8888abcd99yyyzzz85a5"); got != "2dc42f7aca8d891e7cffd1c7d129faa8e72eecfa29b0649eb3f6f14a4cef4876" {
		t.Errorf("the public key is %s", got)
	}
}

func TestSlackCallback(t *testing.T) {
	for bot, want := range map[string]string{
		"":   `{"is_bot":true,"is_enterprise_install":false,"team_id":"T1"}`,
		"U1": `{"is_bot":true,"is_enterprise_install":false,"team_id":"T1","user_id":"U1"}`,
	} {
		got := SlackCallback("Ev1", "T1", "A1", bot, time.Unix(7, 0), map[string]any{"type": "message"})
		whole := `{"api_app_id":"A1","authorizations":[` + want + `],"event":{"type":"message"},"event_id":"Ev1","event_time":7,"team_id":"T1","type":"event_callback"}`
		if string(got) != whole || !json.Valid(got) {
			t.Errorf("%q: %s", bot, got)
		}
	}
}

// TestEnvironment: a stack is moved to every interface of every vendor.
func TestEnvironment(t *testing.T) {
	got := Environment("http://h")
	for name, want := range map[string]string{"LATCHKEY_SLACK_API_URL": "/api", "LATCHKEY_TELEGRAM_API_URL": "/telegram", "LATCHKEY_META_API_URL": "/meta",
		"LATCHKEY_DISCORD_API_URL": "/discord", "LATCHKEY_LINE_API_URL": "/line", "LATCHKEY_LINE_DATA_API_URL": "/linedata", "LATCHKEY_TWILIO_API_URL": "/twilio"} {
		if got[name] != "http://h"+want {
			t.Errorf("%s is %q", name, got[name])
		}
	}
}
