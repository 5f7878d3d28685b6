package gateway

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/registry"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// OfferStore reads what vendors list for connections.
type OfferStore interface {
	Offers(ctx context.Context, org string) ([]connection.Offers, error)
}

// Listed is a model that a caller may name. Sizes are 0, Capabilities nil and
// Released zero where they are not known.
type Listed struct {
	Name                                        string // provider/model or an alias
	ContextTokens, InputTokens, MaxOutputTokens int64
	Capabilities                                []taxonomy.Capability
	Released                                    time.Time
}

// Models lists what the caller may name: the priced models of the platform's
// providers, those that its own usable connections are limited to or that vendors
// listed for them, and its aliases; sorted and without repeats. It is what is
// known, not all that works. Errors: unavailable.
func (g *Gateway) Models(ctx context.Context, c *Caller) ([]Listed, error) {
	seen := map[string]connection.Offered{}
	for _, row := range c.book.Rows {
		for p := range g.o.Platform {
			if row.Provider == string(p) {
				seen[row.Provider+"/"+row.Model] = connection.Offered{}
			}
		}
	}
	var lists []connection.Offers
	if g.o.Offers != nil && len(c.config.Connections) > 0 {
		var err error
		if lists, err = g.o.Offers.Offers(ctx, c.Org); err != nil {
			return nil, err
		}
	}
	for _, conn := range c.config.Connections {
		if entry := g.entries[conn.Provider]; entry != nil && entry.Served() && connection.Usable(conn, c.now()) == connection.IsUsable {
			offered(seen, conn, lists)
		}
	}
	for alias := range c.config.Settings.Aliases {
		seen[alias] = connection.Offered{}
	}
	out := make([]Listed, 0, len(seen))
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		out = append(out, describe(name, seen[name]))
	}
	return out, nil
}

func offered(seen map[string]connection.Offered, conn connection.Connection, lists []connection.Offers) {
	for _, m := range conn.Models {
		seen[string(conn.Provider)+"/"+conn.Unprefixed(m)] = connection.Offered{}
	}
	for _, l := range lists {
		if !l.Of(conn) {
			continue
		}
		for _, m := range l.Models {
			if conn.Serves(m.Model) {
				seen[string(conn.Provider)+"/"+m.Model] = m
			}
		}
	}
}

// describe adds what is documented; what the vendor told the connection is newer.
func describe(name string, o connection.Offered) Listed {
	l := Listed{Name: name}
	if p, id, ok := taxonomy.SplitModel(name); ok && strings.HasPrefix(name, string(p)+"/") {
		row, _ := registry.Lookup(p, id)
		l.ContextTokens, l.InputTokens, l.MaxOutputTokens, l.Capabilities = row.ContextTokens, row.MaxInput(), row.MaxOutputTokens, row.Capabilities()
		if at, err := time.Parse(time.DateOnly, row.Released); err == nil {
			l.Released = at
		}
	}
	if o.ContextTokens > 0 {
		l.ContextTokens, l.InputTokens = o.ContextTokens, o.ContextTokens
	}
	if o.MaxOutputTokens > 0 {
		l.MaxOutputTokens = o.MaxOutputTokens
	}
	return l
}
