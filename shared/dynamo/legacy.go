package dynamo

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/legacytokens"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/table"
)

// Legacy implements [legacytokens.Store] on the ledger table.
type Legacy struct{ s *LedgerStore }

var (
	_ legacytokens.Store  = Legacy{}
	_ legacytokens.Drains = Legacy{}
)

// Legacy returns the store of legacy token counters.
func (db *DB) Legacy() Legacy { return Legacy{db.Ledger()} }

// Attributes of a counter, besides those of ledger_legacy.go.
const (
	aModeSince   = "at"
	aShadowUntil = "until"
	aCutover     = "cut"
	aRatePico    = "rate"
	aRounding    = "unit"
	aRates       = "rates"
	aOpening     = "og"
	aOpeningAmt  = "oa"
	aOpeningPer  = "op"
	aOpeningUsed = "ou"
	aCounterVer  = "ver"
	seededPrefix = "s_"
)

func (s *LedgerStore) counter(ctx context.Context, orgID string) (legacytokens.Counter, error) {
	const op = "dynamo.Counter"
	it, err := s.db.get(ctx, table.Ledger, table.LegacyCounter(orgID), true)
	if err != nil {
		return legacytokens.Counter{}, ledgerUnavailable(op, err)
	}
	c, err := parseCounter(orgID, it)
	return c, ledgerRead(op, err)
}

func parseCounter(orgID string, it item) (legacytokens.Counter, error) {
	if it == nil {
		return legacytokens.Counter{Org: orgID, Mode: org.LedgerCredit}, nil
	}
	r := read(it)
	c := legacytokens.Counter{Org: orgID, Mode: org.LedgerMode(r.str(aState)), Epoch: r.num(aEpoch), Since: r.time(aModeSince),
		ShadowUntil: r.time(aShadowUntil), Cutover: r.time(aCutover), Open: r.num(aOpen), Version: r.num(aCounterVer),
		Terms:   legacytokens.Terms{Limit: r.num(aTokenLimit), RatePico: r.num(aRatePico), Rounding: credit.Micro(r.num(aRounding))},
		Opening: legacytokens.Opening{ID: r.str(aOpening), Amount: credit.Micro(r.num(aOpeningAmt)), Period: r.str(aOpeningPer), Used: r.num(aOpeningUsed)},
		Used:    periods(r, usedPrefix), Seeded: periods(r, seededPrefix)}
	for _, v := range r.list(aRates) {
		m, ok := v.(*types.AttributeValueMemberM)
		if !ok {
			r.fail(aRates)
			break
		}
		rate := read(m.Value)
		c.Terms.Rates = append(c.Terms.Rates, legacytokens.Rate{Model: rate.str("m"), InputPico: rate.num("i"), OutputPico: rate.num("o")})
		if rate.err != nil {
			return c, rate.err
		}
	}
	return c, r.err
}

// Counter implements [legacytokens.Store].
func (l Legacy) Counter(ctx context.Context, orgID string) (legacytokens.Counter, error) {
	return l.s.counter(ctx, orgID)
}

// Draining implements [legacytokens.Drains].
func (l Legacy) Draining(ctx context.Context, now time.Time, limit int) (orgs []string, err error) {
	items, err := l.s.dueIn(ctx, table.LegacyDraining, now, limit)
	if err != nil {
		return nil, ledgerUnavailable("dynamo.Draining", err)
	}
	for _, it := range items {
		if orgID, ok := table.LegacyCounterOrg(read(it).str(table.PK)); ok {
			orgs = append(orgs, orgID)
		}
	}
	return orgs, nil
}

func termValues(x *expression, t legacytokens.Terms) {
	rates := make([]types.AttributeValue, len(t.Rates))
	for i, r := range t.Rates {
		rates[i] = mapping(item{"m": str(r.Model), "i": num(r.InputPico), "o": num(r.OutputPico)})
	}
	for _, a := range [...]struct {
		name  string
		value types.AttributeValue
	}{{aRatePico, num(t.RatePico)}, {aRounding, num(int64(t.Rounding))}, {aRates, list(rates...)}} {
		x.set = append(x.set, x.name(a.name)+" = "+x.value(a.value))
	}
	if limit := x.name(aTokenLimit); t.Limit > 0 {
		x.set = append(x.set, limit+" = "+x.value(num(t.Limit)))
	} else {
		x.remove = append(x.remove, limit)
	}
}

