package consent

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// ticket names the state in addresses of ours.
const ticket = "ticket"

// maxCode bounds the code of a vendor.
const maxCode = 2048

// Bounds of the audit rows about refused states, a minute and process: of those that
// somebody began, and of those that anybody can make up, which are the operator's. The
// operator's own changes need the same chain of rows.
const (
	maxRows    = 60
	maxStrange = 10
	rowTime    = time.Second
)

// Visit is one request of a browser.
type Visit struct {
	Method string
	// Path is "/oauth/<provider>/begin" or "/oauth/<provider>/callback".
	Path    string
	Query   url.Values
	Cookies []string // "name=value"
	Origin  string   // the header
	Now     time.Time
}

// Outcome is what became of a visit, for the log.
type Outcome string

// Outcomes.
const (
	Shown       Outcome = "shown"       // our page
	Sent        Outcome = "sent"        // to the vendor's page
	Installed   Outcome = "installed"   // the install is active
	Declined    Outcome = "declined"    // by the person, on the vendor's page
	Refused     Outcome = "refused"     // the state
	Failed      Outcome = "failed"      // what came after the state
	Conflicting Outcome = "conflicting" // the tenant is connected already
	Unchosen    Outcome = "unchosen"    // no tenant, or several
	Unavailable Outcome = "unavailable"
	Lost        Outcome = "lost" // no such page
)

// Page is the answer to a visit, and what to log about it.
type Page struct {
	Status  int
	Header  map[string]string
	Cookies []string
	Body    string

	Outcome Outcome
	// Reason is one of our words, empty where the outcome says all.
	Reason, Provider, Org, Install string
	Err                            error // never shown
}

// visit is one on its way.
type visit struct {
	*Service
	Visit
	provider taxonomy.Channel
	step     string
	text     string // of the state
	st       State
}

// Serve answers a visit. It never fails: whatever goes wrong is a page.
func (s *Service) Serve(ctx context.Context, in Visit) Page {
	v := &visit{Service: s, Visit: in}
	parts := strings.Split(in.Path, "/")
	if len(parts) != 4 || parts[0] != "" || parts[1] != "oauth" {
		return v.answer(Lost, "", nil)
	}
	// A name that nobody declared is not repeated in a log.
	if _, known := s.Catalog.Find(taxonomy.Channel(parts[2])); known {
		v.provider = taxonomy.Channel(parts[2])
	}
	switch v.step = parts[3]; {
	case v.step == "begin" && in.Method == http.MethodGet:
		return v.offer(ctx)
	case v.step == "begin" && in.Method == http.MethodPost:
		return v.send(ctx)
	case v.step == "callback" && in.Method == http.MethodGet:
		return v.finish(ctx)
	}
	return v.answer(Lost, "", nil)
}

func (v *visit) answer(o Outcome, reason string, err error) Page {
	return Page{Status: texts()[o].status, Header: headers(), Body: texts()[o].html, Outcome: o, Reason: reason, Err: err,
		Provider: string(v.provider), Org: v.st.Org, Install: v.st.Install}
}

// find reads the state that the visit names. reason is why it does not count.
func (v *visit) find(ctx context.Context, name string) (reason string, err error) {
	texts := v.Query[name]
	if len(texts) == 0 || texts[0] == "" {
		return "missing", nil
	}
	v.text = texts[0]
	if raw, err := base64.RawURLEncoding.Strict().DecodeString(v.text); err != nil || len(raw) != 32 || len(texts) > 1 {
		return "malformed", nil
	}
	v.mask(v.text)
	st, err := v.Store.Consent(ctx, HashOf(v.text))
	if fault.CodeOf(err) == fault.NotFound {
		return "unknown", nil
	}
	if err != nil {
		return "", err
	}
	v.st = st
	switch {
	case st.Provider != v.provider:
		return "other_provider", nil
	case !v.paged():
		return "no_page", nil // it is said in a conversation
	case !v.Now.Before(st.Expires):
		return "expired", nil
	case st.Used:
		return "used", nil
	}
	return "", nil
}

// refuse answers a state that does not count, always with the same bytes. The row
// is for people who look; that it cannot be written changes nothing.
func (v *visit) refuse(ctx context.Context, reason string) Page {
	if v.room() {
		ctx, cancel := context.WithTimeout(ctx, rowTime)
		defer cancel()
		of, target := v.st.Org, v.st.Install
		if of == "" {
			of, target = org.Operator, "oauth"
		}
		row := v.op().Row(of, "oauth.state_refused", target, "provider", string(v.provider), "reason", reason)
		row.Outcome, row.Code = audit.Refused, string(fault.InvalidRequest)
		_ = v.Rows.PutAudit(ctx, row)
	}
	return v.answer(Refused, reason, nil)
}

