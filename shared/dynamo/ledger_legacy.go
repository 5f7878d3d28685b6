package dynamo

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/legacytokens"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Attributes of legacy billing. On a balance shard the mode says which of the two
// pays, credit or legacy; the counter has the mode in full.
const (
	aEpoch  = "ep" // on a balance, a counter and an attempt
	aLegacy = "lg" // on an attempt and its entry: the mode in which the counter pays
	aTokens = "tk" // on an entry: what was counted
	aShadow = "sc" // on a usage row: what credits would have paid

	aOpen       = "open"
	aTokenLimit = "lim"
	// usedPrefix begins the tokens of a period on a counter, paidPrefix those that
	// credits paid for on a balance shard.
	usedPrefix = "u_"
	paidPrefix = "m_"
)

// errOtherStamp says that the organisation's mode or epoch is not the stamp's.
var errOtherStamp = errors.New("dynamo: another ledger pays by now")

// stampRounds bounds how often a reserve follows a change of mode.
const stampRounds = 4

// stampWhere is the condition that a balance shard is of a stamp, and its names.
// An organisation that never had a legacy counter has no epoch on its balance.
func stampWhere(st credit.Stamp) (where string, names map[string]string, values item) {
	mode := credit.ModeCredit
	if st.Legacy() {
		mode = credit.ModeLegacy
	}
	names, values = map[string]string{"#mode": aMode, "#ep": aEpoch}, item{":mode": str(mode)}
	if st.Epoch == 0 {
		return "#mode = :mode AND attribute_not_exists(#ep)", names, values
	}
	values[":ep"] = num(st.Epoch)
	return "#mode = :mode AND #ep = :ep", names, values
}

// onShard reports whether a shard as it was read is of a stamp.
func onShard(it item, st credit.Stamp) bool {
	r := read(it)
	legacy := r.str(aMode) == credit.ModeLegacy
	return it != nil && r.num(aEpoch) == st.Epoch && legacy == st.Legacy()
}

// checkStamp is the action that checks the home shard and changes nothing.
func (s *LedgerStore) checkStamp(org string, st credit.Stamp) types.TransactWriteItem {
	where, names, values := stampWhere(st)
	return types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{
		TableName: s.db.name(table.Ledger), Key: keyItem(table.Balance(org, homeShard)), ConditionExpression: aws.String(where),
		ExpressionAttributeNames: names, ExpressionAttributeValues: values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}}
}

// openCount is the action that admits an attempt to a legacy counter: its mode and
// epoch are the stamp's, tokens were agreed and the month's are below the limit.
func (s *LedgerStore) openCount(r credit.ReserveRequest) types.TransactWriteItem {
	x := &expression{names: map[string]string{"#st": aState, "#ep": aEpoch, "#open": aOpen},
		values: item{":st": str(r.Stamp.Mode), ":ep": num(r.Stamp.Epoch), ":one": num(1)},
		set:    []string{"#open = #open + :one"}, where: []string{"#st = :st", "#ep = :ep"}}
	if r.Source == taxonomy.Platform {
		used, limit := x.name(usedPrefix+credit.CountPeriod(r.Now)), x.name(aTokenLimit)
		x.where = append(x.where, "attribute_exists("+x.name(aRounding)+")", "(attribute_not_exists("+limit+") OR attribute_not_exists("+used+") OR "+used+" < "+limit+")")
	}
	return types.TransactWriteItem{Update: &types.Update{
		TableName: s.db.name(table.Ledger), Key: keyItem(table.LegacyCounter(r.Org)),
		UpdateExpression: aws.String(x.update()), ConditionExpression: aws.String(x.condition()),
		ExpressionAttributeNames: x.names, ExpressionAttributeValues: x.values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}}
}

