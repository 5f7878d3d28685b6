package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/devtools"
	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// chromium is the machine's, which ./scripts/test installs.
func chromium(t *testing.T) string {
	t.Helper()
	path := devtools.Program()
	if path == "" {
		t.Skip("no Chromium on this machine: ./scripts/test installs it, or the Debian package chromium does")
	}
	return path
}

// site is an organisation's own: a page with the chat under a strict policy, and the
// tokens of who is signed in.
type site struct {
	*httptest.Server
	visitor atomic.Value
	tokens  atomic.Int64
	// losing is how many answers to messages get lost below /through, which asks by way of
	// the site.
	losing atomic.Int64
	// stray is what was asked for where an image said, staged below the path of a stage.
	stray, staged atomic.Int64
}

func newSite(t *testing.T, p *phone, life time.Duration) *site {
	s := &site{}
	s.visitor.Store("ada")
	policy := "default-src 'none'; script-src " + world.BaseURL + "; connect-src 'self' " + world.BaseURL
	mux := http.NewServeMux()
	mux.HandleFunc("/chat-token", func(w http.ResponseWriter, _ *http.Request) {
		s.tokens.Add(1)
		if s.visitor.Load() == "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		now := time.Now()
		_ = json.NewEncoder(w).Encode(map[string]string{"token": mockvendor.VisitorToken(p.secret, p.install, s.visitor.Load().(string), now, map[string]any{"exp": now.Add(life).Unix()})})
	})
	api, _ := url.Parse(world.BaseURL)
	through := httputil.NewSingleHostReverseProxy(api)
	mux.HandleFunc("/webhooks/", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case s.losing.Load() <= 0:
			through.ServeHTTP(w, r)
			return
		case r.Method != http.MethodPost: // a page that sees its message does not send it again
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		s.losing.Add(-1)
		through.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/stray/", func(http.ResponseWriter, *http.Request) { s.stray.Add(1) })
	mux.Handle("/stage/", http.StripPrefix("/stage", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/webhooks/") {
			s.staged.Add(1)
		}
		through.ServeHTTP(w, r)
	})))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		base := world.BaseURL
		if r.URL.Path == "/through" {
			base = s.origin()
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", policy)
		switch r.URL.Path {
		case "/image": // what may be written where no script may
			fmt.Fprintf(w, `<!doctype html><img name=currentScript data-install="%s" data-token-url="/chat-token" data-base="/stray"><script src="%s/widget.js"></script>`, p.install, world.BaseURL)
			return
		case "/staged":
			w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; connect-src 'self'")
			fmt.Fprintf(w, `<!doctype html><script src="/stage/widget.js?v=1" data-install="%s" data-token-url="/chat-token"></script>`, p.install)
			return
		}
		fmt.Fprintf(w, `<!doctype html><title>A shop</title><h1>A shop</h1><script src="%s/widget.js" data-install="%s" data-token-url="/chat-token" data-title="Help" data-greeting="How can we help?" data-base="%s"></script>`, world.BaseURL, p.install, base)
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// origin is the site's by name: pages of the machine itself may use http.
func (s *site) origin() string { return strings.Replace(s.URL, "127.0.0.1", "localhost", 1) }

// tab is a page in a browser, with what it is asked for.
type tab struct {
	*testing.T
	*devtools.Page
	ctx context.Context
}

// In the page: the chat's root, what it shows, and what the policy of the page forbade.
const inPage = `window.forbidden = [];
document.addEventListener("securitypolicyviolation", e => forbidden.push(e.effectiveDirective + " " + e.blockedURI));
window.chat = () => document.querySelector("[data-latchkey]").shadowRoot;
window.talk = () => [...chat().querySelectorAll(".m")].map(m => m.className.slice(2) + ": " + m.querySelector("p").textContent).join(" | ");`

func openTab(t *testing.T) *tab {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	b, err := devtools.Start(ctx, chromium(t))
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); must(t, b.Close()) })
	p, err := b.Page(ctx, inPage)
	must(t, err)
	return &tab{t, p, ctx}
}

