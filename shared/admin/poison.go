package admin

import (
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// poisonJSON is something that settlement cannot process.
type poisonJSON struct {
	ID      string    `json:"id"`
	OrgID   string    `json:"org_id,omitempty"`
	PK      string    `json:"pk"`
	SK      string    `json:"sk"`
	Reason  string    `json:"reason"`
	FoundAt time.Time `json:"found_at"`
	TriedAt time.Time `json:"tried_at"`
	Tries   int       `json:"tries"`
	// NextAt is when the sweep tries it again; null: in the next minute.
	NextAt *time.Time `json:"next_at"`
	// DismissedAt is when somebody dismissed it; null: nobody has.
	DismissedAt *time.Time `json:"dismissed_at"`
	DismissedBy string     `json:"dismissed_by,omitempty"`
	Dismissal   string     `json:"dismissal,omitempty"`
}

func poisonOut(p credit.Poison) poisonJSON {
	return poisonJSON{ID: p.ID(), OrgID: p.Org(), PK: p.PK, SK: p.SK, Reason: p.Reason, FoundAt: p.First.UTC(), TriedAt: p.At.UTC(), Tries: p.Tries,
		NextAt: stamp(p.Next), DismissedAt: stamp(p.Dismissed), DismissedBy: p.By, Dismissal: p.Note}
}

func listPoison(c *call) (any, error) {
	p, err := c.page()
	if err != nil {
		return nil, err
	}
	all, err := c.Books.Poisoned(c)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b credit.Poison) int { return strings.Compare(a.ID(), b.ID()) })
	items, next := slicePage(all, p, credit.Poison.ID)
	return answer(items, next, poisonOut), nil
}

type retryPoisonBody struct {
	// ID is one record, empty for all.
	ID string `json:"id"`
}

type retryPoisonJSON struct {
	Retried int `json:"retried"`
}

func retryPoison(c *call, b retryPoisonBody) (any, error) {
	if b.ID != "" && !strings.HasPrefix(b.ID, "p_") {
		return nil, malformed("id", "this is not the id of poison; leave it out to try all again")
	}
	n, err := c.Books.RetryPoison(c, b.ID)
	return retryPoisonJSON{Retried: n}, err
}

type dismissPoisonBody struct {
	ID     string `json:"id" api:"required"`
	Reason string `json:"reason" api:"required"`
}

func dismissPoison(c *call, b dismissPoisonBody) (any, error) {
	if !strings.HasPrefix(b.ID, "p_") {
		return nil, malformed("id", "name the poison to dismiss by its id, from the list")
	}
	p, err := c.Books.DismissPoison(c, b.ID, b.Reason, c.op.Row(org.Operator, "poison.dismiss", b.ID, "reason", b.Reason))
	if err != nil {
		return nil, err
	}
	return poisonOut(p), nil
}

// unbilledJSON is what a month left unbilled. AtMost is what the calls held; the
// items are the newest ones.
type unbilledJSON struct {
	Month    string             `json:"month"`
	Requests int                `json:"requests"`
	AtMost   credit.Micro       `json:"at_most"`
	Late     int                `json:"late"`
	Complete bool               `json:"complete"`
	Items    []unbilledItemJSON `json:"items"`
}

type unbilledItemJSON struct {
	OrgID         string                 `json:"org_id"`
	RequestID     string                 `json:"request_id"`
	Attempt       int                    `json:"attempt"`
	Provider      string                 `json:"provider"`
	BillingSource taxonomy.BillingSource `json:"billing_source"`
	Hold          credit.Micro           `json:"hold"`
	At            time.Time              `json:"at"`
}

func getUnbilled(c *call) (any, error) {
	month := c.req.Now
	if s := c.req.Query.Get("month"); s != "" {
		t, err := time.Parse("2006-01", s)
		if err != nil {
			return nil, malformed("month", "month is written YYYY-MM")
		}
		month = t
	}
	r, err := c.Books.Unbilled(c, month)
	if err != nil {
		return nil, err
	}
	out := unbilledJSON{Month: month.UTC().Format("2006-01"), Requests: len(r.Calls), AtMost: r.AtMost, Late: r.Late, Complete: !r.Cut, Items: []unbilledItemJSON{}}
	for i := len(r.Calls) - 1; i >= 0 && len(out.Items) < maxLimit; i-- {
		u := r.Calls[i]
		out.Items = append(out.Items, unbilledItemJSON{OrgID: u.Org, RequestID: u.Request, Attempt: u.Attempt, Provider: u.Provider,
			BillingSource: u.Source, Hold: u.Hold, At: u.At.UTC()})
	}
	return out, nil
}
