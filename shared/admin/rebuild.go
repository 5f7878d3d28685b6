package admin

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/usage"
)

// Rebuilder builds usage rows anew; [usage.Rebuilder] implements it.
type Rebuilder interface {
	Run(ctx context.Context, org string, op audit.Op, now time.Time) (usage.Report, error)
}

// rebuildTime bounds one call; what is left then is the next call's.
const rebuildTime = 20 * time.Second

type rebuildBody struct {
	OrgID string `json:"org_id"`
	// Cursor goes on where a call over all organisations ended.
	Cursor string `json:"cursor"`
}

// rebuildJSON: OK says that everything asked for was rebuilt and agrees with the
// entries. Not Complete means to call again, with Next as cursor if there is one.
type rebuildJSON struct {
	OK         bool          `json:"ok"`
	Complete   bool          `json:"complete"`
	Checked    int           `json:"checked"`
	Mismatches []usageDiffer `json:"mismatches"`
	Repaired   []usageDiffer `json:"repaired"`
	Next       *string       `json:"next"`
	// RepairedCount counts the rows that were wrong, also those that calls before
	// listed; Finished the organisations that this call has done.
	RepairedCount int              `json:"repaired_count"`
	Finished      int              `json:"finished"`
	Progress      *rebuildProgress `json:"progress"`
}

// rebuildProgress is where a rebuild that is not complete goes on.
type rebuildProgress struct {
	OrgID   string `json:"org_id"`
	Step    string `json:"step"` // copy, compare or clean
	Month   string `json:"month,omitempty"`
	Checked int    `json:"checked"`
}

// usageDiffer is a row that is, or was, not what the entries say.
type usageDiffer struct {
	OrgID    string `json:"org_id"`
	Day      string `json:"day"`
	Provider string `json:"provider"`
	Model    string `json:"model"`
	AgentID  string `json:"agent_id,omitempty"`
	Source   string `json:"billing_source"`
	What     string `json:"what"`
	Want     int64  `json:"want"`
	Got      int64  `json:"got"`
}

func rebuildUsage(c *call, b rebuildBody) (any, error) {
	out := &rebuildJSON{OK: true, Complete: true, Mismatches: []usageDiffer{}, Repaired: []usageDiffer{}}
	ctx, cancel := context.WithTimeout(c, rebuildTime)
	defer cancel()
	if b.OrgID != "" {
		if err := org.CheckID(b.OrgID); err != nil {
			return nil, malformed("org_id", "this is not the id of an organisation")
		}
		if _, err := c.load(b.OrgID); err != nil {
			return nil, err
		}
		return out, c.rebuildOne(ctx, out, b.OrgID)
	}
	if b.Cursor != "" && org.CheckID(b.Cursor) != nil {
		return nil, malformed("cursor", "this cursor is not one of ours; start without it")
	}
	for after := b.Cursor; ; {
		orgs, next, err := c.Orgs.Orgs.Orgs(c, "", after, maxLimit)
		if err != nil {
			return nil, err
		}
		for _, o := range orgs {
			if err := c.rebuildOne(ctx, out, o.ID); err != nil {
				return nil, err
			}
			if !out.Complete {
				if after != "" {
					out.Next = &after
				}
				return out, nil
			}
			after = o.ID
		}
		if after = next; after == "" {
			return out, nil
		}
	}
}

func (c *call) rebuildOne(ctx context.Context, out *rebuildJSON, id string) error {
	rep, err := c.Rebuild.Run(ctx, id, c.op, c.req.Now)
	if fault.CodeOf(err) == fault.NotFound {
		return nil // no account, no usage
	}
	if err != nil {
		return err
	}
	out.Checked += rep.Checked
	out.RepairedCount += rep.RepairedRows
	if out.Complete = out.Complete && rep.Complete; rep.Complete {
		out.Finished++
	} else {
		out.Progress = &rebuildProgress{OrgID: id, Step: rep.Step, Checked: rep.Checked}
		if !rep.Month.IsZero() {
			out.Progress.Month = rep.Month.Format("2006-01")
		}
	}
	for _, m := range rep.Mismatches {
		out.Mismatches = append(out.Mismatches, differOf(id, m))
	}
	for _, m := range rep.Repaired {
		out.Repaired = append(out.Repaired, differOf(id, m))
	}
	out.OK = out.Complete && len(out.Mismatches) == 0
	return nil
}

func differOf(id string, m usage.Mismatch) usageDiffer {
	return usageDiffer{OrgID: id, Day: m.Row.Day, Provider: m.Row.Provider, Model: m.Row.Model, AgentID: m.Row.Agent, Source: string(m.Row.Source),
		What: m.What, Want: m.Want, Got: m.Got}
}