func (b *tab) to(url string) {
	b.Helper()
	must(b.T, b.Do(b.ctx, "Page.navigate", map[string]any{"url": url}))
	b.until("the chat is there", `!!(document.querySelector("[data-latchkey]") && window.latchkey.widget)`)
}

// is reports whether an expression is true; a page that is loading has none that is.
func (b *tab) is(expression string) (ok bool) {
	if b.Eval(b.ctx, "Boolean("+expression+")", &ok) != nil {
		return false
	}
	return ok
}

func (b *tab) until(what, expression string) {
	b.Helper()
	defer func() {
		if b.Failed() {
			b.Logf("the page: %s, %s", b.text("talk()"), b.text(`chat().querySelector(".s").textContent + [...chat().querySelectorAll(".w")].map(w => w.textContent).join("/")`))
		}
	}()
	eventually(b.T, what, func() bool { return b.is(expression) })
}

func (b *tab) text(expression string) (out string) {
	_ = b.Eval(b.ctx, expression, &out)
	return out
}

// says types into the chat as a person does.
func (b *tab) says(text string) {
	b.Helper()
	b.until("the input has the focus", `chat().activeElement && chat().activeElement.id === "i"`)
	must(b.T, b.Type(b.ctx, text))
	must(b.T, b.Press(b.ctx, "Enter", 13))
}

// shows waits for a conversation, whole.
func (b *tab) shows(talk string) {
	b.Helper()
	want, _ := json.Marshal(talk)
	b.until("the page shows "+talk, "talk() === "+string(want))
}

func (p *phone) allow(origins ...string) {
	p.call(http.MethodPatch, "/installs/"+p.install, map[string]any{"config": map[string]any{"allowed_origins": append(origins, shop)}}, nil)
}

// TestWidgetInABrowser: a visitor opens the chat with the keyboard, is answered, finds
// the conversation after a reload, and loses nothing while there is no connection. What
// a model writes is text, and the page's policy forbids nothing of it.
func TestWidgetInABrowser(t *testing.T) {
	p := newPhone(t, "web")
	s := newSite(t, p, time.Hour)
	p.allow(s.origin())
	b := openTab(t)
	b.to(s.origin())
	if !b.is(`chat().querySelector(".p").hidden && chat().querySelector(".go").getAttribute("aria-expanded") === "false"`) {
		t.Error("the chat is open")
	}
	must(t, b.Press(b.ctx, "Tab", 9))
	must(t, b.Press(b.ctx, "Enter", 13))
	b.says("hello")
	const first = "assistant: How can we help? | user: hello | assistant: You said: hello"
	b.shows(first)
	hostile := `<img src=x onerror="window.pwned=1"><b>bold</b>`
	b.says(hostile)
	b.until("the second answer is shown", `talk().split("assistant: ").length === 4`)
	if !b.is(`!window.pwned && !chat().querySelector("img, b, a, script, iframe") && talk().includes('<img src=x onerror')`) {
		t.Errorf("the page shows %s", b.text("talk()"))
	}
	if got := b.text("forbidden.join()"); got != "" {
		t.Errorf("the page's policy forbade %s", got)
	}
	if got := b.text(`["role","aria-live"].map(n => chat().querySelector(".l").getAttribute(n)).join() + chat().querySelector("label").htmlFor + chat().querySelector(".p").getAttribute("aria-label")`); got != "log,politeiHelp" {
		t.Errorf("for people who listen: %s", got)
	}
	must(t, b.Press(b.ctx, "Escape", 27))
	b.until("Escape closes the chat and gives the focus back", `chat().querySelector(".p").hidden && chat().activeElement && chat().activeElement.className === "go"`)
	before := b.text("talk()")
	b.to(s.origin())
	b.until("the conversation is there after a reload", "talk() === "+jsonText(before))
	offline(t, b, p, s, before)
}

