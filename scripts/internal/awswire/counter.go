package awswire

import "sync"

// Call names what a [Counter] counts: who called what. Principal is an access
// key id ("" for an unsigned request).
type Call struct{ Principal, Operation string }

// Counter counts calls. The zero value is ready. Safe for concurrent use.
type Counter struct {
	mu    sync.Mutex
	calls map[Call]int
}

// Add counts one call.
func (c *Counter) Add(principal, operation string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls == nil {
		c.calls = make(map[Call]int)
	}
	c.calls[Call{principal, operation}]++
}

// Snapshot returns a copy of the counts.
func (c *Counter) Snapshot() map[Call]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[Call]int, len(c.calls))
	for k, v := range c.calls {
		out[k] = v
	}
	return out
}

// Reset forgets every count.
func (c *Counter) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = nil
}

// Allow is a permission table: access key id → resource name → operations. A nil
// table permits everything (no enforcement asked for); in a non-nil table what
// is not listed is denied. The resource "*" stands for calls that name none.
type Allow map[string]map[string][]string

// Permits reports whether principal may run operation on resource.
func (a Allow) Permits(principal, resource, operation string) bool {
	if a == nil {
		return true
	}
	return contains(a[principal][resource], operation)
}

// PermitsAnywhere reports whether principal may run operation on at least one
// resource, for calls whose resource is hidden in an opaque token.
func (a Allow) PermitsAnywhere(principal, operation string) bool {
	if a == nil {
		return true
	}
	for _, operations := range a[principal] {
		if contains(operations, operation) {
			return true
		}
	}
	return false
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}
