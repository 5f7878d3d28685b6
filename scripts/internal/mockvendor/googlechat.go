package mockvendor

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"
)

// googleChat is the Chat API (developers.google.com/workspace/chat/api/reference/rest),
// where Google hands out tokens for service accounts
// (developers.google.com/identity/protocols/oauth2/service-account) and publishes keys
// (developers.google.com/workspace/chat/verify-requests-from-chat); all read 2026-11.
// A message's secret is the audience of its token. Held to no client of Google's, of
// which none is among the modules. Not imitated: who is a member of which space,
// quotas, the end of a token, keys that change.
func googleChat() channelVendor {
	return channelVendor{id: "google_chat", apis: map[string]string{"LATCHKEY_GOOGLE_CHAT_API_URL": "/googlechat", "LATCHKEY_GOOGLE_CHAT_TOKEN_API_URL": "/googletoken",
		"LATCHKEY_GOOGLE_CHAT_JWKS_API_URL": "/googlekeys"},
		serve: func(s *Server) {
			g := &googleChatAPI{Server: s, names: map[string]bool{}}
			s.mux.HandleFunc("GET /googlekeys/oauth2/v3/certs", func(w http.ResponseWriter, _ *http.Request) {
				if s.published(w) {
					publishKeys(w, googleKeys().accounts)
				}
			})
			s.mux.HandleFunc("GET /googlekeys/service_accounts/v1/metadata/x509/chat@system.gserviceaccount.com", func(w http.ResponseWriter, _ *http.Request) {
				if s.published(w) {
					publishCertificates(w, googleKeys().chat)
				}
			})
			s.mux.HandleFunc("POST /googletoken/token", g.token)
			s.mux.HandleFunc("POST /googlechat/spaces/{space}/messages", g.create)
			s.mux.HandleFunc("PATCH /googlechat/spaces/{space}/messages/{message}", g.patch)
			s.mux.HandleFunc("GET /googlechat/media/{id}", g.media)
		},
		sign: func(r *http.Request, p Proof, _ []byte) {
			claims := map[string]any{"aud": p.Secret, "iat": p.At.Unix(), "exp": p.At.Add(time.Hour).Unix()}
			r.Header.Set("Authorization", "Bearer "+GoogleChatToken(p.Secret, claims))
		},
	}
}

// GoogleKeyID names the keys of the simulated Google.
const GoogleKeyID = "simulated-1"

// keys are those of Google's accounts, of its account for Chat, and of every service
// account that customers have here.
type keys struct{ accounts, chat, customers *rsa.PrivateKey }

// googleKeys are made once in a process: what signs a request and what answers for it
// are not the same server.
var googleKeys = sync.OnceValue(func() keys {
	fresh := func() *rsa.PrivateKey {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		return k
	}
	return keys{fresh(), fresh(), fresh()}
})

// GoogleChatToken is the token of a request of Google Chat to an app of this audience,
// with these claims in the place of the usual ones.
func GoogleChatToken(audience string, claims map[string]any) string {
	all, key := map[string]any{"aud": audience}, googleKeys().accounts
	if strings.Trim(audience, "0123456789") == "" {
		all["iss"], key = "chat@system.gserviceaccount.com", googleKeys().chat
	} else {
		all["iss"], all["email"], all["email_verified"] = "https://accounts.google.com", "chat@system.gserviceaccount.com", true
	}
	for name, v := range claims {
		all[name] = v
	}
	return signedToken(key, map[string]any{"alg": "RS256", "typ": "JWT", "kid": GoogleKeyID}, all)
}

func signedToken(key *rsa.PrivateKey, head, claims map[string]any) string {
	h, err1 := json.Marshal(head)
	c, err2 := json.Marshal(claims)
	if err1 != nil || err2 != nil {
		panic("mockvendor: a token that is no JSON")
	}
	signed := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(c)
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func publishKeys(w http.ResponseWriter, k *rsa.PrivateKey) {
	answer(w, http.StatusOK, map[string]any{"keys": []any{map[string]any{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": GoogleKeyID,
		"n": base64.RawURLEncoding.EncodeToString(k.N.Bytes()), "e": "AQAB"}}})
}

func publishCertificates(w http.ResponseWriter, k *rsa.PrivateKey) {
	of := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, of, of, &k.PublicKey, k)
	if err != nil {
		panic(err)
	}
	answer(w, http.StatusOK, map[string]any{GoogleKeyID: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))})
}

