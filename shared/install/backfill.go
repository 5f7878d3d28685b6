package install

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Old is a binding of the older product: it names a provider and a channel, and no
// app. Newer says that it names more than that, so that no app has to be found for it;
// Fallback that it would have let the platform's app answer.
type Old struct {
	ID, Provider, Channel string
	AgentID, PersonaID    string
	Newer, Fallback       bool
}

// Outcome is what became of an older binding, or would.
type Outcome string

// Outcomes. A repeat turns Made into There and leaves the others.
const (
	Made    Outcome = "made"
	There   Outcome = "there" // an equal binding, or a row before with the same content
	Refused Outcome = "refused"
)

// Backfilled is one row of a backfill. NewInstall says that the install was made for
// it, or would be.
type Backfilled struct {
	ID, Install, Binding string
	NewInstall           bool
	Outcome              Outcome
	Reason               string

	old Old
}

// MaxBackfill bounds the rows of one call.
const MaxBackfill = 100

// backfillLabel is the label of installs that a backfill made.
const backfillLabel = "from an older binding"

// BackfillID is the id of the install that a backfill makes for the bindings of an
// organisation that name only a provider: the same each time.
func BackfillID(orgID string, provider taxonomy.Channel) string {
	sum := sha256.Sum256([]byte(orgID + "\x00" + string(provider)))
	return "mig-" + hex.EncodeToString(sum[:10])
}

