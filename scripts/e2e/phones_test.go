package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/scripts/internal/stack"
)

// channelCase is what the tests that all channels share need to know of one. Where a
// function is nil there is no such case with its vendor.
type channelCase struct {
	id string
	phoneCase
	// conversation, listener and grows replace what a phone does.
	conversation func(*testing.T) (say func(n int, text string), posts func() []mockvendor.Post, token string)
	listener     func(*testing.T) *listener
	// mute says that the vendor takes no speech, wordless that speech carries no text,
	// addresses that it names the address of a file.
	mute, wordless, addresses bool
	// brief says that its messages are so short that a long answer is cut off sooner.
	brief bool
	// form and entities are how it shows [answerOf], and typing the sign that an answer
	// is being made to the ninth message.
	form, entities string
	typing         mockvendor.Sign
	// grows is an install whose messages can be edited.
	grows func(*testing.T) *talker
	// bots are ways in which a machine writes where the vendor says who is one, by name.
	bots map[string]func(*testing.T) *talker
}

// phoneCase is a channel whose messages come from people one by one.
type phoneCase struct {
	// fills says what a new install is made of, and names the phone.
	fills func(p *phone, n int64, in map[string]any)
	// learns is the setting that the product reads by itself: the phone's number.
	learns string
	// contentType is that of its requests, application/json if empty.
	contentType string
	// signs is the URL that the vendor signs, that of the request if nil.
	signs func(p *phone) string
	// person is the vendor's id of somebody, from itself if nil.
	person func(from string) string
	// text is a message; said is a JSON string, and room is empty for a conversation
	// with one person.
	text func(p *phone, id int, from, room, said string) []byte
	// note is a voice note whose recording is the file.
	note func(p *phone, id int, file string, recording []byte) []byte
	// reads are the answers that people see, for a channel whose vendor does not have them.
	reads func(p *phone) []mockvendor.Post
	// foreign is another number, if messages name the one that they are for.
	foreign string
}

// channelCases are all of them: a file and a line for each.
func channelCases() []channelCase {
	return []channelCase{
		telegramCase(),
		twilioCase(),
		whatsappCase(),
		slackCase(),
		lineCase(),
		discordCase(),
		googleChatCase(),
		teamsCase(),
		messengerCase(),
		instagramCase(),
		emailCase(),
		webCase(),
	}
}

func caseOf(t testing.TB, id string) channelCase {
	t.Helper()
	for _, c := range channelCases() {
		if c.id == id {
			return c
		}
	}
	t.Fatalf("no channel %s", id)
	return channelCase{}
}

// eachCase runs a test for the channels that have something.
func eachCase(t *testing.T, has func(channelCase) bool, test func(*testing.T, channelCase)) {
	for _, c := range channelCases() {
		if has(c) {
			t.Run(c.id, func(t *testing.T) { test(t, c) })
		}
	}
}

func (c channelCase) isPhone() bool { return c.fills != nil }

// phone is an organisation with an active install of a channel whose messages
// come from telephones.
type phone struct {
	*tenant
	channelCase
	install, secret, token string
	number, account        string
	// wrote are the people who wrote.
	wrote map[string]bool
}

func newPhone(t *testing.T, provider string) *phone {
	t.Helper()
	return newPhoneOf(t, caseOf(t, provider))
}

func newPhoneOf(t *testing.T, c channelCase) *phone {
	t.Helper()
	p := verifyingPhoneOf(t, c)
	must(t, stack.Admit(t.Context(), operator(), p.id, p.ID))
	p.call(http.MethodPost, "/installs/"+p.install+"/activate", map[string]any{}, nil)
	return p
}

// verifyingPhone is a phone whose install is bound and not active yet.
func verifyingPhone(t *testing.T, provider string) *phone {
	t.Helper()
	return verifyingPhoneOf(t, caseOf(t, provider))
}

