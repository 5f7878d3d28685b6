package security

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// trap is a server at a private address that no vendor's files lie at. It has every
// file, so that whoever asks it gets what was looked for.
type trap struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string][]byte
	asked map[string]int
}

func (p *trap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	p.mu.Lock()
	b := p.files[name]
	p.asked[name]++
	p.mu.Unlock()
	w.Header().Set("Content-Type", "audio/ogg")
	_, _ = w.Write(b)
}

func (p *trap) put(name string, b []byte) (address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files[name] = b
	return p.URL + "/" + name
}

func (p *trap) hits(name string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[name]
}

// listener is an active install of an organisation of its own, whose agent hears
// recordings.
func (c *cell) listener() *app {
	c.org = c.world.tenant(c)
	c.need(c.org.call(c, http.MethodPut, "/settings", map[string]any{"aliases": map[string]any{"transcription": simVoice}}, nil))
	return c.app()
}

// file is what a person attached: its name at the vendor, and its bytes, of which
// no other file has as many, because that is how the simulated transcription tells
// one from another.
type file struct {
	name  string
	bytes []byte
}

func (c *cell) recording() file {
	n := c.serial.Add(1)
	return file{fmt.Sprintf("8%09d", n), mockvendor.Opus(3, int(2000+n))}
}

func (c *cell) loginPage() file {
	n := c.serial.Add(1)
	return file{fmt.Sprintf("9%09d", n), []byte("<!DOCTYPE html><title>Sign in</title>" + strings.Repeat(" ", int(100_000+n)))}
}

// heard counts the transcriptions of a file.
func (c *cell) heard(f file) int {
	n := 0
	for _, call := range c.vendor.Asked(heardText(f)) {
		if strings.HasSuffix(call.Path, "/audio/transcriptions") {
			n++
		}
	}
	return n
}

func heardText(f file) string { return fmt.Sprintf("hello from %d bytes of audio", len(f.bytes)) }

// unheard sends a file that must not be taken for a recording: the person is told,
// nobody is asked to transcribe it, and nothing is charged. It reports whether that
// was so.
func (c *cell) unheard(a *app, f file, at mockvendor.File) bool {
	at.Body = f.bytes
	c.vendor.Put(f.name, at)
	c.accepted(a, a.signed(a.note(f)))
	var turn struct {
		Requests []string `json:"request_ids"`
	}
	if r := c.turned(a, 0, c.want.Audit); r.Turn != "" {
		c.need(c.org.call(c, http.MethodGet, "/turns/"+r.Turn, nil, &turn))
	}
	c.answered(a)
	if len(turn.Requests) > 0 {
		c.bad("the turn asked for %d metered calls", len(turn.Requests))
	}
	if posts := a.posted(); len(posts) > 0 && !strings.Contains(posts[len(posts)-1].Text, "couldn't open that recording") {
		c.bad("the person was told %q", posts[len(posts)-1].Text)
	}
	if n := c.heard(f); n > 0 {
		c.bad("transcribed %d times", n)
	}
	var credits struct{ Posted, Held int64 }
	if !c.until(func() bool {
		c.need(c.org.call(c, http.MethodGet, "/credits", nil, &credits))
		return credits.Held == 0
	}) || credits.Posted != startCredits || c.charges() != 0 {
		c.bad("charged: %+v, %d entries", credits, c.charges())
	}
	return len(c.problems) == 0
}

// hears shows that a recording where it belongs is transcribed, answered and charged.
func (c *cell) hears(a *app) {
	f := c.recording()
	c.vendor.Put(f.name, mockvendor.File{Body: f.bytes, Type: "audio/ogg"})
	c.accepted(a, a.signed(a.note(f)))
	c.answered(a)
	posts := a.posted()
	if len(posts) == 0 || posts[len(posts)-1].Text != "You said: "+heardText(f) || c.heard(f) != 1 {
		c.bad("a good recording: %d transcriptions, posts %+v", c.heard(f), posts)
	}
	if !c.until(func() bool { return c.charges() > 0 }) {
		c.bad("a good recording was not charged")
	}
}

// mediaElsewhere: the vendor's answer names an address that is not one of the
// vendor's, or redirects to one.
func mediaElsewhere(c *cell) {
	a := c.listener()
	f := c.recording()
	if !c.unheard(a, f, mockvendor.File{Redirect: c.trap.put(f.name, f.bytes), Type: "audio/ogg"}) {
		return
	}
	files := []file{f}
	if c.col.addresses {
		for _, host := range []string{c.trap.URL, "http://169.254.169.254", "https://files.example.com"} {
			f := c.recording()
			c.trap.put(f.name, f.bytes)
			if !c.unheard(a, f, mockvendor.File{URL: host + "/" + f.name, Type: "audio/ogg"}) {
				return
			}
			files = append(files, f)
		}
	}
	for _, f := range files {
		if n := c.trap.hits(f.name); n > 0 {
			c.bad("the private address was asked %d times", n)
		}
	}
	c.hears(a)
}

// mediaIsPage: instead of the file comes a page that asks for a login, called what it
// is and called a recording.
func mediaIsPage(c *cell) {
	a := c.listener()
	for _, kind := range []string{"text/html; charset=utf-8", "audio/ogg"} {
		if !c.unheard(a, c.loginPage(), mockvendor.File{Type: kind}) {
			return
		}
	}
	c.hears(a)
}
