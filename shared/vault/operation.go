package vault

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
)

// checkOp refuses a write that would leave an audit row naming nobody. It is the
// caller's mistake, never the client's.
func checkOp(op string, by audit.Op) error {
	if !by.Valid() {
		return fault.New(fault.Internal, op, "internal error, try again later")
	}
	return checkText(op, "actor", by.Actor, maxLabel)
}

// row is the audit row of the write that makes h. fields are the values that
// were entered; only their names are recorded. One operation may write several
// credentials, and one credential more than once: the row's id tells them apart.
func (h Head) row(by audit.Op, verb string, fields map[string]secret.Text) *audit.Row {
	part := by.Part(verb, string(h.Ref.Class), h.Ref.ID, strconv.FormatInt(h.Epoch, 10))
	row := part.Row(h.Ref.Org, "credential."+verb, h.Ref.ID, "class", string(h.Ref.Class), "provider", h.Ref.Provider,
		"version", strconv.Itoa(h.ActiveVersion), "fields", strings.Join(slices.Sorted(maps.Keys(fields)), " "))
	return &row
}
