package rig

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	// tick is the unit of /proc/<pid>/stat and /proc/stat: Linux shows 100 per
	// second to programs on every architecture Go runs on (proc(5), sysconf _SC_CLK_TCK).
	tick = 10 * time.Millisecond
	// virtualMachine is the engine's process name. Its threads come and go, so
	// their sum loses what ended ones have used.
	virtualMachine = "java"
)

// Process is a running process.
type Process struct {
	PID  int
	Name string // the first 15 characters of the program's name
	CPU  time.Duration
}

// CPU is the time that a process has had on a processor: from the scheduler's
// count per thread, or in hundredths of a second where that is missing or loses
// ended threads. 0 if the process is gone.
func CPU(pid int) time.Duration { return read(pid).CPU }

func read(pid int) Process {
	p := Process{PID: pid}
	fields, name := stat(pid)
	if fields == nil {
		return p
	}
	p.Name = name
	if name != virtualMachine {
		if p.CPU = threads(pid); p.CPU > 0 {
			return p
		}
	}
	p.CPU = time.Duration(number(fields, 11)+number(fields, 12)) * tick
	return p
}

// stat returns the fields of /proc/<pid>/stat behind the name, state first.
func stat(pid int) (fields []string, name string) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return nil, ""
	}
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return nil, ""
	}
	return strings.Fields(string(b[end+1:])), string(b[open+1 : end])
}

func number(fields []string, i int) int64 {
	if i >= len(fields) {
		return 0
	}
	n, err := strconv.ParseInt(fields[i], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func threads(pid int) time.Duration {
	files, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "schedstat"))
	if err != nil {
		return 0
	}
	var sum int64
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil {
			sum += number(strings.Fields(string(b)), 0)
		}
	}
	return time.Duration(sum)
}

// Processes lists the children of a process with what they have used.
func Processes(parent int) []Process {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var out []Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if fields, _ := stat(pid); fields != nil && number(fields, 1) == int64(parent) {
			out = append(out, read(pid))
		}
	}
	return out
}

// RSS is a process's resident memory in bytes, 0 if it is gone.
func RSS(pid int) int64 {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return number(strings.Fields(rest), 0) << 10
		}
	}
	return 0
}

// Busy is the time that all processors together have worked since the machine
// started, time stolen by its host included.
func Busy() time.Duration {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(b), "\n")
	f := strings.Fields(line) // cpu user nice system idle iowait irq softirq steal
	var sum int64
	for _, i := range []int{1, 2, 3, 6, 7, 8} {
		sum += number(f, i)
	}
	return time.Duration(sum) * tick
}

// LoadAverage is the machine's load over the last minute, as text.
func LoadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(b), " ")
	return first
}