// stampRefused says why an admission was refused by the stamp's actions; nil if it
// was not.
func (res reservation) stampRefused(r credit.ReserveRequest, reasons []types.CancellationReason) error {
	switch {
	case failedCondition(reasons, res.stamp):
		return errOtherStamp
	case !failedCondition(reasons, res.counter):
		return nil
	}
	switch c := read(reasons[res.counter].Item); {
	case c.str(aState) != r.Stamp.Mode || c.num(aEpoch) != r.Stamp.Epoch:
		return errOtherStamp
	case !c.has(aRounding):
		return fault.New(fault.BillingDenied, "dynamo.Reserve", "nothing was agreed about this organisation's tokens yet; ask the operator to set the terms of its legacy tokens")
	}
	return fault.New(fault.InsufficientCredits, "dynamo.Reserve", "this month's tokens are used up; wait for the next month or ask the operator for more")
}

// restamp puts the present stamp on a request.
func (s *LedgerStore) restamp(ctx context.Context, r *credit.ReserveRequest) error {
	it, err := s.db.get(ctx, table.Ledger, table.LegacyCounter(r.Org), true)
	if err != nil {
		return ledgerUnavailable("dynamo.Reserve", err)
	}
	r.Stamp = credit.Stamp{Mode: credit.ModeCredit}
	if it == nil {
		return nil
	}
	rd := read(it)
	r.Stamp = credit.StampOf(rd.str(aState), rd.num(aEpoch))
	return ledgerRead("dynamo.Reserve", rd.err)
}

// stampItem writes the stamp on an attempt. Nothing means credits of an
// organisation that never had a counter.
func stampItem(it item, st credit.Stamp) {
	if st.Legacy() {
		it[aLegacy] = str(st.Mode)
	}
	if st.Epoch > 0 {
		it[aEpoch] = num(st.Epoch)
	}
}

func parseStamp(r *reader) credit.Stamp {
	st := credit.Stamp{Mode: r.str(aLegacy), Epoch: r.num(aEpoch)}
	switch {
	case st.Mode == "" && st.Epoch > 0:
		st.Mode = credit.ModeCredit
	case st.Mode != "" && !st.Legacy():
		r.fail(aLegacy)
	}
	return st
}

// periods reads the attributes of an item that begin with a prefix, by period.
func periods(r *reader, prefix string) map[string]int64 {
	var out map[string]int64
	for name := range r.it {
		if p, ok := strings.CutPrefix(name, prefix); ok {
			if out == nil {
				out = map[string]int64{}
			}
			out[p] = r.num(name)
		}
	}
	return out
}

// legacyMax is how many attempts of a counter share a transaction: each may have a
// day and model of its own.
const legacyMax = 32

// countPaid adds to a balance update the tokens that credits paid for, of an
// organisation that has left its counter.
func countPaid(u *types.Update, g []*due) {
	if g[0].used.Stamp.Epoch == 0 {
		return
	}
	u.UpdateExpression = aws.String(*u.UpdateExpression + ", #m = if_not_exists(#m, :none) + :t")
	u.ExpressionAttributeNames = map[string]string{"#m": paidPrefix + credit.CountPeriod(g[0].used.At)}
	for k, v := range settleBalanceNames {
		u.ExpressionAttributeNames[k] = v
	}
	u.ExpressionAttributeValues[":none"], u.ExpressionAttributeValues[":t"] = num(0), num(tokensOf(g))
}

func tokensOf(g []*due) (n int64) {
	for _, d := range g {
		n += d.used.Tokens()
	}
	return n
}

