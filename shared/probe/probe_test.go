package probe_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/egress"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/probe"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/providers/openaicompatible"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/speech"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

const (
	key    = "sk-CNRY0123456789abcdef"
	canary = "CNRYvendorwords"
)

// vendor is a scripted server in the OpenAI dialect.
type vendor struct {
	mu     sync.Mutex
	status map[string]int // by path; 0 = 200
	body   map[string]string
	calls  []string
	asked  []map[string]any
	keys   []string
}

func (v *vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls = append(v.calls, r.Method+" "+r.URL.Path)
	v.keys = append(v.keys, r.Header.Get("Authorization"))
	raw, _ := io.ReadAll(r.Body)
	var asked map[string]any
	_ = json.Unmarshal(raw, &asked)
	v.asked = append(v.asked, asked)
	status, body := v.status[r.URL.Path], v.body[r.URL.Path]
	switch {
	case status >= 300 && status < 400:
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		return
	case status != 0:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"error":{"message":"`+canary+` `+r.Header.Get("Authorization")+`"}}`)
		return
	case body != "":
	case r.URL.Path == "/v1/models":
		body = `{"data":[{"id":"text-embedding-3"},{"id":"tts-1"},{"id":"m1"},{"id":"m2"}]}`
	case r.URL.Path == "/v1/chat/completions":
		body = `{"choices":[{"message":{"role":"assistant","content":"` + canary + `"},"finish_reason":"length"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`
	case r.URL.Path == "/v1/audio/speech":
		w.Header().Set("Content-Type", "audio/mpeg")
		_, _ = w.Write(make([]byte, 4096))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, body)
}

type bench struct {
	*testing.T
	v     *vendor
	r     *probe.Runner
	c     connection.Connection
	entry *providers.Entry
	now   time.Time
}

// open gives an endpoint that the organisation named; a change of the entry makes
// it another vendor.
func open(t *testing.T, change func(*providers.Entry)) *bench {
	t.Helper()
	v := &vendor{status: map[string]int{}, body: map[string]string{}}
	srv := httptest.NewServer(v)
	t.Cleanup(srv.Close)
	host := strings.TrimPrefix(srv.URL, "http://")
	out, err := egress.New(egress.Options{Allow: []string{host}})
	if err != nil {
		t.Fatal(err)
	}
	e := openaicompatible.Registration()
	if change != nil {
		change(&e)
	}
	b := &bench{T: t, v: v, now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC),
		c: connection.Connection{ID: "c1", Org: "o1", Provider: e.ID, BaseURL: srv.URL + "/v1", Origin: srv.URL, Status: connection.Active, Enabled: true,
			Class: taxonomy.AIKey}}
	b.r = &probe.Runner{Entries: []providers.Entry{e}, Client: func(*providers.Entry) *http.Client { return out.Tenant() }, Now: func() time.Time { return b.now }}
	b.entry = &b.r.Entries[0]
	return b
}

func (b *bench) run(p connection.Probe, name string) connection.Seen {
	b.Helper()
	seen, err := b.r.Run(b.Context(), b.c, secret.FromString(key), p, name)
	if err != nil {
		b.Fatalf("%s: %v", p, err)
	}
	return seen
}

func (b *bench) refused(p connection.Probe, name, param string) {
	b.Helper()
	_, err := b.r.Run(b.Context(), b.c, secret.FromString(key), p, name)
	if fault.CodeOf(err) != fault.InvalidRequest || fault.As(err).Param != param {
		b.Fatalf("%s %q: %v, want a refusal of %s", p, name, err, param)
	}
}

func asVendor(e *providers.Entry) { e.Hosts = []string{"vendor.example"} }

func TestWhatAnswersMean(t *testing.T) {
	const acc, ref, no, und = connection.Accepted, connection.Refused, connection.NoCheck, connection.Undecided
	for _, c := range []struct {
		status           int
		endpoint, vendor connection.Verdict
		code             fault.Code
	}{
		{0, acc, acc, ""}, {401, ref, ref, fault.ProviderKeyInvalid}, {403, ref, ref, fault.ProviderKeyInvalid},
		{402, ref, ref, fault.ProviderQuotaExhausted}, {400, no, und, fault.InvalidRequest}, {404, no, und, fault.InvalidRequest},
		{405, no, und, fault.InvalidRequest}, {422, und, und, fault.InvalidRequest}, {429, und, und, fault.ProviderRateLimited},
		{500, und, und, fault.ProviderError}, {503, und, und, fault.ProviderOverloaded}, {504, und, und, fault.ProviderTimeout},
		{302, und, und, fault.ProviderError}, {307, und, und, fault.ProviderError},
	} {
		for what, change := range map[string]func(*providers.Entry){"endpoint": nil, "vendor": asVendor} {
			want := c.endpoint
			if change != nil {
				want = c.vendor
			}
			for _, p := range []connection.Probe{connection.TestAuth, connection.ListModels} {
				b := open(t, change)
				b.v.status["/v1/models"] = c.status
				seen := b.run(p, "")
				verdict := want
				if p == connection.ListModels && verdict == acc {
					verdict = connection.Listed
				}
				status := c.status
				if status == 0 {
					status = 200
				}
				if seen.Verdict != verdict || seen.Reason != string(c.code) || seen.HTTPStatus != status || seen.Probe != p || !seen.At.Equal(b.now) {
					t.Errorf("%s %s %d: %+v, want %s %s", what, p, c.status, seen, verdict, c.code)
				}
				if strings.Contains(fmt.Sprintf("%#v", seen), canary) || strings.Contains(fmt.Sprintf("%#v", seen), key) {
					t.Errorf("%d: words of the vendor came out: %#v", c.status, seen)
				}
				if !slices.Equal(b.v.calls, []string{"GET /v1/models"}) || b.v.keys[0] != "Bearer "+key {
					t.Errorf("calls %v with %v", b.v.calls, b.v.keys)
				}
			}
		}
	}
}

func TestListsThatCannotBeRead(t *testing.T) {
	for name, body := range map[string]string{"no list": `{"models":1}x`, "a page": `<html>`} {
		b := open(t, nil)
		b.v.body["/v1/models"] = body
		if seen := b.run(connection.ListModels, ""); seen.Verdict != connection.Undecided || seen.Reason != string(fault.ProviderError) {
			t.Errorf("%s: %+v", name, seen)
		}
	}
}

func TestCounts(t *testing.T) {
	b := open(t, func(e *providers.Entry) {
		e.ListVoices = func(context.Context, model.Target) ([]speech.Voice, error) { return make([]speech.Voice, 3), nil }
	})
	if seen := b.run(connection.ListModels, ""); seen.ModelCount != 4 || seen.VoiceCount != 0 || seen.Verdict != connection.Listed {
		t.Errorf("%+v", seen)
	}
	if seen := b.run(connection.TestVoice, ""); seen.VoiceCount != 3 || seen.ModelCount != 0 || seen.Verdict != connection.Listed {
		t.Errorf("%+v", seen)
	}
}

func TestTextAsksTheSmallestCompletion(t *testing.T) {
	for name, c := range map[string]struct {
		models []string
		asked  string
		want   string
		calls  []string
	}{
		"named":            {nil, "given", "given", []string{"POST /v1/chat/completions"}},
		"named with us":    {nil, "openai_compatible/given", "given", []string{"POST /v1/chat/completions"}},
		"the connection's": {[]string{"openai_compatible/first", "second"}, "", "first", []string{"POST /v1/chat/completions"}},
		"the vendor's":     {nil, "", "m1", []string{"GET /v1/models", "POST /v1/chat/completions"}},
	} {
		b := open(t, nil)
		b.c.Models = c.models
		seen := b.run(connection.TestText, c.asked)
		body := b.v.asked[len(b.v.asked)-1]
		if seen.Verdict != connection.Accepted || seen.HTTPStatus != 200 || !slices.Equal(b.v.calls, c.calls) || body["model"] != c.want ||
			body["max_tokens"] != 20.0 || len(body["messages"].([]any)) != 1 || strings.Contains(fmt.Sprintf("%#v", seen), canary) {
			t.Errorf("%s: %+v, calls %v, body %v", name, seen, b.v.calls, body)
		}
	}
}

func TestTextFailures(t *testing.T) {
	for status, want := range map[int]connection.Verdict{401: connection.Refused, 402: connection.Refused, 404: connection.Undecided,
		400: connection.Undecided, 429: connection.Undecided, 503: connection.Undecided} {
		b := open(t, nil)
		b.v.status["/v1/chat/completions"] = status
		if seen := b.run(connection.TestText, "m"); seen.Verdict != want || seen.HTTPStatus != status || seen.Reason == "" {
			t.Errorf("%d: %+v, want %s", status, seen, want)
		}
	}
	b := open(t, nil)
	b.v.status["/v1/models"] = 401
	if seen := b.run(connection.TestText, ""); seen.Verdict != connection.Refused || len(b.v.calls) != 1 {
		t.Errorf("a refused list: %+v, calls %v", seen, b.v.calls)
	}
	b.v.status["/v1/models"] = 404
	b.refused(connection.TestText, "", "model")
	b.v.status["/v1/models"], b.v.body["/v1/models"] = 0, `{"data":[{"id":"text-embedding-3"},{"id":"whisper-1"},{"id":"x","architecture":{"output_modalities":["image"]}}]}`
	b.refused(connection.TestText, "", "model")
	b.entry.ListModels = nil
	b.refused(connection.TestText, "", "model")
}

func TestVoiceSpeaksOneWord(t *testing.T) {
	for name, c := range map[string]struct {
		models       []string
		asked, voice string
		want         string
		spoken       string
	}{
		"named":            {nil, "my-tts", "", "my-tts", "alloy"},
		"the connection's": {[]string{"chat", "own-voice"}, "", "narrator", "own-voice", "narrator"},
		"the vendor's":     {[]string{"chat"}, "", "", "tts-1", "alloy"},
	} {
		b := open(t, nil)
		b.c.Models, b.c.DefaultVoiceID = c.models, c.voice
		seen := b.run(connection.TestVoice, c.asked)
		body := b.v.asked[len(b.v.asked)-1]
		if seen.Verdict != connection.Accepted || body["model"] != c.want || body["voice"] != c.spoken || body["input"] != "OK" {
			t.Errorf("%s: %+v, body %v", name, seen, body)
		}
	}
	b := open(t, nil)
	b.v.body["/v1/models"] = `{"data":[{"id":"m1"}]}`
	b.refused(connection.TestVoice, "", "model")
	b.v.status["/v1/audio/speech"] = 401
	if seen := b.run(connection.TestVoice, "tts-1"); seen.Verdict != connection.Refused {
		t.Errorf("%+v", seen)
	}
}

func TestOnlyWhatTheVendorOffers(t *testing.T) {
	b := open(t, func(e *providers.Entry) { e.NewSynthesizer, e.CheckKey = nil, nil })
	if got := probe.Offered(b.entry); !slices.Equal(got, []connection.Probe{connection.ListModels, connection.TestText}) {
		t.Errorf("offered %v", got)
	}
	b.refused(connection.TestVoice, "", "probe")
	b.refused("everything", "", "probe")
	_, err := b.r.Run(t.Context(), b.c, secret.Text{}, connection.TestAuth, "")
	if !strings.Contains(fault.As(err).Message, "list_models, test_text") {
		t.Errorf("%v does not say what there is", err)
	}
	b.c.Provider = "gone"
	b.refused(connection.ListModels, "", "provider")
	if len(b.v.calls) != 0 {
		t.Errorf("calls %v", b.v.calls)
	}
}

func TestCheckKey(t *testing.T) {
	b := open(t, nil)
	if seen := b.r.CheckKey(t.Context(), b.c, secret.FromString(key)); seen.Verdict != connection.Accepted || seen.HTTPStatus != 200 {
		t.Errorf("%+v", seen)
	}
	b.entry.CheckKey = nil
	if seen := b.r.CheckKey(t.Context(), b.c, secret.FromString(key)); seen.Verdict != connection.NoCheck || seen.Reason != "" || seen.At != b.now {
		t.Errorf("%+v", seen)
	}
	if len(b.v.calls) != 1 {
		t.Errorf("calls %v", b.v.calls)
	}
}

// TestTimeouts reads the deadlines instead of waiting for them.
func TestTimeouts(t *testing.T) {
	var end time.Time
	note := func(ctx context.Context) error {
		end, _ = ctx.Deadline()
		return nil
	}
	b := open(t, func(e *providers.Entry) {
		e.CheckKey = func(ctx context.Context, target model.Target) error {
			if target.Now.IsZero() {
				t.Error("a request that is signed with its time has none")
			}
			return note(ctx)
		}
		e.ListModels = func(ctx context.Context, _ model.Target) ([]model.Listed, error) { return nil, note(ctx) }
		e.ListVoices = func(ctx context.Context, _ model.Target) ([]speech.Voice, error) { return nil, note(ctx) }
	})
	for p, want := range map[connection.Probe]time.Duration{connection.TestAuth: 5 * time.Second, connection.ListModels: 5 * time.Second,
		connection.TestVoice: 20 * time.Second} {
		before := time.Now()
		b.run(p, "")
		if end.Before(before.Add(want)) || end.After(time.Now().Add(want)) {
			t.Errorf("%s ends %v after its begin, want %v", p, end.Sub(before), want)
		}
	}
	slow := open(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	<-ctx.Done()
	seen, err := slow.r.Run(ctx, slow.c, secret.FromString(key), connection.TestAuth, "")
	if err != nil || seen.Verdict != connection.Undecided || seen.Reason != string(fault.ProviderTimeout) || seen.HTTPStatus != 0 {
		t.Errorf("%+v, %v", seen, err)
	}
}

// TestPrivateAddressesAreNotProbed: the guard that serves calls serves probes.
func TestPrivateAddressesAreNotProbed(t *testing.T) {
	b := open(t, nil)
	b.c.BaseURL = "https://169.254.169.254/v1"
	if seen := b.run(connection.TestAuth, ""); seen.Verdict != connection.Undecided || seen.Reason != string(fault.ProviderError) || seen.HTTPStatus != 0 {
		t.Errorf("%+v", seen)
	}
}
