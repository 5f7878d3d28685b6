package security

import (
	"encoding/base64"
	"fmt"
	"net/http"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// linePerson is who writes on LINE.
const linePerson = "U00000000000000000000000000000ada"

func lineColumn() column {
	return column{id: taxonomy.LINE, verifies: "channel_secret", sends: "channel_access_token", anySecret: true, leaves: true,
		attacks: map[int]func(*cell){24: lineHandshake},
		mutants: func() []mutant {
			return append(unsignedChecks(), hook(47, "removals are not told", "shared/channels/line/parse.go", "in.Reason = channel.RevokedByVendor", "in.Reason = channel.EventIgnored").saying(`200 "hook.event_ignored"`))
		},
		fresh: func(a *app, n int64) {
			a.team, a.token = fmt.Sprintf("U%032x", 0xb00000000000+n), fmt.Sprintf("%sline%08d", planted, n)
		},
		settings: func(a *app, in map[string]any) {
			in["secrets"] = map[string]any{"channel_secret": a.secret, "channel_access_token": a.token}
			in["config"] = map[string]any{"destination": a.team}
		},
		message: func(a *app, n int64, s said) []byte {
			from := linePerson
			if s.own {
				from = a.team
			}
			return lineMessage(a, n, s.team, from, map[string]any{"id": fmt.Sprint(n), "type": "text", "quoteToken": "q", "text": s.text})
		},
		note: func(a *app, n int64, f file) []byte {
			return lineMessage(a, n, a.team, linePerson, map[string]any{"id": f.name, "type": "audio", "duration": 3000, "contentProvider": map[string]any{"type": "line"}})
		},
		removed: func(a *app, n int64) []byte {
			return lineEvent(n, a.team, map[string]any{"type": "unfollow", "source": map[string]any{"type": "user", "userId": linePerson}})
		},
		identity:  func(_ *app, team string) channel.Identity { return channel.Identity{"destination": team} },
		proofs:    []string{"X-Line-Signature"},
		malformed: []string{"not base64!", base64.StdEncoding.EncodeToString(make([]byte, 31)), zeros(64)}, cut: 2,
		api: "/line/", unauthorized: func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"message":"Authentication failed. Confirm that the access token in the authorization header is valid."}`)
		},
	}
}

func lineMessage(a *app, n int64, team, from string, message map[string]any) []byte {
	return lineEvent(n, team, map[string]any{"type": "message", "source": map[string]any{"type": "user", "userId": from}, "replyToken": fmt.Sprintf("%d%s-%s", n, a.install, from), "message": message})
}

func lineEvent(n int64, team string, event map[string]any) []byte {
	event["webhookEventId"], event["mode"], event["timestamp"], event["deliveryContext"] = fmt.Sprintf("01J%08d", n), "active", 1772600767123, map[string]any{"isRedelivery": false}
	return encode(map[string]any{"destination": team, "events": []any{event}})
}

// lineHandshake: the console's check has no events.
func lineHandshake(c *cell) {
	a := c.verifying()
	body := encode(map[string]any{"destination": a.team, "events": []any{}})
	h := a.signed(body)
	h.header.Del(a.proof())
	c.hit(a, h)
	if got := c.do(a.signed(body)); got.status != http.StatusOK || got.body != "" {
		c.bad("the signed check: %d %s", got.status, got.body)
	}
}
