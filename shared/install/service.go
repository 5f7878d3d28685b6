package install

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Service carries the rules for installs and bindings. It is safe for
// concurrent use.
type Service struct {
	Store    Store
	Bindings BindingStore
	Vault    Vault
	Index    VaultIndex
	Catalog  Catalog
	// Agents checks what a binding names.
	Agents Agents
	// PublicURL is the base of callback URLs.
	PublicURL string
	// Stages is asked before messages are let through; without it nothing can be
	// activated.
	Stages Stages
	// Teller and Stage serve [Service.TokenRejected] only.
	Teller Teller
	Stage  string
}

// New is a new install. Secrets maps each secret's name to its values; one
// value is live, more than one is refused.
type New struct {
	ID       string
	Provider string
	Mode     string
	// App names the platform's app for mode platform. Vouched says that the caller
	// has the vendor's word, or the operator's, that the tenant is the organisation's.
	App       string
	Vouched   bool
	Label     string
	Config    webhook.Config
	PublicURL string
	Policy    Policy
	Secrets   map[string][]secret.Text
}

// Patch changes an install; nil means unchanged. Config is merged by name, an
// empty list removes a setting, and so is Policy. Secrets adds missing ones only.
type Patch struct {
	Label     *string
	PublicURL *string
	Policy    *Policy
	Config    webhook.Config
	Secrets   map[string][]secret.Text
}

const maxLabel = 100

// maxID leaves room for a binding's id, which begins with its install's.
const maxID = 44

func invalid(param, message string) error {
	return fault.New(fault.InvalidRequest, "install", message).WithParam(param)
}

func conflict(message string) error { return fault.New(fault.Conflict, "install", message) }

func notFound() error { return fault.New(fault.NotFound, "install", "there is no such install") }

// Create seals the secrets and makes the install. Errors: billing_denied naming
// the tiers with byoa, invalid_request, conflict if a live install holds the
// tenant or the token, vault_unavailable.
func (s *Service) Create(ctx context.Context, op audit.Op, o org.Org, tiers org.Tiers, n New) (Install, error) {
	entry, ok := s.Catalog.Find(taxonomy.Channel(n.Provider))
	if !ok {
		return Install{}, invalid("provider", "this provider is not a channel that is available here")
	}
	i := Install{ID: n.ID, Org: o.ID, Provider: entry.ID, Mode: BYOA}
	switch n.Mode {
	case "", string(BYOA):
		if err := tiers.Require(o.Tier, org.FeatureBYOA); err != nil {
			return Install{}, err
		}
	case string(Platform):
		var err error
		if i, n.Config, err = s.ofPlatform(ctx, i, entry, n); err != nil {
			return Install{}, err
		}
	default:
		return Install{}, invalid("mode", "mode is byoa, an app of your own, or platform")
	}
	if strings.HasPrefix(n.ID, AppPrefix) {
		return Install{}, invalid("id", "the id is malformed")
	}
	return s.create(ctx, op, i, Declared(i, entry), n)
}

// create seals the secrets of i, which says whose it is, and stores it.
func (s *Service) create(ctx context.Context, op audit.Op, i Install, entry channel.Entry, n New) (Install, error) {
	if !table.ValidID(n.ID) || len(n.ID) > maxID {
		return Install{}, invalid("id", "the id is malformed")
	}
	at := op.At.UTC().Truncate(time.Millisecond)
	i.State, i.Config, i.CreatedAt, i.UpdatedAt, i.Version = Draft, webhook.Config{}, at, at, 1
	config, err := told(entry, n.Config, n.Secrets)
	if err != nil {
		return Install{}, err
	}
	entry = entry.For(config)
	i, err = s.apply(i, entry, Patch{Label: &n.Label, PublicURL: &n.PublicURL, Policy: &n.Policy, Config: config})
	if err != nil {
		return Install{}, err
	}
	if i, err = s.store(ctx, op, i, entry, stood(i, entry, n.Secrets)); err != nil {
		return Install{}, err
	}
	i.State = readiness(i, entry)
	err = s.Store.CreateInstall(ctx, i, op.Row(i.Org, "install.create", i.ID, "provider", string(i.Provider), "state", string(i.State)))
	if err == nil {
		return i, nil
	}
	// An unknown outcome may have been written: only the secrets of an install
	// that is surely absent are taken back.
	if fault.CodeOf(err) == fault.Conflict && len(i.Secrets) > 0 {
		s.discard(ctx, op, i)
	}
	return Install{}, err
}

