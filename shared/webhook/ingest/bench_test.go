package ingest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/webhook/ingest"
)

// instant is a store that keeps nothing and always finds an event new.
type instant struct{ session.Dedupe }

func (instant) Receive(_ context.Context, _, _, event string, now time.Time, ttl time.Duration) (session.Receipt, bool, error) {
	return session.Receipt{EventID: event, At: now, Until: now.Add(ttl)}, true, nil
}
func (instant) Queued(context.Context, string, session.Receipt, session.Delivery) error { return nil }

type sink struct{}

func (sink) Send(context.Context, string, string, []byte) error { return nil }
func (sink) Record(context.Context, ingest.Event)               {}

// BenchmarkDelivery is a first delivery with stores that answer at once.
func BenchmarkDelivery(b *testing.B) {
	e := newEnv(new(testing.T))
	e.in = ingest.New(ingest.Deps{Installs: e.installs, Secrets: e.secrets, Catalog: catalog.New(catalog.Entries()), Dedupe: instant{}, People: session.People{}, Queue: sink{}, Recorder: sink{}})
	r := e.request(hello, "key one", now)
	b.ReportAllocs()
	for b.Loop() {
		if resp := e.in.Handle(b.Context(), r); resp.Status != 200 {
			b.Fatal(fmt.Sprint(resp))
		}
	}
}
