package gateway

import (
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/model"
)

// counted is the usage of a stream for which the vendor reported some. Numbers that
// came after the finish are the vendor's last word. Before it they are a beginning:
// vendors count the input first and leave the output at 1, so the output is what was
// delivered by our estimate, if that is more, and all of it is marked as estimated.
func (s *ChatStream) counted(estimated model.Usage) model.Usage {
	u := *s.usage
	if s.final {
		return u
	}
	u.Source = model.UsageEstimated
	missing := max(0, estimated.OutputTotal()-u.OutputTotal())
	thought := min(missing, max(0, estimated.Reasoning-u.Reasoning))
	u.Reasoning += thought
	u.Output += missing - thought
	return u
}

// agreed bounds what an estimate may cost: the caller agreed to the hold, which was
// sized for the input and the most output that was asked for. A vendor that sends more
// than that and does not count is not the caller's to pay.
func (m *Meter) agreed(amount billing.Micro, estimated bool) billing.Micro {
	if estimated {
		return min(amount, m.hold.Amount)
	}
	return amount
}
