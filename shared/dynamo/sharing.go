package dynamo

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/agency"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/table"
)

var _ org.SharingStore = Orgs{}

func encodeSharing(s org.Sharing) types.AttributeValue {
	return mapping(item{"mode": str(string(s.Policy.Mode)), "ccap": num(s.Policy.ClientPerDay), "tcap": num(s.Policy.TotalPerDay),
		"v": num(s.Version), "use": num(int64(s.Shards))})
}

func decodeSharing(it item) (org.Sharing, error) {
	r := read(it)
	s := org.Sharing{Policy: agency.Policy{Mode: agency.Mode(r.str("mode")), ClientPerDay: r.num("ccap"), TotalPerDay: r.num("tcap")},
		Version: r.num("v"), Shards: int(r.num("use"))}
	return s, r.err
}

// What a client carries is the offer's own attributes, its agency and what differs
// for the client. Its version is not the offer's.
const (
	aClientOf      = "of"
	aClientMode    = "mode"
	aClientPerDay  = "per"
	aClientVersion = "cv"
)

// decodeClient gives the zero value for an absent item.
func decodeClient(it item) (agency.Client, int64, error) {
	r := read(it)
	offer, err := parseOffer(r.str(aClientOf), it)
	c := agency.Client{Offer: offer, Override: agency.Override{Mode: agency.Mode(r.str(aClientMode)), PerDay: r.num(aClientPerDay)}}
	version := r.num(aClientVersion)
	return c, version, errors.Join(r.err, err)
}

// Client implements [org.SharingStore].
func (s Orgs) Client(ctx context.Context, id string) (agency.Client, int64, error) {
	it, err := s.db.get(ctx, table.Config, table.Client(id), true)
	if err != nil {
		return agency.Client{}, 0, configDown("dynamo.Client", err)
	}
	c, version, err := decodeClient(it)
	if err != nil {
		return agency.Client{}, 0, storedBadly("dynamo.Client", err)
	}
	return c, version, nil
}

// PutClient implements [org.SharingStore].
func (s Orgs) PutClient(ctx context.Context, id string, c agency.Client, seen int64, row audit.Row) error {
	key := table.Client(id)
	it := offerItem(c.Offer)
	it[table.PK], it[table.SK] = str(key.PK), str(key.SK)
	it[aClientOf], it[aClientVersion] = str(c.Offer.Agency), num(seen+1)
	it[aClientMode], it[aClientPerDay] = str(string(c.Override.Mode)), num(c.Override.PerDay)
	put := &types.Put{TableName: s.db.name(table.Config), Item: it, ConditionExpression: aws.String("#cv = :seen"),
		ExpressionAttributeNames: map[string]string{"#cv": aClientVersion}, ExpressionAttributeValues: item{":seen": num(seen)}}
	if seen == 0 {
		put.ConditionExpression, put.ExpressionAttributeValues = aws.String("attribute_not_exists(#cv)"), nil
	}
	reasons, err := s.db.commitWithAudit(ctx, "dynamo.PutClient", row, types.TransactWriteItem{Put: put})
	if reasons != nil {
		return changedMeanwhile("dynamo.PutClient")
	}
	return err
}

// ShardsInUse implements [org.SharingStore].
func (s Orgs) ShardsInUse(ctx context.Context, id string) (int, error) {
	const op = "dynamo.ShardsInUse"
	it, err := s.db.get(ctx, table.Config, table.Shards(id), true)
	if err != nil {
		return 0, configDown(op, err)
	}
	if it == nil {
		return 0, nil
	}
	n, err := decodeInUse(it)
	if err != nil {
		return 0, storedBadly(op, err)
	}
	return n, nil
}

// Drawn tells what an agency's clients have drawn in a day: all together, and each
// of those asked for. It implements [org.SharingStore].
func (s Orgs) Drawn(ctx context.Context, id, day string, clients []string) (total int64, each map[string]int64, err error) {
	const op = "dynamo.Drawn"
	keys := make([]table.Key, 0, 1+len(clients))
	keys = append(keys, table.Offer(id))
	for _, c := range clients {
		keys = append(keys, table.Drawn(id, c))
	}
	each = make(map[string]int64, len(clients))
	for first := 0; first < len(keys); first += 100 {
		items, err := s.db.Ledger().batchGet(ctx, keys[first:min(first+100, len(keys))])
		if err != nil {
			return 0, nil, ledgerUnavailable(op, err)
		}
		for _, it := range items {
			r := read(it)
			n, client := r.num(drawnPrefix+day), r.str(aClient)
			if r.err != nil {
				return 0, nil, ledgerRead(op, r.err)
			}
			if client == "" {
				total = n
			} else {
				each[client] = n
			}
		}
	}
	return total, each, nil
}

// Offer reads an agency's offer; the zero value if there is none. It implements
// [org.SharingStore].
func (s Orgs) Offer(ctx context.Context, id string) (agency.Offer, error) {
	const op = "dynamo.Offer"
	it, err := s.db.get(ctx, table.Ledger, table.Offer(id), true)
	if err != nil {
		return agency.Offer{}, ledgerUnavailable(op, err)
	}
	o, err := parseOffer(id, it)
	return o, ledgerRead(op, err)
}
