package webhook_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"hash"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
)

const (
	visitorKey   = "0123456789abcdef0123456789abcdef"
	visitorOther = "another secret of 32 bytes or so"
)

var visitorNow = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func visitorScheme() webhook.VisitorToken {
	return webhook.VisitorToken{Profile: "web", MaxLife: 24 * time.Hour, Skew: time.Minute, MinSecret: 32}
}

// tokenOf signs head and claims as they are.
func tokenOf(h func() hash.Hash, key, head, claims string) string {
	signed := base64.RawURLEncoding.EncodeToString([]byte(head)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	m := hmac.New(h, []byte(key))
	m.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// visitorClaims are claims at offsets from now, in seconds.
func visitorClaims(sub, aud string, iat, exp int64) string {
	return fmt.Sprintf(`{"sub":%s,"aud":%s,"iat":%d,"exp":%d}`, sub, aud, visitorNow.Unix()+iat, visitorNow.Unix()+exp)
}

func TestVisitorToken(t *testing.T) {
	const head = `{"alg":"HS256","typ":"JWT"}`
	good := tokenOf(sha256.New, visitorKey, head, visitorClaims(`"ada"`, `"i1"`, 0, 3600))
	with := func(head, claims string) string { return tokenOf(sha256.New, visitorKey, head, claims) }
	claims := func(sub, aud string, iat, exp int64) string { return with(head, visitorClaims(sub, aud, iat, exp)) }
	body := good[:strings.LastIndexByte(good, '.')]
	for name, c := range map[string]struct {
		headers []string
		secrets []string
		install string
		want    webhook.Reason
	}{
		"good":                       {headers: []string{"Bearer " + good}},
		"a list of one audience":     {headers: []string{"Bearer " + claims(`"ada"`, `["i1"]`, 0, 3600)}},
		"retiring secret":            {headers: []string{"Bearer " + good}, secrets: []string{visitorOther, visitorKey}},
		"other secret":               {headers: []string{"Bearer " + good}, secrets: []string{visitorOther}, want: webhook.SigMismatch},
		"no secret":                  {headers: []string{"Bearer " + good}, secrets: []string{}, want: webhook.NoSecret},
		"an empty secret":            {headers: []string{"Bearer " + good}, secrets: []string{visitorKey, ""}, want: webhook.NoSecret},
		"a short secret":             {headers: []string{"Bearer " + tokenOf(sha256.New, "short", head, visitorClaims(`"ada"`, `"i1"`, 0, 3600))}, secrets: []string{"short"}, want: webhook.NoSecret},
		"none":                       {want: webhook.SigMissing},
		"empty":                      {headers: []string{""}, want: webhook.SigMissing},
		"twice":                      {headers: []string{"Bearer " + good, "Bearer " + good}, want: webhook.HeaderDuplicate},
		"joined":                     {headers: []string{"Bearer " + good + ",Bearer " + good}, want: webhook.HeaderDuplicate},
		"basic":                      {headers: []string{"Basic YTpi"}, want: webhook.SigFormat},
		"no token":                   {headers: []string{"Bearer x"}, want: webhook.SigFormat},
		"cut":                        {headers: []string{"Bearer " + good[:len(good)-4]}, want: webhook.SigFormat},
		"no signature":               {headers: []string{"Bearer " + body + "."}, want: webhook.SigFormat},
		"padded":                     {headers: []string{"Bearer " + good + "="}, want: webhook.SigFormat},
		"long":                       {headers: []string{"Bearer " + good + strings.Repeat("A", 16<<10)}, want: webhook.SigFormat},
		"alg none":                   {headers: []string{"Bearer " + with(`{"alg":"none"}`, visitorClaims(`"ada"`, `"i1"`, 0, 3600))}, want: webhook.AlgRefused},
		"alg none without":           {headers: []string{"Bearer " + base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + strings.Split(good, ".")[1] + "."}, want: webhook.AlgRefused},
		"alg in small letters":       {headers: []string{"Bearer " + with(`{"alg":"hs256"}`, visitorClaims(`"ada"`, `"i1"`, 0, 3600))}, want: webhook.AlgRefused},
		"RS256":                      {headers: []string{"Bearer " + with(`{"alg":"RS256"}`, visitorClaims(`"ada"`, `"i1"`, 0, 3600))}, want: webhook.AlgRefused},
		"HS512":                      {headers: []string{"Bearer " + tokenOf(sha512.New, visitorKey, `{"alg":"HS512"}`, visitorClaims(`"ada"`, `"i1"`, 0, 3600))}, want: webhook.AlgRefused},
		"HS512 called HS256":         {headers: []string{"Bearer " + tokenOf(sha512.New, visitorKey, head, visitorClaims(`"ada"`, `"i1"`, 0, 3600))}, want: webhook.SigFormat},
		"no alg":                     {headers: []string{"Bearer " + with(`{}`, visitorClaims(`"ada"`, `"i1"`, 0, 3600))}, want: webhook.AlgRefused},
		"two algs":                   {headers: []string{"Bearer " + with(`{"alg":"HS256","alg":"none"}`, visitorClaims(`"ada"`, `"i1"`, 0, 3600))}, want: webhook.SigFormat},
		"critical":                   {headers: []string{"Bearer " + with(`{"alg":"HS256","crit":["b64"],"b64":false}`, visitorClaims(`"ada"`, `"i1"`, 0, 3600))}, want: webhook.SigFormat},
		"other claims":               {headers: []string{"Bearer " + strings.Split(claims(`"bob"`, `"i1"`, 0, 3600), ".")[0] + "." + strings.Split(claims(`"bob"`, `"i1"`, 0, 3600), ".")[1] + good[strings.LastIndexByte(good, '.'):]}, want: webhook.SigMismatch},
		"two subjects":               {headers: []string{"Bearer " + with(head, `{"sub":"ada","sub":"bob","aud":"i1","iat":1772600767,"exp":1772604367}`)}, want: webhook.SigFormat},
		"for another install":        {headers: []string{"Bearer " + good}, install: "i2", want: webhook.ClaimRefused},
		"for two":                    {headers: []string{"Bearer " + claims(`"ada"`, `["i1","i2"]`, 0, 3600)}, want: webhook.ClaimRefused},
		"for nobody":                 {headers: []string{"Bearer " + claims(`"ada"`, `null`, 0, 3600)}, want: webhook.ClaimRefused},
		"of nobody":                  {headers: []string{"Bearer " + claims(`""`, `"i1"`, 0, 3600)}, want: webhook.ClaimRefused},
		"of a number":                {headers: []string{"Bearer " + claims(`42`, `"i1"`, 0, 3600)}, want: webhook.SigFormat},
		"a long name":                {headers: []string{"Bearer " + claims(`"`+strings.Repeat("a", 129)+`"`, `"i1"`, 0, 3600)}, want: webhook.ClaimRefused},
		"the longest name":           {headers: []string{"Bearer " + claims(`"`+strings.Repeat("a", 128)+`"`, `"i1"`, 0, 3600)}},
		"a name with a space":        {headers: []string{"Bearer " + claims(`"a b"`, `"i1"`, 0, 3600)}, want: webhook.ClaimRefused},
		"a name in another alphabet": {headers: []string{"Bearer " + claims(`"größe"`, `"i1"`, 0, 3600)}, want: webhook.ClaimRefused},
		"ended":                      {headers: []string{"Bearer " + claims(`"ada"`, `"i1"`, -3600, -60)}, want: webhook.Stale},
		"just not ended":             {headers: []string{"Bearer " + claims(`"ada"`, `"i1"`, -3600, -59)}},
		"not begun":                  {headers: []string{"Bearer " + claims(`"ada"`, `"i1"`, 61, 3600)}, want: webhook.Future},
		"just begun":                 {headers: []string{"Bearer " + claims(`"ada"`, `"i1"`, 60, 3600)}},
		"the longest life":           {headers: []string{"Bearer " + claims(`"ada"`, `"i1"`, 0, 86400)}},
		"too long a life":            {headers: []string{"Bearer " + claims(`"ada"`, `"i1"`, 0, 86401)}, want: webhook.ClaimRefused},
		"for ever":                   {headers: []string{"Bearer " + with(head, `{"sub":"ada","aud":"i1","iat":1772600767}`)}, want: webhook.ClaimRefused},
		"made at no time":            {headers: []string{"Bearer " + with(head, `{"sub":"ada","aud":"i1","exp":1772604367}`)}, want: webhook.ClaimRefused},
		"later":                      {headers: []string{"Bearer " + with(head, `{"sub":"ada","aud":"i1","iat":1772600767,"nbf":1772600967,"exp":1772604367}`)}, want: webhook.Future},
	} {
		t.Run(name, func(t *testing.T) {
			secrets := []secret.Text{secret.FromString(visitorKey)}
			if c.secrets != nil {
				secrets = nil
				for _, s := range c.secrets {
					secrets = append(secrets, secret.FromString(s))
				}
			}
			in := webhook.Input{Install: "i1", Header: webhook.Header{}, Body: []byte("anything")}
			if c.install != "" {
				in.Install = c.install
			}
			for _, h := range c.headers {
				in.Header.Add("Authorization", h)
			}
			got, refusal := webhook.Verify(visitorScheme(), in, secrets, visitorNow)
			why := webhook.Reason("")
			if refusal != nil {
				why = refusal.Reason
			}
			if why != c.want || why == "" && (got.BodySigned || got.SecretIndex != len(secrets)-1) {
				t.Fatalf("%q, want %q; %+v", why, c.want, got)
			}
		})
	}
}

func TestMintVisitor(t *testing.T) {
	s, key := visitorScheme(), secret.FromString(visitorKey)
	token, err := s.Mint("i1", "ada<&>", key, visitorNow, 24*time.Hour)
	in := webhook.Input{Install: "i1", Header: webhook.Header{"authorization": {"Bearer " + token}}}
	if _, refusal := webhook.Verify(s, in, []secret.Text{key}, visitorNow); err != nil || refusal != nil || webhook.Visitor(in.Header) != "ada<&>" {
		t.Fatalf("%v %v %q", err, refusal, webhook.Visitor(in.Header))
	}
	for name, mint := range map[string]func() (string, error){
		"empty secret":  func() (string, error) { return s.Mint("i1", "ada", secret.Text{}, visitorNow, time.Hour) },
		"short secret":  func() (string, error) { return s.Mint("i1", "ada", secret.FromString("short"), visitorNow, time.Hour) },
		"no visitor":    func() (string, error) { return s.Mint("i1", "", key, visitorNow, time.Hour) },
		"no install":    func() (string, error) { return s.Mint("", "ada", key, visitorNow, time.Hour) },
		"no life":       func() (string, error) { return s.Mint("i1", "ada", key, visitorNow, 0) },
		"too long life": func() (string, error) { return s.Mint("i1", "ada", key, visitorNow, 25*time.Hour) },
	} {
		if got, err := mint(); err == nil || got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
	if webhook.Visitor(webhook.Header{"authorization": {"Bearer a.b.c"}}) != "" || webhook.Visitor(nil) != "" {
		t.Error("a visitor of no token")
	}
}

func FuzzVisitorToken(f *testing.F) {
	key := secret.FromString(visitorKey)
	good, _ := visitorScheme().Mint("i1", "ada", key, visitorNow, time.Hour)
	for _, s := range []string{"Bearer " + good, "Bearer a.b.c", "", "Bearer " + good[:20], "Bearer eyJhbGciOiJub25lIn0.e30."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		in := webhook.Input{Install: "i1", Header: webhook.Header{"authorization": {header}}}
		if _, refusal := webhook.Verify(visitorScheme(), in, []secret.Text{key}, visitorNow); refusal == nil && header != "Bearer "+good {
			t.Fatalf("%q was accepted", header)
		}
		if v := webhook.Visitor(in.Header); v != "" && !webhook.ValidVisitor(v) {
			t.Fatalf("%q", v)
		}
	})
}
