// Package payment keeps the platform's access to its payment vendor in the vault:
// one credential of class payment, with the key of the vendor's API and the
// secret that signs the vendor's messages.
//
// [Keeper] is the operator's side: it stores and replaces values and never opens
// one, so the console can have it. [Opener] is the selling function's: it opens
// the API key for one call and the signing secrets for one message, each time
// anew, so that what was replaced or ended counts with the next request. Nothing
// is kept between requests but the vault's data key.
//
// Fails closed: without a stored value there is no key and no secret, and the
// caller answers 503. A replaced signing secret verifies until its overlap ends;
// a replaced API key is used no more at once.
package payment

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
)

// RefOf reads a vault reference "<organisation>/<credential>" as one of the
// vendor's.
func RefOf(reference, vendor string) vault.Ref {
	org, id, _ := strings.Cut(reference, "/")
	return vault.Ref{Org: org, ID: id, Provider: vendor, Class: taxonomy.Payment}
}

// Reference is the vault reference of the operator's credential of a vendor: the
// only one that the selling function's role may read.
func Reference(vendor string) string { return org.Operator + "/" + vendor }

// notSetUp is the answer of everything that needs what is not stored.
func notSetUp(op string) error {
	return fault.New(fault.Unavailable, op, "payments are not set up here; the operator has to store the keys of the payment service (lk payments set)")
}

// OpenVault opens secrets; [vault.Vault] implements it.
type OpenVault interface {
	Load(ctx context.Context, org string, class taxonomy.CredentialClass, id string) (vault.Credential, error)
	Reveal(ctx context.Context, cred vault.Credential, use vault.Use, f func(plain []byte) error) error
	RevealAll(ctx context.Context, cred vault.Credential, use vault.Use, f func(version int, live bool, plain []byte) error) error
}

// Names are the names of the credential's fields: what calls the vendor's API,
// and what signs its messages.
type Names struct{ Call, Message string }

// Opener opens what is stored. Ref is zero where the environment names nothing.
// Safe for concurrent use.
type Opener struct {
	Vault OpenVault
	Ref   vault.Ref
	Names Names
}

func (o Opener) load(ctx context.Context, op string) (vault.Credential, error) {
	if o.Ref.ID == "" {
		return vault.Credential{}, notSetUp(op)
	}
	cred, err := o.Vault.Load(ctx, o.Ref.Org, o.Ref.Class, o.Ref.ID)
	if fault.CodeOf(err) == fault.NotFound {
		return vault.Credential{}, notSetUp(op)
	}
	return cred, err
}

// Key opens the key of the vendor's API. Errors: unavailable if none is stored;
// vault_unavailable.
func (o Opener) Key(ctx context.Context) (secret.Text, error) {
	const op = "payment.Key"
	cred, err := o.load(ctx, op)
	if err != nil {
		return secret.Text{}, err
	}
	var out secret.Text
	err = o.Vault.Reveal(ctx, cred, vault.Use{Field: o.Names.Call, Purpose: "payment_call"}, func(plain []byte) error {
		out = secret.New(plain)
		return nil
	})
	if fault.CodeOf(err) == fault.NotFound || err == nil && out.IsZero() {
		return secret.Text{}, notSetUp(op)
	}
	return out, err
}

// Accepting opens the secrets that verify a message at now, the live one first.
// complete is false if another one exists that did not open: a signature that
// matches still counts then, a mismatch proves nothing. Errors: unavailable if
// none is stored; vault_unavailable.
func (o Opener) Accepting(ctx context.Context, now time.Time) (values []secret.Text, complete bool, err error) {
	const op = "payment.Accepting"
	cred, err := o.load(ctx, op)
	if err != nil {
		return nil, false, err
	}
	open, err := vault.Accepting(ctx, o.Vault, cred, vault.Use{Field: o.Names.Message, Purpose: "payment_message"}, now)
	if fault.CodeOf(err) == fault.NotFound || err == nil && len(open.Values) == 0 {
		return nil, false, notSetUp(op)
	}
	return open.Values, open.Complete, err
}

// WriteVault stores secrets and opens none; [vault.Vault] implements it.
type WriteVault interface {
	Head(ctx context.Context, org string, class taxonomy.CredentialClass, id string) (vault.Head, error)
	Create(ctx context.Context, c vault.NewCredential) (vault.Head, error)
	Rotate(ctx context.Context, r vault.Rotation) (vault.Head, error)
	FinishRotation(ctx context.Context, ref vault.Ref, field string, by audit.Op) (vault.Head, error)
}

// Keeper stores the operator's values. Safe for concurrent use.
type Keeper struct {
	Vault WriteVault
	Ref   vault.Ref
	Names Names
	Label string
	// Overlap is how long a replaced signing secret verifies if nobody says.
	Overlap time.Duration
}

