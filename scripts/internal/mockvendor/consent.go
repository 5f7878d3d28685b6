package mockvendor

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
)

// App is an app that tenants authorise on the page of the vendor.
type App struct{ ClientID, Secret, AppID, Redirect string }

// Tenant is who authorises an app next, and what it gives for that.
type Tenant struct {
	Team, BotUser, Token string
	// Scopes replaces those that were asked for.
	Scopes string
	// Declines presses the other button.
	Declines bool
	// AppID replaces the app's own, as a vendor never does.
	AppID string
	// Expires gives a token that has to be renewed.
	Expires bool
	// Pages are others that are chosen beside the tenant's, of Meta's login.
	Pages []string
}

type consentApp struct {
	App
	next  Tenant
	codes map[string]*consentCode
	// verifier is the last that a code was traded with.
	verifier string
}

type consentCode struct {
	tenant                      Tenant
	redirect, challenge, scopes string
	used, expired               bool
}

// Authorises makes the app known, and t the next to authorise it.
func (s *Server) Authorises(app App, t Tenant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.apps == nil {
		s.apps = map[string]*consentApp{}
	}
	if s.apps[app.ClientID] == nil {
		s.apps[app.ClientID] = &consentApp{codes: map[string]*consentCode{}}
	}
	s.apps[app.ClientID].App, s.apps[app.ClientID].next = app, t
}

// Verifier is the last code_verifier that an app sent.
func (s *Server) Verifier(clientID string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.apps[clientID].verifier
}

// ExpireCodes makes the codes that the app's tenants have worthless.
func (s *Server) ExpireCodes(clientID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.apps[clientID].codes {
		c.expired = true
	}
}

// authorize is Slack's page; the person at it has decided already.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.mu.Lock()
	defer s.mu.Unlock()
	app := s.apps[q.Get("client_id")]
	back, err := url.Parse(q.Get("redirect_uri"))
	switch {
	case app == nil || err != nil || q.Get("redirect_uri") != app.Redirect || q.Get("scope") == "" && q.Get("config_id") == "":
		http.Error(w, "invalid_client_id or bad_redirect_uri", http.StatusBadRequest)
		return
	case q.Has("code_challenge") && q.Get("code_challenge_method") != "S256":
		http.Error(w, "bad code_challenge_method", http.StatusBadRequest)
		return
	}
	give := url.Values{"state": {q.Get("state")}}
	if app.next.Declines {
		give.Set("error", "access_denied")
	} else {
		code := "CNRYcode" + rand.Text()
		app.codes[code] = &consentCode{tenant: app.next, redirect: q.Get("redirect_uri"), challenge: q.Get("code_challenge"), scopes: q.Get("scope")}
		give.Set("code", code)
	}
	back.RawQuery = give.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

// access is oauth.v2.access.
func (s *Server) access(w http.ResponseWriter, r *http.Request) {
	id, key, _ := r.BasicAuth()
	t, scopes, refusal := s.trade(id, key, r)
	if refusal != "" {
		answer(w, http.StatusOK, map[string]any{"ok": false, "error": refusal})
		return
	}
	s.wait(r, AfterTrade)
	body := map[string]any{"ok": true, "access_token": t.Token, "token_type": "bot", "scope": scopes, "bot_user_id": t.BotUser, "app_id": t.AppID,
		"is_enterprise_install": false, "team": map[string]any{"id": t.Team}, "enterprise": nil, "authed_user": map[string]any{"id": "U1"}}
	if t.Expires {
		body["expires_in"], body["refresh_token"] = 43200, "xoxe-1-simulated"
	}
	answer(w, http.StatusOK, body)
}

func (s *Server) trade(id, key string, r *http.Request) (t Tenant, scopes, refusal string) {
	_ = r.ParseForm()
	s.mu.Lock()
	defer s.mu.Unlock()
	app := s.apps[id]
	if app == nil {
		return t, "", "invalid_client_id"
	}
	if key != app.Secret {
		return t, "", "bad_client_secret"
	}
	c := app.codes[r.PostForm.Get("code")]
	app.verifier = r.PostForm.Get("code_verifier")
	verified := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
	switch {
	case c == nil || c.expired:
		return t, "", "invalid_code"
	case c.used:
		return t, "", "code_already_used"
	case r.PostForm.Get("redirect_uri") != c.redirect:
		return t, "", "bad_redirect_uri"
	case c.challenge != "" && base64.RawURLEncoding.EncodeToString(verified[:]) != c.challenge, c.challenge == "" && r.PostForm.Has("code_verifier"):
		return t, "", "invalid_code_verifier"
	}
	c.used = true
	t, scopes = c.tenant, c.scopes
	if t.Scopes != "" {
		scopes = t.Scopes
	}
	if t.AppID == "" {
		t.AppID = app.AppID
	}
	return t, strings.ReplaceAll(scopes, " ", ","), ""
}

// discordPage is Discord's page; which server the person chose is decided already.
func (s *Server) discordPage(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 || q.Get("permissions") == "" ||
		!strings.Contains(" "+q.Get("scope")+" ", " bot ") || strings.Contains(q.Get("scope"), ",") {
		http.Error(w, "Invalid OAuth2 authorize request", http.StatusBadRequest)
		return
	}
	s.authorize(w, r)
}

// discordTrade is the token endpoint: of an application that adds its bot to a server
// the answer names the server (docs.discord.com, "OAuth2", read 2026-11-22).
func (s *Server) discordTrade(w http.ResponseWriter, r *http.Request) {
	id, key, _ := r.BasicAuth()
	t, scopes, refusal := s.trade(id, key, r)
	switch {
	case refusal == "invalid_client_id" || refusal == "bad_client_secret":
		answer(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return
	case refusal != "" || r.PostForm.Get("grant_type") != "authorization_code":
		answer(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant", "error_description": "Invalid \"code\" in request."})
		return
	}
	s.wait(r, AfterTrade)
	answer(w, http.StatusOK, map[string]any{"token_type": "Bearer", "access_token": "CNRYpersonstoken" + rand.Text(), "expires_in": 604800, "refresh_token": "simulated",
		"scope": strings.ReplaceAll(scopes, ",", " "), "guild": map[string]any{"id": t.Team, "name": "A server", "owner_id": "1"}})
}
