package mockvendor

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// discord is what the product uses of Discord: answers to interactions and messages of
// a bot (discord.com/developers/docs/interactions/receiving-and-responding and
// resources/message, read 2026-11), files, and its signature over time and body.
//
// Not imitated: the first answer, which the product gives over HTTP, so that an
// interaction is answerable at once; permissions of channels, rate limits by route,
// components other than buttons, embeds, several files of a message, its own voice messages.
func discord() channelVendor {
	return channelVendor{id: "discord", apis: map[string]string{"LATCHKEY_DISCORD_API_URL": "/discord"},
		serve: func(s *Server) {
			d := &discordAPI{Server: s, first: map[string]string{}, nonces: map[string]string{}}
			s.mux.HandleFunc("PATCH /discord/webhooks/{app}/{token}/messages/{id}", d.change)
			s.mux.HandleFunc("POST /discord/webhooks/{app}/{token}", d.follow)
			s.mux.HandleFunc("POST /discord/channels/{channel}/messages", d.message)
			s.mux.HandleFunc("PATCH /discord/channels/{channel}/messages/{id}", d.replace)
			s.mux.HandleFunc("GET /discordcdn/attachments/{id}", d.content)
			s.mux.HandleFunc("GET /discord/oauth2/authorize", s.discordPage)
			s.mux.HandleFunc("POST /discord/oauth2/token", s.discordTrade)
		},
		sign: func(r *http.Request, p Proof, body []byte) {
			ts := strconv.FormatInt(p.At.Unix(), 10)
			r.Header.Set("X-Signature-Timestamp", ts)
			r.Header.Set("X-Signature-Ed25519", hex.EncodeToString(ed25519.Sign(discordKey(p.Secret), append([]byte(ts), body...))))
		},
	}
}

func discordKey(secret string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(secret))
	return ed25519.NewKeyFromSeed(seed[:])
}

// DiscordPublicKey is the public key of the application that signs with the secret.
func DiscordPublicKey(secret string) string {
	public, _ := discordKey(secret).Public().(ed25519.PublicKey)
	return hex.EncodeToString(public)
}

// DiscordToken is the token of the interaction of this name, without dots, in a channel
// of the app whose bot has the key; over says that its time is up. It tells whose it
// is, for the journal; the vendor's own tokens say nothing.
func DiscordToken(key, channel, name string, over bool) string {
	return fmt.Sprintf("%s.%s.%s.%v", Hash(key), channel, name, over)
}

// DiscordID is an id that was made at a time and ends in n, which is below a million.
func DiscordID(at time.Time, n int64) string {
	const last = 1_000_000 // less than a millisecond
	id := (at.UnixMilli() - 1420070400000) << 22
	return strconv.FormatInt(id-id%last+n%last, 10)
}

// discordAPI remembers, under the server's lock, the first message of an interaction,
// and, under its own, the messages by their nonces.
type discordAPI struct {
	*Server
	first   map[string]string
	posting sync.Mutex
	nonces  map[string]string
}

var discordIDs = regexp.MustCompile(`^[1-9][0-9]{0,19}$`)

func discordFault(w http.ResponseWriter, status, code int, message string) {
	answer(w, status, map[string]any{"message": message, "code": code})
}

// discordMessage is what a call that posts or edits says.
type discordMessage struct {
	Content  string  `json:"content"`
	Flags    int     `json:"flags"`
	Nonce    *string `json:"nonce"`
	Enforce  bool    `json:"enforce_nonce"`
	Mentions *struct {
		Parse []string `json:"parse"`
	} `json:"allowed_mentions"`
	Attachments []struct {
		ID       string `json:"id"`
		Filename string `json:"filename"`
	} `json:"attachments"`
	Components []discordRow `json:"components"`
	voice      int
	buttons    []string
}

