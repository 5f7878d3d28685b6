package dynamo

import (
	"context"
	"errors"
	"fmt"
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
)

// reservation is the transaction of one reserve and the places of its actions.
type reservation struct {
	in              *dynamodb.TransactWriteItemsInput
	balance, parent int   // -1 if absent; the attempt is action 0
	limits          []int // action of each claim, -1 if it changes nothing
}

var (
	balanceNames = map[string]string{"#held": aHeld, "#avail": aAvail, "#ver": aVersion, "#mode": aMode}
	reserveNames = map[string]string{"#held": aHeld, "#avail": aAvail, "#ver": aVersion, "#mode": aMode, "#nx": aNext}
	parentNames  = map[string]string{"#own": aOwner, "#last": aLast}
)

func (s *LedgerStore) reservation(r credit.ReserveRequest, round int) reservation {
	ledger := s.db.name(table.Ledger)
	acts := make([]types.TransactWriteItem, 0, 4)
	acts = append(acts, ledgerPut(ledger, requestItem(r), ifAbsent), ledgerPut(ledger, decisionItem(r), ""))
	res := reservation{balance: -1, parent: -1}
	if r.Hold > 0 {
		res.balance = len(acts)
		acts = append(acts, types.TransactWriteItem{Update: &types.Update{
			TableName: ledger, Key: keyItem(table.Balance(r.Org, homeShard)),
			UpdateExpression:                    aws.String("SET #held = #held + :h, #avail = #avail - :h, #ver = #ver + :one"),
			ConditionExpression:                 aws.String("#avail >= :h AND #mode = :mode AND (attribute_not_exists(#nx) OR #nx > :now)"),
			ExpressionAttributeNames:            reserveNames,
			ExpressionAttributeValues:           item{":h": num(int64(r.Hold)), ":one": num(1), ":mode": str(credit.ModeCredit), ":now": millis(r.Now)},
			ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		}})
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
	res.in = &dynamodb.TransactWriteItemsInput{TransactItems: acts,
		ClientRequestToken: s.token(table.Ledger, "reserve", r.Org, r.Request, strconv.Itoa(r.Attempt), r.Owner,
			strconv.FormatInt(int64(r.Hold), 10), strconv.FormatInt(r.Expires.UnixMilli(), 10),
			strconv.FormatInt(r.Now.UnixMilli(), 10), r.DecisionHash, strconv.Itoa(round))}
	return res
}

// Reserve implements credit.HoldStore.
func (s *LedgerStore) Reserve(ctx context.Context, r credit.ReserveRequest) (credit.Hold, error) {
	r.Limits = slices.Clone(r.Limits)
	for round := range claimRounds {
		if hold, err := s.reserve(ctx, r, round); !errors.Is(err, errNewerState) {
			return hold, err
		}
	}
	return credit.Hold{}, ledgerUnavailable("dynamo.Reserve", errNewerState)
}

func (s *LedgerStore) reserve(ctx context.Context, r credit.ReserveRequest, round int) (credit.Hold, error) {
	const op = "dynamo.Reserve"
	res := s.reservation(r, round)
	out, reasons, unanswered := s.act(ctx, res.in)
	switch out {
	case didWrite:
		return holdOf(r), nil
	case didRefuse:
		return credit.Hold{}, fault.New(fault.Internal, op, "the credit ledger refused a malformed request")
	case didCancel:
		switch {
		case failedCondition(reasons, 0), failedCondition(reasons, res.parent):
			return s.met(ctx, r)
		case res.overLimit(reasons) && !unanswered:
			return credit.Hold{}, reclaim(r.Limits, res, reasons)
		case failedCondition(reasons, res.balance) && !unanswered:
			return credit.Hold{}, refusal(r, reasons[res.balance].Item)
		}
	}
	// A refusal that follows an unanswered try may be that try's own doing.
	hold, found, err := s.ownReserve(ctx, r)
	switch {
	case err != nil:
		return credit.Hold{}, ledgerUnavailable(op, err)
	case found:
		return hold, nil
	case out == didCancel && res.overLimit(reasons):
		return credit.Hold{}, reclaim(r.Limits, res, reasons)
	case out == didCancel && failedCondition(reasons, res.balance):
		return credit.Hold{}, refusal(r, reasons[res.balance].Item)
	}
	return credit.Hold{}, ledgerUnavailable(op, nil)
}

func holdOf(r credit.ReserveRequest) credit.Hold {
	return credit.Hold{Org: r.Org, Request: r.Request, Attempt: r.Attempt, Owner: r.Owner, Amount: r.Hold,
		Shard: homeShard, Created: r.Now, Expires: r.Expires}
}

// ownReserve reads the attempt and tells whether it is the caller's, running.
func (s *LedgerStore) ownReserve(ctx context.Context, r credit.ReserveRequest) (credit.Hold, bool, error) {
	it, err := s.db.get(ctx, table.Ledger, table.Request(r.Org, r.Request, r.Attempt), true)
	if err != nil || it == nil {
		return credit.Hold{}, false, err
	}
	rd := read(it)
	mine := rd.str(aOwner) == r.Owner && rd.str(aState) == string(credit.Dispatched)
	h := holdOf(r)
	h.Shard, h.Amount = int(rd.num(aShard)), credit.Micro(rd.num(aHold))
	return h, mine && rd.err == nil, rd.err
}

// refusal explains why a balance refused a hold; it is nil if there is none.
func refusal(r credit.ReserveRequest, balance item) error {
	const op = "dynamo.Reserve"
	rd := read(balance)
	if balance != nil && rd.str(aMode) != credit.ModeCredit {
		return fault.New(fault.BillingDenied, op, "this organisation is not charged through the credit ledger, platform credits cannot be used")
	}
	if rd.has(aNext) && rd.num(aNext) <= r.Now.UnixMilli() {
		return credit.ErrExpiryDue(op)
	}
	return fault.New(fault.InsufficientCredits, op, fmt.Sprintf(
		"not enough credits: this request needs up to %d micro-credits, %d are available, add credits or lower the output limit",
		r.Hold, max(rd.num(aAvail), 0)))
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

var extendNames = map[string]string{"#st": aState, "#own": aOwner, "#hold": aHold}

// Extend implements credit.HoldStore.
func (s *LedgerStore) Extend(ctx context.Context, h credit.Hold, delta credit.Micro) (credit.Hold, error) {
	const op = "dynamo.Extend"
	ledger := s.db.name(table.Ledger)
	in := &dynamodb.TransactWriteItemsInput{
		ClientRequestToken: s.token(table.Ledger, "extend", h.Org, h.Request, strconv.Itoa(h.Attempt), h.Owner,
			strconv.FormatInt(int64(h.Amount), 10), strconv.FormatInt(int64(delta), 10)),
		TransactItems: []types.TransactWriteItem{
			{Update: &types.Update{
				TableName: ledger, Key: keyItem(table.Request(h.Org, h.Request, h.Attempt)),
				UpdateExpression:         aws.String("SET #hold = #hold + :d"),
				ConditionExpression:      aws.String("#st = :run AND #own = :me AND #hold = :h"),
				ExpressionAttributeNames: extendNames,
				ExpressionAttributeValues: item{":d": num(int64(delta)), ":run": str(string(credit.Dispatched)),
					":me": str(h.Owner), ":h": num(int64(h.Amount))},
			}},
			{Update: &types.Update{
				TableName: ledger, Key: keyItem(table.Balance(h.Org, h.Shard)),
				UpdateExpression:          aws.String("SET #held = #held + :h, #avail = #avail - :h, #ver = #ver + :one"),
				ConditionExpression:       aws.String("#avail >= :h AND #mode = :mode"),
				ExpressionAttributeNames:  balanceNames,
				ExpressionAttributeValues: item{":h": num(int64(delta)), ":one": num(1), ":mode": str(credit.ModeCredit)},
			}},
		}}
	grown := h
	grown.Amount += delta
	out, reasons, unanswered := s.act(ctx, in)
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
		return h, fault.New(fault.Conflict, op, "the hold is not running any more")
	case out == didCancel && failedCondition(reasons, 1):
		return h, fault.New(fault.InsufficientCredits, op, "not enough credits to continue, add credits")
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
			":code": num(int64(o.Status)), ":rsn": str(o.Reason), ":hx": str(table.HoldBucket(h.Org, h.Request)),
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
