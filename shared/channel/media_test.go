package channel

import (
	"strings"
	"testing"
)

func TestAttach(t *testing.T) {
	var e Envelope
	if _, ok := e.Recording(); ok || !e.Empty() {
		t.Fatal("a recording where there is none")
	}
	for _, id := range []string{"", "line\nbreak", "ü", strings.Repeat("x", maxMediaID+1)} {
		if e.Attach(Attachment{ID: id}); len(e.Media) != 0 {
			t.Errorf("attached %q", id)
		}
	}
	e.Attach(Attachment{ID: "f1", Kind: VoiceNote, MIME: "audio/ogg\r\nX: y", Name: "\xff", Size: -1, Millis: -5})
	if a, ok := e.Recording(); !ok || a != (Attachment{ID: "f1", Kind: VoiceNote}) || e.Empty() {
		t.Errorf("%+v", a)
	}
	for range 20 {
		e.Attach(Attachment{ID: "f2", Kind: AudioFile, MIME: "audio/ogg; codecs=opus", Name: "grün.ogg", Size: 7, Millis: 9})
	}
	if len(e.Media) != MaxAttachments || e.Media[9] != (Attachment{ID: "f2", Kind: AudioFile, MIME: "audio/ogg; codecs=opus", Name: "grün.ogg", Size: 7, Millis: 9}) {
		t.Errorf("%d %+v", len(e.Media), e.Media[9])
	}
}