// GoogleAccount is the key's file of a service account of this e-mail address.
func GoogleAccount(email string) string {
	der, err := x509.MarshalPKCS8PrivateKey(googleKeys().customers)
	if err != nil {
		panic(err)
	}
	b, err := json.MarshalIndent(map[string]any{"type": "service_account", "project_id": "simulated", "private_key_id": GoogleKeyID, "client_email": email,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "token_uri": "https://oauth2.googleapis.com/token"}, "", "  ")
	if err != nil {
		panic(err)
	}
	return string(b)
}

// GoogleToken is what a service account gets for a signed claim, and GoogleEmail whose
// it is.
func GoogleToken(email string) string { return googleTokenTag + email }

// GoogleEmail is the account of a token.
func GoogleEmail(token string) string { return strings.TrimPrefix(token, googleTokenTag) }

const googleTokenTag = "ya29."

// FailKeys makes the places where keys are published answer nothing of use.
func (s *Server) FailKeys(fail bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keysDown = fail
}

// KeyFetches counts how often keys were asked for.
func (s *Server) KeyFetches() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keysAsked
}

// published counts a question for keys, and reports whether it is answered.
func (s *Server) published(w http.ResponseWriter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keysAsked++
	if s.keysDown {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	return !s.keysDown
}

// googleChatAPI remembers, under the server's lock, the messages' names that it has taken.
type googleChatAPI struct {
	*Server
	names map[string]bool
}

func googleFault(w http.ResponseWriter, status int, name string) {
	answer(w, status, map[string]any{"error": map[string]any{"code": status, "message": "simulated", "status": name}})
}

// token trades a claim that a service account has signed.
func (s *googleChatAPI) token(w http.ResponseWriter, r *http.Request) {
	refuse := func(word string) {
		answer(w, http.StatusBadRequest, map[string]any{"error": word, "error_description": "simulated"})
	}
	if r.ParseForm() != nil || r.PostForm.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		refuse("unsupported_grant_type")
		return
	}
	email, word := readClaim(r.PostForm.Get("assertion"))
	if word != "" {
		refuse(word)
		return
	}
	token := GoogleToken(email)
	if !s.accepts(token) {
		refuse("invalid_grant")
		return
	}
	answer(w, http.StatusOK, map[string]any{"access_token": token, "expires_in": 3599, "token_type": "Bearer"})
}

// readClaim checks a claim and says whose it is, or what is wrong with it. Its time is
// not compared with ours, because stacks move their clocks.
func readClaim(text string) (email, word string) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return "", "invalid_grant"
	}
	var raw [3][]byte
	for i, p := range parts {
		var err error
		if raw[i], err = base64.RawURLEncoding.DecodeString(p); err != nil {
			return "", "invalid_grant"
		}
	}
	var head struct{ Alg, Typ, Kid string }
	var c struct {
		Iss, Scope, Aud string
		Iat, Exp        int64
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if json.Unmarshal(raw[0], &head) != nil || json.Unmarshal(raw[1], &c) != nil || head.Alg != "RS256" || head.Kid != GoogleKeyID ||
		rsa.VerifyPKCS1v15(&googleKeys().customers.PublicKey, crypto.SHA256, sum[:], raw[2]) != nil {
		return "", "invalid_grant"
	}
	if c.Aud != "https://oauth2.googleapis.com/token" || c.Exp <= c.Iat || c.Exp-c.Iat > 3600 || !strings.Contains(c.Iss, "@") {
		return "", "invalid_grant"
	}
	if c.Scope != "https://www.googleapis.com/auth/chat.bot" {
		return "", "invalid_scope"
	}
	return c.Iss, ""
}

var (
	googleSpace = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	googleName  = regexp.MustCompile(`^client-[a-z0-9-]{1,56}$`)
)

