package lkcli

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/billing"
)

const (
	onePrice = `{"version":"p000002-ab","effective_from":"2026-11-01T00:00:00Z","row_count":2,"active":true,"scheduled_for":null,"replaced_at":null}`
	bookHas  = `{"version":"p000002-ab","effective_from":"2026-11-01T00:00:00Z","active":true,"rows":[` +
		`{"provider":"openai","model":"m","meter":"input_text","rate_pico":1000000,"tier_from":0,"min_units":0,"source":"s","source_date":"2026-11-01"},` +
		`{"provider":"openai","model":"m","meter":"input_text","rate_pico":1500000,"tier_from":200001,"min_units":0,"source":"s","source_date":"2026-11-01"},` +
		`{"provider":"groq","model":"w","meter":"audio_second_in","rate_pico":30833333,"tier_from":0,"min_units":10,"source":"s","source_date":"2026-11-01"}]}`
	feed = `{"openai":{"models":{"m":{"cost":{"input":1.1,"output":2,"cached_input":1}},"dear":{"cost":{"input":3}}}},` +
		`"groq":{"models":{"new":{"cost":{"input":0.5}}}},"elsewhere":{"models":{"x":{"cost":{"input":1}}}}}`
)

func books(t *testing.T, more ...answer) *recorder {
	t.Helper()
	return record(t, append([]answer{{200, `{"items":[` + onePrice + `],"next_cursor":null}`, nil}, {200, bookHas, nil}}, more...)...)
}

func TestPricesShow(t *testing.T) {
	r := books(t)
	got := r.call(t, "", "prices", "show")
	contains(t, "show", got.out, "version p000002-ab", "1 / M", "1.5 / M", "200000", "0.1109999988 / h", "10")
	if got.code != ExitDone || r.seen[0] != "GET "+pricesPath+"?limit=200" || r.seen[1] != "GET "+pricesPath+"/p000002-ab" {
		t.Errorf("%d %v", got.code, r.seen)
	}
	got = books(t).call(t, "", "prices", "show", "--provider", "groq")
	if strings.Contains(got.out, "input_text") || !strings.Contains(got.out, "audio_second_in") {
		t.Errorf("filtered: %s", got.out)
	}
	r = record(t, answer{200, bookHas, nil})
	if got = r.call(t, "", "prices", "show", "p000002-ab", "--model", "nope", "--json"); !strings.Contains(got.out, `"rows":[]`) || r.last() != "GET "+pricesPath+"/p000002-ab" {
		t.Errorf("one version: %s %s", got.out, r.last())
	}
	if got = record(t, answer{200, `{"items":[],"next_cursor":null}`, nil}).call(t, "", "prices", "show"); !strings.Contains(got.out, "no price book is active") {
		t.Errorf("none: %s", got.out)
	}
}

// TestPricesImport: nothing is sent without --apply, the held price stays out
// until it is accepted, and what is sent are exact integers.
func TestPricesImport(t *testing.T) {
	file := write(t, "feed.json", feed)
	r := books(t)
	got := r.call(t, "", "prices", "import", file)
	contains(t, "look", got.out, "feed.json against p000002-ab: 3 new, 1 changed, 0 held, 0 the same, 1 only in the book, 1 rejected",
		"openai/m/input_text  1 / M  ->  1.1 / M", "openai/m cached_input: unknown meter", "skipped: 1 models of provider elsewhere", "nothing was changed")
	if got.code != ExitDone || len(r.seen) != 2 {
		t.Errorf("%d %s %v", got.code, got.errOut, r.seen)
	}

	dear := write(t, "dear.json", strings.Replace(feed, `"input":1.1`, `"input":2`, 1))
	r = books(t, answer{201, onePrice, nil})
	got = r.call(t, "", "prices", "import", dear, "--provider", "openai", "--model", "m", "--apply")
	contains(t, "held", got.out, "held for review", "moves by more than 20 %", "stored as p000002-ab")
	if want := `POST ` + pricesPath + ` {"activate":false,"rows":[{"provider":"openai","model":"m","meter":"output_text","rate_pico":2000000,"tier_from":0,"min_units":0,"source":"dear.json (models.dev, sha256 `; !strings.HasPrefix(r.last(), want) || strings.Contains(r.last(), "input_text") {
		t.Errorf("sent %s", r.last())
	}

	r = books(t, answer{201, strings.Replace(onePrice, `"replaced_at":null`, `"replaced_at":"2027-01-01T00:00:00Z"`, 1), nil})
	got = r.call(t, "", "prices", "import", dear, "--model", "m", "--accept", "openai/m/input_text", "--activate", "--effective-from", "2026-12-01T00:00:00Z")
	if !strings.Contains(r.last(), `"effective_from":"2026-12-01T00:00:00Z"`) || !strings.Contains(r.last(), `"rate_pico":2000000`) || !strings.Contains(got.errOut, "scheduled for 2027-01-01") {
		t.Errorf("accepted: %s %s", r.last(), got.errOut)
	}

	r = books(t)
	var answered struct {
		Held, Added []struct{ Meter, Held string }
		Rejected    []struct{ Meter string }
		Stored      any
	}
	got = r.call(t, "", "prices", "import", dear, "--json")
	if err := json.Unmarshal([]byte(got.out), &answered); err != nil || len(answered.Held) != 1 || answered.Stored != nil || len(answered.Rejected) != 1 {
		t.Errorf("JSON: %v %s", err, got.out)
	}
	// The book is as the list says: nothing is sent.
	own := write(t, "own.json", bookHas)
	if r = books(t); r.call(t, "", "prices", "import", own, "--activate").code != ExitDone || len(r.seen) != 2 {
		t.Errorf("unchanged: %v", r.seen)
	}
}

