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

// micro rounds up, once.
func (s *sum) micro() (Micro, bool) {
	if s.overflow || s.hi >= milliPicoPerMicro {
		return 0, false
	}
	q, r := bits.Div64(s.hi, s.lo, milliPicoPerMicro)
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
	sum             sum
	missing         Meter
}

// charge adds units at the rate of the first of the meters that has a row.
func (p *pricing) charge(units int64, perThousand bool, meters ...Meter) {
	if units == 0 {
		return
	}
	for _, m := range meters {
		if row, ok := p.book.Lookup(p.provider, p.model, m, p.input); ok {
			least := row.MinUnits
			if perThousand {
				least *= 1000
			}
			p.sum.add(max(units, least), row.RatePico, perThousand)
			return
		}
	}
	if p.missing == "" {
		p.missing = meters[0]
	}
}

func (p *pricing) has(m Meter) bool {
	_, ok := p.book.Lookup(p.provider, p.model, m, p.input)
	return ok
}

func (p *pricing) total() (Micro, error) {
	const op = "billing.Cost"
	if p.missing != "" {
		return 0, fault.New(fault.PriceMissing, op,
			"this model has no price for "+string(p.missing)+", ask the operator to add one")
	}
	micro, ok := p.sum.micro()
	if !ok {
		return 0, fault.New(fault.InvalidRequest, op, "the cost of this request is out of range")
	}
	return micro, nil
}

// Cost prices a usage: the exact sum of units x rate, rounded up once to a
// micro-credit; nothing used costs 0. A used meter without a row is
// price_missing, with these exceptions:
//   - cached input falls back to input_text, as do cache writes after
//     input_cache_write_5m;
//   - reasoning tokens are part of the output and cost output_text, unless a row
//     prices output_reasoning apart;
//   - the fixed fee per request needs no row;
//   - seconds and characters need no row when the same call reports tokens:
//     they are then another measure of the same work.
func Cost(book *Book, provider, model string, u Usage) (Micro, error) {
	if err := u.Check(); err != nil {
		return 0, err
	}
	p := pricing{book: book, provider: provider, model: model, input: u.InputTokens}
	s := u.split()
	p.charge(s.text, false, InputText)
	p.charge(s.cached, false, InputCacheRead, InputText)
	p.charge(s.write, false, InputCacheWrite5m, InputText)
	p.charge(s.audio, false, InputAudio)
	p.charge(s.outText, false, OutputText)
	p.charge(s.reasoning, false, OutputReasoning, OutputText)
	p.charge(s.outAudio, false, OutputAudio)
	tokens := u.InputTokens+u.OutputTokens > 0
	if !tokens || p.has(AudioSecondIn) || p.has(AudioSecondOut) {
		p.charge(s.secs, true, AudioSecondIn, AudioSecondOut)
	}
	if !tokens || p.has(CharacterIn) {
		p.charge(u.Characters, false, CharacterIn)
	}
	if p.has(Request) {
		p.charge(u.Requests, false, Request)
	}
	return p.total()
}

// DefaultMaxOutput is the output limit assumed, and to be sent to the vendor,
// when the request has none: without it the hold would assume the model's
// maximum and refuse people who have credit.
const DefaultMaxOutput = 8192

// Expected is what is known of a request before the call.
type Expected struct {
	// InputTokens is an estimate; the hold adds a tenth.
	InputTokens int64
	// MaxOutput is the request's limit, 0 if absent; ModelMaxOutput the model's,
	// 0 if unknown. NoOutput says that the call produces no tokens (speech,
	// embeddings).
	MaxOutput, ModelMaxOutput int64
	NoOutput                  bool
	InputAudioTokens          int64 // part of InputTokens
	AudioMillis               int64
	Characters                int64
}

// Estimate returns the hold for a request and the output limit to send to the
// vendor. A model whose meters have no price is price_missing: it is refused
// before the call, not afterwards.
func Estimate(book *Book, provider, model string, e Expected) (hold Micro, maxOutput int64, err error) {
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
	u := Usage{InputTokens: e.InputTokens, InputAudioTokens: e.InputAudioTokens, OutputTokens: maxOutput,
		AudioMillis: e.AudioMillis, Characters: e.Characters, Requests: 1}
	if err := u.Check(); err != nil {
		return 0, 0, err
	}
	u.InputTokens += (u.InputTokens + 9) / 10
	u.InputAudioTokens += u.InputAudioTokens / 10
	hold, err = Cost(book, provider, model, u)
	return hold, maxOutput, err
}
