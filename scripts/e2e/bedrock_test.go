package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const (
	awsKeyID   = "AKIDEXAMPLEEXAMPLE12"
	awsSecret  = "CNRYb9d03a5eAWSSECRETACCESSKEY000000/001"
	awsRegion  = "eu-west-1"
	bedrockKey = "ABSKCNRYc0a7714fBEDROCKAPIKEY0000000001"
)

// bedrockCalls are the requests of the simulated runtime since the last reset, and
// why each was refused.
var bedrockCalls struct {
	mu    sync.Mutex
	paths []string
	bad   []string
}

// withBedrock is a Bedrock control plane and runtime below /bedrock that takes the
// one credential and the one API key above.
func withBedrock(mux *http.ServeMux) {
	guarded := func(h func(w http.ResponseWriter, text string)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			bad := bedrockRefusal(r, body)
			bedrockCalls.mu.Lock()
			bedrockCalls.paths = append(bedrockCalls.paths, r.RequestURI)
			if bad != "" {
				bedrockCalls.bad = append(bedrockCalls.bad, bad)
			}
			bedrockCalls.mu.Unlock()
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("X-Amzn-Requestid", "amzn-request-1")
			if bad != "" {
				w.Header().Set("X-Amzn-Errortype", "UnrecognizedClientException:http://internal.amazon.com/")
				w.WriteHeader(http.StatusForbidden)
				_, _ = io.WriteString(w, `{"message":"The security token included in the request is invalid."}`)
				return
			}
			var in struct {
				Messages []struct{ Content []struct{ Text string } }
			}
			_ = json.Unmarshal(body, &in)
			text := ""
			if n := len(in.Messages); n > 0 {
				text = in.Messages[n-1].Content[0].Text
			}
			h(w, text)
		}
	}
	const usage = `{"inputTokens":11,"outputTokens":7,"totalTokens":18,"cacheReadInputTokens":100}`
	mux.HandleFunc("GET /bedrock/foundation-models", guarded(func(w http.ResponseWriter, _ string) {
		_, _ = io.WriteString(w, `{"modelSummaries":[{"modelId":"anthropic.claude-sonnet-4-5-20250929-v1:0"}]}`)
	}))
	mux.HandleFunc("POST /bedrock/model/{model}/converse", guarded(func(w http.ResponseWriter, text string) {
		quoted, _ := json.Marshal(text)
		fmt.Fprintf(w, `{"output":{"message":{"role":"assistant","content":[{"text":%s}]}},"stopReason":"end_turn","usage":%s,"metrics":{"latencyMs":3}}`, quoted, usage)
	}))
	mux.HandleFunc("POST /bedrock/model/{model}/converse-stream", guarded(func(w http.ResponseWriter, text string) {
		w.Header().Set("Content-Type", "application/vnd.amazon.eventstream")
		send := func(name, payload string) {
			m := eventstream.Message{Payload: []byte(payload)}
			for header, value := range map[string]string{":message-type": "event", ":event-type": name, ":content-type": "application/json"} {
				m.Headers.Set(header, eventstream.StringValue(value))
			}
			_ = eventstream.NewEncoder().Encode(w, m)
			w.(http.Flusher).Flush()
		}
		send("messageStart", `{"role":"assistant"}`)
		for _, word := range strings.SplitAfter(text, " ") {
			quoted, _ := json.Marshal(word)
			send("contentBlockDelta", fmt.Sprintf(`{"contentBlockIndex":0,"delta":{"text":%s}}`, quoted))
		}
		send("contentBlockStop", `{"contentBlockIndex":0}`)
		send("messageStop", `{"stopReason":"end_turn"}`)
		send("metadata", `{"usage":`+usage+`,"metrics":{"latencyMs":3}}`)
	}))
}

// bedrockRefusal says what is wrong with a request's proof of its key, "" if
// nothing. A signature is computed again from what arrived: what was changed on the
// way makes it another.
func bedrockRefusal(r *http.Request, body []byte) string {
	auth := r.Header.Get("Authorization")
	if auth == "Bearer "+bedrockKey {
		return ""
	}
	_, list, ok := strings.Cut(auth, ", SignedHeaders=")
	if !ok {
		return "neither signed nor with the key: " + strings.SplitN(auth, " ", 2)[0]
	}
	list, _, _ = strings.Cut(list, ",")
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || time.Since(at).Abs() > 15*time.Minute {
		return "signed at " + r.Header.Get("X-Amz-Date")
	}
	again, err := http.NewRequest(r.Method, "http://"+r.Host+r.RequestURI, nil)
	if err != nil {
		return err.Error()
	}
	for _, name := range strings.Split(list, ";") {
		if name != "host" && name != "content-length" {
			again.Header.Set(name, r.Header.Get(name))
		}
	}
	again.ContentLength = r.ContentLength
	sum := sha256.Sum256(body)
	err = v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: awsKeyID, SecretAccessKey: awsSecret}, again, hex.EncodeToString(sum[:]), "bedrock", awsRegion, at)
	if err != nil || again.Header.Get("Authorization") != auth {
		return fmt.Sprintf("the signature is not that of the request (%v)", err)
	}
	return ""
}

