package integration

import (
	"context"
	"errors"
	"strconv"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/integration/legacycipher"
)

// MaxRows bounds the rows of one import.
const MaxRows = 50

// Row is one row as it stood in the old store.
type Row struct {
	ID, Provider, Label string
	Fields              []LegacyField
	ReusableRefresh     bool
}

// Outcome says what an import did with a row.
type Outcome string

// Outcomes of a row.
const (
	Imported    Outcome = "imported"
	Replaced    Outcome = "replaced"
	Unchanged   Outcome = "unchanged"
	Quarantined Outcome = "quarantined" // stored, but it cannot be read
	RowRefused  Outcome = "refused"     // not stored
)

// Imports is the result of one row. Reason is for people.
type Imports struct {
	ID      string
	Outcome Outcome
	Reason  string
}

// Import stores rows unchanged as legacy copies with mode legacy_only. A row that
// is there already is left if its bytes are the same, and replaced while it is
// still legacy_only. One row's refusal does not stop the others. Errors: those of
// the store and of the key service; rows before it are stored.
func (s *Service) Import(ctx context.Context, op audit.Op, orgID string, rows []Row) ([]Imports, error) {
	if len(rows) == 0 || len(rows) > MaxRows {
		return nil, invalid("rows", "give 1 to "+strconv.Itoa(MaxRows)+" rows")
	}
	out := make([]Imports, 0, len(rows))
	for n, r := range rows {
		result, err := s.importRow(ctx, numbered(op, n+1), orgID, r)
		if f := fault.As(err); err != nil && (f.Code == fault.InvalidRequest || f.Code == fault.Conflict) {
			result, err = Imports{Outcome: RowRefused, Reason: f.Message}, nil
		}
		if err != nil {
			return nil, err
		}
		result.ID = r.ID
		out = append(out, result)
	}
	return out, nil
}

func (s *Service) importRow(ctx context.Context, op audit.Op, orgID string, r Row) (Imports, error) {
	if err := checkHead(r.ID, r.Provider, r.Label); err != nil {
		return Imports{}, err
	}
	if err := checkLegacy(r.Fields); err != nil {
		return Imports{}, err
	}
	old, err := s.Store.Integration(ctx, orgID, r.ID)
	if err != nil && !errors.Is(err, ErrAbsent) {
		return Imports{}, StoreFault(err)
	}
	next, outcome := old.Next(s.NewID(op.At), op.At), Replaced
	if err != nil {
		next, outcome = s.head(op, orgID, Draft{ID: r.ID, Provider: r.Provider, Label: r.Label}, nil), Imported
		next.Rev = 0
	}
	hash, err := HashLegacy(ctx, s.Hash, next.Credential, r.Fields)
	if err != nil {
		return Imports{}, err
	}
	switch {
	case outcome == Imported:
	case old.Quarantine.Reason == Unreadable:
		return Imports{}, conflict("the stored record cannot be read; an operator must look at it")
	case old.Provider != r.Provider:
		return Imports{}, conflict("an integration of another provider has this id")
	case old.LegacyCurrent() && old.Legacy.Hash == hash:
		return Imports{Outcome: Unchanged, Reason: string(old.Quarantine.Reason)}, nil
	case old.Mode != LegacyOnly:
		return Imports{}, conflict("this integration is not legacy_only any more; its values are written here now")
	}
	reason := quarantineOf(r.Fields)
	fill(&next, r, hash, reason)
	row := op.Row(orgID, "integration.import", r.ID, "provider", r.Provider, "label", r.Label, "reason", string(reason), "state", string(outcome))
	c := Change{Next: &next, Legacy: &LegacyCopy{Rev: next.Rev, Fields: sorted(r.Fields)}, Row: &row}
	if err := Commit(ctx, s.Store, c); err != nil {
		return Imports{}, StoreFault(err)
	}
	if reason != "" {
		return Imports{Outcome: Quarantined, Reason: string(reason)}, nil
	}
	return Imports{Outcome: outcome}, nil
}

// fill makes next the head of the imported row's value.
func fill(next *Integration, r Row, hash string, reason Reason) {
	next.Mode, next.Label, next.ReusableRefresh = LegacyOnly, r.Label, r.ReusableRefresh
	next.Rev++
	next.Legacy = LegacyHead{Rev: next.Rev, Hash: hash, Shapes: map[string]Shape{}}
	next.Fields, next.Fingerprint, next.Lease, next.New.VerifiedAt = nil, "", Lease{}, NewHead{}.VerifiedAt
	for _, f := range sorted(r.Fields) {
		next.Fields = append(next.Fields, f.Name)
		next.Legacy.Shapes[f.Name] = f.Shape
	}
	next.Quarantine = Quarantine{}
	if reason != "" {
		next.Quarantine = Quarantine{Reason: reason, At: next.UpdatedAt}
	}
}

// checkLegacy bounds what is stored. What a value is does not matter here.
func checkLegacy(fields []LegacyField) error {
	names, total := Values{}, 0
	for _, f := range fields {
		if _, twice := names[f.Name]; twice {
			return invalid("fields", "a field is given twice")
		}
		if len(f.Shape) > 64 || !printable(string(f.Shape)) {
			return invalid("shape", "a shape is a marker of at most 64 printable bytes")
		}
		names[f.Name] = f.Stored
		total += f.Stored.Len()
	}
	if total > maxStored {
		return invalid("fields", "the stored values are at most 31 KiB together")
	}
	for name := range names {
		names[name] = Values{}[name] // sizes of plaintexts are judged below
	}
	return names.Check()
}

// quarantineOf says why the row cannot be read, as far as that shows without a
// key.
func quarantineOf(fields []LegacyField) Reason {
	size := 0
	for _, f := range fields {
		switch f.Shape {
		case ShapePlaintext:
			size += len(f.Name) + f.Stored.Len()
		case ShapeCipher:
			size += len(f.Name) + f.Stored.Len()/2
			if f.Stored.Use(legacycipher.Layout) != nil {
				return UnknownLayout
			}
		default:
			return UndeclaredShape
		}
	}
	if size > MaxValues {
		return TooLarge
	}
	return ""
}
