package billing

import (
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/latchkey/latchkey/shared/fault"
)

// The properties below compare [Cost] with a second computation that shares no
// code with it: fractions of any size, rates in USD, one rounding at the end.

// fullModel has a price for every meter, with a second tier and least units.
func fullModel(t *rapid.T) (*Book, map[Meter][3]int64) {
	rates := map[Meter][3]int64{} // base, above the tier, least units
	var rows []Row
	for _, m := range Meters() {
		r := [3]int64{rapid.Int64Range(0, 50_000_000_000).Draw(t, string(m)), 0, rapid.SampledFrom([]int64{0, 0, 0, 10}).Draw(t, "least")}
		r[1] = r[0] + rapid.Int64Range(0, 1_000_000).Draw(t, "dearer")
		rates[m] = r
		low, high := row("m", m, r[0]), row("m", m, r[1])
		low.MinUnits, high.MinUnits, high.TierFrom = r[2], r[2], tierStart
		rows = append(rows, low, high)
	}
	b, err := NewBook("", time.Time{}, rows)
	if err != nil {
		t.Fatal(err)
	}
	return b, rates
}

const tierStart = 200_001

// anyUsage draws disjoint parts and puts them together as a vendor would.
func anyUsage(t *rapid.T) (Usage, map[Meter]int64) {
	n := func(name string) int64 {
		return rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 300_000), rapid.Int64Range(0, 1<<36)).Draw(t, name)
	}
	parts := map[Meter]int64{InputText: n("text"), InputCacheRead: n("read"), InputCacheWrite5m: n("write"), InputCacheWrite1h: n("hour"),
		InputAudio: n("audio"), InputImage: n("image"), OutputText: n("out"), OutputReasoning: n("thought"), OutputAudio: n("spoken"),
		OutputImage: n("painted"), Image: n("pictures"), Request: n("requests")}
	u := Usage{CachedInputTokens: parts[InputCacheRead], CacheWriteTokens: parts[InputCacheWrite5m] + parts[InputCacheWrite1h],
		CacheWrite1hTokens: parts[InputCacheWrite1h], InputAudioTokens: parts[InputAudio], InputImageTokens: parts[InputImage],
		ReasoningTokens: parts[OutputReasoning], OutputAudioTokens: parts[OutputAudio], OutputImageTokens: parts[OutputImage],
		Images: parts[Image], Requests: parts[Request]}
	u.InputTokens = parts[InputText] + u.CachedInputTokens + u.CacheWriteTokens + u.InputAudioTokens + u.InputImageTokens
	u.OutputTokens = parts[OutputText] + u.ReasoningTokens + u.OutputAudioTokens + u.OutputImageTokens
	if u.InputTokens+u.OutputTokens == 0 {
		parts[AudioSecondIn], parts[CharacterIn] = n("millis"), n("characters")
		u.AudioMillis, u.Characters = parts[AudioSecondIn], parts[CharacterIn]
		if u.AudioMillis > 0 {
			parts[CharacterIn] = 0
		}
	}
	return u, parts
}

// inUSD is the sum before rounding.
func inUSD(rates map[Meter][3]int64, parts map[Meter]int64, tier int) *big.Rat {
	sum := new(big.Rat)
	for m, units := range parts {
		if units == 0 {
			continue
		}
		n := big.NewRat(units, 1)
		if m == AudioSecondIn || m == AudioSecondOut {
			n.Quo(n, big.NewRat(1000, 1))
		}
		if least := big.NewRat(rates[m][2], 1); n.Cmp(least) < 0 {
			n = least
		}
		n.Mul(n, big.NewRat(rates[m][tier], 1_000_000_000_000))
		sum.Add(sum, n)
	}
	return sum
}

// upToMicro rounds up to a micro-credit.
func upToMicro(usd *big.Rat) *big.Int {
	micro := new(big.Rat).Mul(usd, big.NewRat(1_000_000, 1))
	q, rest := new(big.Int).QuoRem(micro.Num(), micro.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		q.Add(q, big.NewInt(1))
	}
	return q
}

