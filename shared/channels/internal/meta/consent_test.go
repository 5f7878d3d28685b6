package meta

import (
	"testing"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/webhook"
)

// FuzzChoose: whatever Meta lists, it is one page with a token, or a failure.
func FuzzChoose(f *testing.F) {
	l := Login{Tenant: func(page channel.Object) webhook.Config { return webhook.Config{"page_id": {page.Str("id")}} }}
	f.Add([]byte(`{"data":[{"access_token":"EAApage0123456789","id":"682498302938465"}]}`))
	f.Add([]byte(`{"data":[{"access_token":"EAApage0123456789","id":"682498302938465"},7]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := channel.StrictJSON(b)
		if err != nil {
			return
		}
		got, page, failure := l.choose(o)
		if (failure == "") != (Digits(page) && got.Config.Get("page_id") == page && !got.Token.IsZero()) || failure != "" && (page != "" || !got.Token.IsZero() || got.Config != nil) {
			t.Fatalf("%+v %q %q", got, page, failure)
		}
	})
}
