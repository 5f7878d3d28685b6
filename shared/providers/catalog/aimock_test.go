package catalog

import (
	"context"
	"encoding/json"
	"io"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/egress"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/speech"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// simulator is the independent vendor simulator @copilotkit/aimock with the
// fixtures of scripts/testdata/aimock. ./scripts/test starts it.
func simulator(t *testing.T) string {
	t.Helper()
	base := os.Getenv("LATCHKEY_TEST_AIMOCK_URL")
	if base == "" {
		t.Skip("LATCHKEY_TEST_AIMOCK_URL is not set; ./scripts/test starts the simulator and sets it")
	}
	return strings.TrimSuffix(base, "/")
}

type vendorUnderTest struct {
	entry  providers.Entry
	target model.Target
	simulated
}

// simulated says where the simulator speaks a vendor's format, and what it lacks there.
type simulated struct {
	id          taxonomy.Provider
	path, model string
	// details: it serves details of usage. lists: it has the vendor's list of models and
	// its check of keys. schema: it sees that a JSON schema was asked for.
	details, lists, schema bool
	// uncounted: it counts in streams only when asked, as OpenAI does; the vendor always does.
	uncounted bool
	// refusesSchema: the vendor has no JSON schema.
	refusesSchema bool
}

func simulations() []simulated {
	return []simulated{
		{id: taxonomy.OpenRouter, path: "/api/v1", model: "gpt-4o", details: true, lists: true, schema: true},
		{id: taxonomy.OpenAICompatible, path: "/v1", model: "gpt-4o", lists: true, schema: true},
		{id: taxonomy.OpenAI, path: "/v1", model: "gpt-4o", lists: true, schema: true},
		{id: taxonomy.OpenAI, path: "/v1", model: "o3-pro", lists: true}, // by the Responses API
		{id: taxonomy.Anthropic, path: "/v1", model: "claude-sonnet-4-5", lists: true},
		{id: taxonomy.Bedrock, model: "anthropic.claude-sonnet-4-5-20250929-v1:0"},
		{id: taxonomy.Gemini, path: "/v1beta", model: "gemini-2.5-flash"},
		{id: taxonomy.Mistral, path: "/v1", model: "mistral-small-latest", lists: true, schema: true, uncounted: true},
		{id: taxonomy.Groq, path: "/openai/v1", model: "openai/gpt-oss-20b", lists: true, schema: true},
		{id: taxonomy.Grok, path: "/v1", model: "grok-4.3", schema: true},
		{id: taxonomy.Kimi, path: "/v1", model: "kimi-k2.6", lists: true, schema: true},
		{id: taxonomy.DeepSeek, path: "/v1", model: "deepseek-v4-flash", refusesSchema: true},
	}
}

// vendors reaches all of them through the real egress guard.
func vendors(t *testing.T) []vendorUnderTest {
	t.Helper()
	base := simulator(t)
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	guard, err := egress.New(egress.Options{Allow: []string{u.Host}})
	if err != nil {
		t.Fatal(err)
	}
	var out []vendorUnderTest
	for _, sim := range simulations() {
		e, ok := Lookup(sim.id)
		if !ok {
			t.Fatalf("%s is not in the catalog", sim.id)
		}
		client := guard.Vendor(e.Hosts...)
		if e.Tenant() {
			client = guard.Tenant()
		}
		out = append(out, vendorUnderTest{e, model.Target{BaseURL: base + sim.path, Key: secret.FromString("sk-simulator-key"), HTTP: client}, sim})
	}
	return out
}

func (v vendorUnderTest) both(t *testing.T, r *model.Request, check func(t *testing.T, r *model.Response, err error)) {
	t.Helper()
	for _, stream := range []bool{false, true} {
		name := string(v.entry.ID) + "/" + v.model + "/whole"
		if stream {
			name = string(v.entry.ID) + "/" + v.model + "/stream"
		}
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			call := v.call(r)
			if !stream {
				got, err := v.entry.NewChat().Complete(ctx, call)
				check(t, got, err)
				return
			}
			s, err := v.entry.NewChat().Stream(ctx, call)
			if err != nil {
				check(t, nil, err)
				return
			}
			defer func() { _ = s.Close() }()
			got, err := model.Collect(s)
			check(t, got, err)
		})
	}
}

// call asks for the vendor's model.
func (v vendorUnderTest) call(r *model.Request) model.Call {
	named := *r
	named.Model = v.model
	return model.Call{Target: v.target, Request: &named}
}

func ask(text string) *model.Request {
	return &model.Request{Model: "gpt-4o", Messages: []model.Message{{Role: model.RoleUser, Parts: []model.Part{model.Text(text)}}}}
}

// counts reports whether an answer must hold the simulator's usage.
func (v vendorUnderTest) counts(t *testing.T) bool {
	return !v.uncounted || !strings.HasPrefix(t.Name()[strings.LastIndex(t.Name(), "/")+1:], "stream")
}

