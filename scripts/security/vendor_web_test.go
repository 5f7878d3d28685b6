package security

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// webVisitor is who writes on the organisation's pages.
const webVisitor = "ada"

func webColumn() column {
	return column{id: taxonomy.Web, verifies: "widget_secret", posts: webPosts,
		attacks: map[int]func(*cell){10: atTime(-2 * time.Hour), 13: webAlgorithms, 16: webClaims},
		mutants: webMutants, elsewhere: []int{6, 7, 10, 11, 13, 26},
		fresh: func(*app, int64) {},
		settings: func(a *app, in map[string]any) {
			in["secrets"] = map[string]any{"widget_secret": a.secret}
			in["config"] = map[string]any{"allowed_origins": []string{"https://shop.example"}}
		},
		undone: func(_ *app, in map[string]any) { in["secrets"] = map[string]any{} },
		message: func(_ *app, n int64, s said) []byte {
			return encode(map[string]any{"id": fmt.Sprintf("%s-%08d", webVisitor, n), "text": s.text})
		},
		proofs: []string{"Authorization"}, tag: "Bearer ",
		malformed: []string{"Bearer x", "Bearer a.b.c", "Basic YTpi", "Bearer " + zeros(6<<10)}, cut: 1,
		acks: map[string]string{"hook.accepted": `{"queued":true}`, "hook.duplicate": `{"queued":true}`, "hook.unbound": `{"queued":false}`, "hook.install_verifying": `{"queued":false}`},
	}
}

// webPosts are the answers that the visitor's page would be shown, as they are stored:
// of an install that is none any more nobody is told.
func webPosts(a *app) (out []mockvendor.Post) {
	id := session.Job{Org: a.tenant.id, Install: a.install, AgentID: a.agent, Envelope: channel.Envelope{Provider: taxonomy.Web, Space: webVisitor}}.Key().Hash()
	got, err := a.c.Dynamo.Query(a.c.ctx, &dynamodb.QueryInput{TableName: aws.String(a.c.Tables[table.Sessions]), KeyConditionExpression: aws.String("#pk = :pk"),
		ExpressionAttributeNames: map[string]string{"#pk": table.PK}, ExpressionAttributeValues: map[string]types.AttributeValue{":pk": &types.AttributeValueMemberS{Value: table.ShownState(a.tenant.id, id).PK}}})
	a.c.need(err)
	for _, it := range got.Items {
		role, _ := it["role"].(*types.AttributeValueMemberS)
		text, _ := it["text"].(*types.AttributeValueMemberS)
		if role != nil && text != nil && role.Value != string(session.User) {
			out = append(out, mockvendor.Post{Channel: webVisitor, Text: text.Value})
		}
	}
	return out
}

// webClaimed is a token of the organisation's with other claims.
func (a *app) webClaimed(claims map[string]any) string {
	return mockvendor.VisitorToken(a.secret, a.install, webVisitor, a.c.now(), claims)
}

// webAlgorithms: no signature, one under another name of the algorithm, and one that a
// public key would verify.
func webAlgorithms(c *cell) {
	a := c.app()
	_, rest, _ := strings.Cut(a.webClaimed(nil), ".")
	claims, _, _ := strings.Cut(rest, ".")
	for _, head := range []string{`{"alg":"none","typ":"JWT"}`, `{"typ":"JWT"}`, `{"alg":"RS256","typ":"JWT"}`} {
		c.hit(a, a.bearing(base64.RawURLEncoding.EncodeToString([]byte(head))+"."+claims+"."))
	}
	for _, alg := range []string{"hs256", "HS512", "RS256"} {
		c.hit(a, a.bearing(mockvendor.VisitorTokenOf(a.secret, `{"alg":"`+alg+`","typ":"JWT"}`, claims)))
	}
}

// webClaims: tokens of the organisation's for another install, for none, for several,
// and without an end.
func webClaims(c *cell) {
	a, b := c.app(), c.app()
	at := c.now()
	for _, claims := range []map[string]any{{"aud": b.install}, {"aud": nil}, {"aud": []any{a.install, b.install}}, {"exp": nil}, {"iat": nil},
		{"exp": at.Add(25 * time.Hour).Unix()}, {"sub": nil}, {"sub": strings.Repeat("a", 200)}, {"sub": "a b"}} {
		c.hit(a, a.bearing(a.webClaimed(claims)))
	}
	// The same secret in two installs: a token is for one of them.
	b.secret = a.secret
	c.hit(a, a.bearing(b.webClaimed(nil)))
}

// webMutants are builds without the guards that only visitors' tokens have.
func webMutants() []mutant {
	const token = "shared/webhook/visitor.go"
	return []mutant{
		// Without a token there is no visitor, so that nobody says anything.
		accepts(6, "no token passes", "SigMissing").saying(`400 "hook.bad_payload"`),
		accepts(7, "damaged tokens pass", "SigFormat").saying(`400 "hook.bad_payload"`),
		accepts(10, "old tokens pass", "Stale").saying(passed),
		// A draft of this channel has no secret at all.
		hook(26, "drafts verify", ingestFile, "case !inst.State.Verifies():", "case inst.State == install.Suspended || inst.State == install.Revoked:").saying(`401 "hook.no_secret"`),
		accepts(11, "tokens of the future pass", "Future").saying(passed),
		hook(13, "any algorithm", token, "if tok.alg != hs256 {", `if tok.alg == "" {`).saying(passed),
		hook(16, "any install's token", token, "!names(c.Audience, in.Install)", "len(c.Audience) == 0").saying(passed),
	}
}