// googleMessage is what creating and changing a message are given, of which Google
// takes no field that it does not know.
type googleMessage struct {
	Text         string `json:"text"`
	MarkupSyntax string `json:"markupSyntax"`
	Thread       struct {
		Name string `json:"name"`
	} `json:"thread"`
}

func readGoogle(r *http.Request) (m googleMessage, ok bool) {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(&m)
	syntax := m.MarkupSyntax == "" || m.MarkupSyntax == "MARKUP_SYNTAX_CHAT" || m.MarkupSyntax == "MARKUP_SYNTAX_MARKDOWN"
	return m, err == nil && syntax && strings.TrimSpace(m.Text) != "" && len(m.Text) <= 32000
}

// create posts a message, of each name one in a space. Without the option that asks
// for it no thread is looked at.
func (s *googleChatAPI) create(w http.ResponseWriter, r *http.Request) {
	m, ok := readGoogle(r)
	q := r.URL.Query()
	space, name, option := "spaces/"+r.PathValue("space"), q.Get("messageId"), q.Get("messageReplyOption")
	answers := option == "REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD" || option == "REPLY_MESSAGE_OR_FAIL"
	if !ok || !googleSpace.MatchString(r.PathValue("space")) || name != "" && !googleName.MatchString(name) || option != "" && !answers ||
		m.Thread.Name != "" && !strings.HasPrefix(m.Thread.Name, space+"/threads/") {
		googleFault(w, http.StatusBadRequest, "INVALID_ARGUMENT")
		return
	}
	s.mu.Lock()
	taken := s.names[space+"/"+name]
	s.mu.Unlock()
	if name != "" && taken && s.accepts(bearer(r)) {
		googleFault(w, http.StatusConflict, "ALREADY_EXISTS")
		return
	}
	p := Post{KeyHash: Hash(bearer(r)), Channel: space, Text: m.Text}
	if answers {
		p.ThreadTS = m.Thread.Name
	}
	if s.refused(w, s.keep(&p, "M%05d.M")) {
		return
	}
	s.mu.Lock()
	s.names[space+"/"+name] = true
	s.mu.Unlock()
	answer(w, http.StatusOK, map[string]any{"name": space + "/messages/" + p.TS, "text": p.Text, "clientAssignedMessageId": name, "space": map[string]any{"name": space}})
}

func (s *googleChatAPI) patch(w http.ResponseWriter, r *http.Request) {
	m, ok := readGoogle(r)
	if !ok || r.URL.Query().Get("updateMask") != "text" {
		googleFault(w, http.StatusBadRequest, "INVALID_ARGUMENT")
		return
	}
	p := Post{KeyHash: Hash(bearer(r)), Channel: "spaces/" + r.PathValue("space"), TS: r.PathValue("message"), Text: m.Text}
	word := s.edit(p)
	if word == "not_modified" { // Google takes the same text again
		word = ""
	}
	if !s.refused(w, word) {
		answer(w, http.StatusOK, map[string]any{"name": p.Channel + "/messages/" + p.TS, "text": p.Text})
	}
}

// refused answers an error's word; "" is none.
func (s *googleChatAPI) refused(w http.ResponseWriter, word string) bool {
	switch word {
	case "":
		return false
	case "invalid_auth":
		googleFault(w, http.StatusUnauthorized, "UNAUTHENTICATED")
	case "limited":
		w.Header().Set("Retry-After", "1")
		googleFault(w, http.StatusTooManyRequests, "RESOURCE_EXHAUSTED")
	case "message_not_found":
		googleFault(w, http.StatusNotFound, "NOT_FOUND")
	default:
		googleFault(w, http.StatusForbidden, "PERMISSION_DENIED")
	}
	return true
}

func (s *googleChatAPI) media(w http.ResponseWriter, r *http.Request) {
	switch {
	case !s.accepts(bearer(r)):
		googleFault(w, http.StatusUnauthorized, "UNAUTHENTICATED")
	case r.URL.Query().Get("alt") != "media":
		googleFault(w, http.StatusBadRequest, "INVALID_ARGUMENT")
	default:
		s.download(w, r, r.PathValue("id"))
	}
}
