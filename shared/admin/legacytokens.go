package admin

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/legacytokens"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/rollout"
)

func legacyTokenRoutes() []route {
	one := base + "/legacy-tokens"
	return []route{
		get(one, orgBilling, "The legacy token counter, who pays, and which changes of that are possible now", legacyTokensJSON{}, getLegacyTokens),
		change(http.MethodPut, one, orgOperator, "Set what was agreed about the tokens of a month; while the counter pays", legacyTermsBody{}, legacyTokensJSON{}, with(putLegacyTerms)),
		get(one+"/parity", orgBilling, "The counter beside the ledger per day and model, and what stands in the way of a cutover", parityJSON{}, getParity,
			param{"from", "first day, YYYY-MM-DD, default seven days ago"}, param{"to", "last day, default yesterday"}),
		act(one+"/import", orgOperator, "Add usage rows of the older product to the counter, each once", legacyImportBody{}, legacyImportJSON{}, with(importLegacyTokens)),
	}
}

// legacyTokensJSON is a counter; numbers of tokens are of the period, a UTC month.
type legacyTokensJSON struct {
	LedgerMode  org.LedgerMode `json:"ledger_mode"`
	Epoch       int64          `json:"epoch"`
	Since       *time.Time     `json:"since"`        // null: never changed
	ShadowUntil *time.Time     `json:"shadow_until"` // what a shadow showed is too old from then on
	CutoverAt   *time.Time     `json:"cutover_at"`
	// Open are the calls that the counter will pay for.
	Open         int64        `json:"open"`
	Limit        int64        `json:"limit_tokens"` // 0: none
	RatePico     int64        `json:"rate_pico"`
	Rounding     credit.Micro `json:"rounding"`
	Rates        []legacyRate `json:"rates"`
	Period       string       `json:"period"`
	Used         int64        `json:"used_tokens"`
	Left         int64        `json:"left_tokens"`
	Mirror       int64        `json:"mirror_tokens"`    // what it would say had it counted on
	Uncounted    int64        `json:"uncounted_tokens"` // paid with credits, not known to the counter
	OpeningGrant *openingJSON `json:"opening_grant"`
	Next         []legacyStep `json:"next"`
}

type openingJSON struct {
	ID     string       `json:"id"`
	Amount credit.Micro `json:"amount"`
}

// legacyStep is a change: Grant would be posted, Count tokens be counted.
type legacyStep struct {
	To      org.LedgerMode `json:"to"`
	Allowed bool           `json:"allowed"`
	Reasons []string       `json:"reasons"`
	Grant   credit.Micro   `json:"grant"`
	Count   int64          `json:"count_tokens"`
}

type legacyRate struct {
	Model      string `json:"model" api:"required"`
	InputPico  int64  `json:"input_pico" api:"required"`
	OutputPico int64  `json:"output_pico" api:"required"`
}

func legacyTokensOut(v legacytokens.View) legacyTokensJSON {
	out := legacyTokensJSON{LedgerMode: v.Mode, Epoch: v.Epoch, Since: orNever(v.Since), ShadowUntil: orNever(v.ShadowUntil), CutoverAt: orNever(v.Cutover),
		Open: v.Open, Limit: v.Terms.Limit, RatePico: v.Terms.RatePico, Rounding: v.Terms.Rounding, Rates: []legacyRate{},
		Period: v.Period, Used: v.Used[v.Period], Left: v.Left(v.Period), Mirror: v.Mirror, Uncounted: v.Unseeded, Next: []legacyStep{}}
	for _, r := range v.Terms.Rates {
		out.Rates = append(out.Rates, legacyRate{r.Model, r.InputPico, r.OutputPico})
	}
	if v.Opening.ID != "" {
		out.OpeningGrant = &openingJSON{v.Opening.ID, v.Opening.Amount}
	}
	for _, s := range v.Steps {
		step := legacyStep{To: s.To, Allowed: len(s.Reasons) == 0, Reasons: []string{}, Grant: s.Grant, Count: s.Seed}
		step.Reasons = append(step.Reasons, s.Reasons...)
		out.Next = append(out.Next, step)
	}
	return out
}

func getLegacyTokens(c *call) (any, error) {
	v, err := c.LegacyTokens.View(c, c.org.ID, c.req.Now)
	if err != nil {
		return nil, err
	}
	for i, step := range v.Steps {
		switch err := c.mayCutOver(step.To); {
		case fault.CodeOf(err) == fault.Conflict:
			v.Steps[i].Reasons = append(step.Reasons, fault.As(err).Message)
		case err != nil:
			return nil, err
		}
	}
	return legacyTokensOut(v), nil
}

type legacyTermsBody struct {
	Limit    int64        `json:"limit_tokens"`
	RatePico int64        `json:"rate_pico" api:"required"`
	Rounding credit.Micro `json:"rounding" api:"required"`
	Rates    []legacyRate `json:"rates"`
}

func putLegacyTerms(c *call, b legacyTermsBody) (any, error) {
	t := legacytokens.Terms{Limit: b.Limit, RatePico: b.RatePico, Rounding: b.Rounding}
	for _, r := range b.Rates {
		t.Rates = append(t.Rates, legacytokens.Rate{Model: r.Model, InputPico: r.InputPico, OutputPico: r.OutputPico})
	}
	if err := c.LegacyTokens.SetTerms(c, c.op, c.org.ID, t); err != nil {
		return nil, err
	}
	return getLegacyTokens(c)
}

