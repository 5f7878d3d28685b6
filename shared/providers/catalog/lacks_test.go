package catalog

import (
	"errors"
	"net/http"
	"slices"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

type asked struct{ yes bool }

func (a *asked) RoundTrip(*http.Request) (*http.Response, error) {
	a.yes = true
	return nil, errors.New("no network here")
}

// TestLacksIsWhatTheAdapterRefuses: routing leaves out a model exactly where its
// adapter would refuse the request before sending it.
func TestLacksIsWhatTheAdapterRefuses(t *testing.T) {
	parts := map[taxonomy.Capability]model.Part{
		taxonomy.CapVision:  {Kind: model.PartImage, Media: &model.Media{Base64: "iVBORw0KGgo=", MIME: "image/png"}},
		taxonomy.CapAudioIn: {Kind: model.PartAudio, Media: &model.Media{Base64: "UklGRg==", MIME: "audio/wav", Format: "wav"}},
	}
	ids := []string{"gpt-3.5-turbo", "gpt-4o", "gpt-4o-audio-preview", "gpt-5", "o3-mini", "grok-4", "grok-2-vision", "mistral-large-latest", "pixtral-large-latest",
		"voxtral-small-latest", "kimi-k2-turbo", "kimi-latest", "llama-3.3-70b-versatile", "meta-llama/llama-4-scout-17b-16e-instruct", "deepseek-chat", "anything/else"}
	known, lacking := 0, 0
	for _, e := range Entries() {
		if e.Lacks == nil {
			continue
		}
		known++
		for _, id := range ids {
			for capability, part := range parts {
				if !e.Has(capability) {
					continue
				}
				lacks := slices.Contains(e.Lacks(id), capability)
				var wire asked
				_, err := e.NewChat().Complete(t.Context(), model.Call{
					Target:  model.Target{BaseURL: "https://vendor.example/v1", Key: secret.FromString("k-0123456789abcdef"), HTTP: &http.Client{Transport: &wire}},
					Request: &model.Request{Model: id, Messages: []model.Message{{Role: model.RoleUser, Parts: []model.Part{model.Text("x"), part}}}}})
				if lacks == wire.yes || lacks && fault.CodeOf(err) != fault.UnsupportedMedia {
					t.Errorf("%s/%s %s: lacks %v, sent %v, %v", e.ID, id, capability, lacks, wire.yes, err)
				}
				if lacks {
					lacking++
				}
			}
		}
	}
	if known < 8 || lacking < 10 {
		t.Errorf("%d vendors, %d refusals: nothing was compared", known, lacking)
	}
}
