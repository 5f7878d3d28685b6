package security

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

func whatsappColumn() column {
	return column{id: taxonomy.WhatsApp, verifies: "app_secret", sends: "access_token", anySecret: true, addresses: true, digests: true,
		attacks: map[int]func(*cell){24: hubUnproven, 25: hubWrongToken},
		mutants: whatsappMutants,
		fresh: func(a *app, n int64) {
			a.application, a.team, a.token = fmt.Sprintf("1022%010d", n), fmt.Sprintf("1065%010d", n), fmt.Sprintf("EAA%s%08d", planted, n)
		},
		settings: func(a *app, in map[string]any) {
			in["secrets"] = map[string]any{"app_secret": a.secret, "verify_token": a.verify, "access_token": a.token}
			in["config"] = map[string]any{"phone_number_id": a.team, "waba_id": a.application}
		},
		message: func(a *app, n int64, s said) []byte {
			from := "4915112345678"
			if s.own {
				from = whatsappNumber
			}
			return whatsappMessage(a, s.team, map[string]any{"from": from, "id": fmt.Sprintf("wamid.%d", n), "timestamp": "1772600767", "type": "text", "text": map[string]any{"body": s.text}})
		},
		note: func(a *app, n int64, f file) []byte {
			sum := sha256.Sum256(f.bytes)
			return whatsappMessage(a, a.team, map[string]any{"from": "4915112345678", "id": fmt.Sprintf("wamid.%d", n), "timestamp": "1772600767", "type": "audio",
				"audio": map[string]any{"id": f.name, "mime_type": "audio/ogg; codecs=opus", "sha256": base64.StdEncoding.EncodeToString(sum[:]), "voice": true}})
		},
		removed: func(a *app, _ int64) []byte {
			return whatsappChange(a, "account_update", map[string]any{"event": "PARTNER_REMOVED"})
		},
		identity: func(a *app, team string) channel.Identity {
			return channel.Identity{"phone_number_id": team, "waba_id": a.application}
		},
		proofs: []string{"X-Hub-Signature-256"}, tag: "sha256=",
		malformed: []string{"sha256=", "sha256=zz", "sha256=" + zeros(63), zeros(64)}, cut: 2,
		checks: func(a *app) []hit { return []hit{a.hub(a.verify)} },
		apps:   &tenants{config: func(*app) map[string]any { return map[string]any{} }, join: func(*app, *app) {}},
		api:    "/meta/", unauthorized: metaUnauthorized,
	}
}

func metaUnauthorized(w http.ResponseWriter) {
	w.WriteHeader(http.StatusUnauthorized)
	fmt.Fprint(w, `{"error":{"message":"Error validating access token","type":"OAuthException","code":190}}`)
}

// whatsappNumber is the number that people see of ours.
const whatsappNumber = "15550783881"

func whatsappMessage(a *app, team string, message map[string]any) []byte {
	return whatsappChange(a, "messages", map[string]any{"messaging_product": "whatsapp", "metadata": map[string]any{"display_phone_number": whatsappNumber, "phone_number_id": team}, "messages": []any{message}})
}

func whatsappChange(a *app, field string, value map[string]any) []byte {
	return encode(map[string]any{"object": "whatsapp_business_account", "entry": []any{map[string]any{"id": a.application,
		"changes": []any{map[string]any{"field": field, "value": value}}}}})
}

// hub is the check of the URL that Meta's products make.
func (a *app) hub(token string) hit {
	q := "hub.mode=subscribe&hub.challenge=1158201444"
	if token != "" {
		q += "&hub.verify_token=" + token
	}
	return hit{method: http.MethodGet, path: "/webhooks/" + string(a.col.id) + "/" + a.install, query: q, header: http.Header{}}
}

func hubUnproven(c *cell) {
	a := c.verifying()
	c.hit(a, a.hub(""))
	if got := c.do(a.hub(a.verify)); got.status != http.StatusOK || got.body != "1158201444" || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") {
		c.bad("the check with its token: %d %s", got.status, got.body)
	}
}

func hubWrongToken(c *cell) {
	a := c.verifying()
	for _, token := range []string{"wrong", a.secret, a.token} {
		c.hit(a, a.hub(token))
	}
	h := a.hub(a.verify)
	h.query += "&hub.verify_token=wrong"
	c.hit(a, h)
}

// hubMutants let the check of the URL pass without its token.
func hubMutants() []mutant {
	hub := func(row int, name string) mutant {
		return hook(row, name, "shared/webhook/profiles/handshake.go", "if !ok || q.Get(", "if !ok && false || q.Get(").saying(`200 "hook.handshake"`)
	}
	return []mutant{hub(24, "no verify token"), hub(25, "any verify token")}
}

func whatsappMutants() []mutant {
	return append(hubMutants(), build(49, "a page with another digest is a recording", "shared/channels/whatsapp/media.go", []string{"turn"}, "\tif failure != nil {\n\t\treturn channel.File{}, failure\n",
		"\tif failure != nil && failure.Code == channel.NotMedia {\n\t\treturn channel.File{Bytes: []byte(\"OggS\"), MIME: \"audio/ogg\"}, nil\n\t}\n\tif failure != nil {\n\t\treturn channel.File{}, failure\n").saying("charged: "))
}
