package deliveries

import (
	"net/http"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// kind is what the harness needs to know of a vendor.
type kind struct {
	provider string
	// fresh names an app and says what its install is made of.
	fresh func(a *app, n int, in map[string]any)
	// tenantOf is a team or account for the n-th app, if it has one.
	tenantOf func(n int) string
	// talks places a conversation: with one person, or, if inRoom, in a room where
	// the vendor has them.
	talks func(t *talk, inRoom bool)
	// tries is how many requests the vendor makes of a message until one is accepted; it
	// makes none of one that was. 0 is a vendor that goes on until one is, and may repeat
	// what was accepted.
	tries int
	// tells is the body of the vendor's request that tells of a post.
	tells func(a *app, p post) []byte
	// contentType is that of its requests, application/json if empty.
	contentType string
	// signedURL is the address that it signs, where it does; the request's if nil.
	signedURL func(a *app) string
	// proves is how a request is proved; nil for [mockvendor.SignRequest].
	proves func(a *app, r *http.Request)
	// filler is how many times "and so on " more than fill one message and less than
	// two; onePart says that no answer takes two.
	filler  int
	onePart bool
	// sends reports whether a POST request makes a message visible, if it succeeds, or a
	// PATCH where edits says that people see one by it.
	sends func(path string, body []byte) bool
	edits bool
	// named is how the product names a message that was sent; by its TS if nil.
	named func(p mockvendor.Post) string
	// refuse says that the message cannot be delivered.
	refuse func(w http.ResponseWriter)
	// inThread reports whether a message stands in a thread of its room; nil for a
	// vendor that is told of the thread.
	inThread func(a *app, p mockvendor.Post, thread string) bool
	// missing is what should have happened to the messages of its apps and did not; nil
	// for a vendor that has one way to send.
	missing func(posts []mockvendor.Post) string
	// group is a room in which agents are called by their names.
	group *group
}

// group is a room with three agents behind one app.
type group struct {
	room   string
	people [2]string
	// called is what a binding's mention says of an agent, lead how a message begins
	// that addresses it.
	called, lead   func(agent string) string
	command, named bool
}

// kinds are the vendors: a file and a line for each.
func kinds() []kind {
	return []kind{
		slackKind(),
		telegramKind(),
		whatsappKind(),
		lineKind(),
		messengerKind(),
		instagramKind(),
		discordKind(),
		twilioKind(),
		googleChatKind(),
		teamsKind(),
		mailgunKind(),
		postmarkKind(),
	}
}

// sendsOf is the vendor that a request makes a message visible at.
func sendsOf(r *http.Request, body []byte) (kind, bool) {
	for _, k := range kinds() {
		if (r.Method == http.MethodPost || r.Method == http.MethodPatch && k.edits) && k.sends(r.URL.Path, body) {
			return k, true
		}
	}
	return kind{}, false
}
