package org

import (
	"context"
	"errors"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/latchkey/latchkey/shared/agency"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
)

// Sharing is what an organisation shares with its clients; the zero value is
// nothing, and nothing ever was. Version is that of its offer. Shards is a hint,
// see [agency.Offer].
type Sharing struct {
	Policy  agency.Policy
	Version int64
	Shards  int
}

// Offer is what the organisation offers its clients.
func (o Org) Offer() agency.Offer {
	return agency.Offer{Agency: o.ID, Version: o.Sharing.Version, Active: o.Status == Active, Tier: o.Tier, Policy: o.Sharing.Policy, Shards: o.Sharing.Shards}
}

// SharingStore keeps what clients carry and tells what they drew.
type SharingStore interface {
	// Client is what an organisation carries of its agency's offer, and the version
	// of that record; zero if it carries nothing.
	Client(ctx context.Context, org string) (agency.Client, int64, error)
	// PutClient replaces it if the stored version is seen, else it fails with
	// conflict. It puts the audit row in the same transaction.
	PutClient(ctx context.Context, org string, c agency.Client, seen int64, row audit.Row) error
	// Offer is an agency's offer as draws find it. [Store.UpdateOrg] writes it.
	Offer(ctx context.Context, agency string) (agency.Offer, error)
	// Drawn tells what an agency's clients drew in a day ([agency.Day]): together,
	// and each that is named.
	Drawn(ctx context.Context, agency, day string, clients []string) (total int64, each map[string]int64, err error)
	// ShardsInUse is how many balance shards the calls of an organisation use.
	ShardsInUse(ctx context.Context, org string) (int, error)
}

// Renewed says how many copies of an offer were renewed; Next is where to go on,
// empty at the end.
type Renewed struct {
	Count int
	Next  string
}

const (
	// renewPage bounds the clients of one call of [Service.RenewClients].
	renewPage     = 100
	renewParallel = 8
	clientTries   = 4
)

// Share replaces what an agency shares. It applies at once: the offer is written
// with the organisation, and draws that were decided by an older one are refused.
// What the clients carry is renewed by [Service.RenewClients].
func (s *Service) Share(ctx context.Context, op audit.Op, o Org, p agency.Policy) (Org, error) {
	if err := p.Check(); err != nil {
		return Org{}, err
	}
	if p.Mode != agency.Off {
		if o.ParentID != "" {
			return Org{}, fault.New(fault.BillingDenied, "org.Share", "a client organisation has no clients to share with")
		}
		tiers, _, err := s.Config.Tiers(ctx)
		if err != nil {
			return Org{}, err
		}
		if err := tiers.Require(o.Tier, FeatureAgency); err != nil {
			return Org{}, err
		}
	}
	shards, err := s.Sharing.ShardsInUse(ctx, o.ID)
	if err != nil {
		return Org{}, err
	}
	o.Sharing = Sharing{Policy: p, Version: o.Sharing.Version + 1, Shards: shards}
	o.Version++
	return o, s.Orgs.UpdateOrg(ctx, o, op.Row(o.ID, "sharing.update", o.ID, "mode", string(p.Mode),
		"version", strconv.FormatInt(o.Sharing.Version, 10), "amount", strconv.FormatInt(p.TotalPerDay, 10)))
}

// RenewClients gives the clients of an agency, in the order of their ids from
// after on, its present offer: at most a hundred, each in a transaction of its own.
// Those that have it already are left alone, so that any part may be repeated.
func (s *Service) RenewClients(ctx context.Context, op audit.Op, agencyID, after string) (Renewed, error) {
	o, err := s.Orgs.Org(ctx, agencyID)
	if err != nil {
		return Renewed{}, err
	}
	offer := o.Offer()
	if offer.Version == 0 {
		return Renewed{}, nil
	}
	clients, next, err := s.Orgs.Orgs(ctx, agencyID, after, renewPage)
	if err != nil {
		return Renewed{}, err
	}
	renewed := make([]bool, len(clients))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(renewParallel)
	for i, client := range clients {
		group.Go(func() (err error) {
			renewed[i], err = s.carry(gctx, op, client.ID, func(c agency.Client) agency.Client {
				if c.Offer.Agency != offer.Agency || c.Offer.Version < offer.Version {
					c.Offer = offer
				}
				return c
			})
			return err
		})
	}
	out := Renewed{Next: next}
	err = group.Wait()
	for _, was := range renewed {
		if was {
			out.Count++
		}
	}
	return out, err
}

