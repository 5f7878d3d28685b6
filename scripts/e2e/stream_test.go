package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// streamFunds are for about 3,000 tokens of output at two micro-credits: more than
// a stream holds at first, less than it may ask for.
const streamFunds = 8000

// longAnswer makes the vendor send 10,000 tokens in 400 pieces, and more slowly
// than the ledger answers.
func longAnswer(t *testing.T, pause time.Duration) {
	vendor.Script(strings.Repeat("word and word. ", 2667)[:40_000], 400, pause)
	t.Cleanup(func() { vendor.Script("", 0, 0) })
}

// lastCharge is the only usage entry of an organisation, as a positive amount.
func (x *tenant) lastCharge() entry {
	x.t.Helper()
	x.settled()
	var found []entry
	for _, e := range x.entries() {
		if e.Kind == "usage" {
			e.Amount = -e.Amount
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		x.t.Fatalf("%d usage entries", len(found))
	}
	return found[0]
}

// wantExhausted checks the money of an answer that ran out of credits.
func (x *tenant) wantExhausted(chars int) {
	x.t.Helper()
	e := x.lastCharge()
	c := x.settled()
	if !e.Estimated || e.Amount > streamFunds || e.Amount < 2*2048 || c.Available < 0 || c.Held != 0 || c.Posted != streamFunds-e.Amount {
		x.t.Errorf("charged %+v, left %+v", e, c)
	}
	// The estimate is of what was delivered: a token is four bytes.
	if out := (e.Amount - int64(chars+3)/4*2); out < 0 || out > 100 {
		x.t.Errorf("%d for %d characters", e.Amount, chars)
	}
	x.consistent()
}

// TestCreditExhausted: in every dialect a stream that the credits do not suffice
// for ends whole, with its finish, and is charged as far as it went.
func TestCreditExhausted(t *testing.T) {
	longAnswer(t, 0)
	ask := `"messages":[{"role":"user","content":"go on"}]`
	for _, c := range []struct{ name, path, body, finish string }{
		{"chat", "/v1/chat/completions", `{"model":"` + simChat + `","stream":true,"stream_options":{"include_usage":true},"max_tokens":20000,` + ask + `}`, `"finish_reason":"credit_exhausted"`},
		{"messages", "/v1/messages", `{"model":"` + simChat + `","stream":true,"max_tokens":20000,` + ask + `}`, `"stop_reason":"credit_exhausted"`},
		{"responses", "/v1/responses", `{"model":"` + simChat + `","stream":true,"store":false,"max_output_tokens":20000,"input":"go on"}`, `"incomplete_details":{"reason":"credit_exhausted"}`},
		{"gemini", "/v1beta/models/" + simChat + ":streamGenerateContent?alt=sse", `{"contents":[{"role":"user","parts":[{"text":"go on"}]}],"generationConfig":{"maxOutputTokens":20000}}`, `"finishReason":"CREDIT_EXHAUSTED"`},
	} {
		x := newTenant(t, "free", streamFunds)
		before := len(vendor.Calls())
		a := post(t, world.BaseURL+c.path, x.Key, json.RawMessage(c.body))
		if a.Status != http.StatusOK || strings.Count(string(a.Body), c.finish) != 1 || strings.Contains(string(a.Body), `"error":{`) {
			t.Errorf("%s: %d, ends in %s", c.name, a.Status, a.Body[max(0, len(a.Body)-800):])
		}
		if calls := len(vendor.Calls()) - before; calls != 1 {
			t.Errorf("%s: %d vendor calls", c.name, calls)
		}
		e := x.lastCharge()
		x.wantExhausted(int(e.Amount/2) * 4)
		// Broke means: the next one is refused before the vendor.
		again := post(t, world.BaseURL+c.path, x.Key, json.RawMessage(c.body))
		if again.Status != http.StatusPaymentRequired {
			t.Errorf("%s, again: %d", c.name, again.Status)
		}
	}
}

// TestCreditExhaustedClients: the official clients take such a stream for an answer
// that has ended, and say how.
func TestCreditExhaustedClients(t *testing.T) {
	longAnswer(t, 0)
	want := map[string]string{
		"npm openai, chat completions": "credit_exhausted", "npm openai, responses": "incomplete credit_exhausted",
		"npm @anthropic-ai/sdk": "credit_exhausted", "npm @google/genai": "CREDIT_EXHAUSTED",
		"npm ai, openai (responses)": "other", "npm ai, openai (chat)": "other", "npm ai, anthropic": "other",
		"npm ai, google": "other", "npm ai, openai-compatible": "other",
		"npm @langchain/openai": "credit_exhausted", "npm @langchain/anthropic": "credit_exhausted",
	}
	tenants, keys := map[string]*tenant{}, map[string]string{}
	for name := range want {
		tenants[name] = newTenant(t, "free", streamFunds)
		keys[name] = tenants[name].Key
	}
	apiKeys, err := json.Marshal(keys)
	must(t, err)
	cmd := exec.CommandContext(t.Context(), "node", "../testdata/sdk/exhausted.mjs")
	cmd.Env = append(cmd.Environ(), "BASE_URL="+world.BaseURL, "API_KEYS="+string(apiKeys), "CHAT_MODEL="+simChat)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	var seen map[string]struct {
		Length        int
		Finish, Error string
	}
	must(t, json.Unmarshal(lines[len(lines)-1], &seen))
	for name, finish := range want {
		if got := seen[name]; got.Error != "" || got.Finish != finish || got.Length == 0 {
			t.Errorf("%s: %+v", name, got)
			continue
		}
		tenants[name].wantExhausted(seen[name].Length)
	}

	x := newTenant(t, "free", streamFunds)
	client := openai.NewClient(option.WithBaseURL(world.BaseURL+"/v1"), option.WithAPIKey(x.Key), option.WithMaxRetries(0))
	var acc openai.ChatCompletionAccumulator
	chat := client.Chat.Completions.NewStreaming(t.Context(), openai.ChatCompletionNewParams{Model: simChat, MaxCompletionTokens: openai.Int(20000),
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("go on")}})
	for chat.Next() {
		acc.AddChunk(chat.Current())
	}
	must(t, chat.Err())
	if acc.Choices[0].FinishReason != "credit_exhausted" {
		t.Errorf("Go, chat: %s", acc.Choices[0].FinishReason)
	}
	x.wantExhausted(len(acc.Choices[0].Message.Content))

	x = newTenant(t, "free", streamFunds)
	client = openai.NewClient(option.WithBaseURL(world.BaseURL+"/v1"), option.WithAPIKey(x.Key), option.WithMaxRetries(0))
	resp := client.Responses.NewStreaming(t.Context(), responses.ResponseNewParams{Model: simChat, MaxOutputTokens: openai.Int(20000), Store: openai.Bool(false),
		Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("go on")}})
	var last responses.ResponseStreamEventUnion
	for resp.Next() {
		last = resp.Current()
	}
	must(t, resp.Err())
	if last.Type != "response.incomplete" || last.Response.IncompleteDetails.Reason != "credit_exhausted" {
		t.Errorf("Go, responses: %s %+v", last.Type, last.Response.IncompleteDetails)
	}
	x.wantExhausted(len(last.Response.OutputText()))

	x = newTenant(t, "free", streamFunds)
	messages := anthropic.NewClient(anthropicoption.WithBaseURL(world.BaseURL), anthropicoption.WithAPIKey(x.Key), anthropicoption.WithMaxRetries(0))
	stream := messages.Messages.NewStreaming(t.Context(), anthropic.MessageNewParams{Model: simChat, MaxTokens: 20000,
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("go on"))}})
	var m anthropic.Message
	for stream.Next() {
		must(t, m.Accumulate(stream.Current()))
	}
	must(t, stream.Err())
	if m.StopReason != "credit_exhausted" {
		t.Errorf("Go, messages: %s", m.StopReason)
	}
	x.wantExhausted(len(m.Content[0].Text))
}