// payment are the first actions of a settlement: the balance, or the counter where
// that pays, and that the entries' months are open. Charges of a counter are per day
// and model beside it. params are what the token must depend on besides the attempts.
func (s *LedgerStore) payment(ctx context.Context, tx *settlement, g []*due, earliest time.Time) (acts []types.TransactWriteItem, params []string, err error) {
	acts = s.settledBalances(tx, make([]types.TransactWriteItem, 0, 2+2*len(g)), g, earliest)
	if !g[0].used.Stamp.Legacy() {
		return acts, nil, nil
	}
	c, err := s.counter(ctx, g[0].used.Org)
	if err != nil {
		return nil, nil, err
	}
	if c.Mode == org.LedgerCredit {
		// The call was given up for dead, the counter closed, and then it came. It is
		// the counter's to pay, and noted where a rollback finds it.
		if tokensOf(g) > 0 {
			acts, tx.fences = append(acts[:0], s.noteLate(g, earliest)), []int{0}
		}
		return acts, []string{"closed"}, nil
	}
	acts = append(acts, s.countUsed(g))
	days := map[string]*legacytokens.Day{}
	var order []string
	for _, d := range g {
		if d.used.Source != taxonomy.Platform || d.used.Kind == credit.Refused {
			continue
		}
		ch := legacytokens.Charge(c.Terms, d.used)
		key := ch.Day + "#" + ch.Model
		if days[key] == nil {
			days[key] = &legacytokens.Day{Day: ch.Day, Model: ch.Model, Diff: map[legacytokens.Class]credit.Micro{}}
			order = append(order, key)
		}
		day := days[key]
		day.Requests, day.Input, day.Output, day.Money = day.Requests+1, day.Input+ch.Input, day.Output+ch.Output, day.Money+ch.Money
		if ch.Class != "" {
			day.Diff[ch.Class] += ch.Diff
		}
		params = append(params, key, strconv.FormatInt(int64(ch.Money), 10), strconv.FormatInt(int64(ch.Diff), 10), string(ch.Class))
	}
	for _, key := range order {
		acts = append(acts, s.addDay(g[0].used.Org, *days[key]))
	}
	return acts, params, nil
}

// countUsed adds tokens to a counter, and ends what was open there. The condition is
// what keeps a counter shut while credits pay.
func (s *LedgerStore) countUsed(g []*due) types.TransactWriteItem {
	ended := int64(0)
	for _, d := range g {
		if !d.used.Expired {
			ended++
		}
	}
	return types.TransactWriteItem{Update: &types.Update{
		TableName: s.db.name(table.Ledger), Key: keyItem(table.LegacyCounter(g[0].used.Org)),
		UpdateExpression:    aws.String("SET #open = #open - :n, #u = if_not_exists(#u, :none) + :t"),
		ConditionExpression: aws.String(counterPays),
		ExpressionAttributeNames: map[string]string{"#st": aState, "#open": aOpen,
			"#u": usedPrefix + credit.CountPeriod(g[0].used.At)},
		ExpressionAttributeValues: item{":n": num(ended), ":none": num(0), ":t": num(tokensOf(g)), ":credit": str(credit.ModeCredit)},
	}}
}

// counterPays lets calls that a counter pays for end there until it is closed.
const counterPays = "attribute_exists(#st) AND #st <> :credit"

// noteLate counts tokens of a closed counter among those that a rollback counts.
func (s *LedgerStore) noteLate(g []*due, earliest time.Time) types.TransactWriteItem {
	return types.TransactWriteItem{Update: &types.Update{
		TableName: s.db.name(table.Ledger), Key: keyItem(table.Balance(g[0].used.Org, homeShard)),
		UpdateExpression:                    aws.String("SET #m = if_not_exists(#m, :none) + :t, #ver = #ver + :one"),
		ConditionExpression:                 aws.String("attribute_exists(#ver) AND " + takesEntries),
		ExpressionAttributeNames:            map[string]string{"#m": paidPrefix + credit.CountPeriod(g[0].used.At), "#ver": aVersion, "#cl": aClosed},
		ExpressionAttributeValues:           item{":none": num(0), ":t": num(tokensOf(g)), ":one": num(1), ":at": millis(earliest)},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}}
}

// Attributes of a day of a counter.
const (
	aDayRequests = "n"
	aDayInput    = "in"
	aDayOutput   = "out"
	aDayMoney    = "money"
	diffPrefix   = "d_"
)

