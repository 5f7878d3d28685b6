package session_test

import (
	"reflect"
	"testing"

	"github.com/latchkey/latchkey/shared/session"
)

// FuzzDecodeJob: what is read from the queue can be written again and says the same.
func FuzzDecodeJob(f *testing.F) {
	f.Add([]byte(`{"v":1,"kind":"message","org":"o","install":"i","event_id":"e","agent_id":"a","tenant":"t","envelope":{"space":"c","text":"hi"},"received_at":"2026-11-21T12:00:00Z"}`))
	f.Add([]byte(`{"v":1,"kind":"revoked","org":"o","install":"i","event_id":"e"} `))
	f.Add([]byte(`{"v":1,"kind":"press","org":"o","install":"i","event_id":"e","tenant":"t","envelope":{"space":"c","actor":"u","pressed":"a:b:c","text":""},"received_at":"2026-11-21T12:00:00Z"}`))
	f.Add([]byte(`{} {}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		j, err := session.DecodeJob(b)
		if err != nil {
			return
		}
		again, err := j.Encode()
		if err != nil {
			return // JSON of ours is larger than the sender's
		}
		k, err := session.DecodeJob(again)
		if err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		// An empty list and none, and the spellings of UTC, are written alike.
		for _, one := range []*session.Job{&j, &k} {
			one.ReceivedAt, one.Envelope.SentAt = one.ReceivedAt.UTC(), one.Envelope.SentAt.UTC()
			if len(one.Envelope.Media) == 0 {
				one.Envelope.Media = nil
			}
			if len(one.Envelope.Addressed) == 0 {
				one.Envelope.Addressed = nil
			}
			if len(one.Identity) == 0 {
				one.Identity = nil
			}
		}
		if !reflect.DeepEqual(j, k) {
			t.Fatalf("%+v; want %+v", k, j)
		}
	})
}
