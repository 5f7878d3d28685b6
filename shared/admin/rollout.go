package admin

import (
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/rollout"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

func rolloutRoutes() []route {
	const all, one = "/api/rollout", "/api/rollout/{subject}"
	return []route{
		lists(all, operatorRead, "How far each channel, ai_connections and credit_ledger are rolled out, and what a channel's security matrix says", rolloutJSON{}, listRollout),
		act(one+"/promote", operatorAdmin, "Bring a subject to canary for the named organisations, or from canary to on: a channel with a green matrix, the others with a canary that shows it; 409 with what is missing",
			promoteBody{}, rolledJSON{}, with(promoteRollout)),
		act(one+"/rollback", operatorAdmin, "Take a subject to the stage before, or to the one named by to; what is active already goes on until it is suspended, see enforce",
			rollbackBody{}, rolledJSON{}, with(rollbackRollout)),
		act(one+"/enforce", operatorAdmin, "Suspend the active installs of a channel in organisations that its stage is not for, 25 organisations a call; call again while there is a next",
			enforceBody{}, enforcedJSON{}, with(enforceRollout)),
	}
}

// rolloutJSON is the stage of a subject.
type rolloutJSON struct {
	Subject string                `json:"subject"`
	Stage   taxonomy.RolloutStage `json:"stage"`
	// OrgIDs are the organisations of the canary, also those of the last one while it
	// is on.
	OrgIDs []string `json:"org_ids"`
	// Default says that nobody has set the stage yet.
	Default bool `json:"default"`
	// Matrix is null for what is no channel.
	Matrix    *matrixJSON `json:"matrix"`
	Reason    string      `json:"reason,omitempty"` // of the last rollback
	ChangedBy string      `json:"changed_by,omitempty"`
	ChangedAt *time.Time  `json:"changed_at"`
	Version   int64       `json:"version"`
}

// matrixJSON is a channel's column of this build, or those of all its vendors. OpenRows
// is empty where it was not played at all, or is green; Missing says what keeps it from
// being green.
type matrixJSON struct {
	Green    bool   `json:"green"`
	Played   bool   `json:"played"`
	OpenRows []int  `json:"open_rows"`
	Missing  string `json:"missing,omitempty"`
	PlayedAt string `json:"played_at,omitempty"`
}

// rolledJSON is a subject after a change, with the commands that take it back.
type rolledJSON struct {
	rolloutJSON
	Changed bool                  `json:"changed"`
	From    taxonomy.RolloutStage `json:"from"`
	Reverse []string              `json:"reverse"`
}

func (c *call) rolloutOut(r rollout.Record) rolloutJSON {
	out := rolloutJSON{Subject: r.Subject, Stage: r.Stage, OrgIDs: append([]string{}, r.Orgs...), Default: r.Version == 0, Reason: r.Reason, ChangedBy: r.By,
		ChangedAt: orNever(r.At), Version: r.Version}
	if !c.Rollout.IsChannel(r.Subject) {
		return out
	}
	open, played := c.Rollout.Matrix.Open(taxonomy.Channel(r.Subject))
	out.Matrix = &matrixJSON{Green: true, Played: played, OpenRows: append([]int{}, open...)}
	if err := c.Rollout.Matrix.Promotable(taxonomy.Channel(r.Subject)); err != nil {
		out.Matrix.Green, out.Matrix.Missing = false, fault.As(err).Message
	}
	if played {
		out.Matrix.PlayedAt = c.Rollout.Matrix.GeneratedAt.UTC().Format(time.RFC3339)
	}
	return out
}

func (c *call) rolled(before, after rollout.Record, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	out := rolledJSON{rolloutJSON: c.rolloutOut(after), Changed: after.Version != before.Version, From: before.Stage, Reverse: []string{}}
	for _, command := range rollout.Undo(before, after) {
		out.Reverse = append(out.Reverse, "lk "+command)
	}
	return out, nil
}

func listRollout(c *call) (any, error) {
	p, err := c.page()
	if err != nil {
		return nil, err
	}
	all, err := c.Rollout.List(c)
	if err != nil {
		return nil, err
	}
	items, next := slicePage(all, p, func(r rollout.Record) string { return r.Subject })
	return answer(items, next, c.rolloutOut), nil
}

type promoteBody struct {
	Stage   taxonomy.RolloutStage `json:"stage" api:"required"`
	OrgIDs  []string              `json:"org_ids"`
	Version *int64                `json:"version"`
}

func promoteRollout(c *call, b promoteBody) (any, error) {
	return c.rolled(c.Rollout.Promote(c, c.op, rollout.Promotion{Subject: c.params["subject"], Stage: b.Stage, Orgs: b.OrgIDs, Version: b.Version}))
}

type rollbackBody struct {
	Reason string `json:"reason" api:"required"`
	// To is off or canary, absent: the stage before.
	To      taxonomy.RolloutStage `json:"to"`
	Version *int64                `json:"version"`
}

func rollbackRollout(c *call, b rollbackBody) (any, error) {
	return c.rolled(c.Rollout.Rollback(c, c.op, rollout.Retreat{Subject: c.params["subject"], Reason: b.Reason, To: b.To, Version: b.Version}))
}

type enforceBody struct {
	Cursor string `json:"cursor"`
}

// enforcedJSON: so many organisations were looked at; Next is the cursor of the next
// call, empty at the end.
type enforcedJSON struct {
	Subject   string          `json:"subject"`
	Checked   int             `json:"checked"`
	Suspended []suspendedJSON `json:"suspended"`
	Next      string          `json:"next"`
}

type suspendedJSON struct {
	OrgID     string `json:"org_id"`
	InstallID string `json:"install_id"`
}

// enforcePage is how many organisations one call looks at.
const enforcePage = 25

func enforceRollout(c *call, b enforceBody) (any, error) {
	if b.Cursor != "" && org.CheckID(b.Cursor) != nil {
		return nil, malformed("cursor", "this is not the next of an earlier answer")
	}
	r, err := c.Rollout.Get(c, c.params["subject"])
	if err != nil {
		return nil, err
	}
	if !c.Rollout.IsChannel(r.Subject) {
		return nil, malformed("subject", "only a channel has installs that could be suspended")
	}
	orgs, next, err := c.Orgs.Orgs.Orgs(c, "", b.Cursor, enforcePage)
	if err != nil {
		return nil, err
	}
	out := enforcedJSON{Subject: r.Subject, Checked: len(orgs), Suspended: []suspendedJSON{}, Next: next}
	for _, o := range orgs {
		if c.Rollout.Admits(r, o.ID) {
			continue
		}
		if err := c.suspendAll(o.ID, taxonomy.Channel(r.Subject), &out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// suspendAll suspends the active installs of a channel of an organisation.
func (c *call) suspendAll(orgID string, provider taxonomy.Channel, out *enforcedJSON) error {
	for after := ""; ; {
		page, next, err := c.Installs.List(c, orgID, after, maxLimit)
		if err != nil {
			return err
		}
		for _, i := range page {
			if i.Provider != provider || i.State != install.Active {
				continue
			}
			if _, err := c.Installs.Suspend(c, c.op.Part("enforce", i.ID), orgID, i.ID); err != nil {
				return err
			}
			out.Suspended = append(out.Suspended, suspendedJSON{OrgID: orgID, InstallID: i.ID})
		}
		if after = next; after == "" {
			return nil
		}
	}
}
