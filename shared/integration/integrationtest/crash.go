package integrationtest

import (
	"context"

	"github.com/latchkey/latchkey/shared/integration"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
)

// Crashing is a store whose process dies at its n-th call, before or after the
// call had its effect. It is for one goroutine.
type Crashing struct {
	integration.Store
	// At counts calls from 1; zero never dies. After says that the call happened.
	At    int
	After bool
	// For is how many calls fail if the process lives on; zero kills it.
	For int

	calls int
	dead  bool
}

// Calls is how many calls were made.
func (s *Crashing) Calls() int { return s.calls }

// call runs f unless the process is dead or dies with it.
func (s *Crashing) call(f func() error) error {
	if s.dead {
		return ErrCrash
	}
	s.calls++
	if s.At == 0 || s.calls < s.At || s.For > 0 && s.calls >= s.At+s.For || s.For == 0 && s.calls != s.At {
		return f()
	}
	s.dead = s.For == 0
	if s.After && s.calls == s.At {
		_ = f()
	}
	return ErrCrash
}

// Integration implements [integration.Store].
func (s *Crashing) Integration(ctx context.Context, org, id string) (out integration.Integration, err error) {
	err = s.call(func() error { out, err = s.Store.Integration(ctx, org, id); return err })
	return out, err
}

// Integrations implements [integration.Store].
func (s *Crashing) Integrations(ctx context.Context, org, after string, limit int) (out []integration.Integration, next string, err error) {
	err = s.call(func() error { out, next, err = s.Store.Integrations(ctx, org, after, limit); return err })
	return out, next, err
}

// Legacy implements [integration.Store].
func (s *Crashing) Legacy(ctx context.Context, org, id string) (out integration.LegacyCopy, err error) {
	err = s.call(func() error { out, err = s.Store.Legacy(ctx, org, id); return err })
	return out, err
}

// WriteIntegration implements [integration.Store].
func (s *Crashing) WriteIntegration(ctx context.Context, c integration.Change) error {
	return s.call(func() error { return s.Store.WriteIntegration(ctx, c) })
}

// Paired implements [integration.Store].
func (s *Crashing) Paired(c integration.Change) vault.Store {
	return crashingVault{s.Store.Paired(c), s}
}

type crashingVault struct {
	vault.Store
	s *Crashing
}

func (v crashingVault) LoadClass(ctx context.Context, org string, class taxonomy.CredentialClass) (out []vault.Credential, err error) {
	err = v.s.call(func() error { out, err = v.Store.LoadClass(ctx, org, class); return err })
	return out, err
}

func (v crashingVault) Load(ctx context.Context, org string, class taxonomy.CredentialClass, id string) (out vault.Credential, err error) {
	err = v.s.call(func() error { out, err = v.Store.Load(ctx, org, class, id); return err })
	return out, err
}

func (v crashingVault) Head(ctx context.Context, org string, class taxonomy.CredentialClass, id string) (out vault.Head, err error) {
	err = v.s.call(func() error { out, err = v.Store.Head(ctx, org, class, id); return err })
	return out, err
}

func (v crashingVault) Heads(ctx context.Context, org string) (out []vault.Head, err error) {
	err = v.s.call(func() error { out, err = v.Store.Heads(ctx, org); return err })
	return out, err
}

func (v crashingVault) Write(ctx context.Context, c vault.Change) error {
	return v.s.call(func() error { return v.Store.Write(ctx, c) })
}
