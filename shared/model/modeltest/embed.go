package modeltest

import (
	"bytes"
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/modeltest/replay"
	"github.com/latchkey/latchkey/shared/providers"
)

// embedScenarios must exist for a vendor that makes embeddings. The answers of
// many come in another order than the inputs.
func embedScenarios() []string {
	return []string{"one", "many", "dimensions", "no_usage", "error_401", "error_402", "error_429", "error_500", "error_in_200", "error_html",
		"error_malformed", "error_missing_vector", "error_same_index", "error_lengths", "error_dimensions", "error_empty_text"}
}

func runEmbeddings(t *testing.T, entry providers.Entry) {
	have := map[string]bool{}
	for _, tr := range replay.Load(t, filepath.Join("testdata", "embeddings")) {
		have[tr.Name] = true
		t.Run(tr.Name, func(t *testing.T) { runEmbedding(t, entry, tr) })
	}
	for _, n := range embedScenarios() {
		if !have[n] {
			t.Errorf("scenario %s is missing", n)
		}
	}
	r := &model.EmbedRequest{Model: "m", Inputs: []string{"x"}}
	embed := func(ctx context.Context, target model.Target, r *model.EmbedRequest) error {
		_, err := entry.NewEmbedder().Embed(ctx, model.EmbedCall{Target: target, Request: r})
		return err
	}
	t.Run("limits", func(t *testing.T) {
		target := replay.Target(&replay.Exchange{Reply: replay.Reply{Status: 200, Header: http.Header{"Content-Type": {"application/json"}},
			Body: bytes.Repeat([]byte("x"), 2<<20)}})
		target.MaxBytes = 1 << 20
		wantCode(t, embed(t.Context(), target, r), fault.ProviderError)
		wantCode(t, embed(t.Context(), replay.Target(refusing{}), r), fault.ProviderError)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		wantCode(t, embed(ctx, replay.Target(stalled{}), r), fault.ProviderError)
		for _, bad := range []model.EmbedRequest{{Inputs: r.Inputs}, {Model: "m"}, {Model: "m", Inputs: make([]string, model.MaxEmbedInputs+1)},
			{Model: "m", Inputs: []string{"a", ""}}, {Model: "m", Inputs: r.Inputs, Dimensions: -1}} {
			x := &replay.Exchange{}
			if err := embed(t.Context(), replay.Target(x), &bad); fault.CodeOf(err) != fault.InvalidRequest || x.Calls != 0 {
				t.Errorf("%v after %d calls", err, x.Calls)
			}
		}
	})
}

func runEmbedding(t *testing.T, entry providers.Entry, tr *replay.Transcript) {
	var r model.EmbedRequest
	tr.Strict(t, "request.json", &r)
	x := &replay.Exchange{Reply: tr.Reply}
	got, err := entry.NewEmbedder().Embed(context.Background(), model.EmbedCall{Target: replay.Target(x), Request: &r})
	if strings.HasPrefix(tr.Name, "error_") != (err != nil) {
		t.Fatalf("error %v", err)
	}
	if x.Calls > 1 {
		t.Fatalf("%d requests were sent", x.Calls)
	}
	tr.Compare(t, "wire-request.http", x.Sent)
	if err != nil {
		tr.Compare(t, "error.json", tr.CheckError(t, string(entry.ID), err))
		tr.Compare(t, "response.json", nil)
		tr.Save(t)
		return
	}
	tr.Compare(t, "response.json", replay.Pretty(got))
	tr.Save(t)
	if len(got.Vectors) != r.Len() {
		t.Errorf("%d vectors for %d inputs", len(got.Vectors), r.Len())
	}
	for i, v := range got.Vectors {
		if len(v) != len(got.Vectors[0]) || r.Dimensions > 0 && len(v) != r.Dimensions || len(v) == 0 {
			t.Errorf("vector %d has %d numbers", i, len(v))
		}
	}
	if err := got.Usage.Validate(); err != nil || got.Usage.OutputTotal() != 0 {
		t.Errorf("usage %+v, %v", got.Usage, err)
	}
}
