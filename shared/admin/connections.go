package admin

import (
	"slices"
	"time"

	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/rollout"
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
	Health                connectionHealthJSON   `json:"health"`
	Failures              int64                  `json:"failures"`
	CooldownUntil         *time.Time             `json:"cooldown_until,omitempty"`
	Usable                bool                   `json:"usable"`
	UnusableReason        connection.Reason      `json:"unusable_reason,omitempty"`
	Status                connection.Status      `json:"status"`
	HasKey                bool                   `json:"has_key"`
	Hint                  string                 `json:"hint"`
	Fingerprint           string                 `json:"fingerprint"`
	PreviousKeyUntil      *time.Time             `json:"previous_key_until,omitempty"`
	CreatedAt             time.Time              `json:"created_at"`
	Version               int64                  `json:"version"`
	// Warnings stand in the answer to whoever just saved a key.
	Warnings []string `json:"warnings,omitempty"`
}

type capabilitiesJSON struct {
	Text     bool `json:"text"`
	Vision   bool `json:"vision"`
	AudioIn  bool `json:"audio_in"`
	AudioOut bool `json:"audio_out"`
	Tools    bool `json:"tools"`
	JSON     bool `json:"json"`
}

type connectionHealthJSON struct {
	Status     connection.HealthStatus `json:"status"`
	Reason     string                  `json:"reason"`
	Probe      connection.Probe        `json:"probe,omitempty"`
	HTTPStatus int                     `json:"http_status,omitempty"`
	CheckedAt  *time.Time              `json:"checked_at"`
	Since      *time.Time              `json:"since,omitempty"`
	LatencyMS  int64                   `json:"latency_ms"`
	ModelCount int64                   `json:"model_count,omitempty"`
	VoiceCount int64                   `json:"voice_count,omitempty"`
}

func healthOut(h connection.Health) connectionHealthJSON {
	return connectionHealthJSON{Status: h.Status, Reason: h.Reason, Probe: h.Probe, HTTPStatus: h.HTTPStatus, CheckedAt: stamp(h.CheckedAt), Since: stamp(h.Since),
		LatencyMS: h.LatencyMS, ModelCount: h.ModelCount, VoiceCount: h.VoiceCount}
}

func connectionOut(x connection.Connection, now time.Time) connectionJSON {
	reason := connection.Usable(x, now)
	out := connectionJSON{
		ID: x.ID, Provider: x.Provider, Label: x.Label, BaseURL: x.BaseURL, Models: x.Models, Priority: x.Priority, Enabled: x.Enabled,
		BillingSource: x.BillingSource, AllowPlatformFallback: x.AllowPlatformFallback, DefaultVoiceID: x.DefaultVoiceID,
		Capabilities: capabilitiesOut(x.Capabilities),
		Health:       healthOut(x.Health),
		Failures:     x.Cooldown.Failures, Usable: reason == connection.IsUsable, UnusableReason: reason, Status: x.Status,
		HasKey: !x.Keyless && x.Status == connection.Active, Hint: x.Hint, Fingerprint: x.Fingerprint, CreatedAt: x.CreatedAt, Version: x.Version,
	}
	if now.Before(x.PreviousUntil) {
		out.PreviousKeyUntil = stamp(x.PreviousUntil)
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

// saved is the answer to whoever sent a key.
func (c *call) saved(key secretText, x connection.Connection, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	out := connectionOut(c.shown(x), c.req.Now)
	if !key.IsZero() {
		out.Warnings = c.Connections.Warnings(x, key.Text)
	}
	return out, nil
}

func createConnection(c *call, b newConnection) (any, error) {
	if err := c.Rollout.Admit(c, rollout.AIConnections, c.org.ID); err != nil {
		return nil, err
	}
	tiers, _, err := c.Orgs.Config.Tiers(c)
	if err != nil {
		return nil, err
	}
	x, err := c.Connections.Create(c, c.op, c.org, tiers, connection.Draft{ID: c.NewID(c.req.Now), Provider: b.Provider, Patch: b.in()})
	return c.saved(b.APIKey, x, err)
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
	x, err := c.Connections.Update(c, c.op, c.org.ID, c.params["id"], b.in())
	return c.saved(b.APIKey, x, err)
}

type rotateConnection struct {
	APIKey secretText `json:"api_key" api:"required"`
	// OverlapSeconds is how long the old key is kept, 3600 when absent.
	OverlapSeconds *int64 `json:"overlap_seconds"`
}

func rotateKey(c *call, b rotateConnection) (any, error) {
	overlap := connection.DefaultOverlap
	if s := b.OverlapSeconds; s != nil {
		// A number that does not fit a duration is out of bounds all the same.
		overlap = time.Duration(min(max(*s, -1), int64(connection.MaxOverlap/time.Second)+1)) * time.Second
	}
	x, err := c.Connections.Rotate(c, c.op, c.org.ID, c.params["id"], b.APIKey.Text, overlap)
	return c.saved(b.APIKey, x, err)
}

func rollbackKey(c *call) (any, error) {
	return c.connection(c.Connections.Rollback(c, c.op, c.org.ID, c.params["id"]))
}

type testConnection struct {
	Probe connection.Probe `json:"probe" api:"required"`
	// Model is what test_text and test_voice ask; absent = the connection's first
	// model, or the first of the vendor's list that fits.
	Model string `json:"model"`
}

func runProbe(c *call, b testConnection) (any, error) {
	seen, err := c.Connections.Test(c, c.org.ID, c.params["id"], b.Probe, b.Model, c.req.Now)
	if err != nil {
		return nil, err
	}
	return healthOut(seen.Health()), nil
}

func revokeConnection(c *call) (any, error) {
	return c.connection(c.Connections.Revoke(c, c.op, c.org.ID, c.params["id"]))
}

func deleteConnection(c *call) (any, error) {
	return nil, c.Connections.Delete(c, c.op, c.org.ID, c.params["id"])
}
