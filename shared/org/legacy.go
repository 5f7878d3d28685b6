package org

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Contract markers of older settings; a record without one is openrouter_v1.
const (
	ContractOpenRouter = "openrouter_v1"
	ContractAgnostic   = "provider_agnostic_v1"
)

// Older credentials that are no profile of a record's list. A connection with
// this label is the record's single key.
const (
	LegacyKeyProfile  = "legacy_openrouter_key"
	legacyKeyPriority = 10_000
)

// maxLegacy bounds a record, which is read with every request.
const (
	maxLegacy         = 64 << 10
	maxLegacyProfiles = 100
)

// Legacy is a stored openrouter_v1 record: what of it has no place in [Settings].
// It is kept as it came and served back unchanged.
type Legacy struct {
	Record json.RawMessage
	// Profiles are the OpenRouter profiles of the record, the provider-agnostic
	// ones of a mixed record first, each list in its order. Their keys are
	// connections whose label is the profile's id.
	Profiles []LegacyProfile
	// Temperature and MaxTokens apply to a chat request over OpenRouter that
	// states none; nil and 0 = the record states none.
	Temperature *float64
	MaxTokens   int
}

// LegacyProfile is what a record says about the use of one key.
type LegacyProfile struct {
	ID       string
	Enabled  bool
	Priority int64 // lower is tried first; a missing one is the position in its list
	// CooldownUntil and FailedAt are zero if the record has none.
	CooldownUntil, FailedAt time.Time
}

// Cooling reports whether the profile rests at a time.
func (p LegacyProfile) Cooling(now time.Time) bool { return now.Before(p.CooldownUntil) }

// Best picks the entry that speaks for a profile id: of those that are enabled
// and do not rest the lowest priority, the first of equal ones. Without such an
// entry it is the lowest enabled one, then the lowest of all. The single key has
// an entry although records do not list it.
func (l *Legacy) Best(id string, now time.Time) (LegacyProfile, bool) {
	candidates := l.Profiles
	if id == LegacyKeyProfile {
		candidates = append(slices.Clone(candidates), LegacyProfile{ID: id, Enabled: true, Priority: legacyKeyPriority})
	}
	rank := func(p LegacyProfile) int {
		switch {
		case !p.Enabled:
			return 2
		case p.Cooling(now):
			return 1
		}
		return 0
	}
	var best LegacyProfile
	found := false
	for _, p := range candidates {
		if p.ID == id && (!found || cmp.Or(cmp.Compare(rank(p), rank(best)), cmp.Compare(p.Priority, best.Priority)) < 0) {
			best, found = p, true
		}
	}
	return best, found
}

// given says that a text field was filled, without keeping the text. A second
// field of the same name does not empty it.
type given bool

// UnmarshalJSON implements [json.Unmarshaler].
func (g *given) UnmarshalJSON(b []byte) error {
	*g = *g || given(!bytes.Equal(b, []byte("null")) && !bytes.Equal(b, []byte(`""`)))
	return nil
}

// legacyRecord is the shape of stored records.
type legacyRecord struct {
	Contract           string          `json:"settingsContractVersion"`
	BillingMode        string          `json:"billingMode"`
	BillingSource      string          `json:"billingSource"`
	LLM                legacyLLM       `json:"llm"`
	MonthlyBudgetUSD   json.Number     `json:"monthlyBudgetUsd"`
	CurrentMonthSpend  json.Number     `json:"currentMonthSpend"`
	HumanInLoopEnabled *bool           `json:"humanInLoopEnabled"`
	AutoRecovery       json.RawMessage `json:"autoRecovery"`
}

type legacyLLM struct {
	Provider         string             `json:"provider"`
	ProviderID       string             `json:"providerId"`
	Model            string             `json:"model"`
	EnabledModels    []legacyModel      `json:"enabledModels"`
	DefaultModelID   string             `json:"defaultModelId"`
	Temperature      *float64           `json:"temperature"`
	MaxTokens        *int               `json:"maxTokens"`
	OpenRouterAPIKey given              `json:"openrouterApiKey"`
	AuthProfiles     []legacyAuth       `json:"authProfiles"`
	ProviderProfiles []legacyAuth       `json:"providerAuthProfiles"`
	PrivacyMode      PrivacyMode        `json:"privacyMode"`
	QualityTierFloor QualityFloor       `json:"qualityTierFloor"`
	LocalModelIDs    []string           `json:"localModelIds"`
	LocalConnection  *legacyLocalConfig `json:"localConnection"`
}

