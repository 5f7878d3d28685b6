package lkcli

import (
	"strings"
	"testing"
)

// TestUsageRebuild: one call is one step; with --wait it goes on where the answer
// says until everything is done, and shows where it is.
func TestUsageRebuild(t *testing.T) {
	step := answer{200, `{"ok":false,"complete":false,"checked":5,"mismatches":[],"repaired":[],"next":"o1","repaired_count":2,"finished":1,"progress":{"org_id":"o2","step":"copy","month":"2026-10","checked":5}}`, nil}
	done := answer{200, `{"ok":true,"complete":true,"checked":9,"mismatches":[],"repaired":[],"next":null,"repaired_count":0,"finished":1,"progress":null}`, nil}
	wrong := answer{200, `{"ok":false,"complete":true,"checked":9,"mismatches":[{"org_id":"o2"}],"repaired":[],"next":null,"repaired_count":0,"finished":1,"progress":null}`, nil}
	for name, c := range map[string]struct {
		answers []answer
		args    []string
		code    int
		calls   []string
		shown   string
	}{
		"one step": {[]answer{step}, []string{"--org", "o2", "--cursor", "o0"}, ExitRefused,
			[]string{`POST /api/operator/rebuild-usage {"cursor":"o0","org_id":"o2"}`}, "o2: copy 2026-10, 5 entries, 2 rows repaired"},
		"to the end": {[]answer{step, step, done}, []string{"--wait"}, ExitDone, []string{`POST /api/operator/rebuild-usage {}`,
			`POST /api/operator/rebuild-usage {"cursor":"o1"}`, `POST /api/operator/rebuild-usage {"cursor":"o1"}`}, "2 organisations done"},
		"a difference": {[]answer{step, wrong}, []string{"--wait"}, ExitRefused,
			[]string{`POST /api/operator/rebuild-usage {}`, `POST /api/operator/rebuild-usage {"cursor":"o1"}`}, "do not agree"},
		"no answer of ours": {[]answer{{200, `{}`, nil}}, []string{"--wait"}, ExitRefused, []string{`POST /api/operator/rebuild-usage {}`}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := record(t, c.answers...)
			got := r.call(t, "", append([]string{"usage", "rebuild"}, c.args...)...)
			if got.code != c.code || strings.Join(r.seen, "|") != strings.Join(c.calls, "|") || !strings.Contains(got.errOut, c.shown) {
				t.Errorf("exit %d %s %s\n%s", got.code, got.out, got.errOut, strings.Join(r.seen, "\n"))
			}
		})
	}
}
