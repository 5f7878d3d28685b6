package security

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/rollout"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// attacks play the rows, by number, for every vendor that has no other way.
func attacks() map[int]func(*cell) {
	return map[int]func(*cell){
		1: unknownInstall, 2: otherProvider, 3: inactive, 4: noSecret, 5: keyServiceDown, 6: noSignature, 7: malformedSignature, 8: changedBody,
		9: otherSecret, 10: atTime(-10 * time.Minute), 11: atTime(10 * time.Minute), 12: twice, 13: weaker,
		19: replay, 20: replayWithHeader, 21: otherTenant, 22: unboundTenant, 23: crossedApps, 26: draft, 27: wrongMethod, 28: tooLarge,
		29: notJSON, 30: ambiguousJSON, 31: forgedHost, 33: ownMessage, 34: otherBot, 35: botLoop, 37: boundTwice, 38: tokenTwice,
		39: queueDown, 40: dedupeDown, 41: workerDies, 42: replyLost, 43: foreignReply, 44: tokenRejected, 45: retiredSecret, 46: refusedStates, 47: removed, 48: mediaElsewhere, 49: mediaIsPage, 50: flood,
	}
}

func unknownInstall(c *cell) {
	a := c.app()
	h := a.signed(a.message(said{}))
	h.path += "x"
	c.hit(a, h)
}

func otherProvider(c *cell) {
	a := c.app()
	for _, other := range rollout.Columns() {
		if rollout.ChannelOf(other) == other && other != c.col.provider() {
			h := a.signed(a.message(said{}))
			h.path = "/webhooks/" + string(other) + "/" + a.install
			c.hit(a, h)
		}
	}
}

func inactive(c *cell) {
	for _, to := range []string{"suspend", "revoke"} {
		a := c.app()
		a.move(to)
		c.hit(a, a.signed(a.message(said{})))
	}
}

// noSecret takes the secret away behind the product's back: it can make no active
// install without one.
func noSecret(c *cell) {
	a := c.app()
	pk := table.CredentialHead(a.tenant.id, string(taxonomy.ChannelVerify), a.install).PK
	out, err := c.Dynamo.Query(c.ctx, &dynamodb.QueryInput{TableName: aws.String(c.Tables[table.Vault]), KeyConditionExpression: aws.String("#pk = :pk"),
		ExpressionAttributeNames: map[string]string{"#pk": table.PK}, ExpressionAttributeValues: map[string]types.AttributeValue{":pk": &types.AttributeValueMemberS{Value: pk}}})
	c.need(err)
	taken := 0
	for _, it := range out.Items {
		sk := it[table.SK].(*types.AttributeValueMemberS).Value
		if strings.HasPrefix(sk, string(taxonomy.ChannelVerify)+"#"+a.install+"#") {
			taken++
			_, err := c.Dynamo.DeleteItem(c.ctx, &dynamodb.DeleteItemInput{TableName: aws.String(c.Tables[table.Vault]),
				Key: map[string]types.AttributeValue{table.PK: it[table.PK], table.SK: it[table.SK]}})
			c.need(err)
		}
	}
	if taken < 2 {
		c.bad("%d items of the secret", taken)
	}
	c.hit(a, a.signed(a.message(said{})))
	if c.col.anySecret {
		c.hit(a, a.signedWith("", a.message(said{}), c.now()))
	}
}

// keyServiceDown: nothing is cached of an install that nobody has called.
func keyServiceDown(c *cell) {
	for _, failure := range []string{"access_denied", "unavailable"} {
		a := c.app()
		c.broken(map[string]any{"service": "kms", "operation": "Decrypt", "function": "webhook", "error": failure}, func() {
			c.hit(a, a.signed(a.message(said{})))
		})
		// A refused key is remembered for five seconds, per process.
		c.need(c.advance(10 * time.Second))
		c.accepted(a, a.signed(a.message(said{})))
	}
}

// broken runs f while a service fails, for all cells of the row that are played at
// once.
func (c *cell) broken(fault map[string]any, f func()) {
	var err error
	if !c.meet.all(fmt.Sprint(fault), func() { err = c.local("/faults", fault) }) {
		c.bad("the columns of a row that is played at once break different things")
	}
	defer func() {
		var err error
		c.meet.all("mend", func() { err = c.mend() })
		c.need(err)
	}()
	c.need(err)
	f()
}

