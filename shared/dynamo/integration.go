package dynamo

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/integration"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/vault"
)

// Integrations implements [integration.Store] on the vault table. Heads lie in
// one partition of the organisation, legacy copies in another, new copies are
// credentials.
type Integrations struct{ db *DB }

// Integrations returns the store of integrations.
func (db *DB) Integrations() Integrations { return Integrations{db} }

// Layouts of a head and of a legacy copy.
const (
	integrationLayout = "ih1"
	legacyLayout      = "il1"
)

// Attributes that conditions name.
const (
	integrationMode     = "mode"
	integrationVersion  = "v"
	integrationNewRev   = "new_rev"
	integrationVerified = "verified_at"
	integrationHash     = "legacy_hash"
)

func encodeIntegration(i integration.Integration) item {
	shapes := item{}
	for name, s := range i.Legacy.Shapes {
		shapes[name] = str(string(s))
	}
	it := keyItem(table.Integration(i.Org, i.ID))
	for name, v := range (item{
		"fmt": str(integrationLayout), "prov": str(i.Provider), "label": str(i.Label), integrationMode: str(string(i.Mode)), "cred": str(i.Credential),
		"names": strs(i.Fields), "reuse": boolean(i.ReusableRefresh), "rev": num(i.Rev), integrationVerified: millis(i.New.VerifiedAt),
		"legacy_rev": num(i.Legacy.Rev), integrationHash: str(i.Legacy.Hash), "shapes": mapping(shapes),
		"why": str(string(i.Quarantine.Reason)), "why_at": millis(i.Quarantine.At),
		"owner": str(i.Lease.Owner), "until": millis(i.Lease.Until), "lease_rev": num(i.Lease.Rev),
		"fp": str(i.Fingerprint), "at": millis(i.CreatedAt), "updated": millis(i.UpdatedAt), "purged": millis(i.PurgedAt),
		integrationVersion: num(i.Version), "write_id": str(i.WriteID),
	}) {
		it[name] = v
	}
	// Absent while there is no new copy, so that a condition can say so.
	if i.New.Rev > 0 {
		it[integrationNewRev] = num(i.New.Rev)
	}
	return it
}

// decodeIntegration marks a head that this version does not fully understand.
func decodeIntegration(org, id string, it item) integration.Integration {
	r := read(it)
	i := integration.Integration{
		Org: org, ID: id, Provider: r.str("prov"), Label: r.str("label"), Mode: integration.Mode(r.str(integrationMode)), Credential: r.str("cred"),
		Fields: r.strs("names"), ReusableRefresh: r.bool("reuse"), Rev: r.num("rev"),
		New:         integration.NewHead{Rev: r.num(integrationNewRev), VerifiedAt: r.time(integrationVerified)},
		Legacy:      integration.LegacyHead{Rev: r.num("legacy_rev"), Hash: r.str(integrationHash), Shapes: map[string]integration.Shape{}},
		Quarantine:  integration.Quarantine{Reason: integration.Reason(r.str("why")), At: r.time("why_at")},
		Lease:       integration.Lease{Owner: r.str("owner"), Until: r.time("until"), Rev: r.num("lease_rev")},
		Fingerprint: r.str("fp"), CreatedAt: r.time("at"), UpdatedAt: r.time("updated"), PurgedAt: r.time("purged"),
		Version: r.num(integrationVersion), WriteID: r.str("write_id"),
	}
	shapes := read(r.sub("shapes"))
	for name := range shapes.it {
		i.Legacy.Shapes[name] = integration.Shape(shapes.str(name))
	}
	vaultAdopt(r, shapes)
	known := false
	for _, m := range integration.Modes() {
		known = known || m == i.Mode
	}
	if r.err != nil || !known || r.str("fmt") != integrationLayout || i.Rev < 1 || i.Version < 1 || i.Credential == "" {
		return integration.Integration{Org: org, ID: id, Quarantine: integration.Quarantine{Reason: integration.Unreadable}}
	}
	return i
}

// Integration implements [integration.Store].
func (s Integrations) Integration(ctx context.Context, org, id string) (integration.Integration, error) {
	it, err := s.db.get(ctx, table.Vault, table.Integration(org, id), true)
	if err != nil {
		return integration.Integration{}, err
	}
	if it == nil {
		return integration.Integration{}, integration.ErrAbsent
	}
	return decodeIntegration(org, id, it), nil
}

// Integrations implements [integration.Store].
func (s Integrations) Integrations(ctx context.Context, org, after string, limit int) ([]integration.Integration, string, error) {
	items, next, err := s.db.page(ctx, "dynamo.Integrations", query{
		role: table.Vault, pk: table.Integration(org, "").PK, after: after, consistent: true,
	}, limit)
	if err != nil {
		return nil, "", err
	}
	out := make([]integration.Integration, len(items))
	for n, it := range items {
		out[n] = decodeIntegration(org, read(it).str(table.SK), it)
	}
	return out, next, nil
}

func encodeLegacy(org, id string, c integration.LegacyCopy) item {
	it := keyItem(table.LegacyCopy(org, id))
	fields := item{}
	for _, f := range c.Fields {
		// The bytes leave the secret type here, on their way into the table.
		_ = f.Stored.Use(func(b []byte) error {
			fields[f.Name] = mapping(item{"shape": str(string(f.Shape)), "val": bin(append([]byte{}, b...))})
			return nil
		})
	}
	it["fmt"], it["rev"], it["fields"] = str(legacyLayout), num(c.Rev), mapping(fields)
	return it
}