// Stored says what is stored, without values.
type Stored struct {
	// APIKey and Signing say that there is a value; Broken that one of them opens
	// under no key any more and must be entered again.
	APIKey, Signing, Broken bool
	// Hint is what may be shown of the API key.
	Hint string
	// Retiring are the ends of the replaced signing secrets that still verify,
	// the last first.
	Retiring  []time.Time
	UpdatedAt time.Time
	UpdatedBy string
}

// MaxOverlap bounds how long a replaced signing secret verifies.
const MaxOverlap = 7 * 24 * time.Hour

// Values are what the operator stores. What is zero stays as it is.
type Values struct {
	APIKey, Signing secret.Text
	// Overlap is how long the replaced signing secret still verifies; nil takes the
	// default, zero ends it, and every older one, at once.
	Overlap *time.Duration
}

// Stored shows what is stored at now. Errors: vault_unavailable.
func (k *Keeper) Stored(ctx context.Context, now time.Time) (Stored, error) {
	h, err := k.Vault.Head(ctx, k.Ref.Org, k.Ref.Class, k.Ref.ID)
	if fault.CodeOf(err) == fault.NotFound {
		return Stored{}, nil
	}
	return k.view(h, now), err
}

func (k *Keeper) view(h vault.Head, now time.Time) Stored {
	out := Stored{Broken: h.Status == vault.NeedsReentry, UpdatedAt: h.UpdatedAt, UpdatedBy: h.UpdatedBy}
	for _, f := range h.Fields {
		switch f.Name {
		case k.Names.Call:
			out.APIKey, out.Hint = true, f.Hint
		case k.Names.Message:
			out.Signing = true
		}
	}
	for _, d := range h.Drains {
		if d.Field == k.Names.Message && now.Before(d.Until) {
			out.Retiring = append(out.Retiring, d.Until)
		}
	}
	slices.SortFunc(out.Retiring, func(a, b time.Time) int { return b.Compare(a) })
	return out
}

// Set stores values. Storing the present value again changes nothing. Two values
// are two changes: after an error in between, the same call may be repeated.
// Errors: invalid_request; conflict; vault_unavailable.
func (k *Keeper) Set(ctx context.Context, v Values, op audit.Op, now time.Time) (Stored, error) {
	const name = "payment.Set"
	overlap := k.Overlap
	switch {
	case v.APIKey.IsZero() && v.Signing.IsZero():
		return Stored{}, fault.New(fault.InvalidRequest, name, "give "+k.Names.Call+", "+k.Names.Message+" or both")
	case v.Overlap != nil && (*v.Overlap < 0 || *v.Overlap > MaxOverlap):
		return Stored{}, fault.New(fault.InvalidRequest, name, "overlap_seconds must be between 0 and 604800 (7 days)").WithParam("overlap_seconds")
	case v.Overlap != nil && v.Signing.IsZero():
		return Stored{}, fault.New(fault.InvalidRequest, name, "overlap_seconds needs "+k.Names.Message+": a replaced "+k.Names.Call+" is used no more at once").WithParam("overlap_seconds")
	case v.Overlap != nil:
		overlap = *v.Overlap
	}
	var h vault.Head
	var err error
	if !v.Signing.IsZero() {
		if h, err = k.put(ctx, k.Names.Message, v.Signing, overlap, op.Part(k.Names.Message)); err == nil && overlap == 0 {
			h, err = k.Vault.FinishRotation(ctx, k.Ref, k.Names.Message, op.Part("finish"))
		}
	}
	if err == nil && !v.APIKey.IsZero() {
		h, err = k.put(ctx, k.Names.Call, v.APIKey, 0, op.Part(k.Names.Call))
	}
	return k.view(h, now), err
}

// put stores one value, in a new credential if there is none.
func (k *Keeper) put(ctx context.Context, field string, value secret.Text, overlap time.Duration, op audit.Op) (vault.Head, error) {
	fields := map[string]secret.Text{field: value}
	h, err := k.Vault.Rotate(ctx, vault.Rotation{Ref: k.Ref, Fields: fields, Overlap: overlap, Op: op})
	switch {
	case fault.CodeOf(err) == fault.NotFound:
		return k.Vault.Create(ctx, vault.NewCredential{Ref: k.Ref, Label: k.Label, Fields: fields, Op: op})
	case vault.ReasonOf(err) == vault.Duplicate:
		return k.Vault.Head(ctx, k.Ref.Org, k.Ref.Class, k.Ref.ID)
	}
	return h, err
}

// Finish ends every replaced signing secret now. Errors: unavailable if nothing
// is stored; conflict; vault_unavailable.
func (k *Keeper) Finish(ctx context.Context, op audit.Op, now time.Time) (Stored, error) {
	h, err := k.Vault.FinishRotation(ctx, k.Ref, k.Names.Message, op)
	if fault.CodeOf(err) == fault.NotFound {
		return Stored{}, notSetUp("payment.Finish")
	}
	return k.view(h, now), err
}
