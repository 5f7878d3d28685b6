package security

import (
	"cmp"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/rollout"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// column is what the matrix needs to know of a channel's vendor. A row that one of
// these facts does not cover is played by the vendor's own attack.
type column struct {
	id taxonomy.Channel
	// channel is the one that the vendor serves, if that has another name.
	channel taxonomy.Channel
	// attacks are rows that this vendor's requests need to be played in their own way,
	// instead of [attacks]; they include its handshakes (rows 24 and 25).
	attacks map[int]func(*cell)
	// mutants are builds without a guard that only this vendor has; elsewhere are rows
	// whose guard is another one than that of most, so that only these mutants show it.
	mutants   func() []mutant
	elsewhere []int

	// fresh names a new app and makes its token; the secrets are made before.
	fresh func(a *app, n int64)
	// also makes an app of the second kind that the vendor has of it, for which alsoRows
	// are played once more; nil if there is one kind.
	also     func(a *app, n int64)
	alsoRows []int
	// settings says what an install is made of: secrets, config and what else it takes.
	settings func(a *app, in map[string]any)
	// undone takes away what else, besides the secret that sends, would make an install
	// of these settings whole; nil if nothing has to be.
	undone func(a *app, in map[string]any)
	// verifies and sends name the secrets that are rotated.
	verifies, sends string
	// spoil makes another secret of one; an x more if nil.
	spoil func(secret string) string
	// anySecret says that a secret can be any text: none at all, and the token, too.
	anySecret bool

	// message, note and removed are bodies of events with the number n: of a message,
	// of one that is a recording, and of the app being taken away.
	message func(a *app, n int64, s said) []byte
	note    func(a *app, n int64, f file) []byte
	removed func(a *app, n int64) []byte
	// keyed says that public keys verify, so no secret's versions are tried.
	keyed bool
	// leaves says that removed is about one chat only, so that the install stays.
	leaves bool
	// bots says that the vendor tells who is a bot.
	bots bool
	// text is the name of what is said in a message, "text" if empty.
	text string
	// identity is whom a message for a team says that it is for; nil if it does not.
	identity func(a *app, team string) channel.Identity
	// addresses says that the vendor names the address of a file, digests that it says
	// its digest.
	addresses, digests bool

	// contentType is that of its requests, application/json if empty.
	contentType string
	// proofs are the headers that prove a request, the signature first; tag stands
	// before the signature in it.
	proofs []string
	tag    string
	// sign signs a request whose URL is public; as [mockvendor.SignRequest] if nil.
	sign func(a *app, r *http.Request, secret string, at time.Time, body []byte)
	// malformed are no signatures, and a signature without its last cut bytes is none,
	// unless cut is 0.
	malformed []string
	cut       int
	// retried changes what nobody signs of a delivery that is made again.
	retried func(h http.Header, n int)
	// checks are its handshakes, each as it should be.
	checks func(a *app) []hit
	// acks are what it is answered with status 200, by the code of the record; absent is
	// nothing.
	acks map[string]string

	// apps is set for a vendor whose apps have several tenants.
	apps *tenants
	// page is what an app needs so that tenants can authorise it on the simulated
	// vendor's page: who it is there, put into its settings. nil: there is no page.
	page func(a *app, n int64, in map[string]any) mockvendor.App

	// posts are the answers that people saw, for a channel without a vendor; there is no
	// api then. nil: those that the simulated vendor took.
	posts func(a *app) []mockvendor.Post
	// api is the path below which the simulated vendor answers; unauthorized is what it
	// says to a token that it rejects, and token where one stands: as bearer if nil.
	api          string
	unauthorized func(w http.ResponseWriter)
	token        func(r *http.Request) string
}

// tenants is how the tenants of an app are told apart.
type tenants struct {
	// config is the app's own, which its tenants do not repeat.
	config func(a *app) map[string]any
	// join makes a another tenant of an app.
	join func(a, of *app)
	// sends says that the app holds what sends for its tenants; tenant are settings that
	// only its tenants have.
	sends  bool
	tenant func(a *app) map[string]any
}

// list are the columns: a file and a line for each.
func list() []column {
	return []column{
		slackColumn(),
		telegramColumn(),
		twilioColumn(),
		whatsappColumn(),
		lineColumn(),
		discordColumn(),
		messengerColumn(),
		instagramColumn(),
		googleChatColumn(),
		teamsColumn(),
		emailColumn(),
		postmarkColumn(),
		webColumn(),
	}
}

// columnOf is a channel's column. A channel without one is a mistake of this package.
func columnOf(id taxonomy.Channel) column {
	for _, c := range list() {
		if c.id == id {
			return c
		}
	}
	panic("no column for " + string(id))
}

// provider is the channel.
func (c column) provider() taxonomy.Channel { return cmp.Or(c.channel, c.id) }

// attack is how a row is played for the column; nil if it cannot be.
func (c column) attack(row int) func(*cell) {
	if own := c.attacks[row]; own != nil {
		return own
	}
	return attacks()[row]
}

func (c column) spoiled(secret string) string {
	if c.spoil != nil {
		return c.spoil(secret)
	}
	return secret + "x"
}

// TestEveryColumnIsDescribed: the matrix, in its order.
func TestEveryColumnIsDescribed(t *testing.T) {
	var have []taxonomy.Channel
	for _, c := range list() {
		have = append(have, c.id)
		if c.provider() != rollout.ChannelOf(c.id) || c.fresh == nil || c.settings == nil || c.message == nil || len(c.proofs) == 0 || (c.api == "" || c.unauthorized == nil) != (c.posts != nil) || c.verifies+c.sends == "" {
			t.Errorf("%s: something is missing", c.id)
		}
	}
	if !slices.Equal(have, rollout.Columns()) {
		t.Errorf("described are %v, the matrix has %v", have, rollout.Columns())
	}
}
