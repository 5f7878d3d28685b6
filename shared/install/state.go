package install

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/webhook"
)

// MaxOverlap bounds retire_at.
const MaxOverlap = 30 * 24 * time.Hour

// Get returns an install with its bindings; not_found also for another
// organisation's.
func (s *Service) Get(ctx context.Context, orgID, id string) (Install, []Binding, error) {
	i, bs, err := s.Store.Install(ctx, id)
	if err != nil {
		return Install{}, nil, err
	}
	if i.Org != orgID {
		return Install{}, nil, notFound()
	}
	return i, bs, nil
}

// List returns a page of an organisation's installs by id.
func (s *Service) List(ctx context.Context, orgID, after string, limit int) ([]Install, string, error) {
	return s.Store.Installs(ctx, orgID, after, limit)
}

func (s *Service) load(ctx context.Context, orgID, id string) (Install, channel.Entry, error) {
	i, _, err := s.Get(ctx, orgID, id)
	if err != nil {
		return Install{}, channel.Entry{}, err
	}
	e, ok := s.Catalog.Find(i.Provider)
	if !ok {
		return Install{}, channel.Entry{}, fault.New(fault.Internal, "install", "internal error, try again later")
	}
	return i, Declared(i, e), nil
}

// change loads an install, lets f change it and writes it if it changed.
func (s *Service) change(ctx context.Context, op audit.Op, orgID, id, action string, f func(Install, channel.Entry) (Install, error)) (Install, error) {
	old, entry, err := s.load(ctx, orgID, id)
	if err != nil {
		return Install{}, err
	}
	next, err := f(old, entry)
	if err != nil || next.Version == old.Version {
		return next, err
	}
	next.UpdatedAt = op.At.UTC().Truncate(time.Millisecond)
	return next, s.Store.UpdateInstall(ctx, old, next, op.Row(orgID, "install."+action, id, "provider", string(next.Provider), "state", string(next.State)))
}

// Update changes settings and adds missing secrets; a draft that is complete
// becomes verifying, and a live install cannot be made incomplete. Errors:
// invalid_request, not_found, conflict, vault_unavailable.
func (s *Service) Update(ctx context.Context, op audit.Op, orgID, id string, p Patch) (Install, error) {
	return s.change(ctx, op, orgID, id, "update", func(i Install, e channel.Entry) (Install, error) {
		if i.State == Revoked {
			return i, conflict("the install is revoked; create a new one")
		}
		if i.Mode == Platform && len(p.Config)+len(p.Secrets) > 0 {
			return i, authorised()
		}
		if i.Mode == App && i.State != Draft && e.Shared != nil {
			for _, name := range e.Common() {
				if v, given := p.Config[name]; given && !slices.Equal(v, i.Config[name]) {
					return i, conflict("the tenants of this app hold its " + name + ", which cannot change; add a new app")
				}
			}
		}
		config := webhook.Config{}
		maps.Copy(config, i.Config)
		maps.Copy(config, p.Config)
		all, err := told(e, config, p.Secrets)
		if err != nil {
			return i, err
		}
		maps.Copy(config, all)
		// What is neither stated nor changed is left as it is.
		stated := webhook.Config{}
		for name, vs := range all {
			if _, given := p.Config[name]; given || !slices.Equal(vs, i.Config[name]) {
				stated[name] = vs
			}
		}
		p.Config = stated
		e = e.For(config)
		next, err := s.apply(i, e, p)
		if err != nil {
			return i, err
		}
		if next, err = s.store(ctx, op, next, e, stood(next, e, p.Secrets)); err != nil {
			return i, err
		}
		ready := readiness(next, e)
		if i.State != Draft && ready == Draft {
			return i, invalid("config", "this would take away a setting that a live install needs; suspend or revoke it instead")
		}
		if i.State == Draft {
			next.State = ready
		}
		next.Version++
		return next, nil
	})
}

// Activate lets messages through; only a verifying install can be activated, and
// only where its channel is rolled out, else conflict.
func (s *Service) Activate(ctx context.Context, op audit.Op, orgID, id string) (Install, error) {
	return s.change(ctx, op, orgID, id, "activate", func(i Install, _ channel.Entry) (Install, error) {
		next, err := moved(i, Active, "only a verifying install can be activated; a draft needs its secrets and settings first", Verifying)
		if err == nil && next.Version != i.Version {
			err = s.Admitted(ctx, i.Provider, i.Org)
		}
		return next, err
	})
}

