package mockvendor

import (
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// slack is what the product uses of Slack's Web API, its page that authorises an app,
// and its signature over time and body.
func slack() channelVendor {
	return channelVendor{id: "slack", apis: map[string]string{"LATCHKEY_SLACK_API_URL": "/api"},
		serve: func(s *Server) {
			s.mux.HandleFunc("POST /api/chat.postMessage", s.postMessage)
			s.mux.HandleFunc("POST /api/chat.update", s.slackUpdate)
			s.mux.HandleFunc("POST /api/assistant.threads.setStatus", s.slackStatus)
			s.mux.HandleFunc("GET /oauth/v2/authorize", s.authorize)
			s.mux.HandleFunc("POST /api/oauth.v2.access", s.access)
			s.mux.HandleFunc("GET /api/files.info", s.slackFile)
			s.mux.HandleFunc("GET /api/files.getUploadURLExternal", s.slackUploadURL)
			s.mux.HandleFunc("POST /media/upload/{id}", s.slackUpload)
			s.mux.HandleFunc("POST /api/files.completeUploadExternal", s.slackComplete)
		},
		sign: func(r *http.Request, p Proof, body []byte) {
			ts := strconv.FormatInt(p.At.Unix(), 10)
			r.Header.Set("X-Slack-Request-Timestamp", ts)
			r.Header.Set("X-Slack-Signature", "v0="+hex.EncodeToString(mac(p.Secret, "v0:"+ts+":", body)))
		},
	}
}

// postMessage takes JSON or form bodies, as the real method does.
func (s *Server) postMessage(w http.ResponseWriter, r *http.Request) {
	key, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		answer(w, http.StatusOK, map[string]any{"ok": false, "error": "invalid_post_type"})
		return
	}
	var p Post
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		var q struct {
			Channel  string          `json:"channel"`
			Text     string          `json:"text"`
			ThreadTS string          `json:"thread_ts"`
			Metadata json.RawMessage `json:"metadata"`
			Attached json.RawMessage `json:"attachments"`
		}
		if err := json.Unmarshal(body, &q); err != nil {
			answer(w, http.StatusOK, map[string]any{"ok": false, "error": "invalid_json"})
			return
		}
		refs, ok := slackButtons(q.Attached)
		if !ok {
			slackError(w, "invalid_attachments")
			return
		}
		p = Post{Channel: q.Channel, Text: q.Text, ThreadTS: q.ThreadTS, Metadata: q.Metadata, Buttons: refs}
	} else if form, err := url.ParseQuery(string(body)); err == nil {
		p = Post{Channel: form.Get("channel"), Text: form.Get("text"), ThreadTS: form.Get("thread_ts")}
	}
	p.KeyHash = Hash(key)
	if fault := slackText(p.Text); fault != "" {
		answer(w, http.StatusOK, map[string]any{"ok": false, "error": fault})
		return
	}
	if failure := s.keep(&p, "1760000000.%06d"); failure != "" {
		answer(w, http.StatusOK, map[string]any{"ok": false, "error": failure})
		return
	}
	answer(w, http.StatusOK, map[string]any{"ok": true, "channel": p.Channel, "ts": p.TS, "message": map[string]any{"text": p.Text, "ts": p.TS}})
}

var slackPeople = regexp.MustCompile(`<@[UW][A-Z0-9]+>`)

// slackUpdate is chat.update (docs.slack.dev/reference/methods/chat.update).
func (s *Server) slackUpdate(w http.ResponseWriter, r *http.Request) {
	key, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	var q struct {
		Channel, TS, Text string
		Attached          json.RawMessage `json:"attachments"`
	}
	fail := func(word string) { answer(w, http.StatusOK, map[string]any{"ok": false, "error": word}) }
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		fail("invalid_json")
		return
	}
	// An edit tells nobody, so it may name people.
	if fault := slackText(slackPeople.ReplaceAllString(q.Text, "somebody")); fault != "" {
		fail(fault)
		return
	}
	refs, ok := slackButtons(q.Attached)
	if !ok {
		fail("invalid_attachments")
		return
	}
	if q.Attached == nil { // they stay
		refs = s.buttons(q.TS)
	}
	if units(q.Text) > 4000 {
		fail("msg_too_long")
		return
	}
	switch word := s.edit(Post{KeyHash: Hash(key), Channel: q.Channel, TS: q.TS, Text: q.Text, Buttons: refs}); word {
	case "", "not_modified": // Slack takes the same text again
		answer(w, http.StatusOK, map[string]any{"ok": true, "channel": q.Channel, "ts": q.TS, "text": q.Text})
	case "limited":
		w.Header().Set("Retry-After", "1")
		answer(w, http.StatusTooManyRequests, map[string]any{"ok": false, "error": "ratelimited"})
	default:
		fail(word)
	}
}

