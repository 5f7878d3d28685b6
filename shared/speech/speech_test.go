package speech

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"
)

func wav(rate uint32, channels, bits uint16, n int) []byte {
	b := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00")
	b = binary.LittleEndian.AppendUint16(b, channels)
	b = binary.LittleEndian.AppendUint32(b, rate)
	b = binary.LittleEndian.AppendUint32(b, rate*uint32(channels)*uint32(bits/8))
	b = binary.LittleEndian.AppendUint16(b, channels*bits/8)
	b = binary.LittleEndian.AppendUint16(b, bits)
	b = append(b, "LIST\x03\x00\x00\x00abc\x00data"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(n))
	return append(b, make([]byte, n)...)
}

func opus(preSkip uint16, granule uint64) []byte {
	page := func(pos uint64, payload string) string {
		var p [8]byte
		binary.LittleEndian.PutUint64(p[:], pos)
		return "OggS\x00\x02" + string(p[:]) + strings.Repeat("\x00", 13) + payload
	}
	var skip [2]byte
	binary.LittleEndian.PutUint16(skip[:], preSkip)
	return []byte(page(0, "OpusHead\x01\x01"+string(skip[:])+"\x80\xbb\x00\x00\x00\x00\x00") + page(granule, "x"))
}

func TestMeasure(t *testing.T) {
	tests := map[string]struct {
		in []byte
		ms int64
		ok bool
	}{
		"wav 1 s":          {wav(16000, 1, 16, 32000), 1000, true},
		"wav rounds up":    {wav(16000, 1, 16, 32001), 1001, true},
		"wav stereo":       {wav(44100, 2, 16, 176400), 1000, true},
		"wav streamed":     {append(wav(8000, 1, 8, 0), make([]byte, 4000)...), 500, true},
		"wav lying size":   {wav(16000, 1, 16, 32000)[:len(wav(16000, 1, 16, 32000))-16000], 500, true},
		"wav no data":      {wav(16000, 1, 16, 100)[:40], 0, false},
		"wav no rate":      {wav(0, 1, 16, 100), 0, false},
		"opus 2 s":         {opus(312, 96312), 2000, true},
		"opus negative":    {opus(312, 100), 0, false},
		"opus absurd":      {opus(0, math.MaxUint64/2), 0, false},
		"mp3":              {[]byte("ID3\x04aaaaaaaaaaaa"), 0, false},
		"nothing":          {nil, 0, false},
		"wav endless list": {[]byte("RIFF\x00\x00\x00\x00WAVELIST\xff\xff\xff\xff"), 0, false},
	}
	for name, tt := range tests {
		if ms, ok := Measure(tt.in); ms != tt.ms || ok != tt.ok {
			t.Errorf("%s: %d, %v; want %d, %v", name, ms, ok, tt.ms, tt.ok)
		}
	}
}

func TestMilliseconds(t *testing.T) {
	good := map[string]int64{"0": 0, "1": 1000, "1.5": 1500, "0.0005": 1, "0.0004": 0, "12.3456": 12346, "1e1": 10000,
		"1.5E-2": 15, "2e-3": 2, "1e-9": 0, "5e-4": 1, "3.200000047683716": 3200, "0.9999": 1000}
	for in, want := range good {
		if got, ok := Milliseconds(json.Number(in)); !ok || got != want {
			t.Errorf("%s: %d, %v", in, got, ok)
		}
	}
	for _, in := range []string{"", "-1", "+1", "x", "1e400", "1e10", ".", "99999999999", "1.5.5", "0x10"} {
		if got, ok := Milliseconds(json.Number(in)); ok {
			t.Errorf("%q: %d", in, got)
		}
	}
	for ms, want := range map[int64]string{0: "0", 1: "0.001", 1500: "1.5", 60000: "60", 1010: "1.01"} {
		if got := Seconds(ms); string(got) != want {
			t.Errorf("%d: %s", ms, got)
		}
	}
}

func FuzzMilliseconds(f *testing.F) {
	f.Add("1.5e3")
	f.Add("0.0005")
	f.Fuzz(func(t *testing.T, s string) {
		ms, ok := Milliseconds(json.Number(s))
		if !ok {
			return
		}
		v, err := strconv.ParseFloat(s, 64)
		if err != nil || math.Abs(v*1000-float64(ms)) > 0.5+1e-6*float64(ms) {
			t.Fatalf("%q: %d (%v, %v)", s, ms, v, err)
		}
	})
}

func FuzzMeasure(f *testing.F) {
	f.Add(wav(16000, 1, 16, 100))
	f.Add(opus(312, 96312))
	f.Fuzz(func(t *testing.T, b []byte) {
		if ms, ok := Measure(b); ok && (ms < 0 || ms > maxMeasured) {
			t.Fatal(ms)
		}
	})
}

func TestSubtitles(t *testing.T) {
	tr := Transcription{Text: "all", Duration: 5000, Segments: []Segment{
		{Start: 0, End: 1500, Text: " Hello <b>\n\nthere "}, {Start: 3661001, End: 3662000, Text: "a --> b"}}}
	if got, want := tr.SRT(), "1\n00:00:00,000 --> 00:00:01,500\nHello <b>\nthere\n\n2\n01:01:01,001 --> 01:01:02,000\na -> b\n\n"; got != want {
		t.Errorf("srt %q", got)
	}
	if got, want := tr.VTT(), "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nHello &lt;b&gt;\nthere\n\n01:01:01.001 --> 01:01:02.000\na -&gt; b\n\n"; got != want {
		t.Errorf("vtt %q", got)
	}
	tr.Segments = nil
	if got, want := tr.SRT(), "1\n00:00:00,000 --> 00:00:05,000\nall\n\n"; got != want {
		t.Errorf("no segments: %q", got)
	}
}

func TestPCMDuration(t *testing.T) {
	if got := PCMDuration(48000, 24000, 1, 16); got != 1000 {
		t.Error(got)
	}
	if got := PCMDuration(1, 24000, 1, 16); got != 1 {
		t.Error(got)
	}
	if got := PCMDuration(1, 0, 1, 16); got != 0 {
		t.Error(got)
	}
}