// told adds the settings that secrets tell.
func told(e channel.Entry, stated webhook.Config, secrets map[string][]secret.Text) (webhook.Config, error) {
	if e.Told == nil {
		return stated, nil
	}
	one := single(secrets)
	out := webhook.Config{}
	for name, vs := range stated {
		out[name] = vs
	}
	for name, vs := range e.Told(one) {
		if have := stated.Get(name); have != "" && !slices.Equal(stated[name], vs) {
			return nil, invalid("config."+name, "this setting contradicts a secret that was given; leave it out or correct one of them")
		}
		out[name] = vs
	}
	return out, nil
}

// single are the secrets of which one value is given.
func single(secrets map[string][]secret.Text) map[string]secret.Text {
	one := map[string]secret.Text{}
	for name, vs := range secrets {
		if len(vs) == 1 {
			one[name] = vs[0]
		}
	}
	return one
}

// stood adds the secrets that others stand in for. What is given or stored is left.
func stood(i Install, e channel.Entry, secrets map[string][]secret.Text) map[string][]secret.Text {
	if e.Stands == nil {
		return secrets
	}
	out := map[string][]secret.Text{}
	for name, v := range e.Stands(i.Config, single(secrets)) {
		if !i.has(name) {
			out[name] = []secret.Text{v}
		}
	}
	maps.Copy(out, secrets)
	return out
}

// discard revokes secrets that no install names; what fails stays sealed.
func (s *Service) discard(ctx context.Context, op audit.Op, i Install) {
	for _, class := range classes(i) {
		_, _ = s.Vault.Revoke(ctx, i.Ref(class), op)
	}
}

// classes lists the credential classes that the install may have.
func classes(i Install) []taxonomy.CredentialClass {
	if i.Mode == App {
		return []taxonomy.CredentialClass{taxonomy.ChannelVerify, taxonomy.ChannelSend, taxonomy.ChannelApp}
	}
	return []taxonomy.CredentialClass{taxonomy.ChannelVerify, taxonomy.ChannelSend}
}

// readiness is verifying once every required secret and the identity are known.
func readiness(i Install, e channel.Entry) State {
	for _, f := range e.Secrets {
		if f.Required && !i.has(f.Name) {
			return Draft
		}
	}
	for _, f := range e.Config {
		if f.Required && i.Config.Get(f.Name) == "" {
			return Draft
		}
	}
	if !identified(i, e) || e.NeedsPublicURL && i.PublicURL == "" {
		return Draft
	}
	return Verifying
}

// identified reports whether the settings name the tenant. Where requests name
// none, the required settings do.
func identified(i Install, e channel.Entry) bool {
	if len(e.Identity) == 0 {
		return !slices.ContainsFunc(e.Config, func(f channel.ConfigField) bool { return f.Required && i.Config.Get(f.Name) == "" })
	}
	for _, group := range e.Identity {
		if !slices.ContainsFunc(group, func(name string) bool { return i.Config.Get(name) != "" }) {
			return false
		}
	}
	return true
}