type legacyModel struct {
	ModelID     string      `json:"modelId"`
	IsDefault   bool        `json:"isDefault"`
	CustomLabel string      `json:"customLabel"`
	EnabledAt   json.Number `json:"enabledAt"`
}

type legacyAuth struct {
	ProfileID         string          `json:"profileId"`
	ProviderID        string          `json:"providerId"`
	Label             string          `json:"label"`
	BaseURL           string          `json:"baseUrl"`
	Source            string          `json:"credentialSource"`
	BillingSource     string          `json:"billingSource"`
	OpenRouterAPIKey  given           `json:"openrouterApiKey"`
	APIKey            given           `json:"apiKey"`
	EncryptedFields   []string        `json:"encryptedFields"`
	Capabilities      json.RawMessage `json:"capabilities"`
	Enabled           bool            `json:"enabled"`
	Priority          *int64          `json:"priority"`
	CooldownUntil     json.Number     `json:"cooldownUntil"`
	FailureCount      *int64          `json:"failureCount"`
	LastFailureAt     json.Number     `json:"lastFailureAt"`
	LastFailureReason string          `json:"lastFailureReason"`
	Metadata          json.RawMessage `json:"metadata"`
}

type legacyLocalConfig struct {
	ConnectorID      string          `json:"connectorId"`
	BaseURL          string          `json:"baseUrl"`
	Status           string          `json:"status"`
	ModelIDs         []string        `json:"modelIds"`
	CapabilityLimits json.RawMessage `json:"capabilityLimits"`
}

// LegacyRecord is a zero value whose JSON names are those of an openrouter_v1
// record.
func LegacyRecord() any { return new(legacyRecord) }

// IsLegacy reports whether a document has the shape of older settings.
func IsLegacy(doc map[string]json.RawMessage) bool {
	for _, name := range []string{"settingsContractVersion", "llm", "billingMode"} {
		if _, has := doc[name]; has {
			return true
		}
	}
	return false
}

// ParseLegacy reads an openrouter_v1 record and says it in today's words. Fields
// outside of the known shape are refused. Keys are refused, too: settings are
// served back, and a key is never shown. Errors are invalid_request naming the
// field.
func ParseLegacy(record []byte) (Settings, error) {
	if len(record) > maxLegacy {
		return Settings{}, invalid("llm", "an openrouter_v1 record is at most 64 KB")
	}
	var r legacyRecord
	d := json.NewDecoder(bytes.NewReader(record))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil || d.More() {
		return Settings{}, invalid("llm", "this is not an openrouter_v1 record: a field is unknown or of the wrong type")
	}
	switch r.Contract {
	case "", ContractOpenRouter:
	case ContractAgnostic:
		return Settings{}, invalid("settingsContractVersion", "records of provider_agnostic_v1 are not accepted here; send default_model, "+
			"enabled_models, fallback, routing, aliases, privacy_mode, quality_floor, billing_preference and allow_platform_fallback, and add keys as connections")
	default:
		return Settings{}, invalid("settingsContractVersion", "settingsContractVersion is openrouter_v1")
	}
	if err := r.refuseKeys(); err != nil {
		return Settings{}, err
	}
	s, err := r.settings()
	if err != nil {
		return Settings{}, err
	}
	if s.Legacy, err = r.legacy(); err != nil {
		return Settings{}, err
	}
	var kept bytes.Buffer
	if err := json.Compact(&kept, record); err != nil {
		return Settings{}, invalid("llm", "the record is not valid JSON")
	}
	s.Legacy.Record = kept.Bytes()
	return s, nil
}

func (r *legacyRecord) refuseKeys() error {
	refuse := func(param string) error {
		return fault.New(fault.InvalidRequest, "org.ParseLegacy", "keys are not settings: add this one with POST /api/orgs/{org}/connections, with the profileId as its label ("+
			LegacyKeyProfile+" for the single key), then send the record without it").WithParam(param)
	}
	if bool(r.LLM.OpenRouterAPIKey) {
		return refuse("llm.openrouterApiKey")
	}
	for name, list := range map[string][]legacyAuth{"authProfiles": r.LLM.AuthProfiles, "providerAuthProfiles": r.LLM.ProviderProfiles} {
		for i, p := range list {
			if bool(p.OpenRouterAPIKey) {
				return refuse(fmt.Sprintf("llm.%s[%d].openrouterApiKey", name, i))
			}
			if bool(p.APIKey) {
				return refuse(fmt.Sprintf("llm.%s[%d].apiKey", name, i))
			}
		}
	}
	return nil
}

