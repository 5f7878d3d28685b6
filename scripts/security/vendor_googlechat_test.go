package security

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
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

// googleChatColumn: an app's secret is the audience of the tokens that Google makes
// for it, which is public; what no one else can make is Google's signature.
func googleChatColumn() column {
	return column{id: taxonomy.GoogleChat, sends: "service_account_json", bots: true, leaves: true,
		attacks: map[int]func(*cell){4: noAudience("audience", (*app).googleClaimed), 9: googleOtherKey, 10: atTime(-2 * time.Hour), 13: googleAlgorithms, 14: googleUnknownKey, 15: keysDown, 16: googleClaims, 17: googleIdentities},
		mutants: googleMutants, elsewhere: []int{4, 6, 7, 10, 11, 13},
		fresh: func(a *app, n int64) {
			a.secret, a.team = fmt.Sprintf("https://latchkey.example/webhooks/google_chat/%d", n), fmt.Sprintf("customers/C%08d", n)
			a.token = mockvendor.GoogleToken(fmt.Sprintf("%sbot%08d@simulated.iam.gserviceaccount.com", planted, n))
		},
		// An app may be known by its project instead of its address: then Google signs with
		// other keys, as another issuer, and names no e-mail, which row 17 is about.
		also:     func(a *app, n int64) { a.secret = fmt.Sprintf("9%011d", n) },
		alsoRows: []int{1, 2, 3, 4, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 19, 21, 26, 29, 30, 31, 50},
		settings: func(a *app, in map[string]any) {
			in["secrets"] = map[string]any{"service_account_json": mockvendor.GoogleAccount(mockvendor.GoogleEmail(a.token))}
			config := map[string]any{"audience": a.secret, "customer": a.team}
			if in["config"] = config; a.byProject() {
				config["audience_mode"] = "project_number"
			}
		},
		message: func(_ *app, n int64, s said) []byte {
			sender := map[string]any{"name": "users/42", "type": "HUMAN"}
			if s.bot {
				sender["type"] = "BOT"
			}
			if s.own {
				sender = map[string]any{"name": "users/app", "type": "BOT"}
			}
			return googleMessage(n, s.team, sender, map[string]any{"text": s.text})
		},
		note: func(a *app, n int64, f file) []byte {
			return googleMessage(n, a.team, map[string]any{"name": "users/42", "type": "HUMAN"}, map[string]any{"attachment": []any{map[string]any{
				"contentType": "audio/ogg", "source": "UPLOADED_CONTENT", "attachmentDataRef": map[string]any{"resourceName": f.name}}}})
		},
		removed: func(a *app, n int64) []byte {
			return encode(map[string]any{"type": "REMOVED_FROM_SPACE", "eventTime": googleTime(n), "space": googleSpace(a.team), "user": map[string]any{"name": "users/42", "type": "HUMAN"}})
		},
		identity: func(a *app, team string) channel.Identity {
			return channel.Identity{"audience": a.secret, "customer": team}
		},
		proofs: []string{"Authorization"}, tag: "Bearer ",
		malformed: []string{"Bearer x", "Bearer a.b.c", "Basic YTpi", "Bearer " + zeros(6<<10)}, cut: 1,
		acks: map[string]string{"hook.accepted": "{}", "hook.duplicate": "{}", "hook.unbound": "{}", "hook.event_ignored": "{}", "hook.install_verifying": "{}",
			"turn.self_ignored": "{}", "turn.bot_ignored": "{}", "install.revoked_by_provider": "{}"},
		api: "/googlechat/", unauthorized: func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":{"code":401,"message":"Request had invalid authentication credentials.","status":"UNAUTHENTICATED"}}`)
		},
	}
}

// byProject says that the app is known by its project.
func (a *app) byProject() bool { return strings.Trim(a.secret, "0123456789") == "" }

// noAudience takes away, behind the product's back, what a token must be for: then
// none is for the app, least of all one that is for nobody.
func noAudience(setting string, claimed func(a *app, claims map[string]any) string) func(*cell) {
	return func(c *cell) {
		a := c.app()
		key := table.Install(a.install)
		_, err := c.Dynamo.UpdateItem(c.ctx, &dynamodb.UpdateItemInput{TableName: aws.String(c.Tables[table.Config]),
			Key:              map[string]types.AttributeValue{table.PK: &types.AttributeValueMemberS{Value: key.PK}, table.SK: &types.AttributeValueMemberS{Value: key.SK}},
			UpdateExpression: aws.String("REMOVE #cfg.#audience"), ExpressionAttributeNames: map[string]string{"#cfg": "cfg", "#audience": setting}})
		c.need(err)
		c.hit(a, a.signed(a.message(said{})))
		for _, nobody := range []any{"", nil, []any{}, []any{""}} {
			c.hit(a, a.bearing(claimed(a, map[string]any{"aud": nobody})))
		}
	}
}

