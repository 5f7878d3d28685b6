package localsqs

import (
	"net/http"
	"regexp"
	"strconv"

	"github.com/latchkey/latchkey/scripts/internal/awswire"
)

var entryID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

// failedEntry is the answer to one refused entry of a batch.
type failedEntry struct {
	ID          string `json:"Id"`
	Code        string `json:"Code"`
	Message     string `json:"Message"`
	SenderFault bool   `json:"SenderFault"`
}

func batchError(shape, message string) error {
	return &awswire.Error{Code: shape, QueryCode: "AWS.SimpleQueueService." + shape, Message: message}
}

// checkBatch refuses a batch whose entries cannot be told apart.
func checkBatch(entries []entryInput) error {
	switch {
	case len(entries) == 0:
		return batchError("EmptyBatchRequest", "a batch must have at least one entry")
	case len(entries) > maxBatch:
		return batchError("TooManyEntriesInBatchRequest", "a batch can have 10 entries; you have sent "+strconv.Itoa(len(entries)))
	}
	seen := make(map[string]bool, len(entries))
	for _, entry := range entries {
		if !entryID.MatchString(entry.ID) {
			return batchError("InvalidBatchEntryId", "an entry id has 1 to 80 letters, digits, dashes and underscores")
		}
		if seen[entry.ID] {
			return batchError("BatchEntryIdsNotDistinct", "the entry id "+entry.ID+" is repeated")
		}
		seen[entry.ID] = true
	}
	return nil
}

// batch runs one step per entry and gathers the results. A missing queue fails
// the whole batch.
func (e *Engine) batch(c *call, step func(entryInput) (any, error)) (any, error) {
	if err := checkBatch(c.Entries); err != nil {
		return nil, err
	}
	e.mu.Lock()
	_, err := e.find(c.queue)
	e.mu.Unlock()
	if err != nil {
		return nil, err
	}
	done, failed := []any{}, []failedEntry{}
	for _, entry := range c.Entries {
		out, err := step(entry)
		if err == nil {
			done = append(done, out)
			continue
		}
		wire := awswire.AsError(err)
		code := wire.QueryCode
		if code == "" {
			code = wire.Code
		}
		failed = append(failed, failedEntry{
			ID: entry.ID, Code: code, Message: wire.Message,
			SenderFault: wire.HTTPStatus() < http.StatusInternalServerError,
		})
	}
	out := map[string]any{"Successful": done}
	if len(failed) > 0 {
		out["Failed"] = failed
	}
	return out, nil
}

func (e *Engine) wireSendBatch(c *call) (any, error) {
	total := 0
	for _, entry := range c.Entries {
		total += size(Outgoing{Body: entry.MessageBody, Attributes: entry.MessageAttributes})
	}
	if total > maxMessageBytes {
		return nil, batchError("BatchRequestTooLong", "the messages of a batch can have 1048576 bytes together; you have sent "+strconv.Itoa(total))
	}
	return e.batch(c, func(entry entryInput) (any, error) {
		out, err := e.sendOne(c, entry.sendInput)
		out.ID = entry.ID
		return out, err
	})
}

func (e *Engine) wireDeleteBatch(c *call) (any, error) {
	return e.batch(c, func(entry entryInput) (any, error) {
		return map[string]string{"Id": entry.ID}, e.Delete(c.queue, entry.ReceiptHandle)
	})
}

func (e *Engine) wireChangeVisibilityBatch(c *call) (any, error) {
	return e.batch(c, func(entry entryInput) (any, error) {
		if entry.VisibilityTimeout == nil {
			return nil, missingParameter("VisibilityTimeout")
		}
		return map[string]string{"Id": entry.ID},
			e.ChangeVisibility(c.queue, entry.ReceiptHandle, *seconds(entry.VisibilityTimeout))
	})
}