// Legacy implements [integration.Store].
func (s Integrations) Legacy(ctx context.Context, org, id string) (integration.LegacyCopy, error) {
	it, err := s.db.get(ctx, table.Vault, table.LegacyCopy(org, id), true)
	if err != nil {
		return integration.LegacyCopy{}, err
	}
	if it == nil {
		return integration.LegacyCopy{}, integration.ErrAbsent
	}
	r := read(it)
	c := integration.LegacyCopy{Rev: r.num("rev")}
	fields := r.sub("fields")
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		f := vaultElement(r, "fields", fields[name])
		value := f.bin("val")
		c.Fields = append(c.Fields, integration.LegacyField{Name: name, Shape: integration.Shape(f.str("shape")), Stored: secret.New(value)})
		clear(value)
		vaultAdopt(r, f)
	}
	if r.err != nil || r.str("fmt") != legacyLayout {
		return integration.LegacyCopy{}, errors.Join(errItem, r.err)
	}
	return c, nil
}

// WriteIntegration implements [integration.Store].
func (s Integrations) WriteIntegration(ctx context.Context, c integration.Change) error {
	actions := s.actions(c)
	if c.Row != nil {
		reasons, err := s.db.commitWithAudit(ctx, "dynamo.WriteIntegration", *c.Row, actions...)
		if reasons != nil {
			return integration.ErrLost
		}
		return err
	}
	for try := 0; ; try++ {
		_, err := s.db.api.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: actions})
		if err == nil {
			return nil
		}
		busy := false
		for _, r := range cancellation(err) {
			if aws.ToString(r.Code) == reasonCondition {
				return integration.ErrLost
			}
			busy = busy || aws.ToString(r.Code) == reasonConflict
		}
		if !busy || try+1 >= vaultTries {
			return err
		}
		if err := backoff(ctx, try); err != nil {
			return err
		}
	}
}

// Paired implements [integration.Store].
func (s Integrations) Paired(c integration.Change) vault.Store {
	return Vault{db: s.db, with: s.actions(c), row: c.Row}
}

// actions are the writes of a change besides its audit row.
func (s Integrations) actions(c integration.Change) []types.TransactWriteItem {
	name := s.db.name(table.Vault)
	drop := func(org, id string) types.TransactWriteItem {
		return types.TransactWriteItem{Delete: &types.Delete{TableName: name, Key: keyItem(table.LegacyCopy(org, id))}}
	}
	if i := c.Remove; i != nil {
		condition, names, values := ifVersion(i.Version)
		return []types.TransactWriteItem{{Delete: &types.Delete{TableName: name, Key: keyItem(table.Integration(i.Org, i.ID)),
			ConditionExpression: condition, ExpressionAttributeNames: names, ExpressionAttributeValues: values}}, drop(i.Org, i.ID)}
	}
	if c.Next == nil {
		return nil
	}
	put := &types.Put{TableName: name, Item: encodeIntegration(*c.Next)}
	if c.Next.Version == 1 {
		put.ConditionExpression = aws.String("attribute_not_exists(#pk)")
		put.ExpressionAttributeNames = map[string]string{"#pk": table.PK}
	} else {
		put.ConditionExpression, put.ExpressionAttributeNames, put.ExpressionAttributeValues = guarded(c.Next.Version-1, c.Guard)
	}
	actions := []types.TransactWriteItem{{Put: put}}
	switch {
	case c.DropLegacy:
		actions = append(actions, drop(c.Next.Org, c.Next.ID))
	case c.Legacy != nil:
		actions = append(actions, types.TransactWriteItem{Put: &types.Put{TableName: name, Item: encodeLegacy(c.Next.Org, c.Next.ID, *c.Legacy)}})
	}
	return actions
}

// guarded is the condition on the version that was read and on what the guard
// asks for.
func guarded(seen int64, g integration.Guard) (*string, map[string]string, item) {
	_, names, values := ifVersion(seen)
	terms := []string{"#v = :seen"}
	add := func(attribute, term string, v types.AttributeValue) {
		n := strconv.Itoa(len(terms))
		names["#g"+n] = attribute
		if v != nil {
			values[":g"+n] = v
		}
		terms = append(terms, strings.NewReplacer("#", "#g"+n, ":", ":g"+n).Replace(term))
	}
	if g.Mode != "" {
		add(integrationMode, "# = :", str(string(g.Mode)))
	}
	if g.Migration {
		add(integrationHash, "# = :", str(g.LegacyHash))
		if g.NewRev == 0 {
			add(integrationNewRev, "attribute_not_exists(#)", nil)
		} else {
			add(integrationNewRev, "# = :", num(g.NewRev))
		}
	}
	if !g.VerifiedBy.IsZero() {
		add(integrationNewRev, "attribute_exists(#)", nil)
		add(integrationVerified, "# > :", num(0))
		add(integrationVerified, "# <= :", millis(g.VerifiedBy))
	}
	return aws.String(strings.Join(terms, " AND ")), names, values
}