// apply merges settings; secrets are stored separately.
func (s *Service) apply(i Install, e channel.Entry, p Patch) (Install, error) {
	if p.Label != nil {
		if i.Label = strings.TrimSpace(*p.Label); len(i.Label) > maxLabel || strings.ContainsFunc(i.Label, control) {
			return i, invalid("label", "the label is at most 100 bytes of plain text")
		}
	}
	if p.PublicURL != nil {
		if i.PublicURL = *p.PublicURL; i.PublicURL != "" && (!strings.HasPrefix(i.PublicURL, "https://") || len(i.PublicURL) > 2048 || strings.ContainsAny(i.PublicURL, "# ")) {
			return i, invalid("public_url", "public_url is the https URL exactly as typed at the vendor, without a fragment")
		}
	}
	if p.Policy != nil {
		if err := p.Policy.check(e); err != nil {
			return i, err
		}
		i.Policy = i.Policy.merge(*p.Policy)
	}
	config := webhook.Config{}
	for name, vs := range i.Config {
		config[name] = vs
	}
	for name, vs := range p.Config {
		k := slices.IndexFunc(e.Config, func(f channel.ConfigField) bool { return f.Name == name })
		if k < 0 {
			return i, invalid("config."+name, "this provider has no such setting")
		}
		vs = slices.DeleteFunc(slices.Clone(vs), func(v string) bool { return v == "" })
		if err := checkSetting(e.Config[k], vs); err != nil {
			return i, err
		}
		if config[name] = vs; len(vs) == 0 {
			delete(config, name)
		}
		// What is stated anew is live; an update of other things names them as they are.
		if e.Config[k].Rotates && !slices.Equal(vs, i.Config[name]) {
			i.Secrets = unrotated(i.Secrets, name)
		}
	}
	if have := i.Config.Get(e.VendorSetting); have != "" && config.Get(e.VendorSetting) != have {
		// The stored secrets are of the one vendor, and must not reach the other.
		return i, conflict("the vendor of an install cannot change, its secrets are that vendor's; make a new install")
	}
	i.Config = config
	if !identified(i, e) {
		i.Claims = slices.DeleteFunc(slices.Clone(i.Claims), func(c Claim) bool { return c.Token == "" })
		return i, nil
	}
	if e.Tenant == nil {
		return i, nil // an app whose vendor names none in its requests
	}
	app, tenant := e.Tenant(config)
	if !plainKey(app) || !plainKey(tenant) {
		return i, invalid("config", "an identity setting holds characters that ids do not have")
	}
	field := e.Config[0].Name
	if n := len(e.Identity); n > 0 {
		field = e.Identity[n-1][0]
	}
	i.Claims = append(slices.DeleteFunc(slices.Clone(i.Claims), func(c Claim) bool { return c.Token == "" }), Claim{Field: "config." + field, App: app, Tenant: tenant})
	return i, nil
}

func checkSetting(f channel.ConfigField, vs []string) error {
	if !f.List && len(vs) > 1 || len(vs) > 20 || f.Rotates && len(vs) > webhook.MaxKeys {
		return invalid("config."+f.Name, "this setting has too many values")
	}
	spec := f.Spec()
	for _, v := range vs {
		if err := spec.Check([]byte(v)); err != nil {
			return fault.As(err).WithParam("config." + f.Name)
		}
	}
	return nil
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

// plainKey keeps ids that would break a table key out.
func plainKey(s string) bool {
	return s != "" && len(s) <= 256 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '#' })
}

// store seals new secrets, one credential per class, and enters their claims.
func (s *Service) store(ctx context.Context, op audit.Op, i Install, e channel.Entry, secrets map[string][]secret.Text) (Install, error) {
	byClass := map[taxonomy.CredentialClass]map[string]secret.Text{}
	for name, vs := range secrets {
		f, err := secretField(e, name)
		if err != nil {
			return i, err
		}
		if len(vs) != 1 || vs[0].IsZero() {
			return i, invalid("secrets."+name, "give exactly one value that is not empty; replace a stored one with rotate")
		}
		if i.has(name) {
			return i, fault.New(fault.Conflict, "install", "this secret is stored already; replace it with rotate").WithParam("secrets." + name)
		}
		// All values are checked before the first is sealed.
		if err := f.Spec().CheckSecret(vs[0]); err != nil {
			return i, fault.As(err).WithParam("secrets." + name)
		}
		if byClass[f.Class] == nil {
			byClass[f.Class] = map[string]secret.Text{}
		}
		byClass[f.Class][name] = vs[0]
		if i, err = s.claimToken(ctx, i, f, vs[0]); err != nil {
			return i, err
		}
	}
	for class, fields := range byClass {
		head, err := s.seal(ctx, op, i, e, class, fields)
		if err != nil {
			return i, err
		}
		i = withSecrets(i, e, class, head)
	}
	return i, nil
}

