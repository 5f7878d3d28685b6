package admin

import (
	"encoding/base64"
	"maps"
	"slices"
	"time"

	"github.com/latchkey/latchkey/shared/integration"
	"github.com/latchkey/latchkey/shared/secret"
)

type integrationJSON struct {
	ID              string                       `json:"id"`
	Provider        string                       `json:"provider"`
	Label           string                       `json:"label"`
	Mode            integration.Mode             `json:"mode"`
	Shape           integration.Shape            `json:"shape"`
	Fields          []string                     `json:"fields"`
	Shapes          map[string]integration.Shape `json:"legacy_shapes"`
	Fingerprint     string                       `json:"fingerprint"`
	ReusableRefresh bool                         `json:"reusable_refresh"`
	New             integrationCopyJSON          `json:"new"`
	Legacy          integrationCopyJSON          `json:"legacy"`
	VerifiedAt      *time.Time                   `json:"verified_at,omitempty"`
	Quarantine      *quarantineJSON              `json:"quarantine,omitempty"`
	CreatedAt       time.Time                    `json:"created_at"`
	UpdatedAt       time.Time                    `json:"updated_at"`
	PurgedAt        *time.Time                   `json:"purged_at,omitempty"`
	Version         int64                        `json:"version"`
}

type integrationCopyJSON struct {
	Present bool `json:"present"`
	Current bool `json:"current"`
}

type quarantineJSON struct {
	Reason integration.Reason `json:"reason"`
	At     *time.Time         `json:"at,omitempty"`
}

func integrationOut(i integration.Integration) integrationJSON {
	out := integrationJSON{ID: i.ID, Provider: i.Provider, Label: i.Label, Mode: i.Mode, Shape: i.Shape(), Fields: i.Fields, Shapes: i.Legacy.Shapes,
		Fingerprint: i.Fingerprint, ReusableRefresh: i.ReusableRefresh,
		New:        integrationCopyJSON{i.New.Rev > 0, i.NewCurrent()},
		Legacy:     integrationCopyJSON{i.HasLegacy(), i.LegacyCurrent()},
		VerifiedAt: stamp(i.New.VerifiedAt), CreatedAt: i.CreatedAt.UTC(), UpdatedAt: i.UpdatedAt.UTC(), PurgedAt: stamp(i.PurgedAt), Version: i.Version}
	if out.Fingerprint == "" {
		out.Fingerprint = i.Legacy.Hash
	}
	if out.Fields == nil {
		out.Fields = []string{}
	}
	if out.Shapes == nil {
		out.Shapes = map[string]integration.Shape{}
	}
	if i.Quarantine.Reason != "" {
		out.Quarantine = &quarantineJSON{i.Quarantine.Reason, stamp(i.Quarantine.At)}
	}
	return out
}

func (c *call) integration(i integration.Integration, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return integrationOut(i), nil
}

// secretBytes is a secret that need not be text: Base64 in a JSON string.
type secretBytes struct{ secret.Text }

// UnmarshalJSON implements [json.Unmarshaler]. The error does not show the value.
func (s *secretBytes) UnmarshalJSON(b []byte) error {
	var text secretText
	if err := text.UnmarshalJSON(b); err != nil {
		return err
	}
	return text.Use(func(encoded []byte) error {
		raw := make([]byte, base64.StdEncoding.DecodedLen(len(encoded)))
		defer clear(raw)
		n, err := base64.StdEncoding.Strict().Decode(raw, encoded)
		if err != nil {
			return errNotText
		}
		s.Text = secret.New(raw[:n])
		return nil
	})
}

type newIntegration struct {
	Provider        string                `json:"provider" api:"required"`
	Label           string                `json:"label"`
	Payload         *secretText           `json:"payload"`
	PayloadBase64   *secretBytes          `json:"payload_base64"`
	Fields          map[string]secretText `json:"fields"`
	ReusableRefresh bool                  `json:"reusable_refresh"`
}

