package crash

import (
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mutate"
)

// mutants are those that the settlement design names.
var mutants = []mutate.Change{
	{Name: "no condition on the request", Functions: []string{"invoke"}, File: "shared/dynamo/ledger_reserve.go", Edits: [][2]string{
		{"ledgerPut(ledger, requestItem(r, shard), ifAbsent)", `ledgerPut(ledger, requestItem(r, shard), "")`}}},
	{Name: "settle ignores the state", Functions: []string{"settle", "sweep"}, File: "shared/dynamo/ledger_settle.go", Edits: [][2]string{
		{`aws.String("#st = :used AND #hold = :h AND #a = :a")`, `aws.String("(#st = :used OR #st <> :used) AND #hold = :h AND #a = :a")`}}},
	{Name: "projection only adds", Functions: []string{"settle"}, File: "shared/dynamo/usage.go", Edits: [][2]string{
		{"act := ledgerPut(name, it, ifAbsent)", `act := ledgerPut(name, it, "")`}}},
	{Name: "sweep ignores the state", Functions: []string{"sweep"}, File: "shared/dynamo/ledger_sweep.go", Edits: [][2]string{
		{`"#st = :was AND #hold = :h AND #exp < :now AND attribute_not_exists(#cka)"`,
			`"(#st = :was OR #st <> :was) AND #hold = :h AND #exp < :now AND attribute_not_exists(#cka)"`}}},
	{Name: "floating cost", Functions: []string{"invoke"}, File: "shared/billing/cost.go", Edits: [][2]string{
		{"import (\n", "import (\n\t\"math\"\n"},
		{"\toverflow bool\n", "\toverflow bool\n\tusd float64\n"},
		{"perThousand bool) {\n", "perThousand bool) {\n\tif usd := float64(units) * (float64(rate) / 1e12); perThousand {\n\t\ts.usd += usd / 1000\n\t} else {\n\t\ts.usd += usd\n\t}\n"},
		{"func (s *sum) micro(perMicro uint64) (Micro, bool) {\n", "func (s *sum) micro(perMicro uint64) (Micro, bool) {\n" +
			"\tif !s.overflow && perMicro == milliPicoPerMicro {\n\t\treturn Micro(math.Ceil(s.usd * 1e6)), true\n\t}\n"}}},
}

// TestCrashMutants: the harness refuses every build that lacks a guard. A run that
// is not a soak tries one.
func TestCrashMutants(t *testing.T) {
	installed(t)
	list, size := mutants[:1], limits{storm: 24}
	if soak() {
		list, size = mutants, plain
	}
	for _, m := range list {
		t.Run(m.Name, func(t *testing.T) { refused(t, m, size) })
	}
}

// refused plays seeds until one finds the mutant.
func refused(t *testing.T, m mutate.Change, size limits) {
	dir := t.TempDir()
	if err := m.Build(t.Context(), root(), dir); err != nil {
		t.Fatal(err)
	}
	w, err := start(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.stop()
	// What never comes to rest is what is looked for.
	w.patience = 20 * time.Second
	for n := uint64(1); n <= 3; n++ {
		s, err := run(t.Context(), w, n, size)
		if s == nil {
			t.Fatal(err)
		}
		if len(s.violations) > 0 {
			t.Logf("refused by seed %d, %d violations, the first: %s", n, len(s.violations), s.violations[0])
			return
		}
	}
	t.Error("three seeds found nothing wrong with it")
}

// TestMutantsFitTheSource: every mutant can still be made.
func TestMutantsFitTheSource(t *testing.T) {
	for _, m := range mutants {
		if _, err := m.Text(root()); err != nil {
			t.Error(err)
		}
	}
}
