package security

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/scripts/internal/stack"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/session"
)

func ownMessage(c *cell) {
	a := c.app()
	c.hit(a, a.signed(a.message(said{own: true})))
}

func otherBot(c *cell) {
	a := c.app()
	c.hit(a, a.signed(a.message(said{bot: true})))
}

// boundTwice: a second agent for one selector is refused, whatever it says.
func boundTwice(c *cell) {
	a := c.app()
	var other struct{ ID string }
	c.need(a.call(c, http.MethodPost, "/agents", map[string]any{"name": "Other", "instructions": "x", "model": simChat}, &other))
	c.need(a.bind(map[string]any{"channel": "C9"}, a.agent))
	for _, selector := range []map[string]any{{}, {"channel": "C9"}} {
		c.refused(a.tenant, "binding.ambiguous", func() int { return stack.Status(a.bind(selector, other.ID)) })
	}
}

// refused notes with what status something was refused and the row that tells of it,
// which must be a new one.
func (c *cell) refused(org *tenant, code string, try func() (status int)) {
	before := org.audits(c, "")
	status, audit := try(), ""
	var newest string
	if len(before) > 0 {
		newest = before[0].ID
	}
	told := 0
	for _, r := range org.audits(c, "") {
		if r.ID == newest {
			break
		}
		if r.Action == code {
			told, audit = told+1, code
		}
	}
	if told != 1 {
		c.bad("%d new rows of %s, want 1", told, code)
	}
	c.saw(status, audit)
}

// tokenTwice: the same sending token in an install of the same and of another
// organisation.
func tokenTwice(c *cell) {
	a := c.app()
	for _, org := range []*tenant{c.org, c.world.tenant(c)} {
		b := c.newApp()
		b.tenant, b.token = org, a.token
		c.refused(org, "install.token_in_use", func() int { return stack.Status(b.call(c, http.MethodPost, "/installs", b.settings(), nil)) })
	}
	c.accepted(a, a.signed(a.message(said{})))
	c.answered(a)
}

// queueDown: the vendor's retry brings the event in, once.
func queueDown(c *cell) {
	a := c.app()
	h := a.signed(a.message(said{}))
	c.broken(map[string]any{"service": "sqs", "operation": "SendMessage", "function": "webhook", "error": "unavailable"}, func() { c.hit(a, h) })
	c.accepted(a, h)
	c.answered(a)
}

func dedupeDown(c *cell) {
	a := c.app()
	h := a.signed(a.message(said{}))
	c.broken(map[string]any{"service": "dynamodb", "operation": "PutItem", "function": "webhook", "error": "throttle"}, func() { c.hit(a, h) })
	c.accepted(a, h)
	c.answered(a)
}

