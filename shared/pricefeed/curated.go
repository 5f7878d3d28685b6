package pricefeed

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

//go:embed curated.txt
var curatedText string

// Curated returns the curated list, sorted. The error says which line is wrong; a
// test makes sure that there is none.
func Curated() ([]billing.Row, error) {
	var rows []billing.Row
	sources := map[string][2]string{} // day, page
	number := 0
	for line := range strings.SplitSeq(curatedText, "\n") {
		number++
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		var err error
		if fields[0] == "source" && len(fields) >= 4 {
			sources[fields[1]] = [2]string{fields[2], strings.Join(fields[3:], " ")}
			continue
		}
		if rows, err = curatedLine(rows, fields, sources); err != nil {
			return nil, fmt.Errorf("pricefeed: line %d of the curated list: %w", number, err)
		}
	}
	slices.SortFunc(rows, compareRows)
	return rows, nil
}

// curatedLine appends the rows of a line.
func curatedLine(rows []billing.Row, fields []string, sources map[string][2]string) ([]billing.Row, error) {
	if len(fields) < 4 {
		return nil, fmt.Errorf("too short")
	}
	provider, ok := taxonomy.ParseProvider(fields[0])
	if fields[0] == credit.ActionProvider {
		// The platform's own actions have their prices in the same book.
		provider, ok = credit.ActionProvider, true
	}
	if !ok {
		return nil, fmt.Errorf("unknown provider")
	}
	base := billing.Row{Provider: string(provider), Model: fields[1]}
	rest := fields[2:]
	if above, tiered := strings.CutPrefix(rest[0], ">"); tiered {
		n, err := strconv.ParseInt(above, 10, 40)
		if err != nil {
			return nil, fmt.Errorf("a prompt length that is no number")
		}
		base.TierFrom, rest = n+1, rest[1:]
	}
	source, ok := sources[rest[0]]
	if !ok {
		return nil, fmt.Errorf("unknown source %s", rest[0])
	}
	base.SourceDate, base.Source = source[0], source[1]
	rest = rest[1:]
	if least, has := strings.CutPrefix(rest[len(rest)-1], "min="); has {
		n, err := strconv.ParseInt(least, 10, 40)
		if err != nil {
			return nil, fmt.Errorf("least units that are no number")
		}
		base.MinUnits, rest = n, rest[:len(rest)-1]
	}
	for _, pair := range rest {
		row := base
		name, price, _ := strings.Cut(pair, "=")
		if row.Meter, ok = billing.ParseMeter(name); !ok {
			return nil, fmt.Errorf("unknown meter %s", name)
		}
		var err error
		if row.RatePico, err = curatedRate(row.Meter, price); err != nil {
			return nil, fmt.Errorf("%s: %w", pair, err)
		}
		if err := row.Check(); err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// curatedRate reads a price with its unit.
func curatedRate(m billing.Meter, price string) (int64, error) {
	number, unit, timed := strings.Cut(price, "/")
	seconds := map[string]int64{"s": 1, "min": 60, "h": 3600}[unit]
	switch m {
	case billing.AudioSecondIn, billing.AudioSecondOut:
		if !timed {
			seconds = 1
		}
		if seconds == 0 {
			return 0, fmt.Errorf("unknown unit")
		}
		return parseRate(number, perUnit, seconds)
	case billing.Image, billing.Request, billing.SearchQuery:
		if timed {
			return 0, errNotDecimal
		}
		return parseRate(number, perUnit, 1)
	}
	if timed {
		return 0, errNotDecimal
	}
	return parseRate(number, perMillion, 1)
}
