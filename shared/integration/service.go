package integration

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/integration/legacycipher"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/vault"
)

// Sealer makes a vault over a store. Writing with it never opens anything.
type Sealer func(vault.Store) (*vault.Vault, error)

// Service carries the rules for people: create, import, modes, purge, delete.
// It opens no value. It is safe for concurrent use.
type Service struct {
	Store Store
	Seal  Sealer
	Hash  Hasher
	// NewID makes unique ids of at most 40 characters.
	NewID func(time.Time) string
}

// Draft is a new integration.
type Draft struct {
	ID, Provider, Label string
	Values              Values
	ReusableRefresh     bool
}

func checkHead(id, provider, label string) error {
	switch {
	case !table.ValidID(id):
		return invalid("id", "an id has 1 to 64 letters, digits, _ or -")
	case !validWord(provider):
		return invalid("provider", "the provider is a word of a-z, 0-9, _ and -, at most 64 long")
	case len(label) > maxLabel || !printable(label):
		return invalid("label", "a label has at most 100 bytes and no control characters")
	}
	return nil
}

func printable(s string) bool {
	for _, r := range s {
		if r < 0x20 || r == 0x7f || r == '\ufffd' {
			return false
		}
	}
	return true
}

// head makes a head without copies.
func (s *Service) head(op audit.Op, orgID string, d Draft, names []string) Integration {
	at := op.At.UTC().Round(0).Truncate(time.Millisecond)
	return Integration{Org: orgID, ID: d.ID, Provider: d.Provider, Label: d.Label, Credential: s.NewID(op.At), Fields: names,
		ReusableRefresh: d.ReusableRefresh, Rev: 1, CreatedAt: at, UpdatedAt: at, Version: 1, WriteID: s.NewID(op.At)}
}

// Create stores a new integration in the vault. Errors: invalid_request,
// conflict if the id is taken, vault_unavailable.
func (s *Service) Create(ctx context.Context, op audit.Op, orgID string, d Draft) (Integration, error) {
	if err := errors.Join(checkHead(d.ID, d.Provider, d.Label), d.Values.Check()); err != nil {
		return Integration{}, err
	}
	if d.Values.empty() {
		return Integration{}, invalid("fields", "every value is empty; enter the secret")
	}
	i := s.head(op, orgID, d, d.Values.Names())
	i.Mode, i.New.Rev = NewOnly, 1
	var err error
	if i.Fingerprint, err = HashValues(ctx, s.Hash, i.Credential, d.Values); err != nil {
		return Integration{}, err
	}
	row := op.Row(orgID, "integration.create", i.ID, "provider", i.Provider, "label", i.Label, "fingerprint", i.Fingerprint)
	v, err := s.Seal(s.Store.Paired(Change{Next: &i, Row: &row}))
	if err != nil {
		return Integration{}, err
	}
	_, err = v.Create(ctx, vault.NewCredential{Ref: i.Ref(), Label: i.Label, Op: op,
		Fields: map[string]secret.Text{Payload: Frame(i.Credential, i.Rev, d.Values)}})
	return i, err
}

// Get returns one head. Errors: not_found, unavailable.
func (s *Service) Get(ctx context.Context, orgID, id string) (Integration, error) {
	i, err := s.Store.Integration(ctx, orgID, id)
	if err != nil {
		return Integration{}, StoreFault(err)
	}
	return i, nil
}

// List returns heads by id. Errors: unavailable.
func (s *Service) List(ctx context.Context, orgID, after string, limit int) ([]Integration, string, error) {
	heads, next, err := s.Store.Integrations(ctx, orgID, after, limit)
	if err != nil {
		return nil, "", StoreFault(err)
	}
	return heads, next, nil
}

// SetMode takes one step, forward or back; the mode it has already changes
// nothing. Errors: not_found, conflict, unavailable.
func (s *Service) SetMode(ctx context.Context, op audit.Op, orgID, id string, to Mode) (Integration, error) {
	i, err := s.Get(ctx, orgID, id)
	if err != nil || i.Mode == to {
		return i, err
	}
	if err := i.Step(to); err != nil {
		return Integration{}, err
	}
	return s.step(ctx, op, i, to)
}

func (s *Service) step(ctx context.Context, op audit.Op, i Integration, to Mode) (Integration, error) {
	next := i.Next(s.NewID(op.At), op.At)
	next.Mode = to
	row := op.Row(i.Org, "integration.mode", i.ID, "mode", string(to), "state", string(i.Mode))
	if err := Commit(ctx, s.Store, Change{Next: &next, Guard: Guard{Mode: i.Mode}, Row: &row}); err != nil {
		return Integration{}, StoreFault(err)
	}
	return next, nil
}

