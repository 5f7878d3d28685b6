package security

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Who uses commands on Discord, and where; the answers that it reads.
const (
	discordPerson = "1100000000000000042"
	discordRoom   = "1100000000000000077"
	discordWaits  = `{"type":5}`
	discordNobody = `{"type":4,"data":{"content":"I can't answer that here. Ask whoever runs this app to set it up for this channel.","flags":64,"allowed_mentions":{"parse":[]}}}`
)

func discordColumn() column {
	return column{id: taxonomy.Discord, verifies: "public_keys", sends: "bot_token", keyed: true, bots: true, addresses: true, text: "value",
		attacks: map[int]func(*cell){4: discordNoKey, 24: discordHandshake, 45: discordRetiredKey, 50: discordFlood},
		mutants: discordMutants, elsewhere: []int{4, 8, 10, 11, 45},
		acks: map[string]string{"hook.accepted": discordWaits, "hook.duplicate": discordWaits, "turn.self_ignored": discordNobody, "turn.bot_ignored": discordNobody,
			"hook.unbound": discordNobody, "hook.install_verifying": discordNobody, "hook.event_ignored": discordNobody},
		fresh: func(a *app, n int64) {
			a.application, a.team = fmt.Sprintf("13%012d", n), fmt.Sprintf("14%012d", n)
			a.token = fmt.Sprintf("%sdiscord%08d", planted, n)
		},
		settings: func(a *app, in map[string]any) {
			in["secrets"] = map[string]any{"bot_token": a.token}
			in["config"] = map[string]any{"application_id": a.application, "guild_id": a.team, "public_keys": []any{mockvendor.DiscordPublicKey(a.secret)}}
		},
		message: func(a *app, n int64, s said) []byte {
			user := map[string]any{"id": discordPerson, "username": "ada", "bot": s.bot}
			if s.own {
				user["id"] = a.application
			}
			return discordCommand(a, n, s.team, user, map[string]any{"name": "text", "type": 3, "value": s.text}, nil)
		},
		note: func(a *app, n int64, f file) []byte {
			return discordCommand(a, n, a.team, map[string]any{"id": discordPerson, "username": "ada"}, map[string]any{"name": "recording", "type": 11, "value": "55"},
				map[string]any{"attachments": map[string]any{"55": map[string]any{"id": "55", "filename": "voice-message.ogg", "content_type": "audio/ogg", "size": len(f.bytes),
					"duration_secs": 3.0, "waveform": "AAA=", "url": a.c.vendor.DiscordFile(a.c.vendorURL, f.name)}}})
		},
		identity: func(a *app, team string) channel.Identity {
			return channel.Identity{"application_id": a.application, "guild_id": team}
		},
		proofs:    []string{"X-Signature-Ed25519", "X-Signature-Timestamp"},
		malformed: []string{"not hex", zeros(127), zeros(130), strings.Repeat("zz", 64)}, cut: 2,
		apps: &tenants{sends: true, config: func(a *app) map[string]any {
			return map[string]any{"application_id": a.application, "public_keys": []any{mockvendor.DiscordPublicKey(a.secret)}}
		}, join: func(a, of *app) { a.application = of.application }},
		page: func(a *app, n int64, in map[string]any) mockvendor.App {
			known := mockvendor.App{ClientID: a.application, Secret: fmt.Sprintf("%sdiscordclient%d", planted, n)}
			in["secrets"].(map[string]any)["client_secret"] = known.Secret
			return known
		},
		api: "/discord/", unauthorized: func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"message":"401: Unauthorized","code":0}`)
		},
		token: func(r *http.Request) string {
			if bot, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bot "); ok {
				return bot
			}
			name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/discord/webhooks/"), "/messages")
			if parts := strings.Split(name, "."); len(parts) == 4 {
				name, _, _ = strings.Cut(planted+parts[2], "-")
			}
			return name
		},
	}
}

// discordCommand is a command with one option. The interaction's token names the bot's,
// for the journal of who posted what.
func discordCommand(a *app, n int64, team string, user, option, resolved map[string]any) []byte {
	data := map[string]any{"id": "7", "name": "ask", "type": 1, "options": []any{option}}
	if resolved != nil {
		data["resolved"] = resolved
	}
	return encode(map[string]any{"id": mockvendor.DiscordID(a.c.now().Add(-time.Minute), n), "application_id": a.application, "type": 2, "version": 1,
		"token":    mockvendor.DiscordToken(a.token, discordRoom, fmt.Sprintf("%s-%d", strings.TrimPrefix(a.token, planted), n), false),
		"guild_id": team, "channel_id": discordRoom, "member": map[string]any{"user": user, "permissions": "0"}, "data": data})
}

// discordNoKey takes the key away behind the product's back, and puts one of a wrong
// length beside the good one.
func discordNoKey(c *cell) {
	good := func(a *app) types.AttributeValue {
		return &types.AttributeValueMemberS{Value: mockvendor.DiscordPublicKey(a.secret)}
	}
	for _, keys := range []func(a *app) []types.AttributeValue{
		func(*app) []types.AttributeValue { return nil },
		func(a *app) []types.AttributeValue {
			return []types.AttributeValue{good(a), &types.AttributeValueMemberS{Value: zeros(62)}}
		},
	} {
		a := c.app()
		key := table.Install(a.install)
		_, err := c.Dynamo.UpdateItem(c.ctx, &dynamodb.UpdateItemInput{TableName: aws.String(c.Tables[table.Config]),
			Key:              map[string]types.AttributeValue{table.PK: &types.AttributeValueMemberS{Value: key.PK}, table.SK: &types.AttributeValueMemberS{Value: key.SK}},
			UpdateExpression: aws.String("SET #cfg.#keys = :keys"), ExpressionAttributeNames: map[string]string{"#cfg": "cfg", "#keys": "public_keys"},
			ExpressionAttributeValues: map[string]types.AttributeValue{":keys": &types.AttributeValueMemberL{Value: keys(a)}}})
		c.need(err)
		c.hit(a, a.signed(a.message(said{})))
	}
}

// discordHandshake: PING is signed like anything else.
func discordHandshake(c *cell) {
	a := c.verifying()
	body := encode(map[string]any{"id": fmt.Sprint(c.serial.Add(1)), "application_id": a.application, "type": 1, "token": "x", "version": 1})
	h := a.signed(body)
	h.header.Del(a.proof())
	c.hit(a, h)
	if got := c.do(a.signed(body)); got.status != http.StatusOK || got.body != `{"type":1}` || got.header.Get("Content-Type") != "application/json" {
		c.bad("the signed check: %d %s", got.status, got.body)
	}
}

// discordRetiredKey: the old key verifies until its time is over.
func discordRetiredKey(c *cell) {
	a := c.app()
	old := a.secret
	a.secret = c.newApp().secret
	c.need(a.call(c, http.MethodPost, "/installs/"+a.install+"/rotate", map[string]any{"name": c.col.verifies, "value": mockvendor.DiscordPublicKey(a.secret),
		"retire_at": c.now().Add(time.Hour).UTC().Format(time.RFC3339)}, nil))
	c.accepted(a, a.signedWith(old, a.message(said{}), c.now()))
	c.accepted(a, a.signed(a.message(said{})))
	c.need(c.advance(2 * time.Hour))
	if r := c.hit(a, a.signedWith(old, a.message(said{}), c.now())); !r.RetiredSecret {
		c.bad("the record does not say that the key is retired: %s", r.raw)
	}
	c.accepted(a, a.signed(a.message(said{})))
	if r := c.hit(a, a.signedWith(c.col.spoiled(old), a.message(said{}), c.now())); r.RetiredSecret {
		c.bad("a key that never was one is called retired: %s", r.raw)
	}
	c.answered(a)
}

// discordFlood: however many bad signatures come, each is answered 401; they are
// recorded as a flood, once a minute by each process, and valid ones are answered.
func discordFlood(c *cell) {
	a := c.app()
	const most = 3000 // each process limits by itself, after sixty
	flooded := func(r record) bool { return r.Install == a.install && r.Code == "hook.flood" }
	// The answer does not tell what is limited: so many follow the first record.
	follow := -1
	for n := 0; n < most && follow != 0; n++ {
		got := c.do(a.spoiled())
		if got.status != http.StatusUnauthorized || got.body != bodies()[401] {
			c.bad("request %d: %d %s", n, got.status, got.body)
			return
		}
		if n == 0 {
			c.accepted(a, a.signed(a.message(said{})))
		}
		if follow > 0 {
			follow--
		} else if n%20 == 19 && len(c.hooks.having(flooded)) > 0 {
			follow = 200
		}
	}
	if len(c.hooks.having(flooded)) == 0 {
		c.saw(http.StatusUnauthorized, "hook.sig_mismatch")
		return
	}
	c.saw(http.StatusUnauthorized, "hook.flood")
	for range 3 {
		c.accepted(a, a.signed(a.message(said{})))
	}
	c.once(a, "hook.flood", time.Minute)
	c.answered(a)
}

func discordMutants() []mutant {
	const keys, settings = "shared/webhook/ed25519.go", "shared/install/keys.go"
	window := "outside(at, now, e.Tolerance, e.Tolerance)"
	return append(unsignedChecks(),
		hook(4, "a key of another length is left out", keys, "\t\tif err != nil || len(k) != ed25519.PublicKeySize || len(out) == MaxKeys {\n\t\t\treturn nil, NoSecret\n",
			"\t\tif err != nil || len(k) != ed25519.PublicKeySize || len(out) == MaxKeys {\n\t\t\tcontinue\n").saying(passed),
		hook(4, "no keys are any keys", keys, "\tif len(out) == 0 {\n\t\treturn nil, NoSecret\n\t}\n\treturn out, \"\"\n}\n\n// message", "\treturn out, \"\"\n}\n\n// message").saying(`401 "hook.sig_mismatch"`),
		hook(8, "a signature of a key has a length only", keys, "if ed25519.Verify(k, message, sig) && match < 0 {", "if (ed25519.Verify(k, message, sig) || len(sig) == ed25519.SignatureSize) && match < 0 {").saying(passed),
		hook(10, "what was signed long ago passes", keys, window, "outside(at, now, 1000*e.Tolerance, e.Tolerance)").saying(passed),
		hook(11, "what is signed for later passes", keys, window, "outside(at, now, e.Tolerance, 1000*e.Tolerance)").saying(passed),
		hook(45, "retired keys verify", settings, "func(s Secret) bool { return !now.Before(s.RetireAt) }", "func(s Secret) bool { return s.RetireAt.IsZero() }").saying(passed),
		hook(50, "a flood is refused in another way", recordFile, "if v.limited && !c.entry.Only401 {", "if v.limited {").saying(": 429 "),
	)
}
