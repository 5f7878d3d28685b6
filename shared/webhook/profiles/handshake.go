package profiles

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"net/url"
	"strings"

	"github.com/latchkey/latchkey/shared/model/jsonwire"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
)

// maxChallenge bounds what is reflected.
const maxChallenge = 512

// hubHandshake answers hub.mode=subscribe
// (developers.facebook.com/docs/graph-api/webhooks/getting-started, "Verification
// Requests", read 2026-11). The challenge is only given back, as plain text, to
// who knows the token.
func hubHandshake(in webhook.Input, tokens []secret.Text) (string, *webhook.Refusal) {
	refused := &webhook.Refusal{Reason: webhook.HandshakeRefused}
	if len(tokens) == 0 {
		return "", &webhook.Refusal{Reason: webhook.NoSecret}
	}
	q, err := url.ParseQuery(in.RawQuery)
	if err != nil {
		return "", refused
	}
	for name, values := range q {
		if strings.HasPrefix(name, "hub.") && len(values) != 1 {
			return "", refused
		}
	}
	given, ok := sha256.Sum256([]byte(q.Get("hub.verify_token"))), false
	for _, t := range tokens {
		if t.IsZero() {
			return "", &webhook.Refusal{Reason: webhook.NoSecret}
		}
		var want [sha256.Size]byte
		if t.Use(func(b []byte) error { want = sha256.Sum256(b); return nil }) != nil {
			return "", &webhook.Refusal{Reason: webhook.NoSecret}
		}
		if hmac.Equal(want[:], given[:]) {
			ok = true
		}
	}
	challenge := q.Get("hub.challenge")
	if !ok || q.Get("hub.mode") != "subscribe" || challenge == "" || len(challenge) > maxChallenge {
		return "", refused
	}
	return challenge, nil
}

// interactionPong answers an interaction of type 1
// (discord.com/developers/docs/interactions/overview, read 2026-11).
func interactionPong(body []byte) (string, bool) {
	var ping struct {
		Type int `json:"type"`
	}
	if jsonwire.Check(body) != nil || json.Unmarshal(body, &ping) != nil || ping.Type != 1 {
		return "", false
	}
	return `{"type":1}`, true
}
