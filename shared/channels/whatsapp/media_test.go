package whatsapp

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channel/channeltest"
	"github.com/latchkey/latchkey/shared/webhook"
)

func TestMedia(t *testing.T) {
	sum := sha256.Sum256([]byte(channeltest.Recording))
	digest := hex.EncodeToString(sum[:])
	m := channeltest.Media{
		Entry: Entry(), Config: config(), Attachment: channel.Attachment{ID: "777", Kind: channel.VoiceNote, SHA256: digest},
		Describe: `{"messaging_product":"whatsapp","url":"%s/media/777","mime_type":"audio/ogg","sha256":"` + digest + `","file_size":17,"id":"777"}`,
		Where:    "/media/777", Named: true,
		Refused: `{"error":{"message":"x","type":"GraphMethodException","code":100}}`, Code: "error_100",
		Steps: []channeltest.Step{{Path: "/" + config().Get(phoneNumberID) + "/media", Answer: `{"id":"555"}`},
			{Path: "/" + config().Get(phoneNumberID) + "/messages", Answer: `{"messages":[{"id":"wamid.88"}]}`}},
		To: "16505551234", ID: "wamid.88",
	}
	channeltest.RunMedia(t, m)
	t.Run("another content than was signed", func(t *testing.T) {
		other := strings.Repeat("0", 64)
		for name, a := range map[string]channel.Attachment{"signed": {ID: "777", SHA256: other}, "described": {ID: "777"}} {
			altered := m
			altered.Describe = strings.ReplaceAll(m.Describe, digest, other)
			altered.Attachment = a
			if got := channeltest.FetchOnce(t, altered); got == nil || got.Code != channel.MediaAltered {
				t.Errorf("%s: %+v", name, got)
			}
		}
	})
}

func TestAttachments(t *testing.T) {
	sum := sha256.Sum256([]byte("x"))
	for name, c := range map[string]struct {
		audio string
		want  []channel.Attachment
	}{
		"voice": {`{"id":"777","mime_type":"audio/ogg; codecs=opus","sha256":"` + base64.StdEncoding.EncodeToString(sum[:]) + `","voice":true}`,
			[]channel.Attachment{{ID: "777", Kind: channel.VoiceNote, MIME: "audio/ogg; codecs=opus", SHA256: hex.EncodeToString(sum[:])}}},
		"file in hex":     {`{"id":"777","mime_type":"audio/mpeg","sha256":"` + strings.ToUpper(hex.EncodeToString(sum[:])) + `"}`, []channel.Attachment{{ID: "777", Kind: channel.AudioFile, MIME: "audio/mpeg", SHA256: hex.EncodeToString(sum[:])}}},
		"no digest":       {`{"id":"777","sha256":"zz"}`, []channel.Attachment{{ID: "777", Kind: channel.AudioFile}}},
		"a path as id":    {`{"id":"7/../8","voice":true}`, nil},
		"a number as id":  {`{"id":777,"voice":true}`, nil},
		"no id, no audio": {`{}`, nil},
	} {
		body := notification(messages(`{"from":"16505551234","id":"wamid.1","timestamp":"1772600767","type":"audio","audio":` + c.audio + `}`))
		all, err := Adapter{}.Parse(webhook.Input{Body: []byte(body), Config: config()})
		if err != nil || (all[0].Kind == channel.Message) != (c.want != nil) || !reflect.DeepEqual(all[0].Envelope.Media, c.want) {
			t.Errorf("%s: %+v %v", name, all, err)
		}
	}
}
