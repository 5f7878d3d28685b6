package pricefeed

import (
	"math/big"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
)

func testTime() time.Time { return time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC) }

// listed is a price of the curated list as this test reads it: the file's own
// digits as a fraction, in USD per unit. It shares no code with the package.
type listed struct {
	provider, model, meter string
	above, least           int64
	usd                    *big.Rat
}

var pair = regexp.MustCompile(`([a-z0-9_]+)=([0-9.]+)(/min|/h)?(?: |$)`)

func readListed(t *testing.T) (out []listed) {
	t.Helper()
	raw, err := os.ReadFile("curated.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(raw), "\n") {
		if line == "" || line[0] == '#' || strings.HasPrefix(line, "source ") {
			continue
		}
		words := strings.Fields(line)
		var above, least int64
		if words[2][0] == '>' {
			above, _ = strconv.ParseInt(words[2][1:], 10, 64)
		}
		if i := strings.Index(line, " min="); i > 0 {
			least, _ = strconv.ParseInt(line[i+5:], 10, 64)
			line = line[:i]
		}
		for _, m := range pair.FindAllStringSubmatch(line, -1) {
			usd, ok := new(big.Rat).SetString(m[2])
			if !ok {
				t.Fatal(line)
			}
			switch {
			case m[3] == "/min":
				usd.Quo(usd, big.NewRat(60, 1))
			case m[3] == "/h":
				usd.Quo(usd, big.NewRat(3600, 1))
			case !strings.HasPrefix(m[1], "audio_second") && m[1] != "request":
				usd.Quo(usd, big.NewRat(1_000_000, 1))
			}
			// A book holds whole pico-USD, halves to the even one.
			pico := new(big.Rat).Mul(usd, big.NewRat(1_000_000_000_000, 1))
			whole, rest := new(big.Int).QuoRem(pico.Num(), pico.Denom(), new(big.Int))
			if c := rest.Lsh(rest, 1).Cmp(pico.Denom()); c > 0 || c == 0 && whole.Bit(0) == 1 {
				whole.Add(whole, big.NewInt(1))
			}
			out = append(out, listed{words[0], words[1], m[1], above, least, new(big.Rat).SetFrac(whole, big.NewInt(1_000_000_000_000))})
		}
	}
	return out
}

// TestEveryCuratedPrice charges units of every meter of every model, in every
// tier, and compares with the digits of the list.
func TestEveryCuratedPrice(t *testing.T) {
	rows, err := Curated()
	if err != nil {
		t.Fatal(err)
	}
	book, err := billing.NewBook("curated", testTime(), rows)
	if err != nil {
		t.Fatal(err)
	}
	list := readListed(t)
	if len(list) != len(rows) || len(rows) < 300 {
		t.Fatalf("%d rows, the list has %d prices", len(rows), len(list))
	}
	find := func(l listed, meter string, above int64) listed {
		for _, x := range list {
			if x.provider == l.provider && x.model == l.model && x.meter == meter && x.above == above {
				return x
			}
		}
		return listed{usd: new(big.Rat)}
	}
	checked := 0
	for _, l := range list {
		for _, units := range []int64{1, 7, 999_983} {
			u, want := billing.Usage{}, new(big.Rat).Mul(l.usd, big.NewRat(max(units, l.least), 1))
			// A tier needs a prompt that long; it is text, and priced as such.
			if l.above > 0 {
				u.InputTokens = l.above + 1
				want.Add(want, new(big.Rat).Mul(find(l, "input_text", l.above).usd, big.NewRat(l.above+1, 1)))
			} else if strings.HasPrefix(l.meter, "input") {
				units = min(units, 100_000) // below every tier
				want.Mul(l.usd, big.NewRat(units, 1))
			}
			switch l.meter {
			case "input_text":
				u.InputTokens += units
			case "input_cache_read":
				u.InputTokens, u.CachedInputTokens = u.InputTokens+units, units
			case "input_cache_write_5m":
				u.InputTokens, u.CacheWriteTokens = u.InputTokens+units, units
			case "input_cache_write_1h":
				u.InputTokens, u.CacheWriteTokens, u.CacheWrite1hTokens = u.InputTokens+units, units, units
			case "input_audio":
				u.InputTokens, u.InputAudioTokens = u.InputTokens+units, units
			case "output_text":
				u.OutputTokens = units
			case "output_reasoning":
				u.OutputTokens, u.ReasoningTokens = units, units
			case "output_audio":
				u.OutputTokens, u.OutputAudioTokens = units, units
			case "audio_second_in":
				u.AudioMillis = units * 1000
			case "character_in":
				u.Characters = units
			case "request":
				u.Requests = units
			default:
				t.Fatalf("%s has no check", l.meter)
			}
			micro := new(big.Rat).Mul(want, big.NewRat(1_000_000, 1))
			cost, rest := new(big.Int).QuoRem(micro.Num(), micro.Denom(), new(big.Int))
			if rest.Sign() > 0 {
				cost.Add(cost, big.NewInt(1))
			}
			got, err := billing.Cost(book, l.provider, l.model, u)
			if err != nil || big.NewInt(int64(got)).Cmp(cost) != 0 {
				t.Errorf("%s/%s %s above %d, %d units: %d %v, want %s", l.provider, l.model, l.meter, l.above, units, got, err, cost)
			}
			checked++
		}
	}
	t.Logf("%d charges of %d prices", checked, len(list))
}

// TestCuratedModelsCanBeServed: what a first request of each kind needs is there.
func TestCuratedModelsCanBeServed(t *testing.T) {
	rows, err := Curated()
	if err != nil {
		t.Fatal(err)
	}
	book, err := billing.NewBook("curated", testTime(), rows)
	if err != nil {
		t.Fatal(err)
	}
	served := map[[2]string]bool{}
	for _, r := range rows {
		if r.Provider != credit.ActionProvider { // nobody calls the platform's own actions
			served[[2]string{r.Provider, r.Model}] = true
		}
	}
	for m := range served {
		ok := false
		for _, e := range []billing.Expected{{InputTokens: 100, MaxOutput: 100}, {InputTokens: 100, NoOutput: true}, {AudioMillis: 1000, NoOutput: true}, {Characters: 10, NoOutput: true}} {
			hold, _, err := billing.Estimate(book, m[0], m[1], e)
			if err != nil && fault.CodeOf(err) != fault.PriceMissing {
				t.Errorf("%v: %v", m, err)
			}
			ok = ok || err == nil && hold > 0
		}
		if !ok {
			t.Errorf("%v cannot be called", m)
		}
	}
}

func TestCuratedLineRefuses(t *testing.T) {
	sources := map[string][2]string{"s": {"2026-01-02", "page"}}
	for line, want := range map[string]string{
		"openai m s":                     "too short",
		"nobody m s input_text=1":        "unknown provider",
		"openai m >x s input_text=1":     "a prompt length that is no number",
		"openai m other input_text=1":    "unknown source other",
		"openai m s input=1":             "unknown meter input",
		"openai m s input_text=1/min":    "not a decimal",
		"openai m s audio_second_in=1/d": "unknown unit",
		"openai m s input_text=cheap":    "not a decimal",
		"openai m s input_text=1 min=x":  "least units that are no number",
	} {
		if _, err := curatedLine(nil, strings.Fields(line), sources); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", line, err)
		}
	}
}
