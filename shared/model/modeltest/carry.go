package modeltest

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/modeltest/replay"
	"github.com/latchkey/latchkey/shared/providers"
)

const (
	unknownField = "x_latchkey_test"
	endUser      = "end-user-x1"
)

// runCarried proves that nothing is lost in silence: whatever a request holds of
// unknown fields, sampling and the end user is either sent or named by the
// adapter's [model.Carrier], and what was named can be taken out so that the call
// is made.
func runCarried(t *testing.T, entry providers.Entry, list []*Scenario) {
	var models []string
	for _, s := range list {
		if id := s.Request.Model; id != "" && !slices.Contains(models, id) {
			models = append(models, id)
		}
	}
	for _, id := range models {
		for _, dialect := range []string{model.DialectChat, model.DialectResponses, model.DialectMessages, model.DialectGemini} {
			t.Run(id+"/"+dialect, func(t *testing.T) { carried(t, entry, id, dialect) })
		}
	}
}

func carried(t *testing.T, entry providers.Entry, id, dialect string) {
	base := &model.Request{Model: id, Dialect: dialect, Messages: []model.Message{{Role: model.RoleUser, Parts: []model.Part{model.Text("hi")}}}}
	plain, err := sentFor(entry, base)
	if plain == nil {
		// Some models in transcripts are there to be refused.
		t.Skipf("the plain request is not sent: %v", err)
	}
	half, five, seven := 0.5, 5, int64(7)
	for name, set := range map[string]func(*model.Request){
		unknownField:                func(r *model.Request) { r.Extra = map[string]json.RawMessage{unknownField: json.RawMessage(`1`)} },
		model.FieldUser:             func(r *model.Request) { r.User = endUser },
		model.FieldTemperature:      func(r *model.Request) { r.Sampling.Temperature = &half },
		model.FieldTopP:             func(r *model.Request) { r.Sampling.TopP = &half },
		model.FieldTopK:             func(r *model.Request) { r.Sampling.TopK = &five },
		model.FieldFrequencyPenalty: func(r *model.Request) { r.Sampling.FrequencyPenalty = &half },
		model.FieldPresencePenalty:  func(r *model.Request) { r.Sampling.PresencePenalty = &half },
		model.FieldSeed:             func(r *model.Request) { r.Sampling.Seed = &seven },
	} {
		r := *base
		set(&r)
		var named []string
		if c, ok := entry.NewChat().(model.Carrier); ok {
			named = c.Uncarried(id, &r)
		}
		if len(named) == 0 {
			if got, err := sentFor(entry, &r); bytes.Equal(got, plain) || got == nil {
				t.Errorf("%s is neither sent nor named: %v", name, err)
			}
			continue
		}
		if !slices.Equal(named, []string{name}) {
			t.Errorf("%s: %q are named", name, named)
		}
		if got, _ := sentFor(entry, &r); got != nil && !bytes.Equal(got, plain) {
			t.Errorf("%s is named, but the vendor is sent another request with it", name)
		}
		r.Strip(named)
		if got, err := sentFor(entry, &r); !bytes.Equal(got, plain) {
			t.Errorf("%s was taken out, and still the request is another one: %v", name, err)
		}
	}
}

// sentFor is what a request makes of the wire, nil if it was refused before.
func sentFor(entry providers.Entry, r *model.Request) ([]byte, error) {
	x := &replay.Exchange{Reply: replay.Reply{Status: http.StatusInternalServerError, Header: http.Header{}}}
	_, err := entry.NewChat().Complete(context.Background(), call(r, x))
	if x.Calls == 0 && fault.CodeOf(err) == fault.InvalidRequest {
		return nil, err
	}
	return append(x.Sent, strconv.Itoa(x.Calls)...), err
}
