package install

import (
	"slices"
	"strings"

	"github.com/latchkey/latchkey/shared/channel"
)

// BotMessages says which messages of other bots may start a turn.
type BotMessages string

// Choices. Two bots that answer each other are also bounded by the conversation's
// budgets, see session/loop.
const (
	BotsNone     BotMessages = "none"
	BotsMentions BotMessages = "mentions" // those that address the bot
	BotsAll      BotMessages = "all"
)

// Policy is what an install may do beside what it is made for. The zero value is the
// default.
type Policy struct {
	BotMessages BotMessages `json:"bot_messages"`
	Streaming   Streaming   `json:"streaming"`
	// Approvers are the vendor's ids of the people who decide about calls of tools with
	// buttons in the channel. Without any no buttons are shown. Of a change nil leaves
	// them as they are.
	Approvers []string `json:"approvers"`
}

// Limits of the list of approvers.
const (
	MaxApprovers = 50
	maxApprover  = 128
)

// Approves reports whether somebody may decide with buttons.
func (p Policy) Approves(actor string) bool {
	return actor != "" && slices.Contains(p.Approvers, actor)
}

// Streaming says how an answer is shown while it is made.
type Streaming string

// Choices.
const (
	StreamOff   Streaming = "off"
	StreamEdits Streaming = "edits" // one message that grows
)

// effective is the policy with its defaults written out.
func (p Policy) effective() Policy {
	if p.BotMessages == "" {
		p.BotMessages = BotsNone
	}
	if p.Streaming == "" {
		p.Streaming = StreamOff
	}
	if p.Approvers == nil {
		p.Approvers = []string{}
	}
	return p
}

func (p Policy) check(e channel.Entry) error {
	p = p.effective()
	switch p.BotMessages {
	case BotsNone, BotsMentions, BotsAll:
	default:
		return invalid("policy.bot_messages", "bot_messages is none, mentions or all")
	}
	_, edits := e.Adapter.(channel.Editor)
	switch {
	case p.Streaming == StreamOff:
	case p.Streaming != StreamEdits:
		return invalid("policy.streaming", "streaming is off or edits")
	case !edits:
		return invalid("policy.streaming", "messages of this channel cannot be edited, so streaming stays off")
	}
	return p.checkApprovers(e)
}

func (p Policy) checkApprovers(e channel.Entry) error {
	if _, chooses := e.Adapter.(channel.Chooser); len(p.Approvers) > 0 && !chooses {
		return invalid("policy.approvers", "this channel has no buttons, so nobody can be named to press them")
	}
	if len(p.Approvers) > MaxApprovers {
		return invalid("policy.approvers", "at most 50 people can be named")
	}
	for k, id := range p.Approvers {
		plain := strings.IndexFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
		if id == "" || len(id) > maxApprover || !plain || slices.Contains(p.Approvers[:k], id) {
			return invalid("policy.approvers", "approvers are the channel's own ids of people, each once, such as U012ABCDE on Slack")
		}
	}
	return nil
}

// Bots reports whether any message of another bot may start a turn.
func (p Policy) Bots() bool { return p.BotMessages == BotsAll || p.BotMessages == BotsMentions }

// merge takes what q says; what it leaves out stays.
func (p Policy) merge(q Policy) Policy {
	if q.BotMessages != "" {
		p.BotMessages = q.BotMessages
	}
	if q.Streaming != "" {
		p.Streaming = q.Streaming
	}
	if q.Approvers != nil {
		p.Approvers = q.Approvers
	}
	return p
}

// Admits reports whether a message of another bot may start a turn. The install's own
// messages never do.
func (p Policy) Admits(e channel.Envelope) bool {
	if e.SelfAuthored || e.Text == "" || len(e.Media) > 0 || e.Actor == "" || e.Space == "" {
		return false // a recording would cost its transcription before anybody counts
	}
	switch p.BotMessages {
	case BotsAll:
		return true
	case BotsMentions:
		return e.Mention || e.Direct
	}
	return false
}
