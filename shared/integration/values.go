package integration

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/table"
)

// Limits. A field of the vault holds 16 KiB.
const (
	maxFields = 16
	// MaxValues bounds the values of an integration together, in bytes.
	MaxValues = 15 << 10
	// maxStored bounds their stored form: the legacy cipher doubles them.
	maxStored = 2*MaxValues + maxFields*56
	maxLabel  = 100
)

// Values are the secret fields of an integration by name.
type Values map[string]secret.Text

// Equal reports whether both have the same fields with the same bytes.
func (v Values) Equal(w Values) bool {
	if len(v) != len(w) {
		return false
	}
	for name, a := range v {
		b, ok := w[name]
		if !ok || a.Len() != b.Len() || a.Len() > 0 && !a.Equal(b) {
			return false
		}
	}
	return true
}

func (v Values) empty() bool {
	for _, text := range v {
		if !text.IsZero() {
			return false
		}
	}
	return true
}

// Names lists the fields, sorted.
func (v Values) Names() []string { return slices.Sorted(maps.Keys(v)) }

// Check bounds names and sizes. Errors: invalid_request; reason [TooLarge] as
// the cause of a size.
func (v Values) Check() error {
	if len(v) == 0 || len(v) > maxFields {
		return invalid("fields", "give 1 to "+strconv.Itoa(maxFields)+" secret fields")
	}
	total := 0
	for name, text := range v {
		if !table.ValidID(name) {
			return invalid("fields", "a field name has 1 to 64 letters, digits, _ or -")
		}
		total += len(name) + text.Len()
	}
	if total > MaxValues {
		return invalid("fields", "the secret fields are at most 15 KiB together")
	}
	return nil
}

// validWord reports whether s matches ^[a-z0-9_-]{1,64}$, as the vault wants a
// provider.
func validWord(s string) bool { return table.ValidID(s) && s == strings.ToLower(s) }

// The frame is what lies in the vault: magic, credential id, revision, number of
// fields, then names and values with their lengths, then padding. The id and the
// revision make every frame different, so that the vault's refusal of duplicates
// does not stop two integrations from having one password, and let a reader see
// that the vault and the head are of one write. The padding keeps short values
// out of the vault's check for masked displays, which a real password may
// resemble, and hides their length.
const (
	frameMagic = "lki1"
	framePad   = '#'
	frameMin   = 512
)

var errFrame = errors.New("integration: the stored value is not a frame of this integration")

func appendPart(out, part []byte) []byte {
	return append(binary.BigEndian.AppendUint32(out, uint32(len(part))), part...)
}

// Frame encodes values as the credential holds them.
func Frame(credential string, rev int64, v Values) secret.Text {
	out := appendPart([]byte(frameMagic), []byte(credential))
	out = binary.BigEndian.AppendUint64(out, uint64(rev))
	out = binary.BigEndian.AppendUint32(out, uint32(len(v)))
	for _, name := range v.Names() {
		out = appendPart(out, []byte(name))
		_ = v[name].Use(func(b []byte) error { out = appendPart(out, b); return nil })
	}
	for len(out) < frameMin {
		out = append(out, framePad)
	}
	defer clear(out)
	return secret.New(out)
}

// Unframe is the reverse of [Frame] for the given credential. It refuses
// anything that Frame would not have written.
func Unframe(credential string, frame []byte) (v Values, rev int64, err error) {
	rest, ok := bytes.CutPrefix(frame, []byte(frameMagic))
	id, rest, ok2 := cutPart(rest)
	if !ok || !ok2 || string(id) != credential || len(rest) < 12 {
		return nil, 0, errFrame
	}
	n, count := binary.BigEndian.Uint64(rest), binary.BigEndian.Uint32(rest[8:])
	rest = rest[12:]
	if n == 0 || n > 1<<62 || count == 0 || count > maxFields {
		return nil, 0, errFrame
	}
	v, last := make(Values, count), ""
	for range count {
		var name, value []byte
		var ok, ok2 bool
		name, rest, ok = cutPart(rest)
		value, rest, ok2 = cutPart(rest)
		if !ok || !ok2 || !table.ValidID(string(name)) || string(name) <= last {
			return nil, 0, errFrame
		}
		last = string(name)
		v[last] = secret.New(value)
	}
	used := len(frame) - len(rest)
	if len(bytes.Trim(rest, string(framePad))) > 0 || len(frame) != max(used, frameMin) {
		return nil, 0, errFrame
	}
	return v, int64(n), nil
}

func cutPart(b []byte) (part, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := uint64(binary.BigEndian.Uint32(b))
	if n > uint64(len(b)-4) {
		return nil, nil, false
	}
	return b[4 : 4+n], b[4+n:], true
}

// Hasher is the vault's keyed hash.
type Hasher interface {
	TokenHash(ctx context.Context, provider string, text secret.Text) (string, error)
}

const hashDomain = "integration"

// HashValues is the keyed hash of the values of one integration. The credential
// id is part of it, so that equal values of two integrations cannot be told.
func HashValues(ctx context.Context, h Hasher, credential string, v Values) (string, error) {
	out := appendPart(appendPart(nil, []byte("values")), []byte(credential))
	for _, name := range v.Names() {
		out = appendPart(out, []byte(name))
		_ = v[name].Use(func(b []byte) error { out = appendPart(out, b); return nil })
	}
	defer clear(out)
	return h.TokenHash(ctx, hashDomain, secret.New(out))
}

// HashLegacy is the keyed hash of the exact stored bytes with their markers.
func HashLegacy(ctx context.Context, h Hasher, credential string, fields []LegacyField) (string, error) {
	out := appendPart(appendPart(nil, []byte("legacy")), []byte(credential))
	for _, f := range sorted(fields) {
		out = appendPart(appendPart(out, []byte(f.Name)), []byte(f.Shape))
		_ = f.Stored.Use(func(b []byte) error { out = appendPart(out, b); return nil })
	}
	defer clear(out)
	return h.TokenHash(ctx, hashDomain, secret.New(out))
}

func sorted(fields []LegacyField) []LegacyField {
	out := slices.Clone(fields)
	slices.SortFunc(out, func(a, b LegacyField) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	return out
}
