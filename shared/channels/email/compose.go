package email

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/markdown"
	"github.com/latchkey/latchkey/shared/webhook"
)

// maxMail is how many UTF-16 units one mail holds: more than an answer has, so that
// an answer is one mail. Vendors take megabytes.
const maxMail = 200_000

// plainText is the form of the answers of all vendors.
type plainText struct{}

// Split writes an answer as plain text.
func (plainText) Split(text string) []channel.Piece {
	var out []channel.Piece
	size := func(r []markdown.Run) int { return markdown.Units(markdown.Plain(r)) }
	for _, p := range markdown.Split(markdown.Parse(text, markdown.Options{Bullet: "- ", PlainLinks: true}), maxMail, size) {
		t := markdown.Plain(p)
		out = append(out, channel.Piece{Text: t, Plain: t})
	}
	return out
}

// outgoing is a mail on its way. Its headers are names and values of one line.
type outgoing struct {
	from, to, subject, text string
	headers                 headers
}

// compose makes the mail of an answer. Nothing of it can begin a line of its own in a
// mail's head: an address, an id or a subject that holds a control character is
// refused, as is an address that is not of the install's domain.
func compose(c webhook.Config, out channel.Outgoing) (outgoing, *channel.Failure) {
	refuse := func(code string) (outgoing, *channel.Failure) {
		return outgoing{}, &channel.Failure{Certainty: channel.Refused, Code: code}
	}
	var a address
	if len(out.To) > 64<<10 || json.Unmarshal([]byte(out.To), &a) != nil {
		return refuse("address_malformed")
	}
	from, okFrom := bare(a.From)
	to, okTo := bare(a.To)
	switch {
	case !okFrom || !okTo:
		return refuse("address_malformed")
	case domainOf(from) != c.Get(domain) || domainOf(to) == c.Get(domain):
		return refuse("address_foreign")
	case a.ID != "" && !oneID(a.ID) || !oneLine(a.Subject) || len(a.Refs) > maxRefs+2:
		return refuse("header_malformed")
	}
	m := outgoing{from: from, to: to, subject: a.Subject, text: out.Text, headers: headers{
		{"Message-Id", messageID(out, a.Refs, domainOf(from))},
		// So that other machines do not answer (RFC 3834, 5; Microsoft's word for it).
		{"Auto-Submitted", "auto-replied"}, {"X-Auto-Response-Suppress", "All"}}}
	if a.ID != "" {
		m.headers = append(m.headers, [2]string{"In-Reply-To", a.ID})
	}
	for _, id := range a.Refs {
		if !oneID(id) {
			return refuse("header_malformed")
		}
	}
	if len(a.Refs) > 0 {
		m.headers = append(m.headers, [2]string{"References", strings.Join(a.Refs, " ")})
	}
	return m, nil
}

// messageID names a part of a turn for good: a mail that went out twice has one id. The
// thread's root stands in it, where it fits, so that an answer that names this mail
// alone says what it belongs to: some mail programs write no References.
func messageID(out channel.Outgoing, refs []string, at string) string {
	sum := sha256.Sum256([]byte(out.TurnID + "/" + strconv.Itoa(out.Part)))
	id := "<" + hex.EncodeToString(sum[:sumBytes]) + "@" + at + ">"
	if len(refs) == 0 {
		return id
	}
	root := base64.RawURLEncoding.EncodeToString([]byte(strings.Trim(refs[0], "<>")))
	if long := strings.Replace(id, "@", "."+root+"@", 1); len(long) <= maxID {
		return long
	}
	return id
}

// sumBytes is how much of a hash names a part.
const sumBytes = 20

// rootOf is the thread's root in an id that [messageID] made for an address of the
// domain. Anybody can write such an id: it leads into a thread of the writer's own
// conversations only, as References do.
func rootOf(id, domain string) (root string, ok bool) {
	local, at, _ := strings.Cut(strings.Trim(id, "<>"), "@")
	sum, code, _ := strings.Cut(local, ".")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(code)
	if _, bad := hex.DecodeString(sum); err != nil || bad != nil || len(sum) != 2*sumBytes || !strings.EqualFold(at, domain) {
		return "", false
	}
	root = "<" + string(raw) + ">"
	return root, oneID(root)
}

func oneID(s string) bool { return len(s) <= maxID && idForm.FindString(s) == s }

// oneLine is text that stays on its line of a head.
func oneLine(s string) bool {
	return len(s) <= maxSubject+8 && utf8.ValidString(s) && line(s, len(s)) == s
}
