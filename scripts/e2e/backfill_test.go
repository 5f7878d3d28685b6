package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// TestOlderBindingsAreTakenOver: a binding that names only provider and channel becomes
// a draft and a binding; with the secrets and its stage the same install answers, and
// a second run changes nothing.
func TestOlderBindingsAreTakenOver(t *testing.T) {
	p := &phone{tenant: newTenant(t, "enterprise", 1_000_000), channelCase: caseOf(t, "line"), secret: "CNRYbackfillsecret000001"}
	var agent struct{ ID string }
	p.call(http.MethodPost, "/agents", map[string]any{"name": "Helper", "instructions": "Be brief.", "model": simChat}, &agent)
	file := filepath.Join(t.TempDir(), "rows.json")
	must(t, os.WriteFile(file, []byte(`[{"id":"old1","provider":"line","agentId":"`+agent.ID+`"}]`), 0o600))
	type result struct {
		OK   bool
		Rows []struct {
			Outcome   string
			InstallID string `json:"install_id"`
		}
	}
	run := func(how, want string) (install string) {
		t.Helper()
		var r result
		runLK(t, &r, "migrate", "installs", "--org", p.ID, file, how)
		if !r.OK || len(r.Rows) != 1 || r.Rows[0].Outcome != want {
			t.Fatalf("%s: %+v", how, r)
		}
		return r.Rows[0].InstallID
	}
	run("--dry-run", "made")
	p.install = run("--apply", "made")
	in := map[string]any{}
	p.fills(p, serial.Add(1), in)
	p.call(http.MethodPatch, "/installs/"+p.install, in, nil)
	run("--apply", "there")
	p.call(http.MethodPost, "/installs/"+p.install+"/activate", map[string]any{}, nil)
	p.post(p.secret, p.text(801, "4915112345678", "", "moved over"))
	eventually(t, "the install that was taken over answers", func() bool { return len(p.posts()) > 0 })
	run("--apply", "there")
}
