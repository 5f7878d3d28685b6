// Package devtools drives a headless Chromium for tests of what pages load.
//
// It speaks the DevTools protocol over a pair of pipes
// (chromedevtools.github.io/devtools-protocol, --remote-debugging-pipe, read 2026-11):
// there is no port, so nobody else can drive it. One [Page] is one tab; its calls wait for
// their answers and may be made by one goroutine at a time. The browser's profile is a
// temporary folder. [Browser.Close] ends the process that was started, and no other.
package devtools

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Program is the browser's file, "" if the machine has none.
func Program() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// Browser is a running one.
type Browser struct {
	cmd     *exec.Cmd
	out     *os.File
	profile string
	mu      sync.Mutex
	next    int
	waiting map[int]chan answer
	ended   chan struct{}
}

type answer struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

// Start starts the program. It ends with ctx at the latest.
func Start(ctx context.Context, program string) (*Browser, error) {
	profile, err := os.MkdirTemp("", "latchkey-browser")
	if err != nil {
		return nil, err
	}
	toRead, toWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	fromRead, fromWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	b := &Browser{out: toWrite, profile: profile, waiting: map[int]chan answer{}, ended: make(chan struct{})}
	// Without a sandbox because tests run as root in containers; it loads our pages only.
	b.cmd = exec.CommandContext(ctx, program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--user-data-dir="+profile, "--remote-debugging-pipe", "about:blank")
	b.cmd.ExtraFiles = []*os.File{toRead, fromWrite} // 3 and 4, as the flag says
	b.cmd.SysProcAttr, b.cmd.WaitDelay = &syscall.SysProcAttr{Setpgid: true}, 5*time.Second
	b.cmd.Cancel = func() error { return syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL) }
	if err := b.cmd.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(profile))
	}
	_, _ = toRead.Close(), fromWrite.Close()
	go b.read(fromRead)
	return b, nil
}

// Close ends the browser with the processes that it started.
func (b *Browser) Close() error {
	_ = syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL)
	_ = b.cmd.Wait()
	<-b.ended
	err := os.RemoveAll(b.profile)
	// One that is being killed may write a last file.
	for try := 0; err != nil && try < 50; try++ {
		time.Sleep(100 * time.Millisecond)
		err = os.RemoveAll(b.profile)
	}
	return errors.Join(b.out.Close(), err)
}

func (b *Browser) read(from *os.File) {
	defer close(b.ended)
	defer from.Close()
	r := bufio.NewReader(from)
	for {
		line, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m struct {
			ID int
			answer
		}
		if json.Unmarshal(line[:len(line)-1], &m) != nil || m.ID == 0 {
			continue
		}
		b.mu.Lock()
		c := b.waiting[m.ID]
		delete(b.waiting, m.ID)
		b.mu.Unlock()
		if c != nil {
			c <- m.answer
		}
	}
}

func (b *Browser) call(ctx context.Context, session, method string, params, out any) error {
	c := make(chan answer, 1)
	b.mu.Lock()
	b.next++
	id := b.next
	b.waiting[id] = c
	m := map[string]any{"id": id, "method": method, "params": params}
	if session != "" {
		m["sessionId"] = session
	}
	line, err := json.Marshal(m)
	if err == nil {
		_, err = b.out.Write(append(line, 0))
	}
	b.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case a := <-c:
		if a.Error != nil {
			return fmt.Errorf("devtools: %s: %s", method, a.Error.Message)
		}
		if out == nil {
			return nil
		}
		return json.Unmarshal(a.Result, out)
	case <-b.ended:
		return fmt.Errorf("devtools: %s: the browser ended", method)
	case <-ctx.Done():
		return fmt.Errorf("devtools: %s: %w", method, ctx.Err())
	}
}

// Page is one tab.
type Page struct {
	b       *Browser
	session string
}

// Page opens a tab. begin runs in each of its documents before anything else does.
func (b *Browser) Page(ctx context.Context, begin string) (*Page, error) {
	var target struct{ TargetID string }
	if err := b.call(ctx, "", "Target.createTarget", map[string]any{"url": "about:blank"}, &target); err != nil {
		return nil, err
	}
	var at struct{ SessionID string }
	if err := b.call(ctx, "", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &at); err != nil {
		return nil, err
	}
	p := &Page{b, at.SessionID}
	for _, domain := range []string{"Page", "Runtime", "Network"} {
		if err := p.Do(ctx, domain+".enable", nil); err != nil {
			return nil, err
		}
	}
	return p, p.Do(ctx, "Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": begin})
}

// Do calls a method of the protocol and forgets its answer.
func (p *Page) Do(ctx context.Context, method string, params map[string]any) error {
	if params == nil {
		params = map[string]any{}
	}
	return p.b.call(ctx, p.session, method, params, nil)
}

// Eval evaluates an expression, whose promise is waited for, into out.
func (p *Page) Eval(ctx context.Context, expression string, out any) error {
	var got struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	err := p.b.call(ctx, p.session, "Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &got)
	switch {
	case err != nil:
		return err
	case got.ExceptionDetails != nil:
		return fmt.Errorf("devtools: %s: %s %s", expression, got.ExceptionDetails.Text, got.ExceptionDetails.Exception.Description)
	case out == nil || got.Result.Value == nil:
		return nil
	}
	return json.Unmarshal(got.Result.Value, out)
}

// Type types text where the focus is.
func (p *Page) Type(ctx context.Context, text string) error {
	return p.Do(ctx, "Input.insertText", map[string]any{"text": text})
}

// Press presses a key, by its name and code.
func (p *Page) Press(ctx context.Context, key string, code int) error {
	m := map[string]any{"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code}
	if key == "Enter" {
		m["text"] = "\r"
	}
	if err := p.Do(ctx, "Input.dispatchKeyEvent", m); err != nil {
		return err
	}
	return p.Do(ctx, "Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": key, "code": key, "windowsVirtualKeyCode": code})
}
