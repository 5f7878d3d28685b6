package security

import (
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

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Where people of Teams write, and the address that answers go to.
const (
	teamsRoom    = "19:c0ffee@thread.tacv2"
	teamsService = "https://smba.trafficmanager.net/emea/"
)

// teamsColumn: an app's secret is its id, which the Bot Framework's tokens name and
// which is public; what no one else can make is their signature.
func teamsColumn() column {
	return column{id: taxonomy.Teams, sends: "client_secret", bots: true, leaves: true,
		attacks: map[int]func(*cell){4: noAudience("app_id", (*app).teamsClaims), 9: teamsOtherKey, 10: atTime(-2 * time.Hour), 13: teamsAlgorithms, 14: teamsUnknownKey, 15: keysDown, 16: teamsStrangers, 17: teamsIdentities, 18: teamsServices},
		mutants: teamsMutants, elsewhere: []int{4, 6, 7, 10, 11, 13},
		fresh: func(a *app, n int64) {
			a.secret, a.team = fmt.Sprintf("00000000-0000-4000-8000-%012d", n), fmt.Sprintf("00000000-0000-4000-9000-%012d", n)
			a.token = mockvendor.TeamsToken(fmt.Sprintf("%steams~%08d", planted, n))
		},
		settings: func(a *app, in map[string]any) {
			in["secrets"] = map[string]any{"client_secret": mockvendor.TeamsSecret(a.token)}
			in["config"] = map[string]any{"app_id": a.secret, "tenant_id": a.team}
		},
		message: func(a *app, n int64, s said) []byte {
			from := "29:ada"
			if s.bot {
				from = "28:00000000-0000-4000-a000-000000000001"
			}
			if s.own {
				from = "28:" + a.secret
			}
			return teamsActivity(a, n, s.team, from, map[string]any{"type": "message", "text": "<at>Helper</at> " + s.text, "textFormat": "plain",
				"entities": []any{map[string]any{"type": "mention", "text": "<at>Helper</at>", "mentioned": map[string]any{"id": "28:" + a.secret, "name": "Helper"}}}})
		},
		removed: func(a *app, n int64) []byte {
			return teamsActivity(a, n, a.team, "29:ada", map[string]any{"type": "installationUpdate", "action": "remove"})
		},
		identity: func(a *app, team string) channel.Identity {
			return channel.Identity{"app_id": a.secret, "tenant_id": team}
		},
		proofs: []string{"Authorization"}, tag: "Bearer ",
		malformed: []string{"Bearer x", "Bearer a.b.c", "Basic YTpi", "Bearer " + zeros(6<<10)}, cut: 1,
		api: "/teams/", unauthorized: func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"message":"Authorization has been denied for this request."}`)
		},
	}
}

// teamsActivity is what the connector says of something in a channel of a tenant.
func teamsActivity(a *app, n int64, tenant, from string, more map[string]any) []byte {
	o := map[string]any{"id": fmt.Sprint(1485983000000 + n), "timestamp": time.Unix(1772600767, n).UTC().Format(time.RFC3339Nano), "serviceUrl": teamsService, "channelId": "msteams",
		"from": map[string]any{"id": from, "name": "Ada"}, "recipient": map[string]any{"id": "28:" + a.secret, "name": "Helper"},
		"conversation": map[string]any{"conversationType": "channel", "isGroup": true, "tenantId": tenant, "id": teamsRoom + ";messageid=1485983000000"},
		"channelData":  map[string]any{"tenant": map[string]any{"id": tenant}, "team": map[string]any{"id": teamsRoom}}}
	maps.Copy(o, more)
	return encode(o)
}

// teamsClaimed is a token of a key of the Bot Framework's with other claims.
func (a *app) teamsClaimed(key string, claims map[string]any) string {
	at := a.c.now()
	all := map[string]any{"nbf": at.Unix(), "exp": at.Add(time.Hour).Unix(), "serviceurl": teamsService}
	maps.Copy(all, claims)
	return mockvendor.BotToken(key, a.secret, all)
}

// teamsClaims is one of the key that speaks for Teams.
func (a *app) teamsClaims(claims map[string]any) string {
	return a.teamsClaimed(mockvendor.TeamsKeyID, claims)
}

// teamsOtherKey: the right claims under the name of a key of the set, signed with
// somebody's and with the other key of the set; and a signature under other claims.
func teamsOtherKey(c *cell) {
	a := c.app()
	mine, err := rsa.GenerateKey(rand.Reader, 2048)
	c.need(err)
	head := map[string]any{"alg": "RS256", "typ": "JWT", "kid": mockvendor.TeamsKeyID}
	good, other := a.teamsClaims(nil), a.teamsClaimed(mockvendor.OtherBotsKeyID, nil)
	c.hit(a, a.bearing(signedBy(c, mine, headed(good, head))))
	sig := func(token string) string { return token[strings.LastIndexByte(token, '.'):] }
	c.hit(a, a.bearing(headed(other, head)+sig(other)))
	c.hit(a, a.bearing(headed(a.teamsClaims(map[string]any{"exp": c.now().Add(2 * time.Hour).Unix()}), head)+sig(good)))
}

// teamsAlgorithms: no signature, and one with a key that everybody has.
func teamsAlgorithms(c *cell) {
	a := c.app()
	good := a.teamsClaims(nil)
	c.hit(a, a.bearing(headed(good, map[string]any{"alg": "none", "kid": mockvendor.TeamsKeyID})+"."))
	signed := headed(good, map[string]any{"alg": "HS256", "kid": mockvendor.TeamsKeyID})
	m := hmac.New(sha256.New, []byte(mockvendor.TeamsKeyID))
	m.Write([]byte(signed))
	c.hit(a, a.bearing(signed+"."+base64.RawURLEncoding.EncodeToString(m.Sum(nil))))
	c.hit(a, a.bearing(headed(good, map[string]any{"alg": "RS384", "kid": mockvendor.TeamsKeyID})+good[strings.LastIndexByte(good, '.'):]))
}

// teamsUnknownKey: made-up names of keys have the set fetched once more by each process
// at most, and leave it in place.
func teamsUnknownKey(c *cell) {
	a := c.app()
	mine, err := rsa.GenerateKey(rand.Reader, 2048)
	c.need(err)
	before := c.vendor.KeyFetches()
	for n := range 5 {
		head := map[string]any{"alg": "RS256", "kid": fmt.Sprintf("unknown-%d", n), "jwk": map[string]any{"kty": "RSA"}, "jku": "https://evil.example/keys", "x5t": mockvendor.TeamsKeyID}
		c.hit(a, a.bearing(signedBy(c, mine, headed(a.teamsClaims(nil), head))))
	}
	// A process that is new fetches the set, and each once for a key that is not in it.
	if n, most := c.vendor.KeyFetches()-before, 2*len(c.processes(c.t, "webhook", "")); n > most {
		c.bad("%d fetches of keys by %d processes", n, most/2)
	}
	c.accepted(a, a.signed(a.message(said{})))
	c.answered(a)
}

// teamsStrangers: tokens of the Bot Framework for somebody else, or of somebody else.
func teamsStrangers(c *cell) {
	a, b := c.app(), c.app()
	c.hit(a, a.signedWith(b.secret, a.message(said{}), c.now()))
	for _, claims := range []map[string]any{{"aud": "https://api.botframework.com"}, {"aud": []any{a.secret, b.secret}}, {"aud": nil}, {"iss": "https://api.botframework.us"},
		{"iss": "https://sts.windows.net/" + a.team + "/"}, {"iss": nil}, {"exp": nil}} {
		c.hit(a, a.bearing(a.teamsClaims(claims)))
	}
}

// teamsIdentities: a key that is endorsed for other channels of the Bot Framework does
// not speak for Teams, and one for Teams not for others.
func teamsIdentities(c *cell) {
	a := c.app()
	c.hit(a, a.bearing(a.teamsClaimed(mockvendor.OtherBotsKeyID, nil)))
	for _, other := range []string{"webchat", "emulator", "MSTEAMS"} {
		c.hit(a, a.signed([]byte(strings.Replace(string(a.message(said{})), `"msteams"`, `"`+other+`"`, 1))))
	}
}

// teamsServices: an answer goes where the token says, and to Microsoft only.
func teamsServices(c *cell) {
	a := c.app()
	elsewhere := func(url string) []byte {
		return []byte(strings.Replace(string(a.message(said{})), teamsService, url, 1))
	}
	h := a.signed(elsewhere("https://smba.trafficmanager.net/amer/"))
	h.header.Set(a.proof(), "Bearer "+a.teamsClaims(nil))
	c.hit(a, h)
	c.hit(a, a.bearing(a.teamsClaims(map[string]any{"serviceurl": nil})))
	for _, url := range []string{"https://evil.example/", "http://smba.trafficmanager.net/emea/", "https://smba.trafficmanager.net.evil.example/", "https://smba.trafficmanager.net@evil.example/",
		"https://a@smba.trafficmanager.net/", "https://smba.trafficmanager.net:444/", "https://evil.trafficmanager.net/", "https://169.254.169.254/"} {
		c.hit(a, a.signed(elsewhere(url)))
	}
}

// teamsMutants are builds without the guards that only tokens have.
func teamsMutants() []mutant {
	const jwt, keys, parse = "shared/webhook/jwt.go", "shared/webhook/keyset/keyset.go", "shared/channels/teams/parse.go"
	return []mutant{
		// The install's app is looked for again among what the request says of itself.
		hook(4, "a token for nobody is for an app without an id", jwt, "return m, audience, audience != \"\"", "return m, audience, true").saying(`403 "hook.tenant_mismatch"`),
		// Without a token there is no audience, so that the second comparison refuses.
		accepts(6, "no token passes", "SigMissing").saying(`403 "hook.tenant_mismatch"`),
		accepts(7, "damaged tokens pass", "SigFormat").saying(`403 "hook.tenant_mismatch"`),
		accepts(10, "old tokens pass", "Stale").saying(passed),
		accepts(11, "tokens of the future pass", "Future").saying(passed),
		hook(13, "any algorithm", jwt, "if algs := in.Config[settingAlgorithms]; tok.alg != rs256 || ", "if algs := in.Config[settingAlgorithms]; tok.alg == \"\" || ").saying(`401 "hook.sig_mismatch"`),
		accepts(14, "unknown keys pass", "KeyUnknown").saying(passed),
		hook(14, "every unknown key is fetched for", keys, "if kid == \"\" || !s.unknown.IsZero() && since(s.unknown) < perUnknown {", "if kid == \"\" {").saying("fetches of keys"),
		accepts(15, "without keys everything passes", "KeySetUnavailable").saying(passed),
		accepts(16, "any audience", "ClaimRefused").saying(`403 "hook.tenant_mismatch"`),
		accepts(17, "keys of other channels pass", "IdentityRefused").saying(passed),
		hook(17, "a token for another channel is as good as none", recordFile, "if code == webhook.IdentityRefused && c.entry.Identity403 {", "if code == webhook.IdentityRefused && c.entry.Only401 {").saying(`401 "hook.identity_refused"`),
		accepts(18, "any address", "ServiceURLRefused").saying(passed),
		hook(47, "removals are not told", parse, "one.Reason = channel.RevokedByVendor", "one.Reason = channel.EventIgnored").saying(`200 "hook.event_ignored"`),
	}
}
