package dynamo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
)

// Vault implements vault.Store on the vault table. Heads are read with a
// projection that names no ciphertext attribute, so a role may be denied those
// attributes and still list and write credentials.
type Vault struct {
	db *DB
	// with and row join every write of this value; see [Integrations.Paired].
	with []types.TransactWriteItem
	row  *audit.Row
}

// NewVault returns the credential store of db.
func NewVault(db *DB) Vault { return Vault{db: db} }

// vaultHeadLayout marks the layout of a head item.
const vaultHeadLayout = "vh1"

// vaultTries bounds the repetitions of a transaction that met another one in
// flight on the same items; the condition decides once it is over.
const vaultTries = 8

// Attributes of a head. They are listed because a projection needs them.
const (
	vaultHeadFormat  = "vh"
	vaultStatus      = "status"
	vaultActive      = "active_version"
	vaultEpoch       = "epoch"
	vaultProvider    = "provider"
	vaultClass       = "cls"
	vaultLabel       = "label"
	vaultOrigin      = "origin"
	vaultHeadFields  = "field_heads"
	vaultDrains      = "drains"
	vaultFPKey       = "fp_key_version"
	vaultCreatedBy   = "created_by"
	vaultCreatedAt   = "created_at"
	vaultUpdatedBy   = "updated_by"
	vaultUpdatedAt   = "updated_at"
	vaultWriteID     = "write_id"
	vaultVersionRev  = "rv"
	vaultVersionKEK  = "kek"
	vaultFieldName   = "n"
	vaultFieldVer    = "v"
	vaultFieldHint   = "hint"
	vaultFieldPrint  = "fp"
	vaultFieldBroken = "broken"
	vaultDrainUntil  = "until"
	vaultSealedBytes = "ct"
	vaultSealedBind  = "aadv"
)

var vaultHeadAttributes = []string{
	table.PK, table.SK, vaultHeadFormat, vaultStatus, vaultActive, vaultEpoch, vaultProvider, vaultClass, vaultLabel, vaultOrigin,
	vaultHeadFields, vaultDrains, vaultFPKey, vaultCreatedBy, vaultCreatedAt, vaultUpdatedBy, vaultUpdatedAt, vaultWriteID,
}

// LoadClass implements vault.Store.
func (s Vault) LoadClass(ctx context.Context, org string, class taxonomy.CredentialClass) ([]vault.Credential, error) {
	items, err := s.db.query(ctx, query{
		role: table.Vault, pk: vaultPartition(org), prefix: string(class) + "#", consistent: true,
	})
	if err != nil {
		return nil, err
	}
	return decodeVaultCredentials(org, items), nil
}

// Load implements vault.Store.
func (s Vault) Load(ctx context.Context, org string, class taxonomy.CredentialClass, id string) (vault.Credential, error) {
	items, err := s.db.query(ctx, query{
		role: table.Vault, pk: vaultPartition(org), prefix: string(class) + "#" + id + "#", consistent: true,
	})
	if err != nil {
		return vault.Credential{}, err
	}
	creds := decodeVaultCredentials(org, items)
	if len(creds) == 0 {
		return vault.Credential{}, vault.ErrAbsent
	}
	return creds[0], nil
}

// Head implements vault.Store.
func (s Vault) Head(ctx context.Context, org string, class taxonomy.CredentialClass, id string) (vault.Head, error) {
	projection, names := vaultProjection()
	out, err := s.db.api.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: s.db.name(table.Vault), Key: keyItem(table.CredentialHead(org, string(class), id)),
		ConsistentRead: aws.Bool(true), ProjectionExpression: aws.String(projection), ExpressionAttributeNames: names,
	})
	if err != nil {
		return vault.Head{}, err
	}
	if out.Item == nil {
		return vault.Head{}, vault.ErrAbsent
	}
	return decodeVaultHead(vault.Ref{Org: org, ID: id, Class: class}, out.Item), nil
}

