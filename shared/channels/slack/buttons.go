package slack

import (
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Person implements [channel.Chooser] with a mention: Slack shows the name. An edit
// notifies nobody.
func (Adapter) Person(id string) string {
	if !slackID.MatchString(id) {
		return id
	}
	return "<@" + id + ">"
}

// attachments are the buttons of a message, below its text, which stays as it is. An
// empty list takes those of an earlier state away
// (docs.slack.dev/reference/methods/chat.update, "attachments", and
// docs.slack.dev/reference/block-kit/block-elements/button-element, read 2026-11).
func attachments(out channel.Outgoing) []any {
	if len(out.Buttons) == 0 {
		return []any{}
	}
	var labels []string
	var elements []any
	for k, b := range out.Buttons {
		labels = append(labels, b.Label)
		elements = append(elements, map[string]any{"type": "button", "action_id": "choice_" + strconv.Itoa(k), "value": b.Ref,
			"text": map[string]any{"type": "plain_text", "text": b.Label}})
	}
	return []any{map[string]any{"fallback": strings.Join(labels, " / "), "blocks": []any{map[string]any{"type": "actions", "elements": elements}}}}
}

// interaction reads the payload of a press of a button
// (docs.slack.dev/reference/interaction-payloads/block_actions-payload, read 2026-11).
// Slack does not send it again; its trigger names it.
func interaction(payload string) (channel.Inbound, error) {
	o, err := channel.StrictJSON([]byte(payload))
	if err != nil || o.Str("type") == "" {
		return channel.Inbound{}, bad("the payload is not one plain JSON object with a type")
	}
	out := channel.Inbound{Kind: channel.Ignored, Reason: channel.EventIgnored, Identity: channel.Identity{appID: o.Str("api_app_id")}}
	if out.Identity[teamID], out.Identity[enterpriseID] = o.Obj("team").Str("id"), o.Obj("enterprise").Str("id"); o.Bool(orgWide) {
		out.Identity[orgWide] = "true"
	}
	env := &out.Envelope
	*env = channel.Envelope{Provider: taxonomy.Slack, Account: out.Identity[enterpriseID], Team: out.Identity[teamID]}
	pressed := o.First("actions")
	if o.Str("type") != "block_actions" || pressed.Str("type") != "button" {
		return out, nil
	}
	env.EventID, env.Space, env.Actor = o.Str("trigger_id"), o.Obj("channel").Str("id"), o.Obj("user").Str("id")
	env.Message, env.Thread = o.Obj("container").Str("message_ts"), o.Obj("message").Str("thread_ts")
	if env.Thread == env.Message {
		env.Thread = "" // a message that a thread begins with is not in it
	}
	env.SentAt = sentAt(pressed.Str("action_ts"))
	if !plainID(env.EventID) || !plainID(env.Space) || !plainID(env.Actor) || env.Message != "" && !plainID(env.Message) || env.Thread != "" && !plainID(env.Thread) {
		return channel.Inbound{}, bad("a press has no trigger, channel or user")
	}
	ref := pressed.Str("value")
	if !plainID(ref) || len(ref) > channel.MaxRef {
		return out, nil // a button of somebody else's making
	}
	env.Pressed, out.Kind, out.Reason = ref, channel.Pressed, ""
	return out, nil
}
