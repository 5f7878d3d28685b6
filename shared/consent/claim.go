package consent

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Said is a state that somebody said in a conversation with an app of the platform.
type Said struct {
	// Hash is the state's ([HashOf]).
	Hash     string
	Provider taxonomy.Channel
	App      string
	// Config names the conversation, by the names of [channel.Shared].Tenants.
	Config webhook.Config
	At     time.Time
}

// Claimed is what became of a claim, for the record.
type Claimed struct {
	Outcome Outcome
	// Reason is one of our words, empty where the outcome says all.
	Reason       string
	Org, Install string
}

// Claim uses the state up and makes the install of the conversation, which is told whose
// it becomes before that: without it nothing is installed. An error means that the state
// is unused and the claim may be repeated.
func (s *Service) Claim(ctx context.Context, q Said, tell func(ctx context.Context, name, id string) bool) (Claimed, error) {
	v := &visit{Service: s, Visit: Visit{Now: q.At}, provider: q.Provider}
	st, err := s.Store.Consent(ctx, q.Hash)
	if fault.CodeOf(err) == fault.NotFound {
		return Claimed{Outcome: Refused, Reason: "unknown"}, nil
	}
	if err != nil {
		return Claimed{}, err
	}
	v.st = st
	if reason := v.against(q); reason != "" {
		v.refuse(ctx, reason)
		return v.claimed(Refused, reason), nil
	}
	op := audit.Op{Actor: st.By, ID: s.NewID(q.At), At: q.At}
	// From here on the state is used up, whatever comes.
	switch err := s.Store.UseConsent(ctx, st, op.Part("answer").Row(st.Org, "oauth.answer", st.Install, "provider", string(q.Provider))); {
	case fault.CodeOf(err) == fault.Conflict:
		v.refuse(ctx, "used")
		return v.claimed(Refused, "used"), nil
	case err != nil:
		return Claimed{}, err
	}
	p := v.take(ctx, op, q, tell)
	if p.Outcome != Installed {
		v.told(ctx, op, p)
	}
	return v.claimed(p.Outcome, p.Reason), nil
}

func (v *visit) claimed(o Outcome, reason string) Claimed {
	return Claimed{Outcome: o, Reason: reason, Org: v.st.Org, Install: v.st.Install}
}

// against says why a state does not count for a conversation.
func (v *visit) against(q Said) string {
	switch {
	case v.st.Provider != q.Provider:
		return "other_provider"
	case v.st.App != q.App:
		return "other_app"
	case !v.Now.Before(v.st.Expires):
		return "expired"
	case v.st.Used:
		return "used"
	}
	return ""
}

// take makes the install of a conversation that is nobody's.
func (v *visit) take(ctx context.Context, op audit.Op, q Said, tell func(ctx context.Context, name, id string) bool) Page {
	entry, ok := v.Catalog.Find(q.Provider)
	if !ok || entry.Shared == nil || entry.Shared.Claim == nil || entry.Shared.TenantOf == nil {
		return v.answer(Failed, string(channel.NotSetUp), nil)
	}
	o, err := v.Orgs.Org(ctx, v.st.Org)
	if err != nil {
		return v.answer(Unavailable, "", err)
	}
	if err := o.Allow(); err != nil {
		return v.answer(Failed, "org_not_active", err)
	}
	app, _, err := v.Installs.Get(ctx, org.Operator, q.App)
	switch {
	case err != nil:
		return v.answer(Unavailable, "", err)
	case !ready(app, entry):
		return v.answer(Failed, string(channel.NotSetUp), nil)
	}
	if err := v.Installs.Admitted(ctx, q.Provider, v.st.Org); err != nil {
		return v.answer(Failed, "not_rolled_out", err)
	}
	// Who loses the race behind this is told of a claim that then is not made.
	switch _, _, err := v.Tenants.InstallOf(ctx, string(q.Provider), app.ID, entry.Shared.TenantOf(q.Config)); {
	case err == nil:
		return v.answer(Conflicting, "in_use", install.ErrTenantInUse)
	case fault.CodeOf(err) != fault.NotFound:
		return v.answer(Unavailable, "", err)
	}
	if !tell(ctx, o.Name, o.ID) {
		return v.answer(Failed, "not_told", nil)
	}
	return v.store(ctx, op, o, app, channel.Granted{Config: q.Config}, entry)
}
