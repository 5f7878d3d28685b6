package e2e

import (
	"errors"

	"github.com/latchkey/latchkey/scripts/internal/stack"
)

// asError is errors.As without the need for a variable per use.
func asError[T error](err error, target *T) bool { return errors.As(err, target) }

func statusOf(err error) int { return stack.Status(err) }
