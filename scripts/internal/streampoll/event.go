package streampoll

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

// record is one stream record on its way to the function.
type record struct {
	sequence string
	created  time.Time // on the stack's clock
	lane     int
	wanted   bool  // passes the filters
	position int64 // in the shard's tracker
	event    json.RawMessage
}

type eventRecord struct {
	EventID        string         `json:"eventID"`
	EventName      string         `json:"eventName"`
	EventVersion   string         `json:"eventVersion"`
	EventSource    string         `json:"eventSource"`
	AWSRegion      string         `json:"awsRegion"`
	Change         eventChange    `json:"dynamodb"`
	UserIdentity   *eventIdentity `json:"userIdentity,omitempty"`
	EventSourceARN string         `json:"eventSourceARN"`
}

type eventChange struct {
	Created        json.Number     `json:"ApproximateCreationDateTime"`
	Keys           json.RawMessage `json:"Keys,omitempty"`
	NewImage       json.RawMessage `json:"NewImage,omitempty"`
	OldImage       json.RawMessage `json:"OldImage,omitempty"`
	SequenceNumber string          `json:"SequenceNumber"`
	SizeBytes      int64           `json:"SizeBytes"`
	StreamViewType string          `json:"StreamViewType"`
}

type eventIdentity struct {
	PrincipalID string `json:"principalId"`
	Type        string `json:"type"`
}

// converter turns API records into the JSON that Lambda delivers.
type converter struct {
	streamARN, region, account string
	lanes                      int
}

// convert takes one record; offset moves the engine's wall clock onto the
// stack's clock.
func (c *converter) convert(r types.Record, offset time.Duration) (record, error) {
	d := r.Dynamodb
	if d == nil || d.SequenceNumber == nil {
		return record{}, fmt.Errorf("streampoll: stream record %q has no sequence number", aws.ToString(r.EventID))
	}
	out := record{sequence: *d.SequenceNumber, created: aws.ToTime(d.ApproximateCreationDateTime).Add(offset)}
	e := eventRecord{
		EventID: aws.ToString(r.EventID), EventName: string(r.EventName), EventVersion: aws.ToString(r.EventVersion),
		EventSource: "aws:dynamodb", AWSRegion: c.region, EventSourceARN: c.streamARN,
		Change: eventChange{
			Created: epochSeconds(out.created), SequenceNumber: out.sequence,
			SizeBytes: aws.ToInt64(d.SizeBytes), StreamViewType: string(d.StreamViewType),
		},
	}
	if r.UserIdentity != nil {
		e.UserIdentity = &eventIdentity{PrincipalID: aws.ToString(r.UserIdentity.PrincipalId), Type: aws.ToString(r.UserIdentity.Type)}
	}
	for _, part := range []struct {
		to   *json.RawMessage
		from map[string]types.AttributeValue
	}{{&e.Change.Keys, d.Keys}, {&e.Change.NewImage, d.NewImage}, {&e.Change.OldImage, d.OldImage}} {
		if part.from == nil {
			continue
		}
		image, err := marshalImage(part.from)
		if err != nil {
			return record{}, err
		}
		*part.to = image
	}
	hash := fnv.New32a()
	hash.Write(e.Change.Keys)
	out.lane = int(hash.Sum32() % uint32(c.lanes))
	event, err := marshal(e)
	out.event = event
	return out, err
}

// epochSeconds writes whole seconds without a fraction, as Lambda does.
func epochSeconds(t time.Time) json.Number {
	if t.Nanosecond() == 0 {
		return json.Number(strconv.FormatInt(t.Unix(), 10))
	}
	return json.Number(strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64))
}

// marshal keeps <, > and & as they are: a filter or a signature may see the text.
func marshal(v any) (json.RawMessage, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("streampoll: encoding a record: %w", err)
	}
	return bytes.TrimRight(buf.Bytes(), "\n"), nil
}

func marshalImage(image map[string]types.AttributeValue) (json.RawMessage, error) {
	v, err := plainMap(image)
	if err != nil {
		return nil, err
	}
	return marshal(v)
}

func plainMap(image map[string]types.AttributeValue) (map[string]any, error) {
	out := make(map[string]any, len(image))
	for name, value := range image {
		v, err := plain(value)
		if err != nil {
			return nil, err
		}
		out[name] = v
	}
	return out, nil
}

// plain gives an attribute value its wire form; bytes become base64 in JSON.
func plain(value types.AttributeValue) (map[string]any, error) {
	switch v := value.(type) {
	case *types.AttributeValueMemberS:
		return map[string]any{"S": v.Value}, nil
	case *types.AttributeValueMemberN:
		return map[string]any{"N": v.Value}, nil
	case *types.AttributeValueMemberB:
		return map[string]any{"B": notNil(v.Value)}, nil
	case *types.AttributeValueMemberSS:
		return map[string]any{"SS": v.Value}, nil
	case *types.AttributeValueMemberNS:
		return map[string]any{"NS": v.Value}, nil
	case *types.AttributeValueMemberBS:
		return map[string]any{"BS": v.Value}, nil
	case *types.AttributeValueMemberBOOL:
		return map[string]any{"BOOL": v.Value}, nil
	case *types.AttributeValueMemberNULL:
		return map[string]any{"NULL": v.Value}, nil
	case *types.AttributeValueMemberM:
		m, err := plainMap(v.Value)
		return map[string]any{"M": m}, err
	case *types.AttributeValueMemberL:
		list := make([]any, len(v.Value))
		for i, element := range v.Value {
			e, err := plain(element)
			if err != nil {
				return nil, err
			}
			list[i] = e
		}
		return map[string]any{"L": list}, nil
	}
	return nil, fmt.Errorf("streampoll: attribute value of unknown kind %T", value)
}

// notNil keeps an empty binary value "" instead of null.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// eventOf joins records into the function's input.
func eventOf(records []record) []byte {
	var buf bytes.Buffer
	buf.WriteString(`{"Records":[`)
	for i, r := range records {
		if i > 0 {
			buf.WriteByte(',')
		}
		buf.Write(r.event)
	}
	buf.WriteString(`]}`)
	return buf.Bytes()
}