// discordSays reads it; a refusal is written. Without allowed_mentions the real one
// would mention whom the text names; here that is refused.
func discordSays(w http.ResponseWriter, r *http.Request) (m discordMessage, ok bool) {
	if !strings.HasPrefix(r.Header.Get("User-Agent"), "DiscordBot (http") {
		w.WriteHeader(http.StatusForbidden) // as the network before the API does
		return m, false
	}
	said, file := io.Reader(r.Body), []byte(nil)
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		file = part(r, "files[0]")
		said = strings.NewReader(r.FormValue("payload_json"))
	}
	d := json.NewDecoder(said)
	d.DisallowUnknownFields()
	err := d.Decode(&m)
	if m.voice = len(file); m.voice > 10<<20 {
		discordFault(w, http.StatusRequestEntityTooLarge, 40005, "Request entity too large")
		return m, false
	}
	// Each attachment that is stated is a file of the form, and no other.
	stated := len(m.Attachments) == 0 && m.voice == 0 || len(m.Attachments) == 1 && m.Attachments[0].ID == "0" && m.voice > 0
	buttons, ok := discordButtons(m.Components)
	m.buttons = buttons
	const suppressEmbeds = 4
	if err != nil || !stated || !ok || strings.TrimSpace(m.Content) == "" || units(m.Content) > 2000 || m.Flags&^suppressEmbeds != 0 || m.Mentions == nil || len(m.Mentions.Parse) != 0 || m.Nonce != nil && len(*m.Nonce) > 25 {
		discordFault(w, http.StatusBadRequest, 50035, "Invalid Form Body")
		return m, false
	}
	return m, true
}

// interaction reads the token of a path; a refusal is written.
func (s *discordAPI) interaction(w http.ResponseWriter, r *http.Request) (p Post, ok bool) {
	parts := strings.Split(r.PathValue("token"), ".")
	switch {
	case len(parts) != 4 || !discordIDs.MatchString(r.PathValue("app")) || !discordIDs.MatchString(parts[1]):
		discordFault(w, http.StatusNotFound, 10015, "Unknown Webhook")
	case r.Header.Get("Authorization") != "":
		discordFault(w, http.StatusBadRequest, 50035, "the bot's token has no business here") // not the vendor's
	case parts[3] == "true":
		discordFault(w, http.StatusUnauthorized, 50027, "Invalid Webhook Token")
	default:
		return Post{KeyHash: parts[0], Channel: parts[1], ThreadTS: r.PathValue("token")}, true
	}
	return p, false
}

// change edits a message of an interaction; the first one is made by it.
func (s *discordAPI) change(w http.ResponseWriter, r *http.Request) {
	p, ok := s.interaction(w, r)
	if !ok {
		return
	}
	m, ok := discordSays(w, r)
	if !ok {
		return
	}
	p.Text, p.Voice, p.Buttons, p.TS = m.Content, m.voice, m.buttons, r.PathValue("id")
	if p.TS == "@original" {
		s.mu.Lock()
		p.TS = s.first[p.ThreadTS]
		s.mu.Unlock()
		if p.TS == "" {
			s.begun(w, p)
			return
		}
	}
	s.edited(w, p)
}

// begun posts the first message of an interaction.
func (s *discordAPI) begun(w http.ResponseWriter, p Post) {
	if id := s.posted(w, p); id != "" {
		s.mu.Lock()
		s.first[p.ThreadTS] = id
		s.mu.Unlock()
	}
}

// follow posts behind the first message; before it, it is the first (the reference,
// "Create Followup Message").
func (s *discordAPI) follow(w http.ResponseWriter, r *http.Request) {
	p, ok := s.interaction(w, r)
	if !ok {
		return
	}
	m, ok := discordSays(w, r)
	if !ok {
		return
	}
	p.Text, p.Voice, p.Buttons = m.Content, m.voice, m.buttons
	s.mu.Lock()
	begun := s.first[p.ThreadTS] != ""
	s.mu.Unlock()
	if !begun {
		s.begun(w, p)
		return
	}
	s.posted(w, p)
}

