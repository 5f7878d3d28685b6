package dynamo

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"golang.org/x/sync/errgroup"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

var (
	entriesNames  = map[string]string{"#pk": table.PK}
	entriesBefore = map[string]string{"#pk": table.PK, "#sk": table.SK}
)

// Month implements credit.ReadStore: it merges the partitions of the month.
func (s *LedgerStore) Month(ctx context.Context, org string, month time.Time, before string, limit int) ([]credit.Entry, error) {
	pages := make([][]item, table.EntryBuckets)
	group, ctx := errgroup.WithContext(ctx)
	for b := range pages {
		group.Go(func() error {
			in := &dynamodb.QueryInput{
				TableName: s.db.name(table.Ledger), Limit: aws.Int32(int32(limit)), ConsistentRead: aws.Bool(true),
				ScanIndexForward: aws.Bool(false), KeyConditionExpression: aws.String("#pk = :pk"),
				ExpressionAttributeNames:  entriesNames,
				ExpressionAttributeValues: item{":pk": str(table.EntryPartition(org, month, b))},
			}
			if before != "" {
				in.KeyConditionExpression = aws.String("#pk = :pk AND #sk < :before")
				in.ExpressionAttributeNames = entriesBefore
				in.ExpressionAttributeValues[":before"] = str(before)
			}
			out, err := s.db.api.Query(ctx, in)
			if err != nil {
				return err
			}
			pages[b] = append(pages[b], out.Items...)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, ledgerUnavailable("dynamo.Month", err)
	}
	all := slices.Concat(pages...)
	slices.SortFunc(all, func(a, b item) int { return strings.Compare(read(b).str(table.SK), read(a).str(table.SK)) })
	out := make([]credit.Entry, 0, min(limit, len(all)))
	for _, it := range all[:min(limit, len(all))] {
		e, err := parseEntry(it)
		if err != nil {
			return nil, ledgerRead("dynamo.Month", err)
		}
		out = append(out, e)
	}
	return out, nil
}

// Holds implements credit.ReadStore. The partitions hold other organisations'
// attempts, too; those are skipped by key before anything is read. An agency's
// holds for its clients lie in partitions where the key does not tell who pays.
func (s *LedgerStore) Holds(ctx context.Context, org string) ([]credit.Open, error) {
	own, err := s.holdKeys(ctx, table.HoldBucketsOf(org), "R#"+org+"#")
	if err != nil {
		return nil, err
	}
	drawn, err := s.holdKeys(ctx, table.DrawBucketsOf(org), "R#")
	if err != nil {
		return nil, err
	}
	out := make([]credit.Open, 0, len(own)+len(drawn))
	for keys := append(own, drawn...); len(keys) > 0; {
		n := min(len(keys), 100)
		open, err := s.openByKey(ctx, keys[:n])
		if err != nil {
			return nil, err
		}
		for _, o := range open {
			if o.Payer() == org {
				out = append(out, o)
			}
		}
		keys = keys[n:]
	}
	return out, nil
}

// holdKeys lists the attempts of index partitions whose keys have a prefix.
func (s *LedgerStore) holdKeys(ctx context.Context, buckets []string, prefix string) ([]table.Key, error) {
	const op = "dynamo.Holds"
	var keys []table.Key
	for _, bucket := range buckets {
		in := &dynamodb.QueryInput{
			TableName: s.db.name(table.Ledger), IndexName: aws.String(table.HoldsIndex),
			KeyConditionExpression: aws.String("#hx = :hx"), ExpressionAttributeNames: holdsNames,
			ExpressionAttributeValues: item{":hx": str(bucket)},
		}
		for {
			page, err := s.db.api.Query(ctx, in)
			if err != nil {
				return nil, ledgerUnavailable(op, err)
			}
			for _, it := range page.Items {
				r := read(it)
				if k := (table.Key{PK: r.str(table.PK), SK: r.str(table.SK)}); strings.HasPrefix(k.PK, prefix) {
					keys = append(keys, k)
				}
			}
			if len(page.LastEvaluatedKey) == 0 {
				break
			}
			in.ExclusiveStartKey = page.LastEvaluatedKey
		}
	}
	return keys, nil
}

// Request implements credit.ReadStore.
func (s *LedgerStore) Request(ctx context.Context, org, id string) ([]credit.Attempt, error) {
	const op = "dynamo.Request"
	items, err := s.db.query(ctx, query{role: table.Ledger, pk: table.Request(org, id, 1).PK, consistent: true})
	if err != nil {
		return nil, ledgerUnavailable(op, err)
	}
	decisions := map[string]item{}
	var out []credit.Attempt
	for _, it := range items {
		sk := read(it).str(table.SK)
		switch {
		case strings.HasPrefix(sk, "DEC#"):
			decisions[sk] = it
		case sk == "REQ" || strings.HasPrefix(sk, "REQ#"):
			a, err := parseAttempt(it)
			if err != nil {
				return nil, ledgerRead(op, err)
			}
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		return nil, fault.New(fault.NotFound, op, "there is no such request")
	}
	slices.SortFunc(out, func(a, b credit.Attempt) int { return a.N - b.N })
	for i := range out {
		d := read(decisions[table.Decision(org, id, out[i].N).SK])
		out[i].Rule, out[i].DecisionHash, out[i].Decision = d.str(aRule), d.str(aHash), d.bin(aDecision)
	}
	return out, nil
}

func parseAttempt(it item) (credit.Attempt, error) {
	r := read(it)
	_, _, n, err := requestKey(r.str(table.PK), r.str(table.SK))
	if err != nil {
		return credit.Attempt{}, err
	}
	a := credit.Attempt{
		N: n, State: credit.State(r.str(aState)), Provider: r.str(aProvider), Model: r.str(aModel), Connection: r.str(aConn),
		Agent: r.str(aAgent), Source: taxonomy.BillingSource(r.str(aSource)), PriceVersion: r.str(aPrice),
		Hold: credit.Micro(r.num(aHold0)), Amount: credit.Micro(r.num(aAmount)), Waived: r.bool(aWaived), Kind: credit.OutcomeKind(r.str(aOutcome)),
		Estimated: r.bool(aEstimated), ProviderRequestID: r.str(aVendorID), Status: int(r.num(aStatus)), Reason: r.str(aReason),
		Created: r.time(aCreated), Expires: r.time(table.HoldsSK), UsedAt: r.time(aUsedAt), Owner: r.str(aOwner),
		Agency: r.str(aAgency), Stamp: parseStamp(r), Usage: billing.Usage{Source: billing.NoUsage},
	}
	copy(a.Fingerprint[:], r.bin(aPrint))
	if r.has(aUsage) {
		if a.Usage, err = parseUsage(r.sub(aUsage)); err != nil {
			return credit.Attempt{}, err
		}
	}
	return a, r.err
}
