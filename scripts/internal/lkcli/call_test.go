package lkcli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// TestRequests: what a call sends.
func TestRequests(t *testing.T) {
	secretFile := write(t, "secret", vendorSecret+"\n")
	rows := write(t, "rows.json", `[{"provider":"p","rate_pico":12345678901234567}]`)
	book := write(t, "book.json", `{"rows":[],"activate":false}`)
	for _, c := range []struct {
		name  string
		stdin string
		args  []string
		want  string
	}{
		{"own organisation", "", []string{"org", "get"}, "GET /api/orgs/acme"},
		{"flag between the words", "", []string{"--json", "org", "--org=o2", "get"}, "GET /api/orgs/o2"},
		{"named organisation", "", []string{"org", "get", "o3"}, "GET /api/orgs/o3"},
		{"idempotent org", "", []string{"org", "create", "--name", "A", "--tier", "pro", "--idempotency-key", "x1"},
			`POST /api/orgs {"name":"A","tier":"pro"} idempotency=x1`},
		{"patch", "", []string{"org", "update", "--name", "", "--status", "active"}, `PATCH /api/orgs/acme {"name":"","status":"active"}`},
		{"probe", "", []string{"connection", "test", "c1", "--probe", "test_text", "--model", "m"},
			`POST /api/orgs/acme/connections/c1/test {"model":"m","probe":"test_text"}`},
		{"rotation with overlap", vendorSecret, []string{"connection", "rotate", "c1", "--api-key", "-", "--overlap-seconds", "0"},
			`POST /api/orgs/acme/connections/c1/rotate {"api_key":"` + vendorSecret + `","overlap_seconds":0}`},
		{"rollback", "", []string{"connection", "rollback", "c1"}, `POST /api/orgs/acme/connections/c1/rotate/rollback`},
		{"flags after arguments", "", []string{"key", "revoke", "k9", "--org", "o2"}, "DELETE /api/orgs/o2/keys/k9"},
		{"alias", "", []string{"key", "delete", "k9"}, "DELETE /api/orgs/acme/keys/k9"},
		{"words", "", []string{"key", "create", "--name=n", "--scopes", "invoke, audio", "--scopes", "read"},
			`POST /api/orgs/acme/keys {"name":"n","scopes":["invoke","audio","read"]}`},
		{"secret from standard input", vendorSecret + "\r\n", []string{"connection", "create", "--provider", "p", "--api-key", "-", "--enabled=false", "--models", ""},
			`POST /api/orgs/acme/connections {"api_key":"` + vendorSecret + `","enabled":false,"models":[],"provider":"p"}`},
		{"secret from a file", "", []string{"connection", "rotate", "c1", "--api-key", "@" + secretFile},
			`POST /api/orgs/acme/connections/c1/rotate {"api_key":"` + vendorSecret + `"}`},
		{"no body", "", []string{"connection", "revoke", "c1"}, "POST /api/orgs/acme/connections/c1/revoke"},
		{"install", vendorSecret, []string{"install", "create", "--provider", "slack", "--config", "a=1", "--config", "b=x=y", "--config", "a=2", "--config", "a=3", "--secret", "s=-",
			"--secret", "t=@" + secretFile}, `POST /api/orgs/acme/installs {"config":{"a":["1","2","3"],"b":"x=y"},"provider":"slack","secrets":{"s":"` + vendorSecret + `","t":"` + vendorSecret + `"}}`},
		{"rotate-finish", "", []string{"install", "rotate-finish", "i1", "--name", "s"}, `POST /api/orgs/acme/installs/i1/rotate/finish {"name":"s"}`},
		{"deliveries", "", []string{"install", "deliveries", "i1", "--limit", "3"}, "GET /api/orgs/acme/deliveries?install=i1&limit=3"},
		{"selector", "", []string{"binding", "create", "--install-id", "i", "--agent-id", "a", "--channel", "C1", "--mention"},
			`POST /api/orgs/acme/bindings {"agent_id":"a","install_id":"i","selector":{"channel":"C1","mention":true}}`},
		{"selector by name", "", []string{"binding", "create", "--install-id", "i", "--agent-id", "a", "--named", "sales"},
			`POST /api/orgs/acme/bindings {"agent_id":"a","install_id":"i","selector":{"mention":"sales"}}`},
		{"default binding", "", []string{"binding", "create", "--install-id", "i", "--agent-id", "a"}, `POST /api/orgs/acme/bindings {"agent_id":"a","install_id":"i"}`},
		{"document and JSON", "say <hi> & bye", []string{"agent", "create", "--name", "A", "--instructions", "-", "--personas", `[{"id":"p","name":"P"}]`},
			`POST /api/orgs/acme/agents {"instructions":"say <hi> & bye","name":"A","personas":[{"id":"p","name":"P"}]}`},
		{"credits", "", []string{"grant", "create", "--org", "o", "--kind", "daily", "--amount", "2.5cr", "--idempotency-key", "k", "--expires-at", "2027-01-01T00:00:00Z"},
			`POST /api/orgs/o/grants {"amount":2500000,"expires_at":"2027-01-01T00:00:00Z","idempotency_key":"k","kind":"daily"}`},
		{"negative amount", "", []string{"grant", "adjust", "--org", "o", "--kind", "daily", "--amount", "-7", "--idempotency-key", "k"},
			`POST /api/orgs/o/adjustments {"amount":-7,"idempotency_key":"k","kind":"daily"}`},
		{"usage", "", []string{"usage", "--from", "2026-11-01", "--group-by", "day,model"}, "GET /api/orgs/acme/usage?from=2026-11-01&group_by=day%2Cmodel&limit=200"},
		{"request", "", []string{"request", "r1"}, "GET /api/orgs/acme/requests/r1"},
		{"prices from rows", "", []string{"prices", "set", rows, "--activate"}, `POST /api/operator/prices {"activate":true,"rows":[{"provider":"p","rate_pico":12345678901234567}]}`},
		{"prices from an object", "", []string{"prices", "set", book, "--activate"}, `POST /api/operator/prices {"activate":true,"rows":[]}`},
		{"prices from standard input", `{"rows":[]}`, []string{"prices", "set", "-"}, `POST /api/operator/prices {"rows":[]}`},
		{"reconcile all", "", []string{"reconcile"}, `POST /api/operator/reconcile {}`},
		{"reconcile one", "", []string{"reconcile", "--org", "o1"}, `POST /api/operator/reconcile {"org_id":"o1"}`},
		{"reconcile deeply", "", []string{"reconcile", "--deep"}, `POST /api/operator/reconcile {"deep":true}`},
		{"poison", "", []string{"poison"}, "GET /api/operator/poison?limit=200"},
		{"poison dismiss", "", []string{"poison", "dismiss", "--id", "p_1", "--reason", "gone"}, `POST /api/operator/poison/dismiss {"id":"p_1","reason":"gone"}`},
		{"poison retry", "", []string{"poison", "retry", "--id", "p_1"}, `POST /api/operator/poison/retry {"id":"p_1"}`},
		{"unbilled", "", []string{"unbilled", "--month", "2026-10"}, "GET /api/operator/unbilled?month=2026-10"},
		{"audit", "", []string{"audit", "--limit", "1"}, "GET /api/orgs/acme/audit?limit=1"},
		{"operator's audit", "", []string{"audit", "operator", "--limit", "1"}, "GET /api/operator/audit?limit=1"},
		{"after --", "", []string{"org", "get", "--", "o4"}, "GET /api/orgs/o4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := record(t, answer{200, `{"items":[],"next_cursor":null,"ok":true}`, nil})
			got := r.call(t, c.stdin, c.args...)
			if r.last() != c.want || got.code != ExitDone {
				t.Errorf("exit %d %s\n got %s\nwant %s", got.code, got.errOut, r.last(), c.want)
			}
			if strings.Contains(got.out+got.errOut, vendorSecret) {
				t.Error("the secret was printed")
			}
			if r.keys[0] != "Bearer "+orgKey {
				t.Errorf("key %q", r.keys[0])
			}
		})
	}
}

