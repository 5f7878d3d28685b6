package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/scripts/internal/stack"
)

// rolledOut is a subject as the admin API and lk tell it.
type rolledOut struct {
	Subject, Stage, From string
	OrgIDs               []string `json:"org_ids"`
	Matrix               *struct {
		Green    bool
		OpenRows []int `json:"open_rows"`
	}
	Reverse []string
	Version int64
}

func stageOf(t *testing.T, subject string) rolledOut {
	t.Helper()
	var all struct{ Items []rolledOut }
	must(t, operator().Call(t.Context(), http.MethodGet, "/api/rollout?limit=200", nil, &all))
	for _, s := range all.Items {
		if s.Subject == subject {
			return s
		}
	}
	t.Fatalf("no subject %s in %+v", subject, all)
	return rolledOut{}
}

// refuses calls as the organisation and wants the status, and the words in the error.
func (x *tenant) refuses(status int, path string, words ...string) {
	x.t.Helper()
	err := x.admin.Call(x.t.Context(), http.MethodPost, "/api/orgs/"+x.ID+path, map[string]any{}, nil)
	if stack.Status(err) != status {
		x.t.Fatalf("%s: %v, want %d", path, err, status)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			x.t.Errorf("%s: %v does not say %q", path, err, w)
		}
	}
}

// TestRolloutOfAChannel takes a channel with a green column back and out again: who
// may activate at each stage, what becomes of an install that is active, and the
// commands that lead back.
func TestRolloutOfAChannel(t *testing.T) {
	const channel = "line"
	ctx := t.Context()
	restore := func() {
		for stageOf(t, channel).Stage != "on" {
			_ = operator().Call(ctx, http.MethodPost, "/api/rollout/"+channel+"/promote", map[string]any{"stage": "canary", "org_ids": []string{seeded.OrgID}}, nil)
			must(t, operator().Call(ctx, http.MethodPost, "/api/rollout/"+channel+"/promote", map[string]any{"stage": "on"}, nil))
		}
	}
	if s := stageOf(t, channel); s.Stage != "on" || s.Matrix == nil || !s.Matrix.Green {
		t.Fatalf("the column of %s is not green in this build: %+v", channel, s)
	}
	defer restore()
	early := newPhone(t, channel)
	var done rolledOut
	runLK(t, &done, "rollout", "rollback", channel, "--reason", "e2e", "--to", "off")
	if done.Stage != "off" || done.From != "on" || len(done.Reverse) != 2 || done.Reverse[1] != "lk rollout promote line --stage on" {
		t.Errorf("%+v", done)
	}
	// What was active goes on, what is not cannot become it.
	early.post(early.secret, early.text(701, "4915112345678", "", "still there"))
	eventually(t, "an install that was active answers", func() bool { return len(early.posts()) > 0 })
	late := verifyingPhone(t, channel)
	late.refuses(http.StatusConflict, "/installs/"+late.install+"/activate", "line is off", "lk rollout promote line")
	runLK(t, &done, "rollout", "promote", channel, "--stage", "canary", "--org-ids", early.ID)
	late.refuses(http.StatusConflict, "/installs/"+late.install+"/activate", "not among them")
	must(t, stack.Admit(ctx, operator(), channel, late.ID))
	late.call(http.MethodPost, "/installs/"+late.install+"/activate", map[string]any{}, nil)
	late.post(late.secret, late.text(702, "4915112345678", "", "hello"))
	eventually(t, "an install of the canary answers", func() bool { return len(late.posts()) > 0 })

	// A key of an organisation neither sees nor changes a stage.
	for path, body := range map[string]map[string]any{"/promote": {"stage": "on"}, "/rollback": {"reason": "mine"}, "/enforce": {}} {
		if err := late.admin.Call(ctx, http.MethodPost, "/api/rollout/"+channel+path, body, nil); stack.Status(err) != http.StatusForbidden {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := operator().Call(ctx, http.MethodPost, "/api/rollout/"+channel+"/promote", map[string]any{"stage": "canary", "org_ids": []string{"nobody"}}, nil); stack.Status(err) != http.StatusBadRequest {
		t.Errorf("an organisation that does not exist: %v", err)
	}

	// The canary without the first one, enforced: only that one is suspended.
	runLK(t, &done, "rollout", "promote", channel, "--stage", "canary", "--org-ids", late.ID)
	var enforced struct {
		Suspended []struct {
			OrgID     string `json:"org_id"`
			InstallID string `json:"install_id"`
		}
	}
	runLK(t, &enforced, "rollout", "enforce", channel)
	found := false
	for _, s := range enforced.Suspended {
		found = found || s.OrgID == early.ID && s.InstallID == early.install
		if s.OrgID == late.ID {
			t.Error("an install of the canary was suspended")
		}
	}
	if !found {
		t.Errorf("%+v does not name %s", enforced, early.install)
	}
	if a := early.post(early.secret, early.text(703, "4915112345678", "", "and now")); a.Status != http.StatusUnauthorized {
		t.Errorf("a suspended install: %d %s", a.Status, a.Body)
	}
	early.refuses(http.StatusConflict, "/installs/"+early.install+"/resume", "not among them")
	runLK(t, &done, "rollout", "promote", channel, "--stage", "on")
	if done.Stage != "on" || len(done.Reverse) != 1 || done.Reverse[0] != "lk rollout rollback line --reason WHY --to canary" {
		t.Errorf("%+v", done)
	}
	early.call(http.MethodPost, "/installs/"+early.install+"/resume", map[string]any{}, nil)
	early.post(early.secret, early.text(704, "4915112345678", "", "back"))
	eventually(t, "a resumed install answers", func() bool { return len(early.posts()) > 1 })
}

// TestRolloutNeedsAGreenColumn: whatever channel of this build has no green column is
// off by itself, can be tried, and cannot be on.
func TestRolloutNeedsAGreenColumn(t *testing.T) {
	var all struct{ Items []rolledOut }
	must(t, operator().Call(t.Context(), http.MethodGet, "/api/rollout?limit=200", nil, &all))
	red := 0
	for _, s := range all.Items {
		if s.Matrix == nil || s.Matrix.Green {
			continue
		}
		red++
		if s.Version == 0 && s.Stage != "off" {
			t.Errorf("%+v is on by itself", s)
		}
		must(t, stack.Admit(t.Context(), operator(), s.Subject, seeded.OrgID))
		err := operator().Call(t.Context(), http.MethodPost, "/api/rollout/"+s.Subject+"/promote", map[string]any{"stage": "on"}, nil)
		if stack.Status(err) != http.StatusConflict || !strings.Contains(err.Error(), "security matrix") {
			t.Errorf("%s: %v", s.Subject, err)
		}
	}
	t.Logf("%d of %d subjects are not green", red, len(all.Items))
}
