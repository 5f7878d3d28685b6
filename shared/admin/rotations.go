package admin

import (
	"time"

	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/rotation"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
)

func rotationRoutes() []route {
	const all = "/api/operator/rotations"
	return []route{
		create(all, operatorAdmin, "Start a job of the vault: kek moves every credential to the key to, material to the newest material of its key, "+
			"dek gives fresh data keys, verify opens everything and changes nothing", newRotation{}, rotationJSON{}, with(createRotation)),
		lists(all, operatorRead, "The jobs of the vault, newest first", rotationJSON{}, listRotations),
		get(all+"/{id}", operatorRead, "A job of the vault", rotationJSON{}, getRotation),
		act(all+"/{id}/rollback", operatorAdmin, "Go back to the key before and move the credentials back", nil, rotationJSON{}, bare(rollbackRotation)),
	}
}

type newRotation struct {
	Kind  rotation.Kind `json:"kind" api:"required"`
	OrgID string        `json:"org_id"`
	// To is the full ARN of a configured key; absent = the present one.
	To string `json:"to"`
	// Rate is records per second.
	Rate int `json:"rate"`
}

type rotationJSON struct {
	ID          string         `json:"id"`
	Kind        rotation.Kind  `json:"kind"`
	OrgID       string         `json:"org_id,omitempty"` // absent: all
	From        string         `json:"from,omitempty"`
	To          string         `json:"to,omitempty"`
	State       rotation.State `json:"state"`
	RolledBack  bool           `json:"rolled_back"`
	Pass        int            `json:"pass"`
	Done        int64          `json:"done"`
	Skipped     int64          `json:"skipped"`
	Mended      int64          `json:"mended"`
	FailedCount int64          `json:"failed_count"`
	// Failed lists the first failures of the last pass.
	Failed    []rotationFailure `json:"failed"`
	Reason    string            `json:"reason,omitempty"`
	Attempts  int               `json:"attempts"`
	CreatedBy string            `json:"created_by"`
	CreatedAt time.Time         `json:"created_at"`
	UpdatedAt time.Time         `json:"updated_at"`
	EndedAt   *time.Time        `json:"ended_at"`
}

type rotationFailure struct {
	OrgID        string                   `json:"org_id"`
	Class        taxonomy.CredentialClass `json:"class"`
	CredentialID string                   `json:"credential_id"`
	Version      int                      `json:"version,omitempty"`
	Field        string                   `json:"field,omitempty"`
	Reason       vault.Reason             `json:"reason"`
}

func rotationOut(j rotation.Job) rotationJSON {
	out := rotationJSON{ID: j.ID, Kind: j.Kind, OrgID: j.Org, From: j.From, To: j.To, State: j.State, RolledBack: j.Reversed, Pass: j.Pass,
		Done: j.Done, Skipped: j.Skipped, Mended: j.Mended, FailedCount: j.FailedCount, Failed: []rotationFailure{}, Reason: j.Reason,
		Attempts: j.Attempts, CreatedBy: j.CreatedBy, CreatedAt: j.CreatedAt.UTC(), UpdatedAt: j.UpdatedAt.UTC(), EndedAt: stamp(j.EndedAt)}
	for _, f := range j.Failures {
		out.Failed = append(out.Failed, rotationFailure{f.Org, f.Class, f.Credential, f.Version, f.Field, f.Reason})
	}
	return out
}

func createRotation(c *call, b newRotation) (any, error) {
	if b.OrgID != "" && b.OrgID != org.Platform { // the platform's own credentials have no organisation record
		if err := org.CheckID(b.OrgID); err != nil {
			return nil, malformed("org_id", "this is not the id of an organisation")
		}
		if _, err := c.load(b.OrgID); err != nil {
			return nil, err
		}
	}
	j, err := c.Rotations.Start(c, c.op, c.NewID(c.req.Now), rotation.Draft{Kind: b.Kind, Org: b.OrgID, To: b.To, Rate: b.Rate})
	if err != nil {
		return nil, err
	}
	return rotationOut(j), nil
}

func listRotations(c *call) (any, error) {
	p, err := c.page()
	if err != nil {
		return nil, err
	}
	jobs, next, err := c.Rotations.Jobs(c, p.after, p.limit)
	if err != nil {
		return nil, err
	}
	return answer(jobs, next, rotationOut), nil
}

func getRotation(c *call) (any, error) {
	j, err := c.Rotations.Job(c, c.params["id"])
	if err != nil {
		return nil, err
	}
	return rotationOut(j), nil
}

func rollbackRotation(c *call) (any, error) {
	j, err := c.Rotations.Rollback(c, c.op, c.params["id"])
	if err != nil {
		return nil, err
	}
	return rotationOut(j), nil
}
