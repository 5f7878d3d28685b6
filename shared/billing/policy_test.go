package billing

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math/bits"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

var update = flag.Bool("update", false, "write the golden table of a new policy version")

// everyPoint calls f with every combination of inputs, in a fixed order.
func everyPoint(f func(p [10]string)) {
	var walk func(p [10]string, dim int)
	walk = func(p [10]string, dim int) {
		if dim == len(lattice) {
			f(p)
			return
		}
		for _, v := range lattice[dim] {
			p[dim] = v
			walk(p, dim+1)
		}
	}
	walk([10]string{}, 0)
}

// TestPolicyGolden holds every outcome of the policy version: a digest over all
// combinations, and for each outcome how many there are and the first. Stored
// decisions name the version, so its golden table is never written again: raise
// PolicyVersion, keep the old table for Recompute, and run with -update.
func TestPolicyGolden(t *testing.T) {
	type group struct {
		n     int
		first [10]string
	}
	groups := map[string]*group{}
	digest, n := sha256.New(), 0
	everyPoint(func(p [10]string) {
		d := Decide(inputsAt(p))
		outcome := fmt.Sprintf("%-3s %-8s %-36s %-20s next=%v shared=%v", d.Rule, d.Source, d.Reason, d.Code, d.FallbackToPlatform, d.Shared)
		fmt.Fprintf(digest, "%v %s\n", p, outcome)
		n++
		g := groups[outcome]
		if g == nil {
			g = &group{first: p}
			groups[outcome] = g
		}
		g.n++
	})
	var lines []string
	for outcome, g := range groups {
		lines = append(lines, fmt.Sprintf("%s  %5d  first: %s", outcome, g.n, strings.Join(g.first[:], " ")))
	}
	slices.Sort(lines)
	got := fmt.Sprintf("policy %s\n%d combinations of request source, candidate, forced, org, tier, preference, connection, fallback, funds, sharing\nsha256 %s\n\n%s\n",
		PolicyVersion, n, hex.EncodeToString(digest.Sum(nil)), strings.Join(lines, "\n"))
	path := "testdata/policy_" + PolicyVersion + ".golden"
	want, err := os.ReadFile(path)
	if os.IsNotExist(err) && *update {
		want, err = []byte(got), os.WriteFile(path, []byte(got), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("the outcomes of policy %s changed; stored decisions would be recomputed differently:\n%s", PolicyVersion, got)
	}
}

// TestPolicyBeforeSharing holds the digest of the version before: stored
// decisions that name it are made again by its table.
func TestPolicyBeforeSharing(t *testing.T) {
	golden, err := os.ReadFile("testdata/policy_" + policyBeforeSharing + ".golden")
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.New()
	everyPoint(func(p [10]string) {
		if p[9] != "no" {
			return
		}
		d := tableOf(policyBeforeSharing).decide(inputsAt(p))
		outcome := fmt.Sprintf("%-2s %-8s %-36s %-20s next=%v", d.Rule, d.Source, d.Reason, d.Code, d.FallbackToPlatform)
		fmt.Fprintf(digest, "%v %s\n", p[:9], outcome)
		now := Decide(inputsAt(p))
		if now != d {
			t.Fatalf("%v: nothing is shared, and yet it is decided otherwise: %+v %+v", p, d, now)
		}
	})
	if sum := hex.EncodeToString(digest.Sum(nil)); !strings.Contains(string(golden), sum) {
		t.Errorf("the outcomes of policy %s changed: %s", policyBeforeSharing, sum)
	}
}

// recordV1 is a record as it was stored before agencies shared.
const recordV1 = `{"v":1,"org":"org1","request_source":"llm","candidate":"byok","forced":"","org_active":true,"tier":"enterprise","tier_byok":true,` +
	`"preference":"byok_preferred","org_fallback":true,"conn_exists":true,"conn_usable":true,"conn_fallback":false,"conn_id":"conn1",` +
	`"conn_version":3,"cred_version":2,"funds_refused":false,"provider":"openai_compatible","model":"m \"quoted\"\u000a","agent":"agent1",` +
	`"settings_version":7,"price_version":"p000001-abc","policy_version":"2026-11"}`

func TestRecordsFromBeforeSharingAreRecomputed(t *testing.T) {
	r, err := Recompute([]byte(recordV1))
	if err != nil || r.Decision.Rule != RuleBYOKPreferred || r.Record.V != 1 || r.Hash != HashCanonical([]byte(recordV1)) {
		t.Fatalf("%+v %v", r, err)
	}
	if shown, err := json.Marshal(r.Record); err != nil || !sameJSON(shown, []byte(recordV1)) {
		t.Errorf("shown as %s %v", shown, err)
	}
	for _, bad := range []string{strings.Replace(recordV1, `{"v":1`, `{"v":2`, 1), strings.Replace(recordV1, `"2026-11"}`, `"2026-11","agency":"a"}`, 1)} {
		if _, err := Recompute([]byte(bad)); fault.CodeOf(err) != fault.InvalidRequest {
			t.Errorf("taken for a record: %s: %v", bad, err)
		}
	}
}

// TestPolicyTable: each clause decides something, says it in full, and the last
// one lets nothing through.
func TestPolicyTable(t *testing.T) {
	used := make([]int, len(policy))
	everyPoint(func(p [10]string) {
		f := factsOf(inputsAt(p))
		for _, d := range dimensions {
			if bits.OnesCount64(uint64(f&d)) != 1 {
				t.Fatalf("%v: %b holds not one value of %b", p, f, d)
			}
		}
		used[policy.match(f)]++
	})
	var all facts
	for _, d := range dimensions {
		if all&d != 0 {
			t.Errorf("dimension %b overlaps another", d)
		}
		all |= d
	}
	for i, c := range policy {
		if used[i] == 0 && i != len(policy)-1 {
			t.Errorf("clause %d (%s %s) decides nothing", i, c.rule, c.reason)
		}
		if c.rule == "" || c.reason == "" || (c.source == "") == (c.code == "") || c.when&^all != 0 {
			t.Errorf("clause %d is not whole: %+v", i, c)
		}
	}
	if last := policy[len(policy)-1]; last.when != all || last.source != "" {
		t.Errorf("the last clause is not a refusal of everything: %+v", last)
	}
}

// anyInputs draws inputs with texts as clients may send them.
func anyInputs(t *rapid.T) Inputs {
	var p [10]string
	for i, values := range lattice {
		p[i] = rapid.SampledFrom(values).Draw(t, "input")
	}
	in := inputsAt(p)
	word := rapid.OneOf(rapid.StringMatching(`[a-z0-9/._-]{0,20}`), rapid.StringN(0, 20, 60), rapid.Custom(func(t *rapid.T) string {
		return string(rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "bytes"))
	}))
	count := rapid.Int64Range(0, 1<<60)
	in.Org, in.Provider, in.Model, in.Agent = word.Draw(t, "org"), word.Draw(t, "provider"), word.Draw(t, "model"), word.Draw(t, "agent")
	in.Tier = taxonomy.Tier(word.Draw(t, "tier"))
	in.Connection.ID, in.Connection.Version, in.Connection.CredentialVersion = word.Draw(t, "conn"), count.Draw(t, "version"), count.Draw(t, "key")
	in.Sharing.Agency, in.Sharing.Version = word.Draw(t, "agency"), count.Draw(t, "sharing")
	in.SettingsVersion, in.PriceVersion, in.PolicyVersion = count.Draw(t, "settings"), word.Draw(t, "price"), PolicyVersion
	return in
}

