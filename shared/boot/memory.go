package boot

import (
	"runtime/debug"
	"strconv"
)

// memoryVar is set by Lambda: the function's memory in MB.
const memoryVar = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"

const (
	// collectorPercent lets the heap grow to four times what is alive before it is
	// collected. Alive are about 5 MB, a call makes 0.2 MB of garbage, and every
	// collection looks at all that is alive: by the default of 100 % a busy
	// function collects every thirtieth call.
	collectorPercent = 300
	// memoryShare of the function's memory, in percent, is where the collector
	// begins to work harder instead, so that large requests do not end the process.
	memoryShare = 70
)

// tuneCollector trades memory that is paid for anyway for processor time. Who sets
// GOGC or GOMEMLIMIT has decided otherwise.
func tuneCollector(lookup func(string) (string, bool)) {
	if _, set := lookup("GOGC"); !set {
		debug.SetGCPercent(collectorPercent)
	}
	text, _ := lookup(memoryVar)
	mb, err := strconv.ParseInt(text, 10, 32)
	if _, set := lookup("GOMEMLIMIT"); !set && err == nil && mb > 0 {
		debug.SetMemoryLimit(mb << 20 * memoryShare / 100)
	}
}
