package ddblocal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	startLimit = 60 * time.Second
	stopLimit  = 10 * time.Second
	lockLimit  = 2 * time.Second
)

// ErrInUse reports that another engine holds the data directory.
var ErrInUse = errors.New("ddblocal: data directory is in use")

// Options configure [Start].
type Options struct {
	// Emulator is the package's emulator folder, which holds DynamoDBLocal.jar
	// and DynamoDBLocal_lib.
	Emulator string
	// DataDir keeps the tables; it is created. Ignored with InMemory.
	DataDir  string
	InMemory bool
	// Java is the java executable; empty means the one on the PATH.
	Java string
	// CacheDir keeps the compiled launcher; empty means a folder of the user's
	// cache directory.
	CacheDir string
	// Log receives what the engine prints; nil discards it.
	Log io.Writer
}

// Server is a running engine. Its methods are safe for concurrent use.
type Server struct {
	// URL is the endpoint of DynamoDB and of DynamoDB Streams.
	URL string
	// PID is the engine's process id.
	PID int

	stdin    io.Closer
	process  *os.Process
	lock     *os.File
	stopOnce sync.Once
	done     chan struct{}
	exit     error
}

// Start runs the engine and returns when it accepts requests, in about a
// second (two for the very first start). Cancelling ctx aborts the start only;
// use [Server.Stop] afterwards. Errors wrap [ErrJava], [ErrNotInstalled] or
// [ErrInUse] where one of them is the cause and then say what to do.
func Start(ctx context.Context, o Options) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	emulator, err := filepath.Abs(o.Emulator)
	if err != nil {
		return nil, fmt.Errorf("ddblocal: emulator folder: %w", err)
	}
	if _, err := os.Stat(filepath.Join(emulator, "DynamoDBLocal.jar")); err != nil {
		return nil, fmt.Errorf("%w: no DynamoDBLocal.jar in %s: run `npm ci` in the repository root", ErrNotInstalled, emulator)
	}
	java, err := findJava(o.Java)
	if err != nil {
		return nil, err
	}
	cache, err := cacheDir(o.CacheDir)
	if err != nil {
		return nil, err
	}
	classes, err := compiledLauncher(ctx, java, emulator, cache)
	if err != nil {
		return nil, err
	}
	args := append(jvmFlags(emulator), "-cp", classes+string(os.PathListSeparator)+classPath(emulator), "Launcher")
	var lock *os.File
	if !o.InMemory {
		dir, l, err := openDataDir(ctx, o.DataDir)
		if err != nil {
			return nil, err
		}
		args, lock = append(args, dir), l
	}
	s, err := launch(ctx, java, args, cache, lock, o.Log)
	if err != nil && ctx.Err() == nil {
		err = javaProblem(ctx, java, err)
	}
	return s, err
}

// jvmFlags trade peak speed for a fast start and little memory: the engine
// serves one developer.
func jvmFlags(emulator string) []string {
	return []string{
		"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xms16m", "-Xmx512m",
		"-Djava.net.preferIPv4Stack=true", "-Djava.awt.headless=true",
		"-Dorg.eclipse.jetty.util.log.announce=false", "-Dorg.eclipse.jetty.LEVEL=WARN",
		"-Djava.library.path=" + filepath.Join(emulator, "DynamoDBLocal_lib"),
	}
}

func cacheDir(dir string) (string, error) {
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("ddblocal: cache directory: %w", err)
		}
		dir = filepath.Join(user, "latchkey")
	}
	return filepath.Abs(dir)
}

