package gateway

import (
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/shared/fault"
)

// admit notes which fields the candidate is not given. In strict mode it refuses
// such a candidate, before anything is reserved.
func (s *service[T]) admit(cl *call, strict bool) error {
	if s.dropped == nil {
		return nil
	}
	cl.dropped = s.dropped(cl)
	if !strict || len(cl.dropped) == 0 {
		return nil
	}
	names := shown(cl.dropped)
	return fault.New(fault.InvalidRequest, "gateway.admit",
		"this model would not be given "+strings.Join(names, ", ")+": leave that out, choose another model, or do not ask for strict mode").WithParam(names[0])
}

const (
	// A client names its fields as it likes; what is shown of them is bounded.
	maxShown     = 24
	maxFieldName = 64
)

// shown are names as headers and messages may hold them.
func shown(fields []string) []string {
	if len(fields) == 0 {
		return nil
	}
	out := make([]string, 0, min(len(fields), maxShown+1))
	for i, name := range fields {
		if i == maxShown {
			return append(out, "and "+strconv.Itoa(len(fields)-i)+" more")
		}
		out = append(out, strings.Map(printable, name[:min(len(name), maxFieldName)]))
	}
	return out
}

func printable(r rune) rune {
	if r < 0x21 || r > 0x7e || r == ',' {
		return '?'
	}
	return r
}
