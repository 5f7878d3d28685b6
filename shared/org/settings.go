package org

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// PrivacyMode says whether a request may leave for a public model.
type PrivacyMode string

// Privacy modes.
const (
	PrivacyOff         PrivacyMode = "off"
	PrivacyPreferLocal PrivacyMode = "prefer_local"
	PrivacyLocalOnly   PrivacyMode = "local_only"
)

// QualityFloor is the least conformance grade a pool model needs.
type QualityFloor string

// Quality floors.
const (
	QualityGold    QualityFloor = "gold"
	QualitySilver  QualityFloor = "silver"
	QualityBronze  QualityFloor = "bronze"
	QualityUnrated QualityFloor = "unrated"
)

// BillingPreference says whose keys an organisation wants used.
type BillingPreference string

// Billing preferences.
const (
	BYOKRequired  BillingPreference = "byok_required"
	BYOKPreferred BillingPreference = "byok_preferred"
	PlatformOnly  BillingPreference = "platform_only"
)

// Models is one cell of the routing matrix: models in the order to try. On the
// wire a single model may stand without a list.
type Models []string

// UnmarshalJSON accepts a string or a list of strings.
func (m *Models) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		var one string
		err := json.Unmarshal(b, &one)
		*m = Models{one}
		return err
	}
	return json.Unmarshal(b, (*[]string)(m))
}

// Routing maps intent and modality to models.
type Routing map[string]map[string]Models

// Settings are an organisation's AI settings. Every model is "provider/model".
type Settings struct {
	DefaultModel  string            `json:"default_model"`
	EnabledModels []string          `json:"enabled_models"` // empty = every model the platform enables
	Fallback      []string          `json:"fallback"`
	Routing       Routing           `json:"routing"`
	Aliases       map[string]string `json:"aliases"`
	PrivacyMode   PrivacyMode       `json:"privacy_mode"`
	QualityFloor  QualityFloor      `json:"quality_floor"`
	// BillingPreference defaults to byok_preferred.
	BillingPreference BillingPreference `json:"billing_preference"`
	// AllowPlatformFallback is only an upper bound: a connection must allow it
	// too.
	AllowPlatformFallback bool `json:"allow_platform_fallback"`
}

// DefaultSettings are the settings of an organisation that stored none.
func DefaultSettings() Settings {
	return Settings{
		EnabledModels: []string{}, Fallback: []string{}, Routing: Routing{}, Aliases: map[string]string{},
		PrivacyMode: PrivacyOff, QualityFloor: QualityUnrated, BillingPreference: BYOKPreferred,
	}
}

const (
	maxModels     = 200
	maxModelChars = 200
)

func intents() []string    { return []string{"general", "tooling", "billing", "support", "content"} }
func modalities() []string { return []string{"text", "vision", "audio_in"} }

// Normalise fills absent values with the defaults, maps provider aliases to
// canonical ids, and refuses what is not allowed with invalid_request naming the
// field.
func (s Settings) Normalise() (Settings, error) {
	d := DefaultSettings()
	s.PrivacyMode = orDefault(s.PrivacyMode, d.PrivacyMode)
	s.QualityFloor = orDefault(s.QualityFloor, d.QualityFloor)
	s.BillingPreference = orDefault(s.BillingPreference, d.BillingPreference)
	if err := s.checkWords(); err != nil {
		return Settings{}, err
	}
	if s.DefaultModel != "" {
		m, err := model("default_model", s.DefaultModel)
		if err != nil {
			return Settings{}, err
		}
		s.DefaultModel = m
	}
	var err error
	if s.EnabledModels, err = models("enabled_models", s.EnabledModels); err != nil {
		return Settings{}, err
	}
	if s.Fallback, err = models("fallback", s.Fallback); err != nil {
		return Settings{}, err
	}
	if s.Routing, err = s.Routing.normalise(); err != nil {
		return Settings{}, err
	}
	s.Aliases, err = aliases(s.Aliases)
	return s, err
}

