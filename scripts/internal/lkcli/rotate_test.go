package lkcli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
)

// rotating runs the tool; whenever it waits, the worker gets a turn.
func (d *deployment) rotating(args ...string) result {
	d.Helper()
	var out, errOut bytes.Buffer
	code := Run(d.Context(), Env{Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errOut, Now: instant, Sleep: func(time.Duration) { d.turn() },
		Getenv: func(name string) string { return map[string]string{"LATCHKEY_URL": d.url, "LATCHKEY_KEY": d.key}[name] }})
	return result{code, out.String(), errOut.String()}
}

func TestRotateAgainstTheRealRouter(t *testing.T) {
	d := deploy(t)
	acme := d.do("", "org", "create", "--name", "Acme", "--tier", "enterprise", "--idempotency-key", "a")["id"].(string)
	for i := range 3 {
		if _, err := d.v.Create(context.Background(), vault.NewCredential{
			Op:     audit.Op{Actor: "operator:t", ID: fmt.Sprint("op", i), At: instant()},
			Ref:    vault.Ref{Org: acme, ID: fmt.Sprint("c", i), Provider: "vendor", Class: taxonomy.ChannelVerify},
			Fields: map[string]secret.Text{"signing_secret": secret.FromString(vendorSecret)},
		}); err != nil {
			t.Fatal(err)
		}
	}
	keys := d.kek.Keys()
	started := d.rotating("rotate", "--all", "--to", keys[1], "--json")
	if started.code != ExitDone || !strings.Contains(started.out, `"state":"planned"`) {
		t.Fatalf("%+v", started)
	}
	// The same words follow the open job to its end.
	done := d.rotating("rotate", "--all", "--to", keys[1], "--wait", "--json")
	if done.code != ExitDone || !strings.Contains(done.out, `"state":"done"`) || !strings.Contains(done.errOut, "3 done") || !strings.Contains(done.errOut, "following it") ||
		d.count("rotate", "list") != 1 {
		t.Fatalf("%+v", done)
	}
	var job vaultJob
	if err := json.Unmarshal([]byte(done.out), &job); err != nil {
		t.Fatal(err)
	}
	// Other words are another job, which has to wait.
	other := d.rotating("rotate", "--org", acme, "--kind", "dek")
	if other.code != ExitDone {
		t.Fatalf("%+v", other)
	}
	if got := d.rotating("rotate", "--all", "--wait"); got.code != ExitRefused || !strings.Contains(got.errOut, "conflict") {
		t.Errorf("%+v", got)
	}
	d.turn()
	if got := d.run("", "rotate", "rollback", job.ID, "--json"); got.code != ExitDone || !strings.Contains(got.out, "rolling_back") {
		t.Errorf("%+v", got)
	}
	d.turn()
	if got := d.do("", "rotate", "get", job.ID); got["state"] != "done" || got["rolled_back"] != true || got["to"] != keys[0] {
		t.Errorf("%v", got)
	}

	if got := d.rotating("vault", "verify"); got.code != ExitDone || !strings.Contains(got.out, "done") {
		t.Errorf("%+v", got)
	}
	d.kek.Disable(keys[0], true)
	got := d.rotating("vault", "verify", "--org", acme, "--json")
	if got.code != ExitRefused || !strings.Contains(got.out, `"reason":"key_disabled"`) || !strings.Contains(got.out, `"failed_count":3`) || !strings.Contains(got.errOut, "rotation_failed") {
		t.Errorf("%+v", got)
	}
	if got := d.rotating("rotate", "--all", "--to", keys[1], "--wait"); got.code != ExitRefused || !strings.Contains(got.out, "key_disabled") {
		t.Errorf("a key that cannot be used: %+v", got)
	}
	for _, args := range [][]string{
		{"rotate"}, {"rotate", "--all", "--org", acme}, {"rotate", "--all", "--kind", "verify"}, {"rotate", "--all", "--rate", "0"}, {"rotate", "--all=false"},
		{"vault", "verify", "--rate", "x"}, {"rotate", "rollback"},
	} {
		if got := d.rotating(args...); got.code != ExitUsage {
			t.Errorf("lk %v: %+v", args, got)
		}
	}
	if strings.Contains(fmt.Sprint(started, done, other, got), vendorSecret) {
		t.Error("a secret is printed")
	}
}

// TestFollowing: what the server says decides, and a server that answers with
// something else is not followed for ever.
func TestFollowing(t *testing.T) {
	const open = `{"id":"j1","kind":"kek","state":"running","pass":1,"done":5}`
	for name, c := range map[string]struct {
		answers []answer
		code    int
		wants   string
	}{
		"fails":        {[]answer{{status: 201, body: open}, {status: 200, body: `{"id":"j1","state":"failed","reason":"records_failed"}`}}, ExitRefused, "records_failed"},
		"refused":      {[]answer{{status: 409, body: `{"error":{"message":"no","code":"conflict"}}`}, {status: 200, body: `{"items":[],"next_cursor":null}`}}, ExitRefused, "conflict"},
		"other words":  {[]answer{{status: 409, body: `{"error":{"message":"no","code":"conflict"}}`}, {status: 200, body: `{"items":[{"id":"j1","kind":"kek","org_id":"o","state":"running"}],"next_cursor":null}`}}, ExitRefused, "conflict"},
		"no job":       {[]answer{{status: 201, body: open}, {status: 200, body: `{}`}}, ExitRefused, "bad_answer"},
		"server stops": {[]answer{{status: 201, body: open}, {status: 500, body: `{"error":{"message":"no","code":"internal"}}`}}, ExitRefused, "internal"},
	} {
		r := record(t, c.answers...)
		var out, errOut bytes.Buffer
		code := Run(t.Context(), Env{Args: []string{"rotate", "--all", "--wait"}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errOut, Now: instant,
			Sleep: func(time.Duration) {}, Getenv: func(name string) string {
				return map[string]string{"LATCHKEY_URL": r.URL, "LATCHKEY_KEY": operatorKey}[name]
			}})
		if code != c.code || !strings.Contains(out.String()+errOut.String(), c.wants) {
			t.Errorf("%s: %d %s%s", name, code, out.String(), errOut.String())
		}
	}
}
