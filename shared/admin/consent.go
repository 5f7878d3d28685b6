package admin

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/consent"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Consents begins installations on a vendor's page; [consent.Service] implements
// it.
type Consents interface {
	Begin(ctx context.Context, op audit.Op, orgID string, r consent.Request) (consent.Begun, error)
}

type consentBody struct {
	Provider string `json:"provider" api:"required"`
	App      string `json:"app"`
}

// consentJSON: InstallID is the id that the install will have. RoomURL is for a room,
// URL for a conversation with one person, where a conversation is claimed in itself.
type consentJSON struct {
	URL       string           `json:"url"`
	RoomURL   string           `json:"room_url,omitempty"`
	Provider  taxonomy.Channel `json:"provider"`
	App       string           `json:"app"`
	InstallID string           `json:"install_id"`
	ExpiresAt time.Time        `json:"expires_at"`
}

func beginConsent(c *call, b consentBody) (any, error) {
	begun, err := c.Consent.Begin(c, c.op, c.org.ID, consent.Request{Provider: b.Provider, App: b.App})
	if err != nil {
		return nil, err
	}
	return consentJSON{URL: begun.URL, RoomURL: begun.RoomURL, Provider: begun.Provider, App: begun.App, InstallID: begun.Install, ExpiresAt: begun.Expires.UTC()}, nil
}
