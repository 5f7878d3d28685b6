package credit

import (
	"cmp"
	"context"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Attempt is one attempt of a request with its decision record.
type Attempt struct {
	N                           int
	State                       State
	Provider, Model, Connection string
	Agent                       string
	Source                      taxonomy.BillingSource
	Rule, DecisionHash          string
	Decision                    []byte // canonical inputs
	PriceVersion                string
	Hold, Amount                Micro
	// Waived says that the amount, a fee, fell to the free allowance.
	Waived                   bool
	Kind                     OutcomeKind
	Usage                    billing.Usage
	Estimated                bool
	ProviderRequestID        string
	Status                   int
	Reason                   string
	Created, Expires, UsedAt time.Time
	Owner                    string
	Fingerprint              [32]byte
	// Agency pays, if set.
	Agency string
	// Stamp says who pays.
	Stamp Stamp
}

// Cost is what credits paid for the attempt: nothing where the legacy counter did.
func (a Attempt) Cost() Micro {
	if a.Stamp.Legacy() {
		return 0
	}
	return a.Amount
}

// RequestView is a request with its attempts. Cost and Usage are the sums over
// the attempts that reported usage; State is that of the latest attempt.
type RequestView struct {
	Org, ID  string
	State    State
	Cost     Micro
	Usage    billing.Usage
	Agent    string
	Attempts []Attempt
}

// Request reads a request. Errors: not_found, ledger_unavailable.
func (l *Ledger) Request(ctx context.Context, org, id string) (RequestView, error) {
	if !table.ValidID(org) || !table.ValidID(id) {
		return RequestView{}, fault.New(fault.NotFound, "credit.Request", "there is no such request")
	}
	attempts, err := l.store.Request(ctx, org, id)
	if err != nil {
		return RequestView{}, err
	}
	v := RequestView{Org: org, ID: id, Attempts: attempts, Usage: billing.Usage{Source: billing.NoUsage}}
	for _, a := range attempts {
		v.State, v.Agent = a.State, a.Agent
		if a.Kind == Completed || a.Kind == Partial {
			if !a.Waived {
				v.Cost += a.Cost()
			}
			v.Usage = v.Usage.Plus(a.Usage)
		}
	}
	return v, nil
}

// FreeUsed is how many requests of the month of t (UTC) an organisation's free
// allowance took; it stops at the allowance. Errors: ledger_unavailable.
func (l *Ledger) FreeUsed(ctx context.Context, org string, t time.Time) (int64, error) {
	return l.store.FreeUsed(ctx, org, t)
}

// Holds lists the open attempts of an organisation in order of expiry. A hold
// that was just made or ended may be missing or still there. What settlement
// cannot process is among them, and says why.
func (l *Ledger) Holds(ctx context.Context, org string) ([]Open, error) {
	holds, err := l.store.Holds(ctx, org)
	if err != nil || len(holds) == 0 {
		return nil, err
	}
	poisoned, err := l.store.Poisoned(ctx)
	if err != nil {
		return nil, err
	}
	why := make(map[table.Key]string, len(poisoned))
	for _, p := range poisoned {
		why[table.Key{PK: p.PK, SK: p.SK}] = p.Reason
	}
	for i, h := range holds {
		holds[i].Poison = why[table.Request(h.Org, h.Request, h.Attempt)]
		if h.Unreadable {
			holds[i].Poison = Unreadable
		}
	}
	slices.SortFunc(holds, func(a, b Open) int {
		if c := a.Expires.Compare(b.Expires); c != 0 {
			return c
		}
		if c := strings.Compare(a.Request, b.Request); c != 0 {
			return c
		}
		return cmp.Compare(a.Attempt, b.Attempt)
	})
	return holds, nil
}

// MaxPage bounds one page of entries.
const MaxPage = 200

// Entries returns one page of entries, newest first, and the cursor of the next
// page, "" at the end. Entries are ordered by time, then request, attempt and
// kind; an entry that settles after its page was read is seen by a new listing.
// Errors: invalid_request for a cursor that is not ours, ledger_unavailable.
func (l *Ledger) Entries(ctx context.Context, org, cursor string, limit int, now time.Time) ([]Entry, string, error) {
	if limit <= 0 || limit > MaxPage {
		limit = MaxPage
	}
	months, err := l.months(ctx, org, now)
	if err != nil {
		return nil, "", err
	}
	before := ""
	if cursor != "" {
		at, sk, err := parseCursor(cursor)
		if err != nil {
			return nil, "", err
		}
		before = sk
		months = slices.DeleteFunc(months, func(m time.Time) bool { return m.After(at) })
	}
	var out []Entry
	// One more than asked for tells whether a next page exists.
	for i := len(months) - 1; i >= 0 && len(out) <= limit; i-- {
		page, err := l.store.Month(ctx, org, months[i], before, limit+1-len(out))
		if err != nil {
			return nil, "", err
		}
		out = append(out, page...)
	}
	if len(out) <= limit {
		return out, "", nil
	}
	out = out[:limit]
	return out, base64.RawURLEncoding.EncodeToString([]byte(out[limit-1].SortKey())), nil
}

// SortKey orders entries by time.
func (e Entry) SortKey() string { return e.Place().SK }

// Place is where the entry is stored.
func (e Entry) Place() table.Key {
	kind := string(e.Kind)
	if e.Client != "" {
		// Clients may have chosen the same name for a request.
		kind += "-" + e.Client
	}
	return table.Entry(e.Org, e.Request, e.Attempt, kind, e.At)
}

func parseCursor(cursor string) (time.Time, string, error) {
	refused := invalid("credit.Entries", "cursor", "the cursor is not valid, start again without one")
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(raw) > 256 {
		return time.Time{}, "", refused
	}
	parts := strings.Split(string(raw), "#")
	if len(parts) != 5 || parts[0] != "E" || len(parts[1]) != 13 || !table.ValidID(parts[2]) {
		return time.Time{}, "", refused
	}
	ms, err := strconv.ParseUint(parts[1], 10, 63)
	if err != nil {
		return time.Time{}, "", refused
	}
	return time.UnixMilli(int64(ms)).UTC(), string(raw), nil
}

// clockSkew is how far clocks of two functions may differ.
const clockSkew = time.Hour

// maxMonths bounds the months that are looked at: forty years.
const maxMonths = 480

// months lists the months in which the organisation can have entries, oldest
// first.
func (l *Ledger) months(ctx context.Context, org string, now time.Time) ([]time.Time, error) {
	acc, err := l.store.Account(ctx, org)
	if fault.CodeOf(err) == fault.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return monthsOf(acc, now), nil
}

func monthsOf(acc Account, now time.Time) (out []time.Time) {
	last := now.Add(clockSkew)
	// What was written by a clock that lags may stand in the month that was opened.
	if acc.Closed.After(last) {
		last = acc.Closed
	}
	for m := month(acc.Opened.Add(-clockSkew)); !m.After(last) && len(out) < maxMonths; m = m.AddDate(0, 1, 0) {
		out = append(out, m)
	}
	return out
}

func month(t time.Time) time.Time {
	t = t.UTC()
	return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
}

// UsageRow is the usage of one organisation, day, model, agent and source.
type UsageRow struct {
	Org, Day        string // day is YYYY-MM-DD, UTC
	Provider, Model string
	Agent           string
	Source          taxonomy.BillingSource
	// Legacy rows are of what the legacy counter paid for; Shadow is what credits
	// would have.
	Legacy   bool
	Requests int64
	Usage    billing.Usage
	Cost     Micro
	Shadow   Micro
	// Client is set in the rows of what an agency paid for a client; Paid is what
	// the agency paid, in the client's rows.
	Client string
	Paid   Micro
}

// RowOf is the row that an entry of a request adds to. A fee adds to the cost of its
// request, which its usage entry counts.
func RowOf(e Entry) UsageRow {
	r := UsageRow{Org: e.Org, Day: e.At.UTC().Format(time.DateOnly), Provider: e.Provider, Model: e.Model, Agent: e.Agent,
		Source: e.Source, Legacy: e.Stamp.Legacy(), Requests: 1, Usage: e.Usage, Cost: -e.Amount, Shadow: e.Shadow(), Client: e.Client, Paid: e.Paid}
	if e.Kind == FeeEntry {
		r.Requests = 0
	}
	return r
}

// Key is the row's key in the usage table.
func (r UsageRow) Key() table.Key {
	agent, source := r.Agent, string(r.Source)
	if r.Client != "" {
		agent = "client:" + r.Client // no agent has such an id
	}
	if r.Legacy {
		source += legacyRow
	}
	return table.UsageRow(r.Org, r.Day, r.Provider+"/"+r.Model, agent, source)
}

// legacyRow sets rows of the legacy counter apart from those that cost credits.
const legacyRow = ":legacy"

// Add adds another row's figures.
func (r *UsageRow) Add(o UsageRow) {
	r.Requests += o.Requests
	r.Cost += o.Cost
	r.Paid += o.Paid
	r.Shadow += o.Shadow
	r.Usage = r.Usage.Plus(o.Usage)
}

// maxUsageDays bounds one question.
const maxUsageDays = 400

// Usage returns the usage of the days from..to (YYYY-MM-DD, inclusive), summed
// by groupBy: any of day, provider, model, agent, source, client. Fields that are not
// grouped by are empty. Errors: invalid_request, ledger_unavailable.
func (l *Ledger) Usage(ctx context.Context, org, from, to string, groupBy []string) ([]UsageRow, error) {
	const op = "credit.Usage"
	first, err := time.Parse(time.DateOnly, from)
	if err != nil {
		return nil, invalid(op, "from", "from must be a day, YYYY-MM-DD")
	}
	last, err := time.Parse(time.DateOnly, to)
	if err != nil || last.Before(first) || last.Sub(first) > maxUsageDays*24*time.Hour {
		return nil, invalid(op, "to", "to must be a day, YYYY-MM-DD, not before from and within 400 days of it")
	}
	by := map[string]bool{}
	for _, g := range groupBy {
		switch g {
		case "day", "provider", "model", "agent", "source", "client":
			by[g] = true
		default:
			return nil, invalid(op, "group_by", "group_by may hold day, provider, model, agent, source and client")
		}
	}
	rows, err := l.store.Usage(ctx, org, from, to)
	if err != nil {
		return nil, err
	}
	return group(rows, by), nil
}

func group(rows []UsageRow, by map[string]bool) []UsageRow {
	type key struct{ day, provider, model, agent, source, client string }
	pick := func(name, value string) string {
		if by[name] {
			return value
		}
		return ""
	}
	sums := map[key]*UsageRow{}
	var order []key
	for _, r := range rows {
		k := key{pick("day", r.Day), pick("provider", r.Provider), pick("model", r.Model), pick("agent", r.Agent), pick("source", string(r.Source)), pick("client", r.Client)}
		sum := sums[k]
		if sum == nil {
			sum = &UsageRow{Org: r.Org, Day: k.day, Provider: k.provider, Model: k.model, Agent: k.agent, Client: k.client,
				Source: taxonomy.BillingSource(k.source), Usage: billing.Usage{Source: billing.NoUsage}}
			sums[k] = sum
			order = append(order, k)
		}
		sum.Add(r)
	}
	slices.SortFunc(order, func(a, b key) int {
		return cmp.Or(strings.Compare(a.day, b.day), strings.Compare(a.provider, b.provider), strings.Compare(a.model, b.model),
			strings.Compare(a.agent, b.agent), strings.Compare(a.source, b.source), strings.Compare(a.client, b.client))
	})
	out := make([]UsageRow, len(order))
	for i, k := range order {
		out[i] = *sums[k]
	}
	return out
}
