package telegram

import (
	"encoding/json"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
)

// Person implements [channel.Chooser]: a number, because a name would have to be kept.
func (Adapter) Person(id string) string { return id }

// keyboard are the buttons under a message, one beside the other. An edit without one
// takes it away (core.telegram.org/bots/api#inlinekeyboardmarkup and #editmessagetext,
// read 2026-11).
func keyboard(buttons []channel.Button) map[string]any {
	var row []any
	for _, b := range buttons {
		row = append(row, map[string]any{"text": b.Label, "callback_data": b.Ref})
	}
	return map[string]any{"inline_keyboard": []any{row}}
}

// maxCallback bounds the id of a press, which has some 19 characters.
const maxCallback = 64

// denied is shown to who may not press, in Telegram's own way.
const denied = "Only those who were named to approve can decide this."

// press fills the envelope of a press (core.telegram.org/bots/api#callbackquery, read
// 2026-11). Telegram shows a press as under way until it is answered, which the answer
// to the request itself does (#making-requests-when-getting-updates).
func press(out *channel.Inbound, q channel.Object) error {
	env, m, id := &out.Envelope, q.Obj("message"), q.Str("id")
	if id == "" || len(id) > maxCallback || !vendorapi.Printable(id) {
		return bad("a press has no id")
	}
	out.Ack, out.Denied = acknowledged(id, ""), acknowledged(id, denied)
	space, okSpace := integer(m.Obj("chat"), "id")
	message, okMessage := integer(m, "message_id")
	actor, okActor := integer(q.Obj("from"), "id")
	ref := q.Str("data")
	if !okSpace || !okMessage || !okActor || ref == "" || len(ref) > channel.MaxRef || !vendorapi.Printable(ref) {
		return nil // of a message that another bot's users share, or of a game
	}
	env.Space, env.Message, env.Actor = space, message, actor
	env.Direct = m.Obj("chat").Str("type") == "private"
	if m.Bool("is_topic_message") {
		env.Thread, _ = integer(m, "message_thread_id")
	}
	env.Pressed, out.Kind, out.Reason = ref, channel.Pressed, ""
	return nil
}

func acknowledged(id, text string) channel.Ack {
	q := map[string]any{"method": "answerCallbackQuery", "callback_query_id": id}
	if text != "" {
		q["text"] = text
	}
	b, err := json.Marshal(q)
	if err != nil {
		return channel.Ack{} // two strings
	}
	return channel.Ack{ContentType: "application/json", Body: string(b)}
}