// Purge deletes the legacy copy for good. Errors: not_found, conflict,
// unavailable.
func (s *Service) Purge(ctx context.Context, op audit.Op, orgID, id string) (Integration, error) {
	i, err := s.Get(ctx, orgID, id)
	if err != nil {
		return Integration{}, err
	}
	if err := i.Purgeable(op.At); err != nil {
		return Integration{}, err
	}
	next := i.Next(s.NewID(op.At), op.At)
	next.Mode, next.PurgedAt, next.Legacy.Rev, next.Legacy.Hash = Purged, next.UpdatedAt, 0, ""
	row := op.Row(orgID, "integration.purge", id, "provider", i.Provider)
	guard := Guard{Mode: NewOnly, VerifiedBy: op.At.Add(-Verified)}
	if err := Commit(ctx, s.Store, Change{Next: &next, Guard: guard, DropLegacy: true, Row: &row}); err != nil {
		return Integration{}, StoreFault(err)
	}
	return next, nil
}

// Delete removes an integration with both copies. Errors: not_found, conflict,
// vault_unavailable, unavailable.
func (s *Service) Delete(ctx context.Context, op audit.Op, orgID, id string) error {
	i, err := s.Get(ctx, orgID, id)
	if err != nil {
		return err
	}
	if i.Quarantine.Reason == Unreadable {
		return conflict("the stored record cannot be read; an operator must look at it")
	}
	row := op.Row(orgID, "integration.delete", id, "provider", i.Provider)
	c := Change{Remove: &i, Row: &row}
	if i.New.Rev == 0 {
		if err := s.Store.WriteIntegration(ctx, c); err != nil {
			return StoreFault(err)
		}
		return nil
	}
	v, err := s.Seal(s.Store.Paired(c))
	if err != nil {
		return err
	}
	_, err = v.Revoke(ctx, i.Ref(), op.Part("credential"))
	return err
}

// Report is what [Service.Move] did or would do to one integration.
type Report struct {
	ID   string
	From Mode
	// To is the mode it has now or would have.
	To Mode
	// Blocked says why it goes no further, empty if it is where it should be.
	Blocked string
	Shape   Shape
}

// MoveRequest is the input of [Service.Move].
type MoveRequest struct {
	To    Mode
	Apply bool
	After string
	Limit int
	Op    audit.Op
}

// Move brings a page of integrations as near to a mode as the rules allow, step
// by step; without Apply it only says what would happen. Each step is a change
// with a row of its own. Errors: unavailable; what happened before stays.
func (s *Service) Move(ctx context.Context, orgID string, m MoveRequest) ([]Report, string, error) {
	heads, next, err := s.List(ctx, orgID, m.After, m.Limit)
	if err != nil {
		return nil, "", err
	}
	out, n := make([]Report, 0, len(heads)), 0
	for _, i := range heads {
		r := Report{ID: i.ID, From: i.Mode, To: i.Mode, Shape: i.Shape()}
		for i.Mode != m.To && r.Blocked == "" {
			to := i.Mode.Toward(m.To)
			if err := i.Step(to); err != nil {
				r.Blocked = fault.As(err).Message
				break
			}
			if n++; m.Apply {
				i, err = s.step(ctx, numbered(m.Op, n), i, to)
				switch {
				case fault.CodeOf(err) == fault.Conflict:
					r.Blocked = fault.As(err).Message
				case err != nil:
					return nil, "", err
				default:
					r.To = to
				}
				continue
			}
			i.Mode, r.To = to, to
		}
		out = append(out, r)
	}
	return out, next, nil
}

// numbered makes the ids of several rows of one operation unique.
func numbered(op audit.Op, n int) audit.Op {
	op.ID += "-" + strconv.Itoa(n)
	return op
}

// legacyKey is where the legacy cipher's key lies: a credential of its own in
// the platform's organisation.
var legacyKey = vault.Ref{Org: org.Platform, ID: "legacy-cipher-key", Provider: "legacy_cipher", Class: class}

// LegacyKeyRef names the credential of the legacy cipher's key; its field is
// [Payload].
func LegacyKeyRef() vault.Ref { return legacyKey }

// PutLegacyKey stores the legacy cipher's key in the vault, replacing another.
// Errors: invalid_request, conflict, vault_unavailable.
func (s *Service) PutLegacyKey(ctx context.Context, op audit.Op, key secret.Text) error {
	if err := key.Use(func(b []byte) error {
		raw, err := legacycipher.ParseKey(b)
		clear(raw)
		return err
	}); err != nil {
		return invalid("key", "the key is the Base64 of 32 bytes, as the old system had it in OAUTH_ENCRYPTION_KEY")
	}
	row := op.Row(org.Operator, "legacy_key.put", legacyKey.ID)
	v, err := s.Seal(s.Store.Paired(Change{Row: &row}))
	if err != nil {
		return err
	}
	fields := map[string]secret.Text{Payload: key}
	if _, err := v.Head(ctx, legacyKey.Org, legacyKey.Class, legacyKey.ID); fault.CodeOf(err) == fault.NotFound {
		_, err = v.Create(ctx, vault.NewCredential{Ref: legacyKey, Label: "legacy cipher key", Op: op, Fields: fields})
		return err
	} else if err != nil {
		return err
	}
	_, err = v.Rotate(ctx, vault.Rotation{Ref: legacyKey, Fields: fields, Op: op})
	if vault.ReasonOf(err) == vault.Duplicate {
		return nil // the same key again
	}
	return err
}
