package deliveries

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/scripts/internal/stack"
)

// app is an active install of an organisation, and what its vendor knows.
type app struct {
	w   *world
	org *org
	kind
	install string
	secret  string
	token   string
	id      string // app, bot or phone number
	tenant  string // team or account
	bot     string // the bot's user or name
}

// newApp makes an install of a kind in a tenant, and activates it.
func (w *world) newApp(ctx context.Context, o *org, k kind, tenant string) (*app, error) {
	w.serial++
	n := w.serial
	a := &app{w: w, org: o, kind: k, tenant: tenant, secret: fmt.Sprintf("deliveries-signing-secret-%06d", n)}
	in := map[string]any{"provider": k.provider, "mode": "byoa"}
	k.fresh(a, n, in)
	var made struct{ ID, State string }
	if err := o.call(ctx, http.MethodPost, "/installs", in, &made); err != nil {
		return nil, err
	}
	a.install = made.ID
	if err := stack.Admit(ctx, w.operator, k.provider, o.id); err != nil {
		return nil, err
	}
	return a, o.call(ctx, http.MethodPost, "/installs/"+a.install+"/activate", map[string]any{}, nil)
}

func (a *app) bind(ctx context.Context, selector map[string]any, agent, persona string) error {
	return a.org.call(ctx, http.MethodPost, "/bindings", map[string]any{"install_id": a.install, "selector": selector, "agent_id": agent, "persona_id": persona}, nil)
}

// post is one thing said in a channel.
type post struct {
	n              int // unique in the run
	room           string
	thread         string // of the room, empty = none
	direct         bool
	from           string
	text           string
	sent           time.Time
	mention        bool // a second event tells the app that it is mentioned
	command, named bool // the text begins with a /command, or with the bot's name
}

// oneInFour chooses posts by their number alone, so that the plan, not the ids of a
// run, says how many there are of each vendor. Not n%4: who talks recurs with n.
func oneInFour(n int) bool {
	return crc32.ChecksumIEEE([]byte(strconv.Itoa(n)))%4 == 0
}

// event is how the app's vendor tells of a post. The same post and kind make the
// same bytes.
func (a *app) event(p post) []byte { return a.tells(a, p) }

// shows reports whether a message that was sent with the app's token stands in a
// room's thread.
func (a *app) shows(p mockvendor.Post, room, thread string) bool {
	if a.inThread == nil {
		return p.Channel == room && p.ThreadTS == thread
	}
	return p.Channel == room && a.inThread(a, p, thread)
}

func text(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// deliver makes the vendor's request and returns its status, 0 without an answer.
func (a *app) deliver(ctx context.Context, body []byte) int {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	proof := mockvendor.Proof{Secret: a.secret, At: a.w.Clock.Now()}
	if a.proves == nil {
		body = mockvendor.Stamp(a.provider, proof, body)
	}
	at := a.w.BaseURL + "/webhooks/" + a.provider + "/" + a.install
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, bytes.NewReader(body))
	if err != nil {
		return 0
	}
	req.Header.Set("Content-Type", cmp.Or(a.contentType, "application/json"))
	if err := a.prove(req, proof, body); err != nil {
		return 0
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	_ = resp.Body.Close()
	return resp.StatusCode
}

// prove puts into a request what proves that it is the vendor's.
func (a *app) prove(r *http.Request, p mockvendor.Proof, body []byte) error {
	switch {
	case a.proves != nil:
		a.proves(a, r)
	case a.signedURL == nil:
		mockvendor.SignRequest(r, a.provider, p, body)
	default:
		typed, err := url.Parse(a.signedURL(a))
		if err != nil {
			return err
		}
		signed := *r
		signed.URL = typed // the header is shared
		mockvendor.SignRequest(&signed, a.provider, p, body)
	}
	return nil
}

// partsOf: every tenth answer of a conversation takes two messages, where the vendor's
// messages have a limit that an answer can reach.
func (k kind) partsOf(word string) int {
	if strings.HasSuffix(word, "3") && !k.onePart {
		return 2
	}
	return 1
}

// name is how the product names a message that was sent.
func (k kind) name(p mockvendor.Post) string {
	if k.named != nil {
		return k.named(p)
	}
	return p.TS
}

// posts are the visible messages that were sent with the app's token.
func (a *app) posts() (out []mockvendor.Post) {
	for _, p := range a.w.vendor.Posts() {
		if p.KeyHash == mockvendor.Hash(a.token) {
			out = append(out, p)
		}
	}
	return out
}
