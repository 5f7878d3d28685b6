package mockvendor

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
)

// metaLogin is Facebook Login for Business by redirects: the page, the token of the
// business's system user, the pages that were chosen, and their subscription
// (developers.facebook.com/documentation/facebook-login/facebook-login-for-business, read
// 2026-11-22). Not imitated: permissions, tokens that end of themselves, businesses,
// lists in several parts.
type metaLogin struct {
	*Server
	// businesses are the tenants by their tokens.
	businesses map[string]Tenant
}

func (s *metaLogin) routes() {
	s.mux.HandleFunc("GET /meta/dialog/oauth", s.page)
	s.mux.HandleFunc("POST /meta/oauth/access_token", s.token)
	s.mux.HandleFunc("GET /meta/me/accounts", s.accounts)
	s.mux.HandleFunc("POST /meta/{number}/subscribed_apps", s.subscribe)
}

func metaFault(w http.ResponseWriter, status, code int) {
	answer(w, status, map[string]any{"error": map[string]any{"message": "simulated", "type": "OAuthException", "code": code, "fbtrace_id": "A"}})
}

func (s *metaLogin) page(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("response_type") != "code" || !isDigits(q.Get("config_id")) || q.Has("scope") || q.Has("code_challenge") {
		http.Error(w, "Invalid configuration", http.StatusBadRequest)
		return
	}
	s.authorize(w, r)
}

// token takes the secret in the body, as the real one does beside the address.
func (s *metaLogin) token(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	t, _, refusal := s.trade(r.PostForm.Get("client_id"), r.PostForm.Get("client_secret"), r)
	switch refusal {
	case "":
	case "invalid_client_id":
		metaFault(w, http.StatusBadRequest, 101)
		return
	case "bad_client_secret":
		metaFault(w, http.StatusBadRequest, 1)
		return
	default:
		metaFault(w, http.StatusBadRequest, 100)
		return
	}
	s.wait(r, AfterTrade)
	token := "EAACNRYbusiness" + rand.Text()
	s.mu.Lock()
	s.businesses[token] = t
	s.mu.Unlock()
	body := map[string]any{"access_token": token, "token_type": "bearer"}
	if t.Expires {
		body["expires_in"] = 5183944
	}
	answer(w, http.StatusOK, body)
}

// PageOf is the page that speaks for a tenant of Meta's: itself, or that of an account of
// Instagram.
func PageOf(tenant string) string {
	if ofInstagram(tenant) {
		return "99" + tenant
	}
	return tenant
}

func (s *metaLogin) accounts(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	t, known := s.businesses[bearer(r)]
	s.mu.Unlock()
	if !known || r.URL.Query().Has("access_token") {
		metaFault(w, http.StatusBadRequest, 190)
		return
	}
	pages := []any{}
	for n, tenant := range append([]string{t.Team}, t.Pages...) {
		if tenant == "" {
			continue // nothing was chosen
		}
		token := t.Token
		if n > 0 {
			token += url.QueryEscape(tenant)
		}
		page := map[string]any{"id": PageOf(tenant), "access_token": token}
		if ofInstagram(tenant) && strings.Contains(r.URL.Query().Get("fields"), "instagram_business_account{id}") {
			page["instagram_business_account"] = map[string]any{"id": tenant}
		}
		pages = append(pages, page)
	}
	answer(w, http.StatusOK, map[string]any{"data": pages, "paging": map[string]any{"cursors": map[string]any{"before": "a", "after": "b"}}})
}

// subscribe is told with the page's own token, not the business's.
func (s *metaLogin) subscribe(w http.ResponseWriter, r *http.Request) {
	fields := r.FormValue("subscribed_fields")
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.businesses {
		if PageOf(t.Team) == r.PathValue("number") && t.Token == bearer(r) && strings.Contains(fields, "messages") {
			if s.subscribed == nil {
				s.subscribed = map[string]string{}
			}
			s.subscribed[r.PathValue("number")] = fields
			answer(w, http.StatusOK, map[string]any{"success": true})
			return
		}
	}
	metaFault(w, http.StatusForbidden, 200)
}

// Subscribed are the fields that a page is subscribed to, "" for none.
func (s *Server) Subscribed(page string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.subscribed[page]
}
