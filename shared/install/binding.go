package install

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
)

// Selector narrows a binding; empty fields match everything.
type Selector struct {
	Account string `json:"account,omitempty"`
	Team    string `json:"team,omitempty"`
	Channel string `json:"channel,omitempty"`
	// Peer matches the other person of a direct conversation, and the author
	// of a message elsewhere.
	Peer   string `json:"peer,omitempty"`
	Thread string `json:"thread,omitempty"`
	// Mention matches only messages that address the bot, or one name beside it.
	Mention Mention `json:"mention,omitempty"`
}

// Mention is whom a message must address: nobody in particular if empty, the bot
// ([AnyMention]), or a name, which is a command or the first word after the bot's
// name. In JSON it is true or the name.
type Mention string

// AnyMention is any message that addresses the bot.
const AnyMention Mention = "*"

// MarshalJSON writes true for [AnyMention], else the name.
func (m Mention) MarshalJSON() ([]byte, error) {
	if m == AnyMention || m == "" {
		return json.Marshal(m == AnyMention)
	}
	return json.Marshal(string(m))
}

// UnmarshalJSON reads a boolean or a name. A leading slash is the command's and
// is left out.
func (m *Mention) UnmarshalJSON(b []byte) error {
	var any bool
	if json.Unmarshal(b, &any) == nil {
		if *m = ""; any {
			*m = AnyMention
		}
		return nil
	}
	var name string
	if err := json.Unmarshal(b, &name); err != nil {
		return err
	}
	*m = Mention(strings.ToLower(strings.TrimPrefix(name, "/")))
	return nil
}

func (m Mention) matches(e channel.Envelope) bool {
	switch m {
	case "":
		return true
	case AnyMention:
		return e.Mention
	}
	return slices.Contains(e.Addressed, string(m))
}

// Binding sends the matching traffic of an install to an agent.
type Binding struct {
	ID        string
	Org       string
	Install   string
	Selector  Selector
	AgentID   string
	PersonaID string
	CreatedAt time.Time
}

// Weights. Each is above the sum of those below it, so that two different sets
// of fields never weigh the same.
const (
	weighThread  = 16
	weighMention = 8
	weighChannel = 4
	weighPeer    = 2
	weighTeam    = 1
)

// Weight orders bindings that match the same message: the heaviest wins.
func (s Selector) Weight() int {
	w := 0
	for _, f := range []struct {
		set bool
		w   int
	}{{s.Thread != "", weighThread}, {s.Mention != "", weighMention}, {s.Channel != "", weighChannel}, {s.Peer != "", weighPeer}, {s.Team != "", weighTeam}} {
		if f.set {
			w += f.w
		}
	}
	return w
}

// Matches reports whether every field that is set equals the message's.
func (s Selector) Matches(e channel.Envelope) bool {
	equal := func(want, got string) bool { return want == "" || want == got }
	return equal(s.Account, e.Account) && equal(s.Team, e.Team) && equal(s.Channel, e.Space) &&
		(equal(s.Peer, e.Actor) || e.Beside != "" && s.Peer == e.Beside) && equal(s.Thread, e.Thread) && s.Mention.matches(e)
}

// values lists the fields in a fixed order.
func (s Selector) values() []string {
	mention := ""
	switch s.Mention {
	case "":
	case AnyMention:
		mention = "1" // as it was before there were names
	default:
		mention = "@" + string(s.Mention)
	}
	return []string{s.Account, s.Team, s.Channel, s.Peer, s.Thread, mention}
}

// Match returns the heaviest matching binding. Between selectors that weigh the
// same, an account decides, then a name over any mention, then which name comes first
// in what the message is addressed to. Two bindings with equal selectors cannot
// be stored, so the answer does not depend on the order.
func Match(bindings []Binding, e channel.Envelope) (Binding, bool) {
	var best Binding
	found := false
	for _, b := range bindings {
		if !b.Selector.Matches(e) {
			continue
		}
		if !found || b.Selector.above(best.Selector, e.Addressed) {
			best, found = b, true
		}
	}
	return best, found
}

// above orders two selectors that match the same message, which is addressed to names
// in their order.
func (s Selector) above(o Selector, names []string) bool {
	if a, b := s.Weight(), o.Weight(); a != b {
		return a > b
	}
	if a, b := s.Account != "", o.Account != ""; a != b {
		return a
	}
	if s.Mention == AnyMention || o.Mention == AnyMention {
		return s.Mention != AnyMention && o.Mention == AnyMention
	}
	return slices.Index(names, string(s.Mention)) < slices.Index(names, string(o.Mention))
}

// BindingID is made from the install and the selector, so that two bindings
// with equal fields and values collide in the store instead of at run time.
func BindingID(install string, s Selector) string {
	h := sha256.New()
	for _, v := range s.values() {
		// A NUL cannot occur in a value, see checkSelector.
		h.Write([]byte(v + "\x00"))
	}
	return install + bindingMark + hex.EncodeToString(h.Sum(nil)[:8])
}

// bindingMark separates the install's id from the selector's hash.
const bindingMark = "-b-"

// installOf returns the install that a binding id names.
func installOf(binding string) (string, bool) {
	i := strings.LastIndex(binding, bindingMark)
	if i <= 0 {
		return "", false
	}
	return binding[:i], true
}
