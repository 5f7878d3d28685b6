package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// heardBeforeTheCut is what a vendor sends of a speech before it hangs up.
const heardBeforeTheCut = "ID3-audio-that-ends-early"

// TestRawSpeechThatIsCutBreaksOff: audio has no place for an error, so a short one
// must not look like a whole one.
func TestRawSpeechThatIsCutBreaksOff(t *testing.T) {
	x := newTenant(t, "enterprise", 0)
	c := x.connect(byokKey+"CUT", map[string]any{"base_url": vendorURL + "/echo/speech-cut/v1"})
	speak := func(body map[string]any) (*http.Response, []byte, error) {
		b, err := json.Marshal(body)
		must(t, err)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, world.BaseURL+"/v1/audio/speech", bytes.NewReader(b))
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+x.Key)
		req.Header.Set("x-latchkey-connection", c.ID)
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		return resp, got, err
	}
	body := map[string]any{"model": "openai_compatible/sim-voice", "input": "hello", "voice": "alloy"}
	for range 2 { // the second one shows that the function goes on
		resp, got, err := speak(body)
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "audio/mpeg" || string(got) != heardBeforeTheCut || err != io.ErrUnexpectedEOF {
			t.Errorf("%d %s %q: %v, want an unexpected end", resp.StatusCode, resp.Header, got, err)
		}
	}
	body["stream_format"] = "sse"
	resp, got, err := speak(body)
	if resp.StatusCode != http.StatusOK || err != nil || !strings.Contains(string(got), `"code":"provider_error"`) {
		t.Errorf("%d %q %v", resp.StatusCode, got, err)
	}
}
