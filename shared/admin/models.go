package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/registry"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Offers tells what vendors list for an organisation's connections; the store of
// connections implements it.
type Offers interface {
	Offers(ctx context.Context, org string) ([]connection.Offers, error)
}

// ModelSupply says which providers can be called.
type ModelSupply struct {
	// Served have an adapter, Platform are those of them that the platform offers
	// with a key of its own.
	Served, Platform []taxonomy.Provider
}

// modelStatus says whether a model was measured.
type modelStatus string

// unverified is every model until there is evidence of conformance.
const unverified modelStatus = "unverified"

type modelJSON struct {
	Model    string            `json:"model"` // provider/model
	Provider taxonomy.Provider `json:"provider"`
	Status   modelStatus       `json:"status"`
	// Enabled says whether platform credits buy the model today.
	Enabled      bool       `json:"enabled"`
	PriceVersion string     `json:"price_version,omitempty"`
	Rates        []rateJSON `json:"rates"`
	// Sizes are 0 if nobody documents them.
	ContextTokens   int64                 `json:"context_tokens"`
	InputTokens     int64                 `json:"input_tokens"`
	MaxOutputTokens int64                 `json:"max_output_tokens"`
	Inputs          []registry.Modality   `json:"inputs"`
	Outputs         []registry.Modality   `json:"outputs"`
	Capabilities    []taxonomy.Capability `json:"capabilities"`
	// Lacks are capabilities that the model is documented not to have; what is in
	// neither list is not known.
	Lacks      []taxonomy.Capability `json:"lacks"`
	Reasoning  *bool                 `json:"reasoning"` // null: not known
	Embeddings bool                  `json:"embeddings"`
	Released   string                `json:"released,omitempty"`
	Lifecycle  registry.Status       `json:"lifecycle,omitempty"`
	Tier       registry.Tier         `json:"tier"`
	Source     string                `json:"source,omitempty"`
	SourceDate string                `json:"source_date,omitempty"`
}

type rateJSON struct {
	Meter      billing.Meter `json:"meter"`
	RatePico   int64         `json:"rate_pico"`
	TierFrom   int64         `json:"tier_from,omitempty"`
	MinUnits   int64         `json:"min_units,omitempty"`
	Source     string        `json:"source"`
	SourceDate string        `json:"source_date"`
}

func modelRoutes() []route {
	return []route{
		lists("/api/models", anyReader, "The models that are known or priced, or that a connection has, with what is documented about them and what they cost",
			modelJSON{}, listModels, param{"provider", "only of this provider"},
			param{"connection", "what the vendor listed for this connection when it was last probed with list_models, or the models it is limited to"},
			param{"org_id", "the connection's organisation, for operators and agencies"}),
	}
}

// known is a model of a list, with the sizes that its vendor told a connection.
type known struct {
	provider taxonomy.Provider
	connection.Offered
}

func listModels(c *call) (any, error) {
	p, err := c.page()
	if err != nil {
		return nil, err
	}
	var only taxonomy.Provider
	if word := c.req.Query.Get("provider"); word != "" {
		var ok bool
		if only, ok = taxonomy.ParseProvider(word); !ok {
			return nil, malformed("provider", "this is not a provider id")
		}
	}
	book, err := c.activeBook()
	if err != nil {
		return nil, err
	}
	var all []known
	if id := c.req.Query.Get("connection"); id != "" {
		all, err = c.modelsOf(id)
	} else {
		all = c.knownModels(book)
	}
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(k known) bool {
		return only != "" && k.provider != only || !slices.Contains(c.Models.Served, k.provider)
	})
	slices.SortFunc(all, func(a, b known) int { return strings.Compare(a.name(), b.name()) })
	all = slices.CompactFunc(all, func(a, b known) bool { return a.name() == b.name() })
	// Positions are numbers: a model's id may hold what a cursor may not.
	at := make(map[string]int, len(all))
	for i, k := range all {
		at[k.name()] = i
	}
	items, next := slicePage(all, p, func(k known) string { return fmt.Sprintf("%06d", at[k.name()]) })
	return answer(items, next, func(k known) modelJSON { return c.modelOut(k, book) }), nil
}

