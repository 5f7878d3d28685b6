package dynamo

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// reservation is the transaction of one reserve and the places of its actions.
type reservation struct {
	in              *dynamodb.TransactWriteItemsInput
	balance, parent int   // -1 if absent; the attempt is action 0
	stamp, counter  int   // checks of who pays, -1 if the balance does it
	limits          []int // action of each claim, -1 if it changes nothing
	draw            int   // of the agency's offer, -1 if nothing is drawn
}

var (
	balanceNames = map[string]string{"#held": aHeld, "#avail": aAvail, "#ver": aVersion, "#n": aReserves, "#nx": aNext}
	moveNames    = map[string]string{"#avail": aAvail, "#ver": aVersion, "#mv": aMoved}
	parentNames  = map[string]string{"#own": aOwner, "#last": aLast}
)

// take is the write that holds an amount on a shard. It adds count to the
// reservations made. A new attempt needs a shard of its stamp; what is held already
// may grow whatever the mode has become.
func (s *LedgerStore) take(org string, shard int, amount credit.Micro, now time.Time, count int64, stamp *credit.Stamp) types.TransactWriteItem {
	u := &types.Update{
		TableName: s.db.name(table.Ledger), Key: keyItem(table.Balance(org, shard)),
		UpdateExpression: aws.String("SET #held = #held + :h, #avail = #avail - :h, #ver = #ver + :one, " +
			"#n = if_not_exists(#n, :zero) + :count"),
		ConditionExpression:                 aws.String("#avail >= :h AND (attribute_not_exists(#nx) OR #nx > :now)"),
		ExpressionAttributeNames:            balanceNames,
		ExpressionAttributeValues:           item{":h": num(int64(amount)), ":one": num(1), ":zero": num(0), ":count": num(count), ":now": millis(now)},
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	if stamp == nil {
		return types.TransactWriteItem{Update: u}
	}
	where, names, values := "#mode = :mode", map[string]string{"#mode": aMode}, item{":mode": str(credit.ModeCredit)}
	if stamp.Mode != "" {
		where, names, values = stampWhere(*stamp)
	}
	u.ConditionExpression = aws.String(*u.ConditionExpression + " AND " + where)
	maps.Copy(names, balanceNames)
	maps.Copy(u.ExpressionAttributeValues, values)
	u.ExpressionAttributeNames = names
	return types.TransactWriteItem{Update: u}
}

// side is the write of one side of a move.
func (s *LedgerStore) side(org string, m credit.Move) types.TransactWriteItem {
	u := &types.Update{
		TableName: s.db.name(table.Ledger), Key: keyItem(table.Balance(org, m.Shard)),
		UpdateExpression:          aws.String("SET #avail = #avail - :d, #mv = if_not_exists(#mv, :zero) - :d, #ver = #ver + :one"),
		ConditionExpression:       aws.String("#avail >= :d"),
		ExpressionAttributeNames:  moveNames,
		ExpressionAttributeValues: item{":d": num(int64(m.Amount)), ":zero": num(0), ":one": num(1)},
	}
	if m.Amount < 0 {
		u.ConditionExpression = aws.String("attribute_exists(#ver)")
	}
	return types.TransactWriteItem{Update: u}
}

// reservation builds the transaction. met is how often others were in the way
// before; the first time is nothing unusual.
func (s *LedgerStore) reservation(r credit.ReserveRequest, round, shard, met int) reservation {
	ledger := s.db.name(table.Ledger)
	acts := make([]types.TransactWriteItem, 0, 4)
	acts = append(acts, ledgerPut(ledger, requestItem(r, shard), ifAbsent), ledgerPut(ledger, decisionItem(r), ""))
	res := reservation{balance: -1, parent: -1, draw: -1, stamp: -1, counter: -1}
	switch {
	case r.Legacy():
		res.stamp, res.counter = len(acts), len(acts)+1
		acts = append(acts, s.checkStamp(r.Org, r.Stamp), s.openCount(r))
	case r.Hold > 0:
		res.balance = len(acts)
		acts = append(acts, s.take(r.Payer(), shard, r.Hold, r.Now, int64(max(met, 1)), &r.Stamp))
	case r.Source == taxonomy.Platform && r.Stamp.Mode != "":
		// Costs nothing, but tokens.
		res.stamp = len(acts)
		acts = append(acts, s.checkStamp(r.Org, r.Stamp))
	}
	if r.Attempt > 1 {
		res.parent = len(acts)
		acts = append(acts, types.TransactWriteItem{Update: &types.Update{
			TableName: ledger, Key: keyItem(table.Request(r.Org, r.Request, 1)),
			UpdateExpression: aws.String("SET #last = :n"), ConditionExpression: aws.String("#own = :me"),
			ExpressionAttributeNames:  parentNames,
			ExpressionAttributeValues: item{":n": num(int64(r.Attempt)), ":me": str(r.Owner)},
		}})
	}
	acts, res.limits = s.claims(acts, r.Limits)
	if d := r.Draw; d != nil {
		acts, res.draw = s.draws(acts, drawChange{agency: d.Agency, client: r.Org, day: d.Day, by: r.Hold, limits: d})
	}
	res.in = &dynamodb.TransactWriteItemsInput{TransactItems: acts,
		ClientRequestToken: s.token(table.Ledger, "reserve", r.Org, r.Request, strconv.Itoa(r.Attempt), r.Owner,
			strconv.FormatInt(int64(r.Hold), 10), strconv.FormatInt(r.Expires.UnixMilli(), 10),
			strconv.FormatInt(r.Now.UnixMilli(), 10), r.DecisionHash, r.Payer(), strconv.Itoa(round), strconv.Itoa(shard), strconv.Itoa(met),
			r.Stamp.Mode, strconv.FormatInt(r.Stamp.Epoch, 10))}
	return res
}

// Reserve implements credit.HoldStore.
func (s *LedgerStore) Reserve(ctx context.Context, r credit.ReserveRequest) (credit.Hold, error) {
	const op = "dynamo.Reserve"
	r.Limits = slices.Clone(r.Limits)
	if r.Draw != nil {
		r.Stamp = credit.Stamp{} // an agency pays with credits, never with a counter
	}
	seek := seeker{s: s, org: r.Payer(), need: r.Hold, owner: r.Owner, attempt: r.Attempt, inUse: r.Shards, stamped: r.Stamp.Mode != ""}
	at := seek.first()
	claims, stamps := 0, 0
	for round := range seekRounds {
		hold, refused, err := s.reserve(ctx, r, round, at, &seek)
		if err == nil && refused != nil {
			at, err = seek.next(ctx, *refused, r.Now, r.Stamp)
			if err == nil {
				continue
			}
			err = agencyShort(r.Draw, err)
		}
		switch {
		case errors.Is(err, errOtherStamp) && seek.stamped:
			// The mode was changed meanwhile: who pays now is decided anew.
			if stamps++; stamps > stampRounds {
				return credit.Hold{}, ledgerUnavailable(op, err)
			}
			if err := s.restamp(ctx, &r); err != nil {
				return credit.Hold{}, err
			}
			at = seek.first()
		case errors.Is(err, errNewerState):
			if claims++; claims >= claimRounds {
				return credit.Hold{}, ledgerUnavailable(op, err)
			}
		default:
			return hold, err
		}
	}
	return credit.Hold{}, ledgerUnavailable(op, errNewerState)
}

// agencyShort says to a client why a draw was refused, without the figures of the
// agency's balance.
func agencyShort(d *credit.Draw, err error) error {
	switch fault.CodeOf(err) {
	case fault.InsufficientCredits, fault.BillingDenied:
		if d != nil {
			return credit.ErrAgencyShort()
		}
	}
	return err
}

// refusedBy is the shard that refused a hold, as it was.
type refusedBy struct{ shard item }

// reserve makes one reservation on a shard. refused is set if it had too little.
func (s *LedgerStore) reserve(ctx context.Context, r credit.ReserveRequest, round, at int, seek *seeker) (h credit.Hold, refused *refusedBy, err error) {
	const op = "dynamo.Reserve"
	met := 0
	res := s.reservation(r, round, at, met)
	out, reasons, unanswered := s.act(ctx, res.in, func(reasons []types.CancellationReason) (hopped bool) {
		// Somebody else is writing this shard: another one is free at once.
		if i := res.balance; i >= 0 && i < len(reasons) && aws.ToString(reasons[i].Code) == reasonConflict {
			if hopped = seek.inUse > 1; hopped {
				at = seek.hop()
			}
			met++
			*res.in = *s.reservation(r, round, at, met).in
		}
		return hopped
	})
	switch out {
	case didWrite:
		return holdOf(r, at), nil, nil
	case didRefuse:
		return h, nil, fault.New(fault.Internal, op, "the credit ledger refused a malformed request")
	}
	taken := out == didCancel && (failedCondition(reasons, 0) || failedCondition(reasons, res.parent))
	if taken {
		h, err = s.met(ctx, r)
		return h, nil, err
	}
	if out != didCancel || unanswered {
		// A refusal that follows an unanswered try may be that try's own doing.
		h, found, err := s.ownReserve(ctx, r)
		if err != nil {
			return h, nil, ledgerUnavailable(op, err)
		}
		if found {
			return h, nil, nil
		}
	}
	if out == didCancel {
		if err := undrawn(r.Draw, r.Now, res.draw, reasons); err != nil {
			return h, nil, err
		}
	}
	switch {
	case out == didCancel && res.stampRefused(r, reasons) != nil:
		return h, nil, res.stampRefused(r, reasons)
	case out == didCancel && res.overLimit(reasons):
		return h, nil, reclaim(r.Limits, res, reasons)
	case out == didCancel && failedCondition(reasons, res.balance):
		return h, &refusedBy{reasons[res.balance].Item}, nil
	}
	return h, nil, ledgerUnavailable(op, nil)
}

func holdOf(r credit.ReserveRequest, shard int) credit.Hold {
	h := credit.Hold{Org: r.Org, Request: r.Request, Attempt: r.Attempt, Owner: r.Owner, Amount: r.Hold,
		Shard: shard, Created: r.Now, Expires: r.Expires, Draw: r.Draw, Stamp: r.Stamp,
		Unmetered: r.Source != taxonomy.Platform && !r.Fee.Due()}
	if r.Legacy() {
		h.Shard = homeShard
	} else if h.Stamp.Legacy() {
		h.Stamp = credit.Stamp{}
	}
	return h
}

// ownReserve reads the attempt and tells whether it is the caller's, running.
func (s *LedgerStore) ownReserve(ctx context.Context, r credit.ReserveRequest) (credit.Hold, bool, error) {
	it, err := s.db.get(ctx, table.Ledger, table.Request(r.Org, r.Request, r.Attempt), true)
	if err != nil || it == nil {
		return credit.Hold{}, false, err
	}
	rd := read(it)
	mine := rd.str(aOwner) == r.Owner && rd.str(aState) == string(credit.Dispatched)
	h := holdOf(r, homeShard)
	h.Shard, h.Amount, h.Stamp = int(rd.num(aShard)), credit.Micro(rd.num(aHold)), parseStamp(rd)
	if h.Stamp.Legacy() {
		h.Amount = credit.Micro(rd.num(aHold0))
	}
	h.Draw = drawOf(rd, r.Draw)
	return h, mine && rd.err == nil, rd.err
}

// refusedGrace is how long a request whose latest attempt was refused counts as
// running: its caller may be about to try the next candidate.
const refusedGrace = 30 * time.Second

// met answers a reserve that found the request taken.
func (s *LedgerStore) met(ctx context.Context, r credit.ReserveRequest) (credit.Hold, error) {
	const op = "dynamo.Reserve"
	hold, own, err := s.ownReserve(ctx, r)
	if err != nil {
		return credit.Hold{}, ledgerUnavailable(op, err)
	}
	if own {
		return hold, nil
	}
	attempts, err := s.Request(ctx, r.Org, r.Request)
	if err != nil && fault.CodeOf(err) != fault.NotFound {
		return credit.Hold{}, err
	}
	if len(attempts) == 0 || !r.Idempotent {
		return credit.Hold{}, fault.New(fault.Conflict, op, "this request id is taken, use a new one")
	}
	first, last := attempts[0], attempts[len(attempts)-1]
	cause := &credit.Existing{Request: r.Request, Attempt: last.N, State: last.State, Kind: last.Kind, Created: first.Created}
	f := fault.Wrap(fault.IdempotencyCompleted, op, "this idempotency key was used by a request that has finished", cause)
	f.RequestID = r.Request
	refused := last.Kind == credit.Refused && r.Now.Sub(last.UsedAt) < refusedGrace
	switch {
	case first.Fingerprint != r.Fingerprint:
		f.Code, f.Message = fault.IdempotencyConflict, "this idempotency key was used with another request body, use a new key"
	case last.State == credit.Dispatched, last.State == credit.Held, refused:
		f.Code, f.Message = fault.IdempotencyInProgress, "a request with this idempotency key is running, try again shortly"
		f.RetryAfter = time.Second
	}
	return credit.Hold{}, f
}

// extendDraw is the place of the offer in an extension.
const extendDraw = 2

var extendNames = map[string]string{"#st": aState, "#own": aOwner, "#hold": aHold, "#most": aHold0}

func (s *LedgerStore) extension(h credit.Hold, delta credit.Micro, now time.Time) *dynamodb.TransactWriteItemsInput {
	acts := []types.TransactWriteItem{
		{Update: &types.Update{
			TableName: s.db.name(table.Ledger), Key: keyItem(table.Request(h.Org, h.Request, h.Attempt)),
			UpdateExpression:         aws.String("SET #hold = #hold + :d, #most = #most + :d"),
			ConditionExpression:      aws.String("#st = :run AND #own = :me AND #hold = :h"),
			ExpressionAttributeNames: extendNames,
			ExpressionAttributeValues: item{":d": num(int64(delta)), ":run": str(string(credit.Dispatched)),
				":me": str(h.Owner), ":h": num(int64(h.Amount))},
			ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		}},
		s.take(h.Payer(), h.Shard, delta, now, 0, nil),
	}
	if d := h.Draw; d != nil {
		acts, _ = s.draws(acts, drawChange{agency: d.Agency, client: h.Org, day: d.Day, by: delta, absent: h.Amount, limits: d, extends: true})
	}
	return &dynamodb.TransactWriteItemsInput{TransactItems: acts, ClientRequestToken: s.token(table.Ledger, "extend",
		h.Org, h.Request, strconv.Itoa(h.Attempt), h.Owner, strconv.FormatInt(int64(h.Amount), 10), strconv.FormatInt(int64(delta), 10), strconv.FormatInt(now.UnixMilli(), 10))}
}

// Extend implements credit.HoldStore. The hold stays on its shard; others give
// what that one lacks.
func (s *LedgerStore) Extend(ctx context.Context, h credit.Hold, delta credit.Micro, now time.Time) (credit.Hold, error) {
	const op = "dynamo.Extend"
	grown := h
	grown.Amount += delta
	seek := seeker{s: s, org: h.Payer(), need: delta, fixed: true, home: h.Shard}
	for range seekRounds {
		out, reasons, unanswered := s.act(ctx, s.extension(h, delta, now), nil)
		if out == didWrite {
			return grown, nil
		}
		if unanswered {
			it, err := s.db.get(ctx, table.Ledger, table.Request(h.Org, h.Request, h.Attempt), true)
			if rd := read(it); err == nil && rd.str(aOwner) == h.Owner && rd.num(aHold) == int64(grown.Amount) {
				return grown, nil
			}
		}
		switch {
		case out == didCancel && failedCondition(reasons, 0):
			// Only the owner extends: a greater hold is an earlier extension of
			// whose end it was not told.
			rd := read(reasons[0].Item)
			stored := credit.Micro(rd.num(aHold))
			if rd.str(aOwner) == h.Owner && rd.str(aState) == string(credit.Dispatched) && stored > h.Amount && rd.err == nil {
				grown.Amount = stored
				return grown, nil
			}
			return h, fault.New(fault.Conflict, op, "the hold is not running any more")
		case out != didCancel || len(reasons) < 2:
			return h, ledgerUnavailable(op, nil)
		}
		if h.Draw != nil {
			if err := undrawn(h.Draw, now, extendDraw, reasons); err != nil {
				// A cap, or an agency that was suspended meanwhile.
				return h, credit.ErrAgencyShort()
			}
		}
		if _, err := seek.next(ctx, refusedBy{reasons[1].Item}, now, credit.Stamp{}); err != nil {
			return h, agencyShort(h.Draw, err)
		}
	}
	return h, ledgerUnavailable(op, nil)
}

var checkpointNames = map[string]string{"#st": aState, "#own": aOwner, "#cku": aCheckUse, "#cka": aCheckAmt}

// Checkpoint implements credit.HoldStore.
func (s *LedgerStore) Checkpoint(ctx context.Context, h credit.Hold, u billing.Usage, amount credit.Micro) error {
	const op = "dynamo.Checkpoint"
	out, _ := s.actUpdate(ctx, &dynamodb.UpdateItemInput{
		TableName: s.db.name(table.Ledger), Key: keyItem(table.Request(h.Org, h.Request, h.Attempt)),
		UpdateExpression:         aws.String("SET #cku = :u, #cka = :a"),
		ConditionExpression:      aws.String("#st = :run AND #own = :me AND (attribute_not_exists(#cka) OR #cka <= :a)"),
		ExpressionAttributeNames: checkpointNames,
		ExpressionAttributeValues: item{":u": mapping(usageItem(u)), ":a": num(int64(amount)),
			":run": str(string(credit.Dispatched)), ":me": str(h.Owner)},
	})
	switch out {
	case didWrite:
		return nil
	case didFailCondition:
		return fault.New(fault.Conflict, op, "the hold is not running any more")
	}
	return ledgerUnavailable(op, nil)
}

var usedNames = map[string]string{"#st": aState, "#own": aOwner, "#a": aAmount, "#ua": aUsedAt, "#oc": aOutcome, "#us": aUsage,
	"#est": aEstimated, "#prid": aVendorID, "#code": aStatus, "#rsn": aReason, "#hx": table.HoldsPK, "#cku": aCheckUse, "#cka": aCheckAmt}

// Used implements credit.HoldStore.
func (s *LedgerStore) Used(ctx context.Context, h credit.Hold, o credit.Outcome) error {
	const op = "dynamo.Used"
	out, old := s.actUpdate(ctx, &dynamodb.UpdateItemInput{
		TableName: s.db.name(table.Ledger), Key: keyItem(table.Request(h.Org, h.Request, h.Attempt)),
		// The index attribute is set again although it did not change: expiry
		// removed it, and the sweep must see late usage that the stream lost.
		UpdateExpression: aws.String("SET #st = :used, #a = :a, #ua = :ua, #oc = :oc, #us = :us, #est = :est, " +
			"#prid = :prid, #code = :code, #rsn = :rsn, #hx = :hx REMOVE #cku, #cka"),
		ConditionExpression:                 aws.String("#own = :me AND #st IN (:run, :expired)"),
		ExpressionAttributeNames:            usedNames,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		ExpressionAttributeValues: item{
			":used": str(string(credit.UsedState)), ":a": num(int64(o.Amount)), ":ua": millis(o.At), ":oc": str(string(o.Kind)),
			":us": mapping(usageItem(o.Usage)), ":est": boolean(o.Estimated), ":prid": str(o.ProviderRequestID),
			":code": num(int64(o.Status)), ":rsn": str(o.Reason), ":hx": str(holdBucket(h.Org, h.Request, h.Draw)),
			":me": str(h.Owner), ":run": str(string(credit.Dispatched)), ":expired": str(string(credit.Expired)),
		},
	})
	switch out {
	case didWrite:
		return nil
	case didFailCondition:
		r := read(old)
		mine := r.str(aOwner) == h.Owner && r.has(aAmount)
		if mine && r.num(aAmount) == int64(o.Amount) && r.str(aOutcome) == string(o.Kind) {
			return nil // the answer of an earlier try was lost
		}
		if mine {
			return fault.New(fault.Conflict, op, "another outcome was recorded for this attempt before")
		}
		return fault.New(fault.Conflict, op, "this attempt belongs to another caller")
	case didRefuse:
		return fault.New(fault.Internal, op, "the credit ledger refused a malformed request")
	}
	return ledgerUnavailable(op, nil)
}
