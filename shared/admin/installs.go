package admin

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/webhook"
)

// secretValues is a secret of an install: one value, or a list with one.
type secretValues struct{ values []secret.Text }

// UnmarshalJSON implements [json.Unmarshaler]. The error does not show a value.
func (s *secretValues) UnmarshalJSON(b []byte) error {
	var texts []string
	if json.Unmarshal(b, &texts) != nil {
		var one string
		if json.Unmarshal(b, &one) != nil {
			return errNotText
		}
		texts = []string{one}
	}
	for _, text := range texts {
		s.values = append(s.values, secret.FromString(text))
	}
	return nil
}

func secretsIn(in map[string]secretValues) map[string][]secret.Text {
	if in == nil {
		return nil
	}
	out := make(map[string][]secret.Text, len(in))
	for name, s := range in {
		out[name] = s.values
	}
	return out
}

type newInstall struct {
	Provider  string                  `json:"provider" api:"required"`
	Mode      string                  `json:"mode"`
	App       string                  `json:"app"`
	Label     string                  `json:"label"`
	Secrets   map[string]secretValues `json:"secrets"`
	Config    webhook.Config          `json:"config"`
	PublicURL string                  `json:"public_url"`
	Policy    install.Policy          `json:"policy"`
}

// setupCodes is how many deliveries the checklist looks at.
const setupCodes = 100

func setupInstall(c *call) (any, error) {
	id := c.params["id"]
	if _, _, err := c.Installs.Get(c, c.org.ID, id); err != nil {
		return nil, err
	}
	deliveries, _, err := c.Sessions.Deliveries(c, id, "", setupCodes)
	if err != nil {
		return nil, err
	}
	codes := make([]string, 0, len(deliveries))
	for _, d := range deliveries {
		codes = append(codes, d.Code)
		if d.URLHint != "" {
			codes = append(codes, webhook.HintCodes+d.URLHint)
		}
	}
	return c.Installs.Setup(c, c.org.ID, id, codes)
}

func (c *call) install(i install.Install, err error) (any, error) {
	if err != nil {
		return nil, c.clash(err, c.params["id"])
	}
	return c.Installs.View(i, c.req.Now), nil
}

// clash records that something was not saved because another install or binding
// stands in its way; who holds it is not said. That the row cannot be written
// changes nothing about the refusal.
func (c *call) clash(err error, target string) error {
	for action, why := range map[string]error{"install.token_in_use": install.ErrTokenInUse, "install.tenant_in_use": install.ErrTenantInUse, "binding.ambiguous": install.ErrAmbiguous} {
		if errors.Is(err, why) {
			_ = c.Audit.PutAudit(c, c.op.Refusal(c.org.ID, action, target, string(fault.Conflict)))
		}
	}
	return err
}

func createInstall(c *call, b newInstall) (any, error) {
	tiers, _, err := c.Orgs.Config.Tiers(c)
	if err != nil {
		return nil, err
	}
	return c.install(c.Installs.Create(c, c.op, c.org, tiers, install.New{ID: c.NewID(c.req.Now), Provider: b.Provider, Mode: b.Mode,
		App: b.App, Vouched: c.who.operator(), Label: b.Label, Config: b.Config, PublicURL: b.PublicURL, Policy: b.Policy, Secrets: secretsIn(b.Secrets)}))
}

func listInstalls(c *call) (any, error) {
	p, err := c.page()
	if err != nil {
		return nil, err
	}
	items, next, err := c.Installs.List(c, c.org.ID, p.after, p.limit)
	if err != nil {
		return nil, err
	}
	return answer(items, next, func(i install.Install) install.View { return c.Installs.View(i, c.req.Now) }), nil
}

func getInstall(c *call) (any, error) {
	i, _, err := c.Installs.Get(c, c.org.ID, c.params["id"])
	return c.install(i, err)
}

type patchInstall struct {
	Label     *string                 `json:"label"`
	PublicURL *string                 `json:"public_url"`
	Policy    *install.Policy         `json:"policy"`
	Secrets   map[string]secretValues `json:"secrets"`
	Config    webhook.Config          `json:"config"`
}

func updateInstall(c *call, b patchInstall) (any, error) {
	return c.install(c.Installs.Update(c, c.op, c.org.ID, c.params["id"],
		install.Patch{Label: b.Label, PublicURL: b.PublicURL, Policy: b.Policy, Config: b.Config, Secrets: secretsIn(b.Secrets)}))
}

func activateInstall(c *call) (any, error) {
	return c.install(c.Installs.Activate(c, c.op, c.org.ID, c.params["id"]))
}

func suspendInstall(c *call) (any, error) {
	return c.install(c.Installs.Suspend(c, c.op, c.org.ID, c.params["id"]))
}

func resumeInstall(c *call) (any, error) {
	return c.install(c.Installs.Resume(c, c.op, c.org.ID, c.params["id"]))
}

