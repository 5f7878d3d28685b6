package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"time"
)

// Hash is the SHA-256 of a chained row.
type Hash [sha256.Size]byte

// String is the hash in hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Head is the end of an organisation's chain; the zero value is a chain without
// rows.
type Head struct {
	Seq   int64     // number of the last row, from 1
	Hash  Hash      // of the last row
	At    time.Time // of the last row
	Since time.Time // of the row with number 1
}

// Next puts row behind h and returns it with its place in the chain, and the
// head after it. The time is cut to the milliseconds that are stored.
func (h Head) Next(row Row) (Row, Head) {
	row.At = row.At.UTC().Truncate(time.Millisecond)
	row.Seq, row.Prev = h.Seq+1, h.Hash
	row.Hash = row.sum()
	next := Head{Seq: row.Seq, Hash: row.Hash, At: row.At, Since: h.Since}
	if h.Seq == 0 {
		next.Since = row.At
	}
	return row, next
}

// encoding names the list of values that a row's hash covers; another list needs
// another name, so that no two lists give one byte string.
const encoding = "latchkey/audit/1"

// sum is the hash over everything a row says and over the row before it. The
// parts are length-prefixed and counted: neighbouring values cannot be moved
// into each other.
func (r Row) sum() Hash {
	parts := []string{encoding, r.Org, strconv.FormatInt(r.Seq, 10), string(r.Prev[:]), r.ID, strconv.FormatInt(r.At.UnixMilli(), 10),
		r.Actor, r.Action, r.Target, string(r.Outcome), r.Code, strconv.Itoa(len(r.Detail))}
	for _, name := range slices.Sorted(maps.Keys(r.Detail)) {
		parts = append(parts, name, r.Detail[name])
	}
	return sha256.Sum256(lengthPrefixed(parts...))
}

func lengthPrefixed(parts ...string) []byte {
	var out []byte
	for _, p := range parts {
		out = binary.BigEndian.AppendUint32(out, uint32(len(p)))
		out = append(out, p...)
	}
	return out
}
