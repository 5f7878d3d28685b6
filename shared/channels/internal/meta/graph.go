package meta

import (
	"encoding/json"
	"strconv"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
)

// TokenRefused is our word for a credential that Meta does not take.
const TokenRefused = "token_refused"

// Codes says what the error codes of one product mean. What is in none of them is a
// refusal of this message. It is read-only.
type Codes struct {
	// Certainty has the codes that mean something else than a refusal.
	Certainty map[int64]channel.Certainty
	// Pauses are how many seconds a limit lasts that the answers do not say.
	Pauses map[int64]int64
	// Words name refusals that people ask about; Subcodes names them closer.
	Words, Subcodes map[int64]string
}

// Answered reads an answer of the API. Errors are an object with a code, with
// statuses of 400 and above (developers.facebook.com/docs/graph-api/guides/error-handling,
// read 2026-11).
func (k Codes) Answered(r vendorapi.Reply) (channel.Object, *channel.Failure) {
	problem := r.Body.Obj("error")
	code, ok := number(problem, "code")
	if !ok {
		return r.Body, r.Failure()
	}
	if k.Certainty[code] == channel.RateLimited {
		return nil, r.RateLimited(k.Pauses[code])
	}
	f := r.Failure()
	if f == nil || f.Certainty == channel.Refused || k.Certainty[code] == channel.Ambiguous {
		f = &channel.Failure{Certainty: channel.Refused, Code: "error_" + strconv.FormatInt(code, 10)}
	}
	if c, known := k.Certainty[code]; known {
		f.Certainty = c
	}
	if w, known := k.Words[code]; known {
		f.Code = w
	}
	if sub, ok := number(problem, "error_subcode"); ok && k.Subcodes[sub] != "" {
		f.Code = k.Subcodes[sub]
	}
	f.TokenRejected = f.Code == TokenRefused
	return nil, f
}

func number(o channel.Object, name string) (int64, bool) {
	n, _ := o[name].(json.Number)
	i, err := n.Int64()
	return i, err == nil
}
