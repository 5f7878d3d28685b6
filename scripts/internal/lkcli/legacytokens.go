package lkcli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

const ledgerModes = "legacy, shadow, draining, credit or rolled_back"

func legacyTokenCommands() []command {
	const one = orgPath + "/legacy-tokens"
	return []command{
		{name: "legacy-tokens get", aliases: []string{"legacy-tokens"}, about: "the legacy token counter, who pays, and which changes of that are possible now", method: http.MethodGet, path: one},
		{name: "legacy-tokens set", about: "set what was agreed about the tokens of a month (operator)", method: http.MethodPut, path: one,
			args:     []arg{{name: "file", about: `JSON {"limit_tokens","rate_pico","rounding","rates":[{"model","input_pico","output_pico"}]}; - = standard input`, file: true}},
			examples: []string{"lk legacy-tokens set --org acme terms.json"}},
		{name: "legacy-tokens parity", about: "the counter beside the ledger per day and model; what stands in the way of a cutover is exit code 1", method: http.MethodGet,
			path: one + "/parity", truth: "ok", flags: []option{inQuery("from", "first day, default seven days ago"), inQuery("to", "last day, default yesterday")}},
		{name: "legacy-tokens import", about: "add usage rows of the older product to the counter, each once (operator)", method: http.MethodPost, path: one + "/import",
			args: []arg{{name: "file", about: `JSON rows [{"periodStart","periodEnd","requestCount","inputTokens","outputTokens","totalTokens","costInCents","requestType","provider","model","success","id"?}], at most 500; - = standard input`, file: true}},
			wrap: "rows", examples: []string{"lk legacy-tokens import --org acme rows.json"}},
		{name: "migrate legacy-tokens", about: "take organisations one step on from their legacy token counter to credits; one page a call (operator)", local: migrateLegacyTokens,
			method: http.MethodPut, path: orgPath + "/billing",
			columns:  receiptColumns(),
			examples: []string{"lk migrate legacy-tokens --dry-run", "lk migrate legacy-tokens --apply --org acme --to shadow", "lk migrate legacy-tokens --apply --limit 100 --json"},
			flags: []option{plain(boolean, "dry-run", "only say what would happen"), plain(boolean, "apply", "do it"),
				plain(text, "to", ledgerModes+"; default the next on the way to credit"),
				plain(text, "cursor", "what the page before printed as next"), plain(integer, "limit", "organisations per page, default 25")}},
		{name: "migrate rollback", about: "let the legacy token counter of --org pay again; again, to count what calls in flight used since (operator)", local: rollbackLegacyTokens,
			columns: receiptColumns(), examples: []string{"lk migrate rollback --org acme"}},
	}
}

func receiptColumns() []string {
	return []string{"org_id", "from", "to", "done", "epoch", "grant", "count_tokens", "open", "reasons"}
}

// receipt is what became of one organisation, or would.
type receipt struct {
	OrgID   string   `json:"org_id"`
	From    string   `json:"from"`
	To      string   `json:"to"`
	Allowed bool     `json:"allowed"`
	Done    bool     `json:"done"`
	Epoch   int64    `json:"epoch"`
	Grant   int64    `json:"grant"`
	Count   int64    `json:"count_tokens"`
	Open    int64    `json:"open"`
	Reasons []string `json:"reasons"`
}

// legacyCounter is what the commands need of a counter.
type legacyCounter struct {
	Mode  string `json:"ledger_mode"`
	Epoch int64
	Open  int64
	Next  []struct {
		To      string
		Allowed bool
		Reasons []string
		Grant   int64
		Count   int64 `json:"count_tokens"`
	}
}

// onwards is the next mode on the way to credit, empty if there is none.
func onwards(mode string) string {
	switch mode {
	case "legacy", "rolled_back":
		return "shadow"
	case "shadow":
		return "draining"
	case "draining":
		return "credit"
	}
	return ""
}

// migrateLegacyTokens is lk migrate legacy-tokens.
func migrateLegacyTokens(ctx context.Context, in *invocation) error {
	apply := in.text("apply") == "true"
	if dry := in.text("dry-run") == "true"; apply == dry {
		return wrongCall("say --dry-run or --apply")
	}
	to := in.text("to")
	if to != "" && !strings.Contains(" "+strings.NewReplacer(",", "", " or ", " ").Replace(ledgerModes)+" ", " "+to+" ") {
		return wrongCall("--to is %s", ledgerModes)
	}
	c, err := in.connect()
	if err != nil {
		return err
	}
	orgs, next, err := in.migrating(ctx, c)
	if err != nil {
		return err
	}
	var out []receipt
	unread := false
	for _, id := range orgs {
		r, there, err := legacyStep(ctx, c, id, to, apply)
		if f := new(failure); in.org == "" && errors.As(err, &f) && f.ofOne() {
			// One organisation must not stand before those behind it.
			r.OrgID, r.Allowed, r.Reasons = id, false, []string{f.line()}
			there, unread, err = true, true, nil
		}
		if err != nil {
			// The page is read again by the cursor that led to it.
			return errors.Join(in.showReceipts(out, in.text("cursor")), err)
		}
		// One that never had a counter is not on the way, unless it was named.
		if there || in.org != "" {
			out = append(out, r)
		}
	}
	err = in.finishReceipts(out, next, apply)
	if err == nil && unread {
		f := failed("not_read", "an organisation could not be read; the reasons are listed")
		f.answered = true
		err = f
	}
	return err
}

