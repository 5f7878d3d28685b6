package dynamo

import (
	"fmt"
	"strings"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/table"
)

// DecodeChange reads one stream record of the ledger table: a request that
// became USED, a new entry, or something that settlement does not care for. The
// key is filled in whenever the record has one, also with an error, which means
// that the image cannot be understood.
func DecodeChange(record *events.DynamoDBEventRecord) (credit.Change, error) {
	keys, err := streamItem(record.Change.Keys, 0)
	if err != nil {
		return credit.Change{}, err
	}
	r := read(keys)
	c := credit.Change{PK: r.str(table.PK), SK: r.str(table.SK)}
	if r.err != nil || c.PK == "" || c.SK == "" {
		return c, fmt.Errorf("%w: stream record without a key", errItem)
	}
	switch {
	case record.EventName == "MODIFY" && strings.HasPrefix(c.PK, "R#") && strings.HasPrefix(c.SK, "REQ"):
		return decodeUsed(c, record)
	case record.EventName == "INSERT" && strings.HasPrefix(c.PK, "J#"):
		it, err := streamItem(record.Change.NewImage, 0)
		if err != nil {
			return c, err
		}
		e, err := parseEntry(it)
		if err != nil {
			return c, err
		}
		c.Kind, c.Entry = credit.ChangeEntry, e
	}
	return c, nil
}

func decodeUsed(c credit.Change, record *events.DynamoDBEventRecord) (credit.Change, error) {
	before, after := record.Change.OldImage[aState], record.Change.NewImage[aState]
	if after.DataType() != events.DataTypeString || after.String() != string(credit.UsedState) {
		return c, nil
	}
	if before.DataType() == events.DataTypeString && before.String() == string(credit.UsedState) {
		return c, nil // a later attempt marked its parent
	}
	it, err := streamItem(record.Change.NewImage, 0)
	if err != nil {
		return c, err
	}
	// The key of the record is what was changed, whatever the image says.
	it[table.PK], it[table.SK] = str(c.PK), str(c.SK)
	u, err := parseUsed(it)
	if err != nil {
		return c, err
	}
	c.Kind, c.Used = credit.ChangeUsed, u
	return c, nil
}

// maxStreamDepth bounds nesting; our items have two levels.
const maxStreamDepth = 4

func streamItem(image map[string]events.DynamoDBAttributeValue, depth int) (item, error) {
	it := make(item, len(image)+2)
	for name, v := range image {
		av, err := streamValue(v, depth)
		if err != nil {
			return nil, fmt.Errorf("%w: attribute %q", err, name)
		}
		it[name] = av
	}
	return it, nil
}

func streamValue(v events.DynamoDBAttributeValue, depth int) (types.AttributeValue, error) {
	if depth > maxStreamDepth {
		return nil, errItem
	}
	switch v.DataType() {
	case events.DataTypeString:
		return str(v.String()), nil
	case events.DataTypeNumber:
		return &types.AttributeValueMemberN{Value: v.Number()}, nil
	case events.DataTypeBinary:
		return bin(v.Binary()), nil
	case events.DataTypeBoolean:
		return boolean(v.Boolean()), nil
	case events.DataTypeMap:
		m, err := streamItem(v.Map(), depth+1)
		return mapping(m), err
	case events.DataTypeList:
		vs := make([]types.AttributeValue, 0, len(v.List()))
		for _, e := range v.List() {
			av, err := streamValue(e, depth+1)
			if err != nil {
				return nil, err
			}
			vs = append(vs, av)
		}
		return list(vs...), nil
	}
	return nil, errItem // sets and nulls are not ours
}
