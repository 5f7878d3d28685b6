package ingest

import (
	"context"
	"sync"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/webhook"
)

// receive dedupes the event and finds, at the same time, the conversation of a
// person that the vendor shows under several ids; the answer still goes to the id
// that was shown. Which failed is told apart.
func (c *call) receive(ctx context.Context, key string, e *channel.Envelope) (receipt session.Receipt, dedupe, person error) {
	var group sync.WaitGroup
	space := e.Space
	if c.entry.ManyIDs && e.Direct {
		group.Go(func() { space, person = c.d.People.Space(ctx, c.inst.ID, e.Space, e.Beside) })
	}
	receipt, dedupe = c.take(ctx, key)
	group.Wait()
	if space != e.Space && person == nil {
		if e.ReplyTo == "" {
			e.ReplyTo = e.Space
		}
		e.Space = space
	}
	return receipt, dedupe, person
}

// take asks for the receipt of the event, once for each event of a request.
func (c *call) take(ctx context.Context, key string) (receipt session.Receipt, err error) {
	if receipt, err, asked := c.ahead.take(key, c.in.Envelope.EventID); asked {
		return receipt, err
	}
	receipt, _, err = c.d.Dedupe.Receive(ctx, c.inst.ID, key, c.in.Envelope.EventID, c.r.Now, c.entry.RetryHorizon)
	return receipt, err
}

// renamed takes a person's conversation to their new ids. Repeating it is
// harmless, so nothing is deduped.
func (c *call) renamed(ctx context.Context) Response {
	if err := c.d.People.Rename(ctx, c.inst.ID, session.Renaming(c.in.Renaming)); err != nil {
		return c.end(ctx, webhook.PersonUnavailable, session.Failed)
	}
	return c.end(ctx, c.in.Reason, session.Ignored)
}

// key is the dedupe key of the event.
func (c *call) key() string {
	e := c.in.Envelope
	return session.DedupeKey(e.EventID, e.ContentKey)
}
