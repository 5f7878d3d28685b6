package mockvendor

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// twilio is Twilio's messages and their files (www.twilio.com/docs/messaging/api, read
// 2026-11), and its signature over URL and form. Not imitated: what becomes of a
// message, opt-outs, senders that an account does not own, WhatsApp's window, regions.
func twilio() channelVendor {
	return channelVendor{id: "twilio", apis: map[string]string{"LATCHKEY_TWILIO_API_URL": "/twilio"},
		serve: func(s *Server) {
			t := twilioAPI{s}
			s.mux.HandleFunc("POST /twilio/2010-04-01/Accounts/{account}/Messages.json", t.message)
			s.mux.HandleFunc("GET /twilio/2010-04-01/Accounts/{account}/Messages/{message}/Media/{media}", t.media)
			s.mux.HandleFunc("GET /twiliocdn/{id}", t.file)
		},
		sign: func(r *http.Request, p Proof, body []byte) {
			m := hmac.New(sha1.New, []byte(p.Secret))
			_, _ = io.WriteString(m, r.URL.String()+twilioPairs(string(body)))
			r.Header.Set("X-Twilio-Signature", base64.StdEncoding.EncodeToString(m.Sum(nil)))
		},
	}
}

// twilioPairs are the form's names and values as they are signed.
func twilioPairs(body string) string {
	form, err := url.ParseQuery(body)
	if err != nil {
		return ""
	}
	var pairs []string
	for name, values := range form {
		slices.Sort(values)
		for _, v := range slices.Compact(values) {
			pairs = append(pairs, name+"\x00"+v)
		}
	}
	slices.Sort(pairs)
	return strings.ReplaceAll(strings.Join(pairs, ""), "\x00", "")
}

// TwilioMedia is the address that a message names for a kept file, whose id is a
// number without leading zeros.
func TwilioMedia(account, id string) string {
	return "https://api.twilio.com/2010-04-01/Accounts/" + account + "/Messages/MM" + strings.Repeat("0", 32) + "/Media/ME" + strings.Repeat("0", 32-len(id)) + id
}

// FileHost is the server at base under another name: where a vendor's API redirects to
// for files, which are not at the same host.
func FileHost(base string) string {
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(base, "http://"))
	return "localhost:" + port
}

var (
	twilioAccount = regexp.MustCompile(`^AC[0-9a-f]{32}$`)
	twilioAddress = regexp.MustCompile(`^(whatsapp:)?\+[1-9][0-9]{6,14}$`)
	twilioService = regexp.MustCompile(`^MG[0-9a-f]{32}$`)
)

type twilioAPI struct{ *Server }

func twilioFault(w http.ResponseWriter, status, code int, message string) {
	answer(w, status, map[string]any{"code": code, "message": message, "more_info": "https://www.twilio.com/docs/errors", "status": status})
}

// secretOf is the secret of who asks, as an API key or the account.
func (twilioAPI) secretOf(r *http.Request) string {
	user, password, ok := r.BasicAuth()
	if !ok || user != r.PathValue("account") && !strings.HasPrefix(user, "SK") {
		return ""
	}
	return password
}

func (s twilioAPI) message(w http.ResponseWriter, r *http.Request) {
	secret := s.secretOf(r)
	if !s.accepts(secret) {
		twilioFault(w, http.StatusUnauthorized, 20003, "Authenticate")
		return
	}
	if !twilioAccount.MatchString(r.PathValue("account")) {
		twilioFault(w, http.StatusNotFound, 20404, "The requested resource was not found")
		return
	}
	if err := r.ParseForm(); err != nil || r.URL.RawQuery != "" {
		twilioFault(w, http.StatusBadRequest, 20001, "The form could not be read")
		return
	}
	to, from, service, body := r.PostForm.Get("To"), r.PostForm.Get("From"), r.PostForm.Get("MessagingServiceSid"), r.PostForm.Get("Body")
	onWhatsApp := func(address string) bool { return strings.HasPrefix(address, "whatsapp:") }
	switch {
	case !twilioAddress.MatchString(to):
		twilioFault(w, http.StatusBadRequest, 21211, "Invalid 'To' Phone Number")
	case from == "" && service == "":
		twilioFault(w, http.StatusBadRequest, 21603, "A 'From' phone number is required.")
	case from != "" && !twilioAddress.MatchString(from), service != "" && !twilioService.MatchString(service):
		twilioFault(w, http.StatusBadRequest, 21212, "The 'From' number is not a valid phone number, shortcode, or alphanumeric sender ID.")
	case from != "" && onWhatsApp(from) != onWhatsApp(to):
		twilioFault(w, http.StatusBadRequest, 21910, "Invalid From and To pair. From and To should be of the same channel")
	case strings.TrimSpace(body) == "":
		twilioFault(w, http.StatusBadRequest, 21619, "A text message body or media urls must be specified.")
	case units(body) > 1600:
		twilioFault(w, http.StatusBadRequest, 21617, "The concatenated message body exceeds the 1600 character limit")
	default:
		p := Post{KeyHash: Hash(secret), Channel: to, Text: body, ThreadTS: from + service}
		if s.keep(&p, "SM%032x") != "" {
			twilioFault(w, http.StatusBadRequest, 21610, "Attempt to send to unsubscribed recipient")
			return
		}
		answer(w, http.StatusCreated, map[string]any{"sid": p.TS, "account_sid": r.PathValue("account"), "status": "queued", "to": to, "from": from, "body": body, "error_code": nil, "num_segments": "1"})
	}
}

// media hands a file out by a redirect, as accounts with HTTP authentication for media
// have it.
func (s twilioAPI) media(w http.ResponseWriter, r *http.Request) {
	if !s.accepts(s.secretOf(r)) {
		twilioFault(w, http.StatusUnauthorized, 20003, "Authenticate")
		return
	}
	id := strings.TrimLeft(strings.TrimPrefix(r.PathValue("media"), "ME"), "0")
	f, ok := s.Server.file(id)
	switch {
	case !ok:
		twilioFault(w, http.StatusNotFound, 20404, "The requested resource was not found")
	case f.Redirect != "":
		http.Redirect(w, r, f.Redirect, http.StatusTemporaryRedirect)
	default:
		http.Redirect(w, r, "http://"+FileHost("http://"+r.Host)+"/twiliocdn/"+id+"?Signature=simulated", http.StatusTemporaryRedirect)
	}
}

// file refuses a request that brings a credential along, as the real place does, whose
// address holds the permission.
func (s twilioAPI) file(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "" || r.URL.Query().Get("Signature") == "" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.download(w, r, r.PathValue("id"))
}