// openDataDir creates and locks the directory: two engines on one database file
// would fail at random instead of at the start.
func openDataDir(ctx context.Context, dir string) (string, *os.File, error) {
	if dir == "" {
		return "", nil, errors.New("ddblocal: Options.DataDir is empty and InMemory is not set")
	}
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return "", nil, fmt.Errorf("ddblocal: data directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", nil, fmt.Errorf("ddblocal: data directory: %w", err)
	}
	// The engine of a killed stack ends a moment after it, so a short wait.
	for deadline := time.Now().Add(lockLimit); ; {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			lock.Close()
			return "", nil, fmt.Errorf("%w: %s: stop the other local stack or choose another directory", ErrInUse, dir)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return dir, lock, nil
}

func launch(ctx context.Context, java string, args []string, dir string, lock *os.File, log io.Writer) (*Server, error) {
	cmd := exec.Command(java, args...)
	cmd.Dir = dir
	cmd.Env = []string{"DDB_LOCAL_TELEMETRY=0", "LANG=C.UTF-8", "TMPDIR=" + os.TempDir()}
	cmd.SysProcAttr = childAttributes()
	if lock != nil {
		// The child holds the lock too: it may outlive its parent by a moment.
		cmd.ExtraFiles = []*os.File{lock}
	}
	printed := &lastLines{next: log}
	cmd.Stderr = printed
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("ddblocal: %w", err)
	}
	ports := &portReader{next: printed, port: make(chan int, 1)}
	cmd.Stdout = ports
	s := &Server{stdin: stdin, lock: lock, done: make(chan struct{})}
	if err := s.run(cmd); err != nil {
		s.unlock()
		return nil, fmt.Errorf("ddblocal: starting java: %w", err)
	}
	select {
	case port := <-ports.port:
		s.URL = "http://127.0.0.1:" + strconv.Itoa(port)
		return s, nil
	case <-s.done:
		return nil, fmt.Errorf("ddblocal: the engine ended at its start: %s", tail(printed.String()))
	case <-ctx.Done():
		s.kill()
		return nil, fmt.Errorf("ddblocal: the engine did not start: %w", ctx.Err())
	}
}

// run starts and waits for the process on one locked thread: the kernel's
// death signal follows the thread that forked, not the process.
func (s *Server) run(cmd *exec.Cmd) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			s.process, s.PID = cmd.Process, cmd.Process.Pid
		}
		started <- err
		if err != nil {
			return
		}
		s.exit = cmd.Wait()
		s.unlock()
		close(s.done)
	}()
	return <-started
}

func (s *Server) unlock() {
	if s.lock != nil {
		s.lock.Close()
	}
}

func (s *Server) kill() {
	s.process.Kill()
	<-s.done
}

// Done is closed when the engine has ended, whatever the reason.
func (s *Server) Done() <-chan struct{} { return s.done }

// Stop closes the database and waits until the engine has ended; after ten
// seconds it is killed and an error returned. Later calls return nil.
func (s *Server) Stop() error {
	var err error
	s.stopOnce.Do(func() {
		s.stdin.Close()
		select {
		case <-s.done:
			if s.exit != nil {
				err = fmt.Errorf("ddblocal: the engine ended badly: %w", s.exit)
			}
		case <-time.After(stopLimit):
			s.kill()
			err = errors.New("ddblocal: the engine had to be killed")
		}
	})
	return err
}

// portReader finds the launcher's "listening PORT" line and passes everything
// on. It never blocks the engine.
type portReader struct {
	next  io.Writer
	buf   []byte
	found bool
	port  chan int
}

func (r *portReader) Write(p []byte) (int, error) {
	if !r.found {
		r.buf = append(r.buf, p...)
		r.scan()
	}
	return r.next.Write(p)
}

func (r *portReader) scan() {
	for {
		line, rest, whole := bytes.Cut(r.buf, []byte("\n"))
		if !whole {
			return
		}
		r.buf = rest
		number, ok := strings.CutPrefix(strings.TrimSpace(string(line)), "listening ")
		if port, err := strconv.Atoi(number); ok && err == nil {
			r.found, r.buf = true, nil
			r.port <- port
			return
		}
	}
}

// lastLines keeps the last few KB of the output for an error message.
type lastLines struct {
	mu   sync.Mutex
	next io.Writer
	kept []byte
}

func (l *lastLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = append(l.kept, p...)
	if over := len(l.kept) - 4096; over > 0 {
		l.kept = append(l.kept[:0], l.kept[over:]...)
	}
	if l.next != nil {
		l.next.Write(p)
	}
	return len(p), nil
}

func (l *lastLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.kept)
}
