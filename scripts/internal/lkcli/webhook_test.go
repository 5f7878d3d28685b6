package lkcli

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	vendorsdk "github.com/slack-go/slack"

	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/ingest"
)

const signedBody = `{"type":"event_callback","text":"größer <b> & 😀"}`

// sign makes a line for verify.
func sign(t *testing.T, body string, now int64) map[string]any {
	t.Helper()
	got := lk(t, vendorSecret, nil, "webhook", "sign", "--provider", string(taxonomy.Slack), "--secret", "-", "--body", write(t, "b", body),
		"--now", strconv.FormatInt(now, 10), "--json")
	var line map[string]any
	if err := json.Unmarshal([]byte(got.out), &line); err != nil || got.code != ExitDone {
		t.Fatalf("%+v", got)
	}
	line["secrets"] = []string{vendorSecret}
	return line
}

func lines(t *testing.T, all ...any) string {
	t.Helper()
	var b strings.Builder
	for _, x := range all {
		if s, ok := x.(string); ok {
			b.WriteString(s + "\n")
			continue
		}
		b.Write(encode(x))
	}
	return b.String()
}

func lineOf(line map[string]any) string { return strings.TrimSpace(string(encode(line))) }

func edited(line map[string]any, edit func(map[string]any)) map[string]any {
	var out map[string]any
	_ = json.Unmarshal(encode(line), &out)
	edit(out)
	return out
}

