package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

func (d *demo) call(method, path string, body, out any) error {
	return d.org.Call(d.ctx, method, "/api/orgs/"+d.seeded.OrgID+path, body, out)
}

// slack sets the organisation up on its own key and its own app, and sends a
// signed message.
func (d *demo) slack() error {
	d.step("An organisation brings its own model key and its own Slack app")
	var connection struct{ ID, Hint string }
	if err := d.call(http.MethodPost, "/connections", map[string]any{"provider": "openai_compatible", "label": "own endpoint", "api_key": ownKey, "base_url": d.url + "/v1"}, &connection); err != nil {
		return err
	}
	say("connection %s, key ending in %s, sealed in the vault", connection.ID, connection.Hint)
	var agent, install struct{ ID string }
	if err := d.call(http.MethodPost, "/agents", map[string]any{"name": "Helper", "instructions": "Answer briefly.", "model": "openai_compatible/own-model"}, &agent); err != nil {
		return err
	}
	if err := d.call(http.MethodPost, "/installs", map[string]any{"provider": "slack", "mode": "byoa",
		"secrets": map[string]any{"signing_secret": signingSecret, "bot_token": botToken},
		"config":  map[string]any{"app_id": "A0DEMO", "team_id": "T0DEMO", "bot_user_id": "U0BOT"}}, &install); err != nil {
		return err
	}
	if err := d.call(http.MethodPost, "/bindings", map[string]any{"install_id": install.ID, "selector": map[string]any{}, "agent_id": agent.ID}, nil); err != nil {
		return err
	}
	if err := d.call(http.MethodPost, "/installs/"+install.ID+"/activate", map[string]any{}, nil); err != nil {
		return err
	}
	say("install %s is active and bound to agent %s", install.ID, agent.ID)

	d.step("A signed Slack message is verified, queued, answered over the own key and posted back")
	body := mockvendor.SlackCallback("EvDemo", "T0DEMO", "A0DEMO", "", time.Now(),
		map[string]any{"type": "message", "channel": "C0DEMO", "channel_type": "im", "user": "U0HUMAN", "text": "Hello, are you there?", "ts": "1760000001.000100"})
	forged, err := d.webhook(install.ID, body, "another-secret-0123456789abcdef000")
	if err != nil {
		return err
	}
	say("a forged signature is answered with %d", forged)
	if forged != http.StatusUnauthorized {
		return fmt.Errorf("a forged signature was answered with %d", forged)
	}
	status, err := d.webhook(install.ID, body, signingSecret)
	if err != nil || status != http.StatusOK {
		return fmt.Errorf("the signed message was answered with %d (%v)", status, err)
	}
	say("the signed message is acknowledged with %d", status)
	if err := d.wait("the reply", func() (bool, error) { return len(d.vendor.Posts()) > 0, nil }); err != nil {
		return err
	}
	post := d.vendor.Posts()[0]
	say("posted to %s with the install's own token: %q", post.Channel, post.Text)
	call := d.vendor.Calls()[0]
	if call.KeyHash != mockvendor.Hash(ownKey) || post.KeyHash != mockvendor.Hash(botToken) {
		return fmt.Errorf("the wrong key or token was used")
	}
	return nil
}

// webhook sends body signed with secret and returns the status.
func (d *demo) webhook(install string, body []byte, secret string) (int, error) {
	req, err := http.NewRequestWithContext(d.ctx, http.MethodPost, d.stack.BaseURL+"/webhooks/slack/"+install, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	mockvendor.SignRequest(req, "slack", mockvendor.Proof{Secret: secret, At: time.Now()}, body)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

func (d *demo) client() openai.Client {
	return openai.NewClient(option.WithBaseURL(d.stack.BaseURL+"/v1"), option.WithAPIKey(d.seeded.APIKey))
}

// chat streams over the unmodified OpenAI SDK on platform credits.
func (d *demo) chat() error {
	d.step("The OpenAI SDK streams a chat completion on platform credits")
	client := d.client()
	stream := client.Chat.Completions.NewStreaming(d.ctx, openai.ChatCompletionNewParams{Model: "openrouter/sim-chat",
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Tell me something nice")}})
	chunks, text := 0, ""
	for stream.Next() {
		if c := stream.Current().Choices; len(c) > 0 && c[0].Delta.Content != "" {
			chunks++
			text += c[0].Delta.Content
		}
	}
	if err := stream.Err(); err != nil {
		return err
	}
	say("%d chunks: %q", chunks, text)
	if chunks < 2 {
		return fmt.Errorf("the answer came in %d pieces", chunks)
	}
	return nil
}

// voice speaks a sentence and recognises it.
func (d *demo) voice() error {
	d.step("A reply is spoken, and speech is transcribed")
	client := d.client()
	resp, err := client.Audio.Speech.New(d.ctx, openai.AudioSpeechNewParams{Model: "openai_compatible/sim-voice", Voice: openai.AudioSpeechNewParamsVoiceUnion{OfString: openai.String("alloy")},
		Input: "Your order is on its way.", ResponseFormat: openai.AudioSpeechNewParamsResponseFormatWAV}, ownBilling()...)
	if err != nil {
		return err
	}
	audio, err := io.ReadAll(resp.Body)
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	say("%d bytes of %s", len(audio), resp.Header.Get("Content-Type"))
	text, err := client.Audio.Transcriptions.New(d.ctx, openai.AudioTranscriptionNewParams{Model: "openai_compatible/sim-voice",
		File: openai.File(bytes.NewReader(audio), "reply.wav", "audio/wav")}, ownBilling()...)
	if err != nil {
		return err
	}
	say("transcribed: %q", text.Text)
	return nil
}

// ownBilling asks for platform credits, although the organisation has a
// connection for the same provider.
func ownBilling() []option.RequestOption {
	return []option.RequestOption{option.WithHeader("x-latchkey-billing", "platform")}
}

// ledger waits for settlement and prints what was charged.
func (d *demo) ledger() error {
	d.step("Credits are settled from the ledger's stream")
	var c struct{ Posted, Held, Available int64 }
	var entries struct {
		Items []struct {
			Kind          string
			Amount        int64
			BillingSource string `json:"billing_source"`
			Provider      string
			Model         string
			RequestID     string `json:"request_id"`
		}
	}
	err := d.wait("settlement", func() (bool, error) {
		if err := d.call(http.MethodGet, "/credits", nil, &c); err != nil {
			return false, err
		}
		err := d.call(http.MethodGet, "/entries?limit=100", nil, &entries)
		return c.Held == 0 && len(entries.Items) >= 5, err
	})
	if err != nil {
		return err
	}
	var sum int64
	for _, e := range entries.Items {
		sum += e.Amount
		say("%-8s %12s credits  %-9s %s", e.Kind, decimal(e.Amount), e.BillingSource, e.RequestID)
	}
	say("%-8s %12s credits, held %s, available %s", "balance", decimal(c.Posted), decimal(c.Held), decimal(c.Available))
	if sum != c.Posted {
		return fmt.Errorf("the entries sum to %d, the balance is %d", sum, c.Posted)
	}
	return nil
}

// decimal renders micro-credits as credits.
func decimal(micro int64) string {
	sign := ""
	if micro < 0 {
		sign, micro = "-", -micro
	}
	return fmt.Sprintf("%s%d.%06d", sign, micro/1_000_000, micro%1_000_000)
}
