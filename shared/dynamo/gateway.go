package dynamo

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/latchkey/latchkey/shared/agency"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/vault"
)

// Gateway implements [gateway.Store]. Safe for concurrent use.
type Gateway struct {
	db *DB

	mu sync.Mutex
	// versions are those of the platform's credentials that were seen last. They
	// only say what to ask for: the head, which is read with them, decides.
	versions map[vault.Ref][]int
}

// Gateway returns the reads of a metered call.
func (db *DB) Gateway() *Gateway { return &Gateway{db: db, versions: map[vault.Ref][]int{}} }

// CallConfig implements [gateway.Store]: one batch of strongly consistent reads,
// because a revoked key, a new price or a rotated credential must bite on the
// next request.
func (s *Gateway) CallConfig(ctx context.Context, orgID, keyID string, now time.Time, platform []vault.Ref) (c gateway.CallConfig, err error) {
	const op = "dynamo.CallConfig"
	keys := []place{{table.Config, table.Features()}, {table.Config, table.PriceIndex()}, {table.Ledger, table.FreeRequests(orgID, now)}}
	if keyID != "" {
		keys = append(keys, place{table.Config, table.APIKey(orgID, keyID)}, place{table.Config, table.KeyCounts(orgID, keyID)})
	}
	for _, ref := range platform {
		keys = append(keys, place{table.Vault, table.CredentialHead(ref.Org, string(ref.Class), ref.ID)})
		for _, v := range s.seen(ref) {
			keys = append(keys, place{table.Vault, table.CredentialVersion(ref.Org, string(ref.Class), ref.ID, v)})
		}
	}
	found, err := s.db.batchGet(ctx, keys)
	if err != nil {
		return c, configDown(op, err)
	}
	if c.Tiers, _, err = decodeTiers(found[keys[0]]); err != nil {
		return c, err
	}
	if c.Terms, _, err = decodeTierTerms(found[keys[0]]); err != nil {
		return c, err
	}
	if c.FreeUsed, err = decodeFreeUsed(found[keys[2]]); err != nil {
		return c, storedBadly(op, err)
	}
	prices, err := decodePriceIndex(op, found[keys[1]])
	if err != nil {
		return c, err
	}
	c.Prices = prices.Index
	if keyID != "" {
		if c.Key, err = decodeCounted(found[keys[3]], found[keys[4]]); err != nil {
			return c, storedBadly(op, err)
		}
	}
	c.Platform, err = s.platform(ctx, platform, found)
	return c, err
}

// decodeCounted gives nil for an absent key.
func decodeCounted(key, counts item) (*org.Key, error) {
	if key == nil {
		return nil, nil
	}
	k, err := decodeKey(key)
	if err != nil {
		return nil, err
	}
	k.Counted, err = decodeCounts(counts)
	return &k, err
}

// platform puts the platform's credentials together. One whose head names a
// version that was not asked for is read as a whole.
func (s *Gateway) platform(ctx context.Context, refs []vault.Ref, found map[place]item) ([]vault.Credential, error) {
	var out []vault.Credential
	for _, ref := range refs {
		head := found[place{table.Vault, table.CredentialHead(ref.Org, string(ref.Class), ref.ID)}]
		if head == nil {
			continue
		}
		items := []item{head}
		for _, v := range s.seen(ref) {
			if it := found[place{table.Vault, table.CredentialVersion(ref.Org, string(ref.Class), ref.ID, v)}]; it != nil {
				items = append(items, it)
			}
		}
		cred := decodeVaultCredentials(ref.Org, items)[0]
		if cred.Torn() {
			var err error
			if cred, err = NewVault(s.db).Load(ctx, ref.Org, ref.Class, ref.ID); err != nil {
				return nil, fault.Wrap(fault.VaultUnavailable, "dynamo.CallConfig", "the platform's own key cannot be read at the moment, try again", err)
			}
			s.saw(ref, cred)
		}
		out = append(out, cred)
	}
	return out, nil
}

func (s *Gateway) seen(ref vault.Ref) []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.versions[ref]
}

func (s *Gateway) saw(ref vault.Ref, c vault.Credential) {
	versions := make([]int, len(c.Versions))
	for i := range c.Versions {
		versions[i] = c.Versions[i].Number
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.versions[ref] = versions
}

// OrgConfig implements [gateway.Store]: one query of the organisation's
// partition. It is strongly consistent, because a revoked connection or a
// suspended organisation must bite on the next request.
func (s *Gateway) OrgConfig(ctx context.Context, orgID string) (gateway.OrgConfig, error) {
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
		case "SHARDS":
			if c.Shards, err = decodeInUse(it); err != nil {
				return c, storedBadly(op, err)
			}
		case "CLIENT":
			if c.Client, _, err = decodeClient(it); err != nil {
				return c, storedBadly(op, err)
			}
		case "TERMS":
			if c.Terms, _, err = decodeOrgTerms(it); err != nil {
				return c, err
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

// Offer implements [gateway.Store].
func (s *Gateway) Offer(ctx context.Context, id string) (agency.Offer, error) {
	return s.db.Orgs().Offer(ctx, id)
}
