package e2e

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// wanted is a <case>.want.json.
type wanted struct {
	Status        int
	Headers       map[string]string
	BodyContains  []string       `json:"body_contains"`
	Result        map[string]any // subset
	ErrorContains string         `json:"error_contains"`
}

func TestSampleEvents(t *testing.T) {
	w := newWorkspace(t)
	own := w.connect(byokKey+"SAMPLE", nil)
	files, err := filepath.Glob("../../events/*/*.want.json")
	must(t, err)
	if len(files) < 20 {
		t.Fatalf("only %d samples", len(files))
	}
	for _, file := range files {
		function, name := filepath.Base(filepath.Dir(file)), strings.TrimSuffix(filepath.Base(file), ".want.json")
		t.Run(function+"/"+name, func(t *testing.T) {
			var want wanted
			b, err := os.ReadFile(file)
			must(t, err)
			d := json.NewDecoder(bytes.NewReader(b))
			d.DisallowUnknownFields()
			must(t, d.Decode(&want))
			a := local(t, "/invoke/"+function, w.render(t, strings.TrimSuffix(file, ".want.json")+".json", own.ID))
			want.check(t, a)
		})
	}
}

// render fills a sample in. The signature comes last, over the rendered body.
func (w *workspace) render(t *testing.T, file, connection string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	must(t, err)
	now := time.Now()
	text := strings.NewReplacer(
		"${NOW_MS}", strconv.FormatInt(now.UnixMilli(), 10), "${NOW_S}", strconv.FormatInt(now.Unix(), 10),
		"${NOW_RFC3339}", now.UTC().Format(time.RFC3339), "${API_KEY}", w.Key, "${OPERATOR_KEY}", seeded.OperatorKey,
		"${INSTALL}", w.install, "${ORG}", w.ID, "${CONNECTION}", connection, "${TEAM}", w.team, "${APP}", "A"+strings.TrimPrefix(w.team, "T"),
		"${SERIAL}", strconv.FormatInt(serial.Add(1), 10), "${AUDIO_FORM}", audioForm(t),
	).Replace(string(b))
	var e struct{ Body string }
	must(t, json.Unmarshal([]byte(text), &e))
	paid := hmac.New(sha256.New, []byte(stripeSecret))
	fmt.Fprintf(paid, "%d.%s", now.Unix(), e.Body)
	text = strings.ReplaceAll(text, "${STRIPE_SIGNATURE}", fmt.Sprintf("t=%d,v1=%x", now.Unix(), paid.Sum(nil)))
	return []byte(strings.ReplaceAll(text, "${SLACK_SIGNATURE}", sign(&event{secret: w.secret, at: now, body: []byte(e.Body)})))
}

// audioForm is a transcription request with the boundary that the sample names.
func audioForm(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	must(t, m.SetBoundary("sample"))
	must(t, m.WriteField("model", "openai_compatible/sim-voice"))
	f, err := m.CreateFormFile("file", "sample.wav")
	must(t, err)
	_, err = f.Write(mockvendor.Tone(200))
	must(t, err)
	must(t, m.Close())
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

func (want wanted) check(t *testing.T, a answer) {
	t.Helper()
	if want.ErrorContains != "" {
		if a.Status != http.StatusBadGateway || !strings.Contains(string(a.Body), want.ErrorContains) {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		return
	}
	if a.Status != http.StatusOK {
		t.Fatalf("the function failed: %d %s", a.Status, a.Body)
	}
	if want.Status == 0 {
		var got map[string]any
		must(t, json.Unmarshal(a.Body, &got))
		for k, v := range want.Result {
			if fmt.Sprint(got[k]) != fmt.Sprint(v) {
				t.Errorf("%s = %v, want %v in %s", k, got[k], v, a.Body)
			}
		}
		return
	}
	status, headers, body := parseHTTP(t, a.Body)
	if status != want.Status {
		t.Errorf("status %d, want %d: %s", status, want.Status, body)
	}
	for k, v := range want.Headers {
		if headers[strings.ToLower(k)] != v {
			t.Errorf("header %s = %q, want %q", k, headers[strings.ToLower(k)], v)
		}
	}
	for _, piece := range want.BodyContains {
		if !strings.Contains(body, piece) {
			t.Errorf("the body lacks %q: %.300s", piece, body)
		}
	}
}

// parseHTTP reads a buffered answer, or a streamed one: a JSON prelude, eight
// NULs, the body.
func parseHTTP(t *testing.T, raw []byte) (status int, headers map[string]string, body string) {
	t.Helper()
	var p struct {
		StatusCode int
		Headers    map[string]string
		Body       string
	}
	prelude, rest, streamed := bytes.Cut(raw, make([]byte, 8))
	must(t, json.Unmarshal(prelude, &p))
	headers = map[string]string{}
	for k, v := range p.Headers {
		headers[strings.ToLower(k)] = v
	}
	if streamed {
		return p.StatusCode, headers, string(rest)
	}
	return p.StatusCode, headers, p.Body
}
