package e2e

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"
)

const (
	integrationSecret = "CNRYf2e91c07INTEGRATION-password\n"
	legacyCipherKey   = "CNRY1d84b3a6LEGACY-KEY-32-bytes."
)

// TestIntegrationsThroughTheConsole: the console has the permissions it needs to
// keep credentials for other things, and none to show one.
func TestIntegrationsThroughTheConsole(t *testing.T) {
	x := newTenant(t, "enterprise", 0)
	var made struct {
		ID, Mode, Shape, Fingerprint string
		Quarantine                   *struct{ Reason string }
	}
	x.call(http.MethodPost, "/integrations", map[string]any{"provider": "smtp", "label": "mail", "payload": integrationSecret}, &made)
	if made.Mode != "new_only" || made.Shape != "bv1" || made.Fingerprint == "" {
		t.Errorf("%+v", made)
	}
	must(t, operator().Call(t.Context(), http.MethodPut, "/api/operator/legacy-key",
		map[string]any{"key": base64.StdEncoding.EncodeToString([]byte(legacyCipherKey))}, nil))
	var imported struct {
		Rows []struct{ ID, Outcome, Reason string }
	}
	row := map[string]any{"id": "jd7abc", "provider": "hubspot", "fields": map[string]any{
		"accessToken":  map[string]any{"shape": "legacy_cipher_v1", "value": strings.Repeat("0a", 40)},
		"refreshToken": map[string]any{"shape": "legacy_cipher_v1", "value": "not of that shape"}}}
	x.call(http.MethodPost, "/integrations/import", map[string]any{"rows": []any{row}}, &imported)
	if len(imported.Rows) != 1 || imported.Rows[0].Outcome != "quarantined" || imported.Rows[0].Reason != "unknown_layout" {
		t.Errorf("%+v", imported)
	}
	row["fields"] = map[string]any{"accessToken": map[string]any{"shape": "legacy_cipher_v1", "value": strings.Repeat("0a", 40)}}
	x.call(http.MethodPost, "/integrations/import", map[string]any{"rows": []any{row}}, &imported)
	x.call(http.MethodPost, "/integrations/jd7abc/mode", map[string]any{"mode": "dual_write"}, &made)
	if made.ID != "jd7abc" || made.Mode != "dual_write" || made.Shape != "legacy_cipher_v1" || made.Quarantine != nil {
		t.Errorf("%+v", made)
	}
	var moved struct {
		Moves []struct{ ID, From, To, Blocked string }
	}
	x.call(http.MethodPost, "/integrations/migrate", map[string]any{"apply": true, "to": "new_only"}, &moved)
	for _, m := range moved.Moves {
		if m.ID == "jd7abc" && (m.To != "dual_read" || m.Blocked == "") {
			t.Errorf("%+v", m)
		}
	}
	var list struct{ Items []struct{ ID string } }
	x.call(http.MethodGet, "/integrations", nil, &list)
	if len(list.Items) != 2 {
		t.Errorf("%+v", list)
	}
	for _, i := range list.Items {
		x.call(http.MethodDelete, "/integrations/"+i.ID, nil, nil)
	}
	x.call(http.MethodGet, "/integrations", nil, &list)
	if len(list.Items) != 0 {
		t.Errorf("%+v", list)
	}
	x.call(http.MethodPost, "/integrations", map[string]any{"provider": "smtp", "payload": integrationSecret}, nil) // for the leak test
}

// TestImportJob: a row as the old store had it is copied into the vault, opened
// and compared by the one function that may, and then needs no legacy copy.
func TestImportJob(t *testing.T) {
	x := newTenant(t, "enterprise", 0)
	row := map[string]any{"id": "plain1", "provider": "hubspot", "fields": map[string]any{
		"accessToken": map[string]any{"shape": "legacy_plaintext", "value": integrationSecret + "\n"}}}
	x.call(http.MethodPost, "/integrations/import", map[string]any{"rows": []any{row}}, nil)
	var i struct {
		Mode       string
		VerifiedAt *time.Time `json:"verified_at"`
	}
	x.call(http.MethodPost, "/integrations/plain1/mode", map[string]any{"mode": "dual_write"}, &i)
	var refused struct{ Code string }
	err := operator().Call(t.Context(), http.MethodPost, "/api/operator/rotations", map[string]any{"kind": "import"}, &refused)
	if err == nil || !strings.Contains(err.Error(), "org_id") && !strings.Contains(err.Error(), "organisation") {
		t.Errorf("an import of everybody: %v", err)
	}
	var job struct {
		ID, State string
		Done      int64
		Failures  []struct{ Reason string }
	}
	must(t, operator().Call(t.Context(), http.MethodPost, "/api/operator/rotations", map[string]any{"kind": "import", "org_id": x.ID}, &job))
	eventually(t, "the import ends", func() bool {
		must(t, operator().Call(t.Context(), http.MethodGet, "/api/operator/rotations/"+job.ID, nil, &job))
		return job.State == "done" || job.State == "failed"
	})
	if job.State != "done" || job.Done != 1 {
		t.Errorf("%+v", job)
	}
	x.call(http.MethodGet, "/integrations/plain1", nil, &i)
	if i.VerifiedAt == nil {
		t.Errorf("not verified: %+v", i)
	}
	for _, mode := range []string{"dual_read", "new_only"} {
		x.call(http.MethodPost, "/integrations/plain1/mode", map[string]any{"mode": mode}, &i)
		if i.Mode != mode {
			t.Errorf("%+v", i)
		}
	}
	x.call(http.MethodDelete, "/integrations/plain1", nil, nil)
}
