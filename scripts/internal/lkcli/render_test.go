package lkcli

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"
)

func TestTableForPeople(t *testing.T) {
	r := record(t, answer{200, `{"items":[
		{"id":"c1","provider":"p","label":"größer","billing_source":"byok","enabled":true,"usable":true,"health":{"status":"ok"},"hint":"sk-…1"},
		{"id":"c22","provider":"p","label":"a\u001b[2Jb\nc\u202e","billing_source":"private","enabled":false,"usable":false,"unusable_reason":"cooldown","health":{"status":"unknown"},"hint":""}
	],"next_cursor":null}`, nil})
	want := `ID   PROVIDER  LABEL                BILLING_SOURCE  ENABLED  USABLE  UNUSABLE_REASON  STATUS   HINT
c1   p         größer               byok            true     true    -                ok       sk-…1
c22  p         a\x1b[2Jb\nc\u202e  private         false    false   cooldown         unknown  -
`
	got := r.call(t, "", "connection", "list")
	// The width of the escaped label decides the column.
	if strings.Join(strings.Fields(got.out), " ") != strings.Join(strings.Fields(want), " ") || got.code != 0 {
		t.Errorf("got\n%swant\n%s", got.out, want)
	}
	lines := strings.Split(strings.TrimRight(got.out, "\n"), "\n")
	if at := strings.Index(lines[0], "BILLING"); len([]rune(lines[1])) < at || !strings.HasPrefix(string([]rune(lines[1])[at:]), "byok") ||
		!strings.HasPrefix(string([]rune(lines[2])[at:]), "private") {
		t.Errorf("not aligned:\n%s", got.out)
	}
}

func TestDetailForPeople(t *testing.T) {
	r := record(t, answer{200, `{"id":"r1","state":"SETTLED","cost":1250000,"usage":{"input_tokens":3,"audio_seconds":1.5,"source":"provider"},
		"attempts":[{"n":1,"provider":"p","cost":0,"hold":-1},{"n":2,"provider":"q","cost":1250000,"hold":2000000,"reason":"ok"}]}`, nil})
	want := `id                   r1
state                SETTLED
cost                 1.25cr
usage.input_tokens   3
usage.audio_seconds  1.5
usage.source         provider

attempts
  N  PROVIDER  COST    HOLD         REASON
  1  p         0cr     -0.000001cr  -
  2  q         1.25cr  2cr          ok
`
	if got := r.call(t, "", "request", "r1"); got.out != want {
		t.Errorf("got\n%swant\n%s", got.out, want)
	}
}

func TestSetupForPeople(t *testing.T) {
	r := record(t, answer{200, `{"manifest":{"b":1,"a":{"url":"https://x"}},"callback_urls":["https://x"],"scopes":["a:b","c"],"steps":["Do this.","Then that."],
		"checklist":[{"id":"x","title":"Stored","result":"passed"}],"identity_note":"n"}`, nil})
	got := r.call(t, "", "install", "setup", "i1")
	contains(t, "setup", got.out, "callback_urls  https://x\n", "scopes         a:b,c\n", "\nmanifest\n{\n  \"b\": 1,\n  \"a\": {\n", "\nsteps\n  1. Do this.\n  2. Then that.\n",
		"\nchecklist\n  ID  TITLE   RESULT\n  x   Stored  passed\n")
}

func TestKeyIsShownOnce(t *testing.T) {
	r := record(t, answer{201, `{"id":"k1","name":"n","limits":{},"key":"` + orgKey + `"}`, nil})
	got := r.call(t, "", "key", "create", "--name", "n", "--scopes", "read")
	if !strings.Contains(got.out, orgKey) || strings.Contains(got.errOut, orgKey) || !strings.Contains(got.errOut, "only time") {
		t.Errorf("%+v", got)
	}
}

func TestNothingToShow(t *testing.T) {
	r := record(t, answer{204, "", nil})
	if got := r.call(t, "", "agent", "delete", "a1"); got.out != "done\n" || got.code != 0 {
		t.Errorf("%+v", got)
	}
	if got := r.call(t, "", "agent", "delete", "a1", "--json"); got.out != "{}\n" || got.code != 0 {
		t.Errorf("%+v", got)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestUnwritableOutputFails(t *testing.T) {
	for _, args := range [][]string{{"help"}, {"webhook", "verify", "--request", "-"}} {
		code := Run(t.Context(), Env{Args: args, Stdin: strings.NewReader("x\n"), Stdout: broken{}, Stderr: io.Discard,
			Getenv: func(string) string { return "" }, Now: instant})
		if code != ExitRefused {
			t.Errorf("%v: exit %d", args, code)
		}
	}
}

func TestAmounts(t *testing.T) {
	for in, want := range map[string]int64{"0": 0, "5": 5, "-7": -7, "5cr": 5_000_000, "-2.5cr": -2_500_000, "0.000001cr": 1, "9223372036853.999999cr": 9223372036853_999999,
		"9223372036854775807": math.MaxInt64} {
		if got, ok := parseAmount(in); !ok || got != want {
			t.Errorf("%s: %d %v", in, got, ok)
		}
	}
	for _, in := range []string{"", "cr", "1.5", "1.cr", ".5cr", "1.0000001cr", "--1cr", "+1cr", "1e3cr", "0x1cr", "1 cr", "9223372036855cr", "99999999999999999999cr", "9223372036854775808"} {
		if got, ok := parseAmount(in); ok {
			t.Errorf("%q is read as %d", in, got)
		}
	}
	if got := showAmount(math.MinInt64); got != "-9223372036854.775808cr" {
		t.Error(got)
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(-1e18, 1e18).Draw(t, "n")
		if got, ok := parseAmount(showAmount(n)); !ok || got != n {
			t.Fatalf("%d is shown as %s and read as %d", n, showAmount(n), got)
		}
	})
}

// FuzzRender: whatever a server answers, nothing that drives a terminal comes
// out.
func FuzzRender(f *testing.F) {
	f.Add(`{"id":"a\u001b]0;x\u0007","list":[{"a\u009b":1}],"steps":["x y\r"],"n":"a\nb\u0000"}`)
	f.Add(`{"amount":99999999999999999999,"by_kind":{"gifted":1.5}}`)
	f.Add(`{"a":[{}],"b":[5,{"x":1}],"c":{"d":[{}]}}`)
	f.Add(`[[[`)
	f.Fuzz(func(t *testing.T, body string) {
		r := &run{}
		in := &invocation{run: r, cmd: &command{columns: []string{"id", "list"}, documents: []string{"doc"}}}
		_ = in.renderOne([]byte(body))
		_ = in.renderList([]json.RawMessage{json.RawMessage(body)})
		for _, c := range r.out.String() {
			if c != '\n' && !unicode.IsGraphic(c) {
				t.Fatalf("%q", r.out.String())
			}
		}
	})
}
