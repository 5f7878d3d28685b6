package lkcli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/pricefeed"
)

const pricesPath = "/api/operator/prices"

// maxRowsBody is what the API takes in one body.
const maxRowsBody = 1 << 20

func feedFlags() []option {
	return []option{plain(boolean, "curated", "the list that comes with Latchkey, instead of a file"), plain(words, "provider", "only these"),
		plain(words, "model", "only these, as the vendor names them"), plain(text, "source-date", "the day the list was read, YYYY-MM-DD, default today")}
}

// priceRow is a row as the API has it.
type priceRow struct {
	Provider   string        `json:"provider"`
	Model      string        `json:"model"`
	Meter      billing.Meter `json:"meter"`
	RatePico   int64         `json:"rate_pico"`
	TierFrom   int64         `json:"tier_from"`
	MinUnits   int64         `json:"min_units"`
	Source     string        `json:"source"`
	SourceDate string        `json:"source_date"`
}

func (r priceRow) row() billing.Row {
	return billing.Row{Provider: r.Provider, Model: r.Model, Meter: r.Meter, RatePico: r.RatePico, TierFrom: r.TierFrom,
		MinUnits: r.MinUnits, Source: r.Source, SourceDate: r.SourceDate}
}

func priceRows(rows []billing.Row) []priceRow {
	out := make([]priceRow, len(rows))
	for i, r := range rows {
		out[i] = priceRow{r.Provider, r.Model, r.Meter, r.RatePico, r.TierFrom, r.MinUnits, r.Source, r.SourceDate}
	}
	return out
}

// priceBook is a version as the API has it.
type priceBook struct {
	Version       string     `json:"version"`
	EffectiveFrom time.Time  `json:"effective_from"`
	Active        bool       `json:"active"`
	ScheduledFor  *time.Time `json:"scheduled_for"`
	ReplacedAt    *time.Time `json:"replaced_at"`
	Rows          []priceRow `json:"rows"`
}

// priceBook reads a version, the active one for "". Without any the answer has no
// rows.
func (c *client) priceBook(ctx context.Context, version string) (priceBook, error) {
	var b priceBook
	if version == "" {
		items, _, err := c.collect(ctx, operation{method: http.MethodGet, path: pricesPath, query: url.Values{}}, true, 0)
		if err != nil {
			return b, err
		}
		for _, item := range items {
			var one priceBook
			if json.Unmarshal(item, &one) != nil {
				return b, unreadable()
			}
			if one.Active {
				version = one.Version
			}
		}
		if version == "" {
			return b, nil
		}
	}
	raw, err := c.do(ctx, operation{method: http.MethodGet, path: pricesPath + "/" + url.PathEscape(version)})
	if err != nil {
		return b, err
	}
	if json.Unmarshal(raw, &b) != nil {
		return b, unreadable()
	}
	return b, nil
}

// showPrices is lk prices show.
func showPrices(ctx context.Context, in *invocation) error {
	c, err := in.connect()
	if err != nil {
		return err
	}
	b, err := c.priceBook(ctx, in.args["version"])
	if err != nil {
		return err
	}
	b.Rows = slices.DeleteFunc(b.Rows, func(r priceRow) bool { return !in.wanted(r.Provider, r.Model) })
	if in.json {
		if b.Rows == nil {
			b.Rows = []priceRow{}
		}
		in.out.Write(encode(b))
		return nil
	}
	if b.Version == "" {
		in.out.WriteString("no price book is active; lk prices import --curated --activate makes one\n")
		return nil
	}
	fmt.Fprintf(&in.out, "version %s, effective from %s, active %v\n", clean(b.Version), b.EffectiveFrom.Format(time.RFC3339), b.Active)
	w := aligned(&in.out)
	row(w, []string{"PROVIDER", "MODEL", "METER", "USD", "ABOVE TOKENS", "AT LEAST", "READ ON", "SOURCE"})
	for _, r := range b.Rows {
		row(w, []string{clean(r.Provider), clean(r.Model), clean(string(r.Meter)), usd(r.Meter, r.RatePico), above(r.TierFrom), orDash(r.MinUnits),
			clean(r.SourceDate), clean(r.Source)})
	}
	return w.Flush()
}

// wanted applies --provider and --model.
func (in *invocation) wanted(provider, model string) bool {
	for flag, v := range map[string]string{"provider": provider, "model": model} {
		if given := in.flags[flag]; given != nil && !slices.Contains(splitWords(given.given), v) {
			return false
		}
	}
	return true
}

