package telegram

import (
	"reflect"
	"testing"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channel/channeltest"
	"github.com/latchkey/latchkey/shared/webhook"
)

func TestMedia(t *testing.T) {
	channeltest.RunMedia(t, channeltest.Media{
		Entry: Entry(), Config: config(), Attachment: channel.Attachment{ID: "f1", Kind: channel.VoiceNote},
		Describe: `{"ok":true,"result":{"file_id":"f1","file_unique_id":"u","file_size":9,"file_path":"voice/file_1.oga"}}`,
		Where:    "/file/bot{token}/voice/file_1.oga",
		Refused:  `{"ok":false,"error_code":400,"description":"x"}`, Status: 400, Code: "http_400",
		Steps: []channeltest.Step{{Path: "/bot{token}/sendVoice", Answer: `{"ok":true,"result":{"message_id":88}}`}}, To: "42", ID: "88",
	})
}

func TestAttachments(t *testing.T) {
	for name, c := range map[string]struct {
		more string
		want []channel.Attachment
		text string
	}{
		"voice": {`,"voice":{"file_id":"AwA-_1","file_unique_id":"u","duration":3,"mime_type":"audio/ogg","file_size":12345}`,
			[]channel.Attachment{{ID: "AwA-_1", Kind: channel.VoiceNote, MIME: "audio/ogg", Size: 12345, Millis: 3000}}, ""},
		"audio with caption": {`,"audio":{"file_id":"f","duration":61,"file_name":"a.mp3","title":"x"},"caption":"listen"`,
			[]channel.Attachment{{ID: "f", Kind: channel.AudioFile, Name: "a.mp3", Millis: 61000}}, "listen"},
		"no id":           {`,"voice":{"duration":3},"text":"x"`, nil, "x"},
		"odd numbers":     {`,"voice":{"file_id":"f","duration":-3,"file_size":1e99}`, []channel.Attachment{{ID: "f", Kind: channel.VoiceNote}}, ""},
		"no object":       {`,"voice":"f","text":"x"`, nil, "x"},
		"endless":         {`,"voice":{"file_id":"f","duration":9223372036854775807}`, []channel.Attachment{{ID: "f", Kind: channel.VoiceNote, Millis: (1 << 30) * 1000}}, ""},
		"nothing of ours": {`,"video_note":{"file_id":"v"},"text":"x"`, nil, "x"},
	} {
		all, err := Adapter{}.Parse(webhook.Input{Body: []byte(said(ada, private, c.more)), Config: config()})
		if err != nil || all[0].Kind != channel.Message || !reflect.DeepEqual(all[0].Envelope.Media, c.want) || all[0].Envelope.Text != c.text {
			t.Errorf("%s: %+v %v", name, all, err)
		}
	}
}

func TestFilePath(t *testing.T) {
	for path, want := range map[string]bool{"voice/file_1.oga": true, "a": true, "": false, "/voice/x": false, "../x": false, "a/../b": false, "a//b": false, "./a": false,
		"a?b": false, "a%2e": false, "a b": false, "http://x/y": false} {
		if filePath(path) != want {
			t.Errorf("%q: %v", path, !want)
		}
	}
}
