// Package rollout tells what is rolled out to whom, and what may be promoted.
//
// A subject, which is a channel, [AIConnections] or [CreditLedger], has a stage: off,
// canary (for named organisations) or on ([Service]). A stage is asked where something
// begins, never on the way of a message or a call: whether an install becomes active,
// a connection is made, an organisation's counter is drained. What has begun goes on
// until it is ended; for installs the operator's call enforce does that.
//
// A channel may be on for everybody only if its column of the security matrix is
// green: every one of the rows was played against the real functions and gave the
// stated status and audit code, or cannot occur with that channel, for a stated
// reason. [Rows] is the matrix, as data; scripts/security plays it and writes what
// it saw to security-matrix.json, which is part of the build.
//
// Everything fails closed: an absent column, an absent row, a result that is not
// known, a file whose cells are not those of [Rows] or a verdict that its rows do not
// bear out is a refusal. What the file says is never trusted over [Rows].
package rollout

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the file that the matrix's run wrote
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Result is what became of a cell.
type Result string

// Results. Only the first two do not stand in the way.
const (
	Pass       Result = "pass"
	Excluded   Result = "not_applicable"
	Unfinished Result = "pending"
	Fail       Result = "fail"
)

// Colours of a column.
const (
	Green = "green"
	Red   = "red"
)

// Seen is what a run saw in a cell. Reason is set where nothing was played.
type Seen struct {
	Status int    `json:"status"`
	Audit  string `json:"audit"`
	Result Result `json:"result"`
	Reason string `json:"reason,omitempty"`
}

// Column is what a run saw of one of [Columns], by the number of the row.
type Column struct {
	Provider taxonomy.Channel `json:"provider"`
	Verdict  string           `json:"verdict"`
	Rows     map[string]Seen  `json:"rows"`
}

// File is security-matrix.json.
type File struct {
	// Inputs is [Inputs] of the run.
	Inputs      string             `json:"inputs"`
	GeneratedAt time.Time          `json:"generated_at"`
	Columns     []Column           `json:"columns"`
	NotPlayed   []taxonomy.Profile `json:"not_played"`
}

// maxFile bounds the file.
const maxFile = 1 << 20

var errFile = errors.New("rollout: the security matrix is not one that this build can judge")

// Inputs is a hash of the rows and of what plays them.
func Inputs(player []byte) string {
	h := sha256.New()
	fmt.Fprintf(h, "%v\n", Rows()) // maps print sorted
	sum := sha256.Sum256(player)
	h.Write(sum[:])
	return hex.EncodeToString(h.Sum(nil))
}

// Parse reads a file strictly and judges it by [Rows]; the error says what is
// wrong with it.
func Parse(b []byte) (File, error) {
	var f File
	if len(b) > maxFile || jsonwire.Check(b) != nil {
		return File{}, errFile
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return File{}, errFile
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return File{}, errFile
	}
	if raw, err := hex.DecodeString(f.Inputs); err != nil || len(raw) != sha256.Size || f.GeneratedAt.IsZero() {
		return File{}, fmt.Errorf("%w: inputs or generated_at", errFile)
	}
	if !unplayed(f.NotPlayed) {
		return File{}, fmt.Errorf("%w: not_played", errFile)
	}
	for i, c := range f.Columns {
		if slices.ContainsFunc(f.Columns[:i], func(o Column) bool { return o.Provider == c.Provider }) || !slices.Contains(Columns(), c.Provider) {
			return File{}, fmt.Errorf("%w: column %q", errFile, c.Provider)
		}
		want := Green
		if len(c.open()) > 0 {
			want = Red
		}
		if c.Verdict != want {
			return File{}, fmt.Errorf("%w: the rows of %s are %s, its verdict says %q", errFile, c.Provider, want, c.Verdict)
		}
	}
	return f, nil
}

// unplayed reports whether a file names every channel that is not played. It may name
// one that has become a column since: without a column of its own in the file nothing
// of it can be promoted.
func unplayed(named []taxonomy.Profile) bool {
	still := NotPlayed()
	for _, p := range withoutChannel() {
		switch {
		case len(named) > 0 && named[0] == p:
			named = named[1:]
		case slices.Contains(still, p):
			return false
		}
	}
	return len(named) == 0
}

// Judge gives a column its verdict.
func (c Column) Judge() Column {
	c.Verdict = Green
	if len(c.open()) > 0 {
		c.Verdict = Red
	}
	return c
}

// open lists the rows that stand in the way of green.
func (c Column) open() []int {
	var out []int
	rows := Rows()
	for _, r := range rows {
		seen, ok := c.Rows[strconv.Itoa(r.N)]
		if want, known := r.Cells[c.Provider]; !ok || !known || !seen.settles(want) {
			out = append(out, r.N)
		}
	}
	if len(c.Rows) != len(rows) {
		out = append(out, 0) // a row that the matrix does not have
	}
	return out
}

// settles reports whether what was seen is what the cell asks for.
func (s Seen) settles(want Cell) bool {
	switch {
	case want.Pending != "":
		return false
	case want.NotApplicable != "":
		return s == Seen{Result: Excluded, Reason: want.NotApplicable}
	}
	return s == Seen{Status: want.Status, Audit: want.Audit, Result: Pass}
}

//go:embed security-matrix.json
var stored string

// Stored is the matrix of this build; the error is [Parse]'s.
func Stored() (File, error) { return Parse([]byte(stored)) }

// Open lists the rows that stand in the way of a channel's green, 0 for rows that the
// matrix does not have; played is false where the build lacks the column of the channel
// or of one of its vendors.
func (f File) Open(id taxonomy.Channel) (rows []int, played bool) {
	for _, c := range columns() {
		if c.channel != id {
			continue
		}
		k := f.column(c.id())
		if k < 0 {
			return nil, false
		}
		rows, played = append(rows, f.Columns[k].open()...), true
	}
	slices.Sort(rows)
	return slices.Compact(rows), played
}

// column is where a column stands, -1 if nowhere.
func (f File) column(id taxonomy.Channel) int {
	return slices.IndexFunc(f.Columns, func(c Column) bool { return c.Provider == id })
}

// Promotable returns nil if the channel's column is green, that of each of its vendors
// where several serve it, else conflict with what is missing.
func (f File) Promotable(id taxonomy.Channel) error {
	const op = "rollout.Promotable"
	played := false
	for _, c := range columns() {
		if c.channel != id {
			continue
		}
		whose := "this channel"
		if c.vendor != "" {
			whose += " over its vendor " + string(c.vendor)
		}
		k := f.column(c.id())
		if k < 0 {
			return fault.New(fault.Conflict, op, "the security matrix was not played for "+whose)
		}
		played = true
		open := f.Columns[k].open()
		if len(open) == 0 && f.Columns[k].Verdict == Green {
			continue
		}
		var rows []string
		for _, n := range open {
			rows = append(rows, strconv.Itoa(n))
		}
		return fault.New(fault.Conflict, op, "the security matrix of "+whose+" is not green; open rows: "+strings.Join(rows, " "))
	}
	if !played {
		return fault.New(fault.Conflict, op, "the security matrix was not played for this channel")
	}
	return nil
}