func (s *LedgerStore) addDay(org string, d legacytokens.Day) types.TransactWriteItem {
	names := map[string]string{"#n": aDayRequests, "#in": aDayInput, "#out": aDayOutput, "#money": aDayMoney}
	values := item{":n": num(d.Requests), ":in": num(d.Input), ":out": num(d.Output), ":money": num(int64(d.Money))}
	expr := "ADD #n :n, #in :in, #out :out, #money :money"
	for i, class := range legacytokens.Classes() {
		if v := d.Diff[class]; v != 0 {
			alias := strconv.Itoa(i)
			names["#d"+alias], values[":d"+alias] = diffPrefix+string(class), num(int64(v))
			expr += ", #d" + alias + " :d" + alias
		}
	}
	return types.TransactWriteItem{Update: &types.Update{TableName: s.db.name(table.Ledger), Key: keyItem(table.LegacyDay(org, d.Day, d.Model)),
		UpdateExpression: aws.String(expr), ExpressionAttributeNames: names, ExpressionAttributeValues: values}}
}

// endOpen ends an attempt of a counter that was given up. What it used may still
// come, and is counted then.
func (s *LedgerStore) endOpen(org string) types.TransactWriteItem {
	return types.TransactWriteItem{Update: &types.Update{
		TableName: s.db.name(table.Ledger), Key: keyItem(table.LegacyCounter(org)),
		UpdateExpression: aws.String("SET #open = #open - :one"), ConditionExpression: aws.String(counterPays + " AND #open >= :one"),
		ExpressionAttributeNames:  map[string]string{"#open": aOpen, "#st": aState},
		ExpressionAttributeValues: item{":one": num(1), ":credit": str(credit.ModeCredit)},
	}}
}

// alignShards gives shards that a change of mode has not reached yet the mode of
// home, and returns which may be used: those that are of home's epoch.
func (s *LedgerStore) alignShards(ctx context.Context, a *credit.Account) error {
	for i := 1; i < len(a.Shards); i++ {
		sh := &a.Shards[i]
		if sh.Epoch >= a.Epoch {
			continue
		}
		if err := s.setMode(ctx, a.Org, i, a.Mode, a.Epoch); err != nil {
			return err
		}
		sh.Mode, sh.Epoch = a.Mode, a.Epoch
	}
	return nil
}

// setMode brings one shard into an epoch; one that is in a later one stays.
func (s *LedgerStore) setMode(ctx context.Context, org string, shard int, mode string, epoch int64) error {
	u := s.modeUpdate(org, shard, mode, epoch)
	out, _ := s.actUpdate(ctx, updateInput(u))
	if out != didWrite && out != didFailCondition {
		return ledgerUnavailable("dynamo.setMode", nil)
	}
	return nil
}

// modeUpdate is the write that brings a shard into an epoch.
func (s *LedgerStore) modeUpdate(org string, shard int, mode string, epoch int64) *types.Update {
	return &types.Update{TableName: s.db.name(table.Ledger), Key: keyItem(table.Balance(org, shard)),
		UpdateExpression:          aws.String("SET #mode = :mode, #ep = :ep, #ver = #ver + :one"),
		ConditionExpression:       aws.String("attribute_exists(#ver) AND (attribute_not_exists(#ep) OR #ep < :ep OR (#ep = :ep AND #mode = :mode))"),
		ExpressionAttributeNames:  map[string]string{"#mode": aMode, "#ep": aEpoch, "#ver": aVersion},
		ExpressionAttributeValues: item{":mode": str(mode), ":ep": num(epoch), ":one": num(1)}}
}

// usable leaves out shards that another epoch has.
func usable(a credit.Account, shard int) bool {
	return a.Shards[shard].Epoch == a.Epoch && a.Shards[shard].Mode == a.Mode
}
