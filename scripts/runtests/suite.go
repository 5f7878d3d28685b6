package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/latchkey/latchkey/scripts/internal/ddblocal"
)

// suite is the state of one run.
type suite struct {
	root, tools string
	env         map[string]string // for the tests
	mu          sync.Mutex
	closers     []func()
}

// installed tells the tests what is there in every mode, because ./scripts/setup came
// first: with it, what is missing is a failure; without it, a comparison less.
func installed(root string) map[string]string {
	return map[string]string{"LATCHKEY_TEST_NODE_MODULES": filepath.Join(root, "node_modules")}
}

func (s *suite) stop() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
}

func (s *suite) environ() []string {
	env := append(os.Environ(), "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION=1")
	for k, v := range s.env {
		env = append(env, k+"="+v)
	}
	return env
}

// command runs a program in the root, its output passed on.
func (s *suite) command(ctx context.Context, name string, args ...string) error {
	return s.commandTo(ctx, os.Stdout, name, args...)
}

func (s *suite) commandTo(ctx context.Context, out io.Writer, name string, args ...string) error {
	return s.commandWith(ctx, nil, out, name, args...)
}

// commandWith has variables of its own, which win.
func (s *suite) commandWith(ctx context.Context, env map[string]string, out io.Writer, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.root, s.environ(), out, out
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	return cmd.Run()
}

// output runs a program and returns what it printed.
func (s *suite) output(ctx context.Context, name string, args ...string) (string, error) {
	var b bytes.Buffer
	err := s.commandTo(ctx, &b, name, args...)
	return b.String(), err
}

// quiet runs a program and shows its output only if it fails.
func (s *suite) quiet(ctx context.Context, name string, args ...string) error {
	out, err := s.output(ctx, name, args...)
	if err != nil {
		fmt.Print(out)
	}
	return err
}

// packages lists Go packages below patterns.
func (s *suite) packages(ctx context.Context, patterns ...string) ([]string, error) {
	out, err := s.output(ctx, "go", append([]string{"list"}, patterns...)...)
	if err != nil {
		return nil, fmt.Errorf("go list: %s", out)
	}
	return strings.Fields(out), nil
}

// goTool installs a Go program in a pinned version, once.
func (s *suite) goTool(ctx context.Context, pkg, version string) (string, error) {
	dir := filepath.Join(s.tools, "bin-"+version)
	bin := filepath.Join(dir, filepath.Base(pkg))
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	cmd := exec.CommandContext(ctx, "go", "install", pkg+"@"+version)
	cmd.Env = append(os.Environ(), "GOBIN="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("installing %s: %s", pkg, out)
	}
	return bin, nil
}

// debian installs a Debian package for a program that is missing, if root.
func (s *suite) debian(ctx context.Context, program, pkg string) error {
	if _, err := exec.LookPath(program); err == nil {
		return nil
	}
	if os.Getuid() != 0 {
		return fmt.Errorf("%s is missing: install the Debian package %s", program, pkg)
	}
	if s.quietly(ctx, "apt-get", "install", "-y", "-qq", "--no-install-recommends", pkg) == nil {
		return nil
	}
	if err := s.quiet(ctx, "apt-get", "update", "-qq"); err != nil {
		return err
	}
	return s.quiet(ctx, "apt-get", "install", "-y", "-qq", "--no-install-recommends", pkg)
}

func (s *suite) quietly(ctx context.Context, name string, args ...string) error {
	_, err := s.output(ctx, name, args...)
	return err
}

// python makes an environment with the pinned check tools, once per version of
// the requirements.
func (s *suite) python(ctx context.Context) (string, error) {
	wanted, err := os.ReadFile(filepath.Join(s.root, "scripts", "requirements.txt"))
	if err != nil {
		return "", err
	}
	dir := filepath.Join(s.tools, "python")
	stamp := filepath.Join(dir, "requirements.txt")
	if have, err := os.ReadFile(stamp); err == nil && bytes.Equal(have, wanted) {
		return dir, nil
	}
	if err := s.debian(ctx, "python3", "python3"); err != nil {
		return "", err
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := s.quietly(ctx, "python3", "-m", "venv", dir); err != nil {
		// Debian splits the module off.
		if err := s.quiet(ctx, "apt-get", "install", "-y", "-qq", "--no-install-recommends", "python3-venv"); err != nil {
			return "", errors.New("python3 -m venv does not work: install the Debian package python3-venv")
		}
		if err := s.quiet(ctx, "python3", "-m", "venv", dir); err != nil {
			return "", err
		}
	}
	if err := s.quiet(ctx, filepath.Join(dir, "bin", "pip"), "install", "--quiet", "--disable-pip-version-check", "-r", "scripts/requirements.txt"); err != nil {
		return "", err
	}
	return dir, os.WriteFile(stamp, wanted, 0o644)
}

// startServers starts the engine, moto and the vendor simulator, all at once.
func startServers(ctx context.Context, s *suite) error {
	s.env["LATCHKEY_TEST_EMULATOR"] = s.emulator()
	var group errgroup.Group
	var engine, moto, aimock string
	group.Go(func() (err error) { engine, err = s.engine(ctx); return err })
	group.Go(func() error {
		py, err := s.python(ctx)
		if err != nil {
			return err
		}
		port, err := freePort()
		if err != nil {
			return err
		}
		moto = "http://127.0.0.1:" + port
		return s.server(ctx, moto+"/moto-api/", filepath.Join(py, "bin", "moto_server"), "-H", "127.0.0.1", "-p", port)
	})
	group.Go(func() error {
		port, err := freePort()
		if err != nil {
			return err
		}
		aimock = "http://127.0.0.1:" + port
		return s.server(ctx, aimock+"/v1/models", "node", "node_modules/@copilotkit/aimock/dist/cli.js", "-p", port, "-h", "127.0.0.1",
			"-f", "scripts/testdata/aimock", "--log-level", "warn")
	})
	err := group.Wait()
	s.env["LATCHKEY_TEST_DYNAMODB_URL"], s.env["LATCHKEY_TEST_MOTO_URL"], s.env["LATCHKEY_TEST_AIMOCK_URL"] = engine, moto, aimock
	return err
}

func (s *suite) emulator() string {
	return filepath.Join(s.root, "node_modules", "amplify-dynamodb-simulator", "emulator")
}

// engine starts a database of its own, in memory, and returns its address.
func (s *suite) engine(ctx context.Context) (url string, err error) {
	engine, err := ddblocal.Start(ctx, ddblocal.Options{Emulator: s.emulator(), InMemory: true, CacheDir: filepath.Join(s.root, "build", "ddblocal")})
	if err != nil {
		return "", err
	}
	s.closeLater(func() { _ = engine.Stop() })
	return engine.URL, nil
}

func (s *suite) closeLater(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closers = append(s.closers, f)
}

// server starts a program that ends with this process and waits until it
// answers.
func (s *suite) server(ctx context.Context, ready, name string, args ...string) error {
	var out bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.root, s.environ(), &out, &out
	cmd.SysProcAttr = childAttributes()
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	s.closeLater(func() {
		_ = cmd.Process.Kill()
		<-exited
	})
	for range 300 {
		select {
		case <-exited:
			return fmt.Errorf("%s ended: %s", filepath.Base(name), out.String())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
		resp, err := http.Get(ready)
		if err == nil {
			_ = resp.Body.Close()
			return nil
		}
	}
	return fmt.Errorf("%s does not answer: %s", filepath.Base(name), out.String())
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil
}
