package mockvendor

import (
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/mail"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// email is what the product uses of Mailgun: its route's form with time, token and
// signature in it, and sending messages
// (documentation.mailgun.com/docs/mailgun/user-manual/receive-forward-store/receive-http
// and api-reference/send/mailgun/messages, read 2026-11), and of Postmark: sending
// (postmarkapp.com/developer/api/email-api, read 2026-11). Not imitated: recipients in
// lists, templates, attachments, limits, suppressions, stripping of quotes, the spam
// filter, Postmark's own requests.
func email() channelVendor {
	return channelVendor{id: "email", apis: map[string]string{"LATCHKEY_MAILGUN_API_URL": "/mailgun", "LATCHKEY_POSTMARK_API_URL": "/postmark"},
		serve: func(s *Server) {
			s.mux.HandleFunc("POST /mailgun/v3/{domain}/messages", s.mailgunMessage)
			s.mux.HandleFunc("POST /postmark/email", s.postmarkMessage)
		},
		stamp: stampMailgun,
	}
}

// stampMailgun adds the three fields. The token follows from the rest of the form, so
// that a repetition has the same one, as retries do.
func stampMailgun(p Proof, body []byte) []byte {
	at := strconv.FormatInt(p.At.Unix(), 10)
	token := hex.EncodeToString(mac("token", "", body))[:50]
	return append(body[:len(body):len(body)], "&timestamp="+at+"&token="+token+"&signature="+hex.EncodeToString(mac(p.Secret, at+token, nil))...)
}

var mailID = regexp.MustCompile(`^<[^<>\s@]+@[^<>\s@]+>$`)

// mailgunMessage takes one message to one address. Errors are an object with a
// message, but for a refused key, whose answer is a word.
func (s *Server) mailgunMessage(w http.ResponseWriter, r *http.Request) {
	user, key, ok := r.BasicAuth()
	if !ok || user != "api" || key == "" || !s.accepts(key) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte("Forbidden"))
		return
	}
	fail := func(text string) { answer(w, http.StatusBadRequest, map[string]any{"message": text}) }
	if r.ParseForm() != nil {
		fail("malformed form")
		return
	}
	f := r.PostForm
	from, err := mail.ParseAddress(f.Get("from"))
	if err != nil || !strings.HasSuffix(from.Address, "@"+r.PathValue("domain")) {
		fail("from parameter is not a valid address. please check documentation")
		return
	}
	to, err := mail.ParseAddress(f.Get("to"))
	if err != nil || len(f["to"]) != 1 {
		fail("to parameter is not a valid address. please check documentation")
		return
	}
	if f.Get("text") == "" {
		fail("Need at least one of 'text', 'html', 'amp-html' or 'template' parameters specified")
		return
	}
	if text := badHead(f); text != "" {
		fail(text)
		return
	}
	p := Post{Channel: to.Address, Text: f.Get("text"), ThreadTS: f.Get("h:In-Reply-To"), KeyHash: Hash(key), TS: f.Get("h:Message-Id")}
	switch s.keep(&p, "<%d.sim@mailgun.example>") {
	case "":
		answer(w, http.StatusOK, map[string]any{"id": p.TS, "message": "Queued. Thank you."})
	case "invalid_auth":
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte("Forbidden"))
	default:
		fail("Domain is not allowed to send")
	}
}

// badHead says what of a message's head would not be a head: the vendor refuses line
// breaks, and takes 16 KB of headers and options.
func badHead(f url.Values) string {
	size := 0
	for name, values := range f {
		if len(values) != 1 || strings.ContainsAny(name, "\r\n") || name != "text" && strings.ContainsAny(values[0], "\r\n") {
			return "header " + strconv.Quote(name) + " is malformed"
		}
		if strings.HasPrefix(name, "h:") || strings.HasPrefix(name, "o:") {
			size += len(values[0])
		}
		if (name == "h:Message-Id" || name == "h:In-Reply-To") && !mailID.MatchString(values[0]) {
			return name + " is no message id"
		}
	}
	if size > 16<<10 {
		return "headers and options are limited to 16KB"
	}
	return ""
}

// postmarkMessage takes one message to one address. Errors are a number and a text.
func (s *Server) postmarkMessage(w http.ResponseWriter, r *http.Request) {
	fail := func(status, code int) {
		answer(w, status, map[string]any{"ErrorCode": code, "Message": "simulated"})
	}
	key := r.Header.Get("X-Postmark-Server-Token")
	if !s.accepts(key) {
		fail(http.StatusUnauthorized, 10)
		return
	}
	var q struct {
		From, To, Subject, TextBody string
		Headers                     []struct{ Name, Value string }
	}
	if json.NewDecoder(r.Body).Decode(&q) != nil {
		fail(http.StatusUnprocessableEntity, 402)
		return
	}
	_, errFrom := mail.ParseAddress(q.From)
	to, errTo := mail.ParseAddress(q.To)
	bad := errFrom != nil || errTo != nil || q.TextBody == "" || strings.ContainsAny(q.Subject, "\r\n")
	reply := ""
	for _, h := range q.Headers {
		bad = bad || strings.ContainsAny(h.Name+h.Value, "\r\n") || h.Name == "Message-Id" && !mailID.MatchString(h.Value)
		if h.Name == "In-Reply-To" {
			reply = h.Value
		}
	}
	if bad {
		fail(http.StatusUnprocessableEntity, 300)
		return
	}
	p := Post{Channel: to.Address, Text: q.TextBody, ThreadTS: reply, KeyHash: Hash(key)}
	if s.keep(&p, "0a129aee-e1cd-480d-b08d-%012d") != "" {
		fail(http.StatusUnprocessableEntity, 406)
		return
	}
	answer(w, http.StatusOK, map[string]any{"To": to.Address, "MessageID": p.TS, "ErrorCode": 0, "Message": "OK"})
}
