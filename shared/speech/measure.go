package speech

import (
	"bytes"
	"encoding/binary"
)

// Container is what the first bytes of a recording say it is.
type Container string

// Containers that [Sniff] knows.
const (
	ContainerUnknown Container = ""
	ContainerWAV     Container = "wav"
	ContainerOGG     Container = "ogg"
	ContainerMP3     Container = "mp3"
	ContainerFLAC    Container = "flac"
	ContainerMP4     Container = "m4a"
	ContainerWebM    Container = "webm"
	ContainerAAC     Container = "aac"
)

// Sniff recognises a container by its first bytes. Channels declare wrong media
// types and file names often enough that only the bytes are trusted.
func Sniff(b []byte) Container {
	switch {
	case len(b) >= 12 && string(b[:4]) == "RIFF" && string(b[8:12]) == "WAVE":
		return ContainerWAV
	case bytes.HasPrefix(b, []byte("OggS")):
		return ContainerOGG
	case bytes.HasPrefix(b, []byte("fLaC")):
		return ContainerFLAC
	case len(b) >= 12 && string(b[4:8]) == "ftyp":
		return ContainerMP4
	case bytes.HasPrefix(b, []byte{0x1a, 0x45, 0xdf, 0xa3}):
		return ContainerWebM
	case bytes.HasPrefix(b, []byte("ID3")):
		return ContainerMP3
	case len(b) >= 2 && b[0] == 0xff && b[1]&0xf6 == 0xf0:
		return ContainerAAC
	case len(b) >= 2 && b[0] == 0xff && b[1]&0xe0 == 0xe0:
		return ContainerMP3
	}
	return ContainerUnknown
}

// maxMeasured bounds a measured duration: 24 hours. A header that says more is
// not believed.
const maxMeasured = 24 * 3600 * 1000

// Measure finds the duration of WAV (PCM) and Ogg Opus audio in milliseconds,
// rounded up, without decoding it. ok is false for anything else and for
// headers that contradict the size.
func Measure(b []byte) (ms int64, ok bool) {
	switch Sniff(b) {
	case ContainerWAV:
		ms, ok = measureWAV(b)
	case ContainerOGG:
		ms, ok = measureOpus(b)
	}
	if ms < 0 || ms > maxMeasured {
		return 0, false
	}
	return ms, ok
}

// PCMDuration is the duration of n bytes of PCM in milliseconds, rounded up; 0
// if the parameters are impossible.
func PCMDuration(n int64, rate, channels, bits int) int64 {
	perSecond := int64(rate) * int64(channels) * int64(bits/8)
	if perSecond <= 0 || n < 0 || n > 1<<40 {
		return 0
	}
	return (n*1000 + perSecond - 1) / perSecond
}

func measureWAV(b []byte) (int64, bool) {
	var perSecond int64
	for i := 12; i+8 <= len(b); {
		size := int64(binary.LittleEndian.Uint32(b[i+4:]))
		body := b[i+8:]
		switch string(b[i : i+4]) {
		case "fmt ":
			if len(body) < 16 {
				return 0, false
			}
			perSecond = int64(binary.LittleEndian.Uint32(body[8:]))
		case "data":
			if perSecond <= 0 {
				return 0, false
			}
			// Streamed files say 0xffffffff or 0; then the bytes count.
			if size > int64(len(body)) || size == 0 {
				size = int64(len(body))
			}
			return (size*1000 + perSecond - 1) / perSecond, true
		}
		next := int64(i) + 8 + size + size&1
		if next > int64(len(b)) {
			return 0, false
		}
		i = int(next)
	}
	return 0, false
}

// measureOpus reads the pre-skip of the Opus header and the position of the last
// page. Opus positions always count at 48 kHz (RFC 7845, section 4).
func measureOpus(b []byte) (int64, bool) {
	head := bytes.Index(b[:min(len(b), 512)], []byte("OpusHead"))
	if head < 0 || head+12 > len(b) {
		return 0, false
	}
	preSkip := int64(binary.LittleEndian.Uint16(b[head+10:]))
	last := bytes.LastIndex(b, []byte("OggS"))
	if last < 0 || last+14 > len(b) {
		return 0, false
	}
	samples := int64(binary.LittleEndian.Uint64(b[last+6:])) - preSkip
	if samples < 0 || samples > 48*maxMeasured {
		return 0, false
	}
	return (samples + 47) / 48, true
}
