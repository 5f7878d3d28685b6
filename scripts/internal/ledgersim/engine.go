package ledgersim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/table"
)

// Model is what is assumed of the service. A time is drawn evenly between its two
// bounds.
type Model struct {
	Transaction [2]time.Duration // of one that writes
	Refusal     [2]time.Duration // of a write that is refused
	Single      [2]time.Duration // of a read, or a write of one item
	// Locked is the part of a transaction, in percent, in which its items refuse
	// others.
	Locked int
	// Units bounds the write units a second of one partition key, in a table or an
	// index.
	Units int
}

// Assumed is the pessimistic model of the published limits: an item refuses
// others for all of a transaction that writes it.
func Assumed() Model {
	ms := func(a, b int) [2]time.Duration {
		return [2]time.Duration{time.Duration(a) * time.Millisecond, time.Duration(b) * time.Millisecond}
	}
	return Model{Transaction: ms(5, 20), Refusal: ms(3, 8), Single: ms(3, 8), Locked: 100, Units: 1000}
}

// record is one stored item. It stays, locked, while it is being made.
type record struct {
	key    table.Key
	it     item // nil: none
	locked bool
}

// load counts the write units of a partition key.
type load struct {
	second       time.Duration
	units, worst int
}

// engine answers the AWS SDK at its HTTP client: DynamoDB's items, conditions,
// updates, transactions, their conflicts, and the throughput of a partition.
type engine struct {
	c       *clock
	model   Model
	random  *rand.Rand
	x       expressions
	tables  map[string]map[string]map[string]*record // table, pk, sk
	index   map[string]map[*record]bool              // partition of the holds index
	loads   map[string]*load
	written func(name string, old, now *record)
	// Conflicts and throttled count refused writes, calls all operations, units
	// what writes consumed, also refused ones.
	conflicts, throttled, units, indexUnits int
	calls                                   map[string]int
}

func newEngine(c *clock, m Model, random *rand.Rand) *engine {
	return &engine{c: c, model: m, random: random, tables: map[string]map[string]map[string]*record{}, index: map[string]map[*record]bool{},
		loads: map[string]*load{}, calls: map[string]int{}, written: func(string, *record, *record) {},
		x: expressions{conditions: map[string]condition{}, updates: map[string]action{}}}
}

func (e *engine) between(b [2]time.Duration) time.Duration {
	return b[0] + time.Duration(e.random.Int64N(int64(b[1]-b[0])+1))
}

// failure is an answer that is an error.
type failure struct {
	code    string
	reasons []reason
	it      item
}

type reason struct {
	Code string
	Item item `json:",omitempty"`
}

func (f *failure) Error() string { return "ledgersim: " + f.code }

// Do implements the HTTP client of the AWS SDK.
func (e *engine) Do(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if err != nil {
		return nil, err
	}
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	e.calls[operation]++
	out, err := e.answer(processOf(r.Context()), operation, body)
	status := http.StatusOK
	if err != nil {
		f, ok := err.(*failure)
		if !ok {
			f = &failure{code: "ValidationException"}
		}
		status = http.StatusBadRequest
		out = map[string]any{"__type": "com.amazonaws.dynamodb.v20120810#" + f.code, "message": err.Error()}
		if f.reasons != nil {
			out["CancellationReasons"] = f.reasons
		}
		if f.it != nil {
			out["Item"] = f.it
		}
	}
	answer, err := json.Marshal(out)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}, "X-Amz-Crc32": {strconv.FormatUint(uint64(crc32.ChecksumIEEE(answer)), 10)}},
		Body:   io.NopCloser(bytes.NewReader(answer)), ContentLength: int64(len(answer))}, nil
}

// write is one action of a transaction, or a write of its own.
type write struct {
	TableName                           string
	Key, Item                           item
	ConditionExpression                 string
	UpdateExpression                    string
	ExpressionAttributeNames            map[string]string
	ExpressionAttributeValues           map[string]value
	ReturnValuesOnConditionCheckFailure string
	ReturnValues                        string
}

func (e *engine) answer(p *process, operation string, body []byte) (map[string]any, error) {
	switch operation {
	case "TransactWriteItems":
		return e.transact(p, body)
	case "PutItem", "UpdateItem":
		return e.single(p, body)
	case "GetItem", "BatchGetItem", "Query", "TransactGetItems":
		return e.read(p, operation, body)
	}
	return nil, fmt.Errorf("ledgersim: operation not known: %s", operation)
}

