package channel_test

import (
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

func TestManifest(t *testing.T) {
	e := channel.Entry{ID: "v", Title: "V", NeedsPublicURL: true, APIBase: "https://v.example", Hosts: []string{"v.example"},
		Secrets: []channel.SecretField{
			{Name: "verify_token", Title: "Verify token", Class: taxonomy.ChannelVerify, Required: true},
			{Name: "bot_token", Title: "Bot token", Class: taxonomy.ChannelSend, Hint: credential.Last4, Form: credential.Token, Overlap: time.Hour, MinBytes: 9},
		},
		Config: []channel.ConfigField{
			{Name: "team_id", Title: "Team ID", Required: true, Valid: func(s string) bool { return s == "T1" }},
			{Name: "shard", Title: "Shard", List: true, Sensitivity: credential.Internal},
		}}
	r, err := credential.New(e.Manifest())
	if err != nil {
		t.Fatal(err)
	}
	m, ok := r.Find(credential.Channel, "v")
	if !ok || !m.NeedsPublicURL || m.BaseURL.Default != "https://v.example" || len(m.Fields) != 4 {
		t.Fatalf("%+v", m)
	}
	if f, _ := m.Field("verify_token"); f.Form != credential.Line || f.Overlap != channel.DefaultOverlap || !f.Required || f.ShowsHint() || f.Label != "Verify token" {
		t.Errorf("%+v", f)
	}
	if f, _ := m.Field("bot_token"); f.Form != credential.Token || f.Overlap != time.Hour || !f.ShowsHint() || f.MinBytes != 9 || f.Required {
		t.Errorf("%+v", f)
	}
	if f, _ := m.Field("team_id"); !f.ShowsValue() || !f.Required || f.List || f.Check([]byte("T1")) != nil || f.Check([]byte("T2")) == nil {
		t.Errorf("%+v", f)
	}
	if f, _ := m.Field("shard"); f.ShowsValue() || !f.List {
		t.Errorf("%+v", f)
	}
}
