package admin

import (
	"strings"
	"testing"
)

// TestActionsArePricedPerRequest: the platform's own actions have prices in the
// book, per request only, and are no models.
func TestActionsArePricedPerRequest(t *testing.T) {
	w := newWorld(t)
	row := `{"activate":true,"rows":[{"provider":"platform","model":"export","meter":"request","rate_pico":3000000,"source":"t","source_date":"2026-11-22"}]}`
	w.must("POST", "/api/operator/prices", operatorKey, row, 201)
	w.must("POST", "/api/operator/prices", operatorKey, strings.Replace(row, `"request"`, `"output_text"`, 1), 400)
	if resp := w.do("GET", "/api/models?limit=200", operatorKey, ""); resp.Status != 200 || strings.Contains(string(resp.Body), `"export"`) || strings.Contains(string(resp.Body), "platform/export") {
		t.Errorf("models: %d %.200s", resp.Status, resp.Body)
	}
}