// TestWrongCalls: exit code 2 with a hint, nothing sent, no value repeated.
func TestWrongCalls(t *testing.T) {
	for _, c := range []struct {
		name, hint string
		args       []string
	}{
		{"nothing", "say which command", nil},
		{"unknown command", "did you mean lk install?", []string{"instal", "list"}},
		{"unknown verb", "did you mean lk install list?", []string{"install", "lsit"}},
		{"verb that the API has not", "it has list, create, revoke", []string{"key", "frobnicate"}},
		{"no verb", "list|create|get|update", []string{"agent"}},
		{"unknown flag", "did you mean --provider?", []string{"connection", "create", "--provder", "x"}},
		{"flag of another command", "no flag --activate", []string{"org", "list", "--activate"}},
		{"prefix", "did you mean --idempotency-key?", []string{"grant", "create", "--idempotency", "x"}},
		{"missing value", "--provider needs a value", []string{"connection", "create", "--provider"}},
		{"missing flag", "--tier is required", []string{"org", "create", "--name", "x"}},
		{"missing argument", "ID is missing", []string{"agent", "get"}},
		{"too many", "too many arguments", []string{"agent", "get", "a", vendorSecret}},
		{"twice", "--name is given twice", []string{"org", "update", "--name", "a", "--name", "b"}},
		{"no change", "nothing to change", []string{"agent", "update", "a1"}},
		{"not an id", "ID is not an id", []string{"agent", "get", "../keys"}},
		{"not an organisation", "not the id of an organisation", []string{"org", "get", "a/b"}},
		{"two organisations", "two different organisations", []string{"org", "get", "a", "--org", "b"}},
		{"not a number", "--priority must be a whole number", []string{"connection", "update", "c", "--priority", vendorSecret}},
		{"not an amount", "--amount is micro-credits", []string{"grant", "create", "--kind", "x", "--amount", "1.5", "--idempotency-key", "k"}},
		{"not a boolean", "--enabled is true or false", []string{"connection", "update", "c", "--enabled=" + vendorSecret}},
		{"json flag with a value", "wrong form", []string{"org", "list", "--json=" + vendorSecret}},
		{"not a pair", "--config is NAME=VALUE", []string{"install", "update", "i", "--config", vendorSecret}},
		{"one secret twice", "one secret twice", []string{"install", "update", "i", "--secret", "a=1", "--secret", "a=2"}},
		{"standard input twice", "standard input can be read once", []string{"install", "update", "i", "--secret", "a=-", "--secret", "b=-"}},
		{"empty secret", "--api-key is empty", []string{"connection", "rotate", "c", "--api-key", "@" + write(t, "empty", "\n")}},
		{"not text", "--api-key is not UTF-8", []string{"connection", "rotate", "c", "--api-key", "\xff"}},
		{"same key twice", "the same key twice", []string{"agent", "update", "a", "--personas", `[{"id":1,"id":2}]`}},
		{"limit", "--limit is a whole number", []string{"org", "list", "--limit", "0"}},
		{"header", "printable ASCII", []string{"org", "create", "--name", "a", "--tier", "b", "--idempotency-key", "a\nb"}},
		{"bad key", "characters that no key has", []string{"org", "list", "--key", "lk a"}},
		{"clear text", "https", []string{"org", "list", "--url", "http://198.51.100.7"}},
		{"no URL", "must be like https://host", []string{"org", "list", "--url", "ftp://x"}},
		{"user in the URL", "without user", []string{"org", "list", "--url", "https://u:" + vendorSecret + "@x"}},
		{"help for nothing", "there is no command", []string{"help", "nothing"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := record(t)
			got := r.call(t, "s\n", c.args...)
			if got.code != ExitUsage || !strings.Contains(got.errOut, c.hint) || got.out != "" {
				t.Errorf("exit %d, stdout %q, stderr %q, want %q", got.code, got.out, got.errOut, c.hint)
			}
			if r.last() != "" {
				t.Errorf("sent %s", r.last())
			}
			if strings.Contains(got.errOut, vendorSecret) {
				t.Error("the value was repeated")
			}
		})
	}
	got := lk(t, "", nil, "org", "list", "--json")
	var e errorDocument
	if json.Unmarshal([]byte(got.out), &e) != nil || e.Error.Code != "usage" || got.code != ExitUsage {
		t.Errorf("%+v", got)
	}
}

