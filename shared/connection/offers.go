package connection

import (
	"context"
	"time"
)

// MaxOffered bounds the models that are kept of a vendor's list.
const MaxOffered = 500

// Offered is a model as a vendor lists it for a connection. The sizes are 0 if the
// vendor does not say.
type Offered struct {
	Model                          string // the vendor's id
	ContextTokens, MaxOutputTokens int64
}

// Offers is what a vendor listed for a connection. It informs and never restricts:
// a model that is not listed may be asked for all the same.
type Offers struct {
	Org, Connection string
	// Fingerprint and BaseURL are the key's and endpoint's that the list is of.
	Fingerprint, BaseURL string
	At                   time.Time
	// Total is how many models there were, Models at most MaxOffered of them, sorted.
	Total  int64
	Models []Offered
}

// Of reports whether the list is of the key and endpoint that c has now.
func (o Offers) Of(c Connection) bool {
	return o.Org == c.Org && o.Connection == c.ID && o.Fingerprint == c.Fingerprint && o.BaseURL == c.BaseURL
}

// OfferStore keeps the newest list of each connection.
type OfferStore interface {
	// SetOffers keeps o unless a newer list of the connection is stored.
	SetOffers(ctx context.Context, o Offers) error
	// Offers lists what is kept for an organisation, sorted by connection. Lists of
	// earlier keys may be among them; see [Offers.Of].
	Offers(ctx context.Context, org string) ([]Offers, error)
}
