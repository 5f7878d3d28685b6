package lambdahost

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
)

const (
	logTailLines = 20
	logLineBytes = 64 * 1024 // a longer line is written in pieces of this size
)

// functionLog is the log file of one function, shared by its processes.
type functionLog struct {
	path string
	mu   sync.Mutex
	file *os.File
}

func openLog(path string) (*functionLog, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lambdahost: log file: %w", err)
	}
	return &functionLog{path: path, file: f}, nil
}

func (l *functionLog) write(line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_, _ = l.file.Write(line) // a full disk must not stop the functions
	}
}

func (l *functionLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close()
		l.file = nil
	}
}

// logTail copies one process's output into the log, line by line, and keeps
// the last lines for the report of a failed start.
type logTail struct {
	mu    sync.Mutex
	lines []string
	done  chan struct{}
}

func newLogTail() *logTail { return &logTail{done: make(chan struct{})} }

func (t *logTail) copy(r io.Reader, pid int, log *functionLog) {
	defer close(t.done)
	prefix := "[" + strconv.Itoa(pid) + "] "
	br := bufio.NewReaderSize(r, logLineBytes)
	for {
		line, _, err := br.ReadLine()
		if err != nil {
			return
		}
		buf := make([]byte, 0, len(prefix)+len(line)+1)
		buf = append(append(append(buf, prefix...), line...), '\n')
		log.write(buf)
		t.mu.Lock()
		if len(t.lines) == logTailLines {
			t.lines = append(t.lines[:0], t.lines[1:]...)
		}
		t.lines = append(t.lines, string(line))
		t.mu.Unlock()
	}
}

func (t *logTail) last() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string(nil), t.lines...)
}
