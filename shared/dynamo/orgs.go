package dynamo

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/limit"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Orgs implements [org.Store] and [org.ConfigStore].
type Orgs struct{ db *DB }

// Orgs returns the store of organisations, settings and tiers.
func (db *DB) Orgs() Orgs { return Orgs{db} }

func storedBadly(op string, err error) error {
	return fault.Wrap(fault.Internal, op, "a stored record cannot be read; ask the operator", err)
}

func encodeLimits(l org.Limits) types.AttributeValue {
	return mapping(item{"rpm": num(l.RequestsPerMinute), "tpm": num(l.TokensPerMinute), "conc": num(l.Concurrent),
		"bud": num(l.Budget.Amount), "per": str(string(l.Budget.Period))})
}

func decodeLimits(it item) (org.Limits, error) {
	r := read(it)
	l := org.Limits{RequestsPerMinute: r.num("rpm"), TokensPerMinute: r.num("tpm"), Concurrent: r.num("conc"),
		Budget: limit.Budget{Amount: r.num("bud"), Period: limit.Period(r.str("per"))}}
	return l, r.err
}

func encodeOrg(o org.Org) item {
	return item{
		"id": str(o.ID), "name": str(o.Name), "tier": str(string(o.Tier)), "parent": str(o.ParentID),
		"st": str(string(o.Status)), "sv": num(o.SettingsVersion), "lm": str(string(o.LedgerMode)), "le": num(o.LedgerEpoch),
		"limits": encodeLimits(o.Limits), "share": encodeSharing(o.Sharing), "v": num(o.Version), "at": millis(o.CreatedAt),
	}
}

func decodeOrg(it item) (org.Org, error) {
	r := read(it)
	o := org.Org{ID: r.str("id"), Name: r.str("name"), Tier: taxonomy.Tier(r.str("tier")), ParentID: r.str("parent"),
		Status: org.Status(r.str("st")), SettingsVersion: r.num("sv"), LedgerMode: org.LedgerMode(r.str("lm")), LedgerEpoch: r.num("le"),
		Version: r.num("v"), CreatedAt: r.time("at")}
	limits, err := decodeLimits(r.sub("limits"))
	sharing, also := decodeSharing(r.sub("share"))
	o.Limits, o.Sharing = limits, sharing
	return o, errors.Join(r.err, err, also)
}

// CreateOrg implements [org.Store].
func (s Orgs) CreateOrg(ctx context.Context, o org.Org, row audit.Row) error {
	actions := []types.TransactWriteItem{
		s.db.putNew(table.Config, table.Org(o.ID), encodeOrg(o)),
		s.db.putNew(table.Config, table.OrgList(o.ID), item{"id": str(o.ID)}),
	}
	if o.ParentID != "" {
		actions = append(actions, s.db.putNew(table.Config, table.OrgChild(o.ParentID, o.ID), item{"id": str(o.ID)}))
	}
	reasons, err := s.db.commitWithAudit(ctx, "dynamo.CreateOrg", row, actions...)
	if reasons != nil {
		return fault.New(fault.Conflict, "dynamo.CreateOrg", "an organisation with this id exists already with other values")
	}
	return err
}

// Org implements [org.Store].
func (s Orgs) Org(ctx context.Context, id string) (org.Org, error) {
	it, err := s.db.get(ctx, table.Config, table.Org(id), true)
	if err != nil {
		return org.Org{}, configDown("dynamo.Org", err)
	}
	if it == nil {
		return org.Org{}, fault.New(fault.NotFound, "dynamo.Org", "there is no such organisation")
	}
	o, err := decodeOrg(it)
	if err != nil {
		return org.Org{}, storedBadly("dynamo.Org", err)
	}
	return o, nil
}

// UpdateOrg implements [org.Store]. The settings version is not touched: it
// belongs to [Orgs.PutSettings].
func (s Orgs) UpdateOrg(ctx context.Context, o org.Org, row audit.Row) error {
	acts := []types.TransactWriteItem{{Update: &types.Update{
		TableName: s.db.name(table.Config), Key: keyItem(table.Org(o.ID)),
		UpdateExpression:         aws.String("SET #name = :name, #tier = :tier, #st = :st, #limits = :limits, #share = :share, #v = :v"),
		ConditionExpression:      aws.String("#v = :seen"),
		ExpressionAttributeNames: map[string]string{"#name": "name", "#tier": "tier", "#st": "st", "#limits": "limits", "#share": "share", "#v": "v"},
		ExpressionAttributeValues: item{":name": str(o.Name), ":tier": str(string(o.Tier)), ":st": str(string(o.Status)),
			":limits": encodeLimits(o.Limits), ":share": encodeSharing(o.Sharing), ":v": num(o.Version), ":seen": num(o.Version - 1)},
	}}}
	if o.Sharing.Version > 0 {
		acts = append(acts, s.db.offerWrite(o.Offer()))
	}
	reasons, err := s.db.commitWithAudit(ctx, "dynamo.UpdateOrg", row, acts...)
	if reasons != nil {
		return changedMeanwhile("dynamo.UpdateOrg")
	}
	return err
}

