package mockvendor

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestMailgunIsStrict: what the vendor refuses is refused here.
func TestMailgunIsStrict(t *testing.T) {
	s := New()
	srv := httptest.NewServer(s)
	defer srv.Close()
	post := func(key string, set ...string) int {
		f := url.Values{"from": {"desk@d.example"}, "to": {"a@b.example"}, "subject": {"x"}, "text": {"y"}, "h:Message-Id": {"<1@d.example>"}}
		for k := 0; k < len(set); k += 2 {
			f.Set(set[k], set[k+1])
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/mailgun/v3/d.example/messages", strings.NewReader(f.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth("api", key)
		resp, err := srv.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	if got := post("k"); got != http.StatusOK {
		t.Errorf("%d", got)
	}
	for name, set := range map[string][]string{"from": {"from", "desk@other.example"}, "to": {"to", "a"}, "text": {"text", ""}, "line": {"subject", "a\r\nb"}, "id": {"h:Message-Id", "1"},
		"head": {"h:References", strings.Repeat("x", 17<<10)}} {
		if got := post("k", set...); got != http.StatusBadRequest {
			t.Errorf("%s: %d", name, got)
		}
	}
	s.AcceptOnly("other")
	if got := post("k"); got != http.StatusUnauthorized {
		t.Errorf("a key that is refused: %d", got)
	}
	if p := s.Posts(); len(p) != 1 || p[0].Channel != "a@b.example" {
		t.Errorf("%+v", p)
	}
}

// TestStamp: the signature is over time and token (documentation.mailgun.com,
// "Securing Webhooks", read 2026-11), and a retry has the same token.
func TestStamp(t *testing.T) {
	at := time.Unix(1531420618, 0)
	one := string(Stamp("email", Proof{Secret: "key", At: at}, []byte("a=b")))
	v, err := url.ParseQuery(one)
	if err != nil || v.Get("a") != "b" || v.Get("timestamp") != "1531420618" || len(v.Get("token")) != 50 {
		t.Fatalf("%s %v", one, err)
	}
	m := hmac.New(sha256.New, []byte("key"))
	m.Write([]byte("1531420618" + v.Get("token")))
	if v.Get("signature") != hex.EncodeToString(m.Sum(nil)) {
		t.Errorf("%s", one)
	}
	if again, _ := url.ParseQuery(string(Stamp("email", Proof{Secret: "key", At: at.Add(time.Minute)}, []byte("a=b")))); again.Get("token") != v.Get("token") {
		t.Error("another token for the same mail")
	}
	if got := string(Stamp("slack", Proof{}, []byte("a=b"))); got != "a=b" {
		t.Error(got)
	}
}
