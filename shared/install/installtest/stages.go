package installtest

import (
	"context"

	"github.com/latchkey/latchkey/shared/fault"
)

// Everybody is an [install.Stages] that has rolled out every channel.
type Everybody struct{}

// Admit implements [install.Stages].
func (Everybody) Admit(context.Context, string, string) error { return nil }

// Stages is an [install.Stages] that admits what is true in it, by
// "<channel>/<organisation>".
type Stages map[string]bool

// Admit implements [install.Stages].
func (s Stages) Admit(_ context.Context, subject, org string) error {
	if s[subject+"/"+org] {
		return nil
	}
	return fault.New(fault.Conflict, "installtest", subject+" is off; the operator rolls it out")
}
