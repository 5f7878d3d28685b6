package discord

import (
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
)

const pressed = `{"id":"` + asked + `","application_id":"` + app + `","type":3,"version":1,"token":"` + used + `","guild_id":"` + guild + `","channel_id":"` + room + `",
	"member":{"user":{"id":"77","username":"a","bot":false},"permissions":"0"},"message":{"id":"88"},"data":{"component_type":2,"custom_id":"a:ap-1:n"}}`

// TestPress: a press leaves the message as it is, and tells who may not press so, unseen
// by others. Its own token is not kept.
func TestPress(t *testing.T) {
	all, err := Adapter{}.Parse(webhook.Input{Body: []byte(pressed)})
	want := channel.Inbound{Kind: channel.Pressed, Identity: channel.Identity{applicationID: app, guildID: guild}, Ack: answer(unmoved), Denied: answer(denied),
		Envelope: channel.Envelope{Provider: "discord", EventID: asked, Account: app, Team: guild, Space: room, Message: "88", Actor: "77", Pressed: "a:ap-1:n", SentAt: madeAt(asked)}}
	if err != nil || len(all) != 1 || !reflect.DeepEqual(all[0], want) {
		t.Fatalf("%+v %v", all, err)
	}
	for name, p := range map[string]string{
		"a menu": strings.Replace(pressed, `"component_type":2`, `"component_type":3`, 1), "long": strings.Replace(pressed, "a:ap-1:n", strings.Repeat("x", 65), 1),
		"nobody": strings.Replace(pressed, `"id":"77"`, `"id":""`, 1), "in a direct message": strings.Replace(pressed, `"member":{`, `"x":{`, 1), "no message": strings.Replace(pressed, `"message":{`, `"x":{`, 1),
	} {
		if all, err := (Adapter{}).Parse(webhook.Input{Body: []byte(p)}); err != nil || all[0].Kind != channel.Ignored || all[0].Ack != answer(unmoved) || all[0].Denied != (channel.Ack{}) {
			t.Errorf("%s: %+v %v", name, all, err)
		}
	}
}

// TestButtons: they are components of the message; an edit without any takes them away.
func TestButtons(t *testing.T) {
	a := &api{}
	s := httptest.NewServer(a)
	defer s.Close()
	c := channel.Call{HTTP: s.Client(), BaseURL: s.URL, Token: secret.FromString("bot.tok"), Config: config(guild)}
	out := channel.Outgoing{To: address{room, asked, used}.String(), Part: 1, Text: "approve?", Buttons: []channel.Button{{Label: "Approve", Ref: "a:1:n"}, {Label: "Refuse", Ref: "r:1:n"}}}
	button := func(label, ref string) any {
		return map[string]any{"type": 2.0, "style": 2.0, "label": label, "custom_id": ref}
	}
	want := []any{map[string]any{"type": 1.0, "components": []any{button("Approve", "a:1:n"), button("Refuse", "r:1:n")}}}
	if _, f := (Adapter{}).Send(t.Context(), c, out); f != nil || !reflect.DeepEqual(a.body["components"], want) {
		t.Errorf("%+v %v", f, a.body)
	}
	out.Buttons = nil
	if f := (Adapter{}).Edit(t.Context(), c, out, "88"); f != nil || !reflect.DeepEqual(a.body["components"], []any{}) {
		t.Errorf("%+v %v", f, a.body)
	}
	for id, want := range map[string]string{"77": "<@77>", "@everyone": "@everyone"} {
		if got := (Adapter{}).Person(id); got != want {
			t.Errorf("%q: %q", id, got)
		}
	}
}
