package dynamo

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/table"
)

// settleMax is how many attempts share a transaction: with the balance and two
// items each, 99 actions of the 100 that are allowed. Attempts that may have two
// entries have three items each, and stand beside the balance and up to three others:
// what an agency's clients drew and the client's balance, or what a free allowance
// took.
const (
	settleMax    = 49
	settleMaxTwo = 32
)

// settleRounds is how often a batch is cut down before its members go one by one.
const settleRounds = 2

// due is one attempt on its way through a batch.
type due struct {
	used    credit.Used
	key     table.Key
	verdict credit.Verdict
	// closed is from when on its entries can be written, as far as is known.
	closed time.Time
}

// entries are the entries of the attempt when they are written now.
func (d *due) entries(now time.Time) []credit.Entry {
	out := d.used.Entries()
	for i, e := range out {
		out[i] = e.NotBefore(d.closed, now)
	}
	return out
}

// settleLane is what may share a transaction: attempts on one balance, or
// attempts that move none.
type settleLane struct {
	payer string
	shard int
	moves bool
	// client and day are set where an agency pays.
	client, day string
	// fees says that fees are charged, month whose allowance is counted, zero if none.
	fees  bool
	month table.Key
	// legacy lanes move a counter; period is the month, where tokens are counted.
	legacy bool
	period string
}

func laneOf(u credit.Used) settleLane {
	l := settleLane{payer: u.Payer(), shard: u.Shard, moves: u.MovesBalance(), legacy: u.Stamp.Legacy()}
	if u.Agency != "" {
		l.client, l.day = u.Org, u.Day
	}
	l.fees = l.moves && u.Own()
	if u.Counts() {
		l.month = table.FreeRequests(u.Org, u.Created)
	}
	if l.legacy || u.Stamp.Epoch > 0 {
		l.period = credit.CountPeriod(u.At)
	}
	return l
}

// most is how many attempts of the lane share a transaction.
func (l settleLane) most() int {
	switch {
	case l.legacy:
		return legacyMax
	case l.fees || l.client != "":
		return settleMaxTwo
	}
	return settleMax
}

// Settle implements credit.SettleStore.
func (s *LedgerStore) Settle(ctx context.Context, used []credit.Used, now time.Time) []credit.Verdict {
	at := make([]*due, len(used))
	byKey := make(map[table.Key]*due, len(used))
	lanes := make(map[settleLane][]*due, 1)
	var order []settleLane
	for i, u := range used {
		key := table.Request(u.Org, u.Request, u.Attempt)
		if d := byKey[key]; d != nil {
			at[i] = d // two actions on one item would be refused
			continue
		}
		d := &due{used: u, key: key}
		at[i], byKey[key] = d, d
		lane := laneOf(u)
		if lanes[lane] == nil {
			order = append(order, lane)
		}
		lanes[lane] = append(lanes[lane], d)
	}
	// Each on its own item: a busy organisation's batch has as many lanes as
	// records, and one after the other they would fall behind the stream.
	rows := laneRows(order)
	s.db.pace.Each(ctx, len(rows), func(ctx context.Context, i int) {
		for _, lane := range rows[i] {
			for g := lanes[lane]; len(g) > 0; {
				n := min(len(g), lane.most())
				s.settleBatch(ctx, g[:n], now)
				g = g[n:]
			}
		}
	})
	s.coverDebts(ctx, order, lanes)
	out := make([]credit.Verdict, len(used))
	for i, d := range at {
		out[i] = d.verdict
	}
	return out
}

// laneRows groups lanes that are settled one after the other: what clients draw of
// one agency meets on its offer, what counts towards an allowance on its count.
func laneRows(order []settleLane) (rows [][]settleLane) {
	of := make(map[string]int)
	for _, lane := range order {
		meets := lane.client != "" || lane.month != (table.Key{})
		at, there := of[lane.payer]
		if !meets || !there {
			at = len(rows)
			rows = append(rows, nil)
			if meets {
				of[lane.payer] = at
			}
		}
		rows[at] = append(rows[at], lane)
	}
	return rows
}