func TestWhereAndWho(t *testing.T) {
	r := record(t, answer{200, `{"items":[],"next_cursor":null}`, nil})
	for _, c := range []struct {
		name string
		env  map[string]string
		in   string
		args []string
		code int
		want string // on stderr, or the request
	}{
		{"no URL", nil, "", []string{"org", "list"}, 2, "--url or LATCHKEY_URL"},
		{"no key", map[string]string{"LATCHKEY_URL": r.URL}, "", []string{"org", "list"}, 2, "no key: set LATCHKEY_KEY"},
		{"operator without organisation", map[string]string{"LATCHKEY_URL": r.URL, "LATCHKEY_KEY": operatorKey}, "", []string{"agent", "list"}, 2, "operator key; name the organisation with --org"},
		{"operator with organisation", map[string]string{"LATCHKEY_URL": r.URL, "LATCHKEY_KEY": operatorKey}, "", []string{"agent", "list", "--org", "o1"}, 0, "GET /api/orgs/o1/agents?limit=200"},
		{"strange key", map[string]string{"LATCHKEY_URL": r.URL, "LATCHKEY_KEY": "abc"}, "", []string{"agent", "list"}, 2, "does not look like lk_<org>_<id>_<secret>"},
		{"flags before the environment", map[string]string{"LATCHKEY_URL": "http://127.0.0.1:1", "LATCHKEY_KEY": operatorKey}, orgKey + "\n",
			[]string{"agent", "list", "--url", r.URL + "/", "--key", "-"}, 0, "GET /api/orgs/acme/agents?limit=200"},
		{"no key needed", map[string]string{"LATCHKEY_URL": r.URL}, "", []string{"health"}, 0, "GET /api/health"},
	} {
		got := lk(t, c.in, c.env, c.args...)
		where := got.errOut
		if c.code == 0 {
			where = r.last()
		}
		if got.code != c.code || !strings.Contains(where, c.want) {
			t.Errorf("%s: exit %d, %q lacks %q", c.name, got.code, where, c.want)
		}
	}
	if last := r.keys[len(r.keys)-1]; last != "" {
		t.Errorf("health sent %q", last)
	}
}