// offline: what is written without a connection is kept, over a reload, too, and said
// once.
func offline(t *testing.T, b *tab, p *phone, s *site, before string) {
	block := func(urls ...string) {
		t.Helper()
		must(t, b.Do(b.ctx, "Network.setBlockedURLs", map[string]any{"urls": append([]string{}, urls...)}))
	}
	had := len(p.shown("ada", "?limit=100").Items)
	must(t, b.Eval(b.ctx, `chat().querySelector(".go").click()`, nil))
	block("*/webhooks/*")
	b.says("into the dark")
	b.until("it is said that it waits", `chat().querySelector(".s").textContent.includes("No connection") && talk().endsWith("user: into the dark")`)
	b.to(s.origin())
	b.until("it is there after a reload", `talk().endsWith("user: into the dark")`)
	if got := p.shown("ada", "?limit=100"); len(got.Items) != had {
		t.Errorf("%s", got.talk())
	}
	block()
	must(t, b.Eval(b.ctx, `window.dispatchEvent(new Event("online"))`, nil))
	b.shows(before + " | user: into the dark | assistant: You said: into the dark")
	if got := p.shown("ada", "?limit=100").talk(); strings.Count(got, "user: into the dark") != 1 || !b.is("localStorage.length === 0") {
		t.Errorf("%s; kept: %s", got, b.text("JSON.stringify(localStorage)"))
	}
}

// TestWidgetRepeats: a message whose answer gets lost has arrived; it is sent again under
// its id, and said and answered once.
func TestWidgetRepeats(t *testing.T) {
	p := newPhone(t, "web")
	s := newSite(t, p, time.Hour)
	p.allow(s.origin())
	b := openTab(t)
	b.to(s.origin() + "/through")
	must(t, b.Eval(b.ctx, `latchkey.widget.open()`, nil))
	s.losing.Store(3)
	b.says("only once")
	eventually(t, "three answers get lost", func() bool { return s.losing.Load() == 0 })
	b.says("and then")
	const talk = "user: only once | assistant: You said: only once | user: and then | assistant: You said: and then"
	b.shows("assistant: How can we help? | " + talk)
	if got := p.shown("ada", "").talk(); got != talk {
		t.Error(got)
	}
	p.settled()
	p.consistent()
}

// TestWidgetKnowsWhoIsThere: a token that ends is replaced, what one person wrote is
// never said as another, nor shown to them, and a page that is not allowed says so.
func TestWidgetKnowsWhoIsThere(t *testing.T) {
	p := newPhone(t, "web")
	s := newSite(t, p, 10*time.Second) // replaced before each question, being about to end
	p.allow(s.origin())
	b := openTab(t)
	b.to(s.origin())
	must(t, b.Eval(b.ctx, `latchkey.widget.open()`, nil))
	b.says("ada's words")
	b.shows("assistant: How can we help? | user: ada's words | assistant: You said: ada's words")
	must(t, b.Do(b.ctx, "Network.setBlockedURLs", map[string]any{"urls": []string{"*/webhooks/*"}}))
	b.says("ada's later words")
	b.until("they wait", `talk().endsWith("ada's later words") && localStorage.length === 1`)
	s.visitor.Store("bob")
	must(t, b.Do(b.ctx, "Network.setBlockedURLs", map[string]any{"urls": []string{}}))
	must(t, b.Eval(b.ctx, `window.dispatchEvent(new Event("online"))`, nil))
	b.shows("assistant: How can we help?")
	b.says("bob's words")
	b.shows("assistant: How can we help? | user: bob's words | assistant: You said: bob's words")
	if got := p.shown("bob", "").talk(); strings.Contains(got, "ada") {
		t.Error(got)
	}
	s.visitor.Store("ada")
	must(t, b.Eval(b.ctx, `latchkey.widget.signedIn()`, nil))
	b.shows("assistant: How can we help? | user: ada's words | assistant: You said: ada's words | user: ada's later words | assistant: You said: ada's later words")
	before := s.tokens.Load()
	eventually(t, "tokens are replaced", func() bool { return s.tokens.Load() > before+1 })
	p.allow("https://elsewhere.example")
	b.to(s.origin())
	must(t, b.Eval(b.ctx, `latchkey.widget.open()`, nil))
	b.until("the page says that it may not", `chat().querySelector(".s").textContent.includes("not available on this page")`)
}

