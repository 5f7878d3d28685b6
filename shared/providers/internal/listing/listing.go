// Package listing reads vendors' lists of models and voices: JSON by GET, page by
// page, bounded in bytes, pages and entries. What a vendor lists is shown to
// people, so IDs must be harmless and names printable; entries that are not are
// left out.
package listing

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
	"github.com/latchkey/latchkey/shared/speech"
)

// Bounds of one list.
const (
	MaxEntries         = 10000
	maxPages           = 100
	maxPageBytes int64 = 8 << 20
	maxCursor          = 1024
)

// JSON sends r, a GET unless it says otherwise, and decodes the answer into in.
// It fails as [wire.Do], and with provider_error for an answer that is no JSON of
// that shape.
func JSON(ctx context.Context, t model.Target, v *wire.Vendor, r wire.Request, in any) error {
	if r.Method == "" {
		r.Method = http.MethodGet
	}
	r.Accept = "application/json"
	if t.MaxBytes <= 0 || t.MaxBytes > maxPageBytes {
		t.MaxBytes = maxPageBytes
	}
	ans, err := wire.Do(ctx, t, v, r)
	if err != nil {
		return err
	}
	body, err := ans.Body.ReadAll(0)
	if err != nil {
		return err
	}
	if json.Unmarshal(body, in) != nil {
		return v.Malformed(r.Op)
	}
	return nil
}

// Check sends a GET and reports whether it was answered with 2xx. The answer
// itself is not kept: it may describe the account.
func Check(ctx context.Context, t model.Target, v *wire.Vendor, op, path string) error {
	var ignored json.RawMessage
	return JSON(ctx, t, v, wire.Request{Op: op, Path: path}, &ignored)
}

// Pages calls page with "" and then with each cursor it returned, until that is
// empty. A cursor that repeats or cannot be one, and too many pages, are
// provider_error.
func Pages(v *wire.Vendor, op string, page func(cursor string) (next string, err error)) error {
	cursor := ""
	for range maxPages {
		next, err := page(cursor)
		if err != nil || next == "" {
			return err
		}
		if next == cursor || len(next) > maxCursor || !printable(next) {
			break
		}
		cursor = next
	}
	return v.Malformed(op)
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// Voices collects the entries of a list of voices.
type Voices struct{ List []speech.Voice }

// Add takes a voice, unless its ID cannot be shown or the list is full. Name and
// language are left empty if they cannot be shown.
func (v *Voices) Add(id, name, language string) {
	if !wire.CleanID(id) || len(v.List) >= MaxEntries {
		return
	}
	if !wire.CleanID(language) || len(language) > 35 {
		language = ""
	}
	v.List = append(v.List, speech.Voice{ID: id, Name: wire.Showable(name), Language: language})
}