// SetTerms implements [legacytokens.Store].
func (l Legacy) SetTerms(ctx context.Context, orgID string, t legacytokens.Terms, seen int64, row audit.Row) error {
	const op = "dynamo.SetTerms"
	x := &expression{names: map[string]string{}, values: item{}}
	termValues(x, t)
	ver, st := x.name(aCounterVer), x.name(aState)
	x.set = append(x.set, ver+" = "+x.value(num(seen+1)))
	x.where = append(x.where, ver+" = "+x.value(num(seen)), l.open(x, st))
	lost, err := l.s.db.commitWithAudit(ctx, op, row, types.TransactWriteItem{Update: counterUpdate(l.s.db, orgID, x)})
	if err != nil {
		return ledgerUnavailable(op, err)
	}
	if lost != nil {
		return l.refusal(op, lost[0].Item)
	}
	return nil
}

// open is the condition that the counter pays.
func (l Legacy) open(x *expression, st string) string {
	return st + " IN (" + x.value(str(credit.ModeLegacy)) + ", " + x.value(str(credit.ModeShadow)) + ", " + x.value(str(credit.ModeRolledBack)) + ")"
}

// refusal says why a write to the counter was refused.
func (l Legacy) refusal(op string, it item) error {
	if c, err := parseCounter("", it); err == nil && !c.Pays() {
		return legacytokens.Disabled(op)
	}
	return fault.New(fault.Conflict, op, "the legacy token counter changed meanwhile, try again")
}

func counterUpdate(db *DB, orgID string, x *expression) *types.Update {
	u := &types.Update{TableName: db.name(table.Ledger), Key: keyItem(table.LegacyCounter(orgID)), UpdateExpression: aws.String(x.update()),
		ExpressionAttributeNames: x.names, ExpressionAttributeValues: x.values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld}
	if len(x.where) > 0 {
		u.ConditionExpression = aws.String(x.condition())
	}
	return u
}

func updateInput(u *types.Update) *dynamodb.UpdateItemInput {
	return &dynamodb.UpdateItemInput{TableName: u.TableName, Key: u.Key, UpdateExpression: u.UpdateExpression, ConditionExpression: u.ConditionExpression,
		ExpressionAttributeNames: u.ExpressionAttributeNames, ExpressionAttributeValues: u.ExpressionAttributeValues}
}

// changeShards bounds the shards, besides home, that change with the mode in one
// transaction of a hundred.
const changeShards = 90

// Change implements [legacytokens.Store]. A balance with more shards than a
// transaction holds leaves credits from the last ones on, before anything else is
// changed, so that none accepts a call behind home's back; on the way to credits
// they follow as calls meet them.
func (l Legacy) Change(ctx context.Context, ch legacytokens.Change) error {
	const op = "dynamo.Change"
	mode := credit.ModeCredit
	if ch.Next.Pays() {
		mode = credit.ModeLegacy
	}
	if ch.Switches && mode == credit.ModeLegacy {
		for i := changeShards + 1; i < len(ch.Account.Shards); i++ {
			if err := l.s.setMode(ctx, ch.Counter.Org, i, mode, ch.Next.Epoch); err != nil {
				return err
			}
		}
	}
	lost, err := l.s.db.commitWithAudit(ctx, op, ch.Row, l.changeActions(ch, mode)...)
	switch {
	case err != nil:
		return ledgerUnavailable(op, err)
	case lost != nil:
		return fault.New(fault.Conflict, op, "something this change was planned from is not so any more, try again")
	}
	if ch.Posting != nil {
		if now, err := l.s.Account(ctx, ch.Counter.Org); err == nil && len(now.Shards) > 1 {
			_ = l.s.Spread(ctx, now, max(now.Load.InUse, 1)) // the sweep makes up for it
		}
	}
	return nil
}

