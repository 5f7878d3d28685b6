package security

import (
	"flag"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/rollout"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

var (
	columns = flag.String("columns", "", "play only these channels, e.g. line,slack; what is seen is not compared with the stored verdict")
	rows    = flag.String("rows", "", "play only these rows, e.g. 6-9,21; what is seen is not compared with the stored verdict")
)

// choice is what of the matrix is played.
type choice struct {
	columns []taxonomy.Channel
	rows    []int
	// part says that it is not all of it.
	part bool
}

func (c choice) row(n int) bool { return slices.Contains(c.rows, n) }

// choose reads the flags; a verdict is written of the whole matrix only.
func choose(t *testing.T) choice {
	t.Helper()
	c, wrong := chosen(*columns, *rows)
	if wrong != "" {
		t.Fatal(wrong)
	}
	if c.part && *update {
		t.Fatal("-update needs all columns and rows")
	}
	if !c.part {
		t.Log("a part of it: -columns line,slack -rows 6-9,21")
	}
	return c
}

// chosen reads a choice; wrong says what is none.
func chosen(columns, rows string) (c choice, wrong string) {
	c.columns, c.part = rollout.Columns(), columns != "" || rows != ""
	if columns != "" {
		c.columns = nil
		for _, name := range strings.Split(columns, ",") {
			id := taxonomy.Channel(name)
			if !slices.Contains(rollout.Columns(), id) || slices.Contains(c.columns, id) {
				return c, "-columns: no column, or one twice: " + name
			}
			c.columns = append(c.columns, id)
		}
	}
	all := len(rollout.Rows())
	if rows == "" {
		rows = "1-" + strconv.Itoa(all)
	}
	for _, text := range strings.Split(rows, ",") {
		first, last, span := strings.Cut(text, "-")
		if !span {
			last = first
		}
		from, err := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err != nil || err2 != nil || from < 1 || to > all || to < from {
			return c, "-rows: no rows: " + text
		}
		for n := from; n <= to; n++ {
			c.rows = append(c.rows, n)
		}
	}
	return c, ""
}

// TestChosen: what is chosen, and that a slip plays nothing.
func TestChosen(t *testing.T) {
	if c, wrong := chosen("", ""); wrong != "" || c.part || len(c.rows) != 50 || !slices.Equal(c.columns, rollout.Columns()) {
		t.Errorf("all: %+v %s", c, wrong)
	}
	c, wrong := chosen("line,slack", "6-9,21")
	if wrong != "" || !c.part || !slices.Equal(c.columns, []taxonomy.Channel{taxonomy.LINE, taxonomy.Slack}) || !slices.Equal(c.rows, []int{6, 7, 8, 9, 21}) {
		t.Errorf("%+v %s", c, wrong)
	}
	if c, wrong := chosen("", "50"); wrong != "" || !c.part || !slices.Equal(c.rows, []int{50}) {
		t.Errorf("%+v %s", c, wrong)
	}
	for _, no := range [][2]string{{"lime", ""}, {"line,line", ""}, {"line,", ""}, {"", "0"}, {"", "51"}, {"", "9-6"}, {"", "1-51"}, {"", "x"}, {"", "1,,2"}, {"", "-3"}, {"", "3-"}} {
		if c, wrong := chosen(no[0], no[1]); wrong == "" {
			t.Errorf("%q: %+v", no, c)
		}
	}
}