// Heads implements vault.Store.
func (s Vault) Heads(ctx context.Context, org string) ([]vault.Head, error) {
	projection, names := vaultProjection()
	names["#pk"] = table.PK
	in := &dynamodb.QueryInput{
		TableName:                 s.db.name(table.Vault),
		KeyConditionExpression:    aws.String("#pk = :pk"),
		ExpressionAttributeNames:  names,
		ExpressionAttributeValues: item{":pk": str(vaultPartition(org))},
		ProjectionExpression:      aws.String(projection),
		ConsistentRead:            aws.Bool(true),
	}
	var heads []vault.Head
	for {
		out, err := s.db.api.Query(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, it := range out.Items {
			if ref, version, ok := vaultAddress(org, it); ok && version == 0 {
				heads = append(heads, decodeVaultHead(ref, it))
			}
		}
		if len(out.LastEvaluatedKey) == 0 {
			return heads, nil
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}

// Write implements vault.Store.
func (s Vault) Write(ctx context.Context, c vault.Change) error {
	actions, err := s.actions(c)
	if err != nil {
		return err
	}
	ring := -1
	if c.Ring != nil {
		ring = len(actions)
		actions = append(actions, s.ringCheck(*c.Ring))
	}
	actions = append(actions, s.with...)
	if s.with != nil || s.row != nil {
		// The row of the whole change, if it has one, says it all.
		c.Row = s.row
	}
	if c.Row != nil {
		reasons, err := s.db.commitWithAudit(ctx, "dynamo.Vault", *c.Row, actions...)
		if reasons == nil {
			return err
		}
		return whichLost(reasons, ring)
	}
	for try := 0; ; try++ {
		// The SDK adds a request token, so its own repetitions are the same write.
		_, err := s.db.api.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: actions})
		if err == nil {
			return nil
		}
		reasons := cancellation(err)
		if lost := whichLost(reasons, ring); lost != nil {
			return lost
		}
		busy := slices.ContainsFunc(reasons, func(r types.CancellationReason) bool { return aws.ToString(r.Code) == reasonConflict })
		if !busy || try+1 >= vaultTries {
			return err
		}
		if err := backoff(ctx, try); err != nil {
			return err
		}
	}
}

// whichLost tells a lost condition of a record, which comes first, from that of
// the ring, the action with index ring; nil if no condition was lost.
func whichLost(reasons []types.CancellationReason, ring int) (lost error) {
	for i, r := range reasons {
		switch {
		case !lostCondition(r):
		case i != ring:
			return vault.ErrLost
		default:
			lost = vault.ErrRing
		}
	}
	return lost
}

func (s Vault) actions(c vault.Change) ([]types.TransactWriteItem, error) {
	if c.Rewrap != nil {
		return []types.TransactWriteItem{s.rewrap(*c.Rewrap)}, nil
	}
	if c.Head == nil {
		return nil, errors.New("dynamo: a credential change needs a head or a rewrap")
	}
	name, ref := s.db.name(table.Vault), c.Head.Ref
	head := &types.Put{TableName: name, Item: encodeVaultHead(*c.Head)}
	if c.Head.Epoch == 1 {
		head.ConditionExpression = aws.String("attribute_not_exists(#pk)")
		head.ExpressionAttributeNames = map[string]string{"#pk": table.PK}
	} else {
		head.ConditionExpression = aws.String("#epoch = :epoch")
		head.ExpressionAttributeNames = map[string]string{"#epoch": vaultEpoch}
		head.ExpressionAttributeValues = item{":epoch": num(c.Head.Epoch - 1)}
	}
	actions := []types.TransactWriteItem{{Put: head}}
	if c.Put != nil {
		actions = append(actions, types.TransactWriteItem{Put: &types.Put{
			TableName: name, Item: encodeVaultVersion(ref, *c.Put),
			ConditionExpression:      aws.String("attribute_not_exists(#pk)"),
			ExpressionAttributeNames: map[string]string{"#pk": table.PK},
		}})
	}
	for _, n := range c.Delete {
		actions = append(actions, types.TransactWriteItem{Delete: &types.Delete{
			TableName: name, Key: keyItem(table.CredentialVersion(ref.Org, string(ref.Class), ref.ID, n)),
		}})
	}
	return actions, nil
}

func (s Vault) rewrap(r vault.Rewrap) types.TransactWriteItem {
	return types.TransactWriteItem{Put: &types.Put{
		TableName: s.db.name(table.Vault), Item: encodeVaultVersion(r.Ref, r.Version),
		ConditionExpression:       aws.String("#rv = :rv AND #kek = :kek"),
		ExpressionAttributeNames:  map[string]string{"#rv": vaultVersionRev, "#kek": vaultVersionKEK},
		ExpressionAttributeValues: item{":rv": num(r.FromRevision), ":kek": str(r.FromKey)},
	}}
}

func vaultPartition(org string) string { return table.CredentialHead(org, "", "").PK }

func vaultProjection() (string, map[string]string) {
	names := make(map[string]string, len(vaultHeadAttributes)+1)
	aliases := make([]string, len(vaultHeadAttributes))
	for i, a := range vaultHeadAttributes {
		aliases[i] = "#h" + strconv.Itoa(i)
		names[aliases[i]] = a
	}
	return strings.Join(aliases, ","), names
}

// vaultAddress takes an item's sort key apart. version is 0 for a head. The
// organisation is the one that was asked for; the provider is not in the key.
func vaultAddress(org string, it item) (ref vault.Ref, version int, ok bool) {
	parts := strings.Split(read(it).str(table.SK), "#")
	if len(parts) < 3 {
		return vault.Ref{}, 0, false
	}
	class, id := parts[0], parts[1]
	ref = vault.Ref{Org: org, ID: id, Class: taxonomy.CredentialClass(class)}
	if len(parts) == 4 {
		version, _ = strconv.Atoi(parts[3])
	}
	want := table.CredentialHead(org, class, id)
	if version > 0 {
		want = table.CredentialVersion(org, class, id, version)
	}
	return ref, version, want.SK == strings.Join(parts, "#")
}

// decodeVaultCredentials groups items, which are sorted by key, into credentials.
// Versions without a head belong to nothing and are left out.
func decodeVaultCredentials(org string, items []item) []vault.Credential {
	var out []vault.Credential
	for _, it := range items {
		ref, version, ok := vaultAddress(org, it)
		if !ok {
			continue
		}
		if version == 0 {
			out = append(out, vault.Credential{Head: decodeVaultHead(ref, it)})
			continue
		}
		if len(out) == 0 {
			continue
		}
		last := &out[len(out)-1]
		if last.Head.Ref.ID == ref.ID && last.Head.Ref.Class == ref.Class {
			last.Versions = append(last.Versions, decodeVaultVersion(version, it))
		}
	}
	return out
}

func encodeVaultHead(h vault.Head) item {
	it := keyItem(table.CredentialHead(h.Ref.Org, string(h.Ref.Class), h.Ref.ID))
	it[vaultHeadFormat] = str(vaultHeadLayout)
	it[vaultStatus] = str(string(h.Status))
	it[vaultActive] = num(int64(h.ActiveVersion))
	it[vaultEpoch] = num(h.Epoch)
	it[vaultProvider] = str(h.Ref.Provider)
	it[vaultClass] = str(string(h.Ref.Class))
	it[vaultLabel] = str(h.Label)
	it[vaultOrigin] = str(h.Origin)
	fields := make([]types.AttributeValue, len(h.Fields))
	for i, f := range h.Fields {
		e := item{
			vaultFieldName: str(f.Name), vaultFieldVer: num(int64(f.Version)), vaultFieldHint: str(f.Hint), vaultFieldPrint: str(f.Fingerprint),
		}
		if f.Broken {
			e[vaultFieldBroken] = boolean(true)
		}
		fields[i] = mapping(e)
	}
	it[vaultHeadFields] = list(fields...)
	drains := make([]types.AttributeValue, len(h.Drains))
	for i, d := range h.Drains {
		drains[i] = mapping(item{vaultFieldName: str(d.Field), vaultFieldVer: num(int64(d.Version)), vaultDrainUntil: millis(d.Until),
			vaultFieldHint: str(d.Hint), vaultFieldPrint: str(d.Fingerprint)})
	}
	it[vaultDrains] = list(drains...)
	it[vaultFPKey] = str(h.FingerprintKey)
	it[vaultCreatedBy], it[vaultCreatedAt] = str(h.CreatedBy), millis(h.CreatedAt)
	it[vaultUpdatedBy], it[vaultUpdatedAt] = str(h.UpdatedBy), millis(h.UpdatedAt)
	it[vaultWriteID] = str(h.WriteID)
	return it
}

// decodeVaultHead returns a head with status Unreadable for an item it does not
// fully understand. Org, class and id come from the key that was asked for.
func decodeVaultHead(ref vault.Ref, it item) vault.Head {
	r := read(it)
	h := vault.Head{
		Ref: ref, Status: vault.Status(r.str(vaultStatus)), ActiveVersion: int(r.num(vaultActive)), Epoch: r.num(vaultEpoch),
		Label: r.str(vaultLabel), Origin: r.str(vaultOrigin), FingerprintKey: r.str(vaultFPKey),
		CreatedBy: r.str(vaultCreatedBy), CreatedAt: r.time(vaultCreatedAt),
		UpdatedBy: r.str(vaultUpdatedBy), UpdatedAt: r.time(vaultUpdatedAt), WriteID: r.str(vaultWriteID),
	}
	h.Ref.Provider = r.str(vaultProvider)
	for _, e := range r.list(vaultHeadFields) {
		f := vaultElement(r, vaultHeadFields, e)
		h.Fields = append(h.Fields, vault.Field{
			Name: f.str(vaultFieldName), Version: int(f.num(vaultFieldVer)), Hint: f.str(vaultFieldHint), Fingerprint: f.str(vaultFieldPrint),
			Broken: f.bool(vaultFieldBroken),
		})
		vaultAdopt(r, f)
	}
	for _, e := range r.list(vaultDrains) {
		d := vaultElement(r, vaultDrains, e)
		h.Drains = append(h.Drains, vault.Drain{Field: d.str(vaultFieldName), Version: int(d.num(vaultFieldVer)), Until: d.time(vaultDrainUntil),
			Hint: d.str(vaultFieldHint), Fingerprint: d.str(vaultFieldPrint)})
		vaultAdopt(r, d)
	}
	known := r.str(vaultHeadFormat) == vaultHeadLayout && r.str(vaultClass) == string(ref.Class) &&
		(h.Status == vault.Active || h.Status == vault.Revoked || h.Status == vault.NeedsReentry) && h.Epoch > 0 && h.ActiveVersion > 0 && len(h.Fields) > 0
	if r.err != nil || !known {
		return vault.Head{Ref: h.Ref, Status: vault.Unreadable, Epoch: h.Epoch}
	}
	return h
}

func encodeVaultVersion(ref vault.Ref, v vault.Version) item {
	it := keyItem(table.CredentialVersion(ref.Org, string(ref.Class), ref.ID, v.Number))
	ectx, fields := item{}, item{}
	for name, value := range v.Context {
		ectx[name] = str(value)
	}
	for name, f := range v.Fields {
		fields[name] = mapping(item{vaultSealedBytes: bin(f.Ciphertext), vaultSealedBind: num(int64(f.Binding))})
	}
	it["fmt"], it["alg"] = str(v.Format), num(int64(v.Alg))
	it[vaultVersionKEK], it["km"], it["wdek"] = str(v.Key.KEK), str(v.Key.Material), bin(v.Key.Blob)
	it["ctx"], it["fields"], it[vaultVersionRev] = mapping(ectx), mapping(fields), num(v.Revision)
	it[vaultCreatedBy], it[vaultCreatedAt], it["wrapped_at"] = str(v.CreatedBy), millis(v.CreatedAt), millis(v.WrappedAt)
	return it
}

// vaultVersionAttributes are all attributes of a version item: one that is not
// listed belongs to a layout this version does not know.
var vaultVersionAttributes = []string{
	table.PK, table.SK, "fmt", "alg", vaultVersionKEK, "km", "wdek", "ctx", "fields", vaultVersionRev, vaultCreatedBy, vaultCreatedAt, "wrapped_at",
}

// decodeVaultVersion returns a version without a format for an item it does not
// fully understand; the vault refuses it.
func decodeVaultVersion(number int, it item) vault.Version {
	r := read(it)
	v := vault.Version{
		Number: number, Format: r.str("fmt"), Alg: int(r.num("alg")),
		Key:     vault.WrappedKey{Blob: r.bin("wdek"), KEK: r.str(vaultVersionKEK), Material: r.str("km")},
		Context: map[string]string{}, Revision: r.num(vaultVersionRev), Fields: map[string]vault.Sealed{},
		CreatedBy: r.str(vaultCreatedBy), CreatedAt: r.time(vaultCreatedAt), WrappedAt: r.time("wrapped_at"),
	}
	ectx := read(r.sub("ctx"))
	for name := range ectx.it {
		v.Context[name] = ectx.str(name)
	}
	vaultAdopt(r, ectx)
	sealed := r.sub("fields")
	for name, e := range sealed {
		f := vaultElement(r, "fields", e)
		v.Fields[name] = vault.Sealed{Ciphertext: f.bin(vaultSealedBytes), Binding: int(f.num(vaultSealedBind))}
		vaultAdopt(r, f)
	}
	for name := range it {
		if !slices.Contains(vaultVersionAttributes, name) {
			r.fail(name)
		}
	}
	if r.err != nil {
		return vault.Version{Number: number}
	}
	return v
}

// vaultElement reads a map inside a list or map attribute.
func vaultElement(r *reader, name string, e types.AttributeValue) *reader {
	m, ok := e.(*types.AttributeValueMemberM)
	if !ok {
		r.fail(name)
		return read(nil)
	}
	return read(m.Value)
}

// vaultAdopt takes over the failure of a nested reader.
func vaultAdopt(r, nested *reader) {
	if r.err == nil && nested.err != nil {
		r.err = fmt.Errorf("nested: %w", nested.err)
	}
}