// bot reads the bot's token and the channel of a path; a refusal is written.
func (s *discordAPI) bot(w http.ResponseWriter, r *http.Request) (p Post, ok bool) {
	key, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bot ")
	switch {
	case !found || !s.accepts(key):
		discordFault(w, http.StatusUnauthorized, 0, "401: Unauthorized")
	case !discordIDs.MatchString(r.PathValue("channel")):
		discordFault(w, http.StatusNotFound, 10003, "Unknown Channel")
	default:
		return Post{KeyHash: Hash(key), Channel: r.PathValue("channel")}, true
	}
	return p, false
}

// message posts into a channel, once for each nonce that is enforced.
func (s *discordAPI) message(w http.ResponseWriter, r *http.Request) {
	p, ok := s.bot(w, r)
	if !ok {
		return
	}
	m, ok := discordSays(w, r)
	if !ok {
		return
	}
	p.Text, p.Voice, p.Buttons = m.Content, m.voice, m.buttons
	name := ""
	if m.Nonce != nil && m.Enforce {
		name = p.KeyHash + "." + *m.Nonce
	}
	// What two requests with one nonce do at once is decided here: the second waits.
	s.posting.Lock()
	defer s.posting.Unlock()
	id := s.nonces[name]
	if name != "" && id != "" {
		answer(w, http.StatusOK, map[string]any{"id": id, "channel_id": p.Channel, "content": p.Text})
		return
	}
	if id = s.posted(w, p); id != "" && name != "" {
		s.nonces[name] = id
	}
}

// replace edits a message of the bot.
func (s *discordAPI) replace(w http.ResponseWriter, r *http.Request) {
	p, ok := s.bot(w, r)
	if !ok {
		return
	}
	m, ok := discordSays(w, r)
	if !ok {
		return
	}
	p.Text, p.Buttons, p.TS = m.Content, m.buttons, r.PathValue("id")
	s.edited(w, p)
}

// posted keeps a message and answers; "" if it was refused.
func (s *discordAPI) posted(w http.ResponseWriter, p Post) string {
	switch s.keep(&p, "13000000000000%05d") {
	case "":
		answer(w, http.StatusOK, map[string]any{"id": p.TS, "channel_id": p.Channel, "content": p.Text})
		return p.TS
	case "invalid_auth":
		discordFault(w, http.StatusUnauthorized, 50027, "Invalid Webhook Token")
	default:
		discordFault(w, http.StatusForbidden, 50013, "Missing Permissions")
	}
	return ""
}

func (s *discordAPI) edited(w http.ResponseWriter, p Post) {
	switch s.edit(p) {
	case "", "not_modified":
		answer(w, http.StatusOK, map[string]any{"id": p.TS, "channel_id": p.Channel, "content": p.Text})
	case "limited":
		w.Header().Set("Retry-After", "1")
		answer(w, http.StatusTooManyRequests, map[string]any{"message": "You are being rate limited.", "retry_after": 0.529, "global": false})
	case "invalid_auth":
		discordFault(w, http.StatusUnauthorized, 50027, "Invalid Webhook Token")
	case "cant_update_message":
		discordFault(w, http.StatusForbidden, 50005, "Cannot edit a message authored by another user")
	default:
		discordFault(w, http.StatusNotFound, 10008, "Unknown Message")
	}
}

// content gives a file to whoever has its address, and wants no token for it.
func (s *discordAPI) content(w http.ResponseWriter, r *http.Request) {
	if slices.ContainsFunc([]string{"Authorization", "Cookie"}, func(h string) bool { return r.Header.Get(h) != "" }) {
		http.Error(w, "a token has no business here", http.StatusBadRequest) // not the vendor's
		return
	}
	s.download(w, r, r.PathValue("id"))
}

// DiscordFile is where the server at base says that a file lies.
func (s *Server) DiscordFile(base, id string) string {
	if f, ok := s.file(id); ok && f.URL != "" {
		return f.URL
	}
	return base + "/discordcdn/attachments/" + id
}
