package mockvendor

import (
	"encoding/json"
	"strings"
)

// labelled reports whether a button could be shown: a label, and what it carries within
// the vendor's limit.
func labelled(label, ref string, limit int) bool {
	return strings.TrimSpace(label) != "" && units(label) <= 75 && ref != "" && len(ref) <= limit
}

// slackButtons reads attachments that hold one block of buttons each and nothing else
// (docs.slack.dev/reference/block-kit/block-elements/button-element, read 2026-11); ok is
// false for what Slack would refuse. Absent means nil.
func slackButtons(raw json.RawMessage) (refs []string, ok bool) {
	if len(raw) == 0 {
		return nil, true
	}
	var list []struct {
		Fallback string
		Blocks   []struct {
			Type     string
			Elements []struct {
				Type, Value string
				ActionID    string `json:"action_id"`
				Text        struct{ Type, Text string }
			}
		}
	}
	if json.Unmarshal(raw, &list) != nil {
		return nil, false
	}
	refs = []string{}
	seen := map[string]bool{}
	for _, a := range list {
		for _, b := range a.Blocks {
			if b.Type != "actions" || len(b.Elements) == 0 || len(b.Elements) > 25 {
				return nil, false
			}
			for _, e := range b.Elements {
				if e.Type != "button" || e.Text.Type != "plain_text" || !labelled(e.Text.Text, e.Value, 2000) || e.ActionID == "" || len(e.ActionID) > 255 || seen[e.ActionID] {
					return nil, false
				}
				seen[e.ActionID] = true
				refs = append(refs, e.Value)
			}
		}
	}
	return refs, true
}

// telegramButtons reads an inline keyboard (core.telegram.org/bots/api#inlinekeyboardbutton,
// read 2026-11).
func telegramButtons(raw json.RawMessage) (refs []string, ok bool) {
	if len(raw) == 0 {
		return nil, true
	}
	var markup struct {
		Keyboard [][]struct {
			Text string `json:"text"`
			Data string `json:"callback_data"`
		} `json:"inline_keyboard"`
	}
	if json.Unmarshal(raw, &markup) != nil {
		return nil, false
	}
	for _, row := range markup.Keyboard {
		for _, b := range row {
			if !labelled(b.Text, b.Data, 64) {
				return nil, false
			}
			refs = append(refs, b.Data)
		}
	}
	return refs, true
}

// discordRow is an action row with buttons.
type discordRow struct {
	Type       int `json:"type"`
	Components []struct {
		Type     int    `json:"type"`
		Style    int    `json:"style"`
		Label    string `json:"label"`
		CustomID string `json:"custom_id"`
	} `json:"components"`
}

// discordButtons reads the components of a message (components/reference, read 2026-11).
func discordButtons(rows []discordRow) (refs []string, ok bool) {
	for _, row := range rows {
		if row.Type != 1 || len(row.Components) == 0 || len(row.Components) > 5 {
			return nil, false
		}
		for _, b := range row.Components {
			if b.Type != 2 || b.Style < 1 || b.Style > 4 || !labelled(b.Label, b.CustomID, 100) {
				return nil, false
			}
			refs = append(refs, b.CustomID)
		}
	}
	return refs, true
}
