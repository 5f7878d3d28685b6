package boot

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/egress"
)

// TestChannelMedia: a vendor's files are asked for at its own hosts, and at no other
// vendor's, whose answers could otherwise collect its token.
func TestChannelMedia(t *testing.T) {
	out, err := egress.New(egress.Options{})
	if err != nil {
		t.Fatal(err)
	}
	media := new(Env).ChannelMedia(out)
	ended, cancel := context.WithCancel(t.Context())
	cancel() // so that nothing is dialled
	for _, from := range catalog.Entries() {
		_, fetches := from.Adapter.(interface {
			Fetch(context.Context, channel.Call, channel.Attachment) (channel.File, *channel.MediaFailure)
		})
		if fetches != (len(from.MediaHosts) > 0) {
			t.Errorf("%s fetches files (%v) from %v", from.ID, fetches, from.MediaHosts)
		}
		for _, to := range catalog.Entries() {
			for _, host := range to.MediaHosts {
				req, err := http.NewRequestWithContext(ended, http.MethodGet, "https://"+host+"/x", http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				_, err = egress.Do(media(from.ID), req) //nolint:bodyclose // fails
				own := slices.Contains(from.MediaHosts, host)
				if refused := errors.Is(err, egress.ErrRefused); err == nil || refused == own || own && from.ID.API() != to.ID.API() {
					t.Errorf("%s at a host of %s: %v", from.ID, to.ID, err)
				}
			}
		}
	}
}
