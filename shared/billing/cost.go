package billing

import (
	"math/bits"

	"github.com/latchkey/latchkey/shared/fault"
)

// MaxAmount bounds every single amount: a grant, a hold, a charge. 1e15
// micro-credits are a billion USD.
const MaxAmount Micro = 1_000_000_000_000_000

// sum adds units x rate exactly, in thousandths of a pico-USD: audio is counted
// in milliseconds and priced by the second, and rounding twice would not be
// rounding once.
type sum struct {
	hi, lo   uint64
	overflow bool
}

const milliPicoPerMicro = 1_000_000_000

func (s *sum) add(units, rate int64, perThousand bool) {
	hi, lo := bits.Mul64(uint64(units), uint64(rate))
	if !perThousand {
		var carry uint64
		over, top := bits.Mul64(hi, 1000)
		carry, lo = bits.Mul64(lo, 1000)
		hi, carry = bits.Add64(top, carry, 0)
		s.overflow = s.overflow || over != 0 || carry != 0
	}
	var carry uint64
	s.lo, carry = bits.Add64(s.lo, lo, 0)
	s.hi, carry = bits.Add64(s.hi, hi, carry)
	s.overflow = s.overflow || carry != 0
}

// scale multiplies the sum, exactly.
func (s *sum) scale(by uint64) {
	over, hi := bits.Mul64(s.hi, by)
	carry, lo := bits.Mul64(s.lo, by)
	hi, carry = bits.Add64(hi, carry, 0)
	s.hi, s.lo = hi, lo
	s.overflow = s.overflow || over != 0 || carry != 0
}

// micro rounds up, once; perMicro is how much of the sum a micro-credit is.
func (s *sum) micro(perMicro uint64) (Micro, bool) {
	if s.overflow || s.hi >= perMicro {
		return 0, false
	}
	q, r := bits.Div64(s.hi, s.lo, perMicro)
	if r > 0 {
		q++
	}
	if q > uint64(MaxAmount) {
		return 0, false
	}
	return Micro(q), true
}

// pricing prices one request of one model.
type pricing struct {
	book            *Book
	provider, model string
	input           int64 // total input tokens: chooses the tier
	parts           [numParts]int64
	sum             sum
}

func (p *pricing) lookup(m Meter) (Row, bool) { return p.book.Lookup(p.provider, p.model, m, p.input) }

// row is what prices a part.
func (p *pricing) row(c charge) (Row, bool) {
	row, ok := p.lookup(c.meters[0])
	if ok || len(c.meters) == 1 {
		return row, ok
	}
	if c.apart != "" {
		if _, apart := p.lookup(c.apart); apart {
			return Row{}, false
		}
	}
	return p.lookup(c.meters[1])
}

// measured says whether the call was measured this way, and which meter of it has
// no price, "" if none.
func (p *pricing) measured(m measure) (used bool, missing Meter) {
	for i, c := range charges {
		if c.measure != m || p.parts[i] == 0 {
			continue
		}
		used = true
		if _, ok := p.row(c); !ok && missing == "" {
			missing = c.meters[0]
		}
	}
	return used, missing
}

// choose picks the first measure of the call that is priced in full. Without one
// the meter to report is that of the first measure.
func (p *pricing) choose() (chosen measure, missing Meter) {
	for m := range numMeasures {
		used, lacks := p.measured(m)
		switch {
		case !used:
		case lacks == "":
			return m, ""
		case missing == "":
			missing = lacks
		}
	}
	return numMeasures, missing
}

func (p *pricing) add(i int) {
	row, ok := p.row(charges[i])
	if !ok {
		return // an optional fee
	}
	least := row.MinUnits
	if charges[i].milli {
		least *= 1000
	}
	p.sum.add(max(p.parts[i], least), row.RatePico, charges[i].milli)
}

// Cost prices a usage: the exact sum of units x rate, rounded up once to a
// micro-credit; nothing used costs 0. Each part of the usage is charged once, by
// the rules of [charges]. Tokens, seconds and characters are measures of the same
// work: the first of them that the call reports and the book prices in full is
// charged, the others are not. Fees per request and picture come on top where a
// row says so. A usage that no measure prices in full is price_missing, one
// whose cost is beyond [MaxAmount] invalid_request.
func Cost(book *Book, provider, model string, u Usage) (Micro, error) {
	s, err := priceOf(book, provider, model, u)
	if err != nil {
		return 0, err
	}
	micro, ok := s.micro(milliPicoPerMicro)
	if !ok {
		return 0, outOfRange()
	}
	return micro, nil
}

func outOfRange() error {
	return fault.New(fault.InvalidRequest, "billing.Cost", "the cost of this request is out of range")
}

