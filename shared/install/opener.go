package install

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
)

// OpenVault opens secrets; [vault.Vault] implements it.
type OpenVault interface {
	Load(ctx context.Context, org string, class taxonomy.CredentialClass, id string) (vault.Credential, error)
	Reveal(ctx context.Context, cred vault.Credential, use vault.Use, f func(plain []byte) error) error
	RevealAll(ctx context.Context, cred vault.Credential, use vault.Use, f func(version int, live bool, plain []byte) error) error
	RevealRetired(ctx context.Context, cred vault.Credential, use vault.Use, f func(version int, plain []byte) error) error
}

// Opener opens the secrets of installs for the functions that use them. Purpose
// is written to the vault's log.
type Opener struct {
	Vault   OpenVault
	Purpose string
}

// Verifier reads, still sealed, what verifies an install's requests. Errors:
// vault_unavailable; not_found if the install has no such secrets.
func (o Opener) Verifier(ctx context.Context, i Install) (vault.Credential, error) {
	return o.Vault.Load(ctx, i.Org, taxonomy.ChannelVerify, i.ID)
}

// Verifying opens the values of a secret that verify at now. cred is that of
// [Opener.Verifier]. Errors: vault_unavailable; not_found if there is no such
// secret.
func (o Opener) Verifying(ctx context.Context, cred vault.Credential, name string, now time.Time) (vault.Accepted, error) {
	return vault.Accepting(ctx, o.Vault, cred, vault.Use{Field: name, Purpose: o.Purpose}, now)
}

// Retired opens the replaced values of a secret that verify no more and are still
// stored, to tell people that a sender uses an old one. Errors as of Verifying.
func (o Opener) Retired(ctx context.Context, cred vault.Credential, name string) (values []secret.Text, err error) {
	err = o.Vault.RevealRetired(ctx, cred, vault.Use{Field: name, Purpose: o.Purpose}, func(_ int, plain []byte) error {
		values = append(values, secret.New(plain))
		return nil
	})
	return values, err
}

// Sending returns the live value of a sending secret. Errors: vault_unavailable;
// not_found if the install has none.
func (o Opener) Sending(ctx context.Context, i Install, name string) (secret.Text, error) {
	cred, err := o.Vault.Load(ctx, i.Org, taxonomy.ChannelSend, i.ID)
	if err != nil {
		return secret.Text{}, err
	}
	var out secret.Text
	err = o.Vault.Reveal(ctx, cred, vault.Use{Field: name, Purpose: o.Purpose}, func(plain []byte) error {
		out = secret.New(plain)
		return nil
	})
	if err == nil && out.IsZero() {
		return secret.Text{}, fault.New(fault.VaultUnavailable, "install.Sending", "the install's credential could not be opened, try again")
	}
	return out, err
}
