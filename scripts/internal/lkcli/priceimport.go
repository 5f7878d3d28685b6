package lkcli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/pricefeed"
)

// importPrices is lk prices import: without --apply or --activate it only shows.
func importPrices(ctx context.Context, in *invocation) error {
	activate := in.text("activate") == "true"
	apply := activate || in.text("apply") == "true"
	if in.has("effective-from") && !apply {
		return wrongCall("--effective-from needs --apply or --activate")
	}
	accept := pricefeed.Accept{All: in.text("accept-all-moves") == "true"}
	if given := in.flags["accept"]; given != nil {
		accept.Names = splitWords(given.given)
	}
	r, c, err := in.comparePrices(ctx, false, accept)
	if err != nil {
		return err
	}
	if len(r.diff.Unused) > 0 {
		return failed("accept", "--accept names what is not held: "+strings.Join(r.diff.Unused, ", "))
	}
	rows := r.diff.Rows()
	if apply && len(rows) > 0 {
		if r.stored, err = c.storePrices(ctx, rows, activate, in.text("effective-from")); err != nil {
			return err
		}
	}
	return in.showComparison(r, apply)
}

// diffPrices is lk prices diff.
func diffPrices(ctx context.Context, in *invocation) error {
	r, _, err := in.comparePrices(ctx, true, pricefeed.Accept{})
	if err != nil {
		return err
	}
	return in.showComparison(r, false)
}

// comparison is a price list beside the active book.
type comparison struct {
	list   priceList
	active priceBook
	diff   pricefeed.Diff
	stored *priceBook
}

func (in *invocation) comparePrices(ctx context.Context, curated bool, accept pricefeed.Accept) (*comparison, *client, error) {
	list, err := in.priceList(ctx, curated)
	if err != nil {
		return nil, nil, err
	}
	c, err := in.connect()
	if err != nil {
		return nil, nil, err
	}
	active, err := c.priceBook(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	book := make([]billing.Row, len(active.Rows))
	for i, r := range active.Rows {
		book[i] = r.row()
	}
	return &comparison{list: list, active: active, diff: pricefeed.Compare(book, list.rows, accept)}, c, nil
}

// storePrices imports rows as a new version.
func (c *client) storePrices(ctx context.Context, rows []billing.Row, activate bool, from string) (*priceBook, error) {
	body := map[string]any{"rows": priceRows(rows), "activate": activate}
	if from != "" {
		body["effective_from"] = from
	}
	b := encode(body)
	if len(b) > maxRowsBody {
		return nil, failed("file", fmt.Sprintf("%d changed prices are more than one import takes; choose some with --provider or --model", len(rows)))
	}
	raw, err := c.do(ctx, operation{method: http.MethodPost, path: pricesPath, body: b})
	if err != nil {
		return nil, err
	}
	var stored priceBook
	if json.Unmarshal(raw, &stored) != nil {
		return nil, unreadable()
	}
	return &stored, nil
}

// changeJSON is a difference in the answer with --json.
type changeJSON struct {
	priceRow
	Was      *int64 `json:"was_rate_pico"`
	Held     string `json:"held,omitempty"`
	Accepted bool   `json:"accepted,omitempty"`
}

func (in *invocation) showComparison(r *comparison, apply bool) error {
	added, changed, held := []changeJSON{}, []changeJSON{}, []changeJSON{}
	for i, c := range r.diff.Changes {
		j := changeJSON{priceRow: priceRows([]billing.Row{c.Row})[0], Held: c.Held, Accepted: c.Accepted}
		if c.Had {
			j.Was = &r.diff.Changes[i].Old
		}
		switch {
		case !c.Applies():
			held = append(held, j)
		case c.Had:
			changed = append(changed, j)
		default:
			added = append(added, j)
		}
	}
	if in.json {
		in.out.Write(encode(map[string]any{"list": r.list.name, "active": r.active.Version, "added": added, "changed": changed, "held": held,
			"same": r.diff.Same, "only_in_book": priceRows(r.diff.Gone), "rejected": notNil(r.list.rejected), "skipped": notNil(r.list.skipped),
			"stored": r.stored}))
		return nil
	}
	book := r.active.Version
	if book == "" {
		book = "no book"
	}
	fmt.Fprintf(&in.out, "%s against %s: %d new, %d changed, %d held, %d the same, %d only in the book, %d rejected\n", clean(r.list.name), clean(book),
		len(added), len(changed), len(held), r.diff.Same, len(r.diff.Gone), len(r.list.rejected))
	in.showChanges("held for review; --accept NAME, or --accept-all-moves, lets them through", held)
	in.showChanges("changed", changed)
	in.showChanges("new", added)
	in.showNotTaken(r)
	return in.sayStored(r, apply, len(added)+len(changed))
}

func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// maxShown bounds each part of the answer for people.
const maxShown = 60

func (in *invocation) showChanges(title string, list []changeJSON) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(&in.out, "\n%s\n", title)
	w := aligned(&in.out)
	for i, c := range list {
		if i == maxShown {
			break
		}
		was := "-"
		if c.Was != nil {
			was = usd(c.Meter, *c.Was)
		}
		cells := []string{"  " + clean(c.Provider+"/"+c.Model+"/"+string(c.Meter)), was, "->", usd(c.Meter, c.RatePico)}
		if c.TierFrom > 0 {
			cells = append(cells, "above "+above(c.TierFrom)+" tokens")
		}
		row(w, append(cells, clean(c.Held)))
	}
	_ = w.Flush()
	in.more(len(list))
}

