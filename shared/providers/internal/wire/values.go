package wire

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/model"
)

// Count is a token count as vendors write it: an integer, sometimes 12.0,
// sometimes null. What is no such number becomes -1, which marks the usage as
// suspect instead of losing the answer.
type Count int64

// UnmarshalJSON implements json.Unmarshaler.
func (v *Count) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	if n, err := strconv.ParseInt(string(b), 10, 64); err == nil {
		*v = Count(n)
		return nil
	}
	if f, err := strconv.ParseFloat(string(b), 64); err == nil && f >= 0 && f <= model.MaxTokens && f == math.Trunc(f) {
		*v = Count(f)
		return nil
	}
	*v = -1
	return nil
}

// maxRawUsage bounds what is kept of a vendor's usage object.
const maxRawUsage = 4 << 10

// RawUsage is a copy of a vendor's usage object for audits, nil if it is absurdly
// long or no valid UTF-8: it is stored and shown.
func RawUsage(raw []byte) json.RawMessage {
	if len(raw) == 0 || len(raw) > maxRawUsage || !utf8.Valid(raw) {
		return nil
	}
	return bytes.Clone(raw)
}

// Clip bounds a short string of a vendor that is stored and shown.
func Clip(s string) string {
	if len(s) > 256 {
		s = s[:256]
	}
	return strings.ToValidUTF8(s, "")
}

// Showable is a vendor's text if it is short and printable, else "".
func Showable(s string) string {
	if len(s) > 256 || strings.ToValidUTF8(s, "") != s {
		return ""
	}
	for _, r := range s {
		if r < 0x20 || r == 0x7f {
			return ""
		}
	}
	return s
}

// Extra keeps the top-level fields of an answer that are not in known, for a
// client of the same dialect.
func Extra(body []byte, known map[string]bool) map[string]json.RawMessage {
	var all map[string]json.RawMessage
	if json.Unmarshal(body, &all) != nil {
		return nil
	}
	for name, v := range all {
		if known[name] || string(v) == "null" || len(v) > 64<<10 || !utf8.ValidString(name) || !utf8.Valid(v) {
			delete(all, name)
		}
	}
	if len(all) == 0 || len(all) > 32 {
		return nil
	}
	return all
}
