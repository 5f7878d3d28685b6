package dynamo

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

const (
	// projectMax is how many entries share a transaction with their row.
	projectMax = 99
	// seenLife is how long a projected entry is remembered: a stream delivers a
	// record for one day at most.
	seenLife = 7 * 24 * time.Hour
	// aRequests counts entries; the bucket of the same figure is part of usage.
	aRequests = "n"
	aCost     = "cost"
)

// projected is one entry on its way into its row.
type projected struct {
	entry   credit.Entry
	version int64
	verdict credit.Verdict
}

// Project implements credit.SettleStore: per row one transaction adds the sum of
// the entries and marks each as seen, so that a repeated entry adds nothing. While
// a version is being built, entries go into that one, too. Entries that belong into
// no row are only marked.
func (s *LedgerStore) Project(ctx context.Context, entries []credit.Entry, now time.Time) []credit.Verdict {
	versions, err := s.versions(ctx, entries)
	if err != nil {
		out := make([]credit.Verdict, len(entries))
		for i := range out {
			out[i].Result = credit.Undecided
		}
		return out
	}
	live := func(org string) (int64, bool) { return versions[org].Live, true }
	building := func(org string) (int64, bool) { v := versions[org].Building; return v, v > 0 }
	out := s.projectInto(ctx, entries, now, live)
	for i, v := range s.projectInto(ctx, entries, now, building) {
		if v.Result == credit.Undecided || v.Result == credit.Poisoned && out[i].Result != credit.Undecided {
			out[i] = v
		}
	}
	for i, e := range entries {
		if !e.Kind.OfRequest() {
			out[i].Result = s.mark(ctx, e, now)
		}
	}
	return out
}

// projectInto adds entries to the version that there is for their organisation;
// the others are done.
func (s *LedgerStore) projectInto(ctx context.Context, entries []credit.Entry, now time.Time, version func(org string) (int64, bool)) []credit.Verdict {
	at := make([]*projected, len(entries))
	byID := make(map[string]*projected, len(entries))
	rows := make(map[table.Key][]*projected)
	var order []table.Key
	for i, e := range entries {
		if p := byID[e.ID]; p != nil {
			at[i] = p
			continue
		}
		p := &projected{entry: e}
		at[i], byID[e.ID] = p, p
		v, there := version(e.Org)
		if !e.Kind.OfRequest() || !there {
			p.verdict.Result = credit.Done
			continue
		}
		p.version = v
		key := table.InVersion(credit.RowOf(e).Key(), v)
		if rows[key] == nil {
			order = append(order, key)
		}
		rows[key] = append(rows[key], p)
	}
	for _, key := range order {
		for g := rows[key]; len(g) > 0; {
			n := min(len(g), projectMax)
			s.projectRow(ctx, key, g[:n], now)
			g = g[n:]
		}
	}
	out := make([]credit.Verdict, len(entries))
	for i, p := range at {
		out[i] = p.verdict
	}
	return out
}

// projectRow adds entries to one row. Entries that were seen drop out; what is
// left is tried again, so there are at most two rounds unless others race.
func (s *LedgerStore) projectRow(ctx context.Context, key table.Key, g []*projected, now time.Time) {
	for range settleRounds + 2 {
		out, reasons, _ := s.act(ctx, s.projection(key, g, now), nil)
		switch out {
		case didWrite:
			for _, p := range g {
				p.verdict.Result = credit.Applied
			}
			return
		case didRefuse:
			s.halveRow(ctx, key, g, now)
			return
		case didCancel:
			rest := make([]*projected, 0, len(g))
			for i, p := range g {
				if failedCondition(reasons, 1+i) {
					p.verdict.Result = credit.Done
				} else {
					rest = append(rest, p)
				}
			}
			if len(rest) == len(g) {
				s.halveRow(ctx, key, g, now)
				return
			}
			if g = rest; len(g) == 0 {
				return
			}
		default:
			for _, p := range g {
				p.verdict.Result = credit.Undecided
			}
			return
		}
	}
	for _, p := range g {
		p.verdict.Result = credit.Undecided
	}
}

func (s *LedgerStore) halveRow(ctx context.Context, key table.Key, g []*projected, now time.Time) {
	if len(g) > 1 {
		s.projectRow(ctx, key, g[:len(g)/2], now)
		s.projectRow(ctx, key, g[len(g)/2:], now)
		return
	}
	e := g[0].entry
	k := e.Place()
	g[0].verdict = credit.Verdict{Result: credit.Poisoned, Reason: "projection_refused"}
	if s.Poison(ctx, credit.Poison{PK: k.PK, SK: k.SK, Reason: "projection_refused", At: now}) != nil {
		g[0].verdict = credit.Verdict{Result: credit.Undecided}
	}
}

