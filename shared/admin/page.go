package admin

import (
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// list is every list answer. A null cursor is the end.
type list[T any] struct {
	Items      []T     `json:"items"`
	NextCursor *string `json:"next_cursor"`
}

const (
	defaultLimit = 50
	maxLimit     = 200
	maxCursor    = 512
)

// page is the position and size a list was asked for.
type page struct {
	after string
	limit int
}

func pageParams() []param {
	return []param{{"cursor", "next_cursor of the page before"}, {"limit", "1 to 200, default 50"}}
}

func (c *call) page() (page, error) {
	p := page{limit: defaultLimit}
	if s := c.req.Query.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return p, malformed("limit", "limit is a whole number from 1 to 200")
		}
		p.limit = min(n, maxLimit)
	}
	if s := c.req.Query.Get("cursor"); s != "" {
		raw, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil || len(s) > maxCursor || len(raw) == 0 || !cursorText(string(raw)) {
			return p, malformed("cursor", "this cursor is not one of ours; start without it")
		}
		p.after = string(raw)
	}
	return p, nil
}

// cursorText admits what positions are made of. Anything else could make a key
// range that the store refuses.
func cursorText(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-#.:/", r))
	})
}

// answer makes a list of a page of domain values; next is the position after it.
func answer[D, T any](items []D, next string, f func(D) T) list[T] {
	out := list[T]{Items: make([]T, len(items))}
	for i, item := range items {
		out.Items[i] = f(item)
	}
	if next != "" {
		cursor := base64.RawURLEncoding.EncodeToString([]byte(next))
		out.NextCursor = &cursor
	}
	return out
}

// slicePage pages over a list that is read whole; id must ascend.
func slicePage[D any](all []D, p page, id func(D) string) ([]D, string) {
	start := 0
	for p.after != "" && start < len(all) && id(all[start]) <= p.after {
		start++
	}
	rest := all[start:]
	if len(rest) <= p.limit {
		return rest, ""
	}
	return rest[:p.limit], id(rest[p.limit-1])
}

// stamp is an optional time on the wire.
func stamp(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	utc := t.UTC()
	return &utc
}
