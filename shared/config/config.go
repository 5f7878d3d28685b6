// Package config is the environment of the functions as one typed value.
//
// [Load] reads it once, at start, through a lookup function, and reports every
// missing or refused variable together. A function states what it needs; what
// it does not need it does not read, so that a function's environment can be as
// small as its permissions. On AWS no variable holds a secret: platform keys are
// vault references. Variables that would widen where keys may travel (vendor API
// bases, tenant endpoint exceptions, plain platform keys) are refused unless the
// stage is [Local], a stage that infra/ refuses to deploy.
package config

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Local is the stage of the local stack.
const Local = "local"

// Variable names that are not built from a table, provider or channel.
const (
	Stage         = "LATCHKEY_STAGE"
	PublicURL     = "LATCHKEY_PUBLIC_URL"
	VaultKeyARN   = "LATCHKEY_VAULT_KEY_ARN" // one or several, separated by commas
	MACKeyARN     = "LATCHKEY_MAC_KEY_ARN"
	TurnQueueURL  = "LATCHKEY_TURN_QUEUE_URL"
	EndpointAllow = "LATCHKEY_ENDPOINT_ALLOW"

	// StripeWebhookSecret is the vault reference of the payment vendor's
	// credential, which holds the key of its API, too. The local stack takes both
	// as values, StripeKey and this, and stores them in the vault.
	StripeWebhookSecret = "LATCHKEY_STRIPE_WEBHOOK_SECRET"
	StripeKey           = "LATCHKEY_STRIPE_KEY"
	StripeAPI           = "LATCHKEY_STRIPE_API_URL" // local stage only
)

// TableVar is the variable that names a table, e.g. LATCHKEY_TABLE_LEDGER.
func TableVar(r table.Role) string { return "LATCHKEY_TABLE_" + strings.ToUpper(string(r)) }

// FunctionVar is the variable that names a function to be invoked, e.g.
// LATCHKEY_FUNCTION_CONFORM.
func FunctionVar(function string) string { return "LATCHKEY_FUNCTION_" + strings.ToUpper(function) }

// PlatformVar is a platform credential variable of a provider; suffix is SECRET
// (vault reference), KEY or BASE_URL (local stage only).
func PlatformVar(p taxonomy.Provider, suffix string) string {
	return "LATCHKEY_PLATFORM_" + strings.ToUpper(string(p)) + "_" + suffix
}

// APIVar is the variable that moves a vendor's API base, e.g. LATCHKEY_X_API_URL.
func APIVar(c taxonomy.Channel) string {
	return "LATCHKEY_" + strings.ToUpper(c.API()) + "_API_URL"
}

// DataAPIVar is the variable that moves where a vendor's files are asked for.
func DataAPIVar(c taxonomy.Channel) string {
	return "LATCHKEY_" + strings.ToUpper(c.API()) + "_DATA_API_URL"
}

// KeysAPIVar is the variable that moves where a vendor's key sets are published.
func KeysAPIVar(c taxonomy.Channel) string {
	return "LATCHKEY_" + strings.ToUpper(c.KeysAPI()) + "_API_URL"
}

// TokenAPIVar is the variable that moves where a vendor's tokens are handed out.
func TokenAPIVar(c taxonomy.Channel) string {
	return "LATCHKEY_" + strings.ToUpper(c.API()) + "_TOKEN_API_URL"
}

// Needs says what one function reads beyond the stage.
type Needs struct {
	Tables    bool
	Vault     bool // key ARNs
	TurnQueue bool
	PublicURL bool
	Invokes   []string            // functions to be invoked
	Providers []taxonomy.Provider // platform credentials and endpoint exceptions
	Channels  []taxonomy.Channel  // API bases
	Payments  bool                // the payment vendor's credential and API base
}

// PlatformCredential is the platform's own access to a provider. Exactly one of
// VaultRef and Key is set, except for a keyless local endpoint.
type PlatformCredential struct {
	VaultRef string // "<org>/<credential>"
	Key      secret.Text
	BaseURL  string // empty = the provider's own
}

// Payments is the access to the payment vendor. Without a reference nothing is
// sold and no message is believed.
type Payments struct {
	VaultRef string // "<org>/<credential>"
	APIBase  string // empty = the vendor's
}

// Config is what one function needs to know. Read-only after [Load].
type Config struct {
	Stage         string
	PublicURL     string
	Tables        map[table.Role]string
	VaultKeyARNs  []string // the first is the default
	MACKeyARN     string
	TurnQueueURL  string
	Functions     map[string]string // name in the topology -> deployed name
	Platform      map[taxonomy.Provider]PlatformCredential
	APIBases      map[taxonomy.Channel]string // only those that differ from the vendor's
	DataBases     map[taxonomy.Channel]string // the same, of files
	KeysBases     map[taxonomy.Channel]string // the same, of key sets
	TokenBases    map[taxonomy.Channel]string // the same, of tokens
	EndpointAllow []string                    // host:port
	Payments      Payments
}

type loader struct {
	lookup  func(string) (string, bool)
	missing []string
	refused []string
}

func (l *loader) optional(name string) string {
	v, _ := l.lookup(name)
	return strings.TrimSpace(v)
}

func (l *loader) required(name string) string {
	v := l.optional(name)
	if v == "" {
		l.missing = append(l.missing, name)
	}
	return v
}

// keys reads a list of keys. One that is named twice is a slip of the hand that
// would hide the key which is missing.
func (l *loader) keys(name string) []string {
	v := l.required(name)
	if v == "" {
		return nil
	}
	out := strings.Split(v, ",")
	for i := range out {
		out[i] = strings.TrimSpace(out[i])
	}
	if distinct := slices.Compact(slices.Sorted(slices.Values(out))); len(distinct) != len(out) || distinct[0] == "" {
		l.refused = append(l.refused, name+" (a comma-separated list without empty or repeated entries)")
		return nil
	}
	return out
}