// workerDies kills the process while the model is asked: the message comes back,
// the turn is the same, one reply, charged once.
func workerDies(c *cell) {
	a := c.app()
	text := fmt.Sprintf("%s survive %d", spoken, c.serial.Add(1))
	b := mockvendor.NewBarrier(mockvendor.BeforeHeaders)
	c.vendor.Direct(text, mockvendor.Script{Barrier: b})
	defer b.Release()
	c.rest()
	before := c.charges()
	c.accepted(a, a.signed(a.message(said{text: text})))
	select {
	case <-b.Reached():
	case <-time.After(c.patience):
		c.bad("the model was not asked")
		return
	}
	for _, pid := range c.processes(c.t, "turn", "busy") {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	b.Release()
	c.need(c.advance(5 * time.Minute))
	again := c.turned(a, 0, "turn.retry")
	c.answered(a)
	done, ok := c.turns.next(func(r record) bool { return r.Install == a.install && r.Code == "turn.done" })
	if !ok || done.Turn == "" || done.Turn != again.Turn {
		c.bad("the turn: retried %q, done %q", again.Turn, done.Turn)
	}
	if !c.until(func() bool { return c.charges() >= before+1 }) || c.charges() != before+1 {
		c.bad("%d charges, want 1", c.charges()-before)
	}
}

// rest waits until nothing is queued, running or held.
func (c *cell) rest() {
	c.until(func() bool {
		var credits struct{ Held int64 }
		c.need(c.org.call(c, http.MethodGet, "/credits", nil, &credits))
		return c.queued() == 0 && len(c.processes(c.t, "turn", "busy")) == 0 && credits.Held == 0
	})
}

// charges counts the organisation's usage entries.
func (c *cell) charges() int {
	n, cursor := 0, ""
	for {
		var page struct {
			Items      []struct{ Kind string }
			NextCursor string `json:"next_cursor"`
		}
		c.need(c.org.call(c, http.MethodGet, "/entries?limit=100&cursor="+cursor, nil, &page))
		for _, e := range page.Items {
			if e.Kind == "usage" {
				n++
			}
		}
		if cursor = page.NextCursor; cursor == "" {
			return n
		}
	}
}

// replyLost: the vendor has taken the reply and nobody knows; it is not sent again.
func replyLost(c *cell) {
	a := c.app()
	c.faults.set(c.faults.drop, a.token)
	c.accepted(a, a.signed(a.message(said{})))
	r := c.turned(a, 0, "reply.unknown")
	if r.Turn == "" {
		return
	}
	var turn struct{ Outbox []struct{ State string } }
	if !c.until(func() bool {
		c.need(a.call(c, http.MethodGet, "/turns/"+r.Turn, nil, &turn))
		return len(turn.Outbox) == 1 && turn.Outbox[0].State == "unknown"
	}) {
		c.bad("the outbox: %+v", turn)
	}
	c.answered(a)
}

// foreignReply gives the worker jobs that no webhook makes: of another
// organisation, and of another tenant of the vendor.
func foreignReply(c *cell) {
	a := c.app()
	n := c.serial.Add(1)
	job := session.Job{Kind: session.JobMessage, Org: a.tenant.id, Install: a.install, EventID: strconv.FormatInt(n, 10), AgentID: a.agent, Tenant: "x",
		Identity: c.identity(a, a.team),
		Envelope: channel.Envelope{Provider: c.col.provider(), EventID: strconv.FormatInt(n, 10), Space: "C1", Actor: "U1", Text: spoken + " foreign"}, ReceivedAt: c.now()}
	foreign := job
	foreign.Org = c.world.tenant(c).id
	jobs := []session.Job{foreign}
	if c.col.identity != nil {
		foreign = job
		foreign.Identity = c.identity(a, c.newApp().team)
		jobs = append(jobs, foreign)
	}
	for i, j := range jobs {
		j.EventID += strconv.Itoa(i)
		body, err := j.Encode()
		c.need(err)
		c.need(c.local("/invoke/turn", map[string]any{"Records": []any{map[string]any{"messageId": "m" + j.EventID, "receiptHandle": "r", "body": string(body), "eventSource": "aws:sqs",
			"attributes": map[string]string{"MessageGroupId": "g" + j.EventID, "ApproximateReceiveCount": "1", "SentTimestamp": strconv.FormatInt(c.now().UnixMilli(), 10)}}}}))
		c.turned(a, 0, "reply.tenant_guard")
	}
}

// identity is whom the vendor says that a message for a team is for.
func (c *cell) identity(a *app, team string) channel.Identity {
	if c.col.identity == nil {
		return nil
	}
	return c.col.identity(a, team)
}

// tokenRejected: at the third time the install is suspended and its owner told.
func tokenRejected(c *cell) {
	a := c.app()
	c.faults.set(c.faults.reject, a.token)
	for n := range 3 {
		c.accepted(a, a.signed(a.message(said{})))
		a.replies-- // none is taken
		c.turned(a, 0, "install.token_rejected")
		if state := a.state(); n < 2 && state != "active" {
			c.bad("after %d: %s", n+1, state)
		}
	}
	if !c.until(func() bool { return a.state() == "suspended" }) {
		c.bad("the install is %s", a.state())
	}
	if rows := a.audits(c, a.install); !told(rows, "install.token_rejected") {
		c.bad("audit rows: %v", rows)
	}
	c.need(c.local("/invoke/sweep", map[string]any{"time": c.now().UTC().Format(time.RFC3339), "source": "aws.events", "detail-type": "Scheduled Event", "detail": map[string]any{}}))
	if !c.until(func() bool { return c.ownerTold(a.install) == 1 }) {
		c.bad("the owner was told %d times", c.ownerTold(a.install))
	}
}

func (a *app) state() string {
	var i struct{ State string }
	a.c.need(a.call(a.c, http.MethodGet, "/installs/"+a.install, nil, &i))
	return i.State
}

// ownerTold counts the events that tell of a suspended install.
func (c *cell) ownerTold(install string) int {
	n := 0
	for _, e := range c.Events.Events() {
		if e.DetailType == "latchkey.install.suspended" && strings.Contains(string(e.Detail), `"install_id":"`+install+`"`) {
			n++
		}
	}
	return n
}

// retiredSecret: the old secret verifies until its time is over.
func retiredSecret(c *cell) {
	a := c.app()
	old := a.secret
	a.secret = c.newApp().secret
	c.need(a.call(c, http.MethodPost, "/installs/"+a.install+"/rotate",
		map[string]any{"name": c.col.verifies, "value": a.secret, "retire_at": c.now().Add(time.Hour).UTC().Format(time.RFC3339)}, nil))
	c.accepted(a, a.signedWith(old, a.message(said{}), c.now()))
	c.accepted(a, a.signed(a.message(said{})))
	c.need(c.advance(2 * time.Hour))
	if r := c.hit(a, a.signedWith(old, a.message(said{}), c.now())); !r.RetiredSecret {
		c.bad("the record does not say that the secret is retired: %s", r.raw)
	}
	c.accepted(a, a.signed(a.message(said{})))
	if r := c.hit(a, a.signedWith(c.col.spoiled(old), a.message(said{}), c.now())); r.RetiredSecret {
		c.bad("a secret that never was one is called retired: %s", r.raw)
	}
	c.answered(a)
}

func removed(c *cell) {
	a := c.app()
	h := a.signed(a.removed())
	if c.col.leaves {
		// It tells of one chat only, so the install stays.
		c.hit(a, h)
		c.accepted(a, a.signed(a.message(said{})))
		c.answered(a)
		return
	}
	got := c.do(h)
	if r := c.recordOf(a, h); got.body != c.col.acks[r.Code] {
		c.bad("body %s", got.body)
	}
	c.turned(a, got.status, "install.revoked_by_provider")
	if state := a.state(); state != "revoked" {
		c.bad("the install is %s", state)
	}
	if rows := a.audits(c, a.install); !told(rows, "install.revoked_by_provider") {
		c.bad("audit rows: %v", rows)
	}
}

// flood: many bad signatures are 401, then 429, and recorded once a minute by each
// process that counts them; valid requests between them are answered.
func flood(c *cell) {
	a := c.app()
	const most = 3000 // each process limits by itself, after sixty
	limited := 0
	for n := 0; n < most && limited < 20; n++ {
		got := c.do(a.spoiled())
		switch {
		case got.status == http.StatusTooManyRequests:
			if limited++; got.body != bodies()[429] {
				c.bad("body %s", got.body)
			}
		case got.status != http.StatusUnauthorized || n == 0 && got.body != bodies()[401]:
			c.bad("request %d: %d %s", n, got.status, got.body)
			return
		case n == 0:
			c.accepted(a, a.signed(a.message(said{})))
		}
	}
	if limited == 0 {
		c.saw(http.StatusUnauthorized, "hook.sig_mismatch")
		return
	}
	r, _ := c.hooks.next(func(r record) bool { return r.Install == a.install && r.Code == "hook.flood" })
	c.saw(http.StatusTooManyRequests, r.Code)
	for range 3 {
		c.accepted(a, a.signed(a.message(said{})))
	}
	c.once(a, "hook.flood", time.Minute)
	c.answered(a)
}

// once checks that no process wrote two records of a code within a time.
func (c *cell) once(a *app, code string, within time.Duration) {
	newest := map[string]time.Time{}
	for _, r := range c.hooks.having(func(r record) bool { return r.Install == a.install && r.Code == code }) {
		if last, ok := newest[r.process]; ok && r.At.Sub(last) < within {
			c.bad("a second record of %s after %v: %s", code, r.At.Sub(last), r.raw)
			return
		}
		newest[r.process] = r.At
	}
}

// botLoop: another bot writes whenever it is answered. Where the install lets bots in
// it is answered a few times, then one record says that it is not, and a person ends
// that. Where the vendor does not say who is a bot it is one text again and again.
func botLoop(c *cell) {
	a := c.app()
	answers := 7
	if c.col.bots {
		answers = 3
		c.need(a.call(c, http.MethodPatch, "/installs/"+a.install, map[string]any{"policy": map[string]any{"bot_messages": "all"}}, nil))
	}
	bot := said{text: spoken + " out of office", bot: true}
	for range answers {
		c.accepted(a, a.signed(a.message(bot)))
		c.answered(a)
	}
	for n := range 3 {
		c.accepted(a, a.signed(a.message(bot)))
		if a.replies--; n == 0 {
			c.turned(a, http.StatusOK, c.want.Audit)
		}
	}
	for _, s := range []said{{}, bot} { // a person, and the bot again
		c.accepted(a, a.signed(a.message(s)))
		c.answered(a)
	}
	if n := len(c.turns.having(func(r record) bool { return r.Install == a.install && r.Code == c.want.Audit })); n != 1 {
		c.bad("%d records of %s", n, c.want.Audit)
	}
}
