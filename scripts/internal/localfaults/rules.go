package localfaults

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/shared/table"
)

// Rule narrows what an allow list grants to partitions of a table, as IAM does
// with dynamodb:LeadingKeys. Keys are partition keys, or prefixes that end in *.
//
// With Deny, the operations are refused on each partition that a key matches
// (ForAnyValue:StringLike in a Deny statement). Without, they are refused unless
// every partition is matched (ForAllValues:StringLike in an Allow statement). As
// in IAM, a call whose partitions are not known meets neither: of a Query they
// are not looked at.
type Rule struct {
	Table      string
	Operations []string
	Keys       []string
	Deny       bool
}

// Rules are the rules of each principal.
type Rules map[string][]Rule

func (r Rule) matches(partition string) bool {
	return slices.ContainsFunc(r.Keys, func(k string) bool {
		prefix, open := strings.CutSuffix(k, "*")
		return open && strings.HasPrefix(partition, prefix) || k == partition
	})
}

// permits reports whether the rules of principal let it do n.
func (r Rules) permits(principal string, n need) bool {
	for _, rule := range r[principal] {
		if rule.Table != n.table || !slices.Contains(rule.Operations, n.operation) {
			continue
		}
		for _, p := range n.partitions {
			if rule.matches(p) == rule.Deny {
				return false
			}
		}
	}
	return true
}

// attributes is an item or a key of which only the partition key is read.
type attributes map[string]json.RawMessage

// partition is the partition key, "" if it is none of ours: a string.
func (a attributes) partition() string {
	var v struct{ S string }
	_ = json.Unmarshal(a[table.PK], &v) // another type is no key of ours
	return v.S
}

// target is what a call or a part of one addresses.
type target struct {
	TableName string
	Item, Key attributes
}

func (t target) partitions() []string {
	switch {
	case t.Item != nil:
		return []string{t.Item.partition()}
	case t.Key != nil:
		return []string{t.Key.partition()}
	}
	return nil
}

// batchPartitions reads one table's part of a BatchWriteItem or BatchGetItem.
func batchPartitions(raw json.RawMessage) []string {
	var gets struct{ Keys []attributes }
	var writes []struct{ PutRequest, DeleteRequest target }
	var out []string
	if json.Unmarshal(raw, &writes) == nil {
		for _, w := range writes {
			out = append(out, append(w.PutRequest.partitions(), w.DeleteRequest.partitions()...)...)
		}
	} else if json.Unmarshal(raw, &gets) == nil {
		for _, k := range gets.Keys {
			out = append(out, k.partition())
		}
	}
	return out
}
