package lkcli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// rebuildCalls bounds the calls of one lk usage rebuild --wait, each of which works
// for up to twenty seconds.
const rebuildCalls = 10_000

// rebuilt is what the command needs of an answer.
type rebuilt struct {
	OK            *bool
	Complete      bool
	Next          *string
	Finished      int
	RepairedCount int `json:"repaired_count"`
	Mismatches    []json.RawMessage
	Progress      *struct {
		OrgID   string `json:"org_id"`
		Step    string
		Month   string
		Checked int
	}
}

// rebuildUsage is lk usage rebuild: one call, or with --wait as many as it takes.
func rebuildUsage(ctx context.Context, in *invocation) error {
	c, err := in.connect()
	if err != nil {
		return err
	}
	body := map[string]any{}
	if in.org != "" {
		body["org_id"] = in.org
	}
	if in.has("cursor") {
		body["cursor"] = in.text("cursor")
	}
	finished := 0
	for range rebuildCalls {
		raw, err := c.do(ctx, operation{method: http.MethodPost, path: "/api/operator/rebuild-usage", body: encode(body)})
		if err != nil {
			return err
		}
		var r rebuilt
		if json.Unmarshal(raw, &r) != nil || r.OK == nil {
			return unreadable()
		}
		finished += r.Finished
		if p := r.Progress; p != nil {
			_, _ = fmt.Fprintf(in.Stderr, "lk: %d organisations done; %s: %s %s, %d entries, %d rows repaired\n",
				finished, clean(p.OrgID), clean(p.Step), clean(p.Month), p.Checked, r.RepairedCount)
		}
		if r.Complete || len(r.Mismatches) > 0 || in.text("wait") != "true" {
			return in.showOne(raw) // its truth is the exit code
		}
		if r.Next != nil {
			body["cursor"] = *r.Next
		}
	}
	return failed("interrupted", "the rebuild is not complete; the same command goes on with it")
}
