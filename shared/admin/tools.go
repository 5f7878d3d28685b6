package admin

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/latchkey/latchkey/shared/agent/tool"
	"github.com/latchkey/latchkey/shared/secret"
)

func toolRoutes() []route {
	one := base + "/tools/{id}"
	return []route{
		create(base+"/tools", orgAdmin, "Declare an HTTP tool that agents may call", newTool{}, toolJSON{}, with(createTool)),
		lists(base+"/tools", orgRead, "The tools, without the values of their headers", toolJSON{}, listTools),
		get(one, orgRead, "A tool", toolJSON{}, getTool),
		change(http.MethodPatch, one, orgAdmin, "Change a tool; headers replaces all of them, {} removes them; a URL of another host needs them again", patchTool{}, toolJSON{}, with(updateTool)),
		remove(one, orgAdmin, "Delete a tool and revoke its headers", deleteTool),
	}
}

// toolJSON: the name is the id.
type toolJSON struct {
	ID          string         `json:"id"`
	Name        string         `json:"name"`
	Description string         `json:"description"`
	Parameters  map[string]any `json:"parameters"`
	Method      string         `json:"method"`
	URL         string         `json:"url"`
	// Headers are the names of the stored headers.
	Headers        []string `json:"headers"`
	TimeoutSeconds int64    `json:"timeout_seconds"`
	MaxBytes       int64    `json:"max_bytes"`
	Integrity      string   `json:"integrity"`
	// Approval is none or required; a call waits for ApprovalHours then.
	Approval      string    `json:"approval"`
	ApprovalHours int64     `json:"approval_hours,omitempty"`
	Action        string    `json:"action"`
	CreatedAt     time.Time `json:"created_at"`
	Version       int64     `json:"version"`
}

func toolOut(t tool.Tool) toolJSON {
	out := toolJSON{ID: t.Name, Name: t.Name, Description: t.Description, Parameters: map[string]any{}, Method: t.Method, URL: t.URL, Headers: orEmpty(t.Headers),
		TimeoutSeconds: int64(t.Timeout / time.Second), MaxBytes: t.MaxBytes, Integrity: string(t.Integrity), Approval: "none", Action: t.Action, CreatedAt: t.CreatedAt.UTC(), Version: t.Version}
	if t.Approval > 0 {
		out.Approval, out.ApprovalHours = "required", int64(t.Approval/time.Hour)
	}
	_ = json.Unmarshal(t.Parameters, &out.Parameters) // was checked when it was stored
	return out
}

type newTool struct {
	Name        string         `json:"name" api:"required"`
	Description string         `json:"description" api:"required"`
	Parameters  map[string]any `json:"parameters" api:"required"`
	URL         string         `json:"url" api:"required"`
	toolSettings
}

type patchTool struct {
	Description *string         `json:"description"`
	Parameters  *map[string]any `json:"parameters"`
	URL         *string         `json:"url"`
	toolSettings
}

// toolSettings is what a tool has defaults for. Action decides what a call costs
// and is the operator's.
type toolSettings struct {
	Method         *string                `json:"method"`
	Headers        *map[string]secretText `json:"headers"`
	TimeoutSeconds *int64                 `json:"timeout_seconds"`
	MaxBytes       *int64                 `json:"max_bytes"`
	Integrity      *string                `json:"integrity"`
	Approval       *string                `json:"approval"`
	ApprovalHours  *int64                 `json:"approval_hours"`
	Action         *string                `json:"action"`
}

func (b toolSettings) in(c *call, p tool.Patch, parameters *map[string]any) (tool.Patch, error) {
	if b.Action != nil && !c.who.operator() {
		return p, operatorField()
	}
	p.Method, p.MaxBytes, p.Integrity, p.Action = b.Method, b.MaxBytes, b.Integrity, b.Action
	if b.TimeoutSeconds != nil {
		// What is out of range stays so, whatever a duration can hold.
		timeout := time.Duration(min(max(*b.TimeoutSeconds, 0), 1_000)) * time.Second
		p.Timeout = &timeout
	}
	var err error
	if p.Approval, err = approvalIn(b.Approval, b.ApprovalHours); err != nil {
		return p, err
	}
	if b.Headers != nil {
		p.NoHeaders, p.Headers = len(*b.Headers) == 0, map[string]secret.Text{}
		for name, value := range *b.Headers {
			p.Headers[name] = value.Text
		}
	}
	if parameters == nil {
		return p, nil
	}
	schema, err := json.Marshal(*parameters)
	if err != nil {
		return p, malformed("parameters", "the parameters must be a JSON schema of an object")
	}
	p.Parameters = schema
	return p, nil
}

// approvalIn is how long calls wait for approval, nil for unchanged.
func approvalIn(approval *string, hours *int64) (*time.Duration, error) {
	var wait time.Duration
	switch {
	case approval == nil && hours == nil:
		return nil, nil
	case approval == nil || *approval == "none" && hours != nil:
		return nil, malformed("approval_hours", "approval_hours goes with approval: required")
	case *approval == "required" && hours == nil:
		wait = tool.DefaultApproval
	case *approval == "required":
		// What is out of range stays so, and 0 must not become none.
		wait = max(time.Duration(min(max(*hours, 0), 1_000))*time.Hour, 1)
	case *approval != "none":
		return nil, malformed("approval", "approval is none or required")
	}
	return &wait, nil
}

func createTool(c *call, b newTool) (any, error) {
	p, err := b.in(c, tool.Patch{Description: &b.Description, URL: &b.URL}, &b.Parameters)
	if err != nil {
		return nil, err
	}
	t, err := c.Tools.Create(c, c.op, c.org.ID, b.Name, p)
	return toolOut(t), err
}

func listTools(c *call) (any, error) {
	p, err := c.page()
	if err != nil {
		return nil, err
	}
	all, err := c.Tools.List(c, c.org.ID)
	if err != nil {
		return nil, err
	}
	items, next := slicePage(all, p, func(t tool.Tool) string { return t.Name })
	return answer(items, next, toolOut), nil
}

func getTool(c *call) (any, error) {
	t, err := c.Tools.Get(c, c.org.ID, c.params["id"])
	return toolOut(t), err
}

func updateTool(c *call, b patchTool) (any, error) {
	p, err := b.in(c, tool.Patch{Description: b.Description, URL: b.URL}, b.Parameters)
	if err != nil {
		return nil, err
	}
	t, err := c.Tools.Update(c, c.op, c.org.ID, c.params["id"], p)
	return toolOut(t), err
}

func deleteTool(c *call) (any, error) {
	return nil, c.Tools.Delete(c, c.op, c.org.ID, c.params["id"])
}