func TestSimulatorChat(t *testing.T) {
	for _, v := range vendors(t) {
		v.both(t, ask("aimock: greet"), func(t *testing.T, r *model.Response, err error) {
			if err != nil || r.Text() != "Hello from the simulator, größer 😀." || r.Finish != model.FinishStop || v.counts(t) && (r.Usage.Input != 11 || r.Usage.Output != 9) {
				t.Errorf("%+v, %v", r, err)
			}
		})
		v.both(t, ask("aimock: long"), func(t *testing.T, r *model.Response, err error) {
			if err != nil || r.Finish != model.FinishLength || v.counts(t) && r.Usage.OutputTotal() != 3 {
				t.Errorf("%+v, %v", r, err)
			}
		})
		v.both(t, ask("aimock: cached"), func(t *testing.T, r *model.Response, err error) {
			if err != nil {
				t.Fatal(err)
			}
			if v.counts(t) && (r.Usage.InputTotal() != 2000 || r.Usage.OutputTotal() != 50) || v.details && (r.Usage.CachedRead != 1500 || r.Usage.Reasoning != 30) {
				t.Errorf("%+v", r.Usage)
			}
		})
		structured := ask("aimock: json")
		if !v.schema {
			structured = ask("aimock: place")
		}
		structured.Output = model.Output{Kind: model.OutputJSONSchema, Name: "place", Schema: json.RawMessage(`{"type":"object","properties":{"city":{"type":"string"}}}`)}
		v.both(t, structured, func(t *testing.T, r *model.Response, err error) {
			if v.refusesSchema {
				if fault.CodeOf(err) != fault.InvalidRequest {
					t.Errorf("%+v, %v", r, err)
				}
			} else if err != nil || r.Text() != `{"city":"Rome"}` {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

func TestSimulatorToolLoop(t *testing.T) {
	for _, v := range vendors(t) {
		r := ask("aimock: weather")
		r.Tools = []model.Tool{{Name: "get_weather", Schema: json.RawMessage(`{"type":"object","properties":{"city":{"type":"string"}}}`)}, {Name: "get_time"}}
		v.both(t, r, func(t *testing.T, got *model.Response, err error) {
			if err != nil {
				t.Fatal(err)
			}
			calls := got.ToolCalls()
			if got.Finish != model.FinishToolCalls || len(calls) != 2 || calls[0].Name != "get_weather" || calls[0].Args != `{"city":"Rome"}` ||
				calls[0].ID != "call_rome" || calls[0].ID == calls[1].ID || calls[1].Args != "{}" {
				t.Fatalf("%+v", got.Message)
			}
			next := ask("aimock: weather")
			next.Tools = r.Tools
			next.Messages = append(next.Messages, got.Message)
			for _, c := range calls {
				next.Messages = append(next.Messages, model.Message{Role: model.RoleTool, Parts: []model.Part{{Kind: model.PartToolResult,
					Result: &model.ToolResult{CallID: c.ID, Parts: []model.Part{model.Text("21")}}}}})
			}
			final, err := v.entry.NewChat().Complete(t.Context(), v.call(next))
			if err != nil || final.Text() != "It is 21 degrees in Rome." {
				t.Errorf("%+v, %v", final, err)
			}
		})
	}
}

func TestSimulatorFailures(t *testing.T) {
	for _, v := range vendors(t) {
		for text, want := range map[string]fault.Code{"rate limit": fault.ProviderRateLimited, "bad key": fault.ProviderKeyInvalid,
			"no money": fault.ProviderQuotaExhausted, "overloaded": fault.ProviderOverloaded, "broken": fault.ProviderError} {
			v.both(t, ask("aimock: "+text), func(t *testing.T, _ *model.Response, err error) {
				f := fault.As(err)
				if f == nil || f.Code != want || strings.Contains(f.Error(), "simulator") {
					t.Fatalf("%s: %v", text, err)
				}
				if want == fault.ProviderRateLimited && f.RetryAfter != time.Second {
					t.Errorf("retry after %v", f.RetryAfter)
				}
			})
		}
		s, err := v.entry.NewChat().Stream(t.Context(), v.call(ask("aimock: cut")))
		if err == nil {
			var r *model.Response
			r, err = model.Collect(s)
			_ = s.Close()
			if r.Finish != "" {
				t.Errorf("%s: a cut stream has finish %q", v.entry.ID, r.Finish)
			}
		}
		if fault.CodeOf(err) != fault.ProviderError {
			t.Errorf("%s: cut: %v", v.entry.ID, err)
		}
	}
}

func TestSimulatorLists(t *testing.T) {
	for _, v := range vendors(t) {
		if !v.lists {
			continue
		}
		list, err := v.entry.ListModels(t.Context(), v.target)
		if err != nil || len(list) == 0 {
			t.Errorf("%s: %d models, %v", v.entry.ID, len(list), err)
		}
		if err := v.entry.CheckKey(t.Context(), v.target); err != nil {
			t.Errorf("%s: %v", v.entry.ID, err)
		}
	}
}

// TestSimulatorSpeech uses the OpenAI paths; the simulator has no OpenRouter
// audio.
func TestSimulatorSpeech(t *testing.T) {
	for _, v := range vendors(t) {
		if v.entry.ID != taxonomy.OpenAICompatible {
			continue
		}
		r := &speech.TranscribeRequest{Model: "whisper-1", Audio: []byte("OggS then some"), Format: speech.FormatVerboseJSON, WordTimes: true, SegmentTimes: true}
		got, err := v.entry.NewTranscriber().Transcribe(t.Context(), speech.TranscribeCall{Target: v.target, Request: r})
		if err != nil || got.Text != "Hello from the recording." || got.Usage.AudioIn != 2500 || len(got.Words) != 1 || got.Words[0].End != 600 {
			t.Errorf("%+v, %v", got, err)
		}
		a, err := v.entry.NewSynthesizer().Synthesize(t.Context(), speech.SynthesizeCall{Target: v.target,
			Request: &speech.SynthesizeRequest{Model: "tts-1", Input: "Hello", Voice: "alloy"}})
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(a.Body)
		_ = a.Body.Close()
		if err != nil || !strings.HasSuffix(string(b), "audio from the simulator") || a.ContentType != "audio/mpeg" || a.Usage().Characters != 5 {
			t.Errorf("%q, %s, %+v, %v", b, a.ContentType, a.Usage(), err)
		}
	}
}