func (l Legacy) changeActions(ch legacytokens.Change, mode string) []types.TransactWriteItem {
	ledger, orgID := l.s.db.name(table.Ledger), ch.Counter.Org
	acts := []types.TransactWriteItem{
		{Update: l.changeCounter(ch)},
		{Update: &types.Update{TableName: l.s.db.name(table.Config), Key: keyItem(table.Org(orgID)),
			UpdateExpression: aws.String("SET #lm = :lm, #le = :le"), ConditionExpression: aws.String("attribute_exists(#pk)"),
			ExpressionAttributeNames:  map[string]string{"#lm": "lm", "#le": "le", "#pk": table.PK},
			ExpressionAttributeValues: item{":lm": str(string(ch.Next.Mode)), ":le": num(ch.Next.Epoch)}}},
	}
	if ch.Posting != nil {
		home := l.s.postBalance(ch.Account, ch.Posting.Amount, ch.Posting.Seq, ch.Account.NextExpiry, ch.Posting.At)
		if ch.Switches {
			extendUpdate(home, l.s.modeUpdate(orgID, homeShard, mode, ch.Next.Epoch))
		}
		acts = append(acts, types.TransactWriteItem{Update: home}, ledgerPut(ledger, postingItem(*ch.Posting), ifAbsent),
			ledgerPut(ledger, entryItem(ch.Posting.Entry()), ifAbsent))
	} else if ch.Switches {
		home := l.s.modeUpdate(orgID, homeShard, mode, ch.Next.Epoch)
		home.ConditionExpression = aws.String(*home.ConditionExpression + " AND (attribute_not_exists(#s) OR #s = :s)")
		home.ExpressionAttributeNames["#s"], home.ExpressionAttributeValues[":s"] = aShards, num(int64(len(ch.Account.Shards)))
		acts = append(acts, types.TransactWriteItem{Update: home})
	}
	if ch.Switches {
		for i := 1; i < len(ch.Account.Shards) && i <= changeShards; i++ {
			acts = append(acts, types.TransactWriteItem{Update: l.s.modeUpdate(orgID, i, mode, ch.Next.Epoch)})
		}
	}
	return acts
}

// extendUpdate sets the mode in a posting's write of the home shard.
func extendUpdate(home, mode *types.Update) {
	names := map[string]string{"#mode": aMode, "#ep": aEpoch}
	for k, v := range home.ExpressionAttributeNames {
		names[k] = v
	}
	home.ExpressionAttributeNames = names
	for _, v := range []string{":mode", ":ep"} {
		home.ExpressionAttributeValues[v] = mode.ExpressionAttributeValues[v]
	}
	home.UpdateExpression = aws.String(strings.Replace(*home.UpdateExpression, "SET ", "SET #mode = :mode, #ep = :ep, ", 1))
	home.ConditionExpression = aws.String(*home.ConditionExpression + " AND (attribute_not_exists(#ep) OR #ep < :ep)")
}