func (s *LedgerStore) projection(key table.Key, g []*projected, now time.Time) *dynamodb.TransactWriteItemsInput {
	name := s.db.name(table.Usage)
	sum := credit.RowOf(g[0].entry)
	for _, p := range g[1:] {
		sum.Add(credit.RowOf(p.entry))
	}
	acts := make([]types.TransactWriteItem, 1, 1+len(g))
	acts[0] = addToRow(name, key, sum)
	expires := strconv.FormatInt(now.Add(seenLife).Unix(), 10)
	params := make([]string, 0, 2+len(g))
	params = append(params, expires, key.PK)
	for _, p := range g {
		it := keyItem(table.InVersion(table.Seen(p.entry.ID), p.version))
		it[table.TTL] = &types.AttributeValueMemberN{Value: expires}
		act := ledgerPut(name, it, ifAbsent)
		act.Put.ReturnValuesOnConditionCheckFailure = types.ReturnValuesOnConditionCheckFailureNone
		acts = append(acts, act)
		params = append(params, p.entry.ID)
	}
	return &dynamodb.TransactWriteItemsInput{TransactItems: acts, ClientRequestToken: s.token(table.Usage, "project", params...)}
}

// addToRow adds the figures of sum. Buckets that are 0 are left out.
func addToRow(name *string, key table.Key, sum credit.UsageRow) types.TransactWriteItem {
	names := map[string]string{"#org": "org", "#day": "day", "#prov": aProvider, "#model": aModel, "#agt": aAgent, "#src": aSource,
		"#n": aRequests, "#cost": aCost}
	values := item{":org": str(sum.Org), ":day": str(sum.Day), ":prov": str(sum.Provider), ":model": str(sum.Model), ":agt": str(sum.Agent),
		":src": str(string(sum.Source)), ":n": num(sum.Requests), ":cost": num(int64(sum.Cost))}
	legacy := ""
	if sum.Legacy {
		names["#lg"], values[":lg"] = aLegacy, boolean(true)
		names["#sc"], values[":sc"] = aShadow, num(int64(sum.Shadow))
		legacy = ", #lg = :lg"
	}
	var expr strings.Builder
	expr.WriteString("SET #org = :org, #day = :day, #prov = :prov, #model = :model, #agt = :agt, #src = :src" + legacy)
	if sum.Client != "" {
		names["#cli"], values[":cli"] = aClient, str(sum.Client)
		expr.WriteString(", #cli = :cli")
	}
	expr.WriteString(" ADD #n :n, #cost :cost")
	if sum.Legacy {
		expr.WriteString(", #sc :sc")
	}
	for _, b := range usageBuckets(&sum.Usage) {
		if *b.value == 0 {
			continue
		}
		names["#u"+b.name], values[":u"+b.name] = b.name, num(*b.value)
		expr.WriteString(", #u" + b.name + " :u" + b.name)
	}
	if sum.Paid != 0 {
		names["#paid"], values[":paid"] = aDrawPaid, num(int64(sum.Paid))
		expr.WriteString(", #paid :paid")
	}
	return types.TransactWriteItem{Update: &types.Update{TableName: name, Key: keyItem(key), UpdateExpression: aws.String(expr.String()),
		ExpressionAttributeNames: names, ExpressionAttributeValues: values}}
}

// Usage implements credit.ReadStore. Rows of a version that was replaced while
// they were read may be deleted already, so they are read again.
func (s *LedgerStore) Usage(ctx context.Context, org, from, to string) ([]credit.UsageRow, error) {
	v, err := s.Version(ctx, org)
	for err == nil {
		var rows []credit.UsageRow
		if rows, err = s.Rows(ctx, org, v.Live, from, to); err != nil {
			break
		}
		was := v.Live
		if v, err = s.Version(ctx, org); err == nil && v.Live == was {
			return rows, nil
		}
	}
	return nil, err
}

// Rows implements [usage.Store].
func (s *LedgerStore) Rows(ctx context.Context, org string, version int64, from, to string) ([]credit.UsageRow, error) {
	const op = "dynamo.Usage"
	in := &dynamodb.QueryInput{
		TableName: s.db.name(table.Usage), ConsistentRead: aws.Bool(true),
		// '~' sorts after every character that follows a day in a key.
		KeyConditionExpression:   aws.String("#pk = :pk AND #sk BETWEEN :from AND :to"),
		ExpressionAttributeNames: entriesBefore,
		ExpressionAttributeValues: item{":pk": str(rowsOf(org, version)), ":from": str(from),
			":to": str(to + "~")},
	}
	var out []credit.UsageRow
	for {
		page, err := s.db.api.Query(ctx, in)
		if err != nil {
			return nil, ledgerUnavailable(op, err)
		}
		for _, it := range page.Items {
			row, err := parseUsageRow(org, it)
			if err != nil {
				return nil, ledgerRead(op, err)
			}
			out = append(out, row)
		}
		if len(page.LastEvaluatedKey) == 0 {
			return out, nil
		}
		in.ExclusiveStartKey = page.LastEvaluatedKey
	}
}

func parseUsageRow(org string, it item) (credit.UsageRow, error) {
	r := read(it)
	row := credit.UsageRow{Org: org, Day: r.str("day"), Provider: r.str(aProvider), Model: r.str(aModel), Agent: r.str(aAgent),
		Source: taxonomy.BillingSource(r.str(aSource)), Requests: r.num(aRequests), Cost: credit.Micro(r.num(aCost)),
		Legacy: r.bool(aLegacy), Shadow: credit.Micro(r.num(aShadow)),
		Client: r.str(aClient), Paid: credit.Micro(r.num(aDrawPaid)), Usage: billing.Usage{Source: billing.NoUsage}}
	for _, b := range usageBuckets(&row.Usage) {
		*b.value = r.num(b.name)
	}
	return row, r.err
}
