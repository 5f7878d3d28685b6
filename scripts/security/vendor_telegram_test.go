package security

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/latchkey/latchkey/shared/taxonomy"
)

func telegramColumn() column {
	return column{id: taxonomy.Telegram, verifies: "secret_token", sends: "bot_token", bots: true, leaves: true,
		mutants: func() []mutant {
			return []mutant{hook(47, "removals are not told", "shared/channels/telegram/parse.go", "out.Reason = channel.RevokedByVendor", "out.Reason = channel.EventIgnored").saying(`200 "hook.event_ignored"`)}
		},
		fresh: func(a *app, n int64) {
			a.application = fmt.Sprintf("70%08d", n)
			a.token = a.application + ":" + planted + "telegrambottoken"
			a.team = fmt.Sprintf("43%08d", n)
		},
		settings: func(a *app, in map[string]any) {
			in["secrets"] = map[string]any{"secret_token": a.secret, "bot_token": a.token}
			in["config"] = map[string]any{"bot_username": "Helper_bot"}
		},
		undone: func(a *app, in map[string]any) { in["config"] = map[string]any{"bot_id": a.application} },
		message: func(a *app, n int64, s said) []byte {
			from := map[string]any{"id": 42, "is_bot": s.bot, "first_name": "A"}
			if s.own {
				from = map[string]any{"id": json.Number(a.application), "is_bot": true, "first_name": "H"}
			}
			return telegramMessage(a, n, from, "text", s.text)
		},
		note: func(a *app, n int64, f file) []byte {
			return telegramMessage(a, n, map[string]any{"id": 42, "is_bot": false, "first_name": "A"}, "voice",
				map[string]any{"duration": 3, "mime_type": "audio/ogg", "file_id": f.name, "file_unique_id": "u", "file_size": len(f.bytes)})
		},
		removed: func(a *app, n int64) []byte {
			return encode(map[string]any{"update_id": n, "my_chat_member": map[string]any{"chat": map[string]any{"id": json.Number(a.team), "type": "private"},
				"new_chat_member": map[string]any{"status": "kicked", "user": map[string]any{"id": json.Number(a.application)}}}})
		},
		proofs:    []string{"X-Telegram-Bot-Api-Secret-Token"},
		malformed: []string{"not in the alphabet!", strings.Repeat("x", 300)},
		apps: &tenants{sends: true, config: func(*app) map[string]any { return map[string]any{"bot_username": "Helper_bot"} },
			join: func(*app, *app) {}, tenant: func(a *app) map[string]any { return map[string]any{"chat_id": a.team} }},
		api: "/telegram/",
		token: func(r *http.Request) string {
			rest, _ := strings.CutPrefix(r.URL.Path, "/telegram/bot")
			token, _, _ := strings.Cut(rest, "/")
			return token
		},
		unauthorized: func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"ok":false,"error_code":401,"description":"Unauthorized"}`)
		},
	}
}

func telegramMessage(a *app, n int64, from map[string]any, kind string, content any) []byte {
	return encode(map[string]any{"update_id": n, "message": map[string]any{"message_id": n, "from": from, "date": 1772600767,
		"chat": map[string]any{"id": json.Number(a.team), "type": "private"}, kind: content}})
}
