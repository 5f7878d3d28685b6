package dynamo

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
)

// LedgerStore implements credit.Store on the ledger and usage tables. Make it
// with [DB.Ledger]; safe for concurrent use.
//
// It uses no retries of the SDK and retries itself, because what may be done
// after a try depends on whether that try was answered.
type LedgerStore struct{ db *DB }

var _ credit.Store = (*LedgerStore)(nil)

// Ledger returns the store of the credit ledger.
func (db *DB) Ledger() *LedgerStore { return &LedgerStore{db: db} }

// homeShard is the shard that grants are posted to, and the only one of most
// organisations. Everything after the reserve takes the shard from the request.
const homeShard = 0

const (
	// ledgerTries bounds the tries of one step; with full jitter the last of
	// them starts about a second after the first.
	ledgerTries = 8
	// ledgerTryLimit bounds the first try; an unanswered one is unknown, not failed.
	// Each one that stays unanswered doubles the limit of the next, up to
	// ledgerTryMost: a try that is sent again is more work for a database that is
	// only slow, and three as short as the first would all be lost on it.
	ledgerTryLimit = 3 * time.Second
	ledgerTryMost  = 24 * time.Second
	// ledgerHops is how many changes of place make the next wait no longer.
	ledgerHops = 4
	// ledgerUnanswered bounds how often an unanswered write is sent again.
	ledgerUnanswered = 3
)

// writeOutcome classifies one try of a write.
type writeOutcome int

const (
	didWrite         writeOutcome = iota
	didCancel                     // a transaction was refused, reasons say why
	didFailCondition              // a single write lost its condition
	didNothing                    // not executed: conflict or throttle
	didMismatch                   // the token was used with other parameters
	didRefuse                     // refused as invalid: a bug of ours
	didNotAnswer                  // no answer: executed or not
)

// patience is the limit of a try after so many unanswered ones.
func patience(silent int) time.Duration {
	return min(ledgerTryLimit<<min(silent, 8), ledgerTryMost)
}

// transact makes one try of a transaction, after so many unanswered ones.
func (s *LedgerStore) transact(ctx context.Context, in *dynamodb.TransactWriteItemsInput, silent int) (writeOutcome, []types.CancellationReason) {
	ctx, cancel := context.WithTimeout(ctx, patience(silent))
	defer cancel()
	err := s.db.direct.Once(ctx, s.db.direct.transact, in, new(dynamodb.TransactWriteItemsOutput))
	if reasons := cancellation(err); reasons != nil {
		for i := range reasons {
			switch aws.ToString(reasons[i].Code) {
			case reasonNone, reasonConflict, reasonThrottled, reasonThroughput:
			default:
				return didCancel, reasons
			}
		}
		return didNothing, reasons
	}
	return classifyWrite(err), nil
}

// update makes one try of a single write, after so many unanswered ones, and returns
// the old item if it lost its condition.
func (s *LedgerStore) update(ctx context.Context, in *dynamodb.UpdateItemInput, silent int) (writeOutcome, item) {
	ctx, cancel := context.WithTimeout(ctx, patience(silent))
	defer cancel()
	err := s.db.direct.Once(ctx, s.db.direct.update, in, new(dynamodb.UpdateItemOutput))
	if old, failed := conditionFailed(err); failed {
		return didFailCondition, old
	}
	return classifyWrite(err), nil
}

const (
	reasonThrottled  = "ThrottlingError"
	reasonThroughput = "ProvisionedThroughputExceeded"
)

func classifyWrite(err error) writeOutcome {
	if err == nil {
		return didWrite
	}
	// The code is all that is needed; the interface is that of every service
	// error of the SDK.
	var api interface{ ErrorCode() string }
	if !errors.As(err, &api) {
		return didNotAnswer
	}
	switch api.ErrorCode() {
	case "TransactionConflictException", "TransactionInProgressException", "ThrottlingException", "Throttling",
		"ProvisionedThroughputExceededException", "RequestLimitExceeded", "LimitExceededException":
		return didNothing
	case "IdempotentParameterMismatchException":
		return didMismatch
	case "ValidationException", "ResourceNotFoundException", "AccessDeniedException", "UnrecognizedClientException", "SerializationException":
		return didRefuse
	}
	return didNotAnswer
}

