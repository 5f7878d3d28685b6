package email

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Bounds of what is told of a mail; what is longer is cut.
const (
	maxText    = 32 << 10
	maxSubject = 300
)

// letter is what the vendors tell of a mail, in one form.
type letter struct {
	// delivery is the vendor's id of the delivery; once says that it is what was signed,
	// so that it must not come twice.
	delivery string
	once     bool
	// to and sender are those of the delivery, sender empty if the vendor did not tell;
	// from is the header.
	to, sender, from string
	// returned is a mail of the empty sender: the report of another mail's fate.
	returned bool
	subject  string
	// text is what was written, without what it quotes.
	text    string
	headers headers
	// proven says whether the vendor checked that the mail is of From's domain.
	proven func(from string) bool
	at     time.Time
}

// address says where an answer goes, and on what. It travels as an envelope's ReplyTo.
type address struct {
	From    string   `json:"from"`
	To      string   `json:"to"`
	Subject string   `json:"subject,omitempty"`
	ID      string   `json:"id,omitempty"`
	Refs    []string `json:"refs,omitempty"`
}

// read makes the event of a mail. The address that it was sent to must have been
// read already.
func (l letter) read(c webhook.Config) channel.Inbound {
	in := channel.Inbound{Kind: channel.Ignored, Reason: channel.EventIgnored, Identity: channel.Identity{domain: domainOf(l.to)},
		Envelope: channel.Envelope{Provider: taxonomy.Email, Account: domainOf(l.to), Direct: true, Message: l.headers.id(), SentAt: l.at}}
	env := &in.Envelope
	from, ok := author(l.from)
	l.name(env, from)
	if !ok {
		return in // nobody whom an answer would reach
	}
	env.Space, env.Actor = from, from
	local, tag, _ := strings.Cut(l.to[:strings.LastIndexByte(l.to, '@')], "+")
	env.Team = local + "@" + domainOf(l.to)
	if channel.ValidAddressee(tag) {
		env.Addressed = []string{tag}
	}
	name, _, _ := strings.Cut(from, "@")
	env.SelfAuthored = from == l.to || domainOf(from) == c.Get(domain)
	env.IsBot = l.returned || l.headers.machine() || robot(name) || robot(strings.Split(l.sender, "@")[0])
	switch {
	case env.SelfAuthored:
		in.Reason = channel.SelfIgnored
		return in
	case env.IsBot:
		// A policy may let other bots write. It must not let an answer go to a machine
		// that answers back: without a text nothing is admitted.
		in.Reason = channel.BotIgnored
		return in
	case !l.proven(domainOf(from)) && c.Get(allow) != "true":
		in.Reason = channel.SenderUnproven
		return in
	}
	l.thread(env, from)
	if env.Text != "" {
		in.Kind, in.Reason = channel.Message, ""
	}
	return in
}

// name sets what repetitions are told by. Where a token was signed, it is what must
// not come twice; the event is the mail then, which several routes may deliver under
// a token each. The writer is part of it: who knows an id must not use it up for
// somebody else.
func (l letter) name(env *channel.Envelope, from string) {
	env.EventID = l.delivery
	if !l.once {
		return
	}
	env.ContentKey = "token:" + l.delivery
	id := env.Message
	if id == "" {
		id = l.delivery
	}
	sum := sha256.Sum256([]byte(l.to + "\n" + from + "\n" + id))
	env.EventID = hex.EncodeToString(sum[:20])
}

// thread sets what was said, in which conversation, and how it is answered. A mail of
// ours that it names says the thread best: programs shorten References, or write none.
// A subject is part of what begins a conversation; later ones repeat it.
func (l letter) thread(env *channel.Envelope, from string) {
	refs := append(l.headers.ids("References"), l.headers.ids("In-Reply-To")...)
	root := env.Message
	if len(refs) > 0 {
		root = refs[0]
	}
	for _, id := range refs {
		if of, ours := rootOf(id, domainOf(l.to)); ours {
			root = of
			break
		}
	}
	env.Thread = strings.Trim(root, "<>")
	subject := line(l.subject, maxSubject)
	said := prose(l.text)
	if len(refs) == 0 {
		said = strings.TrimSpace(subject + "\n\n" + said)
	}
	env.Text = strings.TrimSpace(cut(said, maxText))
	to := address{From: l.to, To: from, Subject: answering(subject), ID: env.Message}
	if root != "" {
		to.Refs = append(to.Refs, root)
	}
	for _, id := range append(refs[max(0, len(refs)-maxRefs):], env.Message) {
		if id != "" && id != to.Refs[len(to.Refs)-1] && id != root {
			to.Refs = append(to.Refs, id)
		}
	}
	b, err := json.Marshal(to)
	if err != nil {
		return // text always is JSON
	}
	env.ReplyTo = string(b)
}

// answering is the subject of an answer.
func answering(subject string) string {
	if len(subject) >= 3 && strings.EqualFold(subject[:3], "re:") {
		return subject
	}
	return strings.TrimSpace("Re: " + subject)
}

// prose is text as it is told: valid, with line feeds, without other control
// characters and without space around it.
func prose(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\r\n", "\n")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == '\r':
			return '\n'
		case r < ' ' || r == 0x7f:
			return -1
		}
		return r
	}, s))
}