func page(cursor string, ids ...string) answer {
	var items []string
	for _, id := range ids {
		items = append(items, fmt.Sprintf(`{"id":%q,"amount":1}`, id))
	}
	return answer{200, fmt.Sprintf(`{"items":[%s],"next_cursor":%s}`, strings.Join(items, ","), cursor), nil}
}

func TestPaging(t *testing.T) {
	full := []answer{page(`"c1"`, "a", "b"), page(`"c2"`, "c"), page("null", "d")}
	for _, c := range []struct {
		name    string
		answers []answer
		args    []string
		code    int
		ids     string
		seen    string
		errOut  string
	}{
		{"all", full, nil, 0, "abcd", "?limit=200 ?cursor=c1&limit=200 ?cursor=c2&limit=200", ""},
		{"limit inside a page", full, []string{"--limit", "1"}, 0, "a", "?limit=1", ""},
		{"limit over pages", full, []string{"--limit", "3"}, 0, "abc", "?limit=3 ?cursor=c1&limit=1", ""},
		{"limit above all", full, []string{"--limit", "300"}, 0, "abcd", "?limit=200 ?cursor=c1&limit=200 ?cursor=c2&limit=200", ""},
		{"empty", []answer{page("null")}, nil, 0, "", "?limit=200", ""},
		{"endless", []answer{page(`"c1"`, "a")}, nil, 1, "", "?limit=200 ?cursor=c1&limit=200", "does not end"},
		{"no list", []answer{{200, `{"id":1}`, nil}}, nil, 1, "", "?limit=200", "did not answer with a list"},
		{"refused on the way", []answer{full[0], {429, `{"error":{"code":"rate_limited","message":"slow"}}`, nil}}, nil, 1, "", "?limit=200 ?cursor=c1&limit=200", "slow"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := record(t, c.answers...)
			got := r.call(t, "", append([]string{"entries", "--json"}, c.args...)...)
			var list struct {
				Items *[]struct{ ID string }
			}
			if err := json.Unmarshal([]byte(got.out), &list); err != nil {
				t.Fatalf("%v in %q", err, got.out)
			}
			ids := ""
			if c.code == 0 {
				for _, x := range *list.Items {
					ids += x.ID
				}
			}
			seen := strings.ReplaceAll(strings.Join(r.seen, " "), "GET /api/orgs/acme/entries", "")
			if got.code != c.code || ids != c.ids || seen != c.seen || !strings.Contains(got.errOut, c.errOut) {
				t.Errorf("exit %d ids %s seen %s stderr %s", got.code, ids, seen, got.errOut)
			}
		})
	}
	got := record(t, full...).call(t, "", "entries", "--limit", "1")
	contains(t, "stderr", got.errOut, "there are more")
}

