package credit

import (
	"time"

	"github.com/latchkey/latchkey/shared/agency"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
)

// Draw says that an agency pays for an attempt of its client: the hold lies on the
// agency's balance, and two counters of the day, the client's and that of all
// clients, count it. They count holds while a call runs and what it cost once it is
// settled, in the same transactions, so that the caps hold at every moment and what
// was given back can be drawn again. Only a call that cost more than it held, which
// is recorded all the same, takes a counter past its cap.
type Draw struct {
	Agency string
	// Version is that of the offer by which it was decided; the reserve is refused,
	// with an [agency.Changed] as cause, if another one applies.
	Version             int64
	ClientCap, TotalCap Micro
	// Day is where it counts, see [agency.Day]. It stays that of the reserve.
	Day string
}

// NewDraw is the draw of a request at now.
func NewDraw(t agency.Terms, now time.Time) *Draw {
	return &Draw{Agency: t.Agency, Version: t.Version, ClientCap: Micro(t.ClientCap), TotalCap: Micro(t.TotalCap), Day: agency.Day(now)}
}

func (d *Draw) check(op, client string) error {
	switch {
	case d == nil:
		return nil
	case !table.ValidID(d.Agency) || d.Agency == client || d.Version < 1 || len(d.Day) != 8:
		return invalid(op, "draw", "the agency of a draw is not valid")
	case d.ClientCap < 1 || d.TotalCap < 1 || d.ClientCap > 1<<52 || d.TotalCap > 1<<52:
		return invalid(op, "draw", "a draw needs caps")
	}
	return nil
}

// Payer is whose balance holds the credits.
func (r ReserveRequest) Payer() string { return payer(r.Org, r.Draw) }

// Payer is whose balance holds the credits.
func (h Hold) Payer() string { return payer(h.Org, h.Draw) }

func payer(org string, d *Draw) string {
	if d != nil {
		return d.Agency
	}
	return org
}

// Payer is whose balance settlement moves.
func (u Used) Payer() string {
	if u.Agency != "" {
		return u.Agency
	}
	return u.Org
}

// Payer is whose balance holds the credits.
func (o Open) Payer() string {
	if o.Agency != "" {
		return o.Agency
	}
	return o.Org
}

// AgencyEntry is the agency's side of an attempt that it paid for; ok is false if
// there is none. It names the client and what was bought, not the client's
// agents, keys and connections.
func (u Used) AgencyEntry() (e Entry, ok bool) {
	if u.Agency == "" || u.Kind == Refused {
		return Entry{}, false
	}
	return Entry{
		ID: "e_" + shortHash(u.Agency, u.Org, u.Request, itoa(u.Attempt), string(UsageEntry)), Org: u.Agency, Client: u.Org,
		Kind: UsageEntry, At: u.At, Amount: -u.Amount, Legs: []Leg{{AccountOrg, -u.Amount}, {AccountRevenue, u.Amount}},
		Request: u.Request, Attempt: u.Attempt, Source: u.Source, PriceVersion: u.PriceVersion, Provider: u.Provider, Model: u.Model,
		Usage: u.Usage, Estimated: u.Estimated, Late: u.Expired,
	}, true
}

// Entries are all entries that settling the attempt writes.
func (u Used) Entries() []Entry {
	e, ok := u.Entry()
	if !ok {
		return nil
	}
	if a, ok := u.AgencyEntry(); ok {
		return []Entry{e, a}
	}
	if f, ok := u.FeeEntry(); ok {
		return []Entry{e, f}
	}
	return []Entry{e}
}

// ErrCap refuses a draw for which a cap of the day leaves no room.
func ErrCap(total bool, cap Micro, now time.Time) error {
	whose := "this organisation may draw"
	if total {
		whose = "all clients of the agency together may draw"
	}
	return fault.New(fault.InsufficientCredits, "credit.Reserve", "the agency's cap of the day leaves too little for this request: "+whose+" "+
		itoa(int(cap))+" micro-credits a day, begun anew at "+agency.NextDay(now).Format(time.RFC3339)+"; add credits of your own or ask the agency")
}

// ErrAgencyShort refuses a draw on an agency that cannot pay. It tells the client
// nothing of the agency's balance.
func ErrAgencyShort() error {
	return fault.New(fault.InsufficientCredits, "credit.Reserve", "the agency's credits do not suffice for this request; add credits of your own or ask the agency")
}

// ErrOfferChanged refuses a draw that was decided by another offer.
func ErrOfferChanged(now agency.Offer) error {
	return fault.Wrap(fault.LedgerUnavailable, "credit.Reserve", "what the agency shares has just changed, try again", &agency.Changed{Now: now})
}