// token derives a ClientRequestToken. Tokens outlive tables and are shared by
// all tables of an account, so the table's name is part of it.
func (s *LedgerStore) token(role table.Role, step string, parts ...string) *string {
	h := sha256.New()
	write := func(p string) {
		_, _ = h.Write(strconv.AppendInt(nil, int64(len(p)), 10))
		_, _ = h.Write([]byte{':'})
		_, _ = h.Write([]byte(p))
	}
	write(s.db.tables[role])
	write(step)
	for _, p := range parts {
		write(p)
	}
	var sum [sha256.Size]byte
	return aws.String(hex.EncodeToString(h.Sum(sum[:0]))[:36])
}

// freshToken is for a token that turned out to be used: the conditions alone
// guard the transaction then.
func freshToken() *string {
	var b [18]byte
	_, _ = rand.Read(b[:]) // never fails
	return aws.String(hex.EncodeToString(b[:]))
}

// act writes in until it has a definite outcome, or tries or ctx end; then the
// outcome is didNothing or didNotAnswer. unanswered tells whether any try stayed without an
// answer, so that a refusal can have been caused by that try. again, if there is
// one, may change what is written after a try that did nothing, and tells whether
// it did: there is less to wait for then.
func (s *LedgerStore) act(ctx context.Context, in *dynamodb.TransactWriteItemsInput, again func([]types.CancellationReason) bool) (out writeOutcome, reasons []types.CancellationReason, unanswered bool) {
	silent, calm := 0, 0
	for try := range ledgerTries {
		if try > 0 && s.db.pace.backoff(ctx, try-1-calm) != nil {
			return out, nil, silent > 0
		}
		switch out, reasons = s.transact(ctx, in, silent); out {
		case didNothing:
			if again != nil && again(reasons) && calm < ledgerHops {
				calm++
			}
		case didMismatch:
			in.ClientRequestToken = freshToken()
		case didNotAnswer:
			if silent++; silent >= ledgerUnanswered {
				return didNotAnswer, nil, true
			}
		default:
			return out, reasons, silent > 0
		}
	}
	return out, nil, silent > 0
}

// actUpdate is act for a single conditional write that may be repeated.
func (s *LedgerStore) actUpdate(ctx context.Context, in *dynamodb.UpdateItemInput) (out writeOutcome, old item) {
	silent := 0
	for try := range ledgerTries {
		if try > 0 && s.db.pace.backoff(ctx, try-1) != nil {
			return out, nil
		}
		if out, old = s.update(ctx, in, silent); out != didNothing && out != didNotAnswer {
			return out, old
		}
		if out == didNotAnswer {
			silent++
		}
	}
	return out, nil
}

func failedCondition(reasons []types.CancellationReason, i int) bool {
	return i >= 0 && i < len(reasons) && aws.ToString(reasons[i].Code) == reasonCondition
}

func ledgerUnavailable(op string, err error) error {
	return fault.Wrap(fault.LedgerUnavailable, op, "the credit ledger cannot be reached, try again", err)
}

// ledgerRead marks the error of a read.
func ledgerRead(op string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, errItem) {
		return fault.Wrap(fault.Internal, op, "a stored ledger item cannot be read", err)
	}
	return ledgerUnavailable(op, err)
}

func ledgerPut(role *string, it item, condition string) types.TransactWriteItem {
	p := &types.Put{TableName: role, Item: it}
	if condition != "" {
		p.ConditionExpression = aws.String(condition)
		p.ExpressionAttributeNames = ledgerPKName
		p.ReturnValuesOnConditionCheckFailure = types.ReturnValuesOnConditionCheckFailureAllOld
	}
	return types.TransactWriteItem{Put: p}
}

// ifAbsent is the condition of every item that is written once.
const ifAbsent = "attribute_not_exists(#pk)"

var ledgerPKName = map[string]string{"#pk": table.PK}
