package boot

import (
	"math"
	"runtime/debug"
	"testing"
)

// What the process had is put back.
func TestTuneCollector(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(math.MaxInt64))
	for name, c := range map[string]struct {
		env     map[string]string
		percent int
		limit   int64
	}{
		"lambda":    {map[string]string{"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512"}, 300, 512 << 20 * 70 / 100},
		"elsewhere": {nil, 300, math.MaxInt64},
		"nonsense":  {map[string]string{"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "-1"}, 300, math.MaxInt64},
		"decided":   {map[string]string{"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512", "GOGC": "50", "GOMEMLIMIT": "1GiB"}, 100, math.MaxInt64},
	} {
		debug.SetGCPercent(100)
		debug.SetMemoryLimit(math.MaxInt64)
		tuneCollector(func(name string) (string, bool) { v, ok := c.env[name]; return v, ok })
		if percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(-1); percent != c.percent || limit != c.limit {
			t.Errorf("%s: %d %%, limit %d", name, percent, limit)
		}
	}
}