// ofOne reports whether a call failed for what it was about; otherwise the next
// would fail, too.
func (f *failure) ofOne() bool {
	return f.Status != 0 && f.Status != http.StatusUnauthorized && f.Status != http.StatusForbidden && f.Status != http.StatusTooManyRequests
}

func (in *invocation) finishReceipts(out []receipt, next string, apply bool) error {
	if err := in.showReceipts(out, next); err != nil {
		return err
	}
	for _, r := range out {
		if apply && !r.Done {
			f := failed("not_migrated", "an organisation was not migrated; the reasons are listed")
			f.answered = true
			return f
		}
	}
	return nil
}

// migrating lists the organisations of a page and the cursor of the next.
func (in *invocation) migrating(ctx context.Context, c *client) (ids []string, next string, err error) {
	if in.org != "" {
		return []string{in.org}, "", nil
	}
	limit := "25"
	if in.has("limit") {
		n, err := strconv.Atoi(in.text("limit"))
		if err != nil || n < 1 || n > maxPage {
			return nil, "", wrongCall("--limit is a whole number from 1 to %d", maxPage)
		}
		limit = strconv.Itoa(n)
	}
	q := url.Values{"limit": {limit}}
	if in.has("cursor") {
		q.Set("cursor", in.text("cursor"))
	}
	raw, err := c.do(ctx, operation{method: http.MethodGet, path: "/api/orgs", query: q})
	if err != nil {
		return nil, "", err
	}
	var page struct {
		Items []struct{ ID string }
		Next  *string `json:"next_cursor"`
	}
	if json.Unmarshal(raw, &page) != nil {
		return nil, "", unreadable()
	}
	for _, o := range page.Items {
		ids = append(ids, o.ID)
	}
	if page.Next != nil {
		next = *page.Next
	}
	return ids, next, nil
}

// legacyStep shows or makes the step of one organisation. there says that it has, or
// had, a counter.
func legacyStep(ctx context.Context, c *client, id, to string, apply bool) (r receipt, there bool, err error) {
	path := "/api/orgs/" + url.PathEscape(id) + "/legacy-tokens"
	raw, err := c.do(ctx, operation{method: http.MethodGet, path: path})
	if err != nil {
		return r, false, err
	}
	var v legacyCounter
	if json.Unmarshal(raw, &v) != nil || v.Mode == "" {
		return r, false, unreadable()
	}
	r = receipt{OrgID: id, From: v.Mode, To: to, Epoch: v.Epoch, Open: v.Open, Reasons: []string{}}
	if r.To == "" {
		r.To = onwards(v.Mode)
	}
	switch r.To {
	case v.Mode, "": // is there, or nothing follows
		r.To, r.Allowed, r.Done = v.Mode, true, v.Mode != "rolled_back" || !apply
		if r.Done {
			return r, v.Epoch > 0, nil
		}
	}
	for _, s := range v.Next {
		if s.To == r.To {
			r.Allowed, r.Grant, r.Count = s.Allowed, s.Grant, s.Count
			r.Reasons = append(r.Reasons, s.Reasons...)
		}
	}
	if !r.Allowed && len(r.Reasons) == 0 {
		r.Reasons = []string{"from " + v.Mode + " it cannot become " + r.To}
	}
	if !apply || !r.Allowed {
		return r, v.Epoch > 0, nil
	}
	_, err = c.do(ctx, operation{method: http.MethodPut, path: "/api/orgs/" + url.PathEscape(id) + "/billing", body: encode(map[string]any{"ledger_mode": r.To})})
	var refused *failure
	switch {
	case errors.As(err, &refused) && refused.Status == http.StatusConflict:
		r.Allowed, r.Reasons = false, []string{refused.Message}
		return r, true, nil
	case err != nil:
		return r, true, err
	}
	r.Done = true
	if raw, err = c.do(ctx, operation{method: http.MethodGet, path: path}); err != nil {
		return r, true, err
	}
	if json.Unmarshal(raw, &v) != nil {
		return r, true, unreadable()
	}
	r.Epoch, r.Open = v.Epoch, v.Open
	return r, true, nil
}

// rollbackLegacyTokens is lk migrate rollback.
func rollbackLegacyTokens(ctx context.Context, in *invocation) error {
	if in.org == "" {
		return wrongCall("say which organisation: --org ORG")
	}
	c, err := in.connect()
	if err != nil {
		return err
	}
	r, _, err := legacyStep(ctx, c, in.org, "rolled_back", true)
	if err != nil {
		return err
	}
	return in.finishReceipts([]receipt{r}, "", true)
}

func (in *invocation) showReceipts(list []receipt, next string) error {
	if list == nil {
		list = []receipt{}
	}
	if in.json {
		in.out.Write(encode(map[string]any{"items": list, "next": next}))
		return nil
	}
	items := make([]json.RawMessage, len(list))
	for i, r := range list {
		items[i] = encode(r)
	}
	if err := in.renderList(items); err != nil {
		return err
	}
	if next != "" {
		_, _ = fmt.Fprintln(in.Stderr, "lk: next "+clean(next)+": go on with --cursor")
	}
	return nil
}