// TestVerdicts: sign and verify agree, and every refusal has its reason.
func TestVerdicts(t *testing.T) {
	const now = 1700000000
	good := sign(t, signedBody, now)
	header := func(name, v string) func(map[string]any) {
		return func(m map[string]any) { m["headers"] = append(m["headers"].([]any), []any{name, v}) }
	}
	drop := func(name string) func(map[string]any) {
		return func(m map[string]any) {
			m["headers"] = slices.DeleteFunc(m["headers"].([]any), func(h any) bool { return strings.EqualFold(h.([]any)[0].(string), name) })
		}
	}
	set := func(k string, v any) func(map[string]any) { return func(m map[string]any) { m[k] = v } }
	event := map[string]any{"version": "2.0", "rawPath": "/webhooks", "headers": map[string]any{}, "body": base64.StdEncoding.EncodeToString([]byte(signedBody)), "isBase64Encoded": true,
		"requestContext": map[string]any{"timeEpoch": now*1000 + 10, "http": map[string]any{"method": "POST"}}}
	for _, h := range good["headers"].([]any) {
		event["headers"].(map[string]any)[strings.ToLower(h.([]any)[0].(string))] = h.([]any)[1]
	}
	for _, c := range []struct {
		name   string
		line   any
		reason webhook.Reason
	}{
		{"as signed", good, webhook.Accepted},
		{"second secret", edited(good, set("secrets", []string{"other", vendorSecret})), webhook.Accepted},
		{"binary form", edited(good, func(m map[string]any) {
			m["body_base64"] = base64.StdEncoding.EncodeToString([]byte(m["body"].(string)))
			delete(m, "body")
		}), webhook.Accepted},
		{"edge of the window", edited(good, set("now_unix", now+300)), webhook.Accepted},
		{"notes and settings", edited(good, set("config", map[string]any{"public_url": "https://x/y", "clock_skew_s": 300, "public_keys": []string{"a"}, "x": true})), webhook.Accepted},
		{"joined by the gateway", edited(good, set("event_v2", true)), webhook.Accepted},
		{"event", edited(map[string]any{"provider": "slack", "secrets": []string{vendorSecret}}, set("event_v2", event)), webhook.Accepted},
		{"tampered", edited(good, set("body", signedBody+" ")), webhook.SigMismatch},
		{"other secret", edited(good, set("secrets", []string{"other"})), webhook.SigMismatch},
		{"no secret", edited(good, set("secrets", []string{})), webhook.NoSecret},
		{"empty secret", edited(good, set("secrets", []string{vendorSecret, ""})), webhook.NoSecret},
		{"stale", edited(good, set("now_unix", now+301)), webhook.Stale},
		{"future", edited(good, set("now_unix", now-301)), webhook.Future},
		{"no signature", edited(good, drop("X-Slack-Signature")), webhook.SigMissing},
		{"no time", edited(good, drop("X-Slack-Request-Timestamp")), webhook.SigMissing},
		{"two signatures", edited(good, header("x-slack-signature", "v0=00")), webhook.HeaderDuplicate},
		{"two signatures through the gateway", edited(edited(good, header("x-slack-signature", "v0=00")), set("event_v2", true)), webhook.HeaderDuplicate},
		{"other version", edited(edited(good, drop("X-Slack-Signature")), header("X-Slack-Signature", "v1=00")), webhook.AlgRefused},
		{"other method", edited(good, set("method", "GET")), webhook.Method},
		{"too large", edited(good, set("body", strings.Repeat("a", ingest.MaxBody+1))), webhook.TooLarge},
		{"other profile", edited(good, set("provider", "gitlab")), profileNotAvail},
		{"no profile", edited(good, set("provider", "")), profileNotAvail},
		{"not JSON", "{", badInput},
		{"same key twice", `{"provider":"slack","secrets":["a"],"secrets":[]}`, badInput},
		{"not UTF-8", "{\"provider\":\"slack\",\"body\":\"\xff\"}", badInput},
		{"two bodies", edited(good, set("body_base64", "")), badInput},
		{"bad base64", edited(good, func(m map[string]any) { delete(m, "body"); m["body_base64"] = "%" }), badInput},
		{"bad URL", edited(good, set("url", "http://[::1")), badInput},
		{"bad header", edited(good, set("headers", []any{"x"})), badInput},
		{"header without value", edited(good, set("headers", []any{[]any{"x"}})), badInput},
		{"half a character", strings.Replace(lineOf(good), "größer", `\ud800`, 1), badInput},
		{"bad setting", edited(good, set("config", map[string]any{"a": map[string]any{}})), badInput},
		{"bad event", edited(good, set("event_v2", 5)), badInput},
		{"secret that is no text", edited(good, set("secrets", []any{5})), badInput},
		{"line too long", `{"x":"` + strings.Repeat("a", maxLine) + `"}`, badInput},
	} {
		got := lk(t, lines(t, c.line), nil, "webhook", "verify", "--request", "-")
		verdict, code := reject, ExitDone
		if c.reason == webhook.Accepted {
			verdict = accept
		}
		if c.reason == badInput || c.reason == profileNotAvail {
			code = ExitRefused
		}
		want := `{"verdict":"` + verdict + `","reason":"` + string(c.reason) + `"}` + "\n"
		if got.out != want || got.code != code || strings.Contains(got.errOut, vendorSecret) {
			t.Errorf("%s: exit %d %s%s, want exit %d %s", c.name, got.code, got.out, got.errOut, code, want)
		}
	}
}

// TestVerifyManyLines: one verdict a line, in order, whatever stands between.
func TestVerifyManyLines(t *testing.T) {
	good := sign(t, signedBody, 1700000000)
	bad := edited(good, func(m map[string]any) { m["body"] = "x" })
	got := lk(t, strings.TrimRight(lines(t, good, "", bad, "nonsense", good), "\n"), nil, "webhook", "verify", "--request", "-", "--json")
	want := []string{accept, reject, reject, accept}
	var verdicts []string
	for line := range strings.SplitSeq(strings.TrimSpace(got.out), "\n") {
		var v verdict
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		verdicts = append(verdicts, v.Verdict)
	}
	if !slices.Equal(verdicts, want) || got.code != ExitRefused {
		t.Errorf("%v, exit %d", verdicts, got.code)
	}
	contains(t, "stderr", got.errOut, "1 lines are not judged: 1 malformed, 0 of a profile")

	file := write(t, "r.jsonl", lines(t, good, bad))
	if got := lk(t, "", nil, "webhook", "verify", "--request", file); got.code != ExitDone {
		t.Errorf("%+v", got)
	}
	got = lk(t, "", nil, "webhook", "verify", "--request", file, "--fail-on-reject")
	if got.code != ExitRefused || !strings.Contains(got.errOut, "1 of 2 requests are rejected") {
		t.Errorf("%+v", got)
	}
	if got := lk(t, "", nil, "webhook", "verify", "--request", file+"x", "--json"); got.code != ExitRefused || !strings.Contains(got.out, `"code":"file"`) {
		t.Errorf("%+v", got)
	}
}