// seal stores new fields. An earlier call may have got this far and not
// further, so a credential that exists is added to, and a value that is stored
// already is as good as stored.
func (s *Service) seal(ctx context.Context, op audit.Op, i Install, e channel.Entry, class taxonomy.CredentialClass, fields map[string]secret.Text) (vault.Head, error) {
	if !slices.ContainsFunc(e.SecretNames(class), i.has) {
		head, err := s.Vault.Create(ctx, vault.NewCredential{Ref: i.Ref(class), Label: string(i.Provider), Fields: fields, Op: op})
		if fault.CodeOf(err) != fault.Conflict || errors.Is(err, vault.Duplicate) {
			return head, err
		}
	}
	return s.rotate(ctx, vault.Rotation{Ref: i.Ref(class), Fields: fields, Op: op})
}

func (s *Service) rotate(ctx context.Context, r vault.Rotation) (vault.Head, error) {
	head, err := s.Vault.Rotate(ctx, r)
	if vault.ReasonOf(err) == vault.Duplicate {
		return s.Index.Head(ctx, r.Ref.Org, r.Ref.Class, r.Ref.ID)
	}
	return head, err
}

// claimToken adds the claim of a unique secret's value; see [onlyClaim].
func (s *Service) claimToken(ctx context.Context, i Install, f channel.SecretField, value secret.Text) (Install, error) {
	if !f.Unique {
		return i, nil
	}
	hash, err := s.Index.TokenHash(ctx, string(i.Provider), value)
	if err != nil {
		return i, err
	}
	claim := Claim{Field: "secrets." + f.Name, Token: hash}
	i.Claims = append(slices.DeleteFunc(slices.Clone(i.Claims), func(c Claim) bool { return c == claim }), claim)
	return i, nil
}

// onlyClaim drops the claims of a secret's earlier values, keeping the last.
func onlyClaim(i Install, f channel.SecretField) Install {
	field, last := "secrets."+f.Name, Claim{}
	for _, c := range i.Claims {
		if c.Field == field {
			last = c
		}
	}
	i.Claims = slices.DeleteFunc(slices.Clone(i.Claims), func(c Claim) bool { return c.Field == field && c != last })
	return i
}

func secretField(e channel.Entry, name string) (channel.SecretField, error) {
	for _, f := range e.Secrets {
		if f.Name == name {
			return f, nil
		}
	}
	return channel.SecretField{}, invalid("secrets."+name, "this provider has no such secret")
}

// withSecrets replaces the descriptions of a class by what its head says.
func withSecrets(i Install, e channel.Entry, class taxonomy.CredentialClass, h vault.Head) Install {
	mine := e.SecretNames(class)
	out := slices.DeleteFunc(slices.Clone(i.Secrets), func(s Secret) bool { return slices.Contains(mine, s.Name) })
	for _, f := range h.Fields {
		out = append(out, Secret{Name: f.Name, Fingerprint: f.Fingerprint, Hint: f.Hint})
	}
	for _, d := range h.Drains {
		out = append(out, Secret{Name: d.Field, RetireAt: d.Until})
	}
	sortSecrets(out)
	i.Secrets = out
	return i
}

func sortSecrets(all []Secret) {
	slices.SortStableFunc(all, func(a, b Secret) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return a.RetireAt.Compare(b.RetireAt)
	})
}
