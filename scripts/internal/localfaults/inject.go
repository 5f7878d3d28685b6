package localfaults

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/awswire"
)

// reactions to a taken fault.
type reaction int

const (
	proceed reaction = iota // run the call
	commit                  // run the call, then drop the connection
	refused                 // an error was answered
)

// Wrap returns next with the table's faults of a service before it. version is
// the protocol version of the error answers.
func (t *Table) Wrap(service, version string, next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, operation := awswire.Target(r)
		fault, ok := t.Take(service, operation, awswire.Principal(r))
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		switch apply(w, r, fault, operation, version, 0) {
		case proceed:
			next.ServeHTTP(w, r)
		case commit:
			// The call must finish even if the client stops waiting meanwhile.
			next.ServeHTTP(discard{}, r.WithContext(context.WithoutCancel(r.Context())))
			panic(http.ErrAbortHandler)
		case refused:
		}
	})
}

// apply waits and answers as the fault says. parts is the number of items of a
// transaction, for its cancellation reasons.
func apply(w http.ResponseWriter, r *http.Request, f Fault, operation, version string, parts int) reaction {
	if f.DelayMS > 0 {
		// The delay is real time: it stands for the network, not for the clock.
		timer := time.NewTimer(time.Duration(f.DelayMS) * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-f.cleared:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	switch f.Error {
	case "":
		return proceed
	case TimeoutAfterCommit:
		return commit
	}
	awswire.WriteError(w, version, injected(f, operation, parts))
	return refused
}

// injected builds the error the real service would answer. Codes and statuses:
// service models of aws-sdk-go-v2 (kms v1.62.4, sqs v1.52.10, dynamodb v1.73.1,
// dynamodbstreams v1.46.6), read 2026-11.
func injected(f Fault, operation string, parts int) *awswire.Error {
	const text = "injected by the local fault table"
	switch f.Error {
	case Throttle:
		return throttled(f.Service, operation, text)
	case Conflict:
		if !transaction(operation) {
			return awswire.NewError("TransactionConflictException", text)
		}
		return cancelled([]string{"TransactionConflict"}, parts, text)
	case Cancelled:
		return cancelled(f.Reasons, parts, text)
	case AccessDenied:
		e := awswire.NewError("AccessDeniedException", text)
		if f.Service == SQS {
			e.Status, e.QueryCode = http.StatusForbidden, "AccessDenied"
		}
		return e
	case Disabled:
		return awswire.NewError("DisabledException", text)
	default:
		return &awswire.Error{Status: http.StatusServiceUnavailable, Code: "ServiceUnavailable", Message: text}
	}
}

func throttled(service, operation, text string) *awswire.Error {
	switch service {
	case SQS:
		return &awswire.Error{Status: http.StatusForbidden, Code: "RequestThrottled", QueryCode: "RequestThrottled", Message: text}
	case DynamoDB:
		if dataOperation(operation) {
			return awswire.NewError("ProvisionedThroughputExceededException", text)
		}
	}
	return awswire.NewError("ThrottlingException", text)
}

func dataOperation(operation string) bool {
	return strings.HasSuffix(operation, "Item") || strings.HasSuffix(operation, "Items") ||
		operation == "Query" || operation == "Scan"
}

func transaction(operation string) bool {
	return operation == "TransactWriteItems" || operation == "TransactGetItems"
}

// cancelled: a transaction is told a reason per part, None beyond the given ones.
func cancelled(given []string, parts int, text string) *awswire.Error {
	parts = max(parts, 1)
	reasons := make([]map[string]string, parts)
	codes := make([]string, parts)
	for i := range reasons {
		codes[i] = "None"
		reasons[i] = map[string]string{}
		if i < len(given) && given[i] != "None" {
			codes[i] = given[i]
			reasons[i]["Message"] = text
		}
		reasons[i]["Code"] = codes[i]
	}
	return &awswire.Error{
		Code: "TransactionCanceledException",
		Message: "Transaction cancelled, please refer cancellation reasons for specific reasons [" +
			strings.Join(codes, ", ") + "]",
		Extra: map[string]any{"CancellationReasons": reasons},
	}
}

// transactParts counts the items of a transaction body; 0 when it has none.
func transactParts(body []byte) int {
	var in struct{ TransactItems []json.RawMessage }
	if json.Unmarshal(body, &in) != nil {
		return 0
	}
	return len(in.TransactItems)
}

// discard is the answer nobody gets.
type discard struct{}

func (discard) Header() http.Header         { return make(http.Header) }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}
