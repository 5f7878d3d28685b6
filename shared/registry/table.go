package registry

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/latchkey/latchkey/shared/taxonomy"
)

//go:embed models.txt
var text string

// curated is the table of this build. A test reads it with [Parse], so that a bad
// one is never built into a function.
var curated = sync.OnceValue(func() *index {
	t, err := Parse(text)
	if err != nil {
		panic("registry: " + err.Error())
	}
	x := &index{rows: t.Rows, at: make(map[key]int, len(t.Rows))}
	for i, r := range t.Rows {
		x.at[key{r.Provider, r.Model}] = i
	}
	return x
})

type key struct {
	provider taxonomy.Provider
	model    string
}

type index struct {
	rows []Row
	at   map[key]int
}

func (x *index) find(p taxonomy.Provider, model string) (Row, bool) {
	i, ok := x.at[key{p, model}]
	if !ok {
		return Row{}, false
	}
	return x.rows[i], true
}

// Table is the content of models.txt.
type Table struct {
	// Comment are the lines at the beginning that start with #.
	Comment []string
	// Sources are what the rows cite, by the short word they cite it with.
	Sources map[string]Source
	// Names are the providers as models.dev calls them, by our id.
	Names map[taxonomy.Provider]string
	// Rows are sorted by provider and model. Cites holds the short word of each.
	Rows  []Row
	Cites []string
}

// Source is where facts were read, and when (YYYY-MM-DD).
type Source struct{ Title, Date string }

const (
	maxTokens = 1 << 30
	columns   = 11
)

// CurrentTable returns the table of this build in the form in which it can be changed
// and written again.
func CurrentTable() Table {
	t, err := Parse(text)
	if err != nil {
		panic("registry: " + err.Error())
	}
	return t
}

// Parse reads models.txt. It is exact: every line has all its fields, in order and
// without repeats, and every source is used. Errors name the line.
func Parse(s string) (Table, error) {
	t := Table{Sources: map[string]Source{}, Names: map[taxonomy.Provider]string{}}
	used := map[string]bool{}
	for n, line := range strings.Split(strings.TrimSuffix(s, "\n"), "\n") {
		if err := t.line(line, used); err != nil {
			return Table{}, fmt.Errorf("line %d: %w", n+1, err)
		}
	}
	for word := range t.Sources {
		if !used[word] {
			return Table{}, fmt.Errorf("no row cites the source %q", word)
		}
	}
	return t, nil
}

func (t *Table) line(line string, used map[string]bool) error {
	switch {
	case strings.HasPrefix(line, "#"):
		if len(t.Rows) > 0 || len(t.Sources) > 0 || len(t.Names) > 0 {
			return fmt.Errorf("a comment after the beginning")
		}
		t.Comment = append(t.Comment, line)
		return nil
	case strings.HasPrefix(line, "@source "):
		f := strings.SplitN(line, " ", 4)
		if len(f) != 4 || !word(f[1]) || !date(f[2], time.DateOnly) || f[3] == "" || len(f[3]) > 200 || t.Sources[f[1]] != (Source{}) {
			return fmt.Errorf("a source is @source WORD YYYY-MM-DD TITLE, once")
		}
		t.Sources[f[1]] = Source{Title: f[3], Date: f[2]}
		return nil
	case strings.HasPrefix(line, "@name "):
		f := strings.Split(line, " ")
		p, known := taxonomy.ParseProvider(f[1])
		if len(f) != 3 || !known || string(p) != f[1] || t.Names[p] != "" || f[2] == "" {
			return fmt.Errorf("a name is @name PROVIDER NAME, once")
		}
		t.Names[p] = f[2]
		return nil
	}
	r, cite, err := t.row(strings.Split(line, " "))
	if err != nil {
		return err
	}
	if n := len(t.Rows); n > 0 && compare(t.Rows[n-1], r) >= 0 {
		return fmt.Errorf("%s is not after %s", r.Name(), t.Rows[n-1].Name())
	}
	used[cite] = true
	t.Rows, t.Cites = append(t.Rows, r), append(t.Cites, cite)
	return nil
}

func compare(a, b Row) int {
	if c := strings.Compare(string(a.Provider), string(b.Provider)); c != 0 {
		return c
	}
	return strings.Compare(a.Model, b.Model)
}