// TestLongStreamIsChargedExactly: with credits enough the hold grows, nothing is
// cut, and the vendor's own count is charged.
func TestLongStreamIsChargedExactly(t *testing.T) {
	longAnswer(t, 0)
	x := newTenant(t, "free", 1_000_000)
	barrier := vendor.Hold(mockvendor.BeforeUsage)
	defer barrier.Release()
	done := make(chan answer, 1)
	go func() {
		a, _ := tryPost(t.Context(), world.BaseURL+"/v1/chat/completions", x.Key, json.RawMessage(`{"model":"`+simChat+`","stream":true,"max_tokens":20000,"messages":[{"role":"user","content":"go on"}]}`))
		done <- a
	}()
	<-barrier.Reached()
	eventually(t, "the hold has grown", func() bool { return x.credits().Held >= 2*10_000 })
	if held := x.credits().Held; held > 2*20_000+200 {
		t.Errorf("%d held", held)
	}
	barrier.Release()
	if a := <-done; a.Status != http.StatusOK || !strings.Contains(string(a.Body), `"finish_reason":"stop"`) {
		t.Errorf("%d, ends in %s", a.Status, a.Body[max(0, len(a.Body)-400):])
	}
	call := vendor.Calls()[len(vendor.Calls())-1]
	if e := x.lastCharge(); e.Estimated || e.Amount != int64(call.InputTokens+2*call.OutputTokens) {
		t.Errorf("charged %+v for %+v", e, call)
	}
	x.consistent()
}

