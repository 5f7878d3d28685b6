package discord

import (
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
)

// Types of components (components/reference, read 2026-11), and the style of a button
// that is neither proposed nor warned of.
const (
	actionRow = 1
	button    = 2
	secondary = 2
)

// Person implements [channel.Chooser] with a mention: Discord shows the name, and
// allowed_mentions keeps it from telling anybody.
func (Adapter) Person(id string) string {
	if !snowflake.MatchString(id) {
		return id
	}
	return "<@" + id + ">"
}

// components are the buttons of a message. An edit with an empty list takes them away.
func components(out channel.Outgoing) []any {
	if len(out.Buttons) == 0 {
		return []any{}
	}
	var row []any
	for _, b := range out.Buttons {
		row = append(row, map[string]any{"type": button, "style": secondary, "label": b.Label, "custom_id": b.Ref})
	}
	return []any{map[string]any{"type": actionRow, "components": row}}
}

// press fills the envelope of a press. It is answered without changing the message,
// which the decision does, or, to who may not press, with a note that only they see
// (interactions/receiving-and-responding, "Interaction Object" and "Interaction Callback
// Type", read 2026-11).
func press(in channel.Inbound, o channel.Object) channel.Inbound {
	in.Ack = answer(unmoved)
	env, data, ref := &in.Envelope, o.Obj("data"), o.Obj("data").Str("custom_id")
	space, actor, message := id(o, "channel_id"), id(o.Obj("member").Obj("user"), "id"), id(o.Obj("message"), "id")
	if number(data, "component_type") != button || space == "" || actor == "" || message == "" || ref == "" || len(ref) > channel.MaxRef || !vendorapi.Printable(ref) {
		return in
	}
	env.Space, env.Actor, env.Message, env.SentAt = space, actor, message, madeAt(env.EventID)
	env.Pressed, in.Kind, in.Reason, in.Denied = ref, channel.Pressed, "", answer(denied)
	return in
}
