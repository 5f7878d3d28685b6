package dynamo

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/agency"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// An agency's offer is one item beside its balance, and each client has one more
// there: both count by day what is held and what was charged ("d." and the day).
// The offer is the only authority: a draw is written on condition of its version.
// The counters are changed in the transactions of the hold itself (reserve, extend,
// expire, settle), so nothing has to find out later what they should be.
//
// Every draw of an agency's clients writes the offer's item: together they get what
// one item takes, about 10 requests a second in comfort.
const (
	drawnPrefix = "d."
	aAgency     = "pay" // on requests and entries: the agency that pays
	aDrawDay    = "day"
	aClient     = "cli"
	aDrawPaid   = "paid"

	aOfferActive = "on"
	aOfferTier   = "tier"
	aOfferMode   = "omode"
	aClientCap   = "ccap"
	aTotalCap    = "tcap"
	aOfferShards = "use"

	// A draw ends at the latest a day after its own, unless settlement stood still;
	// each draw removes the counters of the days before.
	drawnDaysKept    = 3
	drawnDaysRemoved = 8
)

// drawChange adds by to the counters of a draw. Without limits it always succeeds.
type drawChange struct {
	agency, client, day string
	by                  credit.Micro
	// absent is what a counter that does not exist is taken for.
	absent credit.Micro
	limits *credit.Draw
	// extends says that the draw was admitted before: the offer may have changed
	// since, its agency must still be active.
	extends bool
}

// draws adds the two writes of a change; the first is the offer's.
func (s *LedgerStore) draws(acts []types.TransactWriteItem, c drawChange) ([]types.TransactWriteItem, int) {
	at := len(acts)
	return append(acts, s.drawn(c, true), s.drawn(c, false)), at
}

func (s *LedgerStore) drawn(c drawChange, total bool) types.TransactWriteItem {
	key := table.Drawn(c.agency, c.client)
	if total {
		key = table.Offer(c.agency)
	}
	names := map[string]string{"#d": drawnPrefix + c.day}
	values := item{":by": num(int64(c.by)), ":absent": num(int64(c.absent))}
	u := &types.Update{TableName: s.db.name(table.Ledger), Key: keyItem(key), ExpressionAttributeNames: names, ExpressionAttributeValues: values}
	expr := "SET #d = if_not_exists(#d, :absent) + :by"
	if !total {
		names["#cli"], values[":cli"] = aClient, str(c.client)
		expr += ", #cli = :cli"
	}
	if l := c.limits; l != nil {
		expr += removeOldDays(names, c.day)
		cap := l.ClientCap
		if total {
			cap = l.TotalCap
		}
		values[":room"] = num(int64(cap - c.by))
		where := "#d <= :room"
		if c.by <= cap {
			where = "(attribute_not_exists(#d) OR " + where + ")"
		}
		if total {
			names["#on"], values[":yes"] = aOfferActive, boolean(true)
			where = "#on = :yes AND " + where
			if !c.extends {
				names["#v"], values[":v"] = aVersion, num(l.Version)
				where = "#v = :v AND " + where
			}
		}
		u.ConditionExpression = aws.String(where)
		u.ReturnValuesOnConditionCheckFailure = types.ReturnValuesOnConditionCheckFailureAllOld
	}
	u.UpdateExpression = aws.String(expr)
	return types.TransactWriteItem{Update: u}
}

func removeOldDays(names map[string]string, day string) string {
	at, err := time.Parse("20060102", day)
	if err != nil {
		return ""
	}
	old := make([]string, drawnDaysRemoved)
	for i := range old {
		old[i] = "#o" + string(rune('0'+i))
		names[old[i]] = drawnPrefix + agency.Day(at.AddDate(0, 0, -drawnDaysKept-i))
	}
	return " REMOVE " + strings.Join(old, ", ")
}

// undrawn says why a draw was refused; nil if it was not. at is the action of the
// offer, -1 if nothing is drawn.
func undrawn(d *credit.Draw, now time.Time, at int, reasons []types.CancellationReason) error {
	switch {
	case at < 0:
		return nil
	case failedCondition(reasons, at):
		o, err := parseOffer(d.Agency, reasons[at].Item)
		if err != nil {
			return storedBadly("dynamo.Reserve", err)
		}
		if o.Version != d.Version || !o.Active {
			return credit.ErrOfferChanged(o)
		}
		return credit.ErrCap(true, d.TotalCap, now)
	case failedCondition(reasons, at+1):
		return credit.ErrCap(false, d.ClientCap, now)
	}
	return nil
}

func offerItem(o agency.Offer) item {
	return item{aVersion: num(o.Version), aOfferActive: boolean(o.Active), aOfferTier: str(string(o.Tier)), aOfferMode: str(string(o.Policy.Mode)),
		aClientCap: num(o.Policy.ClientPerDay), aTotalCap: num(o.Policy.TotalPerDay), aOfferShards: num(int64(o.Shards))}
}

// parseOffer gives a zero offer for an absent item.
func parseOffer(id string, it item) (agency.Offer, error) {
	r := read(it)
	o := agency.Offer{Agency: id, Version: r.num(aVersion), Active: r.bool(aOfferActive), Tier: taxonomy.Tier(r.str(aOfferTier)),
		Policy: agency.Policy{Mode: agency.Mode(r.str(aOfferMode)), ClientPerDay: r.num(aClientCap), TotalPerDay: r.num(aTotalCap)},
		Shards: int(r.num(aOfferShards))}
	return o, r.err
}

// drawOf is the draw of a stored attempt, nil if its organisation pays itself.
// known has the caps, if they are those of the same agency.
func drawOf(r *reader, known *credit.Draw) *credit.Draw {
	id := r.str(aAgency)
	if id == "" {
		return nil
	}
	d := credit.Draw{Agency: id}
	if known != nil && known.Agency == id {
		d = *known
	}
	d.Day = r.str(aDrawDay)
	return &d
}

// holdBucket is the index partition of an attempt.
func holdBucket(org, request string, d *credit.Draw) string {
	if d != nil {
		return table.DrawBucket(d.Agency, request)
	}
	return table.HoldBucket(org, request)
}

// offerWrite replaces an agency's offer; what was drawn stays. The organisation's
// own version, in the same transaction, guards it.
func (db *DB) offerWrite(o agency.Offer) types.TransactWriteItem {
	attributes := offerItem(o)
	set := make([]string, 0, len(attributes))
	names, values := make(map[string]string, len(attributes)), make(item, len(attributes))
	for i, name := range slices.Sorted(maps.Keys(attributes)) {
		n := strconv.Itoa(i)
		names["#"+n], values[":"+n] = name, attributes[name]
		set = append(set, "#"+n+" = :"+n)
	}
	return types.TransactWriteItem{Update: &types.Update{TableName: db.name(table.Ledger), Key: keyItem(table.Offer(o.Agency)),
		UpdateExpression: aws.String("SET " + strings.Join(set, ", ")), ExpressionAttributeNames: names, ExpressionAttributeValues: values}}
}