// changeCounter writes the counter's side of a change under the condition that it is
// as the change was planned from.
func (l Legacy) changeCounter(ch legacytokens.Change) *types.Update {
	c, n := ch.Counter, ch.Next
	x := &expression{names: map[string]string{}, values: item{}}
	set := func(name string, v types.AttributeValue) string {
		alias := x.name(name)
		x.set = append(x.set, alias+" = "+x.value(v))
		return alias
	}
	st, ep, ver := set(aState, str(string(n.Mode))), set(aEpoch, num(n.Epoch)), set(aCounterVer, num(n.Version))
	set(aModeSince, millis(n.Since))
	set(aShadowUntil, millis(n.ShadowUntil))
	set(aCutover, millis(n.Cutover))
	set(aOpening, str(n.Opening.ID))
	set(aOpeningAmt, num(int64(n.Opening.Amount)))
	set(aOpeningPer, str(n.Opening.Period))
	set(aOpeningUsed, num(n.Opening.Used))
	draining, since := x.name(table.HoldsPK), x.name(table.HoldsSK)
	if n.Mode == org.LedgerDraining {
		x.set = append(x.set, draining+" = "+x.value(str(table.LegacyDraining)), since+" = "+x.value(millis(n.Since)))
	} else {
		x.remove = append(x.remove, draining, since)
	}
	open := x.name(aOpen)
	if c.Version == 0 {
		x.set = append(x.set, open+" = "+x.value(num(0)))
		x.where = append(x.where, "attribute_not_exists("+st+")")
		return counterUpdate(l.s.db, c.Org, x)
	}
	x.where = append(x.where, st+" = "+x.value(str(string(c.Mode))), ep+" = "+x.value(num(c.Epoch)), ver+" = "+x.value(num(c.Version)))
	if slices.Contains(ch.Needs, legacytokens.Drained) {
		x.where = append(x.where, open+" = "+x.value(num(0)))
	} else {
		x.where = append(x.where, "attribute_exists("+open+")")
	}
	if ch.Seed != 0 {
		used, seeded := x.name(usedPrefix+ch.Period), x.name(seededPrefix+ch.Period)
		zero, by, was := x.value(num(0)), x.value(num(ch.Seed)), x.value(num(c.Seeded[ch.Period]))
		x.set = append(x.set, used+" = if_not_exists("+used+", "+zero+") + "+by, seeded+" = if_not_exists("+seeded+", "+zero+") + "+by)
		x.where = append(x.where, "(attribute_not_exists("+seeded+") OR "+seeded+" = "+was+")")
	}
	if ch.Effect == legacytokens.Grant || ch.Effect == legacytokens.Correct {
		x.where = append(x.where, l.unchanged(x, ch))
	}
	return counterUpdate(l.s.db, c.Org, x)
}

// unchanged is the condition that the period has counted what the plan saw.
func (l Legacy) unchanged(x *expression, ch legacytokens.Change) string {
	used := x.name(usedPrefix + ch.Period)
	if n := ch.Counter.Used[ch.Period]; n != 0 {
		return used + " = " + x.value(num(n))
	}
	return "(attribute_not_exists(" + used + ") OR " + used + " = " + x.value(num(0)) + ")"
}

// importGroup is how many rows share a transaction: with a mark and a day each, the
// counter and the audit row.
const importGroup = 40

// importTries bounds the tries of a group against calls that count meanwhile.
const importTries = 8

// Import implements [legacytokens.Store].
func (l Legacy) Import(ctx context.Context, orgID string, rows []legacytokens.Row, op audit.Op) (added int, err error) {
	byPeriod := map[string][]legacytokens.Row{}
	var order []string
	for _, r := range rows {
		p := credit.CountPeriod(r.Start)
		if byPeriod[p] == nil {
			order = append(order, p)
		}
		byPeriod[p] = append(byPeriod[p], r)
	}
	for _, p := range order {
		for g := range slices.Chunk(byPeriod[p], importGroup) {
			n, err := l.importGroup(ctx, orgID, p, g, op)
			added += n
			if err != nil {
				return added, err
			}
		}
	}
	return added, nil
}

func (l Legacy) importGroup(ctx context.Context, orgID, period string, g []legacytokens.Row, op audit.Op) (int, error) {
	const name = "dynamo.Import"
	for range importTries {
		if len(g) == 0 {
			return 0, nil
		}
		keys := make([]string, len(g))
		for i, r := range g {
			keys[i] = r.Key()
		}
		part := op.Part(append([]string{"import", orgID}, keys...)...)
		row := part.Row(orgID, "legacy_tokens.import", orgID, "kind", period, "amount", strconv.Itoa(len(g)))
		acts := l.importActions(orgID, period, g)
		lost, err := l.s.db.commitWithAudit(ctx, name, row, acts...)
		switch {
		case err != nil:
			return 0, ledgerUnavailable(name, err)
		case lost == nil:
			return len(g), nil
		case lostCondition(lost[0]):
			return 0, l.refusal(name, lost[0].Item)
		}
		rest := make([]legacytokens.Row, 0, len(g))
		for i, r := range g {
			if !lostCondition(lost[1+i]) {
				rest = append(rest, r)
				continue
			}
			if read(lost[1+i].Item).str(aHash) != r.Fingerprint() {
				return 0, fault.New(fault.Conflict, name, "a row was imported before with other figures: "+r.Day().Day+" "+r.Day().Model).WithParam("rows")
			}
		}
		g = rest
	}
	return 0, ledgerUnavailable(name, nil)
}

