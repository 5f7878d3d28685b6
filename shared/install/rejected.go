package install

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/outbox"
)

// MaxRejections is how often in a row the vendor may reject an install's token
// until the install is suspended.
const MaxRejections = 3

// rejectedAction is the audit code of a rejection.
const rejectedAction = "install.token_rejected"

// Teller writes a change together with the event that tells the owner of it.
type Teller interface {
	// UpdateInstallTelling is UpdateInstall with an event in the same transaction.
	UpdateInstallTelling(ctx context.Context, old, next Install, row audit.Row, ev outbox.Event) error
}

// changeTries bounds the repeats of a change that met another one.
const changeTries = 3

// TokenRejected counts that the vendor rejected the install's token. The third
// time in a row suspends the install and tells its owner; whoever resumes it
// starts from none. It is called once for each message that was not taken.
func (s *Service) TokenRejected(ctx context.Context, op audit.Op, orgID, id string) error {
	return s.count(ctx, op, orgID, id, func(i Install) (Install, bool) {
		if i.State != Active && i.State != Verifying {
			return i, false
		}
		if i.Rejections++; i.Rejections >= MaxRejections {
			i.Before, i.State = i.State, Suspended
		}
		return i, true
	})
}

// TokenAccepted forgets rejections: the token sends again.
func (s *Service) TokenAccepted(ctx context.Context, op audit.Op, orgID, id string) error {
	return s.count(ctx, op, orgID, id, func(i Install) (Install, bool) {
		// One that was suspended meanwhile keeps the count: a late reply neither
		// resumes it nor tells its owner again.
		if i.Rejections == 0 || !i.State.Verifies() {
			return i, false
		}
		i.Rejections = 0
		return i, true
	})
}

func (s *Service) count(ctx context.Context, op audit.Op, orgID, id string, f func(Install) (Install, bool)) error {
	for try := 1; ; try++ {
		old, _, err := s.Get(ctx, orgID, id)
		if err != nil {
			return err
		}
		next, changed := f(old)
		if !changed {
			return nil
		}
		next.Version++
		next.UpdatedAt = op.At.UTC().Truncate(time.Millisecond)
		err = s.counted(ctx, op, old, next)
		if fault.CodeOf(err) != fault.Conflict || try == changeTries {
			return err
		}
	}
}

func (s *Service) counted(ctx context.Context, op audit.Op, old, next Install) error {
	action := rejectedAction
	if next.Rejections == 0 {
		action = "install.token_accepted"
	}
	row := op.Row(next.Org, action, next.ID, "provider", string(next.Provider), "state", string(next.State))
	if next.State != Suspended {
		return s.Store.UpdateInstall(ctx, old, next, row)
	}
	return s.Teller.UpdateInstallTelling(ctx, old, next, row, outbox.SuspensionEvent(s.Stage, outbox.Suspension{
		Org: next.Org, Install: next.ID, Provider: string(next.Provider), At: next.UpdatedAt, Reason: rejectedAction, Version: next.Version}))
}

// untried is an install whose token has not been rejected.
func untried(i Install, f channel.SecretField, e channel.Entry) Install {
	if f.Name == e.SendSecret {
		i.Rejections = 0
	}
	return i
}