func googleTime(n int64) string {
	return time.Unix(1772600767, n).UTC().Format(time.RFC3339Nano)
}

func googleSpace(customer string) map[string]any {
	return map[string]any{"name": "spaces/AAAA", "type": "ROOM", "spaceType": "SPACE", "spaceThreadingState": "THREADED_MESSAGES", "customer": customer}
}

func googleMessage(n int64, customer string, sender, content map[string]any) []byte {
	m := map[string]any{"name": fmt.Sprintf("spaces/AAAA/messages/M%d.M%d", n, n), "sender": sender, "createTime": googleTime(n), "thread": map[string]any{"name": "spaces/AAAA/threads/T"}}
	maps.Copy(m, content)
	return encode(map[string]any{"type": "MESSAGE", "eventTime": googleTime(n), "space": googleSpace(customer), "user": map[string]any{"name": "users/42", "type": "HUMAN"}, "message": m})
}

// bearing is a message with a token in place of the vendor's.
func (a *app) bearing(token string) hit {
	h := a.signed(a.message(said{}))
	h.header.Set(a.proof(), "Bearer "+token)
	return h
}

// googleClaimed is a token of Google's own key with other claims.
func (a *app) googleClaimed(claims map[string]any) string {
	at := a.c.now()
	all := map[string]any{"iat": at.Unix(), "exp": at.Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	return mockvendor.GoogleChatToken(a.secret, all)
}

// headed is a token without its signature, with another head.
func headed(token string, head map[string]any) (signed string) {
	_, rest, _ := strings.Cut(token, ".")
	claims, _, _ := strings.Cut(rest, ".")
	return base64.RawURLEncoding.EncodeToString(encode(head)) + "." + claims
}

func signedBy(c *cell, key *rsa.PrivateKey, signed string) string {
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	c.need(err)
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// googleOtherKey: the right claims under the name of Google's key, signed with
// somebody's; one of Google's signatures under other claims; and the signature of the
// other of Google's keys.
func googleOtherKey(c *cell) {
	a := c.app()
	mine, err := rsa.GenerateKey(rand.Reader, 2048)
	c.need(err)
	good := a.googleClaimed(nil)
	c.hit(a, a.bearing(signedBy(c, mine, headed(good, map[string]any{"alg": "RS256", "typ": "JWT", "kid": mockvendor.GoogleKeyID}))))
	sig := good[strings.LastIndexByte(good, '.'):]
	c.hit(a, a.bearing(headed(a.googleClaimed(map[string]any{"exp": c.now().Add(2 * time.Hour).Unix()}), map[string]any{"alg": "RS256", "typ": "JWT", "kid": mockvendor.GoogleKeyID})+sig))
	at := c.now()
	other, claims := "123456", map[string]any{"iss": "https://accounts.google.com", "aud": a.secret, "email": "chat@system.gserviceaccount.com",
		"email_verified": true, "iat": at.Unix(), "exp": at.Add(time.Hour).Unix()}
	if a.byProject() {
		other, claims["iss"] = "https://latchkey.example/webhooks/google_chat/other", "chat@system.gserviceaccount.com"
	}
	c.hit(a, a.bearing(mockvendor.GoogleChatToken(other, claims)))
}

// googleAlgorithms: no signature, and one with a key that everybody has.
func googleAlgorithms(c *cell) {
	a := c.app()
	good := a.googleClaimed(nil)
	c.hit(a, a.bearing(headed(good, map[string]any{"alg": "none", "kid": mockvendor.GoogleKeyID})+"."))
	signed := headed(good, map[string]any{"alg": "HS256", "kid": mockvendor.GoogleKeyID})
	m := hmac.New(sha256.New, []byte(mockvendor.GoogleKeyID))
	m.Write([]byte(signed))
	c.hit(a, a.bearing(signed+"."+base64.RawURLEncoding.EncodeToString(m.Sum(nil))))
	sig := good[strings.LastIndexByte(good, '.'):]
	c.hit(a, a.bearing(headed(good, map[string]any{"alg": "RS384", "kid": mockvendor.GoogleKeyID})+sig))
}

// googleUnknownKey: a key that Google does not publish, as often as somebody likes,
// has the set fetched once more by each process at most, and leaves it in place.
func googleUnknownKey(c *cell) {
	a := c.app()
	mine, err := rsa.GenerateKey(rand.Reader, 2048)
	c.need(err)
	before := c.vendor.KeyFetches()
	for n := range 5 {
		head := map[string]any{"alg": "RS256", "kid": fmt.Sprintf("unknown-%d", n), "jwk": map[string]any{"kty": "RSA"}, "jku": "https://evil.example/keys"}
		c.hit(a, a.bearing(signedBy(c, mine, headed(a.googleClaimed(nil), head))))
	}
	// A process that is new fetches the set, and each once for a key that is not in it.
	if n, most := c.vendor.KeyFetches()-before, 2*len(c.processes(c.t, "webhook", "")); n > most {
		c.bad("%d fetches of keys by %d processes", n, most/2)
	}
	c.accepted(a, a.signed(a.message(said{})))
	c.answered(a)
}

// keysDown: a process that has no keys accepts nothing until it gets them.
func keysDown(c *cell) {
	a := c.app()
	c.vendor.FailKeys(true)
	defer c.vendor.FailKeys(false)
	c.restart(c.t, "webhook")
	c.hit(a, a.signed(a.message(said{})))
	h := a.signed(a.message(said{}))
	c.hit(a, h)
	c.vendor.FailKeys(false)
	c.need(c.advance(10 * time.Second))
	c.accepted(a, h)
	c.answered(a)
}

// googleClaims: tokens of Google for somebody else, or of somebody else.
func googleClaims(c *cell) {
	a, b := c.app(), c.app()
	c.hit(a, a.signedWith(b.secret, a.message(said{}), c.now()))
	others := "chat@system.gserviceaccount.com"
	if a.byProject() {
		others = "https://accounts.google.com"
	}
	for _, claims := range []map[string]any{{"aud": a.secret + "/"}, {"aud": []any{a.secret, b.secret}}, {"aud": nil}, {"iss": "https://accounts.example.com"}, {"iss": others}, {"exp": nil}} {
		c.hit(a, a.bearing(a.googleClaimed(claims)))
	}
}

// googleIdentities: anybody can have Google sign a token for a public address.
func googleIdentities(c *cell) {
	a := c.app()
	for _, claims := range []map[string]any{{"email": "somebody@gmail.com"}, {"email": nil}, {"email_verified": false}, {"email_verified": nil},
		{"email": "service-1234@gcp-sa-gsuiteaddons.iam.gserviceaccount.com"}, {"email": "chat@system.gserviceaccount.com.evil.example"}} {
		c.hit(a, a.bearing(a.googleClaimed(claims)))
	}
}

// googleMutants are builds without the guards that only tokens have.
func googleMutants() []mutant {
	const jwt, keys, parse = "shared/webhook/jwt.go", "shared/webhook/keyset/keyset.go", "shared/channels/googlechat/parse.go"
	const tokens = "shared/webhook/profiles/tokens.go"
	refuses := func(row int, name, reason string) mutant { return accepts(row, name, reason) }
	return []mutant{
		hook(4, "a token for nobody is for an app without an audience", jwt, "return m, audience, audience != \"\"", "return m, audience, true").saying(passed),
		// Without a token there is no audience, so that the second comparison refuses.
		refuses(6, "no token passes", "SigMissing").saying(`403 "hook.tenant_mismatch"`),
		refuses(7, "damaged tokens pass", "SigFormat").saying(`403 "hook.tenant_mismatch"`),
		refuses(10, "old tokens pass", "Stale").saying(passed),
		refuses(11, "tokens of the future pass", "Future").saying(passed),
		hook(13, "any algorithm", jwt, "if algs := in.Config[settingAlgorithms]; tok.alg != rs256 || ", "if algs := in.Config[settingAlgorithms]; tok.alg == \"\" || ").saying(`401 "hook.sig_mismatch"`),
		refuses(14, "unknown keys pass", "KeyUnknown").saying(passed),
		hook(14, "every unknown key is fetched for", keys, "if kid == \"\" || !s.unknown.IsZero() && since(s.unknown) < perUnknown {", "if kid == \"\" {").saying("fetches of keys"),
		refuses(15, "without keys everything passes", "KeySetUnavailable").saying(passed),
		refuses(16, "any audience", "ClaimRefused").saying(`403 "hook.tenant_mismatch"`),
		refuses(17, "anybody's e-mail", "IdentityRefused").saying(passed),
		hook(16, "a project's tokens may be of any account", tokens, "Issuers: []string{chatSender}, Fits", "Issuers: []string{chatSender, \"https://accounts.google.com\"}, Fits").saying(passed),
		hook(47, "removals are not told", parse, "one.Reason = channel.RevokedByVendor", "one.Reason = channel.EventIgnored").saying(`200 "hook.event_ignored"`),
	}
}