// localOnly reads a variable that only the local stage may set.
func (l *loader) localOnly(stage, name string) string {
	v := l.optional(name)
	if v != "" && stage != Local {
		l.refused = append(l.refused, name+" (only with "+Stage+"="+Local+")")
		return ""
	}
	return v
}

// Load reads the configuration. The error names every missing and every refused
// variable, and no value.
func Load(lookup func(string) (string, bool), needs Needs) (Config, error) {
	l := &loader{lookup: lookup}
	c := Config{Stage: l.required(Stage)}
	if c.Stage != "" && !table.ValidID(c.Stage) {
		l.refused = append(l.refused, Stage+" (letters, digits, - and _ only)")
	}
	if needs.PublicURL {
		c.PublicURL = strings.TrimRight(l.required(PublicURL), "/")
	}
	if needs.Tables {
		c.Tables = map[table.Role]string{}
		for _, s := range table.Specs() {
			c.Tables[s.Role] = l.required(TableVar(s.Role))
		}
	}
	if needs.Vault {
		c.VaultKeyARNs = l.keys(VaultKeyARN)
		c.MACKeyARN = l.required(MACKeyARN)
	}
	if needs.TurnQueue {
		c.TurnQueueURL = l.required(TurnQueueURL)
	}
	if len(needs.Invokes) > 0 {
		c.Functions = map[string]string{}
		for _, f := range needs.Invokes {
			c.Functions[f] = l.required(FunctionVar(f))
		}
	}
	if needs.Payments {
		l.payments(&c)
	}
	l.egress(&c, needs)
	return c, l.err()
}

func (l *loader) payments(c *Config) {
	if ref := l.optional(StripeWebhookSecret); ref != "" {
		if c.Payments.VaultRef = ref; !validRef(ref) {
			l.refused = append(l.refused, StripeWebhookSecret+" (must be <org>/<credential>)")
		}
	}
	if base := l.localOnly(c.Stage, StripeAPI); base != "" {
		c.Payments.APIBase = strings.TrimRight(base, "/")
		l.allowHost(c, StripeAPI, base)
	}
}

func (l *loader) egress(c *Config, needs Needs) {
	c.Platform = map[taxonomy.Provider]PlatformCredential{}
	c.APIBases, c.DataBases = map[taxonomy.Channel]string{}, map[taxonomy.Channel]string{}
	c.KeysBases, c.TokenBases = map[taxonomy.Channel]string{}, map[taxonomy.Channel]string{}
	for _, p := range needs.Providers {
		pc := PlatformCredential{
			VaultRef: l.optional(PlatformVar(p, "SECRET")),
			Key:      secret.FromString(l.localOnly(c.Stage, PlatformVar(p, "KEY"))),
			BaseURL:  l.localOnly(c.Stage, PlatformVar(p, "BASE_URL")),
		}
		if pc.VaultRef != "" && !validRef(pc.VaultRef) {
			l.refused = append(l.refused, PlatformVar(p, "SECRET")+" (must be <org>/<credential>)")
		}
		if pc.VaultRef != "" && !pc.Key.IsZero() {
			l.refused = append(l.refused, PlatformVar(p, "KEY")+" (the SECRET variable is set too)")
		}
		if pc.VaultRef != "" || !pc.Key.IsZero() || pc.BaseURL != "" {
			c.Platform[p] = pc
			l.allowHost(c, PlatformVar(p, "BASE_URL"), pc.BaseURL)
		}
	}
	for _, ch := range needs.Channels {
		for _, api := range ch.Served() {
			for name, bases := range map[string]map[taxonomy.Channel]string{APIVar(api): c.APIBases, DataAPIVar(api): c.DataBases,
				KeysAPIVar(api): c.KeysBases, TokenAPIVar(api): c.TokenBases} {
				if base := l.localOnly(c.Stage, name); base != "" {
					bases[api] = strings.TrimRight(base, "/")
					l.allowHost(c, name, base)
				}
			}
		}
	}
	if len(needs.Providers)+len(needs.Channels) == 0 {
		return
	}
	for _, hp := range strings.Split(l.localOnly(c.Stage, EndpointAllow), ",") {
		if hp = strings.TrimSpace(hp); hp != "" {
			c.EndpointAllow = append(c.EndpointAllow, hp)
		}
	}
	slices.Sort(c.EndpointAllow)
	c.EndpointAllow = slices.Compact(c.EndpointAllow)
}

// allowHost lets the egress guard reach a base URL that the local stage names.
func (l *loader) allowHost(c *Config, name, base string) {
	if base == "" {
		return
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.User != nil || (u.Scheme != "http" && u.Scheme != "https") {
		l.refused = append(l.refused, name+" (not an http or https URL)")
		return
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	c.EndpointAllow = append(c.EndpointAllow, u.Hostname()+":"+port)
}

func validRef(ref string) bool {
	org, cred, ok := strings.Cut(ref, "/")
	return ok && table.ValidID(org) && table.ValidID(cred)
}

func (l *loader) err() error {
	if len(l.missing)+len(l.refused) == 0 {
		return nil
	}
	var parts []string
	if len(l.missing) > 0 {
		parts = append(parts, "missing: "+strings.Join(l.missing, ", "))
	}
	if len(l.refused) > 0 {
		parts = append(parts, "refused: "+strings.Join(l.refused, ", "))
	}
	return errors.New("config: " + strings.Join(parts, "; "))
}