func keyOf(it item) table.Key { return table.Key{PK: it[table.PK].text, SK: it[table.SK].text} }

func (e *engine) find(name string, k table.Key) *record {
	pks := e.tables[name]
	if pks == nil {
		pks = map[string]map[string]*record{}
		e.tables[name] = pks
	}
	sks := pks[k.PK]
	if sks == nil {
		sks = map[string]*record{}
		pks[k.PK] = sks
	}
	r := sks[k.SK]
	if r == nil {
		r = &record{key: k}
		sks[k.SK] = r
	}
	return r
}

// planned is a write whose outcome is known.
type planned struct {
	w     *write
	r     *record
	after item
	units map[string]int // per partition key
	lost  bool           // its condition
}

func (e *engine) plan(w *write, times int) (planned, error) {
	k := keyOf(w.Key)
	if w.Item != nil {
		k = keyOf(w.Item)
	}
	if k.PK == "" || k.SK == "" || w.TableName == "" {
		return planned{}, fmt.Errorf("ledgersim: a write without table or key")
	}
	p := planned{w: w, r: e.find(w.TableName, k)}
	holds, err := e.x.condition(w.ConditionExpression)
	if err != nil {
		return p, err
	}
	s := scope{p.r.it, w.ExpressionAttributeNames, w.ExpressionAttributeValues}
	if p.lost = !holds(s); p.lost {
		p.units = map[string]int{w.TableName + " " + k.PK: times * kilobytes(p.r.it)}
		return p, nil
	}
	switch p.after = w.Item; {
	case w.Item == nil && w.UpdateExpression == "": // a check
		p.after = p.r.it
	case w.Item == nil:
		change, err := e.x.update(w.UpdateExpression)
		if err != nil {
			return p, err
		}
		p.after = p.r.it.clone()
		p.after[table.PK], p.after[table.SK] = w.Key[table.PK], w.Key[table.SK]
		if err := change(s, p.after); err != nil {
			return p, err
		}
	}
	p.units = map[string]int{w.TableName + " " + k.PK: times * max(kilobytes(p.r.it), kilobytes(p.after))}
	was, is := p.r.it[table.HoldsPK].text, p.after[table.HoldsPK].text
	moved := !p.r.it[table.HoldsSK].equal(p.after[table.HoldsSK])
	if was != "" && (was != is || moved) {
		p.units[indexKey+was]++
	}
	if is != "" && (was != is || moved) {
		p.units[indexKey+is]++
	}
	return p, nil
}

// indexKey marks the partitions of the index.
const indexKey = "index "

func kilobytes(it item) int { return max((it.size()+1023)/1024, 1) }

// charge counts units and reports whether every partition has room for them. A
// refused write consumes what it would have in the table; it never reaches an
// index.
func (e *engine) charge(p *process, ps []planned, refused bool) (room bool) {
	room = true
	second := e.c.now.Truncate(time.Second)
	for _, w := range ps {
		for key, n := range w.units {
			if refused && strings.HasPrefix(key, indexKey) {
				continue
			}
			e.units += n
			if strings.HasPrefix(key, indexKey) {
				e.indexUnits += n
			}
			if p != nil {
				p.units += n
			}
			l := e.loads[key]
			if l == nil {
				l = &load{}
				e.loads[key] = l
			}
			if l.second != second {
				l.second, l.units = second, 0
			}
			if l.units+n > e.model.Units && p != nil {
				room = false
				continue
			}
			l.units += n
			l.worst = max(l.worst, l.units)
		}
	}
	return room
}

func (e *engine) apply(w planned) {
	if w.after == nil {
		return // a check of what is not there
	}
	old := &record{key: w.r.key, it: w.r.it}
	if hx := w.r.it[table.HoldsPK].text; hx != "" {
		delete(e.index[hx], w.r)
	}
	w.r.it = w.after
	if hx := w.after[table.HoldsPK].text; hx != "" {
		if e.index[hx] == nil {
			e.index[hx] = map[*record]bool{}
		}
		e.index[hx][w.r] = true
	}
	e.written(w.w.TableName, old, w.r)
}