// mend ends every fault.
func (c *cell) mend() error {
	req, err := http.NewRequestWithContext(c.ctx, http.MethodDelete, c.BaseURL+"/_local/faults", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func noSignature(c *cell) {
	a := c.app()
	h := a.signed(a.message(said{}))
	h.header.Del(a.proof())
	c.hit(a, h)
	h = a.signed(a.message(said{}))
	h.header.Set(a.proof(), "")
	c.hit(a, h)
}

func malformedSignature(c *cell) {
	a := c.app()
	for _, v := range c.col.malformed {
		h := a.signed(a.message(said{}))
		h.header.Set(a.proof(), v)
		c.hit(a, h)
	}
	if c.col.cut == 0 {
		return
	}
	h := a.signed(a.message(said{}))
	v := h.header.Get(a.proof())
	h.header.Set(a.proof(), v[:len(v)-c.col.cut])
	c.hit(a, h)
}

func changedBody(c *cell) {
	a := c.app()
	h := a.signed(a.message(said{text: spoken + "-pay-ten"}))
	h.body = []byte(strings.Replace(string(h.body), "pay-ten", "pay-two", 1))
	c.hit(a, h)
	h = a.signed(a.message(said{}))
	h.body = append(h.body, ' ')
	c.hit(a, h)
}

func otherSecret(c *cell) {
	a, b := c.app(), c.app()
	c.hit(a, a.signedWith(b.secret, a.message(said{}), c.now()))
	c.hit(a, a.spoiled())
	if c.col.anySecret {
		c.hit(a, a.signedWith(a.token, a.message(said{}), c.now()))
	}
}

func atTime(by time.Duration) func(*cell) {
	return func(c *cell) {
		a := c.app()
		c.hit(a, a.signedWith(a.secret, a.message(said{}), c.now().Add(by)))
	}
}

func twice(c *cell) {
	a := c.app()
	for _, name := range c.col.proofs {
		h := a.signed(a.message(said{}))
		good := h.header.Get(name)
		h.header.Add(name, good)
		c.hit(a, h)
		h = a.signed(a.message(said{}))
		good = h.header.Get(name)
		h.header[name] = []string{zeros(10), good}
		c.hit(a, h)
	}
}

func weaker(c *cell) {
	a := c.app()
	for _, tag := range []string{"sha1=", "v1=", "none="} {
		h := a.signed(a.message(said{}))
		_, mac, _ := strings.Cut(h.header.Get(a.proof()), "=")
		h.header.Set(a.proof(), tag+mac)
		c.hit(a, h)
	}
}

// replay: the same request again is answered 200 and makes no second turn.
func replay(c *cell) {
	a := c.app()
	h := a.signed(a.message(said{}))
	c.accepted(a, h)
	c.hit(a, h)
	c.hit(a, h)
	c.answered(a)
}

// replayWithHeader changes what says that it is a retry, which nobody signs.
func replayWithHeader(c *cell) {
	a := c.app()
	h := a.signed(a.message(said{}))
	c.accepted(a, h)
	for n := range 2 {
		c.col.retried(h.header, n+1)
		c.hit(a, h)
	}
	c.answered(a)
}

func otherTenant(c *cell) {
	a, b := c.app(), c.app()
	c.hit(a, a.signed(a.message(said{team: b.team})))
	foreign := b.message(said{})
	c.hit(a, a.signed(foreign))
}

// draft: the setting that names the tenant, or the token that sends, is missing.
func draft(c *cell) {
	a := c.newApp()
	in := a.settings()
	without(in, func(name string) bool { return name == c.col.sends })
	if c.col.undone != nil {
		c.col.undone(a, in)
	}
	a.create(in, false)
	c.hit(a, a.signed(a.message(said{})))
	if c.col.checks != nil {
		for _, h := range c.col.checks(a) {
			c.hit(a, h)
		}
	}
}

func wrongMethod(c *cell) {
	a := c.app()
	for _, m := range []string{http.MethodPut, http.MethodDelete, http.MethodPatch} {
		h := a.signed(a.message(said{}))
		h.method = m
		c.hit(a, h)
	}
}

func tooLarge(c *cell) {
	a := c.app()
	c.hit(a, a.signed(append(a.message(said{}), strings.Repeat(" ", 1<<20)...)))
	c.hit(a, a.signed(a.message(said{text: spoken + strings.Repeat("x", 1<<20)})))
	c.accepted(a, a.signed(append(a.message(said{}), strings.Repeat(" ", 1<<19)...)))
}

func notJSON(c *cell) {
	a := c.app()
	n := c.serial.Add(1)
	for _, body := range []string{fmt.Sprintf("{%d", n), fmt.Sprintf("payload=%d", n), fmt.Sprintf("[%d]", n), fmt.Sprintf("{} %d", n)} {
		c.hit(a, a.signed([]byte(body)))
	}
	c.hit(a, a.signed([]byte(strings.Replace(string(a.message(said{text: spoken + "utf"})), spoken+"utf", "\xff\xfe", 1))))
}

func ambiguousJSON(c *cell) {
	a := c.app()
	body := string(a.message(said{text: spoken + "first"}))
	name := cmp.Or(c.col.text, "text")
	c.hit(a, a.signed([]byte(strings.Replace(body, `"`+name+`":`, `"`+name+`":"`+spoken+`second","`+name+`":`, 1))))
	body = string(a.message(said{}))
	c.hit(a, a.signed([]byte(strings.TrimSuffix(body, "}")+`,"deep":`+strings.Repeat("[", 80)+strings.Repeat("]", 80)+"}")))
}

func forgedHost(c *cell) {
	a := c.app()
	h := a.signed(a.message(said{}))
	h.host = "hooks.example.net"
	h.header.Set("X-Forwarded-Host", "evil.example.net")
	h.header.Set("X-Forwarded-Proto", "http")
	h.header.Set("Forwarded", "host=evil.example.net")
	c.hit(a, h)
	a.replies++
	c.answered(a)
}
