package mockvendor

import (
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestDirectMessages: the simulated Send API refuses what the real one does. The
// requests are those of its documentation ("Send API", "Saving assets" and "Sender
// actions", read 2026-11); there is no client of Meta's among our packages.
func TestDirectMessages(t *testing.T) {
	s := New()
	srv := httptest.NewServer(s)
	defer srv.Close()
	const page, account = "682498302938465", "17841477965412210"
	send := func(from, kind string, body io.Reader) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/meta/"+from+"/messages", body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer tok")
		req.Header.Set("Content-Type", kind)
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	text := func(s string) string { return `"recipient":{"id":"42"},"message":{"text":"` + s + `"}` }
	for name, c := range map[string]struct {
		from, body string
		code       string
	}{
		"page":           {page, `{"messaging_type":"RESPONSE",` + text("hello") + `}`, ""},
		"2,000":          {page, `{"messaging_type":"RESPONSE",` + text(strings.Repeat("ü", 2000)) + `}`, ""},
		"2,001":          {page, `{"messaging_type":"RESPONSE",` + text(strings.Repeat("x", 2001)) + `}`, `"code":100`},
		"no type":        {page, `{` + text("hello") + `}`, `"code":100`},
		"nobody":         {page, `{"messaging_type":"RESPONSE","message":{"text":"x"}}`, `"code":100`},
		"nothing":        {page, `{"messaging_type":"RESPONSE","recipient":{"id":"42"},"message":{}}`, `"code":100`},
		"account":        {account, `{` + text("hello") + `}`, ""},
		"1,000 bytes":    {account, `{` + text(strings.Repeat("ü", 500)) + `}`, ""},
		"1,002 bytes":    {account, `{` + text(strings.Repeat("ü", 501)) + `}`, `"code":100`},
		"typing":         {page, `{"recipient":{"id":"42"},"sender_action":"typing_on"}`, ""},
		"typing and say": {page, `{"sender_action":"typing_on",` + text("hello") + `}`, `"code":100`},
		"no action":      {page, `{"recipient":{"id":"42"},"sender_action":"dance"}`, `"code":100`},
	} {
		status, body := send(c.from, "application/json", strings.NewReader(c.body))
		if (status == http.StatusOK) != (c.code == "") || !strings.Contains(body, c.code) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	var form bytes.Buffer
	m := multipart.NewWriter(&form)
	for k, v := range map[string]string{"recipient": `{"id":"42"}`, "messaging_type": "RESPONSE", "message": `{"attachment":{"type":"audio","payload":{"is_reusable":true}}}`} {
		_ = m.WriteField(k, v)
	}
	f, _ := m.CreateFormFile("filedata", "a.mp3")
	_, _ = io.WriteString(f, "ID3")
	_ = m.Close()
	if status, body := send(page, m.FormDataContentType(), &form); status != http.StatusOK || !strings.Contains(body, `"message_id"`) {
		t.Errorf("speech: %d %s", status, body)
	}
	speechOfInstagram(t, s)
	if p := s.Posts(); len(p) != 6 || len(s.Signs()) != 1 {
		t.Errorf("%d posts, %d signs", len(p), len(s.Signs()))
	}
	s.FailPosts("x")
	for from, sub := range map[string]string{page: `"error_subcode":2018278`, account: `"error_subcode":2534022`} {
		if status, body := send(from, "application/json", strings.NewReader(`{"messaging_type":"RESPONSE",`+text("late")+`}`)); status != http.StatusBadRequest || !strings.Contains(body, sub) {
			t.Errorf("%d %s", status, body)
		}
	}
	s.AcceptOnly("other")
	if status, body := send(page, "application/json", strings.NewReader(`{"messaging_type":"RESPONSE",`+text("x")+`}`)); status != http.StatusBadRequest || !strings.Contains(body, `"code":190`) {
		t.Errorf("%d %s", status, body)
	}
}

// speechOfInstagram uploads for Instagram, which takes no MP3 and nothing of an account
// without a page, and posts what was uploaded with the same key.
func speechOfInstagram(t *testing.T, s *Server) {
	t.Helper()
	send := func(path, key, contentType string, body io.Reader) (int, string) {
		r := httptest.NewRequest(http.MethodPost, "/meta/"+path, body)
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("Authorization", "Bearer "+key)
		w := httptest.NewRecorder()
		s.mux.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	upload := func(from, platform, file string) (int, string) {
		var form bytes.Buffer
		m := multipart.NewWriter(&form)
		for k, v := range map[string]string{"platform": platform, "message": `{"attachment":{"type":"audio","payload":{"is_reusable":"true"}}}`} {
			_ = m.WriteField(k, v)
		}
		f, _ := m.CreateFormFile("filedata", "a.wav")
		_, _ = io.WriteString(f, file)
		_ = m.Close()
		return send(from+"/message_attachments", "k", m.FormDataContentType(), &form)
	}
	for name, c := range map[string][3]string{"MP3": {"9917841", "instagram", "ID3"}, "an account": {"17841477965412210", "instagram", "RIFF"}, "a page of Messenger": {"682498302938465", "instagram", "RIFF"}, "no platform": {"9917841", "", "RIFF"}} {
		if status, body := upload(c[0], c[1], c[2]); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	status, body := upload("9917841", "instagram", "RIFF")
	var got struct {
		ID string `json:"attachment_id"`
	}
	if json.Unmarshal([]byte(body), &got) != nil || status != http.StatusOK || !isDigits(got.ID) {
		t.Fatalf("%d %s", status, body)
	}
	said := `{"recipient":{"id":"42"},"message":{"attachment":{"type":"MEDIA_SHARE","payload":{"id":"` + got.ID + `"}}}}`
	for key, want := range map[string]int{"other": http.StatusBadRequest, "k": http.StatusOK} {
		if status, body := send("9917841/messages", key, "application/json", strings.NewReader(said)); status != want {
			t.Errorf("%s: %d %s", key, status, body)
		}
	}
}
