package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Credits changes and shows balances; [credit.Ledger] implements it.
type Credits interface {
	Balance(ctx context.Context, org string) (credit.BalanceView, error)
	Grant(ctx context.Context, g credit.GrantRequest) (credit.Posting, error)
	Adjust(ctx context.Context, g credit.GrantRequest) (credit.Posting, error)
	SetCreditLine(ctx context.Context, org string, line credit.Micro, op audit.Op) error
}

// Ledger answers questions about the past; [credit.Ledger] implements it.
type Ledger interface {
	Entries(ctx context.Context, org, cursor string, limit int, now time.Time) ([]credit.Entry, string, error)
	Holds(ctx context.Context, org string) ([]credit.Open, error)
	Request(ctx context.Context, org, id string) (credit.RequestView, error)
	Usage(ctx context.Context, org, from, to string, groupBy []string) ([]credit.UsageRow, error)
}

type creditsJSON struct {
	Posted     credit.Micro                        `json:"posted"`
	Held       credit.Micro                        `json:"held"`
	Available  credit.Micro                        `json:"available"`
	CreditLine credit.Micro                        `json:"credit_line"`
	Grants     []grantJSON                         `json:"grants"`
	ByKind     map[taxonomy.GrantKind]credit.Micro `json:"by_kind"`
}

type grantJSON struct {
	ID        string             `json:"id"`
	Kind      taxonomy.GrantKind `json:"kind"`
	Amount    credit.Micro       `json:"amount"`
	Remaining credit.Micro       `json:"remaining"`
	At        time.Time          `json:"at"`
	ExpiresAt *time.Time         `json:"expires_at"` // null: never
}

func getCredits(c *call) (any, error) {
	b, err := c.Credits.Balance(c, c.org.ID)
	if err != nil {
		return nil, err
	}
	out := creditsJSON{Posted: b.Posted, Held: b.Held, Available: b.Available, CreditLine: b.CreditLine, Grants: []grantJSON{}, ByKind: b.ByKind}
	if out.ByKind == nil {
		out.ByKind = map[taxonomy.GrantKind]credit.Micro{}
	}
	for _, g := range b.Grants {
		out.Grants = append(out.Grants, grantJSON{ID: g.ID, Kind: g.Kind, Amount: g.Amount, Remaining: g.Remaining, At: g.At, ExpiresAt: orNever(g.ExpiresAt)})
	}
	return out, nil
}

type lineBody struct {
	CreditLine credit.Micro `json:"credit_line" api:"required"`
}

func setCreditLine(c *call, b lineBody) (any, error) {
	if err := c.Credits.SetCreditLine(c, c.org.ID, b.CreditLine, c.op); err != nil {
		return nil, err
	}
	return getCredits(c)
}