// coverDebts pays what settlement took from shards beyond their credit with the
// credit of others, which would be reserved otherwise although it is owed. Only
// charges above their holds can make a debt, so few batches read anything here. A
// failure leaves it to the sweep.
func (s *LedgerStore) coverDebts(ctx context.Context, order []settleLane, lanes map[settleLane][]*due) {
	var looked []string
	for _, lane := range order {
		var over credit.Micro
		for _, d := range lanes[lane] {
			over += d.used.Amount - d.used.Hold
		}
		if !lane.moves || over <= 0 || slices.Contains(looked, lane.payer) {
			continue
		}
		looked = append(looked, lane.payer)
		a, err := s.Account(ctx, lane.payer)
		if err == nil && len(a.Shards) > 1 && slices.ContainsFunc(a.Shards, func(sh credit.Shard) bool { return sh.Available < 0 }) {
			_ = s.Spread(ctx, a, max(a.Load.InUse, 1))
		}
	}
}

// settleBatch brings every member of g to a verdict. One bad member costs its
// batch mates one more transaction, never their settlement.
func (s *LedgerStore) settleBatch(ctx context.Context, g []*due, now time.Time) {
	counts := 0
	for round := 0; len(g) > 0; round++ {
		if round > settleRounds && len(g) > 1 {
			for i := range g {
				s.settleBatch(ctx, g[i:i+1], now)
			}
			return
		}
		free, err := s.allowance(ctx, g)
		if err != nil {
			undecided(g)
			return
		}
		tx, err := s.settlement(ctx, g, free, now)
		if err != nil {
			undecided(g)
			return
		}
		out, reasons, _ := s.act(ctx, tx.in, nil)
		switch out {
		case didWrite:
			for _, d := range g {
				d.verdict = credit.Verdict{Result: credit.Applied, State: d.used.Final()}
			}
			return
		case didRefuse:
			s.halve(ctx, g, now, "invalid")
			return
		case didCancel:
			rest, changed := s.drop(ctx, g, tx, reasons, now)
			if !changed && failedCondition(reasons, tx.count) {
				// Another settlement counted meanwhile: it is read again.
				if counts++; counts == ledgerTries || backoff(ctx, counts) != nil {
					undecided(g)
					return
				}
				round--
				continue
			}
			learned := changed || learnClosed(g, tx, reasons)
			if !learned && g[0].used.Stamp.Legacy() && round < settleRounds {
				continue // the counter was closed or opened meanwhile
			}
			if !learned {
				s.halve(ctx, g, now, balanceReason(reasons))
				return
			}
			g = rest
		default:
			undecided(g)
			return
		}
		if round > 2*settleRounds {
			undecided(g) // a lone attempt whose stored values keep changing
			return
		}
	}
}

// balanceReason names a refusal that blames no member: the balance holds less
// than the attempts do, does not exist, or a value is invalid.
func balanceReason(reasons []types.CancellationReason) string {
	for i := range reasons {
		if aws.ToString(reasons[i].Code) == "ValidationError" {
			return "invalid"
		}
	}
	return "balance_refused"
}

// learnClosed takes from balances that refused entries of a closed month when that
// month ended; it reports whether any entry has to move.
func learnClosed(g []*due, tx settlement, reasons []types.CancellationReason) (moved bool) {
	var closed time.Time
	for _, i := range tx.fences {
		if failedCondition(reasons, i) {
			if t := read(reasons[i].Item).time(aClosed); t.After(closed) {
				closed = t
			}
		}
	}
	for _, d := range g {
		if d.closed.Before(closed) {
			moved = moved || d.used.At.Before(closed)
			d.closed = closed
		}
	}
	return moved
}

func undecided(g []*due) {
	for _, d := range g {
		d.verdict = credit.Verdict{Result: credit.Undecided}
	}
}

// halve narrows a failure that names no member down to the one that causes it.
func (s *LedgerStore) halve(ctx context.Context, g []*due, now time.Time, reason string) {
	if len(g) == 1 {
		s.poison(ctx, g[0], reason, now)
		return
	}
	s.settleBatch(ctx, g[:len(g)/2], now)
	s.settleBatch(ctx, g[len(g)/2:], now)
}

