package billing

import (
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// truth is the whole decision as a table that was written from the contract, not
// from the code. Columns: request source; candidate; forced; org status; tier
// has byok; preference; connection (none, bad, live); connection's fallback and
// org's fallback; funds; what the agency shares => source, rule, reason, code,
// fallback afterwards, whether the agency pays.
// A cell matches one of the words joined by '/', '*' matches anything. Rows do
// not overlap: every point of the lattice matches exactly one.
const truth = `
*     * *                     off * * * * * * => - P0 org_not_active billing_denied no

# Platform actions are the platform's own work, whatever is asked for.
act/odd  platform/odd -/platform/odd on * * * * ok no/empty/spent => platform PA platform_action_metered - no
act/odd  byok/private *              on * * * * ok no/empty/spent => platform PA platform_action_forced_platform - no
act/odd  platform/odd byok/private   on * * * * ok no/empty/spent => platform PA platform_action_forced_platform - no
act/odd  *            *              on * * * * out no/spent => - P8 funds_refused insufficient_credits no
act/odd  platform/odd -/platform/odd on * * * * out empty => platform PAa platform_action_metered - no shared
act/odd  platform/odd -/platform/odd on * * * * * always => platform PAa platform_action_metered - no shared
act/odd  byok/private * on * * * * out empty => platform PAa platform_action_forced_platform - no shared
act/odd  byok/private * on * * * * * always => platform PAa platform_action_forced_platform - no shared
act/odd  platform/odd byok/private on * * * * out empty => platform PAa platform_action_forced_platform - no shared
act/odd  platform/odd byok/private on * * * * * always => platform PAa platform_action_forced_platform - no shared

# A forced source: denied if not allowed, never substituted.
llm * odd          on *   *                  *    * * * => - P1 forced_source_unknown billing_denied no
llm * platform     on *   required           *    * * * => - P1 forced_source_excluded_by_preference billing_denied no
llm * byok/private on no  *                  *    * * * => - P1 tier_without_byok billing_denied no
llm * byok/private on yes only               *    * * * => - P1 forced_source_excluded_by_preference billing_denied no
llm * byok/private on yes -/preferred/required/odd none * * * => - P4 connection_missing byok_unavailable no
llm * byok/private on yes -/preferred/required/odd bad  * * * => - P4 connection_unusable byok_unavailable no
llm byok/private/odd  platform on * -/preferred/only/odd * * * * => - P1 other_source_forced billing_denied no
llm platform/private/odd byok    on yes -/preferred/required/odd live * * * => - P1 other_source_forced billing_denied no
llm platform/byok/odd    private on yes -/preferred/required/odd live * * * => - P1 other_source_forced billing_denied no
llm platform platform on * -/preferred/only bad/live * ok * => platform P7 llm_platform_metered - no
llm platform platform on * -/preferred/only none * ok no/empty/spent => platform P7 llm_platform_metered - no
llm platform platform on * -/preferred/only none * *  always => platform P7a llm_platform_shared_by_agency - no shared
llm platform platform on * -/preferred/only none * out empty => platform P7a llm_platform_shared_by_agency - no shared
llm platform platform on * -/preferred/only bad/live * out * => - P8 funds_refused insufficient_credits no
llm platform platform on * -/preferred/only none * out no/spent => - P8 funds_refused insufficient_credits no
llm platform platform on * odd              * * * * => - P9 preference_unknown billing_denied no
llm byok    byok    on yes -/preferred/required live * * * => byok P3 llm_byok_unmetered - no
llm byok    byok    on yes odd                  live * * * => - P9 preference_unknown billing_denied no
llm private private on yes -/preferred/required live * * * => private P2 llm_private_unmetered - no
llm private private on yes odd                  live * * * => - P9 preference_unknown billing_denied no

# Nothing forced: what the settings make of it.
llm *   - on * odd                       * * * * => - P9 preference_unknown billing_denied no
llm odd - on * -/preferred/required/only * * * * => - P9 candidate_source_unknown billing_denied no

# The organisation's own keys.
llm byok/private - on no  -/preferred/required/only *    *   * * => - P9 tier_without_byok billing_denied no
llm byok/private - on yes only                      *    *   * * => - P9 own_key_excluded_by_preference billing_denied no
llm byok/private - on yes -/preferred/required      none *   * * => - P4 connection_missing byok_unavailable no
llm byok/private - on yes required                  bad  *   * * => - P4 connection_unusable byok_unavailable no
llm byok/private - on yes -/preferred               bad  c+o * * => - P4 connection_unusable byok_unavailable yes
llm byok/private - on yes -/preferred               bad  c/o/0 * * => - P4 connection_unusable byok_unavailable no
llm private      - on yes required                  live *   * * => private P2 llm_private_unmetered - no
llm private      - on yes -/preferred               live c+o * * => private P2 llm_private_unmetered - yes
llm private      - on yes -/preferred               live c/o/0 * * => private P2 llm_private_unmetered - no
llm byok         - on yes required                  live *   * * => byok P3 llm_byok_unmetered - no
llm byok         - on yes -/preferred               live c+o * * => byok P5 llm_byok_unmetered - yes
llm byok         - on yes -/preferred               live c/o/0 * * => byok P5 llm_byok_unmetered - no

# The platform's key.
llm platform - on * only bad/live * ok * => platform P7 llm_platform_metered - no
llm platform - on * only none * ok no/empty/spent => platform P7 llm_platform_metered - no
llm platform - on * only none * *  always => platform P7a llm_platform_shared_by_agency - no shared
llm platform - on * only none * out empty => platform P7a llm_platform_shared_by_agency - no shared
llm platform - on * only bad/live * out * => - P8 funds_refused insufficient_credits no
llm platform - on * only none * out no/spent => - P8 funds_refused insufficient_credits no
llm platform - on no  required    *    *   * * => - P9 tier_without_byok billing_denied no
llm platform - on yes required    none *   * * => - P4 connection_missing byok_unavailable no
llm platform - on yes required    bad  *   * * => - P4 connection_unusable byok_unavailable no
llm platform - on yes required    live *   * * => - P9 platform_excluded_by_preference billing_denied no
llm platform - on * -/preferred none * ok  no/empty/spent => platform P7 llm_platform_metered - no
llm platform - on * -/preferred none * *   always => platform P7a llm_platform_shared_by_agency - no shared
llm platform - on * -/preferred none * out empty => platform P7a llm_platform_shared_by_agency - no shared
llm platform - on * -/preferred none * out no/spent => - P8 funds_refused insufficient_credits no
llm platform - on *   -/preferred bad/live c+o ok * => platform P6 llm_platform_metered - no
llm platform - on *   -/preferred bad/live c+o out * => - P8 funds_refused insufficient_credits no
llm platform - on *   -/preferred bad  c/o/0 * * => - P4 platform_fallback_not_allowed byok_unavailable no
llm platform - on no  -/preferred live c/o/0 * * => - P4 platform_fallback_not_allowed byok_unavailable no
llm platform - on yes -/preferred live c/o/0 * * => - P9 platform_fallback_not_allowed billing_denied no
`

type truthRow struct {
	text  string
	cells []string
	want  Decision
	hits  int
}

func parseTruth(t *testing.T) []*truthRow {
	t.Helper()
	var rows []*truthRow
	for _, line := range strings.Split(truth, "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		left, right, ok := strings.Cut(line, "=>")
		in, out := strings.Fields(left), strings.Fields(right)
		if !ok || len(in) != 10 || len(out) < 5 {
			t.Fatalf("bad row: %s", line)
		}
		blank := func(s string) string { return strings.TrimPrefix(s, "-") }
		d := Decision{Source: taxonomy.BillingSource(blank(out[0])), Rule: out[1], Reason: out[2], Code: fault.Code(blank(out[3])),
			FallbackToPlatform: out[4] == "yes", Shared: len(out) == 6 && out[5] == "shared"}
		d.Allowed = d.Source != ""
		rows = append(rows, &truthRow{text: line, cells: in, want: d})
	}
	return rows
}

func (r *truthRow) matches(point [10]string) bool {
	for i, cell := range r.cells {
		if cell == "*" {
			continue
		}
		found := false
		for _, word := range strings.Split(cell, "/") {
			found = found || word == point[i]
		}
		if !found {
			return false
		}
	}
	return true
}

// lattice spells every value of every input.
var lattice = [10][]string{
	{"llm", "act", "odd"}, {"platform", "byok", "private", "odd"}, {"-", "platform", "byok", "private", "odd"}, {"on", "off"}, {"yes", "no"},
	{"-", "preferred", "required", "only", "odd"}, {"none", "bad", "live"}, {"0", "c", "o", "c+o"}, {"ok", "out"},
	{"no", "empty", "always", "spent"},
}

func inputsAt(p [10]string) Inputs {
	request := map[string]taxonomy.RequestSource{"llm": taxonomy.LLM, "act": taxonomy.PlatformAction, "odd": "odd"}
	source := map[string]taxonomy.BillingSource{"-": "", "platform": taxonomy.Platform, "byok": taxonomy.BYOK, "private": taxonomy.Private, "odd": "odd"}
	preference := map[string]Preference{"-": "", "preferred": BYOKPreferred, "required": BYOKRequired, "only": PlatformOnly, "odd": "odd"}
	share := map[string]Sharing{"empty": {Mode: SharedWhenEmpty}, "always": {Mode: SharedAlways}, "spent": {Mode: SharedAlways, Refused: true}}
	return Inputs{Sharing: share[p[9]], RequestSource: request[p[0]], Candidate: source[p[1]], Forced: source[p[2]], OrgActive: p[3] == "on", TierBYOK: p[4] == "yes",
		Preference: preference[p[5]], OrgAllowPlatformFallback: strings.Contains(p[7], "o"), FundsRefused: p[8] == "out",
		Connection: Connection{Exists: p[6] != "none", Usable: p[6] == "live", AllowPlatformFallback: strings.Contains(p[7], "c")}}
}

func TestDecideEveryCombination(t *testing.T) {
	rows := parseTruth(t)
	points := 0
	var walk func(p [10]string, dim int)
	walk = func(p [10]string, dim int) {
		if dim < len(lattice) {
			for _, v := range lattice[dim] {
				p[dim] = v
				walk(p, dim+1)
			}
			return
		}
		points++
		var hit *truthRow
		for _, r := range rows {
			if r.matches(p) {
				if hit != nil {
					t.Fatalf("%v matches two rows:\n%s\n%s", p, hit.text, r.text)
				}
				hit = r
			}
		}
		if hit == nil {
			t.Fatalf("%v matches no row", p)
		}
		hit.hits++
		if got := Decide(inputsAt(p)); got != hit.want {
			t.Fatalf("%v:\n got %+v\nwant %+v", p, got, hit.want)
		}
	}
	walk([10]string{}, 0)
	for _, r := range rows {
		if r.hits == 0 {
			t.Errorf("row matches nothing: %s", r.text)
		}
	}
	t.Logf("%d combinations", points)
}

// TestDecidePromises restates the promises directly, over the whole lattice.
func TestDecidePromises(t *testing.T) {
	var walk func(p [10]string, dim int)
	walk = func(p [10]string, dim int) {
		if dim < len(lattice) {
			for _, v := range lattice[dim] {
				p[dim] = v
				walk(p, dim+1)
			}
			return
		}
		in := inputsAt(p)
		d := Decide(in)
		llm := in.RequestSource == taxonomy.LLM
		switch {
		case d.Allowed == (d.Code != "") || d.Allowed == (d.Source == "") || d.Rule == "" || d.Reason == "":
			t.Fatalf("%v: %+v is inconsistent", p, d)
		case d.Allowed && llm && d.Source != in.Candidate:
			t.Fatalf("%v: candidate was substituted: %+v", p, d)
		case d.Allowed && llm && in.Forced != "" && d.Source != in.Forced:
			t.Fatalf("%v: forced source was substituted: %+v", p, d)
		case d.Allowed && d.Source != taxonomy.Platform && !in.Connection.Usable:
			t.Fatalf("%v: unusable connection: %+v", p, d)
		case d.FallbackToPlatform && !(in.Connection.AllowPlatformFallback && in.OrgAllowPlatformFallback):
			t.Fatalf("%v: fallback that nobody allowed: %+v", p, d)
		case d.Shared && (!d.Metered() || in.Sharing.Mode == "" || in.Sharing.Refused || llm && in.Connection.Exists):
			t.Fatalf("%v: an agency pays that did not offer to, or beside a connection: %+v", p, d)
		case d.Metered() != (d.Allowed && d.Source == taxonomy.Platform):
			t.Fatalf("%v: metered: %+v", p, d)
		}
		if (d.Fault() == nil) != d.Allowed || !d.Allowed && fault.CodeOf(d.Fault()) != d.Code {
			t.Fatalf("%v: fault %v", p, d.Fault())
		}
	}
	walk([10]string{}, 0)
}