// orNever is null for no time.
func orNever(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

type postingBody struct {
	Kind           taxonomy.GrantKind `json:"kind" api:"required"`
	Amount         credit.Micro       `json:"amount" api:"required"`
	ExpiresAt      *time.Time         `json:"expires_at"`
	Rollover       *rolloverBody      `json:"rollover"`
	IdempotencyKey string             `json:"idempotency_key" api:"required"`
}

// rolloverBody renews a daily or monthly grant at its end, with what is left
// within these bounds.
type rolloverBody struct {
	Min credit.Micro `json:"min_amount"`
	Max credit.Micro `json:"max_amount" api:"required"`
}

type postingJSON struct {
	ID        string             `json:"id"`
	Kind      taxonomy.GrantKind `json:"kind"`
	Amount    credit.Micro       `json:"amount"`
	At        time.Time          `json:"at"`
	ExpiresAt *time.Time         `json:"expires_at"` // null: never
}

func grantCredits(c *call, b postingBody) (any, error) {
	return c.post(b, c.Credits.Grant)
}

func adjustCredits(c *call, b postingBody) (any, error) {
	return c.post(b, c.Credits.Adjust)
}

// post leaves one audit row per posting: a repeat with the same idempotency key
// posts nothing and writes none.
func (c *call) post(b postingBody, f func(context.Context, credit.GrantRequest) (credit.Posting, error)) (any, error) {
	g := credit.GrantRequest{Org: c.org.ID, Kind: b.Kind, Amount: b.Amount, IdempotencyKey: b.IdempotencyKey, Now: c.req.Now, Op: c.op}
	if b.ExpiresAt != nil {
		g.ExpiresAt = *b.ExpiresAt
	}
	if b.Rollover != nil {
		g.Rollover = credit.Rollover{Min: b.Rollover.Min, Max: b.Rollover.Max}
		if g.Rollover == (credit.Rollover{}) {
			return nil, malformed("rollover.max_amount", "a rollover needs a max above 0")
		}
	}
	p, err := f(c, g)
	if err != nil {
		return nil, err
	}
	return postingJSON{ID: p.ID, Kind: p.Kind, Amount: p.Amount, At: p.At, ExpiresAt: orNever(p.ExpiresAt)}, nil
}

type entryJSON struct {
	ID            string                 `json:"id"`
	At            time.Time              `json:"at"`
	Kind          credit.EntryKind       `json:"kind"`
	Amount        credit.Micro           `json:"amount"`
	Legs          []legJSON              `json:"legs"`
	RequestID     string                 `json:"request_id,omitempty"`
	Attempt       int                    `json:"attempt,omitempty"`
	PostingID     string                 `json:"posting_id,omitempty"`
	PriceVersion  string                 `json:"price_version,omitempty"`
	BillingSource taxonomy.BillingSource `json:"billing_source,omitempty"`
	AgentID       string                 `json:"agent_id,omitempty"`
	KeyID         string                 `json:"key_id,omitempty"`
	Provider      string                 `json:"provider,omitempty"`
	Model         string                 `json:"model,omitempty"`
	ConnectionID  string                 `json:"connection_id,omitempty"`
	Usage         *usageJSON             `json:"usage,omitempty"`
	Estimated     bool                   `json:"estimated"`
	Late          bool                   `json:"late,omitempty"`
	// PaidBy is legacy_tokens where the legacy counter paid, with Tokens.
	PaidBy string `json:"paid_by,omitempty"`
	Tokens int64  `json:"tokens,omitempty"`
	// ClientID is set where an agency paid for a client; the client's own entry has
	// the agency as payer, and what it paid.
	ClientID string       `json:"client_id,omitempty"`
	PayerID  string       `json:"payer_org_id,omitempty"`
	Paid     credit.Micro `json:"paid,omitempty"`
	// UsedAt is when usage was reported whose month was closed before it settled.
	UsedAt *time.Time `json:"used_at,omitempty"`
}

type legJSON struct {
	Account string       `json:"account"`
	Amount  credit.Micro `json:"amount"`
}

func entryOut(e credit.Entry) entryJSON {
	out := entryJSON{ID: e.ID, At: e.At.UTC(), Kind: e.Kind, Amount: e.Amount, Legs: []legJSON{}, Attempt: e.Attempt, PriceVersion: e.PriceVersion,
		BillingSource: e.Source, AgentID: e.Agent, KeyID: e.Key, Provider: e.Provider, Model: e.Model, ConnectionID: e.Connection,
		Estimated: e.Estimated, Late: e.Late, ClientID: e.Client, PayerID: e.Agency, Paid: e.Paid}
	if !e.UsedAt.IsZero() {
		at := e.UsedAt.UTC()
		out.UsedAt = &at
	}
	for _, leg := range e.Legs {
		out.Legs = append(out.Legs, legJSON{leg.Account, leg.Amount})
	}
	out.PaidBy, out.Tokens = paidBy(e.Stamp), e.Tokens
	switch e.Kind {
	case credit.UsageEntry:
		usage := usageOut(e.Usage)
		out.RequestID, out.Usage = e.Request, &usage
	case credit.FeeEntry:
		out.RequestID = e.Request
	default:
		out.PostingID = e.Request
	}
	return out
}

func listEntries(c *call) (any, error) {
	p, err := c.page()
	if err != nil {
		return nil, err
	}
	entries, next, err := c.Ledger.Entries(c, c.org.ID, p.after, p.limit, c.req.Now)
	if err != nil {
		return nil, err
	}
	return answer(entries, next, entryOut), nil
}

type holdJSON struct {
	RequestID string       `json:"request_id"`
	Attempt   int          `json:"attempt"`
	Amount    credit.Micro `json:"amount"`
	State     credit.State `json:"state"`
	ExpiresAt time.Time    `json:"expires_at"`
	// ClientID is set where the request is a client's.
	ClientID string `json:"client_id,omitempty"`
	// Poison is why settlement cannot process the attempt.
	Poison string `json:"poison,omitempty"`
}

func listHolds(c *call) (any, error) {
	p, err := c.page()
	if err != nil {
		return nil, err
	}
	holds, err := c.Ledger.Holds(c, c.org.ID)
	if err != nil {
		return nil, err
	}
	items, next := slicePage(holds, p, func(h credit.Open) string {
		return fmt.Sprintf("%013d#%s#%03d#%s", h.Expires.UnixMilli(), h.Request, h.Attempt, h.Org)
	})
	return answer(items, next, func(h credit.Open) holdJSON {
		out := holdJSON{RequestID: h.Request, Attempt: h.Attempt, Amount: h.Hold, State: h.State, ExpiresAt: h.Expires.UTC(), Poison: h.Poison}
		if h.Org != c.org.ID {
			out.ClientID = h.Org
		}
		return out
	}), nil
}

type requestJSON struct {
	ID       string        `json:"id"`
	State    credit.State  `json:"state"`
	Cost     credit.Micro  `json:"cost"`
	Usage    usageJSON     `json:"usage"`
	AgentID  string        `json:"agent_id,omitempty"`
	Attempts []attemptJSON `json:"attempts"`
	// Replays says that every attempt's decision is made again from its record.
	Replays bool `json:"replays"`
}

type attemptJSON struct {
	N             int                    `json:"n"`
	State         credit.State           `json:"state"`
	Provider      string                 `json:"provider"`
	Model         string                 `json:"model"`
	ConnectionID  string                 `json:"connection_id"`
	BillingSource taxonomy.BillingSource `json:"billing_source"`
	PayerID       string                 `json:"payer_org_id"`
	Rule          string                 `json:"rule"`
	DecisionHash  string                 `json:"decision_hash"`
	Decision      storedDecision         `json:"decision"`
	PriceVersion  string                 `json:"price_version"`
	Hold          credit.Micro           `json:"hold"`
	Cost          credit.Micro           `json:"cost"`
	Estimated     bool                   `json:"estimated"`
	// PaidBy is legacy_tokens where the legacy counter pays; the cost is 0 then.
	PaidBy string `json:"paid_by,omitempty"`
	// Status is the vendor's HTTP status, 0 if it gave none.
	Status    int       `json:"status"`
	Reason    string    `json:"reason"`
	CreatedAt time.Time `json:"created_at"`
}

func getRequest(c *call) (any, error) {
	r, err := c.Ledger.Request(c, c.org.ID, c.params["id"])
	if err != nil {
		return nil, err
	}
	out := requestJSON{ID: r.ID, State: r.State, Cost: r.Cost, Usage: usageOut(r.Usage), AgentID: r.Agent, Attempts: []attemptJSON{}, Replays: true}
	for _, a := range r.Attempts {
		decision := decisionOf(a)
		out.Replays = out.Replays && decision.Replay == replayEqual
		out.Attempts = append(out.Attempts, attemptJSON{N: a.N, State: a.State, Provider: a.Provider, Model: a.Model, ConnectionID: a.Connection,
			BillingSource: a.Source, PayerID: payerOf(a, r.Org), Rule: a.Rule, DecisionHash: a.DecisionHash, Decision: decision, PriceVersion: a.PriceVersion, Hold: a.Hold, Cost: a.Cost(), PaidBy: paidBy(a.Stamp),
			Estimated: a.Estimated, Status: a.Status, Reason: a.Reason, CreatedAt: a.Created.UTC()})
	}
	return out, nil
}

// paidBy names what pays instead of credits, if anything does.
func paidBy(s credit.Stamp) string {
	if s.Legacy() {
		return "legacy_tokens"
	}
	return ""
}

// payerOf is whose credits pay for an attempt; empty for own keys and the legacy
// counter.
func payerOf(a credit.Attempt, orgID string) string {
	switch {
	case a.Agency != "":
		return a.Agency
	case a.Source == taxonomy.Platform && !a.Stamp.Legacy():
		return orgID
	}
	return ""
}

// Prices keeps the price books; the store of package dynamo implements it.
type Prices = billing.BookStore

type bookJSON struct {
	Version       string    `json:"version"`
	EffectiveFrom time.Time `json:"effective_from"`
	RowCount      int       `json:"row_count"`
	Active        bool      `json:"active"`
	// ScheduledFor is when the version will begin to apply, ReplacedAt when a
	// version that is scheduled takes over from the active one.
	ScheduledFor *time.Time `json:"scheduled_for"`
	ReplacedAt   *time.Time `json:"replaced_at"`
}

// listingOut describes a version as it stands at now.
func listingOut(version string, from time.Time, rows int, index billing.Index, now time.Time) bookJSON {
	b := bookJSON{Version: version, EffectiveFrom: from.UTC(), RowCount: rows, Active: index.At(now) == version}
	next, scheduled := index.Scheduled(now)
	at := next.From.UTC()
	switch {
	case scheduled && b.Active:
		b.ReplacedAt = &at
	case !b.Active:
		for _, a := range index.Activations {
			if a.Version == version && a.From.After(now) && index.At(a.From) == version {
				begins := a.From.UTC()
				b.ScheduledFor = &begins
			}
		}
	}
	return b
}

func listPrices(c *call) (any, error) {
	p, err := c.page()
	if err != nil {
		return nil, err
	}
	index, err := c.Prices.Index(c)
	if err != nil {
		return nil, err
	}
	// Versions begin with their sequence number.
	items, next := slicePage(index.Books, p, func(l billing.Listing) string { return l.Version })
	return answer(items, next, func(l billing.Listing) bookJSON {
		return listingOut(l.Version, l.EffectiveFrom, l.Rows, index, c.req.Now)
	}), nil
}

type priceRow struct {
	Provider   string        `json:"provider" api:"required"`
	Model      string        `json:"model" api:"required"`
	Meter      billing.Meter `json:"meter" api:"required"`
	RatePico   int64         `json:"rate_pico" api:"required"`
	TierFrom   int64         `json:"tier_from"`
	MinUnits   int64         `json:"min_units"`
	Source     string        `json:"source" api:"required"`
	SourceDate string        `json:"source_date" api:"required"`
}

type bookDetail struct {
	bookJSON
	Rows []priceRow `json:"rows"`
}

func getPrices(c *call) (any, error) {
	index, err := c.Prices.Index(c)
	if err != nil {
		return nil, err
	}
	b, err := c.Prices.Book(c, c.params["version"])
	if err != nil {
		return nil, err
	}
	out := bookDetail{bookOut(b, index, c.req.Now), []priceRow{}}
	for _, r := range b.Rows {
		out.Rows = append(out.Rows, priceRow{r.Provider, r.Model, r.Meter, r.RatePico, r.TierFrom, r.MinUnits, r.Source, r.SourceDate})
	}
	return out, nil
}

func bookOut(b *billing.Book, index billing.Index, now time.Time) bookJSON {
	return listingOut(b.Version, b.EffectiveFrom, len(b.Rows), index, now)
}

type importPrices struct {
	EffectiveFrom *time.Time `json:"effective_from"`
	Rows          []priceRow `json:"rows" api:"required"`
	Activate      bool       `json:"activate"`
}

func createPrices(c *call, b importPrices) (any, error) {
	rows := make([]billing.Row, len(b.Rows))
	for i, r := range b.Rows {
		p, ok := taxonomy.ParseProvider(r.Provider)
		if r.Provider == credit.ActionProvider {
			// The platform's own actions have their prices in the same book.
			p, ok = credit.ActionProvider, r.Meter == billing.Request
		}
		if !ok {
			return nil, malformed("rows.provider", "this is not a provider id; the platform's own actions are priced per request")
		}
		rows[i] = billing.Row{Provider: string(p), Model: r.Model, Meter: r.Meter, RatePico: r.RatePico, TierFrom: r.TierFrom,
			MinUnits: r.MinUnits, Source: r.Source, SourceDate: r.SourceDate}
	}
	var from time.Time
	if b.EffectiveFrom != nil {
		from = *b.EffectiveFrom
	}
	state := "stored"
	if b.Activate {
		state = "active"
	}
	book, err := c.Prices.Import(c, rows, from, c.req.Now, b.Activate, func(version string) audit.Row {
		return c.op.Row(org.Operator, "prices.import", version, "version", version, "state", state)
	})
	if err != nil {
		return nil, err
	}
	index, err := c.Prices.Index(c)
	return bookOut(book, index, c.req.Now), err
}

func activatePrices(c *call) (any, error) {
	version := c.params["version"]
	if err := c.Prices.Activate(c, version, c.req.Now, c.op.Row(org.Operator, "prices.activate", version, "version", version)); err != nil {
		return nil, err
	}
	index, err := c.Prices.Index(c)
	if err != nil {
		return nil, err
	}
	book, err := c.Prices.Book(c, version)
	if err != nil {
		return nil, err
	}
	return bookOut(book, index, c.req.Now), nil
}

func noSuch(what string) error {
	return fault.New(fault.NotFound, "admin", "there is no such "+what)
}
