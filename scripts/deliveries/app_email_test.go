package deliveries

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// mailgunKind and postmarkKind are one channel over two vendors. Both post a mail again
// until it is taken, for hours. An answer is one mail, however long it is.
func mailgunKind() kind {
	k := mailKind()
	k.contentType = "application/x-www-form-urlencoded"
	k.fresh = func(a *app, n int, in map[string]any) {
		a.id, a.token = fmt.Sprintf("d%d.help.example.com", n), fmt.Sprintf("deliveriesmailgunkey%06d", n)
		in["secrets"] = map[string]any{"webhook_signing_key": a.secret, "api_key": a.token}
		in["config"] = map[string]any{"domain": a.id, "spam_filter": "true"}
	}
	k.tells = func(a *app, p post) []byte {
		headers := [][]string{{"From", p.from}, {"Message-Id", mailID(p)}, {"References", "<" + p.thread + ">"}, {"X-Mailgun-Spf", "Pass"}}
		return []byte(url.Values{"recipient": {"desk@" + a.id}, "sender": {p.from}, "from": {p.from}, "subject": {"a question"}, "body-plain": {p.text}, "stripped-text": {p.text},
			"message-headers": {string(text(headers))}}.Encode())
	}
	k.sends = func(path string, _ []byte) bool { return strings.HasPrefix(path, "/mailgun/") }
	k.refuse = func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"message":"to parameter is not a valid address. please check documentation"}`)
	}
	return k
}

func postmarkKind() kind {
	k := mailKind()
	k.fresh = func(a *app, n int, in map[string]any) {
		a.secret = "hook:" + a.secret
		a.id, a.token = fmt.Sprintf("p%d.help.example.com", n), fmt.Sprintf("deliveriespostmarkkey%06d", n)
		in["secrets"] = map[string]any{"basic_auth": a.secret, "api_key": a.token}
		in["config"] = map[string]any{"domain": a.id}
	}
	k.proves = func(a *app, r *http.Request) {
		r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(a.secret)))
	}
	k.tells = func(a *app, p post) []byte {
		var headers []any
		for _, kv := range [][2]string{{"Message-ID", mailID(p)}, {"References", "<" + p.thread + ">"}, {"X-Spam-Tests", "DKIM_SIGNED,DKIM_VALID,DKIM_VALID_AU"}} {
			headers = append(headers, map[string]string{"Name": kv[0], "Value": kv[1]})
		}
		return text(map[string]any{"From": p.from, "FromFull": map[string]any{"Email": p.from}, "OriginalRecipient": "desk@" + a.id, "Subject": "a question",
			"MessageID": fmt.Sprintf("73e6d360-66eb-11e1-8e72-%012d", p.n), "TextBody": p.text, "StrippedTextReply": p.text, "Headers": headers})
	}
	k.sends = func(path string, _ []byte) bool { return path == "/postmark/email" }
	k.refuse = func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = io.WriteString(w, `{"ErrorCode":406,"Message":"You tried to send to a recipient that has been marked as inactive."}`)
	}
	return k
}

// mailKind is what both have in common: some write in several threads.
func mailKind() kind {
	return kind{provider: "email", onePart: true,
		talks: func(t *talk, inRoom bool) {
			if t.from = fmt.Sprintf("p%d@people.example", t.n); inRoom {
				t.from = fmt.Sprintf("crowd%d@people.example", t.n%3)
			}
			t.room, t.thread = t.from, fmt.Sprintf("root%d@people.example", t.n)
		},
		// An answer names the mail that it answers, which says in what thread it is.
		inThread: func(_ *app, p mockvendor.Post, thread string) bool {
			return strings.HasSuffix(p.ThreadTS, "."+thread+">")
		},
	}
}

func mailID(p post) string { return fmt.Sprintf("<m%d.%s>", p.n, p.thread) }