func TestPricesImportRefuses(t *testing.T) {
	file := write(t, "feed.json", feed)
	for _, c := range []struct {
		hint string
		code int
		args []string
	}{
		{"say which list", ExitUsage, []string{"prices", "import"}},
		{"not both", ExitUsage, []string{"prices", "import", file, "--curated"}},
		{"with https only", ExitUsage, []string{"prices", "import", "http://x.example/list"}},
		{"needs --apply", ExitUsage, []string{"prices", "import", file, "--effective-from", "2027-01-01T00:00:00Z"}},
		{"without a user", ExitUsage, []string{"prices", "diff", "https://a:b@x.example/list"}},
		{"does not exist", ExitRefused, []string{"prices", "import", file + "x"}},
		{"neither the api.json", ExitRefused, []string{"prices", "import", write(t, "other.json", `{"a":{"b":1}}`)}},
		{"not usable JSON", ExitRefused, []string{"prices", "import", write(t, "bad.json", `{`)}},
		{"YYYY-MM-DD", ExitRefused, []string{"prices", "import", file, "--source-date", "today"}},
		{"unknown meter", ExitRefused, []string{"prices", "import", write(t, "rows.json", `[{"provider":"p","model":"m","meter":"moon"}]`)}},
		{"names what is not held: openai/m/input_text", ExitRefused, []string{"prices", "import", file, "--accept", "openai/m/input_text"}},
	} {
		got := books(t).call(t, "", c.args...)
		if got.code != c.code || !strings.Contains(got.errOut, c.hint) {
			t.Errorf("%v: %d %s", c.args, got.code, got.errOut)
		}
	}
}

// fetch answers for one address and hands everything else on.
type fetch struct {
	body string
	seen *http.Request
}

func (f *fetch) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != "list.example" {
		return http.DefaultTransport.RoundTrip(r)
	}
	f.seen = r
	return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(f.body)), Header: http.Header{}, Request: r}, nil
}

// TestPricesDiffFromAddress: a list is fetched without the key.
func TestPricesDiffFromAddress(t *testing.T) {
	f := &fetch{body: feed}
	r := books(t)
	var out, errOut bytes.Buffer
	code := Run(t.Context(), Env{Args: []string{"prices", "diff", "https://list.example/api.json"}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errOut,
		Getenv: func(name string) string {
			return map[string]string{"LATCHKEY_URL": r.URL, "LATCHKEY_KEY": orgKey}[name]
		}, Now: instant, Transport: f})
	if code != ExitDone || f.seen == nil || f.seen.Header.Get("Authorization") != "" {
		t.Fatalf("%d %s %v", code, errOut.String(), f.seen)
	}
	contains(t, "diff", out.String(), "https://list.example/api.json against p000002-ab", "openai/m/input_text")
	f.body = strings.Repeat(" ", 17<<20)
	if code = Run(t.Context(), Env{Args: []string{"prices", "diff", "https://list.example/"}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errOut,
		Getenv: func(name string) string {
			return map[string]string{"LATCHKEY_URL": r.URL, "LATCHKEY_KEY": orgKey}[name]
		}, Now: instant, Transport: f}); code != ExitRefused || !strings.Contains(errOut.String(), "larger than 16 MiB") {
		t.Errorf("too large: %d %s", code, errOut.String())
	}
}

func TestPricesDiffCurated(t *testing.T) {
	got := books(t).call(t, "", "prices", "diff", "--provider", "openai", "--model", "whisper-1")
	contains(t, "curated", got.out, "the curated list against p000002-ab: 1 new", "openai/whisper-1/audio_second_in", "0.36 / h")
}

func TestUSD(t *testing.T) {
	for _, c := range []struct {
		m    billing.Meter
		pico int64
		want string
	}{
		{billing.InputText, 2_500_000, "2.5 / M"}, {billing.InputText, 1, "0.000001 / M"}, {billing.OutputText, 0, "0 / M"}, {billing.CharacterIn, 15_000_000, "15 / M"},
		{billing.AudioSecondIn, 100_000_000, "0.36 / h"}, {billing.AudioSecondOut, 1 << 51, "2251.799813685248 / s"},
		{billing.Request, 5_000_000_000, "0.005"}, {billing.Image, 1_000_000_000_000, "1"},
	} {
		if got := usd(c.m, c.pico); got != c.want {
			t.Errorf("%s %d: %s, want %s", c.m, c.pico, got, c.want)
		}
	}
}