// hooks is run in pages whose answers are held back (?hold), whose tokens are not made
// (hanging) and whose time goes ten times as fast (?fast).
const hooks = `{
const fetched = window.fetch, set = window.setTimeout, unset = window.clearTimeout;
Object.assign(window, { held: [], holding: location.search === "?hold", hanging: false, faster: location.search === "?fast" ? 10 : 1, flying: 0, timers: new Set() });
const get = async (u, o) => {
	if (hanging && String(u).includes("chat-token")) return new Promise(() => {});
	const r = await fetched(u, o);
	if (!holding || !String(u).includes("?after")) return r;
	const text = await r.text();
	await new Promise(go => held.push(go));
	return new Response(text, { status: r.status, headers: r.headers });
};
window.fetch = (u, o) => { flying++; return get(u, o).finally(() => flying--); };
window.release = () => { holding = false; held.splice(0).forEach(go => go()); };
window.setTimeout = (f, ms, ...a) => { const n = set(() => { timers.delete(n); f(...a); }, ms / faster); timers.add(n); return n; };
window.clearTimeout = n => { timers.delete(n); unset(n); };
}`

func openHooked(t *testing.T) *tab {
	t.Helper()
	b := openTab(t)
	must(t, b.Do(b.ctx, "Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": hooks}))
	return b
}

// TestWidgetChangesVisitor: in an open page somebody else signs in while an answer for
// the one before is on its way, and then nobody: nothing of anybody's is shown, kept or
// said as another's.
func TestWidgetChangesVisitor(t *testing.T) {
	p := newPhone(t, "web")
	s := newSite(t, p, time.Hour)
	p.allow(s.origin())
	b := openHooked(t)
	b.to(s.origin())
	must(t, b.Eval(b.ctx, `latchkey.widget.open()`, nil))
	b.says("ada's words")
	b.shows("assistant: How can we help? | user: ada's words | assistant: You said: ada's words")
	b.to(s.origin() + "/?hold")
	b.until("ada's conversation is on its way", `held.length === 1`)
	s.visitor.Store("bob")
	must(t, b.Eval(b.ctx, "latchkey.widget.signedIn("+jsonText(p.visitor("bob"))+"); latchkey.widget.open()", nil))
	b.says("bob's words")
	b.until("they are shown", `talk().endsWith("user: bob's words")`)
	if !b.is(`!Object.keys(localStorage).some(k => k.endsWith(":ada"))`) {
		t.Errorf("kept: %s", b.text("JSON.stringify(localStorage)"))
	}
	must(t, b.Eval(b.ctx, `window.seen = []; new MutationObserver(() => seen.push(talk())).observe(chat().querySelector(".l"), { childList: true }); release()`, nil))
	b.shows("assistant: How can we help? | user: bob's words | assistant: You said: bob's words")
	if got := b.text("seen.join()"); strings.Contains(got, "ada") || !strings.Contains(got, "bob") {
		t.Errorf("bob saw %s", got)
	}
	if got := p.shown("ada", "").talk(); strings.Contains(got, "bob") {
		t.Error(got)
	}
	must(t, b.Type(b.ctx, "half a sentence of bob's"))
	s.visitor.Store("")
	must(t, b.Eval(b.ctx, `latchkey.widget.signedIn()`, nil))
	b.shows("assistant: How can we help?")
	b.until("it is said that nobody is known", `chat().querySelector("#i").value === "" && chat().querySelector(".s").textContent.includes("sign in")`)
	b.says("whose words")
	b.until("they are shown", `talk().endsWith("user: whose words")`)
	if got := b.text("JSON.stringify(localStorage)"); got != "{}" {
		t.Errorf("kept: %s", got)
	}
	s.visitor.Store("eve")
	must(t, b.Eval(b.ctx, `latchkey.widget.signedIn()`, nil))
	b.shows("assistant: How can we help? | user: whose words | assistant: You said: whose words")
	for _, who := range []string{"ada", "bob"} {
		if got := p.shown(who, "").talk(); strings.Contains(got, "whose") || strings.Contains(got, "half") {
			t.Error(got)
		}
	}
}