func revokeInstall(c *call) (any, error) {
	return c.install(c.Installs.Revoke(c, c.op, c.org.ID, c.params["id"]))
}

// deleteInstall revokes: the record stays, because deliveries and sessions name
// it.
func deleteInstall(c *call) (any, error) {
	_, err := c.Installs.Revoke(c, c.op, c.org.ID, c.params["id"])
	return nil, err
}

type rotateSecret struct {
	Name     string     `json:"name" api:"required"`
	Value    secretText `json:"value" api:"required"`
	RetireAt *time.Time `json:"retire_at"`
}

func rotateInstall(c *call, b rotateSecret) (any, error) {
	var retireAt time.Time
	if b.RetireAt != nil {
		retireAt = *b.RetireAt
	}
	return c.install(c.Installs.Rotate(c, c.op, c.org.ID, c.params["id"], b.Name, b.Value.Text, retireAt))
}

type finishRotation struct {
	Name string `json:"name" api:"required"`
}

func finishInstallRotation(c *call, b finishRotation) (any, error) {
	return c.install(c.Installs.RotateFinish(c, c.op, c.org.ID, c.params["id"], b.Name))
}

type bindingJSON struct {
	ID        string           `json:"id"`
	InstallID string           `json:"install_id"`
	Selector  install.Selector `json:"selector"`
	AgentID   string           `json:"agent_id"`
	PersonaID string           `json:"persona_id,omitempty"`
	Weight    int              `json:"weight"`
	CreatedAt time.Time        `json:"created_at"`
}

func bindingOut(b install.Binding) bindingJSON {
	return bindingJSON{ID: b.ID, InstallID: b.Install, Selector: b.Selector, AgentID: b.AgentID, PersonaID: b.PersonaID,
		Weight: b.Selector.Weight(), CreatedAt: b.CreatedAt.UTC()}
}

func bindingAnswer(b install.Binding, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return bindingOut(b), nil
}

type newBinding struct {
	InstallID string           `json:"install_id" api:"required"`
	Selector  install.Selector `json:"selector"`
	AgentID   string           `json:"agent_id" api:"required"`
	PersonaID string           `json:"persona_id"`
}

func createBinding(c *call, b newBinding) (any, error) {
	if !table.ValidID(b.InstallID) || !table.ValidID(b.AgentID) {
		return nil, malformed("install_id", "install_id and agent_id must be ids of this organisation")
	}
	made, err := c.Installs.CreateBinding(c, c.op, c.org.ID,
		install.NewBinding{Install: b.InstallID, Selector: b.Selector, AgentID: b.AgentID, PersonaID: b.PersonaID})
	return bindingAnswer(made, c.clash(err, b.InstallID))
}

// listBindings lists the bindings of ?install=, or of all installs.
func listBindings(c *call) (any, error) {
	p, err := c.page()
	if err != nil {
		return nil, err
	}
	if id := c.req.Query.Get("install"); id != "" {
		if !table.ValidID(id) {
			return nil, noSuch("install")
		}
		bindings, err := c.Installs.ListBindings(c, c.org.ID, id)
		if err != nil {
			return nil, err
		}
		return answer(bindings, "", bindingOut), nil
	}
	// A page holds the bindings of whole installs: it may be longer than limit.
	var out []install.Binding
	next := p.after
	for {
		page, more, err := c.Installs.List(c, c.org.ID, next, defaultLimit)
		if err != nil {
			return nil, err
		}
		for _, i := range page {
			bindings, err := c.Installs.ListBindings(c, c.org.ID, i.ID)
			if err != nil {
				return nil, err
			}
			if out = append(out, bindings...); len(out) >= p.limit {
				return answer(out, i.ID, bindingOut), nil
			}
		}
		if next = more; next == "" {
			return answer(out, "", bindingOut), nil
		}
	}
}

func getBinding(c *call) (any, error) {
	return bindingAnswer(c.Installs.Binding(c, c.org.ID, c.params["id"]))
}

type patchBinding struct {
	AgentID   *string `json:"agent_id"`
	PersonaID *string `json:"persona_id"`
}

func updateBinding(c *call, b patchBinding) (any, error) {
	old, err := c.Installs.Binding(c, c.org.ID, c.params["id"])
	if err != nil {
		return nil, err
	}
	if b.AgentID != nil {
		if !table.ValidID(*b.AgentID) {
			return nil, malformed("agent_id", "agent_id must be the id of an agent of this organisation")
		}
		old.AgentID = *b.AgentID
	}
	if b.PersonaID != nil {
		old.PersonaID = *b.PersonaID
	}
	return bindingAnswer(c.Installs.UpdateBinding(c, c.op, c.org.ID, old.ID, old.AgentID, old.PersonaID))
}

func deleteBinding(c *call) (any, error) {
	return nil, c.Installs.DeleteBinding(c, c.op, c.org.ID, c.params["id"])
}
