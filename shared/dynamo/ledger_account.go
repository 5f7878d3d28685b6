package dynamo

import (
	"context"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

const aOpened = "opened"

// OpenAccount implements credit.AccountStore.
func (s *LedgerStore) OpenAccount(ctx context.Context, org string, now time.Time) error {
	it := shardItem(org, homeShard, time.Time{}, time.Time{}, credit.ModeCredit, 0)
	it[aLine], it[aSeq], it[aShards], it[aOpened] = num(0), num(0), num(1), millis(now)
	it[table.HoldsPK], it[table.HoldsSK] = str(table.CloseBucket(org)), millis(credit.FirstLook(now))
	_, err := s.db.api.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: s.db.name(table.Ledger), Item: it,
		ConditionExpression: aws.String(ifAbsent), ExpressionAttributeNames: ledgerPKName,
	})
	if _, exists := conditionFailed(err); exists || err == nil {
		return nil
	}
	return ledgerUnavailable("dynamo.OpenAccount", err)
}

var (
	postNames = map[string]string{"#pk": table.PK, "#posted": aPosted, "#avail": aAvail, "#ver": aVersion, "#seq": aSeq, "#nx": aNext, "#s": aShards, "#cl": aClosed,
		"#hx": table.HoldsPK, "#exp": table.HoldsSK}
	// postCeiling keeps a balance far from the end of 64 bits.
	postCeiling = int64(1) << 62
)

// postSet also brings balances that are older than closed months into the index
// of those to close.
const postSet = "SET #posted = #posted + :a, #avail = #avail + :a, #ver = #ver + :one, #seq = :seq, #hx = if_not_exists(#hx, :hx), #exp = if_not_exists(#exp, :exp)"

// postingItem is the item of a posting.
func postingItem(p credit.Posting) item {
	it := keyItem(table.Grant(p.Org, p.ID))
	it[aOrigin], it[aKind] = str(string(p.Origin)), str(string(p.Kind))
	it[aAmount], it[aCreated] = num(int64(p.Amount)), millis(p.At)
	it[aSeq], it[aBase] = num(p.Seq), num(int64(p.Base))
	ledgerText(it, aOf, p.Of)
	ledgerText(it, aRef, p.Ref)
	if !p.ExpiresAt.IsZero() {
		it[aEnds] = millis(p.ExpiresAt)
		it[table.HoldsPK], it[table.HoldsSK] = str(table.GrantBucket(p.Org)), millis(p.ExpiresAt)
	}
	if p.Rollover != (credit.Rollover{}) {
		it[aRollLo], it[aRollHi] = num(int64(p.Rollover.Min)), num(int64(p.Rollover.Max))
	}
	return it
}

