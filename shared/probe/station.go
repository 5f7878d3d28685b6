package probe

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
)

// Vault opens the key of a connection.
type Vault interface {
	Load(ctx context.Context, org string, class taxonomy.CredentialClass, id string) (vault.Credential, error)
	Reveal(ctx context.Context, cred vault.Credential, use vault.Use, f func(plain []byte) error) error
}

// Station probes stored connections. It is safe for concurrent use.
type Station struct {
	Runner *Runner
	Store  connection.HealthStore
	Offers OfferWriter
	Vault  Vault
}

// OfferWriter keeps what vendors list.
type OfferWriter interface {
	SetOffers(ctx context.Context, o connection.Offers) error
}

// Probe implements the one probe that somebody waits for, and records what it
// saw. Errors as [connection.Prober].
func (s *Station) Probe(ctx context.Context, org, id string, p connection.Probe, name string) (connection.Seen, error) {
	c, err := s.Store.Connection(ctx, org, id)
	if err != nil {
		return connection.Seen{}, err
	}
	if c.Status != connection.Active {
		return connection.Seen{}, fault.New(fault.Conflict, "probe.Probe", "this connection is revoked; create a new one")
	}
	if name != "" {
		if err := c.CheckModel(name); err != nil {
			return connection.Seen{}, err
		}
	}
	seen, models, err := s.run(ctx, c, p, name)
	if err != nil {
		return connection.Seen{}, err
	}
	if err := connection.Record(ctx, s.Store, c, seen); err != nil || seen.Verdict != connection.Listed || p != connection.ListModels {
		return seen, err
	}
	// The list is marked with the key it is of, so that one of a key that was
	// replaced meanwhile shows nowhere.
	return seen, s.Offers.SetOffers(ctx, connection.Offers{Org: c.Org, Connection: c.ID, Fingerprint: c.Fingerprint, BaseURL: c.BaseURL,
		At: seen.At, Total: seen.ModelCount, Models: models})
}

func (s *Station) run(ctx context.Context, c connection.Connection, p connection.Probe, name string) (seen connection.Seen, models []connection.Offered, err error) {
	// No key is opened for a question that nobody answers.
	if _, err := s.Runner.offering(c, p); err != nil {
		return connection.Seen{}, nil, err
	}
	if c.Keyless {
		return s.Runner.listing(ctx, c, secret.Text{}, p, name)
	}
	cred, err := s.Vault.Load(ctx, c.Org, c.Class, c.ID)
	if err != nil {
		return connection.Seen{}, nil, err
	}
	if !cred.Head.AllowsOrigin(c.Origin) {
		return connection.Seen{}, nil, fault.New(fault.VaultUnavailable, "probe.run", "this key was saved for another endpoint; send it again with the connection's base URL")
	}
	err = s.Vault.Reveal(ctx, cred, vault.Use{Field: connection.KeyField, Purpose: string(p)}, func(plain []byte) error {
		var err error
		seen, models, err = s.Runner.listing(ctx, c, secret.New(plain), p, name)
		return err
	})
	return seen, models, err
}

// together is how many connections of a batch are probed at once.
const together = 8

// Batch checks the keys of connections that are due, and returns how many it
// probed. One that is not due any more is skipped; one that cannot be probed for
// a reason of our own is recorded as such, so that it does not stand in the way
// of the others. It fails when nothing could be recorded for one of them.
func (s *Station) Batch(ctx context.Context, refs []Ref) (int, error) {
	done := make([]bool, len(refs))
	group := new(errgroup.Group)
	group.SetLimit(together)
	for i, r := range refs {
		group.Go(func() (err error) {
			done[i], err = s.due(ctx, r)
			return err
		})
	}
	err := group.Wait()
	n := 0
	for _, d := range done {
		if d {
			n++
		}
	}
	return n, err
}

func (s *Station) due(ctx context.Context, r Ref) (bool, error) {
	c, err := s.Store.Connection(ctx, r.Org, r.Connection)
	if fault.CodeOf(err) == fault.NotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	now := s.Runner.Now().UTC()
	if at, ok := c.NextProbe(); !ok || now.Before(at) {
		return false, nil
	}
	seen, _, err := s.run(ctx, c, connection.TestAuth, "")
	if err != nil {
		seen = connection.Seen{Probe: connection.TestAuth, Verdict: connection.Undecided, Reason: string(fault.CodeOf(err)), At: now}
		if e := s.Runner.entry(c.Provider); e != nil && e.CheckKey == nil {
			seen.Verdict, seen.Reason = connection.NoCheck, ""
		}
	}
	return true, connection.Record(ctx, s.Store, c, seen)
}
