package rollout

import (
	"slices"
	"testing"

	"github.com/latchkey/latchkey/shared/taxonomy"
)

// TestColumnsSayWhatDiffers: what a column lists is another cell than the row's, of a
// row that there is.
func TestColumnsSayWhatDiffers(t *testing.T) {
	rows := slices.Concat(atTheDoor(), inTheBody(), behindTheQueue())
	for i, c := range columns() {
		if slices.ContainsFunc(columns()[:i], func(o column) bool { return o.id() == c.id() }) {
			t.Errorf("%s has two columns", c.id())
		}
		for n, cell := range c.differs {
			if n < 1 || n > len(rows) || cell == rows[n-1].cell {
				t.Errorf("%s, row %d: %+v is no other cell", c.id(), n, cell)
			}
		}
	}
}

// TestUnplayed: a file names every channel that is not played, each once, and may name
// one that was not when it was written.
func TestUnplayed(t *testing.T) {
	still := NotPlayed()
	if !unplayed(still) || !unplayed(withoutChannel()) {
		t.Error("not what is not played")
	}
	for name, named := range map[string][]taxonomy.Profile{
		"none": nil, "the first is missing": still[1:], "the last is missing": still[:len(still)-1],
		"one twice": append([]taxonomy.Profile{still[0]}, still...), "another order": append(slices.Clone(still[1:]), still[0]),
		"a stranger": append(slices.Clone(still), "x"), "a column of old": append(slices.Clone(still), taxonomy.ProfileTelegram),
	} {
		if unplayed(named) {
			t.Errorf("%s: taken", name)
		}
	}
}
