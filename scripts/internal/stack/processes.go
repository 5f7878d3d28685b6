package stack

import (
	"context"
	"fmt"
	"net/http"
)

// Processes asks a local stack for the process ids of a function, oldest first:
// those in a state (starting, idle, busy), or all with "". A function that the
// stack does not have is an error.
func (c Client) Processes(ctx context.Context, function, state string) ([]int, error) {
	var list []struct {
		Name         string
		Environments []struct {
			PID   int
			State string
		}
	}
	if err := c.Call(ctx, http.MethodGet, "/_local/functions", nil, &list); err != nil {
		return nil, err
	}
	for _, f := range list {
		if f.Name != function {
			continue
		}
		var pids []int
		for _, e := range f.Environments {
			if state == "" || e.State == state {
				pids = append(pids, e.PID)
			}
		}
		return pids, nil
	}
	return nil, fmt.Errorf("stack: there is no function %q", function)
}