// TestHangUp: a client that leaves before, at, after the first byte, in the middle
// or at the last one is charged what the vendor counted, for one call.
func TestHangUp(t *testing.T) {
	longAnswer(t, 0)
	for _, c := range []struct {
		name   string
		stream bool
		point  mockvendor.Point
		read   int
	}{
		{"before the first byte", true, mockvendor.BeforeHeaders, 0},
		{"at the first byte", true, mockvendor.AfterChunk, 1},
		{"in the middle", true, mockvendor.BeforeUsage, 20_000},
		{"whole, before it is answered", false, mockvendor.BeforeHeaders, 0},
		{"whole, while it is answered", false, mockvendor.BeforeUsage, 0},
	} {
		for _, url := range []string{world.BaseURL, world.FunctionURLs["invoke"]} {
			x := newTenant(t, "free", 1_000_000)
			before := len(vendor.Calls())
			barrier := vendor.Hold(c.point)
			r, err := http.NewRequest(http.MethodPost, url+"/v1/chat/completions",
				strings.NewReader(fmt.Sprintf(`{"model":"%s","stream":%v,"max_tokens":20000,"messages":[{"role":"user","content":"go on"}]}`, simChat, c.stream)))
			must(t, err)
			r.Header.Set("Authorization", "Bearer "+x.Key)
			gone := make(chan struct{})
			transport := &http.Transport{}
			ctx, leave := context.WithCancel(t.Context())
			go func() {
				defer close(gone)
				resp, err := transport.RoundTrip(r.WithContext(ctx))
				if err != nil {
					return
				}
				defer resp.Body.Close()
				if c.read > 0 {
					_, _ = io.CopyN(io.Discard, resp.Body, int64(c.read))
				}
				leave()
			}()
			<-barrier.Reached()
			if c.read == 0 {
				leave()
			}
			<-gone
			transport.CloseIdleConnections()
			barrier.Release()
			e := x.lastCharge()
			calls := vendor.Calls()[before:]
			if len(calls) != 1 || !calls[0].Done {
				t.Fatalf("%s: calls %+v", c.name, calls)
			}
			if e.Estimated || e.Amount != int64(calls[0].InputTokens+2*calls[0].OutputTokens) {
				t.Errorf("%s: charged %+v for %+v", c.name, e, calls[0])
			}
			x.consistent()
		}
	}
}
