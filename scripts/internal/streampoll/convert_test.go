package streampoll

import (
	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

// toDynamo gives a stream attribute value its twin of the table API.
func toDynamo(value types.AttributeValue) ddbtypes.AttributeValue {
	switch v := value.(type) {
	case *types.AttributeValueMemberS:
		return &ddbtypes.AttributeValueMemberS{Value: v.Value}
	case *types.AttributeValueMemberN:
		return &ddbtypes.AttributeValueMemberN{Value: v.Value}
	case *types.AttributeValueMemberB:
		return &ddbtypes.AttributeValueMemberB{Value: notNil(v.Value)}
	case *types.AttributeValueMemberSS:
		return &ddbtypes.AttributeValueMemberSS{Value: v.Value}
	case *types.AttributeValueMemberNS:
		return &ddbtypes.AttributeValueMemberNS{Value: v.Value}
	case *types.AttributeValueMemberBS:
		return &ddbtypes.AttributeValueMemberBS{Value: v.Value}
	case *types.AttributeValueMemberBOOL:
		return &ddbtypes.AttributeValueMemberBOOL{Value: v.Value}
	case *types.AttributeValueMemberNULL:
		return &ddbtypes.AttributeValueMemberNULL{Value: v.Value}
	case *types.AttributeValueMemberM:
		m := map[string]ddbtypes.AttributeValue{}
		for name, inner := range v.Value {
			m[name] = toDynamo(inner)
		}
		return &ddbtypes.AttributeValueMemberM{Value: m}
	case *types.AttributeValueMemberL:
		l := []ddbtypes.AttributeValue{}
		for _, inner := range v.Value {
			l = append(l, toDynamo(inner))
		}
		return &ddbtypes.AttributeValueMemberL{Value: l}
	}
	return nil
}
