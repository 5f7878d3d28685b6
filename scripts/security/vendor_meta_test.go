package security

import (
	"fmt"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// metaPerson is who writes to a page or an account.
const metaPerson = "4915112345678"

func messengerColumn() column {
	return directColumn(taxonomy.Messenger, "page", "page_id", func(n int64) string { return fmt.Sprintf("6824%010d", n) })
}

func instagramColumn() column {
	return directColumn(taxonomy.Instagram, "instagram", "ig_account_id", func(n int64) string { return fmt.Sprintf("1784%013d", n) })
}

// directColumn is a product of Meta whose people write to a page or an account.
func directColumn(id taxonomy.Channel, object, setting string, number func(n int64) string) column {
	message := func(n int64, team, from, to string, m map[string]any) []byte {
		m["mid"] = fmt.Sprintf("m_%d", n)
		return directEvent(object, team, map[string]any{"sender": map[string]any{"id": from}, "recipient": map[string]any{"id": to}, "timestamp": 1772600767000 + n, "message": m})
	}
	return column{id: id, verifies: "app_secret", sends: "access_token", anySecret: true, addresses: true,
		attacks: map[int]func(*cell){24: hubUnproven, 25: hubWrongToken},
		mutants: hubMutants,
		fresh: func(a *app, n int64) {
			a.team, a.token = number(n), fmt.Sprintf("EAA%s%s%08d", planted, id, n)
		},
		settings: func(a *app, in map[string]any) {
			in["secrets"] = map[string]any{"app_secret": a.secret, "verify_token": a.verify, "access_token": a.token}
			in["config"] = map[string]any{setting: a.team}
		},
		message: func(_ *app, n int64, s said) []byte {
			if s.own {
				return message(n, s.team, s.team, metaPerson, map[string]any{"is_echo": true, "text": s.text})
			}
			return message(n, s.team, metaPerson, s.team, map[string]any{"text": s.text})
		},
		note: func(a *app, n int64, f file) []byte {
			return message(n, a.team, metaPerson, a.team, map[string]any{"attachments": []any{map[string]any{"type": "audio", "payload": map[string]any{"url": a.c.vendor.Recording(a.c.vendorURL, f.name)}}}})
		},
		identity: func(_ *app, team string) channel.Identity { return channel.Identity{setting: team} },
		proofs:   []string{"X-Hub-Signature-256"}, tag: "sha256=",
		malformed: []string{"sha256=", "sha256=zz", "sha256=" + zeros(63), zeros(64)}, cut: 2,
		checks: func(a *app) []hit { return []hit{a.hub(a.verify)} },
		apps:   &tenants{config: func(*app) map[string]any { return map[string]any{} }, join: func(*app, *app) {}},
		page: func(_ *app, n int64, in map[string]any) mockvendor.App {
			known := mockvendor.App{ClientID: fmt.Sprintf("55%08d", n), Secret: fmt.Sprintf("%s%sclient%d", planted, id, n)}
			in["config"].(map[string]any)["client_id"], in["config"].(map[string]any)["config_id"] = known.ClientID, "8765"
			in["secrets"].(map[string]any)["client_secret"] = known.Secret
			return known
		},
		api: "/meta/", unauthorized: metaUnauthorized,
	}
}

func directEvent(object, team string, event map[string]any) []byte {
	return encode(map[string]any{"object": object, "entry": []any{map[string]any{"id": team, "time": 1772600767200, "messaging": []any{event}}}})
}
