package ledgertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
)

// Doer sends HTTP requests; *http.Client is one.
type Doer interface {
	Do(*http.Request) (*http.Response, error)
}

// Kind is what goes wrong with one request to the database.
type Kind int

// Kinds of faults.
const (
	None       Kind = iota
	Lost            // never sent
	AnswerLost      // executed, the answer does not arrive
	Conflict        // refused because another transaction holds an item
	Throttle        // refused for capacity
	Broken          // an internal error of the service, not executed
	Cancel          // refused with the reasons of the rule
)

// Rule makes the next Count requests of an operation fail, after Skip that pass.
type Rule struct {
	Op      string // operation name, for example UpdateItem; empty for any write
	Kind    Kind
	Skip    int
	Count   int
	Reasons []string // for Cancel, one per action
	// mix chooses what the other actions of a conflict are told, by dice.
	mix int
}

// Faults is a client that fails on purpose. Safe for concurrent use.
type Faults struct {
	next Doer

	mu    sync.Mutex
	rules []Rule
	dice  *Dice
	rates [Broken + 1]int // per thousand writes
	count [Cancel + 1]int
}

// NewFaults returns a client that passes everything on.
func NewFaults(next Doer) *Faults { return &Faults{next: next} }

// Script sets the rules, and forgets earlier ones and the dice.
func (f *Faults) Script(rules ...Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules, f.dice = rules, nil
}

// brokenRate is how many of a thousand writes an internal error refuses.
const brokenRate = 10

// Random makes writes fail by dice, with the rates given per thousand. Conflicts of
// transactions then come mixed with throttling, as they do under load, and some
// writes meet an internal error of the service.
func (f *Faults) Random(seed uint64, lost, answerLost, conflict, throttle int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules, f.dice = nil, NewDice(seed)
	f.rates = [...]int{Lost: lost, AnswerLost: answerLost, Conflict: conflict, Throttle: throttle, Broken: brokenRate}
}

// Injected tells how many faults of each kind happened.
func (f *Faults) Injected(k Kind) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count[k]
}

func (f *Faults) choose(op string) Rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.pick(op)
	f.count[r.Kind]++
	return r
}

func (f *Faults) pick(op string) Rule {
	for i := range f.rules {
		r := &f.rules[i]
		if r.Count <= 0 || r.Op != op && (r.Op != "" || !write(op)) {
			continue
		}
		if r.Skip > 0 {
			r.Skip--
			return Rule{}
		}
		r.Count--
		return *r
	}
	if f.dice != nil && write(op) {
		n := f.dice.Below(1000)
		for k := Lost; k <= Broken; k++ {
			if n < f.rates[k] {
				return Rule{Kind: k, mix: f.dice.Below(1 << 16)}
			}
			n -= f.rates[k]
		}
	}
	return Rule{}
}

func write(op string) bool {
	return op == "TransactWriteItems" || op == "UpdateItem" || op == "PutItem"
}

var errNetwork = errors.New("ledgertest: connection reset")

// Do implements the SDK's HTTP client.
func (f *Faults) Do(req *http.Request) (*http.Response, error) {
	_, op, _ := strings.Cut(req.Header.Get("X-Amz-Target"), ".")
	r := f.choose(op)
	switch r.Kind {
	case Lost:
		return nil, errNetwork
	case AnswerLost:
		resp, err := f.next.Do(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		return nil, errNetwork
	case Throttle:
		return refuse(req, http.StatusBadRequest, "ProvisionedThroughputExceededException", nil), nil
	case Broken:
		return refuse(req, http.StatusInternalServerError, "InternalServerError", nil), nil
	case Cancel:
		return refuse(req, http.StatusBadRequest, "TransactionCanceledException", r.Reasons), nil
	case Conflict:
		if op != "TransactWriteItems" {
			return refuse(req, http.StatusBadRequest, "TransactionConflictException", nil), nil
		}
		reasons := make([]string, actions(req))
		for i := range reasons {
			reasons[i] = [...]string{"None", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}[r.mix>>(i%8*2)&3]
		}
		reasons[len(reasons)-1] = "TransactionConflict"
		return refuse(req, http.StatusBadRequest, "TransactionCanceledException", reasons), nil
	}
	return f.next.Do(req)
}

// actions counts the actions of a transaction.
func actions(req *http.Request) int {
	raw, err := io.ReadAll(req.Body)
	if err != nil {
		return 1
	}
	var body struct{ TransactItems []json.RawMessage }
	if json.Unmarshal(raw, &body) != nil {
		return 1
	}
	return max(len(body.TransactItems), 1)
}

func refuse(req *http.Request, status int, name string, reasons []string) *http.Response {
	type reason struct{ Code string }
	body := struct {
		Type    string   `json:"__type"`
		Message string   `json:"message"`
		Reasons []reason `json:"CancellationReasons,omitempty"`
	}{Type: "com.amazonaws.dynamodb.v20120810#" + name, Message: "injected"}
	for _, r := range reasons {
		body.Reasons = append(body.Reasons, reason{r})
	}
	raw, _ := json.Marshal(body) // plain strings cannot fail
	return &http.Response{StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header:        http.Header{"Content-Type": {"application/x-amz-json-1.0"}},
		ContentLength: int64(len(raw)), Body: io.NopCloser(bytes.NewReader(raw))}
}

// Dice is a small generator whose whole future is its seed. Not safe for
// concurrent use.
type Dice struct{ state uint64 }

// NewDice returns dice with a seed.
func NewDice(seed uint64) *Dice { return &Dice{state: seed} }

// Below returns a number from 0 to n-1 (splitmix64).
func (d *Dice) Below(n int) int {
	d.state += 0x9e3779b97f4a7c15
	z := d.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return int((z ^ z>>31) % uint64(n))
}

// Chance is true in percent of the calls.
func (d *Dice) Chance(percent int) bool { return d.Below(100) < percent }

// Shuffle permutes n elements.
func (d *Dice) Shuffle(n int, swap func(i, j int)) {
	for i := n - 1; i > 0; i-- {
		swap(i, d.Below(i+1))
	}
}
