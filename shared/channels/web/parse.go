package web

import (
	"strings"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/webhook"
)

const (
	// minID and maxID bound a page's id of a message: long enough not to meet another.
	minID, maxID = 8, 64
	// maxText bounds what a visitor says, in bytes.
	maxText = 16 << 10
)

func bad(what string) error {
	return fault.New(fault.InvalidRequest, "web.Parse", "the body is not a message of a visitor: "+what)
}

// Parse reads the one message of a request, {"id","text"} and nothing else. Who says it
// is in the token, which was verified.
func (Adapter) Parse(in webhook.Input) ([]channel.Inbound, error) {
	o, err := channel.StrictJSON(in.Body)
	if err != nil || len(o) != 2 {
		return nil, bad("not one plain JSON object of id and text")
	}
	id, text := o.Str("id"), o.Str("text")
	visitor := webhook.Visitor(in.Header)
	switch {
	case visitor == "":
		return nil, bad("nobody says it")
	case len(id) < minID || len(id) > maxID || strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") != "":
		return nil, bad("the id is 8 to 64 characters of A-Z, a-z, 0-9, _ and -")
	case len(text) > maxText || !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		return nil, bad("the text is too long")
	}
	one := channel.Inbound{Kind: channel.Message, Envelope: conversation(visitor)}
	one.Envelope.Message, one.Envelope.Text = id, strings.TrimSpace(text)
	// The last stroke is ours: an id holds none.
	one.Envelope.EventID = visitor + "/" + id
	if one.Envelope.Empty() {
		return nil, bad("there is no text")
	}
	return []channel.Inbound{one}, nil
}