func verifyingPhoneOf(t *testing.T, c channelCase) *phone {
	t.Helper()
	n := serial.Add(1)
	p := &phone{tenant: newTenant(t, "enterprise", 1_000_000), channelCase: c, secret: fmt.Sprintf("CNRYphone%dsecret%06d", len(c.id), n)}
	in := map[string]any{"provider": c.id, "mode": "byoa"}
	p.fills(p, n, in)
	var install struct {
		ID, State string
		Config    map[string]any
	}
	p.call(http.MethodPost, "/installs", in, &install)
	if install.State != "verifying" || p.learns != "" && fmt.Sprint(install.Config[p.learns]) != p.number {
		t.Fatalf("install: %+v", install)
	}
	p.install = install.ID
	p.bind("Helper", map[string]any{})
	return p
}

// bind makes an agent for a selector.
func (p *phone) bind(name string, selector map[string]any) (agent string) {
	var a struct{ ID string }
	p.call(http.MethodPost, "/agents", map[string]any{"name": name, "instructions": "You are " + name + ".", "model": simChat}, &a)
	p.call(http.MethodPost, "/bindings", map[string]any{"install_id": p.install, "selector": selector, "agent_id": a.ID}, nil)
	return a.ID
}

// person is the vendor's id of somebody.
func (p *phone) person(from string) string {
	if p.channelCase.person == nil {
		return from
	}
	return p.channelCase.person(from)
}

// text is a vendor's body for a message from somebody; room is the chat, or empty
// for a conversation with one person.
func (p *phone) text(id int, from, room, said string) []byte {
	return p.channelCase.text(p, id, from, room, jsonText(said))
}

func jsonText(s string) string { b, _ := json.Marshal(s); return string(b) }

// post sends a body as the vendor does, with a secret.
func (p *phone) post(secret string, body []byte) answer {
	a, err := p.tryPost(context.Background(), secret, body)
	if err != nil {
		p.t.Fatal(err)
	}
	return a
}

func (p *phone) tryPost(ctx context.Context, secret string, body []byte) (answer, error) {
	url := world.BaseURL + "/webhooks/" + p.id + "/" + p.install
	signed := url
	if p.signs != nil {
		signed = p.signs(p)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, signed, http.NoBody)
	if err != nil {
		return answer{}, err
	}
	if p.contentType != "" {
		r.Header.Set("Content-Type", p.contentType)
	}
	proof := mockvendor.Proof{Secret: secret, At: time.Now()}
	body = mockvendor.Stamp(p.id, proof, body)
	mockvendor.SignRequest(r, p.id, proof, body)
	var headers []string
	for name := range r.Header {
		headers = append(headers, name, r.Header.Get(name))
	}
	return tryPost(ctx, url, "", body, headers...)
}

func (p *phone) posts() []mockvendor.Post {
	if p.reads != nil {
		return p.reads(p)
	}
	var out []mockvendor.Post
	for _, m := range vendor.Posts() {
		if m.KeyHash == mockvendor.Hash(p.token) {
			out = append(out, m)
		}
	}
	return out
}

// phoneListener is a phone whose people send voice notes.
func phoneListener(t *testing.T, provider string) *listener {
	return phoneListenerOf(newPhone(t, provider))
}

func phoneListenerOf(p *phone) *listener {
	return &listener{tenant: p.tenant, channelCase: p.channelCase, install: p.install, posts: p.posts,
		send: func(ctx context.Context, body []byte) (answer, error) { return p.tryPost(ctx, p.secret, body) },
		note: func(id int, file string, recording []byte) []byte {
			return p.channelCase.note(p, id, file, recording)
		}}
}

// phoneTalker says things that edit makes those of a machine, in a room.
func phoneTalker(t *testing.T, provider, room string, edit func(body []byte) []byte) *talker {
	p := newPhone(t, provider)
	return &talker{tenant: p.tenant, install: p.install, posts: p.posts, says: func(id int, person bool, text string) answer {
		body := p.text(9000+id, "491700900", room, text)
		if edit != nil && !person {
			body = edit(body)
		}
		return p.post(p.secret, body)
	}}
}

// converse is a new organisation's channel: say sends a message of a person, and
// posts are what was answered with the install's token.
func (c channelCase) converse(t *testing.T) (say func(n int, text string), posts func() []mockvendor.Post, token string) {
	t.Helper()
	if c.conversation != nil {
		return c.conversation(t)
	}
	p := newPhone(t, c.id)
	return func(n int, text string) {
		if a := p.post(p.secret, p.text(700+n, "4915112345678", "", text)); a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}, p.posts, p.token
}
