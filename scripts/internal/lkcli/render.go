package lkcli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

func aligned(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 0, 2, ' ', 0) }

// row writes cells; the last one ends the line without padding.
func row(w io.Writer, cells []string) { fmt.Fprintln(w, strings.Join(cells, "\t")) }

func unreadable() error { return failed("bad_answer", "the server's answer cannot be read") }

// renderList prints a table with the command's columns.
func (in *invocation) renderList(items []json.RawMessage) error {
	rows := make([]node, len(items))
	for i, raw := range items {
		n, err := parseNode(raw)
		if err != nil {
			return unreadable()
		}
		rows[i] = n
	}
	in.renderTable(rows, in.cmd.columns, "")
	return nil
}

func (in *invocation) renderTable(rows []node, columns []string, indent string) {
	w := aligned(&in.out)
	heads := make([]string, len(columns))
	for i, c := range columns {
		heads[i] = clean(strings.ToUpper(c[strings.LastIndexByte(c, '.')+1:]))
	}
	heads[0] = indent + heads[0]
	row(w, heads)
	for _, r := range rows {
		cells := make([]string, len(columns))
		for i, c := range columns {
			n, name := r.at(c)
			cells[i] = n.cell(name, "")
		}
		cells[0] = indent + cells[0]
		row(w, cells)
	}
	_ = w.Flush()
}

// renderOne prints an object: first what fits beside its name, then lists of
// objects as tables, sentences as lines and documents as JSON.
func (in *invocation) renderOne(raw json.RawMessage) error {
	n, err := parseNode(raw)
	if err != nil || !n.object {
		return unreadable()
	}
	w := aligned(&in.out)
	var below []field
	for _, f := range n.fields {
		if f.tabular() || f.sentences() || f.lines() || slices.Contains(in.cmd.documents, f.name) {
			below = append(below, f)
			continue
		}
		in.renderField(w, f, "", "")
	}
	_ = w.Flush()
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil {
		return unreadable()
	}
	for _, f := range below {
		in.renderBelow(f, fields[f.name])
	}
	return nil
}

// renderField prints a field with its inner fields.
func (in *invocation) renderField(w io.Writer, f field, prefix, parent string) {
	name := prefix + clean(f.name)
	if !f.object || len(f.fields) == 0 {
		row(w, []string{name, f.cell(f.name, parent)})
		return
	}
	for _, inner := range f.fields {
		in.renderField(w, inner, name+".", f.name)
	}
}

func (in *invocation) renderBelow(f field, raw json.RawMessage) {
	fmt.Fprintf(&in.out, "\n%s\n", clean(f.name))
	switch {
	case slices.Contains(in.cmd.documents, f.name):
		indented(&in.out, raw)
	case f.tabular():
		var columns []string
		for _, item := range f.items {
			for _, c := range item.fields {
				if !slices.Contains(columns, c.name) {
					columns = append(columns, c.name)
				}
			}
		}
		in.renderTable(f.items, columns, "  ")
	case f.array:
		for i, item := range f.items {
			fmt.Fprintf(&in.out, "  %d. %s\n", i+1, item.cell("", ""))
		}
	default:
		for line := range strings.SplitSeq(f.text, "\n") {
			in.out.WriteString("  " + clean(line) + "\n")
		}
	}
}

// sentences says that the node is a list of texts too long for one line.
func (n node) sentences() bool {
	return slices.ContainsFunc(n.items, func(x node) bool { return strings.Contains(x.text, " ") })
}

// lines says that the node is a text of several lines.
func (n node) lines() bool { return strings.Contains(n.text, "\n") }