// priceOf is the exact price of a usage.
func priceOf(book *Book, provider, model string, u Usage) (sum, error) {
	if err := u.Check(); err != nil {
		return sum{}, err
	}
	p := pricing{book: book, provider: provider, model: model, input: u.InputTokens, parts: u.parts()}
	chosen, missing := p.choose()
	if missing != "" {
		return sum{}, fault.New(fault.PriceMissing, "billing.Cost",
			"this model has no price for "+string(missing)+", ask the operator to add one")
	}
	for i := range charges {
		if p.parts[i] > 0 && (charges[i].measure == chosen || charges[i].measure == aFee) {
			p.add(i)
		}
	}
	return p.sum, nil
}

// DefaultMaxOutput is the output limit assumed, and to be sent to the vendor,
// when the request has none: without it the hold would assume the model's
// maximum and refuse people who have credit.
const DefaultMaxOutput = 8192

// A transcription that is priced by tokens is reserved for at least this many
// tokens a second: vendors count 32 at most for audio (ai.google.dev, Gemini API,
// audio understanding, read 2026-11), and nobody speaks ten tokens a second.
const (
	audioTokensPerSecond  = 40
	spokenTokensPerSecond = 10
)

// Expected is what is known of a request before the call. Which meters must have
// a price is decided by it alone: a kind of input that is in the request, and
// every kind of output that can be asked for, must be priced.
type Expected struct {
	// InputTokens is an estimate; the hold adds a tenth.
	InputTokens int64
	// MaxOutput is the request's limit, 0 if absent; ModelMaxOutput the model's,
	// 0 if unknown. NoOutput says that the call produces no tokens (speech,
	// embeddings).
	MaxOutput, ModelMaxOutput int64
	NoOutput                  bool
	// InputAudioTokens and InputImageTokens are parts of InputTokens.
	InputAudioTokens, InputImageTokens int64
	// Images is the number of pictures sent.
	Images int64
	// CacheWrite says that the request asks for its prompt to be cached,
	// CacheWrite1h that it asks for an hour.
	CacheWrite, CacheWrite1h bool
	AudioMillis              int64
	Characters               int64
}

// usages are the ways in which the request may be billed; the hold covers the
// dearest.
func (e Expected) usages(maxOutput int64) []Usage {
	u := Usage{InputTokens: e.InputTokens, InputAudioTokens: e.InputAudioTokens, InputImageTokens: e.InputImageTokens, OutputTokens: maxOutput,
		AudioMillis: e.AudioMillis, Characters: e.Characters, Images: e.Images, Requests: 1}
	for _, n := range []*int64{&u.InputTokens, &u.InputAudioTokens, &u.InputImageTokens} {
		*n += (*n + 9) / 10
	}
	all := []Usage{u}
	if e.CacheWrite || e.CacheWrite1h {
		u.CacheWriteTokens = max(u.InputTokens-u.InputAudioTokens-u.InputImageTokens, 0)
		all = append(all, u)
	}
	if e.CacheWrite1h {
		u.CacheWrite1hTokens = u.CacheWriteTokens
		all = append(all, u)
	}
	return all
}

// inTokens is a transcription in tokens, for models that have no price per
// second.
func (e Expected) inTokens() Usage {
	seconds := (e.AudioMillis + 999) / 1000
	return Usage{InputTokens: seconds * audioTokensPerSecond, InputAudioTokens: seconds * audioTokensPerSecond,
		OutputTokens: seconds * spokenTokensPerSecond, Requests: 1}
}

// Estimate returns the hold for a request and the output limit to send to the
// vendor. A request that could use a meter without a price is price_missing: it
// is refused before the call, not afterwards.
func Estimate(book *Book, provider, model string, e Expected) (hold Micro, maxOutput int64, err error) {
	return estimate(book, provider, model, e, Cost)
}

// estimate is [Estimate] by a price that grows with the usage.
func estimate(book *Book, provider, model string, e Expected, price func(*Book, string, string, Usage) (Micro, error)) (hold Micro, maxOutput int64, err error) {
	if !book.Priced(provider, model) {
		return 0, 0, fault.New(fault.PriceMissing, "billing.Estimate", "this model has no price, ask the operator to add one")
	}
	if !e.NoOutput {
		maxOutput = e.MaxOutput
		if maxOutput <= 0 {
			maxOutput = DefaultMaxOutput
		}
		if e.ModelMaxOutput > 0 {
			maxOutput = min(maxOutput, e.ModelMaxOutput)
		}
	}
	for _, u := range e.usages(maxOutput) {
		cost, err := price(book, provider, model, u)
		if fault.CodeOf(err) == fault.PriceMissing && e.AudioMillis > 0 {
			if inTokens, tokenErr := price(book, provider, model, e.inTokens()); tokenErr == nil {
				cost, err = inTokens, nil
			}
		}
		if err != nil {
			return 0, maxOutput, err
		}
		hold = max(hold, cost)
	}
	return hold, maxOutput, nil
}