func (s Settings) checkWords() error {
	switch s.PrivacyMode {
	case PrivacyOff, PrivacyPreferLocal, PrivacyLocalOnly:
	default:
		return invalid("privacy_mode", "privacy_mode is off, prefer_local or local_only")
	}
	switch s.QualityFloor {
	case QualityGold, QualitySilver, QualityBronze, QualityUnrated:
	default:
		return invalid("quality_floor", "quality_floor is gold, silver, bronze or unrated")
	}
	switch s.BillingPreference {
	case BYOKRequired, BYOKPreferred, PlatformOnly:
	default:
		return invalid("billing_preference", "billing_preference is byok_required, byok_preferred or platform_only")
	}
	return nil
}

func orDefault[T ~string](v, d T) T {
	if v == "" {
		return d
	}
	return v
}

func model(param, s string) (string, error) {
	p, name, ok := taxonomy.SplitModel(s)
	if !ok || len(s) > maxModelChars || !printable(s) {
		return "", invalid(param, "models are written provider/model with a known provider")
	}
	return string(p) + "/" + name, nil
}

func models(param string, in []string) ([]string, error) {
	if len(in) > maxModels {
		return nil, invalid(param, "at most 200 models are allowed here")
	}
	out := make([]string, 0, len(in))
	for _, s := range in {
		m, err := model(param, s)
		if err != nil {
			return nil, err
		}
		if slices.Contains(out, m) {
			return nil, invalid(param, "a model may be listed only once")
		}
		out = append(out, m)
	}
	return out, nil
}

func (r Routing) normalise() (Routing, error) {
	out := Routing{}
	for intent, row := range r {
		if !slices.Contains(intents(), intent) {
			return nil, invalid("routing", "intents are "+strings.Join(intents(), ", "))
		}
		out[intent] = map[string]Models{}
		for modality, cell := range row {
			if !slices.Contains(modalities(), modality) {
				return nil, invalid("routing", "modalities are "+strings.Join(modalities(), ", "))
			}
			ms, err := models("routing", cell)
			if err != nil {
				return nil, err
			}
			out[intent][modality] = ms
		}
	}
	return out, nil
}

func aliases(in map[string]string) (map[string]string, error) {
	if len(in) > maxModels {
		return nil, invalid("aliases", "at most 200 aliases are allowed")
	}
	out := make(map[string]string, len(in))
	for name, target := range in {
		if name == "" || len(name) > maxModelChars || !printable(name) || strings.Contains(name, "/") || name == "auto" {
			return nil, invalid("aliases", "an alias is a short name without a slash, and not auto")
		}
		m, err := model("aliases", target)
		if err != nil {
			return nil, err
		}
		out[name] = m
	}
	return out, nil
}

func printable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// RefuseLegacySettings fails with invalid_request when a record is written in an
// older shape (marked openrouter_v1, or with its fields): such records are not
// accepted by this version, and reading one as if it were current would drop
// what it says.
func RefuseLegacySettings(doc map[string]any) error {
	_, hasLLM := doc["llm"]
	_, hasMode := doc["billingMode"]
	_, marked := doc["settingsContractVersion"]
	if !hasLLM && !hasMode && !marked {
		return nil
	}
	return fault.New(fault.InvalidRequest, "org.Settings",
		"settings in the openrouter_v1 shape are not supported by this version; send default_model, enabled_models, "+
			"fallback, routing, aliases, privacy_mode, quality_floor, billing_preference and allow_platform_fallback").
		WithParam("settingsContractVersion")
}

// EncodeSettings writes the stored form.
func EncodeSettings(s Settings) ([]byte, error) { return json.Marshal(s) }

// DecodeSettings reads the stored form strictly: an unknown or extra field is an
// error, because guessing at a record could change where requests go.
func DecodeSettings(b []byte) (Settings, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var s Settings
	if err := d.Decode(&s); err != nil || d.More() {
		return Settings{}, fault.Wrap(fault.Internal, "org.DecodeSettings", "the stored settings cannot be read; ask the operator", err)
	}
	return s, nil
}

// CheckAgentID refuses an agent id that cannot be one; empty is allowed.
func CheckAgentID(id string) error {
	if id != "" && !table.ValidID(id) {
		return invalid("agent_id", "agent_id is not a valid id")
	}
	return nil
}
