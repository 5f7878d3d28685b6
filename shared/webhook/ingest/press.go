package ingest

import (
	"context"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/session"
)

// pressed queues the press of a button, where somebody is named to press any. Who may
// not decide reads so in the answer; the worker refuses it, with a row that names them.
func (c *call) pressed(ctx context.Context, job session.Job) Response {
	if len(c.inst.Policy.Approvers) == 0 {
		return c.end(ctx, channel.EventIgnored, session.Ignored)
	}
	if !c.inst.Policy.Approves(c.in.Envelope.Actor) && c.in.Denied != (channel.Ack{}) {
		c.in.Ack = c.in.Denied
	}
	job.Kind = session.JobPress
	return c.enqueue(ctx, job)
}
