package localsqs

import (
	"bytes"
	"encoding/base64"
	"errors"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/awswire"
	"github.com/latchkey/latchkey/scripts/internal/clock"
)

func newFuzzEngine() *Engine {
	e, err := New(Config{Clock: new(clock.Clock)})
	if err != nil {
		panic(err)
	}
	return e
}

// FuzzJournal: no journal makes the start or a receive after it panic.
func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"op":"queue","queue":"q.fifo","attributes":{"FifoQueue":"true"},"at":"2026-01-01T00:00:00Z"}
{"op":"send","queue":"q.fifo","message":{"id":"m","body":"b","group":"g","dedup":"d","seq":1,"sent":"2126-01-01T00:00:00Z","enqueued":"2126-01-01T00:00:00Z","attributes":{"a":{"DataType":"String"}}}}
{"op":"receive","queue":"q.fifo","id":"m","receives":1}
{"op":"dedup","queue":"q.fifo","key":"k","id":"m","seq":7,"at":"2126-01-01T00:00:00Z"}
`))
	f.Add([]byte(`{"op":"queue","queue":"q","attributes":{"RedrivePolicy":"{\"deadLetterTargetArn\":\"arn:aws:sqs:us-east-1:000000000000:q\",\"maxReceiveCount\":1}"}}` + "\n"))
	f.Add([]byte(`{"op":"move","queue":"q","to":"q","id":"m"}` + "\n"))
	f.Add([]byte("{"))
	f.Fuzz(func(_ *testing.T, in []byte) {
		e := newFuzzEngine()
		if e.replay(bytes.NewReader(in)) != nil {
			return
		}
		for _, name := range e.names() {
			got, _, _, _ := e.receiveNow(name, ReceiveOptions{Max: 10})
			for _, m := range got {
				_ = md5Attributes(m.Attributes)
			}
		}
	})
}

// FuzzReceiptHandle: a handle that was not given out deletes nothing and hides
// nothing.
func FuzzReceiptHandle(f *testing.F) {
	f.Add("")
	f.Add("nonsense")
	f.Add(base64.StdEncoding.EncodeToString([]byte(awswire.NewID() + "/x")))
	f.Fuzz(func(t *testing.T, handle string) {
		e := newFuzzEngine()
		if _, err := e.EnsureQueue("q", nil); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Send("q", Outgoing{Body: "x"}); err != nil {
			t.Fatal(err)
		}
		var wire *awswire.Error
		if err := e.Delete("q", handle); err != nil && !errors.As(err, &wire) {
			t.Fatal(err)
		}
		if err := e.ChangeVisibility("q", handle, time.Hour); err == nil {
			t.Fatal("hid a message with a made-up handle")
		}
		if got, err := e.receiveAll("q"); err != nil || len(got) != 1 {
			t.Fatal("the message is gone")
		}
	})
}

func (e *Engine) receiveAll(name string) ([]Received, error) {
	got, _, _, err := e.receiveNow(name, ReceiveOptions{Max: 10})
	return got, err
}
