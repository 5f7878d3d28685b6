package e2e

import (
	"testing"
	"time"
)

// TestGrantEnds: the scheduled function takes off what is left of a grant at its
// end, with the permissions it has, and says so; the line moves what is available.
func TestGrantEnds(t *testing.T) {
	x := newTenant(t, "free", 1_000_000)
	ends := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	x.operatorCall("POST", "/grants", map[string]any{"kind": "gifted", "amount": 500_000, "expires_at": ends, "idempotency_key": "gift"}, nil)
	x.operatorCall("POST", "/grants", map[string]any{"kind": "daily", "amount": 300_000, "expires_at": ends, "idempotency_key": "daily",
		"rollover": map[string]any{"max_amount": 200_000}}, nil)
	before := x.credits()
	if before.Posted != 1_800_000 {
		t.Fatalf("posted %d", before.Posted)
	}
	sweep(t, time.Hour+time.Minute)
	if after := x.credits(); after.Posted != 1_200_000 || after.Available != 1_200_000 {
		t.Errorf("posted %d, available %d", after.Posted, after.Available)
	}
	sweep(t, time.Hour+2*time.Minute)
	if after := x.credits(); after.Posted != 1_200_000 {
		t.Errorf("posted %d after another sweep", after.Posted)
	}
	x.operatorCall("PUT", "/credits", map[string]any{"credit_line": 5}, nil)
	if line := x.credits(); line.Posted != 1_200_000 || line.Available != 1_200_005 {
		t.Errorf("posted %d, available %d with a line of 5", line.Posted, line.Available)
	}
	x.operatorCall("PUT", "/credits", map[string]any{"credit_line": 0}, nil)
	kinds := map[string]int64{}
	for _, e := range x.entries() {
		kinds[e.Kind] += e.Amount
	}
	if kinds["expiry"] != -800_000 || kinds["grant"] != 2_000_000 {
		t.Errorf("entries: %v", kinds)
	}
	x.consistent()
}
