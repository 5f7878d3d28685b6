package e2e

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

var update = flag.Bool("update", false, "write the matrix of clients into the README")

// matrixCells are the columns of the matrix, in order.
var matrixCells = []string{"whole", "streamed", "tools", "tools streamed", "structured", embeddingsCell}

// embeddingsCell is empty for clients that have no embeddings, or whose own
// dialect has none here.
const embeddingsCell = "embeddings"

const (
	matrixBegin = "<!-- clients: written by go test ./scripts/e2e -run TestClientMatrix -update -->\n"
	matrixEnd   = "<!-- end of clients -->"
)

// TestClientMatrix runs every official client, unchanged, through the same
// cells. The table in the README is what this test saw.
func TestClientMatrix(t *testing.T) {
	x := newTenant(t, "free", 10_000_000)
	cmd := exec.CommandContext(t.Context(), "node", "../testdata/sdk/matrix.mjs")
	cmd.Env = append(cmd.Environ(), "BASE_URL="+world.BaseURL, "API_KEY="+x.Key, "CHAT_MODEL="+simChat, "EMBED_MODEL="+simEmbed)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	// Some SDKs print warnings before the last line.
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	seen := map[string]map[string]string{}
	must(t, json.Unmarshal(lines[len(lines)-1], &seen))
	client := openai.NewClient(option.WithBaseURL(world.BaseURL+"/v1"), option.WithAPIKey(x.Key), option.WithMaxRetries(0))
	seen["Go openai-go, chat completions"] = goChat(t, client)
	seen["Go openai-go, chat completions"][embeddingsCell] = goEmbeddings(t, client)
	seen["Go openai-go, responses"] = goResponses(t, client)
	seen["Go anthropic-sdk-go"] = goMessages(t, anthropic.NewClient(anthropicoption.WithBaseURL(world.BaseURL), anthropicoption.WithAPIKey(x.Key), anthropicoption.WithMaxRetries(0)))
	for name, cells := range seen {
		for _, cell := range matrixCells {
			if cells[cell] != "ok" && (cell != embeddingsCell || cells[cell] != "") {
				t.Errorf("%s, %s: %s", name, cell, cells[cell])
			}
		}
	}
	x.consistent()
	table := matrixTable(seen)
	readme, err := os.ReadFile("../../README.md")
	must(t, err)
	head, rest, ok := strings.Cut(string(readme), matrixBegin)
	old, tail, ok2 := strings.Cut(rest, matrixEnd)
	if !ok || !ok2 {
		t.Fatal("the README has no place for the matrix of clients")
	}
	if *update && !t.Failed() {
		must(t, os.WriteFile("../../README.md", []byte(head+matrixBegin+table+matrixEnd+tail), 0o644))
		return
	}
	if old != table {
		t.Errorf("the README shows another matrix; run this test with -update\n%s", table)
	}
}

func matrixTable(seen map[string]map[string]string) string {
	var b strings.Builder
	b.WriteString("| client | " + strings.Join(matrixCells, " | ") + " |\n|---|" + strings.Repeat("---|", len(matrixCells)) + "\n")
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		b.WriteString("| " + name)
		for _, cell := range matrixCells {
			mark := "yes"
			switch seen[name][cell] {
			case "ok":
			case "":
				mark = "–"
			default:
				mark = "no"
			}
			b.WriteString(" | " + mark)
		}
		b.WriteString(" |\n")
	}
	return b.String()
}

var matrixSchema = map[string]any{"type": "object", "properties": map[string]any{"value": map[string]any{"type": "string"}},
	"required": []string{"value"}, "additionalProperties": false}

// cell is "ok" if f neither failed nor saw something else than it wanted.
func cell(t *testing.T, want string, f func() (string, error)) string {
	t.Helper()
	got, err := f()
	if err != nil {
		return err.Error()
	}
	if got != want {
		return "got " + got + ", want " + want
	}
	return "ok"
}

const (
	saidHello = "You said: hello"
	toolArgs  = `{"value":"42"}`
)

func goChat(t *testing.T, client openai.Client) map[string]string {
	params := func(text string) openai.ChatCompletionNewParams {
		return openai.ChatCompletionNewParams{Model: simChat, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(text)}}
	}
	tools := []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{Name: "lookup", Parameters: matrixSchema})}
	collect := func(p openai.ChatCompletionNewParams) (openai.ChatCompletionMessage, error) {
		s := client.Chat.Completions.NewStreaming(t.Context(), p)
		var acc openai.ChatCompletionAccumulator
		for s.Next() {
			acc.AddChunk(s.Current())
		}
		if s.Err() != nil {
			return openai.ChatCompletionMessage{}, s.Err()
		}
		return acc.Choices[0].Message, nil
	}
	whole := func(p openai.ChatCompletionNewParams) (openai.ChatCompletionMessage, error) {
		r, err := client.Chat.Completions.New(t.Context(), p)
		if err != nil {
			return openai.ChatCompletionMessage{}, err
		}
		return r.Choices[0].Message, nil
	}
	content := func(call func(openai.ChatCompletionNewParams) (openai.ChatCompletionMessage, error), p openai.ChatCompletionNewParams) func() (string, error) {
		return func() (string, error) { m, err := call(p); return m.Content, err }
	}
	calls := func(call func(openai.ChatCompletionNewParams) (openai.ChatCompletionMessage, error)) func() (string, error) {
		return func() (string, error) {
			p := params("please use tool")
			p.Tools = tools
			m, err := call(p)
			if err != nil {
				return "", err
			}
			return m.ToolCalls[0].Function.Arguments, nil
		}
	}
	structured := params("hello")
	structured.ResponseFormat = openai.ChatCompletionNewParamsResponseFormatUnion{OfJSONSchema: &openai.ResponseFormatJSONSchemaParam{
		JSONSchema: openai.ResponseFormatJSONSchemaJSONSchemaParam{Name: "answer", Schema: matrixSchema, Strict: openai.Bool(true)}}}
	return map[string]string{"whole": cell(t, saidHello, content(whole, params("hello"))), "streamed": cell(t, saidHello, content(collect, params("hello"))),
		"tools": cell(t, toolArgs, calls(whole)), "tools streamed": cell(t, toolArgs, calls(collect)), "structured": cell(t, toolArgs, content(whole, structured))}
}