func (s *LedgerStore) poison(ctx context.Context, d *due, reason string, now time.Time) {
	d.verdict = credit.Verdict{Result: credit.Poisoned, Reason: reason}
	if s.Poison(ctx, credit.Poison{PK: d.key.PK, SK: d.key.SK, Reason: reason, At: now}) != nil {
		d.verdict = credit.Verdict{Result: credit.Undecided}
	}
}

// drop takes the members out of g that the reasons decide, and gives those whose
// stored values differ from the delivered ones the stored values. changed is
// false if no member was to blame.
func (s *LedgerStore) drop(ctx context.Context, g []*due, tx settlement, reasons []types.CancellationReason, now time.Time) (rest []*due, changed bool) {
	rest = make([]*due, 0, len(g))
	for i, d := range g {
		switch {
		case failedCondition(reasons, tx.first+i):
			changed = true
			if s.stale(ctx, d, reasons[tx.first+i].Item, now) {
				rest = append(rest, d)
			}
		case failedCondition(reasons, tx.entry[i]), tx.second[i] && failedCondition(reasons, tx.entry[i]+1):
			// The attempt is USED but its entry exists: somebody wrote it
			// outside of settlement. Never overwrite.
			changed = true
			s.poison(ctx, d, "entry_exists", now)
		default:
			rest = append(rest, d)
		}
	}
	return rest, changed
}

// stale decides a member whose attempt is not as it was delivered; it reports
// whether to try again with the stored values.
func (s *LedgerStore) stale(ctx context.Context, d *due, old item, now time.Time) bool {
	state := credit.State(read(old).str(aState))
	switch {
	case old == nil:
		s.poison(ctx, d, "request_missing", now)
	case state.Final():
		d.verdict = credit.Verdict{Result: credit.Done, State: state}
	case state != credit.UsedState:
		s.poison(ctx, d, "not_used", now)
	default:
		stored, err := parseUsed(old)
		if err != nil {
			s.poison(ctx, d, "unreadable", now)
			return false
		}
		if laneOf(stored) != laneOf(d.used) {
			// Belongs into another transaction.
			d.used = stored
			s.settleBatch(ctx, []*due{d}, now)
			return false
		}
		d.used = stored
		return true
	}
	return false
}

// settlement is one settle transaction and the places of its actions.
type settlement struct {
	in     *dynamodb.TransactWriteItemsInput
	first  int    // attempt i is action first+i
	entry  []int  // action of the first entry of attempt i, -1 if it has none
	second []bool // attempt i has another entry behind it
	count  int    // action of the count of free requests, -1 if nothing counts
	// fences are the actions that keep entries out of closed months.
	fences []int
}

var (
	settleNames        = map[string]string{"#st": aState, "#hold": aHold, "#a": aAmount, "#hx": table.HoldsPK}
	settleWaivedNames  = map[string]string{"#st": aState, "#hold": aHold, "#a": aAmount, "#hx": table.HoldsPK, "#fw": aWaived}
	settleBalanceNames = map[string]string{"#held": aHeld, "#posted": aPosted, "#avail": aAvail, "#ver": aVersion, "#cl": aClosed}
	closedName         = map[string]string{"#cl": aClosed}
)

