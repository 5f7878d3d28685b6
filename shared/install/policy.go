package install

import "github.com/latchkey/latchkey/shared/channel"

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
