package mockvendor

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
	"unicode/utf16"
)

func units(s string) int { return len(utf16.Encode([]rune(s))) }

// slackText says what Slack would refuse, and, as it would not, what it would read
// as a mention, a command or a broken link: an answer must hold none.
func slackText(s string) string {
	switch {
	case s == "":
		return "no_text"
	case units(s) > 40_000:
		return "msg_too_long"
	}
	for rest := s; ; {
		_, after, found := strings.Cut(rest, "<")
		if !found {
			return ""
		}
		inside, behind, closed := strings.Cut(after, ">")
		address, _, _ := strings.Cut(inside, "|")
		if !closed || !strings.HasPrefix(address, "https://") && !strings.HasPrefix(address, "http://") {
			return "simulated_mention"
		}
		rest = behind
	}
}

// telegramText says what Telegram would refuse (core.telegram.org/bots/api#messageentity).
func telegramText(s string, raw json.RawMessage) string {
	if units(s) > 4096 {
		return "message is too long"
	}
	if len(raw) == 0 {
		return ""
	}
	var list []struct {
		Type, URL, Language string
		Offset, Length      int
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if d.Decode(&list) != nil {
		return "can't parse entities"
	}
	text := utf16.Encode([]rune(s))
	low := func(at int) bool { return at < len(text) && text[at] >= 0xDC00 && text[at] < 0xE000 }
	addresses := 0
	for i, e := range list {
		if e.Offset < 0 || e.Length < 1 || e.Offset+e.Length > len(text) || low(e.Offset) || low(e.Offset+e.Length) {
			return "can't parse entities: out of the text"
		}
		if u, err := url.Parse(e.URL); e.Type == "text_link" && (err != nil || u.Host == "") {
			return "can't parse entities: no address"
		}
		addresses += len(e.URL)
		for _, o := range list[:i] {
			if apart := o.Offset+o.Length <= e.Offset || e.Offset+e.Length <= o.Offset; !apart && (e.Offset < o.Offset || e.Offset+e.Length > o.Offset+o.Length || o.Type == "pre" || o.Type == "code") {
				return "can't parse entities: overlap"
			}
		}
	}
	if len(list) > 100 || addresses+len(text) > 9500 {
		return "ENTITIES_TOO_LONG"
	}
	return ""
}
