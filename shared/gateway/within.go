package gateway

import (
	"strconv"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/registry"
)

// leastBytesPerToken is more text than a token of any current vocabulary holds on
// average: long English words have up to 20 bytes, prose about 4.5.
const leastBytesPerToken = 16

// smallWindow is the window up to which vendors are known to cut prompts by
// themselves (openrouter.ai/docs, message transforms, read 2026-11: 8,192 tokens).
const smallWindow = 8192

// within refuses a request that is surely longer than what the model is documented
// to take, and bounds the output that is assumed when the request states none: a
// default above the model's limit would be refused by its vendor. A stated limit
// is the client's, and the vendor's to judge.
func (s *service[T]) within(row registry.Row) (billing.Expected, error) {
	e := s.expect
	if limit := row.MaxInput(); limit > smallWindow && s.longer != nil && s.longer(limit) {
		return e, fault.New(fault.ContextLengthExceeded, "gateway.within",
			"the request is longer than the "+strconv.FormatInt(limit, 10)+" tokens this model takes; shorten it or choose another model").WithParam("messages")
	}
	if e.MaxOutput <= 0 {
		e.ModelMaxOutput = row.MaxOutputTokens
	}
	return e, nil
}

// longer reports whether a request surely has more than limit tokens of text. Runs
// of one byte may be a single token and count once; media and encrypted thinking
// do not count. Unknown fields may have the vendor cut the prompt, so that nothing
// is sure with them.
func longer(r *model.Request, limit int64) bool {
	if len(r.Extra) > 0 {
		return false
	}
	var all, runs int64
	each(r, func(s string) { all += int64(len(s)) })
	if all <= limit*leastBytesPerToken {
		return false
	}
	each(r, func(s string) {
		for i := range len(s) {
			if i == 0 || s[i] != s[i-1] {
				runs++
			}
		}
	})
	return runs > limit*leastBytesPerToken
}

// each visits the text that a model reads.
func each(r *model.Request, f func(string)) {
	for i := range r.Messages {
		eachPart(r.Messages[i].Parts, f)
	}
	for i := range r.Tools {
		f(r.Tools[i].Description)
		f(string(r.Tools[i].Schema))
	}
}

func eachPart(parts []model.Part, f func(string)) {
	for i := range parts {
		p := &parts[i]
		switch {
		case p.Call != nil:
			f(p.Call.Args)
		case p.Result != nil:
			eachPart(p.Result.Parts, f)
		case p.Media == nil && p.Reasoning == nil:
			f(p.Text)
		}
	}
}
