package lkcli

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// node is a JSON value that keeps the order of its fields.
type node struct {
	fields []field
	items  []node
	object bool
	array  bool
	text   string // of anything else; empty for null
	number bool
}

type field struct {
	name string
	node
}

// maxNesting is above what the API answers.
const maxNesting = 64

var errNesting = errors.New("lkcli: the answer is nested too deeply")

// parseNode reads one JSON value.
func parseNode(raw []byte) (node, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return readNode(d, 0)
}

func readNode(d *json.Decoder, depth int) (n node, err error) {
	if depth > maxNesting {
		return n, errNesting
	}
	token, err := d.Token()
	if err != nil {
		return n, err
	}
	switch v := token.(type) {
	case json.Delim:
		n.object, n.array = v == '{', v == '['
		for d.More() {
			var f field
			if n.object {
				name, err := d.Token()
				if err != nil {
					return n, err
				}
				f.name, _ = name.(string)
			}
			if f.node, err = readNode(d, depth+1); err != nil {
				return n, err
			}
			if n.object {
				n.fields = append(n.fields, f)
			} else {
				n.items = append(n.items, f.node)
			}
		}
		_, err = d.Token()
		return n, err
	case string:
		n.text = v
	case json.Number:
		n.text, n.number = v.String(), true
	case bool:
		n.text = strconv.FormatBool(v)
	}
	return n, nil
}

// at finds a nested field by its path.
func (n node) at(path string) (node, string) {
	name, rest, nested := strings.Cut(path, ".")
	for _, f := range n.fields {
		if f.name == name && nested {
			return f.node.at(rest)
		}
		if f.name == name {
			return f.node, name
		}
	}
	return node{}, name
}

// tabular says that the node is a list of objects that have fields.
func (n node) tabular() bool {
	return slices.ContainsFunc(n.items, func(x node) bool { return len(x.fields) > 0 })
}

// moneyFields are the API's fields in micro-credits.
var moneyFields = map[string]bool{"grant": true, "difference": true, "money": true, "max_amount": true, "min_amount": true, "amount": true, "remaining": true, "posted": true, "held": true, "available": true, "credit_line": true,
	"cost": true, "hold": true, "at_most": true, "want": true, "got": true, "low_balance": true, "threshold": true, "monthly_cap": true, "spent": true, "level": true, "limit": true, "left": true,
	"client_per_day": true, "total_per_day": true, "per_day": true, "drawn_today": true, "paid": true, "paid_by_agency": true,
	"flat_fee": true, "endpoint_fee": true, "fee_flat": true, "fee_private": true}

// cell is a value in one line. parent tells amounts that are named by their
// grant kind.
func (n node) cell(name, parent string) string {
	switch {
	case n.tabular():
		return strconv.Itoa(len(n.items))
	case n.array:
		parts := make([]string, len(n.items))
		for i, x := range n.items {
			parts[i] = x.cell("", name)
		}
		return dash(strings.Join(parts, ","))
	case n.object:
		parts := make([]string, len(n.fields))
		for i, f := range n.fields {
			parts[i] = clean(f.name) + "=" + f.cell(f.name, name)
		}
		return dash(strings.Join(parts, " "))
	case n.number && (moneyFields[name] || parent == "by_kind"):
		if micro, err := strconv.ParseInt(n.text, 10, 64); err == nil {
			return showAmount(micro)
		}
	}
	return dash(clean(n.text))
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// clean makes text from outside harmless for a terminal: control and other
// invisible characters are written as escapes.
func clean(s string) string {
	if strings.IndexFunc(s, hostile) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if hostile(r) {
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func hostile(r rune) bool { return r != ' ' && !unicode.IsGraphic(r) || r == unicode.ReplacementChar }

// printable repeats a word of the call in an error only if it looks like a word
// and not like something secret.
func printable(word string) string {
	if len(word) > 24 || strings.Trim(word, "abcdefghijklmnopqrstuvwxyz-") != "" {
		return "of that name"
	}
	return word
}
