// Package bus puts events on the account's default event bus, EventBridge.
//
// It is a package of its own so that only the functions that need it carry the
// client.
package bus

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/latchkey/latchkey/shared/boot"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/outbox"
	"github.com/latchkey/latchkey/shared/topology"
)

// Bus implements [outbox.Bus]. Safe for concurrent use.
type Bus struct{ api *eventbridge.Client }

// Open builds the client of a function. It repeats nothing: the outbox does, and
// only what was not taken.
func Open(e *boot.Env) *Bus { return New(e.AWS) }

// New is [Open] over a configuration.
func New(cfg aws.Config) *Bus {
	return &Bus{eventbridge.NewFromConfig(cfg, func(o *eventbridge.Options) { o.Retryer = aws.NopRetryer{} })}
}

// Put implements [outbox.Bus]. An answer that does not say what became of every
// event is an error.
func (b *Bus) Put(ctx context.Context, events []outbox.Event) (refused []int, err error) {
	const op = "bus.Put"
	entries := make([]types.PutEventsRequestEntry, len(events))
	for i, e := range events {
		entries[i] = types.PutEventsRequestEntry{Source: aws.String(topology.App), DetailType: aws.String(e.Type),
			Detail: aws.String(string(e.Detail)), Time: aws.Time(e.At)}
	}
	out, err := b.api.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: entries})
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, op, "the event bus did not answer, try again", err)
	}
	if len(out.Entries) != len(events) {
		return nil, fault.New(fault.Unavailable, op, "the event bus did not say what it took, try again")
	}
	for i, r := range out.Entries {
		if aws.ToString(r.EventId) == "" {
			refused = append(refused, i)
		}
	}
	return refused, nil
}