// TestOracle: the vendor's own Go verifier accepts what we sign. It reads the
// wall clock.
func TestOracle(t *testing.T) {
	for _, body := range []string{signedBody, "a=b&c=%20d", "", "\xff\x00"} {
		line := sign(t, body, time.Now().Unix())
		h := http.Header{}
		for _, x := range line["headers"].([]any) {
			h.Add(x.([]any)[0].(string), x.([]any)[1].(string))
		}
		v, err := vendorsdk.NewSecretsVerifier(h, vendorSecret)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = v.Write([]byte(body))
		if err := v.Ensure(); err != nil {
			t.Errorf("%q: %v", body, err)
		}
	}
}

func TestSignForPeople(t *testing.T) {
	body := write(t, "it's.json", signedBody)
	got := lk(t, vendorSecret, nil, "webhook", "sign", "--provider", "slack", "--secret", "-", "--body", body, "--now", "1700000000",
		"--url", "http://127.0.0.1:8787/", "--install", "i1")
	if got.code != ExitDone || strings.Contains(got.out+got.errOut, vendorSecret) {
		t.Fatalf("%+v", got)
	}
	contains(t, "stdout", got.out, "Content-Type: application/json\nX-Slack-Request-Timestamp: 1700000000\nX-Slack-Signature: v0=",
		"curl -i -X POST 'http://127.0.0.1:8787/webhooks/slack/i1' ")
	// A shell reads the line back as the words that were meant.
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no shell")
	}
	_, line, _ := strings.Cut(got.out, "\n\n")
	out, err := exec.CommandContext(t.Context(), sh, "-c", `curl() { for a in "$@"; do printf '%s\n' "$a"; done; }; `+line).Output()
	if err != nil || !strings.Contains(string(out), "\n--data-binary\n@"+body+"\n") {
		t.Errorf("%v %s", err, out)
	}
	form := lk(t, vendorSecret, nil, "webhook", "sign", "--provider", "slack", "--secret", "-", "--body", write(t, "form", "a=b"))
	contains(t, "stdout", form.out, "Content-Type: application/x-www-form-urlencoded\n", "https://YOUR-HOST/webhooks/slack/YOUR-INSTALL", "Timestamp: "+strconv.FormatInt(instant().Unix(), 10))
	for hint, args := range map[string][]string{
		"--provider is not a profile":     {"--provider", "gitlab", "--secret", "x", "--body", body},
		"--secret is empty":               {"--provider", "slack", "--secret", "", "--body", body},
		"--now is a time":                 {"--provider", "slack", "--secret", "x", "--body", body, "--now", "yesterday"},
		"--install is not an id":          {"--provider", "slack", "--secret", "x", "--body", body, "--install", "a/b"},
		"standard input can be read once": {"--provider", "slack", "--secret", "-", "--body", "-"},
	} {
		got := lk(t, "x", nil, append([]string{"webhook", "sign"}, args...)...)
		if got.code != ExitUsage || !strings.Contains(got.errOut, hint) {
			t.Errorf("%s: %+v", hint, got)
		}
	}
}

// FuzzJudge: every line gets a verdict, and none is accepted without the secret.
func FuzzJudge(f *testing.F) {
	f.Add([]byte(`{"provider":"slack","secrets":["s"],"headers":[["x-slack-signature","v0=00"],["x-slack-request-timestamp","1"]],"body":"","now_unix":1}`))
	f.Add([]byte(`{"provider":"slack","event_v2":{"headers":null,"isBase64Encoded":true,"body":"@"}}`))
	f.Add([]byte(`{"config":{"a":[1,null,"x"]},"provider":"slack"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		v := judge(line, instant(), nil)
		if v.Reason == "" || v.Verdict != reject && v.Verdict != accept {
			t.Fatalf("%+v", v)
		}
		if v.Verdict == accept {
			t.Fatalf("accepted %q", line)
		}
	})
}
