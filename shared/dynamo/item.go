package dynamo

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/table"
)

// item is a DynamoDB item.
type item = map[string]types.AttributeValue

// errItem is the cause of every decoding failure: a stored item that this
// version does not understand is refused, never guessed at.
var errItem = errors.New("dynamo: malformed item")

func keyItem(k table.Key) item { return item{table.PK: str(k.PK), table.SK: str(k.SK)} }

func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func num(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

func bin(b []byte) types.AttributeValue { return &types.AttributeValueMemberB{Value: b} }

func boolean(b bool) types.AttributeValue { return &types.AttributeValueMemberBOOL{Value: b} }

func mapping(m item) types.AttributeValue { return &types.AttributeValueMemberM{Value: m} }

func list(vs ...types.AttributeValue) types.AttributeValue {
	return &types.AttributeValueMemberL{Value: vs}
}

func strs(ss []string) types.AttributeValue {
	vs := make([]types.AttributeValue, len(ss))
	for i, s := range ss {
		vs[i] = str(s)
	}
	return list(vs...)
}

// millis stores a time with millisecond precision; the zero time is 0.
func millis(t time.Time) types.AttributeValue {
	if t.IsZero() {
		return num(0)
	}
	return num(t.UnixMilli())
}

// reader decodes attributes of one item and remembers the first failure. An
// absent attribute reads as the zero value; one of another type is an error.
type reader struct {
	it  item
	err error
}

func read(it item) *reader { return &reader{it: it} }

func (r *reader) fail(name string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: attribute %q", errItem, name)
	}
}

func (r *reader) str(name string) string {
	switch v := r.it[name].(type) {
	case nil:
		return ""
	case *types.AttributeValueMemberS:
		return v.Value
	}
	r.fail(name)
	return ""
}

// num accepts integer literals only.
func (r *reader) num(name string) int64 {
	switch v := r.it[name].(type) {
	case nil:
		return 0
	case *types.AttributeValueMemberN:
		n, err := strconv.ParseInt(v.Value, 10, 64)
		if err != nil {
			r.fail(name)
		}
		return n
	}
	r.fail(name)
	return 0
}

func (r *reader) bin(name string) []byte {
	switch v := r.it[name].(type) {
	case nil:
		return nil
	case *types.AttributeValueMemberB:
		return v.Value
	}
	r.fail(name)
	return nil
}

func (r *reader) bool(name string) bool {
	switch v := r.it[name].(type) {
	case nil:
		return false
	case *types.AttributeValueMemberBOOL:
		return v.Value
	}
	r.fail(name)
	return false
}

func (r *reader) time(name string) time.Time {
	n := r.num(name)
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}

func (r *reader) strs(name string) []string {
	switch v := r.it[name].(type) {
	case nil:
		return nil
	case *types.AttributeValueMemberL:
		out := make([]string, 0, len(v.Value))
		for _, e := range v.Value {
			s, ok := e.(*types.AttributeValueMemberS)
			if !ok {
				r.fail(name)
				return nil
			}
			out = append(out, s.Value)
		}
		return out
	}
	r.fail(name)
	return nil
}

// sub returns a nested map, empty if absent.
func (r *reader) sub(name string) item {
	switch v := r.it[name].(type) {
	case nil:
		return nil
	case *types.AttributeValueMemberM:
		return v.Value
	}
	r.fail(name)
	return nil
}

// list returns the elements of a list, nil if absent.
func (r *reader) list(name string) []types.AttributeValue {
	switch v := r.it[name].(type) {
	case nil:
		return nil
	case *types.AttributeValueMemberL:
		return v.Value
	}
	r.fail(name)
	return nil
}

func (r *reader) has(name string) bool { _, ok := r.it[name]; return ok }
