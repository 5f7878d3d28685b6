package dynamo

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/usage"
)

var _ usage.Store = (*LedgerStore)(nil)

const (
	aLive     = "live"
	aBuilding = "next"
	aOld      = "old"
	aPlace    = "place"
	aChecked  = "n"
	aRound    = "ver"

	aLastVersion = "last"
	aRepaired    = "rep"
)

// rowsOf is the partition of a version's rows.
func rowsOf(org string, version int64) string {
	return table.InVersion(table.UsageRow(org, "", "", "", ""), version).PK
}

func parseVersion(org string, it item) (usage.Version, error) {
	r := read(it)
	v := usage.Version{Org: org, Live: r.num(aLive), Building: r.num(aBuilding), Last: r.num(aLastVersion), Old: r.num(aOld), Cleaning: r.has(aOld),
		Place: r.str(aPlace), Checked: int(r.num(aChecked)), Repaired: int(r.num(aRepaired)), Round: r.num(aRound)}
	return v, r.err
}

// Version implements [usage.Store].
func (s *LedgerStore) Version(ctx context.Context, org string) (usage.Version, error) {
	const op = "dynamo.Version"
	it, err := s.db.get(ctx, table.Usage, table.UsageVersion(org), true)
	if err != nil {
		return usage.Version{}, ledgerUnavailable(op, err)
	}
	v, err := parseVersion(org, it)
	return v, ledgerRead(op, err)
}

// versions reads the versions of the organisations of entries, at most a hundred
// as a batch of the stream holds.
func (s *LedgerStore) versions(ctx context.Context, entries []credit.Entry) (map[string]usage.Version, error) {
	out := map[string]usage.Version{}
	var places []place
	flush := func() error {
		if len(places) == 0 {
			return nil
		}
		found, err := s.db.batchGet(ctx, places)
		if err != nil {
			return err
		}
		for p, it := range found {
			org := p.key.PK[len(table.UsageVersion("").PK):]
			if out[org], err = parseVersion(org, it); err != nil {
				return err
			}
		}
		places = places[:0]
		return nil
	}
	for _, e := range entries {
		if _, known := out[e.Org]; known || !e.Kind.OfRequest() {
			continue
		}
		out[e.Org] = usage.Version{Org: e.Org}
		if places = append(places, place{table.Usage, table.UsageVersion(e.Org)}); len(places) == 100 {
			if err := flush(); err != nil {
				return nil, err
			}
		}
	}
	return out, flush()
}

// SetVersion implements [usage.Store].
func (s *LedgerStore) SetVersion(ctx context.Context, v usage.Version, row *audit.Row) (usage.Version, error) {
	const op = "dynamo.SetVersion"
	it := keyItem(table.UsageVersion(v.Org))
	it[aLive], it[aBuilding], it[aPlace], it[aChecked], it[aRound] = num(v.Live), num(v.Building), str(v.Place), num(int64(v.Checked)), num(v.Round+1)
	it[aLastVersion], it[aRepaired] = num(v.Last), num(int64(v.Repaired))
	if v.Cleaning {
		it[aOld] = num(v.Old)
	}
	in := &dynamodb.PutItemInput{TableName: s.db.name(table.Usage), Item: it, ConditionExpression: aws.String("#ver = :ver"),
		ExpressionAttributeNames: map[string]string{"#ver": aRound}, ExpressionAttributeValues: item{":ver": num(v.Round)}}
	if v.Round == 0 {
		in.ConditionExpression, in.ExpressionAttributeValues = aws.String("attribute_not_exists(#ver)"), nil
	}
	var lost bool
	var err error
	if row == nil {
		_, err = s.db.api.PutItem(ctx, in)
		_, lost = conditionFailed(err)
	} else {
		var reasons []types.CancellationReason
		reasons, err = s.db.commitWithAudit(ctx, op, *row, types.TransactWriteItem{Put: &types.Put{TableName: in.TableName, Item: it, ConditionExpression: in.ConditionExpression,
			ExpressionAttributeNames: in.ExpressionAttributeNames, ExpressionAttributeValues: in.ExpressionAttributeValues}})
		lost = reasons != nil
	}
	if lost {
		return v, fault.New(fault.Conflict, op, "the usage of this organisation is being rebuilt by somebody else, try again")
	}
	if err != nil {
		return v, ledgerUnavailable(op, err)
	}
	v.Round++
	return v, nil
}

// CopyInto implements [usage.Store].
func (s *LedgerStore) CopyInto(ctx context.Context, entries []credit.Entry, version int64, now time.Time) []credit.Verdict {
	return s.projectInto(ctx, entries, now, func(string) (int64, bool) { return version, true })
}

// Journal implements credit.ReadStore and [usage.Journal].
func (s *LedgerStore) Journal(ctx context.Context, org string, month time.Time, bucket int, after string, limit int) ([]credit.Entry, error) {
	const op = "dynamo.Journal"
	items, err := s.db.query(ctx, query{role: table.Ledger, pk: table.EntryPartition(org, month, bucket), after: after, limit: int32(limit), consistent: true})
	if err != nil {
		return nil, ledgerUnavailable(op, err)
	}
	out := make([]credit.Entry, len(items))
	for i, it := range items {
		if out[i], err = parseEntry(it); err != nil {
			return nil, ledgerRead(op, err)
		}
	}
	return out, nil
}

// RemoveRows implements [usage.Store].
func (s *LedgerStore) RemoveRows(ctx context.Context, org string, version int64, limit int) (int, error) {
	const op = "dynamo.RemoveRows"
	items, err := s.db.query(ctx, query{role: table.Usage, pk: rowsOf(org, version), limit: int32(limit), consistent: true})
	if err != nil {
		return 0, ledgerUnavailable(op, err)
	}
	for _, it := range items {
		key := item{table.PK: it[table.PK], table.SK: it[table.SK]}
		if _, err := s.db.api.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: s.db.name(table.Usage), Key: key}); err != nil {
			return 0, ledgerUnavailable(op, err)
		}
	}
	return len(items), nil
}