// mayCutOver refuses the beginning of a drain, from which on credits pay, to
// organisations that the stage of the credit ledger is not for. A drain that has begun
// ends, and every way back is open.
func (c *call) mayCutOver(to org.LedgerMode) error {
	if to != org.LedgerDraining || c.org.LedgerMode == to {
		return nil
	}
	return c.Rollout.Admit(c, rollout.CreditLedger, c.org.ID)
}

// setLedgerMode changes who pays.
func (c *call) setLedgerMode(mode org.LedgerMode) error {
	switch mode {
	case org.LedgerLegacy, org.LedgerShadow, org.LedgerDraining, org.LedgerCredit, org.LedgerRolledBack:
	default:
		return malformed("ledger_mode", "ledger_mode is legacy, shadow, draining, credit or rolled_back")
	}
	if err := c.mayCutOver(mode); err != nil {
		return err
	}
	// The same call may set terms, too, which has a row of its own.
	v, err := c.LegacyTokens.Change(c, c.op.Part("ledger_mode"), c.org.ID, mode)
	if err == nil {
		c.org.LedgerMode = v.Mode
	}
	return err
}

type parityJSON struct {
	From    string      `json:"from"`
	To      string      `json:"to"`
	OK      bool        `json:"ok"`
	Reasons []string    `json:"reasons"`
	Rows    []parityRow `json:"rows"`
}

// parityRow: money is in micro-USD, the difference is the counter's less the
// ledger's, and the classes sum to it.
type parityRow struct {
	Day        string                  `json:"day"`
	Model      string                  `json:"model"`
	Legacy     parityFigures           `json:"legacy"`
	Ledger     parityFigures           `json:"ledger"`
	Difference credit.Micro            `json:"difference"`
	Classes    map[string]credit.Micro `json:"classes"`
	Reasons    []string                `json:"reasons"`
}

type parityFigures struct {
	Requests     int64        `json:"requests"`
	InputTokens  int64        `json:"input_tokens"`
	OutputTokens int64        `json:"output_tokens"`
	Money        credit.Micro `json:"money"`
}

func figuresOut(f legacytokens.Figures) parityFigures {
	return parityFigures{f.Requests, f.Input, f.Output, f.Money}
}

func getParity(c *call) (any, error) {
	from, err := c.day("from", c.req.Now.AddDate(0, 0, -legacytokens.GateDays))
	if err != nil {
		return nil, err
	}
	to, err := c.day("to", c.req.Now.AddDate(0, 0, -1))
	if err != nil {
		return nil, err
	}
	r, err := c.LegacyTokens.Parity(c, c.org.ID, from, to)
	if err != nil {
		return nil, err
	}
	out := parityJSON{From: r.From, To: r.To, OK: len(r.Reasons) == 0, Reasons: append([]string{}, r.Reasons...), Rows: []parityRow{}}
	for _, p := range r.Rows {
		row := parityRow{Day: p.Day, Model: p.Model, Legacy: figuresOut(p.Legacy), Ledger: figuresOut(p.Ledger), Difference: p.Difference,
			Classes: map[string]credit.Micro{}, Reasons: append([]string{}, p.Reasons...)}
		for class, amount := range p.Classes {
			row.Classes[string(class)] = amount
		}
		out.Rows = append(out.Rows, row)
	}
	return out, nil
}

// legacyRowBody is a usage row as the older product stored it; times are Unix
// milliseconds.
type legacyRowBody struct {
	ID           string      `json:"id"`
	PeriodStart  int64       `json:"periodStart" api:"required"`
	PeriodEnd    int64       `json:"periodEnd" api:"required"`
	RequestCount int64       `json:"requestCount" api:"required"`
	InputTokens  int64       `json:"inputTokens" api:"required"`
	OutputTokens int64       `json:"outputTokens" api:"required"`
	TotalTokens  int64       `json:"totalTokens" api:"required"`
	CostInCents  json.Number `json:"costInCents" api:"required"`
	RequestType  string      `json:"requestType" api:"required"`
	Provider     string      `json:"provider" api:"required"`
	Model        string      `json:"model" api:"required"`
	Success      bool        `json:"success" api:"required"`
}

type legacyImportBody struct {
	Rows []legacyRowBody `json:"rows" api:"required"`
}

type legacyImportJSON struct {
	// Added rows were not there before.
	Added int `json:"added"`
	Rows  int `json:"rows"`
}

func importLegacyTokens(c *call, b legacyImportBody) (any, error) {
	rows := make([]legacytokens.Row, len(b.Rows))
	for i, r := range b.Rows {
		row, err := legacytokens.RowJSON(r).Parse()
		if err != nil {
			return nil, malformed("rows["+strconv.Itoa(i)+"]."+fault.As(err).Param, fault.As(err).Message)
		}
		rows[i] = row
	}
	added, err := c.LegacyTokens.Import(c, c.op, c.org.ID, rows)
	return legacyImportJSON{Added: added, Rows: len(rows)}, err
}
