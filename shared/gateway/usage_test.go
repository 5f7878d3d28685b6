package gateway

import (
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers/catalog"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/speech"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// perMillion are the prices of the test in USD per million, all different, so
// that a token in a wrong part or in two shows in the sum.
func perMillion() map[billing.Meter]string {
	return map[billing.Meter]string{billing.InputText: "3", billing.InputCacheRead: "0.3", billing.InputCacheWrite5m: "3.75", billing.InputCacheWrite1h: "6.1",
		billing.InputAudio: "7", billing.InputImage: "3.5", billing.OutputText: "15", billing.OutputReasoning: "11.3", billing.OutputAudio: "40", billing.OutputImage: "31"}
}

type parts map[billing.Meter]int64

// owed is the sum of parts by the decimal prices, rounded up once to a
// micro-credit, and the number of input and output tokens in it.
func (p parts) owed(t *testing.T) (micro, in, out int64) {
	t.Helper()
	sum := new(big.Rat)
	for m, n := range p {
		usd, ok := new(big.Rat).SetString(perMillion()[m])
		if !ok {
			t.Fatalf("no price for %s", m)
		}
		sum.Add(sum, usd.Mul(usd, big.NewRat(n, 1))) // USD per million x tokens = micro
		if m == billing.OutputText || m == billing.OutputReasoning || m == billing.OutputAudio || m == billing.OutputImage {
			out += n
		} else {
			in += n
		}
	}
	q, rest := new(big.Int).QuoRem(sum.Num(), sum.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		q.Add(q, big.NewInt(1))
	}
	return q.Int64(), in, out
}

func priced(t *testing.T, provider taxonomy.Provider, name string) *billing.Book {
	t.Helper()
	var rows []billing.Row
	for m, usd := range perMillion() {
		r, _ := new(big.Rat).SetString(usd)
		pico := r.Mul(r, big.NewRat(1_000_000, 1))
		rows = append(rows, billing.Row{Provider: string(provider), Model: name, Meter: m, RatePico: pico.Num().Int64(), Source: "test", SourceDate: "2026-11-22"})
	}
	b, err := billing.NewBook("v", time.Time{}, rows)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	chatAnswer      = `{"id":"x","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":%s}`
	messagesAnswer  = `{"id":"x","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":%s}`
	generateAnswer  = `{"candidates":[{"content":{"role":"model","parts":[{"text":"hi"}]},"finishReason":"STOP","index":0}],"usageMetadata":%s,"modelVersion":"m"}`
	converseAnswer  = `{"output":{"message":{"role":"assistant","content":[{"text":"hi"}]}},"stopReason":"end_turn","usage":%s}`
	responsesAnswer = `{"id":"x","object":"response","status":"completed","model":"m","output":[{"type":"message","id":"y","role":"assistant","status":"completed","content":[{"type":"output_text","text":"hi","annotations":[]}]}],"usage":%s}`
)

// TestNothingIsChargedTwice: for every vendor's way of counting, the parts that
// are charged add up to what the vendor says was used, and their sum is the cost.
// Sources of the shapes: gateways.md 4.3 and the vendors' references, read 2026-11.
func TestNothingIsChargedTwice(t *testing.T) {
	// Details lie inside the totals at OpenAI and those who copy it.
	inside := `{"prompt_tokens":1000,"completion_tokens":400,"total_tokens":1400,
		"prompt_tokens_details":{"cached_tokens":300,"audio_tokens":120},"completion_tokens_details":{"reasoning_tokens":150,"audio_tokens":60}}`
	insideParts := parts{billing.InputCacheRead: 300, billing.InputAudio: 120, billing.InputText: 580, billing.OutputReasoning: 150, billing.OutputAudio: 60, billing.OutputText: 190}
	untried := map[taxonomy.Provider]bool{}
	for _, e := range catalog.Entries() {
		untried[e.ID] = e.NewChat != nil
	}
	for _, c := range []struct {
		name     string
		provider taxonomy.Provider
		model    string
		answer   string
		usage    string
		want     parts
	}{
		{"openai", taxonomy.OpenAI, "gpt-4o", chatAnswer, inside, insideParts},
		{"openai writing a cache", taxonomy.OpenAI, "gpt-4o", chatAnswer,
			`{"prompt_tokens":1000,"completion_tokens":4,"total_tokens":1004,"prompt_tokens_details":{"cached_tokens":300,"cache_write_tokens":500}}`,
			parts{billing.InputCacheRead: 300, billing.InputCacheWrite5m: 500, billing.InputText: 200, billing.OutputText: 4}},
		{"openai responses", taxonomy.OpenAI, "gpt-5-pro", responsesAnswer,
			`{"input_tokens":1000,"output_tokens":400,"total_tokens":1400,"input_tokens_details":{"cached_tokens":300},"output_tokens_details":{"reasoning_tokens":150}}`,
			parts{billing.InputCacheRead: 300, billing.InputText: 700, billing.OutputReasoning: 150, billing.OutputText: 250}},
		{"openrouter", taxonomy.OpenRouter, "a/m", chatAnswer,
			`{"prompt_tokens":1000,"completion_tokens":400,"total_tokens":1400,"cost":0.01,"prompt_tokens_details":{"cached_tokens":300,"cache_write_tokens":100,"audio_tokens":50},
			"completion_tokens_details":{"reasoning_tokens":150}}`,
			parts{billing.InputCacheRead: 300, billing.InputCacheWrite5m: 100, billing.InputAudio: 50, billing.InputText: 550, billing.OutputReasoning: 150, billing.OutputText: 250}},
		{"openai-compatible", taxonomy.OpenAICompatible, "m", chatAnswer, inside, insideParts},
		{"cached audio under both words", taxonomy.OpenAICompatible, "m", chatAnswer,
			`{"prompt_tokens":100,"completion_tokens":1,"total_tokens":101,"prompt_tokens_details":{"cached_tokens":80,"audio_tokens":80}}`,
			parts{billing.InputCacheRead: 80, billing.InputAudio: 20, billing.OutputText: 1}},
		// An explicit zero is a figure, not a missing one.
		{"everything cached", taxonomy.OpenAICompatible, "m", chatAnswer,
			`{"prompt_tokens":100,"completion_tokens":0,"total_tokens":100,"prompt_tokens_details":{"cached_tokens":100}}`, parts{billing.InputCacheRead: 100}},
		{"mistral", taxonomy.Mistral, "mistral-small-latest", chatAnswer,
			`{"prompt_tokens":1000,"completion_tokens":400,"total_tokens":1400,"num_cached_tokens":300}`,
			parts{billing.InputCacheRead: 300, billing.InputText: 700, billing.OutputText: 400}},
		// Thoughts of Grok lie beside the completion.
		{"grok", taxonomy.Grok, "grok-4.3", chatAnswer,
			`{"prompt_tokens":1000,"completion_tokens":250,"total_tokens":1400,"prompt_tokens_details":{"cached_tokens":300,"image_tokens":100,"text_tokens":900},
			"completion_tokens_details":{"reasoning_tokens":150}}`,
			parts{billing.InputCacheRead: 300, billing.InputImage: 100, billing.InputText: 600, billing.OutputReasoning: 150, billing.OutputText: 250}},
		{"kimi", taxonomy.Kimi, "kimi-k2.6", chatAnswer,
			`{"prompt_tokens":1000,"completion_tokens":400,"total_tokens":1400,"cached_tokens":300}`,
			parts{billing.InputCacheRead: 300, billing.InputText: 700, billing.OutputText: 400}},
		{"groq", taxonomy.Groq, "openai/gpt-oss-120b", chatAnswer,
			`{"queue_time":0.1,"prompt_tokens":1000,"completion_tokens":400,"total_tokens":1400,"prompt_tokens_details":{"cached_tokens":300},"completion_tokens_details":{"reasoning_tokens":150}}`,
			parts{billing.InputCacheRead: 300, billing.InputText: 700, billing.OutputReasoning: 150, billing.OutputText: 250}},
		{"deepseek", taxonomy.DeepSeek, "deepseek-reasoner", chatAnswer,
			`{"prompt_tokens":1000,"completion_tokens":400,"total_tokens":1400,"prompt_cache_hit_tokens":300,"prompt_cache_miss_tokens":700,"completion_tokens_details":{"reasoning_tokens":150}}`,
			parts{billing.InputCacheRead: 300, billing.InputText: 700, billing.OutputReasoning: 150, billing.OutputText: 250}},
		// Input, reads and writes exclude each other; thinking is inside the output.
		{"anthropic", taxonomy.Anthropic, "claude-sonnet-5", messagesAnswer,
			`{"input_tokens":500,"cache_read_input_tokens":300,"cache_creation_input_tokens":200,"cache_creation":{"ephemeral_5m_input_tokens":120,"ephemeral_1h_input_tokens":80},
			"output_tokens":400,"output_tokens_details":{"thinking_tokens":150}}`,
			parts{billing.InputText: 500, billing.InputCacheRead: 300, billing.InputCacheWrite5m: 120, billing.InputCacheWrite1h: 80, billing.OutputReasoning: 150, billing.OutputText: 250}},
		// Cached tokens are inside the prompt, the tools' results and thoughts beside.
		{"gemini", taxonomy.Gemini, "gemini-2.5-flash", generateAnswer,
			`{"promptTokenCount":1000,"toolUsePromptTokenCount":50,"cachedContentTokenCount":300,"candidatesTokenCount":250,"thoughtsTokenCount":150,"totalTokenCount":1450,
			"promptTokensDetails":[{"modality":"TEXT","tokenCount":700},{"modality":"AUDIO","tokenCount":200},{"modality":"IMAGE","tokenCount":100}],
			"cacheTokensDetails":[{"modality":"TEXT","tokenCount":220},{"modality":"AUDIO","tokenCount":80}],
			"candidatesTokensDetails":[{"modality":"TEXT","tokenCount":150},{"modality":"IMAGE","tokenCount":100}]}`,
			parts{billing.InputCacheRead: 300, billing.InputAudio: 120, billing.InputImage: 100, billing.InputText: 530,
				billing.OutputReasoning: 150, billing.OutputImage: 100, billing.OutputText: 150}},
		// Input, reads and writes exclude each other here too; reasoning is not told apart.
		{"bedrock", taxonomy.Bedrock, "anthropic.claude-sonnet-5-v1:0", converseAnswer,
			`{"inputTokens":500,"cacheReadInputTokens":300,"cacheWriteInputTokens":200,"cacheDetails":[{"ttl":"1h","inputTokens":80},{"ttl":"5m","inputTokens":120}],
			"outputTokens":400,"totalTokens":1400}`,
			parts{billing.InputText: 500, billing.InputCacheRead: 300, billing.InputCacheWrite5m: 120, billing.InputCacheWrite1h: 80, billing.OutputText: 400}},
	} {
		delete(untried, c.provider)
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				_, _ = fmt.Fprintf(w, c.answer, c.usage)
			}))
			defer s.Close()
			entry, ok := catalog.Lookup(c.provider)
			if !ok {
				t.Fatal("not in the catalog")
			}
			resp, err := entry.NewChat().Complete(t.Context(), model.Call{
				Target:  model.Target{BaseURL: s.URL, Key: secret.FromString("sk-test-0123456789"), HTTP: s.Client(), Now: time.Unix(1_790_000_000, 0)},
				Request: &model.Request{Model: c.model, Messages: []model.Message{{Role: model.RoleUser, Parts: []model.Part{model.Text("hi")}}}}})
			if err != nil {
				t.Fatal(err)
			}
			if resp.Usage.Suspect {
				t.Error("the usage is suspect")
			}
			u := billable(resp.Usage)
			micro, in, out := c.want.owed(t)
			if u.InputTokens != in || u.OutputTokens != out || u.Source != billing.FromProvider {
				t.Errorf("%d in and %d out, the parts are %d and %d", u.InputTokens, u.OutputTokens, in, out)
			}
			got, err := billing.Cost(priced(t, c.provider, c.model), string(c.provider), c.model, u)
			if err != nil || int64(got) != micro {
				t.Errorf("%+v costs %d %v, want %d", u, got, err, micro)
			}
		})
	}
	for id, chats := range untried {
		if chats {
			t.Errorf("%s answers chats, and how it counts is not tried", id)
		}
	}
}

