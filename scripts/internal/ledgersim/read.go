package ledgersim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/shared/table"
)

type reading struct {
	TableName, IndexName, KeyConditionExpression string
	Key, ExclusiveStartKey                       item
	ExpressionAttributeNames                     map[string]string
	ExpressionAttributeValues                    map[string]value
	ScanIndexForward                             *bool
	Limit                                        int
	RequestItems                                 map[string]struct{ Keys []item }
	TransactItems                                []struct {
		Get struct {
			TableName string
			Key       item
		}
	}
}

// read answers with what was stored when the call arrived: an item that a
// transaction is writing reads as before. Only transactional reads are refused
// for it.
func (e *engine) read(p *process, operation string, body []byte) (map[string]any, error) {
	var in reading
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	out := map[string]any{}
	took := e.model.Single
	switch operation {
	case "GetItem":
		if it := e.find(in.TableName, keyOf(in.Key)).it; it != nil {
			out["Item"] = it
		}
	case "BatchGetItem":
		found := map[string][]item{}
		for name, ask := range in.RequestItems {
			found[name] = []item{}
			for _, k := range ask.Keys {
				if it := e.find(name, keyOf(k)).it; it != nil {
					found[name] = append(found[name], it)
				}
			}
		}
		out["Responses"], out["UnprocessedKeys"] = found, map[string]any{}
	case "TransactGetItems":
		took = e.model.Transaction
		type response struct {
			Item item `json:",omitempty"`
		}
		list, reasons, busy := make([]response, len(in.TransactItems)), make([]reason, len(in.TransactItems)), false
		for i, g := range in.TransactItems {
			r := e.find(g.Get.TableName, keyOf(g.Get.Key))
			list[i].Item, reasons[i].Code = r.it, "None"
			if r.locked {
				reasons[i].Code, busy = "TransactionConflict", true
			}
		}
		if busy {
			e.conflicts++
			return nil, e.refuse(p, &failure{code: "TransactionCanceledException", reasons: reasons})
		}
		out["Responses"] = list
	case "Query":
		if err := e.query(in, out); err != nil {
			return nil, err
		}
	}
	return out, e.pause(p, e.between(took))
}

// query knows one partition of a table or of the index of open holds, and a
// condition on the sort key.
func (e *engine) query(in reading, out map[string]any) error {
	pk, sk := table.PK, table.SK
	var found []*record
	partition, rest, _ := strings.Cut(in.KeyConditionExpression, " AND ")
	name, alias, ok := strings.Cut(partition, " = ")
	if !ok {
		return fmt.Errorf("ledgersim: a query with %q is not known", in.KeyConditionExpression)
	}
	of := in.ExpressionAttributeValues[alias].text
	if in.IndexName != "" {
		pk, sk = table.HoldsPK, table.HoldsSK
		for r := range e.index[of] {
			found = append(found, r)
		}
	} else {
		for _, r := range e.tables[in.TableName][of] {
			if r.it != nil {
				found = append(found, r)
			}
		}
	}
	if in.ExpressionAttributeNames[name] != pk {
		return fmt.Errorf("ledgersim: a query over %q", in.ExpressionAttributeNames[name])
	}
	fits, err := e.sortCondition(rest)
	if err != nil {
		return err
	}
	order := func(a, b item) int {
		c, _ := a[sk].compare(b[sk])
		return cmp.Or(c, strings.Compare(a[table.PK].text, b[table.PK].text), strings.Compare(a[table.SK].text, b[table.SK].text))
	}
	items := make([]item, 0, len(found))
	for _, r := range found {
		if fits(scope{r.it, in.ExpressionAttributeNames, in.ExpressionAttributeValues}) {
			items = append(items, r.it)
		}
	}
	slices.SortFunc(items, order)
	if in.ScanIndexForward != nil && !*in.ScanIndexForward {
		slices.Reverse(items)
	}
	if in.ExclusiveStartKey != nil {
		items = slices.DeleteFunc(items, func(it item) bool { return order(it, in.ExclusiveStartKey) <= 0 })
	}
	if in.Limit > 0 && len(items) > in.Limit {
		items = items[:in.Limit]
		last := items[len(items)-1]
		out["LastEvaluatedKey"] = item{table.PK: last[table.PK], table.SK: last[table.SK], pk: last[pk], sk: last[sk]}
	}
	out["Items"], out["Count"] = items, len(items)
	return nil
}

// sortCondition knows comparisons, BETWEEN and begins_with.
func (e *engine) sortCondition(text string) (condition, error) {
	if rest, ok := strings.CutPrefix(text, "begins_with("); ok {
		name, alias, _ := strings.Cut(strings.TrimSuffix(rest, ")"), ", ")
		return func(s scope) bool { return strings.HasPrefix(s.it[s.name(name)].text, s.values[alias].text) }, nil
	}
	if name, rest, ok := strings.Cut(text, " BETWEEN "); ok {
		low, high, _ := strings.Cut(rest, " AND ")
		text = name + " >= " + low + " AND " + name + " <= " + high
	}
	return e.x.condition(text)
}
