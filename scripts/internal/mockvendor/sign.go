package mockvendor

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// SignRequest puts into h what proves to the receiver that a webhook request with
// this body comes from the provider's vendor: Slack's signature over time and body,
// Telegram's secret token, LINE's and for all others Meta's signature over the body.
// It shares no code with what verifies.
func SignRequest(h http.Header, provider, secret string, at time.Time, body []byte) {
	switch provider {
	case "slack":
		ts := strconv.FormatInt(at.Unix(), 10)
		h.Set("X-Slack-Request-Timestamp", ts)
		h.Set("X-Slack-Signature", "v0="+mac(secret, "v0:"+ts+":", body))
	case "telegram":
		h.Set("X-Telegram-Bot-Api-Secret-Token", secret)
	case "line":
		m := hmac.New(sha256.New, []byte(secret))
		m.Write(body)
		h.Set("X-Line-Signature", base64.StdEncoding.EncodeToString(m.Sum(nil)))
	default:
		h.Set("X-Hub-Signature-256", "sha256="+mac(secret, "", body))
	}
}

func mac(secret, prefix string, body []byte) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(prefix))
	m.Write(body)
	return hex.EncodeToString(m.Sum(nil))
}

// SlackCallback is the body with which Slack tells an app in a workspace of an
// event. bot is the app's user there; empty = not told.
func SlackCallback(id, team, app, bot string, at time.Time, event map[string]any) []byte {
	installed := map[string]any{"team_id": team, "is_bot": true, "is_enterprise_install": false}
	if bot != "" {
		installed["user_id"] = bot
	}
	b, err := json.Marshal(map[string]any{"type": "event_callback", "event_id": id, "team_id": team, "api_app_id": app,
		"authorizations": []any{installed}, "event_time": at.Unix(), "event": event})
	if err != nil {
		panic(err) // an event that is no JSON
	}
	return b
}
