package security

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/scripts/internal/stack"
)

// browser keeps cookies and follows no redirect by itself.
type browser struct {
	*http.Client
	c *cell
}

func (c *cell) browser() browser {
	jar, err := cookiejar.New(nil)
	c.need(err)
	return browser{&http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, c}
}

func (b browser) open(method, address string) reply {
	req, err := http.NewRequestWithContext(b.c.ctx, method, address, http.NoBody)
	b.c.need(err)
	if method == http.MethodPost {
		req.Header.Set("Origin", b.c.BaseURL)
	}
	resp, err := b.Do(req)
	b.c.need(err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	b.c.need(err)
	return reply{resp.StatusCode, string(body), resp.Header}
}

// consents has an organisation begin to install an app, opens our page, presses its
// button and lets the vendor's page decide; back is where that leads.
func (b browser) consents(org *tenant, app *app) (back string) {
	c := b.c
	var begun struct{ URL string }
	c.need(stack.Admit(c.ctx, c.operator, string(c.col.id), org.id))
	c.need(org.call(c, http.MethodPost, "/installs/consent", map[string]any{"provider": c.col.id, "app": app.install}, &begun))
	b.open(http.MethodGet, begun.URL)
	ours := b.open(http.MethodPost, begun.URL)
	theirs := b.open(http.MethodGet, ours.header.Get("Location"))
	if back = theirs.header.Get("Location"); !strings.HasPrefix(back, c.BaseURL+"/oauth/") {
		c.need(fmt.Errorf("the way to the vendor and back: %d, %d, to %q", ours.status, theirs.status, back))
	}
	return back
}

// authorised is an app of the platform whose page leads back with its own tenant.
func (c *cell) authorised() *app {
	var known mockvendor.App
	app := c.platformApp(func(a *app, in map[string]any) { known = c.col.page(a, c.serial.Add(1), in) })
	known.AppID, known.Redirect = app.application, c.BaseURL+"/oauth/"+string(c.col.id)+"/callback"
	c.vendor.Authorises(known, mockvendor.Tenant{Team: app.team, BotUser: "U0BOT", Token: app.token})
	return app
}

func (t *tenant) installs(c *cell) int {
	var list struct{ Items []struct{ ID string } }
	c.need(t.call(c, http.MethodGet, "/installs", nil, &list))
	return len(list.Items)
}

// refusedStates: the vendor leads back without a state, with one that nobody began,
// that another organisation, browser or vendor's page belongs to, that was used, or
// that is too old. The one that counts installs the app, once.
func refusedStates(c *cell) {
	c.need(c.advance(time.Minute)) // rows of states that nobody began are bounded by the minute
	if c.col.page == nil {
		noPage(c)
		return
	}
	app := c.authorised()
	mine, theirs := c.world.tenant(c), c.world.tenant(c)
	here, there := c.browser(), c.browser()
	back, foreign := here.consents(mine, app), there.consents(theirs, app)
	callback, _, _ := strings.Cut(back, "?")
	same := ""
	refused := func(of *tenant, b browser, address string) {
		c.refused(of, "oauth.state_refused", func() int {
			got := b.open(http.MethodGet, address)
			if same == "" {
				same = got.body
			}
			if got.body != same || got.header.Get("Set-Cookie") != "" {
				c.bad("not what other states are told: %d %s", got.status, got.body)
			}
			return got.status
		})
	}
	refused(app.tenant, here, callback+"?code=x")
	refused(app.tenant, here, callback+"?code=x&state="+url.QueryEscape("<b>"))
	refused(app.tenant, here, callback+"?code=x&state="+strings.Repeat("A", 43))
	refused(theirs, here, foreign)
	refused(mine, c.browser(), back)
	all := list()
	other := all[slices.IndexFunc(all, func(o column) bool { return o.page != nil && o.id != c.col.id })]
	refused(mine, here, strings.Replace(back, "/"+string(c.col.id)+"/", "/"+string(other.id)+"/", 1))
	if n := mine.installs(c) + theirs.installs(c); n > 0 {
		c.bad("%d installs by refused states", n)
	}
	// A browser that does not forget the state when it is told to.
	kept, ours := c.browser(), &url.URL{Scheme: "http", Host: strings.TrimPrefix(c.BaseURL, "http://"), Path: "/"}
	kept.Jar.SetCookies(ours, here.Jar.Cookies(ours))
	if got := here.open(http.MethodGet, back); got.status != http.StatusOK || mine.installs(c) != 1 {
		c.bad("the state that counts: %d %s", got.status, got.body)
	}
	refused(mine, kept, back)
	c.need(c.advance(11 * time.Minute))
	refused(theirs, there, foreign)
	if n := mine.installs(c) + theirs.installs(c); n != 1 {
		c.bad("%d installs, want 1", n)
	}
}

// noPage: where nobody is led to a page of the vendor's, nothing can be begun, and no
// state counts that comes back, not even one with which another vendor's page led back.
func noPage(c *cell) {
	if err := c.org.call(c, http.MethodPost, "/installs/consent", map[string]any{"provider": c.col.id}, nil); stack.Status(err) != http.StatusBadRequest {
		c.bad("begun: %v", err)
	}
	own, all := c.col, list()
	c.col = all[slices.IndexFunc(all, func(o column) bool { return o.page != nil })]
	other := string(c.col.id)
	app := c.authorised()
	mine, here := c.world.tenant(c), c.browser()
	back := here.consents(mine, app)
	c.col = own
	callback := c.BaseURL + "/oauth/" + string(c.col.id) + "/callback"
	refused := func(of *tenant, address string) {
		c.refused(of, "oauth.state_refused", func() int { return here.open(http.MethodGet, address).status })
	}
	refused(app.tenant, callback+"?code=x")
	refused(app.tenant, callback+"?code=x&state="+url.QueryEscape("<b>"))
	refused(app.tenant, callback+"?code=x&state="+strings.Repeat("A", 43))
	refused(mine, strings.Replace(back, "/"+other+"/", "/"+string(c.col.id)+"/", 1))
	if n := mine.installs(c); n > 0 {
		c.bad("%d installs by refused states", n)
	}
}