func createIntegration(c *call, b newIntegration) (any, error) {
	values := integration.Values{}
	for name, text := range b.Fields {
		values[name] = text.Text
	}
	given := 0
	if b.Payload != nil {
		given++
		values[integration.Payload] = b.Payload.Text
	}
	if b.PayloadBase64 != nil {
		given++
		values[integration.Payload] = b.PayloadBase64.Text
	}
	if len(b.Fields) > 0 {
		given++
	}
	if given != 1 {
		return nil, malformed("payload", "give one of payload, payload_base64 and fields")
	}
	return c.integration(c.Integrations.Create(c, c.op, c.org.ID, integration.Draft{ID: c.NewID(c.req.Now), Provider: b.Provider, Label: b.Label,
		Values: values, ReusableRefresh: b.ReusableRefresh}))
}

func listIntegrations(c *call) (any, error) {
	p, err := c.page()
	if err != nil {
		return nil, err
	}
	items, next, err := c.Integrations.List(c, c.org.ID, p.after, p.limit)
	if err != nil {
		return nil, err
	}
	return answer(items, next, integrationOut), nil
}

func getIntegration(c *call) (any, error) {
	return c.integration(c.Integrations.Get(c, c.org.ID, c.params["id"]))
}

func deleteIntegration(c *call) (any, error) {
	return nil, c.Integrations.Delete(c, c.op, c.org.ID, c.params["id"])
}

type integrationMode struct {
	Mode string `json:"mode" api:"required"`
}

func setIntegrationMode(c *call, b integrationMode) (any, error) {
	to, err := integration.ParseMode(b.Mode)
	if err != nil {
		return nil, err
	}
	return c.integration(c.Integrations.SetMode(c, c.op, c.org.ID, c.params["id"], to))
}

func purgeIntegration(c *call) (any, error) {
	return c.integration(c.Integrations.Purge(c, c.op, c.org.ID, c.params["id"]))
}

type importIntegrations struct {
	Rows []integrationRow `json:"rows" api:"required"`
}

// integrationRow is one row of the old store: value or value_base64 with its
// shape, or fields that each have their own.
type integrationRow struct {
	ID              string                   `json:"id" api:"required"`
	Provider        string                   `json:"provider" api:"required"`
	Label           string                   `json:"label"`
	Shape           string                   `json:"shape"`
	Value           *secretText              `json:"value"`
	ValueBase64     *secretBytes             `json:"value_base64"`
	Fields          map[string]integrationIn `json:"fields"`
	ReusableRefresh bool                     `json:"reusable_refresh"`
}

type integrationIn struct {
	Shape       string       `json:"shape"`
	Value       *secretText  `json:"value"`
	ValueBase64 *secretBytes `json:"value_base64"`
}

func (f integrationIn) in(name string) (integration.LegacyField, error) {
	out := integration.LegacyField{Name: name, Shape: integration.Shape(f.Shape)}
	switch {
	case (f.Value == nil) == (f.ValueBase64 == nil):
		return out, malformed("rows.value", "give one of value and value_base64")
	case f.Value != nil:
		out.Stored = f.Value.Text
	default:
		out.Stored = f.ValueBase64.Text
	}
	return out, nil
}

func (r integrationRow) in() (integration.Row, error) {
	fields := r.Fields
	if whole := (integrationIn{r.Shape, r.Value, r.ValueBase64}); fields == nil {
		fields = map[string]integrationIn{integration.Payload: whole}
	} else if whole != (integrationIn{}) {
		return integration.Row{}, malformed("rows.fields", "a row has either fields or one shape and value")
	}
	out := integration.Row{ID: r.ID, Provider: r.Provider, Label: r.Label, ReusableRefresh: r.ReusableRefresh}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		f, err := fields[name].in(name)
		if err != nil {
			return out, err
		}
		out.Fields = append(out.Fields, f)
	}
	return out, nil
}

type importedJSON struct {
	Items []importedRow `json:"rows"`
}

type importedRow struct {
	ID      string              `json:"id"`
	Outcome integration.Outcome `json:"outcome"`
	Reason  string              `json:"reason,omitempty"`
}