func (in *invocation) more(n int) {
	if n > maxShown {
		fmt.Fprintf(&in.out, "  and %d more; --json lists all\n", n-maxShown)
	}
}

// showNotTaken lists what the list has and the book will not, and the reverse.
func (in *invocation) showNotTaken(r *comparison) {
	if n := len(r.list.rejected); n > 0 {
		in.out.WriteString("\nrejected\n")
		for _, x := range r.list.rejected[:min(n, maxShown)] {
			fmt.Fprintf(&in.out, "  %s: %s\n", clean(x.Provider+"/"+x.Model+" "+x.Meter), clean(x.Reason))
		}
		in.more(n)
	}
	if n := len(r.diff.Gone); n > 0 {
		in.out.WriteString("\nonly in the book; an import removes nothing\n")
		for _, x := range r.diff.Gone[:min(n, maxShown)] {
			fmt.Fprintf(&in.out, "  %s\n", clean(x.Provider+"/"+x.Model+"/"+string(x.Meter)))
		}
		in.more(n)
	}
	for _, s := range r.list.skipped {
		fmt.Fprintf(&in.out, "skipped: %d %s\n", s.Count, clean(s.Reason))
	}
}

// sayStored ends the answer with what happened, and what did not.
func (in *invocation) sayStored(r *comparison, apply bool, changes int) error {
	switch {
	case r.stored != nil:
		fmt.Fprintf(&in.out, "\nstored as %s\n", clean(r.stored.Version))
		switch {
		case r.stored.ScheduledFor != nil:
			fmt.Fprintf(&in.out, "it applies from %s\n", r.stored.ScheduledFor.Format(time.RFC3339))
		case !r.stored.Active:
			fmt.Fprintf(&in.out, "it does not apply yet: lk prices activate %s\n", clean(r.stored.Version))
		case r.stored.ReplacedAt != nil:
			_, _ = io.WriteString(in.Stderr, "lk: a version that is scheduled for "+r.stored.ReplacedAt.Format(time.RFC3339)+
				" does not have these changes; import them again with --effective-from that time\n")
		}
	case changes == 0:
		in.out.WriteString("\nnothing to import\n")
	case !apply:
		in.out.WriteString("\nnothing was changed; --apply stores it, --activate makes it apply\n")
	}
	return nil
}
