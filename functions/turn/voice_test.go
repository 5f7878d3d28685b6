package main

import (
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/speech"
)

// TestSpokenAs: a channel is given the format that it asked for, whatever a vendor
// answers with.
func TestSpokenAs(t *testing.T) {
	opus, vorbis := "OggS\x00\x02aaaaaaaaaaaaaaaaaaaaaaOpusHead\x01", "OggS\x00\x02aaaaaaaaaaaaaaaaaaaaaa\x01vorbis"
	for _, c := range []struct {
		audio  string
		format speech.AudioFormat
		want   bool
	}{
		{opus, speech.AudioOpus, true}, {vorbis, speech.AudioOpus, false}, {"ID3\x04", speech.AudioOpus, false}, {"RIFF\x00\x00\x00\x00WAVEfmt ", speech.AudioMP3, false},
		{"ID3\x04", speech.AudioMP3, true}, {opus, speech.AudioMP3, false}, {"", speech.AudioMP3, false}, {opus, speech.AudioWAV, false},
		{"RIFF\x00\x00\x00\x00WAVEfmt ", speech.AudioWAV, true}, {"RIFF\x00\x00\x00\x00AVI LIST", speech.AudioWAV, false},
	} {
		if got := spokenAs([]byte(c.audio), c.format); got != c.want {
			t.Errorf("%q as %s: %v", c.audio, c.format, got)
		}
	}
}

// TestReceiptOfSpeech: what Hear and Speak note is what Commit reads, and nothing is
// held for posting by it.
func TestReceiptOfSpeech(t *testing.T) {
	var p gateway.Pending
	p.Hold.Org = "o1"
	b, err := noted(p)
	if err != nil {
		t.Fatal(err)
	}
	r, err := parseReceipt("o1", b)
	if err != nil || r.Posting != nil || r.Hold.Org != "o1" {
		t.Errorf("%+v %v", r, err)
	}
	if _, err := parseReceipt("o2", b); fault.CodeOf(err) != fault.Internal {
		t.Errorf("another organisation's receipt: %v", err)
	}
}