func (t *Table) row(f []string) (Row, string, error) {
	if len(f) != columns {
		return Row{}, "", fmt.Errorf("%d fields, there are %d", len(f), columns)
	}
	p, known := taxonomy.ParseProvider(f[0])
	if !known || string(p) != f[0] {
		return Row{}, "", fmt.Errorf("%q is no provider", f[0])
	}
	r := Row{Provider: p, Model: f[1], Tier: Unrated}
	if !word(r.Model) {
		return Row{}, "", fmt.Errorf("%q is no model", f[1])
	}
	var err error
	for i, to := range [...]*int64{&r.ContextTokens, &r.InputTokens, &r.MaxOutputTokens} {
		if *to, err = tokens(f[2+i]); err != nil {
			return Row{}, "", err
		}
	}
	if r.Inputs, err = modalities(f[5]); err != nil {
		return Row{}, "", err
	}
	if r.Outputs, err = modalities(f[6]); err != nil {
		return Row{}, "", err
	}
	if err := r.abilities(f[7]); err != nil {
		return Row{}, "", err
	}
	if f[8] != "-" {
		if r.Released = f[8]; !date(f[8], time.DateOnly) && !date(f[8], "2006-01") {
			return Row{}, "", fmt.Errorf("%q is no date", f[8])
		}
	}
	switch r.Status = Status(f[9]); r.Status {
	case "-":
		r.Status = Current
	case Beta, Deprecated:
	default:
		return Row{}, "", fmt.Errorf("%q is no status", f[9])
	}
	s, ok := t.Sources[f[10]]
	if !ok {
		return Row{}, "", fmt.Errorf("%q is no source", f[10])
	}
	r.Source, r.SourceDate = s.Title, s.Date
	return r, f[10], nil
}

func tokens(s string) (int64, error) {
	if s == "-" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 || n > maxTokens || strconv.FormatInt(n, 10) != s {
		return 0, fmt.Errorf("%q is no number of tokens", s)
	}
	return n, nil
}

// modalities reads words joined by +, in the order of the constants.
func modalities(s string) ([]Modality, error) {
	if s == "-" {
		return nil, nil
	}
	var out []Modality
	last := -1
	for w := range strings.SplitSeq(s, "+") {
		i := slices.Index(Modalities(), Modality(w))
		if i <= last {
			return nil, fmt.Errorf("%q are no modalities in order", s)
		}
		last = i
		out = append(out, Modality(w))
	}
	return out, nil
}

// Modalities lists all, in the order in which they are written.
func Modalities() []Modality { return []Modality{Text, Image, Audio, Video, PDF, Vector} }

// abilities reads tools, json and reasoning in this order, joined by commas; a !
// says that it is documented to be missing.
func (r *Row) abilities(s string) error {
	if s == "-" {
		return nil
	}
	last := -1
	for w := range strings.SplitSeq(s, ",") {
		name, missing := strings.CutPrefix(w, "!")
		i := slices.Index(abilityNames[:], name)
		if i <= last {
			return fmt.Errorf("%q are no abilities in order", s)
		}
		last = i
		f := [...]*Fact{&r.Tools, &r.JSON, &r.Reasoning}[i]
		if *f = Yes; missing {
			*f = No
		}
	}
	return nil
}

var abilityNames = [...]string{"tools", "json", "reasoning"}

func word(s string) bool {
	if s == "" || len(s) > 200 || s == "-" || s[0] == '#' || s[0] == '@' {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

func date(s, layout string) bool {
	_, err := time.Parse(layout, s)
	return err == nil
}

// String writes the table as [Parse] reads it. Rows need not be sorted.
func (t Table) String() string {
	var b strings.Builder
	for _, c := range t.Comment {
		b.WriteString(c + "\n")
	}
	for _, w := range slices.Sorted(maps.Keys(t.Sources)) {
		fmt.Fprintf(&b, "@source %s %s %s\n", w, t.Sources[w].Date, t.Sources[w].Title)
	}
	for _, p := range slices.Sorted(maps.Keys(t.Names)) {
		fmt.Fprintf(&b, "@name %s %s\n", p, t.Names[p])
	}
	order := make([]int, len(t.Rows))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return compare(t.Rows[i], t.Rows[j]) })
	for _, i := range order {
		b.WriteString(t.Rows[i].line(t.Cites[i]) + "\n")
	}
	return b.String()
}

func (r Row) line(cite string) string {
	number := func(n int64) string { return orDash(strings.TrimPrefix(strconv.FormatInt(n, 10), "0")) }
	join := func(l []Modality) string {
		words := make([]string, len(l))
		for i, m := range l {
			words[i] = string(m)
		}
		return orDash(strings.Join(words, "+"))
	}
	var can []string
	for i, f := range [...]Fact{r.Tools, r.JSON, r.Reasoning} {
		switch f {
		case Yes:
			can = append(can, abilityNames[i])
		case No:
			can = append(can, "!"+abilityNames[i])
		}
	}
	return strings.Join([]string{string(r.Provider), r.Model, number(r.ContextTokens), number(r.InputTokens), number(r.MaxOutputTokens),
		join(r.Inputs), join(r.Outputs), orDash(strings.Join(can, ",")), orDash(r.Released), orDash(string(r.Status)), cite}, " ")
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