func changedMeanwhile(op string) error {
	return fault.New(fault.Conflict, op, "this was changed by someone else meanwhile; read it again and repeat")
}

// Orgs implements [org.Store].
func (s Orgs) Orgs(ctx context.Context, parent, after string, limit int) ([]org.Org, string, error) {
	pk := table.OrgList("").PK
	if parent != "" {
		pk = table.OrgChild(parent, "").PK
	}
	items, next, err := s.db.page(ctx, "dynamo.Orgs", query{role: table.Config, pk: pk, after: after}, limit)
	if err != nil {
		return nil, "", err
	}
	orgs := make([]org.Org, len(items))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, it := range items {
		group.Go(func() (err error) {
			orgs[i], err = s.Org(ctx, read(it).str(table.SK))
			return err
		})
	}
	return orgs, next, group.Wait()
}

// page reads at most limit items and the sort key to go on after, empty at the
// end.
func (db *DB) page(ctx context.Context, op string, q query, limit int) ([]item, string, error) {
	q.limit = int32(limit) + 1
	items, err := db.query(ctx, q)
	if err != nil {
		return nil, "", configDown(op, err)
	}
	if len(items) <= limit {
		return items, "", nil
	}
	return items[:limit], read(items[limit-1]).str(table.SK), nil
}

// Settings implements [org.ConfigStore].
func (s Orgs) Settings(ctx context.Context, id string) (org.Settings, int64, error) {
	it, err := s.db.get(ctx, table.Config, table.Settings(id), true)
	if err != nil {
		return org.Settings{}, 0, configDown("dynamo.Settings", err)
	}
	return decodeSettings(it)
}

// decodeSettings gives the defaults for an absent item.
func decodeSettings(it item) (org.Settings, int64, error) {
	if it == nil {
		return org.DefaultSettings(), 0, nil
	}
	r := read(it)
	doc, version := r.str("doc"), r.num("v")
	if r.err != nil {
		return org.Settings{}, 0, storedBadly("dynamo.Settings", r.err)
	}
	settings, err := org.DecodeSettings([]byte(doc))
	return settings, version, err
}

// PutSettings implements [org.ConfigStore].
func (s Orgs) PutSettings(ctx context.Context, id string, settings org.Settings, seen int64, row audit.Row) error {
	doc, err := org.EncodeSettings(settings)
	if err != nil {
		return storedBadly("dynamo.PutSettings", err)
	}
	key := table.Settings(id)
	reasons, err := s.db.commitWithAudit(ctx, "dynamo.PutSettings", row,
		types.TransactWriteItem{Update: &types.Update{
			TableName: s.db.name(table.Config), Key: keyItem(table.Org(id)),
			UpdateExpression:          aws.String("SET #sv = :next"),
			ConditionExpression:       aws.String("#sv = :seen"),
			ExpressionAttributeNames:  map[string]string{"#sv": "sv"},
			ExpressionAttributeValues: item{":next": num(seen + 1), ":seen": num(seen)},
		}},
		types.TransactWriteItem{Put: &types.Put{
			TableName: s.db.name(table.Config),
			Item:      item{table.PK: str(key.PK), table.SK: str(key.SK), "doc": str(string(doc)), "v": num(seen + 1)},
		}})
	if reasons != nil {
		return changedMeanwhile("dynamo.PutSettings")
	}
	return err
}

// Tiers implements [org.ConfigStore].
func (s Orgs) Tiers(ctx context.Context) (org.Tiers, int64, error) {
	it, err := s.db.get(ctx, table.Config, table.Features(), true)
	if err != nil {
		return nil, 0, configDown("dynamo.Tiers", err)
	}
	return decodeTiers(it)
}

// decodeTiers gives no overrides for an absent item.
func decodeTiers(it item) (org.Tiers, int64, error) {
	r := read(it)
	tiers, version := org.Tiers{}, r.num("v")
	stored := read(r.sub("tiers"))
	for _, tier := range org.AllTiers() {
		if !stored.has(string(tier)) {
			continue
		}
		f := read(stored.sub(string(tier)))
		tiers[tier] = taxonomy.Features{BYOK: f.bool("byok"), BYOA: f.bool("byoa"), Agency: f.bool("agency")}
		r.err = errors.Join(r.err, f.err)
	}
	if err := errors.Join(r.err, stored.err); err != nil {
		return nil, 0, storedBadly("dynamo.Tiers", err)
	}
	return tiers, version, nil
}

// PutTiers implements [org.ConfigStore].
func (s Orgs) PutTiers(ctx context.Context, t org.Tiers, seen int64, row audit.Row) error {
	tiers := item{}
	for tier, f := range t {
		tiers[string(tier)] = mapping(item{"byok": boolean(f.BYOK), "byoa": boolean(f.BYOA), "agency": boolean(f.Agency)})
	}
	key := table.Features()
	return s.db.setVersioned(ctx, "dynamo.PutTiers", key, "tiers", mapping(tiers), seen, row)
}
