package lkcli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/channels/web"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
)

const widgetSecret = "canary-7f3a9c21d5-canary-7f3a9c21d5"

func secretFile(t *testing.T, text string) string {
	t.Helper()
	f := filepath.Join(t.TempDir(), "widget.txt")
	if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return "@" + f
}

func verified(token string, now time.Time) (string, *webhook.Refusal) {
	in := webhook.Input{Install: "i1", Header: webhook.Header{"authorization": {"Bearer " + token}}}
	_, refusal := webhook.Verify(web.Scheme(), in, []secret.Text{secret.FromString(widgetSecret)}, now)
	return webhook.Visitor(in.Header), refusal
}

func TestWidgetToken(t *testing.T) {
	r := lk(t, "", nil, "widget", "token", "--secret", secretFile(t, widgetSecret), "--install", "i1", "--visitor", "ada", "--minutes", "5")
	token := strings.TrimSpace(r.out)
	if who, refusal := verified(token, instant()); r.code != 0 || who != "ada" || refusal != nil {
		t.Fatalf("%+v %v", r, refusal)
	}
	if _, refusal := verified(token, instant().Add(7*time.Minute)); refusal == nil || refusal.Reason != webhook.Stale {
		t.Errorf("%v", refusal)
	}
	var got struct {
		Token     string
		ExpiresAt time.Time `json:"expires_at"`
	}
	if r = lk(t, "", nil, "widget", "token", "--json", "--secret", secretFile(t, widgetSecret), "--install", "i1", "--visitor", "ada"); json.Unmarshal([]byte(r.out), &got) != nil || !got.ExpiresAt.Equal(instant().Add(time.Hour)) {
		t.Errorf("%+v", r)
	}
	for name, c := range map[string]struct {
		code int
		args []string
	}{
		"a short secret": {1, []string{"--secret", secretFile(t, "short"), "--install", "i1", "--visitor", "ada"}},
		"no id":          {2, []string{"--secret", secretFile(t, widgetSecret), "--install", "i 1", "--visitor", "ada"}},
		"nobody":         {2, []string{"--secret", secretFile(t, widgetSecret), "--install", "i1", "--visitor", "a b"}},
		"for ever":       {2, []string{"--secret", secretFile(t, widgetSecret), "--install", "i1", "--visitor", "ada", "--minutes", "1441"}},
	} {
		if r := lk(t, "", nil, append([]string{"widget", "token"}, c.args...)...); r.code != c.code || strings.Contains(r.out+r.errOut, widgetSecret) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// told is what a running command has printed.
type told struct {
	mu sync.Mutex
	b  bytes.Buffer
	is chan struct{}
}

func (w *told) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.b.Len() == 0 && len(p) > 0 {
		defer close(w.is)
	}
	return w.b.Write(p)
}

func TestWidgetPage(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	out, ended := &told{is: make(chan struct{})}, make(chan int, 1)
	go func() {
		ended <- Run(ctx, Env{Args: []string{"widget", "page", "--secret", secretFile(t, widgetSecret), "--install", "i1", "--visitor", "ada", "--port", "0", "--url", "https://api.example"},
			Stdin: strings.NewReader(""), Stdout: out, Stderr: io.Discard, Getenv: func(string) string { return "" }, Now: instant})
	}()
	select {
	case <-out.is:
	case code := <-ended:
		t.Fatalf("exit code %d", code)
	}
	out.mu.Lock()
	port := regexp.MustCompile(`http://localhost:([0-9]+) `).FindStringSubmatch(out.b.String())
	out.mu.Unlock()
	resp, err := http.Get("http://127.0.0.1:" + port[1] + "/")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != 200 || !strings.Contains(string(b), `src="https://api.example/widget.js" data-install="i1"`) || resp.Header.Get("Content-Security-Policy") != "default-src 'none'; script-src https://api.example; connect-src 'self' https://api.example" {
		t.Errorf("%d %s", resp.StatusCode, b)
	}
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, args := range [][]string{{"--url", "ftp://x"}, {}} {
		if r := lk(t, "", nil, append([]string{"widget", "page", "--secret", secretFile(t, widgetSecret), "--install", "i1", "--visitor", "ada"}, args...)...); r.code != 2 {
			t.Errorf("%v: %+v", args, r)
		}
	}
}

// TestWidgetPageKeepsTokens: a page of another site, or a name that leads here, gets none.
func TestWidgetPageKeepsTokens(t *testing.T) {
	h := examplePage("https://api.example", "i1", func() (string, error) {
		return minted("i1", "ada", secret.FromString(widgetSecret), instant(), time.Hour)
	})
	for _, c := range []struct {
		host, site string
		status     int
	}{{"localhost:8799", "same-origin", 200}, {"localhost:8799", "", 200}, {"localhost:8799", "cross-site", 403}, {"localhost:8799", "same-site", 403}, {"evil.example:8799", "same-origin", 403}} {
		r := httptest.NewRequest(http.MethodGet, "http://"+c.host+"/chat-token", nil)
		if c.site != "" {
			r.Header.Set("Sec-Fetch-Site", c.site)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		var got struct{ Token string }
		_ = json.Unmarshal(w.Body.Bytes(), &got)
		if who, _ := verified(got.Token, instant()); w.Code != c.status || (who == "ada") != (c.status == 200) {
			t.Errorf("%+v: %d %s", c, w.Code, w.Body)
		}
	}
}
