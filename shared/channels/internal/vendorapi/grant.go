package vendorapi

import (
	"encoding/json"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/secret"
)

// Bounds of a token: they have a few hundred bytes to some thousand, and work for
// hours.
const (
	maxGranted = 8 << 10
	maxLife    = 1 << 20 // seconds
)

// refusal reports one of the words of RFC 6749, sections 4.1.2.1 and 5.2, that speak of who
// asks.
func refusal(word string) bool {
	switch word {
	case "invalid_client", "invalid_grant", "unauthorized_client", "access_denied":
		return true
	}
	return false
}

// Granted reads the answer of an OAuth 2.0 token endpoint (RFC 6749, section 5) to
// [PostForm]. Only words that speak of who asks are about the credential; all else
// may pass.
func Granted(r Reply, f *channel.Failure) (channel.Traded, *channel.Failure) {
	if f == nil {
		f = r.Failure()
	}
	if f != nil {
		if word := r.Body.Str("error"); f.Certainty == channel.Refused && refusal(word) {
			f.Code, f.TokenRejected = word, true
		} else if f.Certainty == channel.Refused && r.Status != 0 {
			f.Certainty, f.TokenRejected = channel.NotSent, false
		}
		return channel.Traded{}, f
	}
	token := r.Body.Str("access_token")
	life, _ := r.Body["expires_in"].(json.Number)
	seconds, err := life.Int64()
	if token == "" || len(token) > maxGranted || !Printable(token) || err != nil || seconds <= 0 || seconds > maxLife {
		return channel.Traded{}, &channel.Failure{Certainty: channel.NotSent, Code: "answer_malformed"}
	}
	return channel.Traded{Token: secret.FromString(token), Life: time.Duration(seconds) * time.Second}, nil
}
