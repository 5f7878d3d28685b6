package dynamo

import (
	"context"
	"strings"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/table"
)

// Gateway implements [gateway.Store].
type Gateway struct {
	db *DB
	Orgs
	Keys
}

// Gateway returns the reads of a metered call.
func (db *DB) Gateway() Gateway { return Gateway{db, db.Orgs(), db.Keys()} }

// Key implements [gateway.Store]: the key with what counts against its limits.
func (s Gateway) Key(ctx context.Context, orgID, id string) (*org.Key, error) {
	return s.Keys.counted(ctx, orgID, id)
}

// OrgConfig implements [gateway.Store]: one query of the organisation's
// partition. It is strongly consistent, because a revoked connection or a
// suspended organisation must bite on the next request.
func (s Gateway) OrgConfig(ctx context.Context, orgID string) (gateway.OrgConfig, error) {
	const op = "dynamo.OrgConfig"
	c := gateway.OrgConfig{Settings: org.DefaultSettings()}
	items, err := s.db.query(ctx, query{role: table.Config, pk: table.Org(orgID).PK, consistent: true})
	if err != nil {
		return c, configDown(op, err)
	}
	found := false
	for _, it := range items {
		kind, _, _ := strings.Cut(read(it).str(table.SK), "#")
		switch kind {
		case "ORG":
			found = true
			if c.Org, err = decodeOrg(it); err != nil {
				return c, storedBadly(op, err)
			}
		case "COUNTS":
			if c.Counted, err = decodeCounts(it); err != nil {
				return c, storedBadly(op, err)
			}
		case "SETTINGS":
			if c.Settings, c.SettingsVersion, err = decodeSettings(it); err != nil {
				return c, err
			}
		case "CONN":
			conn, err := decodeConnection(it)
			if err != nil {
				return c, storedBadly(op, err)
			}
			c.Connections = append(c.Connections, conn)
		case "AGENT":
			a, err := decodeAgent(it)
			if err != nil {
				return c, storedBadly(op, err)
			}
			c.Agents = append(c.Agents, gateway.Agent{ID: a.ID, Model: a.Model, Fallback: a.Fallback})
		}
	}
	if !found {
		return c, fault.New(fault.NotFound, op, "there is no such organisation")
	}
	return c, nil
}
