package gateway

import (
	"bytes"
	"maps"
	"testing"
)

// FuzzReplay: a kept answer is read without trusting its length, and what is read can
// be kept again.
func FuzzReplay(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02{}body"))
	f.Add([]byte("\x00\x00\x00\x1d{\"Content-Type\":\"text/plain\"}x"))
	f.Add([]byte("\xff\xff\xff\xff{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r, again Replayable
		if !r.unpack(b) {
			return
		}
		packed, err := r.pack()
		if err != nil || !again.unpack(packed) || !bytes.Equal(r.Body, again.Body) || !maps.Equal(r.Headers, again.Headers) {
			t.Fatalf("%q: %+v, then %+v, %v", b, r, again, err)
		}
	})
}
