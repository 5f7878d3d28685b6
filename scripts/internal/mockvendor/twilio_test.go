package mockvendor

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/twilio/twilio-go/client"
	api "github.com/twilio/twilio-go/rest/api/v2010"
)

// moved sends the library's requests, whose host is fixed, to the simulated vendor.
type moved struct{ to *url.URL }

func (m moved) RoundTrip(r *http.Request) (*http.Response, error) {
	r.URL.Scheme, r.URL.Host, r.URL.Path = m.to.Scheme, m.to.Host, "/twilio"+r.URL.Path
	return http.DefaultTransport.RoundTrip(r)
}

func code(err error) int {
	var e *client.TwilioRestError
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// TestTwilioIsTheLibrarys: Twilio's own client reads what the simulated API answers,
// and what it refuses; its validator takes the signature.
func TestTwilioIsTheLibrarys(t *testing.T) {
	const account, key, ada, own = "AC0123456789abcdef0123456789abcdef", "SK0123456789abcdef0123456789abcdef", "+15558675310", "+15017122661"
	s := New()
	srv := httptest.NewServer(s)
	defer srv.Close()
	to, _ := url.Parse(srv.URL)
	as := func(user, password string) *api.ApiService {
		c := &client.Client{Credentials: client.NewCredentials(user, password), HTTPClient: &http.Client{Transport: moved{to}}}
		c.SetAccountSid(account)
		return api.NewApiServiceWithClient(c)
	}
	send := func(c *api.ApiService, to, from, body string) (*api.ApiV2010Message, error) {
		p := &api.CreateMessageParams{}
		p.SetTo(to).SetFrom(from).SetBody(body)
		return c.CreateMessage(p)
	}
	c := as(account, "token")
	got, err := send(c, ada, own, "hello")
	if err != nil || got.Sid == nil || len(*got.Sid) != 34 || *got.Body != "hello" || *got.Status != "queued" {
		t.Fatalf("%+v %v", got, err)
	}
	for name, x := range map[string]struct {
		to, from, body string
		code           int
	}{
		"no number": {"ada", own, "x", 21211}, "no sender": {ada, "", "x", 21603}, "odd sender": {ada, "x", "x", 21212}, "two channels": {"whatsapp:" + ada, own, "x", 21910},
		"nothing": {ada, own, " ", 21619}, "too long": {ada, own, strings.Repeat("x", 1601), 21617},
	} {
		if _, err := send(c, x.to, x.from, x.body); code(err) != x.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.AcceptOnly("secret")
	if _, err := send(c, ada, own, "x"); code(err) != 20003 {
		t.Error(err)
	}
	if _, err := send(as(key, "secret"), "whatsapp:"+ada, "whatsapp:"+own, "x"); err != nil {
		t.Error(err)
	}
	if p := s.Posts(); len(p) != 2 || p[0].Channel != ada || p[0].ThreadTS != own || p[0].KeyHash != Hash("token") || p[1].Channel != "whatsapp:"+ada || p[1].KeyHash != Hash("secret") {
		t.Errorf("%+v", p)
	}

	r := &http.Request{Header: http.Header{}, URL: &url.URL{Scheme: "https", Host: "hooks.example", Path: "/sms", RawQuery: "a=1"}}
	form := url.Values{"Body": {"größe & more"}, "From": {ada}, "AccountSid": {account}, "A": {""}}
	SignRequest(r, "twilio", Proof{Secret: "token"}, []byte(form.Encode()))
	validator, flat := client.NewRequestValidator("token"), map[string]string{}
	for name := range form {
		flat[name] = form.Get(name)
	}
	if !validator.Validate("https://hooks.example/sms?a=1", flat, r.Header.Get("X-Twilio-Signature")) {
		t.Error("the library refuses the signature")
	}
}

// TestTwilioFiles: the API redirects to another host, which wants no credential.
func TestTwilioFiles(t *testing.T) {
	const account = "AC0123456789abcdef0123456789abcdef"
	s := New()
	srv := httptest.NewServer(s)
	defer srv.Close()
	s.Put("9000000007", File{Body: []byte("OggS"), Type: "audio/ogg"})
	get := func(address, password string) (int, string, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if password != "" {
			r.SetBasicAuth(account, password)
		}
		resp, err := (&http.Transport{}).RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, resp.Header.Get("Location"), string(b)
	}
	at := strings.Replace(TwilioMedia(account, "9000000007"), "https://api.twilio.com", srv.URL+"/twilio", 1)
	if status, _, _ := get(at, ""); status != http.StatusUnauthorized {
		t.Error(status)
	}
	status, where, _ := get(at, "token")
	if status != http.StatusTemporaryRedirect || !strings.HasPrefix(where, "http://"+FileHost(srv.URL)+"/") {
		t.Fatal(status, where)
	}
	if status, _, body := get(where, ""); status != http.StatusOK || body != "OggS" || s.Fetched("9000000007") != 1 {
		t.Error(status, body)
	}
	if status, _, _ := get(where, "token"); status != http.StatusBadRequest {
		t.Error("a credential was taken along")
	}
	if status, _, _ := get(at+"1", "token"); status != http.StatusNotFound {
		t.Error(status)
	}
}