// paged reports whether the visit's vendor has an authorisation page.
func (v *visit) paged() bool {
	_, ok := v.page(v.provider)
	return ok
}

func (v *visit) room() bool {
	s := v.Service
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := v.Now.Truncate(time.Minute); !m.Equal(s.minute) {
		s.minute, s.rows, s.strange = m, 0, 0
	}
	if v.st.Org == "" {
		s.strange++
		return s.strange <= maxStrange
	}
	s.rows++
	return s.rows <= maxRows
}

func (v *visit) op() audit.Op {
	actor := "function:console"
	if v.step == "" {
		actor = "function:turn" // a claim
	}
	return audit.Op{Actor: actor, ID: v.NewID(v.Now), At: v.Now}
}

// offer shows for whom the visitor is about to install.
func (v *visit) offer(ctx context.Context) Page {
	reason, err := v.find(ctx, ticket)
	if err != nil {
		return v.answer(Unavailable, "", err)
	}
	if reason != "" {
		return v.refuse(ctx, reason)
	}
	o, err := v.Orgs.Org(ctx, v.st.Org)
	if err != nil {
		return v.answer(Unavailable, "", err)
	}
	entry, _ := v.page(v.provider)
	p := v.answer(Shown, "", nil)
	p.Body = offerPage(entry.Title, o.Name, o.ID)
	// The browser must name our origin when the button is pressed.
	p.Header["referrer-policy"] = "same-origin"
	return p
}

// send puts the state into the browser and leads to the vendor.
func (v *visit) send(ctx context.Context) Page {
	reason, err := v.find(ctx, ticket)
	if err != nil {
		return v.answer(Unavailable, "", err)
	}
	if reason == "" && v.Origin != originOf(v.PublicURL) {
		reason = "other_site"
	}
	if reason != "" {
		return v.refuse(ctx, reason)
	}
	entry, _ := v.page(v.provider)
	app, _, err := v.Installs.Get(ctx, org.Operator, v.st.App)
	if err != nil {
		return v.answer(Unavailable, "", err)
	}
	if !ready(app, entry) {
		return v.answer(Failed, string(channel.NotSetUp), nil)
	}
	_, challenge, err := v.verifier(ctx, v.text)
	if err != nil {
		return v.answer(Unavailable, "", err)
	}
	p := v.answer(Sent, "", nil)
	p.Header["location"] = entry.Shared.Consent.Authorize(v.Base(entry.ID), app.Config, channel.Asked{State: v.text, Challenge: challenge,
		RedirectURI: v.address(entry.ID, "callback"), Scopes: entry.Shared.Consent.Scopes})
	p.Cookies = []string{v.cookie(v.text, Lifetime)}
	return p
}

// finish takes what the vendor's page answered.
func (v *visit) finish(ctx context.Context) Page {
	reason, err := v.find(ctx, "state")
	if err != nil {
		return v.answer(Unavailable, "", err)
	}
	if reason == "" && !v.same() {
		reason = "other_browser"
	}
	if reason != "" {
		return v.refuse(ctx, reason)
	}
	op := audit.Op{Actor: v.st.By, ID: v.NewID(v.Now), At: v.Now}
	// From here on the state is used up, whatever comes.
	switch err := v.Store.UseConsent(ctx, v.st, op.Part("answer").Row(v.st.Org, "oauth.answer", v.st.Install, "provider", string(v.provider))); {
	case fault.CodeOf(err) == fault.Conflict:
		return v.refuse(ctx, "used")
	case err != nil:
		return v.answer(Unavailable, "", err)
	}
	p := v.install(ctx, op)
	p.Cookies = []string{v.cookie("", 0)}
	if p.Outcome != Installed {
		v.told(ctx, op, p)
	}
	return p
}

// told writes why a used state led to no install.
func (v *visit) told(ctx context.Context, op audit.Op, p Page) {
	action := "oauth.failed"
	switch {
	case p.Outcome == Declined:
		action = "oauth.declined"
	case errors.Is(p.Err, install.ErrTenantInUse):
		action = "install.tenant_in_use"
	case errors.Is(p.Err, install.ErrTokenInUse):
		action = "install.token_in_use"
	}
	row := op.Part("told").Row(v.st.Org, action, v.st.Install, "provider", string(v.provider), "reason", p.Reason)
	row.Outcome = audit.Refused
	switch p.Outcome {
	case Declined:
		row.Code = string(fault.ScopeMissing)
	case Unchosen:
		row.Code = string(fault.InvalidRequest)
	case Conflicting:
		row.Code = string(fault.Conflict)
	case Unavailable:
		row.Code = string(fault.CodeOf(p.Err))
	default:
		row.Code = string(fault.ProviderError)
	}
	_ = v.Rows.PutAudit(ctx, row)
}

