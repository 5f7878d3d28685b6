package slack

import (
	"reflect"
	"testing"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channel/channeltest"
	"github.com/latchkey/latchkey/shared/webhook"
)

func TestMedia(t *testing.T) {
	channeltest.RunMedia(t, channeltest.Media{
		Entry: Entry(), Config: config(), Attachment: channel.Attachment{ID: "F1", Kind: channel.VoiceNote},
		Describe: `{"ok":true,"file":{"id":"F1","size":17,"mimetype":"video/webm","url_private_download":"%s/files-pri/F1"}}`,
		Where:    "/files-pri/F1", Named: true,
		Refused: `{"ok":false,"error":"file_not_found"}`, Code: "file_not_found",
		Steps: []channeltest.Step{{Path: "/files.getUploadURLExternal", Answer: `{"ok":true,"file_id":"F9","upload_url":"%s/upload"}`},
			{Path: "/upload", Answer: "OK - 17"}, {Path: "/files.completeUploadExternal", Answer: `{"ok":true,"files":[{"id":"F9"}]}`}},
		To: "C1", ID: "F9",
	})
}

func TestAttachments(t *testing.T) {
	for name, c := range map[string]struct {
		files string
		want  []channel.Attachment
	}{
		"clip": {`[{"id":"F1","subtype":"slack_audio","mimetype":"video/mp4","name":"audio_message.m4a","size":9,"duration_ms":3100}]`,
			[]channel.Attachment{{ID: "F1", Kind: channel.VoiceNote, MIME: "video/mp4", Name: "audio_message.m4a", Size: 9, Millis: 3100}}},
		"by name":      {`[{"id":"F1","mimetype":"audio/webm","name":"audio_message.webm"}]`, []channel.Attachment{{ID: "F1", Kind: channel.VoiceNote, MIME: "audio/webm", Name: "audio_message.webm"}}},
		"music":        {`[{"id":"F0","mimetype":"image/png"},{"id":"F1","mimetype":"audio/mpeg"}]`, []channel.Attachment{{ID: "F1", Kind: channel.AudioFile, MIME: "audio/mpeg"}}},
		"a path as id": {`[{"id":"../F1","subtype":"slack_audio"}]`, nil},
		"no objects":   {`["F1",null,7]`, nil},
	} {
		body := callback(`{"type":"message","subtype":"file_share","channel":"D1","channel_type":"im","user":"U1","ts":"1772600767.000100","text":"","files":` + c.files + `}`)
		all, err := Adapter{}.Parse(webhook.Input{Body: []byte(body), Config: config()})
		if err != nil || (all[0].Kind == channel.Message) != (c.want != nil) || !reflect.DeepEqual(all[0].Envelope.Media, c.want) {
			t.Errorf("%s: %+v %v", name, all, err)
		}
	}
}