// Admitted asks whether a channel is rolled out for an organisation; conflict if not.
func (s *Service) Admitted(ctx context.Context, provider taxonomy.Channel, orgID string) error {
	if s.Stages == nil {
		return fault.New(fault.Internal, "install.Admitted", "internal error, try again later")
	}
	return s.Stages.Admit(ctx, string(provider), orgID)
}

// Suspend stops an install; it answers like an unknown one until resumed.
func (s *Service) Suspend(ctx context.Context, op audit.Op, orgID, id string) (Install, error) {
	return s.change(ctx, op, orgID, id, "suspend", func(i Install, _ channel.Entry) (Install, error) {
		return moved(i, Suspended, "only a verifying or active install can be suspended", Verifying, Active)
	})
}

// Resume brings a suspended install back to the state it had; to active only where
// its channel is rolled out, else conflict.
func (s *Service) Resume(ctx context.Context, op audit.Op, orgID, id string) (Install, error) {
	return s.change(ctx, op, orgID, id, "resume", func(i Install, _ channel.Entry) (Install, error) {
		if i.State == Active || i.State == Verifying {
			return i, nil
		}
		if i.State != Suspended || !i.Before.Verifies() {
			return i, conflict("only a suspended install can be resumed")
		}
		if i.Before == Active {
			if err := s.Admitted(ctx, i.Provider, i.Org); err != nil {
				return i, err
			}
		}
		i.State, i.Before, i.Rejections = i.Before, "", 0
		i.Version++
		return i, nil
	})
}

// moved changes the state, unless it is that already.
func moved(i Install, to State, refusal string, from ...State) (Install, error) {
	if i.State == to {
		return i, nil
	}
	if !slices.Contains(from, i.State) {
		return i, conflict(refusal)
	}
	i.Before, i.State = i.State, to
	i.Version++
	return i, nil
}

// Revoke ends an install for good and frees its tenant and token. Its secrets
// are revoked after it, so a second call repeats that part.
func (s *Service) Revoke(ctx context.Context, op audit.Op, orgID, id string) (Install, error) {
	i, err := s.change(ctx, op, orgID, id, "revoke", revoke)
	if err != nil {
		return i, err
	}
	for _, class := range classes(i) {
		if _, err := s.Vault.Revoke(ctx, i.Ref(class), op); err != nil && fault.CodeOf(err) != fault.NotFound {
			return i, err
		}
	}
	return i, nil
}

// RevokedByVendor ends an install whose app was removed at the vendor. The
// caller needs no access to the vault: the secrets stay sealed, of no more use
// than the vendor's refusal makes them, until someone calls [Service.Revoke].
func (s *Service) RevokedByVendor(ctx context.Context, op audit.Op, i Install) error {
	_, err := s.change(ctx, op, i.Org, i.ID, "revoked_by_provider", revoke)
	return err
}

func revoke(i Install, _ channel.Entry) (Install, error) {
	if i.State == Revoked {
		return i, nil
	}
	i.Before, i.State, i.Claims = i.State, Revoked, nil
	i.Version++
	return i, nil
}

// Rotate makes value live for one secret, or for a setting that verifies. The replaced value still verifies
// until retireAt; zero means the overlap that the field declares, now or earlier
// ends it at once. Errors: invalid_request, not_found, conflict, vault_unavailable.
func (s *Service) Rotate(ctx context.Context, op audit.Op, orgID, id, name string, value secret.Text, retireAt time.Time) (Install, error) {
	if retireAt.Sub(op.At) > MaxOverlap {
		return Install{}, invalid("retire_at", "retire_at is at most 30 days from now")
	}
	i, e, err := s.load(ctx, orgID, id)
	if err != nil {
		return Install{}, err
	}
	if _, public := rotating(e, name); public {
		return s.rotateSetting(ctx, op, orgID, id, name, value, retireAt)
	}
	f, err := rotatable(i, e, name)
	if err != nil {
		return Install{}, err
	}
	if err := f.Spec().CheckSecret(value); err != nil {
		return Install{}, fault.As(err).WithParam("value")
	}
	if _, err := told(e, i.Config, map[string][]secret.Text{name: {value}}); err != nil {
		return Install{}, fault.As(err).WithParam("value")
	}
	if i, err = s.rotateStood(ctx, op, i, e, map[string]secret.Text{name: value}, retireAt); err != nil {
		return Install{}, err
	}
	overlap := f.Spec().Overlap
	if !retireAt.IsZero() {
		overlap = max(retireAt.Sub(op.At), 0)
	}
	row := func(action string) audit.Row {
		r := op.Row(orgID, "install."+action, id, "provider", string(i.Provider), "state", string(i.State))
		r.ID += "-" + action // one operation, two rows
		return r
	}
	if f.Unique {
		// The claim is taken first, beside the old one: a token that another
		// install holds must not become live here.
		claimed, err := s.claimToken(ctx, i, f, value)
		if err != nil {
			return Install{}, err
		}
		claimed.Version++
		if err := s.Store.UpdateInstall(ctx, i, claimed, row("claim")); err != nil {
			return Install{}, err
		}
		i = claimed
	}
	head, err := s.rotate(ctx, vault.Rotation{Ref: i.Ref(f.Class), Fields: map[string]secret.Text{name: value}, Overlap: overlap, Op: op})
	if err != nil {
		return Install{}, err
	}
	next := untried(onlyClaim(withSecrets(i, e, f.Class, head), f), f, e)
	next.Version++
	next.UpdatedAt = op.At.UTC().Truncate(time.Millisecond)
	return next, s.Store.UpdateInstall(ctx, i, next, row("rotate"))
}

