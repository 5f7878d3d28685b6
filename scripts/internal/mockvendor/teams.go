package mockvendor

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// teams is the connector of Microsoft Teams for one region, where Microsoft hands out
// tokens for apps and where the Bot Framework publishes its keys
// (learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-authentication
// and -api-reference, github.com/MicrosoftDocs/msteams-docs, all read 2026-11). A
// message's secret is the app's id, which its token names. Held to no client of
// Microsoft's, of which none is among the modules. It is stricter in what it takes:
// only the members and the tags that are documented. Not imitated: who is a member of
// which conversation, which app belongs to which tenant, limits by conversation, the end
// of a token, keys that change, and that long messages are split.
func teams() channelVendor {
	return channelVendor{id: "teams", apis: map[string]string{"LATCHKEY_TEAMS_API_URL": "/teams", "LATCHKEY_TEAMS_TOKEN_API_URL": "/teamslogin",
		"LATCHKEY_TEAMS_OPENID_API_URL": "/teamskeys"},
		serve: func(s *Server) {
			c := &teamsAPI{s}
			s.mux.HandleFunc("GET /teamskeys/v1/.well-known/openidconfiguration", func(w http.ResponseWriter, r *http.Request) {
				answer(w, http.StatusOK, map[string]any{"issuer": teamsIssuer, "jwks_uri": "http://" + r.Host + "/teamskeys/v1/.well-known/keys",
					"id_token_signing_alg_values_supported": []string{"RS256"}, "token_endpoint_auth_methods_supported": []string{"private_key_jwt"}})
			})
			s.mux.HandleFunc("GET /teamskeys/v1/.well-known/keys", func(w http.ResponseWriter, _ *http.Request) {
				if s.published(w) {
					publishTeamsKeys(w)
				}
			})
			s.mux.HandleFunc("POST /teamslogin/{tenant}/oauth2/v2.0/token", c.token)
			for _, region := range []string{"/teams/{region}", "/teams/{region}/{tenant}"} {
				s.mux.HandleFunc("POST "+region+"/v3/conversations/{conversation}/activities", c.create)
				s.mux.HandleFunc("PUT "+region+"/v3/conversations/{conversation}/activities/{activity}", c.update)
			}
		},
		sign: func(r *http.Request, p Proof, body []byte) {
			var activity struct {
				ServiceURL string `json:"serviceUrl"`
			}
			_ = json.Unmarshal(body, &activity) // what is none names no address
			claims := map[string]any{"nbf": p.At.Unix(), "exp": p.At.Add(time.Hour).Unix()}
			if activity.ServiceURL != "" {
				claims["serviceurl"] = activity.ServiceURL
			}
			r.Header.Set("Authorization", "Bearer "+BotToken(TeamsKeyID, p.Secret, claims))
		},
	}
}

const teamsIssuer = "https://api.botframework.com"

// Names of the simulated Bot Framework's keys: of the one that may speak for Teams, and
// of one for its other channels.
const (
	TeamsKeyID     = "simulated-msteams"
	OtherBotsKeyID = "simulated-webchat"
)

// teamsKeys are made once in a process, as Google's are.
var teamsKeys = sync.OnceValue(func() map[string]*rsa.PrivateKey {
	out := map[string]*rsa.PrivateKey{}
	for _, id := range []string{TeamsKeyID, OtherBotsKeyID} {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		out[id] = k
	}
	return out
})

// BotToken is the token of a request of the Bot Framework to an app, signed with one of
// its keys, with these claims beside or in the place of the usual ones.
func BotToken(key, app string, claims map[string]any) string {
	all := map[string]any{"iss": teamsIssuer, "aud": app}
	for name, v := range claims {
		all[name] = v
	}
	return signedToken(teamsKeys()[key], map[string]any{"alg": "RS256", "typ": "JWT", "kid": key, "x5t": key}, all)
}

func publishTeamsKeys(w http.ResponseWriter) {
	of := func(id string, endorsements ...string) map[string]any {
		return map[string]any{"kty": "RSA", "use": "sig", "kid": id, "x5t": id, "n": base64.RawURLEncoding.EncodeToString(teamsKeys()[id].N.Bytes()), "e": "AQAB", "endorsements": endorsements}
	}
	answer(w, http.StatusOK, map[string]any{"keys": []any{of(OtherBotsKeyID, "webchat", "directline"), of(TeamsKeyID, "msteams", "skypecache")}})
}

// TeamsToken is what an app gets for its client secret, and TeamsSecret the secret of
// a token.
func TeamsToken(secret string) string { return teamsTokenTag + secret }

// TeamsSecret is the client secret of a token.
func TeamsSecret(token string) string { return strings.TrimPrefix(token, teamsTokenTag) }

const teamsTokenTag = "eyJ0."

var (
	teamsID     = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	teamsRegion = regexp.MustCompile(`^(teams|amer|emea|apac|in|uk)$`)
	teamsSpace  = regexp.MustCompile(`^(a:[A-Za-z0-9_-]+|19:[A-Za-z0-9_-]+@(thread\.(v2|tacv2|skype)|unq\.gbl\.spaces))$`)
	teamsThread = regexp.MustCompile(`^[0-9]+$`)
)

type teamsAPI struct{ *Server }

