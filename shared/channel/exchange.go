package channel

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/keyset"
)

// PublishedKeys is where a vendor publishes what its requests are verified with.
type PublishedKeys struct {
	// Base is the interface's address without a trailing slash; Hosts are the exact
	// host names that may be asked.
	Base  string
	Hosts []string
	// Sets are the sets below Base, whose own Base is empty.
	Sets []keyset.Source
	// Decoy are settings of no install, with which a request to one that may not be
	// shown to exist makes the work, and may make the fetch, of any other.
	Decoy webhook.Config
}

// Exchange is how a vendor hands out tokens that send.
type Exchange struct {
	// Base is the interface's address without a trailing slash; Hosts are the exact
	// host names that the secret, or what is signed with it, may be sent to.
	Base  string
	Hosts []string
	// Trade asks once, with Call.Token being the secret and Call.BaseURL the
	// interface. A failure means that there is no token, whatever its certainty;
	// TokenRejected, that the secret is of no use.
	Trade func(ctx context.Context, c Call, now time.Time) (Traded, *Failure)
}

// Traded is a token with how long it works from when it was asked for.
type Traded struct {
	Token secret.Text
	Life  time.Duration
}