// importActions are the writes of a group: the counter, a mark per row, and the days.
func (l Legacy) importActions(orgID, period string, g []legacytokens.Row) []types.TransactWriteItem {
	ledger := l.s.db.name(table.Ledger)
	var tokens int64
	days := map[string]legacytokens.Day{}
	var order []string
	acts := make([]types.TransactWriteItem, 1, 1+2*len(g))
	for _, r := range g {
		d := r.Day()
		tokens += d.Input + d.Output
		it := keyItem(table.LegacyRow(orgID, r.Key()))
		it[aHash] = str(r.Fingerprint())
		acts = append(acts, ledgerPut(ledger, it, ifAbsent))
		key := d.Day + "#" + d.Model
		sum, there := days[key]
		if !there {
			order, sum = append(order, key), legacytokens.Day{Day: d.Day, Model: d.Model}
		}
		sum.Requests, sum.Input, sum.Output, sum.Money = sum.Requests+d.Requests, sum.Input+d.Input, sum.Output+d.Output, sum.Money+d.Money
		days[key] = sum
	}
	x := &expression{names: map[string]string{}, values: item{}}
	used, st := x.name(usedPrefix+period), x.name(aState)
	x.set = []string{used + " = if_not_exists(" + used + ", " + x.value(num(0)) + ") + " + x.value(num(tokens))}
	x.where = []string{l.open(x, st)}
	acts[0] = types.TransactWriteItem{Update: counterUpdate(l.s.db, orgID, x)}
	for _, key := range order {
		acts = append(acts, l.s.addDay(orgID, days[key]))
	}
	return acts
}

// Days implements [legacytokens.Store].
func (l Legacy) Days(ctx context.Context, orgID, from, to string) ([]legacytokens.Day, error) {
	const op = "dynamo.Days"
	in := &dynamodb.QueryInput{TableName: l.s.db.name(table.Ledger), ConsistentRead: aws.Bool(true),
		KeyConditionExpression: aws.String("#pk = :pk AND #sk BETWEEN :from AND :to"), ExpressionAttributeNames: entriesBefore,
		ExpressionAttributeValues: item{":pk": str(table.LegacyDay(orgID, "", "").PK), ":from": str(from), ":to": str(to + "~")}}
	var out []legacytokens.Day
	for {
		page, err := l.s.db.api.Query(ctx, in)
		if err != nil {
			return nil, ledgerUnavailable(op, err)
		}
		for _, it := range page.Items {
			r := read(it)
			day, model, _ := strings.Cut(r.str(table.SK), "#")
			d := legacytokens.Day{Day: day, Model: model, Requests: r.num(aDayRequests), Input: r.num(aDayInput), Output: r.num(aDayOutput),
				Money: credit.Micro(r.num(aDayMoney)), Diff: map[legacytokens.Class]credit.Micro{}}
			for _, class := range legacytokens.Classes() {
				if r.has(diffPrefix + string(class)) {
					d.Diff[class] = credit.Micro(r.num(diffPrefix + string(class)))
				}
			}
			if r.err != nil {
				return nil, ledgerRead(op, r.err)
			}
			out = append(out, d)
		}
		if len(page.LastEvaluatedKey) == 0 {
			return out, nil
		}
		in.ExclusiveStartKey = page.LastEvaluatedKey
	}
}
