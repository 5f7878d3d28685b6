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

// QualityFloor is a quality tier: that of a model, or the least that one needs.
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
	// Legacy is the openrouter_v1 record that these settings say in today's words,
	// nil if they were written in them.
	Legacy *Legacy `json:"-"`
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
		if _, ok := taxonomy.ParseIntent(intent); !ok {
			return nil, invalid("routing", "intents are "+words(taxonomy.Intents()))
		}
		out[intent] = map[string]Models{}
		for modality, cell := range row {
			if _, ok := taxonomy.ParseModality(modality); !ok {
				return nil, invalid("routing", "modalities are "+words(taxonomy.Modalities()))
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

func words[T ~string](in []T) string {
	out := make([]string, len(in))
	for i, w := range in {
		out[i] = string(w)
	}
	return strings.Join(out, ", ")
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

// EncodeSettings writes the stored form: of an older record the record itself.
func EncodeSettings(s Settings) ([]byte, error) {
	if s.Legacy != nil {
		return s.Legacy.Record, nil
	}
	return json.Marshal(s)
}

// DecodeSettings reads the stored form strictly: an unknown or extra field is an
// error, because guessing at a record could change where requests go.
func DecodeSettings(b []byte) (Settings, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var s Settings
	err := d.Decode(&s)
	if err == nil && !d.More() {
		return s, nil
	}
	if legacy, legacyErr := ParseLegacy(b); legacyErr == nil {
		return legacy, nil
	}
	return Settings{}, fault.Wrap(fault.Internal, "org.DecodeSettings", "the stored settings cannot be read; ask the operator", err)
}

// CheckAgentID refuses an agent id that cannot be one; empty is allowed.
func CheckAgentID(id string) error {
	if id != "" && !table.ValidID(id) {
		return invalid("agent_id", "agent_id is not a valid id")
	}
	return nil
}