func TestFailures(t *testing.T) {
	refusedBody := `{"error":{"message":"there is no such\u001b[31m agent","type":"not_found_error","code":"not_found","param":"agent_id","request_id":"req-1","retryable":false}}`
	for _, c := range []struct {
		name   string
		answer answer
		method string
		code   string
		want   []string
	}{
		{"refused", answer{404, refusedBody, nil}, "get", "not_found",
			[]string{`there is no such\x1b[31m agent`, "not_found", "field agent_id", "status 404", "request req-1"}},
		{"bad key", answer{401, `{"error":{"message":"no valid API key","code":"gateway_auth","request_id":"","param":null}}`, nil}, "get", "gateway_auth",
			[]string{"no valid API key", "request req-9"}},
		{"try later", answer{503, `{"error":{"message":"busy","code":"unavailable","retry_after":7,"request_id":"r"}}`, nil}, "get", "unavailable", []string{"try again in 7 s"}},
		{"page of something else", answer{502, "<html>" + vendorSecret + "</html>", nil}, "get", "bad_answer", []string{"answered 502 without the API's error"}},
		{"page instead of JSON", answer{200, "<html>", nil}, "get", "bad_answer", []string{"did not answer with JSON"}},
		{"cut", answer{200, `{"id":`, map[string]string{"Content-Length": "99"}}, "get", "unreachable", []string{"cut short"}},
		{"cut change", answer{200, `{"id":`, map[string]string{"Content-Length": "99"}}, "revoke", "unreachable", []string{"may or may not have been made"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := record(t, c.answer)
			got := r.call(t, "", "connection", c.method, "a1", "--json")
			var e errorDocument
			if err := json.Unmarshal([]byte(got.out), &e); err != nil || e.Error == nil || e.Error.Code != c.code {
				t.Errorf("stdout %q", got.out)
			}
			contains(t, "stderr", got.errOut, c.want...)
			if got.code != ExitRefused || strings.Contains(got.errOut+got.out, vendorSecret) || strings.ContainsRune(got.errOut, 0x1b) {
				t.Errorf("%+v", got)
			}
			if human := r.call(t, "", "connection", c.method, "a1"); human.out != "" || human.code != ExitRefused {
				t.Errorf("%+v", human)
			}
		})
	}
	// The API's own document is passed on whole.
	got := record(t, answer{404, refusedBody, nil}).call(t, "", "agent", "get", "a1", "--json")
	if strings.TrimSpace(got.out) != refusedBody {
		t.Errorf("%s", got.out)
	}
	got = lk(t, "", map[string]string{"LATCHKEY_URL": "http://127.0.0.1:1", "LATCHKEY_KEY": orgKey}, "agent", "list")
	if got.code != ExitRefused || !strings.Contains(got.errOut, "cannot reach http://127.0.0.1:1") {
		t.Errorf("%+v", got)
	}
}

// TestRedirectsKeepTheKey: another address never gets the key, nor the body.
func TestRedirectsKeepTheKey(t *testing.T) {
	other := record(t)
	for _, status := range []int{301, 307, 308} {
		r := record(t, answer{status, "", map[string]string{"Location": other.URL + "/api/orgs"}})
		got := r.call(t, vendorSecret, "connection", "rotate", "c1", "--api-key", "-")
		if got.code != ExitRefused || !strings.Contains(got.errOut, "redirects to another address") || other.last() != "" {
			t.Errorf("%d: %+v, other saw %q", status, got, other.last())
		}
	}
}