// install trades the code and makes the install.
func (v *visit) install(ctx context.Context, op audit.Op) Page {
	if said := v.Query.Get("error"); said != "" {
		if said != "access_denied" {
			said = "vendor_error"
		}
		return v.answer(Declined, said, nil)
	}
	code := v.Query.Get("code")
	if code == "" || len(code) > maxCode {
		return v.answer(Failed, string(channel.CodeRefused), nil)
	}
	v.mask(code)
	entry, _ := v.page(v.provider)
	o, err := v.Orgs.Org(ctx, v.st.Org)
	if err != nil {
		return v.answer(Unavailable, "", err)
	}
	if err := o.Allow(); err != nil {
		return v.answer(Failed, "org_not_active", err)
	}
	app, _, err := v.Installs.Get(ctx, org.Operator, v.st.App)
	if err != nil {
		return v.answer(Unavailable, "", err)
	}
	if !ready(app, entry) {
		return v.answer(Failed, string(channel.NotSetUp), nil)
	}
	verifier, _, err := v.verifier(ctx, v.text)
	if err != nil {
		return v.answer(Unavailable, "", err)
	}
	got, failure, err := v.Trader.Trade(ctx, Trade{Provider: v.provider, App: app.ID, Config: app.Config,
		Grant: channel.Grant{Code: secret.FromString(code), Verifier: verifier, RedirectURI: v.address(v.provider, "callback")}}, v.Now)
	if err != nil {
		return v.answer(Unavailable, "", err)
	}
	if failure == "" && got.Token.IsZero() != entry.AppSends() {
		failure = channel.AnswerMalformed
	}
	if failure == "" {
		failure = compare(got, app, entry)
	}
	switch failure {
	case "":
		return v.store(ctx, op, o, app, got, entry)
	case channel.NoTenant, channel.SeveralTenants:
		return v.answer(Unchosen, string(failure), nil)
	}
	return v.answer(Failed, string(failure), nil)
}

// compare looks whether the token is the one that was asked for: of this app, with
// all scopes.
func compare(got channel.Granted, app install.Install, entry channel.Entry) channel.ConsentFailure {
	for _, name := range entry.Common() {
		if got.Config.Get(name) != app.Config.Get(name) {
			return "other_app"
		}
	}
	for _, needed := range entry.Shared.Consent.Scopes {
		if !slices.Contains(got.Scopes, needed) {
			return channel.ScopesMissing
		}
	}
	return ""
}

func (v *visit) store(ctx context.Context, op audit.Op, o org.Org, app install.Install, got channel.Granted, entry channel.Entry) Page {
	config := webhook.Config{}
	for name, vs := range got.Config {
		if !slices.Contains(entry.Shared.Settings, name) {
			config[name] = vs
		}
	}
	n := install.New{ID: v.st.Install, Provider: string(v.provider), Mode: string(install.Platform), App: app.ID, Vouched: true, Config: config}
	if !entry.AppSends() {
		n.Secrets = map[string][]secret.Text{entry.SendSecret: {got.Token}}
	}
	_, err := v.Installs.Create(ctx, op, o, org.Tiers{}, n)
	if fault.CodeOf(err) == fault.Conflict {
		return v.answer(Conflicting, "in_use", err)
	}
	if err == nil {
		_, err = v.Installs.Activate(ctx, op.Part("activate"), v.st.Org, v.st.Install)
	}
	switch fault.CodeOf(err) {
	case "":
		return v.answer(Installed, "", nil)
	case fault.InvalidRequest:
		return v.answer(Failed, "not_taken", err)
	}
	return v.answer(Unavailable, "", err)
}

// cookie binds a state to the browser that saw our page. Its name holds the state's
// hash, so that several may be open.
func (v *visit) cookie(value string, age time.Duration) string {
	c := http.Cookie{Name: v.cookieName(), Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: v.secure(), MaxAge: int(age / time.Second)}
	if age == 0 {
		c.MaxAge = -1
	}
	return c.String()
}

func (v *visit) cookieName() string {
	name := "lk_consent_" + v.st.Hash[:16]
	if v.secure() {
		return "__Host-" + name
	}
	return name
}

// secure is false on a local stack only, which has no TLS.
func (v *visit) secure() bool { return strings.HasPrefix(v.PublicURL, "https://") }

// same reports whether the browser is the one that was sent to the vendor.
func (v *visit) same() bool {
	for _, c := range v.Cookies {
		if name, value, _ := strings.Cut(c, "="); name == v.cookieName() && subtle.ConstantTimeCompare([]byte(value), []byte(v.text)) == 1 {
			return true
		}
	}
	return false
}

// originOf is how a browser names our origin.
func originOf(publicURL string) string {
	u, err := url.Parse(publicURL)
	if err != nil || u.Host == "" {
		return ""
	}
	return strings.ToLower(u.Scheme + "://" + u.Host)
}
