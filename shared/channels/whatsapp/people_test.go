package whatsapp

import (
	"testing"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/webhook"
)

// TestRenamings: both documented forms; what names no person before and after, or
// has ids of another form, is ignored and refuses nothing.
func TestRenamings(t *testing.T) {
	system := func(from, rest string) string {
		return value(`,"messages":[{` + from + `"id":"wamid.5","timestamp":"1772600767","type":"system","system":{` + rest + `}}]`)
	}
	update := func(rest string) string {
		return `{"field":"user_id_update","value":{"metadata":{"phone_number_id":"106540352242922"},"user_id_update":[` + rest + `]}}`
	}
	const from = `"from":"16505551234",`
	for name, c := range map[string]struct {
		change string
		want   channel.Renaming
	}{
		"number and id": {system(from, `"type":"user_changed_number","wa_id":"12195555358","user_id":"US.2","previous_user_id":"US.1"`),
			channel.Renaming{Old: "US.1", New: "US.2", OldBeside: "16505551234", NewBeside: "12195555358"}},
		"number only":         {system(from, `"type":"user_changed_number","wa_id":"12195555358","body":"x"`), channel.Renaming{OldBeside: "16505551234", NewBeside: "12195555358"}},
		"number, older form":  {system(from, `"type":"user_changed_number","new_wa_id":"12195555358"`), channel.Renaming{OldBeside: "16505551234", NewBeside: "12195555358"}},
		"id only":             {system("", `"type":"user_changed_user_id","previous_user_id":"US.1","user_id":"US.2"`), channel.Renaming{Old: "US.1", New: "US.2"}},
		"the field":           {update(`{"wa_id":"12195555358","user_id":{"previous":"US.1","current":"US.2"},"timestamp":"1772600767"}`), channel.Renaming{Old: "US.1", New: "US.2", NewBeside: "12195555358"}},
		"no new id":           {change: system("", `"type":"user_changed_user_id","previous_user_id":"US.1"`)},
		"no old number":       {change: system("", `"type":"user_changed_number","wa_id":"12195555358"`)},
		"an id of other form": {change: system("", `"type":"user_changed_user_id","previous_user_id":"US 1","user_id":"US.2"`)},
		"a number of letters": {change: system(from, `"type":"user_changed_number","wa_id":"+1 219"`)},
		"another news":        {change: system(from, `"type":"customer_identity_changed"`)},
		"an empty field":      {change: update("")},
	} {
		all, err := Adapter{}.Parse(webhook.Input{Body: []byte(notification(c.change)), Config: config()})
		if err != nil || len(all) != 1 || all[0].Renaming != c.want || (all[0].Kind == channel.Renamed) != (c.want != channel.Renaming{}) || !Entry().SameTenant(config(), all[0].Identity) {
			t.Errorf("%s: %+v %v", name, all, err)
		}
	}
}
