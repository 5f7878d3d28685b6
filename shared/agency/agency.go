// Package agency is what an agency lets its client organisations draw from its
// credits: a policy, an override per client, and the terms that follow for one
// request.
//
// Only credits are shared, never keys: a key is used for its owner's requests. A
// client that has a connection of its own for a model does not draw for it (see
// the rules of package billing).
//
// The agency's [Offer] is one record beside its balance, and the only authority:
// the transaction that draws wants the version it was decided by, an active
// agency, and room below the cap of the day in two counters. Each client carries
// a copy ([Client]), so that a request knows its terms without a read more. A
// copy may be old; then the transaction is refused and brings the offer that
// applies, by which the request is decided again. So nothing is ever drawn by
// terms that do not apply any more, whether or not the copies were renewed.
//
// Everything here is a pure function of its inputs.
package agency

import (
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Mode says when clients draw.
type Mode string

// Modes. With [WhenEmpty] a client's own credits come first, with [Always] the
// agency's; where the first do not suffice for a request, the other pays all of
// it.
const (
	Off       Mode = "off"
	WhenEmpty Mode = "shared_when_empty"
	Always    Mode = "shared_always"
)

// Policy is what an agency shares. The caps are micro-credits per day of the UTC
// clock: for each client, and for all clients together.
type Policy struct {
	Mode         Mode
	ClientPerDay int64
	TotalPerDay  int64
}

// maxCap keeps caps far from overflow and exact in a JSON double.
const maxCap = 1 << 52

// Check fails with invalid_request. Sharing without caps does not exist.
func (p Policy) Check() error {
	switch p.Mode {
	case Off:
		if p.ClientPerDay == 0 && p.TotalPerDay == 0 {
			return nil
		}
	case WhenEmpty, Always:
	default:
		return invalid("mode", "mode is off, shared_when_empty or shared_always")
	}
	if p.ClientPerDay < 1 || p.ClientPerDay > maxCap {
		return invalid("client_per_day", "client_per_day is a cap in micro-credits per day for each client, from 1 to 2^52")
	}
	if p.TotalPerDay < 1 || p.TotalPerDay > maxCap {
		return invalid("total_per_day", "total_per_day is a cap in micro-credits per day for all clients together, from 1 to 2^52")
	}
	return nil
}

// Override is what differs for one client; zero values take the policy's.
type Override struct {
	Mode   Mode
	PerDay int64
}

// Check fails with invalid_request.
func (o Override) Check() error {
	switch o.Mode {
	case "", Off, WhenEmpty, Always:
	default:
		return invalid("mode", "mode is off, shared_when_empty or shared_always; leave it out for the agency's own")
	}
	if o.PerDay < 0 || o.PerDay > maxCap {
		return invalid("per_day", "per_day is a cap in micro-credits per day, from 1 to 2^52; leave it out for the agency's own")
	}
	return nil
}

func invalid(param, message string) error {
	return fault.New(fault.InvalidRequest, "agency.Check", message).WithParam(param)
}

// Offer is the agency's record. Version counts its changes, from 1, also those
// of the agency's status and tier.
type Offer struct {
	Agency  string
	Version int64
	Active  bool
	Tier    taxonomy.Tier
	Policy  Policy
	// Shards is how many balance shards callers were told to use when the offer
	// was written: a hint.
	Shards int
}

// Client is what a client organisation carries: a copy of the offer and what
// differs for it.
type Client struct {
	Offer    Offer
	Override Override
}

// Terms are what a request may draw by. Mode is never empty.
type Terms struct {
	Agency    string
	Version   int64
	Mode      Mode
	ClientCap int64
	TotalCap  int64
	Shards    int
}

// Terms are those of a client whose organisation names parent as its agency.
// allowed says whether a tier may have clients. Whatever is in the way makes the
// mode [Off].
func (c Client) Terms(parent string, allowed func(taxonomy.Tier) bool) Terms {
	t := Terms{Agency: c.Offer.Agency, Version: c.Offer.Version, Mode: c.Offer.Policy.Mode, ClientCap: c.Offer.Policy.ClientPerDay,
		TotalCap: c.Offer.Policy.TotalPerDay, Shards: c.Offer.Shards}
	if c.Override.Mode != "" {
		t.Mode = c.Override.Mode
	}
	if c.Override.PerDay > 0 {
		t.ClientCap = c.Override.PerDay
	}
	// An agency that shares nothing cannot be overridden: its caps may be 0.
	off := c.Offer.Policy.Mode != WhenEmpty && c.Offer.Policy.Mode != Always || t.Mode != WhenEmpty && t.Mode != Always
	if off || parent == "" || parent != t.Agency || !c.Offer.Active || t.Version < 1 || t.ClientCap < 1 || t.TotalCap < 1 || !allowed(c.Offer.Tier) {
		t.Mode = Off
	}
	return t
}

// Day is the day that a draw at t counts in: YYYYMMDD, UTC.
func Day(t time.Time) string { return t.UTC().Format("20060102") }

// NextDay is when the caps begin anew.
func NextDay(t time.Time) time.Time {
	t = t.UTC()
	return time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, time.UTC)
}

// Changed is the cause of a draw that was decided by an offer that does not apply
// any more. Find it with errors.As.
type Changed struct{ Now Offer }

// Error names no figures.
func (c *Changed) Error() string { return "agency: the offer changed" }