// TestVoiceIsChargedByOneMeasure: what transcriptions report is charged once, by
// tokens where they are priced, by seconds otherwise.
func TestVoiceIsChargedByOneMeasure(t *testing.T) {
	row := func(m billing.Meter, pico, least int64) billing.Row {
		return billing.Row{Provider: "p", Model: "m", Meter: m, RatePico: pico, MinUnits: least, Source: "test", SourceDate: "2026-11-22"}
	}
	var tokens speech.Usage
	tokens.Tokens = model.Inclusive{Input: 110, InputAudio: 100, Output: 50}.Split()
	tokens.AudioIn, tokens.Source = 9_500, model.UsageProvider
	seconds := speech.Usage{AudioIn: 3_200, AudioInSource: model.UsageProvider, Source: model.UsageProvider}
	perSecond, byToken := row(billing.AudioSecondIn, 100_000_000, 0), []billing.Row{row(billing.InputText, 2_500_000, 0), row(billing.InputAudio, 6_000_000, 0), row(billing.OutputText, 10_000_000, 0)}
	for _, c := range []struct {
		name string
		rows []billing.Row
		u    speech.Usage
		want billing.Micro
	}{
		{"tokens, priced by tokens", byToken, tokens, 25 + 600 + 500},
		{"tokens, priced by both", append([]billing.Row{perSecond}, byToken...), tokens, 25 + 600 + 500},
		{"tokens, priced by seconds", []billing.Row{perSecond}, tokens, 950},
		{"seconds, priced by both", append([]billing.Row{perSecond}, byToken...), seconds, 320},
		{"at least ten seconds", []billing.Row{row(billing.AudioSecondIn, 100_000_000, 10)}, seconds, 1000},
	} {
		b, err := billing.NewBook("v", time.Time{}, c.rows)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := billing.Cost(b, "p", "m", heard(c.u, 1)); err != nil || got != c.want {
			t.Errorf("%s: %d %v, want %d", c.name, got, err, c.want)
		}
	}
}