// ShareWith replaces what differs for one client. It fails with not_found for an
// organisation that is not a client of the agency.
func (s *Service) ShareWith(ctx context.Context, op audit.Op, o Org, client string, v agency.Override) (agency.Client, error) {
	if err := v.Check(); err != nil {
		return agency.Client{}, err
	}
	if err := s.checkClient(ctx, o.ID, client); err != nil {
		return agency.Client{}, err
	}
	if o.Sharing.Version == 0 {
		return agency.Client{}, fault.New(fault.Conflict, "org.ShareWith", "this organisation has not set what it shares; set that first")
	}
	var out agency.Client
	_, err := s.carry(ctx, op, client, func(c agency.Client) agency.Client {
		if c.Offer.Agency != o.ID || c.Offer.Version < o.Sharing.Version {
			c.Offer = o.Offer()
		}
		c.Override = v
		out = c
		return c
	})
	return out, err
}

func (s *Service) checkClient(ctx context.Context, agencyID, client string) error {
	c, err := s.Orgs.Org(ctx, client)
	if fault.CodeOf(err) == fault.NotFound || err == nil && c.ParentID != agencyID {
		return fault.New(fault.NotFound, "org.ShareWith", "there is no such client organisation")
	}
	return err
}

// carry changes what a client carries and reports whether it differed.
func (s *Service) carry(ctx context.Context, op audit.Op, client string, change func(agency.Client) agency.Client) (bool, error) {
	for try := 0; ; try++ {
		was, seen, err := s.Sharing.Client(ctx, client)
		if err != nil {
			return false, err
		}
		next := change(was)
		if next == was {
			return false, nil
		}
		part := op.Part("sharing", client, strconv.Itoa(try))
		err = s.Sharing.PutClient(ctx, client, next, seen, part.Row(client, "sharing.client", next.Offer.Agency,
			"mode", string(next.Override.Mode), "amount", strconv.FormatInt(next.Override.PerDay, 10), "version", strconv.FormatInt(next.Offer.Version, 10)))
		if fault.CodeOf(err) != fault.Conflict || try+1 == clientTries {
			return err == nil, err
		}
	}
}

// Standing is how an organisation stands to what its agency shares.
type Standing struct {
	Terms agency.Terms
	// Override is what differs for it.
	Override agency.Override
	// Drawn is what it drew today, AllDrawn what all clients did.
	Drawn, AllDrawn int64
	// Current says that it carries the offer that applies.
	Current bool
}

// Standings tell how clients of an agency stand to what it shares, by the offer
// that draws find.
func (s *Service) Standings(ctx context.Context, agencyID string, clients []Org, now time.Time) ([]Standing, error) {
	offer, err := s.Sharing.Offer(ctx, agencyID)
	if err != nil {
		return nil, err
	}
	tiers, _, err := s.Config.Tiers(ctx)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(clients))
	for i, c := range clients {
		ids[i] = c.ID
	}
	total, each, err := s.Sharing.Drawn(ctx, agencyID, agency.Day(now), ids)
	if err != nil {
		return nil, err
	}
	out := make([]Standing, len(clients))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(renewParallel)
	for i, client := range clients {
		group.Go(func() error {
			c, _, err := s.Sharing.Client(gctx, client.ID)
			if err != nil {
				return err
			}
			st := Standing{Override: c.Override, Drawn: each[client.ID], AllDrawn: total, Current: c.Offer == offer}
			// One that carries nothing yet cannot draw.
			if c.Offer.Agency == agencyID {
				c.Offer = offer
			}
			st.Terms = c.Terms(client.ParentID, tiers.HasClients)
			out[i] = st
			return nil
		})
	}
	return out, group.Wait()
}

var errNoSharing = errors.New("org: sharing is not wired")

// adopt gives a new client what its agency shares.
func (s *Service) adopt(ctx context.Context, op audit.Op, o Org) error {
	if o.ParentID == "" {
		return nil
	}
	parent, err := s.Orgs.Org(ctx, o.ParentID)
	if err != nil || parent.Sharing.Version == 0 {
		return err
	}
	if s.Sharing == nil {
		return fault.Wrap(fault.Internal, "org.Create", "internal error, try again later", errNoSharing)
	}
	_, err = s.carry(ctx, op, o.ID, func(c agency.Client) agency.Client {
		if c.Offer.Version < parent.Sharing.Version {
			c.Offer = parent.Offer()
		}
		return c
	})
	return err
}