// TestCostExact: every meter, both tiers, least units, any size.
func TestCostExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, rates := fullModel(t)
		u, parts := anyUsage(t)
		tier := 0
		if u.InputTokens >= tierStart {
			tier = 1
		}
		want := upToMicro(inUSD(rates, parts, tier))
		got, err := Cost(b, "p", "m", u)
		if want.Cmp(big.NewInt(int64(MaxAmount))) > 0 || u.Check() != nil {
			if fault.CodeOf(err) != fault.InvalidRequest {
				t.Fatalf("out of range: %d %v", got, err)
			}
			return
		}
		if err != nil || big.NewInt(int64(got)).Cmp(want) != 0 {
			t.Fatalf("%+v\ngot %d %v, want %s", u, got, err, want)
		}
	})
}

// TestCostLaws: never negative, never less for more, and two calls cost together
// what one call of both would, but for one rounding each.
func TestCostLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var rows []Row
		for _, m := range Meters() {
			rows = append(rows, row("m", m, rapid.Int64Range(0, 1_000_000_000).Draw(t, string(m))))
		}
		b, err := NewBook("", time.Time{}, rows)
		if err != nil {
			t.Fatal(err)
		}
		var u, v Usage
		small := rapid.Int64Range(0, 1_000_000)
		tokens, of := u.buckets(), v.buckets()
		for i, n := range tokens[:10] {
			*n, *of[i] = small.Draw(t, "n"), small.Draw(t, "n")
		}
		// Parts within their totals, in both, so that nothing is clamped.
		for _, x := range []*Usage{&u, &v} {
			x.CacheWrite1hTokens = min(x.CacheWrite1hTokens, x.CacheWriteTokens)
			x.InputTokens += x.CachedInputTokens + x.CacheWriteTokens + x.InputAudioTokens + x.InputImageTokens
			x.OutputTokens += x.ReasoningTokens + x.OutputAudioTokens + x.OutputImageTokens
		}
		cost := func(u Usage) Micro {
			c, err := Cost(b, "p", "m", u)
			if err != nil || c < 0 {
				t.Fatalf("%+v: %d %v", u, c, err)
			}
			return c
		}
		a, c, both := cost(u), cost(v), cost(u.Plus(v))
		if both < a || both < c {
			t.Fatalf("%d for both, %d and %d for each", both, a, c)
		}
		if apart := a + c; apart < both || apart > both+1 {
			t.Fatalf("%d for both, %d apart", both, apart)
		}
	})
}

// TestEveryMeterIsCharged: a usage of one meter alone is priced by its row, and
// by none besides.
func TestEveryMeterIsCharged(t *testing.T) {
	alone := map[Meter]Usage{
		InputText:         {InputTokens: 7},
		InputCacheRead:    {InputTokens: 7, CachedInputTokens: 7},
		InputCacheWrite5m: {InputTokens: 7, CacheWriteTokens: 7},
		InputCacheWrite1h: {InputTokens: 7, CacheWriteTokens: 7, CacheWrite1hTokens: 7},
		InputAudio:        {InputTokens: 7, InputAudioTokens: 7},
		InputImage:        {InputTokens: 7, InputImageTokens: 7},
		OutputText:        {OutputTokens: 7},
		OutputReasoning:   {OutputTokens: 7, ReasoningTokens: 7},
		OutputAudio:       {OutputTokens: 7, OutputAudioTokens: 7},
		OutputImage:       {OutputTokens: 7, OutputImageTokens: 7},
		Image:             {Images: 7},
		Request:           {Requests: 7},
		AudioSecondIn:     {AudioMillis: 7000},
		AudioSecondOut:    {AudioOutMillis: 7000},
		CharacterIn:       {Characters: 7},
	}
	for i, m := range Meters() {
		u, ok := alone[m]
		if !ok {
			if m != SearchQuery {
				t.Errorf("%s cannot be used", m)
			}
			continue
		}
		var rows []Row
		for j, other := range Meters() {
			rows = append(rows, row("m", other, int64(1_000_000*(j+1)*(j+1))))
		}
		if got, err := Cost(testBook(t, rows...), "p", "m", u); err != nil || got != Micro(7*(i+1)*(i+1)) {
			t.Errorf("%s: %d %v", m, got, err)
		}
	}
}