func TestReconcileMismatchFails(t *testing.T) {
	body := `{"ok":false,"checked":2,"mismatches":[{"org_id":"o","what":"held","want":1000000,"got":2}]}`
	r := record(t, answer{200, body, nil})
	got := r.call(t, "", "reconcile", "--json")
	if got.code != ExitRefused || strings.TrimSpace(got.out) != body || !strings.Contains(got.errOut, "not_balanced") {
		t.Errorf("%+v", got)
	}
	got = r.call(t, "", "reconcile")
	contains(t, "stdout", got.out, "1cr", "0.000002cr", "held")
}

func TestProbeResults(t *testing.T) {
	for _, c := range []struct {
		status, reason string
		code           int
		says           string
	}{
		{"ok", "", ExitDone, "answered as it should"},
		{"failed", "provider_key_invalid", ExitRefused, "does not serve this key (provider_key_invalid)"},
		{"unknown", "provider_overloaded", ExitDone, "nothing that says whether the key is good"},
	} {
		body := `{"status":"` + c.status + `","reason":"` + c.reason + `","probe":"test_auth","http_status":200,"checked_at":"2026-11-21T12:00:00Z","latency_ms":41}`
		r := record(t, answer{200, body, nil})
		got := r.call(t, "", "connection", "test", "c1", "--probe", "test_auth")
		if got.code != c.code {
			t.Errorf("%s: exit %d", c.status, got.code)
		}
		contains(t, c.status+" stdout", got.out, "status", c.status, "latency_ms", "41", "test_auth")
		contains(t, c.status+" stderr", got.errOut, c.says)
		if got = r.call(t, "", "connection", "test", "c1", "--probe", "test_auth", "--json"); got.code != c.code || strings.TrimSpace(got.out) != body {
			t.Errorf("%s as JSON: %+v", c.status, got)
		}
	}
}

func TestLargeAnswerIsRefused(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		chunk := []byte(strings.Repeat(" ", 1<<20))
		for range maxAnswer>>20 + 1 {
			_, _ = w.Write(chunk)
		}
	}))
	defer s.Close()
	got := lk(t, "", map[string]string{"LATCHKEY_URL": s.URL}, "health")
	if got.code != ExitRefused || !strings.Contains(got.errOut, "too large") {
		t.Errorf("%+v", got)
	}
}

func TestHelp(t *testing.T) {
	all := lk(t, "", nil, "help")
	for _, c := range commands() {
		contains(t, "help", all.out, c.name)
	}
	contains(t, "help", all.out, "shell's history", "LATCHKEY_KEY", "Exit codes: 0 done, 1 refused or failed, 2 wrong call")
	for _, args := range [][]string{{"--help"}, {"help", "org"}, {"org", "--help"}, {"org", "create", "-h"}, {"help", "org", "create"}, {"org", "create", "--name", "x", "--help"}, {"usage", "--help"}} {
		got := lk(t, "", nil, args...)
		if got.code != ExitDone || got.errOut != "" || !strings.Contains(got.out, "Usage:") {
			t.Errorf("%v: %+v", args, got)
		}
	}
	contains(t, "help", lk(t, "", nil, "org", "create", "--help").out, "lk org create --name 'Acme Inc'", "--tier TEXT", "required", "POST /api/orgs")
	for _, c := range commands() {
		for _, o := range c.flags {
			contains(t, c.name, lk(t, "", nil, append(strings.Fields(c.name), "--help")...).out, "--"+o.name)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"install", "binding", "usage", "key"}
	for word, want := range map[string]string{"instal": "install", "isntall": "install", "usgae": "usage", "bind": "binding", "kye": "key", "zzzzz": "", "": "",
		strings.Repeat("x", 5000): ""} {
		if got := nearest(word, known); got != want {
			t.Errorf("%.20s: %q, want %q", word, got, want)
		}
	}
	if !slices.Contains(nouns(), "usage") {
		t.Error("nouns")
	}
}