// settledBalances adds the write of the balance that attempts settle on, and checks
// that months are open for those who have entries besides: who pays nothing, and the
// clients of whoever pays. earliest is the time of the first entry, zero if there
// is none.
func (s *LedgerStore) settledBalances(tx *settlement, acts []types.TransactWriteItem, g []*due, earliest time.Time) []types.TransactWriteItem {
	ledger, u := s.db.name(table.Ledger), g[0].used
	var hold, amount credit.Micro
	for _, d := range g {
		hold += d.used.Hold
		amount += d.used.Charge()
	}
	others := make([]string, 0, 2)
	if u.MovesBalance() {
		at := earliest
		if at.IsZero() {
			at = maxEntryTime // nothing but refused calls
		}
		tx.fences = append(tx.fences, len(acts))
		balance := &types.Update{
			TableName: ledger, Key: keyItem(table.Balance(u.Payer(), u.Shard)),
			UpdateExpression:         aws.String("SET #held = #held - :h, #posted = #posted - :a, #avail = #avail + :d, #ver = #ver + :one"),
			ConditionExpression:      aws.String("#held >= :h AND " + takesEntries),
			ExpressionAttributeNames: settleBalanceNames,
			ExpressionAttributeValues: item{":h": num(int64(hold)), ":a": num(int64(amount)),
				":d": num(int64(hold - amount)), ":one": num(1), ":at": millis(at)},
			ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		}
		countPaid(balance, g)
		acts = append(acts, types.TransactWriteItem{Update: balance})
		if u.Agency != "" && amount != hold {
			acts, _ = s.draws(acts, drawChange{agency: u.Agency, client: u.Org, day: u.Day, by: amount - hold, absent: hold})
		}
	} else {
		others = append(others, u.Payer())
	}
	if u.Agency != "" {
		others = append(others, u.Org)
	}
	for _, org := range others {
		if earliest.IsZero() {
			break
		}
		tx.fences = append(tx.fences, len(acts))
		acts = append(acts, types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{
			TableName: ledger, Key: keyItem(table.Balance(org, homeShard)),
			ConditionExpression: aws.String(takesEntries), ExpressionAttributeNames: closedName,
			ExpressionAttributeValues:           item{":at": millis(earliest)},
			ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		}})
	}
	return acts
}

// ended is the write that ends an attempt.
func (s *LedgerStore) ended(d *due, hold, amount string) types.TransactWriteItem {
	u := &types.Update{
		TableName: s.db.name(table.Ledger), Key: keyItem(d.key),
		UpdateExpression:         aws.String("SET #st = :final REMOVE #hx"),
		ConditionExpression:      aws.String("#st = :used AND #hold = :h AND #a = :a"),
		ExpressionAttributeNames: settleNames,
		ExpressionAttributeValues: item{":final": str(string(d.used.Final())), ":used": str(string(credit.UsedState)),
			":h": &types.AttributeValueMemberN{Value: hold}, ":a": &types.AttributeValueMemberN{Value: amount}},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	if d.used.Waived {
		u.UpdateExpression, u.ExpressionAttributeNames = aws.String("SET #st = :final, #fw = :yes REMOVE #hx"), settleWaivedNames
		u.ExpressionAttributeValues[":yes"] = boolean(true)
	}
	return types.TransactWriteItem{Update: u}
}

// settlement makes the transaction of a batch. The error is that of a read.
func (s *LedgerStore) settlement(ctx context.Context, g []*due, free counted, now time.Time) (settlement, error) {
	ledger := s.db.name(table.Ledger)
	tx := settlement{entry: make([]int, len(g)), second: make([]bool, len(g)), count: -1}
	entries := make([][]credit.Entry, len(g))
	var earliest time.Time
	for i, d := range g {
		entries[i] = d.entries(now)
		for _, e := range entries[i] {
			if earliest.IsZero() || e.At.Before(earliest) {
				earliest = e.At
			}
		}
	}
	acts, params, err := s.payment(ctx, &tx, g, earliest)
	if err != nil {
		return tx, err
	}
	if free.taken > 0 {
		tx.count = len(acts)
		acts = append(acts, s.count(free))
		params = append(params, strconv.FormatInt(free.seen, 10))
	}
	params = append(params, strconv.FormatInt(earliest.UnixMilli(), 10))
	tx.first = len(acts)
	for _, d := range g {
		h, a := strconv.FormatInt(int64(d.used.Hold), 10), strconv.FormatInt(int64(d.used.Amount), 10)
		params = append(params, d.key.PK+"|"+d.key.SK, h, a)
		acts = append(acts, s.ended(d, h, a))
	}
	for i := range g {
		tx.entry[i] = -1
		for k, e := range entries[i] {
			if tx.second[i] = k > 0; k == 0 {
				tx.entry[i] = len(acts)
			}
			acts = append(acts, ledgerPut(ledger, entryItem(e), ifAbsent))
		}
	}
	tx.in = &dynamodb.TransactWriteItemsInput{TransactItems: acts, ClientRequestToken: s.token(table.Ledger, "settle", params...)}
	return tx, nil
}