// rotateStood replaces the secrets that a rotated one stands in for. They come first:
// where one cannot be replaced, nothing is.
func (s *Service) rotateStood(ctx context.Context, op audit.Op, i Install, e channel.Entry, given map[string]secret.Text, retireAt time.Time) (Install, error) {
	if e.Stands == nil {
		return i, nil
	}
	for name, v := range e.Stands(i.Config, given) {
		if !i.has(name) {
			continue
		}
		var err error
		if i, err = s.Rotate(ctx, op.Part("stands", name), i.Org, i.ID, name, v, retireAt); err != nil {
			return i, err
		}
	}
	return i, nil
}

// RotateFinish ends the overlap of a secret, or of a setting that verifies, now.
func (s *Service) RotateFinish(ctx context.Context, op audit.Op, orgID, id, name string) (Install, error) {
	return s.change(ctx, op, orgID, id, "rotate_finish", func(i Install, e channel.Entry) (Install, error) {
		if _, public := rotating(e, name); public {
			return settleSetting(i, name)
		}
		f, err := rotatable(i, e, name)
		if err != nil {
			return i, err
		}
		head, err := s.Vault.FinishRotation(ctx, i.Ref(f.Class), name, op)
		if err != nil {
			return i, err
		}
		i = withSecrets(i, e, f.Class, head)
		i.Version++
		return i, nil
	})
}

func rotatable(i Install, e channel.Entry, name string) (channel.SecretField, error) {
	if err := changeable(i); err != nil {
		return channel.SecretField{}, err
	}
	f, err := secretField(e, name)
	if err != nil {
		return f, fault.As(err).WithParam("name")
	}
	if !i.has(name) {
		return f, fault.New(fault.Conflict, "install", "this secret is not stored yet; add it with an update").WithParam("name")
	}
	return f, nil
}

// Setup describes how to connect the app and what is already done. codes are
// the audit codes seen on the install's deliveries.
func (s *Service) Setup(ctx context.Context, orgID, id string, codes []string) (channel.Setup, error) {
	i, bs, err := s.Get(ctx, orgID, id)
	if err != nil {
		return channel.Setup{}, err
	}
	e, ok := s.Catalog.Find(i.Provider)
	if !ok {
		return channel.Setup{}, fault.New(fault.Internal, "install", "internal error, try again later")
	}
	if i.Mode == Platform {
		return sharedSetup(i, len(bs)), nil
	}
	name := i.Label
	if name == "" {
		name = "Assistant"
	}
	return e.For(i.Config).Setup(channel.SetupInput{
		InstallID: i.ID, CallbackURL: CallbackURL(s.PublicURL, i), State: string(i.State), Config: i.Config,
		SecretsSet: i.SecretsSet(), AppName: name, Bindings: len(bs), DeliveryCodes: codes,
	}), nil
}

// authorised refuses to change by hand what a vendor's authorisation gave.
func authorised() error {
	return conflict("this install holds what the vendor gave for the platform's app; revoke it and authorise the app again")
}

// sharedSetup is the set-up of an install of the platform's app: there is nothing
// to do at the vendor.
func sharedSetup(i Install, bindings int) channel.Setup {
	tell := func(ok bool) channel.CheckResult {
		if ok {
			return channel.Passed
		}
		return channel.Pending
	}
	return channel.Setup{CallbackURLs: []string{}, Scopes: []string{},
		Steps: []string{"The platform's app is used: nothing has to be set up at the vendor.", "Add a binding that names the agent, then activate the install."},
		Checklist: []channel.Check{
			{ID: "binding", Title: "At least one binding names an agent", Result: tell(bindings > 0)},
			{ID: "active", Title: "The install is active", Result: tell(i.State == Active)},
		},
		IdentityNote: "The platform's app tells by every verified event which tenant it is for."}
}
