package lkcli

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/ingest"
)

// signed is a request in the form that webhook verify reads, without its secret.
type signed struct {
	Provider   string      `json:"provider"`
	Method     string      `json:"method"`
	URL        string      `json:"url"`
	Headers    [][2]string `json:"headers"`
	Body       *string     `json:"body,omitempty"`
	BodyBase64 *string     `json:"body_base64,omitempty"`
	NowUnix    int64       `json:"now_unix"`
	Curl       string      `json:"curl"`
}

// signWebhook is lk webhook sign.
func signWebhook(_ context.Context, in *invocation) error {
	name := in.text("provider")
	p, ok := findProfile(name)
	signer, can := p.Scheme.(webhook.Signer)
	if !ok || !can {
		return wrongCall("--provider is not a profile that can sign; there are %s", strings.Join(profileNames(), ", "))
	}
	now := in.Now()
	if in.has("now") {
		n, err := strconv.ParseInt(in.text("now"), 10, 64)
		if err != nil || n < 0 {
			return wrongCall("--now is a time in Unix seconds")
		}
		now = time.Unix(n, 0)
	}
	where, err := in.callback(p.path)
	if err != nil {
		return err
	}
	key, err := in.secretText("secret", in.text("secret"))
	if err != nil {
		return err
	}
	if key.IsZero() {
		return wrongCall("--secret is empty: an empty secret signs nothing")
	}
	body, err := in.file(in.text("body"), "--body", ingest.MaxBody)
	if err != nil {
		return err
	}
	settings, err := in.settings()
	if err != nil {
		return err
	}
	input := webhook.Input{Method: http.MethodPost, Header: webhook.Header{}, Body: body, Config: settings, PublicURL: settings.Get("public_url")}
	if input.PublicURL != "" {
		where = input.PublicURL
	}
	if u, err := url.Parse(where); err == nil {
		input.RawQuery = u.RawQuery
	}
	if err := signer.Sign(&input, key, now); err != nil {
		return failed("failed", "the request could not be signed: the secret, --config (public_url, header, expected_user_id, audience, mode) or the body is not of this profile's form")
	}
	s := signed{Provider: name, Method: input.Method, URL: where, Headers: headerLines(input), NowUnix: now.Unix()}
	s.Curl = curl(s, in.text("body"), input.Body, body)
	if text := string(input.Body); utf8.ValidString(text) {
		s.Body = &text
	} else {
		encoded := base64.StdEncoding.EncodeToString(input.Body)
		s.BodyBase64 = &encoded
	}
	if in.json {
		in.out.Write(encode(s))
		return nil
	}
	for _, h := range s.Headers {
		fmt.Fprintf(&in.out, "%s: %s\n", h[0], h[1])
	}
	fmt.Fprintf(&in.out, "\n%s\n", s.Curl)
	return nil
}

// callback is where the request goes; what is not known is a word to replace.
func (in *invocation) callback(provider string) (string, error) {
	base, install := in.url, in.text("install")
	if base == "" {
		base = in.Getenv("LATCHKEY_URL")
	}
	if base == "" {
		base = "https://YOUR-HOST"
	}
	if install == "" {
		install = "YOUR-INSTALL"
	} else if !table.ValidID(install) {
		return "", wrongCall("--install is not an id")
	}
	return strings.TrimRight(base, "/") + "/webhooks/" + provider + "/" + install, nil
}

// headerLines lists the headers in a fixed order, with the content type that
// curl would otherwise get wrong.
func headerLines(in webhook.Input) [][2]string {
	kind := "application/x-www-form-urlencoded"
	if json.Valid(in.Body) {
		kind = "application/json"
	}
	out := [][2]string{{"Content-Type", kind}}
	for name, values := range in.Header {
		for _, v := range values {
			out = append(out, [2]string{http.CanonicalHeaderKey(name), v})
		}
	}
	slices.SortFunc(out, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	return out
}

// settings are --config, as verify reads them.
func (in *invocation) settings() (webhook.Config, error) {
	out := webhook.Config{}
	if !in.has("config") {
		return out, nil
	}
	for _, pair := range in.flags["config"].given {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, wrongCall("--config is NAME=VALUE")
		}
		out[name] = append(out[name], value)
	}
	return out, nil
}

// curl is a command line that sends the request. --data-binary keeps every byte.
// A body that signing has changed stands in the line itself.
func curl(s signed, bodyFile string, body, given []byte) string {
	bodyFile = "@" + bodyFile
	if !bytes.Equal(body, given) {
		bodyFile = string(body)
	}
	parts := []string{"curl", "-i", "-X", s.Method, quote(s.URL)}
	for _, h := range s.Headers {
		parts = append(parts, "-H", quote(h[0]+": "+h[1]))
	}
	return strings.Join(append(parts, "--data-binary", quote(bodyFile)), " ")
}

// quote makes one word for a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