// Backfill makes installs and bindings for older bindings; without apply it only says
// what it would do. An older binding goes to the live install that a backfill made, or
// to the only live one of its provider; without any, a draft is made that waits for
// its settings and secrets. What could mean two things is refused, both rows of it, and
// nothing that exists is changed, so a repeat changes nothing. Nothing is activated.
// Errors: invalid_request for rows that are malformed as a whole, or a store's; what
// was made by then stays, and the same call goes on.
func (s *Service) Backfill(ctx context.Context, op audit.Op, o org.Org, tiers org.Tiers, rows []Old, apply bool) ([]Backfilled, error) {
	if len(rows) == 0 || len(rows) > MaxBackfill {
		return nil, invalid("rows", "give 1 to 100 rows")
	}
	out := make([]Backfilled, len(rows))
	for k, r := range rows {
		if !table.ValidID(r.ID) || slices.ContainsFunc(rows[:k], func(b Old) bool { return b.ID == r.ID }) {
			return nil, invalid("rows", "each row has an id of its own, of letters, digits, - and _")
		}
		out[k] = Backfilled{ID: r.ID, old: r, Outcome: Made}
	}
	live, err := s.live(ctx, o.ID)
	if err != nil {
		return nil, err
	}
	for k := range out {
		if err := s.place(ctx, &out[k], live, o, tiers); err != nil {
			return nil, err
		}
	}
	twins(out)
	if !apply {
		return out, nil
	}
	made := map[string]bool{}
	for k := range out {
		if err := s.fill(ctx, op, &out[k], o, tiers, made); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// live lists the installs of an organisation, with those that ended under the id of a
// backfill.
func (s *Service) live(ctx context.Context, orgID string) ([]Install, error) {
	var out []Install
	for after := ""; ; {
		page, next, err := s.Store.Installs(ctx, orgID, after, MaxBackfill)
		if err != nil {
			return nil, err
		}
		for _, i := range page {
			if i.State != Revoked || i.ID == BackfillID(orgID, i.Provider) {
				out = append(out, i)
			}
		}
		if after = next; after == "" {
			return out, nil
		}
	}
}

func (b *Backfilled) refuse(reason string) { b.Outcome, b.Reason = Refused, reason }

// place finds the install of a row and looks whether its binding is there.
func (s *Service) place(ctx context.Context, b *Backfilled, live []Install, o org.Org, tiers org.Tiers) error {
	provider := taxonomy.Channel(b.old.Provider)
	switch _, known := s.Catalog.Find(provider); {
	case !known:
		b.refuse("this provider is not a channel that is available here")
		return nil
	case b.old.Newer:
		b.refuse("it names more than provider and channel; add its install by hand")
		return nil
	case b.old.Fallback:
		b.refuse("it would fall back to the platform's app, which does not exist here")
		return nil
	}
	b.Install = BackfillID(o.ID, provider)
	mine := slices.DeleteFunc(slices.Clone(live), func(i Install) bool { return i.Provider != provider })
	at := slices.IndexFunc(mine, func(i Install) bool { return i.ID == b.Install })
	switch {
	case at >= 0 && mine[at].State == Revoked:
		b.refuse("the install that was made for it is revoked; bind it to another one by hand")
		return nil
	case at < 0 && len(mine) > 1:
		b.Install = ""
		b.refuse("the organisation has several live installs of this provider; bind it to one by hand")
		return nil
	case at < 0 && len(mine) == 1:
		b.Install = mine[0].ID
	case at < 0:
		b.NewInstall = true
		if err := tiers.Require(o.Tier, org.FeatureBYOA); err != nil {
			b.refuse(fault.As(err).Message)
			return nil
		}
	}
	return s.compare(ctx, b, o.ID)
}

// selector is the older binding's: its channel, or everything.
func (b *Backfilled) selector() Selector { return Selector{Channel: b.old.Channel} }

// compare looks what the install has for the row's selector.
func (s *Service) compare(ctx context.Context, b *Backfilled, orgID string) error {
	err := checkSelector(b.selector())
	if err == nil {
		err = s.checkTarget(ctx, orgID, b.old.AgentID, b.old.PersonaID)
	}
	switch {
	case fault.CodeOf(err) == fault.InvalidRequest:
		b.refuse(fault.As(err).Param + ": " + fault.As(err).Message)
		return nil
	case err != nil:
		return err
	}
	b.Binding = BindingID(b.Install, b.selector())
	if b.NewInstall {
		return nil
	}
	_, bindings, err := s.Get(ctx, orgID, b.Install)
	if err != nil {
		return err
	}
	k := slices.IndexFunc(bindings, func(x Binding) bool { return x.ID == b.Binding })
	switch {
	case k >= 0 && bindings[k].AgentID == b.old.AgentID && bindings[k].PersonaID == b.old.PersonaID:
		b.Outcome = There
	case k >= 0:
		b.refuse("this channel is bound to another agent or persona already")
	case len(bindings) >= MaxBindings:
		b.refuse("an install can have at most 200 bindings")
	}
	return nil
}

// twins refuses rows that send the same traffic to different agents, and makes one of
// rows that say the same.
func twins(rows []Backfilled) {
	pairs := func(do func(a, b *Backfilled, before, same bool)) {
		for k := range rows {
			for j := range rows {
				if a, b := &rows[j], &rows[k]; j != k && a.Binding != "" && a.Binding == b.Binding {
					do(a, b, j < k, a.old.AgentID == b.old.AgentID && a.old.PersonaID == b.old.PersonaID)
				}
			}
		}
	}
	pairs(func(_, b *Backfilled, _, same bool) {
		if !same && b.Outcome == Made {
			b.refuse("another row sends the same channel to another agent or persona")
		}
	})
	pairs(func(_, b *Backfilled, before, same bool) {
		if same && before && b.Outcome == Made {
			b.Outcome, b.Reason = There, "a row before says the same"
		}
	})
}

// fill makes the install, once, and the binding of a row.
func (s *Service) fill(ctx context.Context, op audit.Op, b *Backfilled, o org.Org, tiers org.Tiers, made map[string]bool) error {
	if b.Outcome != Made {
		return nil
	}
	if b.NewInstall && !made[b.Install] {
		_, err := s.Create(ctx, op.Part("install", b.Install), o, tiers, New{ID: b.Install, Provider: b.old.Provider, Label: backfillLabel})
		if err != nil {
			return err // conflict: another run made it meanwhile; a repeat finds it
		}
		made[b.Install] = true
	}
	_, err := s.CreateBinding(ctx, op.Part("binding", b.ID), o.ID, NewBinding{Install: b.Install, Selector: b.selector(), AgentID: b.old.AgentID, PersonaID: b.old.PersonaID})
	if fault.CodeOf(err) == fault.Conflict {
		b.refuse(fault.As(err).Message)
		return nil
	}
	return err
}
