package table

import "strings"

// LegacyDraining is the index partition of the legacy counters that drain. There are
// few at a time: organisations are migrated once.
const LegacyDraining = "LX"

// LegacyCounter is a legacy token counter with its mode, among what calls may write.
func LegacyCounter(org string) Key { return Key{"A#" + org + "#T", "COUNTER"} }

// LegacyDay is what the counter counted of one model on one day (YYYY-MM-DD), out of
// the reach of calls.
func LegacyDay(org, day, model string) Key { return Key{"TD#" + org, day + "#" + model} }

// LegacyRow marks a usage row of the old product as imported.
func LegacyRow(org, id string) Key { return Key{"TI#" + org, id} }

// LegacyCounterOrg is the organisation of a counter's partition.
func LegacyCounterOrg(pk string) (org string, ok bool) {
	org, ok = strings.CutPrefix(pk, "A#")
	if ok {
		org, ok = strings.CutSuffix(org, "#T")
	}
	return org, ok && ValidID(org)
}