// settings is what the record says that settings of today can say.
func (r *legacyRecord) settings() (Settings, error) {
	s := DefaultSettings()
	s.PrivacyMode, s.QualityFloor = r.LLM.PrivacyMode, r.LLM.QualityTierFloor
	for _, m := range r.LLM.EnabledModels {
		id := legacyModelID(m.ModelID)
		if m.IsDefault && s.DefaultModel == "" {
			s.DefaultModel = id
		}
		if !slices.Contains(s.EnabledModels, id) {
			s.EnabledModels = append(s.EnabledModels, id)
		}
	}
	if id := cmp.Or(r.LLM.DefaultModelID, s.DefaultModel, r.LLM.Model); id != "" && id != s.DefaultModel {
		s.DefaultModel = legacyModelID(id)
	}
	switch cmp.Or(r.BillingMode, r.BillingSource) {
	case "":
	case string(taxonomy.Platform):
		s.BillingPreference = PlatformOnly
	case string(taxonomy.BYOK), string(taxonomy.Private):
		// The platform's key was the last candidate of such organisations; here it
		// never serves one that asked for its own.
		s.BillingPreference = BYOKRequired
	default:
		return s, invalid("billingMode", "billingMode is platform or byok")
	}
	n, err := s.Normalise()
	if f := fault.As(err); f != nil {
		for ours, theirs := range map[string]string{"default_model": "llm.defaultModelId", "enabled_models": "llm.enabledModels",
			"privacy_mode": "llm.privacyMode", "quality_floor": "llm.qualityTierFloor"} {
			if f.Param == ours {
				return n, f.WithParam(theirs)
			}
		}
	}
	return n, err
}

// legacyModelID writes a model of such a record as one of ours. Their ids are
// OpenRouter's own: vendor/model, served over OpenRouter whatever the vendor.
func legacyModelID(id string) string {
	own := string(taxonomy.OpenRouter) + "/"
	if rest, ok := strings.CutPrefix(id, own); ok && strings.Contains(rest, "/") {
		return id
	}
	return own + id
}

// legacy is what is left.
func (r *legacyRecord) legacy() (*Legacy, error) {
	l := &Legacy{Temperature: r.LLM.Temperature}
	if t := l.Temperature; t != nil && (*t < 0 || *t > 2) {
		return nil, invalid("llm.temperature", "llm.temperature is 0 to 2")
	}
	if n := r.LLM.MaxTokens; n != nil {
		if *n < 0 || *n > 1_000_000 {
			return nil, invalid("llm.maxTokens", "llm.maxTokens is 0 to 1000000")
		}
		l.MaxTokens = *n
	}
	for name, list := range map[string][]legacyAuth{"authProfiles": r.LLM.AuthProfiles, "providerAuthProfiles": r.LLM.ProviderProfiles} {
		if len(list) > maxLegacyProfiles {
			return nil, invalid("llm."+name, "at most 100 profiles are allowed")
		}
	}
	for _, list := range [][]legacyAuth{r.LLM.ProviderProfiles, r.LLM.AuthProfiles} {
		for i, p := range list {
			if id, _ := taxonomy.ParseProvider(cmp.Or(p.ProviderID, string(taxonomy.OpenRouter))); id != taxonomy.OpenRouter {
				continue
			}
			if p.ProfileID == "" || len(p.ProfileID) > maxName {
				return nil, invalid("llm.authProfiles", "every profile needs a profileId of at most 120 characters")
			}
			out := LegacyProfile{ID: p.ProfileID, Enabled: p.Enabled, Priority: int64(i)}
			if p.Priority != nil {
				out.Priority = *p.Priority
			}
			var err error
			if out.CooldownUntil, err = legacyTime(p.CooldownUntil); err == nil {
				out.FailedAt, err = legacyTime(p.LastFailureAt)
			}
			if err != nil {
				return nil, err
			}
			l.Profiles = append(l.Profiles, out)
		}
	}
	return l, nil
}

// legacyTime reads milliseconds of Unix time, which may be written as a float.
func legacyTime(n json.Number) (time.Time, error) {
	if n == "" {
		return time.Time{}, nil
	}
	ms, err := strconv.ParseFloat(string(n), 64)
	if err != nil || ms < 0 || ms > 1<<52 {
		return time.Time{}, invalid("llm.authProfiles", "times are milliseconds of Unix time")
	}
	if ms == 0 {
		return time.Time{}, nil
	}
	return time.UnixMilli(int64(ms)).UTC(), nil
}
