package legacytokens

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
)

// Row is a usage row of the older product. Its cost was stored as a floating-point
// number of cents.
type Row struct {
	// ID names the row there; without one its period, type, model and success do.
	ID              string
	Start, End      time.Time
	Requests        int64
	Input, Output   int64
	Money           credit.Micro
	Type            string
	Provider, Model string
	Success         bool
	mark, figures   string
}

// RowJSON is the stored form; times are Unix milliseconds.
type RowJSON struct {
	ID           string
	PeriodStart  int64
	PeriodEnd    int64
	RequestCount int64
	InputTokens  int64
	OutputTokens int64
	TotalTokens  int64
	CostInCents  json.Number
	RequestType  string
	Provider     string
	Model        string
	Success      bool
}

// MaxRows bounds one import.
const MaxRows = 500

func requestTypes() []string {
	return []string{"chat", "embedding", "completion", "tool_call", "voice_stt", "voice_tts", "voice_session"}
}

// Parse reads a stored row. Errors: invalid_request that names the field.
func (j RowJSON) Parse() (Row, error) {
	r := Row{ID: j.ID, Start: time.UnixMilli(j.PeriodStart).UTC(), End: time.UnixMilli(j.PeriodEnd).UTC(), Requests: j.RequestCount,
		Input: j.InputTokens, Output: j.OutputTokens, Type: j.RequestType, Provider: j.Provider, Model: j.Model, Success: j.Success}
	known := false
	for _, t := range requestTypes() {
		known = known || t == j.RequestType
	}
	switch {
	case j.PeriodStart <= 0 || j.PeriodEnd < j.PeriodStart || j.PeriodEnd > 9_999_999_999_999:
		return r, invalid("periodStart", "a period begins and ends at Unix milliseconds, in this order")
	case j.PeriodEnd > j.PeriodStart && credit.CountPeriod(r.Start) != credit.CountPeriod(r.End.Add(-time.Millisecond)):
		return r, invalid("periodEnd", "a period must lie in one UTC month, because tokens are counted by month")
	case r.Requests < 0 || r.Input < 0 || r.Output < 0 || r.Requests > maxTokens || r.Input > maxTokens || r.Output > maxTokens:
		return r, invalid("inputTokens", "counts must be between 0 and 2^50")
	case j.TotalTokens != r.Input+r.Output:
		return r, invalid("totalTokens", "totalTokens must be inputTokens + outputTokens")
	case !known:
		return r, invalid("requestType", "requestType is one of "+strings.Join(requestTypes(), ", "))
	case r.Model == "" || len(r.Model) > maxModelName || len(r.Provider) > 64 || len(r.ID) > 128:
		return r, invalid("model", "model is missing, or model, provider or id is too long")
	}
	var err error
	if r.Money, err = cents(j.CostInCents.String()); err != nil {
		return r, err
	}
	r.seal()
	return r, nil
}

// seal derives what the row is found again by.
func (r *Row) seal() {
	id := []string{r.ID}
	if r.ID == "" {
		id = []string{"", strconv.FormatInt(r.Start.UnixMilli(), 10), strconv.FormatInt(r.End.UnixMilli(), 10), r.Type, r.Provider, r.Model, strconv.FormatBool(r.Success)}
	}
	r.mark = digest(id...)
	r.figures = digest(strconv.FormatInt(r.Start.UnixMilli(), 10), r.Day().Model, strconv.FormatInt(r.Requests, 10),
		strconv.FormatInt(r.Input, 10), strconv.FormatInt(r.Output, 10), strconv.FormatInt(int64(r.Money), 10))
}

// Key names the row in its organisation, Fingerprint its figures.
func (r Row) Key() string { return r.mark }

// Fingerprint is a hash of the row's figures.
func (r Row) Fingerprint() string { return r.figures }

// Day is what the row adds, to the day its period begins on.
func (r Row) Day() Day {
	model := r.Model
	if !strings.Contains(model, "/") && r.Provider != "" {
		model = r.Provider + "/" + model
	}
	return Day{Day: r.Start.Format(dayLayout), Model: model, Requests: r.Requests, Input: r.Input, Output: r.Output, Money: r.Money}
}

func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		_, _ = h.Write([]byte(strconv.Itoa(len(p)) + ":" + p))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}

// maxDecimal bounds the digits of a cost: a float64 needs at most 17 and an exponent.
const maxDecimal = 40

// cents reads a decimal number of cents as micro-USD, to the nearest: the digits that
// a float was printed with carry its error, which is far below half a micro-USD.
func cents(text string) (credit.Micro, error) {
	bad := invalid("costInCents", "costInCents must be a number from 0 to 100,000,000,000")
	mantissa, exponent, hasExponent := strings.Cut(strings.ToLower(text), "e")
	if text == "" || len(text) > maxDecimal || hasExponent && len(strings.TrimLeft(exponent, "+-0")) > 2 ||
		strings.Trim(mantissa, "0123456789.") != "" || !strings.ContainsAny(mantissa, "0123456789") {
		return 0, bad
	}
	v, ok := new(big.Rat).SetString(text)
	if !ok || v.Sign() < 0 {
		return 0, bad
	}
	// One cent is 10,000 micro-USD; adding a half rounds to the nearest.
	v.Mul(v, big.NewRat(10_000, 1)).Add(v, big.NewRat(1, 2))
	n := new(big.Int).Quo(v.Num(), v.Denom())
	if n.Cmp(big.NewInt(int64(billing.MaxAmount))) > 0 {
		return 0, bad
	}
	return credit.Micro(n.Int64()), nil
}

// checkRows refuses an import that names a row twice.
func checkRows(rows []Row) error {
	if len(rows) == 0 || len(rows) > MaxRows {
		return invalid("rows", "an import has 1 to 500 rows")
	}
	seen := make(map[string]bool, len(rows))
	for i, r := range rows {
		if seen[r.mark] {
			return invalid(fmt.Sprintf("rows[%d]", i), "this row is there twice; give rows of the same period and model ids of their own, or add them up")
		}
		seen[r.mark] = true
	}
	return nil
}