// TestWidgetFollowsTheBinding: the answers of another agent, whose conversation counts
// from 1 again, are shown in a page that was open before.
func TestWidgetFollowsTheBinding(t *testing.T) {
	p := newPhone(t, "web")
	s := newSite(t, p, time.Hour)
	p.allow(s.origin())
	b := openTab(t)
	b.to(s.origin())
	must(t, b.Eval(b.ctx, `latchkey.widget.open()`, nil))
	b.says("one")
	b.shows("assistant: How can we help? | user: one | assistant: You said: one")
	p.bind("Other", map[string]any{"peer": "ada"})
	b.says("two")
	b.shows("assistant: How can we help? | user: two | assistant: You said: two")
	if !b.is("localStorage.length === 0") {
		t.Errorf("kept: %s", b.text("JSON.stringify(localStorage)"))
	}
}

// TestWidgetRests: a page whose visitor is not signed in asks once, and again when the
// chat is opened; an address for tokens that does not answer is no connection.
func TestWidgetRests(t *testing.T) {
	p := newPhone(t, "web")
	s := newSite(t, p, time.Hour)
	p.allow(s.origin())
	s.visitor.Store("")
	b := openHooked(t)
	b.to(s.origin() + "/?fast")
	b.until("nothing more is asked", `chat().querySelector(".s").textContent.includes("sign in") && !flying && !timers.size`)
	before := s.tokens.Load()
	if before != 1 {
		t.Errorf("%d questions for a token", before)
	}
	must(t, b.Eval(b.ctx, `latchkey.widget.open()`, nil))
	eventually(t, "an open chat asks", func() bool { return s.tokens.Load() > before })
	s.visitor.Store("ada")
	must(t, b.Eval(b.ctx, `hanging = true; latchkey.widget.signedIn()`, nil))
	b.says("hello")
	b.until("it is said that it waits", `chat().querySelector(".s").textContent.includes("No connection") && talk().endsWith("user: hello")`)
	must(t, b.Eval(b.ctx, `hanging = false; faster = 1; window.dispatchEvent(new Event("online"))`, nil))
	b.shows("assistant: How can we help? | user: hello | assistant: You said: hello")
}

// TestWidgetIsItsScript: an image that has taken the script's name sends no token
// anywhere, and a script below a stage's path asks there.
func TestWidgetIsItsScript(t *testing.T) {
	p := newPhone(t, "web")
	s := newSite(t, p, time.Hour)
	p.allow(s.origin())
	b := openTab(t)
	must(t, b.Do(b.ctx, "Page.navigate", map[string]any{"url": s.origin() + "/image"}))
	b.until("the page is there", `window.latchkey && document.readyState === "complete"`)
	if b.is(`document.querySelector("[data-latchkey]")`) || s.tokens.Load() != 0 || s.stray.Load() != 0 {
		t.Errorf("an image began a chat: %d tokens, %d requests", s.tokens.Load(), s.stray.Load())
	}
	b.to(s.origin() + "/staged")
	must(t, b.Eval(b.ctx, `latchkey.widget.open()`, nil))
	b.says("hello")
	b.shows("user: hello | assistant: You said: hello")
	if s.staged.Load() < 2 {
		t.Errorf("%d requests below the stage", s.staged.Load())
	}
}