// TestStoredDecisionIsRecomputed: whatever was decided, the stored bytes give the
// same decision and the same hash, and no other bytes are taken for them.
func TestStoredDecisionIsRecomputed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := anyInputs(t)
		stored := Canonical(in)
		if !bytes.Equal(stored, Canonical(in)) || HashCanonical(stored) != Hash(in) {
			t.Fatalf("%s is written in two ways", stored)
		}
		r, err := Recompute(stored)
		if err != nil || r.Hash != Hash(in) || r.Decision != Decide(in) {
			t.Fatalf("%s\n%+v\n%v", stored, r, err)
		}
		// What is shown of a record are the bytes that were hashed.
		if shown, err := json.Marshal(r.Record); err != nil || utf8.ValidString(in.Org+in.Provider+in.Model+in.Agent+string(in.Tier)+in.PriceVersion+in.Sharing.Agency) && !sameJSON(shown, stored) {
			t.Fatalf("%s is shown as %s: %v", stored, shown, err)
		}
		// The same fields in the order of a map are another record.
		var m map[string]any
		if err := json.Unmarshal(stored, &m); err != nil {
			t.Fatal(err)
		}
		other, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Recompute(other); fault.CodeOf(err) != fault.InvalidRequest {
			t.Fatalf("taken for a record: %s: %v", other, err)
		}
	})
}

// sameJSON compares compact JSON but for how characters are escaped.
func sameJSON(a, b []byte) bool {
	canon := func(x []byte) string {
		dec := json.NewDecoder(bytes.NewReader(x))
		var out []string
		for {
			tok, err := dec.Token()
			if err != nil {
				return strings.Join(out, "|")
			}
			out = append(out, fmt.Sprintf("%T%v", tok, tok))
		}
	}
	return canon(a) == canon(b)
}

func TestRecomputeRefusesAnotherPolicy(t *testing.T) {
	for _, version := range []string{"", "2026-10", PolicyVersion + "x"} {
		in := sampleInputs()
		in.PolicyVersion = version
		if _, err := Recompute(Canonical(in)); fault.CodeOf(err) != fault.Unavailable {
			t.Errorf("%q: %v", version, err)
		}
	}
}
