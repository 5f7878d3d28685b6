package audit_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
)

func TestRowsHoldAllowedShortDetailOnly(t *testing.T) {
	at := time.Date(2026, 11, 21, 13, 0, 0, 0, time.FixedZone("x", 3600))
	op := audit.Op{Actor: "key:k1", ID: "r1", At: at}
	row := op.Row("acme", "connection.create", "c1", "label", "a\nb\x00ü"+strings.Repeat("z", 300), "api_key", "CANARY", "tier", "", "odd")
	want := audit.Row{ID: "r1", Org: "acme", At: at.UTC(), Actor: "key:k1", Action: "connection.create", Target: "c1", Outcome: audit.Done,
		Detail: map[string]string{"label": "ab" + strings.Repeat("z", 254)}}
	if !reflect.DeepEqual(row, want) {
		t.Errorf("%+v", row)
	}
	if r := op.Refusal("acme", "org.enter", "other", "not_found"); r.Outcome != audit.Refused || r.Code != "not_found" || r.Detail != nil {
		t.Errorf("%+v", r)
	}
}