func (k known) name() string { return string(k.provider) + "/" + k.Model }

// activeBook is the price book that applies now, an empty one if there is none.
func (c *call) activeBook() (*billing.Book, error) {
	index, err := c.Prices.Index(c)
	if err != nil {
		return nil, err
	}
	version := index.At(c.req.Now)
	if version == "" {
		return billing.NewBook("", c.req.Now, nil)
	}
	return c.Prices.Book(c, version)
}

// knownModels are the curated and the priced models.
func (c *call) knownModels(book *billing.Book) (out []known) {
	for _, r := range registry.Rows("") {
		out = append(out, known{r.Provider, connection.Offered{Model: r.Model}})
	}
	for _, r := range book.Rows {
		out = append(out, known{taxonomy.Provider(r.Provider), connection.Offered{Model: r.Model}})
	}
	return out
}

// modelsOf are the models of a connection. Those it is limited to are all that it
// serves, whatever its vendor lists.
func (c *call) modelsOf(id string) (out []known, err error) {
	if err := c.enterOf(c.req.Query.Get("org_id")); err != nil {
		return nil, err
	}
	if !table.ValidID(id) {
		return nil, malformed("connection", "this is not the id of a connection")
	}
	conn, err := c.Connections.Store.Connection(c, c.org.ID, id)
	if err != nil {
		return nil, err
	}
	lists, err := c.Offers.Offers(c, c.org.ID)
	if err != nil {
		return nil, err
	}
	sizes := map[string]connection.Offered{}
	for _, l := range lists {
		if !l.Of(conn) {
			continue
		}
		for _, m := range l.Models {
			sizes[m.Model] = m
			if len(conn.Models) == 0 {
				out = append(out, known{conn.Provider, m})
			}
		}
	}
	for _, m := range conn.Models {
		name := conn.Unprefixed(m)
		size := sizes[name]
		size.Model = name
		out = append(out, known{conn.Provider, size})
	}
	return out, nil
}

// enterOf finds the organisation of a query: the key's own if none is named.
func (c *call) enterOf(id string) error {
	switch {
	case id != "":
		if org.CheckID(id) != nil {
			return noSuchOrg()
		}
		return c.enter(id)
	case c.who.operator():
		return malformed("org_id", "say whose connection it is: org_id=ID")
	}
	return nil // its own, read already
}

func (c *call) modelOut(k known, book *billing.Book) modelJSON {
	row, _ := registry.Lookup(k.provider, k.Model)
	out := modelJSON{Model: k.name(), Provider: k.provider, Status: unverified, Rates: []rateJSON{},
		ContextTokens: row.ContextTokens, InputTokens: row.InputTokens, MaxOutputTokens: row.MaxOutputTokens,
		Inputs: orEmpty(row.Inputs), Outputs: orEmpty(row.Outputs), Capabilities: orEmpty(row.Capabilities()), Lacks: []taxonomy.Capability{},
		Embeddings: row.Embeds(), Released: row.Released, Lifecycle: row.Status, Tier: row.Tier, Source: row.Source, SourceDate: row.SourceDate}
	for _, cap := range taxonomy.Capabilities() {
		if row.Can(cap) == registry.No {
			out.Lacks = append(out.Lacks, cap)
		}
	}
	if row.Reasoning != registry.Unknown {
		thinks := row.Reasoning == registry.Yes
		out.Reasoning = &thinks
	}
	// What the vendor tells this key is newer than what somebody wrote down.
	if k.ContextTokens > 0 {
		out.ContextTokens = k.ContextTokens
	}
	if k.MaxOutputTokens > 0 {
		out.MaxOutputTokens = k.MaxOutputTokens
	}
	for _, r := range book.RowsOf(string(k.provider), k.Model) {
		out.Rates = append(out.Rates, rateJSON{r.Meter, r.RatePico, r.TierFrom, r.MinUnits, r.Source, r.SourceDate})
	}
	if len(out.Rates) > 0 {
		out.PriceVersion = book.Version
		out.Enabled = slices.Contains(c.Models.Platform, k.provider)
	}
	return out
}
