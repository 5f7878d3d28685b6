package telegram

import (
	"encoding/json"
	"strings"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/markdown"
)

// maxText is sendMessage's limit after entities are parsed, in UTF-16 units
// (core.telegram.org/bots/api#sendmessage, read 2026-11). Not documented: a message
// shows 100 entities, further ones are ignored (github.com/rubenlagus/TelegramBots/issues/854,
// tdlib/telegram-bot-api/issues/820), and text and entities have about 9,500 bytes
// together (tdlib/telegram-bot-api/issues/165); of these, addresses are what is large.
const (
	maxText      = 4096
	maxShown     = 100
	maxAddresses = 4500
)

// entity is Telegram's MessageEntity (core.telegram.org/bots/api#messageentity, read
// 2026-11). Entities may be within each other but not overlap; code holds none.
type entity struct {
	Type     string `json:"type"`
	Offset   int    `json:"offset"`
	Length   int    `json:"length"`
	URL      string `json:"url,omitempty"`
	Language string `json:"language,omitempty"`
}

// Split writes an answer as text and entities.
func (Adapter) Split(text string) []channel.Piece {
	size := func(r []markdown.Run) int {
		text, entities := write(r)
		addresses := 0
		for _, e := range entities {
			addresses += len(e.URL)
		}
		if len(entities) > maxShown || addresses > maxAddresses {
			return maxText + 1
		}
		return markdown.Units(text)
	}
	var out []channel.Piece
	for _, p := range markdown.Split(markdown.Parse(text, markdown.Options{Bullet: "• "}), maxText, size) {
		text, entities := write(p)
		piece := channel.Piece{Text: text, Plain: text}
		if len(entities) > 0 {
			b, _ := json.Marshal(entities) // strings and numbers
			piece.Format = string(b)
		}
		out = append(out, piece)
	}
	return out
}

// write gives each run the entities of its styles. A quotation is one entity around
// those of its runs, and ends where code of several lines begins.
func write(runs []markdown.Run) (string, []entity) {
	var text strings.Builder
	var entities []entity
	at, quote := 0, -1
	for _, r := range runs {
		n := markdown.Units(r.Text)
		quoted := r.Style&markdown.Quote != 0 && r.Style&markdown.Pre == 0
		switch {
		case quoted && quote < 0:
			quote = len(entities)
			entities = append(entities, entity{Type: "blockquote", Offset: at, Length: n})
		case quoted:
			entities[quote].Length += n
		default:
			quote = -1
		}
		for _, kind := range kinds(r) {
			kind.Offset, kind.Length = at, n
			entities = append(entities, kind)
		}
		text.WriteString(r.Text)
		at += n
	}
	return text.String(), entities
}

// kinds are the entities of a run.
func kinds(r markdown.Run) []entity {
	switch {
	case strings.TrimSpace(r.Text) == "":
		return nil
	case r.Style&markdown.Pre != 0:
		return []entity{{Type: "pre", Language: r.Lang}}
	case r.Style&markdown.Code != 0:
		return []entity{{Type: "code"}}
	}
	var out []entity
	if r.Link != "" {
		out = append(out, entity{Type: "text_link", URL: r.Link})
	}
	for _, s := range []struct {
		style markdown.Style
		kind  string
	}{{markdown.Bold, "bold"}, {markdown.Italic, "italic"}, {markdown.Strike, "strikethrough"}} {
		if r.Style&s.style != 0 {
			out = append(out, entity{Type: s.kind})
		}
	}
	return out
}