func resetBedrock() {
	bedrockCalls.mu.Lock()
	defer bedrockCalls.mu.Unlock()
	bedrockCalls.paths, bedrockCalls.bad = nil, nil
}

// TestBedrock: an organisation's AWS credential and its Bedrock API key each serve
// calls through the whole gateway, whole and streamed, in two dialects.
func TestBedrock(t *testing.T) {
	const name = "bedrock/anthropic.claude-sonnet-4-5-20250929-v1:0"
	path := "/bedrock/model/" + url.QueryEscape(strings.TrimPrefix(name, "bedrock/"))
	for kind, key := range map[string]string{"credential": awsKeyID + ":" + awsSecret + ":" + awsRegion, "api key": bedrockKey} {
		t.Run(kind, func(t *testing.T) {
			x := newTenant(t, "enterprise", 1_000_000)
			resetBedrock()
			c := x.connect(key, map[string]any{"provider": "bedrock", "base_url": vendorURL + "/bedrock"})
			if c.BillingSource != "byok" || strings.Contains(c.Hint, "CNRY") {
				t.Errorf("%+v", c)
			}
			if h := x.probe(c.ID, "list_models"); h.Status != "ok" || h.ModelCount != 1 {
				t.Errorf("%+v", h)
			}
			whole := post(t, world.BaseURL+"/v1/chat/completions", x.Key, chatBody(name, "größer than that", false))
			var got struct {
				ID      string
				Choices []struct {
					Message struct{ Content string }
				}
				Usage struct {
					Prompt  int `json:"prompt_tokens"`
					Details struct {
						Cached int `json:"cached_tokens"`
					} `json:"prompt_tokens_details"`
				}
			}
			if err := json.Unmarshal(whole.Body, &got); err != nil || whole.Status != http.StatusOK || len(got.Choices) != 1 || got.Choices[0].Message.Content != "größer than that" ||
				got.Usage.Prompt != 111 || got.Usage.Details.Cached != 100 || got.ID == "" || whole.Header.Get("x-latchkey-billing-source") != "byok" || whole.Header.Get("x-latchkey-provider") != "bedrock" {
				t.Errorf("%d %s %v", whole.Status, whole.Body, whole.Header)
			}
			streamed := post(t, world.BaseURL+"/v1/messages", x.Key, chatBody(name, "one two three", true), "anthropic-version", "2023-06-01")
			var text strings.Builder
			for line := range strings.Lines(string(streamed.Body)) {
				var ev struct{ Delta struct{ Text string } }
				if data, ok := strings.CutPrefix(line, "data: "); ok && json.Unmarshal([]byte(data), &ev) == nil {
					text.WriteString(ev.Delta.Text)
				}
			}
			if streamed.Status != http.StatusOK || text.String() != "one two three" || !strings.Contains(string(streamed.Body), "event: message_stop") {
				t.Errorf("%d %s", streamed.Status, streamed.Body)
			}
			bedrockCalls.mu.Lock()
			defer bedrockCalls.mu.Unlock()
			all := strings.Join(bedrockCalls.paths, " ")
			if len(bedrockCalls.bad) > 0 || !strings.Contains(all, path+"/converse ") || !strings.HasSuffix(all, path+"/converse-stream") {
				t.Errorf("%q, refused %q", all, bedrockCalls.bad)
			}
		})
	}
	x := newTenant(t, "enterprise", 1_000_000)
	for _, key := range []string{awsSecret, awsKeyID + ":" + awsSecret, awsKeyID + ":" + awsSecret + ":mars-1", awsKeyID + ":" + strings.Replace(awsSecret, "001", "002", 1) + ":" + awsRegion} {
		got := post(t, world.BaseURL+"/api/orgs/"+x.ID+"/connections", x.Key, map[string]any{"provider": "bedrock", "label": "bad", "api_key": key, "base_url": vendorURL + "/bedrock"})
		if got.Status != http.StatusBadRequest || got.code() != "invalid_request" || strings.Contains(string(got.Body), "CNRY") {
			t.Errorf("%d %s", got.Status, got.Body)
		}
	}
}
