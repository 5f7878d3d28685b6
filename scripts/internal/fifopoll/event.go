package fifopoll

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

type eventMessage struct {
	MessageID              string                    `json:"messageId"`
	ReceiptHandle          string                    `json:"receiptHandle"`
	Body                   string                    `json:"body"`
	Attributes             map[string]string         `json:"attributes"`
	MessageAttributes      map[string]eventAttribute `json:"messageAttributes"`
	MD5OfBody              string                    `json:"md5OfBody"`
	MD5OfMessageAttributes string                    `json:"md5OfMessageAttributes,omitempty"`
	EventSource            string                    `json:"eventSource"`
	EventSourceARN         string                    `json:"eventSourceARN"`
	AWSRegion              string                    `json:"awsRegion"`
}

type eventAttribute struct {
	StringValue      *string  `json:"stringValue,omitempty"`
	BinaryValue      []byte   `json:"binaryValue,omitempty"`
	StringListValues []string `json:"stringListValues"`
	BinaryListValues [][]byte `json:"binaryListValues"`
	DataType         string   `json:"dataType"`
}

// event is the JSON that Lambda delivers for a batch.
func (p *Poller) event(messages []types.Message) ([]byte, error) {
	records := make([]eventMessage, len(messages))
	for i, m := range messages {
		r := eventMessage{
			MessageID: aws.ToString(m.MessageId), ReceiptHandle: aws.ToString(m.ReceiptHandle), Body: aws.ToString(m.Body),
			Attributes: m.Attributes, MessageAttributes: map[string]eventAttribute{},
			MD5OfBody: aws.ToString(m.MD5OfBody), MD5OfMessageAttributes: aws.ToString(m.MD5OfMessageAttributes),
			EventSource: "aws:sqs", EventSourceARN: p.mapping.QueueARN, AWSRegion: strings.Split(p.mapping.QueueARN, ":")[3],
		}
		if r.Attributes == nil {
			r.Attributes = map[string]string{}
		}
		for name, v := range m.MessageAttributes {
			r.MessageAttributes[name] = eventAttribute{
				StringValue: v.StringValue, BinaryValue: v.BinaryValue, DataType: aws.ToString(v.DataType),
				StringListValues: []string{}, BinaryListValues: [][]byte{},
			}
		}
		records[i] = r
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(map[string]any{"Records": records}); err != nil {
		return nil, fmt.Errorf("fifopoll: encoding a batch: %w", err)
	}
	return bytes.TrimRight(buf.Bytes(), "\n"), nil
}

// succeeded returns the messages that the response does not name as failed;
// none if the response makes no sense.
func succeeded(payload []byte, messages []types.Message) []types.Message {
	if len(payload) == 0 {
		return messages
	}
	var response struct {
		Failures []struct {
			ID *string `json:"itemIdentifier"`
		} `json:"batchItemFailures"`
	}
	if err := json.Unmarshal(payload, &response); err != nil {
		return nil
	}
	failed := map[string]bool{}
	for _, m := range messages {
		failed[aws.ToString(m.MessageId)] = false
	}
	for _, f := range response.Failures {
		if f.ID == nil {
			return nil
		}
		if _, known := failed[*f.ID]; !known {
			return nil
		}
		failed[*f.ID] = true
	}
	var good []types.Message
	for _, m := range messages {
		if !failed[aws.ToString(m.MessageId)] {
			good = append(good, m)
		}
	}
	return good
}