func importIntegration(c *call, b importIntegrations) (any, error) {
	rows := make([]integration.Row, len(b.Rows))
	for n, r := range b.Rows {
		var err error
		if rows[n], err = r.in(); err != nil {
			return nil, err
		}
	}
	done, err := c.Integrations.Import(c, c.op, c.org.ID, rows)
	if err != nil {
		return nil, err
	}
	out := importedJSON{Items: make([]importedRow, len(done))}
	for n, d := range done {
		out.Items[n] = importedRow(d)
	}
	return out, nil
}

// migrateBody asks for a dry run or for the change, never for neither.
type migrateBody struct {
	To     string `json:"to"`
	DryRun bool   `json:"dry_run"`
	Apply  bool   `json:"apply"`
	Cursor string `json:"cursor"`
}

type migratedJSON struct {
	Applied bool           `json:"applied"`
	Moves   []integrationM `json:"moves"`
	Next    *string        `json:"next"`
}

type integrationM struct {
	ID      string            `json:"id"`
	Shape   integration.Shape `json:"shape"`
	From    integration.Mode  `json:"from"`
	To      integration.Mode  `json:"to"`
	Blocked string            `json:"blocked,omitempty"`
}

// movedAtOnce bounds the integrations of one call: each may take three writes.
const movedAtOnce = 50

func migrateIntegrations(c *call, b migrateBody) (any, error) {
	if b.DryRun == b.Apply {
		return nil, malformed("apply", "say dry_run or apply")
	}
	if b.To == "" {
		b.To = string(integration.DualWrite)
	}
	to, err := integration.ParseMode(b.To)
	if err != nil {
		err := malformed("to", "to is legacy_only, dual_write, dual_read or new_only")
		return nil, err
	}
	if b.Cursor != "" && !cursorText(b.Cursor) {
		return nil, malformed("cursor", "this cursor is not one of ours; start without it")
	}
	moves, next, err := c.Integrations.Move(c, c.org.ID, integration.MoveRequest{To: to, Apply: b.Apply, After: b.Cursor, Limit: movedAtOnce, Op: c.op})
	if err != nil {
		return nil, err
	}
	out := migratedJSON{Applied: b.Apply, Moves: make([]integrationM, len(moves))}
	for n, m := range moves {
		out.Moves[n] = integrationM{ID: m.ID, Shape: m.Shape, From: m.From, To: m.To, Blocked: m.Blocked}
	}
	if next != "" {
		out.Next = &next
	}
	return out, nil
}

type legacyKeyBody struct {
	Key secretText `json:"key" api:"required"`
}

func putLegacyKey(c *call, b legacyKeyBody) (any, error) {
	return nil, c.Integrations.PutLegacyKey(c, c.op, b.Key.Text)
}

func integrationRoutes() []route {
	all, one := base+"/integrations", base+"/integrations/{id}"
	return []route{
		create(all, orgAdmin, "Store a credential for something other than AI", newIntegration{}, integrationJSON{}, with(createIntegration)),
		lists(all, orgRead, "The integrations, without their credentials", integrationJSON{}, listIntegrations),
		act(all+"/import", orgAdmin, "Take rows as they stood in an old store, unchanged", importIntegrations{}, importedJSON{}, with(importIntegration)),
		act(all+"/migrate", orgAdmin, "Bring integrations as near to a mode as the rules allow, or say what would happen", migrateBody{}, migratedJSON{}, with(migrateIntegrations)),
		get(one, orgRead, "An integration, without its credential", integrationJSON{}, getIntegration),
		remove(one, orgAdmin, "Delete an integration with every copy of its credential", deleteIntegration),
		act(one+"/mode", orgAdmin, "Take one step of the storage mode, forward or back", integrationMode{}, integrationJSON{}, with(setIntegrationMode)),
		act(one+"/purge", orgAdmin, "Delete the legacy copy for good, seven days after the new one was verified", nil, integrationJSON{}, bare(purgeIntegration)),
		{method: "PUT", path: "/api/operator/legacy-key", access: operatorAdmin, status: 204,
			summary: "Store the key of the legacy cipher", body: legacyKeyBody{}, handle: with(putLegacyKey)},
	}
}