// pause lets time pass for a process.
func (e *engine) pause(p *process, d time.Duration) error {
	if p != nil && !p.sleep(d) {
		return errEnded
	}
	return nil
}

func (e *engine) refuse(p *process, f *failure) error {
	if p != nil && (f.code == "TransactionConflictException" || f.reasons != nil) {
		p.refusals++
	}
	if err := e.pause(p, e.between(e.model.Refusal)); err != nil {
		return err
	}
	return f
}

// single is a write of one item. It takes effect when it arrives.
func (e *engine) single(p *process, body []byte) (map[string]any, error) {
	var w write
	if err := json.Unmarshal(body, &w); err != nil {
		return nil, err
	}
	pl, err := e.plan(&w, 1)
	if err != nil {
		return nil, err
	}
	room := e.charge(p, []planned{pl}, pl.r.locked || pl.lost)
	switch {
	case pl.r.locked:
		e.conflicts++
		return nil, e.refuse(p, &failure{code: "TransactionConflictException"})
	case !room:
		e.throttled++
		return nil, e.refuse(p, &failure{code: "ProvisionedThroughputExceededException"})
	case pl.lost:
		f := &failure{code: "ConditionalCheckFailedException"}
		if w.ReturnValuesOnConditionCheckFailure == "ALL_OLD" {
			f.it = pl.r.it
		}
		return nil, e.refuse(p, f)
	}
	e.apply(pl)
	out := map[string]any{}
	if w.ReturnValues == "ALL_NEW" {
		out["Attributes"] = pl.after
	}
	return out, e.pause(p, e.between(e.model.Single))
}

type transactAction struct{ Put, Update, ConditionCheck *write }

func (e *engine) transact(p *process, body []byte) (map[string]any, error) {
	var in struct{ TransactItems []transactAction }
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	if len(in.TransactItems) == 0 || len(in.TransactItems) > 100 {
		return nil, fmt.Errorf("ledgersim: a transaction of %d actions", len(in.TransactItems))
	}
	ps := make([]planned, len(in.TransactItems))
	seen := make(map[*record]bool, len(ps))
	busy, lost := false, false
	for i, a := range in.TransactItems {
		w := cmp.Or(a.Put, a.Update, a.ConditionCheck)
		if w == nil {
			return nil, fmt.Errorf("ledgersim: an action that is not known")
		}
		var err error
		if ps[i], err = e.plan(w, 2); err != nil {
			return nil, err
		}
		if seen[ps[i].r] {
			return nil, fmt.Errorf("ledgersim: two actions on one item")
		}
		seen[ps[i].r] = true
		busy, lost = busy || ps[i].r.locked, lost || ps[i].lost
	}
	if !e.charge(p, ps, busy || lost) && !busy {
		e.throttled++
		return nil, e.refuse(p, cancelled(ps, func(planned) string { return "ThrottlingError" }))
	}
	if busy {
		e.conflicts++
		return nil, e.refuse(p, cancelled(ps, func(w planned) string {
			switch {
			case w.r.locked:
				return "TransactionConflict"
			case w.lost:
				return "ConditionalCheckFailed"
			}
			return ""
		}))
	}
	for i := range ps {
		if ps[i].lost {
			return nil, e.refuse(p, cancelled(ps, func(w planned) string {
				if w.lost {
					return "ConditionalCheckFailed"
				}
				return ""
			}))
		}
	}
	return map[string]any{}, e.commit(p, ps)
}

// commit holds the items for a while, then writes them.
func (e *engine) commit(p *process, ps []planned) error {
	took := e.between(e.model.Transaction)
	held := took * time.Duration(e.model.Locked) / 100
	for _, w := range ps {
		w.r.locked = true
	}
	if err := e.pause(p, held); err != nil {
		return err
	}
	for _, w := range ps {
		w.r.locked = false
		e.apply(w)
	}
	return e.pause(p, took-held)
}

func cancelled(ps []planned, why func(planned) string) *failure {
	f := &failure{code: "TransactionCanceledException", reasons: make([]reason, len(ps))}
	for i, w := range ps {
		f.reasons[i].Code = "None"
		if code := why(w); code != "" {
			f.reasons[i].Code = code
			if w.lost && w.w.ReturnValuesOnConditionCheckFailure == "ALL_OLD" {
				f.reasons[i].Item = w.r.it
			}
		}
	}
	return f
}