// token trades an app's client secret.
func (s *teamsAPI) token(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, word string) {
		answer(w, status, map[string]any{"error": word, "error_description": "simulated", "error_codes": []int{7000000}})
	}
	switch {
	case r.ParseForm() != nil || r.PostForm.Get("grant_type") != "client_credentials":
		refuse(http.StatusBadRequest, "unsupported_grant_type")
	case !teamsID.MatchString(r.PathValue("tenant")):
		refuse(http.StatusBadRequest, "invalid_request")
	case !teamsID.MatchString(r.PostForm.Get("client_id")):
		refuse(http.StatusBadRequest, "unauthorized_client")
	case r.PostForm.Get("scope") != teamsIssuer+"/.default":
		refuse(http.StatusBadRequest, "invalid_scope")
	case r.PostForm.Get("client_secret") == "" || !s.accepts(TeamsToken(r.PostForm.Get("client_secret"))):
		refuse(http.StatusUnauthorized, "invalid_client")
	default:
		answer(w, http.StatusOK, map[string]any{"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": TeamsToken(r.PostForm.Get("client_secret"))})
	}
}

// teamsActivity is what creating and changing a message are given.
type teamsActivity struct {
	Type       string `json:"type"`
	TextFormat string `json:"textFormat"`
	Text       string `json:"text"`
}

func teamsFault(w http.ResponseWriter, status int, code string) {
	answer(w, status, map[string]any{"error": map[string]any{"code": code, "message": "simulated"}})
}

// maxTeams is the documented limit of a message in bytes of UTF-16.
const maxTeams = 100 << 10

// read reads a request to a conversation, and answers what is wrong with it.
func (s *teamsAPI) read(w http.ResponseWriter, r *http.Request) (a teamsActivity, p Post, ok bool) {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(&a)
	space, thread, threaded := strings.Cut(r.PathValue("conversation"), ";messageid=")
	formats := []string{"", "plain", "markdown", "xml"}
	switch {
	case !teamsRegion.MatchString(r.PathValue("region")) || r.PathValue("tenant") != "" && !teamsID.MatchString(r.PathValue("tenant")):
		teamsFault(w, http.StatusNotFound, "ServiceNotFound")
	case !s.accepts(bearer(r)):
		answer(w, http.StatusUnauthorized, map[string]any{"message": "Authorization has been denied for this request."})
	case !teamsSpace.MatchString(space) || threaded && (!teamsThread.MatchString(thread) || !strings.HasPrefix(space, "19:")):
		teamsFault(w, http.StatusNotFound, "ConversationNotFound")
	case 2*units(a.Text) > maxTeams:
		teamsFault(w, http.StatusRequestEntityTooLarge, "MessageSizeTooBig")
	case err != nil || a.Type != "message" && a.Type != "typing" || a.Type == "message" && strings.TrimSpace(a.Text) == "" || a.Type == "typing" && a.Text != "" ||
		!slices.Contains(formats, a.TextFormat) || a.TextFormat == "xml" && !teamsTags(a.Text):
		teamsFault(w, http.StatusBadRequest, "BadArgument")
	default:
		return a, Post{KeyHash: Hash(bearer(r)), Channel: space, ThreadTS: thread, Text: a.Text}, true
	}
	return a, p, false
}

// teamsTags reports a text that is well formed and has the tags of text messages only.
func teamsTags(text string) bool {
	known := []string{"x", "strong", "em", "strike", "pre", "code", "blockquote", "a", "br"}
	d := xml.NewDecoder(strings.NewReader("<x>" + text + "</x>"))
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return true
		}
		if err != nil {
			return false
		}
		if tag, ok := t.(xml.StartElement); ok && (!slices.Contains(known, tag.Name.Local) || len(tag.Attr) > 0 && (tag.Name.Local != "a" || len(tag.Attr) > 1 || tag.Attr[0].Name.Local != "href")) {
			return false
		}
	}
}

// create posts a message, or shows that one is being written.
func (s *teamsAPI) create(w http.ResponseWriter, r *http.Request) {
	a, p, ok := s.read(w, r)
	if !ok {
		return
	}
	if a.Type == "typing" {
		s.sign(Sign{KeyHash: p.KeyHash, Channel: p.Channel, Text: a.Type})
		answer(w, http.StatusCreated, map[string]any{"id": "1700000000000"})
		return
	}
	if !s.refused(w, s.keep(&p, "16000000%05d")) {
		answer(w, http.StatusCreated, map[string]any{"id": p.TS})
	}
}

// update replaces a message.
func (s *teamsAPI) update(w http.ResponseWriter, r *http.Request) {
	a, p, ok := s.read(w, r)
	if !ok {
		return
	}
	if a.Type != "message" {
		teamsFault(w, http.StatusBadRequest, "BadArgument")
		return
	}
	p.TS = r.PathValue("activity")
	word := s.edit(p)
	if word == "not_modified" { // taken again
		word = ""
	}
	if !s.refused(w, word) {
		answer(w, http.StatusOK, map[string]any{"id": p.TS})
	}
}

// refused answers an error's word; "" is none.
func (s *teamsAPI) refused(w http.ResponseWriter, word string) bool {
	switch word {
	case "":
		return false
	case "invalid_auth":
		answer(w, http.StatusUnauthorized, map[string]any{"message": "Authorization has been denied for this request."})
	case "limited":
		w.Header().Set("Retry-After", "1")
		teamsFault(w, http.StatusTooManyRequests, "Throttled")
	case "message_not_found":
		teamsFault(w, http.StatusNotFound, "ActivityNotFoundInConversation")
	case "cant_update_message":
		teamsFault(w, http.StatusForbidden, "NotEnoughPermissions")
	default:
		teamsFault(w, http.StatusForbidden, "BotNotInConversationRoster")
	}
	return true
}
