package admin

import (
	"github.com/latchkey/latchkey/shared/install"
)

// oldBinding is a binding as the older product had it. Those that name only provider
// and channel are taken over; the fields of newer ones are known so that they can be
// refused by name.
type oldBinding struct {
	ID                    string     `json:"id" api:"required"`
	Provider              string     `json:"provider" api:"required"`
	Channel               string     `json:"channel"`
	AgentID               string     `json:"agentId" api:"required"`
	PersonaID             string     `json:"personaId"`
	ConnectionID          string     `json:"connectionId"`
	AccountID             string     `json:"accountId"`
	InstallationID        string     `json:"installationId"`
	ProfileID             string     `json:"profileId"`
	ProfileType           string     `json:"profileType"`
	RouteKey              secretText `json:"routeKey"` // it is only looked whether there is one
	AllowPlatformFallback bool       `json:"allowPlatformFallback"`
}

func (b oldBinding) in() install.Old {
	return install.Old{ID: b.ID, Provider: b.Provider, Channel: b.Channel, AgentID: b.AgentID, PersonaID: b.PersonaID, Fallback: b.AllowPlatformFallback,
		Newer: b.ConnectionID+b.AccountID+b.InstallationID+b.ProfileID+b.ProfileType != "" || !b.RouteKey.IsZero()}
}

// backfillBody asks for a dry run or for the change, never for neither.
type backfillBody struct {
	Rows   []oldBinding `json:"rows" api:"required"`
	DryRun bool         `json:"dry_run"`
	Apply  bool         `json:"apply"`
}

// backfilledJSON: OK says that no row was refused.
type backfilledJSON struct {
	OK      bool            `json:"ok"`
	Applied bool            `json:"applied"`
	Rows    []backfilledRow `json:"rows"`
}

type backfilledRow struct {
	ID         string          `json:"id"`
	Outcome    install.Outcome `json:"outcome"`
	InstallID  string          `json:"install_id,omitempty"`
	NewInstall bool            `json:"new_install"`
	BindingID  string          `json:"binding_id,omitempty"`
	Reason     string          `json:"reason,omitempty"`
}

func backfillInstalls(c *call, b backfillBody) (any, error) {
	if b.DryRun == b.Apply {
		return nil, malformed("apply", "say dry_run or apply")
	}
	tiers, _, err := c.Orgs.Config.Tiers(c)
	if err != nil {
		return nil, err
	}
	rows := make([]install.Old, len(b.Rows))
	for k, r := range b.Rows {
		rows[k] = r.in()
	}
	done, err := c.Installs.Backfill(c, c.op, c.org, tiers, rows, b.Apply)
	if err != nil {
		return nil, err
	}
	out := backfilledJSON{OK: true, Applied: b.Apply, Rows: make([]backfilledRow, len(done))}
	for k, d := range done {
		out.OK = out.OK && d.Outcome != install.Refused
		out.Rows[k] = backfilledRow{ID: d.ID, Outcome: d.Outcome, InstallID: d.Install, NewInstall: d.NewInstall, BindingID: d.Binding, Reason: d.Reason}
	}
	return out, nil
}
