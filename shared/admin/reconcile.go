package admin

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/org"
)

// Books tells operators whether the ledger is in order; [credit.Ledger]
// implements it.
type Books interface {
	Reconcile(ctx context.Context, org string, now time.Time) (credit.ReconcileReport, error)
	ReconcileDeep(ctx context.Context, org string, now time.Time) (credit.ReconcileReport, error)
	PoisonBooks
	Unbilled(ctx context.Context, month time.Time) (credit.UnbilledReport, error)
}

// PoisonBooks is what settlement cannot process, and what is done about it.
type PoisonBooks interface {
	Poisoned(ctx context.Context) ([]credit.Poison, error)
	RetryPoison(ctx context.Context, id string) (int, error)
	DismissPoison(ctx context.Context, id, note string, row audit.Row) (credit.Poison, error)
}

type reconcileBody struct {
	OrgID string `json:"org_id"`
	// Deep goes through all months instead of beginning at the newest opening.
	Deep bool `json:"deep"`
}

type reconcileJSON struct {
	OK         bool           `json:"ok"`
	Checked    int            `json:"checked"`
	Mismatches []mismatchJSON `json:"mismatches"`
}

type mismatchJSON struct {
	OrgID string       `json:"org_id"`
	What  string       `json:"what"`
	Want  credit.Micro `json:"want"`
	Got   credit.Micro `json:"got"`
}

// reconcile checks one organisation, or all.
func reconcile(c *call, b reconcileBody) (any, error) {
	out := reconcileJSON{OK: true, Mismatches: []mismatchJSON{}}
	if b.OrgID != "" {
		if err := org.CheckID(b.OrgID); err != nil {
			return nil, malformed("org_id", "this is not the id of an organisation")
		}
		if _, err := c.load(b.OrgID); err != nil {
			return nil, err
		}
		return out, c.reconcileOne(&out, b.OrgID, b.Deep)
	}
	for after := ""; ; {
		orgs, next, err := c.Orgs.Orgs.Orgs(c, "", after, maxLimit)
		if err != nil {
			return nil, err
		}
		for _, o := range orgs {
			if err := c.reconcileOne(&out, o.ID, b.Deep); err != nil {
				return nil, err
			}
		}
		if after = next; after == "" {
			return out, nil
		}
	}
}

func (c *call) reconcileOne(out *reconcileJSON, id string, deep bool) error {
	check := c.Books.Reconcile
	if deep {
		check = c.Books.ReconcileDeep
	}
	r, err := check(c, id, c.req.Now)
	if err != nil {
		return err
	}
	out.OK = out.OK && r.OK
	out.Checked += r.Checked
	for _, m := range r.Mismatches {
		out.Mismatches = append(out.Mismatches, mismatchJSON{OrgID: m.Org, What: m.What, Want: m.Want, Got: m.Got})
	}
	return nil
}
