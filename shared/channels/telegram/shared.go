package telegram

import (
	"regexp"
	"strings"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/webhook"
)

// chatForm is an id of a chat, which is negative for a group
// (core.telegram.org/bots/api#chat, read 2026-11-22).
var chatForm = regexp.MustCompile(`^-?[1-9][0-9]{0,17}$`)

// shared is one bot of the platform in the chats of many organisations.
func shared() *channel.Shared {
	tenant := func(chat string) string {
		if !chatForm.MatchString(chat) {
			return ""
		}
		return "C:" + chat
	}
	return &channel.Shared{
		Settings: []string{botID, botUsername}, Required: []string{botUsername}, Sends: true,
		Tenants:  []channel.ConfigField{{Name: chatID, Title: "Chat ID", Required: true, Valid: chatForm.MatchString, Help: "The chat of the platform's bot; filled in when it is claimed."}},
		TenantOf: func(c webhook.Config) string { return tenant(c.Get(chatID)) },
		Locate:   func(got channel.Identity) string { return tenant(got[chatID]) },
		Claim:    &channel.Claim{Ready: func(app webhook.Config) bool { return app.Get(botUsername) != "" }, Links: links},
	}
}

// links are Telegram's deep links: its app sends /start with the parameter, 1 to 64 of
// A-Z, a-z, 0-9, _ and -, in the chat with the bot or in a group that the person chooses
// (core.telegram.org/bots/features#deep-linking, read 2026-11-22). No rights of an
// administrator are asked for: a bot reads commands, mentions and replies without.
func links(app webhook.Config, state string) (direct, room string) {
	base := "https://t.me/" + app.Get(botUsername)
	return base + "?start=" + state, base + "?startgroup=" + state
}

// started is what Telegram's app sends for such a link: with the bot's name in a group.
// The parameter is as long as a state.
var started = regexp.MustCompile(`^/start(@[A-Za-z0-9_]{1,32})? ([A-Za-z0-9_-]{43})$`)

// claim is the state that a text says to the bot, "" for none.
func claim(text, username string) string {
	m := started.FindStringSubmatch(text)
	if m == nil || m[1] != "" && (username == "" || !strings.EqualFold(m[1], "@"+username)) {
		return ""
	}
	return m[2]
}