// usd writes a rate as vendors do: per million tokens or characters, per hour of
// audio, per piece of anything else. The digits are exact.
func usd(m billing.Meter, pico int64) string {
	switch m {
	case billing.AudioSecondIn, billing.AudioSecondOut:
		if pico <= maxPerHour {
			return decimal(pico*3600, 12) + " / h"
		}
		return decimal(pico, 12) + " / s"
	case billing.Image, billing.Request, billing.SearchQuery:
		return decimal(pico, 12)
	}
	return decimal(pico, 6) + " / M"
}

// maxPerHour keeps an hour's price within 64 bits.
const maxPerHour = 1 << 50

// decimal writes n / 10^places.
func decimal(n int64, places int) string {
	s := fmt.Sprintf("%0*d", places+1, n)
	whole, fraction := s[:len(s)-places], strings.TrimRight(s[len(s)-places:], "0")
	if fraction == "" {
		return whole
	}
	return whole + "." + fraction
}

func above(tier int64) string {
	if tier == 0 {
		return "-"
	}
	return strconv.FormatInt(tier-1, 10)
}

func orDash(n int64) string {
	if n == 0 {
		return "-"
	}
	return strconv.FormatInt(n, 10)
}

// priceList is what a list was found to hold.
type priceList struct {
	name     string
	rows     []billing.Row
	rejected []pricefeed.Rejection
	skipped  []pricefeed.Skip
}

// priceList reads the list that is named, the curated one where byDefault says
// so, and keeps what the flags ask for.
func (in *invocation) priceList(ctx context.Context, byDefault bool) (priceList, error) {
	name, curated := in.args["list"], in.text("curated") == "true"
	if name == "" && !curated && !byDefault {
		return priceList{}, wrongCall("say which list: a file, an https:// address or --curated")
	}
	if name != "" && curated {
		return priceList{}, wrongCall("give a list or --curated, not both")
	}
	var l priceList
	var err error
	if name == "" {
		l.name = "the curated list"
		l.rows, err = pricefeed.Curated()
	} else {
		l, err = in.readPriceList(ctx, name)
	}
	l.rows = slices.DeleteFunc(l.rows, func(r billing.Row) bool { return !in.wanted(r.Provider, r.Model) })
	l.rejected = slices.DeleteFunc(l.rejected, func(r pricefeed.Rejection) bool { return !in.wanted(r.Provider, r.Model) })
	return l, err
}

func (in *invocation) readPriceList(ctx context.Context, name string) (priceList, error) {
	date := in.text("source-date")
	if date == "" {
		date = in.Now().UTC().Format(time.DateOnly)
	}
	var raw []byte
	var err error
	l := priceList{name: name}
	switch {
	case strings.HasPrefix(name, "https://"):
		raw, err = in.fetchPriceList(ctx, name)
	case strings.Contains(name, "://"):
		err = wrongCall("a price list is fetched with https only")
	default:
		raw, err = in.file(name, "LIST", pricefeed.MaxFeed)
		l.name = path.Base(name)
	}
	if err != nil {
		return l, err
	}
	if rows, ok, err := ownRows(raw); ok || err != nil {
		l.rows = rows
		return l, err
	}
	feed, err := pricefeed.Parse(raw, pricefeed.Origin{Name: l.name, Date: date})
	if err != nil {
		return l, failed("file", fault.As(err).Message)
	}
	l.rows, l.rejected, l.skipped = feed.Rows, feed.Rejected, feed.Skipped
	return l, nil
}

// ownRows reads rows in the API's own form; ok is false for another form.
func ownRows(raw []byte) (rows []billing.Row, ok bool, err error) {
	var body struct{ Rows []priceRow }
	if json.Unmarshal(raw, &body.Rows) != nil && (json.Unmarshal(raw, &body) != nil || body.Rows == nil) {
		return nil, false, nil
	}
	for _, r := range body.Rows {
		if err := r.row().Check(); err != nil {
			return nil, true, failed("file", clean(r.Provider+"/"+r.Model+" "+string(r.Meter))+": "+fault.As(err).Message)
		}
		rows = append(rows, r.row())
	}
	return rows, true, nil
}

// fetchPriceList reads a public list. It is sent no key, and no address but https
// ones.
func (in *invocation) fetchPriceList(ctx context.Context, address string) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil {
		return nil, wrongCall("the address must be like https://host/path, without a user")
	}
	cannot := func(why string) error { return failed("unreachable", "the price list cannot be fetched: "+why) }
	h := &http.Client{Transport: in.Transport, Timeout: patience, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if r.URL.Scheme != "https" || len(via) > 3 {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, cannot("the address is not usable")
	}
	req.Header.Set("User-Agent", "latchkey-lk")
	resp, err := h.Do(req)
	if err != nil {
		return nil, cannot("no answer from " + u.Host)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, cannot("status " + strconv.Itoa(resp.StatusCode))
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, pricefeed.MaxFeed+1))
	if err != nil {
		return nil, cannot("the answer was cut short")
	}
	return raw, nil
}