// postBalance moves a balance by what is posted, if nothing else was posted
// since it was read, it has no more shards and takes entries of at: seq is the number of the last posting of the transaction.
func (s *LedgerStore) postBalance(acc credit.Account, amount credit.Micro, seq int64, next, at time.Time) *types.Update {
	u := &types.Update{
		TableName: s.db.name(table.Ledger), Key: keyItem(table.Balance(acc.Org, homeShard)),
		UpdateExpression:         aws.String(postSet + ", #nx = :nx"),
		ConditionExpression:      aws.String("attribute_exists(#pk) AND #posted < :top AND #seq = :read AND (attribute_not_exists(#s) OR #s = :s) AND " + takesEntries),
		ExpressionAttributeNames: postNames,
		ExpressionAttributeValues: item{":a": num(int64(amount)), ":one": num(1), ":top": num(postCeiling),
			":read": num(acc.Seq), ":seq": num(seq), ":nx": millis(next), ":s": num(int64(len(acc.Shards))), ":at": millis(at),
			":hx": str(table.CloseBucket(acc.Org)), ":exp": millis(credit.FirstLook(acc.Opened))},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	if next.IsZero() {
		u.UpdateExpression = aws.String(postSet + " REMOVE #nx")
		delete(u.ExpressionAttributeValues, ":nx")
	}
	return u
}

// posting is the transaction of a posting, with the row behind head if there is
// one. The head is part of the token: behind another head it is another write.
func (s *LedgerStore) posting(p credit.Posting, acc credit.Account, row *audit.Row, head audit.Head) *dynamodb.TransactWriteItemsInput {
	ledger := s.db.name(table.Ledger)
	p.Seq, p.Base = acc.Seq+1, acc.Posted
	next := sooner(acc.NextExpiry, p.ExpiresAt)
	in := &dynamodb.TransactWriteItemsInput{
		TransactItems: []types.TransactWriteItem{
			ledgerPut(ledger, postingItem(p), ifAbsent),
			{Update: s.postBalance(acc, p.Amount, p.Seq, next, p.At)},
			ledgerPut(ledger, entryItem(p.Entry()), ifAbsent),
		},
	}
	token := []string{p.Org, p.ID, string(p.Kind), strconv.FormatInt(int64(p.Amount), 10), strconv.FormatInt(p.At.UnixMilli(), 10),
		strconv.FormatInt(p.ExpiresAt.UnixMilli(), 10), strconv.FormatInt(p.Seq, 10), strconv.FormatInt(int64(p.Base), 10), strconv.FormatInt(next.UnixMilli(), 10)}
	if row != nil {
		in.TransactItems = append(in.TransactItems, s.db.auditActions(head, *row)...)
		token = append(token, row.ID, row.Actor, head.Hash.String())
	}
	in.ClientRequestToken = s.token(table.Ledger, "post", token...)
	return in
}

// postTries bounds the tries of a posting that meets others.
const postTries = 16

// Post implements credit.GrantStore. An organisation without an account gets
// one: its creation may have been interrupted.
func (s *LedgerStore) Post(ctx context.Context, p credit.Posting, row *audit.Row) (credit.Posting, error) {
	const op = "dynamo.Post"
	tries := postTries
	if row != nil {
		tries += auditTries
	}
	for try := range tries {
		acc, err := s.Account(ctx, p.Org)
		if fault.CodeOf(err) == fault.NotFound {
			if err := s.OpenAccount(ctx, p.Org, p.At); err != nil {
				return credit.Posting{}, err
			}
			continue
		}
		if err != nil {
			return credit.Posting{}, err
		}
		if p.At.Before(acc.Closed) { // a clock that lags
			p.At = acc.Closed
		}
		if p.Seq != 0 && p.Seq != acc.Seq+1 {
			return credit.Posting{}, fault.New(fault.Conflict, op, "something else was posted meanwhile, try again")
		}
		var head audit.Head
		if row != nil {
			if head, err = s.db.auditHead(ctx, p.Org); err != nil {
				return credit.Posting{}, ledgerRead(op, err)
			}
		}
		if err := s.dueEarlier(ctx, acc, p.ExpiresAt); err != nil {
			return credit.Posting{}, err
		}
		out, reasons, _ := s.act(ctx, s.posting(p, acc, row, head), nil)
		switch {
		case out == didWrite:
			return p, s.level(ctx, acc, p.ExpiresAt)
		case out == didCancel && failedCondition(reasons, 0):
			return samePosting(p, reasons[0].Item)
		case out == didCancel && failedCondition(reasons, 1) && sameBalance(acc, reasons[1].Item):
			return credit.Posting{}, fault.New(fault.Conflict, op, "the balance cannot take this amount")
		case out == didCancel && failedCondition(reasons, postRow):
			return credit.Posting{}, fault.Wrap(fault.Internal, op, "internal error, try again later", errRowExists)
		case out == didCancel && (failedCondition(reasons, 1) || failedCondition(reasons, postHead)), out == didNothing && row != nil:
			if err := s.db.pace.backoff(ctx, try); err != nil {
				return credit.Posting{}, ledgerUnavailable(op, err)
			}
		case out == didCancel || out == didRefuse:
			return credit.Posting{}, fault.New(fault.Conflict, op, "the balance cannot take this amount")
		default:
			return credit.Posting{}, ledgerUnavailable(op, nil)
		}
	}
	return credit.Posting{}, ledgerUnavailable(op, nil)
}

// sameBalance reports whether a balance that refused a posting is as it was when
// the posting was made up.
func sameBalance(acc credit.Account, home item) bool {
	r := read(home)
	return r.num(aSeq) == acc.Seq && shardsOf(home) == len(acc.Shards) && r.time(aClosed).Equal(acc.Closed)
}

// Places of the audit row and of the chain's head in [LedgerStore.posting].
const (
	postRow  = 3
	postHead = 4
)

// samePosting answers a posting whose id exists.
func samePosting(p credit.Posting, it item) (credit.Posting, error) {
	const op = "dynamo.Post"
	stored, err := parsePosting(p.Org, it)
	if err != nil {
		return credit.Posting{}, ledgerRead(op, err)
	}
	if stored.Amount != p.Amount || stored.Kind != p.Kind || stored.Origin != p.Origin || stored.Of != p.Of ||
		stored.Rollover != p.Rollover || stored.Rollover == (credit.Rollover{}) && !stored.ExpiresAt.Equal(p.ExpiresAt) {
		return credit.Posting{}, fault.New(fault.IdempotencyConflict, op, "this idempotency key was used with other values, use a new key")
	}
	// Where it came to stand is the store's own affair.
	stored.Seq, stored.Base, stored.Ended = 0, 0, false
	return stored, nil
}

func parsePosting(org string, it item) (credit.Posting, error) {
	r := read(it)
	p := credit.Posting{ID: r.str(table.SK), Org: org, Origin: credit.EntryKind(r.str(aOrigin)), Kind: taxonomy.GrantKind(r.str(aKind)),
		Amount: credit.Micro(r.num(aAmount)), At: r.time(aCreated), Seq: r.num(aSeq), Base: credit.Micro(r.num(aBase)),
		ExpiresAt: r.time(aEnds), Ended: r.has(aEnded), Of: r.str(aOf), Ref: r.str(aRef),
		Rollover: credit.Rollover{Min: credit.Micro(r.num(aRollLo)), Max: credit.Micro(r.num(aRollHi))}}
	return p, r.err
}

// Account implements credit.AccountStore.
func (s *LedgerStore) Account(ctx context.Context, org string) (credit.Account, error) {
	const op = "dynamo.Account"
	items, err := s.shards(ctx, org)
	if err != nil {
		return credit.Account{}, ledgerRead(op, err)
	}
	if items == nil {
		return credit.Account{}, fault.New(fault.NotFound, op, "this organisation has no credit account")
	}
	a, err := parseAccount(org, items)
	return a, ledgerRead(op, err)
}

// Postings implements credit.GrantStore.
func (s *LedgerStore) Postings(ctx context.Context, org string) ([]credit.Posting, error) {
	const op = "dynamo.Postings"
	items, err := s.db.query(ctx, query{role: table.Ledger, pk: table.Grant(org, "").PK, consistent: true})
	if err != nil {
		return nil, ledgerUnavailable(op, err)
	}
	out := make([]credit.Posting, 0, len(items))
	for _, it := range items {
		p, err := parsePosting(org, it)
		if err != nil {
			return nil, ledgerRead(op, err)
		}
		out = append(out, p)
	}
	return out, nil
}

var lineNames = map[string]string{"#line": aLine, "#avail": aAvail, "#ver": aVersion}

// lineTries bounds the tries against another change of the same line.
const lineTries = 4

// SetLine implements credit.AccountStore.
func (s *LedgerStore) SetLine(ctx context.Context, org string, line credit.Micro, row audit.Row) error {
	const op = "dynamo.SetLine"
	for range lineTries {
		acc, err := s.Account(ctx, org)
		if fault.CodeOf(err) == fault.NotFound {
			if err := s.OpenAccount(ctx, org, row.At); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		lost, err := s.db.commitWithAudit(ctx, op, row, types.TransactWriteItem{Update: &types.Update{
			TableName: s.db.name(table.Ledger), Key: keyItem(table.Balance(org, homeShard)),
			UpdateExpression:         aws.String("SET #line = :new, #avail = #avail + :d, #ver = #ver + :one"),
			ConditionExpression:      aws.String("#line = :old"),
			ExpressionAttributeNames: lineNames,
			ExpressionAttributeValues: item{":new": num(int64(line)), ":old": num(int64(acc.CreditLine)), ":d": num(int64(line - acc.CreditLine)),
				":one": num(1)},
		}})
		if err != nil {
			return ledgerUnavailable(op, err)
		}
		if lost == nil {
			return s.level(ctx, acc, time.Time{})
		}
	}
	return ledgerUnavailable(op, nil)
}