// slackStatus is assistant.threads.setStatus.
func (s *Server) slackStatus(w http.ResponseWriter, r *http.Request) {
	key, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	var q struct {
		Channel string `json:"channel_id"`
		Thread  string `json:"thread_ts"`
		Status  string `json:"status"`
	}
	if json.NewDecoder(r.Body).Decode(&q) != nil || q.Channel == "" || q.Thread == "" {
		answer(w, http.StatusOK, map[string]any{"ok": false, "error": "invalid_arguments"})
		return
	}
	s.sign(Sign{KeyHash: Hash(key), Channel: q.Channel + ":" + q.Thread, Text: q.Status})
	answer(w, http.StatusOK, map[string]any{"ok": true})
}

// slackText says what Slack would refuse, and, as it would not, what it would read
// as a mention, a command or a broken link: an answer must hold none.
func slackText(s string) string {
	switch {
	case s == "":
		return "no_text"
	case units(s) > 40_000:
		return "msg_too_long"
	}
	for rest := s; ; {
		_, after, found := strings.Cut(rest, "<")
		if !found {
			return ""
		}
		inside, behind, closed := strings.Cut(after, ">")
		address, _, _ := strings.Cut(inside, "|")
		if !closed || !strings.HasPrefix(address, "https://") && !strings.HasPrefix(address, "http://") {
			return "simulated_mention"
		}
		rest = behind
	}
}

func slackError(w http.ResponseWriter, code string) {
	answer(w, http.StatusOK, map[string]any{"ok": false, "error": code})
}

func (s *Server) slackFile(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("file")
	f, ok := s.file(id)
	switch {
	case !s.accepts(bearer(r)):
		slackError(w, "invalid_auth")
	case !ok:
		slackError(w, "file_not_found")
	default:
		answer(w, http.StatusOK, map[string]any{"ok": true, "file": map[string]any{"id": id, "mimetype": f.Type, "size": len(f.Body), "url_private_download": f.where(r, "/media/"+id)}})
	}
}

// slackUploadURL takes a form only, as the real method does.
func (s *Server) slackUploadURL(w http.ResponseWriter, r *http.Request) {
	length, err := strconv.Atoi(r.FormValue("length"))
	if err != nil || length < 1 || r.FormValue("filename") == "" {
		slackError(w, "invalid_arguments")
		return
	}
	id := s.kept(bearer(r), 0)
	answer(w, http.StatusOK, map[string]any{"ok": true, "file_id": id, "upload_url": "http://" + r.Host + "/media/upload/" + id})
}

func (s *Server) slackUpload(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.uploads[r.PathValue("id")]
	if err != nil || !ok || r.Header.Get("Authorization") != "" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	u.bytes = len(b)
	s.uploads[r.PathValue("id")] = u
	_, _ = io.WriteString(w, "OK - "+strconv.Itoa(len(b)))
}

func (s *Server) slackComplete(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Files   []struct{ ID string } `json:"files"`
		Channel string                `json:"channel_id"`
		Thread  string                `json:"thread_ts"`
		Comment string                `json:"initial_comment"`
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || len(q.Files) != 1 || s.uploaded(q.Files[0].ID, bearer(r)) == 0 {
		slackError(w, "invalid_arguments")
		return
	}
	p := Post{Channel: q.Channel, Text: q.Comment, ThreadTS: q.Thread, KeyHash: Hash(bearer(r)), Voice: s.uploaded(q.Files[0].ID, bearer(r))}
	if failure := s.keep(&p, "1760000000.%06d"); failure != "" {
		slackError(w, failure)
		return
	}
	answer(w, http.StatusOK, map[string]any{"ok": true, "files": []any{map[string]any{"id": q.Files[0].ID}}})
}

// SlackCallback is the body with which Slack tells an app in a workspace of an
// event. bot is the app's user there; empty = not told.
func SlackCallback(id, team, app, bot string, at time.Time, event map[string]any) []byte {
	installed := map[string]any{"team_id": team, "is_bot": true, "is_enterprise_install": false}
	if bot != "" {
		installed["user_id"] = bot
	}
	b, err := json.Marshal(map[string]any{"type": "event_callback", "event_id": id, "team_id": team, "api_app_id": app,
		"authorizations": []any{installed}, "event_time": at.Unix(), "event": event})
	if err != nil {
		panic(err) // an event that is no JSON
	}
	return b
}
