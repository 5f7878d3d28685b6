package credential_test

import (
	"cmp"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/credential"
)

var update = flag.Bool("update", false, "rewrite the table of fields in SECURITY.md")

const (
	securityFile = "../../SECURITY.md"
	tableBegin   = "<!-- fields: made by go test ./shared/credential -update -->"
	tableEnd     = "<!-- end of fields -->"
)

// TestSecurityTable compares the table in SECURITY.md with the registry and the
// topology.
func TestSecurityTable(t *testing.T) {
	raw, err := os.ReadFile(securityFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(raw), tableBegin+"\n")
	old, after, closed := strings.Cut(rest, tableEnd)
	if !ok || !closed {
		t.Fatal("SECURITY.md has lost the markers of the table of fields")
	}
	want := fieldTable(builtIn(t).Manifests())
	if *update {
		if err := os.WriteFile(securityFile, []byte(before+tableBegin+"\n"+want+tableEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if old != want {
		t.Errorf("the table of fields in SECURITY.md is not what the code declares; run go test ./shared/credential -update\n%s", want)
	}
}

// fieldTable has one row for each declaration; providers that declare the same
// share it.
func fieldTable(manifests []credential.Manifest) string {
	owners := map[string][]string{}
	for _, m := range manifests {
		for _, f := range m.Fields {
			owners[row(m.Kind, f)] = append(owners[row(m.Kind, f)], m.ID)
		}
	}
	type line struct{ row, owners string }
	var lines []line
	for r, ids := range owners {
		lines = append(lines, line{r, strings.Join(ids, " ")})
	}
	slices.SortFunc(lines, func(a, b line) int { return cmp.Or(strings.Compare(a.row, b.row), strings.Compare(a.owners, b.owners)) })
	out := "| of | field | sensitivity | class | shown | opened by | declared by |\n|---|---|---|---|---|---|---|\n"
	for _, l := range lines {
		out += l.row + " " + l.owners + " |\n"
	}
	return out
}

func row(kind credential.Kind, f credential.FieldSpec) string {
	class, shown, opened := "–", "never", "–"
	if f.Sensitivity == credential.Secret {
		class, opened = string(f.Class), strings.Join(credential.Decryptors(f.Class), " ")
	}
	if opened == "" {
		opened = "nobody"
	}
	switch {
	case f.ShowsHint():
		shown = "last 4"
	case f.ShowsValue():
		shown = "yes"
	}
	return "| " + strings.Join([]string{string(kind), "`" + f.Field + "`", string(f.Sensitivity), class, shown, opened}, " | ") + " |"
}
