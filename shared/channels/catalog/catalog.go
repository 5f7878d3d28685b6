// Package catalog lists every channel that is built in, one line each.
package catalog

import (
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/discord"
	"github.com/latchkey/latchkey/shared/channels/email"
	"github.com/latchkey/latchkey/shared/channels/googlechat"
	"github.com/latchkey/latchkey/shared/channels/instagram"
	"github.com/latchkey/latchkey/shared/channels/line"
	"github.com/latchkey/latchkey/shared/channels/messenger"
	"github.com/latchkey/latchkey/shared/channels/slack"
	"github.com/latchkey/latchkey/shared/channels/teams"
	"github.com/latchkey/latchkey/shared/channels/telegram"
	"github.com/latchkey/latchkey/shared/channels/twilio"
	"github.com/latchkey/latchkey/shared/channels/web"
	"github.com/latchkey/latchkey/shared/channels/whatsapp"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Entries returns all channels, sorted by ID.
func Entries() []channel.Entry {
	return []channel.Entry{
		discord.Entry(),
		email.Entry(),
		googlechat.Entry(),
		instagram.Entry(),
		line.Entry(),
		messenger.Entry(),
		slack.Entry(),
		teams.Entry(),
		telegram.Entry(),
		twilio.Entry(),
		web.Entry(),
		whatsapp.Entry(),
	}
}

// Catalog finds entries by ID. It is read-only after [New].
type Catalog struct {
	byID map[taxonomy.Channel]channel.Entry
}

// New returns a Catalog of entries.
func New(entries []channel.Entry) Catalog {
	m := make(map[taxonomy.Channel]channel.Entry, len(entries))
	for _, e := range entries {
		m[e.ID] = e
	}
	return Catalog{byID: m}
}

// Find returns the entry of a channel.
func (c Catalog) Find(id taxonomy.Channel) (channel.Entry, bool) {
	e, ok := c.byID[id]
	return e, ok
}
