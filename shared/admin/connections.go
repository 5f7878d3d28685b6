package admin

import (
	"slices"
	"time"

	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

type connectionJSON struct {
	ID                    string                 `json:"id"`
	Provider              taxonomy.Provider      `json:"provider"`
	Label                 string                 `json:"label"`
	BaseURL               string                 `json:"base_url,omitempty"`
	Models                []string               `json:"models"`
	Priority              int64                  `json:"priority"`
	Enabled               bool                   `json:"enabled"`
	BillingSource         taxonomy.BillingSource `json:"billing_source"`
	AllowPlatformFallback bool                   `json:"allow_platform_fallback"`
	DefaultVoiceID        string                 `json:"default_voice_id,omitempty"`
	Capabilities          capabilitiesJSON       `json:"capabilities"`
	Health                healthJSON             `json:"health"`
	Failures              int64                  `json:"failures"`
	CooldownUntil         *time.Time             `json:"cooldown_until,omitempty"`
	Usable                bool                   `json:"usable"`
	UnusableReason        connection.Reason      `json:"unusable_reason,omitempty"`
	Status                connection.Status      `json:"status"`
	HasKey                bool                   `json:"has_key"`
	Hint                  string                 `json:"hint"`
	Fingerprint           string                 `json:"fingerprint"`
	CreatedAt             time.Time              `json:"created_at"`
	Version               int64                  `json:"version"`
}

type capabilitiesJSON struct {
	Text     bool `json:"text"`
	Vision   bool `json:"vision"`
	AudioIn  bool `json:"audio_in"`
	AudioOut bool `json:"audio_out"`
	Tools    bool `json:"tools"`
	JSON     bool `json:"json"`
}

type healthJSON struct {
	Status     connection.HealthStatus `json:"status"`
	Reason     string                  `json:"reason,omitempty"`
	CheckedAt  *time.Time              `json:"checked_at,omitempty"`
	LatencyMS  int64                   `json:"latency_ms,omitempty"`
	ModelCount int64                   `json:"model_count,omitempty"`
	VoiceCount int64                   `json:"voice_count,omitempty"`
}

func connectionOut(x connection.Connection, now time.Time) connectionJSON {
	reason := connection.Usable(x, now)
	out := connectionJSON{
		ID: x.ID, Provider: x.Provider, Label: x.Label, BaseURL: x.BaseURL, Models: x.Models, Priority: x.Priority, Enabled: x.Enabled,
		BillingSource: x.BillingSource, AllowPlatformFallback: x.AllowPlatformFallback, DefaultVoiceID: x.DefaultVoiceID,
		Capabilities: capabilitiesOut(x.Capabilities),
		Health: healthJSON{Status: x.Health.Status, Reason: x.Health.Reason, CheckedAt: stamp(x.Health.CheckedAt),
			LatencyMS: x.Health.LatencyMS, ModelCount: x.Health.ModelCount, VoiceCount: x.Health.VoiceCount},
		Failures: x.Cooldown.Failures, Usable: reason == connection.IsUsable, UnusableReason: reason, Status: x.Status,
		HasKey: !x.Keyless && x.Status == connection.Active, Hint: x.Hint, Fingerprint: x.Fingerprint, CreatedAt: x.CreatedAt, Version: x.Version,
	}
	if now.Before(x.Cooldown.Until) {
		out.CooldownUntil = stamp(x.Cooldown.Until)
	}
	if out.Models == nil {
		out.Models = []string{}
	}
	return out
}

func capabilitiesOut(list []taxonomy.Capability) capabilitiesJSON {
	has := func(c taxonomy.Capability) bool { return slices.Contains(list, c) }
	return capabilitiesJSON{Text: has(taxonomy.CapText), Vision: has(taxonomy.CapVision), AudioIn: has(taxonomy.CapAudioIn),
		AudioOut: has(taxonomy.CapAudioOut), Tools: has(taxonomy.CapTools), JSON: has(taxonomy.CapJSON)}
}

type newConnection struct {
	Provider string `json:"provider" api:"required"`
	patchConnection
}

type patchConnection struct {
	Label                 *string    `json:"label"`
	APIKey                secretText `json:"api_key"`
	BaseURL               *string    `json:"base_url"`
	Priority              *int64     `json:"priority"`
	Enabled               *bool      `json:"enabled"`
	Models                *[]string  `json:"models"`
	BillingSource         *string    `json:"billing_source"`
	AllowPlatformFallback *bool      `json:"allow_platform_fallback"`
	DefaultVoiceID        *string    `json:"default_voice_id"`
}

func (b patchConnection) in() connection.Patch {
	return connection.Patch{Label: b.Label, BaseURL: b.BaseURL, Key: b.APIKey.Text, Priority: b.Priority, Enabled: b.Enabled, Models: b.Models,
		BillingSource: b.BillingSource, AllowPlatformFallback: b.AllowPlatformFallback, DefaultVoiceID: b.DefaultVoiceID}
}

func (c *call) connection(x connection.Connection, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return connectionOut(c.shown(x), c.req.Now), nil
}

func createConnection(c *call, b newConnection) (any, error) {
	tiers, _, err := c.Orgs.Config.Tiers(c)
	if err != nil {
		return nil, err
	}
	return c.connection(c.Connections.Create(c, c.op, c.org, tiers,
		connection.Draft{ID: c.NewID(c.req.Now), Provider: b.Provider, Patch: b.in()}))
}

func listConnections(c *call) (any, error) {
	p, err := c.page()
	if err != nil {
		return nil, err
	}
	all, err := c.Connections.Store.Connections(c, c.org.ID)
	if err != nil {
		return nil, err
	}
	items, next := slicePage(all, p, func(x connection.Connection) string { return x.ID })
	return answer(items, next, func(x connection.Connection) connectionJSON { return connectionOut(c.shown(x), c.req.Now) }), nil
}

func getConnection(c *call) (any, error) {
	return c.connection(c.Connections.Store.Connection(c, c.org.ID, c.params["id"]))
}

func updateConnection(c *call, b patchConnection) (any, error) {
	return c.connection(c.Connections.Update(c, c.op, c.org.ID, c.params["id"], b.in()))
}

type rotateConnection struct {
	APIKey secretText `json:"api_key" api:"required"`
}

func rotateKey(c *call, b rotateConnection) (any, error) {
	return c.connection(c.Connections.Rotate(c, c.op, c.org.ID, c.params["id"], b.APIKey.Text))
}

func revokeConnection(c *call) (any, error) {
	return c.connection(c.Connections.Revoke(c, c.op, c.org.ID, c.params["id"]))
}

func deleteConnection(c *call) (any, error) {
	return nil, c.Connections.Delete(c, c.op, c.org.ID, c.params["id"])
}