// TestExpectedIsWhatTheRequestHolds: the prices a request needs follow from it
// alone.
func TestExpectedIsWhatTheRequestHolds(t *testing.T) {
	part := func(kind model.PartKind, ttl string) model.Part {
		p := model.Part{Kind: kind, CacheTTL: ttl}
		if kind != model.PartText {
			p.Media = &model.Media{Base64: "QUJD"}
		} else {
			p.Text = "hi"
		}
		return p
	}
	ask := func(parts ...model.Part) *model.Request {
		return &model.Request{Messages: []model.Message{{Role: model.RoleUser, Parts: parts}}}
	}
	result := model.Part{Kind: model.PartToolResult, Result: &model.ToolResult{Parts: []model.Part{part(model.PartImage, "")}}}
	tools := ask(part(model.PartText, ""))
	tools.Tools = []model.Tool{{Name: "t", CacheTTL: "1h"}}
	for name, c := range map[string]struct {
		r    *model.Request
		want content
	}{
		"text":                {ask(part(model.PartText, "")), content{}},
		"two pictures":        {ask(part(model.PartImage, ""), part(model.PartImage, "")), content{images: 2, imageTokens: 2 * tokensPerMedia}},
		"a result's":          {ask(result), content{images: 1, imageTokens: tokensPerMedia}},
		"audio":               {ask(part(model.PartAudio, "")), content{audioTokens: tokensPerMedia}},
		"a cache":             {ask(part(model.PartText, "5m")), content{cacheWrite: true}},
		"a cache for an hour": {ask(part(model.PartText, "1h")), content{cacheWrite: true, cacheWrite1h: true}},
		"tools for an hour":   {tools, content{cacheWrite: true, cacheWrite1h: true}},
	} {
		if got := kinds(c.r); got != c.want {
			t.Errorf("%s: %+v", name, got)
		}
		e := expected(c.r)
		if e.Images != c.want.images || (e.InputAudioTokens > 0) != (c.want.audioTokens > 0) || e.CacheWrite1h != c.want.cacheWrite1h || e.InputTokens < e.InputAudioTokens+e.InputImageTokens {
			t.Errorf("%s: %+v", name, e)
		}
	}
}
