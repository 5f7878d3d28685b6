package webhook_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
)

// TestURLHint: a signature that some other spelling of the URL would explain says
// which; one that another secret made says nothing.
func TestURLHint(t *testing.T) {
	u := webhook.URLForm{Profile: "x", Header: "X-Sig", HashParam: "bodySHA256"}
	key, old := secret.FromString("key"), secret.FromString("old")
	body := []byte(url.Values{"Body": {"hi"}, "From": {"+1"}}.Encode())
	signed := func(where, query string, by secret.Text) webhook.Input {
		in := webhook.Input{PublicURL: where, RawQuery: query, Body: body, Header: webhook.Header{}}
		if err := u.Sign(&in, by, time.Time{}); err != nil {
			t.Fatal(err)
		}
		return in
	}
	const typed = "https://a.example/sms/1"
	for name, c := range map[string]struct {
		in     webhook.Input
		stored string
		query  string
		want   webhook.URLHint
	}{
		"slash more":     {signed(typed+"/", "", key), typed, "", webhook.HintSlash},
		"slash less":     {signed(typed, "", key), typed + "/", "", webhook.HintSlash},
		"slash, a query": {signed(typed+"/?a=1", "", key), typed + "?a=1", "", webhook.HintSlash},
		"port":           {signed("https://a.example:443/sms/1", "", key), typed, "", webhook.HintPort},
		"no port":        {signed(typed, "", key), "https://a.example:443/sms/1", "", webhook.HintPort},
		"http":           {signed("http://a.example/sms/1", "", key), typed, "", webhook.HintScheme},
		"no query":       {signed(typed, "", key), typed + "?a=1", "", webhook.HintQuery},
		"their query":    {signed(typed+"?b=2", "", key), typed + "?a=1", "b=2", webhook.HintQuery},
		"the request's":  {signed("https://b.example/webhooks/x/i1?c=3", "", key), typed, "c=3", webhook.HintRequest},
		"the old secret": {signed(typed+"/", "", old), typed, "", webhook.HintSlash},
		"nobody's":       {signed(typed+"/", "", secret.FromString("z")), typed, "", ""},
		"another host":   {signed("https://c.example/sms/1", "", key), typed, "", ""},
		"nothing stored": {signed(typed, "", key), "", "", ""},
		"as it should":   {signed(typed, "", key), typed, "", ""},
		"no header":      {webhook.Input{Body: body, Header: webhook.Header{}}, typed, "", ""},
		"damaged":        {webhook.Input{Body: body, Header: webhook.Header{"x-sig": {"!"}}}, typed, "", ""},
		"no form":        {webhook.Input{Body: []byte("%zz"), Header: webhook.Header{"x-sig": {"AAAA"}}}, typed, "", ""},
	} {
		in := c.in
		in.PublicURL, in.RawQuery, in.Path = c.stored, c.query, "/webhooks/x/i1"
		in.Header.Add("host", "b.example")
		if got := u.URLHint(in, []secret.Text{key, old}); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
