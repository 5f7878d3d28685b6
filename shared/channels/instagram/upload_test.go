package instagram

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
)

// until notes how long each request may take.
type until struct {
	next http.RoundTripper
	ends map[string]time.Time
	left map[string]time.Duration // until its end, when it was sent
}

func (u until) RoundTrip(r *http.Request) (*http.Response, error) {
	end, _ := r.Context().Deadline()
	call := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	u.ends[call], u.left[call] = end, time.Until(end)
	return u.next.RoundTrip(r)
}

// TestUploadLeavesTime: the upload ends before the send does, so that a slow one is
// known not to have posted anything.
func TestUploadLeavesTime(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "message_attachments") {
			_, _ = w.Write([]byte(`{"attachment_id":"1857777774821032"}`))
			return
		}
		_, _ = w.Write([]byte(`{"recipient_id":"5","message_id":"m_1"}`))
	}))
	defer s.Close()
	u := until{s.Client().Transport, map[string]time.Time{}, map[string]time.Duration{}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	whole, _ := ctx.Deadline()
	_, f := Adapter{}.Send(ctx, channel.Call{HTTP: &http.Client{Transport: u}, BaseURL: s.URL, Token: secret.FromString("t"), Config: webhook.Config{pageID: {"1789012345678"}, accountID: {"17841400000000001"}}},
		channel.Outgoing{To: "1789012345679", Text: "x", Voice: []byte("RIFF")})
	if f != nil || !u.ends["messages"].Equal(whole) || u.left["message_attachments"] > vendorapi.UploadTime || u.ends["message_attachments"].IsZero() {
		t.Errorf("%+v %v %v, whole %v", f, u.ends, u.left, whole)
	}
}
