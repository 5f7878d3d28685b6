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
}

// effective is the policy with its defaults written out.
func (p Policy) effective() Policy {
	if p.BotMessages == "" {
		p.BotMessages = BotsNone
	}
	return p
}

func (p Policy) check() error {
	switch p.effective().BotMessages {
	case BotsNone, BotsMentions, BotsAll:
		return nil
	}
	return invalid("policy.bot_messages", "bot_messages is none, mentions or all")
}

// Bots reports whether any message of another bot may start a turn.
func (p Policy) Bots() bool { return p.BotMessages == BotsAll || p.BotMessages == BotsMentions }

// merge takes what q says; what it leaves out stays.
func (p Policy) merge(q Policy) Policy {
	if q.BotMessages != "" {
		p.BotMessages = q.BotMessages
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