func goEmbeddings(t *testing.T, client openai.Client) string {
	return cell(t, fmt.Sprint(mockvendor.Embedding("two", 4)), func() (string, error) {
		r, err := client.Embeddings.New(t.Context(), openai.EmbeddingNewParams{Model: simEmbed, Dimensions: openai.Int(4),
			Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"one", "two"}}})
		if err != nil || len(r.Data) != 2 {
			return "", err
		}
		return fmt.Sprint(r.Data[1].Embedding), nil
	})
}

func goResponses(t *testing.T, client openai.Client) map[string]string {
	params := func(text string) responses.ResponseNewParams {
		return responses.ResponseNewParams{Model: simChat, Store: openai.Bool(false), Input: responses.ResponseNewParamsInputUnion{OfString: openai.String(text)}}
	}
	whole := func(p responses.ResponseNewParams) (*responses.Response, error) {
		return client.Responses.New(t.Context(), p)
	}
	streamed := func(p responses.ResponseNewParams) (*responses.Response, error) {
		s := client.Responses.NewStreaming(t.Context(), p)
		last := &responses.Response{}
		for s.Next() {
			if ev := s.Current(); ev.Type == "response.completed" {
				last = &ev.Response
			}
		}
		return last, s.Err()
	}
	text := func(call func(responses.ResponseNewParams) (*responses.Response, error), p responses.ResponseNewParams) func() (string, error) {
		return func() (string, error) {
			r, err := call(p)
			if err != nil {
				return "", err
			}
			return r.OutputText(), nil
		}
	}
	calls := func(call func(responses.ResponseNewParams) (*responses.Response, error)) func() (string, error) {
		return func() (string, error) {
			p := params("please use tool")
			p.Tools = []responses.ToolUnionParam{responses.ToolParamOfFunction("lookup", matrixSchema, true)}
			r, err := call(p)
			if err != nil || len(r.Output) == 0 {
				return "", err
			}
			return r.Output[len(r.Output)-1].AsFunctionCall().Arguments, nil
		}
	}
	structured := params("hello")
	structured.Text = responses.ResponseTextConfigParam{Format: responses.ResponseFormatTextConfigParamOfJSONSchema("answer", matrixSchema)}
	return map[string]string{"whole": cell(t, saidHello, text(whole, params("hello"))), "streamed": cell(t, saidHello, text(streamed, params("hello"))),
		"tools": cell(t, toolArgs, calls(whole)), "tools streamed": cell(t, toolArgs, calls(streamed)), "structured": cell(t, toolArgs, text(whole, structured))}
}

func goMessages(t *testing.T, client anthropic.Client) map[string]string {
	params := func(text string) anthropic.MessageNewParams {
		return anthropic.MessageNewParams{Model: simChat, MaxTokens: 100, Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(text))}}
	}
	whole := func(p anthropic.MessageNewParams) (*anthropic.Message, error) {
		return client.Messages.New(t.Context(), p)
	}
	streamed := func(p anthropic.MessageNewParams) (*anthropic.Message, error) {
		s := client.Messages.NewStreaming(t.Context(), p)
		acc := &anthropic.Message{}
		for s.Next() {
			if err := acc.Accumulate(s.Current()); err != nil {
				return nil, err
			}
		}
		return acc, s.Err()
	}
	last := func(call func(anthropic.MessageNewParams) (*anthropic.Message, error), p anthropic.MessageNewParams) func() (string, error) {
		return func() (string, error) {
			m, err := call(p)
			if err != nil || len(m.Content) == 0 {
				return "", err
			}
			if b := m.Content[len(m.Content)-1]; b.Type == "tool_use" {
				return string(b.Input), nil
			}
			return m.Content[len(m.Content)-1].Text, nil
		}
	}
	tools := params("please use tool")
	tools.Tools = []anthropic.ToolUnionParam{{OfTool: &anthropic.ToolParam{Name: "lookup",
		InputSchema: anthropic.ToolInputSchemaParam{Properties: matrixSchema["properties"]}}}}
	structured := params("hello")
	structured.OutputConfig = anthropic.OutputConfigParam{Format: anthropic.JSONOutputFormatParam{Schema: matrixSchema}}
	return map[string]string{"whole": cell(t, saidHello, last(whole, params("hello"))), "streamed": cell(t, saidHello, last(streamed, params("hello"))),
		"tools": cell(t, toolArgs, last(whole, tools)), "tools streamed": cell(t, toolArgs, last(streamed, tools)), "structured": cell(t, toolArgs, last(whole, structured))}
}
